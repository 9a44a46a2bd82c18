"""A detection as HTML: boxes of base labels in blue and of novel ones in red, a region and its scores, variants side by side.

Pure functions of `core.detection.Detection`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from demos.draw import base as draw
from demos.draw import boxes
from demos.draw.boxes import Entry, Mark
from demos.kit.html import Markup, escape, grid, join, row, share, tag
from demos.kit.language import Text
from demos.vild.words import data, say

if TYPE_CHECKING:
    from core.detection import Detection

Things = Sequence[Mapping[str, Any]]  # known things of a scene: {"en", "zh", "visible_box"}

BASE, NOVEL = draw.BLUE, draw.VERMILION
VARIANTS = {name: Text(**texts["title"]) for name, texts in data()["variants"].items()}
MOST_ROWS = 24  # labels in the table of a region
SAME_PLACE = 0.5  # IoU from which two boxes are on one thing
CONTEXT = 1.5  # the larger crop of a region
CARD_SIDE, PAIR_SIDE = 480, 640  # pixels of the images that stand side by side


def kind_of(base: bool, lang: str) -> str:
    """ "base" or "novel" in a language."""
    return say("base" if base else "novel", lang)


def colour_of(base: bool) -> str:
    """The colour of a label."""
    return BASE if base else NOVEL


def marks(detection: Detection) -> list[Mark]:
    """The boxes of an answer; a click passes on the place of a box in it."""
    groups, colours = detection.label_indices.tolist(), list(map(colour_of, detection.base))
    made = boxes.marks_of(detection.boxes, groups, detection.labels, detection.scores, colours)
    kinds = (("base" if detection.base[mark.group] else "novel") for mark in made)
    return [replace(mark, kind=kind, dashed=kind == "novel") for mark, kind in zip(made, kinds, strict=True)]


def legend(detection: Detection, lang: str) -> list[Entry]:
    """Every label with its kind and its number of boxes."""
    counts = np.bincount(detection.label_indices, minlength=len(detection.labels)).tolist()
    entries = []
    for at, (label, is_base) in enumerate(zip(detection.labels, detection.base, strict=True)):
        number = say("box" if counts[at] == 1 else "boxes", lang, count=counts[at])
        number = say("negative", lang) if at in detection.negatives else number
        note = f"{kind_of(is_base, lang)} · {number}"
        entries.append(Entry(label, colour_of(is_base), at, note, not is_base))
    return entries


def figure(image: Image.Image, detection: Detection, lang: str, picks: str = "") -> Markup:
    """The answer: the key of the colours, the image with its boxes, and the legend."""
    entries = legend(detection, lang)
    html = colour_key(lang) + boxes.overlay(image, marks(detection), lang, entries=entries, picks=picks)
    if not len(detection.boxes):
        return html + tag("p", say("no_box", lang), class_="atlas-hint")
    return html + (tag("p", say("tip", lang), class_="atlas-line") if picks else "")


def swatch(base: bool) -> Markup:
    """A small square in the colour of a label."""
    return tag("i", class_=None if base else "dashed", style=f"--c:{colour_of(base)}")


def colour_key(lang: str) -> Markup:
    """The meaning of the two colours."""
    base = tag("span", swatch(True), say("base_key", lang))
    novel = tag("span", swatch(False), say("novel_key", lang))
    return tag("p", base, novel, class_="atlas-vild-key")


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
    sides = dict(zip(("left", "top", "right", "bottom"), map(round, box.tolist()), strict=True))
    count, objectness = len(detection.proposals), detection.objectness[at]
    facts = say("region", lang, number=at + 1, count=count, objectness=objectness, **sides)
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
    head = [say("label", lang), say("cosine", lang), say("probability", lang)]
    head += [f"ViLD-{name}" for name in parts]
    rows = []
    for label in order:
        is_base, cosine = detection.base[label], float(detection.cosines[at, label])
        name = swatch(is_base) + detection.labels[label] + tag("small", kind_of(is_base, lang))
        cells = [share(max(cosine, 0), f"{cosine:+.3f}")]
        cells += [_probability(scores[at, label]) for scores in (detection.class_scores, *parts.values())]
        rows.append(row(name, *cells, kind="best" if label == order[0] else None))
    if detection.background.any():
        name = tag("small", say("learned", lang))
        filled, empty = _probability(detection.background[at]), tag("td", "–")
        # In an ensemble only the text head has a background.
        cells = [empty, empty, filled, empty] if parts else [empty, filled]
        rows.append(row(escape(say("background", lang)) + name, *cells, kind="background"))
    return grid(head, rows, "atlas-vild-row")


def _probability(value: float, best: bool = False) -> Markup:
    """A cell with a bar behind a probability."""
    return share(value, draw.percent(float(value)), best=best)


def proposal_marks(detection: Detection) -> list[Mark]:
    """All proposals as boxes without a name, each a group of its own."""
    names, colours = ([one] * len(detection.proposals) for one in ("", draw.VERMILION))
    return boxes.marks_of(detection.proposals, range(len(names)), names, detection.objectness, colours)


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
    hits: dict[bool, list[bool]] = {True: [], False: []}  # by base: whether each thing was detected
    is_detected: list[bool] = np.asarray(matches(detection, things).any(0)).tolist()
    for thing, is_hit in zip(things, is_detected, strict=True):
        base = bases.get(thing["en"].lower(), bases.get(thing["zh"]))
        if base is not None:
            hits[base].append(is_hit)
    parts = [
        say("correct", lang, hits=sum(one), count=len(one), kind=kind_of(base, lang))
        for base, one in hits.items()
        if one
    ]
    return say("detected", lang, parts=say("comma", lang).join(parts)) if parts else ""


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
        number = say("boxes", lang, count=len(one.boxes))
        recall = recall_line(one, things, lang)
        line = tag("p", tag("b", recall), f" · {number}") if recall else tag("p", tag("b", number))
        description = tag("p", data()["variants"][one.variant]["text"][lang], class_="atlas-line")
        head = card(VARIANTS[one.variant].get(lang), image, one, lang, CARD_SIDE, 32)
        cards.append(tag("article", head, line, description))
    return colour_key(lang) + tag("div", *cards, class_="atlas-vild-cards")


def best_scores(detections: Sequence[Detection], lang: str) -> Markup:
    """The highest probability of each label under each variant."""
    first = detections[0]
    rows = []
    for at, label in enumerate(first.labels):
        tops = [float(one.class_scores[:, at].max(initial=0)) for one in detections]
        name = escape(label) + tag("small", kind_of(first.base[at], lang))
        rows.append(row(name, *(_probability(top, best=top == max(tops)) for top in tops)))
    head = ["", *(VARIANTS[one.variant].get(lang) for one in detections)]
    return tag("h3", say("best_scores", lang), class_="atlas-vild-title") + grid(head, rows)


def closed_and_open(image: Image.Image, closed: Detection, open_: Detection, lang: str) -> Markup:
    """The answer of a detector with a fixed list of categories beside the answer to the page's labels."""
    titles = say("closed", lang, count=len(closed.labels)), say("open", lang)
    return pair(titles, image, (closed, open_), lang)
