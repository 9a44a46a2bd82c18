"""*Look inside* of the LSeg page: every label's map, what was made on the way to a mask, the code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from core import checkpoints
from demos.draw import base, masks
from demos.kit import library
from demos.kit import tensors as table_of
from demos.kit.html import Markup, grid, tag
from demos.kit.language import Text, pick
from demos.lseg.answer import PAPER, Answer, line_of, run

if TYPE_CHECKING:
    from demos.lseg.page import Question

SIDE = 360  # pixels of the field of features
MOST_NEAR = 12  # labels in the table of cosines
MAPS = Text(
    "The mask keeps the best label of each pixel. These maps show the probability of every label.",
    "掩码只保留每个像素得分最高的标签；这里是每个标签的概率图。",
)
TENSORS = Text(
    "The image becomes a field of vectors before any label is read. The labels then choose among these vectors.",
    "还没读标签时，图片已经变成一片向量；标签再与这些向量比较。",
)


def maps(question: Question, lang: str) -> dict[str, Any]:
    """Every label's probability over the image, and the line."""
    answer = run(question)
    sums = answer.result.normalisation == "softmax"
    return {
        "out": masks.heat_maps(answer.image, answer.probabilities, answer.result.labels, lang, sums),
        "line": line_of(answer, lang),
    }


# --- tensors ---------------------------------------------------------------------------------------------


def features_of(encoded: Any) -> np.ndarray:
    """[h, w, D] of any kind of encoded image."""
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
    return {name: "[" + ", ".join(map(str, array.shape)) + "]" for name, array in arrays.items()}


def tensors(question: Question, lang: str) -> tuple[Any, str]:
    """The field of features in colours, the cosines of the labels, every tensor's shape, the blocks; and the line."""
    answer = run(question)
    result = answer.result
    meanings = library.data(PAPER)["tensors"]
    steps = [(Text(name, name), shape, Text(**meanings[name])) for name, shape in shapes(answer).items()]
    return (
        field_figure(features_of(answer.encoded), answer.image, lang)
        + nearness(result.text_features, result.labels, lang)
        + table_of.table(steps, lang)
        + block_maps(answer, lang)
    ), line_of(answer, lang)


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
    caption = pick(
        lang,
        f"{rows} × {columns} places with {width} numbers each. The colours are the three directions of largest variance, so "
        "similar colours mean similar vectors. No label was read yet.",
        f"{rows} × {columns} 个位置，每个位置 {width} 个数。颜色是方差最大的三个方向，颜色相近即向量相近。此时还没读任何标签。",
    )
    alt = pick(lang, "the features as colours", "用颜色表示的特征")
    images = (
        tag("img", alt="", src=base.data_uri(size, SIDE)),
        tag("img", alt=alt, src=base.data_uri(colours, SIDE)),
    )
    return tag("figure", tag("div", *images), tag("figcaption", caption), class_="atlas-seg-field")


def nearness(texts: np.ndarray, names: Sequence[str], lang: str) -> Markup:
    """Cosines of the first labels with each other: labels with a high cosine are hard to tell apart."""
    names = names[:MOST_NEAR]
    unit = texts[: len(names)] / np.linalg.norm(texts[: len(names)], axis=1, keepdims=True)
    cosines = (unit @ unit.T).tolist()
    rows = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            *(tag("td", f"{value:+.2f}", style=f"--share:{100 * max(value, 0):.0f}%") for value in row),
        )
        for name, row in zip(names, cosines, strict=True)
    ]
    title = pick(lang, "Cosines of the labels with each other", "标签之间的余弦相似度")
    return tag("h3", title) + grid(["", *names], rows)


def block_maps(answer: Answer, lang: str) -> Markup:
    """Maps before and after the checkpoint's block, or that it has none."""
    result = answer.result
    options = checkpoints.row(result.checkpoint).options
    kind, depth = str(options.get("block", "none")), int(options.get("depth", 0))
    title = tag("h3", pick(lang, "Spatial regularization", "空间正则化"))
    if kind == "none":
        sentence = pick(
            lang,
            "This checkpoint has no regularization block: the maps before and after are the same. “Compare” shows what a "
            "block would change.",
            "这组权重没有正则化模块：前后的图完全相同。加上模块会改变什么，见“比较”。",
        )
        return title + tag("p", sentence)
    pair = (
        (pick(lang, "before", "之前"), result.before_blocks),
        (f"{kind} × {depth}", result.after_blocks),
    )
    return title + Markup("").join(
        tag("h4", name) + Markup(masks.heat_maps(answer.image, softmax(array), result.labels, lang))
        for name, array in pair
    )


def softmax(maps: np.ndarray) -> np.ndarray:
    """[N, h, w] over labels."""
    powers = np.exp(maps - maps.max(0))
    return powers / powers.sum(0)


def code(question: Question, lang: str) -> tuple[Any, dict[str, str], str]:
    """The cards of the model that answered, what one answer made of them, and the line."""
    answer = run(question)
    cards = [card for card in library.data(PAPER)["code"] if card.get("way", answer.kind) == answer.kind]
    return cards, shapes(answer), line_of(answer, lang)
