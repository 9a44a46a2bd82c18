"""ViLD's region heads, losses and scores (Gu et al. 2022, https://arxiv.org/abs/2104.13921, section 3).

A region embedding r = R(phi(image), box) is compared with text embeddings by cosine. Three heads of one shape stand side by side,
so that one file answers for every variant of the paper's table 3:

    text    learned from base categories alone                          (ViLD-text, section 3.3)
    image   learned from CLIP's embeddings of crops alone               (ViLD-image, section 3.4)
    vild    learned from both at once                                   (ViLD)

and ViLD-ensemble joins the first two at the end (section 3.5).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder

from core.clip.resnet import ClipResNetBackbone
from core.detection.proposals import ConvBlock, Proposer

HEADS = ("text", "image", "vild")
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
DISTILLATION = 0.5  # the weight w of the image loss
LAMBDA = 2 / 3  # the share of the head that knows a category better


class RegionHead(nn.Module):
    """Aligned features [R, C, 5, 5] -> region embeddings [R, D] of norm 1: two convolutions, one layer, the projection."""

    def __init__(self, width: int, inner: tuple[int, int], dimensions: int) -> None:
        super().__init__()
        first, second = inner
        self.convs = nn.Sequential(ConvBlock(width, first, 0), ConvBlock(first, second, 0))
        self.project = nn.Linear(second, dimensions)

    def forward(self, regions: Tensor) -> Tensor:
        return F.normalize(self.project(self.convs(regions).flatten(1)).float(), dim=-1, eps=1e-6)


class BoxHead(nn.Module):
    """Aligned features [R, C, 5, 5] -> four deltas [R, 4], the same for every category."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(ConvBlock(width, width, 0), ConvBlock(width, width, 0))
        self.deltas = nn.Linear(width, 4)
        nn.init.zeros_(self.deltas.weight)
        nn.init.zeros_(self.deltas.bias)

    def forward(self, regions: Tensor) -> Tensor:
        return self.deltas(self.convs(regions).flatten(1)).float()


class ViLDNet(nn.Module):
    """The miniature: a frozen CLIP tower (`pretrained`), proposals, boxes, three region heads and two learned backgrounds."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        row = architecture
        self.pretrained: Any = ClipResNetBackbone(tuple(row["backbone"]["layers"]), row["backbone"]["width"])
        width = row["features"]
        self.proposer: Any = Proposer(self.pretrained.channels[1:], width, row["anchors"], places=5)
        self.box = BoxHead(width)
        inner = tuple(row["inner"])
        self.heads = nn.ModuleDict({h: RegionHead(width, inner, row["dimensions"]) for h in HEADS})
        # What is no base category: one learned vector a head that is trained with the text loss (section 3.3).
        self.background = nn.ParameterDict(
            {h: nn.Parameter(0.01 * torch.randn(row["dimensions"])) for h in ("text", "vild")}
        )
        self.coder = BoxCoder(BOX_WEIGHTS)

    def refined(self, regions: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes [R, 4] moved by the box head and cut at the picture's edge; size is (height, width)."""
        moved = self.coder.decode_single(self.box(regions), boxes).view(-1, 4)
        height, width = size
        return torch.minimum(moved.clamp(min=0), moved.new_tensor([width, height, width, height]))


# --- losses ------------------------------------------------------------------------------------------------


def text_logits(regions: Tensor, texts: Tensor, background: Tensor, scale: float) -> Tensor:
    """z(r) = scale * [sim(r, e_bg), sim(r, t_1), ..., sim(r, t_N)] (equation 1), sim the cosine.

    Args:
        regions: [R, D], norm 1.
        texts: [N, D], norm 1.
        background: [D] of any length, learned.
        scale: 1 / temperature; 100 in the released code.

    Returns:
        [R, 1 + N]; column 0 is the background.
    """
    ground = F.normalize(background, dim=-1, eps=1e-6)
    return scale * regions @ torch.cat([ground[None], texts]).T


def text_loss(
    regions: Tensor, texts: Tensor, background: Tensor, target: Tensor, scale: float, novel: int = 0
) -> Tensor:
    """L_text = 1/N sum_r L_CE(softmax(z(r)), y_r) (equation 2).

    What matches no base box is background, also where a novel thing stands. Novel categories never get a text: as in the
    released code they stay in the softmax with a logit of zero.

    Args:
        regions: [R, D], norm 1.
        texts: of the base categories [N, D], norm 1.
        background: [D].
        target: [R] 0 for background, else 1 + the base category.
        scale: 1 / temperature.
        novel: how many categories have a logit of zero.
    """
    logits = text_logits(regions, texts, background, scale)
    return F.cross_entropy(F.pad(logits, (0, novel)), target)


def image_loss(regions: Tensor, crops: Tensor) -> Tensor:
    """L_image = 1/M sum_r || V(crop of r) - R(r) ||_1 (equation 3): summed over dimensions, mean over proposals.

    Args:
        regions: the student's embeddings of M precomputed proposals [M, D], norm 1.
        crops: CLIP's of the same, norm 1.
    """
    return (regions - crops).abs().sum(-1).mean()


def vild_loss(
    regions: Tensor,
    texts: Tensor,
    background: Tensor,
    target: Tensor,
    crops: Tensor,
    scale: float,
    novel: int = 0,
    weight: float = DISTILLATION,
) -> tuple[Tensor, Tensor, Tensor]:
    """L_ViLD = L_text + w * L_image (equation 4): N and M proposals went through one head as one batch and are split here.

    Args:
        regions: [N + M, D], the N of the text loss first (figure 3d).
        target: [N].
        crops: [M, D].

    Returns:
        The sum, and the two losses it is made of.
    """
    sampled, precomputed = regions.split([len(target), len(crops)])
    text = text_loss(sampled, texts, background, target, scale, novel)
    image = image_loss(precomputed, crops)
    return text + weight * image, text, image


# --- scores ------------------------------------------------------------------------------------------------


def probabilities(regions: Tensor, texts: Tensor, scale: float, background: Tensor | None = None) -> Tensor:
    """Softmax over labels, and over the background where a head has one: [M, D], [N, D] -> [M, 1 + N] or [M, N]."""
    if background is None:
        return (scale * regions @ texts.T).softmax(-1)
    return text_logits(regions, texts, background, scale).softmax(-1)


def ensemble(text: Tensor, image: Tensor, base: Tensor) -> Tensor:
    """p_i = p_text^l p_image^(1-l) for a base category, the exponents swapped for a novel one (equation 5), l = 2/3.

    Args:
        text, image: probabilities [M, N] of the two heads, the background's column taken out.
        base: [N] bool.
    """
    share = torch.where(base, LAMBDA, 1 - LAMBDA).to(text)
    return text.clamp(min=1e-12) ** share * image.clamp(min=1e-12) ** (1 - share)
