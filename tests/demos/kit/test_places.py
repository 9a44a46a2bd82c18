"""Where the answers of a handler appear: when Stop is offered, what a refusal leaves, slots that follow other events."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from core.errors import Refusal
from demos.kit import jobs, places
from demos.kit.components import output
from demos.kit.events import Shell
from demos.kit.jobs import Progress
from demos.kit.language import Text

STEP = Progress(0.5, "half")


def steps(
    handler: Callable[..., Any], read: Callable[[Any], tuple[Any, ...] | None] = tuple
) -> Iterator[dict[str, Any]]:
    """What a place shows of a handler, step by step: values by "out", "line", "stop", "run", "message", "over"."""
    with gr.Blocks() as demo:
        shell = Shell()
        place = places.lay_out("try", Text("Run", "运行"), {"out": output})
        places.wire(shell, place.button.click, place, handler, [], read)
    (function,) = [one.fn for one in demo.fns.values()]
    named = {
        **place.slots,
        "stop": place.stop,
        "run": place.button,
        "message": shell.message,
        "over": shell.over,
    }
    names = {component: name for name, component in named.items()}
    for step in function(SimpleNamespace(session_hash="session"), "en"):
        yield {names[component]: value for component, value in step.items()}


def stopped(step: dict[str, Any]) -> bool | None:
    """Whether Stop is visible; None where a step leaves it as it is."""
    return step["stop"]["visible"] is True if "stop" in step else None


@pytest.fixture(autouse=True)
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is sent, however quickly it comes."""
    monkeypatch.setattr(places, "STEP_SECONDS", -1.0)


def plain(lang: str) -> dict[str, Any]:
    return {"out": lang}


def test_an_answer_at_once_leaves_the_buttons_alone() -> None:
    (step,) = steps(plain)
    assert (
        step["out"] == "en"
        and step["message"] == ""
        and "data-answer" in step["line"]
        and stopped(step) is None
    )


@pytest.mark.parametrize("bars", [0, 1])
def test_a_prepared_answer_offers_stop_only_while_something_is_prepared(bars: int) -> None:
    def prepared(lang: str, cancel: Any) -> Iterator[Any]:
        yield from [STEP] * bars
        yield from places.parts(plain, (lang,), cancel)

    *before, last = steps(prepared)
    assert [stopped(step) for step in before] == [True] * bars
    assert last["out"] == "en" and "data-answer" in last["line"]
    assert stopped(last) is (False if bars else None)


def test_a_job_offers_stop_from_its_first_step() -> None:
    def job(lang: str, cancel: Any) -> Iterator[Any]:
        yield {"out": "first"}
        yield {"out": "second"}

    assert [stopped(step) for step in steps(job)] == [True, True, False]


def test_an_update_is_repeated_until_the_end_of_its_run() -> None:
    """Gradio's browser side loses an update that the next step leaves out, where it is slower than the steps."""

    def job(lang: str, cancel: Any) -> Iterator[Any]:
        yield {"out": gr.update(visible=True)}
        yield STEP
        yield {"out": gr.update(value="text")}
        yield {"out": gr.skip()}

    shown = [step["out"] for step in steps(job)]
    assert [one.get("visible") for one in shown] == [True] * 5
    assert [one.get("value") for one in shown] == [None, None, *["text"] * 3]


def test_a_value_takes_the_place_of_an_update() -> None:
    def job(lang: str, cancel: Any) -> Iterator[Any]:
        yield {"out": gr.update(value="first", visible=True)}
        yield {"out": "second"}
        yield STEP

    first, second, *others = (step.get("out") for step in steps(job))
    assert first["value"] == "first" and second == "second" and others == [None, None]


def test_quick_steps_are_sent_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def job(lang: str, cancel: Any) -> Iterator[Any]:
        yield {"out": "first"}
        for number in range(100):
            yield {"out": str(number), "line": str(number)}

    monkeypatch.setattr(places, "STEP_SECONDS", 1e9)
    assert [step["out"] for step in steps(job)] == ["first", "99"]


def test_a_step_that_waits_is_sent_before_a_slow_one(
    monkeypatch: pytest.MonkeyPatch, slow: threading.Event
) -> None:
    def job(lang: str, cancel: Any) -> Iterator[Any]:
        yield {"out": "first"}
        yield {"out": "second"}
        slow.wait()
        yield {"out": "third"}

    monkeypatch.setattr(places, "STEP_SECONDS", 1e9)
    run = steps(job)
    assert [next(run)["out"], next(run)["out"]] == ["first", "second"]
    slow.set()
    assert [step["out"] for step in run] == ["third"]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Every step that waits for this event is a slow one."""
    monkeypatch.setattr(jobs, "SLOW_SECONDS", 0.02)
    over = threading.Event()
    yield over
    over.set()


@pytest.mark.parametrize("is_job", [False, True])
def test_a_slow_run_gets_stop_and_then_answers(slow: threading.Event, is_job: bool) -> None:
    def job(lang: str, cancel: Any) -> Iterator[Any]:
        slow.wait(60)
        yield {"out": lang}

    def function(lang: str) -> dict[str, Any]:
        slow.wait(60)
        return {"out": lang}

    shown = steps(job if is_job else function)
    first = next(shown)
    assert stopped(first) is True and first["run"]["visible"] == "hidden" and "progressbar" in first["line"]
    slow.set()
    *between, last = shown
    assert [step["out"] for step in (*between, last) if "out" in step] == ["en"]
    assert stopped(last) is False and last["run"]["visible"] is True and "data-answer" in last["line"]


def test_a_function_is_left_alone_by_a_visitor_who_stops_it(slow: threading.Event) -> None:
    def function(lang: str) -> dict[str, Any]:
        slow.wait(60)
        return {"out": "too late"}

    shown = steps(function)
    next(shown)
    jobs.STOPS.stop("session", "try")
    (last,) = shown
    assert "Stopped" in last["message"] and stopped(last) is False and "out" not in last


def test_the_next_run_takes_the_place_of_one_that_is_not_over(slow: threading.Event) -> None:
    def function(lang: str) -> dict[str, Any]:
        slow.wait(60)
        return {"out": lang}

    first, second = steps(function), steps(function)
    next(first)
    assert stopped(next(second)) is True
    (last,) = first  # neither its answer nor a sentence, and Stop stays: it is the second run's
    assert set(last) == {"message"} and not isinstance(last["message"], str)
    slow.set()
    *_, last = second
    assert last["out"] == "en" and stopped(last) is False


def test_a_quick_run_after_a_slow_one_gives_the_button_back(
    slow: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def function(lang: str) -> dict[str, Any]:
        slow.wait(60)
        return {"out": lang}

    first = steps(function)
    next(first)
    monkeypatch.setattr(jobs, "SLOW_SECONDS", 60)
    (last,) = steps(plain)
    assert last["out"] == "en" and stopped(last) is False and last["run"]["visible"] is True


def test_a_refusal_is_a_sentence_and_gives_the_button_back() -> None:
    def job(lang: str, cancel: Any) -> Iterator[Any]:
        yield STEP
        raise Refusal("no_text")

    first, last = steps(job)
    assert "atlas-progress" in first["line"] and 'role="alert"' in last["message"]
    assert last["line"] == "" and stopped(last) is False and last["run"]["visible"] is True


def test_the_browser_can_tell_two_refusals_of_one_sentence_apart() -> None:
    def refuse(lang: str) -> dict[str, Any]:
        raise Refusal("no_text")

    marks = [re.search(r'data-over="try (\d+)"', step["over"]) for _ in range(2) for step in steps(refuse)]
    first, second = (mark.group(1) for mark in marks if mark)
    assert first != second


def nothing(values: Any) -> None:
    """As when another checkpoint is chosen that is not here yet."""


def test_the_browser_learns_that_a_run_without_an_answer_is_over() -> None:
    (step,) = steps(plain, nothing)
    assert set(step) == {"over"}  # the answer and the sentence in sight stay as they are
    assert re.fullmatch(r'<span hidden[^>]* data-over="try \d+"></span>', step["over"])


def test_the_browser_learns_that_a_handler_gave_no_answer() -> None:
    (step,) = steps(lambda lang: {})
    assert set(step) == {"message", "over"} and step["message"] == ""
    assert re.fullmatch(r'<span hidden[^>]* data-over="try \d+"></span>', step["over"])


def test_a_run_with_nothing_to_answer_leaves_the_one_that_was_asked_for(slow: threading.Event) -> None:
    """A visitor presses the button before what follows a change of the checkpoint has been looked at."""

    def refuse(lang: str) -> dict[str, Any]:
        slow.wait(60)
        raise Refusal("no_text")

    press = steps(refuse)
    next(press)
    (step,) = steps(plain, nothing)
    assert set(step) == {"over"} and "data-goes-on" in step["over"]
    slow.set()
    *_, last = press
    assert 'role="alert"' in last["message"] and "data-over" in last["over"]


def test_a_question_that_is_refused_takes_the_place_of_a_run(slow: threading.Event) -> None:
    def function(lang: str) -> dict[str, Any]:
        slow.wait(60)
        return {"out": lang}

    def refuse(values: Any) -> None:
        raise Refusal("no_text")

    first = steps(function)
    next(first)
    (last,) = steps(plain, refuse)
    assert 'role="alert"' in last["message"] and stopped(last) is False
    slow.set()
    (end,) = first
    assert not isinstance(end["message"], str)


def test_a_fault_is_said_without_its_details(caplog: pytest.LogCaptureFixture) -> None:
    def broken(lang: str) -> dict[str, Any]:
        raise ValueError("secret")

    (step,) = steps(broken)
    assert "secret" not in step["message"] and "logged" in step["message"] and "secret" in caplog.text
