"""What sounds are made of: pitches, harmonics, noise, resonances, strikes and rooms. All on [N, A] samples at once.

A generator thinks in `since`, the seconds since the last event (a bark, a strike, a note): whatever depends on it alone is drawn
for all events of all sounds in one go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

RATE = 16_000  # samples a second
SECONDS = 2.0
LENGTH = int(RATE * SECONDS)
BEFORE = 1e3  # seconds "since" the last event before there was one
Range = tuple[float, float]


class Draw:
    """Random numbers for N sounds, from a seed; `t` is the time of the samples [A]."""

    def __init__(self, count: int, seed: int, length: int = LENGTH) -> None:
        self.count, self.length = count, length
        self.generator = torch.Generator().manual_seed(seed)
        self.t = torch.arange(length) / RATE

    @property
    def seconds(self) -> float:
        """Of a sound."""
        return self.length / RATE

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """[N, 1], or [N, *shape]."""
        values = torch.rand(self.count, *(shape or (1,)), generator=self.generator)
        return low + (high - low) * values

    def log(self, low: float, high: float, *shape: int) -> Tensor:
        """The same, even in octaves: what pitches and durations are drawn from."""
        return self.uniform(math.log(low), math.log(high), *shape).exp()

    def chance(self, probability: float) -> Tensor:
        """[N, 1] 1 or 0."""
        return (self.uniform(0, 1) < probability).float()

    def choice(self, *rows: Tensor) -> Tensor:
        """For each sound the row of one of these [N, A]."""
        chosen = torch.randint(len(rows), (self.count,), generator=self.generator)
        return torch.stack(rows, 1)[torch.arange(self.count), chosen]

    def noise(self, colour: float = 0.0) -> Tensor:
        """[N, A] of about unit power: white, or with a power that falls as 1 / f^colour."""
        white = torch.randn(self.count, self.length, generator=self.generator)
        if not colour:
            return white
        slope = frequencies(self.length).clamp(min=20) ** (-colour / 2)
        return unit(filtered(white, slope[None]))

    def starts(self, period: Range, jitter: float = 0.1, first: float = 0.4) -> Tensor:
        """[N, K] when the events of a rhythm begin: one period for each sound, each event a little early or late."""
        many = int(self.seconds / period[0]) + 2
        every = self.log(*period)
        late = self.uniform(-jitter, jitter, many)
        return self.uniform(0, first) + every * (torch.arange(many) + late - late[:, :1])

    def pattern(self, gaps: Sequence[float], tempo: Range = (0.8, 1.25), first: float = 0.4) -> Tensor:
        """[N, K] the same rhythm for all, at tempos of their own: seconds from one event to the next."""
        times = torch.tensor([0.0, *gaps]).cumsum(0)
        return self.uniform(0, first) + times * self.log(*tempo)

    def since(self, starts: Tensor) -> Tensor:
        """[N, A] seconds since the last of the starts [N, K], `BEFORE` where there was none."""
        return since(starts, self.t)

    def per_event(self, starts: Tensor, values: Tensor) -> Tensor:
        """Values [N, K] of events -> [N, A] the value of the last event."""
        at = torch.searchsorted(starts.contiguous(), self.t.expand(self.count, -1).contiguous(), right=True)
        return values.gather(1, (at - 1).clamp(min=0))

    def wander(self, rate: float, low: float = -1.0, high: float = 1.0) -> Tensor:
        """[N, A] a value that moves smoothly between low and high, about `rate` turns a second."""
        points = self.uniform(low, high, 1, max(2, int(rate * self.seconds) + 2))
        return F.interpolate(points, size=self.length, mode="linear", align_corners=True)[:, 0]


def since(starts: Tensor, t: Tensor) -> Tensor:
    """See `Draw.since`."""
    grid = t.expand(len(starts), -1).contiguous()
    at = torch.searchsorted(starts.contiguous(), grid, right=True)
    last = starts.gather(1, (at - 1).clamp(min=0))
    return torch.where(at > 0, grid - last, BEFORE)


def frequencies(length: int) -> Tensor:
    """Hz of the bins of a transform."""
    return torch.fft.rfftfreq(length, 1 / RATE)


def unit(x: Tensor) -> Tensor:
    """With a mean square of one."""
    return x / x.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-6)


def filtered(x: Tensor, gain: Tensor) -> Tensor:
    """[N, A] with each frequency multiplied by a gain [N or 1, A // 2 + 1]."""
    return torch.fft.irfft(torch.fft.rfft(x) * gain, n=x.shape[-1])


def band(x: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """What lies between two frequencies, with soft edges of half an octave; unit power."""
    octave = frequencies(x.shape[-1]).clamp(min=1).log2()[None]
    edges = [torch.as_tensor(value).float().log2() for value in (low, high)]
    return unit(filtered(x, torch.sigmoid(8 * (octave - edges[0])) * torch.sigmoid(8 * (edges[1] - octave))))


def resonate(x: Tensor, *peaks: tuple[Tensor | float, Tensor | float, float]) -> Tensor:
    """Through resonances (Hz, width in Hz, gain), as of a throat or a body; unit power."""
    f = frequencies(x.shape[-1])[None]
    gain = sum(level / (1 + ((f - centre) / width) ** 2) for centre, width, level in peaks)
    assert isinstance(gain, Tensor)
    return unit(filtered(x, gain))


def turns(pitch: Tensor) -> Tensor:
    """Hz [N, A] -> the phase in radians."""
    return 2 * math.pi * (pitch.double().cumsum(-1) / RATE % 1.0).float()


def harmonics(pitch: Tensor, weights: Tensor, stretch: float = 0.0) -> Tensor:
    """Sines at multiples of a pitch [N, A]; weights [N, H] or [N, H, A]. Those above half the rate are left out.

    stretch: how far high partials lie above the multiples, as those of stiff strings do.
    """
    audible = 0.45 * RATE / pitch  # multiples that fit
    total = torch.zeros_like(pitch)
    if stretch:
        cycles = pitch.double().cumsum(-1) / RATE
        for k in range(1, weights.shape[1] + 1):
            ratio = k * (1 + stretch * k * k) ** 0.5
            tone = torch.sin(2 * math.pi * (ratio * cycles % 1.0).float())
            total.addcmul_(weights[:, k - 1].reshape(len(pitch), -1) * (audible > ratio), tone)
        return total
    phase = turns(pitch)
    twice, before, tone = 2 * phase.cos(), torch.zeros_like(phase), phase.sin()
    for k in range(1, weights.shape[1] + 1):
        total.addcmul_(weights[:, k - 1].reshape(len(pitch), -1) * (audible > k), tone)
        before, tone = (
            tone,
            torch.addcmul(-before, twice, tone),
        )  # sin (k + 1) p = 2 cos p sin kp - sin (k - 1) p
    return total


def buzz(pitch: Tensor, count: int = 16, slope: float = 1.0) -> Tensor:
    """Harmonics that fall as 1 / k^slope, as a vibrating throat or reed gives them."""
    weights = torch.arange(1, count + 1, dtype=torch.float32) ** -slope
    return unit(harmonics(pitch, weights.expand(len(pitch), -1)))


def partials(s: Tensor, ratios: Sequence[float], pitch: Tensor, decay: Tensor, soft: float = 0.5) -> Tensor:
    """A struck body: partials at ratios of a pitch [N, 1 or A]; high ones are weaker and die earlier.

    s: [N, A] seconds since the strike.
    """
    total = torch.zeros_like(s)
    for ratio in ratios:
        tone = torch.sin(2 * math.pi * (pitch * ratio * s.clamp(min=0, max=SECONDS * 4)) % (2 * math.pi))
        audible = (pitch * ratio < 0.45 * RATE).float()
        total += tone * strike(s, 0.002, decay / ratio**soft) * ratio**-soft * audible
    return total


def strike(s: Tensor, attack: Tensor | float, decay: Tensor | float) -> Tensor:
    """The loudness of a strike: a steep rise, then an exponential fall. s: seconds since it."""
    return (1 - torch.exp(-s / attack)) * torch.exp(-s / decay)


def hold(s: Tensor, length: Tensor | float, edge: Tensor | float = 0.02) -> Tensor:
    """The loudness of a note or a call of a length, with soft ends."""
    return (s / edge).clamp(0, 1) * ((length - s) / edge).clamp(0, 1)


def room(x: Tensor, draw: Draw, size: Range = (0.05, 0.6), most: float = 0.5) -> Tensor:
    """With the echo of a room: noise that fades, more or less of it."""
    tail = draw.noise() * torch.exp(-6.9 * draw.t / draw.log(*size))
    size_ = 2 * x.shape[-1]
    wet = torch.fft.irfft(torch.fft.rfft(x, size_) * torch.fft.rfft(tail, size_), n=size_)[:, : x.shape[-1]]
    share = draw.uniform(0, most)
    return unit(x) * (1 - share) + unit(wet) * share


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
