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
from demos.kit.html import Markup, grid, join, tag
from demos.kit.language import pick

if TYPE_CHECKING:
    from core.detection.result import Grounding

Row = Mapping[str, Any]  # of the report card, with "title" and "split_title" in the reader's language

CROP_SIDE = 96  # pixels of the long side of a cut-out
MAX_ROWS, MAX_WORDS, MAX_LISTED = 12, 24, 40  # of a matrix, and of the table of boxes
MANY = 24  # phrases from which a sentence is set in small type


def above(grounding: Grounding, threshold: float) -> np.ndarray:
    """[R] which boxes reach the threshold."""
    return grounding.scores >= threshold


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
    return [
        mark
        for mark, is_visible in zip(marks(grounding), above(grounding, threshold), strict=True)
        if is_visible
    ]


def figure(image: Image.Image, grounding: Grounding, threshold: float, lang: str) -> Markup:
    """The image with its boxes under the prompt; a phrase highlights its boxes and a box its phrase.

    Args:
        image: the caller's image.
        grounding: the answer with every box above the floor.
        threshold: boxes with a lower score are in the HTML, but the browser hides them.
        lang: "en" or "zh".
    """
    tip = pick(
        lang,
        "Select a phrase or a box to see which belong together. Keyboard: Tab, Enter and Escape.",
        "点击短语或框，查看两者的对应关系。键盘：Tab、回车和 Esc。",
    )
    scores = " ".join(f"{score:.4f}" for score in grounding.scores.tolist())
    # `picks` makes the boxes buttons; the script of this page highlights the phrase of the one that is clicked.
    overlay = boxes.overlay(
        image, marks(grounding), lang, picks="phrase", above=sentence(grounding, threshold, lang)
    )
    return tag(
        "div",
        overlay,
        tag(
            "p",
            f"{count_line(grounding, threshold, lang)} {tip}",
            class_="atlas-line gl-status",
            role="status",
            data_tip=tip,
        ),
        class_="gl-figure",
        data_threshold=f"{threshold:.4f}",
        data_scores=scores,
    )


def count_line(grounding: Grounding, threshold: float, lang: str) -> str:
    """The number of boxes that reach the threshold, and the best score where none does."""
    count = int(above(grounding, threshold).sum())
    if count == 0 and len(grounding.scores):
        best = float(grounding.scores.max())
        return pick(
            lang,
            f"No box scores {threshold:.2f} or more; the best score is {best:.2f}. Lower the minimum score.",
            f"没有得分达到 {threshold:.2f} 的框，最高得分是 {best:.2f}。请降低“最低得分”。",
        )
    if count == 0:
        return pick(lang, "Nothing in the image matches these words.", "图片中没有与这些词对应的内容。")
    unit = "box scores" if count == 1 else "boxes score"
    return pick(
        lang, f"{count} {unit} {threshold:.2f} or more.", f"得分不低于 {threshold:.2f} 的框有 {count} 个。"
    )


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
        if (part := starts.get(phrase.start)) is not None:
            parts.append(tag("span", pick(lang, f"prompt {part + 1}", f"提示 {part + 1}"), class_="gl-part"))
        count = int((visible & (grounding.phrase_indices == at)).sum())
        parts.append(
            tag(
                "button",
                grounding.prompt[phrase.start : phrase.end],
                tag("b", str(count)),
                type="button",
                class_="gl-phrase" if count else "gl-phrase none",
                data_group=at,
                aria_pressed="false",
                style=f"--tone:{tones[at]}",
            )
        )
        end = phrase.end
    parts.append(grounding.prompt[end:])
    many = len(grounding.phrases) > MANY
    return tag(
        "p",
        *parts,
        class_="gl-sentence many" if many else "gl-sentence",
        tabindex="0" if many else None,
    )


def table(image: Image.Image, grounding: Grounding, threshold: float, lang: str) -> Markup:
    """The boxes that reach the threshold, best first: cut-out, phrase, score and corners."""
    rows = np.flatnonzero(above(grounding, threshold))[:MAX_LISTED].tolist()
    tones = colours(grounding)
    head = (
        pick(lang, "box", "框"),
        pick(lang, "phrase", "短语"),
        pick(lang, "score", "得分"),
        pick(lang, "left, top, right, bottom", "左、上、右、下"),
    )
    body = []
    for at in rows:
        phrase = int(grounding.phrase_indices[at])
        swatch = tag("i", class_="gl-swatch", style=f"background:{tones[phrase]}")
        body.append(
            tag(
                "tr",
                tag("td", thumbnail(image, grounding.boxes[at])),
                tag("th", swatch, grounding.phrases[phrase].text, scope="row"),
                tag("td", f"{grounding.scores[at]:.3f}"),
                tag("td", ", ".join(f"{side:.0f}" for side in grounding.boxes[at])),
            )
        )
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
    note = pick(
        lang,
        "Each row is a region (box), each column a word of the prompt as the text encoder splits it. A number is the product of "
        "both features before the sigmoid. The colours of each matrix run from its lowest number (dark blue) to its highest "
        "(yellow). A frame marks the best word of each region.",
        "每一行是一个区域（框），每一列是文本编码器切分出的一个词，数字是两者特征的内积（尚未经过 sigmoid）。每个矩阵的颜色从"
        "最小值（深蓝）到最大值（黄色）。外框标出与该区域最匹配的词。",
    )
    if len(grounding.prompts) > 1:
        note += pick(
            lang,
            f" The list was split into {len(grounding.prompts)} prompts. Words of different prompts do not interact.",
            f"标签表分成了 {len(grounding.prompts)} 个提示，不同提示里的词之间没有交互。",
        )
    return pairs + tag("p", note, class_="atlas-line")


def prompt_of(grounding: Grounding, rows: np.ndarray) -> np.ndarray:
    """Boxes [R] -> the number of the prompt that each comes from."""
    words = [grounding.phrases[at].words[0] for at in grounding.phrase_indices[rows].tolist()]
    return np.searchsorted([first for first, _ in grounding.prompts], words, side="right") - 1


def _pair(image: Image.Image, grounding: Grounding, at: int, rows: np.ndarray, lang: str) -> Markup:
    """Both matrices of prompt number `at` and the boxes that come from it."""
    every = np.arange(*grounding.prompts[at])
    more, words = len(every) - MAX_WORDS, every
    if more > 0:  # no room for all: the words of the boxes' own phrases come first
        own = [
            word
            for phrase in grounding.phrase_indices[rows].tolist()
            for word in grounding.phrases[phrase].words
        ]
        words = np.array(list(dict.fromkeys([*own, *every.tolist()]))[:MAX_WORDS])
    titles = (
        pick(
            lang,
            "Before fusion: image features and text features are independent",
            "融合之前：图像特征和文本特征相互独立",
        ),
        pick(
            lang,
            "After fusion: each side has attended to the other",
            "融合之后：图像和文本已经相互注意过",
        ),
    )
    matrices = join(
        tag("section", tag("h4", title), matrix(image, grounding, values, rows, words, lang))
        for title, values in zip(titles, (grounding.alignment_before, grounding.alignment), strict=True)
    )
    count = len(grounding.prompts)
    title = pick(lang, f"Prompt {at + 1} of {count}", f"第 {at + 1} 个提示，共 {count} 个")
    head = tag("h3", title) if count > 1 else ""
    rest = pick(
        lang,
        f"The words of the boxes' own phrases come first; {more} more words of the prompt are left out.",
        f"先列出各框自己短语中的词；提示中还有 {more} 个词未列出。",
    )
    return tag("div", head, matrices, class_="gl-matrices") + (
        tag("p", rest, class_="atlas-line") if more > 0 else ""
    )


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
    corner = tag("th", pick(lang, "region", "区域"), scope="col")
    rows_of_table = tag("thead", tag("tr", corner, head)) + tag("tbody", *body)
    return tag("div", tag("table", rows_of_table, class_="gl-matrix"), class_="atlas-scroll", tabindex="0")


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
    code = "zh" if lang == "zh" else "en"
    parts = []
    for step in steps:
        wanted = step.get("measure"), step.get("split")
        row = next((row for row in rows if (row["measure"], row["split"]) == wanted), None)
        number = tag("strong", f"{row['value']:.3f}") + tag("small", row["title"]) if row else ""
        parts.append(tag("li", tag("b", step["title"][code]), step["text"][code], number))
    return tag("ol", *parts, class_="gl-way")


def comparison(title: str, rows: Sequence[Row], lang: str) -> Markup:
    """One ablation as a table: variants down, measures across, the best value of each measure marked."""
    if not rows:
        return Markup()
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    values = {(row["split"], row["measure"]): float(row["value"]) for row in rows}
    # The heading names the comparison; the column "ablation of fusion: recall@1" is headed "recall@1".
    names = {row["measure"]: re.split(": |，", row["title"], maxsplit=1)[-1] for row in rows}
    best = {name: max(value for (_, of), value in values.items() if of == name) for name in measures}
    body = []
    for split, split_title in dict.fromkeys((row["split"], row["split_title"]) for row in rows):
        cells = join(
            tag(
                "td",
                f"{values[split, name]:.3f}",
                class_="best" if values[split, name] == best[name] else None,
                style=f"--share:{100 * values[split, name]:.1f}%",
            )
            if (split, name) in values
            else tag("td", "–")
            for name in measures
        )
        body.append(tag("tr", tag("th", split_title, scope="row"), cells))
    note = pick(
        lang,
        "Both networks were trained for the same number of steps and measured on scenes that neither saw in training. "
        "Their weights are not part of the atlas. Command: ",
        "两个网络训练的步数相同，测量所用的场景都没有出现在训练中。它们的权重不随图谱提供。测量命令：",
    )
    return (
        tag("h4", title)
        + grid(["", *(names[name] for name in measures)], body)
        + tag("p", note, tag("code", rows[0]["command"]), class_="atlas-line")
    )
