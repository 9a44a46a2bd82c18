"""A folder of an export is loaded by the handle of its paper, as the rows that ship are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from core import checkpoints
from core.classroom.recipes.common.fresh import row_of
from core.detection import GLIP, ViLD
from core.segmentation import GroupViT, LSeg

HANDLES = {"lseg": LSeg, "groupvit": GroupViT, "vild": ViLD, "glip": GLIP}


def copied(paper: str, where: Path) -> Path:
    """The files of a bundled miniature in a folder of their own."""
    row = checkpoints.row(f"classroom-{paper}")
    return Path(shutil.copytree(row.folder, where / f"classroom-{paper}"))


@pytest.mark.parametrize("paper", HANDLES)
def test_a_folder_answers_as_the_row_that_it_was_copied_from(paper: str, tmp_path: Path) -> None:
    name = row_of(str(copied(paper, tmp_path)), paper)
    assert name.startswith(str(tmp_path)) and name not in {row.name for row in checkpoints.rows()}
    assert checkpoints.state(name) == "bundled"
    own = checkpoints.row(f"classroom-{paper}")
    assert checkpoints.row(name).requires == own.requires
    # What the row was asked before it remembers, computed in a batch of another size.
    np.testing.assert_allclose(
        *(HANDLES[paper].load(one, "cpu").encode_text(["dog"]) for one in (name, own.name))
        if paper != "glip"
        else [
            GLIP.load(one, "cpu").detect(Image.new("RGB", (64, 64), "red"), ["dog"], threshold=0).scores
            for one in (name, own.name)
        ],
        atol=1e-5,
    )


def test_a_row_that_ships_keeps_its_name() -> None:
    assert row_of("classroom-lseg", "lseg") == "classroom-lseg"
    assert row_of(str(checkpoints.row("classroom-lseg").folder), "lseg") == "classroom-lseg"
    with pytest.raises(SystemExit, match="no miniature"):
        row_of("nowhere", "lseg")


def test_other_weights_and_settings_are_another_row(tmp_path: Path) -> None:
    folder = copied("lseg", tmp_path)
    first = row_of(str(folder), "lseg")
    state = load_file(folder / "model.safetensors")
    name = next(name for name, value in state.items() if value.is_floating_point())
    save_file({**state, name: state[name] + 1}, folder / "model.safetensors")
    note = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    (folder / "training.json").write_text(
        json.dumps({**note, "block": "depthwise", "depth": 2}), encoding="utf-8"
    )
    second = row_of(str(folder), "lseg")
    assert first != second, "a cache knows weights by the name of their row"
    assert (
        checkpoints.row(second).options["depth"] == 2 and checkpoints.row(first).options.get("depth", 0) == 0
    )
