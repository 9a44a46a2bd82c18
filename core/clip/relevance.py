"""Where a label is seen in an image, by three methods that need no training.

    "maskclip"     each place answers for itself through the value path of the last attention
                   (Zhou et al. 2022, https://arxiv.org/abs/2112.01071, section 3.2)
    "gradcam"      features of a late stage, weighed by how much the label's cosine would grow with them
                   (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, section 3)
    "attribution"  attention times its gradient, carried from block to block
                   (Chefer et al. 2021, https://arxiv.org/abs/2103.15679, section 3)
All three ask for one direction of the joint space: a label's feature, less the mean of the other labels' where the
question is what tells it from them. Shapes: N labels, h w places, D embedding width, T tokens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core import inputs, runtime
from core.clip import encoders
from core.clip.walk import Walk, walk
from core.clip.zero_shot import Classification, ZeroShot
from core.errors import Refusal

METHODS = ("maskclip", "gradcam", "attribution")
MAX_LABELS = 12  # each costs a backward pass
# A ResNet's last stage can be as coarse as 2 x 2: Grad-CAM takes the deepest one that has at least this many places.
LEAST_PLACES = 16


@dataclass(frozen=True)
class Relevance:
    """Maps first; each compares the places of one image for one label."""

    maps: np.ndarray  # [N, h, w]; cosines for "maskclip", at least 0 for the gradient methods
    method: str
    contrast: bool
    answer: Classification
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The maps as plain values, labels in the order they were given."""
        answer = self.answer
        return {
            "checkpoint": answer.checkpoint,
            "seconds": round(self.seconds, 4),
            "method": self.method,
            "crop": [float(value) for value in answer.crop],
            "relevance": [
                {
                    "label": label,
                    "probability": float(p),
                    "cosine": float(c),
                    "map": np.round(one, 5).tolist(),
                }
                for label, p, c, one in zip(
                    answer.labels, answer.probabilities, answer.cosines, self.maps, strict=True
                )
            ],
            **answer.notes.to_json(),
        }


def directions(text_features: np.ndarray, contrast: bool) -> np.ndarray:
    """What each label is asked for [N, D]: its feature, less the mean of the others' where `contrast` is true."""
    count = len(text_features)
    if not contrast or count < 2:
        return text_features
    return (text_features - text_features.mean(axis=0)) * (count / (count - 1))


def locate(
    model: ZeroShot,
    image: Image.Image,
    labels: str | Sequence[str],
    method: str = "maskclip",
    contrast: bool = True,
    templates: str | Sequence[str] | None = None,
) -> Relevance:
    """Where each label is seen in an image.

    Args:
        model: the classifier.
        image: RGB, from `core.inputs.image`.
        labels: 1 to 12 texts.
        method: of METHODS.
        contrast: whether what the labels have in common is taken away first.
        templates: as for `ZeroShot.classify`.

    Raises:
        Refusal: "unknown_method", "too_many_labels", what `ZeroShot.classify` refuses.
    """
    start = time.perf_counter()
    if method not in METHODS:
        raise Refusal("unknown_method", name=method, known=", ".join(METHODS))
    labels = inputs.labels(labels, limit=MAX_LABELS)
    encoded = model.encode(image)
    answer = model.classify(encoded, labels, templates)
    queries = directions(answer.text_features, contrast)  # [N, D]
    if method == "maskclip":
        maps = np.moveaxis(encoded.patch_features @ queries.T, -1, 0)
    else:
        maps = _gradient_maps(model, image, queries.astype(np.float32), method)
    return Relevance(maps, method, contrast, answer, time.perf_counter() - start)


def share_inside(
    one: np.ndarray, crop: Sequence[float], boxes: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """How much of a map lies in some boxes, and how much of the seen area they are.

    Args:
        one: [h, w]; it is stretched to 0..1 first, so that maps of all methods compare.
        crop: the part of the image that the map covers, xyxy pixels.
        boxes: R x 4, xyxy pixels of the same image.

    Returns:
        (share of the relevance, share of the area), each in [0, 1]; a map that knows nothing gives the same twice.
    """
    side = 128
    left, top, right, bottom = crop
    x = left + (np.arange(side) + 0.5) / side * (right - left)
    y = top + (np.arange(side) + 0.5) / side * (bottom - top)
    edges = np.asarray(boxes, float).reshape(-1, 4).T[..., None]  # [4, R, 1]
    rows, columns = (edges[1] <= y) & (y < edges[3]), (edges[0] <= x) & (x < edges[2])  # [R, side]
    mask = (rows[:, :, None] & columns[:, None]).any(0)
    low, high = float(one.min()), float(one.max())
    scaled = (one - low) / (high - low) if high > low else np.ones_like(one)
    fine = torch.from_numpy(np.ascontiguousarray(scaled, np.float32))[None, None]
    dense = F.interpolate(fine, (side, side), mode="bilinear", align_corners=False)[0, 0].numpy()
    return float((dense * mask).sum() / max(dense.sum(), 1e-12)), float(mask.mean())


@runtime.on_device
def _gradient_maps(model: ZeroShot, image: Image.Image, queries: np.ndarray, method: str) -> np.ndarray:
    """Maps [N, h, w] of a gradient method for directions [N, D]."""
    with (
        encoders.use(model.checkpoint, model.device, model.dtype) as encoder,
        runtime.semaphore(model.device),
        torch.enable_grad(),
    ):
        made = walk(encoder.vision, encoder.pixels([image]).requires_grad_())
        cosines = (
            F.normalize(made.image_features[0].float(), dim=-1) @ torch.from_numpy(queries).to(model.device).T
        )  # [N]
        find = _gradcam if method == "gradcam" else _attribution
        maps = [find(made, cosine) for cosine in cosines]
        return torch.stack(maps).float().cpu().numpy()


def _gradcam(made: Walk, score: Tensor) -> Tensor:
    """Grad-CAM [h, w] of the deepest stage that is fine enough; of a ViT what enters the last block."""
    *earlier, last = made.stages.values()
    if last.ndim == 3:
        # Behind the last attention no gradient reaches the places: the feature is read from one token.
        x = earlier[-1]
        (grad,) = torch.autograd.grad(score, x, retain_graph=True)
        places = slice(1, None) if made.class_token else slice(None)
        x, grad = x[0, places], grad[0, places]  # [h*w, W]
        return (x * grad.mean(0)).sum(-1).clamp_min(0).unflatten(0, made.grid).detach()
    fine = [x for x in (*earlier, last) if x.shape[-1] * x.shape[-2] >= LEAST_PLACES]
    x = fine[-1] if fine else last
    (grad,) = torch.autograd.grad(score, x, retain_graph=True)
    return (x[0] * grad[0].mean((1, 2), keepdim=True)).sum(0).clamp_min(0).detach()


def _attribution(made: Walk, score: Tensor) -> Tensor:
    """What reaches the image feature from each place [h, w], through all attentions (Chefer et al., equations 5 and 6)."""
    weights = list(made.attention.values())
    gradients = torch.autograd.grad(score, weights, retain_graph=True)
    places = made.grid[0] * made.grid[1]
    count = weights[0].shape[-1]
    carried = torch.eye(count, dtype=weights[0].dtype, device=weights[0].device)  # [T, T]
    for one, gradient in zip(weights, gradients, strict=True):
        step = (one * gradient)[0].clamp_min(0).mean(0).detach()  # [T, T], or [1, T] of SigLIP's probe
        carried = step @ carried if len(step) != count else carried + step @ carried
    return carried[0, -places:].unflatten(0, made.grid)
