"""Rows of the report card: what is of the training in them, and what of the measurement."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from core.classroom.recipes.common import rows
from core.classroom.world.concepts import ASSETS


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_a_row_names_the_commit_that_measured_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ROOT", tmp_path)
    assert rows.commit() is None  # no repository, as in an archive of the code
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "evaluate.py").write_text("right = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "Measures")
    head = git(tmp_path, "rev-parse", "--short", "HEAD")
    row = rows.stamped({"measure": "top-1"}, "classroom-rn")
    training = json.loads((ASSETS / "checkpoints" / "classroom-rn" / "training.json").read_text())
    assert row["commit"] == head != training["commit"]
    assert [row[name] for name in ("minutes", "hardware", "seed")] == [
        training[name] for name in ("minutes", "hardware", "seed")
    ]
    # Rows and weights may change while one measures, the code may not.
    (tmp_path / "report_card.json").write_text("[]")
    assert rows.commit() == head
    (tmp_path / "core" / "evaluate.py").write_text("right = 2\n")
    assert rows.commit() == f"{head}-dirty"
