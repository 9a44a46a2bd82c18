"""Where a sketch should begin: what CLIP looks at, times where the image has edges.

CLIPasso (Vinker et al. 2022, https://arxiv.org/abs/2202.05822, section 3.3): the attention of the class
token, averaged over heads and blocks, is multiplied by an XDoG edge map (Winnemoeller et al. 2012); start
points are drawn without replacement from a softmax of the product.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.clip.towers import OpenClipResNet

# CLIPasso's XDoG: the wider Gaussian is WIDER times the narrow one, and weighs GAMMA.
SIGMA, WIDER, GAMMA, EPSILON, PHI = 0.8, 10, 0.98, -0.1, 200
TEMPERATURE = 0.3
LUMA = (0.2125, 0.7154, 0.0721)


def attention_map(attention: np.ndarray, side: int, inside: np.ndarray | None = None) -> np.ndarray:
    """What the class token looks at, in 0..1.

    Args:
        attention: [layers, heads, 1 + g * g, 1 + g * g], of a square grid.
        side: of the map, in pixels.
        inside: bool [side, side], the part that counts; all of it where it is None.

    Returns:
        [side, side]; zero outside the part, and everywhere when the attention is the same in all of it.
    """
    row = attention[:, :, 0, 1:].clip(0).mean((0, 1))  # [g * g]
    grid = round(row.size**0.5)
    coarse = torch.from_numpy(row.astype(np.float32)).view(1, 1, grid, grid)
    fine = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)[0, 0].numpy()
    if inside is None:
        return _stretch(fine)
    result = np.zeros_like(fine)
    result[inside] = _stretch(fine[inside])
    return result


def class_gradient(vision: OpenClipResNet, pixels: Tensor, text_features: Tensor, side: int) -> np.ndarray:
    """Where a text is in an image to a ResNet, in 0..1: Grad-CAM (Selvaraju et al. 2017) of its last stage.

    Args:
        pixels: [1, 3, H, W], normalised.
        text_features: [1, D]; the gradient of its dot product with the image features.

    Returns:
        [side, side].
    """
    with torch.enable_grad():
        output = vision.visual.forward_intermediates(pixels.detach().requires_grad_(), indices=[4])
        maps = output["image_intermediates"][0]  # [1, C, h, w]
        (grad,) = torch.autograd.grad(output["image_features"], maps, text_features)
    coarse = (maps.detach() * grad.mean((2, 3), keepdim=True)).sum(1, keepdim=True).clamp_min(0)
    fine = F.interpolate(coarse.float(), size=(side, side), mode="bicubic", align_corners=False)
    return _stretch(fine[0, 0].cpu().numpy())


def _stretch(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    # Differences of rounding are no structure.
    if high - low <= 1e-5 * max(abs(low), abs(high)):
        return np.zeros_like(values)
    return (values - low) / (high - low)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian of a grey image [H, W], cut at four deviations, mirrored at the border."""
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        width = [(reach, reach) if i == axis else (0, 0) for i in (0, 1)]
        padded = np.pad(image, width, "symmetric")
        image = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis) @ kernel
    return image


def otsu(values: np.ndarray, bins: int = 256) -> float:
    """The threshold that best parts values in two (Otsu 1979): a bin's centre."""
    counts, edges = np.histogram(values, bins)
    centres = (edges[1:] + edges[:-1]) / 2
    below, above = counts.cumsum(), counts[::-1].cumsum()[::-1]
    weighted = counts * centres
    mean_below = weighted.cumsum() / below.clip(1)
    mean_above = weighted[::-1].cumsum()[::-1] / above.clip(1)
    return float(centres[np.argmax(below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2)])


def edges(pixels: np.ndarray) -> np.ndarray:
    """Dark sides of edges by an extended difference of Gaussians.

    Args:
        pixels: [3, H, W], normalised with CLIP's mean and deviation, as the paper's code does.

    Returns:
        bool [H, W], true on edges.
    """
    grey = np.tensordot(LUMA, pixels.astype(np.float64), 1)
    difference = _blur(grey, SIGMA) - GAMMA * _blur(grey, SIGMA * WIDER)
    response = _stretch(np.where(difference < EPSILON, 1, 1 + np.tanh(PHI * difference)))
    return response < otsu(response)


def probability(
    saliency: np.ndarray, edge: np.ndarray | None, temperature: float = TEMPERATURE
) -> np.ndarray:
    """The distribution of start points [H, W], which sums to one.

    Args:
        saliency: [H, W] in 0..1.
        edge: bool [H, W], or None for attention alone.
    """
    product = saliency if edge is None else saliency * edge
    chosen = product > 0
    if not chosen.any():
        # Nothing salient on any edge: a flat image begins anywhere.
        return np.full(product.shape, 1 / product.size)
    logits = product[chosen].astype(np.float64) / temperature
    weights = np.exp(logits - logits.max())
    result = np.zeros(product.shape)
    result[chosen] = weights / weights.sum()
    return result


def draw(distribution: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Start points (x, y) [count, 2] in pixels, different while the distribution [H, W] has enough."""
    generator = np.random.RandomState(seed)
    flat = distribution.ravel() / distribution.sum()
    again = count > int(np.count_nonzero(flat))
    index = generator.choice(flat.size, count, replace=again, p=flat)
    row, column = np.unravel_index(index, distribution.shape)
    return np.stack([column, row], axis=1).astype(np.float32)


def spread(distribution: np.ndarray, starts: np.ndarray, rounds: int = 8) -> np.ndarray:
    """Start points moved apart, so that no salient part is left without a stroke.

    Lloyd's algorithm (1982): every place goes to its nearest start point, which moves to the middle of its
    places, weighted by the distribution; at the end each takes the nearest place that a stroke may begin at.

    Args:
        distribution: [H, W], which sums to one.
        starts: [S, 2] pixels (x, y), of `draw`.

    Returns:
        [S, 2].
    """
    row, column = np.nonzero(distribution)
    weight = torch.from_numpy(distribution[row, column].astype(np.float32))  # [C]
    places = torch.from_numpy(np.stack([column, row], axis=1).astype(np.float32))  # [C, 2]
    moved = torch.from_numpy(starts.astype(np.float32))
    for _ in range(rounds):
        share = F.one_hot(torch.cdist(places, moved).argmin(1), len(moved)) * weight[:, None]  # [C, S]
        total = share.sum(0)[:, None]
        moved = torch.where(total > 0, share.T @ places / total.clamp_min(1e-12), moved)
    return places[torch.cdist(moved, places).argmin(1)].numpy()
