"""A grounding as HTML: boxes and the phrases of the prompt in the same colours, the alignment, the measured numbers.

Pure functions of plain values. The browser answers a click on a phrase or a box and a move of the threshold
(`assets/js/grounding.js`): every box above the floor is in the page with its score.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from demos.draw import base, boxes, masks
from demos.draw.boxes import Mark
from demos.glip.words import say
from demos.kit.html import Markup, grid, join, row, scroll, share, tag

if TYPE_CHECKING:
    from core.detection.result import Grounding

Row = Mapping[str, Any]  # of the report card, with "title" and "split_title" in the reader's language

CROP_SIDE = 96  # pixels of the long side of a cut-out
MAX_ROWS, MAX_WORDS, MAX_LISTED = 12, 24, 40  # of a matrix, and of the table of boxes
MANY = 24  # phrases from which a sentence is set in small type


def above(grounding: Grounding, threshold: float) -> np.ndarray:
    """[R] which boxes reach the threshold, or are of a phrase with a least score of its own."""
    return (grounding.scores >= threshold) | np.isin(grounding.phrase_indices, grounding.settled)


def colours(grounding: Grounding) -> list[str]:
    """A colour for each phrase."""
    return masks.palette(len(grounding.phrases))


# --- boxes and sentence --------------------------------------------------------------------------------------


def marks(grounding: Grounding) -> list[Mark]:
    """The boxes, best first, each in its phrase's colour."""
    names = [phrase.text for phrase in grounding.phrases]
    return boxes.marks_of(
        grounding.boxes, grounding.phrase_indices.tolist(), names, grounding.scores, colours(grounding)
    )


def visible_marks(grounding: Grounding, threshold: float) -> list[Mark]:
    """The boxes that reach the threshold."""
    visible = above(grounding, threshold)
    return [mark for mark, is_visible in zip(marks(grounding), visible, strict=True) if is_visible]


def figure(image: Image.Image, grounding: Grounding, threshold: float, lang: str) -> Markup:
    """The image with its boxes under the prompt; a phrase highlights its boxes and a box its phrase.

    Args:
        image: the caller's image.
        grounding: the answer with every box above the floor.
        threshold: boxes with a lower score are in the HTML, but the browser hides them.
        lang: "en" or "zh".
    """
    tip = say("tip", lang)
    scores = " ".join(f"{score:.4f}" for score in grounding.scores.tolist())
    prompt = sentence(grounding, threshold, lang)
    # `picks` makes the boxes buttons; the script of this page highlights the phrase of the one that is clicked.
    overlay = boxes.overlay(image, marks(grounding), lang, picks="phrase", above=prompt)
    status = f"{count_line(grounding, threshold, lang)} {tip}"
    line = tag("p", status, class_="atlas-line gl-status", role="status", data_tip=tip)
    settled = " ".join(map(str, grounding.settled))  # phrases that the slider does not move
    values = {"data_threshold": f"{threshold:.4f}", "data_scores": scores, "data_settled": settled}
    return tag("div", overlay, line, class_="gl-figure", **values)


def count_line(grounding: Grounding, threshold: float, lang: str) -> str:
    """The number of boxes that reach the threshold, and the best score where none does."""
    count = int(above(grounding, threshold).sum())
    if count and grounding.settled:
        return say("one_settled" if count == 1 else "settled", lang, count=count)
    if count:
        return say("one_box" if count == 1 else "boxes", lang, count=count, threshold=threshold)
    if len(grounding.scores):
        return say("none_reaches", lang, threshold=threshold, best=float(grounding.scores.max()))
    return say("no_match", lang)


def sentence(grounding: Grounding, threshold: float, lang: str) -> Markup:
    """The prompt with each phrase as a button in its colour with its number of boxes; of several prompts each one's start."""
    parts: list[str] = []
    end = 0
    visible = above(grounding, threshold)
    tones = colours(grounding)
    several = len(grounding.prompts) > 1
    starts = {grounding.spans[first][0]: i for i, (first, _) in enumerate(grounding.prompts) if several}
    for at in sorted(range(len(grounding.phrases)), key=lambda at: grounding.phrases[at].start):
        phrase = grounding.phrases[at]
        if phrase.start < end:
            continue  # a phrase inside another has no room of its own
        parts.append(grounding.prompt[end : phrase.start])
        if at in grounding.negatives:
            text, end = grounding.prompt[phrase.start : phrase.end], phrase.end
            parts.append(tag("s", text, title=say("negative", lang), class_="gl-negative"))
            continue
        if (part := starts.get(phrase.start)) is not None:
            parts.append(tag("span", say("prompt", lang, number=part + 1), class_="gl-part"))
        count = int((visible & (grounding.phrase_indices == at)).sum())
        words = grounding.prompt[phrase.start : phrase.end], tag("b", str(count))
        kind, tone = "gl-phrase" if count else "gl-phrase none", f"--tone:{tones[at]}"
        parts.append(
            tag("button", *words, type="button", class_=kind, data_group=at, aria_pressed="false", style=tone)
        )
        end = phrase.end
    parts.append(grounding.prompt[end:])
    if len(grounding.phrases) > MANY:
        return tag("p", *parts, class_="gl-sentence many", tabindex="0")
    return tag("p", *parts, class_="gl-sentence")


def table(image: Image.Image, grounding: Grounding, threshold: float, lang: str) -> Markup:
    """The boxes that reach the threshold, best first: cut-out, phrase, score and corners."""
    rows = np.flatnonzero(above(grounding, threshold))[:MAX_LISTED].tolist()
    tones = colours(grounding)
    body = []
    for at in rows:
        phrase = int(grounding.phrase_indices[at])
        swatch = tag("i", class_="gl-swatch", style=f"background:{tones[phrase]}")
        name = tag("th", swatch, grounding.phrases[phrase].text, scope="row")
        sides = ", ".join(f"{side:.0f}" for side in grounding.boxes[at])
        cells = tag("td", f"{grounding.scores[at]:.3f}"), tag("td", sides)
        body.append(tag("tr", tag("td", thumbnail(image, grounding.boxes[at])), name, *cells))
    head = [say(name, lang) for name in ("box", "phrase", "score", "sides")]
    return grid(head, body, "gl-table")


def thumbnail(image: Image.Image, box: np.ndarray) -> Markup:
    """The content of a box as a thumbnail."""
    return tag("img", class_="gl-crop", alt="", src=boxes.crop_uri(image, box, CROP_SIDE))


# --- alignment -----------------------------------------------------------------------------------------------


def alignment(image: Image.Image, grounding: Grounding, threshold: float, lang: str) -> Markup:
    """S = O Pᵀ before and after fusion: boxes down, words across, the best word of each box outlined.

    Of a list that took several prompts, each prompt with a box has matrices of its own: a region has read its words alone.
    """
    rows = np.flatnonzero(above(grounding, threshold))
    if not len(rows):
        rows = np.arange(len(grounding.scores))
    rows = rows[:MAX_ROWS]
    prompts = prompt_of(grounding, rows)
    pairs = join(
        _pair(image, grounding, at, rows[prompts == at], lang) for at in np.unique(prompts).tolist() or [0]
    )
    note = say("matrix", lang)
    if len(grounding.prompts) > 1:
        note += say("several_prompts", lang, count=len(grounding.prompts))
    return pairs + tag("p", note, class_="atlas-line")


def prompt_of(grounding: Grounding, rows: np.ndarray) -> np.ndarray:
    """Boxes [R] -> the number of the prompt that each comes from."""
    words = [grounding.phrases[at].words[0] for at in grounding.phrase_indices[rows].tolist()]
    return np.searchsorted([first for first, _ in grounding.prompts], words, side="right") - 1


def _pair(image: Image.Image, grounding: Grounding, at: int, rows: np.ndarray, lang: str) -> Markup:
    """Both matrices of prompt number `at` and the boxes that come from it."""
    every = np.arange(*grounding.prompts[at])  # OmDet-Turbo has no number for words of no phrase
    every = every[np.isfinite(grounding.alignment[np.ix_(rows, every)]).any(0) | (len(rows) == 0)]
    more, words = len(every) - MAX_WORDS, every
    if more > 0:  # no room for all: the words of the boxes' own phrases come first
        phrases = [grounding.phrases[phrase] for phrase in grounding.phrase_indices[rows].tolist()]
        own = [word for phrase in phrases for word in phrase.words]
        words = np.array(list(dict.fromkeys([*own, *every.tolist()]))[:MAX_WORDS])
    matrices = join(
        tag("section", tag("h4", say(title, lang)), matrix(image, grounding, values, rows, words, lang))
        for title, values in (
            ("before_fusion", grounding.alignment_before),
            ("after_fusion", grounding.alignment),
        )
    )
    count = len(grounding.prompts)
    head = tag("h3", say("prompt_of", lang, number=at + 1, count=count)) if count > 1 else ""
    rest = tag("p", say("more_words", lang, more=more), class_="atlas-line") if more > 0 else ""
    return tag("div", head, matrices, class_="gl-matrices") + rest


def matrix(
    image: Image.Image,
    grounding: Grounding,
    values: np.ndarray,
    rows: np.ndarray,
    words: np.ndarray,
    lang: str,
) -> Markup:
    """These rows and words of one matrix [R, L]."""
    cells = values[np.ix_(rows, words)]
    low, high = (float(cells.min()), float(cells.max())) if cells.size else (0.0, 0.0)
    tints = base.heat_colors((cells - low) / max(high - low, 1e-9))
    tones = colours(grounding)
    phrase_of = {word: at for at, phrase in enumerate(grounding.phrases) for word in phrase.words}
    head = join(
        tag("th", tag("span", grounding.words[word]), scope="col", **_tone(tones, phrase_of.get(word)))
        for word in words.tolist()
    )
    body = []
    for i, at in enumerate(rows.tolist()):
        best = int(cells[i].argmax()) if cells[i].size else -1
        numbers = join(
            tag(
                "td",
                f"{cells[i, j]:.1f}",
                class_="best" if j == best else None,
                style=f"background:rgb({r},{g},{b});color:{_ink(r, g, b)}",
            )
            for j, (r, g, b) in enumerate(tints[i].tolist())
        )
        phrase = int(grounding.phrase_indices[at])
        score = tag("small", f"{100 * float(grounding.scores[at]):.0f}%")
        name = tag("span", grounding.phrases[phrase].text, score)
        region = thumbnail(image, grounding.boxes[at])
        body.append(tag("tr", tag("th", region, name, scope="row", **_tone(tones, phrase)), numbers))
    corner = tag("th", say("region", lang), scope="col")
    rows_of_table = tag("thead", tag("tr", corner, head)) + tag("tbody", *body)
    return scroll(tag("table", rows_of_table, class_="gl-matrix"))


def _tone(tones: Sequence[str], phrase: int | None) -> dict[str, str]:
    """Attributes of a word or a region that belongs to a phrase."""
    return {} if phrase is None else {"class_": "toned", "style": f"--tone:{tones[phrase]}"}


def _ink(red: int, green: int, blue: int) -> str:
    """Black or white, whichever is read more easily on this colour."""
    return "#000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#fff"


# --- numbers -------------------------------------------------------------------------------------------------


def training(steps: Sequence[Mapping[str, Any]], rows: Sequence[Row], lang: str) -> Markup:
    """The steps of self-training, each with its number where the report card has one.

    Args:
        steps: in their order.
        rows: of the report card, with "title": the name of their measure in this language.
        lang: "en" or "zh".
    """
    parts = []
    for step in steps:
        wanted = step.get("measure"), step.get("split")
        found = next((one for one in rows if (one["measure"], one["split"]) == wanted), None)
        number = tag("strong", f"{found['value']:.3f}") + tag("small", found["title"]) if found else ""
        parts.append(tag("li", tag("b", step["title"][lang]), step["text"][lang], number))
    return tag("ol", *parts, class_="gl-way")


def comparison(title: str, rows: Sequence[Row], lang: str) -> Markup:
    """One ablation as a table: variants down, measures across, the best value of each measure marked."""
    if not rows:
        return Markup()
    values = {(one["split"], one["measure"]): float(one["value"]) for one in rows}
    # The heading names the comparison; the column "ablation of fusion: recall@1" is headed "recall@1".
    names = {one["measure"]: re.split(": |，", one["title"], maxsplit=1)[-1] for one in rows}
    best = {name: max(value for (_, of), value in values.items() if of == name) for name in names}
    body = []
    for split, split_title in {one["split"]: one["split_title"] for one in rows}.items():
        cells = []
        for name in names:
            value = values.get((split, name))
            is_best = value == best[name]
            cells.append(tag("td", "–") if value is None else share(value, f"{value:.3f}", best=is_best))
        body.append(row(split_title, *cells))
    note = tag("p", say("compared", lang), tag("code", rows[0]["command"]), class_="atlas-line")
    return tag("h4", title) + grid(["", *names.values()], body) + note
