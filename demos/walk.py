"""What the lessons of all pages share: where one is in them, where to go next, and what was predicted beside what is so."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from demos.language import pick


def place(where: str, lessons: Mapping[str, Any]) -> tuple[str, int]:
    """ "sheep:1" -> ("sheep", 1); the first step of the first lesson for anything that is none."""
    name, _, number = (where or "").partition(":")
    if name not in lessons:
        return next(iter(lessons)), 0
    at = int(number) if number.isdecimal() and len(number) < 3 else 0
    return name, min(at, len(lessons[name]["steps"]) - 1)


def following(where: str, lessons: Mapping[str, Any]) -> str:
    """The place of the next step, of the next lesson behind the last one."""
    name, at = place(where, lessons)
    if at + 1 < len(lessons[name]["steps"]):
        return f"{name}:{at + 1}"
    names = list(lessons)
    return names[(names.index(name) + 1) % len(names)]


def verdict(choices: Sequence[str], predicted: int, index: int, lang: str) -> str:
    """What was said beside what is so, as HTML."""
    guess, truth = html.escape(choices[predicted]), html.escape(choices[index])
    right = predicted == index
    said = (
        pick(lang, f"You said “{guess}”, and so it is.", f"你猜“{guess}”，果然如此。")
        if right
        else pick(lang, f"You said “{guess}”; it is “{truth}”.", f"你猜“{guess}”，实际是“{truth}”。")
    )
    mark = "✓" if right else "✗"
    return f'<p class="atlas-verdict {"some" if right else "none"}"><strong>{mark} {said}</strong></p>'
