"""What GLIP answers into HTML: boxes and the sentence they answer to in the same colours, the alignment, the lessons.

Pure functions of plain values. A click on a phrase or a box is answered in the browser (`assets/js/grounding.js`), and so
is the threshold: every box above the floor is in the page with its score.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from demos.draw import base as draw
from demos.draw import boxes as detect_draw
from demos.draw import masks as segment_draw
from demos.draw.boxes import Mark
from demos.kit.language import pick

if TYPE_CHECKING:
    from core.detection.result import Grounding

Row = Mapping[str, Any]  # of the report card, with "title" and "split_title" in the reader's language

CROP_SIDE = 96  # pixels of the long side of a small picture
MAX_ROWS, MAX_WORDS, MAX_LISTED = 12, 24, 40  # of a matrix, and of the table of boxes
MANY = 24  # phrases from which a sentence is set small


def above(grounding: Grounding, threshold: float) -> np.ndarray:
    """[R] which boxes reach the threshold."""
    return grounding.scores >= threshold


def colours(grounding: Grounding) -> list[str]:
    """A colour for each phrase."""
    return segment_draw.palette(len(grounding.phrases))


# --- boxes and sentence --------------------------------------------------------------------------------------


def marks(grounding: Grounding) -> list[Mark]:
    """The boxes, best first, each in its phrase's colour."""
    names = [phrase.text for phrase in grounding.phrases]
    return detect_draw.marks_of(
        grounding.boxes, grounding.phrase_indices.tolist(), names, grounding.scores, colours(grounding)
    )


def visible_marks(grounding: Grounding, threshold: float) -> list[Mark]:
    """The boxes that reach the threshold."""
    return [mark for mark, shown in zip(marks(grounding), above(grounding, threshold), strict=True) if shown]


def figure(image: Image.Image, grounding: Grounding, threshold: float, lang: str) -> str:
    """The picture with its boxes under the sentence with its phrases; each side shows the other, by mouse or keyboard.

    Args:
        image: the caller's picture.
        grounding: the answer with every box above the floor.
        threshold: boxes that score less are there, but the browser hides them.
        lang: "en" or "zh".
    """
    tip = pick(
        lang,
        "Press a phrase or a box to see what belongs to it. Keyboard: Tab, Enter and Escape.",
        "点击一个短语或一个框，看看谁和它对应。键盘：Tab、回车和 Esc。",
    )
    scores = " ".join(f"{score:.4f}" for score in grounding.scores.tolist())
    # `picks` makes the boxes buttons; here a press on one lights up its phrase.
    boxes = detect_draw.overlay(
        image, marks(grounding), lang, picks="phrase", above=sentence(grounding, threshold, lang)
    )
    return (
        f'<div class="gl-figure" data-threshold="{threshold:.4f}" data-scores="{scores}">{boxes}'
        f'<p class="atlas-line gl-said" role="status" data-tip="{tip}">{count_line(grounding, threshold, lang)} {tip}</p>'
        "</div>"
    )


def count_line(grounding: Grounding, threshold: float, lang: str) -> str:
    """How many boxes reach the threshold, and what the best one scores where none does."""
    count = int(above(grounding, threshold).sum())
    if count == 0 and len(grounding.scores):
        best = float(grounding.scores.max())
        return pick(
            lang,
            f"No box reaches {threshold:.2f}; the best one scores {best:.2f}. Move the threshold to the left.",
            f"没有框达到 {threshold:.2f}；最好的只有 {best:.2f}。请把阈值向左移。",
        )
    if count == 0:
        return pick(lang, "Nothing in the picture answers to these words.", "图里没有任何地方回应这些词。")
    boxes = "box" if count == 1 else "boxes"
    return pick(lang, f"{count} {boxes} at {threshold:.2f}.", f"阈值 {threshold:.2f} 时有 {count} 个框。")


def sentence(grounding: Grounding, threshold: float, lang: str) -> str:
    """The prompt with each phrase as a button in its colour, and how many boxes it has; where each prompt of several begins."""
    parts, end = [], 0
    shown = above(grounding, threshold)
    tones = colours(grounding)
    starts = {
        grounding.spans[first][0]: i
        for i, (first, _) in enumerate(grounding.prompts)
        if len(grounding.prompts) > 1
    }
    for at in sorted(range(len(grounding.phrases)), key=lambda at: grounding.phrases[at].start):
        phrase = grounding.phrases[at]
        if phrase.start < end:
            continue  # a phrase inside another has no room of its own
        count = int((shown & (grounding.phrase_indices == at)).sum())
        parts.append(html.escape(grounding.prompt[end : phrase.start]))
        if (part := starts.get(phrase.start)) is not None:
            parts.append(
                f'<span class="gl-part">{pick(lang, f"prompt {part + 1}", f"提示 {part + 1}")}</span>'
            )
        parts.append(
            f'<button type="button" class="gl-phrase{"" if count else " none"}" data-group="{at}" aria-pressed="false" '
            f'style="--tone:{tones[at]}">{html.escape(grounding.prompt[phrase.start : phrase.end])}<b>{count}</b></button>'
        )
        end = phrase.end
    parts.append(html.escape(grounding.prompt[end:]))
    many = " many" if len(grounding.phrases) > MANY else ""
    return f'<p class="gl-sentence{many}"{" tabindex=0" if many else ""}>{"".join(parts)}</p>'


def table(image: Image.Image, grounding: Grounding, threshold: float, lang: str) -> str:
    """Every box that reaches the threshold, best first: its cut-out, phrase, score and corners."""
    rows = np.flatnonzero(above(grounding, threshold))[:MAX_LISTED].tolist()
    tones = colours(grounding)
    head = (
        pick(lang, "box", "框"),
        pick(lang, "phrase", "短语"),
        pick(lang, "score", "得分"),
        pick(lang, "left, top, right, bottom", "左、上、右、下"),
    )
    body = "".join(
        f"<tr><td>{thumbnail(image, grounding.boxes[at])}</td>"
        f'<th scope="row"><i class="gl-swatch" style="background:{tones[int(grounding.phrase_indices[at])]}"></i>'
        f"{html.escape(grounding.phrases[int(grounding.phrase_indices[at])].text)}</th><td>{grounding.scores[at]:.3f}</td>"
        f"<td>{', '.join(f'{side:.0f}' for side in grounding.boxes[at])}</td></tr>"
        for at in rows
    )
    cells = "".join(f'<th scope="col">{text}</th>' for text in head)
    return (
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid gl-table"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def thumbnail(image: Image.Image, box: np.ndarray) -> str:
    """What lies in a box, small."""
    return f'<img class="gl-crop" alt="" src="{detect_draw.crop_uri(image, box, CROP_SIDE)}">'


# --- alignment -----------------------------------------------------------------------------------------------


def alignment(image: Image.Image, grounding: Grounding, threshold: float, lang: str) -> str:
    """S = O Pᵀ before and after fusion: boxes down, words across, the best word of each box outlined.

    Of a list that took several prompts, each prompt with a box is shown by itself: a region has read its words alone.
    """
    rows = np.flatnonzero(above(grounding, threshold))
    if not len(rows):
        rows = np.arange(len(grounding.scores))
    rows = rows[:MAX_ROWS]
    read = prompt_of(grounding, rows)
    pairs = "".join(
        _pair(image, grounding, at, rows[read == at], lang) for at in np.unique(read).tolist() or [0]
    )
    note = pick(
        lang,
        "A row is a region (box), a column a word as the language side reads it; the number is their product before the "
        "sigmoid. Colours run from the lowest (dark blue) to the highest (yellow) number of each matrix; a frame marks each "
        "region's best word.",
        "一行是一个区域（框），一列是语言端读到的一个词；数字是两者的内积（sigmoid 之前）。颜色从各矩阵的最小值（深蓝）到最大值"
        "（黄色）；外框标出每个区域最配的词。",
    )
    several = len(grounding.prompts) > 1
    parts = pick(
        lang,
        f" The list took {len(grounding.prompts)} prompts; words of different prompts never read each other.",
        f"标签表分成了 {len(grounding.prompts)} 个提示；不同提示里的词互相读不到。",
    )
    return f'{pairs}<p class="atlas-line">{note}{parts if several else ""}</p>'


def prompt_of(grounding: Grounding, rows: np.ndarray) -> np.ndarray:
    """Of boxes [R], which of the prompts each was found with."""
    words = [grounding.phrases[at].words[0] for at in grounding.phrase_indices[rows].tolist()]
    return np.searchsorted([first for first, _ in grounding.prompts], words, side="right") - 1


def _pair(image: Image.Image, grounding: Grounding, at: int, rows: np.ndarray, lang: str) -> str:
    """Both matrices of prompt number `at` and the boxes that were found with it."""
    every = np.arange(*grounding.prompts[at])
    more, words = len(every) - MAX_WORDS, every
    if more > 0:  # no room for all: those of the boxes' own phrases come first
        own = [
            word
            for phrase in grounding.phrase_indices[rows].tolist()
            for word in grounding.phrases[phrase].words
        ]
        words = np.array(list(dict.fromkeys([*own, *every.tolist()]))[:MAX_WORDS])
    titles = (
        pick(lang, "Before fusion: each side has read only itself", "融合之前：图和文各自只读过自己"),
        pick(
            lang,
            "After fusion: regions have read the words, words the regions",
            "融合之后：区域读过词，词也读过区域",
        ),
    )
    shown = "".join(
        f"<section><h4>{title}</h4>{matrix(image, grounding, values, rows, words, lang)}</section>"
        for title, values in zip(titles, (grounding.alignment_before, grounding.alignment), strict=True)
    )
    head = ""
    if len(grounding.prompts) > 1:
        count = len(grounding.prompts)
        head = f"<h3>{pick(lang, f'Prompt {at + 1} of {count}', f'第 {at + 1} 个提示，共 {count} 个')}</h3>"
    rest = pick(
        lang,
        f"The boxes' own words come first; {more} more words of the prompt are not shown.",
        f"先列出这些框自己的词；提示里还有 {more} 个词未显示。",
    )
    return f'<div class="gl-matrices">{head}{shown}</div>' + (
        f'<p class="atlas-line">{rest}</p>' if more > 0 else ""
    )


def matrix(
    image: Image.Image,
    grounding: Grounding,
    values: np.ndarray,
    rows: np.ndarray,
    words: np.ndarray,
    lang: str,
) -> str:
    """One matrix [R, L] of which these rows and words are shown."""
    shown = values[np.ix_(rows, words)]
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
    levels = (shown - low) / max(high - low, 1e-9)
    tints = draw.heat_colors(levels)
    tones = colours(grounding)
    of_word = {word: at for at, phrase in enumerate(grounding.phrases) for word in phrase.words}
    head = "".join(
        f'<th scope="col"{_toned(tones, of_word.get(word))}><span>{html.escape(grounding.words[word])}</span></th>'
        for word in words.tolist()
    )
    body = ""
    for i, at in enumerate(rows.tolist()):
        best = int(shown[i].argmax()) if shown[i].size else -1
        cells = "".join(
            f'<td{" class=best" if j == best else ""} style="background:rgb({r},{g},{b});color:{_ink(r, g, b)}">'
            f"{shown[i, j]:.1f}</td>"
            for j, (r, g, b) in enumerate(tints[i].tolist())
        )
        phrase = int(grounding.phrase_indices[at])
        name = html.escape(grounding.phrases[phrase].text)
        body += (
            f'<tr><th scope="row"{_toned(tones, phrase)}>{thumbnail(image, grounding.boxes[at])}'
            f"<span>{name}<small>{100 * float(grounding.scores[at]):.0f}%</small></span></th>{cells}</tr>"
        )
    corner = pick(lang, "region", "区域")
    return (
        f'<div class="atlas-scroll" tabindex="0"><table class="gl-matrix"><thead><tr><th scope="col">{corner}</th>{head}'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _toned(tones: Sequence[str], phrase: int | None) -> str:
    """The mark of a word or a region that belongs to a phrase."""
    return "" if phrase is None else f' class="toned" style="--tone:{tones[phrase]}"'


def _ink(red: int, green: int, blue: int) -> str:
    """Black or white, whichever is read more easily on this colour."""
    return "#000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#fff"


# --- truth ---------------------------------------------------------------------------------------------------


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[R, 4] and [K, 4], xyxy -> [R, K] intersection over union."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(one[:, 2:] - one[:, :2], 0, None).prod(-1) for one in (boxes, others)]
    return both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-9)


# --- numbers -------------------------------------------------------------------------------------------------


def training(steps: Sequence[Mapping[str, Any]], rows: Sequence[Row], lang: str) -> str:
    """Teacher, pseudo boxes, student, each with its number where the report card has one.

    Args:
        steps: in their order.
        rows: of the report card, with "title": what their measure is called in this language.
        lang: "en" or "zh".
    """
    code = "zh" if lang == "zh" else "en"
    parts = []
    for step in steps:
        wanted = step.get("measure"), step.get("split")
        row = next((row for row in rows if (row["measure"], row["split"]) == wanted), None)
        shown = (
            f"<strong>{row['value']:.3f}</strong><small>{html.escape(row['title'])}</small>" if row else ""
        )
        parts.append(f"<li><b>{step['title'][code]}</b>{step['text'][code]}{shown}</li>")
    return f'<ol class="gl-way">{"".join(parts)}</ol>'


def comparison(title: str, rows: Sequence[Row], lang: str) -> str:
    """One ablation as a table, its variants down and its measures across, the better value of each marked."""
    if not rows:
        return ""
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    values = {(row["split"], row["measure"]): float(row["value"]) for row in rows}
    # The title says what is compared; "ablation of fusion: recall@1" needs not.
    names = {row["measure"]: re.split(": |，", row["title"], maxsplit=1)[-1] for row in rows}
    best = {name: max(value for (_, of), value in values.items() if of == name) for name in measures}
    head = "".join(f'<th scope="col">{html.escape(names[name])}</th>' for name in measures)
    body = ""
    for split, shown in dict.fromkeys((row["split"], row["split_title"]) for row in rows):
        cells = "".join(
            f"<td{' class=best' if values[split, name] == best[name] else ''} "
            f'style="--share:{100 * values[split, name]:.1f}%">{values[split, name]:.3f}</td>'
            if (split, name) in values
            else "<td>–</td>"
            for name in measures
        )
        body += f'<tr><th scope="row">{html.escape(shown)}</th>{cells}</tr>'
    note = pick(
        lang,
        "Both were trained for equally many steps and measured on scenes they never saw; these are numbers only, their weights "
        "are not part of this hub. Measured by ",
        "两者训练的步数相同，在没见过的场景上测量；这里只有数字，它们的权重不在本图谱里。测量命令：",
    )
    return (
        f'<h4>{html.escape(title)}</h4><div class="atlas-scroll" tabindex="0"><table class="atlas-grid"><thead><tr><td></td>'
        f'{head}</tr></thead><tbody>{body}</tbody></table></div><p class="atlas-line">{note}'
        f"<code>{html.escape(rows[0]['command'])}</code></p>"
    )


def number_table(published: Sequence[Mapping[str, Any]], ours: Sequence[Row], lang: str) -> str:
    """What the paper reports, marked as published, and what the report card holds of the miniature."""
    code = "zh" if lang == "zh" else "en"
    rows = "".join(
        f'<tr class="ours"><th scope="row">{html.escape(row["title"])} <small>{html.escape(row["split_title"])}, '
        f"{row['language']}</small></th><td>{row['value']:.3f}</td>"
        f"<td>{pick(lang, 'measured here', '本仓库测得')}: <code>{html.escape(row['command'])}</code></td></tr>"
        for row in ours
    ) + "".join(
        f'<tr class="published"><th scope="row">{html.escape(row["what"][code])}</th><td>{row["value"]}</td>'
        f"<td>{pick(lang, 'published', '已发表')}: {html.escape(row['source'][code])}</td></tr>"
        for row in published
    )
    head = pick(lang, "what", "项目"), pick(lang, "value", "数值"), pick(lang, "where from", "来源")
    cells = "".join(f'<th scope="col">{text}</th>' for text in head)
    note = pick(
        lang,
        "Photographs and drawn scenes are different exams: these rows are not to be compared with each other.",
        "照片和画出来的场景是两种考试：这些行不能互相比较。",
    )
    return (
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid atlas-published"><thead><tr>{cells}</tr></thead>'
        f'<tbody>{rows}</tbody></table></div><p class="atlas-line">{note}</p>'
    )
