"""Drawings of the CLIP page: tables of answers, relevance, the value of the attention surface, the map, tensors."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from core import checkpoints, inputs
from demos.clip.words import data, options, say
from demos.draw import base as draw
from demos.draw import scatter
from demos.kit.html import Markup, escape, grid, join, row, scroll, table, tag

if TYPE_CHECKING:
    from core.clip import Classification
    from core.clip.atlas import Projection
    from core.clip.attention import Attention
    from core.clip.contrastive import Contrast
    from core.clip.crops import CropClassification
    from core.clip.edit import Pair
    from core.clip.relevance import Relevance
    from core.clip.stages import Stage

Box = Sequence[float]
THUMBNAIL = 88  # pixels
MAX_COLUMNS, MAX_ROWS = 12, 16  # labels of a table of crops, and of a table of two answers
KINDS = {  # of the points of a map: colour, symbol, size, whether the names are written on a plane
    "this_image": (draw.VERMILION, "diamond", 17, False),
    "images": (draw.BLUE, "circle", 10, False),
    "your_labels": (draw.ORANGE, "square", 11, True),
    "captions": (draw.GREEN, "cross", 8, True),
}
LEAST = 0.005  # a smaller change of a probability counts as none


def thumbnail(image: Image.Image, alt: str = "") -> Markup:
    """A small image in a table."""
    return tag("img", class_="atlas-thumb", alt=alt, src=draw.data_uri(image, THUMBNAIL))


def absence_reading(result: Classification, threshold: float, lang: str) -> Markup:
    """Whether the best label lies nearer to the image than unrelated words do.

    Args:
        result: of the labels.
        threshold: the cosine that 1 in 20 unrelated words reaches on this image.
        lang: "en" or "zh".
    """
    best = int(result.order[0])
    cosine, share = float(result.cosines[best]), draw.percent(float(result.probabilities[best]))
    is_there = cosine >= threshold
    names = ["is_there"] if is_there else ["none_of_these", f"none_{result.normalisation}"]
    values = {"label": escape(result.labels[best]), "cosine": cosine, "threshold": threshold, "share": share}
    sentence = Markup("".join(say(name, lang, **values) for name in names))
    return tag("p", sentence, class_=f"atlas-verdict {'some' if is_there else 'none'}")


# --- templates -----------------------------------------------------------------------------------------------


def cell(answer: Classification, i: int) -> Markup:
    """Label i of an answer in a table of several: probability and cosine, the best label marked."""
    return draw.share_cell(float(answer.probabilities[i]), i == answer.order[0], float(answer.cosines[i]))


def template_table(results: Sequence[Classification], titles: Sequence[str], lang: str) -> Markup:
    """The same labels under several templates: a row for each label, a column for each template."""
    body = [row(label, *(cell(one, i) for one in results)) for i, label in enumerate(results[0].labels)]
    return grid([say("label", lang), *titles], body)


# --- parts of an image ---------------------------------------------------------------------------------------


def crop_table(result: CropClassification, image: Image.Image, lang: str) -> Markup:
    """A row for the whole image and one for each box, a column for each label, the best of each row marked."""
    probabilities = np.vstack([result.whole.probabilities, result.probabilities])
    cosines = np.vstack([result.whole.cosines, result.cosines])
    # The labels that win somewhere come first; a long list is cut behind them.
    columns = sorted(np.argsort(-probabilities.max(axis=0))[:MAX_COLUMNS].tolist())
    images = [image, *(inputs.crop(image, box) for box in result.seen.tolist())]
    names = [say("whole", lang), *(say("box", lang, i=i) for i in range(1, len(images)))]
    body = [
        row(
            thumbnail(part) + tag("br") + name,
            *(draw.share_cell(float(p[i]), i == c.argmax(), float(c[i])) for i in columns),
        )
        for name, part, p, c in zip(names, images, probabilities, cosines, strict=True)
    ]
    hidden = len(result.labels) - len(columns)
    note = say("crops_note", lang) + (say("crops_more", lang, hidden=hidden) if hidden else "")
    head = [say("part", lang), *(result.labels[i] for i in columns)]
    return grid(head, body) + tag("p", note, class_="atlas-line")


def crops_csv(result: CropClassification) -> str:
    """A row for each part and label, as CSV."""
    answer = result.to_json()
    parts = [("whole", [""] * 4, answer["whole"])]
    parts += [(str(i), crop["box"], crop["results"]) for i, crop in enumerate(answer["crops"], start=1)]
    head = ["part", "left", "top", "right", "bottom", "label", "probability", "cosine"]
    cells = ([part, *map(str, box), *one.values()] for part, box, rows in parts for one in rows)
    return draw.csv_of(head, cells)


def language_table(english: Classification, chinese: Classification, lang: str) -> Markup:
    """The same labels in two languages: both answers, whether they agree, and what that means.

    Args:
        english, chinese: label i of one means label i of the other.
        lang: of the sentences.
    """
    checkpoint = checkpoints.row(english.checkpoint)
    best = [int(one.order[0]) for one in (english, chinese)]
    body = [
        row(english.labels[i], cell(english, i), tag("th", chinese.labels[i], scope="row"), cell(chinese, i))
        for i in range(len(english.labels))
    ]
    # Independent of the image: does each Chinese label lie nearest to the English label of the same meaning?
    near = (chinese.text_features @ english.text_features.T).argmax(axis=1)  # [N]
    twins, same = int((near == np.arange(len(near))).sum()), best[0] == best[1]
    facts = say("agreeing" if same else "differing", lang, twins=twins, labels=len(near))
    alike = "reads_both" if same and twins == len(near) else "reads_unlike"
    meaning = say(alike if "zh" in checkpoint.languages else "english_only", lang)
    title = tag("h4", checkpoint.title["zh" if lang == "zh" else "en"], class_="atlas-sub")
    head = [say("english_labels", lang), "", say("chinese_labels", lang), ""]
    return (
        title
        + grid(head, body)
        + tag("p", facts + meaning, class_=f"atlas-verdict {'some' if same else 'none'}")
    )


# --- two answers ---------------------------------------------------------------------------------------------


def sides(titles: Sequence[str], images: Sequence[Image.Image]) -> Markup:
    """What is compared, large and side by side: letter, title, image."""
    figures = join(
        tag(
            "figure",
            tag("img", alt="", src=draw.data_uri(image, 460)),
            tag("figcaption", tag("b", letter, class_=f"side-{letter}"), " ", title),
        )
        for letter, title, image in zip("AB", titles, images, strict=True)
    )
    return tag("div", figures, class_="atlas-pair-sides")


def pair_table(pair: Pair, lang: str) -> Markup:
    """A row for each label: both probabilities as bars, and how far it moved; the most probable label first."""
    answers = (pair.first, pair.second)
    largest = np.maximum(pair.first.probabilities, pair.second.probabilities)
    body = []
    for i in np.argsort(-largest, kind="stable")[:MAX_ROWS].tolist():
        bars = []
        for letter, one in zip("AB", answers, strict=True):
            share, best = float(one.probabilities[i]), int(one.order[0]) == i
            text = f"{letter} {'✓ ' if best else ''}{draw.percent(share)}"
            filled = tag("i", style=f"width:{100 * share:.2f}%")
            bars.append(tag("span", filled, tag("em", text), class_=f"side-{letter}{' won' if best else ''}"))
        moved = float(pair.moved[i])
        kind, sign = ("", "=") if abs(moved) < LEAST else (" up", "▲") if moved > 0 else (" down", "▼")
        change = f"{sign} {100 * abs(moved):.1f}" if kind else sign
        body.append(row(pair.first.labels[i], tag("td", *bars), tag("td", change, class_=f"moved{kind}")))
    head = [say(name, lang) for name in ("label", "a_and_b", "change")]
    return table(head, body, "atlas-pair")


def pair_verdict(pair: Pair, lang: str) -> Markup:
    """Whether the best label changed, and how alike the two images are to the model."""
    first, second = (one.labels[int(one.order[0])] for one in (pair.first, pair.second))
    shares = [draw.percent(float(one.probabilities.max())) for one in (pair.first, pair.second)]
    sentence = "both_best" if first == second else "best_changes"
    text = say(sentence, lang, first=first, second=second, shares=shares)
    alike = pair.similarity
    text += say("no_scale", lang) if alike is None else say("similarity", lang, cosine=alike)
    return tag("p", text, class_=f"atlas-verdict {'some' if first == second else 'none'}")


def pair_files(name: str, pair: Pair) -> list[Any]:
    """Two answers as JSON and CSV: for each label probability and cosine of A, of B, the change of the probability."""
    columns = [values for one in (pair.first, pair.second) for values in (one.probabilities, one.cosines)]
    cells = zip(pair.first.labels, *(values.tolist() for values in (*columns, pair.moved)), strict=True)
    head = ["label", "probability_a", "cosine_a", "probability_b", "cosine_b", "moved"]
    table = draw.csv_of(head, cells)
    return [draw.json_file(f"{name}.json", pair.to_json()), draw.csv_file(f"{name}.csv", table)]


# --- a batch -------------------------------------------------------------------------------------------------


def batch_table(
    images: Sequence[Image.Image], captions: Sequence[str], contrast: Contrast, lang: str
) -> Markup:
    """The matrix [n, n] of a small batch: images in rows, captions in columns, the positive pairs marked."""

    def pair(cosine: float, target: float) -> Markup:
        name, kind = ("positive", "best") if target else ("negative", None)
        return tag("td", say(name, lang), tag("small", f"{cosine:+.3f}"), class_=kind)

    rows = zip(images, captions, contrast.cosines, contrast.targets, strict=True)
    body = [row(thumbnail(image, text), *map(pair, *values)) for image, text, *values in rows]
    return grid(["", *captions], body)


# --- relevance -------------------------------------------------------------------------------------------


def relevance_cards(
    maps: Sequence[Relevance], image: Image.Image, boxes: Sequence[Sequence[Box]], lang: str
) -> Markup:
    """A row for each label with an image for each method, on which the known boxes of the label are drawn.

    Args:
        maps: one for each method, of the same labels.
        image: the caller's image.
        boxes: for each label the boxes of the things it names, xyxy pixels; none where nothing is known.
        lang: "en" or "zh".
    """
    answer, several = maps[0].answer, len(maps) > 1
    sections = []
    for i in answer.order.tolist():
        facts = f"{draw.percent(float(answer.probabilities[i]))} · {answer.cosines[i]:+.3f}"
        cards = (_relevance_card(one, image, i, boxes[i], several, lang) for one in maps)
        head = tag("h4", tag("span", answer.labels[i]), " ", tag("small", facts))
        sections.append(tag("section", head, tag("div", *cards)))
    note = tag("p", say("heat", lang), class_="atlas-line")
    return tag("div", *sections, class_=f"atlas-where{' many' if several else ''}") + note


def _relevance_card(
    one: Relevance, image: Image.Image, label: int, boxes: Sequence[Box], named: bool, lang: str
) -> Markup:
    from core.clip.relevance import share_inside

    overlay = draw.heat_overlay(image, one.maps[label], one.answer.crop)
    pen = ImageDraw.Draw(overlay)
    for box in boxes:
        edge = inputs.to_pixels(image, box).round().tolist()
        pen.rectangle(edge, outline="black", width=max(4, image.width // 90))
        pen.rectangle(edge, outline="white", width=max(2, image.width // 180))
    title = options("methods")[one.method].get(lang)
    alt = say("heat_alt", lang, method=title, label=one.answer.labels[label])
    parts = [tag("b", title)] if named else []
    if boxes:
        share, area = share_inside(one.maps[label], one.answer.crop, boxes)
        parts.append(tag("span", say("in_box", lang, inner=share, area=area)))
    caption = tag("figcaption", join(parts, " ")) if parts else ""
    return tag("figure", tag("img", alt=alt, src=draw.data_uri(overlay, 420)), caption)


# --- attention, map, tensors -----------------------------------------------------------------------------


def attention_value(attention: Attention, image: Image.Image, request: object = None) -> str:
    """The value of the attention surface: every map as bytes, each stretched to its own peak.

    `request` is the surface's own number of its request: with it the surface notices an answer that a later request overtook.
    """
    layers, heads, rows, columns = attention.weights.shape
    flat = attention.weights.reshape(layers * heads, -1)
    peaks = flat.max(axis=1)
    scaled = (255 * flat / np.maximum(peaks, 1e-12)[:, None]).round().astype(np.uint8)
    return json.dumps(
        {
            "src": draw.data_uri(image, 640),
            "crop": (np.array(attention.crop) / np.array(inputs.size_of(image) * 2)).round(4).tolist(),
            "layers": list(attention.layers),
            "heads": heads,
            "grid": [rows, columns],
            "maps": base64.b64encode(scaled.tobytes()).decode(),
            "peaks": peaks.astype(float).round(5).tolist(),
            "kept": attention.kept.astype(float).round(4).tolist(),
            "mean": list(attention.mean),
            "reader": list(attention.reader) if attention.reader else None,
            "ramp": draw.HEAT.tolist(),
            "at": layers - 1,
            "asked": request if isinstance(request, int) else None,
        }
    )


def map_figure(
    made: Projection,
    names: Sequence[str],
    kinds: Sequence[str],
    thumbnails: Sequence[str | None],
    pairs: Sequence[tuple[int, int]],
    lang: str,
) -> Any:
    """Images and texts of one space as a plotly figure; `kinds` of `KINDS`, the rest as of `scatter.figure`."""
    looks = {kind: scatter.Kind(say(kind, lang), *look) for kind, look in KINDS.items()}
    axes = [say("axis", lang, number=k, share=share) for k, share in enumerate(made.explained, start=1)]
    return scatter.figure(made.points, names, kinds, looks, thumbnails, pairs, axes)


def map_note(made: Projection, centred: bool, lang: str) -> Markup:
    """The distance between images and texts, and how much of the space the map shows."""
    gap, moved = say("gap", lang, gap=made.gap), say("moved", lang) if centred else ""
    rest = say("variance", lang, share=float(made.explained.sum()))
    return tag("p", gap + moved + rest, class_="atlas-line")


def nearest_table(captions: Sequence[str], cosines: Sequence[float], pool: int, lang: str) -> Markup:
    """The captions nearest to the image, best first, with their cosines as bars."""
    low, high = min(0.0, *cosines), max(cosines)
    bars = [draw.bar((value - low) / max(high - low, 1e-9)) for value in cosines]
    values = [tag("td", f"{value:+.3f}") for value in cosines]
    head = [say("nearest", lang, pool=pool), "", say("cosine", lang)]
    return draw.ranking(head, captions, bars, values)


def stage_table(stages: Sequence[Stage], lang: str) -> Markup:
    """The tensors from the image to the probabilities: name, shape, mean and deviation, an image of the values."""
    head = [say(name, lang) for name in ("tensor", "shape", "values")]
    made = table(head, (_stage_row(stage, lang) for stage in stages), "atlas-tensors")
    return scroll(made) + tag("p", say("colours", lang), class_="atlas-line")


def _stage_row(stage: Stage, lang: str) -> Markup:
    known = data()["stages"]
    meaning = known.get(stage.name) or known[re.sub(r"\d+$", "", stage.name)]
    shape = " × ".join(map(str, stage.shape))
    words = tag("small", meaning["zh" if lang == "zh" else "en"])
    return row(
        tag("code", stage.name) + words,
        tag("td", tag("b", shape), tag("small", f"{stage.mean:+.3f} ± {stage.deviation:.3f}")),
        tag("td", tag("img", alt="", src=draw.png_uri(stage.picture))),
        kind=stage.kind,
    )
