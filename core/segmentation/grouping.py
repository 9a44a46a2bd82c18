"""What GroupViT adds to a ViT: group tokens that gather patches, and the way back from groups to pixels.

GroupViT (Xu et al. 2022, https://arxiv.org/abs/2202.11094, section 3.2): in a grouping block every patch chooses one group,
hard, by its similarity with the group tokens. The forward pass uses the choice, the backward pass the soft assignment
behind it (straight-through), and in training Gumbel noise makes the choice a sample. Two grouping blocks, 64 groups and then
8, end in segments whose features are compared with texts; multiplying both assignments leads back to patches and pixels.

The published code can also keep the soft assignment in both passes. The weights live in transformers' GroupViT classes; the
arithmetic that the paper is about is here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

KEPT_LABELS = 5  # labels that may name a group: the best ones for the whole image


@dataclass(frozen=True)
class Grouped:
    """What one pass through the image tower gives."""

    group_features: Tensor  # [B, G, D] of the last groups, in the joint space, not normalised
    image_features: Tensor  # [B, D], not normalised
    assignments: tuple[Tensor, ...]  # soft, of each grouping block: [B, 64, h*w], then [B, 8, 64]
    grid: tuple[int, int]  # h, w
    tokens: tuple[Tensor, ...]  # [B, tokens, W] that left the layers of each stage, before its grouping block


def assign(similarity: Tensor, noise: bool, hard: bool = True) -> Tensor:
    """One group for each segment: [B, G, P] similarities -> one-hot over G, with the gradient of the softmax (equation 4).

    Args:
        similarity: of group tokens and segments.
        noise: add a Gumbel sample to the similarities first, so that the choice is drawn with their probabilities.
        hard: False gives the softmax itself.
    """
    if noise:
        uniform = torch.rand_like(similarity).clamp_(1e-9, 1 - 1e-7)
        similarity = similarity - (-uniform.log()).log()
    soft = similarity.softmax(dim=-2)
    if not hard:
        return soft
    chosen = torch.zeros_like(soft).scatter_(-2, soft.argmax(dim=-2, keepdim=True), 1.0)
    return chosen - soft.detach() + soft


def group(
    block: Any, segments: Tensor, tokens: Tensor, noise: bool, hard: bool = True
) -> tuple[Tensor, Tensor]:
    """A grouping block (section 3.2, equations 2 to 5).

    Args:
        block: transformers' GroupViTTokenAssign, whose weights are used.
        segments: [B, P, W], patches or the groups of the block before.
        tokens: group tokens [B, T, W] that have been through the layers with them.
        noise: Gumbel noise, in training.
        hard: one group for each segment; False divides a segment among all groups.

    Returns:
        New segments [B, G, W] and the soft assignment [B, G, P].
    """
    segments = block.norm_x(segments)
    tokens = block.project_group_token(block.norm_tokens(tokens))  # [B, G, W]
    tokens = block.pre_assign_attn(tokens, segments)
    attention = block.assign
    similarity = attention.q_proj(tokens) @ attention.k_proj(segments).transpose(1, 2) * attention.scale
    chosen = assign(similarity, noise, hard)
    # A group's mean of what chose it; the added one keeps an empty group at zero.
    mean = chosen / (chosen.sum(dim=-1, keepdim=True) + attention.assign_eps)
    merged = tokens + attention.proj(mean @ attention.v_proj(segments))
    merged = merged + block.mlp_channels(block.norm_new_x(merged))
    return merged, similarity.softmax(dim=-2)


def encode(model: Any, pixels: Tensor, noise: bool = False, hard: bool = True) -> Grouped:
    """transformers' GroupViTModel on images [B, 3, H, W] of any size, sides multiples of its patches.

    Args:
        model: whose weights are used.
        pixels: normalised.
        noise, hard: of `group`.
    """
    vision = model.vision_model
    embeddings = vision.embeddings
    height, width = pixels.shape[-2:]
    x = embeddings.patch_embeddings(pixels, interpolate_pos_encoding=True)
    x = embeddings.layernorm(x)
    x = x + embeddings.interpolate_pos_encoding(x, height, width)
    tokens: Tensor | None = None
    assignments, seen = [], []
    for stage in vision.encoder.stages:
        own = stage.num_group_token
        segments = x.shape[1]
        if own:
            fresh = stage.group_token.expand(len(x), -1, -1)
            if stage.group_projector is not None:
                fresh = fresh + stage.group_projector(tokens)
            x = torch.cat([x, fresh], dim=1)
        for layer in stage.layers:
            x = layer(x, attention_mask=None)
        x, tokens = x[:, :segments], x[:, segments:]
        seen.append(x)
        if own:
            x, soft = group(stage.downsample, x, tokens, noise, hard)
            assignments.append(soft)
    x = vision.layernorm(x)  # [B, G, W]
    features = model.visual_projection(torch.cat([x, x.mean(dim=1, keepdim=True)], dim=1).flatten(0, 1))
    features = features.unflatten(0, (len(x), -1))
    patch = embeddings.patch_size
    return Grouped(
        features[:, :-1],
        features[:, -1],
        tuple(assignments),
        (height // patch, width // patch),
        tuple(seen),
    )


def compose(assignments: Sequence[Tensor]) -> list[Tensor]:
    """Each block's groups over patches: the product of all assignments up to it, [B, G, h*w] each."""
    composed = [assignments[0]]
    for assignment in assignments[1:]:
        composed.append(assignment @ composed[-1])
    return composed


def group_scores(
    group_cosines: Tensor, image_cosines: Tensor, scale: float, kept: int = KEPT_LABELS
) -> Tensor:
    """How well each label names each group: [G, N] in [0, 1].

    A softmax over labels, times the same softmax among only the labels that fit the whole image best.

    Args:
        group_cosines: [G, N].
        image_cosines: [N].
        scale: inverse temperature.
        kept: how many labels may name a group.
    """
    logits = scale * group_cosines
    best = image_cosines.topk(min(kept, len(image_cosines))).indices
    among = torch.full_like(logits, -torch.inf)
    among[:, best] = logits[:, best]
    return logits.softmax(dim=-1) * among.softmax(dim=-1)


def background_line(scores: Tensor, threshold: float) -> float:
    """The score under which a group is background: the threshold, but never more than the best group's score."""
    return min(threshold, float(scores.max()))


def multi_label_contrast(image: Tensor, text: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
    """The multi-label contrastive loss (section 3.3, equations 8 and 9), both directions.

    Args:
        image: unit features [B, D].
        text: unit features [M, D] of captions, or of the prompted nouns of all captions.
        truth: [B, M], which texts are true of which images.
        scale: inverse temperature.
    """
    return _both_ways(scale * image @ text.T, truth)


def group_contrast(groups: Tensor, text: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
    """The same with single groups: an image fits a text as well as the one group of it that fits best, softly.

    Not in the paper: it says early to each group what it is for, where there is no time to find out.

    Args:
        groups: unit features [B, G, D].
        text, truth, scale: as in `multi_label_contrast`.
    """
    return _both_ways((scale * groups @ text.T).logsumexp(dim=1), truth)


def undecided(groups: Tensor, text: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
    """How many groups of an image answer to each of its nouns: entropy of the softmax over groups, mean over true pairs.

    Not in the paper: groups of background see their neighbours and would answer to the same nouns.

    Args:
        groups, text, truth, scale: as in `group_contrast`.
    """
    logits = scale * groups @ text.T  # [B, G, M]
    share = logits.softmax(dim=1)
    entropy = -(share * share.clamp_min(1e-9).log()).sum(dim=1)
    return entropy[truth].mean()


def spread(assignments: Sequence[Tensor]) -> Tensor:
    """How unevenly a batch uses the groups, 0 where all are chosen alike: log G minus the entropy of their mean share.

    Args:
        assignments: soft, of each grouping block, [B, G, P].
    """
    total = assignments[0].new_zeros(())
    for assignment in assignments:
        share = assignment.mean(dim=(0, 2))
        total = total + math.log(len(share)) + (share * share.clamp_min(1e-9).log()).sum()
    return total


def unexplained(assignments: Sequence[Tensor], patches: Tensor) -> Tensor:
    """The share of what differs between the patches of an image that also differs within its groups, 0..1.

    Not in the paper: nouns alone leave it open how much of the background a group takes along.

    Args:
        assignments: soft, of each grouping block.
        patches: what patches look like [B, P, C], without gradient.
    """
    share = compose(assignments)[-1]  # [B, G, P], sums to 1 over groups
    centre = share @ patches / share.sum(dim=-1, keepdim=True).clamp_min(1e-6)
    within = (patches - share.transpose(1, 2) @ centre).square().sum()
    return within / (patches - patches.mean(dim=1, keepdim=True)).square().sum().clamp_min(1e-6)


def unlike(groups: Tensor, assignments: Sequence[Tensor], said: Tensor) -> Tensor:
    """How far groups are from what is said of their places: 1 minus the cosine, mean over groups that have any.

    Not in the paper: what a group knows of an object elsewhere in the image is no part of what is said of its places.

    Args:
        groups: unit features [B, G, D].
        assignments: soft, of each grouping block.
        said: unit features of places [B, P, D], without gradient.
    """
    chosen = compose(assignments)[-1].detach()
    hard = torch.zeros_like(chosen).scatter_(1, chosen.argmax(1, keepdim=True), 1.0)  # [B, G, P]
    target = F.normalize(hard @ said, dim=-1)
    return (1 - (groups * target).sum(-1))[hard.sum(-1) > 0].mean()


def _both_ways(logits: Tensor, truth: Tensor) -> Tensor:
    return 0.5 * (_mass_on(logits, truth) + _mass_on(logits.T, truth.T))


def _mass_on(logits: Tensor, truth: Tensor) -> Tensor:
    """Minus the log of the probability that falls on true columns, mean over rows that have any."""
    rows = truth.any(dim=1)
    right = logits.masked_fill(~truth, -torch.inf)[rows].logsumexp(dim=1)
    return (logits[rows].logsumexp(dim=1) - right).mean()


def contrast(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss on B pairs (section 3.3, equations 6 and 7): the diagonal is true, all else false."""
    target = torch.arange(len(image), device=image.device)
    logits = scale * image @ text.T
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
