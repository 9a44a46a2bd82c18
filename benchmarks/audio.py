"""AudioCLIP in full size with random weights, its front end against the published way, and a sound of ten minutes.

    python -m benchmarks.audio [--repeats 5] [--long]

The published front end builds its filters for every sound and multiplies frames of 2,048 taps with all of them; ours keeps the
filters, folds the window into them and multiplies 1,654 taps. Both are given five seconds of sound, and their largest difference
is printed. The fastest of the repeats counts. Goals on two cores: 1.5 s for the model, the front end five times faster. `--long`
writes ten minutes of MP3 and listens to it with the miniature: under 15 s, and under 300 MB more memory than before.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core import inputs, terminal
from core.audio import fbsp
from core.audio.esresnet import EncoderSettings, ESResNeXt
from core.audio.fbsp import FrontEnd
from core.memory import system

SAMPLES = 220_500  # five seconds
BAR_SECONDS, BAR_RATIO, BAR_LONG, BAR_MB = 1.5, 5.0, 15.0, 300.0


def published(front: FrontEnd, waveform: Tensor) -> Tensor:
    """Filters anew, the window on the frames, zeros around them, all taps and all bins."""
    s, layer = front.settings, front.fbsp
    frames = front.frames(waveform.flatten(0, 1)) * front.window
    missing = s.n_fft - s.win_length
    frames = F.pad(frames, (missing // 2, missing - missing // 2))
    t = math.pi * torch.linspace(-1, 1, s.n_fft) + fbsp.TINY
    phase = layer.fc[:, None] * t
    kernel = torch.stack([phase.cos(), -phase.sin()], -1)
    bell = fbsp.sinc(layer.fb[:, None] * t / (layer.m[:, None] + fbsp.TINY))
    angle = layer.m[:, None] * torch.atan2(torch.zeros_like(bell), bell)
    power = bell.abs() ** layer.m[:, None]
    window = torch.stack([power * angle.cos(), power * angle.sin()], -1)
    real = window[..., 0] * kernel[..., 0] - window[..., 1] * kernel[..., 1]
    imaginary = window[..., 0] * kernel[..., 1] + window[..., 1] * kernel[..., 0]
    weights = layer.fb.sqrt()[:, None, None] * torch.stack([real, imaginary], -1) / math.sqrt(s.n_fft)
    spectrum = torch.einsum("ntk,fkc->nftc", frames, weights)
    energy = spectrum.square().sum(-1)
    bands = energy[:, : s.filters // fbsp.BANDS * fbsp.BANDS].unflatten(1, (fbsp.BANDS, -1))
    return (10 * torch.where(bands > 0, bands, fbsp.SILENCE).log10()).unflatten(0, waveform.shape[:2])


def fastest(run: Callable[[], object], repeats: int) -> float:
    """Seconds."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def listen(seconds: float) -> tuple[float, float]:
    """Seconds and megabytes that the miniature takes for an MP3 of so many seconds."""
    import soundfile

    from core.audio.audioclip import AudioCLIP

    model = AudioCLIP.load("classroom-audioclip", "cpu", torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp3"
        rng = np.random.default_rng(0)
        with soundfile.SoundFile(path, "w", 44_100, 1, format="MP3", subtype="MPEG_LAYER_III") as out:
            for _ in range(round(seconds)):
                out.write(rng.uniform(-0.3, 0.3, 44_100).astype(np.float32))
        model.encode(inputs.sound(_short(path, folder)))  # what the first answer loads is not counted
        before, start = system.resident(), time.perf_counter()
        model.compare([inputs.sound(path)], [], ["dog", "rain cloud", "bell"])
        return time.perf_counter() - start, (system.resident() - before) / 1e6


def _short(path: Path, folder: str) -> Path:
    """The first half megabyte of the file, as one that breaks off."""
    short = Path(folder) / "short.mp3"
    short.write_bytes(path.read_bytes()[:500_000])
    return short


def main(arguments: list[str] | None = None) -> int:
    """Prints ours, the baseline and the ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audio", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--long", action="store_true", help="also ten minutes of MP3")
    args = parser.parse_args(arguments)
    torch.manual_seed(0)
    net: Any = ESResNeXt(EncoderSettings()).eval().requires_grad_(False)
    net.to(memory_format=torch.channels_last)  # as a row is loaded
    with torch.no_grad():  # away from the start, where a power of zero is one
        net.fbsp.m.normal_(1, 0.1)
        net.fbsp.fb.normal_(1, 0.1)
    wave = 4000 * torch.randn(1, 1, SAMPLES)
    with torch.inference_mode():
        ours = fastest(lambda: FrontEnd.forward(net, wave), args.repeats)
        theirs = fastest(lambda: published(net, wave), args.repeats)
        apart = (FrontEnd.forward(net, wave) - published(net, wave)).abs()
        whole = fastest(lambda: net(wave), args.repeats)
    print(
        f"front end, 5 s of sound      ours {1000 * ours:.0f} ms   published way {1000 * theirs:.0f} ms",
        end="",
    )
    print(f"   ratio {theirs / ours:.1f}   goal {BAR_RATIO:g}")
    print(
        f"largest difference           {float(apart.max()):.3f} dB, {float((apart < 0.05).float().mean()):.4%} below 0.05 dB"
    )
    print(f"audio tower in full size     {whole:.2f} s   goal {BAR_SECONDS:g}")
    if args.long:
        seconds, megabytes = listen(600)
        print(
            f"ten minutes of MP3           {seconds:.1f} s   goal {BAR_LONG:g}   {megabytes:.0f} MB   goal {BAR_MB:g}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(terminal.run(main))
