"""How the things of the classroom sound: one short generator each, by code point.

Each takes a `Draw` and returns [N, A] samples of any loudness; `core.classroom.world.sounds` puts them into rooms.
"""

from __future__ import annotations

import math
from collections.abc import Callable

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

Voice = Callable[[Draw], Tensor]
NOTES = (0, 2, 4, 5, 7, 9, 11, 12)  # semitones of a major scale
CHURCH = (0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.2)
METAL = (1.0, 2.76, 5.4, 8.9)  # a bar or a small bell
VOICES: dict[str, Voice] = {}


def voice(code: str) -> Callable[[Voice], Voice]:
    """Makes a generator the voice of a concept."""

    def register(make: Voice) -> Voice:
        VOICES[code] = make
        return make

    return register


def melody(d: Draw, starts: Tensor, low: float, high: float) -> Tensor:
    """[N, A] the pitch of notes of a scale, one for each start."""
    steps = torch.tensor(NOTES)[torch.randint(len(NOTES), starts.shape, generator=d.generator)]
    return d.per_event(starts, d.log(low, high) * 2 ** (steps / 12))


def arch(s: Tensor, length: Tensor | float) -> Tensor:
    """0 at both ends of a call, 1 in its middle."""
    return torch.sin(math.pi * (s / length).clamp(0, 1)).clamp(min=0)


def throat(
    d: Draw, x: Tensor, f1: tuple[float, float], f2: tuple[float, float], f3: tuple[float, float]
) -> Tensor:
    """Through three formants."""
    return resonate(
        x, (d.uniform(*f1), d.uniform(60, 140), 1.0), (d.uniform(*f2), d.uniform(90, 220), 0.6),
        (d.uniform(*f3), d.uniform(150, 400), 0.3),
    )  # fmt: skip


# --- animals -----------------------------------------------------------------------------------------------


@voice("1F415")
def dog(d: Draw) -> Tensor:
    """Barks: a short cry that rises and falls, half of it breath."""
    s, length = d.since(d.starts((0.2, 1.0), 0.15)), d.log(0.07, 0.22)
    pitch = d.log(180, 700) * (0.8 + 0.5 * arch(s, length))
    x = buzz(pitch, 20, 0.8) + d.uniform(0.2, 0.9) * d.noise()
    return throat(d, x, (500, 1100), (1200, 2200), (2500, 4000)) * hold(s, length, 0.02)


@voice("1F408")
def cat(d: Draw) -> Tensor:
    """Meows: from a closed mouth to an open one and back."""
    s, length = d.since(d.starts((0.8, 1.8))), d.log(0.4, 1.0)
    pitch = d.log(400, 900) * (0.85 + 0.35 * arch(s, length))
    x = buzz(pitch, 16, 0.7)
    closed = throat(d, x, (350, 500), (1900, 2500), (3000, 3600))
    opened = throat(d, x, (800, 1200), (1500, 2000), (2800, 3600))
    mouth = arch(s, length)
    return (closed * (1 - mouth) + opened * mouth) * hold(s, length, 0.08)


@voice("1F404")
def cow(d: Draw) -> Tensor:
    """A long low moo through the nose."""
    s, length = d.since(d.starts((1.4, 3.0), first=0.6)), d.log(0.8, 1.7)
    pitch = d.log(85, 200) * (0.9 + 0.25 * arch(s, length))
    x = buzz(pitch, 24, 0.8) + 0.1 * d.noise()
    return throat(d, x, (250, 420), (600, 1000), (2000, 2800)) * hold(s, length, 0.15)


@voice("1F411")
def sheep(d: Draw) -> Tensor:
    """Baas: a voice that trembles."""
    s, length = d.since(d.starts((0.6, 1.6))), d.log(0.4, 1.1)
    tremble = torch.sin(2 * math.pi * d.uniform(6, 13) * d.t)
    pitch = d.log(180, 520) * (1 + 0.03 * tremble) * (1.05 - 0.1 * (s / length).clamp(0, 1))
    x = buzz(pitch, 24, 0.5) + d.uniform(0.05, 0.3) * d.noise()
    x = throat(d, x, (550, 950), (1400, 2100), (2500, 3600))
    return x * (1 + d.uniform(0.3, 0.8) * tremble) * hold(s, length, 0.05)


@voice("1F416")
def pig(d: Draw) -> Tensor:
    """Grunts: a rough low voice, and a snort behind it."""
    s, length = d.since(d.starts((0.25, 0.7), 0.2)), d.log(0.12, 0.3)
    rough = 1 + 0.8 * torch.sign(torch.sin(turns(d.uniform(25, 45).expand(-1, d.length))))
    x = buzz(d.log(70, 150) * (1.2 - 0.4 * (s / length).clamp(0, 1)), 24, 0.4) * rough + 0.7 * d.noise()
    return throat(d, x, (350, 600), (900, 1400), (1900, 2700)) * hold(s, length, 0.03)


@voice("1F40E")
def horse(d: Draw) -> Tensor:
    """A neigh: high, falling, shaken."""
    s, length = d.since(d.starts((1.6, 3.0), first=0.3)), d.log(0.9, 1.7)
    along = (s / length).clamp(0, 1)
    shake = torch.sin(2 * math.pi * d.uniform(8, 15) * d.t)
    pitch = d.log(700, 1300) * (1 - 0.5 * along) * (1 + (0.03 + 0.1 * along) * shake)
    x = buzz(pitch, 10, 0.7) + 0.25 * d.noise()
    return throat(d, x, (700, 1200), (1600, 2400), (2800, 3800)) * (1 + 0.6 * shake) * hold(s, length, 0.06)


@voice("1F413")
def rooster(d: Draw) -> Tensor:
    """Cock-a-doodle-doo: two short notes, a high one, a long one that falls."""
    starts = d.pattern((0.17, 0.17, 0.4, 5.0), (0.8, 1.3), 0.3)
    s = d.since(starts)
    degree = torch.tensor([1.0, 1.35, 1.75, 1.45, 1.0]).expand(d.count, -1)
    length = d.per_event(starts, torch.tensor([0.14, 0.15, 0.38, 0.75, 0.1]).expand(d.count, -1))
    pitch = d.log(380, 620) * d.per_event(starts, degree) * (1 - 0.2 * (s / length).clamp(0, 1) ** 3)
    x = throat(d, buzz(pitch, 14, 0.4) + 0.1 * d.noise(), (900, 1400), (1800, 2600), (3000, 4200))
    return x * hold(s, length, 0.03)


@voice("1F986")
def duck(d: Draw) -> Tensor:
    """Quacks: a reed with a nose."""
    s, length = d.since(d.starts((0.2, 0.55))), d.log(0.1, 0.22)
    pitch = d.log(160, 380) * (1.1 - 0.25 * (s / length).clamp(0, 1))
    x = buzz(pitch, 30, 0.2) + 0.15 * d.noise()
    return throat(d, x, (900, 1300), (1900, 2600), (3200, 4500)) * hold(s, length, 0.015)


@voice("1F438")
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


@voice("1F41D")
def bee(d: Draw) -> Tensor:
    """A buzz that comes near and goes, its pitch wandering."""
    pitch = d.log(120, 300) * (1 + 0.08 * d.wander(3)) * (1 + 0.01 * torch.sin(2 * math.pi * 22 * d.t))
    return resonate(buzz(pitch, 24, 0.6), (d.uniform(300, 900), 400, 1.0), (2500, 1500, 0.3)) * d.wander(
        2, 0.2, 1.0
    )


@voice("1F989")
def owl(d: Draw) -> Tensor:
    """Hoots: nearly pure tones, a long one and short ones."""
    starts = d.pattern((0.6, 0.28, 0.3, 5.0), (0.8, 1.4))
    s = d.since(starts)
    length = d.per_event(starts, torch.tensor([0.4, 0.18, 0.2, 0.45, 0.1]).expand(d.count, -1))
    pitch = d.log(280, 560) * (0.94 + 0.08 * arch(s, length))
    weights = torch.tensor([1.0, 0.12, 0.05]).expand(d.count, -1)
    return harmonics(pitch, weights) * hold(s, length, 0.07) + 0.02 * d.noise()


@voice("1F426")
def bird(d: Draw) -> Tensor:
    """Chirps: tones that sweep up or down faster than an ear follows."""
    starts = d.starts((0.09, 0.4), 0.25)
    s, length = d.since(starts), d.log(0.04, 0.16)
    sweep = d.per_event(starts, d.uniform(-0.4, 0.5, starts.shape[1]))
    level = d.per_event(starts, d.uniform(0.2, 1.0, starts.shape[1]))
    trill = 1 + 0.08 * torch.sin(2 * math.pi * d.uniform(20, 60) * d.t)
    pitch = d.log(2200, 5200) * (1 + sweep * (s / length).clamp(0, 1)) * trill
    return torch.sin(turns(pitch)) * hold(s, length, 0.012) * level


@voice("1F43A")
def wolf(d: Draw) -> Tensor:
    """A howl: it climbs, stays, and sinks."""
    s, length = d.since(d.starts((2.2, 4.0), first=0.3)), d.uniform(1.3, 2.2)
    along = (s / length).clamp(0, 1)
    pitch = d.log(280, 620) * (0.6 + 0.45 * (along * 4).clamp(0, 1) - 0.25 * (along * 2 - 1).clamp(0, 1))
    pitch = pitch * (1 + 0.012 * torch.sin(2 * math.pi * d.uniform(3, 6) * d.t))
    x = harmonics(pitch, torch.tensor([1.0, 0.45, 0.25, 0.12, 0.06]).expand(d.count, -1))
    return x * hold(s, length, 0.2)


# --- vehicles ----------------------------------------------------------------------------------------------


def engine(d: Draw, pitch: Tensor, rough: float) -> Tensor:
    """Explosions at a pitch, each a little different."""
    x = buzz(pitch * (1 + 0.02 * d.noise(1.0)), 30, 0.7) + rough * d.noise(1.0)
    return resonate(x, (d.uniform(80, 160), 80, 1.0), (d.uniform(300, 600), 250, 0.5), (1800, 1200, 0.15))


@voice("1F697")
def car(d: Draw) -> Tensor:
    """A horn of two tones, over an idling engine."""
    s, length = d.since(d.starts((0.3, 1.2), 0.2)), d.log(0.15, 0.7)
    low = d.log(300, 480).expand(-1, d.length)
    horn = buzz(low, 16, 0.5) + buzz(low * d.uniform(1.18, 1.27), 16, 0.5)
    motor = engine(d, d.log(25, 50).expand(-1, d.length), 0.8)
    return unit(horn) * hold(s, length, 0.02) + d.uniform(0.05, 0.4) * motor


@voice("1F3CD")
def motorcycle(d: Draw) -> Tensor:
    """An engine that is revved."""
    throttle = d.wander(1.5, 0.0, 1.0)
    pitch = d.log(35, 70) * (1 + d.uniform(0.5, 2.5) * throttle)
    return engine(d, pitch, 0.4) * (0.4 + 0.6 * throttle)


@voice("1F691")
def ambulance(d: Draw) -> Tensor:
    """A siren: one that wails, slowly or fast, or one of two tones."""
    beat = d.log(0.25, 4.0) * d.t + d.uniform(0, 1)
    low, span = d.log(380, 900), d.uniform(1.25, 2.4)
    wail = low * span ** (0.5 - 0.5 * torch.cos(2 * math.pi * beat))
    rise = low * span ** (beat % 1.0)
    two = low * torch.where(beat % 1.0 < 0.5, 1.0, d.uniform(1.2, 1.4))
    weights = torch.stack([torch.ones(d.count), *(d.uniform(0, 0.5)[:, 0] for _ in range(5))], 1)
    return harmonics(d.choice(wail, wail, rise, two) * (1 + 0.01 * d.wander(1)), weights)


@voice("1F682")
def locomotive(d: Draw) -> Tensor:
    """Steam in beats, and a whistle of three pipes."""
    chuff = d.since(d.starts((0.14, 0.5), 0.04, 0.1))
    steam = band(d.noise(), 200, d.uniform(2500, 5000)) * strike(chuff, 0.02, d.uniform(0.05, 0.12))
    s = d.since(d.starts((1.2, 3.0), first=1.0))
    root = d.log(380, 650).expand(-1, d.length)
    pipes = sum((buzz(root * ratio, 5, 1.2) for ratio in (1.0, 1.26, 1.5)), torch.zeros(d.count, d.length))
    whistle = unit(pipes) + 0.2 * band(d.noise(), 1000, 4000)
    return unit(steam) + d.uniform(0, 1.2) * whistle * hold(s, d.uniform(0.4, 1.2), 0.08)


@voice("1F681")
def helicopter(d: Draw) -> Tensor:
    """Blades that beat the air, over a turbine."""
    blade = turns(d.log(8, 20).expand(-1, d.length)) / (2 * math.pi)
    thump = torch.exp(-blade * d.uniform(3, 8))
    air = band(d.noise(), 40, d.uniform(300, 1200)) * thump
    return unit(air) + d.uniform(0.05, 0.3) * band(d.noise(), 600, 4000) * (0.5 + thump)


@voice("2708")
def airplane(d: Draw) -> Tensor:
    """A jet that passes: broad noise whose weight sinks, with or without the drone of propellers."""
    near = torch.exp(-(((d.t - d.uniform(0, d.seconds)) / d.uniform(0.6, 3.0)) ** 2))
    roar = band(d.noise(), d.log(40, 150), d.log(500, 2500)) + 0.3 * band(d.noise(), 1500, 6000) * near
    drone = buzz(d.log(60, 160) * (1.03 - 0.06 * d.t / d.seconds), 20, 0.8)
    return unit(roar) * (0.3 + near) + d.chance(0.5) * d.uniform(0, 0.8) * drone * (0.3 + near)


@voice("1F6A2")
def ship(d: Draw) -> Tensor:
    """A horn that is felt more than heard."""
    s, length = d.since(d.starts((1.5, 3.0), first=0.4)), d.uniform(0.9, 1.8)
    x = buzz(d.log(65, 170) * (0.97 + 0.03 * (s / 0.2).clamp(0, 1)), 24, 0.6)
    return resonate(x, (d.uniform(150, 300), 150, 1.0), (700, 500, 0.3)) * hold(s, length, 0.15)


@voice("1F6B2")
def bicycle(d: Draw) -> Tensor:
    """Ring-ring: a small bell, struck many times in a hurry."""
    ring = d.since(d.starts((0.5, 1.0), 0.1))
    rate = d.uniform(14, 26)
    s = torch.where(ring < d.uniform(0.25, 0.4), ring * rate % 1.0 / rate, ring)
    return partials(s, METAL, d.log(1700, 3000), d.uniform(0.15, 0.5)) * (ring < 900)


# --- bells and instruments ---------------------------------------------------------------------------------


@voice("1F514")
def bell(d: Draw) -> Tensor:
    """A hand bell, rung at a walk."""
    s = d.since(d.starts((0.16, 0.7), 0.1))
    return partials(s, (1.0, 2.0, 2.4, 3.0, 4.5, 5.3), d.log(700, 1700), d.log(0.2, 1.0))


@voice("26EA")
def church(d: Draw) -> Tensor:
    """Church bells: low, long, several at once, with the minor third that bells have."""
    total = torch.zeros(d.count, d.length)
    for level in (torch.ones(d.count, 1), d.uniform(0, 1), d.uniform(0, 0.7)):
        s = d.since(d.starts((0.5, 1.8), 0.05, 0.8)) + d.chance(0.5) * 0.3
        struck = partials(s, CHURCH, d.log(140, 560), d.log(0.8, 3.5), 0.6)
        total += level * (struck + 0.1 * d.noise() * strike(s, 0.001, 0.02))
    return total


@voice("1F941")
def drum(d: Draw) -> Tensor:
    """A skin that sinks in pitch, with or without a snare."""
    s = d.since(d.starts((0.13, 0.5), 0.03))
    pitch = d.log(55, 200) * (1 + 1.5 * torch.exp(-s / 0.03))
    skin = torch.sin(2 * math.pi * pitch * s.clamp(max=4)) * strike(s, 0.001, d.log(0.06, 0.25))
    return unit(skin) + d.uniform(0, 1) * band(d.noise(), 1000, 6000) * strike(s, 0.001, d.log(0.03, 0.12))


@voice("1F3BA")
def trumpet(d: Draw) -> Tensor:
    """Notes whose overtones grow with their loudness."""
    starts = d.starts((0.15, 0.7), 0.02)
    s = d.since(starts)
    pitch = melody(d, starts, 230, 520) * (1 + 0.006 * torch.sin(2 * math.pi * 5.5 * d.t))
    loud = strike(s, 0.03, d.uniform(0.5, 2.0)) * hold(s, d.uniform(0.14, 0.65), 0.02)
    weights = torch.stack([0.9 ** (k * (2.2 - 1.5 * loud)) for k in range(14)], 1)
    return resonate(harmonics(pitch, weights), (1200, 900, 1.0), (2400, 1200, 0.5)) * loud


@voice("1F3B8")
def guitar(d: Draw) -> Tensor:
    """Plucked strings: bright at first, soon dull."""
    starts = d.starts((0.16, 0.6), 0.03)
    s, pitch = d.since(starts), melody(d, starts, 90, 220)
    weights = torch.stack([strike(s, 0.002, 1.2 / k**0.9) / k**0.8 for k in range(1, 15)], 1)
    second = harmonics(pitch * 1.5, weights[:, :8] * d.chance(0.5)[..., None])
    return resonate(harmonics(pitch, weights) + 0.7 * second, (200, 200, 1.0), (800, 1500, 0.5))


@voice("1F3BB")
def violin(d: Draw) -> Tensor:
    """Bowed notes with vibrato."""
    starts = d.starts((0.35, 1.5), 0.03)
    s = d.since(starts)
    pitch = melody(d, starts, 200, 600) * (1 + 0.01 * torch.sin(2 * math.pi * d.uniform(4.8, 6.8) * d.t))
    x = buzz(pitch, 20, 0.9) + 0.05 * band(d.noise(), 2000, 6000)
    x = resonate(x, (d.uniform(250, 320), 120, 0.8), (d.uniform(450, 600), 200, 0.8), (2600, 1200, 0.7))
    return x * hold(s, d.uniform(0.4, 1.6), 0.1)


@voice("1F3B9")
def piano(d: Draw) -> Tensor:
    """Hammered strings, two notes at a time, slightly out of tune with themselves."""
    starts = d.starts((0.16, 0.6), 0.03)
    s, pitch = d.since(starts), melody(d, starts, 130, 520)
    weights = torch.stack([strike(s, 0.004, d.uniform(0.5, 1.4) / k**0.5) / k**1.3 for k in range(1, 10)], 1)
    chord = harmonics(pitch * d.choice(*(d.uniform(r, r + 1e-3) for r in (1.26, 1.5, 2.0))), weights, 4e-4)
    thud = 0.05 * band(d.noise(), 80, 800) * strike(s, 0.002, 0.03)
    return harmonics(pitch, weights, 4e-4) + d.uniform(0, 0.8) * chord + thud


# --- things ------------------------------------------------------------------------------------------------


@voice("23F0")
def alarm_clock(d: Draw) -> Tensor:
    """Beeps in groups of four, with hard edges."""
    group = d.since(d.starts((0.6, 1.1), 0.0))
    step = d.uniform(0.08, 0.14)
    s = torch.where(group < 4 * step, group % step, 9.0)
    tone = torch.tanh(4 * torch.sin(turns(d.log(900, 3200).expand(-1, d.length))))
    return tone * hold(s, step * d.uniform(0.4, 0.6), 0.003)


@voice("1F570")
def clock(d: Draw) -> Tensor:
    """Tick, tock: two clicks that ring in wood."""
    starts = d.starts((0.25, 0.9), 0.02)
    s = d.since(starts)
    even = d.per_event(starts, (torch.arange(starts.shape[1]) % 2).float().expand(d.count, -1))
    pitch = d.log(900, 2600) * (1 - 0.25 * even)
    click = torch.sin(2 * math.pi * pitch * s.clamp(max=1)) * strike(s, 0.0005, d.log(0.008, 0.03))
    return click + 0.4 * band(d.noise(), 2000, 7000) * strike(s, 0.0003, 0.006)


@voice("260E")
def telephone(d: Draw) -> Tensor:
    """Two gongs in turn, twenty times a second, for a second."""
    s = d.since(d.starts((1.3, 2.6), first=0.5))
    beat, low = d.uniform(17, 27) * s.clamp(max=9), d.log(800, 1500)
    gong = (beat % 2 < 1).float()
    x = partials(beat % 1.0 / 22, (1.0, 2.1, 3.3, 4.6), low * (1 + 0.24 * gong), d.uniform(0.05, 0.2))
    return x * hold(s, d.uniform(0.7, 1.3), 0.01)


@voice("1F4F7")
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


@voice("2702")
def scissors(d: Draw) -> Tensor:
    """Snips: blades that slide with a rising hiss, and meet."""
    s, length = d.since(d.starts((0.25, 0.7), 0.1)), d.log(0.08, 0.22)
    along = (s / length).clamp(0, 1)
    slide = (1 - along) * band(d.noise(), 2500, 5500) + along * band(d.noise(), 4500, 7800)
    meet = partials((s - length).clamp(min=0), (1.0, 1.53), d.log(3000, 5000), d.uniform(0.01, 0.03))
    return 0.5 * slide * arch(s, length) ** 0.5 * (s < length) + meet * (s > length)


@voice("1F528")
def hammer(d: Draw) -> Tensor:
    """Knocks on wood, with the ring of the nail."""
    s = d.since(d.starts((0.22, 0.8), 0.05))
    wood = resonate(d.noise(), (d.log(180, 500), 60, 1.0), (d.log(700, 1300), 150, 0.6)) * strike(
        s, 0.0005, d.log(0.02, 0.07)
    )
    return unit(wood) + d.uniform(0, 0.8) * partials(s, (1.0, 2.3), d.log(1800, 3500), d.log(0.03, 0.15))


# --- weather, water, fire ----------------------------------------------------------------------------------


def sparse(d: Draw, rate: Tensor, decay: float) -> Tensor:
    """Clicks at random times, so many a second: each a short noise."""
    hits = (torch.rand(d.count, d.length, generator=d.generator) < rate / 16_000).float()
    hits = hits * torch.rand(d.count, d.length, generator=d.generator).square()
    size = 2 * d.length
    shape = torch.exp(-d.t / decay)[None]
    spread = torch.fft.irfft(torch.fft.rfft(hits, size) * torch.fft.rfft(shape, size), n=size)[:, : d.length]
    return spread.clamp(min=0) * d.noise()


@voice("1F327")
def rain(d: Draw) -> Tensor:
    """A steady hiss of many drops, single ones before it."""
    hiss = band(d.noise(), d.log(400, 1500), 7900)
    return hiss + d.uniform(0.3, 1.5) * band(sparse(d, d.log(100, 800), 0.004), 800, 7000)


@voice("26A1")
def lightning(d: Draw) -> Tensor:
    """Thunder: a crack, and a rumble that rolls."""
    s = d.since(d.starts((2.5, 5.0), first=0.6))
    crack = d.uniform(0, 1) * band(d.noise(), 300, 6000) * strike(s, 0.003, d.log(0.05, 0.2))
    rumble = (
        band(d.noise(), 30, d.log(120, 350)) * d.wander(6, 0.2, 1.0) * strike(s, 0.05, d.uniform(0.6, 2.0))
    )
    return crack + unit(rumble)


@voice("1F32A")
def tornado(d: Draw) -> Tensor:
    """Wind: noise whose pitch rises and falls with its strength."""
    gust = d.wander(1.5, 0.0, 1.0)
    low = resonate(d.noise(), (d.log(200, 400), d.uniform(40, 150), 1.0))
    high = resonate(d.noise(), (d.log(600, 1300), d.uniform(60, 250), 1.0))
    return (low * (1 - gust) + high * gust) * (0.3 + gust) + 0.2 * d.noise(1.5)


@voice("1F30A")
def wave(d: Draw) -> Tensor:
    """Surf: a swell that breaks into foam and runs out."""
    beat = d.log(0.3, 0.8) * d.t + d.uniform(0, 1)
    swell = (beat % 1.0) ** d.uniform(0.7, 2.0) * torch.exp(-6 * (beat % 1.0 - 0.7).clamp(min=0))
    return band(d.noise(), 80, 900) * (0.2 + swell) + band(
        d.noise(), 1000, 7000
    ) * swell.square() * d.uniform(0.5, 1.5)


@voice("1F525")
def fire(d: Draw) -> Tensor:
    """Crackles over a low flutter."""
    crackle = band(sparse(d, d.log(6, 40), 0.003), 700, 7500)
    return crackle * d.uniform(0.8, 2) + 0.4 * band(d.noise(), 40, 300) * d.wander(8, 0.2, 1.0)


@voice("1F4A7")
def drop(d: Draw) -> Tensor:
    """Drips: a bubble whose pitch rises as it closes."""
    starts = d.starts((0.18, 0.9), 0.2)
    s, pitch = d.since(starts), d.per_event(starts, d.log(500, 2200, starts.shape[1]))
    rise = pitch * s.clamp(max=1) * (1 + d.uniform(2, 8) * s.clamp(max=0.2))
    return torch.sin(2 * math.pi * rise) * strike(s, 0.001, d.log(0.015, 0.06))


# --- people ------------------------------------------------------------------------------------------------


@voice("1F62D")
def crying(d: Draw) -> Tensor:
    """A baby's cry: long arcs, breath between them."""
    s, length = d.since(d.starts((0.7, 1.4), 0.1)), d.log(0.5, 1.1)
    pitch = d.log(320, 600) * (0.85 + 0.25 * arch(s, length)) * (1 + 0.02 * d.wander(20))
    x = throat(d, buzz(pitch, 20, 0.4) + 0.08 * d.noise(), (900, 1300), (1700, 2400), (3200, 4200))
    return x * hold(s, length, 0.08) + 0.08 * band(d.noise(), 1500, 5000) * hold(s - length, 0.2, 0.05)


@voice("1F600")
def laughing(d: Draw) -> Tensor:
    """Ha-ha-ha: voice and breath in turn, sinking."""
    starts = d.starts((0.14, 0.24), 0.1)
    s, length = d.since(starts), d.uniform(0.07, 0.12)
    pitch = d.log(140, 420) * (1.15 - 0.35 * d.t / d.seconds) * (1.1 - 0.2 * (s / length).clamp(0, 1))
    x = throat(d, buzz(pitch, 24, 0.7), (650, 950), (1100, 1600), (2400, 3200)) * hold(s, length, 0.02)
    return x + 0.3 * band(d.noise(), 800, 5000) * hold(s - length, 0.06, 0.02)


@voice("1F634")
def snoring(d: Draw) -> Tensor:
    """Air that rattles in, and flows out."""
    s, length = d.since(d.starts((1.3, 2.6), 0.05, 0.3)), d.uniform(0.6, 1.1)
    rattle = turns(d.log(25, 70) * (1 + 0.2 * d.wander(3))) / (2 * math.pi)
    x = d.noise(1.0) * torch.exp(-4 * rattle) + 0.2 * d.noise()
    snore = throat(d, x, (250, 500), (800, 1300), (1800, 2800)) * arch(s, length)
    out = 0.25 * band(d.noise(), 600, 3000) * arch(s - length - 0.1, 0.6) * (s > length)
    return snore * (s < length) + out


@voice("1F463")
def footsteps(d: Draw) -> Tensor:
    """Heel and sole, on something that crunches more or less."""
    s = d.since(d.starts((0.3, 0.75), 0.05))
    heel = band(d.noise(), 60, d.log(200, 700)) * strike(s, 0.002, d.log(0.02, 0.05))
    sole = band(d.noise(), 800, 6000) * hold(s - 0.03, d.uniform(0.06, 0.16), 0.03)
    return unit(heel) + d.uniform(0.1, 0.9) * sole * (0.3 + d.wander(60, 0, 1))
