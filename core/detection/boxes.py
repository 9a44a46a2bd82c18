"""What every detector does with boxes: crops of an image, scales, and the choice of what is shown."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms, roi_align

SCALES = (1.0, 1.5)  # a crop of the box, and one with what is around it (ViLD section 3.2)
MAX_DETECTIONS = 300
CANDIDATES = 2000  # pairs of a box and a label that may become one


def enlarged(boxes: Tensor, factor: float, width: float, height: float) -> Tensor:
    """Boxes [M, 4] xyxy scaled about their centres and cut at the edges of a width x height image."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) * (factor / 2)
    limits = boxes.new_tensor([width, height])
    return torch.cat([(centre - half).clamp(min=0), torch.minimum(centre + half, limits)], dim=1)


def crops(pictures: Tensor, boxes: list[Tensor], side: int) -> Tensor:
    """The parts of images, each squeezed into a square.

    Args:
        pictures: [B, C, H, W].
        boxes: of each image [M, 4] xyxy pixels.
        side: pixels of the squares.

    Returns:
        [sum of M, C, side, side]; places are averaged where a crop shrinks.
    """
    return roi_align(pictures, boxes, side, aligned=True)


def choose(
    boxes: Tensor,
    scores: Tensor,
    threshold: float | Tensor,
    overlap: float,
    limit: int = MAX_DETECTIONS,
    across_labels: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes and labels that are sure enough; of boxes with one label that overlap, the surest.

    Args:
        boxes: [M, 4] xyxy.
        scores: [M, N] of each box and label.
        threshold: the least score, of all labels or [N] of each.
        overlap: IoU above which two boxes of one label are the same thing.
        limit: how many are kept at most.
        across_labels: whether boxes of different labels that overlap are the same thing, too.

    Returns:
        Indices of boxes [R], of labels [R], scores [R]; best first.
    """
    found, order = scores.flatten().topk(min(scores.numel(), CANDIDATES))
    box, label = order // scores.shape[1], order % scores.shape[1]
    sure = found > (threshold[label] if isinstance(threshold, Tensor) else threshold)
    box, label, found = box[sure], label[sure], found[sure]
    groups = torch.zeros_like(label) if across_labels else label
    kept = batched_nms(boxes[box].float(), found.float(), groups, overlap)[:limit]
    return box[kept], label[kept], found[kept]
