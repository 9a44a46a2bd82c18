"""StyleGAN2's generator (Karras et al. 2020, arXiv:1912.04958) in plain PyTorch, with the names and shapes of rosinality's
port.

Weights are stored with unit variance and scaled when they are used (the equalised learning rate). A modulated convolution is
computed as scale, convolve, scale back: the input is multiplied by the styles, all images share one convolution, and its
outputs are multiplied by the factor that demodulates (equation 3). That equals the published way, one convolution with a kernel
and a group for each image, and needs no kernels of its own. Without gradients a processor makes large maps a few rows at a time
(`Generator.strips`): a map of 1,024 pixels has 128 MB, and getting the memory for each of its steps took a third of the time.

The input of every convolution is scaled by a style vector, an affine map of w. All of them together are StyleSpace (Wu et al.
2021): `Generator.styles` gives them, `Generator.synthesise` takes them. The letter L counts the vectors of W+.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLUR = (1.0, 3.0, 3.0, 1.0)
ROWS = 64  # of a large map that are made at once
LARGE = 128  # pixels of a side
_EPS = 1e-8


def published_channels(multiplier: int = 2) -> dict[int, int]:
    """Channels at every side of the published generators; config-f has a multiplier of 2."""
    m = multiplier
    return {
        4: 512,
        8: 512,
        16: 512,
        32: 512,
        64: 256 * m,
        128: 128 * m,
        256: 64 * m,
        512: 32 * m,
        1024: 16 * m,
    }


@dataclass(frozen=True)
class Architecture:
    """size: pixels of a side. width: of z and w. depth: layers of the mapping network. channels: by side."""

    size: int = 1024
    width: int = 512
    depth: int = 8
    channels: Mapping[int, int] = field(default_factory=published_channels)
    rate: float = 0.01  # of the mapping network, beside that of the rest

    @property
    def latents(self) -> int:
        """L, the vectors of W+."""
        return 2 * int(math.log2(self.size)) - 2


class PixelNorm(nn.Module):
    """Divides by the root mean square over dimension 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + _EPS).rsqrt()


class EqualLinear(nn.Module):
    """A linear layer with an equalised learning rate; `rate` multiplies weights and biases, `leaky` adds the activation."""

    def __init__(self, inputs: int, outputs: int, rate: float = 1.0, bias: float = 0.0, leaky: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale, self.rate, self.leaky = rate / math.sqrt(inputs), rate, leaky

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight * self.scale, self.bias * self.rate)
        return F.leaky_relu(y, 0.2) * math.sqrt(2) if self.leaky else y


def kernel(blur: Sequence[float] = BLUR) -> Tensor:
    """[4, 4] what an upsampled map is smoothed with; sums to 4, as three of four pixels begin at zero."""
    line = torch.tensor(blur)
    square = line[:, None] * line[None]
    return square / square.sum() * 4


class Blur(nn.Module):
    """Smooths [B, C, 2H + 1, 2W + 1] to [B, C, 2H, 2W]: each channel by itself, which is several times faster on a CPU than all
    channels as images of a batch. padding: rows and columns of zeros around the map, 1 and 1 for a whole one."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", kernel())

    def forward(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        channels = x.shape[1]
        weight = self.kernel.expand(channels, 1, -1, -1).contiguous()
        return F.conv2d(x, weight, padding=padding, groups=channels)


class Upsample(nn.Module):
    """Doubles the side of an image [B, 3, H, W]."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", kernel())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.kernel.expand(x.shape[1], 1, -1, -1)
        return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=x.shape[1])


@dataclass(frozen=True)
class Modulated:
    """A convolution for given styles: its kernel [out, in, k, k], and factors [B, C, 1, 1] of its inputs and outputs."""

    weight: Tensor
    before: Tensor | None = None
    after: Tensor | None = None

    def channels_last(self) -> Modulated:
        """The same with another order in memory, which the maps that it makes have, too."""
        return replace(self, weight=self.weight.contiguous(memory_format=torch.channels_last))

    def convolve(self, x: Tensor, padding: int | tuple[int, int] = 0) -> Tensor:
        """x [B, in, H, W] -> [B, out, ...]."""
        y = F.conv2d(x if self.before is None else x * self.before, self.weight, padding=padding)
        return y if self.after is None else y * self.after

    def upsample(self, x: Tensor) -> Tensor:
        """x [B, in, H, W] -> [B, out, 2H + 1, 2W + 1], not smoothed."""
        x = x if self.before is None else x * self.before
        y = F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
        return y if self.after is None else y * self.after


class ModulatedConv2d(nn.Module):
    """A convolution whose input channels are scaled by a style; with `upsample` the map doubles its side."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        side: int,
        width: int,
        demodulate: bool = True,
        upsample: bool = False,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, side, side))
        self.modulation = EqualLinear(width, inputs, bias=1.0)
        self.scale, self.demodulate = 1 / math.sqrt(inputs * side**2), demodulate
        self.blur = Blur() if upsample else None

    def modulated(self, style: Tensor) -> Modulated:
        """The convolution for styles [B, in]."""
        weight = self.weight[0] * self.scale  # [out, in, k, k]
        scales: Tensor | None = None
        if self.demodulate:
            energy = style.square() @ weight.square().sum((2, 3)).T  # [B, out]
            scales = (energy + _EPS).rsqrt()
        if len(style) > 1:
            return Modulated(
                weight, style[:, :, None, None], None if scales is None else scales[:, :, None, None]
            )
        # One image: its factors go into the kernel, which is smaller than a map.
        weight = weight * style[0][:, None, None]
        return Modulated(weight if scales is None else weight * scales[0][:, None, None, None])

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x [B, in, H, W], style [B, in] -> [B, out, H, W], or of twice the side."""
        kernel = self.modulated(style)
        if self.blur is None:
            return kernel.convolve(x, padding=kernel.weight.shape[-1] // 2)
        return self.blur(kernel.upsample(x), (1, 1))

    def rows(self, x: Tensor, kernel: Modulated, first: int, last: int) -> Tensor:
        """The rows from `first` to `last` of what `forward` makes of x, of twice the side."""
        assert self.blur is not None
        # A smoothed row reads the raw rows from the one before it to the second behind it, and raw row r the rows of x from
        # (r - 2) / 2 to r / 2. What lies outside of the map is zero.
        end = 2 * x.shape[2] + 1
        begin = max(0, (first - 2) // 2)
        wide = kernel.upsample(x[:, :, begin : min(end, last + 2) // 2 + 1])
        above, below = int(first == 0), max(0, last + 2 - end)
        if above or below:
            wide = F.pad(wide, (0, 0, above, below))
        at = first - 1 - 2 * begin + above
        return self.blur(wide, (0, 1))[:, :, at : at + last - first]


class Noise(nn.Module):
    """Adds noise [B or 1, 1, H, W] with one learned weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.weight * noise


class BiasedLeaky(nn.Module):
    """Adds a bias to each channel; then a leaky ReLU that keeps the variance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.bias[:, None, None], 0.2) * math.sqrt(2)


class StyledConv(nn.Module):
    """A modulated convolution, noise, bias and activation."""

    def __init__(self, inputs: int, outputs: int, width: int, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(inputs, outputs, 3, width, upsample=upsample)
        self.noise = Noise()
        self.activate = BiasedLeaky(outputs)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        y: Tensor = self.conv(x, style)
        if torch.is_grad_enabled():
            shown: Tensor = self.activate(self.noise(y, noise))
            return shown
        return self.finish(y, noise)

    def finish(self, y: Tensor, noise: Tensor) -> Tensor:
        """Noise, bias and activation in the memory of y: new maps would take longer than the arithmetic."""
        y.add_(self.noise.weight * noise).add_(self.activate.bias[:, None, None])
        return F.leaky_relu_(y, 0.2).mul_(math.sqrt(2))


class ToRGB(nn.Module):
    """What a layer adds to the image, on top of the smaller image of the layers before it."""

    def __init__(self, inputs: int, width: int, upsample: bool = True) -> None:
        super().__init__()
        self.upsample = Upsample() if upsample else None
        self.conv = ModulatedConv2d(inputs, 3, 1, width, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, style: Tensor, skip: Tensor | None = None) -> Tensor:
        y: Tensor = self.conv(x, style) + self.bias
        return y if skip is None or self.upsample is None else y + self.upsample(skip)


class Constant(nn.Module):
    """The learned map from which every image begins."""

    def __init__(self, channels: int, side: int = 4) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, side, side))

    def forward(self, count: int) -> Tensor:
        return self.input.expand(count, -1, -1, -1)


class Generator(nn.Module):
    """z -> w -> W+ -> StyleSpace -> image, each step a method."""

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        a = self.architecture = architecture or Architecture()
        channels, width = a.channels, a.width
        self.style = nn.Sequential(
            PixelNorm(), *(EqualLinear(width, width, a.rate, leaky=True) for _ in range(a.depth))
        )
        self.input = Constant(channels[4])
        self.conv1 = StyledConv(channels[4], channels[4], width)
        self.to_rgb1 = ToRGB(channels[4], width, upsample=False)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        self.sides = [2**i for i in range(3, int(math.log2(a.size)) + 1)]
        inputs = channels[4]
        for side in self.sides:
            self.convs.append(StyledConv(inputs, channels[side], width, upsample=True))
            self.convs.append(StyledConv(channels[side], channels[side], width))
            self.to_rgbs.append(ToRGB(channels[side], width))
            inputs = channels[side]
        for i, side in enumerate([4, *(s for s in self.sides for _ in range(2))]):
            self.noises.register_buffer(f"noise_{i}", torch.randn(1, 1, side, side))

    @property
    def layers(self) -> list[tuple[ModulatedConv2d, int]]:
        """Every modulated convolution in the order of StyleSpace, and which vector of W+ its style comes from."""
        found: list[tuple[ModulatedConv2d, int]] = [(self.conv1.conv, 0), (self.to_rgb1.conv, 1)]
        for k, rgb in enumerate(self.to_rgbs):
            for j, block in enumerate((self.convs[2 * k], self.convs[2 * k + 1], rgb)):
                found.append((block.conv, 2 * k + 1 + j))  # type: ignore[arg-type]
        return found

    @property
    def to_rgb(self) -> tuple[int, ...]:
        """The positions in StyleSpace of the layers that make colours."""
        return (1, *range(4, 3 * len(self.sides) + 2, 3))

    @property
    def style_widths(self) -> list[int]:
        """Channels of every vector of StyleSpace."""
        return [conv.weight.shape[2] for conv, _ in self.layers]

    @property
    def fixed_noise(self) -> list[Tensor]:
        """The noise that belongs to the weights."""
        return [getattr(self.noises, f"noise_{i}") for i in range(1 + 2 * len(self.sides))]

    def map(self, z: Tensor) -> Tensor:
        """z [B, D] -> w [B, D]."""
        w: Tensor = self.style(z)
        return w

    @torch.no_grad()
    def mean_w(self, count: int = 4096, seed: int = 0) -> Tensor:
        """[1, D] the mean of so many w."""
        z = torch.randn(count, self.architecture.width, generator=torch.Generator().manual_seed(seed))
        return self.map(z.to(self.input.input)).mean(0, keepdim=True)

    def widen(self, w: Tensor) -> Tensor:
        """w [B, D] -> W+ [B, L, D] with the same vector everywhere; W+ stays as it is."""
        return w if w.ndim == 3 else w[:, None].expand(-1, self.architecture.latents, -1)

    def mix(self, first: Tensor, second: Tensor, at: int) -> Tensor:
        """W+ with the first w up to layer `at` and the second behind it."""
        return torch.cat([self.widen(first)[:, :at], self.widen(second)[:, at:]], 1)

    def styles(self, w_plus: Tensor) -> list[Tensor]:
        """W+ [B, L, D] -> StyleSpace: one [B, C] for each modulated convolution."""
        return [conv.modulation(w_plus[:, at]) for conv, at in self.layers]

    def synthesise(self, styles: Sequence[Tensor], noise: Sequence[Tensor] | None = None) -> Tensor:
        """StyleSpace -> images [B, 3, H, W], about -1 to 1, not clamped. noise: in place of the fixed one."""
        noise = self.fixed_noise if noise is None else noise
        x = self.conv1(self.input(len(styles[0])), styles[0], noise[0])
        image: Tensor = self.to_rgb1(x, styles[1])
        thrifty = x.device.type == "cpu" and not torch.is_grad_enabled()
        for k, rgb in enumerate(self.to_rgbs):
            up, plain, colour = styles[2 + 3 * k : 5 + 3 * k]
            if thrifty and self.sides[k] >= LARGE:
                x, image = self.strips(k, x, styles, noise, image)
                continue
            x = self.convs[2 * k](x, up, noise[1 + 2 * k])
            x = self.convs[2 * k + 1](x, plain, noise[2 + 2 * k])
            image = rgb(x, colour, image)
        return image

    def strips(
        self, k: int, x: Tensor, styles: Sequence[Tensor], noise: Sequence[Tensor], image: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Block k, a strip of rows at a time: its map, empty behind the last block, and the image with its colours."""
        first: Any = self.convs[2 * k]
        second: Any = self.convs[2 * k + 1]
        rgb: Any = self.to_rgbs[k]
        blocks = zip((first, second, rgb), styles[2 + 3 * k : 5 + 3 * k], strict=True)
        up, plain, colour = (block.conv.modulated(style).channels_last() for block, style in blocks)
        # With the channels of a pixel side by side a strip is one piece of memory, which no convolution copies.
        layout: Any = {"dtype": x.dtype, "memory_format": torch.channels_last}
        x = x.contiguous(memory_format=torch.channels_last)
        side, is_last = self.sides[k], k == len(self.sides) - 1
        made = torch.empty(len(x), len(plain.weight), 0 if is_last else side, side, **layout)
        colours = torch.empty(len(x), 3, side, side, **layout)
        for top in range(0, side, ROWS):
            end = min(top + ROWS, side)
            # 1. the upsampled rows, with one more at each side for the second convolution; zeros outside of the map
            begin, stop = max(0, top - 1), min(side, end + 1)
            rows = first.finish(first.conv.rows(x, up, begin, stop), noise[1 + 2 * k][:, :, begin:stop])
            if stop - begin < end - top + 2:
                rows = F.pad(rows, (0, 0, begin - top + 1, end + 1 - stop))
            # 2. the second convolution, 3. what it adds to the image
            rows = second.finish(plain.convolve(rows, (0, 1)), noise[2 + 2 * k][:, :, top:end])
            colours[:, :, top:end] = colour.convolve(rows)
            if not is_last:
                made[:, :, top:end] = rows
        return made, colours.add_(rgb.bias).add_(rgb.upsample(image))

    def forward(self, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """w [B, D] or W+ [B, L, D] -> images [B, 3, H, W]."""
        return self.synthesise(self.styles(self.widen(w)), noise)


def truncated(w: Tensor, mean: Tensor, psi: float) -> Tensor:
    """w drawn towards the mean: fewer surprises, less variety."""
    return mean + psi * (w - mean)
