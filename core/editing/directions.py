"""The style channels of a generator: where they lie, one moved by hand, and those that a text switches on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from core import inputs
from core.checkpoints import Checkpoint
from core.clip import prompts
from core.editing import global_direction, judges, mapper
from core.editing.judges import Judge
from core.editing.stylegan2 import Generator

PUBLISHED_CHANNELS = 5376  # the published relevance has so many


@dataclass(frozen=True)
class StyleLayer:
    """One vector of StyleSpace.

    name: of what it scales. side: of the map, in pixels. latent: the vector of W+ that it comes from. level: "coarse",
    "medium" or "fine", by that vector.
    """

    index: int
    name: str
    side: int
    channels: int
    to_rgb: bool
    latent: int
    level: str


@dataclass(frozen=True)
class StyleChannel:
    """One channel of a direction: its layer and its number there, what the text says of it, how far it varies."""

    layer: int
    channel: int
    side: int
    level: str
    score: float
    deviation: float


@dataclass(frozen=True)
class TextDirection:
    """What two texts do to StyleSpace.

    channels: those that are moved, strongest first. scores: [C] float32 of all measured channels.
    """

    neutral: str
    target: str
    beta: float
    channels: tuple[StyleChannel, ...]
    scores: np.ndarray = field(repr=False)

    @property
    def count(self) -> int:
        """How many channels are moved."""
        return len(self.channels)

    @property
    def few(self) -> bool:
        """Whether so few channels are moved that CLIP hardly tells the two texts apart by what the generator can do."""
        return self.count < global_direction.FEW * min(1.0, len(self.scores) / PUBLISHED_CHANNELS)


@dataclass(frozen=True)
class Grid:
    """A start under strengths alpha and thresholds beta: images [B, A, H, W, 3] uint8, how many channels each beta moves [B],
    and the cosines of both CLIPs with the target [B, A]."""

    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    images: np.ndarray
    counts: tuple[int, ...]
    guide: np.ndarray | None = None
    other: np.ndarray | None = None


class Measured(Protocol):
    """A loaded row whose channels have been measured: their relevance [C, D], and their deviations by layer."""

    row: Checkpoint
    device: str
    generator: Generator
    relevance: Tensor

    @property
    def factors(self) -> Mapping[str, Sequence[str]]:
        """What a state may name."""

    @property
    def templates(self) -> Mapping[str, Sequence[str]]:
        """Wordings of a text, by language."""

    @property
    def deviations(self) -> list[Tensor]:
        """Of the channels of every layer, [C] each."""


def levels(latents: int) -> dict[str, slice]:
    """The vectors of W+ that decide the coarse, the medium and the fine of an image."""
    return dict(zip(("coarse", "medium", "fine"), mapper.groups(latents).values(), strict=True))


def layers(generator: Generator) -> tuple[StyleLayer, ...]:
    """All vectors of StyleSpace, in order."""
    parts = levels(generator.architecture.latents)
    made = []
    for i, (conv, latent) in enumerate(generator.layers):
        side = 4 if i < 2 else generator.sides[(i - 2) // 3]
        to_rgb = i in generator.to_rgb
        name = "to_rgb" if to_rgb else "conv1" if i == 0 else ("upsample", "conv")[(i - 2) % 3]
        level = next(one for one, part in parts.items() if part.start <= latent < part.stop)
        made.append(StyleLayer(i, name, side, conv.weight.shape[2], to_rgb, latent, level))
    return tuple(made)


def wordings(templates: Mapping[str, Sequence[str]], text: str) -> list[str]:
    """A text in the row's templates of its language."""
    language = "zh" if any("\u4e00" <= letter <= "\u9fff" for letter in text) else "en"
    return [prompts.fill(template, text) for template in templates[language]]


def way(loaded: Measured, neutral: str, target: str, beta: float) -> global_direction.Direction:
    """The direction of two texts. Without a neutral one it begins at the mean of all things that the row can show."""
    guide = next(iter(loaded.row.requires))
    with judges.use(guide, loaded.device) as encoder:
        see = Judge(encoder)
        away = see.texts(wordings(loaded.templates, neutral) if neutral else list(loaded.factors["thing"]))
        text = global_direction.text_direction(see.texts(wordings(loaded.templates, target)), away)
    to_rgb = loaded.generator.to_rgb
    return global_direction.direction(loaded.relevance, text, loaded.deviations, to_rgb, beta)


def describe(loaded: Measured, neutral: str, target: str, beta: float) -> TextDirection:
    """The direction of two texts, as plain values."""
    found = way(loaded, neutral, target, beta)
    scores = found.scores.cpu().numpy()
    known = [layer for layer in layers(loaded.generator) if not layer.to_rgb]
    places = [(layer, channel) for layer in known for channel in range(layer.channels)][: len(scores)]
    channels = [
        StyleChannel(
            layer.index,
            channel,
            layer.side,
            layer.level,
            float(scores[i]),
            float(loaded.deviations[layer.index][channel]),
        )
        for i, (layer, channel) in enumerate(places)
        if bool(found.chosen[i])
    ]
    channels.sort(key=lambda one: -abs(one.score))
    return TextDirection(neutral, target, beta, tuple(channels), scores)


def moved(
    loaded: Measured,
    w_plus: Tensor,
    neutral: str,
    target: str,
    alphas: Sequence[float],
    betas: Sequence[float],
) -> tuple[Tensor, list[int]]:
    """Images [B * A, 3, H, W] in -1..1 of a latent under every beta and alpha, and how many channels each beta moves."""
    styles, counts, parts = loaded.generator.styles(w_plus), [], []
    for beta in betas:
        found = way(loaded, neutral, target, beta)
        counts.append(int(found.chosen.sum()))
        parts.append([style[0] for style in global_direction.moved(styles, found.layers, alphas)])
    together = [torch.cat([part[i] for part in parts]) for i in range(len(styles))]
    return loaded.generator.synthesise(together), counts


def by_hand(loaded: Measured, w_plus: Tensor, layer: int, channel: int, amounts: Sequence[float]) -> Tensor:
    """Images [K, 3, H, W] in -1..1 with one channel moved by so many deviations.

    Raises:
        Refusal: "out_of_range" for a layer or channel that the generator does not have.
    """
    known = loaded.generator.style_widths
    layer = int(inputs.number("layer", layer, 0, len(known) - 1))
    channel = int(inputs.number("channel", channel, 0, known[layer] - 1))
    styles = [style.expand(len(amounts), -1).clone() for style in loaded.generator.styles(w_plus)]
    styles[layer][:, channel] += torch.tensor(amounts).to(styles[layer]) * loaded.deviations[layer][channel]
    return loaded.generator.synthesise(styles)
