"""The measures of sketches: images by lot, who names them, and the rows of the report card."""

from __future__ import annotations

import numpy as np
import pytest

from core.classroom import report
from core.classroom.recipes.clipasso import evaluate as evaluate_sketch
from core.classroom.world.concepts import ASSETS
from core.drawing.clipasso import SketchSettings

GUIDE = "classroom-rn"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIP_ATLAS_DEVICE", "cpu")
    monkeypatch.setattr(evaluate_sketch, "STROKES", (4, 8))


def test_pictures_are_twenty_different_things_the_same_each_time() -> None:
    shown = evaluate_sketch.subjects()
    assert len({s.concept for s in shown}) == len(shown) == evaluate_sketch.PICTURES
    again = evaluate_sketch.subjects(3)
    assert all(
        a.concept == b.concept and np.array_equal(np.asarray(a.picture), np.asarray(b.picture))
        for a, b in zip(shown, again, strict=False)
    )
    assert all(s.picture.size == (224, 224) and np.ptp(np.asarray(s.picture)) > 60 for s in shown)


def test_the_truth_is_among_fifty_candidates_at_its_own_place() -> None:
    shown = evaluate_sketch.subjects(4)
    which = evaluate_sketch.candidates(shown)
    assert len(set(which)) == len(which) == 50
    assert which[:4] == [s.concept for s in shown]
    # The images themselves are named, as the miniature was trained to; a wrong truth is not.
    reader = evaluate_sketch.Reader(GUIDE, which)
    pictures = [np.asarray(s.picture) for s in shown]
    assert reader.right(pictures, "colour")["en"].sum() >= 3
    assert reader.right([*pictures[1:], pictures[0]], "colour")["en"].sum() <= 1


def test_rows_of_the_card_and_a_sentence_for_who_is_missing() -> None:
    said: list[str] = []
    settings = {"seeds": 1, "steps": 2}
    rows = evaluate_sketch.evaluate(GUIDE, "nobody-here", said.append, 2, settings)
    assert any("nobody-here is not on this machine" in line for line in said)
    assert {frozenset(row) for row in rows} == {frozenset(report.FIELDS)}
    assert {row["paper"] for row in rows} == {"clipasso"} and {row["checkpoint"] for row in rows} == {GUIDE}
    measures = {(row["measure"], row["split"]) for row in rows}
    assert ("sketch named by its guide", "4 strokes") in measures
    assert ("edges of equal ink named by its guide", "8 strokes") in measures
    assert not any("other" in measure for measure, _ in measures)
    assert all(0 <= row["value"] <= 1 for row in rows if row["unit"] == "share")
    # What the report card says of a measure is about one that is measured, and has a Chinese name.
    marks = {mark["measure"] for mark in report.notes()["papers"]["clipasso"]["marks"]}
    named = {measure for measure, _ in measures}
    assert {m.replace("the other miniature", "its guide") for m in marks} <= named
    assert all(report.named(measure, "zh") != measure for measure in named | marks)


def test_the_other_miniature_may_be_a_folder() -> None:
    said: list[str] = []
    folder = str(ASSETS / "checkpoints" / GUIDE)
    rows = evaluate_sketch.evaluate(GUIDE, folder, said.append, 1, {"seeds": 1, "steps": 1})
    other = {row["measure"] for row in rows if "the other miniature" in row["measure"]}
    assert other == {
        f"{kind} named by the other miniature" for kind in ("image", "sketch", "edges of equal ink")
    }
    assert rows[0]["command"].endswith(f"--other {GUIDE} --seeds 1 --steps 1")


def test_steps_saved_by_a_start_are_a_share() -> None:
    shown = evaluate_sketch.subjects(1)
    (share,) = evaluate_sketch.starts(shown, SketchSettings(seeds=1, steps=3, checkpoint=GUIDE), print)
    assert 0 <= share <= 1
