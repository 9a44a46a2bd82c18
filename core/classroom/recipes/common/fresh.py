"""A freshly trained folder as a row of the registry, so that it is loaded as the rows that ship are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from core import checkpoints
from core.checkpoints import Checkpoint, File, registry
from core.classroom.recipes.common.miniature import NOTE, WEIGHTS, export_folder, tower_folder

# What a training's note says of the network, by the name of the loader's option; "options" has further ones.
OPTIONS = ("block", "depth", "fusion", "headers")


def row_of(checkpoint: str, paper: str) -> str:
    """The name of the row that a paper's handle loads: a row that ships, or one of this process for an export.

    Args:
        checkpoint: a row's name, or the folder of an export.
        paper: whose miniature it is, by the name of its page.

    Raises:
        SystemExit: where there is neither.
    """
    folder = export_folder(checkpoint).resolve()
    for row in checkpoints.rows(paper.replace("-", "_")):
        if row.bundled and row.folder.resolve() == folder:
            return row.name
    note: dict[str, Any] = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    model = checkpoints.row(f"classroom-{paper}")
    files = tuple(File(file.path) for file in model.files if (folder / file.path).is_file())
    tower = tower_folder(folder).resolve()
    return _added(
        replace(
            model,
            bundled=str(folder),
            files=files,
            options={
                **model.options,
                **{name: note[name] for name in OPTIONS if name in note},
                **note.get("options", {}),
            },
            requires={_clip(tower): _digest(tower)},
        ),
        folder,
    )


def clip_row(checkpoint: str) -> str:
    """The name of the row of a CLIP: one that ships, or one of this process for the folder of an export."""
    return _clip(export_folder(checkpoint).resolve())


def _clip(folder: Path) -> str:
    """The name of the row of a CLIP that lies in a folder."""
    for row in checkpoints.rows("clip"):
        if row.bundled and row.folder.resolve() == folder:
            return row.name
    model = checkpoints.row("classroom-rn")
    files = tuple(File(file.path) for file in model.files)
    return _added(replace(model, bundled=str(folder), files=files, requires={}), folder)


def _added(row: Checkpoint, folder: Path) -> str:
    """Adds the row under a name that changes with its weights, because caches know a row by its name."""
    named = replace(row, name=f"{folder}@{_digest(folder)[:12]}")
    registry.add(named)
    return named.name


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
