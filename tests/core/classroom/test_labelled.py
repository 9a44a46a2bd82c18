"""Pictures with the right label of every pixel: what is drawn is what the truth says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from core.classroom.world import labelled
from core.classroom.world.concepts import concepts

SCENE = "1F415.x-50.y10.s40.d60.ttwemoji_1F415.x50.y10.s40.d60.tnoto_white.colour.0"


def test_two_of_a_kind_share_a_label() -> None:
    made = labelled.described(SCENE, 96)
    assert made.names("en") == ["dog"] and made.names("zh") == ["狗"]
    assert set(np.unique(made.truth)) == {-1, 0}
    left, right = np.hsplit(made.truth == 0, 2)
    assert left.sum() > 200 and right.sum() > 200
    # Outside the truth there is only the ground.
    assert (made.picture[made.truth == -1] > 200).mean() > 0.95


def test_nine_things_lie_each_in_its_own_cell() -> None:
    things = [0, 1, 2, 160, 359, 249, 257, 185, 82]
    made = labelled.tiled(things, "white", 144)
    assert made.concepts == tuple(things) and made.picture.shape == (144, 144, 3)
    for at in range(9):
        rows, columns = np.nonzero(made.truth == at)
        assert len(rows) > 150
        assert {int(r) // 48 for r in rows} == {at // 3} and {int(c) // 48 for c in columns} == {at % 3}


def test_fresh_scenes_come_again_from_their_seed() -> None:
    first, second = labelled.fresh(3, 5, 4, 48), labelled.fresh(3, 5, 4, 48)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.picture, other.picture)
        assert one.concepts == other.concepts and len(set(one.concepts)) == len(one.concepts)
        shown = len(one.concepts) - 4
        assert 1 <= shown <= 2 and set(np.unique(one.truth)) - {-1} <= set(range(shown))
        assert max(one.concepts) < len(concepts())
    assert labelled.fresh(1, 6, 4, 48)[0].concepts != first[0].concepts


def test_the_examples_are_as_they_are_drawn_today(tmp_path: Path) -> None:
    files = labelled.write(tmp_path)
    assert (tmp_path / "examples.json").read_text("utf-8") == (labelled.EXAMPLES / "examples.json").read_text(
        "utf-8"
    )
    rows = {row["file"]: row for row in json.loads((labelled.EXAMPLES / "examples.json").read_text("utf-8"))}
    for file in files:
        with Image.open(file) as new, Image.open(labelled.EXAMPLES / file.name) as old:
            difference = np.abs(np.asarray(new, int) - np.asarray(old, int))
        assert difference.max() <= 2  # rounding differs between processors
        row = rows[file.name]
        truth = labelled.stored(row)
        assert set(np.unique(truth)) == {-1, *range(len(row["names"]["en"]))}
        for lang in ("en", "zh"):
            # The right names are among those that the example asks about.
            asked = [part.strip() for part in row["labels"][lang].replace("，", ",").split(",")]
            assert asked[: len(row["names"][lang])] and set(row["names"][lang]) <= set(asked)
