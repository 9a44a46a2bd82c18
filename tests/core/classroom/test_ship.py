"""Weights that ship without the text tower of the row they require."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core import checkpoints
from core.classroom import ship
from core.classroom.recipes.common.miniature import WEIGHTS, tensors
from core.clip import encoders
from core.errors import Refusal
from tests import tiny
from tests.conftest import Rows

TEXTS = ["a photo of a dog", "一张红包的照片"]


@pytest.fixture
def exported(tmp_path: Path, rows: Rows) -> Path:
    """A CLIP, `first`, and the export of another with the same text tower, for the row `second`, which requires it."""
    tiny.make_bundle(tmp_path / "first")
    tiny.make_bundle(tmp_path / "export", seed=1)
    first, own = load_file(tmp_path / "first" / WEIGHTS), load_file(tmp_path / "export" / WEIGHTS)
    whole = {name: own[name] if encoders.is_picture(name) else first[name] for name in own}
    save_file(whole, tmp_path / "export" / WEIGHTS)
    (tmp_path / "export" / ship.NOTE).write_text("{}")
    second = tiny.row("second", tmp_path / "first").replace(str(tmp_path / "first"), str(tmp_path / "second"))
    digest = checkpoints.integrity.sha256(tmp_path / "first" / WEIGHTS)
    second = second.replace("languages =", f'requires = {{first = "{digest}"}}\nlanguages =')
    rows(tiny.row("first", tmp_path / "first"), second)
    return tmp_path / "export"


def whole(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / WEIGHTS)


def test_what_ships_is_the_export_less_the_text_tower(exported: Path) -> None:
    assert ship.main(["second", str(exported)]) == 0
    row = checkpoints.row("second")
    shipped = whole(row.folder)
    assert shipped and all(map(encoders.is_picture, shipped)) and (row.folder / ship.NOTE).is_file()
    found = tensors(row.folder)
    assert found.keys() == whole(exported).keys() == tensors(exported).keys()
    assert all(ship.same_bits(found[name], tensor) for name, tensor in whole(exported).items())
    # The digests were renewed, so the row opens; its words are the other's, its image tower is its own.
    one, other = (encoders.load(name, "cpu", torch.float32) for name in ("second", "first"))
    np.testing.assert_array_equal(one.encode_text(TEXTS), other.encode_text(TEXTS))
    assert not torch.equal(*(encoder.model.get_parameter("visual.proj") for encoder in (one, other)))
    before = (row.folder / WEIGHTS).read_bytes()
    assert ship.ship("second", row.folder) == row.folder and (row.folder / WEIGHTS).read_bytes() == before


def test_a_text_tower_of_its_own_cannot_ship(exported: Path) -> None:
    state = whole(exported)
    state["ln_final.bias"] = state["ln_final.bias"].nextafter(torch.tensor(9.0))
    save_file(state, exported / WEIGHTS)
    with pytest.raises(SystemExit, match=r"ln_final\.bias is not that of first"):
        ship.ship("second", exported)
    assert not checkpoints.row("second").folder.exists()
    (exported / "tokenizer.json").unlink()
    with pytest.raises(SystemExit, match=r"lacks tokenizer\.json"):
        ship.ship("second", exported)


def test_a_damaged_text_tower_is_refused(exported: Path) -> None:
    ship.main(["second", str(exported)])
    with (checkpoints.row("first").folder / WEIGHTS).open("ab") as file:
        file.write(b"0")
    with pytest.raises(Refusal) as caught:
        encoders.load("second", "cpu", torch.float32)
    assert caught.value.code == "bundle_damaged" and caught.value.params["checkpoint"] == "first"


def test_bundled_notes_name_the_weights_they_were_trained_on() -> None:
    for row in checkpoints.rows():
        note = row.folder / ship.NOTE
        if row.bundled and row.requires and note.is_file():
            known = json.loads(note.read_text(encoding="utf-8")).get("clip", row.requires)
            assert known == dict(row.requires), row.name


def test_a_row_is_pinned_to_the_tower_that_it_stands_on(exported: Path) -> None:
    first = checkpoints.row("first")
    state = load_file(first.folder / WEIGHTS)
    picture = next(name for name in state if encoders.is_picture(name))
    state[picture] = state[picture] + 1
    save_file(state, first.folder / WEIGHTS)
    ship.checkpoints_command(["pin", "first"])
    digest = checkpoints.integrity.sha256(first.folder / WEIGHTS)
    (exported / ship.NOTE).write_text(json.dumps({"clip": {"first": "0" * 64}}))
    with pytest.raises(SystemExit, match="second was trained on another first than the one that ships"):
        ship.ship("second", exported)
    (exported / ship.NOTE).write_text(json.dumps({"clip": {"first": digest}}))
    assert ship.main(["second", str(exported)]) == 0
    assert checkpoints.row("second").requires == {"first": digest}
