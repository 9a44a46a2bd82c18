"""The batches of the *Contrastive batch* tab: pictures and the captions that belong to them, by the name of a set.

A batch comes from a set of one click (`batches.toml`), from a seed of the classroom ("scenes:7"), or is uploaded.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from core import checkpoints, inputs
from core.errors import Refusal
from demos.clip import answer as handlers

if TYPE_CHECKING:
    from core.classroom.world.pairs import Pair

LOW, HIGH = 2, 16
START = ("classroom", 6)
SCENES, UPLOADED = "scenes", "uploaded"


@cache
def sets() -> dict[str, dict[str, Any]]:
    """The batches of one click, by name."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@lru_cache(maxsize=8)
def scenes(seed: int, count: int, side: int) -> list[Pair]:
    """Classroom scenes of a seed with captions, no caption twice."""
    from core.classroom.world.pairs import captioned

    return captioned(count, seed, side)


def source(text: str) -> tuple[str, int]:
    """ "scenes:7" -> ("scenes", 7); a set's name or "uploaded" has no seed; anything else is the first set."""
    name, _, seed = (text or "").partition(":")
    if name == SCENES and seed.isdecimal() and len(seed) < 10:
        return SCENES, int(seed)
    return (name if name in sets() or name == UPLOADED else START[0]), 0


def pictures_of(where: str, count: float, files: Sequence[str] | None) -> list[Image.Image]:
    """The n pictures of the batch.

    Raises:
        Refusal: "no_picture" where uploads are asked for and there are none, "batch_size", what images are refused for.
    """
    name, seed = source(where)
    if name == SCENES:
        return [pair.picture for pair in scenes(seed, HIGH, 224)][: int(count)]
    if name == UPLOADED:
        if not files:
            raise Refusal("no_picture")
        if not LOW <= len(files) <= HIGH:
            raise Refusal("batch_size", low=LOW, high=HIGH, count=len(files))
        return [inputs.image(file) for file in files]
    return [example(one) for one in sets()[name]["pictures"][: int(count)]]


@lru_cache(maxsize=64)
def example(name: str) -> Image.Image:
    """One of the page's example pictures, turned around behind "mirror:"."""
    image = inputs.image(handlers.examples()[name.removeprefix("mirror:")]["path"])
    return ImageOps.mirror(image) if name.startswith("mirror:") else image


def caption_language(checkpoint: str, lang: str) -> str:
    """The page's language where the checkpoint reads it, else the first that it does."""
    known = checkpoints.row(checkpoint or checkpoints.default("clip")).languages
    return lang if lang in known else known[0]


def true_captions(
    where: str, count: float, files: Sequence[str] | None, checkpoint: str, lang: str
) -> list[str]:
    """The captions that belong to the pictures; for uploads the likeliest everyday words, as a first draft."""
    name, seed = source(where)
    language = caption_language(checkpoint, lang)
    if name == SCENES:
        return [pair.caption[language] for pair in scenes(seed, HIGH, 224)][: int(count)]
    if name == UPLOADED:
        from core.clip.zero_shot import background_words

        model, words = handlers.model(checkpoint), background_words(language)
        found = [model.classify(image, words) for image in pictures_of(where, count, files)]
        return [one.labels[one.order[0]] for one in found]
    row = sets()[name]
    own = row.get(language) or [handlers.examples()[one]["caption"][language] for one in row["pictures"]]
    return own[: int(count)]


def lines_of(captions: str) -> list[str]:
    """The captions of the box, one a line, cleaned."""
    return [inputs.text(line) for line in (captions or "").splitlines() if line.strip()]
