"""Where something is, whatever it is: class-agnostic proposals from an RPN on the maps of a frozen CLIP tower.

Faster R-CNN's first stage (Ren et al. 2015, https://arxiv.org/abs/1506.01497, section 3) on a feature pyramid (Lin et al. 2017,
https://arxiv.org/abs/1612.03144), as ViLD uses it (Gu et al. 2022, section 3.1): it is trained on boxes of base categories and
proposes novel ones as well, because it never learns a category. Anchors, RPN and pyramid are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import rpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

LEVELS = ("8", "16", "32")  # strides of the maps, names of the pyramid's levels
RATIOS = (0.5, 1.0, 2.0)


class ScoredProposals(rpn.RegionProposalNetwork):
    """torchvision's RPN, which hands out the objectness of its proposals too."""

    def propose(
        self, pictures: ImageList, maps: dict[str, Tensor], truth: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], list[Tensor], dict[str, Tensor]]:
        """Proposals of each image, best first, and the RPN's losses where boxes are known.

        Args:
            pictures: their sizes are what counts.
            maps: [B, C, h, w] by level.
            truth: of each image "boxes" [K, 4].

        Returns:
            Boxes [M, 4] and objectness [M] in 0..1 of each image; losses "objectness" and "anchors".
        """
        features = list(maps.values())
        anchors = self.anchor_generator(pictures, features)
        logits, deltas = self.head(features)
        per_level = [level[0].numel() for level in logits]
        flat_logits, flat_deltas = rpn.concat_box_prediction_layers(logits, deltas)
        boxes = self.box_coder.decode(flat_deltas.detach(), anchors).view(len(anchors), -1, 4)
        found, scores = self.filter_proposals(
            boxes.float(), flat_logits.float(), pictures.image_sizes, per_level
        )
        losses: dict[str, Tensor] = {}
        if truth is not None:
            labels, matched = self.assign_targets_to_anchors(anchors, truth)
            wanted = self.box_coder.encode(matched, anchors)
            objectness, box = self.compute_loss(flat_logits.float(), flat_deltas.float(), labels, wanted)
            losses = {"objectness": objectness, "anchors": box}
        return found, scores, losses


class Proposer(nn.Module):
    """Pyramid, RPN and the aligned features of proposals.

    Args:
        channels: of the backbone's maps at strides 8, 16 and 32.
        width: channels of the pyramid.
        anchors: side of the anchors of each level, pixels.
        places: side of the grid that a proposal's features are read on.
        proposals: how many of each image are handed out at most.
    """

    def __init__(
        self, channels: Sequence[int], width: int, anchors: Sequence[int], places: int, proposals: int = 300
    ) -> None:
        super().__init__()
        self.fpn = FeaturePyramidNetwork(list(channels), width)
        self.rpn = ScoredProposals(
            AnchorGenerator(tuple((a,) for a in anchors), (RATIOS,) * len(LEVELS)),
            rpn.RPNHead(width, len(RATIOS)),
            fg_iou_thresh=0.6, bg_iou_thresh=0.3, batch_size_per_image=48, positive_fraction=0.5,
            pre_nms_top_n={"training": 400, "testing": 1000},
            post_nms_top_n={"training": 100, "testing": proposals},
            nms_thresh=0.7,
        )  # fmt: skip
        self.align = MultiScaleRoIAlign(list(LEVELS), places, sampling_ratio=2, canonical_scale=64)

    def pyramid(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Maps at strides 8, 16, 32 -> the same places with `width` channels, by level."""
        return self.fpn(dict(zip(LEVELS, maps, strict=True)))

    def propose(
        self, levels: dict[str, Tensor], size: tuple[int, int], truth: list[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], list[Tensor], dict[str, Tensor]]:
        """As `ScoredProposals.propose`, for images of one size (height, width)."""
        count = len(next(iter(levels.values())))
        shape = torch.empty(count, 0, *size, device="meta")  # the anchors' steps are counted from its shape
        return self.rpn.propose(ImageList(shape, [size] * count), levels, truth)

    def regions(self, levels: dict[str, Tensor], boxes: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Aligned features [sum of M, width, places, places] of boxes [M, 4] of each image."""
        return self.align({k: v.float() for k, v in levels.items()}, boxes, [size] * len(boxes))


class ConvBlock(nn.Sequential):
    """Convolution, batch norm and ReLU."""

    def __init__(self, inside: int, outside: int, padding: int) -> None:
        super().__init__(
            nn.Conv2d(inside, outside, 3, padding=padding, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
        )


def recall(found: list[Tensor], truth: list[Tensor], overlap: float = 0.5) -> tuple[int, int]:
    """How many of the boxes of each image some proposal covers, and how many there are."""
    from torchvision.ops import box_iou

    pairs: list[Any] = [(box_iou(t, f), len(t)) for f, t in zip(found, truth, strict=True) if len(t)]
    hit = sum(int((iou.amax(1) >= overlap).sum()) for iou, _ in pairs if iou.shape[1])
    return hit, sum(count for _, count in pairs)


def smooth_l1(deltas: Tensor, wanted: Tensor) -> Tensor:
    """Huber loss of box deltas [P, 4], summed over sides, mean over boxes; zero where there is none."""
    return F.smooth_l1_loss(deltas, wanted, beta=1.0, reduction="sum") / max(len(deltas), 1)
