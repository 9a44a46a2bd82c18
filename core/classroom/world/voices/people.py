"""How people sound."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.classroom.world.synthesis import (
    Draw,
    arch,
    band,
    buzz,
    hold,
    strike,
    throat,
    turns,
    unit,
)
from core.classroom.world.voices.register import Voices

VOICES = Voices()


@VOICES.add("1F62D")
def crying(d: Draw) -> Tensor:
    """A baby's cry: long arcs, breath between them."""
    s, length = d.since(d.starts((0.7, 1.4), 0.1)), d.log(0.5, 1.1)
    pitch = d.log(320, 600) * (0.85 + 0.25 * arch(s, length)) * (1 + 0.02 * d.wander(20))
    x = throat(d, buzz(pitch, 20, 0.4) + 0.08 * d.noise(), (900, 1300), (1700, 2400), (3200, 4200))
    return x * hold(s, length, 0.08) + 0.08 * band(d.noise(), 1500, 5000) * hold(s - length, 0.2, 0.05)


@VOICES.add("1F600")
def laughing(d: Draw) -> Tensor:
    """Ha-ha-ha: voice and breath in turn, sinking."""
    starts = d.starts((0.14, 0.24), 0.1)
    s, length = d.since(starts), d.uniform(0.07, 0.12)
    pitch = d.log(140, 420) * (1.15 - 0.35 * d.t / d.seconds) * (1.1 - 0.2 * (s / length).clamp(0, 1))
    x = throat(d, buzz(pitch, 24, 0.7), (650, 950), (1100, 1600), (2400, 3200)) * hold(s, length, 0.02)
    return x + 0.3 * band(d.noise(), 800, 5000) * hold(s - length, 0.06, 0.02)


@VOICES.add("1F634")
def snoring(d: Draw) -> Tensor:
    """Air that rattles in, and flows out."""
    s, length = d.since(d.starts((1.3, 2.6), 0.05, 0.3)), d.uniform(0.6, 1.1)
    rattle = turns(d.log(25, 70) * (1 + 0.2 * d.wander(3))) / (2 * math.pi)
    x = d.noise(1.0) * torch.exp(-4 * rattle) + 0.2 * d.noise()
    snore = throat(d, x, (250, 500), (800, 1300), (1800, 2800)) * arch(s, length)
    out = 0.25 * band(d.noise(), 600, 3000) * arch(s - length - 0.1, 0.6) * (s > length)
    return snore * (s < length) + out


@VOICES.add("1F463")
def footsteps(d: Draw) -> Tensor:
    """Heel and sole, on something that crunches more or less."""
    s = d.since(d.starts((0.3, 0.75), 0.05))
    heel = band(d.noise(), 60, d.log(200, 700)) * strike(s, 0.002, d.log(0.02, 0.05))
    sole = band(d.noise(), 800, 6000) * hold(s - 0.03, d.uniform(0.06, 0.16), 0.03)
    return unit(heel) + d.uniform(0.1, 0.9) * sole * (0.3 + d.wander(60, 0, 1))
