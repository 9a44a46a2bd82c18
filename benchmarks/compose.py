"""Scenes composed per second, and the share of a training step that composing takes: `python -m benchmarks.compose`.

Prints one line for each image size (goal: 1,500 scenes of 96 x 96 a second on two idle cores), then composing beside a whole
training step of `classroom-rn` at each size of its curriculum (goal: a tenth). The share is of processor time on one thread,
so it also holds on a busy machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from core import terminal
from core.classroom.__main__ import keep_memory
from core.classroom.recipes.clip.batches import Batch
from core.classroom.recipes.clip.train import Settings, Trainer
from core.classroom.world.atlas import open_atlas
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, sample

COUNT = 192
STEPS = 16


def seconds(work: Callable[[int], object], repeats: int) -> float:
    """The fastest of `repeats` runs after a warm-up run: the speed of the machine without other work."""
    work(0)
    taken = []
    for i in range(1, repeats + 1):
        start = time.perf_counter()
        work(i)
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-step", action="store_true", help="leave the training step out")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_memory()
    atlas = open_atlas()

    def composing(size: int, count: int, settings: SceneSettings) -> Callable[[int], object]:
        return lambda seed: render(sample(count, seed, atlas, settings), atlas, size)

    for size in (32, 48, 64, 96):
        took = seconds(composing(size, COUNT, SceneSettings()), args.repeats)
        bar = " (bar 1,500)" if size == 96 else ""
        print(f"{size} x {size}: {COUNT / took:.0f} scenes/s on {args.threads} threads{bar}")
    if args.no_step:
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as out:
        trainer = Trainer(Settings(minutes=60, out=Path(out)), atlas)
        composed = 0.0
        made = trainer.batches

        def timed() -> Iterator[Batch]:
            nonlocal composed
            while True:
                start = time.process_time()
                batch = next(made)
                composed += time.process_time() - start
                yield batch

        trainer.batches = timed()
        for share in (0.1, 0.5, 0.9):
            trainer.seconds = share * 3600
            for _ in range(8):  # from here on every other batch is one that was drawn before
                trainer.train_step()
            composed, start = 0.0, time.process_time()
            for _ in range(STEPS):
                trainer.train_step()
            whole, phase = time.process_time() - start, trainer.phase(trainer.step)
            print(
                f"training at {phase.size} px, batch {phase.batch}: {whole / STEPS:.2f} s a step, "
                f"composing {composed / STEPS:.3f} s, {composed / whole:.1%} of it (bar 10 %)"
            )


if __name__ == "__main__":
    sys.exit(terminal.run(main))
