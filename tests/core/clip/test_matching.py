"""Cosines of matching and strange pairs: counting, the line, the record of the miniatures, a measurement made here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import checkpoints, inputs, runtime
from core.classroom.recipes.clip import matches
from core.classroom.recipes.common.miniature import open_miniature
from core.classroom.world.atlas import open_atlas
from core.clip import ZeroShot, matching
from core.errors import Refusal
from core.runtime import Cancel
from tests import tiny
from tests.conftest import Rows


def test_pairs_are_counted_and_told_apart() -> None:
    cosines = np.array([[0.5, 0.1, 0.2], [0.15, 0.6, 0.1], [0.1, 0.2, 0.255]])
    strange = ~np.eye(3, dtype=bool)
    strange[0, 2] = False
    pairs = matching.counted("row", "en", cosines, strange)
    assert pairs.matching.sum() == 3 and pairs.strange.sum() == 5
    # Between .21 and .25 no pair is on the wrong side: the line is in the middle.
    assert pairs.line == pytest.approx(0.23, abs=0.006) and pairs.wrong == (0.0, 0.0)
    assert pairs.below(0.55) == (pytest.approx(2 / 3), 1.0) and pairs.below(-1.0) == (0.0, 0.0)


def test_values_outside_the_bins_are_counted_at_their_ends() -> None:
    pairs = matching.counted("row", "en", np.array([[1.0, -0.9], [0.0, 1.0]]), ~np.eye(2, dtype=bool))
    assert pairs.matching[-1] == 2 and pairs.strange[0] == 1


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", matches.ROWS)
def test_the_record_is_of_these_weights(name: str, lang: str) -> None:
    """Retrained weights void the record: `python -m core.classroom.recipes.clip.matches` makes it again."""
    pairs = matching.recorded(name, lang)
    assert pairs is not None and pairs.command == matches.COMMAND
    assert pairs.matching.sum() == 2 * matches.COUNT and pairs.strange.sum() > 100_000
    assert len(pairs.matching) == len(matching.EDGES) - 1
    missed, passed = pairs.wrong
    assert missed < 0.15 and passed < 0.15


def test_other_weights_have_no_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = json.loads(matching.RECORD.read_text(encoding="utf-8"))
    record["rows"]["classroom-rn"]["sha256"] = "0" * 64
    (tmp_path / "matching.json").write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr(matching, "RECORD", tmp_path / "matching.json")
    assert matching.recorded("classroom-rn", "en") is None
    assert matching.recorded("classroom-vit", "en") is not None
    assert matching.recorded("classroom-vit", "fr") is None
    assert matching.recorded("clip-vit-b32", "en") is None


def test_the_command_measures_what_is_recorded() -> None:
    """Fewer scenes of the same kind: the recorded line tells their pairs apart, too."""
    made = matches.pairs(open_miniature("classroom-rn"), open_atlas(), "en", "classroom-rn", count=64)
    recorded = matching.recorded("classroom-rn", "en")
    assert recorded is not None
    missed, passed = made.below(recorded.line)
    assert missed < 0.2 and passed > 0.85
    again = matching.as_record(made)
    assert sum(again["matching"]) == 128 and again["matching"][0] + again["strange"][0] > 0


def test_a_measurement_here_is_of_the_images_and_remembered(
    tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(tiny.bundled("tiny-pairs", tmp_path))
    model = ZeroShot.load("tiny-pairs")
    images = [Image.fromarray(np.full((32, 32, 3), 40 * i, np.uint8)) for i in range(6)]
    captions = ["a dog", "a cat", "a dog", "red envelope", "money", "sheep"]
    measuring = matching.measured(model, images, captions, "en")
    assert list(measuring) == [pytest.approx(4 / 6), 1.0]
    pairs = runtime.finish(matching.measured(model, images, captions, "en"))
    assert next(matching.measured(model, images, captions, "en"), None) is None  # remembered: no step
    # The same caption twice is no strange pair.
    assert pairs.matching.sum() == 6 and pairs.strange.sum() == 28 and not pairs.command
    expected = [
        float(model.classify(image, [text]).cosines[0]) for image, text in zip(images, captions, strict=True)
    ]
    assert (
        pairs.matching == matching.counted("", "", np.diag(expected), np.zeros((6, 6), bool)).matching
    ).all()
    with pytest.raises(Refusal) as stopped:
        runtime.finish(matching.measured(model, images, captions[::-1], "en", Cancel(stopped=True)))
    assert stopped.value.code == "cancelled"


def test_a_picture_matches_its_own_label() -> None:
    model = ZeroShot.load("classroom-rn", "cpu")
    image = inputs.image(Path("assets/examples/clip/sheep_eating.webp"))
    pairs = matching.recorded("classroom-rn", "en")
    assert pairs is not None and checkpoints.row("classroom-rn").bundled
    cosines = model.classify(image, ["a sheep eating grass", "a pizza"]).cosines
    assert cosines[0] > pairs.line > cosines[1]
