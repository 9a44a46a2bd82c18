"""Inside CLIP's image tower: where a label is seen, what reads what, what each stage holds, how vectors lie.

Where a label is seen, by three methods that need no training:
    "maskclip"     each place answers for itself through the value path of the last attention
                   (Zhou et al. 2022, https://arxiv.org/abs/2112.01071, section 3.2)
    "gradcam"      features of a late stage, weighed by how much the label's cosine would grow with them
                   (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, section 3)
    "attribution"  attention times its gradient, carried from block to block
                   (Chefer et al. 2021, https://arxiv.org/abs/2103.15679, section 3)
All three ask for one direction of the joint space: a label's feature, less the mean of the other labels' where the
question is what tells it from them. Shapes: N labels, h w places, D embedding width, T tokens, M points.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core import inputs, runtime
from core.clip import encoders, prompts, reading
from core.clip.walk import Walk, walk
from core.clip.zero_shot import Classification, ZeroShot
from core.errors import Refusal

METHODS = ("maskclip", "gradcam", "attribution")
MAX_LABELS = 12  # each costs a backward pass
# A ResNet's last stage can be as coarse as 2 x 2: Grad-CAM takes the deepest one that has at least this many places.
LEAST_PLACES = 16
CHUNK = 32  # texts that are encoded between two looks at a flag

ATTENTIONS: runtime.ByteCache[Attention] = runtime.ByteCache()


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


@dataclass(frozen=True)
class Attention:
    """Who reads what: for each layer and head the weights of one reader over the places."""

    layers: tuple[str, ...]
    weights: np.ndarray  # [layers, heads, h, w]
    kept: (
        np.ndarray
    )  # [layers, heads], what the reader leaves on the token of the whole image; both sum to one
    reader: tuple[int, int] | None  # row, column of the place that reads; None for the whole image
    mean: tuple[
        bool, ...
    ]  # per layer, whether it has no token for the whole picture: the mean of all readers
    crop: tuple[float, float, float, float]

    def to_json(self) -> dict[str, Any]:
        """The weights as plain values."""
        return {
            "layers": list(self.layers),
            "heads": self.weights.shape[1],
            "grid": list(self.weights.shape[2:]),
            "crop": [float(value) for value in self.crop],
            "weights": np.round(self.weights, 6).tolist(),
            "kept": np.round(self.kept, 6).tolist(),
            "mean": list(self.mean),
        }

    @property
    def entropy(self) -> np.ndarray:
        """How spread out each head reads, [layers, heads]: 0 is one place, 1 all places alike."""
        flat = self.weights.reshape(*self.weights.shape[:2], -1)
        shares = flat / flat.sum(-1, keepdims=True).clip(1e-12)
        spread = -(shares * np.log(shares.clip(1e-12))).sum(-1)
        return spread / max(np.log(flat.shape[-1]), 1e-12)


@dataclass(frozen=True)
class Stage:
    """One tensor on the way from pixels to a probability."""

    name: str
    kind: str  # "picture", "map", "tokens", "vector", "matrix"
    shape: tuple[int, ...]
    mean: float
    deviation: float
    picture: np.ndarray  # uint8 [h, w, 3]: its first three principal components, or a strip of values

    def to_json(self) -> dict[str, Any]:
        """The tensor's facts as plain values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "shape": list(self.shape),
            "mean": round(self.mean, 6),
            "deviation": round(self.deviation, 6),
        }


@dataclass(frozen=True)
class Projection:
    """Vectors of D dimensions seen in 2 or 3."""

    points: np.ndarray  # [M, 2 or 3]
    explained: np.ndarray  # [2 or 3], share of the variance along each axis
    gap: float  # distance between the means of the two kinds; their vectors have length 1


@dataclass(frozen=True)
class Map:
    """B images and N texts of one space, seen in 2 or 3 dimensions, and how near each text lies to each image."""

    checkpoint: str
    projection: Projection  # of the images, then of the texts
    cosines: np.ndarray  # [B, N]
    texts: tuple[str, ...]
    seconds: float

    def to_json(self, nearest: int = 10) -> dict[str, Any]:
        """The map as plain values, with the `nearest` texts of each image."""
        return {
            "checkpoint": self.checkpoint,
            "seconds": round(self.seconds, 4),
            "points": self.projection.points.astype(float).round(5).tolist(),
            "explained": self.projection.explained.round(5).tolist(),
            "gap": round(self.projection.gap, 5),
            "nearest": [
                [{"text": self.texts[i], "cosine": float(row[i])} for i in np.argsort(-row)[:nearest]]
                for row in self.cosines
            ],
        }


def encoding(
    model: ZeroShot,
    images: Sequence[Image.Image],
    texts: Sequence[str],
    features: list[np.ndarray],
    cancel: runtime.Cancel | None = None,
) -> Iterator[float]:
    """Appends the features of images and of texts to `features`, parts [.., D] in their order; yields the share done.

    Raises:
        Refusal: "cancelled" once `cancel` is set.
    """
    chunks = [texts[at : at + CHUNK] for at in range(0, len(texts), CHUNK)]
    jobs: list[Callable[[], np.ndarray]] = [
        *(partial(lambda image: model.encode(image).image_features[None], image) for image in images),
        *(partial(model.encode_text, [inputs.clean(text) for text in chunk]) for chunk in chunks),
    ]
    for done, job in enumerate(jobs, start=1):
        if cancel is not None:
            cancel.check()
        features.append(job())
        yield done / len(jobs)


def chart(
    model: ZeroShot,
    images: Sequence[Image.Image],
    texts: Sequence[str],
    dimensions: int = 2,
    centred: bool = False,
) -> Map:
    """The map of images and texts; `dimensions` and `centred` as of `project`.

    Raises:
        Refusal: "map_dimensions" for other dimensions than 2 and 3.
    """
    if dimensions not in (2, 3):
        raise Refusal("map_dimensions", value=dimensions)
    start, parts = time.perf_counter(), []  # type: ignore[var-annotated]
    for _ in encoding(model, images, texts, parts):
        pass
    vectors, count = np.vstack(parts), len(images)
    projection = project(vectors, np.arange(len(vectors)) >= count, dimensions, centred)
    cosines = vectors[:count] @ vectors[count:].T
    return Map(model.checkpoint, projection, cosines, tuple(texts), time.perf_counter() - start)


def directions(text_features: np.ndarray, contrast: bool) -> np.ndarray:
    """What each label is asked for [N, D]: its feature, less the mean of the others' where `contrast` is true."""
    count = len(text_features)
    if not contrast or count < 2:
        return text_features
    return (text_features - text_features.mean(axis=0)) * (count / (count - 1))


def relevance(
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
    asked = directions(answer.text_features, contrast)  # [N, D]
    if method == "maskclip":
        maps = np.moveaxis(encoded.patch_features @ asked.T, -1, 0)
    else:
        maps = _gradient_maps(model, image, asked.astype(np.float32), method)
    return Relevance(maps, method, contrast, answer, time.perf_counter() - start)


def attention(model: ZeroShot, image: Image.Image, reader: tuple[int, int] | None = None) -> Attention:
    """What one reader attends to, in every layer and head.

    A ViT's reader is its class token; a ResNet has attention only in its pool, where the mean of the places reads; SigLIP
    has a probe in its pool, and in the blocks before it the mean of all places is given.

    Args:
        model, image: as for `relevance`.
        reader: row and column of a place that reads instead.

    Raises:
        Refusal: "no_such_place".
    """
    key = (*model.key, inputs.digest(image), reader)
    return ATTENTIONS.get_or(key, lambda: _attention(model, image, reader), lambda made: made.weights.nbytes)


def stages(model: ZeroShot, image: Image.Image) -> list[Stage]:
    """Every tensor of one pass through the image tower, from the caller's pixels to the normalised feature."""
    return _stages(model, image)


def answer_stages(answer: Classification) -> list[Stage]:
    """What follows the image feature: the texts, their features, cosines, logits and probabilities."""
    texts = [inputs.clean(label) for label in answer.labels]
    captions = [prompts.fill(template, text) for template in answer.templates for text in texts]
    pieces = [one.ids for one in reading.read(answer.checkpoint, captions)]
    longest = max(map(len, pieces))
    ids = np.array([row + [0] * (longest - len(row)) for row in pieces], float)  # [M * N, L]
    rows = [
        ("tokens", "matrix", ids, ids),
        ("text_features", "matrix", answer.text_features, answer.text_features),
        ("cosines", "vector", answer.cosines, answer.cosines[None]),
        ("logits", "vector", answer.logits, answer.logits[None]),
        ("probabilities", "vector", answer.probabilities, answer.probabilities[None]),
    ]
    return [
        Stage(name, kind, x.shape, float(x.mean()), float(x.std()), paint(shown))
        for name, kind, x, shown in rows
    ]


def project(vectors: np.ndarray, texts: np.ndarray, dimensions: int = 2, centred: bool = False) -> Projection:
    """Principal components of images and texts in one space.

    Images and texts of a CLIP lie in two cones apart from each other ("modality gap", Liang et al. 2022,
    https://arxiv.org/abs/2203.02053); the first axis of an honest map shows little else.

    Args:
        vectors: [M, D], finite; M >= 2.
        texts: bool [M], which of them are texts.
        dimensions: 2 or 3.
        centred: whether each kind is moved to a mean of zero first, which closes the gap.
    """
    points = np.asarray(vectors, np.float64)
    both = texts.any() and not texts.all()
    means = (points[texts].mean(0), points[~texts].mean(0)) if both else (points.mean(0),) * 2
    gap = float(np.linalg.norm(means[0] - means[1]))
    points = points - np.where(texts[:, None], *means) if centred else points - points.mean(0)
    left, scales, _ = np.linalg.svd(points, full_matrices=False)
    total = max(float((scales**2).sum()), 1e-12)
    shown = np.zeros((len(points), dimensions))
    explained = np.zeros(dimensions)
    count = min(dimensions, len(scales))
    # A component's sign is arbitrary: the largest entry points up, so that the same vectors give the same map.
    signs = np.sign(left[np.abs(left[:, :count]).argmax(0), np.arange(count)])
    shown[:, :count] = left[:, :count] * scales[:count] * signs
    explained[:count] = scales[:count] ** 2 / total
    return Projection(shown.astype(np.float32), explained, gap)


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
    found = np.asarray(boxes, float).reshape(-1, 4).T[..., None]  # [4, R, 1]
    rows, columns = (found[1] <= y) & (y < found[3]), (found[0] <= x) & (x < found[2])  # [R, side]
    mask = (rows[:, :, None] & columns[:, None]).any(0)
    low, high = float(one.min()), float(one.max())
    scaled = (one - low) / (high - low) if high > low else np.ones_like(one)
    fine = torch.from_numpy(np.ascontiguousarray(scaled, np.float32))[None, None]
    dense = F.interpolate(fine, (side, side), mode="bilinear", align_corners=False)[0, 0].numpy()
    return float((dense * mask).sum() / max(dense.sum(), 1e-12)), float(mask.mean())


# --- on the device ---------------------------------------------------------------------------------------


@runtime.on_device
def _gradient_maps(model: ZeroShot, image: Image.Image, asked: np.ndarray, method: str) -> np.ndarray:
    """Maps [N, h, w] of a gradient method for directions [N, D]."""
    with (
        encoders.use(model.checkpoint, model.device, model.dtype) as encoder,
        runtime.semaphore(model.device),
        torch.enable_grad(),
    ):
        made = walk(encoder.vision, encoder.pixels([image]).requires_grad_())
        cosines = (
            F.normalize(made.image_features[0].float(), dim=-1) @ torch.from_numpy(asked).to(model.device).T
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


@runtime.on_device
def _attention(model: ZeroShot, image: Image.Image, reader: tuple[int, int] | None) -> Attention:
    with (
        encoders.use(model.checkpoint, model.device, model.dtype) as encoder,
        runtime.semaphore(model.device),
        torch.inference_mode(),
    ):
        made = walk(encoder.vision, encoder.pixels([image]))
        rows, columns = made.grid
        if reader and not (0 <= reader[0] < rows and 0 <= reader[1] < columns):
            raise Refusal("no_such_place", row=reader[0], column=reader[1], rows=rows, columns=columns)
        weights, mean = [], []
        for one in made.attention.values():
            row, is_mean = _reader_row(one[0], rows * columns, reader, columns)
            weights.append(row)
            mean.append(is_mean)
        read = torch.stack(weights).float().cpu().numpy()  # [layers, heads, 1 + h*w]
        return Attention(
            layers=tuple(made.attention),
            weights=read[..., 1:].reshape(*read.shape[:2], rows, columns),
            kept=read[..., 0],
            reader=reader,
            mean=tuple(mean),
            crop=encoder.preprocess.crop(*inputs.size_of(image)),
        )


def _reader_row(
    one: Tensor, places: int, reader: tuple[int, int] | None, columns: int
) -> tuple[Tensor, bool]:
    """The row of one reader in weights [heads, Q, T], as [heads, 1 + h*w]; whether it is a mean of all readers."""
    extra = one.shape[-1] - places  # 1 where there is a token for the whole image
    probe = one.shape[1] == 1
    if reader is not None and not probe:
        row, mean = one[:, extra + reader[0] * columns + reader[1]], False
    elif extra or probe:
        row, mean = one[:, 0], False
    else:
        row, mean = one.mean(1), True
    return (row if extra else F.pad(row, (1, 0))), mean


@runtime.on_device
def _stages(model: ZeroShot, image: Image.Image) -> list[Stage]:
    with (
        encoders.use(model.checkpoint, model.device, model.dtype) as encoder,
        runtime.semaphore(model.device),
        torch.inference_mode(),
    ):
        pixels = encoder.pixels([image])
        made = walk(encoder.vision, pixels)
        found = [_picture_stage("image", np.asarray(image)), _map_stage("pixels", pixels[0])]
        for name, x in made.stages.items():
            if x.ndim == 4:
                found.append(_map_stage(name, x[0]))
            else:
                found.append(_token_stage(name, x[0], made))
        feature = made.image_features[0].float()
        found.append(_vector_stage("image_features", feature))
        found.append(_vector_stage("normalised", F.normalize(feature, dim=-1)))
        return found


def _stage(name: str, kind: str, x: Tensor, picture: np.ndarray) -> Stage:
    return Stage(
        name, kind, tuple(x.shape), float(x.float().mean()), float(x.float().std(correction=0)), picture
    )


def _picture_stage(name: str, pixels: np.ndarray) -> Stage:
    small = Image.fromarray(pixels)
    small.thumbnail((192, 192))
    return Stage(name, "picture", pixels.shape, float(pixels.mean()), float(pixels.std()), np.asarray(small))


def _map_stage(name: str, x: Tensor) -> Stage:
    """A feature map [C, h, w]; three channels are shown as they are."""
    return _stage(name, "map", x, components(x.float().flatten(1).T.cpu().numpy(), (x.shape[1], x.shape[2])))


def _token_stage(name: str, x: Tensor, made: Walk) -> Stage:
    """Tokens [T, W]: the image is made of the places alone."""
    places = x[1:] if made.class_token else x
    return _stage(name, "tokens", x, components(places.float().cpu().numpy(), made.grid))


def _vector_stage(name: str, x: Tensor) -> Stage:
    return _stage(name, "vector", x, strip(x.float().cpu().numpy()))


def components(features: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Features [h*w, C] as an image uint8 [h, w, 3]: the first three principal components as red, green and blue."""
    x = features - features.mean(0)
    if x.shape[1] > 3:
        # The smaller of the two Gram matrices has the same components.
        if len(x) < x.shape[1]:
            values, vectors = np.linalg.eigh(x @ x.T)
            x = vectors[:, :-4:-1] * np.sqrt(values[:-4:-1].clip(0))
        else:
            x = x @ np.linalg.eigh(x.T @ x)[1][:, :-4:-1]
        x = x * np.where(x.sum(0) < 0, -1, 1)
    x = np.pad(x, ((0, 0), (0, 3 - x.shape[1])))
    low, high = np.quantile(x, (0.02, 0.98), axis=0)
    shares = (x - low) / np.where(high > low, high - low, 1)
    return (255 * shares.clip(0, 1)).round().astype(np.uint8).reshape(*grid, 3)


def strip(values: np.ndarray, rows: int = 8) -> np.ndarray:
    """A vector [D] as an image uint8 [rows, about D / rows, 3], painted row by row."""
    return paint(np.pad(values, (0, -len(values) % rows)).reshape(rows, -1))


def paint(values: np.ndarray) -> np.ndarray:
    """A matrix [h, w] as an image uint8 [h, w, 3]: blue below zero, orange above, white at zero."""
    share = (values / max(float(np.abs(values).max()), 1e-12))[..., None]
    above, below = np.array([230, 159, 0]), np.array([0, 114, 178])
    colour = np.where(share > 0, above, below)
    return (255 + np.abs(share) * (colour - 255)).round().astype(np.uint8)
