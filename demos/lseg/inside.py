"""*Look inside* of the LSeg page: every label's map, what was made on the way to a mask, the code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from core import checkpoints
from demos.draw import base, masks
from demos.kit import tensors
from demos.kit.html import Markup, grid, join, row, share, tag
from demos.lseg.answer import Answer, run
from demos.lseg.words import PAPER, data, say

if TYPE_CHECKING:
    from demos.lseg.page import Question

SIDE = 360  # pixels of the field of features
MOST_NEAR = 12  # labels in the table of cosines


def maps(question: Question, lang: str) -> dict[str, Any]:
    """Every label's probability over the image, and the line."""
    answer = run(question)
    sums = answer.result.normalisation == "softmax"
    return {
        "out": masks.heat_maps(answer.image, answer.probabilities, answer.result.labels, lang, sums),
        "line": answer.line(lang),
    }


# --- tensors ---------------------------------------------------------------------------------------------


def features_of(encoded: Any) -> np.ndarray:
    """[h, w, D] of any kind of encoded image."""
    if hasattr(encoded, "levels"):
        return encoded.levels[-1].transpose(1, 2, 0)
    if hasattr(encoded, "activations"):
        places = encoded.activations[-1, 1:]  # without the class token
        side = round(len(places) ** 0.5)
        return places.reshape(side, side, -1)
    return encoded.pixel_features if hasattr(encoded, "pixel_features") else encoded.place_features


def shapes(answer: Answer) -> dict[str, str]:
    """The shape of every tensor, by the names of data.toml."""
    result = answer.result
    arrays = {
        "pixel_features": features_of(answer.encoded),
        "text_features": result.text_features,
        "before": result.before_blocks,
        "after": result.after_blocks,
        "logits": result.logits,
        "mask": result.mask,
    }
    return {name: tensors.shape(array) for name, array in arrays.items()}


def arrays(question: Question, lang: str) -> tuple[Any, str]:
    """The field of features in colours, the cosines of the labels, every tensor's shape, the blocks; and the line."""
    answer = run(question)
    field = field_figure(features_of(answer.encoded), answer.image, lang)
    cosines = nearness(answer.result.text_features, answer.result.labels, lang)
    table = tensors.table(tensors.named(PAPER, shapes(answer)), lang)
    return field + cosines + table + block_maps(answer, lang), answer.line(lang)


def principal_colours(features: np.ndarray) -> np.ndarray:
    """A field of vectors [h, w, D] as RGB uint8 [h, w, 3]: its three directions of largest variance."""
    flat = features.reshape(-1, features.shape[-1]).astype(np.float32)
    centred = flat - flat.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    spread = centred @ directions[:, :-4:-1]  # [h w, 3], the largest first
    low, high = np.percentile(spread, [2, 98], axis=0)
    levels = np.clip((spread - low) / np.maximum(high - low, 1e-9), 0, 1)
    return (255 * levels).round().astype(np.uint8).reshape(*features.shape[:2], -1)


def field_figure(features: np.ndarray, image: Image.Image, lang: str) -> Markup:
    """The image beside its field of features, places with similar vectors in similar colours."""
    size = image.copy()
    size.thumbnail((SIDE, SIDE))
    colours = Image.fromarray(principal_colours(features)).resize(size.size, Image.Resampling.NEAREST)
    rows, columns, width = features.shape
    caption = tag("figcaption", say("field", lang, rows=rows, columns=columns, width=width))
    images = (
        tag("img", alt="", src=base.data_uri(size, SIDE)),
        tag("img", alt=say("field_alt", lang), src=base.data_uri(colours, SIDE)),
    )
    return tag("figure", tag("div", *images), caption, class_="atlas-seg-field")


def nearness(texts: np.ndarray, names: Sequence[str], lang: str) -> Markup:
    """Cosines of the first labels with each other: labels with a high cosine are hard to tell apart."""
    names = names[:MOST_NEAR]
    unit = texts[: len(names)] / np.linalg.norm(texts[: len(names)], axis=1, keepdims=True)
    cosines = (unit @ unit.T).tolist()
    rows = [
        row(name, *(share(max(value, 0), f"{value:+.2f}") for value in values))
        for name, values in zip(names, cosines, strict=True)
    ]
    return tag("h3", say("nearness", lang)) + grid(["", *names], rows)


def block_maps(answer: Answer, lang: str) -> Markup:
    """Maps before and after the checkpoint's block, or that it has none."""
    result = answer.result
    options = checkpoints.row(result.checkpoint).options
    kind, depth = str(options.get("block", "none")), int(options.get("depth", 0))
    title = tag("h3", say("regularization", lang))
    if kind == "none":
        return title + tag("p", say("no_own_block", lang))
    pair = ((say("before", lang), result.before_blocks), (f"{kind} × {depth}", result.after_blocks))
    return title + join(
        tag("h4", name) + masks.heat_maps(answer.image, softmax(maps), result.labels, lang)
        for name, maps in pair
    )


def softmax(maps: np.ndarray) -> np.ndarray:
    """[N, h, w] over labels."""
    powers = np.exp(maps - maps.max(0))
    return powers / powers.sum(0)


def code(question: Question, lang: str) -> tuple[Any, dict[str, str], str]:
    """The cards of the model that answered, what one answer made of them, and the line."""
    answer = run(question)
    cards = [card for card in data()["code"] if card.get("way", answer.kind) == answer.kind]
    return cards, shapes(answer), answer.line(lang)
