"""Everything here that was written for a GPU, in one command; under 8 minutes on one card.

    python -m benchmarks.gpu [--device cuda] [--json FILE] [--tiny]

A table with a line for each measurement: its value, its bar and whether it holds, and JSON with the same. Rasterizers: the
Triton kernels against torch in double precision (image and gradients) and against the records, and the times of two large
scenes. Then steps of the official CLIPasso schedule, multiplied; GLIP-T at 800 x 1333 in bfloat16; the CLIP page's batch of
images and labels; and the peak of memory of each part. All weights are random, which takes the same time. `--tiny` runs every
part at small sizes: that is what the test does on a CPU. A part that fails is a line that says why, and the others follow.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks import clipasso as of_clipasso
from benchmarks.rasterizer import both, fastest, on_white, scene
from core import checkpoints, runtime, terminal
from core.clip import encoders
from core.detection.glip import boxes
from core.detection.glip.network import GLIPNet, architectures
from core.drawing import bezier, clipasso
from core.drawing.clipasso import SketchSettings
from core.drawing.rasterize import available, render

RECORDS = Path(__file__).resolve().parents[1] / "tests" / "parity" / "records" / "raster"
IMAGE_BAR, CROWDED_BAR, GRADIENT_BAR = 0.008, 0.012, 0.05  # root mean square of an image; share of a gradient


@dataclass(frozen=True)
class Sizes:
    """How large the parts are."""

    scenes: int | None  # of the records; None for all
    large: tuple[tuple[int, int, tuple[int, int], float], ...]  # scenes, strokes, (height, width), step
    repeats: int
    steps: int  # of CLIPasso that are timed
    settings: SketchSettings
    glip: str
    image: tuple[int, int]  # height, width of GLIP's image
    words: int
    clip: str
    images: int
    labels: int


FULL = Sizes(
    scenes=None,
    large=((1, 2048, (1344, 2040), 60.0), (12, 16, (224, 224), 40.0)),
    repeats=20,
    steps=200,
    settings=replace(clipasso.official(), checkpoint="clip-rn101", saliency="clip-vit-b32"),
    glip="glip_tiny",
    image=(800, 1333),
    words=195,
    clip="clip-vit-b32",
    images=64,
    labels=1000,
)
TINY = Sizes(
    scenes=2,
    large=((2, 4, (40, 56), 10.0),),
    repeats=1,
    steps=2,
    settings=SketchSettings(checkpoint="classroom-rn", seeds=1),
    glip="glip_classroom",
    image=(64, 96),
    words=5,
    clip="classroom-rn",
    images=2,
    labels=3,
)


@dataclass(frozen=True)
class Line:
    """One measurement; `holds` is None where there is no bar, or none on this device."""

    part: str
    what: str
    value: float | None
    unit: str
    bar: float | None = None  # the value is at most this
    reason: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the bar is kept."""
        return None if self.bar is None or self.value is None else self.value <= self.bar

    def to_json(self) -> dict[str, Any]:
        """The line as plain values."""
        return {**asdict(self), "holds": self.holds}


def is_bundled(checkpoint: str) -> bool:
    """Whether a row has its weights here; others get random ones."""
    return checkpoints.row(checkpoint).bundled is not None


def backends(device: str) -> list[str]:
    """The rasterizers of this device that are compared."""
    return [name for name in available(device) if name in ("torch", "triton")]


def agreement(device: str, sizes: Sizes) -> Iterator[Line]:
    """Every backend against torch in double precision: the image, and the gradients of a loss that looks like noise."""
    batch, strokes, size, step = sizes.large[-1]
    weight = torch.randn((batch, 3, *size), generator=torch.Generator().manual_seed(2)).to(device)

    def drawn(name: str, dtype: torch.dtype) -> list[Tensor]:
        leaves = [
            value.detach().to(dtype).requires_grad_() for value in scene(batch, strokes, size, step, device)
        ]
        image = on_white(name, size)(*leaves)
        return [image.detach(), *torch.autograd.grad((image * weight).sum(), leaves)]

    wanted = drawn("torch", torch.float64)
    for name in backends(device):
        made = drawn(name, torch.float32)
        rms = float((made[0] - wanted[0]).square().mean().sqrt())
        yield Line("rasterizer", f"{name} against double precision: image", rms, "rms", IMAGE_BAR)
        for part, ours, theirs in zip(("points", "widths", "colours"), made[1:], wanted[1:], strict=True):
            share = float((ours - theirs).norm() / theirs.norm().clamp_min(1e-12))
            what = f"{name} against double precision: gradient of {part}"
            yield Line("rasterizer", what, share, "", GRADIENT_BAR)


def records(device: str, sizes: Sizes) -> Iterator[Line]:
    """Every backend against images that were computed by brute force."""
    scenes = json.loads((RECORDS / "scenes.json").read_text(encoding="utf-8"))["scenes"][: sizes.scenes]
    images = np.load(RECORDS / "images.npz")
    for name in backends(device):
        worst: dict[bool, float] = {}  # by whether the scene is crowded
        for one in scenes:
            paths = one["paths"]
            points = bezier.pad([torch.tensor(path["points"]) for path in paths])[None]
            widths = torch.tensor([[path["width"] for path in paths]])
            colors = torch.tensor([[path["rgba"] for path in paths]])
            leaves = [value.float().to(device) for value in (points, widths, colors)]
            shape = (one["height"], one["width"])
            image = render(leaves[0], leaves[1], leaves[2], shape, backend=name)[0]
            error = image.permute(1, 2, 0).cpu().numpy() - images[f"{one['id']}/ref"]
            crowded = len(paths) >= 64
            worst[crowded] = max(worst.get(crowded, 0.0), float(np.sqrt(np.square(error).mean())))
        for crowded, rms in worst.items():
            what = f"{name} against the {'crowded ' if crowded else ''}records"
            yield Line("rasterizer", what, rms, "rms", CROWDED_BAR if crowded else IMAGE_BAR)


def speed(device: str, sizes: Sizes) -> Iterator[Line]:
    """Forward and backward of the large scenes; Triton is to be no slower than torch."""
    for batch, strokes, size, step in sizes.large:
        spent = {}
        for name in backends(device):
            leaves = scene(batch, strokes, size, step, device)
            spent[name] = fastest(both(on_white(name, size), leaves, size), sizes.repeats, device)
        for name, milliseconds in spent.items():
            what = f"{name}: {batch} x {strokes} strokes at {size[1]} x {size[0]}, both passes"
            bar = spent["torch"] if name == "triton" else None
            yield Line("rasterizer", what, milliseconds, "ms", bar)


def sketch(device: str, sizes: Sizes) -> Iterator[Line]:
    """The official schedule from some of its steps; the bar is the time that the paper names for a V100, 6 minutes."""
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    load = encoders.load
    image = Image.open(of_clipasso.EXAMPLE).convert("RGB")
    if not is_bundled(sizes.settings.checkpoint or ""):
        encoders.load = of_clipasso.random_weights
    try:
        of_clipasso.timed(image, replace(sizes.settings, steps=2), device, dtype)
        made = of_clipasso.timed(image, replace(sizes.settings, steps=sizes.steps), device, dtype)
    finally:
        encoders.load = load
    seconds = made.first + made.step * (of_clipasso.STEPS - 1)
    yield Line("CLIPasso", f"{of_clipasso.STEPS} steps, from {sizes.steps}", seconds, "s", 360.0)
    yield Line("CLIPasso", f"a step, {made.result.rasterizer}", 1000 * made.step, "ms")


def detector(device: str, sizes: Sizes) -> Iterator[Line]:
    """GLIP: an image and a prompt, and another prompt on the same image."""
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    torch.manual_seed(0)
    net = GLIPNet(sizes.glip).to(device=device, dtype=dtype).eval().requires_grad_(False)
    net.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    height, width = (-(-side // 32) * 32 for side in sizes.image)
    pixels = torch.randn(1, 3, height, width, device=device, dtype=dtype)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    language = architectures()[sizes.glip]["language"]
    mask = torch.ones(1, sizes.words, dtype=torch.bool, device=device)

    def answer(levels: list[Tensor]) -> object:
        if net.language_backbone is None:
            words = torch.randn(1, sizes.words, int(language["width"]), device=device, dtype=dtype)
        else:
            ids = torch.randint(1, language["vocabulary"], (1, sizes.words), device=device)
            words = net.language_backbone(ids, mask)
        said = net.head(levels, words, mask)
        scores = boxes.phrase_scores(said.logits[0], [[1], [2, 3]])
        decoded = boxes.decode(said.deltas[0].float(), net.anchors(said.shapes).float())
        counts = [h * w for h, w in said.shapes]
        return boxes.keep(scores, said.centerness[0], decoded, counts, (width, height))

    with torch.inference_mode():
        levels = net.features(pixels)
        whole = fastest(lambda: answer(net.features(pixels)), sizes.repeats, device)
        again = fastest(lambda: answer(levels), sizes.repeats, device)
    shape = f"{sizes.image[0]} x {sizes.image[1]}, {sizes.words} pieces, {str(dtype).removeprefix('torch.')}"
    yield Line("GLIP-T", shape, whole, "ms", 150.0)
    yield Line("GLIP-T", "another prompt on the same image", again, "ms")


def batch(device: str, sizes: Sizes) -> Iterator[Line]:
    """The CLIP page's batch: images and labels encoded, and their cosines."""
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    load = encoders.load if is_bundled(sizes.clip) else of_clipasso.random_weights
    encoder = load(sizes.clip, device, dtype)
    generator = np.random.default_rng(0)
    images = [
        Image.fromarray(generator.integers(0, 256, (256, 320, 3), dtype=np.uint8))
        for _ in range(sizes.images)
    ]
    texts = [f"a photo of thing number {i}" for i in range(sizes.labels)]
    milliseconds = fastest(
        lambda: encoder.encode_image(images) @ encoder.encode_text(texts).T, min(sizes.repeats, 3), device
    )
    yield Line("CLIP", f"{sizes.images} images and {sizes.labels} labels", milliseconds, "ms", 2000.0)


PARTS: dict[str, Callable[[str, Sizes], Iterator[Line]]] = {
    part.__name__: part for part in (agreement, records, speed, sketch, detector, batch)
}


def measured(device: str, sizes: Sizes) -> Iterator[Line]:
    """Every part, and behind each the peak of its memory and its seconds."""
    on_gpu = device.startswith("cuda")
    for name, part in PARTS.items():
        if on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        try:
            yield from part(device, sizes)
        except Exception as error:
            traceback.print_exc()
            yield Line(name, "failed", None, "", 0.0, f"{type(error).__name__}: {error}"[:200])
        yield Line(name, "seconds of this part", time.perf_counter() - start, "s")
        if on_gpu:
            yield Line(name, "peak of memory", torch.cuda.max_memory_allocated() / 1e9, "GB", 24.0)


def main(argv: list[str] | None = None) -> int:
    """Prints the table and writes the JSON; 1 where a part failed or a bar does not hold on a GPU."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", help="without it the best one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines there, too")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a test on a CPU")
    arguments = parser.parse_args(argv)
    device = arguments.device or runtime.pick_device()
    sizes = TINY if arguments.tiny else FULL
    print(runtime.system_line(device), flush=True)
    lines = []
    for line in measured(device, sizes):
        lines.append(line)
        value = line.reason or (f"{line.value:10.4g} {line.unit}" if line.value is not None else "")
        bar = "" if line.bar is None or line.reason else f"  (bar {line.bar:.4g})"
        mark = {None: " ", True: "ok", False: "NO"}[line.holds]
        print(f"{mark:2} {line.part:10} {line.what:62} {value}{bar}", flush=True)
    if arguments.json:
        told = {"system": runtime.system_line(device), "lines": [line.to_json() for line in lines]}
        arguments.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    broken = any(line.reason for line in lines)
    missed = device.startswith("cuda") and any(line.holds is False for line in lines)
    return 1 if broken or missed else 0


if __name__ == "__main__":
    sys.exit(terminal.run(main))
