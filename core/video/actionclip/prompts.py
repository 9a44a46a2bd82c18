"""ActionCLIP's prompts of labels: sixteen sentences with a place for the action (Wang et al. 2021, section 3.3, figure 2).

A label is put in front of words (prefix), inside them (cloze) or behind them (suffix). Training draws one sentence for each
clip; a test takes all and averages their probabilities.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["prefix", "cloze", "suffix", "bare"]

TEMPLATES = (
    "a photo of action {}",
    "a picture of action {}",
    "Human action of {}",
    "{}, an action",
    "{} this is an action",
    "{}, a video of action",
    "Playing action of {}",
    "{}",
    "Playing a kind of action, {}",
    "Doing a kind of action, {}",
    "Look, the human is {}",
    "Can you recognize the action of {}?",
    "Video classification of {}",
    "A video of {}",
    "The man is {}",
    "The woman is {}",
)
# The sentences for Chinese labels, which the paper does not have; those of the classroom.
CHINESE = ("{}", "{}的动作", "一段{}的视频", "画面里的东西在{}", "动作：{}")


def kind(template: str) -> Kind:
    """Where the label stands: in front (prefix), inside (cloze), behind (suffix), or alone."""
    before, after = template.split("{}")
    if not before and not after:
        return "bare"
    return "prefix" if not before else "cloze" if after else "suffix"


def of_kind(which: str, templates: tuple[str, ...] = TEMPLATES) -> tuple[str, ...]:
    """The sentences of one kind; all for "all"."""
    return tuple(one for one in templates if which in ("all", kind(one)))


def sentences(labels: tuple[str, ...] | list[str], templates: tuple[str, ...] = TEMPLATES) -> list[str]:
    """All labels in the first template, then all in the second, ...: K * N sentences."""
    return [template.format(label) for template in templates for label in labels]
