"""Rows of the report card: what an evaluation measures, with the command, the training and the machine behind it."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from core.classroom.world.concepts import ASSETS

ROOT = ASSETS.parent


class Rows:
    """The rows that an evaluation of one miniature measures, each answer as it comes; `measured` has them.

    Args:
        paper: as in the registry.
        checkpoint: a bundled row or the folder of an export.
        say: takes a line for each row.
    """

    def __init__(self, paper: str, checkpoint: str, say: Callable[[str], None]) -> None:
        self.paper, self.checkpoint, self.say = paper, checkpoint, say
        self.measured: list[dict[str, Any]] = []

    def add(self, measure: str, split: str, lang: str, value: float) -> None:
        """One share."""
        row = {
            "paper": self.paper, "measure": measure, "split": split, "language": lang, "value": round(value, 4),
            "unit": "share",
        }  # fmt: skip
        command = f"python -m core.classroom evaluate {self.paper} --checkpoint {Path(self.checkpoint).name}"
        self.measured.append(stamped(row, self.checkpoint, command))
        self.say(f"{measure:44} {split:18} {lang}  {value:.3f}")


def stamped(row: dict[str, Any], checkpoint: str, command: str = "") -> dict[str, Any]:
    """The row in the schema of the report card; "paper" is "clip" unless the row says otherwise.

    Seed, minutes and hardware are those of the training; the commit is that of the code that measures.
    """
    name = Path(checkpoint).name
    note = ASSETS / "checkpoints" / name / "training.json"
    made: dict[str, Any] = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    return {
        "paper": "clip",
        **row,
        "checkpoint": name,
        "published": None,
        "command": command or f"python -m core.classroom evaluate clip --checkpoint {name}",
        "seed": made.get("seed", 0),
        "commit": commit(),
        "minutes": made.get("minutes"),
        "hardware": made.get("hardware", f"CPU {platform.machine()}, {torch.get_num_threads()} threads"),
    }


def commit() -> str | None:
    """The commit of the code that measures, with "-dirty" where that code has changes; None outside a repository."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=10, check=True
        ).stdout.strip()

    try:
        head = git("rev-parse", "--short", "HEAD")
        return f"{head}-dirty" if git("status", "--porcelain", "--", "core/*.py") else head
    except (OSError, subprocess.SubprocessError):
        return None
