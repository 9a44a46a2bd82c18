"""Seconds of a CLIPasso sketch: the published schedule at full size, and the miniature on a CPU.

    python -m benchmarks.clipasso official [--device cuda] [--dtype bfloat16] [--sample 0]
    python -m benchmarks.clipasso miniature [--pictures 10] [--checkpoint classroom-rn]

`official`: 16 strokes, 3 seeds, 2,001 steps, the loss of RN101 and the saliency of ViT-B/32. The weights are random, which
takes the same time. All steps take hours on a CPU, so there a sample of steps is timed and multiplied; `--sample 0` runs
all of them. `miniature`: sketches of classroom images with the settings of the page. It prints the time of the first frame
and of the end, and how many of the sketches their guide names among fifty concepts.

The baseline follows the published code, in the same process on the same threads: one seed after another, and the features
of the plain image computed again in every step. The first lines print the load and the speed of the machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

from core import checkpoints, runtime, terminal
from core.classroom.recipes.clipasso.evaluate import Reader, candidates, subjects
from core.clip import encoders
from core.drawing import clipasso
from core.drawing.clipasso import SketchSettings
from core.drawing.strokes import Sketch

STEPS = 2001  # of the published schedule
EXAMPLE = Path(__file__).resolve().parents[1] / "assets" / "examples" / "photos" / "rose.jpg"


@dataclass(frozen=True)
class Timing:
    """Seconds until the first frame and the end, of CPU time of all threads, and from the first frame on, by step."""

    first: float
    total: float
    cpu: float
    step: float
    result: Sketch


def timed(image: Image.Image, settings: SketchSettings, device: str, dtype: torch.dtype) -> Timing:
    """One run from the image to the finished sketch."""
    moments: list[tuple[float, int]] = []
    start, cpu = time.perf_counter(), time.process_time()
    for frame in clipasso.sketch(image, settings, device=device, dtype=dtype):
        moments.append((time.perf_counter() - start, frame.step))
    spent = time.process_time() - cpu
    result = frame.result
    assert isinstance(result, Sketch)
    # The last frame also judges the finished sketches, which is no step.
    (first, early), (late, steps), total = moments[0], moments[-2], moments[-1][0]
    step = (late - first) / (steps - early) if steps > early else total / result.steps
    return Timing(first, total, spent, step, result)


class AsPublished(clipasso.Likeness):
    """The same loss, with the features of the plain image computed again in every step."""

    def shuffle(self) -> None:
        with torch.no_grad():
            self.plain = self.loss.see(self.picture)
        super().shuffle()


def one_after_another(image: Image.Image, settings: SketchSettings, device: str, dtype: torch.dtype) -> float:
    """Seconds of one step of all seeds, run as in the published code."""
    ours = clipasso.Likeness
    clipasso.Likeness = AsPublished  # type: ignore[misc]
    try:
        singles = [replace(settings, seeds=1, first_seed=seed) for seed in range(settings.seeds)]
        return sum(timed(image, single, device, dtype).step for single in singles)
    finally:
        clipasso.Likeness = ours  # type: ignore[misc]


def random_weights(checkpoint: str, device: str, dtype: torch.dtype) -> encoders.DualEncoder:
    """The encoder of a row as it is before training."""
    row = checkpoints.row(checkpoint)
    name = row.options["model"]
    torch.manual_seed(0)
    model = open_clip.CLIP(**open_clip.get_model_config(name))
    tower = encoders.OpenClipViT if "ViT" in name else encoders.OpenClipResNet
    size = model.visual.image_size
    side = size[0] if isinstance(size, tuple) else size
    return encoders.DualEncoder(
        row,
        model,
        vision=tower(model.visual),
        text=encoders.OpenClipText(model, encoders.open_clip_tokenizer({}, row, model.context_length)),
        preprocess=encoders.OpenClipPreprocess(
            side, encoders.OPENAI_MEAN, encoders.OPENAI_STD, "bicubic", "shortest"
        ),
        device=device,
        dtype=dtype,
    )


def official(device: str, dtype: torch.dtype, sample: int) -> None:
    """The published schedule at full size."""
    encoders.load = random_weights
    image = Image.open(EXAMPLE).convert("RGB")
    settings = replace(
        clipasso.official(),
        checkpoint="clip-rn101",
        saliency="clip-vit-b32",
        steps=sample or STEPS,
    )
    if device != "cpu":
        timed(image, replace(settings, steps=20), device, dtype)  # kernels are compiled once
    made = timed(image, settings, device, dtype)
    print(
        f"16 strokes, 3 seeds, RN101 loss, ViT-B/32 saliency, random weights, {dtype}, {made.result.rasterizer}"
    )
    print(f"first frame {made.first:.2f} s, a step {1000 * made.step:.1f} ms")
    if sample:
        whole = made.first + made.step * (STEPS - 1)
        print(f"EXTRAPOLATED from {sample} steps to {STEPS}: {whole:.0f} s ({whole / 60:.0f} min)")
    else:
        print(f"all {STEPS} steps: {made.total:.1f} s")
    few = replace(settings, steps=min(settings.steps or STEPS, 40))
    baseline = one_after_another(image, few, device, dtype)
    ours = timed(image, few, device, dtype).step
    print(f"one seed after another, {few.steps} steps: {1000 * baseline:.1f} ms a step of all three, "
          f"ours {1000 * ours:.1f} ms, ratio {baseline / ours:.2f}x")  # fmt: skip


def miniature(device: str, dtype: torch.dtype, checkpoint: str, pictures: int) -> None:
    """A sketch of 16 strokes as the page makes it."""
    shown = subjects(pictures)
    # The other concepts to choose among are the same for any number of images.
    reader = Reader(checkpoint, candidates(shown))
    settings = SketchSettings(checkpoint=checkpoint)
    timed(shown[0].picture, replace(settings, steps=2), device, dtype)  # the model is loaded once
    runs = [timed(subject.picture, settings, device, dtype) for subject in shown]
    named = reader.right([run.result.strokes.image() for run in runs])["en"].numpy()
    first, total = [run.first for run in runs], [run.total for run in runs]
    steps = runs[0].result.steps
    print(f"{checkpoint}: 16 strokes, {settings.seeds} seeds, {steps} steps, {pictures} images")
    print(f"first frame {statistics.median(first):.2f} s median, {max(first):.2f} s slowest (bar 2 s)")
    print(f"finished {statistics.median(total):.1f} s median, {max(total):.1f} s slowest (bar 30 s)")
    spent = statistics.median(run.cpu for run in runs)
    print(
        f"CPU time {spent:.1f} s median: what a sketch takes on one core that has nothing else to do, or less"
    )
    print(f"named by the guide among fifty concepts: {int(named.sum())} of {pictures}")
    if named.any():
        print(f"those that are named: {float(np.median(np.array(total)[named])):.1f} s median")
    few = replace(settings, steps=20)
    ours = timed(shown[0].picture, few, device, dtype).step
    baseline = one_after_another(shown[0].picture, few, device, dtype)
    print(f"one seed after another: {1000 * baseline:.1f} ms a step of all {settings.seeds}, "
          f"ours {1000 * ours:.1f} ms, ratio {baseline / ours:.2f}x")  # fmt: skip


def main() -> None:
    """Prints the machine and the times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", choices=["official", "miniature"])
    parser.add_argument("--device", help="cuda, mps or cpu; without it the best one")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="of CLIP; bfloat16 on a GPU")
    parser.add_argument("--sample", type=int, help="steps that are timed; 0 for all; on a CPU 3")
    parser.add_argument("--checkpoint", default="classroom-rn")
    parser.add_argument("--pictures", type=int, default=10)
    arguments = parser.parse_args()
    device = arguments.device or (runtime.pick_device() if arguments.which == "official" else "cpu")
    on_gpu = device.startswith("cuda")
    half = arguments.which == "official" and on_gpu
    dtype = getattr(torch, arguments.dtype or ("bfloat16" if half else "float32"))
    name = torch.cuda.get_device_name(device) if on_gpu else device
    print(f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if hasattr(os, "getloadavg"):
        print(f"load of the last minute {os.getloadavg()[0]:.2f}")
    if arguments.which == "miniature":
        miniature(device, dtype, arguments.checkpoint, arguments.pictures)
        return
    sample = arguments.sample if arguments.sample is not None else 3 if device == "cpu" else 0
    official(device, dtype, sample)


if __name__ == "__main__":
    sys.exit(terminal.run(main))
