"""Classroom clips as features of a frozen image tower, computed once; their captions and which are true of which; the text tower
whose last layers learn. What the recipes of CLIP4Clip and ActionCLIP share.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from core.checkpoints.integrity import sha256
from core.classroom.recipes.common import tokenizer as tokens
from core.classroom.recipes.common.miniature import WEIGHTS, Miniature
from core.classroom.recipes.common.running import Plan, fast_arithmetic
from core.classroom.world.atlas import Atlas
from core.classroom.world.clips import SPINS, ClipSettings, ClipSpec, render_clips, sample_clips, times
from core.classroom.world.concepts import seen
from core.classroom.world.factors import FACTORS, values
from core.classroom.world.motions import MOTIONS, OPPOSITES, WITH_OTHER, ClipWriter

CLIPS = 32_000  # of a training: heads that see 10,000 learn them by heart
MORE_SPINS = 3  # times as many: an image tower hardly tells which way a thing leans, so a sense of turning needs many clips
FRAMES, SIZE = 8, 64
PART = 32  # clips that are drawn and encoded together
SEEDS = 1 << 40  # training seeds of clips start here; evaluation seeds are small numbers
Kind = Literal["content", "order", "whole"]
KINDS: tuple[Kind, ...] = ("content", "order", "whole")
# [M] the place of the opposite of each motion, its own where there is none.
OPPOSITE = torch.tensor([MOTIONS.index(OPPOSITES.get(name, name)) for name in MOTIONS])


@dataclass(frozen=True)
class ClipSet:
    """N clips: what is in them, and what an image tower says of their frames."""

    spec: ClipSpec
    features: Tensor  # [N, T, D] half precision, as the tower leaves them

    def __len__(self) -> int:
        return len(self.spec)

    @cached_property
    def writer(self) -> ClipWriter:
        """What writes the captions."""
        return self.spec.writer()

    @cached_property
    def facts(self) -> Tensor:
        """[N, 5]: the thing that moves, how many things, the other thing (-1 for none), the motion, the ground."""
        scene = self.spec.scene
        count = scene.count
        other = torch.where(count > 1, scene.concept[:, 1], -1)
        ground = values(scene)[:, list(FACTORS).index("ground")]
        return torch.stack([scene.concept[:, 0], count, other, self.spec.motion, ground], 1)

    def take(self, rows: Tensor | Sequence[int]) -> ClipSet:
        """The clips at these positions."""
        where = torch.as_tensor(rows)
        return ClipSet(self.spec.take(where), self.features[where])

    def sentences(
        self, rows: Sequence[int], kinds: Sequence[Kind], lang: str, forms: Sequence[int]
    ) -> list[Any]:
        """A caption of a kind for each of some clips."""
        write = {"content": lambda i, form: self.writer.content(i, lang)}
        write["order"] = lambda i, form: self.writer.order(i, lang, form)
        write["whole"] = lambda i, form: self.writer.whole(i, lang, form)
        return [write[kind](i, form) for i, kind, form in zip(rows, kinds, forms, strict=True)]

    def truth(
        self, captions: Sequence[int], kinds: Sequence[Kind], clips: Sequence[int], opposite: bool = False
    ) -> Tensor:
        """[M captions, B clips] 1 where the caption of a clip is true of a clip: of the same things, the same motion and the same
        ground, as far as its kind tells them. `opposite`: the captions tell the opposite motion in place of their own.
        """
        mine, theirs = (
            self.facts[list(captions)][:, None],
            self.facts[list(clips)][None],
        )  # [M, 1, 5], [1, B, 5]
        if opposite:
            mine = mine.clone()
            mine[..., 3] = OPPOSITE[mine[..., 3]]
        same = mine == theirs
        told = torch.tensor([kind != "content" for kind in kinds])[:, None]
        where = torch.tensor([kind != "order" for kind in kinds])[:, None]
        needs_other = torch.isin(mine[..., 3], torch.tensor([MOTIONS.index(name) for name in WITH_OTHER]))
        others = torch.where(told, same[..., 2] | ~needs_other, same[..., 1] & same[..., 2])
        motion = same[..., 3] | ~told
        ground = same[..., 4] | ~where | (mine[..., 4] < 0)
        return (same[..., 0] & others & motion & ground).float()


def encode_clips(
    tower: Miniature,
    count: int,
    seed: int,
    atlas: Atlas,
    settings: ClipSettings | None = None,
    kept: Path | None = None,
    device: str = "cpu",
) -> ClipSet:
    """Draws clips and encodes their frames, one by one.

    Args:
        tower: whose image tower it is.
        count, seed, atlas, settings: as `sample_clips` takes them.
        kept: a file that holds the features once they are computed.
        device: of the tower.
    """
    spec = sample_clips(count, seed, atlas, settings)
    if kept is not None and kept.exists():
        features = torch.load(kept, weights_only=True)
        if len(features) == count:
            return ClipSet(spec, features)
    visual = tower.model.visual.to(device)
    mean, std = tower.mean.to(device), tower.std.to(device)
    parts = []
    for start in range(0, count, PART):
        clips = render_clips(spec.take(slice(start, start + PART)), atlas, times(FRAMES), SIZE)
        pixels = (clips.picture.flatten(0, 1).to(device) - mean) / std
        with torch.inference_mode(), fast_arithmetic(torch.device(device)):
            parts.append(visual(pixels).float().unflatten(0, (-1, FRAMES)).half().cpu())
    features = torch.cat(parts).clone()
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(features, kept)
    return ClipSet(spec, features)


def trained_world(motions: Sequence[str] = MOTIONS) -> ClipSettings:
    """Clips to train on: of things that evaluations call seen, with these motions; spins are `MORE_SPINS` times as frequent."""
    spins = tuple(name for name in motions if name in SPINS)
    return ClipSettings(concepts=seen(), motions=(*motions, *spins * (MORE_SPINS - 1)))


class RunOnClips(Plan, Protocol):
    """The settings of a training run on encoded clips."""

    @property
    def clips(self) -> int: ...
    @property
    def world(self) -> ClipSettings: ...
    @property
    def device(self) -> str: ...


def clips_of_run(
    settings: RunOnClips, tower: Miniature, folder: Path, atlas: Atlas, clips: ClipSet | None = None
) -> ClipSet:
    """The clips that a run trains on: its own, whose features are kept in `out`, or the first of those encoded before.

    Args:
        folder: of the tower, whose digest names the features.
        clips: encoded before.
    """
    s = settings
    if clips is None:
        kept = s.out / f"features-{sha256(folder / WEIGHTS)[:12]}.pt"
        return encode_clips(tower, s.clips, SEEDS + (s.seed << 24), atlas, s.world, kept, s.device)
    return clips.take(range(s.clips)) if len(clips) > s.clips else clips


class Sentences(nn.Module):
    """The text tower of a miniature CLIP whose last layers learn; the first ones stay, and so do the words.

    Args:
        tower: the miniature.
        layers: how many of the last transformer layers learn, besides the norm and the projection behind them.
    """

    def __init__(self, tower: Miniature, layers: int = 1) -> None:
        super().__init__()
        self.tokenizer, self.context = tower.tokenizer, tower.context
        clip: Any = tower.model
        clip.requires_grad_(False)
        blocks = clip.transformer.resblocks
        first = len(blocks) - layers
        self.learned = nn.ModuleDict(
            {
                **{
                    f"transformer.resblocks.{first + i}".replace(".", "/"): block
                    for i, block in enumerate(blocks[first:])
                },
                "ln_final": clip.ln_final,
                "text_projection": clip.text_projection,
            }
        ).requires_grad_(True)
        self._clip = (clip,)  # hidden from torch: what stays is no part of what learns

    def to(self, *args: Any, **options: Any) -> Sentences:
        """Moves what stays as well."""
        clip = self._clip[0]
        visual, clip.visual = clip.visual, None
        clip.to(*args, **options)
        clip.visual = visual
        if clip.attn_mask is not None:
            clip.attn_mask = clip.attn_mask.to(*args, **options)
        return super().to(*args, **options)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Features [N, D], not normalised."""
        clip = self._clip[0]
        ids = tokens.tokenize(self.tokenizer, list(texts), self.context).to(clip.positional_embedding.device)
        ids = ids[:, : max(1, int((ids > 0).sum(1).max()))]
        length = ids.shape[1]
        x = clip.token_embedding(ids) + clip.positional_embedding[:length]
        x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask[:length, :length]))
        return clip.text_projection(x[torch.arange(len(ids)), ids.argmax(1)])

    def exported(self) -> dict[str, Tensor]:
        """What has learned, under the names of a video row."""
        return {
            f"clip.{name.replace('/', '.')}": tensor for name, tensor in self.learned.state_dict().items()
        }


def together(facts: Tensor, groups: int, each: int, rng: random.Random) -> list[int]:
    """A batch in which things move in several ways: `each` clips of every one of `groups` things, as far as there are so many.

    Clips of one thing differ in the motion, so that a sentence has to tell it.

    Args:
        facts: as of a `ClipSet`.
        groups, each: numbers of things and of clips of each.
        rng: draws.
    """
    by_thing: dict[int, list[int]] = {}
    for row, thing in enumerate(facts[:, 0].tolist()):
        by_thing.setdefault(thing, []).append(row)
    rows: list[int] = []
    for thing in rng.sample(sorted(by_thing), min(groups, len(by_thing))):
        rows += rng.sample(by_thing[thing], min(each, len(by_thing[thing])))
    rest = groups * each - len(rows)
    taken = set(rows)
    left = [row for row in range(len(facts)) if row not in taken] if rest > 0 else []
    return rows + rng.sample(left, min(rest, len(left)))
