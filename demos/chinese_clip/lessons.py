"""The lessons of the Chinese-CLIP page: the sheep of the lecture notes, as published and as the chosen checkpoint answers."""

from __future__ import annotations

from demos.chinese_clip import answer
from demos.kit import walkthrough
from demos.kit.menu import start_row
from demos.kit.walkthrough import Outcome, Step

ALL = "sheep"  # a step that shows all three sheep


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    return step["choices"]["zh" if lang == "zh" else "en"]


def card(step: Step, lang: str) -> str:
    """The image of a step."""
    row = answer.examples()[step["image"]]
    return walkthrough.image(row["path"], row["caption"]["zh" if lang == "zh" else "en"])


def outcome(step: Step, checkpoint: str, lang: str) -> Outcome:
    """The published answer, with that of a checkpoint beside it where the page has the image."""
    if step["shows"] == "flock":
        return Outcome(step["right"], answer.flock_html(lang))
    name = checkpoint or start_row("clip", "zh")
    poses = answer.POSES if step["shows"] == ALL else (step["shows"],)
    return Outcome(step["right"], answer.lesson_table(answer.sheep_answers(name), name, lang, poses))
