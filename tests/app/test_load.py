"""A class at once: no error, no mixed-up answer, no growing memory; work that nobody waits for ends within a second.

The long versions, with their figures, are benchmarks.load and benchmarks.soak.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks import load, startup
from demos.kit import library
from tests.conftest import process_of
from tests.wire import Tab

BUSY = "lesson is running on this server"


def test_many_clients_get_their_own_answers_and_memory_stays(server: str) -> None:
    tally = load.crowd(server, clients=32, seconds=14, pid=process_of(server))
    assert tally.errors == []
    assert len(tally.seconds) >= 32
    assert tally.growth() < 50


def test_the_crowd_notices_a_mix_up_and_an_error(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load test can fail: an answer of somebody else and a refusal are both counted."""
    real = load.Client.ask
    turns = iter(range(10_000))

    def swapped(client: load.Client, path: str, labels: list[str]) -> dict[str, float]:
        turn = next(turns)
        if turn == load.PICTURES:
            return real(client, path, [*load.LABELS, "another's label"])
        return real(client, "" if turn == load.PICTURES + 1 else path, labels)

    monkeypatch.setattr(load.Client, "ask", swapped)
    tally = load.crowd(server, clients=1, seconds=0, least=4)
    assert len(tally.errors) == 2
    assert "another question" in tally.errors[0] and "The image must be" in tally.errors[1]


def test_thirty_pupils_open_the_page_at_once(server: str) -> None:
    seconds = load.open_at_once(server, 30)
    assert len(seconds) == 30


# --- work that nobody waits for ------------------------------------------------------------------------------


@pytest.fixture
def lesson(server: str) -> Iterator[Callable[[], tuple[Tab, Any, Iterator[dict[str, Any]]]]]:
    """Starts a lesson of "Train CLIP live", of which a server runs one at a time, and waits until it learns."""
    opened = []

    def start() -> tuple[Tab, Any, Iterator[dict[str, Any]]]:
        for _ in range(600):
            tab = Tab(server)
            assert tab.join(tab.event("live-run", "click"), {"live-minutes": 5})[0] == 200
            stream = tab.stream()
            messages = stream.__enter__()
            opened.append(stream)
            generating = 0
            for message in messages:
                if BUSY in json.dumps(message, ensure_ascii=False):
                    break  # the lesson of an earlier test is about to end
                generating += message["msg"] == "process_generating"
                if generating == 3:
                    return tab, stream, messages
            time.sleep(1)
        pytest.fail("a lesson of an earlier test goes on")

    yield start
    for stream in opened:
        stream.__exit__(None, None, None)


def is_free(server: str) -> bool:
    """Whether the server would run another lesson; the one that is begun to find out is given up at once."""
    tab = Tab(server)
    assert tab.join(tab.event("live-run", "click"), {"live-minutes": 1})[0] == 200
    with tab.stream() as messages:
        for message in messages:
            text = json.dumps(message, ensure_ascii=False)
            if BUSY in text:
                return False
            if message["msg"] == "process_generating":
                return True
    return False


# Processor seconds: what two cores do in a second, and more than any test allows.
SECOND, ENOUGH = 2.0, 6.0
LOOP, LOOP_SECONDS = 1_000_000, 0.03  # steps of a loop, and what they take on a core that nobody shares


def works(pid: int) -> bool:
    """Whether a process has work: one of its threads can run, whether or not a busy machine lets it.

    Looks for two seconds, because a server at rest also answers a heartbeat now and then.
    """
    busy = 0
    for _ in range(40):
        time.sleep(0.05)
        states = []
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # the thread has ended
                states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
        busy += "R" in states
    return busy > 10


def slowness() -> float:
    """How many times as long a loop takes as on a core that nobody shares, in processor seconds, which neighbours stretch."""
    start = time.thread_time()
    for _ in range(LOOP):
        pass
    return max(1.0, (time.thread_time() - start) / LOOP_SECONDS)


def work_after(server: str, end: Callable[[], Any]) -> float:
    """Processor seconds that the server still spends once `end` was done, until it rests or has spent enough.

    Seconds of a clock would measure what else the machine is busy with, so would those of a processor that neighbours slow
    down: these are the seconds of a core that nobody shares.
    """
    pid = process_of(server)
    last = startup.cpu_seconds(pid)[1]
    end()
    spent = 0.0
    while spent < ENOUGH and works(pid):
        now = startup.cpu_seconds(pid)[1]
        spent += (now - last) / slowness()
        last = now
    return spent


def test_a_closed_tab_ends_its_work_within_a_second(server: str, lesson: Callable[[], Any]) -> None:
    _, stream, _ = lesson()
    assert not is_free(server)
    assert work_after(server, lambda: stream.__exit__(None, None, None)) < SECOND
    assert is_free(server)


def test_stop_ends_the_work_within_a_second(server: str, lesson: Callable[[], Any]) -> None:
    tab, _, messages = lesson()
    stop = tab.event("live-stop", "click")
    assert work_after(server, lambda: tab.join(stop, {})) < SECOND
    shown = [json.dumps(next(messages), ensure_ascii=False)]
    while "Stopped." not in shown[-1]:
        shown.append(json.dumps(next(messages), ensure_ascii=False))


def test_work_that_goes_on_would_be_seen(server: str, lesson: Callable[[], Any]) -> None:
    lesson()
    assert work_after(server, lambda: None) > SECOND


def test_a_question_that_nobody_waits_for_leaves_the_queue(server: str) -> None:
    """Tabs that close while their questions wait: the next visitor is answered as if they had never come."""
    picture = Path(library.shared()["toys"]["path"]).read_bytes()
    for number in range(20):
        with closing(load.Client(server)) as client:
            place = client.upload(picture + bytes([number]))
            client.leave(place, [*load.LABELS, f"gone {number}"])
    with closing(load.Client(server)) as client:
        place = client.upload(picture)
        assert set(client.ask(place, list(load.LABELS))) == set(load.LABELS)
