"""The *Train CLIP live* tab through its handlers: it learns, one at a time, Stop, refusals, and what is tried after."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from itertools import count, islice
from types import SimpleNamespace
from typing import Any

import pytest
from gradio_client import Client

from core.classroom.recipes.clip import live
from core.errors import Refusal
from core.runtime import Cancel
from demos.clip import train as clip_train
from demos.clip.train import LIVE
from demos.kit import train
from tests.demos.clip.asked import EXAMPLES, asked
from tests.pages import run

FOUR = ("sheep", "car", "tree", "rose")


def lesson(
    session: str = "tab", lang: str = "en", cancel: Cancel | None = None, **fields: Any
) -> Iterator[Any]:
    """The job behind Start, as a visitor's session starts it."""
    given = {"concepts": FOUR, "minutes": 0.25, "batch": 16, "rate": 0.003} | fields
    settings = clip_train.Settings(**given)
    values = [getattr(settings, one.name) for one in dataclasses.fields(settings)]
    return train.training(LIVE, session, *values, lang, cancel or Cancel())


def refused(handler: Any, *values: Any) -> str:
    """The sentence of a refusal; "" where there is none."""
    return str(run(handler, *values)["message"])


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """What a test has trained goes with it."""
    yield
    clip_train.KEPT.drop("tab")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by 0.1 s whenever it is read: a training then has as many steps on every machine."""
    ticks = count()
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 10))


def numbers(view: str) -> tuple[int, float]:
    """Percent named correctly, and the loss, as the page shows them."""
    figures = re.findall(r"<strong>([\d.–]+)%?</strong>", view)
    return int(figures[0]), float("nan") if figures[1] == "–" else float(figures[1])


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_it_shows_how_it_learns_and_stops_when_asked(lang: str, clock: None) -> None:
    cancel = Cancel()
    steps = lesson(lang=lang, minutes=2, cancel=cancel)
    shown = [part for part in islice(steps, 12) if isinstance(part, dict) and "matrix" in part]
    assert ("left" in shown[0]["line"]) == (lang == "en")
    assert shown[0]["curves"].count("<svg") == 2 and "<svg" in shown[0]["matrix"]
    assert numbers(shown[-1]["numbers"])[1] < 0.8 * numbers(shown[1]["numbers"])[1]
    cancel.set()
    last = list(steps)[-1]
    assert ("Stopped." if lang == "en" else "已停止。") in last["line"] and last["trying"]["visible"] is True
    assert "clip-training.csv" in last["file"]
    # What it has learned can be tried, by this visitor alone.
    scene = run(clip_train.another, "tab", asked(), lang)
    assert scene["message"] == "" and scene["out"].count("<tr") == 5 and "data:image/" in scene["out"]
    mine = run(clip_train.own, "tab", asked(), EXAMPLES["sheep_eating"]["path"], lang)
    assert ("4 words" if lang == "en" else "4 个词") in mine["out"]
    assert refused(clip_train.another, "somebody else", asked(), lang)
    clip_train.KEPT.leave(SimpleNamespace(session_hash="tab"))  # type: ignore[arg-type]
    assert refused(clip_train.another, "tab", asked(), lang)


def test_one_training_at_a_time_for_the_whole_server() -> None:
    steps = lesson(minutes=3)
    next(steps)
    try:
        for lang, words in (("en", "about 3 more min"), ("zh", "大约还需 3 分钟")):
            assert words in refused(lambda lang: list(lesson("another", lang=lang)), lang)
    finally:
        steps.close()  # what Gradio does when the tab is closed
    later = lesson("another")
    assert next(later)
    later.close()


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"concepts": ("sheep",)},
        {"concepts": (*clip_train.OFFERED, "unknown"), "minutes": 99},
        {"batch": 4096},
        {"rate": 9.0},
        {"scale": 0},
        {"minutes": float("nan")},
    ],
)
def test_settings_out_of_range_are_one_sentence(wrong: dict[str, Any], lang: str) -> None:
    assert refused(lambda lang: list(lesson(lang=lang, **wrong)), lang)


def test_captions_are_in_the_language_of_the_page_or_the_chosen_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Lesson:
        def __init__(self, settings: Any) -> None:
            made.append(settings)
            raise Refusal("cancelled")

    monkeypatch.setattr(live, "Lesson", Lesson)
    for language in ("page", "en"):
        refused(lambda lang, language=language: list(lesson(lang=lang, language=language)), "zh")
    assert [one.language for one in made] == ["zh", "en"]


def test_nothing_of_a_training_is_a_named_endpoint(client: Client) -> None:
    names = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert "/clip_matrix" in names and not [name for name in names if "train" in name or "live" in name]
