"""What the CLIP page's closer looks draw: tables and figures as HTML from plain values and core's results.

Every text that a user typed is escaped here.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core import checkpoints
from demos.draw import base as draw
from demos.kit.language import pick

if TYPE_CHECKING:
    from core.clip.crops import CropClassification

THUMBNAIL = 88  # pixels
SHOWN_LABELS = 12  # columns of a table of crops


def _thumbnail(image: Image.Image, alt: str, side: int = THUMBNAIL) -> str:
    return f'<img class="atlas-thumb" alt="{html.escape(alt)}" src="{draw.data_uri(image, side)}">'


def crop_table(
    result: CropClassification, image: Image.Image, thumbnails: Sequence[Image.Image], lang: str
) -> str:
    """A row for the whole picture and one for each box, a column for each label, the best of each row marked."""
    # The labels that win somewhere come first; a long list is cut behind them.
    order = np.argsort(-np.vstack([result.whole.probabilities, result.probabilities]).max(axis=0))
    shown = sorted(order[:SHOWN_LABELS].tolist())
    whole_name = pick(lang, "whole picture", "整张图")
    rows = [(whole_name, image, result.whole.probabilities, result.whole.cosines)]
    rows += [
        (pick(lang, f"box {i}", f"方框 {i}"), thumbnail, probabilities, cosines)
        for i, (thumbnail, probabilities, cosines) in enumerate(
            zip(thumbnails, result.probabilities, result.cosines, strict=True), start=1
        )
    ]
    body = "".join(
        f'<tr><th scope="row">{_thumbnail(picture, "")}<br>{html.escape(name)}</th>'
        + "".join(_cell(float(p[i]), float(c[i]), i == int(c.argmax())) for i in shown)
        + "</tr>"
        for name, picture, p, c in rows
    )
    head = "".join(f'<th scope="col">{html.escape(result.labels[i])}</th>' for i in shown)
    part = pick(lang, "part", "部分")
    hidden = len(result.labels) - len(shown)
    more = pick(lang, f"and {hidden} more labels in the download", f"下载文件中还有 {hidden} 个标签")
    note = pick(
        lang,
        "Each small picture is what the model saw: the box, widened to a square.",
        "每张小图就是模型看到的内容：方框扩展成的正方形。",
    )
    return (
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid"><thead><tr><th scope="col">{part}</th>{head}'
        f'</tr></thead><tbody>{body}</tbody></table></div><p class="atlas-line">{note}{"; " + more if hidden else ""}</p>'
    )


def _cell(probability: float, cosine: float, best: bool) -> str:
    mark, name = ("✓ ", " class=best") if best else ("", "")
    return (
        f'<td{name} style="--share:{100 * probability:.1f}%">{mark}{draw.percent(probability)}'
        f"<small>{cosine:+.3f}</small></td>"
    )


def crops_csv(result: CropClassification) -> str:
    """part, left, top, right, bottom, label, probability, cosine; a row for each part and label."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["part", "left", "top", "right", "bottom", "label", "probability", "cosine"])
    answer = result.to_json()
    parts = [("whole", [""] * 4, answer["whole"])]
    parts += [(str(i), crop["box"], crop["results"]) for i, crop in enumerate(answer["crops"], start=1)]
    writer.writerows(
        [part, *box, draw.plain_cell(row["label"]), f"{row['probability']:.6f}", f"{row['cosine']:.6f}"]
        for part, box, rows in parts
        for row in rows
    )
    return buffer.getvalue()


def language_table(english: CropClassification, chinese: CropClassification, lang: str) -> str:
    """The same labels in two languages: each part's answers side by side, and what their agreement says.

    Args:
        english, chinese: the same boxes; label i of one means label i of the other.
        lang: of the sentences.
    """
    row = checkpoints.row(english.whole.checkpoint)
    # Of the whole picture, then of each box.
    answers = [(int(one.whole.order[0]), *one.best.tolist()) for one in (english, chinese)]
    same = [a == b for a, b in zip(*answers, strict=True)]
    names = [pick(lang, "whole picture", "整张图")]
    names += [pick(lang, f"box {i}", f"方框 {i}") for i in range(1, len(same))]
    body = "".join(
        f'<tr><th scope="row">{name}</th><td>{html.escape(english.labels[a])}</td>'
        f'<td>{html.escape(chinese.labels[b])}</td><td class="{"best" if agree else ""}">'
        f"{'✓' if agree else '✗'} {pick(lang, *(('same', '一致') if agree else ('different', '不一致')))}</td></tr>"
        for name, a, b, agree in zip(names, *answers, same, strict=True)
    )
    head = "".join(
        f'<th scope="col">{text}</th>'
        for text in (
            pick(lang, "part", "部分"),
            pick(lang, "English labels", "英文标签"),
            pick(lang, "Chinese labels", "中文标签"),
            pick(lang, "same answer?", "答案一致？"),
        )
    )
    return (
        f'<h4 class="atlas-sub">{html.escape(row.title[lang])}</h4>'
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{language_reading(english, chinese, sum(same), lang)}"
    )


def language_reading(
    english: CropClassification, chinese: CropClassification, agreeing: int, lang: str
) -> str:
    """What the agreement of two languages says, with a check that no picture is needed for: whether each Chinese
    label lies nearest to the English one that means the same."""
    row = checkpoints.row(english.whole.checkpoint)
    near = (chinese.whole.text_features @ english.whole.text_features.T).argmax(axis=1)  # [N]
    twins, count, parts = int((near == np.arange(len(near))).sum()), len(near), len(english.boxes) + 1
    facts = pick(
        lang,
        f"{agreeing} of {parts} answers agree; {twins} of {count} Chinese labels lie nearest to the English label "
        "that means the same.",
        f"{parts} 个回答中有 {agreeing} 个一致；{count} 个中文标签中有 {twins} 个离同义的英文标签最近。",
    )
    if "zh" not in row.languages:
        verdict = pick(
            lang,
            "This checkpoint learned from English captions only. Chinese reaches it as bytes it has no meaning for, "
            "yet the softmax still shares out 100 %: these percentages are worthless.",
            "这组权重只学过英文描述。中文对它只是没有意义的字节，softmax 却照样把 100 % 分完：这些百分比毫无价值。",
        )
    elif twins == count and agreeing == parts:
        verdict = pick(lang, "It reads both languages.", "两种语言它都看得懂。")
    else:
        verdict = pick(
            lang,
            "It was trained on both languages, but here they do not lead to the same place everywhere.",
            "它学过两种语言，但在这里并非处处一致。",
        )
    return f'<p class="atlas-verdict {"some" if agreeing == parts else "none"}">{facts} {verdict}</p>'
