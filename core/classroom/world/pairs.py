"""Pictures with captions of which no two are the same: batches whose right answers are the diagonal alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image

from core.classroom.world.atlas import open_atlas
from core.classroom.world.captions import Writer
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, sample

# Single objects and pairs in colour, on any background; a pair's caption tells who is where.
SCENES = SceneSettings(kinds=(0.6, 0.4, 0, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.3, poses=0.0, pairs="any")


@dataclass(frozen=True)
class Pair:
    """An image and its plain caption in both languages, by language."""

    picture: Image.Image
    caption: dict[str, str]


def captioned(count: int, seed: int, size: int = 224) -> list[Pair]:
    """`count` scenes of a seed, drawn at `size` pixels; the first of a longer row are the same scenes."""
    atlas = open_atlas()
    spec = sample(512, seed, atlas, SCENES)
    writer = Writer(spec)
    captions = [{lang: writer.content(i, lang).text for lang in ("en", "zh")} for i in range(len(spec))]
    seen: set[str] = set()
    chosen: list[int] = []
    for i, caption in enumerate(captions):
        if len(chosen) < count and seen.isdisjoint(caption.values()):
            seen.update(caption.values())
            chosen.append(i)
    pictures = render(spec.take(torch.tensor(chosen)), atlas, size).picture
    pixels = (pictures.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    return [Pair(Image.fromarray(pixels[k]), captions[i]) for k, i in enumerate(chosen)]
