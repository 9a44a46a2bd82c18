"""An image changed on purpose: a part painted out, a thing pasted in, and how far CLIP's answer moves.

An answer that survives without the thing it names did not come from it: contexts and shortcuts show that way (the same
question as occlusion, Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901, section 4.2). Places and sizes are shares
of the image, so that they do not depend on its pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from core.clip import prompts
from core.clip.labels import NO_NOTES, Notes, read
from core.clip.zero_shot import Classification, ZeroShot
from core.errors import Refusal

FILLS = ("around", "grey", "noise")
GREY = 128
PATCH = ""  # the name of a thing that paints out
MAX_STROKES, MAX_POINTS, MAX_PASTES = 200, 20_000, 16


@dataclass(frozen=True)
class Stroke:
    """A line of the brush: `radius` and the points (x, y) [P, 2] as shares of the image's longer side and of both sides."""

    radius: float
    points: np.ndarray


@dataclass(frozen=True)
class Paste:
    """A thing put on the image: its name, its centre as shares of width and height, its size as share of the shorter side."""

    name: str
    x: float
    y: float
    size: float


@dataclass(frozen=True)
class Pair:
    """The same labels asked twice: of two images, or of two checkpoints."""

    first: Classification
    second: Classification
    similarity: float | None  # cosine of the two images; None where two checkpoints have no common space
    seconds: float
    notes: Notes = NO_NOTES

    @property
    def moved(self) -> np.ndarray:
        """How much each label's probability changed [N], in -1..1."""
        return self.second.probabilities - self.first.probabilities

    def to_json(self) -> dict[str, Any]:
        """Both answers as plain values, labels best first in each."""
        return {
            "seconds": round(self.seconds, 4),
            "similarity": None if self.similarity is None else round(self.similarity, 5),
            "first": {
                "checkpoint": self.first.checkpoint,
                "results": self.first.to_json()["results"],
            },
            "second": {
                "checkpoint": self.second.checkpoint,
                "results": self.second.to_json()["results"],
            },
            **self.notes.to_json(),
        }


def ask_twice(
    models: tuple[ZeroShot, ZeroShot],
    images: tuple[Image.Image, Image.Image],
    labels: str | Sequence[str],
    templates: str | Sequence[str] | None = None,
) -> Pair:
    """Asks model i about image i, with the same labels: those that both models tell apart.

    Raises:
        Refusal: what `ZeroShot.classify` refuses.
    """
    start = time.perf_counter()
    offered = read(models[0].tokenize, labels, prompts.resolve(templates))
    both = read(models[1].tokenize, offered.names, prompts.resolve(templates))
    first, second = (
        model.classify(image, both.names, templates) for model, image in zip(models, images, strict=True)
    )
    cut = dict.fromkeys([*first.notes.truncated, *second.notes.truncated])
    notes = Notes({**offered.notes.merged, **both.notes.merged}, tuple(cut))
    shared = first.checkpoint == second.checkpoint
    similarity = float(first.image_features @ second.image_features) if shared else None
    return Pair(first, second, similarity, time.perf_counter() - start, notes)


def check(strokes: Any, pastes: Any) -> tuple[list[Stroke], list[Paste]]:
    """What was drawn, from outside: strokes {"r", "points"} and pastes {"name", "x", "y", "size"}.

    Raises:
        Refusal: "bad_drawing" for anything else, "too_much_drawn" past 200 strokes, 20,000 points or 16 things.
    """
    try:
        lines = [
            Stroke(float(row["r"]), np.asarray(row["points"], float).reshape(-1, 2)) for row in strokes or []
        ]
        things = [
            Paste(str(row["name"]), float(row["x"]), float(row["y"]), float(row["size"]))
            for row in pastes or []
        ]
    except (TypeError, ValueError, KeyError, OverflowError):
        raise Refusal("bad_drawing") from None
    numbers = [line.points for line in lines] + [np.array([[line.radius, 0] for line in lines])] * bool(lines)
    numbers += [np.array([[thing.x, thing.y], [thing.size, 0]]) for thing in things]
    if not all(np.isfinite(one).all() and (one >= -1).all() and (one <= 2).all() for one in numbers):
        raise Refusal("bad_drawing")
    if any(not 0 < thing.size <= 2 for thing in things) or any(not 0 < line.radius <= 0.5 for line in lines):
        raise Refusal("bad_drawing")
    points = sum(len(line.points) for line in lines)
    if len(lines) > MAX_STROKES or points > MAX_POINTS or len(things) > MAX_PASTES:
        raise Refusal("too_much_drawn", strokes=MAX_STROKES, things=MAX_PASTES)
    return lines, things


def mask_of(
    size: tuple[int, int], strokes: Sequence[Stroke], boxes: Sequence[Sequence[float]] = ()
) -> np.ndarray:
    """bool [H, W]: what is painted out by strokes (shares) and boxes (xyxy pixels) on an image of width, height `size`."""
    width, height = size
    canvas = Image.new("L", size)
    pen = ImageDraw.Draw(canvas)
    for stroke in strokes:
        reach = max(1.0, stroke.radius * max(size))
        places = [(x * width, y * height) for x, y in stroke.points.tolist()]
        pen.line(places, fill=255, width=round(2 * reach), joint="curve")
        for x, y in places[:1] + places[-1:]:
            pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=255)
    for box in boxes:
        pen.rectangle([round(value) for value in box], fill=255)
    return np.asarray(canvas) > 0


def paint_out(image: Image.Image, mask: np.ndarray, fill: str = "around") -> Image.Image:
    """The image without what the mask covers.

    Args:
        image: RGB.
        mask: bool [H, W].
        fill: "around" carries the colours around it in, "grey", or "noise" with the image's own mean and deviation.

    Raises:
        Refusal: "unknown_fill", "nothing_left" where the mask covers everything.
    """
    if fill not in FILLS:
        raise Refusal("unknown_fill", name=fill, known=", ".join(FILLS))
    if not mask.any():
        return image
    if mask.all():
        raise Refusal("nothing_left")
    pixels = np.asarray(image, np.float32)
    if fill == "grey":
        new = np.full_like(pixels, GREY)
    elif fill == "noise":
        seen = pixels[~mask]
        generator = np.random.default_rng(0)
        new = generator.normal(seen.mean(0), seen.std(0) + 1e-3, pixels.shape).astype(np.float32)
    else:
        new = surroundings(pixels, ~mask)
    return Image.fromarray(np.where(mask[..., None], new, pixels).round().clip(0, 255).astype(np.uint8))


def changed(
    image: Image.Image,
    strokes: Sequence[Stroke],
    pastes: Sequence[Paste],
    boxes: Sequence[Sequence[float]],
    fill: str,
    drawing: Callable[[str], np.ndarray],
) -> Image.Image:
    """The image after everything was painted out, and then every thing was put in.

    Args:
        image: RGB.
        strokes: of the brush.
        pastes: things; one named `PATCH` paints out the square that it covers.
        boxes: that are painted out, xyxy in pixels of `image`.
        fill: as of `paint_out`.
        drawing: the sprite of a thing by its name, uint8 [h, w, 4].
    """
    squares = []
    for thing in pastes:
        if thing.name == PATCH:
            x, y, half = thing.x * image.width, thing.y * image.height, thing.size * min(image.size) / 2
            squares.append([x - half, y - half, x + half, y + half])
    edited = paint_out(image, mask_of(image.size, strokes, [*boxes, *squares]), fill)
    for thing in pastes:
        if thing.name != PATCH:
            edited = paste(edited, drawing(thing.name), thing)
    return edited


def surroundings(pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Colours of the known places carried into all others [H, W, 3]: means over ever larger areas, the nearest first.

    Args:
        pixels: float [H, W, 3].
        known: bool [H, W], somewhere true.
    """
    weight = torch.from_numpy(known.astype(np.float32))[None, None]
    value = torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).permute(2, 0, 1)[None] * weight
    levels = [(value, weight)]
    while min(levels[-1][1].shape[-2:]) > 1:
        value, weight = (F.avg_pool2d(one, 2, ceil_mode=True) for one in levels[-1])
        levels.append((value, weight))
    value, weight = levels[-1]
    filled = value / weight.clamp_min(1e-9)
    for value, weight in reversed(levels[:-1]):
        coarse = F.interpolate(filled, value.shape[-2:], mode="bilinear", align_corners=False)
        share = weight.clamp(0, 1)
        filled = torch.where(weight > 0, value / weight.clamp_min(1e-9), 0) * share + coarse * (1 - share)
    return filled[0].permute(1, 2, 0).numpy()


def paste(image: Image.Image, sprite: np.ndarray, place: Paste) -> Image.Image:
    """The image with a sprite uint8 [h, w, 4] (straight alpha) on it; what hangs over the edge is cut."""
    side = max(4, round(place.size * min(image.size)))
    thing = Image.fromarray(sprite).resize((side, side), Image.Resampling.BICUBIC)
    shown = image.copy()
    corner = round(place.x * image.width - side / 2), round(place.y * image.height - side / 2)
    shown.paste(thing, corner, thing)
    return shown
