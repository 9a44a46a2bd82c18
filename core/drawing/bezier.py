"""Strokes as open cubic Bezier paths: padding, lengths, boxes, beginnings, and SVG there and back.

A path of n cubics is 3 n + 1 control points (x, y) in pixels, y down; neighbouring cubics share a point. A
scene is a tensor [S, P, 2]: paths of fewer cubics repeat their last point, which changes nothing that is
drawn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor

from core.errors import Refusal

# Chords of a cubic that stand for it when lengths are measured.
CHORDS = 64


def pad(paths: Sequence[Tensor]) -> Tensor:
    """Paths [P_i, 2] of different numbers of cubics as one tensor [S, max P_i, 2]; differentiable."""
    longest = max(path.shape[0] for path in paths)
    return torch.stack([torch.cat([path, path[-1:].expand(longest - path.shape[0], 2)]) for path in paths])


def unpad(path: Tensor) -> Tensor:
    """A path [P, 2] without the cubics that padding added: at least one cubic remains."""
    moved = (path[1:] != path[:-1]).any(1).nonzero()
    cubics = int(moved[-1]) // 3 + 1 if moved.numel() else 1
    return path[: 3 * cubics + 1]


def cubics(points: Tensor) -> Tensor:
    """The cubics [..., J, 4, 2] of paths [..., 3 J + 1, 2]."""
    return points.unfold(-2, 4, 3).transpose(-1, -2)


def evaluate(points: Tensor, t: Tensor) -> Tensor:
    """Points [..., T, 2] of paths [..., P, 2] at parameters [..., T] in 0..J, J the number of cubics."""
    pieces = cubics(points)  # [..., J, 4, 2]
    piece = t.detach().floor().long().clamp(0, pieces.shape[-3] - 1)  # [..., T]
    pieces = torch.take_along_dim(pieces, piece[..., None, None], dim=-3)  # [..., T, 4, 2]
    s = (t - piece)[..., None]
    p0, p1, p2, p3 = pieces.unbind(-2)
    return (1 - s) ** 3 * p0 + 3 * s * (1 - s) ** 2 * p1 + 3 * s**2 * (1 - s) * p2 + s**3 * p3


def _table(points: Tensor) -> tuple[Tensor, Tensor]:
    """Parameters [T] and the length of the path up to each [..., T], along chords."""
    steps = (points.shape[-2] - 1) // 3 * CHORDS
    t = torch.arange(steps + 1, dtype=points.dtype, device=points.device) / CHORDS
    curve = evaluate(points, t.expand(*points.shape[:-2], -1))
    lengths = (curve[..., 1:, :] - curve[..., :-1, :]).norm(dim=-1).cumsum(-1)
    return t, torch.cat([torch.zeros_like(lengths[..., :1]), lengths], dim=-1)


def length(points: Tensor) -> Tensor:
    """Arc lengths [...] of paths [..., P, 2] in pixels, to about one part in ten thousand."""
    return _table(points)[1][..., -1]


def sample(points: Tensor, count: int) -> Tensor:
    """`count` points [..., count, 2] of each path at equal distances along it, both ends among them.

    Differentiable in the control points, with the parameters held.
    """
    with torch.no_grad():
        t, lengths = _table(points.detach())
        share = torch.linspace(0, 1, count, dtype=points.dtype, device=points.device)
        wanted = lengths[..., -1:] * share
        right = torch.searchsorted(lengths, wanted.contiguous()).clamp(1, t.numel() - 1)
        low, high = lengths.gather(-1, right - 1), lengths.gather(-1, right)
        part = ((wanted - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
        parameters = t[right - 1] + part / CHORDS
        # Rounding may put the last sample of a path beside its end.
        parameters[..., -1] = t[-1] if count > 1 else parameters[..., -1]
    return evaluate(points, parameters)


def bounds(points: Tensor) -> Tensor:
    """Boxes xyxy [..., 4] of paths [..., P, 2]: exact, from the roots of the derivative."""
    pieces = cubics(points.detach())  # [..., J, 4, 2]
    p0, p1, p2, p3 = pieces.unbind(-2)  # [..., J, 2]
    a, b, c = p3 - p0 + 3 * (p1 - p2), 2 * (p0 - 2 * p1 + p2), p1 - p0  # B'/3 = a t^2 + b t + c
    root = (b * b - 4 * a * c).clamp_min(0).sqrt()
    # The form without cancellation; a vanishing denominator gives a value that the clamp moves to an end.
    q = -(b + torch.where(b < 0, -root, root)) / 2
    roots = torch.stack([q / a, c / q]).nan_to_num(0, 0, 0).clamp(0, 1)  # [2, ..., J, 2]
    s = 1 - roots
    extremes = s**3 * p0 + 3 * roots * s**2 * p1 + 3 * roots**2 * s * p2 + roots**3 * p3
    every = torch.cat([extremes, p0[None], p3[None]])  # [4, ..., J, 2]
    return torch.cat([every.amin(0).amin(-2), every.amax(0).amax(-2)], dim=-1)


def uniform(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Start points [count, 2] anywhere on a canvas of (height, width) pixels."""
    height, width = size
    return torch.rand(count, 2, generator=generator) * torch.tensor([width, height])


def walk(starts: Tensor, step: float, generator: torch.Generator, pieces: int = 1) -> Tensor:
    """Paths [..., 3 pieces + 1, 2] that begin at `starts` [..., 2] and go on by uniform random steps.

    Each control point is the one before plus up to `step` pixels each way on each axis: 5.6 on 224 pixels in
    CLIPasso (Vinker et al. 2022), 11.2 in CLIPDraw (Frans et al. 2021).
    """
    shape = (*starts.shape[:-1], 3 * pieces, 2)
    steps = (torch.rand(shape, generator=generator, dtype=starts.dtype) * 2 - 1) * step
    return torch.cat([starts[..., None, :], starts[..., None, :] + steps.cumsum(-2)], dim=-2)


@dataclass(frozen=True)
class Drawing:
    """What an SVG of strokes says."""

    points: Tensor  # [S, P, 2] pixels
    widths: Tensor  # [S] pixels
    colors: Tensor  # [S, 4] RGBA in 0..1
    size: tuple[int, int]  # height, width
    background: tuple[float, float, float] | None  # RGB in 0..1; None is transparent


def path_data(path: Tensor) -> str:
    """The `d` attribute of one path [P, 2]."""
    flat = [_number(value) for value in unpad(path).flatten().tolist()]
    return f"M{flat[0]} {flat[1]}C{' '.join(flat[2:])}"


def to_svg(
    points: Tensor,
    widths: Tensor,
    colors: Tensor,
    size: tuple[int, int],
    background: tuple[float, float, float] | None = (1, 1, 1),
) -> str:
    """An SVG document of a scene: [S, P, 2], [S], [S, 4], (height, width).

    Numbers carry the digits that bring a float32 back exactly through `from_svg`; colours are written in 8 bits, which every
    program reads.
    """
    height, width = size
    points, widths, colors = (value.detach().float().cpu() for value in (points, widths, colors))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">'
    ]
    if background is not None:
        lines.append(f'<rect width="{width}" height="{height}" fill="{_color(background)}"/>')
    lines.append('<g fill="none" stroke-linecap="round" stroke-linejoin="round">')
    for path, wide, (red, green, blue, alpha) in zip(points, widths.tolist(), colors.tolist(), strict=True):
        opacity = "" if alpha == 1 else f' stroke-opacity="{_number(alpha)}"'
        lines.append(
            f'<path d="{path_data(path)}" stroke="{_color((red, green, blue))}" '
            f'stroke-width="{_number(wide)}"{opacity}/>'
        )
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _number(value: float) -> str:
    """The shortest decimal that is this float32, without an exponent, which not every program reads."""
    return np.format_float_positional(np.float32(value), trim="-")


def _color(rgb: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * min(max(value, 0.0), 1.0)):02x}" for value in rgb)


def from_svg(text: str) -> Drawing:
    """The strokes of an SVG document: what `to_svg` writes, and plain stroked paths of other programs.

    Lines and quadratic curves become cubics; a stroke without a width has one pixel, without a colour black.

    Raises:
        Refusal: bad_svg for what is no SVG or holds something other than open strokes in plain pixels.
    """
    if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):
        raise Refusal("bad_svg", what="<!DOCTYPE>")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Refusal("bad_svg", what=str(error)) from None
    if _tag(root) != "svg":
        raise Refusal("bad_svg", what=f"<{_tag(root)}>")
    box = root.get("viewBox") or f"0 0 {root.get('width')} {root.get('height')}"
    try:
        left, top, width, height = (
            float(value.removesuffix("px")) for value in box.replace(",", " ").split()
        )
    except ValueError:
        raise Refusal("bad_svg", what="viewBox") from None
    if (left, top) != (0, 0) or not (0 < width < 1e5 and 0 < height < 1e5):
        raise Refusal("bad_svg", what="viewBox")
    paths: list[Tensor] = []
    widths: list[float] = []
    colors: list[list[float]] = []
    background: tuple[float, float, float] | None = None
    for element, style in _elements(root, {}):
        if _tag(element) == "rect" and not paths:
            red, green, blue = _read_color(style.get("fill", "black"))
            background = red, green, blue
        elif _tag(element) == "path":
            if style.get("fill", "black") != "none":
                raise Refusal("bad_svg", what="fill")
            alpha = _read_number(style.get("stroke-opacity", "1")) * _read_number(style.get("opacity", "1"))
            for path in _read_path(element.get("d", "")):
                paths.append(path)
                widths.append(_read_number(style.get("stroke-width", "1").removesuffix("px")))
                colors.append([*_read_color(style.get("stroke", "black")), alpha])
        elif _tag(element) not in ("g", "svg", "title", "desc", "metadata", "defs"):
            raise Refusal("bad_svg", what=f"<{_tag(element)}>")
    points = pad(paths) if paths else torch.zeros(0, 4, 2)
    size = (round(height), round(width))
    return Drawing(points, torch.tensor(widths), torch.tensor(colors).reshape(-1, 4), size, background)


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _elements(
    element: ElementTree.Element, inherited: dict[str, str]
) -> list[tuple[ElementTree.Element, dict[str, str]]]:
    """Elements in paint order with the presentation attributes that hold for each."""
    own = dict(element.attrib)
    for declaration in own.pop("style", "").split(";"):
        name, _, value = declaration.partition(":")
        own[name.strip()] = value.strip()
    if "transform" in own:
        raise Refusal("bad_svg", what="transform")
    # The opacity of a group would have to be applied to the group as one image.
    if "opacity" in own and _tag(element) != "path":
        raise Refusal("bad_svg", what="opacity")
    style = {**inherited, **own}
    found = [(element, style)]
    if _tag(element) not in ("metadata", "defs"):
        for child in element:
            found += _elements(child, style)
    return found


def _read_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise Refusal("bad_svg", what=text[:40]) from None
    if not abs(value) < 1e9:
        raise Refusal("bad_svg", what=text[:40])
    return value


_NAMES = {"black": "#000", "white": "#fff", "red": "#f00", "lime": "#0f0", "blue": "#00f"}


def _read_color(text: str) -> list[float]:
    """Red, green and blue in 0..1 of a hexadecimal, rgb() or basic named colour."""
    text = _NAMES.get(text.strip().lower(), text.strip())
    if match := re.fullmatch(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})", text):
        digits = match[1] if len(match[1]) == 6 else "".join(2 * digit for digit in match[1])
        return [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    if match := re.fullmatch(r"rgb\(([^()]*)\)", text):
        parts = match[1].replace(",", " ").split()
        if len(parts) == 3:
            return [
                _read_number(part[:-1]) / 100 if part.endswith("%") else _read_number(part) / 255
                for part in parts
            ]
    raise Refusal("bad_svg", what=text[:40])


_TOKEN = re.compile(r"([MmLlHhVvCcSsQqTt])|([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|([\s,]+)|(.)")
_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2}


def _read_path(data: str) -> list[Tensor]:
    """The open subpaths [P, 2] of path data."""
    commands: list[tuple[str, list[float]]] = []
    for letter, number, _, other in _TOKEN.findall(data):
        if other or (number and not commands):
            raise Refusal("bad_svg", what=f"path {other or number}")
        if letter:
            commands.append((letter, []))
        elif number:
            commands[-1][1].append(_read_number(number))
    subpaths: list[list[complex]] = []
    here = handle = 0j
    before = ""
    for letter, numbers in commands:
        kind, count = letter.upper(), _ARGUMENTS[letter.upper()]
        if not numbers or len(numbers) % count or (not subpaths and kind != "M"):
            raise Refusal("bad_svg", what=f"path {letter}")
        for i in range(0, len(numbers), count):
            base = here if letter.islower() else 0j
            if kind == "H":
                at = [complex(base.real + numbers[i], here.imag)]
            elif kind == "V":
                at = [complex(here.real, base.imag + numbers[i])]
            else:
                at = [base + complex(*numbers[j : j + 2]) for j in range(i, i + count, 2)]
            if kind == "M" and i == 0:
                subpaths.append(at)
                here, before = at[-1], "M"
                continue
            # A smooth command continues the last handle, mirrored; after another kind of command it has none.
            mirrored = (
                2 * here - handle if before in {"S": "CS", "T": "QT"}.get(kind, "") and before else here
            )
            if kind in "CS":
                first, second = (at[0], at[1]) if kind == "C" else (mirrored, at[0])
                handle = second
            elif kind in "QT":
                handle = at[0] if kind == "Q" else mirrored
                first, second = (here + 2 * handle) / 3, (at[-1] + 2 * handle) / 3
            else:
                first, second = (2 * here + at[-1]) / 3, (here + 2 * at[-1]) / 3
            subpaths[-1] += [first, second, at[-1]]
            here, before = at[-1], kind
    return [
        torch.tensor([[point.real, point.imag] for point in path])
        for path in (path if len(path) > 1 else path * 4 for path in subpaths)
    ]
