"""What the CLIPasso and CLIPDraw pages do without a browser: messages, edits, curves, files, turns, sources."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.drawing.strokes import Drawn, Frame, Strokes
from core.errors import Refusal
from core.runtime import Cancel
from demos.clipasso import lessons as clipasso_lessons
from demos.clipasso.compare import reached
from demos.clipdraw import page as clipdraw
from demos.draw import stroke_files as sketch_export
from demos.draw import strokes as sketch_draw
from demos.kit import jobs, sources


def strokes(count: int = 3, seed: int = 0, **options: Any) -> Strokes:
    generator = np.random.default_rng(seed)
    points = generator.uniform(20, 200, (count, 4, 2)).astype(np.float32)
    colors = np.zeros((count, 4), np.float32)
    colors[:, 3] = 1
    return Strokes(points, np.full(count, 3, np.float32), options.pop("colors", colors), **options)


def drawn(count: int = 3, moments: int = 9) -> Drawn:
    history = tuple(strokes(count, seed) for seed in range(moments))
    curves = np.linspace(1, 0.2, 2 * moments).reshape(2, moments)
    return Drawn(
        strokes=strokes(count, 99),
        seed=1,
        loss=0.2,
        losses=np.array([0.6, 0.2]),
        curves=curves,
        terms={"semantic": 0.05, "layer2": 0.15},
        features=np.ones(4) / 2,
        seeds=(strokes(count), strokes(count)),
        history=history,
        history_steps=np.arange(moments),
    )


# --- messages ----------------------------------------------------------------------------------------------------


def test_black_strokes_of_one_width_are_a_small_column() -> None:
    found = sketch_draw.column(strokes())
    assert set(found) == {"d", "w"} and found["w"] == 3 and len(found["d"]) == 3
    assert all(re.fullmatch(r"M[\d.]+ [\d.]+C[\d. ]+", path) for path in found["d"])


def test_colours_widths_and_paper_are_told_where_they_differ() -> None:
    colors = np.array([[1, 0, 0, 1], [0, 1, 0, 0.5]], np.float32)
    scene = Strokes(strokes(2).points, np.array([1, 2.5], np.float32), colors, (0.0, 0.0, 0.5))
    found = sketch_draw.column(scene, "two")
    assert found["c"] == ["#ff0000", "#00ff0080"] and found["w"] == [1, 2.5]
    assert found["paper"] == "#000080" and found["title"] == "two"


def test_a_frame_is_small_enough_for_twenty_a_second() -> None:
    frame = Frame(3, 10, 0.1, 0.2, (strokes(16),), (0,), np.array([[0.5, 0.4]]), {}, np.ones((1, 4)))
    text = sketch_draw.message("run", frame, [""])
    assert len(text) < 1500
    value = json.loads(text)
    assert value["step"] == 3 and value["losses"] == [[0.5, 0.4]] and "picture" not in value


def test_the_end_of_a_run_replays_it_and_ends_with_the_drawing() -> None:
    one = drawn(moments=100)
    value = json.loads(sketch_draw.finished("run", [one], 99, [""], edit=True))
    history = value["history"]
    assert len(history) == sketch_draw.REPLAY + 1
    assert [frame["step"] for frame in history] == sorted(frame["step"] for frame in history)
    assert history[0]["columns"][0]["d"] == one.history[0].paths()
    assert history[-1]["columns"][0]["d"] == one.strokes.paths() == value["columns"][0]["d"]
    assert value["final"] and value["edit"]


def test_curves_have_every_seed_and_no_number_where_nothing_was_judged() -> None:
    short, long = np.array([[1.0, 0.5]]), np.array([[1.0, np.nan, 0.25], [2.0, 1.5, 1.0]])
    found = sketch_draw.curves([short, long])
    assert [step for step, _ in found] == [0, 1, 2]
    assert found[1][1] == [[0.5], [None, 1.5]]
    # A column that ended keeps its last loss.
    assert found[2][1] == [[0.5], [0.25, 1.0]]


def test_long_curves_are_thinned_with_both_ends() -> None:
    found = sketch_draw.curves([np.linspace(1, 0, 2002)[None]])
    assert len(found) <= 4 * sketch_draw.REPLAY and found[0][0] == 0 and found[-1][0] == 2001


# --- edits -------------------------------------------------------------------------------------------------------


def sent(points: Any, kept: Any) -> str:
    return json.dumps({"edited": {"kept": kept, "points": points}})


def test_edited_strokes_keep_their_width_and_colour() -> None:
    before = strokes(3)
    widths = np.array([1, 2, 3], np.float32)
    before = Strokes(before.points, widths, before.colors)
    moved = (before.points[[2, 0]] + 1).reshape(2, -1)
    after = sketch_draw.edited(sent(moved.tolist(), [2, 0]), before)
    assert after is not None
    np.testing.assert_allclose(after.points, before.points[[2, 0]] + 1)
    assert after.widths.tolist() == [3, 1]


@pytest.mark.parametrize("value", [None, "", json.dumps({"run": "1", "columns": []})])
def test_what_python_wrote_itself_is_no_edit(value: str | None) -> None:
    assert sketch_draw.edited(value, strokes()) is None


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
        sent([[0] * 8], [0]) + " " * sketch_draw.MAX_EDIT,
    ],
)
def test_what_the_surface_does_not_send_is_refused(value: str) -> None:
    with pytest.raises(Refusal) as refusal:
        sketch_draw.edited(value, strokes())
    assert refusal.value.code == "bad_drawing"


# --- comparisons ---------------------------------------------------------------------------------------------------


def test_the_step_at_which_a_loss_is_reached() -> None:
    curves = np.array([[1.0, 0.5, 0.6, 0.1], [1.0, 0.7, np.nan, 0.3]])
    assert reached(curves, 0.6) == 1  # the mean of 0.5 and 0.7
    assert reached(curves, 0.55) == 3
    assert reached(curves, 0.1) is None


def test_typed_text_is_escaped() -> None:
    assert "<script>" not in sketch_draw.figures([("data:,", "<script>", "<b>")])
    assert "<i>" not in sketch_draw.rows_table(["<i>"], [["<i>", "<i>"]])


# --- files ---------------------------------------------------------------------------------------------------------


def payloads(text: str) -> dict[str, bytes]:
    found = re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', text)
    return {name: base64.b64decode(data) for name, data in found}


def test_downloads_hold_the_drawing() -> None:
    one = drawn()
    files = payloads(sketch_export.links("clipasso", [one], {"checkpoint": "classroom-rn"}))
    assert list(files) == ["clipasso-3.svg", "clipasso-3-run.svg", "clipasso-3.png", "clipasso.json"]
    back = Strokes.from_svg(files["clipasso-3.svg"].decode())
    np.testing.assert_array_equal(back.points, one.strokes.points)
    assert b"<animate" in files["clipasso-3-run.svg"]
    picture = Image.open(io.BytesIO(files["clipasso-3.png"]))
    assert picture.size == (sketch_export.PNG_SIDE,) * 2
    answer = json.loads(files["clipasso.json"])
    assert answer["checkpoint"] == "classroom-rn" and np.shape(answer["drawings"][0]["points"]) == (3, 4, 2)


def test_each_column_has_its_own_downloads() -> None:
    files = payloads(sketch_export.links("ladder", [drawn(2), drawn(5)], {}))
    assert {"ladder-2.svg", "ladder-5.svg", "ladder.json"} < set(files)
    assert len(json.loads(files["ladder.json"])["drawings"]) == 2


def test_films_show_the_run_and_rest_on_the_drawing() -> None:
    one = drawn()
    files = payloads(sketch_export.films("clipasso", [one], "en"))
    film = Image.open(io.BytesIO(files["clipasso.gif"]))
    assert film.n_frames == len(one.history) + 1 and film.size == (448, 448)
    assert files["clipasso.mp4"][4:8] == b"ftyp"
    film.seek(film.n_frames - 1)
    last = np.asarray(film.convert("L"), float)
    np.testing.assert_allclose(last, one.strokes.image(448, 1).mean(2), atol=12)


# --- long jobs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def own_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_lines", {})
    monkeypatch.setattr(jobs.runtime, "pick_device", lambda: "nowhere")


@pytest.mark.usefixtures("own_line")
def test_a_second_job_waits_for_the_first() -> None:
    running = threading.Event()
    let_go = threading.Event()
    order: list[str] = []

    def first() -> Iterator[str]:
        running.set()
        let_go.wait(300)
        order.append("first")
        yield "done"

    def second() -> Iterator[str]:
        order.append("second")
        yield "done"

    worker = threading.Thread(target=lambda: list(jobs.in_turn(Cancel(), 10, first)))
    worker.start()
    running.wait(300)
    waiting = jobs.in_turn(Cancel(), 10, second)
    assert next(waiting) == 1
    let_go.set()
    rest = list(waiting)
    worker.join(300)
    assert rest[-1] == "done" and order == ["first", "second"]


@pytest.mark.usefixtures("own_line")
def test_a_waiting_job_can_leave_the_line() -> None:
    running, let_go = threading.Event(), threading.Event()

    def first() -> Iterator[str]:
        running.set()
        let_go.wait(300)
        yield "done"

    def never() -> Iterator[str]:
        raise AssertionError("it was asked to stop before its turn")
        yield ""

    worker = threading.Thread(target=lambda: list(jobs.in_turn(Cancel(), 10, first)))
    worker.start()
    running.wait(300)
    cancel = Cancel()
    waiting = jobs.in_turn(cancel, 10, never)
    assert next(waiting) == 1
    cancel.set()
    assert [value for value in waiting if not isinstance(value, int)] == []
    let_go.set()
    worker.join(300)
    assert list(jobs.in_turn(Cancel(), 10, lambda: (text for text in "x"))) == ["x"]


@pytest.mark.usefixtures("own_line")
def test_a_job_is_asked_to_stop_when_its_time_is_over() -> None:
    cancel = Cancel()

    def job() -> Iterator[int]:
        yield cancel._event.wait(300)

    assert list(jobs.in_turn(cancel, 0.1, job)) == [True]


# --- code ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [*clipasso_lessons.PIECES, *clipdraw.PIECES], ids=lambda piece: piece[2])
def test_the_code_that_pages_show_is_in_the_repository(piece: tuple[Any, str, str]) -> None:
    _, file, name = piece
    text = sources.lines(file, name)
    assert text.startswith("def " + name.rpartition(".")[2] + "(")
    assert text in (sources.ROOT / file).read_text("utf-8") or "." in name


def test_a_name_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        sources.lines("core/drawing/saliency.py", "nothing")
