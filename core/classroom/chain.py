"""Train every miniature, one after the other: `python -m core.classroom train all --out runs/`.

A miniature is trained on the exports of those before it (`CHAIN`), each in a folder of its own, `runs/NAME`, with its export in
`runs/NAME/NAME`. A chain that was stopped goes on where it stopped: what is finished is passed over, what was begun
resumes from its last save. Nothing is shipped: `python -m core.classroom.ship NAME runs/NAME/NAME` does that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from core.classroom.recipes.actionclip import train as actionclip
from core.classroom.recipes.audioclip import train as audioclip
from core.classroom.recipes.clip import train as clip
from core.classroom.recipes.clip4clip import train as clip4clip
from core.classroom.recipes.clip_vil import encoders as clip_vil_encoders
from core.classroom.recipes.clip_vil import train as clip_vil
from core.classroom.recipes.glip import train as glip
from core.classroom.recipes.groupvit import train as groupvit
from core.classroom.recipes.lseg import blocks as lseg_blocks
from core.classroom.recipes.lseg import train as lseg
from core.classroom.recipes.pointclip import train as pointclip
from core.classroom.recipes.styleclip import train as styleclip
from core.classroom.recipes.vild import train as vild
from core.classroom.recipes.vilt import train as vilt

Say = Callable[[str], None]
FINISHED = "finished.json"
# In this order, with their budgets in minutes: the towers, then what stands on them; the PointNet stands on none.
CHAIN: dict[str, float] = {
    "classroom-rn": 130.0,
    "classroom-vit": 130.0,
    "classroom-lseg": 40.0,
    "lseg-blocks": 2.5,
    "classroom-groupvit": 45.0,
    "classroom-vild": 40.0,
    "classroom-glip": 35.0,
    "classroom-clip4clip": 40.0,
    "classroom-actionclip": 15.0,
    "classroom-pointnet": 8.0,
    "classroom-vilt": 85.0,
    "classroom-audioclip": 20.0,
    "clip-vil-supervised": 9.0,
    "classroom-clip-vil": 10.0,
    "classroom-styleclip": 85.0,
}
# What stands on one tower: its recipe, and the tower.
HEADS: dict[str, tuple[Any, str]] = {
    "classroom-lseg": (lseg, "classroom-rn"),
    "classroom-groupvit": (groupvit, "classroom-vit"),
    "classroom-vild": (vild, "classroom-rn"),
    "classroom-glip": (glip, "classroom-rn"),
    "classroom-clip4clip": (clip4clip, "classroom-rn"),
    "classroom-actionclip": (actionclip, "classroom-rn"),
    "classroom-vilt": (vilt, "classroom-vit"),
    "classroom-audioclip": (audioclip, "classroom-rn"),
    "classroom-clip-vil": (clip_vil, "classroom-rn"),
    "classroom-styleclip": (styleclip, "classroom-rn"),
}


class Trained(Protocol):
    """A training run, as all recipes have one."""

    def run(self, say: Say) -> Path:
        """Train to the end of the budget, or go on to it; returns what was exported."""


def export_of(runs: Path, name: str) -> Path:
    """The folder of a miniature's export."""
    return runs / name / name


def trainer(name: str, runs: Path, device: str = "cpu", seed: int = 0, steps: int | None = None) -> Trained:
    """The run that trains a miniature of the chain on the exports in `runs`.

    steps: so many in place of the minutes of CHAIN (tests)."""
    minutes, out = CHAIN[name], runs / name
    budget: dict[str, Any] = {"minutes": minutes, "out": out, "seed": seed, "steps": steps}
    if name == "clip-vil-supervised":
        return clip_vil_encoders.Trainer(
            clip_vil_encoders.Settings(str(export_of(runs, "classroom-rn")), **budget)
        )
    if name in HEADS:
        recipe, tower = HEADS[name]
        where: dict[str, Any] = {"device": device}
        if name == "classroom-clip-vil":  # its features are computed once, on the CPU
            where = {"supervised": export_of(runs, "clip-vil-supervised")}
        settings = recipe.Settings(clip=str(export_of(runs, tower)), **where, **budget)
        trained: Trained = recipe.Trainer(settings)
        return trained
    if name == "lseg-blocks":
        return lseg_blocks.Fit(lseg_blocks.Settings(str(export_of(runs, "classroom-lseg")), **budget))
    if name == "classroom-pointnet":
        return pointclip.Trainer(pointclip.Settings(device=device, **budget))
    teacher = None if name == "classroom-rn" else export_of(runs, "classroom-rn")
    return clip.Trainer(clip.Settings(name, device=device, teacher=teacher, **budget))


def list_unfinished(runs: Path) -> list[str]:
    """The miniatures of the chain that are not finished in `runs`."""
    return [name for name in CHAIN if not (runs / name / FINISHED).exists()]


def outlook(runs: Path) -> str:
    """One line: what is finished, in how many minutes, and what is left."""
    done = [
        f"{name} ({json.loads((runs / name / FINISHED).read_text(encoding='utf-8'))['minutes']:.0f} min)"
        for name in CHAIN
        if name not in list_unfinished(runs)
    ]
    to_do = [f"{name} ({CHAIN[name]:g} min)" for name in list_unfinished(runs)]
    minutes = sum(CHAIN[name] for name in list_unfinished(runs))
    return (
        f"finished: {', '.join(done) or 'nothing'}; left: {', '.join(to_do) or 'nothing'}"
        f"{f', {minutes:g} minutes in all' if to_do else ''}"
    )


def train_all(
    runs: Path, say: Say = print, device: str = "cpu", seed: int = 0, steps: int | None = None
) -> list[Path]:
    """Train what is left of the chain; returns what was exported now."""
    exports = []
    say(outlook(runs))
    for name in list_unfinished(runs):
        start = time.monotonic()
        say(f"{name}: begins")
        run = trainer(name, runs, device, seed, steps)
        exports.append(run.run(partial(_said, say, name)))
        note = {"minutes": round((time.monotonic() - start) / 60, 1)}
        (runs / name / FINISHED).write_text(json.dumps(note) + "\n", encoding="utf-8")
        say(outlook(runs))
    return exports


def _said(say: Say, name: str, line: str) -> None:
    say(f"{name}: {line}")
