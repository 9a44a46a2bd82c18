"""Moments of a drawing as a film: pixels of all of them, GIF, MP4, and an SVG that draws itself."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image

from core import runtime
from core.drawing.optimise import Scenes
from core.drawing.rasterize import render
from core.drawing.strokes import CANVAS, Strokes
from core.mp4 import mp4 as write_mp4

# Images that are rendered together.
AT_ONCE = 8
GIF_COLOURS = 64


def parts(moments: Sequence[Strokes], side: int) -> Iterator[np.ndarray]:
    """Drawings on one background, a few at a time: uint8 [F, side, side, 3] of up to AT_ONCE each."""
    scale = side / CANVAS
    for first in range(0, len(moments), AT_ONCE):
        scenes = Scenes.stack(moments[first : first + AT_ONCE], "cpu")
        with runtime.semaphore("cpu"), torch.no_grad():
            images = render(
                scenes.points * scale, scenes.widths * scale, scenes.colors, side, moments[0].background
            )
        yield (images.permute(0, 2, 3, 1).clamp(0, 1) * 255).round().byte().numpy()


def pixels(moments: Sequence[Strokes], side: int) -> np.ndarray:
    """Drawings on one background as uint8 [F, side, side, 3]."""
    return np.concatenate(list(parts(moments, side)))


def _times(count: int, seconds: float, hold: float) -> list[int]:
    """Milliseconds of each of `count` images, of which the last one stays."""
    each = max(20, round(1000 * seconds / max(1, count)))
    return [each] * (count - 1) + [each + round(1000 * hold)]


def gif(pictures: np.ndarray, seconds: float, hold: float = 2.0) -> bytes:
    """A GIF that repeats.

    Args:
        pictures: uint8 [F, H, W, 3].
        seconds: of the drawing; hold: of its end.
    """
    # The last image has every colour of a drawing: one palette, so that nothing flickers.
    palette = Image.fromarray(pictures[-1]).quantize(GIF_COLOURS, method=Image.Quantize.MEDIANCUT)
    frames = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    file = io.BytesIO()
    frames[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=_times(len(frames), seconds, hold),
        loop=0,
        optimize=False,
    )
    return file.getvalue()


def mp4(pictures: np.ndarray, seconds: float, hold: float = 2.0) -> bytes:
    """An MP4 film.

    Args:
        pictures: uint8 [F, H, W, 3]; sides even.
        seconds: of the drawing; hold: of its end.

    Raises:
        Refusal: "no_film" where the video library writes neither H.264 nor AV1.
    """
    return write_mp4(pictures, _times(len(pictures), seconds, hold))


def svg(moments: Sequence[Strokes], seconds: float) -> str:
    """A standard SVG whose strokes move as they were optimised, and stay at the end.

    Args:
        moments: of one run, first to last; all have the same strokes.
        seconds: of the film.

    Returns:
        The document of the last moment with SMIL animations; where these are not played it is that drawing.
    """
    S = len(moments[-1])
    paths = [moment.paths() for moment in moments]  # [F][S]
    widths = np.stack([moment.widths for moment in moments]).round(2)
    colors = np.stack([moment.colors for moment in moments])
    rgb = (colors[..., :3].clip(0, 1) * 255).round().astype(int)
    alpha = colors[..., 3].round(3)

    def animate(name: str, values: Sequence[str]) -> str:
        if len(set(values)) == 1:
            return ""
        return (
            f'<animate attributeName="{name}" dur="{seconds:g}s" fill="freeze" values="{";".join(values)}"/>'
        )

    moving = [
        animate("d", [path[i] for path in paths])
        + animate("stroke-width", [f"{value:g}" for value in widths[:, i]])
        + animate("stroke", ["#{:02x}{:02x}{:02x}".format(*value) for value in rgb[:, i]])
        + animate("stroke-opacity", [f"{value:g}" for value in alpha[:, i]])
        for i in range(S)
    ]
    still = moments[-1].svg()
    parts = re.split(r"(<path [^>]*)/>", still)  # text, path, text, path, ... text
    if len(parts) != 2 * S + 1:
        raise ValueError("an SVG with one path for each stroke was expected")
    filled = [f"{path}>{inside}</path>" for path, inside in zip(parts[1::2], moving, strict=True)]
    return "".join(text for pair in zip(parts[::2], [*filled, ""], strict=True) for text in pair)
