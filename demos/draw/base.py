"""Results as images and tables: pure functions from plain values to HTML, SVG, PNG, CSV.

Colours are of the Okabe-Ito palette, which colour-blind readers can tell apart; colour alone never carries a meaning.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core import inputs
from demos.kit.files import File, to_data_uri
from demos.kit.html import Markup, join, row, share, table, tag
from demos.kit.language import pick

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


def percent(probability: float) -> str:
    """A probability as people read it: never "0%" for something that is not zero."""
    if probability >= 0.9995:
        return "100%"
    if probability < 0.0005:
        return "<0.1%"
    return f"{probability:.1%}"


def bar(share: float) -> Markup:
    """A cell with a bar of `share` (0 to 1) of its width."""
    return tag("td", tag("span", style=f"width:{100 * share:.2f}%"), class_="bar")


def share_cell(probability: float, is_best: bool, cosine: float | None = None) -> Markup:
    """A cell with a probability and its cosine; the best one of its row or column is marked."""
    small = "" if cosine is None else tag("small", f"{cosine:+.3f}")
    return share(probability, f"{'✓ ' if is_best else ''}{percent(probability)}", small, best=is_best)


def ranking(head: Sequence[str], names: Iterable[str], *cells: Iterable[Markup]) -> Markup:
    """A table of what is ranked, best first: the first row is marked. `cells` are columns of `td` elements."""
    rows = zip(names, *cells, strict=True)
    lines = [row(name, *some, kind=None if i else "best") for i, (name, *some) in enumerate(rows)]
    return table(head, lines, "atlas-bars")


def probability_bars(rows: Rows, lang: str, limit: int = 20) -> Markup:
    """Labels with their probability as bars and the cosine behind each, best first, as a table."""
    some = rows[:limit]
    made = ranking(
        [pick(lang, "label", "标签"), "", pick(lang, "probability", "概率"), pick(lang, "cosine", "余弦")],
        [one["label"] for one in some],
        [bar(one["probability"]) for one in some],
        [tag("td", percent(one["probability"])) for one in some],
        [tag("td", f"{one['cosine']:+.3f}") for one in some],
    )
    if len(rows) <= limit:
        return made
    count = len(rows) - limit
    return made + tag("p", pick(lang, f"and {count} more", f"还有 {count} 个"), class_="atlas-line")


def heat_colors(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1], any shape -> RGB uint8 [..., 3], dark blue to yellow."""
    places = np.clip(values, 0, 1) * (len(HEAT) - 1)
    low = np.minimum(places.astype(int), len(HEAT) - 2)
    share = (places - low)[..., None]
    return (HEAT[low] * (1 - share) + HEAT[low + 1] * share).round().astype(np.uint8)


def heat_overlay(
    image: Image.Image, relevance: np.ndarray, crop: Sequence[float], strength: float = 0.6
) -> Image.Image:
    """A relevance map [h, w] laid over the part of the image that the model saw.

    The map is stretched to its own range: it compares places of one image, not images.
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


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as a file of a kind, "PNG" or "JPEG"; `options` of Pillow's `save`."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(image: Image.Image | np.ndarray, **options: Any) -> bytes:
    """An image, uint8 [H, W, C] or of Pillow, as a PNG."""
    return encoded(image if isinstance(image, Image.Image) else Image.fromarray(image), "PNG", **options)


def png_uri(image: Image.Image | np.ndarray, **options: Any) -> str:
    """The same as a data URI."""
    return to_data_uri("image/png", png(image, **options))


def data_uri(image: Image.Image, side: int = 480, quality: int = 88) -> str:
    """An image as a JPEG data URI of bounded size; from a quality of 95 on every pixel has its own colour."""
    small = image.copy()
    small.thumbnail((side, side))
    subsampling = "4:4:4" if quality >= 95 else "4:2:0"
    return to_data_uri("image/jpeg", encoded(small, "JPEG", quality=quality, subsampling=subsampling))


def relevance_figure(
    image: Image.Image, relevance: np.ndarray, crop: Sequence[float], label: str, lang: str
) -> Markup:
    """The overlay with its scale: which places of the image lie near the label."""
    low, high = f"{relevance.min():+.2f}", f"{relevance.max():+.2f}"
    caption = pick(
        lang,
        f"Where the image looks like “{label}”: cosine of each patch, {low} (dark) to {high} (yellow). Pale edges were "
        "cropped away before encoding.",
        f"图中哪里像“{label}”：每个图块的余弦，从 {low}（深色）到 {high}（黄色）。发白的边缘在编码前被裁掉了。",
    )
    overlay = tag("img", alt=caption, src=data_uri(heat_overlay(image, relevance, crop)))
    return tag("figure", overlay, tag("figcaption", caption), class_="atlas-figure")


def bars_svg(rows: Rows, title: str) -> str:
    """Probabilities as an SVG of their own, for slides; at most 20 labels."""
    rows = rows[:20]
    height, width = 34 * len(rows) + 48, 720
    parts = [
        tag("rect", width=width, height=height, fill="white"),
        tag("text", title, x=12, y=26, font_weight="bold"),
    ]
    for i, one in enumerate(rows):
        y, label = 48 + 34 * i, one["label"]
        parts += [
            tag(
                "text",
                label if len(label) <= 28 else label[:27] + "…",
                x=232,
                y=y + 17,
                text_anchor="end",
            ),
            tag("rect", x=244, y=y, width=f"{max(360 * one['probability'], 1):.1f}", height=24, fill=BLUE),
            tag("text", percent(one["probability"]), x=614, y=y + 17),
        ]
    return tag(
        "svg",
        join(parts),
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=height,
        viewBox=f"0 0 {width} {height}",
        font_family=FONTS,
        font_size=16,
    )


def png_beside(image: Image.Image, rows: Rows) -> bytes:
    """The image with its first five answers written under it, as a PNG."""
    rows = rows[:5]
    shown = image.copy()
    shown.thumbnail((640, 640))
    canvas = Image.new("RGB", (max(shown.width, 480), shown.height + 30 * len(rows) + 16), "white")
    canvas.paste(shown, ((canvas.width - shown.width) // 2, 0))
    pen = ImageDraw.Draw(canvas)
    font = typeface(18)
    for i, one in enumerate(rows):
        y = shown.height + 10 + 30 * i
        pen.rectangle((0, y, int(canvas.width * one["probability"]), y + 26), fill=SKY)
        pen.text(
            (8, y + 2), f"{percent(one['probability']):>6}  {one['label'][:40]}", fill="black", font=font
        )
    return png(canvas)


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
    return "'" + text if text.startswith(("=", "+", "-", "@")) else text


def csv_of(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV for a spreadsheet: numbers with six digits, texts that cannot run as formulas."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(head)
    writer.writerows(
        [f"{value:.6f}" if isinstance(value, float) else plain_cell(str(value)) for value in cells]
        for cells in rows
    )
    return buffer.getvalue()


def to_csv(rows: Rows) -> str:
    """label, probability, cosine."""
    columns = ("label", "probability", "cosine")
    return csv_of(columns, ([one[name] for name in columns] for one in rows))


def to_json(value: Any) -> str:
    """Plain values as readable JSON."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def json_file(name: str, value: Any) -> File:
    """Plain values as a JSON file to download."""
    return name, "application/json", to_json(value).encode()


def csv_file(name: str, table: str) -> File:
    """A table of `csv_of` as a file to download; its mark tells spreadsheets that it is UTF-8."""
    return name, "text/csv", table.encode("utf-8-sig")
