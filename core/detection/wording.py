"""A label as the sentences that a text tower reads, from `prompts.toml`."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

HAN = re.compile(r"[\u3400-\u9fff]")


@cache
def prompt_sets() -> dict[str, dict[str, list[str]]]:
    """The sentences by name and language."""
    return tomllib.loads(Path(__file__).with_name("prompts.toml").read_text(encoding="utf-8"))


def plain(label: str) -> str:
    """A label as the sentences want it: lower case, without a full stop at the end, "_" and "/" in words."""
    return re.sub(r"\.$", "", label.strip().lower().replace("_", " ").replace("/", " or "))


def sentences(label: str, name: str) -> list[str]:
    """What is asked for a label, in the set's words of the label's own language where it has some.

    Args:
        label: any text; Chinese where it holds a Chinese character.
        name: a set of `prompts.toml`.
    """
    rows = prompt_sets()[name]
    lang = "zh" if HAN.search(label) else "en"
    templates = rows.get(lang) or next(iter(rows.values()))
    word = plain(label)
    article = "an" if word[:1] in tuple("aeiou") else "a"
    made = [template.replace("{a}", article).replace("{}", word) for template in templates]
    if name != "vild":
        return made
    return [f"This is {line}" if line.startswith(("a", "the")) else line for line in made]
