"""Drawings of strokes as the pages show them: messages, edits, curves, files."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.drawing.strokes import Drawn, Frame, Strokes
from core.errors import Refusal
from demos.draw import strokes as draw


def scene(count: int = 3, seed: int = 0, **options: Any) -> Strokes:
    generator = np.random.default_rng(seed)
    points = generator.uniform(20, 200, (count, 4, 2)).astype(np.float32)
    colors = np.zeros((count, 4), np.float32)
    colors[:, 3] = 1
    return Strokes(points, np.full(count, 3, np.float32), options.pop("colors", colors), **options)


def drawn(count: int = 3, moments: int = 9) -> Drawn:
    history = tuple(scene(count, seed) for seed in range(moments))
    curves = np.linspace(1, 0.2, 2 * moments).reshape(2, moments)
    return Drawn(
        strokes=scene(count, 99),
        seed=1,
        loss=0.2,
        losses=np.array([0.6, 0.2]),
        curves=curves,
        terms={"semantic": 0.05, "layer2": 0.15},
        features=np.ones(4) / 2,
        seeds=(scene(count), scene(count)),
        history=history,
        history_steps=np.arange(moments),
    )


# --- messages ----------------------------------------------------------------------------------------------------


def test_black_strokes_of_one_width_are_a_small_column() -> None:
    found = draw.column(scene())
    assert set(found) == {"d", "w"} and found["w"] == 3 and len(found["d"]) == 3
    assert all(re.fullmatch(r"M[\d.]+ [\d.]+C[\d. ]+", path) for path in found["d"])


def test_colours_widths_and_paper_are_told_where_they_differ() -> None:
    colors = np.array([[1, 0, 0, 1], [0, 1, 0, 0.5]], np.float32)
    two = Strokes(scene(2).points, np.array([1, 2.5], np.float32), colors, (0.0, 0.0, 0.5))
    found = draw.column(two, "two")
    assert found["c"] == ["#ff0000", "#00ff0080"] and found["w"] == [1, 2.5]
    assert found["paper"] == "#000080" and found["title"] == "two"


def test_a_frame_is_small_enough_for_twenty_a_second() -> None:
    frame = Frame(3, 10, 0.1, 0.2, (scene(16),), (0,), np.array([[0.5, 0.4]]), {}, np.ones((1, 4)))
    text = draw.message("run", frame, [""])
    assert len(text) < 1500
    value = json.loads(text)
    assert value["step"] == 3 and value["losses"] == [[0.5, 0.4]] and "picture" not in value


def test_the_end_of_a_run_replays_it_and_ends_with_the_drawing() -> None:
    one = drawn(moments=100)
    value = json.loads(draw.finished("run", [one], 99, [""], edit=True))
    history = value["history"]
    assert len(history) == draw.REPLAY + 1
    assert [frame["step"] for frame in history] == sorted(frame["step"] for frame in history)
    assert history[0]["columns"][0]["d"] == one.history[0].paths()
    assert history[-1]["columns"][0]["d"] == one.strokes.paths() == value["columns"][0]["d"]
    assert value["final"] and value["edit"]


def test_curves_have_every_seed_and_no_number_where_nothing_was_judged() -> None:
    short, long = np.array([[1.0, 0.5]]), np.array([[1.0, np.nan, 0.25], [2.0, 1.5, 1.0]])
    found = draw.curves([short, long])
    assert [step for step, _ in found] == [0, 1, 2]
    assert found[1][1] == [[0.5], [None, 1.5]]
    # A column that ended keeps its last loss.
    assert found[2][1] == [[0.5], [0.25, 1.0]]


def test_long_curves_are_thinned_with_both_ends() -> None:
    found = draw.curves([np.linspace(1, 0, 2002)[None]])
    assert len(found) <= 4 * draw.REPLAY and found[0][0] == 0 and found[-1][0] == 2001


# --- edits -------------------------------------------------------------------------------------------------------


def sent(points: Any, kept: Any) -> str:
    return json.dumps({"edited": {"kept": kept, "points": points}})


def test_edited_strokes_keep_their_width_and_colour() -> None:
    before = scene(3)
    widths = np.array([1, 2, 3], np.float32)
    before = Strokes(before.points, widths, before.colors)
    moved = (before.points[[2, 0]] + 1).reshape(2, -1)
    after = draw.edited(sent(moved.tolist(), [2, 0]), before)
    assert after is not None
    np.testing.assert_allclose(after.points, before.points[[2, 0]] + 1)
    assert after.widths.tolist() == [3, 1]


@pytest.mark.parametrize("value", [None, "", json.dumps({"run": "1", "columns": []})])
def test_what_python_wrote_itself_is_no_edit(value: str | None) -> None:
    assert draw.edited(value, scene()) is None


@pytest.mark.parametrize(
    "value",
    [
        sent([], []),
        sent([[0] * 8], [3]),
        sent([[0] * 8], [-1]),
        sent([[0] * 7], [0]),
        sent([[0] * 7 + ["x"]], [0]),
        sent([[0] * 7 + [1e9]], [0]),
        sent([[0] * 8] * 4, [0, 1, 2, 0]),
        sent([[0] * 8], [0]).replace("0, 0]]", "0, NaN]]"),
        '{"edited": 3}',
        '{"edited": {',
        sent([[0] * 8], [0]) + " " * draw.MAX_EDIT,
    ],
)
def test_what_the_surface_does_not_send_is_refused(value: str) -> None:
    with pytest.raises(Refusal) as refusal:
        draw.edited(value, scene())
    assert refusal.value.code == "bad_drawing"


# --- images ------------------------------------------------------------------------------------------------------


def test_typed_text_is_escaped() -> None:
    assert "<script>" not in draw.figures([("data:,", "<script>", "<b>")])
    assert "<i>" not in draw.rows_table(["<i>"], [["<i>", "<i>"]])


def test_a_caption_has_the_best_label_the_ink_and_the_loss() -> None:
    best = {"label": "cat", "probability": 0.5}
    assert draw.caption(0.25, 0.5, best, "en") == "cat 50.0% · ink 25.0% · loss 0.500"
    assert draw.caption(None, 0.5, None, "zh") == "损失 0.500"


def test_opinions_stand_under_their_headings() -> None:
    assert draw.opinions({"A": [["cat", 0.5]], "B": []}) == [
        {"by": "A", "top": [["cat", 0.5]]},
        {"by": "B", "top": []},
    ]


# --- files ---------------------------------------------------------------------------------------------------------


def payloads(text: str) -> dict[str, bytes]:
    found = re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', text)
    return {name: base64.b64decode(data) for name, data in found}


def test_downloads_hold_the_drawing() -> None:
    one = drawn()
    files = payloads(draw.links("clipasso", [one], {"checkpoint": "classroom-rn"}, "en"))
    assert list(files) == ["clipasso-3.svg", "clipasso-3-run.svg", "clipasso-3.png", "clipasso.json"]
    back = Strokes.from_svg(files["clipasso-3.svg"].decode())
    np.testing.assert_array_equal(back.points, one.strokes.points)
    assert b"<animate" in files["clipasso-3-run.svg"]
    picture = Image.open(io.BytesIO(files["clipasso-3.png"]))
    assert picture.size == (draw.PNG_SIDE,) * 2
    answer = json.loads(files["clipasso.json"])
    assert answer["checkpoint"] == "classroom-rn" and np.shape(answer["drawings"][0]["points"]) == (3, 4, 2)


def test_each_column_has_its_own_downloads() -> None:
    files = payloads(draw.links("ladder", [drawn(2), drawn(5)], {}, "zh"))
    assert {"ladder-2.svg", "ladder-5.svg", "ladder.json"} < set(files)
    assert len(json.loads(files["ladder.json"])["drawings"]) == 2


def test_films_show_the_run_and_rest_on_the_drawing() -> None:
    one = drawn()
    *shares, (whole, html) = draw.films("clipasso", [one], "en")
    assert whole == 1 and 0 < shares[0][0] < 1 and not shares[0][1]
    files = payloads(html)
    film = Image.open(io.BytesIO(files["clipasso.gif"]))
    assert film.n_frames == len(one.history) + 1 and film.size == (448, 448)
    assert files["clipasso.mp4"][4:8] == b"ftyp"
    film.seek(film.n_frames - 1)
    last = np.asarray(film.convert("L"), float)
    np.testing.assert_allclose(last, one.strokes.image(448, 1).mean(2), atol=12)
