"""Where the words of names should look: a made world knows the box of every thing, and the recipe teaches with it.

Four losses teach it. One head of attention is taught: of all names, a patch of a thing answers that of this thing, and the
words of a name look at the boxes of the things that it names, or at the class token where there is no such thing. In the last
block the first word, from which answers are read, looks at the names of its text. And among the last features, a word of a name
is most like the patches in those boxes, and each of these patches is most like a word of that name among the words beside it.
The paper has none of them: it learns from four million images what to look at.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SHARPNESS = 0.1  # what cosines are divided by, as where the alignment is shown
LEAST = 1e-4  # the smallest share of attention whose logarithm is taken


def covered(boxes: Tensor, side: int, count: int) -> Tensor:
    """Which share of each patch lies in a box: [..., count * count] of boxes [..., 4] in an image of this side."""
    patch = side / count
    edges = torch.arange(count, device=boxes.device) * patch
    left, top, right, bottom = (boxes[..., at, None].float() for at in range(4))

    def along(low: Tensor, high: Tensor) -> Tensor:
        return (torch.minimum(edges + patch, high) - torch.maximum(edges, low)).clamp(min=0) / patch

    return (along(top, bottom)[..., :, None] * along(left, right)[..., None, :]).flatten(-2)


def wanted(named: Tensor, concept: Tensor, present: Tensor, cover: Tensor) -> Tensor:
    """Where each word should look: [B, K, L, 1 + P], the class token first; zero for words that are part of no name.

    Args:
        named: [B, K, L] the concept whose name a word is part of, -1 for none.
        concept, present: [B, S] the things in the image.
        cover: [B, S, P], as of `covered`.
    """
    meant = (named[..., None] == concept[:, None, None]) & present[:, None, None]  # [B, K, L, S]
    boxes = torch.einsum("bkls,bsp->bklp", meant.to(cover), cover).clamp(max=1)
    absent = (named >= 0) & ~meant.any(-1)
    return torch.cat([absent.to(cover)[..., None], boxes], dim=-1)


def covering(cover: Tensor, concept: Tensor, present: Tensor) -> Tensor:
    """The concept [B, P] in whose box most of each patch lies, -1 where no box covers half of it; as of `wanted`."""
    share, slot = (cover * present[..., None]).max(1)  # [B, P]
    return torch.where(share > 0.5, concept.gather(1, slot), -1)


def naming_loss(keys: Tensor, thing: Tensor, queries: Tensor) -> Tensor:
    """How badly patches of things answer the names of these things among all names.

    Args:
        keys: [B, P, D] of a head of attention; thing: [B, P], as of `covering`.
        queries: [C, D] of the names of all concepts.
    """
    shown = thing >= 0
    answered = keys[shown] @ queries.T / keys.shape[-1] ** 0.5
    return F.cross_entropy(answered, thing[shown]) if len(answered) else answered.sum()


def looking_loss(attention: Tensor, target: Tensor) -> Tensor:
    """How little the words of names look where they should.

    Args:
        attention: [N, 1 + P] shares that the words of names give to the class token and the patches.
        target: [N, 1 + P], as of `wanted`.
    """
    share = (attention * target).sum(1) / attention.sum(1).clamp(min=LEAST)
    return -share.clamp(min=LEAST).log().mean()


def reading_loss(reads: Tensor, named: Tensor) -> Tensor:
    """How little the first word reads the names of its text: the first name with one head, the second, if there is one, with the
    other.

    Args:
        reads: [B, 2, K, L] how much the first word looks at each word, in two heads.
        named: [B, K, L] the concept whose name a word is part of, -1 for none.
    """
    is_name = named >= 0
    first = named.gather(2, is_name.int().argmax(2, keepdim=True))
    own = is_name & (named == first)
    other = is_name & ~own
    other = torch.where(other.any(2, keepdim=True), other, own)
    share = (reads * torch.stack([own, other], dim=1)).sum(3).transpose(1, 2)[is_name.any(2)]
    return -share.clamp(min=LEAST).log().mean()


def likeness_loss(words: Tensor, patches: Tensor, real: Tensor, target: Tensor) -> Tensor:
    """How unlike the words of names and the patches of their things are.

    Args:
        words: [B, K, L, W] of K texts beside each of B images; patches: [B, P, W].
        real: [B, K, L] which words stand for something: neither padding nor the first or the last.
        target: [B, K, L, P], where the words of names should look.
    """
    ways = torch.einsum("bklw,bpw->bklp", F.normalize(words, dim=-1), F.normalize(patches, dim=-1))
    ways = ways / SHARPNESS
    names = (target.sum(-1) > 0.5) & real
    of_words = (ways.softmax(-1) * target).sum(-1)[names]
    among = ways.masked_fill(~real[..., None], -1e4).softmax(2)
    of_patches = (among * (target > 0)).sum(2)[target.amax(2) > 0.5]
    if not len(of_words) or not len(of_patches):
        return ways.sum() * 0
    return -(of_words.clamp(min=LEAST).log().mean() + of_patches.clamp(min=LEAST).log().mean())
