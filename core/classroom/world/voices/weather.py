"""How weather, water and fire sound."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.classroom.world.synthesis import (
    Draw,
    band,
    resonate,
    strike,
    unit,
)
from core.classroom.world.voices.register import Voices

VOICES = Voices()


def sparse(d: Draw, rate: Tensor, decay: float) -> Tensor:
    """Clicks at random times, so many a second: each a short noise."""
    hits = (torch.rand(d.count, d.length, generator=d.generator) < rate / 16_000).float()
    hits = hits * torch.rand(d.count, d.length, generator=d.generator).square()
    size = 2 * d.length
    shape = torch.exp(-d.t / decay)[None]
    spread = torch.fft.irfft(torch.fft.rfft(hits, size) * torch.fft.rfft(shape, size), n=size)[:, : d.length]
    return spread.clamp(min=0) * d.noise()


@VOICES.add("1F327")
def rain(d: Draw) -> Tensor:
    """A steady hiss of many drops, single ones before it."""
    hiss = band(d.noise(), d.log(400, 1500), 7900)
    return hiss + d.uniform(0.3, 1.5) * band(sparse(d, d.log(100, 800), 0.004), 800, 7000)


@VOICES.add("26A1")
def lightning(d: Draw) -> Tensor:
    """Thunder: a crack, and a rumble that rolls."""
    s = d.since(d.starts((2.5, 5.0), first=0.6))
    crack = d.uniform(0, 1) * band(d.noise(), 300, 6000) * strike(s, 0.003, d.log(0.05, 0.2))
    rumble = (
        band(d.noise(), 30, d.log(120, 350)) * d.wander(6, 0.2, 1.0) * strike(s, 0.05, d.uniform(0.6, 2.0))
    )
    return crack + unit(rumble)


@VOICES.add("1F32A")
def tornado(d: Draw) -> Tensor:
    """Wind: noise whose pitch rises and falls with its strength."""
    gust = d.wander(1.5, 0.0, 1.0)
    low = resonate(d.noise(), (d.log(200, 400), d.uniform(40, 150), 1.0))
    high = resonate(d.noise(), (d.log(600, 1300), d.uniform(60, 250), 1.0))
    return (low * (1 - gust) + high * gust) * (0.3 + gust) + 0.2 * d.noise(1.5)


@VOICES.add("1F30A")
def wave(d: Draw) -> Tensor:
    """Surf: a swell that breaks into foam and runs out."""
    beat = d.log(0.3, 0.8) * d.t + d.uniform(0, 1)
    swell = (beat % 1.0) ** d.uniform(0.7, 2.0) * torch.exp(-6 * (beat % 1.0 - 0.7).clamp(min=0))
    return band(d.noise(), 80, 900) * (0.2 + swell) + band(
        d.noise(), 1000, 7000
    ) * swell.square() * d.uniform(0.5, 1.5)


@VOICES.add("1F525")
def fire(d: Draw) -> Tensor:
    """Crackles over a low flutter."""
    crackle = band(sparse(d, d.log(6, 40), 0.003), 700, 7500)
    return crackle * d.uniform(0.8, 2) + 0.4 * band(d.noise(), 40, 300) * d.wander(8, 0.2, 1.0)


@VOICES.add("1F4A7")
def drop(d: Draw) -> Tensor:
    """Drips: a bubble whose pitch rises as it closes."""
    starts = d.starts((0.18, 0.9), 0.2)
    s, pitch = d.since(starts), d.per_event(starts, d.log(500, 2200, starts.shape[1]))
    rise = pitch * s.clamp(max=1) * (1 + d.uniform(2, 8) * s.clamp(max=0.2))
    return torch.sin(2 * math.pi * rise) * strike(s, 0.001, d.log(0.015, 0.06))
