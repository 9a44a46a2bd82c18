"""The recipe of DepthCLIP's bins in a few steps: what it exports, and that the page's field takes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.checkpoints.integrity import sha256
from core.classroom.__main__ import main
from core.classroom.recipes.common.miniature import NOTE, WEIGHTS, export_folder
from core.classroom.recipes.depthclip import evaluate, train
from demos.depthclip import answer


@pytest.mark.parametrize("language", ["en", "zh"])
def test_bins_are_learned_and_fit_the_field(tmp_path: Path, language: str) -> None:
    lines: list[str] = []
    folder = train.run(train.Settings(language=language, shots=2, steps=20, out=tmp_path), lines.append)
    note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    assert note["clip"] == {train.CLIP: sha256(export_folder(train.CLIP) / WEIGHTS)} and note["steps"] == 20
    words = answer.words_of(
        (folder / train.LINES).read_text(encoding="utf-8"),
        note["template"],
        note["thing"],
        note["temperature"],
    )
    start = train.WORDS[language]
    assert words.words == start.words and words.bins != start.bins and words.temperature != start.temperature
    assert lines and "AbsRel of" in lines[0] and f"{note['loss']:.3f}" in lines[0]


def test_learning_lowers_the_error() -> None:
    from core.classroom.recipes.depthclip import live
    from core.spatial.depthclip import DepthEstimator

    model = DepthEstimator.load(train.CLIP, "cpu")
    few = live.places(model, train.SEED, 2)
    losses = [train.learn(model, few, train.WORDS["en"], steps).loss for steps in (1, 60)]
    assert losses[1] < losses[0]


def test_the_command_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "depthclip", "--steps", "2", "--out", str(tmp_path)]) == 0
    assert "exported" in capsys.readouterr().out and (tmp_path / "classroom-depthclip" / train.LINES).exists()


def test_the_measured_scenes_are_none_of_the_training() -> None:
    assert evaluate.TEST_SEED + evaluate.SCENES < train.SEED or evaluate.TEST_SEED > train.SEED + train.SHOTS
