"""Masks as images: the overlay with its legend, label maps, cut-outs and run lengths; pure functions.

A mask [H, W] holds the index of each pixel's label. Colours are given as "#rrggbb" for each label; "" leaves the image
as it is, for a background. assets/js/segments.js is what the browser does with an overlay; its component is
`demos.kit.components.mask_stage`.
"""

from __future__ import annotations

import colorsys
import json
from collections.abc import Sequence
from functools import partial

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from PIL.PngImagePlugin import PngInfo

from core import inputs
from core import masks as rle
from core.coco import Coco
from demos.draw import base as draw
from demos.kit import library
from demos.kit.components import markup
from demos.kit.files import File
from demos.kit.html import Markup, join, tag
from demos.kit.language import pick

# Okabe and Ito's colours and black's stand-in, in an order in which neighbours differ in lightness as well.
FIRST = (draw.BLUE, draw.ORANGE, draw.GREEN, draw.YELLOW, draw.VERMILION, draw.SKY, draw.PURPLE, draw.GREY)
GOLDEN = 0.381966  # of a turn: hues that follow each other lie far apart
LIGHTNESSES = (0.72, 0.42, 0.56)
PICTURE_SIDE, MASK_SIDE, POINTED_SIDE, GRID = 960, 640, 320, 48  # pixels of the long side of what travels
NAMED_SHARE = 0.004  # a smaller region has no room for its name
BYTES = 256
IMAGE_FILE = "image.png"  # what a COCO file calls an image whose own name nobody knows

say = partial(library.say, "draw")
png_uri = partial(draw.png_uri, compress_level=3)


def palette(count: int) -> list[str]:
    """That many colours as "#rrggbb": the first eight are told apart by colour-blind readers."""
    found = list(FIRST[:count])
    for i in range(count - len(found)):
        red, green, blue = colorsys.hls_to_rgb((0.08 + i * GOLDEN) % 1, LIGHTNESSES[i % 3], 0.62)
        found.append(f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}")
    return found


def overlay(
    image: Image.Image,
    mask: np.ndarray,
    names: Sequence[str],
    colours: Sequence[str],
    opacity: float,
    lang: str,
    probabilities: np.ndarray | None = None,
) -> Markup:
    """The image under its coloured mask, names on the regions, and a legend with the share of each label.

    Args:
        image: the caller's image.
        mask: [H, W] label indices, of any size with the image's ratio.
        names: N labels.
        colours: N colours; "" paints nothing.
        opacity: of the mask at first, 0 to 1.
        lang: "en" or "zh".
        probabilities: [h, w] of each place's label, in [0, 1]; they stand beside its name.
    """
    shares = np.bincount(mask.ravel(), minlength=len(names)) / mask.size
    order = np.argsort(-shares, kind="stable").tolist()
    parts = ", ".join(f"{names[i]} {draw.percent(shares[i])}" for i in order if shares[i] > 0)
    return markup(
        "mask",
        title=say("mask_title", lang, parts=parts),
        tip=say("mask_tip", lang),
        strength=say("opacity", lang),
        opacity=f"{opacity:.2f}",
        ratio=f"{image.width / image.height:.4f}",
        image=draw.data_uri(image, PICTURE_SIDE),
        mask=png_uri(_coloured(_smaller(mask, MASK_SIDE), colours)),
        pointed=png_uri(_pointed(mask, probabilities)),
        names=_names(mask, names, colours, shares),
        legend=join(_entry(names[i], i, colours[i], float(shares[i]), lang) for i in order),
    )


def _entry(name: str, index: int, colour: str, share: float, lang: str) -> Markup:
    """One label of the legend; one that won no pixel says so."""
    area = draw.percent(share) if share else pick(lang, "none", "未出现")
    swatch = tag("i", style=f"background:{colour}" if colour else None)
    button = tag(
        "button",
        swatch,
        tag("span", name),
        tag("b", area),
        type="button",
        data_label=index,
        aria_pressed="false",
    )
    return tag("li", button, class_=None if share else "absent")


def _names(mask: np.ndarray, names: Sequence[str], colours: Sequence[str], shares: np.ndarray) -> Markup:
    """Each label's name where its region is widest."""
    visible = [i for i in np.flatnonzero(shares >= NAMED_SHARE).tolist() if colours[i]]
    return join(
        tag(
            "span",
            names[i],
            class_="atlas-seg-name",
            data_label=i,
            style=f"left:{100 * x:.1f}%;top:{100 * y:.1f}%;border-color:{colours[i]}",
        )
        for i, (x, y) in zip(visible, widest(mask, visible).tolist(), strict=True)
    )


def widest(mask: np.ndarray, indices: Sequence[int]) -> np.ndarray:
    """Where each label's region is widest, [N, 2] as shares of width and height: the place that outlives erosion."""
    grid = _smaller(mask, GRID)
    alive = grid[None] == np.asarray(indices, int).reshape(-1, 1, 1)
    rows, columns = np.mgrid[: grid.shape[0], : grid.shape[1]] + 0.5
    count = np.maximum(alive.sum((1, 2)), 1)
    middle = np.stack([(alive * axis).sum((1, 2)) / count for axis in (columns, rows)], 1)
    away = np.hypot(*(axis - middle[:, i, None, None] for i, axis in enumerate((columns, rows))))
    width = np.where(alive, -away / (GRID * GRID), -np.inf)  # among equally wide places the most central one
    while alive.any():
        width = width + alive
        edge = np.pad(alive, ((0, 0), (1, 1), (1, 1)))
        alive = (
            alive & edge[:, :-2, 1:-1] & edge[:, 2:, 1:-1] & edge[:, 1:-1, :-2] & edge[:, 1:-1, 2:]
        )  # a pixel lives while its four neighbours do
    best = width.reshape(len(indices), grid.size).argmax(1)
    return np.stack([columns.ravel()[best] / grid.shape[1], rows.ravel()[best] / grid.shape[0]], 1)


# --- images --------------------------------------------------------------------------------------------


def _smaller(values: np.ndarray, side: int) -> np.ndarray:
    """[H, W] with its long side at most `side`, nearest."""
    height, width = values.shape
    scale = min(1.0, side / max(height, width))
    rows, columns = (max(1, round(length * scale)) for length in (height, width))
    down = (np.arange(rows) + 0.5) * height / rows
    across = (np.arange(columns) + 0.5) * width / columns
    return values[down.astype(int)[:, None], across.astype(int)]


def _rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)] if colour else [0, 0, 0]


def _coloured(mask: np.ndarray, colours: Sequence[str]) -> Image.Image:
    """The mask in its colours, transparent where a label has none."""
    table = np.array([[*_rgb(colour), 255 if colour else 0] for colour in colours], np.uint8)
    return Image.fromarray(table[mask])


def _pointed(mask: np.ndarray, probabilities: np.ndarray | None) -> Image.Image:
    """What a pointer reads: the label's index in red and green (low byte first), its probability in blue."""
    index = _smaller(mask, POINTED_SIDE)
    sure = np.zeros(index.shape, np.uint8)
    if probabilities is not None:
        size = index.shape[1], index.shape[0]
        levels = Image.fromarray((255 * np.clip(probabilities, 0, 1)).round().astype(np.uint8))
        sure = np.asarray(levels.resize(size, Image.Resampling.BILINEAR))
    # No probability at all is written as zero, the least probable winner as one.
    sure = np.maximum(sure, 1) if probabilities is not None else sure
    return Image.fromarray(np.stack([index % BYTES, index // BYTES, sure], -1).astype(np.uint8))


def mask_layer(mask: np.ndarray, colours: Sequence[str]) -> str:
    """A mask [H, W] in its colours as a data URI, transparent where a label has none."""
    return png_uri(_coloured(mask, colours))


def spots_layer(where: np.ndarray, colour: str) -> str:
    """Pixels [H, W] bool in one colour as a data URI, each grown a little, so that a single one is seen."""
    reach = 2 * max(1, max(where.shape) // 200) + 1
    grown = Image.fromarray(where.astype(np.uint8)).filter(ImageFilter.MaxFilter(reach))
    return png_uri(_coloured(np.asarray(grown), ["", colour]))


def heat_maps(
    image: Image.Image, scores: np.ndarray, names: Sequence[str], lang: str, sums: bool = True
) -> Markup:
    """A card for each label: its probability [N, h, w] in [0, 1] over the image; `sums`: over labels they sum to one."""
    small = image.copy()
    small.thumbnail((POINTED_SIDE, POINTED_SIDE))
    note = say("heat", lang) + say("heat_sums" if sums else "heat_alone", lang)
    cards = []
    for name, score in zip(names, scores, strict=True):
        levels = Image.fromarray(score.astype(np.float32)).resize(small.size, Image.Resampling.BILINEAR)
        heat = Image.blend(small, Image.fromarray(draw.heat_colors(np.asarray(levels))), 0.7)
        highest = say("heat_highest", lang, highest=draw.percent(float(score.max())))
        alt = say("heat_alt", lang, name=name)
        cards.append(
            tag(
                "figure",
                tag("img", alt=alt, src=draw.data_uri(heat, POINTED_SIDE)),
                tag("figcaption", tag("b", name), highest),
            )
        )
    return tag("div", *cards, class_="atlas-seg-heat") + tag("p", note, class_="atlas-line")


# --- downloads -------------------------------------------------------------------------------------------


def mask_png(mask: np.ndarray, names: Sequence[str]) -> bytes:
    """The label map as a PNG whose pixel values are label indices; the labels are in its text field "labels".

    Up to 256 labels it is an indexed image that any viewer shows in colour, beyond that 16-bit grey.
    """
    info = PngInfo()
    info.add_itxt("labels", json.dumps(list(names), ensure_ascii=False))
    if len(names) > BYTES:
        return draw.png(Image.fromarray(mask.astype(np.uint16)), pnginfo=info)
    indexed = Image.fromarray(mask.astype(np.uint8))
    indexed.putpalette([level for colour in palette(len(names)) for level in _rgb(colour)])
    return draw.png(indexed, pnginfo=info)


def cutout_png(image: Image.Image, mask: np.ndarray, k: int) -> bytes:
    """What label `k` won, cut out to its bounding box, the rest transparent; one empty pixel where it won none."""
    image = inputs.full_size(image)
    chosen = rle.resized(mask, image.size) == k
    rows, columns = np.flatnonzero(chosen.any(1)), np.flatnonzero(chosen.any(0))
    if not len(rows):
        return draw.png(Image.new("RGBA", (1, 1)))
    cut = image.convert("RGB")
    cut.putalpha(Image.fromarray(np.where(chosen, 255, 0).astype(np.uint8)))
    return draw.png(cut.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)))


def overlay_png(
    image: Image.Image, mask: np.ndarray, names: Sequence[str], colours: Sequence[str], opacity: float
) -> bytes:
    """The overlay at the image's own size, with the labels that won something named under it."""
    image = inputs.full_size(image)
    full = rle.resized(mask, image.size)
    colour = _coloured(full, colours)
    alpha = np.asarray(colour)[..., 3] * np.clip(opacity, 0, 1)
    colour.putalpha(Image.fromarray(alpha.round().astype(np.uint8)))
    painted = Image.alpha_composite(image.convert("RGBA"), colour).convert("RGB")
    present = [i for i, count in enumerate(np.bincount(full.ravel(), minlength=len(names))) if count]
    line = max(20, image.width // 22)
    font = draw.typeface(round(0.7 * line))
    canvas = Image.new("RGB", (image.width, image.height + line * len(present) + line // 2), "white")
    canvas.paste(painted)
    pen = ImageDraw.Draw(canvas)
    for row, i in enumerate(present):
        y = image.height + line // 4 + row * line
        pen.rectangle((line // 4, y + 2, line, y + line - 4), fill=colours[i] or "white", outline="black")
        pen.text((line + line // 3, y), names[i][:60], fill="black", font=font)
    return draw.png(canvas)


def coco_rle(mask: np.ndarray, names: Sequence[str], size: tuple[int, int]) -> str:
    """Every label that won something as annotations of a COCO data set of one image, JSON text.

    Args:
        mask: [h, w] label indices; pixels with a larger one have no annotation.
        names: N labels.
        size: width and height of the image that the masks are for.
    """
    full = rle.resized(mask, size)
    made = Coco(names)
    made.image(IMAGE_FILE, size)
    for index in np.flatnonzero(np.bincount(full.ravel(), minlength=len(names))[: len(names)]).tolist():
        made.mask(index + 1, full == index, label=names[index])
    return draw.to_json(made.data())


def exports(
    image: Image.Image,
    mask: np.ndarray,
    names: Sequence[str],
    colours: Sequence[str],
    opacity: float,
    size: tuple[int, int],
    lang: str,
    stem: str,
    overlay_file: str,
) -> list[File]:
    """The overlay, the label map and the run lengths of a mask as files; arguments as of `overlay` and `coco_rle`.

    The names of the other files begin with `stem`.
    """
    painted = overlay_png(image, mask, names, colours, opacity)
    coco = coco_rle(mask, names, size).encode()
    return [
        (overlay_file, "image/png", painted, pick(lang, "overlay PNG", "叠加图 PNG")),
        (f"{stem}-labels.png", "image/png", mask_png(mask, names), pick(lang, "label map PNG", "标签图 PNG")),
        (f"{stem}-coco.json", "application/json", coco, "COCO JSON"),
    ]
