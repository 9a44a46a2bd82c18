"""Sprite sheets: nine drawing styles of every concept, rendered once and committed.

Building needs, in a folder given by `--sources` (nothing of it is committed):

    npm packages, as `node_modules`: @twemoji/svg, and of @iconify-json: fluent-emoji-flat, fluent-emoji,
        fluent-emoji-high-contrast, noto-v1, fxemoji, emojione, emojione-monotone
    Debian packages fonts-noto-color-emoji, fonts-symbola (NotoColorEmoji.ttf and Symbola_hint.ttf, anywhere below)
    Python package resvg_py                               (rasterises SVG)

Licences are in `assets/sprites/LICENSES.md`. OpenMoji is in no sheet: it is kept as the style never seen.
"""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from core.classroom.world.concepts import SPRITES, concepts, find
from core.errors import Refusal

CELL = 96  # pixels of one sprite in a sheet
INNER = 88  # the drawing is trimmed and its long side fitted to this
COLUMNS = 24
# style -> one colour? Order is the order of the atlas.
STYLES: dict[str, bool] = {
    "noto": False,
    "twemoji": False,
    "fluent-emoji-flat": False,
    "fluent-emoji": False,
    "noto-v1": False,
    "fxemoji": False,
    "emojione": False,
    "symbola": True,
    "fluent-emoji-high-contrast": True,
    "emojione-monotone": True,
}
Sprite = NDArray[np.uint8]  # [CELL, CELL, 4], straight alpha


def fit(picture: Image.Image) -> Sprite | None:
    """Trim a RGBA image of any size and centre it in a cell; None when there is nothing in it."""
    picture = picture.convert("RGBA")
    box = picture.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox()
    if box is None:
        return None
    picture = picture.crop(box)
    scale = INNER / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # Premultiplied, so that the colour of transparent pixels does not bleed into the edge.
    values = np.asarray(picture, np.float32)
    values[..., :3] *= values[..., 3:] / 255
    planes = [
        np.asarray(Image.fromarray(values[..., c]).resize(size, Image.Resampling.LANCZOS)) for c in range(4)
    ]
    small = np.clip(np.stack(planes, -1), 0, 255)
    small[..., :3] = np.where(small[..., 3:] > 0.5, small[..., :3] * 255 / np.maximum(small[..., 3:], 0.5), 0)
    cell = np.zeros((CELL, CELL, 4), np.uint8)
    top, left = (CELL - size[1]) // 2, (CELL - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = np.clip(small, 0, 255).round().astype(np.uint8)
    return cell


def build(sources: Path, out: Path = SPRITES, styles: Iterable[str] = tuple(STYLES)) -> dict[str, int]:
    """Render sheets from the packages in `sources`; returns style -> number of concepts drawn."""
    table = out / "styles.json"
    drawn: dict[str, list[str]] = json.loads(table.read_text(encoding="utf-8")) if table.exists() else {}
    for style in styles:
        render = _renderer(style, sources)
        rows = -(-len(concepts()) // COLUMNS)
        sheet = np.zeros((rows * CELL, COLUMNS * CELL, 4), np.uint8)
        drawn[style] = []
        for concept in concepts():
            picture = render(concept.code)
            sprite = fit(picture) if picture is not None else None
            if sprite is None:
                continue
            y, x = divmod(concept.index, COLUMNS)
            sheet[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL] = sprite
            drawn[style].append(concept.code)
        file = out / f"{style}.webp"
        if STYLES[style]:
            # Black, with 16 levels of opacity kept exactly.
            sheet[..., :3] = 0
            sheet[..., 3] = np.asarray(Image.fromarray(sheet[..., 3]).quantize(16).convert("L"))
            Image.fromarray(sheet).save(file, lossless=True, quality=90, method=5, exact=True)
        else:
            Image.fromarray(sheet).save(file, quality=82, alpha_quality=85, method=6)
    drawn = {style: drawn[style] for style in STYLES}
    table.write_text(json.dumps(drawn, separators=(",", ":")).replace("],", "],\n") + "\n")
    return {style: len(codes) for style, codes in drawn.items()}


def _renderer(style: str, sources: Path) -> Callable[[str], Image.Image | None]:
    """The function code -> image of one style."""
    if style == "noto":
        font = ImageFont.truetype(str(_only(sources, "NotoColorEmoji.ttf")), 109)
        return lambda code: _glyph(code, font, embedded=True)
    if style == "symbola":
        path = _only(sources, "Symbola_hint.ttf")
        font = ImageFont.truetype(str(path), 192)
        absent = _glyph("10FFFE", font)  # what the font draws where it has no glyph
        blank = None if absent is None else absent.tobytes()

        def symbola(code: str) -> Image.Image | None:
            picture = _glyph(code, font)
            return None if picture is None or picture.tobytes() == blank else picture

        return symbola
    packages = sources / "node_modules"
    if style == "twemoji":

        def twemoji(code: str) -> Image.Image | None:
            path = packages / "@twemoji/svg" / f"{code.lower()}.svg"
            return _svg(path.read_text(encoding="utf-8")) if path.exists() else None

        return twemoji
    return _iconify(style, packages / "@iconify-json")


def _iconify(style: str, folder: Path) -> Callable[[str], Image.Image | None]:
    pack: dict[str, Any] = json.loads((folder / style / "icons.json").read_text(encoding="utf-8"))
    named: dict[str, dict[str, str]] = tomllib.loads((SPRITES / "icons.toml").read_text(encoding="utf-8"))
    charted = "fluent-emoji-flat" if style == "fluent-emoji" else style
    chars_path = folder / charted / "chars.json"
    chars: dict[str, str] = json.loads(chars_path.read_text(encoding="utf-8")) if chars_path.exists() else {}

    def render(code: str) -> Image.Image | None:
        name = chars.get(code.lower()) or named.get(code, {}).get(style)
        name = pack.get("aliases", {}).get(name, {}).get("parent", name)
        icon = pack["icons"].get(name)
        if icon is None:
            return None
        width, height = icon.get("width", pack.get("width", 16)), icon.get("height", pack.get("height", 16))
        left, top = icon.get("left", 0), icon.get("top", 0)
        body = icon["body"].replace("currentColor", "#000")
        return _svg(
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}">{body}</svg>'
        )

    return render


def _svg(text: str) -> Image.Image:
    import resvg_py

    data = resvg_py.svg_to_bytes(svg_string=text, width=4 * CELL, height=4 * CELL)
    return Image.open(io.BytesIO(bytes(data)))


def _glyph(code: str, font: ImageFont.FreeTypeFont, embedded: bool = False) -> Image.Image | None:
    picture = Image.new("RGBA", (320, 320), (0, 0, 0, 0))
    ImageDraw.Draw(picture).text(
        (40, 40), chr(int(code, 16)), font=font, fill="black", embedded_color=embedded
    )
    return picture if picture.getbbox() else None


def _only(folder: Path, name: str) -> Path:
    found = sorted(folder.rglob(name))
    if not found:
        raise FileNotFoundError(f"{name} is not below {folder}")
    return found[0]


@cache
def drawn() -> dict[str, tuple[str, ...]]:
    """style -> code points that it draws."""
    table = json.loads((SPRITES / "styles.json").read_text(encoding="utf-8"))
    return {style: tuple(table[style]) for style in STYLES}


def sheet(style: str) -> Sprite:
    """All sprites of a style, [len(concepts()), CELL, CELL, 4] uint8; those it does not draw are empty."""
    picture = np.asarray(Image.open(SPRITES / f"{style}.webp").convert("RGBA"))
    rows = picture.shape[0] // CELL
    cells = picture.reshape(rows, CELL, COLUMNS, CELL, 4).swapaxes(1, 2).reshape(-1, CELL, CELL, 4)
    return np.ascontiguousarray(cells[: len(concepts())])


_kept = cache(sheet)


def drawing(name: str, style: str = "noto") -> Sprite:
    """The sprite of a concept by a name, a synonym or a code point.

    Raises:
        Refusal: "unknown_concept" for what the classroom does not know, or the style does not draw.
    """
    concept = find(name)
    sprite = None if concept is None else _kept(style)[concept.index]
    if sprite is None or not sprite[..., 3].any():
        raise Refusal("unknown_concept", name=name)
    return sprite


def folder(path: Path) -> Iterator[tuple[str, Sprite]]:
    """The sprites `<CODEPOINT>.png` of a folder whose concept is known, as (code, sprite), sorted by code."""
    known = {c.code for c in concepts()}
    for file in sorted(path.glob("*.png")):
        code = file.stem.upper().removesuffix("-FE0F")
        if code in known:
            sprite = fit(Image.open(file))
            if sprite is not None:
                yield code, sprite
