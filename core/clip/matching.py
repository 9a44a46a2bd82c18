"""Does a label match an image? A cosine says so beside the cosines of pairs that match and of pairs that do not.

A softmax compares labels with each other; whether one of them is true at all it does not say. The cosine of one pair means
something once one knows what cosines a checkpoint gives to images with their own captions and with captions of other images:
each checkpoint has numbers of its own. Of the miniatures they are recorded (`assets/matching.json`, measured on new scenes by
`python -m core.classroom.recipes.clip.matches`); of any other row they are measured where it runs, on images that come with
captions.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core import checkpoints, runtime
from core.clip.zero_shot import ZeroShot

RECORD = Path(__file__).resolve().parents[2] / "assets" / "matching.json"
EDGES = np.linspace(-0.5, 1.0, 151)  # of the bins of a histogram
IMAGES_AT_ONCE = 4  # between two looks at a Stop

MEASURED: runtime.ByteCache[Pairs] = runtime.ByteCache()


@dataclass(frozen=True)
class Pairs:
    """The cosines that a checkpoint gives to pairs of an image and a caption, counted in the bins of `EDGES`."""

    checkpoint: str
    language: str  # of the captions
    matching: np.ndarray  # [bins] images with their own captions
    strange: np.ndarray  # [bins] images with captions of other images
    command: str = ""  # that measured a record; "" where it was measured on this machine

    @property
    def nbytes(self) -> int:
        """Bytes of the counts."""
        return self.matching.nbytes + self.strange.nbytes

    @property
    def line(self) -> float:
        """The cosine that leaves as few pairs as possible on the wrong side, both kinds counted alike; in the middle of the
        best ones."""
        missed, passed = (
            np.concatenate([[0], np.cumsum(of) / of.sum()]) for of in (self.matching, self.strange)
        )
        wrong = missed + (1 - passed)
        best = np.flatnonzero(wrong <= wrong.min() + 1e-9)
        return float(EDGES[best].mean())

    def below(self, cosine: float) -> tuple[float, float]:
        """Which share of the matching pairs, and of the strange ones, has a lower cosine."""
        inside = np.clip((cosine - EDGES[:-1]) / np.diff(EDGES), 0, 1)
        matching, strange = (float((of * inside).sum() / of.sum()) for of in (self.matching, self.strange))
        return matching, strange

    @property
    def wrong(self) -> tuple[float, float]:
        """Which share of the matching pairs is below the line, and of the strange ones above it."""
        missed, passed = self.below(self.line)
        return missed, 1 - passed


def counted(
    checkpoint: str, language: str, cosines: np.ndarray, strange: np.ndarray, command: str = ""
) -> Pairs:
    """The histograms of a matrix of cosines.

    Args:
        checkpoint, language, command: as in `Pairs`.
        cosines: [B, B] of image i and caption j; caption i belongs to image i.
        strange: [B, B] bool: which pairs are strange, none of the diagonal.
    """
    bins = len(EDGES) - 1

    def histogram(values: np.ndarray) -> np.ndarray:
        places = np.clip(np.floor((values - EDGES[0]) / (EDGES[1] - EDGES[0])), 0, bins - 1).astype(int)
        return np.bincount(places, minlength=bins)

    return Pairs(checkpoint, language, histogram(np.diag(cosines)), histogram(cosines[strange]), command)


def recorded(checkpoint: str, language: str) -> Pairs | None:
    """The record of a row with just these weights; None where there is none."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    row = checkpoints.row(checkpoint)
    own = record["rows"].get(checkpoint)
    if own is None or own["sha256"] != row.files[0].sha256 or language not in own:
        return None
    counts = (np.array(own[language][kind]) for kind in ("matching", "strange"))
    whole = [
        np.pad(part, (own[language]["first"], len(EDGES) - 1 - own[language]["first"] - len(part)))
        for part in counts
    ]
    return Pairs(checkpoint, language, whole[0], whole[1], record["command"])


def as_record(pairs: Pairs) -> dict[str, Any]:
    """The counts of a record, without the empty bins on both sides."""
    used = np.flatnonzero(pairs.matching + pairs.strange)
    first, end = int(used[0]), int(used[-1]) + 1
    parts = {name: getattr(pairs, name)[first:end].tolist() for name in ("matching", "strange")}
    return {"first": first, **parts}


def measured(
    model: ZeroShot,
    images: Sequence[Image.Image],
    captions: Sequence[str],
    language: str,
    cancel: runtime.Cancel | None = None,
) -> Generator[float, None, Pairs]:
    """The cosines of images with all their captions, measured here; remembered as long as the process runs.

    Args:
        model: that is measured.
        images, captions: B of each, caption i belongs to image i.
        language: of the captions.
        cancel: a set flag stops before the next images.

    Yields:
        The share of the images that is encoded.

    Raises:
        Refusal: "cancelled".
    """
    key = (*model.key, language, tuple(captions))
    known = MEASURED.get(key)
    if known is not None:
        return known
    texts = model.encode_text(captions)
    features: list[np.ndarray] = []
    for start in range(0, len(images), IMAGES_AT_ONCE):
        if cancel is not None:
            cancel.check()
        features += [model.encode(image).image_features for image in images[start : start + IMAGES_AT_ONCE]]
        yield len(features) / len(images)
    same = np.array([[one == other for other in captions] for one in captions])
    made = counted(model.checkpoint, language, np.stack(features) @ texts.T, ~same)
    MEASURED.put(key, made, made.nbytes)
    return made
