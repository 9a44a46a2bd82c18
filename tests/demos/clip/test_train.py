"""The *Train CLIP live* tab through its handlers: it learns, one at a time, Stop, refusals, and what is tried after."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from gradio_client import Client

from core.classroom.recipes.clip import live
from demos.clip import answer as handlers
from demos.clip import train as clip_train
from demos.kit import events as wiring

FOUR = ["sheep", "car", "tree", "rose"]
VIEW, START, STOP, TRYING, RESULT = range(1, 6)


def lesson(
    session: str = "tab", names: list[str] | None = None, language: str = "en", minutes: float = 0.25,
    batch: float = 16, rate: float = 0.003, temperature: str = "learned", scale: float = 10, lang: str = "en",
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """The page's own call, as a visitor's session makes it."""
    run = wiring.with_session(clip_train.train, 5)
    values = (FOUR if names is None else names, language, minutes, batch, rate, temperature, scale, lang)
    return run(SimpleNamespace(session_hash=session), *values)


def said(handler: Any, *values: Any, session: str = "tab") -> tuple[Any, ...]:
    """One answer of a handler with a session."""
    answer = wiring.with_session(handler, 1)(SimpleNamespace(session_hash=session), *values)
    assert isinstance(answer, tuple)
    return answer


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """What a test has trained goes with it."""
    yield
    clip_train.TOYS.drop("tab")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by 0.1 s whenever it is read: a lesson then has as many steps on every machine."""
    ticks = count()
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 10))


def numbers(view: str) -> tuple[int, float]:
    """Percent named right, and the loss, as the page shows them."""
    found = re.findall(r"<strong>([\d.–]+)%?</strong>", view)
    return int(found[0]), float("nan") if found[1] == "–" else float(found[1])


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_it_shows_how_it_learns_and_stops_when_asked(lang: str, clock: None) -> None:
    steps = lesson(language=lang, minutes=2, lang=lang)
    first = next(steps)
    assert first[0] == "" and first[START]["visible"] is False and first[STOP]["visible"] is True
    shown = [next(steps)]
    assert ("left" in shown[0][VIEW]) == (lang == "en") and shown[0][VIEW].count("<svg") == 3
    while len(shown) < 9:
        shown.append(next(steps))
    assert numbers(shown[-1][VIEW])[1] < 0.8 * numbers(shown[1][VIEW])[1]
    assert said(clip_train.stop, lang)[1]["interactive"] is False
    last = list(steps)
    assert len(last) <= 2 and ("Stopped." if lang == "en" else "已停止。") in last[-1][VIEW]
    assert last[-1][START]["visible"] is True and last[-1][TRYING]["visible"] is True
    # What it has learned can be tried, by this visitor alone.
    (message, scene) = said(clip_train.another, lang)
    assert message == "" and scene.count("<tr") == 5 and "data:image/" in scene
    (message, mine) = said(clip_train.own, handlers.examples()["sheep_eating"]["path"], lang)
    assert message == "" and ("4 words" if lang == "en" else "4 个词") in mine
    (message, _) = said(clip_train.another, lang, session="somebody else")
    assert 'role="alert"' in message


def test_one_lesson_at_a_time_for_the_whole_server() -> None:
    steps = lesson(minutes=3)
    next(steps)
    try:
        for lang, words in (("en", "about 3 more min"), ("zh", "大约还需 3 分钟")):
            (answer,) = list(lesson("another", lang=lang))
            assert words in answer[0] and 'role="alert"' in answer[0]
    finally:
        steps.close()  # what Gradio does when the tab is closed
    later = lesson("another")
    assert next(later)[0] == ""
    later.close()


def test_a_closed_tab_ends_the_lesson_at_its_next_step() -> None:
    steps = lesson(minutes=5)
    next(steps)
    next(steps)
    clip_train.STOPS.left(SimpleNamespace(session_hash="tab"))  # type: ignore[arg-type]
    assert "Stopped." in list(steps)[-1][VIEW]
    clip_train.TOYS.left(SimpleNamespace(session_hash="tab"))  # type: ignore[arg-type]
    assert 'role="alert"' in said(clip_train.another, "en")[0]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"names": ["sheep"]},
        {"names": [*clip_train.offered(), "unknown"], "minutes": 99},
        {"batch": 4096},
        {"rate": 9.0},
        {"scale": 0},
        {"minutes": float("nan")},
    ],
)
def test_settings_out_of_range_are_one_sentence(wrong: dict[str, Any], lang: str) -> None:
    (answer,) = list(lesson(**wrong, lang=lang))
    assert 'role="alert"' in answer[0] and "logged" not in answer[0] and "已经记录" not in answer[0]


@pytest.mark.parametrize("variable", ["SPACE_ID", "SPACES_ZERO_GPU"])
def test_a_space_trains_nothing_and_says_so(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    (answer,) = list(lesson())
    assert "switched off on this Space" in answer[0]


def test_toys_are_few_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    toys, made = clip_train.Toys(), SimpleNamespace()
    for k in range(clip_train.KEPT + 3):
        toys.keep(f"tab {k}", made)  # type: ignore[arg-type]
    assert len(toys) == clip_train.KEPT
    with pytest.raises(clip_train.Refusal):
        toys.of("tab 0")
    assert toys.of(f"tab {clip_train.KEPT}") is made
    now = clip_train.time.monotonic() + clip_train.KEPT_SECONDS + 1
    monkeypatch.setattr(clip_train, "time", SimpleNamespace(monotonic=lambda: now))
    with pytest.raises(clip_train.Refusal):
        toys.of(f"tab {clip_train.KEPT}")


def test_nothing_of_a_lesson_is_a_named_endpoint(server: str) -> None:
    names = Client(server, verbose=False).view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert "/clip_matrix" in names and not [name for name in names if "train" in name or "live" in name]
