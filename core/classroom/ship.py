"""Put a training's export where it ships: `python -m core.classroom.ship classroom-vit runs/classroom-vit/classroom-vit`.

The files of the row are taken over and pinned in the registry. A CLIP whose row requires another one learned under that
one's text tower, locked, so its weights ship without it: every tensor of the text tower has to be the other's bit for bit.
What other papers' recipes export is without what is shared already.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from core import checkpoints, terminal
from core.checkpoints import Checkpoint
from core.checkpoints.__main__ import main as checkpoints_command
from core.checkpoints.pins import requirements
from core.classroom.recipes.common.miniature import NOTE, WEIGHTS
from core.classroom.recipes.common.running import CURVE
from core.clip.encoders import is_picture, open_clip_state


def without_shared(state: dict[str, Tensor], row: Checkpoint) -> dict[str, Tensor]:
    """The tensors that a row ships: without those that the row it requires has under the same name.

    Args:
        state: tensors by name, as exported.
        row: where they go; all of them ship where it is no CLIP or requires nothing.

    Raises:
        SystemExit: a tensor of the text tower is not the other's, bit for bit, so it cannot be shared.
    """
    own = dict(state)
    for other in row.requires if row.paper == "clip" else ():
        shared = open_clip_state(checkpoints.open(other, download=False), checkpoints.row(other))
        for name in sorted(name for name in shared.keys() & state.keys() if not is_picture(name)):
            tensor = own.pop(name)
            if not same_bits(tensor, shared[name]):
                raise SystemExit(
                    f"{name} is not that of {other}: the text tower has to be the same to be shared"
                )
    return own


def _stands_on_what_ships(row: Checkpoint, export: Path) -> None:
    """Refuses a head that was trained on other weights than those of the CLIP that it will be used with."""
    note = export / NOTE
    trained_on = json.loads(note.read_text(encoding="utf-8")).get("clip", {}) if note.is_file() else {}
    for name, digest in requirements(row).items():
        if trained_on.get(name, digest) != digest:
            raise SystemExit(f"{row.name} was trained on another {name} than the one that ships")


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same in kind, shape and every bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


def ship(name: str, export: Path) -> Path:
    """Takes the files of a bundled row from the folder of an export, and the note and the curve of its training if there are any.

    Returns:
        The row's folder; nothing in it changes where the export cannot ship.
    """
    row = checkpoints.row(name)
    if not row.bundled:
        raise SystemExit(f"{name} is no bundled row")
    missing = [file.path for file in row.files if not (export / file.path).is_file()]
    if missing:
        raise SystemExit(f"{export} lacks {', '.join(missing)}")
    _stands_on_what_ships(row, export)
    own = without_shared(load_file(export / WEIGHTS), row)
    row.folder.mkdir(parents=True, exist_ok=True)
    for file in [file.path for file in row.files if file.path != WEIGHTS] + [NOTE]:
        if (export / file).is_file() and export.resolve() != row.folder.resolve():
            shutil.copyfile(export / file, row.folder / file)
    if (export.parent / CURVE).is_file():
        shutil.copyfile(export.parent / CURVE, row.folder / CURVE)
    part = row.folder / f"{WEIGHTS}.part"
    save_file(own, part)
    part.replace(row.folder / WEIGHTS)  # whole at once; the tensors may still lie in the old file
    return row.folder


def main(arguments: list[str] | None = None) -> int:
    """Ship one row and pin it."""
    parser = argparse.ArgumentParser(prog="python -m core.classroom.ship", description=__doc__)
    parser.add_argument("name", help="a bundled row")
    parser.add_argument("export", type=Path, help="folder that the training exported")
    args = parser.parse_args(arguments)
    ship(args.name, args.export)
    return checkpoints_command(["pin", args.name])


if __name__ == "__main__":
    sys.exit(terminal.run(main))
