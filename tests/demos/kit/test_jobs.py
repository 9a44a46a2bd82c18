"""Jobs that wait for each other at a device: in turn, able to leave, asked to stop when their time is over."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from core.runtime import Cancel
from demos.kit import jobs


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
