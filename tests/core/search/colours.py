"""A space without a network: images, frames and colour words by their mean colour. And folders of coloured files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.search import index
from core.search.store import Part, open_store

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 30),
    "blue": (30, 30, 220),
    "yellow": (230, 220, 30),
    "grey": (128, 128, 128),
}


class Words:
    """Twelve words are read."""

    unknown = None

    def whole(self, text: str) -> tuple[int, ...]:
        return tuple(hash(word) for word in text.split())

    def is_cut(self, text: str) -> bool:
        return len(self.whole(text)) > 12


class ColourSpace:
    """What `core.search` asks of a space."""

    checkpoint = "colours"
    is_joint = False
    hearing = None
    audible = None
    side = 16
    language = "en"
    settings: dict[str, Any] = {"same": 0.999, "sounds": "none"}  # noqa: RUF012
    visual = Part("colours", "colours", 8, 0.999)
    parts = (visual,)
    tokenize = Words()

    class model:
        device = "cpu"

    def images(self, images: Sequence[Image.Image]) -> np.ndarray:
        return np.stack([feature(np.asarray(image, float).reshape(-1, 3).mean(0)) for image in images])

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """The feature of a colour; other words mean colours of their own."""
        drawn = (np.random.default_rng(sum(map(ord, text))).integers(0, 255, 3) for text in texts)
        return np.stack(
            [feature(np.array(COLOURS.get(text, other))) for text, other in zip(texts, drawn, strict=True)]
        )


def feature(colour: np.ndarray) -> np.ndarray:
    """[8], norm 1."""
    centred = np.zeros(8)
    centred[:3] = colour - np.mean(colour)
    centred[3] = 20
    return (centred / np.linalg.norm(centred)).astype(np.float32)


def paint(path: Path, colour: str, seed: int = 0, size: tuple[int, int] = (40, 40)) -> Path:
    """An image of nearly one colour; no two seeds give the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    pixels = (
        np.array(COLOURS[colour]) + draw.integers(-25, 25, 3) + draw.integers(0, 20, (size[1], size[0], 3))
    )
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


def fill(folder: Path, count: int) -> None:
    """So many images of all colours in turn."""
    for at in range(count):
        colour = list(COLOURS)[at % len(COLOURS)]
        paint(folder / f"{colour}" / f"{at:03d}.png", colour, at)


def run(store: Any, folder: Path, **options: Any) -> index.Step:
    """Indexes a folder to the end; the last step."""
    steps = list(index.update(store, ColourSpace(), folder, root="files", **options))  # type: ignore[arg-type]
    return steps[-1]


def find(store: Any, words: str, **options: Any) -> Any:
    """The answer to words."""
    from core.search import query  # brings torch, which the process that is killed does without

    return query.search(store, ColourSpace(), query.parse(words), **options)  # type: ignore[arg-type]


def crash() -> None:
    """A process that indexes and says what is committed, for a test that kills it: store, folder."""
    index.TOGETHER, index.COMMIT_SECONDS = 2, 0.0
    store = open_store(sys.argv[1])
    print("ready", flush=True)
    for step in index.update(store, ColourSpace(), Path(sys.argv[2]), root="files"):  # type: ignore[arg-type]
        print(step.unchanged + step.done, flush=True)


if __name__ == "__main__":
    crash()
