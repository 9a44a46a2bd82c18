"""The image encoder of LSeg: a backbone with four maps, reassembled and fused from coarse to fine.

DPT (Ranftl et al. 2021, https://arxiv.org/abs/2103.13413, section 3): tokens of four depths of a ViT become maps at
strides 4, 8, 16 and 32, and four fusion blocks add them up into one map at half the size of the image. A ResNet has
maps at these strides to begin with. Modules carry the names of the released checkpoints, so that their tensors go in
without a table. The ViT is timm's class, the ResNet torchvision's, the small one open_clip's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.clip.resnet import ClipResNetBackbone


class ReadoutProject(nn.Module):
    """Tells every patch token what the class token knows: a linear map of both, then GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, 1 + h*w, W] -> [B, h*w, W]."""
        patches = tokens[:, 1:]
        return self.project(torch.cat([patches, tokens[:, :1].expand_as(patches)], dim=-1))


def _reassemble(width: int, channels: int, resample: nn.Module | None) -> nn.Sequential:
    """Readout, two places that the released names leave to reshaping, 1x1 convolution, change of stride."""
    steps: list[nn.Module] = [
        ReadoutProject(width),
        nn.Identity(),
        nn.Identity(),
        nn.Conv2d(width, channels, 1),
    ]
    return nn.Sequential(*steps, *([] if resample is None else [resample]))


class ViTBackbone(nn.Module):
    """timm's VisionTransformer, read after four of its blocks (DPT section 3.1)."""

    smallest = 32  # pixels of a side

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        width: int,
        depth: int,
        heads: int,
        hooks: tuple[int, int, int, int],
        channels: tuple[int, int, int, int],
        classes: int,
    ) -> None:
        super().__init__()
        from timm.models.vision_transformer import VisionTransformer

        self.patch_size, self.hooks, self.channels = patch_size, hooks, channels
        self.model: Any = VisionTransformer(
            img_size=image_size,
            patch_size=patch_size,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            num_classes=classes,
        )
        c1, c2, c3, c4 = channels
        self.act_postprocess1 = _reassemble(width, c1, nn.ConvTranspose2d(c1, c1, 4, stride=4))
        self.act_postprocess2 = _reassemble(width, c2, nn.ConvTranspose2d(c2, c2, 2, stride=2))
        self.act_postprocess3 = _reassemble(width, c3, None)
        self.act_postprocess4 = _reassemble(width, c4, nn.Conv2d(c4, c4, 3, stride=2, padding=1))

    def positions(self, rows: int, columns: int) -> Tensor:
        """Position embeddings [1, 1 + h*w, W], the grid resized to the picture's."""
        first, grid = self.model.pos_embed.split([1, self.model.pos_embed.shape[1] - 1], dim=1)
        side = round(grid.shape[1] ** 0.5)
        if (rows, columns) != (side, side):
            square = grid.transpose(1, 2).unflatten(2, (side, side))
            square = F.interpolate(square, (rows, columns), mode="bilinear", align_corners=False)
            grid = square.flatten(2).transpose(1, 2)
        return torch.cat([first, grid], dim=1)

    def tokens(self, pixels: Tensor) -> list[Tensor]:
        """What leaves the four hooked blocks: [B, 1 + h*w, W] each."""
        vit = self.model
        patches = vit.patch_embed.proj(pixels)  # [B, W, h, w]
        x = torch.cat([vit.cls_token.expand(len(pixels), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        x = x + self.positions(*patches.shape[-2:])
        leaving = []
        for i, block in enumerate(vit.blocks[: self.hooks[-1] + 1]):
            x = block(x)
            if i in self.hooks:
                leaving.append(x)
        return leaving

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """[B, 3, H, W], sides multiples of 32 -> maps at strides 4, 8, 16, 32."""
        grid = (pixels.shape[-2] // self.patch_size, pixels.shape[-1] // self.patch_size)
        stages = (self.act_postprocess1, self.act_postprocess2, self.act_postprocess3, self.act_postprocess4)
        maps = []
        for stage, tokens in zip(stages, self.tokens(pixels), strict=True):
            x = stage[0](tokens).transpose(1, 2).unflatten(2, grid)  # [B, W, h, w]
            maps.append(stage[3:](x))
        return maps


class ResNetBackbone(nn.Module):
    """torchvision's ResNet-101 in four parts: the few-shot variant (LSeg section 5.1)."""

    channels = (256, 512, 1024, 2048)
    smallest = 32

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet101

        net = resnet101(weights=None)
        self.layer1 = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1)
        self.layer2, self.layer3, self.layer4 = net.layer2, net.layer3, net.layer4

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """[B, 3, H, W], sides multiples of 32 -> maps at strides 4, 8, 16, 32."""
        maps = [self.layer1(pixels)]
        for layer in (self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps


class FineClipResNetBackbone(ClipResNetBackbone):
    """A small CLIP's image tower that looks at images of half the size, one map finer.

    What a miniature learned at 64 pixels says little at twice as many, and its own first map is too coarse for outlines:
    so images are halved, the stem's map before its pooling is the finest, and the last two stages are one map.
    """

    smallest = 64

    def __init__(self, layers: tuple[int, int, int, int], width: int) -> None:
        super().__init__(layers, width)
        _, _, third, fourth = self.channels
        self.channels = (width, *self.channels[:2], third + fourth)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """[B, 3, H, W], sides multiples of 32 from 64 -> maps at strides 4, 8, 16, 32."""
        return self.maps(F.avg_pool2d(pixels, 2))

    def maps(self, halved: Tensor) -> list[Tensor]:
        """[B, 3, H/2, W/2] -> the same."""
        model, x = self.model, halved
        for i in (1, 2, 3):
            x = getattr(model, f"act{i}")(getattr(model, f"bn{i}")(getattr(model, f"conv{i}")(x)))
        first = model.layer1(model.avgpool(x))
        second = model.layer2(first)
        third = model.layer3(second)
        fourth = F.interpolate(model.layer4(third), third.shape[-2:], mode="bilinear")
        return [x, first, second, torch.cat([third, fourth], dim=1)]


BACKBONES: Mapping[str, Any] = {
    "vit": ViTBackbone,
    "resnet101": ResNetBackbone,
    "fine_clip_resnet": FineClipResNetBackbone,
}


class ResidualConvUnit(nn.Module):
    """Two 3x3 convolutions with batch norm, ReLU before each, and a shortcut."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(features)
        self.bn2 = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(F.relu(x)))
        return x + self.bn2(self.conv2(F.relu(y)))


class FusionBlock(nn.Module):
    """Adds a finer map to what came from the coarser ones and doubles the size (DPT section 3.2)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        # The coarsest block has nothing to add; its first unit is in the released files all the same.
        self.resConfUnit1 = ResidualConvUnit(features)
        self.resConfUnit2 = ResidualConvUnit(features)

    def forward(self, x: Tensor, finer: Tensor | None = None) -> Tensor:
        if finer is not None:
            x = x + self.resConfUnit1(finer)
        x = self.resConfUnit2(x)
        return self.out_conv(double(x))


def double(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, 2H, 2W], bilinear, corners on corners."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class Scratch(nn.Module):
    """What DPT trains from nothing: four projections, four fusion blocks, and LSeg's head to D dimensions."""

    def __init__(self, channels: tuple[int, ...], features: int, dimensions: int) -> None:
        super().__init__()
        for i, width in enumerate(channels, 1):
            self.add_module(f"layer{i}_rn", nn.Conv2d(width, features, 3, padding=1, bias=False))
            self.add_module(f"refinenet{i}", FusionBlock(features))
        self.head1 = nn.Conv2d(features, dimensions, 1)

    def paths(self, maps: list[Tensor]) -> list[Tensor]:
        """The outputs of the fusion blocks, coarse to fine: strides 16, 8, 4, 2."""
        parts: Any = self._modules
        x: Tensor | None = None
        paths = []
        for i in (4, 3, 2, 1):
            finer = parts[f"layer{i}_rn"](maps[i - 1])
            x = parts[f"refinenet{i}"](finer) if x is None else parts[f"refinenet{i}"](x, finer)
            paths.append(x)
        return paths

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Four maps -> pixel features [B, D, H/2, W/2], not normalised."""
        return self.head1(self.paths(maps)[-1])

    def cosines(self, path: Tensor, texts: Tensor) -> Tensor:
        """Cosines of pixel features and texts without the features, which are far wider than what they are made of.

        A feature is W x + b, so its product with a text is (t W) x + t b, and its length the root of a quadratic form of x.

        Args:
            path: the finest path [B, F, h, w].
            texts: unit features [B, N, D].

        Returns:
            [B, N, h, w].
        """
        head: Any = self.head1
        weight, bias = head.weight[:, :, 0, 0], head.bias
        x = path.permute(0, 2, 3, 1).flatten(1, 2)  # [B, h*w, F]
        square = (x @ (weight.T @ weight) * x).sum(-1) + 2 * x @ (weight.T @ bias) + bias @ bias
        products = x @ (texts @ weight).transpose(1, 2) + (texts @ bias)[:, None]
        cosines = products * square.float().clamp_min(1e-6).rsqrt()[..., None]
        return cosines.transpose(1, 2).unflatten(2, path.shape[-2:])
