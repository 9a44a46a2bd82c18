"""Results into pictures and tables: pure functions from plain values to HTML, SVG, PNG, CSV.

Colours are of the Okabe-Ito palette, told apart by colour-blind readers; no meaning is carried by colour alone.
Every text that a user typed is escaped here.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core import inputs
from demos.kit.html import escape

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, YELLOW, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#7A7A7A",
)
# Anchors of a perceptually even, colour-blind-safe map from dark blue to yellow.
HEAT = np.array(
    [[0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56]],
    np.float32,
)

# Of SVG files; the first one is the one that `typeface` looks for first.
FONTS = "'Noto Sans CJK SC', 'Microsoft YaHei', 'PingFang SC', 'DejaVu Sans', sans-serif"

Rows = Sequence[Mapping[str, Any]]  # {"label", "probability", "cosine"}, best first


def _words(lang: str, en: str, zh: str) -> str:
    return zh if lang == "zh" else en


def percent(probability: float) -> str:
    """A probability as people read it: never "0%" for something that is not zero."""
    if probability >= 0.9995:
        return "100%"
    if probability < 0.0005:
        return "<0.1%"
    return f"{probability:.1%}"


def probability_bars(rows: Rows, lang: str, limit: int = 20) -> str:
    """Labels with their probability as bars and the cosine behind each, best first, as a table."""
    lines = [
        f'<tr{" class=best" if i == 0 else ""}><th scope="row">{escape(row["label"])}</th>'
        f'<td class="bar"><span style="width:{100 * row["probability"]:.2f}%"></span></td>'
        f"<td>{percent(row['probability'])}</td><td>{row['cosine']:+.3f}</td></tr>"
        for i, row in enumerate(rows[:limit])
    ]
    more = ""
    if len(rows) > limit:
        count = len(rows) - limit
        more = f"<p class=atlas-line>{_words(lang, f'and {count} more', f'还有 {count} 个')}</p>"
    head = [
        _words(lang, "label", "标签"),
        "",
        _words(lang, "probability", "概率"),
        _words(lang, "cosine", "余弦"),
    ]
    return (
        '<table class="atlas-bars"><thead><tr>'
        + "".join(f'<th scope="col">{text}</th>' if text else "<td></td>" for text in head)
        + f"</tr></thead><tbody>{''.join(lines)}</tbody></table>{more}"
    )


def template_table(columns: Sequence[tuple[str, Rows]], labels: Sequence[str], lang: str) -> str:
    """The same labels under several templates: a row a label, a column a template, the best of each marked."""
    found = [{row["label"]: row for row in rows} for _, rows in columns]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name, _ in columns)
    body = []
    for label in labels:
        cells = ""
        for (_, rows), by_label in zip(columns, found, strict=True):
            row = by_label[label]
            best = " class=best" if rows[0]["label"] == label else ""
            share = f"--share:{100 * row['probability']:.1f}%"
            mark = "✓ " if best else ""
            cells += f'<td{best} style="{share}">{mark}{percent(row["probability"])}<small>{row["cosine"]:+.3f}</small></td>'
        body.append(f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>')
    corner = _words(lang, "label", "标签")
    return (
        f'<div class="atlas-scroll"><table class="atlas-grid"><thead><tr><th scope="col">{corner}</th>{head}</tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def heat_colors(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1], any shape -> RGB uint8 [..., 3], dark blue to yellow."""
    places = np.clip(values, 0, 1) * (len(HEAT) - 1)
    low = np.minimum(places.astype(int), len(HEAT) - 2)
    share = (places - low)[..., None]
    return (HEAT[low] * (1 - share) + HEAT[low + 1] * share).round().astype(np.uint8)


def heat_overlay(
    image: Image.Image, relevance: np.ndarray, crop: Sequence[float], strength: float = 0.6
) -> Image.Image:
    """A relevance map [h, w] laid over the part of the picture that the model saw.

    The map is stretched to its own range: it compares places of one picture, not pictures.
    """
    low, high = float(relevance.min()), float(relevance.max())
    scaled = (relevance - low) / (high - low if high > low else 1.0)
    left, top, right, bottom = inputs.to_pixels(image, crop).round().astype(int).tolist()
    size = max(right - left, 1), max(bottom - top, 1)
    smooth = Image.fromarray(np.asarray(scaled, np.float32)).resize(size, Image.Resampling.BICUBIC)
    colours = Image.fromarray(heat_colors(np.asarray(smooth)))
    # What lies outside the crop was not seen: it is shown pale.
    shown = Image.blend(image, Image.new("RGB", image.size, "white"), 0.6)
    seen = image.crop((left, top, left + size[0], top + size[1]))
    shown.paste(Image.blend(seen, colours, strength), (left, top))
    return shown


def data_uri(image: Image.Image, side: int = 480, quality: int = 88) -> str:
    """A picture as a JPEG data URI of bounded size; from a quality of 95 on every pixel has its own colour."""
    small = image.copy()
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality, subsampling="4:4:4" if quality >= 95 else "4:2:0")
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def relevance_figure(
    image: Image.Image, relevance: np.ndarray, crop: Sequence[float], label: str, lang: str
) -> str:
    """The overlay with its scale: which places of the picture lie near the label."""
    overlay = heat_overlay(image, relevance, crop)
    caption = _words(
        lang,
        f"Where the picture looks like “{label}”: cosine of each patch, {relevance.min():+.2f} (dark) to "
        f"{relevance.max():+.2f} (yellow). Pale edges were cropped away before encoding.",
        f"图中哪里像“{label}”：每个图块的余弦，从 {relevance.min():+.2f}（深色）到 {relevance.max():+.2f}（黄色）。"
        "发白的边缘在编码前被裁掉了。",
    )
    escaped = escape(caption)
    return (
        f'<figure class="atlas-figure"><img alt="{escaped}" src="{data_uri(overlay)}">'
        f"<figcaption>{escaped}</figcaption></figure>"
    )


def scale_mark(learned: float, low: float, high: float, lang: str) -> str:
    """A mark under the temperature slider at the value that the checkpoint learned."""
    place = 100 * (min(max(learned, low), high) - low) / (high - low)
    text = _words(lang, f"▲ learned: {learned:.1f}", f"▲ 学到的值：{learned:.1f}")
    # Near the right edge the words stand to the left of their mark.
    if place > 60:
        text = _words(lang, f"learned: {learned:.1f} ▲", f"学到的值：{learned:.1f} ▲")
    side = "right" if place > 60 else "left"
    return f'<div class="atlas-mark"><span class="{side}" style="left:{place:.1f}%">{text}</span></div>'


def absence_reading(best: Mapping[str, Any], line: float, lang: str) -> str:
    """What the raw cosine says when the softmax cannot: is the best label any better than an unrelated word?"""
    label, cosine = escape(best["label"]), best["cosine"]
    if cosine < line:
        verdict = _words(
            lang,
            f"<strong>None of these.</strong> The best label, “{label}”, reaches a cosine of {cosine:+.3f}; 1 in 20 "
            f"unrelated words reaches {line:+.3f} on this picture. Its {percent(best['probability'])} only says that it "
            "is the least bad.",
            f"<strong>都不是。</strong>最好的标签“{label}”余弦只有 {cosine:+.3f}；而随便 20 个无关词里就有一个能达到 "
            f"{line:+.3f}。它的 {percent(best['probability'])} 只说明它是其中最不差的。",
        )
        return f'<p class="atlas-verdict none">{verdict}</p>'
    verdict = _words(
        lang,
        f"<strong>“{label}” is really there.</strong> Its cosine {cosine:+.3f} is above {line:+.3f}, which only 1 in 20 "
        "unrelated words reaches on this picture.",
        f"<strong>图里确实有“{label}”。</strong>它的余弦 {cosine:+.3f} 高于 {line:+.3f}，随便 20 个无关词里只有一个能达到。",
    )
    return f'<p class="atlas-verdict some">{verdict}</p>'


def bars_svg(rows: Rows, title: str) -> str:
    """Probabilities as an SVG of their own, for slides; at most 20 labels."""
    rows = rows[:20]
    height, width = 34 * len(rows) + 48, 720
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="{FONTS}" font-size="16">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="12" y="26" font-weight="bold">{escape(title)}</text>',
    ]
    for i, row in enumerate(rows):
        y = 48 + 34 * i
        shown = row["label"] if len(row["label"]) <= 28 else row["label"][:27] + "…"
        parts.append(
            f'<text x="232" y="{y + 17}" text-anchor="end">{escape(shown)}</text>'
            f'<rect x="244" y="{y}" width="{max(360 * row["probability"], 1):.1f}" height="24" fill="{BLUE}"/>'
            f'<text x="614" y="{y + 17}">{escape(percent(row["probability"]))}</text>'
        )
    return "".join(parts) + "</svg>"


def png_beside(image: Image.Image, rows: Rows) -> bytes:
    """The picture with its first five answers written under it, as a PNG."""
    rows = rows[:5]
    shown = image.copy()
    shown.thumbnail((640, 640))
    canvas = Image.new("RGB", (max(shown.width, 480), shown.height + 30 * len(rows) + 16), "white")
    canvas.paste(shown, ((canvas.width - shown.width) // 2, 0))
    pen = ImageDraw.Draw(canvas)
    font = typeface(18)
    for i, row in enumerate(rows):
        y = shown.height + 10 + 30 * i
        pen.rectangle((0, y, int(canvas.width * row["probability"]), y + 26), fill=SKY)
        pen.text(
            (8, y + 2), f"{percent(row['probability']):>6}  {row['label'][:40]}", fill="black", font=font
        )
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue()


def typeface(size: int) -> Any:
    """A font that can write Chinese where the machine has one; Pillow's own otherwise."""
    for name in ("NotoSansCJK-Regular.ttc", "msyh.ttc", "PingFang.ttc", "wqy-microhei.ttc", "DejaVuSans.ttf"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def plain_cell(text: str) -> str:
    """A cell that a spreadsheet would run as a formula is disarmed."""
    return "'" + text if text[:1] in "=+-@" else text


def to_csv(rows: Rows) -> str:
    """label, probability, cosine."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["label", "probability", "cosine"])
    for row in rows:
        writer.writerow([plain_cell(row["label"]), f"{row['probability']:.6f}", f"{row['cosine']:.6f}"])
    return buffer.getvalue()


def to_json(value: Any) -> str:
    """Plain values as readable JSON."""
    return json.dumps(value, ensure_ascii=False, indent=2)
