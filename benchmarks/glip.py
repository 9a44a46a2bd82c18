"""Seconds of GLIP-T at full size: one image of 800 x 1333 and one prompt. The weights are random, which takes the same time.

    python -m benchmarks.glip [--device cpu] [--dtype float32] [--words 195] [--repeats 1]

195 word pieces are a prompt of COCO's 80 names. The first time includes encoding the image; the second is that of another
prompt on the same image. The share of matrix products and convolutions is counted by torch's profiler; it includes the
product of a deformable convolution and fused attention with its softmax. The baseline is the same head with the prompt
padded to 256 pieces, as in the published code. The first line prints the load and the speed of the machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from core import runtime, terminal
from core.detection.glip import boxes
from core.detection.glip.network import GLIPNet, architectures

HEIGHT, WIDTH, PADDED = 800, 1333, 256
BAR_SECONDS, BAR_SHARE, BAR_GPU_MS = 40, 0.6, 150
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "matmul", "linear", "convolution", "conv", "scaled_dot_product")


def network(device: str, dtype: torch.dtype) -> GLIPNet:
    """GLIP-T with the weights that its constructor makes; the few that start at zero are random too."""
    torch.manual_seed(0)
    net = GLIPNet("glip_tiny").to(device=device, dtype=dtype).eval().requires_grad_(False)
    net.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def is_product(name: str) -> bool:
    """Whether an operator is a matrix product or a convolution, or a kernel that does one."""
    short = name.removeprefix("aten::").removeprefix("mkldnn_").removeprefix("_").removeprefix("cudnn_")
    low = name.lower()
    kernels = any(word in low for word in ("gemm", "cutlass", "fprop", "nchwkrsc", "flash", "fmha"))
    return (name.startswith("aten::") and short.startswith(PRODUCTS)) or kernels


def timed(function: Callable[[], object], repeats: int, device: str) -> tuple[float, float]:
    """The median of the seconds that a call takes: by the clock, and of CPU time of all threads."""
    wall, cpu = [], []
    for _ in range(repeats):
        settle(device)
        start, used = time.perf_counter(), time.process_time()
        function()
        settle(device)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    return statistics.median(wall), statistics.median(cpu)


def settle(device: str) -> None:
    """Waits for the accelerator."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def share(function: Callable[[], object], device: str, top: int) -> float:
    """The part of the time of a call that is spent in products and convolutions; prints what takes most."""
    cuda = device.startswith("cuda")
    activities = [torch.profiler.ProfilerActivity.CPU, *[torch.profiler.ProfilerActivity.CUDA] * cuda]
    with torch.profiler.profile(activities=activities) as profile:
        function()
        settle(device)
    rows = profile.key_averages()
    spent = {row.key: row.self_device_time_total if cuda else row.self_cpu_time_total for row in rows}
    total = sum(spent.values())
    for name, microseconds in sorted(spent.items(), key=lambda item: -item[1])[:top]:
        mark = "*" if is_product(name) else " "
        print(f"  {mark} {microseconds / total:6.1%}  {name[:90]}")
    return sum(value for name, value in spent.items() if is_product(name)) / total


def main() -> None:
    """Prints seconds and shares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--words", type=int, default=195)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--top", type=int, default=12, help="operators to list")
    arguments = parser.parse_args()
    device, dtype = arguments.device, getattr(torch, arguments.dtype)
    print(runtime.system_line(device, arguments.dtype), f"load {os.getloadavg()[0]:.1f}", flush=True)
    net = network(device, dtype)
    height, width = (-(-side // 32) * 32 for side in (HEIGHT, WIDTH))
    pixels = torch.randn(1, 3, height, width, device=device, dtype=dtype)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    vocabulary = architectures()["glip_tiny"]["language"]["vocabulary"]
    ids = torch.randint(1, vocabulary, (1, PADDED), device=device)
    mask = torch.ones_like(ids, dtype=torch.bool)

    def answer(levels: list[Tensor], words: int = arguments.words, padded: int = arguments.words) -> None:
        """Words, head and boxes for two phrases."""
        real = mask[:, :padded].clone()
        real[:, words:] = False
        assert net.language_backbone is not None
        said = net.head(levels, net.language_backbone(ids[:, :padded], real), real)
        scores = boxes.phrase_scores(said.logits[0], [[1], [2, 3]])
        decoded = boxes.decode(said.deltas[0].float(), net.anchors(said.shapes).float())
        sizes = [h * w for h, w in said.shapes]
        boxes.keep(scores, said.centerness[0], decoded, sizes, (WIDTH, HEIGHT))

    with torch.inference_mode():
        if device != "cpu":
            answer(net.features(pixels))
        bar = f"{BAR_SECONDS} s" if device == "cpu" else f"{BAR_GPU_MS} ms"
        said = f"{HEIGHT} x {WIDTH}, {arguments.words} word pieces, {torch.get_num_threads()} threads"
        spent, cpu = timed(lambda: answer(net.features(pixels)), arguments.repeats, device)
        print(f"{said}: {spent:.3f} s (bar {bar}), {cpu:.1f} s of CPU time", flush=True)
        levels = net.features(pixels)
        again, cpu = timed(lambda: answer(levels), arguments.repeats, device)
        print(f"another prompt on the same image: {again:.3f} s, {cpu:.1f} s of CPU time", flush=True)
        padded, cpu = timed(lambda: answer(levels, padded=PADDED), arguments.repeats, device)
        line = f"padded to {PADDED} as published: {padded:.3f} s, {cpu:.1f} s of CPU time"
        print(f"{line}; ratio {padded / again:.2f}x", flush=True)
        part = share(lambda: answer(net.features(pixels)), device, arguments.top)
        print(f"in matrix products and convolutions: {part:.0%} (bar {BAR_SHARE:.0%})")


if __name__ == "__main__":
    sys.exit(terminal.run(main))
