"""What training runs share: a time budget, a curve, a line of progress, and going on where a run was stopped."""

from __future__ import annotations

import csv
import json
import math
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.classroom.recipes.common.miniature import NOTE, beginning, export_folder
from core.classroom.recipes.common.rows import commit

CURVE = "curve.csv"
SAVE_SECONDS = 120.0
WARM_UP = 0.02  # share of the budget
OPTIONS = (
    "clip",
    "start",
    "groups",
    "device",
    "larger",
    "seed",
)  # of `train`, as settings of a run call them
SEED = 1 << 32  # training seeds start here; evaluation seeds are small numbers


@contextmanager
def fast_arithmetic(device: torch.device) -> Iterator[None]:
    """bf16 products; on a CPU also plain attention, whose backward pass is twice as fast for so few tokens."""
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "mps"):
        if device.type == "cpu":
            with sdpa_kernel(SDPBackend.MATH):
                yield
        else:
            yield


def hardware(device: torch.device) -> str:
    """What a run computes on, for its training.json."""
    cpu = f"{torch.get_num_threads()} threads of {platform.machine()}"
    return f"{torch.cuda.get_device_name(device)}, {cpu}" if device.type == "cuda" else cpu


def by_shape(parameters: Iterable[Tensor], peak: float, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of an optimizer: matrices, which decay, then vectors, which do not; `peak` is of `Run.schedule`."""
    every = list(parameters)
    return [
        {"params": [p for p in every if p.ndim > 1], "peak": peak, "weight_decay": weight_decay},
        {"params": [p for p in every if p.ndim < 2], "peak": peak, "weight_decay": 0.0},
    ]


@torch.no_grad()
def move_mean(mean: nn.Module, network: nn.Module, step: int, longest: float) -> None:
    """Moves the running mean of a network's weights on by a step; `longest`: the share that stays, late in a run."""
    share = min(longest, (1 + step) / (10 + step))
    for old, new in zip(mean.parameters(), network.parameters(), strict=True):
        old.lerp_(new, 1 - share)


class Plan(Protocol):
    """What the settings of every run say."""

    @property
    def out(self) -> Path: ...

    @property
    def minutes(self) -> float: ...

    @property
    def steps(self) -> int | None: ...

    @property
    def log_every(self) -> int: ...

    @property
    def seed(self) -> int: ...


class Run(ABC):
    """A training run of `minutes` of steps (or of `steps`, which tests set). It resumes from `out/last.pt`.

    Subclasses set `learner` and `optimizer` and call `resume`; what they ship is written by `export`.
    """

    learner: nn.Module
    optimizer: torch.optim.Optimizer

    def __init__(self, plan: Plan, device: str = "cpu") -> None:
        """Begins a run by its settings: the numbers that are drawn from here on follow from its seed."""
        self.plan = plan
        self.out, self.minutes = plan.out, plan.minutes
        self.steps, self.log_every = plan.steps, plan.log_every
        torch.manual_seed(plan.seed)
        self.device = torch.device(device)
        self.step = self.images = 0
        self.seconds = 0.0

    @abstractmethod
    def train_step(self) -> dict[str, float]:
        """One step; the numbers of its line, "batch" among them."""

    @abstractmethod
    def export(self) -> Path:
        """Writes the files that ship; returns their folder."""

    def advance(self) -> dict[str, float]:
        """A step whose time and images are counted; the numbers of its line."""
        start = time.monotonic()
        row = self.train_step()
        self.seconds += time.monotonic() - start
        self.step += 1
        self.images += int(row["batch"])
        return row

    @property
    def progress(self) -> float:
        """Share of the budget used, 0..1."""
        if self.steps is not None:
            return min(1.0, self.step / self.steps)
        return min(1.0, self.seconds / (60 * self.minutes))

    def schedule(self) -> None:
        """Sets the learning rates of this step: a short warm-up to each group's peak, then half a cosine."""
        at = self.progress
        share = min(1.0, at / WARM_UP + 0.02) * (0.5 + 0.5 * math.cos(math.pi * at))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share

    def run(self, say: Callable[[str], None] = print) -> Path:
        """Trains to the end of the budget; returns the folder of the export."""
        self.out.mkdir(parents=True, exist_ok=True)
        rows: list[dict[str, float]] = []
        saved = logged = time.monotonic()
        while self.progress < 1:
            rows.append(self.advance())
            now = time.monotonic()
            if len(rows) == self.log_every or self.progress >= 1:
                say(self._log(rows, now - logged))
                rows, logged = [], now
            if now - saved > SAVE_SECONDS:
                self.save()
                saved = now
        self.save()
        return self.export()

    def _log(self, rows: list[dict[str, float]], seconds: float) -> str:
        means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[-1]}
        means = {"step": self.step, "images": self.images, "minutes": self.seconds / 60, **means}
        curve = self.out / CURVE
        new = not curve.exists()
        with curve.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(means))
            if new:
                writer.writeheader()
            writer.writerow({name: round(value, 5) for name, value in means.items()})
        left = (1 - self.progress) * (
            self.minutes if self.steps is None else self.seconds / 60 / max(self.progress, 1e-9)
        )
        told = "  ".join(f"{name} {means[name]:.3g}" for name in rows[-1] if name not in ("batch",))
        speed = sum(row["batch"] for row in rows) / max(seconds, 1e-9)
        return (
            f"{self.progress:6.1%}  step {self.step}  {self.images / 1000:.1f}k images  {speed:.0f}/s  "
            f"{left:.0f} min left  {told}"
        )

    def spent(self) -> dict[str, Any]:
        """What the run has cost so far, for its training.json."""
        return {
            "steps": self.step,
            "images": self.images,
            "minutes": round(self.seconds / 60, 1),
            "hardware": hardware(self.device),
        }

    def origin(self, paper: str, part: str = "") -> dict[str, Any]:
        """How the run was started, for its training.json: the recipe, the command, the commit of the code, and the export that
        the run went on from, if it did.

        Args:
            paper: as `train` calls it.
            part: which one of an export that joins several runs went on.
        """
        usual, own = vars(type(self.plan)()), vars(self.plan)
        options = [f"--minutes {self.minutes:g}"]
        for name in OPTIONS:
            if name in own and own[name] != usual[name]:
                values = own[name] if isinstance(own[name], tuple) else (own[name],)
                options += [f"--{name} {value}" for value in values]
        note = {
            "recipe": type(self).__module__.replace(".", "/") + ".py",
            "command": " ".join([f"python -m core.classroom train {paper}", *options]),
            "commit": commit(),
        }
        return note | ({"start": beginning(export_folder(own["start"]), part)} if own.get("start") else {})

    def write_note(self, folder: Path, note: Mapping[str, Any]) -> None:
        """Writes how an export came about into its folder, and the curve of the run beside it."""
        (folder / NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        curve = self.out / CURVE
        if curve.exists():
            (folder / CURVE).write_text(curve.read_text())

    def save(self) -> None:
        """Writes what `resume` needs, as a whole."""
        state = {
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "images": self.images,
            "seconds": self.seconds,
        }
        self.out.mkdir(parents=True, exist_ok=True)
        part = self.out / "last.part"
        torch.save(state, part)
        part.replace(self.out / "last.pt")

    def resume(self, device: torch.device) -> None:
        """Goes on where the run in this folder was stopped, if there was one."""
        last = self.out / "last.pt"
        if not last.exists():
            return
        state: dict[str, Any] = torch.load(last, map_location=device, weights_only=True)
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.images, self.seconds = state["step"], state["images"], state["seconds"]
