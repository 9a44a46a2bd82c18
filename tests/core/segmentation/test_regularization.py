"""Regularization blocks on a frozen network: where they start, how often they are applied, their file, their fit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from core import checkpoints
from core.classroom.recipes.lseg import blocks as lseg_blocks
from core.classroom.recipes.lseg import evaluate_blocks as evaluate_lseg_blocks
from core.classroom.recipes.lseg import train as lseg
from core.classroom.world.atlas import open_atlas
from core.errors import Refusal
from core.segmentation import regularization
from core.segmentation.blocks import Kind
from core.segmentation.regularization import DEPTHS, FILE, KINDS, WEIGHTS
from core.segmentation.result import Segmentation
from tests.conftest import Rows

LABELS = ("dog", "cat", "tree", "background")
ORDER = [2, 0, 3, 1]
ROW = """
[{name}]
paper = "lseg"
title = {{ en = "x", zh = "x" }}
loader = "core.segmentation.lseg:load_lseg"
bundled = "{folder}"
licence = "mit"
licence_note = {{ en = "x", zh = "x" }}
citation = "x"
languages = ["en"]
normalisation = "softmax"
knows = {{ en = "x", zh = "x" }}
lacks = {{ en = "x", zh = "x" }}
"""


def maps(seed: int = 0) -> torch.Tensor:
    return 4 * torch.randn(1, len(LABELS), 16, 12, generator=torch.Generator().manual_seed(seed))


def answer(checkpoint: str, before: torch.Tensor, size: tuple[int, int] = (24, 32)) -> Segmentation:
    """What a segmenter says of label maps [1, N, h, w]."""
    arrays = before[0].numpy()
    none = np.zeros((size[1], size[0]), np.uint16)
    texts = np.zeros((len(LABELS), 2), np.float32)
    return Segmentation(checkpoint, LABELS, none, arrays, arrays, arrays, texts, 0.07, size, "cpu", 0.0, {})


@pytest.fixture
def registry(tmp_path: Path, rows: Rows) -> Path:
    """Rows with blocks of their own weights, with those of others, and without; the folder of the first."""
    text = ""
    for name, fitted_on in (("smooth", b"weights"), ("stale", b"others"), ("bare", None)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / WEIGHTS).write_bytes(b"weights")
        text += ROW.format(name=name, folder=folder)
        if fitted_on:
            blocks = {(kind, depth): regularization.mean(depth) for kind in KINDS for depth in DEPTHS}
            regularization.save(folder / FILE, blocks, hashlib.sha256(fitted_on).hexdigest(), 1)
        for file in sorted(folder.iterdir(), key=lambda path: path.name, reverse=True):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            text += (
                f'[[{name}.files]]\npath = "{file.name}"\nsha256 = "{digest}"\nsize = {file.stat().st_size}\n'
            )
    rows(text)
    return tmp_path / "smooth"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_block_starts_as_no_change_of_the_winners(kind: Kind, depth: int) -> None:
    before = maps()
    after = regularization.identity(kind, depth)(before)
    assert (after.argmax(1) == before.argmax(1)).all()


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_block_is_applied_as_often_as_its_depth_says(depth: int) -> None:
    block = regularization.identity("depthwise", depth)
    block.depthwise.depthwise.weight.data *= 3
    before = maps().abs()
    torch.testing.assert_close(block(before), 3**depth * before)


def test_every_block_is_compared_on_the_maps_that_are_there(registry: Path) -> None:
    found = regularization.compare(answer("smooth", maps()))
    assert [one.name for one in found] == [
        "none", "bottleneck x 1", "bottleneck x 2", "bottleneck x 4", "depthwise x 1", "depthwise x 2", "depthwise x 4",
        "mean x 1", "mean x 2", "mean x 4",
    ]  # fmt: skip
    none, *others = found
    assert none.share == 0 and none.window is None
    for one in others:
        assert one.mask.shape == (32, 24) and 0 < one.share < 1
        np.testing.assert_array_equal(one.changed, one.mask != none.mask)
        np.testing.assert_allclose(one.window, 1 / 9)
        assert sum(one.shares(len(LABELS))) == pytest.approx(1) and len(one.shares(9)) == 9
    # A window that smooths leaves fewer borders, and more so the more often it is used.
    borders = [int((one.mask[1:] != one.mask[:-1]).sum()) for one in (none, *others[:3])]
    assert borders == sorted(borders, reverse=True) and borders[0] > borders[-1]
    large = regularization.compare(answer("smooth", maps(), (1000, 2000)))
    assert large[0].mask.shape == (640, 320)


def test_the_order_of_labels_does_not_matter(registry: Path) -> None:
    there = regularization.compare(answer("smooth", maps()))
    back = regularization.compare(answer("smooth", maps()[:, ORDER]))
    for one, other in zip(there, back, strict=True):
        np.testing.assert_array_equal(one.mask, np.array(ORDER)[other.mask])


@pytest.mark.parametrize(("name", "code"), [("stale", "stale_blocks"), ("bare", "no_blocks")])
def test_blocks_of_other_weights_are_refused(registry: Path, name: str, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        regularization.compare(answer(name, maps()))
    assert (
        refusal.value.code == code and name in refusal.value.text("en") and name in refusal.value.text("zh")
    )


def test_the_shipped_blocks_belong_to_the_shipped_decoder() -> None:
    row = checkpoints.row("classroom-lseg")
    blocks = regularization.fitted(row.name)  # refuses those of other weights
    assert set(blocks) == {(kind, depth) for kind in KINDS for depth in DEPTHS}
    before = maps()
    for (kind, depth), block in blocks.items():
        assert (block.kind, block.depth) == (kind, depth)
        torch.testing.assert_close(block(before[:, ORDER]), block(before)[:, ORDER])
        started = regularization.identity(kind, depth).state_dict()
        assert not torch.equal(
            block.state_dict()["depthwise.depthwise.weight"], started["depthwise.depthwise.weight"]
        )
    assert (row.folder / FILE).stat().st_size < 8000


def test_a_fit_changes_blocks_and_nothing_else(tmp_path: Path) -> None:
    atlas = open_atlas(("twemoji", "symbola"))
    folder = lseg.Trainer(lseg.Settings(out=tmp_path, steps=1), atlas).export()
    settings = lseg_blocks.Settings(str(folder), out=tmp_path / "fit", steps=2, size=32, batch=2, log_every=1)
    run = lseg_blocks.Fit(settings, atlas)
    before = {name: value.clone() for name, value in run.model.net.state_dict().items()}
    lines: list[str] = []
    path = run.run(lines.append)
    assert path == folder / FILE and len(lines) == 2 and "depthwise x 4" in lines[0]
    for name, value in run.model.net.state_dict().items():
        assert torch.equal(value, before[name])
    weights = [name for name in load_file(path) if name.endswith("weight")]
    assert len(weights) == len(KINDS) * len(DEPTHS)
    blocks, note = regularization.read(path)
    assert note["fitted_on"] == hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    for (kind, depth), block in blocks.items():
        conv = block.depthwise.depthwise
        assert not torch.equal(conv.weight, regularization.identity(kind, depth).depthwise.depthwise.weight)
    rows = evaluate_lseg_blocks.evaluate(str(folder), count=2, say=lambda _: None)
    assert len(rows) == 2 * (1 + len(regularization.compared(blocks))) and all(
        0 <= row["value"] <= 1 for row in rows
    )
    assert {row["measure"] for row in rows} == {
        "blocks fitted alone: mIoU, seen", "blocks fitted alone: mIoU, never seen",
    }  # fmt: skip
