"""The rasterizer, compared with a dense version that compares every pixel with every stroke.

    python -m benchmarks.rasterizer [--device cpu|cuda|mps] [--backend torch|triton] [--repeats 30]
    [--threads 1]

The scenes hold black strokes, 3 pixels wide and about 64 long, as in the middle of a CLIPasso run, on 224 x 224. The loss is
the mean squared error to a fixed image. All versions run in one process, one after another, and the fastest of the
repeats counts. The dense version computes the same nearest points and areas for all pixels and leaves the gradient to
autograd. The last column is the root mean square difference of both images. Columns for diffvg (2 x 2 samples, its default)
appear where pydiffvg is installed. The first lines print the load and the speed of the machine. On a GPU two larger scenes
follow.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from core import terminal
from core.drawing import bezier
from core.drawing.rasterize import available, chosen, render, torch_coverage

SIZE = (224, 224)
CHORDS = 16

Draw = Callable[[Tensor, Tensor, Tensor], Tensor]
Step = Callable[[], object]


def scene(batch: int, strokes: int, size: tuple[int, int], step: float, device: str) -> list[Tensor]:
    """points, widths, colors of random strokes from a seed, as leaves."""
    generator = torch.Generator().manual_seed(0)
    starts = bezier.uniform(batch * strokes, size, generator).view(batch, strokes, 2)
    points = bezier.walk(starts, step, generator)
    widths, colors = torch.full((batch, strokes), 3.0), torch.tensor([0.0, 0, 0, 1]).expand(batch, strokes, 4)
    return [value.to(device).clone().requires_grad_() for value in (points, widths, colors)]


def dense(points: Tensor, widths: Tensor, colors: Tensor) -> Tensor:
    """All pixels of a scene of single cubics, on white: [1, 3, H, W]."""
    height, width = SIZE
    cubics = points[0]  # [S, 4, 2]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = (torch.stack([x, y]).flatten(1).to(points) + 0.5)[:, None]  # [2, 1, H W]
    with torch.no_grad():
        t = torch.linspace(0, 1, CHORDS + 1, device=points.device)
        vertices = bezier.evaluate(cubics, t.expand(len(cubics), -1))  # [S, K + 1, 2]
        best = torch.full((len(cubics), height * width), torch.inf, device=points.device)
        start = torch.zeros_like(best)
        for k in range(CHORDS):
            a, along = vertices[:, k].T[..., None], (vertices[:, k + 1] - vertices[:, k]).T[..., None]
            to = pixels - a  # [2, S, H W]
            part = ((to * along).sum(0) / along.square().sum(0).clamp_min(1e-12)).clamp(0, 1)
            squared = (to - part * along).square().sum(0)
            start = torch.where(squared < best, (k + part) / CHORDS, start)
            best = torch.minimum(best, squared)
    p0, p1, p2, p3 = cubics.permute(1, 2, 0)[..., None]  # [2, S, 1] each
    powers = torch.stack([p0, 3 * (p1 - p0), 3 * (p2 - 2 * p1 + p0), p3 - p0 + 3 * (p1 - p2)])
    with torch.no_grad():
        edge = torch_coverage.nearest(powers, pixels, start)
    # The parameter and the edge's direction are held; the distance carries the gradient.
    curve = ((powers[3] * edge.t + powers[2]) * edge.t + powers[1]) * edge.t + powers[0]
    distance = (curve - pixels).square().sum(0).clamp_min(1e-12).sqrt()
    nx, ny = edge.normal.abs()
    big, small = torch.maximum(nx, ny), torch.minimum(nx, ny).clamp_min(1e-4)
    radius = widths[0, :, None] / 2
    area = torch.zeros_like(distance)
    for u in (radius - distance, radius + distance):
        v = torch.minimum(u.abs(), (big + small) / 2)
        w = (v - (big - small) / 2).clamp_min(0)
        area = area + u.sign() * (v - w.square() / (2 * small)) / big
    opacity = area * colors[0, :, 3:]  # [S, H W]
    through = torch.cat([1 - opacity[1:], torch.ones_like(opacity[:1])]).flip(0).cumprod(0).flip(0)
    weight = opacity * through
    image = torch.einsum("sp,sc->cp", weight, colors[0, :, :3]) + through[0] * (1 - opacity[0])
    return image.view(1, 3, height, width)


def fastest(step: Step, repeats: int, device: str) -> float:
    """Milliseconds of the fastest of `repeats` steps, after two that do not count."""
    times = []
    for i in range(repeats + 2):
        start = time.perf_counter()
        step()
        if device != "cpu":
            getattr(torch, device).synchronize()
        if i > 1:
            times.append(time.perf_counter() - start)
    return 1000 * min(times)


def forward(draw: Draw, leaves: list[Tensor]) -> Step:
    """The forward pass alone, without what the gradient would need."""

    def step() -> Tensor:
        with torch.no_grad():
            return draw(*leaves)

    return step


def both(draw: Draw, leaves: list[Tensor], size: tuple[int, int]) -> Step:
    """The squared error to a fixed image, and its gradient."""
    shape = (len(leaves[0]), 3, *size)
    target = torch.rand(shape, generator=torch.Generator().manual_seed(1)).to(leaves[0].device)

    def step() -> object:
        loss = (draw(*leaves) - target).square().mean()
        return torch.autograd.grad(loss, leaves)

    return step


def on_white(name: str, size: tuple[int, int]) -> Draw:
    def draw(points: Tensor, widths: Tensor, colors: Tensor) -> Tensor:
        return render(points, widths, colors, size, backend=name)

    return draw


def row(strokes: int, name: str, device: str, repeats: int) -> list[float]:
    """The numbers of one line of the table."""
    one, three = scene(1, strokes, SIZE, 40, device), scene(3, strokes, SIZE, 40, device)
    draw = on_white(name, SIZE)
    ours = fastest(both(draw, one, SIZE), repeats, device)
    batch = fastest(both(draw, three, SIZE), repeats, device)
    slow = fastest(both(dense, one, SIZE), 2, device)
    with torch.no_grad():
        difference = (draw(*one) - dense(*one)).square().mean().sqrt().item()
    alone = fastest(forward(draw, one), repeats, device)
    numbers = [alone, ours, batch, batch / ours, slow, slow / ours, difference]
    if "diffvg" in available(device):
        theirs = fastest(both(on_white("diffvg", SIZE), one, SIZE), 5, device)
        numbers += [theirs, theirs / ours]
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, name = arguments.device, chosen(arguments.device, arguments.backend)
    matrix = torch.rand(2048, 2048, device=device)
    print(f"rasterizer {name} on {device}, {torch.get_num_threads()} thread(s), {SIZE[0]} x {SIZE[1]}, ms")
    print(f"a product of 2048 x 2048 matrices: {fastest(lambda: matrix @ matrix, 5, device):.1f}")
    if hasattr(os, "getloadavg"):
        print(f"load of the last minute: {os.getloadavg()[0]:.2f}")

    head = ["strokes", "forward", "both", "3 scenes", "ratio", "dense", "ratio", "rms"]
    if "diffvg" in available(device):
        head += ["diffvg", "ratio"]
    print(" ".join(f"{word:>9}" for word in head))
    for strokes in (16, 32, 64):
        numbers = row(strokes, name, device, arguments.repeats)
        print(
            f"{strokes:>9} "
            + " ".join(f"{value:9.4f}" if value < 0.1 else f"{value:9.2f}" for value in numbers)
        )

    if device == "cuda":
        for batch, strokes, size, step in ((1, 2048, (1344, 2040), 60), (12, 16, SIZE, 40)):
            leaves, draw = scene(batch, strokes, size, step, device), on_white(name, size)
            alone = fastest(forward(draw, leaves), arguments.repeats, device)
            total = fastest(both(draw, leaves, size), arguments.repeats, device)
            print(f"{batch} x {strokes} at {size[1]} x {size[0]}: {alone:.2f} forward, {total:.2f} both")


if __name__ == "__main__":
    sys.exit(terminal.run(main))
