"""What pages share that let a CLIP choose among labels: the classifier of a row, the prompt template of a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core import checkpoints

if TYPE_CHECKING:
    from core.clip import ZeroShot


def model(checkpoint: str | None) -> ZeroShot:
    """The classifier of a row, loaded on first use; that of the default row for None."""
    from core.clip import ZeroShot

    return ZeroShot.load(checkpoint or checkpoints.default("clip"))


def template(name: str, own: str) -> str:
    """The template of a question: a sentence of the visitor's own, or else the name of a set."""
    return (own or "").strip() or name
