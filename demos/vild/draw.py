"""A detection into what the ViLD page shows: boxes base in blue and novel in red, a region and its row, variants side by side.

Pure functions of `core.detection.Detection`.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from demos.draw import base as draw
from demos.draw import boxes as detect_draw
from demos.draw.boxes import Entry, Mark
from demos.kit.language import Text, pick

if TYPE_CHECKING:
    from core.detection import Detection

BASE, NOVEL = draw.BLUE, draw.VERMILION
NEITHER = draw.VERMILION  # proposals, before any word
VARIANTS = {
    "crops": Text("CLIP on crops", "CLIP 逐框"),
    "text": Text("ViLD-text", "ViLD-text"),
    "image": Text("ViLD-image", "ViLD-image"),
    "vild": Text("ViLD", "ViLD"),
    "ensemble": Text("ViLD-ensemble", "ViLD-ensemble"),
    "native": Text("its own way", "它自己的方式"),
}
WHAT = {
    "crops": Text(
        "Every proposal is cut out and shown to CLIP, at 1× and 1.5×. Knows all that CLIP knows, and is far too slow.",
        "每个候选框都裁出来（1 倍和 1.5 倍）给 CLIP 看。CLIP 认识的它都认识，但太慢。",
    ),
    "text": Text(
        "Trained with boxes of base categories and a learned background. Novel things were background.",
        "用基础类的框和一个学出来的“背景”训练。新类在训练时都算背景。",
    ),
    "image": Text(
        "Trained without any label: a region's vector copies what CLIP says of its crop.",
        "训练时不用任何标签：区域向量模仿 CLIP 对裁剪图的回答。",
    ),
    "vild": Text("One head, both losses.", "一个头，两个损失一起训练。"),
    "ensemble": Text(
        "Two heads; the text head counts ⅔ for base labels, the image head ⅔ for novel ones.",
        "两个头；对基础类文本头占 ⅔，对新类图像头占 ⅔。",
    ),
    "native": Text(
        "This network was made for open vocabularies and reads labels itself.",
        "这个网络本来就是为开放词汇设计的，自己读标签。",
    ),
}
STEPS = {
    "image": Text("picture", "图片"),
    "text": Text("labels", "标签"),
    "crops": Text("crops", "裁剪图"),
    "boxes": Text("boxes", "方框"),
}
MOST_ROWS = 24  # labels in a region's table
SAME = 0.5  # IoU of two boxes of one thing


def kind_of(base: bool, lang: str) -> str:
    """ "base" or "novel" in a language."""
    return pick(lang, "base", "基础类") if base else pick(lang, "novel", "新类")


def colour_of(base: bool) -> str:
    """A label's colour."""
    return BASE if base else NOVEL


def marks(found: Detection) -> list[Mark]:
    """The boxes of an answer; a click hands a box's place in it on."""
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.label_indices.tolist(), strict=True)
    return [
        Mark(
            tuple(box), found.labels[label], score, colour_of(found.base[label]), label,
            "base" if found.base[label] else "novel", not found.base[label], at,
        )
        for at, (box, score, label) in enumerate(rows)
    ]  # fmt: skip


def legend(found: Detection, lang: str) -> list[Entry]:
    """Every label with its kind and the number of its boxes."""
    counts = np.bincount(found.label_indices, minlength=len(found.labels)).tolist()

    def note(at: int) -> str:
        boxes = pick(lang, f"{counts[at]} box{'' if counts[at] == 1 else 'es'}", f"{counts[at]} 个框")
        return f"{kind_of(found.base[at], lang)} · {boxes}"

    return [
        Entry(label, colour_of(found.base[at]), at, note(at), not found.base[at])
        for at, label in enumerate(found.labels)
    ]


def overlay(image: Image.Image, found: Detection, lang: str, picks: str = "") -> str:
    """The answer: the picture with its boxes, and the legend."""
    shown = detect_draw.overlay(image, marks(found), lang, entries=legend(found, lang), picks=picks)
    if len(found.boxes):
        return shown
    nothing = pick(
        lang,
        "No box reaches the threshold. Lower it, or ask for something else.",
        "没有方框达到阈值。把它调低，或换个标签。",
    )
    return f'{shown}<p class="atlas-hint">{nothing}</p>'


def key(lang: str) -> str:
    """What the two colours mean."""
    return (
        f'<p class="atlas-vild-key"><span><i style="--c:{BASE}"></i>'
        f"{pick(lang, 'base: had boxes in training', '基础类：训练时有框')}</span>"
        f'<span><i class="dashed" style="--c:{NOVEL}"></i>'
        f"{pick(lang, 'novel: never had one', '新类：从来没有框')}</span></p>"
    )


# --- one region --------------------------------------------------------------------------------------------


def region(image: Image.Image, found: Detection, at: int, lang: str) -> str:
    """A proposal as CLIP would see it, where it is, and its row: cosine and probability of every label.

    Args:
        image: the caller's picture.
        found: an answer about it.
        at: place of the proposal, below M.
        lang: "en" or "zh".
    """
    box = found.proposals[at]
    crops = "".join(
        f'<figure><img alt="{html.escape(name)}" src="{detect_draw.crop_uri(image, side)}"><figcaption>{name}</figcaption>'
        "</figure>"
        for name, side in (("1×", box), ("1.5×", enlarged(box, 1.5)))
    )
    left, top, right, bottom = (round(side) for side in box.tolist())
    facts = pick(
        lang,
        f"Proposal {at + 1} of {len(found.proposals)}: pixels {left}, {top} to {right}, {bottom}; objectness "
        f"{found.objectness[at]:.2f} (how much it looks like any thing at all).",
        f"第 {at + 1} / {len(found.proposals)} 个候选框：像素 {left}, {top} 到 {right}, {bottom}；物体性 "
        f"{found.objectness[at]:.2f}（像不像“某样东西”，与标签无关）。",
    )
    return (
        f'<section class="atlas-vild-region"><div class="atlas-vild-crops">{crops}<p class="atlas-line">{facts}</p></div>'
        f"{row_table(found, at, lang)}</section>"
    )


def enlarged(box: np.ndarray, factor: float) -> np.ndarray:
    """A box [4] about its middle, `factor` times as wide and high."""
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * factor
    return np.concatenate([middle - half, middle + half])


def row_table(found: Detection, at: int, lang: str) -> str:
    """Every label's cosine with a region, its probability, and of an ensemble the two heads' parts; the background."""
    order = np.argsort(-found.class_scores[at], kind="stable")[:MOST_ROWS].tolist()
    parts = {name: found.parts[name] for name in ("text", "image") if name in found.parts}
    head = [pick(lang, "label", "标签"), pick(lang, "cosine", "余弦"), pick(lang, "probability", "概率")]
    head += [f"ViLD-{name}" for name in parts]
    best = order[0] if order else -1
    body = ""
    for label in order:
        cosine = float(found.cosines[at, label])
        cells = f'<td style="--share:{100 * max(cosine, 0):.1f}%">{cosine:+.3f}</td>'
        for scores in (found.class_scores, *parts.values()):
            share = float(scores[at, label])
            cells += f'<td style="--share:{100 * share:.1f}%">{draw.percent(share)}</td>'
        kind = kind_of(found.base[label], lang)
        body += (
            f'<tr{" class=best" if label == best else ""}><th scope="row">'
            f'<i style="--c:{colour_of(found.base[label])}"{"" if found.base[label] else " class=dashed"}></i>'
            f"{html.escape(found.labels[label])}<small>{kind}</small></th>{cells}</tr>"
        )
    if found.background.any():
        share = float(found.background[at])
        cell = f'<td style="--share:{100 * share:.1f}%">{draw.percent(share)}</td>'
        # Of an ensemble the text head alone has a background.
        cells = f"<td>–</td>{cell}<td>–</td>" if parts else cell
        body += (
            f'<tr class="background"><th scope="row">{pick(lang, "background", "背景")}'
            f"<small>{pick(lang, 'learned', '学出来的')}</small></th><td>–</td>{cells}</tr>"
        )
    titles = "".join(f'<th scope="col">{name}</th>' for name in head)
    return (
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid atlas-vild-row"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def proposal_marks(found: Detection) -> list[Mark]:
    """All proposals as boxes without a name, each a group of its own."""
    rows = zip(found.proposals.tolist(), found.objectness.tolist(), strict=True)
    return [
        Mark(tuple(box), "", sure, NEITHER, at, "proposal", False, at) for at, (box, sure) in enumerate(rows)
    ]


# --- variants, and what was found --------------------------------------------------------------------------


def overlap(box: Sequence[float] | np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of a box [4] with boxes [R, 4] -> [R]."""
    one = np.asarray(box, float)
    sides = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])
    inner = np.clip(sides, 0, None).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1) + (one[2:] - one[:2]).prod()
    return inner / np.maximum(areas - inner, 1e-9)


def matches(found: Detection, things: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """[R, K] bool: whether a box lies on one of K things, {"en", "zh", "visible_box"} (IoU 0.5), under the thing's name."""
    rows = []
    names = [label.lower() for label in found.labels]
    for thing in things:
        own = np.array([name in (thing["en"].lower(), thing["zh"]) for name in names])
        rows.append(own[found.label_indices] & (overlap(thing["visible_box"], found.boxes) >= SAME))
    return np.array(rows, bool).reshape(len(things), len(found.boxes)).T


def right(found: Detection, things: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """[R] bool: whether each box is on a thing of its name."""
    return np.asarray(matches(found, things).any(1))


def tally(found: Detection, things: Sequence[Mapping[str, Any]], lang: str) -> str:
    """How many of the things that were asked for were found, base and novel apart; "" where none is known."""
    kinds = dict(zip((label.lower() for label in found.labels), found.base, strict=True))
    found_ones = np.asarray(matches(found, things).any(0))
    counts = {True: [0, 0], False: [0, 0]}  # by base: found, asked
    for thing, hit in zip(things, found_ones.tolist(), strict=True):
        base = kinds.get(thing["en"].lower(), kinds.get(thing["zh"]))
        if base is not None:
            counts[base][0] += hit
            counts[base][1] += 1
    parts = [
        pick(lang, f"{hit} of {asked} {kind_of(base, lang)}", f"{kind_of(base, lang)} {hit} / {asked}")
        for base, (hit, asked) in counts.items()
        if asked
    ]
    return pick(lang, "Found: ", "找对：") + pick(lang, ", ", "，").join(parts) if parts else ""


def side_by_side(
    image: Image.Image, answers: Sequence[Detection], things: Sequence[Mapping[str, Any]], lang: str
) -> str:
    """A card for each variant: the same picture and labels."""
    cards = []
    for found in answers:
        name, what = VARIANTS[found.variant].get(lang), WHAT[found.variant].get(lang)
        boxes = pick(lang, f"{len(found.boxes)} boxes", f"{len(found.boxes)} 个框")
        score = tally(found, things, lang)
        said = f"<b>{score}</b> · {boxes}" if score else f"<b>{boxes}</b>"
        cards.append(
            f"<article><h3>{name}</h3>{detect_draw.overlay(image, marks(found), lang, side=480, letters=32)}"
            f'<p>{said}</p><p class="atlas-line">{what}</p></article>'
        )
    return f'{key(lang)}<div class="atlas-vild-cards">{"".join(cards)}</div>'


def best_scores(answers: Sequence[Detection], lang: str) -> str:
    """The highest probability of each label under each variant: rows are labels."""
    first = answers[0]
    head = "".join(f'<th scope="col">{VARIANTS[found.variant].get(lang)}</th>' for found in answers)
    body = ""
    for at, label in enumerate(first.labels):
        tops = [float(found.class_scores[:, at].max(initial=0)) for found in answers]
        cells = "".join(
            f'<td{" class=best" if top == max(tops) else ""} style="--share:{100 * top:.1f}%">{draw.percent(top)}</td>'
            for top in tops
        )
        body += f'<tr><th scope="row">{html.escape(label)}<small>{kind_of(first.base[at], lang)}</small></th>{cells}</tr>'
    title = pick(lang, "The highest probability of each label", "每个标签的最高概率")
    return (
        f'<h3 class="atlas-vild-title">{title}</h3><div class="atlas-scroll" tabindex="0">'
        f'<table class="atlas-grid"><thead><tr><td></td>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def closed_and_open(image: Image.Image, closed: Detection, found: Detection, lang: str) -> str:
    """What a detector with a fixed list says of the picture beside what the labels of the page find."""
    count = len(closed.labels)
    titles = (
        pick(
            lang,
            f"A closed detector: its last layer has {count} base categories, and nothing else can ever be said",
            f"封闭词表的检测器：最后一层只有 {count} 个基础类，别的永远说不出来",
        ),
        pick(lang, "ViLD with your labels", "ViLD 用你的标签"),
    )
    cards = "".join(
        f"<article><h3>{title}</h3>{detect_draw.overlay(image, marks(one), lang, side=640, letters=36)}</article>"
        for title, one in zip(titles, (closed, found), strict=True)
    )
    return f'{key(lang)}<div class="atlas-vild-two">{cards}</div>'
