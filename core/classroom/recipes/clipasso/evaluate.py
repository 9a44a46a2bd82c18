"""Measure CLIPasso with a miniature as its guide: are sketches recognised, by the guide and by one that did not guide?

    python -m core.classroom evaluate clipasso [--checkpoint classroom-rn] [--other classroom-vit] [--json] [--record]
        [--seeds 1 --steps 120 --views 1]

Twenty images of one thing each, drawn by lot, are sketched in 4, 8, 16 and 32 strokes; every finished sketch is
rendered as an image and named among fifty concepts, of which twenty are the things themselves. The edge drawing of a
image spends as much ink as its sketch. Concepts, styles and places come from evaluation seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from core import checkpoints
from core.classroom.recipes.clip.evaluate import wordings
from core.classroom.recipes.common.miniature import Miniature, open_miniature
from core.classroom.recipes.common.rows import stamped
from core.classroom.world.atlas import open_atlas
from core.classroom.world.concepts import concepts
from core.classroom.world.placing import Placed, arrange
from core.classroom.world.scenes import render
from core.classroom.world.wording import LANGUAGES
from core.drawing import canny
from core.drawing.clipasso import SketchSettings, Variant, ladder, sketch
from core.drawing.strokes import CANVAS, Sketch

PICTURES, LABELS, STARTS = 20, 50, 10
STROKES = (4, 8, 16, 32)
SEED = 9500
# A thing fills most of its image, as in the paper's examples.
HALF = 0.8

Say = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """One image and the concept that it shows."""

    concept: int
    picture: Image.Image  # [224, 224]


def subjects(count: int = PICTURES, seed: int = SEED) -> list[Subject]:
    """Pictures of different things in the middle of a light ground, in painted styles, by lot."""
    atlas = open_atlas()
    g = torch.Generator().manual_seed(seed)
    painted = torch.nonzero(~atlas.mono)[:, 0]
    drawable = torch.unique(atlas.concept[painted])
    chosen = drawable[torch.randperm(len(drawable), generator=g)[:count]].tolist()
    made = []
    for i, concept in enumerate(chosen):
        spec = arrange([Placed(concept, half=HALF)], seed=seed + i, atlas=atlas)
        pixels = render(spec, atlas, CANVAS).picture[0].clamp(0, 1)
        array = (pixels.permute(1, 2, 0) * 255).round().byte().numpy()
        made.append(Subject(concept, Image.fromarray(array)))
    return made


def candidates(shown: Sequence[Subject], count: int = LABELS, seed: int = SEED) -> list[int]:
    """The concepts to choose among: those shown first, then others by lot."""
    own = [subject.concept for subject in shown]
    g = torch.Generator().manual_seed(seed)
    others = [i for i in torch.randperm(len(concepts()), generator=g).tolist() if i not in own]
    return [*own, *others[: count - len(own)]]


class Reader:
    """A miniature that names images among the candidates, with the wordings it knows line drawings by."""

    def __init__(self, checkpoint: str, which: Sequence[int]) -> None:
        self.model: Miniature = open_miniature(checkpoint)
        self.names = {
            "line": {lang: self.model.names(lang, wordings("line", lang), which) for lang in LANGUAGES},
            "colour": {lang: self.model.names(lang, wordings("colour", lang), which) for lang in LANGUAGES},
        }

    def right(self, pictures: Sequence[np.ndarray], look: str = "line") -> dict[str, Tensor]:
        """Which images (uint8 [H, W, 3], the i-th shows the i-th candidate) it names rightly: bool [N] by language."""
        batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
        size = (self.model.size, self.model.size)
        small = F.interpolate(batch, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        features = self.model.images(small)
        truth = torch.arange(len(batch))
        return {lang: (features @ names.T).argmax(1) == truth for lang, names in self.names[look].items()}


def there(checkpoint: str) -> bool:
    """Whether a miniature is here: a folder with an export or a bundled row."""
    if (Path(checkpoint) / "model.safetensors").exists():
        return True
    known = {row.name for row in checkpoints.rows("clip")}
    return checkpoint in known and checkpoints.state(checkpoint) == "bundled"


def _last(image: Image.Image, settings: SketchSettings) -> Sketch:
    """The sketch at the end of a run."""
    for frame in sketch(image, settings, device="cpu"):
        result = frame.result
    assert isinstance(result, Sketch)
    return result


def evaluate(
    checkpoint: str = "classroom-rn",
    other: str = "classroom-vit",
    say: Say = print,
    pictures: int = PICTURES,
    chosen: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """All measures as report-card rows.

    Args:
        checkpoint: the row that guides.
        other: a row or folder that does not guide; its rows are left out, with a sentence, when it is not here.
        say: takes a sentence about what is done.
        pictures: fewer for a quick look; the report card has all.
        chosen: "seeds", "steps" or "views" of the sketches, in place of the guide's own.
    """
    shown = subjects(pictures)
    which = candidates(shown)
    readers = {"its guide": Reader(checkpoint, which)}
    if there(other):
        readers["the other miniature"] = Reader(other, which)
    else:
        say(f"{other} is not on this machine: sketches are named by {checkpoint} alone, which guided them.")
    settings = SketchSettings(checkpoint=checkpoint, **(chosen or {}))
    drawings, edges, seconds = _drawings(shown, settings, say)
    rows: list[dict[str, Any]] = []

    def add(measure: str, split: str, language: str, value: float, unit: str = "share") -> None:
        row = {"paper": "clipasso", "measure": measure, "split": split, "language": language}
        rows.append({**row, "value": round(value, 4), "unit": unit})

    for who, reader in readers.items():
        originals = reader.right([np.asarray(subject.picture) for subject in shown], "colour")
        for lang in LANGUAGES:
            add(f"image named by {who}", "before sketching", lang, float(originals[lang].float().mean()))
        for kind, made in (("sketch", drawings), ("edges of equal ink", edges)):
            for count, pixels in made.items():
                for lang, right in reader.right(pixels).items():
                    add(f"{kind} named by {who}", f"{count} strokes", lang, float(right.float().mean()))
    add("seconds for all four sketches", "median", "en", float(np.median(seconds)), "s")
    saved = starts(shown[:STARTS], settings, say)
    add("steps saved by a saliency start", f"median of {len(saved)}", "en", float(np.median(saved)))
    command = f"python -m core.classroom evaluate clipasso --checkpoint {checkpoint}"
    if len(readers) > 1:
        command += f" --other {Path(other).name}"
    command += "".join(f" --{name} {value}" for name, value in (chosen or {}).items())
    return [stamped(row, checkpoint, command) for row in rows]


def _drawings(
    shown: Sequence[Subject], settings: SketchSettings, say: Say
) -> tuple[dict[int, list[np.ndarray]], dict[int, list[np.ndarray]], list[float]]:
    """By number of strokes the finished sketches and edge drawings of equal ink, uint8; seconds of each run."""
    drawings: dict[int, list[np.ndarray]] = {count: [] for count in STROKES}
    edges: dict[int, list[np.ndarray]] = {count: [] for count in STROKES}
    seconds = []
    for i, subject in enumerate(shown):
        begin = time.perf_counter()
        result = _last(subject.picture, replace(settings, variants=ladder(*STROKES)))
        seconds.append(time.perf_counter() - begin)
        for count, drawn in zip(STROKES, result.drawn, strict=True):
            pixels = drawn.strokes.image(CANVAS)
            drawings[count].append(pixels)
            edge = canny.at_ink(result.start.picture, canny.ink(pixels), settings.width)
            edges[count].append(edge)
        say(
            f"{i + 1} of {len(shown)} sketched, {concepts()[subject.concept].name('en')}: {seconds[-1]:.0f} s"
        )
    return drawings, edges, seconds


def starts(shown: Sequence[Subject], settings: SketchSettings, say: Say) -> list[float]:
    """By picture: the share of a random start's steps that a saliency start does not need for the same loss.

    Both starts run in one batch, 16 strokes, with the same warps; of each step the mean over seeds of the
    lowest plain loss so far counts. 0: it is not reached before the end.
    """
    variants = (Variant(16), Variant(16, start="random"))
    found = []
    for i, subject in enumerate(shown):
        result = _last(subject.picture, replace(settings, variants=variants))
        salient, random = (np.fmin.accumulate(drawn.curves, axis=1).mean(0) for drawn in result.drawn)
        there_at = np.flatnonzero(salient <= random[-1])
        found.append(1 - float(there_at[0]) / result.steps if len(there_at) else 0.0)
        say(f"{i + 1} of {len(shown)} starts compared: {found[-1]:.2f} of the steps saved")
    return found
