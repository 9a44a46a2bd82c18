"""How animals sound."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.classroom.world.synthesis import (
    Draw,
    arch,
    band,
    buzz,
    harmonics,
    hold,
    resonate,
    throat,
    turns,
    unit,
)
from core.classroom.world.voices.register import Voices

VOICES = Voices()


@VOICES.add("1F415")
def dog(d: Draw) -> Tensor:
    """Barks: a short cry that rises and falls, half of it breath."""
    s, length = d.since(d.starts((0.2, 1.0), 0.15)), d.log(0.07, 0.22)
    pitch = d.log(180, 700) * (0.8 + 0.5 * arch(s, length))
    x = buzz(pitch, 20, 0.8) + d.uniform(0.2, 0.9) * d.noise()
    return throat(d, x, (500, 1100), (1200, 2200), (2500, 4000)) * hold(s, length, 0.02)


@VOICES.add("1F408")
def cat(d: Draw) -> Tensor:
    """Meows: from a closed mouth to an open one and back."""
    s, length = d.since(d.starts((0.8, 1.8))), d.log(0.4, 1.0)
    pitch = d.log(400, 900) * (0.85 + 0.35 * arch(s, length))
    x = buzz(pitch, 16, 0.7)
    closed = throat(d, x, (350, 500), (1900, 2500), (3000, 3600))
    opened = throat(d, x, (800, 1200), (1500, 2000), (2800, 3600))
    mouth = arch(s, length)
    return (closed * (1 - mouth) + opened * mouth) * hold(s, length, 0.08)


@VOICES.add("1F404")
def cow(d: Draw) -> Tensor:
    """A long low moo through the nose."""
    s, length = d.since(d.starts((1.4, 3.0), first=0.6)), d.log(0.8, 1.7)
    pitch = d.log(85, 200) * (0.9 + 0.25 * arch(s, length))
    x = buzz(pitch, 24, 0.8) + 0.1 * d.noise()
    return throat(d, x, (250, 420), (600, 1000), (2000, 2800)) * hold(s, length, 0.15)


@VOICES.add("1F411")
def sheep(d: Draw) -> Tensor:
    """Baas: a voice that trembles."""
    s, length = d.since(d.starts((0.6, 1.6))), d.log(0.4, 1.1)
    tremble = torch.sin(2 * math.pi * d.uniform(6, 13) * d.t)
    pitch = d.log(180, 520) * (1 + 0.03 * tremble) * (1.05 - 0.1 * (s / length).clamp(0, 1))
    x = buzz(pitch, 24, 0.5) + d.uniform(0.05, 0.3) * d.noise()
    x = throat(d, x, (550, 950), (1400, 2100), (2500, 3600))
    return x * (1 + d.uniform(0.3, 0.8) * tremble) * hold(s, length, 0.05)


@VOICES.add("1F416")
def pig(d: Draw) -> Tensor:
    """Grunts: a rough low voice, and a snort behind it."""
    s, length = d.since(d.starts((0.25, 0.7), 0.2)), d.log(0.12, 0.3)
    rough = 1 + 0.8 * torch.sign(torch.sin(turns(d.uniform(25, 45).expand(-1, d.length))))
    x = buzz(d.log(70, 150) * (1.2 - 0.4 * (s / length).clamp(0, 1)), 24, 0.4) * rough + 0.7 * d.noise()
    return throat(d, x, (350, 600), (900, 1400), (1900, 2700)) * hold(s, length, 0.03)


@VOICES.add("1F40E")
def horse(d: Draw) -> Tensor:
    """A neigh: high, falling, shaken."""
    s, length = d.since(d.starts((1.6, 3.0), first=0.3)), d.log(0.9, 1.7)
    along = (s / length).clamp(0, 1)
    shake = torch.sin(2 * math.pi * d.uniform(8, 15) * d.t)
    pitch = d.log(700, 1300) * (1 - 0.5 * along) * (1 + (0.03 + 0.1 * along) * shake)
    x = buzz(pitch, 10, 0.7) + 0.25 * d.noise()
    return throat(d, x, (700, 1200), (1600, 2400), (2800, 3800)) * (1 + 0.6 * shake) * hold(s, length, 0.06)


@VOICES.add("1F413")
def rooster(d: Draw) -> Tensor:
    """Cock-a-doodle-doo: two short notes, a high one, a long one that falls."""
    starts = d.pattern((0.17, 0.17, 0.4, 5.0), (0.8, 1.3), 0.3)
    s = d.since(starts)
    degree = torch.tensor([1.0, 1.35, 1.75, 1.45, 1.0]).expand(d.count, -1)
    length = d.per_event(starts, torch.tensor([0.14, 0.15, 0.38, 0.75, 0.1]).expand(d.count, -1))
    pitch = d.log(380, 620) * d.per_event(starts, degree) * (1 - 0.2 * (s / length).clamp(0, 1) ** 3)
    x = throat(d, buzz(pitch, 14, 0.4) + 0.1 * d.noise(), (900, 1400), (1800, 2600), (3000, 4200))
    return x * hold(s, length, 0.03)


@VOICES.add("1F986")
def duck(d: Draw) -> Tensor:
    """Quacks: a reed with a nose."""
    s, length = d.since(d.starts((0.2, 0.55))), d.log(0.1, 0.22)
    pitch = d.log(160, 380) * (1.1 - 0.25 * (s / length).clamp(0, 1))
    x = buzz(pitch, 30, 0.2) + 0.15 * d.noise()
    return throat(d, x, (900, 1300), (1900, 2600), (3200, 4500)) * hold(s, length, 0.015)


@VOICES.add("1F438")
def frog(d: Draw) -> Tensor:
    """Croaks of one frog or of a pond: pulses in a row, each a short ringing."""
    total = torch.zeros(d.count, d.length)
    for level in (torch.ones(d.count, 1), d.uniform(0, 0.8), d.uniform(0, 0.6), d.uniform(0, 0.5)):
        s, length = d.since(d.starts((0.25, 1.0), 0.2)), d.log(0.1, 0.5)
        pulse = turns(d.log(18, 90).expand(-1, d.length)) / (2 * math.pi)
        rough = torch.exp(-pulse * d.uniform(1, 6))
        tone = buzz(d.log(350, 2400) * (1 + 0.1 * arch(s, length)), 5, 1.2)
        total += level * tone * rough * hold(s, length, 0.03)
    return unit(total) + d.uniform(0, 0.3) * band(d.noise(), 1500, 5000)


@VOICES.add("1F41D")
def bee(d: Draw) -> Tensor:
    """A buzz that comes near and goes, its pitch wandering."""
    pitch = d.log(120, 300) * (1 + 0.08 * d.wander(3)) * (1 + 0.01 * torch.sin(2 * math.pi * 22 * d.t))
    return resonate(buzz(pitch, 24, 0.6), (d.uniform(300, 900), 400, 1.0), (2500, 1500, 0.3)) * d.wander(
        2, 0.2, 1.0
    )


@VOICES.add("1F989")
def owl(d: Draw) -> Tensor:
    """Hoots: nearly pure tones, a long one and short ones."""
    starts = d.pattern((0.6, 0.28, 0.3, 5.0), (0.8, 1.4))
    s = d.since(starts)
    length = d.per_event(starts, torch.tensor([0.4, 0.18, 0.2, 0.45, 0.1]).expand(d.count, -1))
    pitch = d.log(280, 560) * (0.94 + 0.08 * arch(s, length))
    weights = torch.tensor([1.0, 0.12, 0.05]).expand(d.count, -1)
    return harmonics(pitch, weights) * hold(s, length, 0.07) + 0.02 * d.noise()


@VOICES.add("1F426")
def bird(d: Draw) -> Tensor:
    """Chirps: tones that sweep up or down faster than an ear follows."""
    starts = d.starts((0.09, 0.4), 0.25)
    s, length = d.since(starts), d.log(0.04, 0.16)
    sweep = d.per_event(starts, d.uniform(-0.4, 0.5, starts.shape[1]))
    level = d.per_event(starts, d.uniform(0.2, 1.0, starts.shape[1]))
    trill = 1 + 0.08 * torch.sin(2 * math.pi * d.uniform(20, 60) * d.t)
    pitch = d.log(2200, 5200) * (1 + sweep * (s / length).clamp(0, 1)) * trill
    return torch.sin(turns(pitch)) * hold(s, length, 0.012) * level


@VOICES.add("1F43A")
def wolf(d: Draw) -> Tensor:
    """A howl: it climbs, stays, and sinks."""
    s, length = d.since(d.starts((2.2, 4.0), first=0.3)), d.uniform(1.3, 2.2)
    along = (s / length).clamp(0, 1)
    pitch = d.log(280, 620) * (0.6 + 0.45 * (along * 4).clamp(0, 1) - 0.25 * (along * 2 - 1).clamp(0, 1))
    pitch = pitch * (1 + 0.012 * torch.sin(2 * math.pi * d.uniform(3, 6) * d.t))
    x = harmonics(pitch, torch.tensor([1.0, 0.45, 0.25, 0.12, 0.06]).expand(d.count, -1))
    return x * hold(s, length, 0.2)
