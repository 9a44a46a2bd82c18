"""Bezier paths: measuring, beginning, and SVG there and back."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
import torch

from core.drawing import bezier
from core.errors import Refusal

# A quarter of a circle around the origin, to 3 parts in 10,000.
K = 4 / 3 * math.tan(math.pi / 8)
ARC = torch.tensor([[1.0, 0], [1, K], [K, 1], [0, 1]], dtype=torch.float64)


def random_paths(count: int, cubics: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3 * cubics + 1, 2, generator=torch.Generator().manual_seed(seed)) * 100


def test_pad_and_unpad() -> None:
    paths = [path for cubics in (1, 3, 2) for path in random_paths(1, cubics)]
    padded = bezier.pad(paths)
    assert padded.shape == (3, 10, 2)
    for path, row in zip(paths, padded, strict=True):
        assert torch.equal(bezier.unpad(row), path)
    dot = torch.ones(7, 2)
    assert bezier.unpad(dot).shape == (4, 2)


def test_evaluate_passes_through_the_joints() -> None:
    path = random_paths(1, 3)[0]
    joints = bezier.evaluate(path, torch.tensor([0.0, 1, 2, 3]))
    torch.testing.assert_close(joints, path[::3])
    middle = bezier.evaluate(path, torch.tensor([1.5]))[0]
    torch.testing.assert_close(middle, (path[3] + 3 * path[4] + 3 * path[5] + path[6]) / 8)


def test_length_and_equal_steps() -> None:
    assert bezier.length(ARC).item() == pytest.approx(math.pi / 2, rel=3e-4)
    line = torch.tensor([[[0.0, 0], [3, 4], [6, 8], [30, 40]], [[2.0, 2], [2, 2], [2, 2], [2, 2]]])
    torch.testing.assert_close(bezier.length(line), torch.tensor([50.0, 0.0]))
    points = bezier.sample(line, 6)
    torch.testing.assert_close(
        points[0], torch.tensor([[6.0 * i, 8.0 * i] for i in range(6)]), atol=5e-3, rtol=0
    )
    assert (points[1] == 2).all()
    path = random_paths(2, 3, seed=1).double()
    steps = (bezier.sample(path, 400).diff(dim=-2)).norm(dim=-1)
    assert (steps.std(-1) / steps.mean(-1)).max() < 0.05
    torch.testing.assert_close(bezier.sample(path, 5)[:, [0, -1]], path[:, [0, -1]])


def test_sample_is_differentiable() -> None:
    path = random_paths(2, 2).requires_grad_()
    (grad,) = torch.autograd.grad(bezier.sample(path, 9).sum(), path)
    # Moving every control point moves every sample.
    torch.testing.assert_close(grad.sum((0, 1)), torch.tensor([18.0, 18.0]))


def test_bounds_are_those_of_the_curve() -> None:
    torch.testing.assert_close(bezier.bounds(ARC), torch.tensor([0.0, 0, 1, 1]).double())
    for cubics in (1, 3):
        paths = random_paths(50, cubics).double()
        paths[0] = paths[0, :1]  # a dot
        paths[1] = paths[1, :1] + torch.arange(3 * cubics + 1)[:, None]  # straight, B'' = 0
        t = torch.linspace(0, cubics, 6001, dtype=torch.float64).expand(50, -1)
        curve = bezier.evaluate(paths, t)
        dense = torch.cat([curve.amin(1), curve.amax(1)], dim=-1)
        torch.testing.assert_close(bezier.bounds(paths), dense, atol=1e-3, rtol=0)


def test_beginnings_follow_their_generator() -> None:
    def begin(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return bezier.walk(bezier.uniform(500, (100, 200), generator), 5.6, generator, pieces=2)

    paths = begin(3)
    assert paths.shape == (500, 7, 2)
    assert torch.equal(paths, begin(3)) and not torch.equal(paths, begin(4))
    x, y = paths[:, 0].T
    assert 0 <= x.min() < 5 and 195 < x.max() <= 200
    assert 0 <= y.min() < 5 and 95 < y.max() <= 100
    steps = paths.diff(dim=1)
    assert 5.5 < steps.abs().max() <= 5.6001
    assert steps.mean().abs() < 0.1


@pytest.mark.parametrize("cubics", [1, 3])
def test_svg_there_and_back_is_exact_and_colours_have_8_bits(cubics: int) -> None:
    generator = torch.Generator().manual_seed(5)
    points = random_paths(40, cubics)
    points[0] *= 1e-6
    points[1] *= 1e4
    if cubics > 1:
        points[2, 4:] = points[2, 3]
    widths = torch.rand(40, generator=generator) * 7
    colors = torch.rand(40, 4, generator=generator)
    colors[3] = torch.tensor([0.0, 0, 0, 1])
    text = bezier.to_svg(points, widths, colors, (96, 160), (1, 0.5, 0.125))
    back = bezier.from_svg(text)
    assert torch.equal(back.points, points)
    assert torch.equal(back.widths, widths)
    assert torch.equal(back.colors[:, 3], colors[:, 3])
    assert torch.equal(back.colors[:, :3], (255 * colors[:, :3]).round() / 255)
    assert back.size == (96, 160) and back.background == pytest.approx((1, 0.5, 0.125), abs=1 / 510)
    assert bezier.to_svg(back.points, back.widths, back.colors, back.size, back.background) == text


def test_svg_is_plain() -> None:
    points = torch.tensor([[[1.0, 2], [3, 4], [5, 6.5], [7.1, 1e-9]]])
    text = bezier.to_svg(points, torch.tensor([3.0]), torch.tensor([[0.0, 0, 0, 1]]), (224, 100), None)
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("100", "224", "0 0 100 224")
    (path,) = root.iter("{http://www.w3.org/2000/svg}path")
    assert path.get("stroke") == "#000000" and path.get("stroke-width") == "3"
    assert path.get("stroke-opacity") is None
    assert path.get("d") == "M1 2C3 4 5 6.5 7.1 0.000000001"
    group = root[0]
    assert group.get("fill") == "none" and group.get("stroke-linecap") == "round"
    assert bezier.from_svg(text).background is None


def test_an_empty_drawing() -> None:
    text = bezier.to_svg(torch.zeros(0, 4, 2), torch.zeros(0), torch.zeros(0, 4), (8, 8))
    assert bezier.from_svg(text).points.shape == (0, 4, 2)


def svg(inside: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10">{inside}</svg>'


def test_svg_of_other_programs() -> None:
    text = svg(
        '<!-- by hand --><g style="fill:none; stroke:#f80" stroke-width="2px">'
        '<path d="m1,1 l3-3h2v4L0 0" style="opacity:0.5"/>'
        '<path stroke="red" d="M0 0Q3 3 6 0t6 0"/>'
        '<path stroke="#0000ff80"/></g>'.replace("#0000ff80", "#00f")
        + '<path fill="none" d="M0,0c1 2 3 4 5,6s1 1 2 2S9 9 10 8 M1.5.5"/>'
    )
    drawing = bezier.from_svg(text)
    assert drawing.size == (10, 20) and drawing.points.shape == (4, 13, 2)
    lines, quadratic, curve, dot = (bezier.unpad(path) for path in drawing.points)
    torch.testing.assert_close(lines[::3], torch.tensor([[1.0, 1], [4, -2], [6, -2], [6, 2], [0, 0]]))
    torch.testing.assert_close(
        quadratic, torch.tensor([[0.0, 0], [2, 2], [4, 2], [6, 0], [8, -2], [10, -2], [12, 0]])
    )
    torch.testing.assert_close(curve[4:7], torch.tensor([[7.0, 8], [6, 7], [7, 8]]))
    torch.testing.assert_close(curve[7], torch.tensor([8.0, 9]))
    assert (dot == torch.tensor([1.5, 0.5])).all()
    torch.testing.assert_close(drawing.widths, torch.tensor([2.0, 2, 1, 1]))
    expected = torch.tensor([[1.0, 8 / 15, 0, 0.5], [1, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]])
    torch.testing.assert_close(drawing.colors, expected)


@pytest.mark.parametrize(
    "text",
    [
        "no svg",
        "<html/>",
        "<svg/>",
        '<!DOCTYPE svg [<!ENTITY a "b">]><svg viewBox="0 0 8 8">&a;</svg>',
        svg('<path d="M0 0L1 1"/>'),
        svg('<path fill="none" d="M0 0L1 1Z"/>'),
        svg('<path fill="none" d="M0 0A1 1 0 0 0 5 5"/>'),
        svg('<path fill="none" d="M0 0C1 1"/>'),
        svg('<path fill="none" d="L1 1"/>'),
        svg('<path fill="none" d="M0 0L1e99 1"/>'),
        svg('<path fill="none" d="M0 0L1 1" transform="scale(2)"/>'),
        svg('<g opacity="0.5"><path fill="none" d="M0 0L1 1"/></g>'),
        svg('<path fill="none" stroke="url(#a)" d="M0 0L1 1"/>'),
        svg('<path fill="none" stroke-width="wide" d="M0 0L1 1"/>'),
        svg("<text>hello</text>"),
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="5 5 20 10"/>',
    ],
)
def test_what_is_no_drawing_of_strokes_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as refusal:
        bezier.from_svg(text)
    assert refusal.value.code == "bad_svg"
    assert refusal.value.text("en") != refusal.value.text("zh")
