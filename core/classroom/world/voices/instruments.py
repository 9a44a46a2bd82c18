"""How bells and musical instruments sound."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.classroom.world.synthesis import (
    Draw,
    band,
    buzz,
    harmonics,
    hold,
    partials,
    resonate,
    strike,
    unit,
)
from core.classroom.world.voices.register import Voices

NOTES = (0, 2, 4, 5, 7, 9, 11, 12)  # semitones of a major scale
CHURCH = (0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.2)
VOICES = Voices()


def melody(d: Draw, starts: Tensor, low: float, high: float) -> Tensor:
    """[N, A] the pitch of notes of a scale, one for each start."""
    steps = torch.tensor(NOTES)[torch.randint(len(NOTES), starts.shape, generator=d.generator)]
    return d.per_event(starts, d.log(low, high) * 2 ** (steps / 12))


@VOICES.add("1F514")
def bell(d: Draw) -> Tensor:
    """A hand bell, rung at a walk."""
    s = d.since(d.starts((0.16, 0.7), 0.1))
    return partials(s, (1.0, 2.0, 2.4, 3.0, 4.5, 5.3), d.log(700, 1700), d.log(0.2, 1.0))


@VOICES.add("26EA")
def church(d: Draw) -> Tensor:
    """Church bells: low, long, several at once, with the minor third that bells have."""
    total = torch.zeros(d.count, d.length)
    for level in (torch.ones(d.count, 1), d.uniform(0, 1), d.uniform(0, 0.7)):
        s = d.since(d.starts((0.5, 1.8), 0.05, 0.8)) + d.chance(0.5) * 0.3
        struck = partials(s, CHURCH, d.log(140, 560), d.log(0.8, 3.5), 0.6)
        total += level * (struck + 0.1 * d.noise() * strike(s, 0.001, 0.02))
    return total


@VOICES.add("1F941")
def drum(d: Draw) -> Tensor:
    """A skin that sinks in pitch, with or without a snare."""
    s = d.since(d.starts((0.13, 0.5), 0.03))
    pitch = d.log(55, 200) * (1 + 1.5 * torch.exp(-s / 0.03))
    skin = torch.sin(2 * math.pi * pitch * s.clamp(max=4)) * strike(s, 0.001, d.log(0.06, 0.25))
    return unit(skin) + d.uniform(0, 1) * band(d.noise(), 1000, 6000) * strike(s, 0.001, d.log(0.03, 0.12))


@VOICES.add("1F3BA")
def trumpet(d: Draw) -> Tensor:
    """Notes whose overtones grow with their loudness."""
    starts = d.starts((0.15, 0.7), 0.02)
    s = d.since(starts)
    pitch = melody(d, starts, 230, 520) * (1 + 0.006 * torch.sin(2 * math.pi * 5.5 * d.t))
    loud = strike(s, 0.03, d.uniform(0.5, 2.0)) * hold(s, d.uniform(0.14, 0.65), 0.02)
    weights = torch.stack([0.9 ** (k * (2.2 - 1.5 * loud)) for k in range(14)], 1)
    return resonate(harmonics(pitch, weights), (1200, 900, 1.0), (2400, 1200, 0.5)) * loud


@VOICES.add("1F3B8")
def guitar(d: Draw) -> Tensor:
    """Plucked strings: bright at first, soon dull."""
    starts = d.starts((0.16, 0.6), 0.03)
    s, pitch = d.since(starts), melody(d, starts, 90, 220)
    weights = torch.stack([strike(s, 0.002, 1.2 / k**0.9) / k**0.8 for k in range(1, 15)], 1)
    second = harmonics(pitch * 1.5, weights[:, :8] * d.chance(0.5)[..., None])
    return resonate(harmonics(pitch, weights) + 0.7 * second, (200, 200, 1.0), (800, 1500, 0.5))


@VOICES.add("1F3BB")
def violin(d: Draw) -> Tensor:
    """Bowed notes with vibrato."""
    starts = d.starts((0.35, 1.5), 0.03)
    s = d.since(starts)
    pitch = melody(d, starts, 200, 600) * (1 + 0.01 * torch.sin(2 * math.pi * d.uniform(4.8, 6.8) * d.t))
    x = buzz(pitch, 20, 0.9) + 0.05 * band(d.noise(), 2000, 6000)
    x = resonate(x, (d.uniform(250, 320), 120, 0.8), (d.uniform(450, 600), 200, 0.8), (2600, 1200, 0.7))
    return x * hold(s, d.uniform(0.4, 1.6), 0.1)


@VOICES.add("1F3B9")
def piano(d: Draw) -> Tensor:
    """Hammered strings, two notes at a time, slightly out of tune with themselves."""
    starts = d.starts((0.16, 0.6), 0.03)
    s, pitch = d.since(starts), melody(d, starts, 130, 520)
    weights = torch.stack([strike(s, 0.004, d.uniform(0.5, 1.4) / k**0.5) / k**1.3 for k in range(1, 10)], 1)
    chord = harmonics(pitch * d.choice(*(d.uniform(r, r + 1e-3) for r in (1.26, 1.5, 2.0))), weights, 4e-4)
    thud = 0.05 * band(d.noise(), 80, 800) * strike(s, 0.002, 0.03)
    return harmonics(pitch, weights, 4e-4) + d.uniform(0, 0.8) * chord + thud
