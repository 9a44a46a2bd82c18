"""What pages share that let a CLIP choose among labels: the classifier of a row, its language, the prompt template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import checkpoints, inputs
from demos.kit import files

if TYPE_CHECKING:
    from PIL import Image

    from core.clip import ZeroShot


def model(checkpoint: str | None) -> ZeroShot:
    """The classifier of a row, loaded on first use; that of the default row for None."""
    from core.clip import ZeroShot

    return ZeroShot.load(checkpoint or checkpoints.default("clip"))


def asked(
    image: Any, labels: list[str] | str, checkpoint: str | None, limit: int = 100
) -> tuple[Image.Image, list[str], ZeroShot]:
    """What the caller of an endpoint gave, checked: the image, at most `limit` labels, the classifier.

    Raises:
        Refusal: for what cannot be used.
    """
    names = inputs.labels(labels, limit=limit)
    return inputs.image(files.uploaded(image)), names, model(checkpoint)


def language(checkpoint: str | None, lang: str) -> str:
    """The page's language where the checkpoint reads it, else the first that it reads."""
    known = checkpoints.row(checkpoint or checkpoints.default("clip")).languages
    return lang if lang in known else known[0]


def template(name: str, own: str) -> str:
    """The template of a question: a sentence of the visitor's own, or else the name of a set."""
    return (own or "").strip() or name
