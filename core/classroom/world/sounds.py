"""Sounds of the classroom's things: synthesised from a seed, in rooms and among noise.

    sounds(["1F415", "1F514"], seed=7)      [2, A]: a dog and a bell
    sampled(100, seed=7)                    [100, A], and which of `SOUNDING` each is

A sound depends on its concept, the seed and its place among those of its concept, and on nothing else.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from core.classroom.world.concepts import Concept, by_code
from core.classroom.world.synthesis import LENGTH, RATE, SECONDS, Draw, filtered, frequencies, room, unit
from core.classroom.world.voices import VOICES

__all__ = ["LENGTH", "RATE", "SECONDS", "SOUNDING", "made", "sampled", "sounding", "sounds"]

SOUNDING: tuple[str, ...] = tuple(VOICES)  # code points, in the order of the labels
LOUDNESS = (-30.0, 0.0)  # dB of the peak
NOISE = (-55.0, -12.0)  # dB of what else is heard
TILT = 6.0  # dB an octave, at most, that a recorder bends the spectrum by
PART = 16  # sounds that are made at a time


@cache
def sounding() -> tuple[Concept, ...]:
    """The concepts that have a sound, in the order of `SOUNDING`."""
    return tuple(by_code()[code] for code in SOUNDING)


def made(code: str, count: int, seed: int, plain: bool = False) -> Tensor:
    """So many sounds of one thing: [N, A] in -1..1.

    Args:
        code: of `SOUNDING`.
        count, seed: the first ones of a seed stay the same whatever the count.
        plain: without room, noise and a recorder's colour, at full loudness.
    """
    parts = []
    for start in range(0, count, PART):
        draw = Draw(PART, zlib.crc32(f"{seed} {code} {start}".encode()))
        x = unit(VOICES[code](draw))
        parts.append(x / _peak(x) if plain else _recorded(x, draw))
    return torch.cat(parts)[:count]


def sounds(codes: Sequence[str], seed: int, plain: bool = False) -> Tensor:
    """One sound for each code point, those of one thing different: [N, A]."""
    total = {code: codes.count(code) for code in dict.fromkeys(codes)}
    drawn = {code: iter(made(code, number, seed, plain)) for code, number in total.items()}
    return torch.stack([next(drawn[code]) for code in codes])


def sampled(count: int, seed: int, codes: Sequence[str] = SOUNDING) -> tuple[Tensor, Tensor]:
    """Sounds [N, A] of things in turn, and the places [N] of these among the codes."""
    which = torch.arange(count) % len(codes)
    return sounds([codes[i] for i in which.tolist()], seed), which


def _recorded(x: Tensor, draw: Draw) -> Tensor:
    """In a room, with other noise, bent by a microphone, at some loudness."""
    x = unit(room(x, draw))
    noise = draw.choice(draw.noise(), draw.noise(1.0), draw.noise(1.5))
    x = x + noise * 10 ** (draw.uniform(*NOISE) / 20)
    octaves = (frequencies(draw.length).clamp(min=30) / 1000).log2()[None]
    x = filtered(x, 10 ** (draw.uniform(-TILT, TILT) * octaves.clamp(-3, 3) / 20))
    return x / _peak(x) * 10 ** (draw.uniform(*LOUDNESS) / 20)


def _peak(x: Tensor) -> Tensor:
    return x.abs().amax(-1, keepdim=True).clamp(min=1e-6)
