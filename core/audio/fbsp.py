"""The learnable time-frequency layer: frequency B-spline wavelets (Guzhov et al. 2021, ESResNe(X)t-fbsp, section 3.1).

A filter has a frequency fc, a width fb and an order m:

    w(t) = sqrt(fb) * sinc(fb t / m)^m * exp(-i fc t)

At m = 0 the window is 1 and the filters are nearly those of a discrete Fourier transform, which is where training begins.
Filters are built in float64 and rounded once, but for the phase fc * t: it passes 3,000 at the top of the spectrum, where float32
has lost four digits, and the released filters learned with the product that float32 gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BANDS = 3  # of the spectrum: low, middle and high are the three channels of an image network
FULL_SCALE = 65_535  # steps of a 16-bit sample
TINY = 1e-8
SILENCE = 1e-18  # power in place of an exact zero
UNEVEN = 0.25  # nearer to the middle than this time, TINY changes a float32, and the two sides of a filter differ by it
# Coefficients of sums of cosines.
WINDOWS: dict[str, tuple[float, ...]] = {
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
}


@dataclass(frozen=True)
class FrontEndSettings:
    """From a waveform to three bands of decibels.

    n_fft: taps of a filter. hop_length, win_length: samples. normalized: filters of norm 1 at the start, not sqrt(n_fft).
    onesided: n_fft // 2 + 1 filters, not n_fft. spec_height, spec_width: a size of each band, -1 to leave it.
    """

    n_fft: int = 2048
    hop_length: int = 561
    win_length: int = 1654
    window: str = "blackmanharris"
    normalized: bool = True
    onesided: bool = True
    spec_height: int = -1
    spec_width: int = -1

    @property
    def filters(self) -> int:
        """K."""
        return self.n_fft // 2 + 1 if self.onesided else self.n_fft

    def frames(self, samples: int) -> int:
        """T of a waveform."""
        return 1 + max(0, math.ceil((samples - self.win_length) / self.hop_length))


def sinc(x: Tensor) -> Tensor:
    """sin(x) / x."""
    return torch.sin(x) / x


def filters(m: Tensor, fb: Tensor, fc: Tensor, taps: int, normalized: bool) -> Tensor:
    """Complex filters [K, n_fft] in complex128.

    A negative sinc has the phase pi, so its power m turns by pi * m.

    Args:
        m, fb, fc: [K] order, width (positive), frequency.
        taps: n_fft.
        normalized: divided by sqrt(n_fft).
    """
    time = math.pi * torch.linspace(-1, 1, taps, device=m.device) + TINY
    phase = (fc.float()[:, None] * time).double()
    m, fb, t = m.double()[:, None], fb.double()[:, None], time.double()
    bell = sinc(fb * t / (m + TINY))
    magnitude = fb.sqrt() * bell.abs() ** m
    angle = math.pi * m * (bell < 0) - phase
    return torch.polar(magnitude, angle) / (math.sqrt(taps) if normalized else 1.0)


class FBSP(nn.Module):
    """The parameters of K filters; `bias` is empty and only keeps the name it has in the published files."""

    m: Tensor
    fb: Tensor
    fc: Tensor

    def __init__(self, settings: FrontEndSettings) -> None:
        super().__init__()
        self.settings = settings
        count = settings.filters
        self.m = nn.Parameter(torch.zeros(count))
        self.fb = nn.Parameter(torch.ones(count))
        self.fc = nn.Parameter(torch.arange(count, dtype=torch.float32))
        self.bias = nn.Parameter(torch.empty(0))

    def weights(self) -> Tensor:
        """Complex filters [K, n_fft] in complex128."""
        return filters(self.m, self.fb, self.fc, self.settings.n_fft, self.settings.normalized)

    def norms(self) -> Tensor:
        """[K] in float64."""
        return self.weights().abs().square().sum(1).sqrt()

    def loss(self) -> Tensor:
        """How far the filters' norms are from those at the start: the term that training adds to its loss."""
        target = 1.0 if self.settings.normalized else math.sqrt(self.settings.n_fft)
        return (self.norms() - target).square().mean()

    @torch.no_grad()
    def normalise_gradients(self) -> None:
        """Divides the gradients of m, fb and fc each by their largest entry, as the published training does."""
        for parameter in (self.m, self.fb, self.fc):
            if parameter.grad is not None:
                parameter.grad /= parameter.grad.abs().max().clamp(min=TINY)


@dataclass(frozen=True)
class Bank:
    """Filters of K bins, split into what is even and what is odd about their middle, H taps on either side.

    An even part is multiplied with a frame plus the same frame backwards, an odd one with their difference, which takes half as
    many multiplications. Where sinc is positive, the real part of a filter is even and its imaginary part odd. `turned` [R] are
    the bins of the other filters, which have all four parts. The taps in the middle are multiplied as they are.
    """

    even: Tensor  # [K + R, H] the real parts, then the imaginary ones of those that are turned
    odd: Tensor  # [K + R, H] the imaginary parts, then the real ones of those that are turned
    turned: Tensor
    middle: Tensor  # [2K, win_length - 2H] the real parts, then the imaginary ones

    def __call__(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Windowed frames [N, win_length] -> real and imaginary parts [K, N] of their spectra.

        There are more filters than frames, and a processor multiplies faster with the longer side first.
        """
        half, bins = self.even.shape[1], len(self.middle) // 2
        first, last = frames[:, :half], frames.flip(1)[:, :half]
        even, odd = self.even @ (first + last).T, self.odd @ (first - last).T
        real, imaginary = (self.middle @ frames[:, half : frames.shape[1] - half].T).chunk(2)
        real, imaginary = real + even[:bins], imaginary + odd[:bins]
        if not len(self.turned):
            return real, imaginary
        return real.index_add(0, self.turned, odd[bins:]), imaginary.index_add(0, self.turned, even[bins:])


def split(weights: Tensor, half: int, every: bool, dtype: torch.dtype) -> Bank:
    """A bank of complex filters [K, win_length].

    Args:
        half: H, the taps on either side that are split.
        every: whether all filters count as turned, as gradients need it.
        dtype: of the numbers that are kept.
    """
    first, last = weights[:, :half], weights.flip(1)[:, :half]
    even, odd = (first + last) / 2, (first - last) / 2
    turned = ((even.imag != 0) | (odd.real != 0)).any(1) | every
    middle = weights[:, half : weights.shape[1] - half]
    return Bank(
        torch.cat([even.real, even.imag[turned]]).to(dtype).contiguous(),
        torch.cat([odd.imag, odd.real[turned]]).to(dtype).contiguous(),
        turned.nonzero().flatten(),
        torch.cat([middle.real, middle.imag]).to(dtype).contiguous(),
    )


class FrontEnd(nn.Module):
    """Waveforms to decibels, with the filters of an `FBSP`.

    `window` is a buffer of the published files. Without gradients the filters are built and split once and kept. Only the
    `win_length` taps under the window are multiplied, in place of `n_fft`.
    """

    window: Tensor

    def __init__(self, settings: FrontEndSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("window", window(settings.window, settings.win_length))
        self.fbsp = FBSP(settings)
        self._kept: tuple[tuple[object, ...], Bank] | None = None

    def frames(self, waveform: Tensor) -> Tensor:
        """Samples [N, A] in the int16 range -> frames [N, T, win_length] in -1..1, not windowed.

        Zero becomes +1.5e-5, and the ends are filled with zeros after that.
        """
        s = self.settings
        scaled = 2 * (waveform + 32_768) / FULL_SCALE - 1
        count = s.frames(waveform.shape[-1])
        missing = s.win_length + (count - 1) * s.hop_length - waveform.shape[-1]
        return F.pad(scaled, (missing // 2, missing - missing // 2)).unfold(-1, s.win_length, s.hop_length)

    def bank(self) -> Bank:
        """The filters that frames are multiplied with."""
        if torch.is_grad_enabled() and self.fbsp.m.requires_grad:
            return self._bank(True)
        values = (self.fbsp.m, self.fbsp.fb, self.fbsp.fc, self.window)
        state = tuple((v.data_ptr(), v._version, v.dtype, v.device) for v in values if not v.is_inference())
        if self._kept is None or self._kept[0] != state:
            with torch.no_grad():
                self._kept = state, self._bank(False)
        return self._kept[1]

    def _bank(self, every: bool) -> Bank:
        s = self.settings
        start = (s.n_fft - s.win_length) // 2
        near = math.ceil(UNEVEN / math.pi * (s.n_fft - 1) / 2)
        half = max(0, s.win_length // 2 - near)
        return split(self.fbsp.weights()[:, start : start + s.win_length], half, every, self.window.dtype)

    def spectrum(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """[N, A] -> real and imaginary parts [N, K, T]."""
        frames = self.frames(waveform) * self.window  # [N, T, win_length]
        real, imaginary = (
            part.unflatten(1, frames.shape[:2]).transpose(0, 1) for part in self.bank()(frames.flatten(0, 1))
        )
        return real, imaginary

    def forward(self, waveform: Tensor) -> Tensor:
        """Sounds [B, C, A] in the int16 range -> decibels [B, C, 3, F, T]: the low, the middle and the high third of the bins."""
        s = self.settings
        batch, channels, _ = waveform.shape
        bins = s.filters // BANDS * BANDS
        real, imaginary = (part[:, :bins] for part in self.spectrum(waveform.flatten(0, 1)))  # [BC, 3F, T]
        power = (real.square() + imaginary.square()).unflatten(1, (BANDS, -1))
        if s.spec_height > 0 or s.spec_width > 0:
            size = tuple(
                wanted if wanted > 0 else had
                for wanted, had in zip((s.spec_height, s.spec_width), power.shape[2:], strict=True)
            )
            power = F.interpolate(power, size=size, mode="bilinear", align_corners=True)
        power = torch.where(power > 0, power, SILENCE)
        return (10 * torch.log10(power)).unflatten(0, (batch, channels))


def window(name: str, length: int) -> Tensor:
    """A periodic window of `WINDOWS`; on the CPU, also where a network is built without memory: torch then has some of what the
    window is made of on another device, if transformers was the first to build a network so."""
    return torch.signal.windows.general_cosine(
        length, a=WINDOWS[name], sym=False, dtype=torch.float64, device=torch.device("cpu")
    ).float()
