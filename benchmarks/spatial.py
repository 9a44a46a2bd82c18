"""Depth images of point clouds: ours, a plain loop, and the published code's way, in one process.

    python -m benchmarks.spatial [--repeats 10] [--device cpu]

Ten views of 10,000 points, and of a million. The plain loop goes over views and points in Python; for the million it is
not run. The published way, of PointCLIP's code, copies the cloud for each view, keeps a number for each pixel that a point
may cover, and adds values and weights with two scatters. The fastest of the repeats counts. Goals on two cores: 30 ms and 2 s.
Beside the time on the clock stands that of the processors, which other work on the machine changes less; the ratio is of
the latter.
The last lines are the projection of PointCLIP V2, for which torch's own pooling and convolution are the baseline.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from core import terminal
from core.spatial import projection
from core.spatial.projection import FEW_SHOT, V2, Perspective

BARS_MS = {10_000: 30.0, 1_000_000: 2000.0}


def cloud(count: int, device: str) -> Tensor:
    """[1, P, 3] points on a stretched ball of unit radius."""
    points = F.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    return (points * torch.tensor([1.0, 0.7, 0.5]))[None].to(device)


def loop(points: Tensor, settings: Perspective) -> Tensor:
    """Views and points one after the other."""
    side, images = settings.side, []
    for matrix in projection.rotations(settings.views):
        sums, weights = [0.0] * side**2, [0.0] * side**2
        for x, y, z in (points[0].cpu() @ matrix).tolist():
            depth = z + settings.distance
            row = math.ceil((x / depth + 1) * side / 2 - 0.5)
            column = math.ceil((y / depth + 1) * side / 2 - 0.5)
            if 0 <= row < side and 0 <= column < side:
                weights[row * side + column] += 1 / depth
                sums[row * side + column] += 1
        image = [one / other if other else 0 for one, other in zip(sums, weights, strict=True)]
        images.append(torch.tensor(image).reshape(side, side))
    return torch.stack(images)[None]


def published(points: Tensor, settings: Perspective) -> Tensor:
    """A copy of the cloud for each view, and a number for each pixel of each point."""
    count, side = len(settings.views), settings.side
    turned = points.repeat_interleave(count, 0) @ projection.rotations(settings.views).to(points)
    turned = turned - torch.tensor([0, 0, -settings.distance]).to(points)
    depth = turned[..., 2]
    place = (turned[..., :2] / (depth[..., None] + 1e-12) + 1) * side / 2
    step = torch.tensor([-0.5]).to(points)
    rows = (place[..., :1] + step)[..., None].repeat(1, 1, 1, 1).ceil()
    columns = (place[..., 1:] + step)[..., None, :].repeat(1, 1, 1, 1).ceil()
    value = depth[..., None, None].repeat(1, 1, 1, 1)
    inside = (rows >= 0) & (rows <= side - 1) & (columns >= 0) & (columns <= side - 1) & (value >= 0)
    weight = inside.float() / (value + 1e-12)
    pixel = ((rows % side) * side + columns % side).reshape(count, -1).long()
    weights = torch.zeros(count, side * side).to(points).scatter_add(1, pixel, weight.reshape(count, -1))
    values = torch.zeros(count, side * side).to(points)
    values = values.scatter_add(1, pixel, (value * weight).reshape(count, -1))
    return (values / (weights + (weights == 0))).reshape(1, count, side, side)


def pooled(points: Tensor) -> Tensor:
    """V2's grid with torch's pooling and convolution in place of shifts."""
    plain = replace(V2, pool=(1, 1), pool_padding=(0, 0), blur=(1, 1), blur_padding=(0, 0))
    grid = projection.project(points, plain)[0][:, None].expand(-1, V2.layers, -1, -1)[:, None]
    grid = F.max_pool3d(grid, (1, 7, 7), stride=1, padding=(0, 2, 2))
    kernel = torch.full((1, 1, 1, 3, 3), 1 / 9).to(grid)
    return F.conv3d(grid, kernel, padding=(0, 1, 1)).amax(2)


@dataclass(frozen=True)
class Spent:
    """Milliseconds of the fastest run: on the clock, and of the processors; of a GPU's run both are those of the clock."""

    clock: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.clock:9.1f} ms (CPU {self.cpu:9.1f} ms)"


def fastest(work: Callable[[], Tensor], repeats: int, device: str) -> Spent:
    """What the fastest of several runs takes."""
    clocks, cpus = [], []
    for _ in range(repeats):
        start, cpu = time.perf_counter(), time.process_time()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        clocks.append(1000 * (time.perf_counter() - start))
        cpus.append(1000 * (time.process_time() - cpu))
    return Spent(min(clocks), min(clocks if device.startswith("cuda") else cpus))


def line(name: str, ours: Spent, baseline: Spent | None, told: str, bar: float) -> None:
    """One row: ours, the baseline, the ratio, the goal."""
    ratio = "" if baseline is None else f"   {told} {baseline}   ratio {baseline.cpu / ours.cpu:7.1f}"
    print(f"{name:34} ours {ours}{ratio}   goal {bar:.0f} ms: {'met' if ours.clock < bar else 'missed'}")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spatial", description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{torch.get_num_threads()} threads, load {load:.1f}, {args.device}")
    for count, bar in BARS_MS.items():
        points = cloud(count, args.device)
        name = f"10 views x {count:,} points"
        ours = fastest(partial(projection.project, points, FEW_SHOT), args.repeats, args.device)
        theirs = fastest(partial(published, points, FEW_SHOT), max(2, args.repeats // 3), args.device)
        line(name, ours, theirs, "published way", bar)
        if count <= 10_000:
            slow = fastest(partial(loop, points, FEW_SHOT), 1, "cpu")
            line(name, ours, slow, "plain loop   ", bar)
        realistic = fastest(partial(projection.project, points, V2), args.repeats, args.device)
        base = fastest(partial(pooled, points), 2, args.device) if count <= 10_000 else None
        line(f"{name}, V2", realistic, base, "torch pooling", bar)


if __name__ == "__main__":
    sys.exit(terminal.run(main))
