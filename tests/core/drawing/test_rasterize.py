"""The rasterizer: derivatives, composition, degenerate strokes, the backends and their agreement."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from core.drawing import bezier
from core.drawing import rasterize as rasterize_module
from core.drawing.rasterize import available, chosen, load, render
from core.errors import Refusal

ROOT = Path(__file__).resolve().parents[3]


def scene(
    batch: int, strokes: int, cubics: int = 1, side: float = 40, dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    """Random strokes of a few widths and colours, as leaves."""
    generator = torch.Generator().manual_seed(7)
    starts = torch.rand(batch, strokes, 2, generator=generator) * side
    points = bezier.walk(starts, side / 2, generator, cubics)
    widths = torch.rand(batch, strokes, generator=generator) * 4 + 1
    colors = torch.rand(batch, strokes, 4, generator=generator)
    return [value.to(dtype).requires_grad_() for value in (points, widths, colors)]


def gradients(leaves: list[torch.Tensor], size: Any, **options: Any) -> tuple[torch.Tensor, ...]:
    """Image and gradients of its product with a fixed smooth noise."""
    image = render(*leaves, size, **options)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(image.shape, generator=generator, dtype=torch.float64).to(image.dtype)
    noise = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    return image.detach(), *torch.autograd.grad((image * noise).sum(), leaves)


def relative(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return float((ours - reference).norm() / reference.norm())


@pytest.mark.parametrize("cubics", [1, 3])
def test_gradients_are_central_differences(cubics: int) -> None:
    leaves = scene(2, 3, cubics, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2, 3, 37, 45, generator=generator, dtype=torch.float64)
    ground = torch.rand(2, 3, 37, 45, generator=generator, dtype=torch.float64)

    def loss(*values: torch.Tensor) -> torch.Tensor:
        return (render(*values, (37, 45), ground) * noise).sum()

    for leaf, grad in zip(leaves, torch.autograd.grad(loss(*leaves), leaves), strict=True):
        numeric = torch.zeros_like(grad).flatten()
        flat = leaf.data.view(-1)
        for i in range(flat.numel()):
            before, values = flat[i].item(), []
            for step in (1e-6, -1e-6):
                flat[i] = before + step
                values.append(loss(*(value.detach() for value in leaves)).item())
            flat[i] = before
            numeric[i] = (values[0] - values[1]) / 2e-6
        assert relative(grad.flatten(), numeric) < 1e-3


def test_width_of_a_closed_loop_against_central_differences_of_a_fine_render() -> None:
    points = torch.tensor([[[[60.1, 50.2], [10.4, 8.3], [95.6, 10.2], [60.1, 50.2]]]]).double() * 0.6
    colors = torch.tensor([[[0.0, 0, 0, 1]]]).double()

    def ink(width: float) -> float:
        return (1 - render(points, torch.tensor([[width]]).double(), colors, 64, quality=4)).sum().item()

    width = torch.tensor([[3.0]]).double().requires_grad_()
    (grad,) = torch.autograd.grad((1 - render(points, width, colors, 64)).sum(), width)
    assert grad.item() == pytest.approx((ink(3.02) - ink(2.98)) / 0.04, rel=0.01)


def test_fine_render_agrees() -> None:
    leaves = scene(2, 6)
    once, fine = gradients(leaves, 48), gradients(leaves, 48, quality=4)
    assert (once[0] - fine[0]).abs().mean() < 2e-3
    assert (once[0] - fine[0]).square().mean().sqrt() < 8e-3
    for ours, reference in zip(once[1:], fine[1:], strict=True):
        assert relative(ours, reference) < 0.1


def test_a_batch_is_its_scenes() -> None:
    points, widths, colors = scene(3, 4, 2)
    together = render(points, widths, colors, (33, 50), 0.25)
    for i in range(3):
        alone = render(points[i : i + 1], widths[i : i + 1], colors[i : i + 1], (33, 50), 0.25)
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-6, rtol=0)


def test_ink_of_a_straight_stroke() -> None:
    # Evenly spaced and exactly straight, where diffvg draws two caps only.
    points = torch.tensor([[[[20.3, 30.1], [40.3, 45.1], [60.3, 60.1], [80.3, 75.1]]]])
    ink = (1 - render(points, torch.tensor([[5.0]]), torch.tensor([[[0.0, 0, 0, 1]]]), 100)).sum() / 3
    assert ink.item() == pytest.approx(75 * 5 + math.pi * 2.5**2, rel=2e-3)


def test_pixels_are_those_of_svg() -> None:
    # A vertical bar over x in [8, 12] and rows 5 to 15 inclusive, away from its caps.
    points = torch.tensor([[[[10.0, 0], [10, 7], [10, 14], [10, 21]]]])
    image = render(points, torch.tensor([[4.0]]), torch.tensor([[[1.0, 0, 0, 1]]]), (21, 24), 0.0)
    expected = torch.zeros(3, 11, 24)
    expected[0, :, 8:12] = 1
    torch.testing.assert_close(image[0, :, 5:16], expected, atol=1e-4, rtol=0)


def test_paint_order_and_one_layer_a_path() -> None:
    line = torch.tensor([[2.0, 10], [8, 10], [14, 10], [20, 10]])
    colors = torch.tensor([[[1.0, 0, 0, 1], [0, 0, 1, 0.5]]])
    image = render(torch.stack([line, line])[None], torch.full((1, 2), 6.0), colors, 22)
    torch.testing.assert_close(image[0, :, 10, 11], torch.tensor([0.5, 0, 0.5]))
    image = render(torch.stack([line, line])[None], torch.full((1, 2), 6.0), colors.flip(1), 22)
    torch.testing.assert_close(image[0, :, 10, 11], torch.tensor([1.0, 0, 0]))
    # There and back again is one path: half transparent paint stays half transparent.
    back = torch.cat([line, line.flip(0)[1:]])
    image = render(back[None, None], torch.full((1, 1), 6.0), torch.tensor([[[0.0, 0, 0, 0.5]]]), 22)
    assert image.min().item() == pytest.approx(0.5, abs=1e-5)


def test_edges_of_coloured_strokes_are_not_darkened() -> None:
    points, widths, colors = scene(1, 5)
    white = torch.ones_like(colors)
    torch.testing.assert_close(render(points, widths, white, 40), torch.ones(1, 3, 40, 40))


def test_padding_a_path_changes_nothing() -> None:
    points, widths, colors = scene(1, 3)
    padded = torch.cat([points, points[:, :, -1:].expand(-1, -1, 6, 2)], dim=2)
    plain, more = gradients([points, widths, colors], 40), gradients([padded, widths, colors], 40)
    torch.testing.assert_close(plain[0], more[0], atol=1e-5, rtol=0)
    summed = torch.cat([more[1][:, :, :3], more[1][:, :, 3:].sum(2, keepdim=True)], dim=2)
    torch.testing.assert_close(plain[1], summed, atol=1e-3, rtol=1e-3)


HARD = {
    "dot": ([[20.5, 20.5]] * 4, 3.0),
    "dot on a corner": ([[20.0, 20.0]] * 4, 0.1),
    "no width": ([[5.0, 5], [10, 30], [30, 10], [35, 35]], 0.0),
    "negative width": ([[5.0, 5], [10, 30], [30, 10], [35, 35]], -2.0),
    "hair": ([[5.0, 5], [10, 30], [30, 10], [35, 35]], 1e-6),
    "off canvas": ([[-500.0, -500], [-490, -400], [-480, -500], [-400, -450]], 8.0),
    "far off": ([[1e30, -1e30], [1e20, 1e10], [-1e30, 1e30], [1e38, 1e38]], 8.0),
    "cusp": ([[5.0, 20], [45, 35], [-5, 35], [35, 20]], 3.0),
    "doubled ends": ([[5.0, 5], [5, 5], [35, 30], [35, 30]], 3.0),
    "there and back": ([[5.0, 5], [30, 30], [30, 30], [5, 5]], 3.0),
    "everything": ([[5.0, 5], [10, 30], [30, 10], [35, 35]], 1e9),
    "across pixel centres": ([[0.5, 10.5], [10.5, 10.5], [20.5, 10.5], [30.5, 10.5]], 1.0),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_ever_nan(name: str, dtype: torch.dtype) -> None:
    points, width = HARD[name]
    leaves = [
        torch.tensor(value, dtype=dtype, requires_grad=True)
        for value in ([[points] * 2], [[width] * 2], [[[0.2, 0.4, 0.6, 1.0], [1.0, 0.0, 0.0, 0.5]]])
    ]
    image, *grads = gradients(leaves, 40)
    assert image.isfinite().all() and image.min() >= -1e-6 and image.max() <= 1 + 1e-6
    assert all(grad.isfinite().all() for grad in grads)
    if name in ("off canvas", "far off", "no width", "negative width"):
        torch.testing.assert_close(image, torch.ones_like(image))
    if name == "everything":
        torch.testing.assert_close(image[0, :, 20, 20], torch.tensor([0.6, 0.2, 0.3], dtype=dtype))
    if name == "negative width":
        assert not grads[1].any()


def test_a_dot_is_a_disc() -> None:
    points = torch.full((1, 1, 4, 2), 20.3)
    for width, tolerance in ((1.0, 0.1), (3.0, 0.01), (9.0, 0.005)):
        ink = (1 - render(points, torch.tensor([[width]]), torch.tensor([[[0.0, 0, 0, 1]]]), 40)).sum() / 3
        assert ink.item() == pytest.approx(math.pi * width**2 / 4, rel=tolerance)


def test_no_strokes_leave_the_background() -> None:
    ground = torch.rand(2, 3, 9, 7)
    image = render(torch.zeros(2, 0, 4, 2), torch.zeros(2, 0), torch.zeros(2, 0, 4), (9, 7), ground)
    torch.testing.assert_close(image, ground)
    assert image.data_ptr() != ground.data_ptr()


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (17, 5)])
@pytest.mark.parametrize("quality", [1, 2, 4])
def test_sizes_and_backgrounds(size: tuple[int, int], quality: int) -> None:
    points, widths, colors = scene(2, 3, side=10)
    one = torch.rand(3)
    wide = one.view(3, 1, 1).expand(3, *size)
    images = [
        render(points, widths, colors, size, ground, quality=quality)
        for ground in (one, one.tolist(), wide, wide[None], wide.expand(2, 3, *size))
    ]
    assert images[0].shape == (2, 3, *size) and images[0].dtype == torch.float32
    for image in images[1:]:
        torch.testing.assert_close(image, images[0], atol=1e-6, rtol=0)


def test_wrong_arguments_are_refused() -> None:
    points, widths, colors = (leaf.detach() for leaf in scene(2, 3))
    for arguments, message in (
        ((points[0], widths, colors, 40), "points must be"),
        ((points[:, :, :3], widths, colors, 40), "points must be"),
        ((points, widths[:1], colors, 40), "widths must be"),
        ((points, widths, colors[..., :3], 40), "colors"),
        ((points, widths, colors, (0, 40)), "size must be"),
        ((points, widths, colors, 40, torch.ones(3, 8, 8)), "background must be 40 x 40"),
        ((points, widths, colors, 40, torch.ones(5)), "background must be a grey"),
        ((points * torch.nan, widths, colors, 40), "points must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            render(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="quality"):
        render(points, widths, colors, 40, quality=3)


def test_autocast_and_threads_are_left_alone() -> None:
    leaves = scene(1, 3)
    expected = gradients(leaves, 40)
    before = torch.get_num_threads()
    with torch.autocast("cpu", torch.bfloat16):
        for ours, reference in zip(gradients(leaves, 40), expected, strict=True):
            torch.testing.assert_close(ours, reference)
    assert torch.get_num_threads() == before


def test_the_choice_of_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLIP_ATLAS_RASTERIZER", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert chosen("cpu") == chosen("mps") == "torch"
    assert available("mps")[0] == "torch"
    monkeypatch.setenv("CLIP_ATLAS_RASTERIZER", "Torch")
    assert chosen("cuda") == "torch"
    monkeypatch.setenv("CLIP_ATLAS_RASTERIZER", "triton")
    with pytest.raises(Refusal, match="triton") as refusal:
        chosen("cpu")
    assert refusal.value.code == "no_rasterizer" and "triton" in refusal.value.text("zh")
    monkeypatch.setenv("CLIP_ATLAS_RASTERIZER", "cairo")
    with pytest.raises(Refusal, match="auto, torch, triton, diffvg"):
        chosen("cpu")
    monkeypatch.delenv("CLIP_ATLAS_RASTERIZER")
    monkeypatch.setattr(rasterize_module, "_triton_agrees", lambda: True)
    assert chosen("cuda") == "triton"
    monkeypatch.setattr(rasterize_module, "_triton_agrees", lambda: False)
    assert chosen("cuda") == "torch"


class FakeDiffvg(ModuleType):
    """pydiffvg's calls, answered by the torch backend: what is tested is how they are made."""

    def __init__(self) -> None:
        super().__init__("pydiffvg")
        self.RenderFunction = self

    def set_use_gpu(self, use: bool) -> None:
        assert not use

    def set_device(self, device: torch.device) -> None:
        assert device.type == "cpu"

    class Path:
        def __init__(self, num_control_points: Any, points: Any, is_closed: bool, stroke_width: Any) -> None:
            assert (num_control_points == 2).all() and not is_closed
            assert points.shape == (3 * len(num_control_points) + 1, 2)
            self.points, self.radius = points, stroke_width

    class ShapeGroup:
        def __init__(self, shape_ids: Any, fill_color: None, stroke_color: Any) -> None:
            assert fill_color is None
            self.shape, self.color = int(shape_ids), stroke_color

    def serialize_scene(self, width: int, height: int, shapes: Any, groups: Any) -> list[Any]:
        return [shapes, groups]

    def apply(
        self, width: int, height: int, samples_x: int, samples_y: int, seed: int, background: Any, *scene: Any
    ) -> torch.Tensor:
        shapes, groups = scene
        assert background.shape == (height, width, 4) and (background[..., 3] == 1).all()
        points = bezier.pad([shapes[group.shape].points for group in groups])
        radii = torch.stack([shapes[group.shape].radius for group in groups])
        colors = torch.stack([group.color for group in groups])
        image = load("torch").render(
            points[None],
            2 * radii[None],
            colors[None],
            (height, width),
            background[None, ..., :3].permute(0, 3, 1, 2),
        )
        return torch.cat([image[0], torch.ones(1, height, width)]).permute(1, 2, 0)


def test_the_diffvg_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydiffvg", FakeDiffvg())
    points, widths, colors = scene(2, 4, 2)
    with torch.no_grad():
        points[0, 1, 4:] = points[0, 1, 3]
    leaves, ground = [points, widths, colors], torch.rand(2, 3, 33, 41)
    ours = gradients(leaves, (33, 41), background=ground)
    theirs = [value.detach() for value in gradients_of(load("diffvg"), leaves, ground)]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=1e-3)


def gradients_of(
    module: ModuleType, leaves: list[torch.Tensor], ground: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    image = module.render(*leaves, ground.shape[2:], ground)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(image.shape, generator=generator, dtype=torch.float64).to(image.dtype)
    noise = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    return image.detach(), *torch.autograd.grad((image * noise).sum(), leaves)


INTERPRET = """
import sys
import torch
torch.manual_seed(0)
from core.drawing.rasterize import render
torch.set_num_threads(1)
for cubics, strokes, size in ((1, 3, (20, 24)), (2, 2, (18, 17))):
    points = torch.rand(2, strokes, 1, 2) * 20 + torch.randn(2, strokes, 3 * cubics + 1, 2) * 5
    widths, colors = torch.rand(2, strokes) * 4 + 0.5, torch.rand(2, strokes, 4)
    points[0, 0] = points[0, 0, 0]  # a dot
    colors[:, -1, 3] = 1  # opaque on top
    points[1, 0] += 1000  # off the canvas
    ground, weight = torch.rand(2, 3, *size), torch.randn(2, 3, *size)
    answers = []
    for backend in ("torch", "triton"):
        leaves = [value.clone().requires_grad_() for value in (points, widths, colors)]
        image = render(*leaves, size, ground, backend=backend)
        grads = torch.autograd.grad((image * weight).sum(), leaves)
        grads[0][0, 0] = grads[0][0, 0].sum(0)  # a dot's gradient may be split in any way over its points
        answers.append((image.detach(), *grads))
    for name, ours, reference in zip(("image", "points", "widths", "colors"), answers[1], answers[0]):
        error = float((ours - reference).norm() / reference.norm())
        assert ours.isfinite().all() and error < (1e-3 if name == "image" else 0.02), (name, error)
        print(name, error)
"""


def test_triton_in_the_interpreter_agrees_with_torch() -> None:
    pytest.importorskip("triton")
    answer = subprocess.run(
        [sys.executable, "-c", INTERPRET],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("points") == 2


def test_triton_compiles_for_nvidia() -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from core.drawing.rasterize import triton_backend

    if triton.knobs.runtime.interpret:
        pytest.skip("the kernels of this process are for the interpreter")
    integers = {"S", "height", "width", "rows", "columns", "bg_scene", "bg_channel", "bg_row", "bg_column"}
    constants = {"J": 2, "K": 16, "T": triton_backend.TILE, "STEPS": 3, "N": triton_backend.BLOCK}
    for kernel in (triton_backend._bin, triton_backend._draw, triton_backend._draw_backward):
        types = {
            name: "constexpr"
            if name in constants
            else "i32"
            if name in integers
            else "*i32"
            if name in ("members", "counts")
            else "*fp32"
            for name in kernel.arg_names
        }
        values = {(i,): constants[name] for i, name in enumerate(kernel.arg_names) if name in constants}
        source = ASTSource(fn=kernel, signature=types, constexprs=values)
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8})
        assert len(compiled.asm["cubin"]) > 1000
