"""Which pairs were trained, and which follow by themselves: each of the three terms of the loss left out in turn.

    python -m core.classroom ablate audioclip --steps 300 [--record]

All three towers are frozen, the audio tower of the shipped miniature among them, and a linear map behind each begins at random.
Only the maps learn, so that nothing is aligned before, and a run takes a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.audio import objectives
from core.audio.fbsp import FrontEnd
from core.classroom.recipes.audioclip.evaluate import SEED as NEW
from core.classroom.recipes.audioclip.evaluate import Candidate, new_sounds, through, top
from core.classroom.recipes.audioclip.train import INT16, SEED, drawings, sentences
from core.classroom.world.sounds import SOUNDING

SOUNDS, DRAWINGS, EXAM = 16, 16, 4  # of each thing: to learn from, and new ones to be asked
WIDTH, SCALE, RATE = 64, 20.0, 3e-3
BATCH_NOISE = 1 << 16  # seeds of batches lie above those of the maps
VARIANTS: dict[str, tuple[objectives.Pair, ...]] = {
    "all three": objectives.PAIRS,
    **{
        f"without {'-'.join(left)}": tuple(p for p in objectives.PAIRS if p != left)
        for left in objectives.PAIRS
    },
}


@dataclass(frozen=True)
class Things:
    """Features of N things from frozen towers, norm 1: [N, K, D] of each modality."""

    audio: Tensor
    image: Tensor
    text: Tensor

    def of(self, name: str) -> Tensor:
        """A modality's."""
        found: Tensor = getattr(self, name)
        return found


@torch.inference_mode()
def things(model: Candidate, sounds: int, drawn: int, seed: int, new: bool) -> Things:
    """Sounds as the audio tower pools them, before its last layer; drawings; sentences."""
    waves, _ = new_sounds(sounds, seed)
    parts = []
    with model.model.use() as loaded:
        for part in waves.split(44):
            parts.append(loaded.audio.see(FrontEnd.forward(loaded.audio, part[:, None] * INT16)).pooled)
    audio = F.normalize(torch.cat(parts), dim=-1).unflatten(0, (len(SOUNDING), -1))
    images = drawings(model.tower, SOUNDING, drawn, seed, new=new)
    return Things(audio.clone(), images.clone(), sentences(model.tower, SOUNDING, "en").clone())


class Maps(nn.ModuleDict):
    """A linear map behind each tower."""

    def __init__(self, known: Things, width: int = WIDTH) -> None:
        super().__init__({name: nn.Linear(known.of(name).shape[-1], width) for name in objectives.MODALITIES})

    def of(self, name: str, features: Tensor) -> Tensor:
        """Features as the loss sees them, norm 1."""
        return F.normalize(self[name](features), dim=-1)


def trained(known: Things, pairs: Sequence[objectives.Pair], steps: int, seed: int) -> Maps:
    """Maps that learned from batches that hold each thing once."""
    torch.manual_seed(seed)
    maps, count = Maps(known), len(SOUNDING)
    optimizer = torch.optim.AdamW(maps.parameters(), lr=RATE, weight_decay=0.05)
    generator = torch.Generator().manual_seed(BATCH_NOISE + seed)
    every = torch.arange(count)
    for _ in range(steps):
        batch = {}
        for name in objectives.MODALITIES:
            features = known.of(name)
            chosen = torch.randint(features.shape[1], (count,), generator=generator)
            batch[name] = maps.of(name, features[every, chosen])
        loss = objectives.loss(objectives.logits(batch, dict.fromkeys(pairs, SCALE)).values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return maps.eval()


@torch.inference_mode()
def measured(maps: Maps, new: Things) -> dict[str, float]:
    """Top-1 of each pair on new sounds and new drawings: straight, and by way of the third modality."""
    every = {name: maps.of(name, new.of(name)) for name in objectives.MODALITIES}
    one = {name: F.normalize(features.mean(1), dim=-1) for name, features in every.items()}  # of each thing
    found = {}
    words = {"audio": "sound", "image": "image", "text": "text"}
    for a, b in objectives.PAIRS:
        (third,) = set(objectives.MODALITIES) - {a, b}
        queries = every[a].flatten(0, 1)
        right = torch.arange(len(SOUNDING)).repeat_interleave(every[a].shape[1])
        name = f"{words[a]} to {words[b]}"
        found[name] = top(queries @ one[b].T, right)
        found[f"{name} by way of {words[third]}s"] = top(through(queries, one[third], one[b], SCALE), right)
    return found


def rows(
    steps: int, seeds: Sequence[int], checkpoint: str = "classroom-audioclip"
) -> Iterator[tuple[str, str, list[float]]]:
    """Measure, variant and its values, one for each seed."""
    model = Candidate(checkpoint)
    known = things(model, SOUNDS, DRAWINGS, SEED, new=False)
    new = things(model, EXAM, EXAM, NEW, new=True)
    for name, pairs in VARIANTS.items():
        found = [measured(trained(known, pairs, steps, seed), new) for seed in seeds]
        for measure in found[0]:
            yield f"ablation of pairs: {measure}", name, [one[measure] for one in found]
