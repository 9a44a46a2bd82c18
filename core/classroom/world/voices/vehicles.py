"""How vehicles sound."""

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
    turns,
    unit,
)
from core.classroom.world.voices.register import Voices

METAL = (1.0, 2.76, 5.4, 8.9)  # a bar or a small bell
VOICES = Voices()


def engine(d: Draw, pitch: Tensor, rough: float) -> Tensor:
    """Explosions at a pitch, each a little different."""
    x = buzz(pitch * (1 + 0.02 * d.noise(1.0)), 30, 0.7) + rough * d.noise(1.0)
    return resonate(x, (d.uniform(80, 160), 80, 1.0), (d.uniform(300, 600), 250, 0.5), (1800, 1200, 0.15))


@VOICES.add("1F697")
def car(d: Draw) -> Tensor:
    """A horn of two tones, over an idling engine."""
    s, length = d.since(d.starts((0.3, 1.2), 0.2)), d.log(0.15, 0.7)
    low = d.log(300, 480).expand(-1, d.length)
    horn = buzz(low, 16, 0.5) + buzz(low * d.uniform(1.18, 1.27), 16, 0.5)
    motor = engine(d, d.log(25, 50).expand(-1, d.length), 0.8)
    return unit(horn) * hold(s, length, 0.02) + d.uniform(0.05, 0.4) * motor


@VOICES.add("1F3CD")
def motorcycle(d: Draw) -> Tensor:
    """An engine that is revved."""
    throttle = d.wander(1.5, 0.0, 1.0)
    pitch = d.log(35, 70) * (1 + d.uniform(0.5, 2.5) * throttle)
    return engine(d, pitch, 0.4) * (0.4 + 0.6 * throttle)


@VOICES.add("1F691")
def ambulance(d: Draw) -> Tensor:
    """A siren: one that wails, slowly or fast, or one of two tones."""
    beat = d.log(0.25, 4.0) * d.t + d.uniform(0, 1)
    low, span = d.log(380, 900), d.uniform(1.25, 2.4)
    wail = low * span ** (0.5 - 0.5 * torch.cos(2 * math.pi * beat))
    rise = low * span ** (beat % 1.0)
    two = low * torch.where(beat % 1.0 < 0.5, 1.0, d.uniform(1.2, 1.4))
    weights = torch.stack([torch.ones(d.count), *(d.uniform(0, 0.5)[:, 0] for _ in range(5))], 1)
    return harmonics(d.choice(wail, wail, rise, two) * (1 + 0.01 * d.wander(1)), weights)


@VOICES.add("1F682")
def locomotive(d: Draw) -> Tensor:
    """Steam in beats, and a whistle of three pipes."""
    chuff = d.since(d.starts((0.14, 0.5), 0.04, 0.1))
    steam = band(d.noise(), 200, d.uniform(2500, 5000)) * strike(chuff, 0.02, d.uniform(0.05, 0.12))
    s = d.since(d.starts((1.2, 3.0), first=1.0))
    root = d.log(380, 650).expand(-1, d.length)
    pipes = sum((buzz(root * ratio, 5, 1.2) for ratio in (1.0, 1.26, 1.5)), torch.zeros(d.count, d.length))
    whistle = unit(pipes) + 0.2 * band(d.noise(), 1000, 4000)
    return unit(steam) + d.uniform(0, 1.2) * whistle * hold(s, d.uniform(0.4, 1.2), 0.08)


@VOICES.add("1F681")
def helicopter(d: Draw) -> Tensor:
    """Blades that beat the air, over a turbine."""
    blade = turns(d.log(8, 20).expand(-1, d.length)) / (2 * math.pi)
    thump = torch.exp(-blade * d.uniform(3, 8))
    air = band(d.noise(), 40, d.uniform(300, 1200)) * thump
    return unit(air) + d.uniform(0.05, 0.3) * band(d.noise(), 600, 4000) * (0.5 + thump)


@VOICES.add("2708")
def airplane(d: Draw) -> Tensor:
    """A jet that passes: broad noise whose weight sinks, with or without the drone of propellers."""
    near = torch.exp(-(((d.t - d.uniform(0, d.seconds)) / d.uniform(0.6, 3.0)) ** 2))
    roar = band(d.noise(), d.log(40, 150), d.log(500, 2500)) + 0.3 * band(d.noise(), 1500, 6000) * near
    drone = buzz(d.log(60, 160) * (1.03 - 0.06 * d.t / d.seconds), 20, 0.8)
    return unit(roar) * (0.3 + near) + d.chance(0.5) * d.uniform(0, 0.8) * drone * (0.3 + near)


@VOICES.add("1F6A2")
def ship(d: Draw) -> Tensor:
    """A horn that is felt more than heard."""
    s, length = d.since(d.starts((1.5, 3.0), first=0.4)), d.uniform(0.9, 1.8)
    x = buzz(d.log(65, 170) * (0.97 + 0.03 * (s / 0.2).clamp(0, 1)), 24, 0.6)
    return resonate(x, (d.uniform(150, 300), 150, 1.0), (700, 500, 0.3)) * hold(s, length, 0.15)


@VOICES.add("1F6B2")
def bicycle(d: Draw) -> Tensor:
    """Ring-ring: a small bell, struck many times in a hurry."""
    ring = d.since(d.starts((0.5, 1.0), 0.1))
    rate = d.uniform(14, 26)
    s = torch.where(ring < d.uniform(0.25, 0.4), ring * rate % 1.0 / rate, ring)
    return partials(s, METAL, d.log(1700, 3000), d.uniform(0.15, 0.5)) * (ring < 900)
