"""StyleGAN2's generator (Karras et al. 2020, arXiv:1912.04958) in plain PyTorch, with the names and shapes of rosinality's
port.

Weights are stored with unit variance and scaled when they are used (the equalised learning rate). A modulated convolution is
computed as scale, convolve, scale back: the input is multiplied by the styles, all images share one convolution, and its
outputs are multiplied by the factor that demodulates (equation 3). That equals the published way, one convolution with a kernel
and a group for each image, and needs no kernels of its own.

The input of every convolution is scaled by a style vector, an affine map of w. All of them together are StyleSpace (Wu et al.
2021): `Generator.styles` gives them, `Generator.synthesise` takes them. The letter L counts the vectors of W+.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLUR = (1.0, 3.0, 3.0, 1.0)
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
    channels as images of a batch."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", kernel())

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        weight = self.kernel.expand(channels, 1, -1, -1).contiguous()
        return F.conv2d(x, weight, padding=1, groups=channels)


class Upsample(nn.Module):
    """Doubles the side of an image [B, 3, H, W]."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", kernel())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.kernel.expand(x.shape[1], 1, -1, -1)
        return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=x.shape[1])


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

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x [B, in, H, W], style [B, in] -> [B, out, H, W], or of twice the side."""
        weight = self.weight[0] * self.scale  # [out, in, k, k]
        scales: Tensor | None = None
        if self.demodulate:
            energy = style.square() @ weight.square().sum((2, 3)).T  # [B, out]
            scales = (energy + _EPS).rsqrt()
        if len(style) == 1:
            # One image: its factors go into the kernel, which is smaller than a map.
            weight = weight * style[0][:, None, None]
            weight = weight if scales is None else weight * scales[0][:, None, None, None]
        else:
            x = x * style[:, :, None, None]
        if self.blur is None:
            y = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        else:
            y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        if scales is not None and len(style) > 1:
            y = y * scales[:, :, None, None]
        return y if self.blur is None else self.blur(y)


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
        # The same without a new map for each of its parts, which takes longer than the arithmetic.
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
        for k, rgb in enumerate(self.to_rgbs):
            up, plain, colour = styles[2 + 3 * k : 5 + 3 * k]
            x = self.convs[2 * k](x, up, noise[1 + 2 * k])
            x = self.convs[2 * k + 1](x, plain, noise[2 + 2 * k])
            image = rgb(x, colour, image)
        return image

    def forward(self, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """w [B, D] or W+ [B, L, D] -> images [B, 3, H, W]."""
        return self.synthesise(self.styles(self.widen(w)), noise)


def truncated(w: Tensor, mean: Tensor, psi: float) -> Tensor:
    """w drawn towards the mean: fewer surprises, less variety."""
    return mean + psi * (w - mean)
