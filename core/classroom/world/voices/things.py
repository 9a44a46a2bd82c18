"""How clocks, tools and other things sound."""

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
    partials,
    resonate,
    strike,
    turns,
    unit,
)
from core.classroom.world.voices.register import Voices

VOICES = Voices()


@VOICES.add("23F0")
def alarm_clock(d: Draw) -> Tensor:
    """Beeps in groups of four, with hard edges."""
    group = d.since(d.starts((0.6, 1.1), 0.0))
    step = d.uniform(0.08, 0.14)
    s = torch.where(group < 4 * step, group % step, 9.0)
    tone = torch.tanh(4 * torch.sin(turns(d.log(900, 3200).expand(-1, d.length))))
    return tone * hold(s, step * d.uniform(0.4, 0.6), 0.003)


@VOICES.add("1F570")
def clock(d: Draw) -> Tensor:
    """Tick, tock: two clicks that ring in wood."""
    starts = d.starts((0.25, 0.9), 0.02)
    s = d.since(starts)
    even = d.per_event(starts, (torch.arange(starts.shape[1]) % 2).float().expand(d.count, -1))
    pitch = d.log(900, 2600) * (1 - 0.25 * even)
    click = torch.sin(2 * math.pi * pitch * s.clamp(max=1)) * strike(s, 0.0005, d.log(0.008, 0.03))
    return click + 0.4 * band(d.noise(), 2000, 7000) * strike(s, 0.0003, 0.006)


@VOICES.add("260E")
def telephone(d: Draw) -> Tensor:
    """Two gongs in turn, twenty times a second, for a second."""
    s = d.since(d.starts((1.3, 2.6), first=0.5))
    beat, low = d.uniform(17, 27) * s.clamp(max=9), d.log(800, 1500)
    gong = (beat % 2 < 1).float()
    x = partials(beat % 1.0 / 22, (1.0, 2.1, 3.3, 4.6), low * (1 + 0.24 * gong), d.uniform(0.05, 0.2))
    return x * hold(s, d.uniform(0.7, 1.3), 0.01)


@VOICES.add("1F4F7")
def camera(d: Draw) -> Tensor:
    """A mirror that goes up and comes down, sometimes a motor."""
    s = d.since(d.starts((0.5, 1.4)))
    second = s - d.log(0.04, 0.16)
    click = [band(d.noise(), low, high) for low, high in ((900, 5000), (500, 3500))]
    motor = buzz(d.log(120, 320).expand(-1, d.length), 20, 0.3) * hold(second - 0.04, 0.2, 0.02)
    up = click[0] * strike(s, 0.0005, d.log(0.006, 0.02))
    return (
        up + click[1] * strike(second.clamp(min=0), 0.0005, d.log(0.01, 0.03)) + d.chance(0.4) * 0.1 * motor
    )


@VOICES.add("2702")
def scissors(d: Draw) -> Tensor:
    """Snips: blades that slide with a rising hiss, and meet."""
    s, length = d.since(d.starts((0.25, 0.7), 0.1)), d.log(0.08, 0.22)
    along = (s / length).clamp(0, 1)
    slide = (1 - along) * band(d.noise(), 2500, 5500) + along * band(d.noise(), 4500, 7800)
    meet = partials((s - length).clamp(min=0), (1.0, 1.53), d.log(3000, 5000), d.uniform(0.01, 0.03))
    return 0.5 * slide * arch(s, length) ** 0.5 * (s < length) + meet * (s > length)


@VOICES.add("1F528")
def hammer(d: Draw) -> Tensor:
    """Knocks on wood, with the ring of the nail."""
    s = d.since(d.starts((0.22, 0.8), 0.05))
    wood = resonate(d.noise(), (d.log(180, 500), 60, 1.0), (d.log(700, 1300), 150, 0.6)) * strike(
        s, 0.0005, d.log(0.02, 0.07)
    )
    return unit(wood) + d.uniform(0, 0.8) * partials(s, (1.0, 2.3), d.log(1800, 3500), d.log(0.03, 0.15))
