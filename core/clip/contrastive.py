"""The loss of a batch, line by line (CLIP, Radford et al. 2021, figure 3), and SigLIP's beside it (Zhai et al. 2023).

`contrast` keeps every tensor of the pseudocode under its name there:

    I_e = l2_normalize(np.dot(I_f, W_i), axis=1)        image features, as the image encoder ends
    T_e = l2_normalize(np.dot(T_f, W_t), axis=1)        caption features
    logits = np.dot(I_e, T_e.T) * np.exp(t)
    labels = np.arange(n)
    loss_i = cross_entropy_loss(logits, labels, axis=0)
    loss_t = cross_entropy_loss(logits, labels, axis=1)
    loss = (loss_i + loss_t) / 2

The figure's `axis` is the one that the targets run along: loss_i asks of each image which caption is its own, a
softmax over a row; loss_t asks of each caption which image, a softmax over a column.
`contrast` is plain numpy: a slider that changes the temperature costs a millisecond. `match` asks a checkpoint.
Shapes: n images, n captions, D embedding width.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core import checkpoints
from core.clip.labels import NO_NOTES, Notes
from core.errors import Refusal

if TYPE_CHECKING:
    from PIL import Image

    from core.clip.zero_shot import EncodedImage, ZeroShot

MAX_SCALE = 1000


@dataclass(frozen=True)
class Line:
    """One line of the pseudocode as it ran."""

    code: str
    name: str
    shape: tuple[int, ...]
    value: np.ndarray


@dataclass(frozen=True)
class Contrast:
    """The losses first, then everything they are made of; images in rows, captions in columns."""

    loss: float  # (loss_i + loss_t) / 2
    loss_i: float  # images choose captions
    loss_t: float  # captions choose images
    chance: float  # the loss of pure guessing, log(n)
    least: float  # the least a batch with repeated captions can reach; 0 without repeats
    picture_accuracy: float  # share of images whose likeliest caption is right
    caption_accuracy: float
    cosines: np.ndarray  # [n, n]
    logits: np.ndarray  # [n, n] = logit_scale * cosines
    by_picture: np.ndarray  # [n, n] softmax of each row: which caption belongs to this image
    by_caption: np.ndarray  # [n, n] softmax of each column: which image belongs to this caption
    targets: (
        np.ndarray
    )  # [n, n] what by_picture should be: 1 on the diagonal, shared among identical captions
    gradient: np.ndarray  # [n, n] d loss / d logits: below 0 pulls a pair together, above 0 pushes it apart
    logit_scale: float
    sigmoid: Sigmoid
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Sigmoid:
    """SigLIP's loss on the same cosines: every cell is a yes-or-no question of its own."""

    loss: float  # summed over the cells, divided by n, as in the paper's figure 1
    logits: np.ndarray  # [n, n] = scale * cosines + bias
    probabilities: np.ndarray  # [n, n] = 1 / (1 + exp(-logits)); rows do not sum to one
    signs: np.ndarray  # [n, n] +1 for a pair, -1 for all others
    scale: float
    bias: float


def contrast(
    image_features: np.ndarray,
    text_features: np.ndarray,
    logit_scale: float,
    captions: Sequence[str] | None = None,
    learned_sigmoid: tuple[float, float] | None = None,
) -> Contrast:
    """The symmetric loss of n images and n captions that belong together in this order.

    Args:
        image_features, text_features: [n, D], finite; normalised here, as the pseudocode does.
        logit_scale: exp(t), in (0, 1000].
        captions: n texts; equal ones are right for each other's images too and share the target. Without them
            every caption is one of its own.
        learned_sigmoid: scale and bias of SigLIP's loss, as a SigLIP checkpoint has learned them; without them
            `logit_scale` and the bias that is best for these cosines.

    Raises:
        Refusal: "bad_logit_scale", "matrix_shape".
    """
    image_features, text_features = np.asarray(image_features), np.asarray(text_features)
    n = len(image_features)
    if image_features.ndim != 2 or image_features.shape != text_features.shape or not n:
        raise Refusal("matrix_shape", images=n, captions=len(text_features))
    if captions is not None and len(captions) != n:
        raise Refusal("matrix_shape", images=n, captions=len(captions))
    logit_scale = check_scale(logit_scale)

    i_e, t_e = normalised(image_features), normalised(text_features)  # [n, D]
    cosines = i_e @ t_e.T  # [n, n]
    logits = logit_scale * cosines
    labels = np.arange(n)
    same = np.eye(n) if captions is None else shared(captions)
    targets = same / same.sum(1, keepdims=True)  # symmetric, so that columns share alike

    by_picture, by_caption = softmax(logits, 1), softmax(logits, 0)
    loss_i, loss_t = cross_entropy(logits, targets), cross_entropy(logits.T, targets)
    loss = (loss_i + loss_t) / 2
    return Contrast(
        loss=loss,
        loss_i=loss_i,
        loss_t=loss_t,
        chance=float(np.log(n)),
        least=float(np.log(same.sum(1)).mean()),
        picture_accuracy=float(same[labels, logits.argmax(1)].mean()),
        caption_accuracy=float(same[logits.argmax(0), labels].mean()),
        cosines=cosines,
        logits=logits,
        by_picture=by_picture,
        by_caption=by_caption,
        targets=targets,
        # Softmax minus target, for rows and for columns, each a mean over n and half of the loss.
        gradient=((by_picture - targets) + (by_caption - targets)) / (2 * n),
        logit_scale=logit_scale,
        sigmoid=pairwise_sigmoid(cosines, same, *(learned_sigmoid or (logit_scale, None))),
        lines=(
            line("I_f = image_encoder(I)", "I_f", image_features),
            line("T_f = text_encoder(T)", "T_f", text_features),
            line("I_e = l2_normalize(np.dot(I_f, W_i), axis=1)", "I_e", i_e),
            line("T_e = l2_normalize(np.dot(T_f, W_t), axis=1)", "T_e", t_e),
            line("logits = np.dot(I_e, T_e.T) * np.exp(t)", "logits", logits),
            line("labels = np.arange(n)", "labels", labels),
            line("loss_i = cross_entropy_loss(logits, labels, axis=0)", "loss_i", loss_i),
            line("loss_t = cross_entropy_loss(logits, labels, axis=1)", "loss_t", loss_t),
            line("loss = (loss_i + loss_t)/2", "loss", loss),
        ),
    )


def check_scale(value: Any) -> float:
    """A logit scale in (0, 1000].

    Raises:
        Refusal: "bad_logit_scale", also for what is no number.
    """
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
    if not 0 < number <= MAX_SCALE:
        raise Refusal("bad_logit_scale", value=value, limit=MAX_SCALE)
    return number


def pairwise_sigmoid(
    cosines: np.ndarray, same: np.ndarray, scale: float, bias: float | None = None
) -> Sigmoid:
    """SigLIP (Zhai et al. 2023, equation 1): the sum over all cells of -log sigmoid(sign * (scale * cosine + bias)) / n.

    Args:
        cosines: [n, n]. same: [n, n], 1 where a caption fits an image.
        bias: None finds the one with the least loss, at which as many cells are expected to say yes as should.
    """
    if bias is None:
        low, high = -scale - 50.0, scale + 50.0
        for _ in range(60):  # d loss / d bias = sum(probabilities) - sum(same), which grows with the bias
            bias = (low + high) / 2
            too_many = sigmoid(scale * cosines + bias).sum() > same.sum()
            low, high = (low, bias) if too_many else (bias, high)
        bias = (low + high) / 2
    logits = scale * cosines + bias
    signs = 2 * same - 1
    loss = np.logaddexp(0, -signs * logits).sum() / len(cosines)
    return Sigmoid(float(loss), logits, sigmoid(logits), signs, scale, bias)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logits)) without overflow."""
    return np.exp(-np.logaddexp(0, -logits))


def normalised(features: np.ndarray) -> np.ndarray:
    """Rows [n, D] at length one."""
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    """Shares along an axis; large logits do not overflow."""
    shares = np.exp(logits - logits.max(axis, keepdims=True))
    return shares / shares.sum(axis, keepdims=True)


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    """Mean over rows of -sum(targets * log softmax(logits)); targets [n, n] sum to one in each row."""
    return float(-(targets * (logits - log_sum_exp(logits, 1)[:, None])).sum(1).mean())


def shared(captions: Sequence[str]) -> np.ndarray:
    """[n, n] 1 where two captions are the same text, which then fits both images."""
    places = {text: place for place, text in enumerate(dict.fromkeys(captions))}
    which = np.array([places[text] for text in captions])
    return (which[:, None] == which).astype(float)


def line(code: str, name: str, value: Any) -> Line:
    """A line of the pseudocode with the tensor it makes."""
    array = np.asarray(value)
    return Line(code, name, array.shape, array)


@dataclass(frozen=True)
class Difficulty:
    """What a batch of each size costs the same model; K sizes."""

    sizes: np.ndarray  # [K]
    losses: np.ndarray  # [K] mean loss of random batches
    accuracies: np.ndarray  # [K] share of images that find their own caption among n
    chance: np.ndarray  # [K] log(n), the loss of guessing; guessing is right in 1 of n


def difficulty(
    image_features: np.ndarray | Sequence[np.ndarray],
    text_features: np.ndarray,
    logit_scale: float,
    sizes: Sequence[int] = (2, 4, 8, 16, 32, 64),
    draws: int = 32,
    seed: int = 0,
) -> Difficulty:
    """Random batches of each size from M pairs: the larger the batch, the more wrong answers to tell apart.

    Args:
        image_features, text_features: [M, D] of pairs that belong together, no caption twice.
        sizes: batch sizes n, at most M. draws: batches of each size.
    """
    image_features, text_features = np.asarray(image_features), np.asarray(text_features)
    logits = logit_scale * normalised(image_features) @ normalised(text_features).T  # [M, M]
    rng = np.random.default_rng(seed)
    losses, accuracies = [], []
    for n in sizes:
        order = rng.random((draws, len(logits))).argsort(1)[:, :n]  # [R, n]
        batch = logits[order[:, :, None], order[:, None, :]]  # [R, n, n]
        own = np.einsum("rnn->rn", batch)
        losses.append((log_sum_exp(batch, 2) + log_sum_exp(batch, 1) - 2 * own).mean() / 2)
        accuracies.append((batch.argmax(2) == np.arange(n)).mean())
    return Difficulty(np.array(sizes), np.array(losses), np.array(accuracies), np.log(sizes))


def losses_by_scale(made: Contrast, scales: np.ndarray) -> np.ndarray:
    """[K] the symmetric loss of the same cosines at K logit scales: what the learned temperature is chosen for."""
    logits = scales[:, None, None] * made.cosines  # [K, n, n]
    own = made.targets * logits
    loss_i = (log_sum_exp(logits, 2) - own.sum(2)).mean(1)
    loss_t = (log_sum_exp(logits, 1) - own.sum(1)).mean(1)
    return (loss_i + loss_t) / 2


def log_sum_exp(values: np.ndarray, axis: int) -> np.ndarray:
    """log(sum(exp(values))) along an axis."""
    top = values.max(axis, keepdims=True)
    return (top + np.log(np.exp(values - top).sum(axis, keepdims=True))).squeeze(axis)


# --- with a checkpoint --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """`contrast` on what a checkpoint makes of images and captions."""

    checkpoint: str
    captions: tuple[str, ...]
    contrast: Contrast
    learned_logit_scale: float
    normalisation: str
    device: str
    seconds: float
    notes: Notes = NO_NOTES

    def to_json(self) -> dict[str, Any]:
        """The answer as plain values: matrices have images in rows and captions in columns."""
        made = self.contrast
        return {
            "checkpoint": self.checkpoint,
            "seconds": round(self.seconds, 4),
            "captions": list(self.captions),
            "logit_scale": made.logit_scale,
            "learned_logit_scale": self.learned_logit_scale,
            "loss": made.loss,
            "loss_i": made.loss_i,
            "loss_t": made.loss_t,
            "chance": made.chance,
            "picture_accuracy": made.picture_accuracy,
            "caption_accuracy": made.caption_accuracy,
            "cosines": made.cosines.tolist(),
            "logits": made.logits.tolist(),
            "probabilities": made.by_picture.tolist(),
            "probabilities_by_caption": made.by_caption.tolist(),
            "gradient": made.gradient.tolist(),
            "sigmoid": {
                "loss": made.sigmoid.loss,
                "scale": made.sigmoid.scale,
                "bias": made.sigmoid.bias,
                "probabilities": made.sigmoid.probabilities.tolist(),
            },
            **self.notes.to_json(),
        }


def match(
    model: ZeroShot,
    images: Sequence[Image.Image | EncodedImage],
    captions: Sequence[str],
    logit_scale: float | None = None,
) -> Batch:
    """The matrix of a batch under a checkpoint; images and texts seen before are not encoded again.

    Args:
        images, captions: n images, and n texts that are held to belong to them in this order.
        logit_scale: in place of the learned one, in (0, 1000].

    Raises:
        Refusal: "matrix_shape", "bad_logit_scale"; what the checkpoint refuses.
    """
    from core.clip.zero_shot import scale_and_bias

    start = time.perf_counter()
    if not images or len(images) != len(captions):
        raise Refusal("matrix_shape", images=len(images), captions=len(captions))
    encoded = [model.encode(image) for image in images]
    text_features = model.encode_text(captions)
    learned, bias = scale_and_bias(model)
    normalisation = checkpoints.row(model.checkpoint).normalisation
    made = contrast(
        np.stack([one.image_features for one in encoded]),
        text_features,
        learned if logit_scale is None else logit_scale,
        captions,
        (logit_scale or learned, bias) if normalisation == "sigmoid" else None,
    )
    seconds = time.perf_counter() - start
    notes = Notes(truncated=tuple(dict.fromkeys(filter(model.tokenize.is_cut, captions))))
    return Batch(
        model.checkpoint, tuple(captions), made, learned, normalisation, model.device, seconds, notes
    )
