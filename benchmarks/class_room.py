"""A class of sixty: do all join, follow the teacher and vote in time, and does the server's memory stay flat?

    python -m benchmarks.class_room                                # the app on a free port, 60 pupils, 2 minutes
    python -m benchmarks.class_room --minutes 45
    python -m benchmarks.class_room --url http://127.0.0.1:7860    # an app that already runs on this machine

Pupils speak the browser's protocol. Half of them load what a browser loads first: the page, its stylesheet, the card and the
answer of each step. All join at once. Then steps go by: each is timed from the teacher's request to the moment at which each
pupil's stream has said it, and each vote from the pupil's request to the moment at which the teacher's stream has counted it.
Ten connections are broken in the middle of a step and have to come back into it. For the rest of the time the class goes
through its plan again and again, with votes and lost connections, and memory is read each second (Linux only).

Prints each figure beside its bar; fails where one is missed. Times are those of clients on the machine of the server, so they
include the clients' own work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from benchmarks.load import app
from benchmarks.startup import memory_mb
from core import terminal

PUPILS, BROWSERS, BROKEN = 60, 30, 10
PLAN, STEPS = "minutes", 5
# Seconds: all have joined; 95 % of the pupils have a step; 95 % of the votes are counted.
JOINED, FOLLOWED, COUNTED = 10.0, 1.0, 1.0
GROWTH = 10.0  # MB that memory may gain after the first minute
SETTLED = 60.0  # seconds
PAUSE = 2.0  # seconds between steps; a class takes minutes


@dataclass
class Figures:
    """What was measured, in seconds and MB."""

    join: float = 0.0
    follow: list[float] = field(default_factory=list)
    count: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def share(values: list[float], part: float) -> float:
    """The value that this part of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


class Http:
    """Requests to one server, each on a connection of its own."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self.host, self.port, self.root = str(place.hostname), place.port or 80, place.path.rstrip("/")

    async def _send(
        self, method: str, path: str, body: bytes = b"", accept: str = "*/*"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        lines = [
            f"{method} {self.root}/{path} HTTP/1.0",
            f"Host: {self.host}:{self.port}",
            f"Accept: {accept}",
            f"Content-Length: {len(body)}",
            "Content-Type: application/json",
            "",
            "",
        ]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()
        return reader, writer

    async def fetch(
        self, method: str, path: str, values: Any = None, accept: str = "*/*"
    ) -> tuple[int, bytes]:
        """Status and body of an answer."""
        body = b"" if values is None else json.dumps(values).encode()
        reader, writer = await self._send(method, path, body, accept)
        try:
            head, _, content = (await reader.read()).partition(b"\r\n\r\n")
            return int(head.split()[1]), content
        finally:
            writer.close()

    async def post(self, path: str, values: Any) -> Any:
        """The value of an answer; RuntimeError where it is a refusal."""
        status, content = await self.fetch("POST", f"class/{path}", values)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {content[:200]!r}")
        return json.loads(content)

    async def stream(self, query: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A stream of events."""
        return await self._send("GET", f"class/events?{query}", accept="text/event-stream")


class Screen:
    """What follows a class: the newest state and when it came. A connection that breaks is made again, as browsers do."""

    def __init__(self, http: Http, query: str) -> None:
        self.http, self.query = http, query
        self.view: dict[str, Any] = {}
        self.came = asyncio.Condition()
        self.writer: asyncio.StreamWriter | None = None
        self.connections = 0
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while not self.view.get("over"):
            try:
                reader, self.writer = await self.http.stream(self.query)
                self.connections += 1
                while line := await reader.readline():
                    if line.startswith(b"data: "):
                        async with self.came:
                            self.view = json.loads(line[6:])
                            self.came.notify_all()
            except OSError:
                pass
            await asyncio.sleep(0.2 + 0.3 * random.random())

    async def wait(self, is_there: Any) -> float:
        """The moment at which the state is as wanted."""
        async with self.came:
            await asyncio.wait_for(self.came.wait_for(lambda: bool(self.view) and is_there(self.view)), 60)
        return time.perf_counter()

    def lose(self) -> None:
        """Breaks the connection."""
        if self.writer is not None:
            self.writer.transport.abort()

    async def close(self) -> None:
        """Follows no more."""
        self.task.cancel()
        self.lose()
        await asyncio.gather(self.task, return_exceptions=True)


class Lesson:
    """A class with its teacher and pupils."""

    def __init__(self, url: str, figures: Figures) -> None:
        self.http = Http(url)
        self.url = url if url.endswith("/") else f"{url}/"
        self.figures = figures

    async def begin(self) -> None:
        """The teacher starts the class and all pupils join at once."""
        self.room = await self.http.post("start", {"plan": PLAN, "base": self.url})
        self.teacher = Screen(self.http, f"code={self.room['code']}&word={self.room['word']}")
        await self.teacher.wait(lambda view: True)
        start = time.perf_counter()
        self.pupils = await asyncio.gather(*(self.join(number) for number in range(PUPILS)))
        await self.teacher.wait(lambda view: view["connected"] == PUPILS)
        self.figures.join = time.perf_counter() - start

    async def join(self, number: int) -> tuple[dict[str, str], Screen]:
        """A pupil who scans the code; the first half load what a browser loads."""
        if number < BROWSERS:
            for path in (f"class?code={self.room['code']}", "style.css"):
                status, _ = await self.http.fetch("GET", path, accept="text/html")
                if status != 200:
                    self.figures.errors.append(f"{path}: {status}")
        me = await self.http.post("join", {"code": self.room["code"]})
        screen = Screen(self.http, f"code={me['code']}&pupil={me['pupil']}")
        await screen.wait(lambda view: True)
        return me, screen

    async def lead(self, what: str, **more: Any) -> Any:
        """What the teacher does."""
        values = {"code": self.room["code"], "key": self.room["key"], "do": what, **more}
        return await self.http.post("lead", values)

    async def step(self, at: int) -> None:
        """One step: everybody follows, votes, discusses, votes again, and sees the answer."""
        start = time.perf_counter()
        moving = asyncio.create_task(self.lead("move", at=at))
        reached = await asyncio.gather(
            *(screen.wait(lambda view: view["at"] == at) for _, screen in self.pupils)
        )
        self.figures.follow += [moment - start for moment in reached]
        await moving
        await self.load("card", f"plan={PLAN}&at={at}&lang=zh")
        # One vote after the other is timed; then the others vote at once.
        await self.teacher.wait(lambda view: view["at"] == at)
        for number, (me, _) in enumerate(self.pupils[:10], 1):
            await self.vote(me, at, number % 2, number)
        await asyncio.gather(*(self.send_vote(me, at, i % 2) for i, (me, _) in enumerate(self.pupils[10:])))
        start = time.perf_counter()
        self.figures.count.append(await self.teacher.wait(lambda view: view["voted"] == PUPILS) - start)
        await self.lead("again")
        await asyncio.gather(*(self.send_vote(me, at, 0) for me, _ in self.pupils))
        await self.teacher.wait(lambda view: view["voted"] == PUPILS and sum(view["after"] or ()) == PUPILS)
        start = time.perf_counter()
        await self.lead("run")
        reached = await asyncio.gather(
            *(
                screen.wait(lambda view: view["at"] == at and view["phase"] == "answer")
                for _, screen in self.pupils
            )
        )
        me, _ = self.pupils[0]
        await self.load("answer", f"code={me['code']}&pupil={me['pupil']}&at={at}&lang=zh")

    async def load(self, part: str, query: str) -> None:
        """What browsers fetch for a step."""
        answers = await asyncio.gather(
            *(self.http.fetch("GET", f"class/{part}?{query}") for _ in range(BROWSERS))
        )
        self.figures.errors += [f"{part}: {status}" for status, _ in answers if status != 200]

    async def send_vote(self, me: dict[str, str], at: int, choice: int) -> None:
        """One prediction."""
        await self.http.post("vote", {**me, "at": at, "choice": choice})

    async def vote(self, me: dict[str, str], at: int, choice: int, count: int) -> None:
        """One prediction, timed until the teacher sees it."""
        start = time.perf_counter()
        sending = asyncio.create_task(self.send_vote(me, at, choice))
        self.figures.count.append(await self.teacher.wait(lambda view: view["voted"] >= count) - start)
        await sending

    async def lose(self) -> None:
        """Ten connections break in the middle of a step."""
        chosen = random.sample(self.pupils, BROKEN)
        at, before = self.teacher.view["at"], [screen.connections for _, screen in chosen]
        start = time.perf_counter()
        for _, screen in chosen:
            screen.view = {}
            screen.lose()
        reached = await asyncio.gather(*(screen.wait(lambda view: view["at"] == at) for _, screen in chosen))
        if any(screen.connections <= count for (_, screen), count in zip(chosen, before, strict=True)):
            self.figures.errors.append("a connection was not lost")
        self.figures.back += [moment - start for moment in reached]

    async def end(self) -> None:
        """The class is over, for all."""
        await self.lead("end")
        await asyncio.gather(*(screen.wait(lambda view: view["over"]) for _, screen in self.pupils))
        for screen in (self.teacher, *(screen for _, screen in self.pupils)):
            await screen.close()


async def hold(url: str, pid: int | None, minutes: float) -> Figures:
    """A class after the other for some minutes; the first one's joining is timed."""
    figures = Figures()
    start = time.monotonic()

    async def watch() -> None:
        while pid:
            figures.memory.append((time.monotonic() - start, memory_mb(pid)))
            await asyncio.sleep(1)

    watching = asyncio.create_task(watch())
    lesson = Lesson(url, figures)
    await lesson.begin()
    try:
        at = 0
        while True:
            await lesson.step(at)
            await lesson.lose()
            await asyncio.sleep(PAUSE)
            at += 1
            if time.monotonic() > start + 60 * minutes:
                break
            if at == STEPS:
                await lesson.end()
                first, lesson = figures.join, Lesson(url, figures)
                await lesson.begin()
                figures.join, at = max(first, figures.join), 0
        await lesson.end()
    finally:
        watching.cancel()
    return figures


def growth(memory: list[tuple[float, float]]) -> float:
    """MB gained from the first minute to the end: the mean of the last tenth less that of the first tenth behind it."""
    later = [mb for at, mb in memory if at >= SETTLED]
    tenth = max(1, len(later) // 10)
    return sum(later[-tenth:]) / tenth - sum(later[:tenth]) / tenth if later else 0.0


def report(figures: Figures) -> bool:
    """Prints each figure beside its bar; whether all are kept."""
    lines = [
        (f"{PUPILS} pupils have joined", figures.join, JOINED, "s"),
        ("a step reaches a pupil, 95th percentile", share(figures.follow, 0.95), FOLLOWED, "s"),
        ("a vote reaches the teacher, 95th percentile", share(figures.count, 0.95), COUNTED, "s"),
        ("a lost connection is back in its step, longest", max(figures.back, default=0.0), JOINED, "s"),
        ("memory after the first minute", growth(figures.memory), GROWTH, "MB"),
    ]
    for name, value, bar, unit in lines:
        print(f"{name}: {value:.2f} {unit} (bar {bar:g}) {'ok' if value < bar else 'MISSED'}")
    seconds = figures.memory[-1][0] if figures.memory else 0.0
    print(
        f"{len(figures.follow)} arrivals, {len(figures.count)} votes timed, {seconds / 60:.1f} minutes of memory"
    )
    print(f"errors: {len(figures.errors)} {figures.errors[:3]}")
    return not figures.errors and all(value < bar for _, value, bar, _ in lines)


def main() -> int:
    """Holds classes and prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.class_room", description=main.__doc__)
    parser.add_argument("--url", help="an app that runs on this machine; without it one is started")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long")
    chosen = parser.parse_args()
    with app(chosen.url) as (url, pid):
        figures = asyncio.run(hold(url, pid, chosen.minutes))
    return 0 if report(figures) else 1


if __name__ == "__main__":
    sys.exit(terminal.run(main))
