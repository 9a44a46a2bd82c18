"""What the miniature GLIP begins as: CLIP's own reading of each place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from core.clip.resnet import value_path
from core.detection.glip.fusion import VLFuse
from core.detection.glip.head import DyConv
from core.detection.glip.network import GLIPNet


@torch.no_grad()
def warm_start(net: GLIPNet, clip: Mapping[str, Tensor], texts: Tensor, coarse: Tensor, scale: float) -> None:
    """Makes every level say what CLIP's attention pooling says of each place alone, compared with words at CLIP's own scale.

    The value path c_proj(v_proj(x + position)) is linear, W x + b; levels are narrower than the joint space, so they get the part
    that texts can see, their first right singular vectors. What the tower adds to levels and words starts at nothing. In deep
    fusion every head compares places and words in the same way, so that a place begins by reading the words it is most like.

    Args:
        net: pyramid and head are overwritten.
        clip: the state dict of an open_clip ResNet CLIP whose last stage the body shares.
        texts: [M, D] features of what will be asked for, norm 1.
        coarse: [B, C, h, w] maps of the last stage, of some pictures: the mean length of what is said becomes 1.
        scale: CLIP's, of cosines.
    """
    weight, bias = value_path(clip, placed=True)
    fpn: Any = net.backbone.fpn
    width = fpn.fpn_inner4.out_channels
    basis = torch.linalg.svd(texts, full_matrices=False).Vh[:width]  # [F, D]
    weight, bias = basis @ weight, basis @ bias
    said = torch.einsum("bchw,fc->bfhw", coarse, weight) + bias[None, :, None, None]
    unit = math.sqrt(width) / said.norm(dim=1).mean()  # channels of about 1
    fpn.fpn_inner4.weight.copy_(unit * weight[:, :, None, None])
    fpn.fpn_inner4.bias.copy_(unit * bias)
    for finer in (fpn.fpn_inner2, fpn.fpn_inner3):
        finer.weight.mul_(0.1)
    for layer in (fpn.fpn_layer2, fpn.fpn_layer3, fpn.fpn_layer4):
        layer.weight.zero_()
        layer.weight[:, :, 1, 1] = torch.eye(width)
    head = net.head
    head.dot_product_projection_text.weight.copy_(2 * basis)  # words enter it as halves
    head.dot_product_projection_text.bias.zero_()
    head.log_scale.fill_(math.log(math.sqrt(width) / scale))
    for block in head.dyhead_tower:
        if isinstance(block, VLFuse):
            attention = block.b_attn.attn
            heads = attention.heads
            attention.v_proj.weight.copy_(torch.eye(width).repeat(heads, 1))
            for layer in (attention.l_proj, attention.values_l_proj):
                layer.weight.copy_(basis.repeat(heads, 1))
            attention.out_v_proj.weight.copy_(torch.eye(width).repeat(1, heads) / heads)
        elif isinstance(block, DyConv):
            own: Any = block.DyConv[1]
            own.conv.weight[:, :, 1, 1] += torch.eye(width)
