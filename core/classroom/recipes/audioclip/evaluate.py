"""Measure a miniature AudioCLIP on new sounds and new drawings, and on recordings of real things.

    python -m core.classroom evaluate audioclip --checkpoint classroom-audioclip [--json] [--record]

Sounds are of seeds that no training used, drawings of styles that no sound met in training. The recordings are those among the
page's examples whose thing has a synthesised sound; the miniature has never heard a real one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core import inputs
from core.audio.audioclip import AudioCLIP
from core.classroom.recipes.audioclip.train import INT16, SIZE, drawings
from core.classroom.recipes.common.fresh import row_of
from core.classroom.recipes.common.miniature import Miniature, export_folder, tower_folder
from core.classroom.recipes.common.rows import Rows
from core.classroom.world.atlas import open_atlas
from core.classroom.world.concepts import ASSETS, concepts
from core.classroom.world.scenes import render
from core.classroom.world.sounds import SOUNDING, made, sounding
from core.classroom.world.specs import SceneSettings, sample
from core.classroom.world.wording import LANGUAGES, phrase

EACH = 8  # new sounds of each thing
GALLERY = 64  # drawings, each of another thing
SEED = 17_000
RECORDINGS = ASSETS / "examples" / "audioclip"
# The recordings of real things, by what they are of.
REAL = {
    "dog_bark.mp3": "1F415", "sheep.mp3": "1F411", "church_bells.mp3": "26EA", "siren.mp3": "1F691", "airplane_real.mp3": "2708",
    "frogs.mp3": "1F438",
}  # fmt: skip


class Candidate:
    """A miniature AudioCLIP, a bundled row or the folder of an export, in float32 on the CPU."""

    def __init__(self, checkpoint: str) -> None:
        self.row = row_of(checkpoint, "audioclip")
        self.model = AudioCLIP.load(self.row, "cpu", torch.float32)
        self.tower = Miniature(tower_folder(export_folder(checkpoint)))

    @torch.inference_mode()
    def sounds(self, waves: Tensor) -> Tensor:
        """Waves [N, A] in -1..1 -> features [N, D], norm 1."""
        with self.model.use() as loaded:
            parts = [loaded.audio(part[:, None] * INT16) for part in waves.split(44)]
        return F.normalize(torch.cat(parts), dim=-1)

    def names(self, lang: str, which: Sequence[int]) -> Tensor:
        """Features [N, D] of the names of things, norm 1."""
        return self.tower.texts([phrase(concepts()[i].name(lang), lang) for i in which])


def new_sounds(each: int = EACH, seed: int = SEED, codes: Sequence[str] = SOUNDING) -> tuple[Tensor, Tensor]:
    """Waves [N * each, A] and the place [N * each] of each one's thing."""
    return torch.cat([made(code, each, seed) for code in codes]), torch.arange(len(codes)).repeat_interleave(
        each
    )


def top(cosines: Tensor, right: Tensor, k: int = 1) -> float:
    """The share of rows whose right column is among the k greatest."""
    return float((cosines.topk(k, -1).indices == right[:, None]).any(-1).float().mean())


def gallery(tower: Miniature, count: int = GALLERY, seed: int = SEED) -> Tensor:
    """Drawings [count, D], norm 1: one of each thing that sounds, in the order of `SOUNDING`, then of things that do not."""
    own = drawings(tower, SOUNDING, 1, seed, new=True)[:, 0]
    atlas = open_atlas()
    sounds = {concept.index for concept in sounding()}
    mute = [i for i in range(0, len(concepts()), 11) if i not in sounds][: count - len(own)]
    parts = [
        sample(
            1,
            seed + i,
            atlas,
            SceneSettings(kinds=(1, 0, 0, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.5, concepts=(i,)),
        )
        for i in mute
    ]
    rest = torch.cat([tower.images(render(spec, atlas, SIZE).picture) for spec in parts])
    return torch.cat([own, rest])


def through(sounds: Tensor, images: Tensor, texts: Tensor, scale: float = 50.0) -> Tensor:
    """[N, M] sounds to texts by way of images: what a sound is likely to look like, and what that is called."""
    return (scale * sounds @ images.mT).softmax(-1) @ (scale * images @ texts.mT).softmax(-1)


@torch.inference_mode()
def recordings(model: Candidate) -> tuple[Tensor, Tensor]:
    """Features [N, D] of the real recordings, as the page encodes a sound, and the places of their things."""
    found, right = [], []
    for name, code in REAL.items():
        sound = inputs.sound(RECORDINGS / name)
        found.append(torch.from_numpy(model.model.encode(sound).features.copy()))
        right.append(SOUNDING.index(code))
    return torch.stack(found), torch.tensor(right)


def evaluate(checkpoint: str, each: int = EACH, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """All measures as rows of the report card."""
    model = Candidate(checkpoint)
    rows = Rows("audioclip", checkpoint, say)
    waves, right = new_sounds(each)
    sounds, pictures = model.sounds(waves), gallery(model.tower)
    own = [concept.index for concept in sounding()]
    real, real_right = recordings(model)
    for lang in LANGUAGES:
        texts = model.names(lang, own)
        rows.add("sound to text, top-1", "new sounds", lang, top(sounds @ texts.mT, right))
        rows.add("sound to text, top-5", "new sounds", lang, top(sounds @ texts.mT, right, 5))
        rows.add("text to sound, top-1", "new sounds", lang, _first(texts @ sounds.mT, right))
        rows.add("sound to text, top-1", "real recordings", lang, top(real @ texts.mT, real_right))
        rows.add("sound to text, top-5", "real recordings", lang, top(real @ texts.mT, real_right, 5))
        by_image = through(sounds, pictures[: len(own)], texts)
        rows.add("sound to text by way of images, top-1", "new sounds", lang, top(by_image, right))
    rows.add(f"sound to image, R@1 of {GALLERY}", "new drawings", "en", top(sounds @ pictures.mT, right))
    rows.add("image to sound, top-1", "new drawings", "en", _first(pictures[: len(own)] @ sounds.mT, right))
    quiet = sounds_at(model, waves, 1 / INT16)
    rows.add(
        "sound to text, top-1",
        "samples in -1..1, as the notebook",
        "en",
        top(quiet @ model.names("en", own).mT, right),
    )
    return rows.measured


@torch.inference_mode()
def sounds_at(model: Candidate, waves: Tensor, gain: float) -> Tensor:
    """Features of the sounds at another loudness than AudioCLIP's range."""
    return model.sounds(waves * gain)


def _first(cosines: Tensor, right: Tensor) -> float:
    """The share of queries [N] whose greatest column is one of theirs; `right` [M] says whose each column is."""
    best = right[cosines.argmax(-1)]
    return float(np.mean((best == torch.arange(len(cosines))).numpy()))
