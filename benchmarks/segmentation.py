"""Time of a changed label on the LSeg page, and time and memory of the full-size LSeg on a CPU.

    python -m benchmarks.segmentation labels [--labels 5] [--repeats 15]
    python -m benchmarks.segmentation full [--side 480]

`labels`: the image is encoded once; then the last label is replaced by a new one, again and again. A step reads its text,
computes the scores and the mask (goal: 200 ms on two cores) and draws the mask. The baseline encodes the image again in
the same process. The published size is timed with features of its shape, 240 x 240 x 512 for an image of 480 pixels, and a
text tower of ViT-B/32; their numbers are random, which takes the same time.

`full`: ViT-L/16 and ViT-B/32's text tower, with random numbers under the released names and shapes, are written to a file
and loaded as an imported file; one image is segmented. A process of its own reports its peak of resident memory (goal: 6 GB).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from core import checkpoints, terminal
from core.classroom.world.concepts import concepts
from core.clip import encoders
from core.clip.handles import remembered_texts
from core.segmentation import LSeg, lseg
from demos.draw import masks as segment_draw

ROOT = Path(__file__).resolve().parents[1]
SCENE = ROOT / "assets" / "examples" / "photos" / "two_dogs.jpg"
FULL = "lseg-vitl16"
BAR_MS, BAR_GB = 200, 6.0


def picture(side: int) -> Image.Image:
    """A photograph cut to a square of that side."""
    image = Image.open(SCENE).convert("RGB")
    return image.crop((0, 0, min(image.size), min(image.size))).resize((side, side))


def names(count: int, start: int = 0) -> list[str]:
    """Distinct labels: the classroom's concepts."""
    return [concepts()[(start + i) % len(concepts())].name("en") for i in range(count)]


class Sized(LSeg):
    """The published size without its weights: texts are read by a ViT-B/32 tower of random numbers."""

    def encode_text(self, labels: Sequence[str]) -> np.ndarray:
        return remembered_texts(self.key, labels, read)


@cache
def random_tower() -> encoders.OpenClipText:
    """The text tower of the published size."""
    torch.manual_seed(0)
    clip = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32")).eval().requires_grad_(False)
    clip.visual = None
    row = replace(checkpoints.row(FULL), options={"model": "ViT-B-32"})
    return encoders.OpenClipText(clip, encoders.open_clip_tokenizer({}, row, clip.context_length))


def read(labels: Sequence[str]) -> np.ndarray:
    """Text features [N, D], norm 1."""
    with torch.inference_mode():
        tower = random_tower()
        found = tower(tower.tokenize(labels), "cpu")
        return torch.nn.functional.normalize(found.float(), dim=-1).numpy()


@dataclass(frozen=True)
class Spent:
    """Milliseconds of each step: by the clock, and of CPU time of all threads."""

    wall: list[float]
    cpu: list[float]

    def __str__(self) -> str:
        slowest, cpu = max(self.wall), statistics.median(self.cpu)
        return f"{self.median:.1f} ms median, {slowest:.1f} ms slowest, {cpu:.1f} ms of CPU time"

    @property
    def median(self) -> float:
        """By the clock."""
        return statistics.median(self.wall)


def timed(steps: Sequence[Callable[[], object]]) -> Spent:
    """Runs each step once."""
    spent = Spent([], [])
    for step in steps:
        start, cpu = time.perf_counter(), time.process_time()
        step()
        spent.wall.append(1000 * (time.perf_counter() - start))
        spent.cpu.append(1000 * (time.process_time() - cpu))
    return spent


def changes(model: LSeg, image: Image.Image | lseg.EncodedImage, count: int, repeats: int) -> Spent:
    """The time of each change of the last of `count` labels."""
    kept = names(count - 1)
    return timed(
        [lambda k=k: model.segment(image, [*kept, *names(1, count + k)]) for k in range(repeats)]  # type: ignore[misc]
    )


def labels(count: int, repeats: int) -> None:
    """A change of labels, in the miniature and at the published size."""
    model, image = LSeg.load("classroom-lseg", "cpu"), picture(480)
    encoded = model.encode(image)
    changes(model, encoded, count, 3)  # kernels and the pool are warm
    encoders.TEXT_FEATURES.clear()
    ours = changes(model, encoded, count, repeats)
    print(f"classroom-lseg, {count} labels, one changed: {ours} (bar {BAR_MS} ms)", flush=True)

    def again(k: int) -> None:
        lseg.ENCODED_IMAGES.clear()
        model.segment(image, [*names(count - 1), *names(1, count + repeats + k)])

    baseline = timed([lambda k=k: again(k) for k in range(repeats)])  # type: ignore[misc]
    print(f"with the image encoded again: {baseline}; ratio {baseline.median / ours.median:.1f}x", flush=True)
    found = model.segment(encoded, names(count))
    colours = segment_draw.palette(count)
    drawn = timed(
        [lambda: segment_draw.overlay(image, found.mask, found.labels, colours, 0.6, "en")] * repeats
    )
    print(f"drawing the overlay of {image.width} x {image.height} pixels: {drawn}", flush=True)

    generator = torch.Generator().manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(240, 240, 512, generator=generator), dim=-1).numpy()
    large = Sized(FULL, "cpu", torch.float32)
    sized = lseg.EncodedImage(FULL, "random", image.size, features)
    module: Any = lseg
    module._blocks = lambda _: nn.Identity()  # the row has no block, and no file that could hold one
    changes(large, sized, count, 3)
    encoders.TEXT_FEATURES.clear()
    print(
        f"published size, {count} labels, one changed: {changes(large, sized, count, repeats)} (bar {BAR_MS} ms)"
    )


def full(side: int) -> None:
    """Writes the file, then runs a process that loads it and prints its time and memory."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        state = {}
        generator = torch.Generator().manual_seed(0)
        for name, wanted in lseg.tensors(checkpoints.row(FULL), {}).items():
            # Scaled by the fan-in, so that deep stacks neither fade nor burst.
            shape = wanted.shape
            fan = max(1, int(np.prod(shape[1:])))
            state[name] = (
                torch.zeros(shape, dtype=torch.long) if name.endswith("num_batches_tracked")
                else torch.rand(shape, generator=generator) if len(shape) < 2
                else torch.randn(shape, generator=generator) / fan**0.5
            )  # fmt: skip
        save_file(state, home / "lseg_vitl16.safetensors")
        del state
        text = (ROOT / "core" / "checkpoints" / "registry.toml").read_text(encoding="utf-8")
        head = text.index(f"[{FULL}]")
        table = text[head : text.index(f"[{FULL}.import]")].replace(
            'paper = "lseg"', f'paper = "lseg"\nbundled = "{home.as_posix()}"'
        )
        (home / "registry.toml").write_text(
            f'{table}\n[[{FULL}.files]]\npath = "lseg_vitl16.safetensors"\n', encoding="utf-8"
        )
        environment = {**os.environ, "CLIP_ATLAS_REGISTRY": str(home / "registry.toml")}
        subprocess.run(
            [sys.executable, "-m", "benchmarks.segmentation", "child", "--side", str(side)],
            cwd=ROOT,
            env=environment,
            check=True,
        )


def child(side: int) -> None:
    """Loads the full-size row and segments one image."""

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)

    start = time.perf_counter()
    model = LSeg.load(FULL, "cpu")
    print(f"{FULL}, float32: loaded in {time.perf_counter() - start:.1f} s, peak {peak():.2f} GiB")
    image = picture(side)
    first, second = (model.segment(image, names(5, 5 * k)) for k in range(2))
    spent = first.timings
    print(f"{side} x {side} pixels: encoded in {spent['encode_image'] / 1000:.2f} s")
    print(f"5 labels: read in {spent['encode_text']:.0f} ms, maps and mask in {spent['segment']:.0f} ms")
    print(f"5 other labels on the same image: {1000 * second.seconds:.0f} ms (bar {BAR_MS} ms)")
    print(
        f"peak of resident memory {peak():.2f} GiB = {peak() * (1 << 30) / 1e9:.2f} GB (bar {BAR_GB:.0f} GB)"
    )


def main() -> None:
    """Prints the machine and the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", choices=["labels", "full", "child"])
    parser.add_argument("--labels", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--side", type=int, default=480, help="long side of the image")
    arguments = parser.parse_args()
    if arguments.which == "child":
        child(arguments.side)
        return
    print(f"cpu, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if hasattr(os, "getloadavg"):
        print(f"load of the last minute {os.getloadavg()[0]:.2f}", flush=True)
    if arguments.which == "full":
        full(arguments.side)
        return
    labels(arguments.labels, arguments.repeats)


if __name__ == "__main__":
    sys.exit(terminal.run(main))
