"""What pages share that let a CLIP choose among labels: the classifier of a row, its language, the prompt template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core import checkpoints, inputs
from demos.kit import files, library, results
from demos.kit.html import Markup, tag

if TYPE_CHECKING:
    from PIL import Image

    from core.clip import Classification, ZeroShot


def model(checkpoint: str | None) -> ZeroShot:
    """The classifier of a row, loaded on first use; that of the default row for None."""
    from core.clip import ZeroShot

    return ZeroShot.load(checkpoint or checkpoints.default("clip"))


def receive(
    image: Any, labels: list[str] | str, checkpoint: str | None, limit: int = 100
) -> tuple[Image.Image, list[str], ZeroShot]:
    """What the caller of an endpoint gave, checked: the image, at most `limit` labels, the classifier.

    Raises:
        Refusal: for what cannot be used.
    """
    names = inputs.labels(labels, limit=limit)
    return inputs.image(files.uploaded(image)), names, model(checkpoint)


def line(result: Classification, seconds: float, lang: str) -> Markup:
    """The result line; in front of it what the probabilities of a sigmoid mean."""
    below = results.line(seconds, result.checkpoint, result.device, lang)
    if result.normalisation != "sigmoid":
        return below
    total = float(result.probabilities.sum())
    sentence = library.kit("sigmoid", lang, scale=result.logit_scale, bias=result.logit_bias, total=total)
    return tag("p", sentence, class_="atlas-line atlas-sigmoid") + below


def rounded(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The results of an answer with four digits, for a record: the rest differs between processors."""
    digits = ("probability", "cosine")
    return [{**row, **{name: round(row[name], 4) for name in digits}} for row in answer["results"]]


def language(checkpoint: str | None, lang: str) -> str:
    """The page's language where the checkpoint reads it, else the first that it reads."""
    known = checkpoints.row(checkpoint or checkpoints.default("clip")).languages
    return lang if lang in known else known[0]


def template(name: str, own: str) -> str:
    """The template of a question: a sentence of the visitor's own, or else the name of a set."""
    return (own or "").strip() or name
