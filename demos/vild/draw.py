"""A detection as HTML: boxes of base labels in blue and of novel ones in red, a region and its scores, variants side by side.

Pure functions of `core.detection.Detection`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from demos.draw import base as draw
from demos.draw import boxes
from demos.draw.boxes import Entry, Mark
from demos.kit.html import Markup, grid, join, tag
from demos.kit.language import Text, pick

if TYPE_CHECKING:
    from core.detection import Detection

Things = Sequence[Mapping[str, Any]]  # known things of a scene: {"en", "zh", "visible_box"}

BASE, NOVEL = draw.BLUE, draw.VERMILION
PROPOSAL = draw.VERMILION
VARIANTS = {
    "crops": Text("CLIP on crops", "CLIP 逐框"),
    "text": Text("ViLD-text", "ViLD-text"),
    "image": Text("ViLD-image", "ViLD-image"),
    "vild": Text("ViLD", "ViLD"),
    "ensemble": Text("ViLD-ensemble", "ViLD-ensemble"),
    "native": Text("as published", "原有的方法"),
}
DESCRIPTIONS = {
    "crops": Text(
        "CLIP classifies a crop of every proposal, at 1× and 1.5× its size. This variant knows everything that CLIP knows, but "
        "it is far too slow.",
        "CLIP 对每个候选框的裁剪图（1 倍和 1.5 倍大小）分类。CLIP 的知识全都可用，但太慢。",
    ),
    "text": Text(
        "Trained with the boxes of the base categories and a learned background. In training, novel things count as background.",
        "用基础类的框和一个可学习的“背景”训练。训练时新类都算作背景。",
    ),
    "image": Text(
        "Trained without labels: the embedding of a region imitates CLIP's embedding of its crop.",
        "训练时不用标签：区域向量模仿 CLIP 给裁剪图的向量。",
    ),
    "vild": Text("One head that is trained with both losses.", "一个检测头，同时用两种损失训练。"),
    "ensemble": Text(
        "Two heads. For base labels the text head has the weight ⅔, for novel labels the image head has it.",
        "两个检测头：对基础类，文本头的权重为 ⅔；对新类，图像头的权重为 ⅔。",
    ),
    "native": Text(
        "This network was designed for open vocabularies and compares regions with labels in its own way.",
        "这个网络本身就是为开放词汇设计的，用自己的方法比较区域和标签。",
    ),
}
STEPS = {
    "image": Text("image", "图片"),
    "text": Text("labels", "标签"),
    "crops": Text("crops", "裁剪图"),
    "boxes": Text("boxes", "方框"),
}
TIP = Text(
    "The labels are the classes: with the label “duck” ducks are detected, although no duck had a box in training. Click a box "
    "to see its crop and its similarity to every label.",
    "标签就是类别：加上标签“鸭子”就能检测到鸭子，尽管训练时没有任何鸭子的框。点击方框，查看它的裁剪图以及与每个标签的相似度。",
)
MOST_ROWS = 24  # labels in the table of a region
SAME_PLACE = 0.5  # IoU from which two boxes are on one thing
CONTEXT = 1.5  # the larger crop of a region
CARD_SIDE, PAIR_SIDE = 480, 640  # pixels of the images that stand side by side


def kind_of(base: bool, lang: str) -> str:
    """ "base" or "novel" in a language."""
    return pick(lang, "base", "基础类") if base else pick(lang, "novel", "新类")


def colour_of(base: bool) -> str:
    """The colour of a label."""
    return BASE if base else NOVEL


def marks(detection: Detection) -> list[Mark]:
    """The boxes of an answer; a click passes on the place of a box in it."""
    rows = zip(
        detection.boxes.tolist(), detection.scores.tolist(), detection.label_indices.tolist(), strict=True
    )
    return [
        Mark(
            tuple(box), detection.labels[label], score, colour_of(detection.base[label]), label,
            "base" if detection.base[label] else "novel", not detection.base[label], at,
        )
        for at, (box, score, label) in enumerate(rows)
    ]  # fmt: skip


def legend(detection: Detection, lang: str) -> list[Entry]:
    """Every label with its kind and its number of boxes."""
    counts = np.bincount(detection.label_indices, minlength=len(detection.labels)).tolist()

    def note(at: int) -> str:
        number = pick(lang, f"{counts[at]} box{'' if counts[at] == 1 else 'es'}", f"{counts[at]} 个框")
        return f"{kind_of(detection.base[at], lang)} · {number}"

    return [
        Entry(label, colour_of(detection.base[at]), at, note(at), not detection.base[at])
        for at, label in enumerate(detection.labels)
    ]


def figure(image: Image.Image, detection: Detection, lang: str, picks: str = "") -> Markup:
    """The answer: the key of the colours, the image with its boxes, and the legend."""
    html = colour_key(lang) + boxes.overlay(
        image, marks(detection), lang, entries=legend(detection, lang), picks=picks
    )
    if len(detection.boxes):
        return html + (tag("p", TIP.get(lang), class_="atlas-line") if picks else "")
    sentence = pick(
        lang,
        "No box reaches the minimum score. Lower it, or use other labels.",
        "没有方框达到最低得分。请降低“最低得分”，或更换标签。",
    )
    return html + tag("p", sentence, class_="atlas-hint")


def colour_key(lang: str) -> Markup:
    """The meaning of the two colours."""
    base = pick(lang, "base: with boxes in training", "基础类：训练时有框")
    novel = pick(lang, "novel: without any box in training", "新类：训练时没有框")
    return tag(
        "p",
        tag("span", tag("i", style=f"--c:{BASE}"), base),
        tag("span", tag("i", class_="dashed", style=f"--c:{NOVEL}"), novel),
        class_="atlas-vild-key",
    )


# --- one region --------------------------------------------------------------------------------------------


def region(image: Image.Image, detection: Detection, at: int, lang: str) -> Markup:
    """A proposal: its crops, its position, and the cosine and probability of every label.

    Args:
        image: the caller's image.
        detection: an answer about it.
        at: place of the proposal, below M.
        lang: "en" or "zh".
    """
    box = detection.proposals[at]
    crops = join(
        tag("figure", tag("img", alt=name, src=boxes.crop_uri(image, side)), tag("figcaption", name))
        for name, side in (("1×", box), (f"{CONTEXT}×", enlarged(box, CONTEXT)))
    )
    left, top, right, bottom = (round(side) for side in box.tolist())
    facts = pick(
        lang,
        f"Candidate box {at + 1} of {len(detection.proposals)}: pixels {left}, {top} to {right}, {bottom}. Its objectness is "
        f"{detection.objectness[at]:.2f}: how likely it contains any object, whatever the labels are.",
        f"第 {at + 1} 个候选框，共 {len(detection.proposals)} 个：像素 {left}, {top} 到 {right}, {bottom}。物体性"
        f"（objectness）为 {detection.objectness[at]:.2f}，即框内有物体的可能性，与标签无关。",
    )
    head = tag("div", crops, tag("p", facts, class_="atlas-line"), class_="atlas-vild-crops")
    return tag("section", head, score_table(detection, at, lang), class_="atlas-vild-region")


def enlarged(box: np.ndarray, factor: float) -> np.ndarray:
    """A box [4] about its centre, `factor` times as wide and high."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * factor
    return np.concatenate([centre - half, centre + half])


def score_table(detection: Detection, at: int, lang: str) -> Markup:
    """Cosine and probability of every label for a region, of an ensemble those of both heads; the background."""
    order = np.argsort(-detection.class_scores[at], kind="stable")[:MOST_ROWS].tolist()
    parts = {name: detection.parts[name] for name in ("text", "image") if name in detection.parts}
    head = [pick(lang, "label", "标签"), pick(lang, "cosine", "余弦"), pick(lang, "probability", "概率")]
    head += [f"ViLD-{name}" for name in parts]
    rows = []
    for label in order:
        is_base, cosine = detection.base[label], float(detection.cosines[at, label])
        swatch = tag("i", class_=None if is_base else "dashed", style=f"--c:{colour_of(is_base)}")
        name = tag("th", swatch, detection.labels[label], tag("small", kind_of(is_base, lang)), scope="row")
        cells = [_share(max(cosine, 0), f"{cosine:+.3f}")]
        cells += [_share(float(scores[at, label])) for scores in (detection.class_scores, *parts.values())]
        rows.append(tag("tr", name, *cells, class_="best" if label == order[0] else None))
    if detection.background.any():
        note = tag("small", pick(lang, "learned", "可学习"))
        name = tag("th", pick(lang, "background", "背景"), note, scope="row")
        share, empty = _share(float(detection.background[at])), tag("td", "–")
        # In an ensemble only the text head has a background.
        cells = [empty, empty, share, empty] if parts else [empty, share]
        rows.append(tag("tr", name, *cells, class_="background"))
    return grid(head, rows, "atlas-vild-row")


def _share(value: float, text: str = "") -> Markup:
    """A cell with a bar behind its number."""
    return tag("td", text or draw.percent(value), style=f"--share:{100 * value:.1f}%")


def proposal_marks(detection: Detection) -> list[Mark]:
    """All proposals as boxes without a name, each a group of its own."""
    rows = zip(detection.proposals.tolist(), detection.objectness.tolist(), strict=True)
    return [
        Mark(tuple(box), "", objectness, PROPOSAL, at, "proposal", False, at)
        for at, (box, objectness) in enumerate(rows)
    ]


# --- against known things ----------------------------------------------------------------------------------


def overlap(box: Sequence[float] | np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of a box [4] with boxes [R, 4] -> [R]."""
    return boxes.overlaps(np.asarray(box, float)[None], others)[0]


def matches(detection: Detection, things: Things) -> np.ndarray:
    """[R, K] bool: whether a box lies on one of K things (IoU 0.5) and has its name."""
    names = [label.lower() for label in detection.labels]
    rows = []
    for thing in things:
        own = np.array([name in (thing["en"].lower(), thing["zh"]) for name in names])
        on_it = overlap(thing["visible_box"], detection.boxes) >= SAME_PLACE
        rows.append(own[detection.label_indices] & on_it)
    return np.array(rows, bool).reshape(len(things), len(detection.boxes)).T


def correct(detection: Detection, things: Things) -> np.ndarray:
    """[R] bool: whether each box lies on a thing of its name."""
    return np.asarray(matches(detection, things).any(1))


def recall_line(detection: Detection, things: Things, lang: str) -> str:
    """How many of the labelled things have a correct box, base and novel apart; "" where no thing is known."""
    bases = dict(zip((label.lower() for label in detection.labels), detection.base, strict=True))
    hits = np.asarray(matches(detection, things).any(0)).tolist()
    counts = {True: [0, 0], False: [0, 0]}  # by base: detected, all
    for thing, is_hit in zip(things, hits, strict=True):
        base = bases.get(thing["en"].lower(), bases.get(thing["zh"]))
        if base is not None:
            counts[base][0] += is_hit
            counts[base][1] += 1
    parts = [
        pick(lang, f"{hit} of {count} {kind_of(base, lang)}", f"{kind_of(base, lang)} {hit} / {count}")
        for base, (hit, count) in counts.items()
        if count
    ]
    return pick(lang, "Detected: ", "正确检出：") + pick(lang, ", ", "，").join(parts) if parts else ""


# --- side by side ------------------------------------------------------------------------------------------


def card(title: str, image: Image.Image, detection: Detection, lang: str, side: int, letters: int) -> Markup:
    """An answer under a title, as one of several."""
    return tag("h3", title) + boxes.overlay(image, marks(detection), lang, side=side, letters=letters)


def pair(titles: Sequence[str], image: Image.Image, detections: Sequence[Detection], lang: str) -> Markup:
    """Two answers about one image side by side."""
    cards = join(
        tag("article", card(title, image, one, lang, PAIR_SIDE, 36))
        for title, one in zip(titles, detections, strict=True)
    )
    return colour_key(lang) + tag("div", cards, class_="atlas-vild-two")


def variants(image: Image.Image, detections: Sequence[Detection], things: Things, lang: str) -> Markup:
    """A card for each variant: one image, one list of labels."""
    cards = []
    for one in detections:
        number = pick(lang, f"{len(one.boxes)} boxes", f"{len(one.boxes)} 个框")
        recall = recall_line(one, things, lang)
        line = tag("p", tag("b", recall), f" · {number}") if recall else tag("p", tag("b", number))
        description = tag("p", DESCRIPTIONS[one.variant].get(lang), class_="atlas-line")
        head = card(VARIANTS[one.variant].get(lang), image, one, lang, CARD_SIDE, 32)
        cards.append(tag("article", head, line, description))
    return colour_key(lang) + tag("div", *cards, class_="atlas-vild-cards")


def best_scores(detections: Sequence[Detection], lang: str) -> Markup:
    """The highest probability of each label under each variant."""
    first = detections[0]
    rows = []
    for at, label in enumerate(first.labels):
        tops = [float(one.class_scores[:, at].max(initial=0)) for one in detections]
        cells = join(
            tag(
                "td",
                draw.percent(top),
                class_="best" if top == max(tops) else None,
                style=f"--share:{100 * top:.1f}%",
            )
            for top in tops
        )
        name = tag("th", label, tag("small", kind_of(first.base[at], lang)), scope="row")
        rows.append(tag("tr", name, cells))
    title = pick(lang, "The highest probability of each label", "每个标签的最高概率")
    head = ["", *(VARIANTS[one.variant].get(lang) for one in detections)]
    return tag("h3", title, class_="atlas-vild-title") + grid(head, rows)


def closed_and_open(image: Image.Image, closed: Detection, open_: Detection, lang: str) -> Markup:
    """The answer of a detector with a fixed list of categories beside the answer to the page's labels."""
    count = len(closed.labels)
    titles = (
        pick(
            lang,
            f"Closed vocabulary: the last layer has {count} base categories and cannot name anything else",
            f"封闭词表：最后一层只有 {count} 个基础类，无法输出其他名称",
        ),
        pick(lang, "Open vocabulary: ViLD with your labels", "开放词汇：ViLD 使用你的标签"),
    )
    return pair(titles, image, (closed, open_), lang)
