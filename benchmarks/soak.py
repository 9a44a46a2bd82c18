"""One hour of visitors who come and go: does the server lose memory, files, threads or answers?

    python -m benchmarks.soak                 # 60 minutes, 6 visitors at any time
    python -m benchmarks.soak --minutes 5
    python -m benchmarks.soak --all-pages     # every page once, then 60 minutes of 2 visitors who use all of them

A visitor opens the page, uploads an image, asks some questions at the pace of a person, makes mistakes, and closes the tab,
often in the middle of an answer. Every minute a line prints answers, errors, memory, open files, threads and the uploads
that are still there. The last line is the result: what grew between the first ten minutes (or the first quarter of a
shorter run) and the end. Reads /proc, so it runs on Linux only.

With --all-pages a first round does everything that `benchmarks.pages` finds on every page: each tab, lesson, option, live
training and drawing, a large image, several files. Then visitors go from page to page in any order and do the same. The app
has the budget of a machine with 8 GiB. The last line says the memory after the start, after the first round, at its peak
and at the end; the run fails above 1,500 MB, or when the second half of the hour needs more than the first.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import pages
from benchmarks.load import LABELS, Client, Mixup, app, pictures, same
from benchmarks.startup import get, memory_mb
from core import terminal

SETTLED = 600.0  # seconds
MOST = 1500.0  # MB that the app may take with all pages in use
FLAT = 60.0  # MB by which the peak of the second half may pass that of the first
BUDGET = "1"  # GiB, as on a machine of 8 GiB
# Refused in one sentence each; anything else is an error.
MISTAKES: tuple[tuple[str, list[str]], ...] = (("", list(LABELS)), ("/etc/hostname", list(LABELS)))


@dataclass
class Count:
    """What has happened so far, over all visitors."""

    answers: int = 0
    refusals: int = 0
    left: int = 0  # visitors who left in the middle of an answer
    visits: int = 0
    errors: list[str] = field(default_factory=list)
    folder: Path | None = None  # where the server keeps uploads


@dataclass(frozen=True)
class Sample:
    """The server at one moment."""

    at: float
    memory: float  # MB
    files: int
    threads: int
    uploads: int


def sample(pid: int, start: float, folder: Path | None) -> Sample:
    """Reads a process from /proc."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    threads = next(int(line.split()[1]) for line in status if line.startswith("Threads"))
    uploads = sum(path.is_file() for path in folder.rglob("mine.png")) if folder else 0
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(time.monotonic() - start, memory_mb(pid), files, threads, uploads)


def visit(url: str, number: int, end: float, count: Count) -> None:
    """One visitor, from opening the page to closing the tab."""
    chance = random.Random(number)
    if not get(url + "/clip"):
        raise Mixup("the page does not open")
    client = Client(url)
    try:
        place = client.upload(pictures(number)[number % 4])
        count.folder = Path(place).parents[1]
        labels = [*LABELS, f"visitor number {number}"]
        known = client.ask(place, labels)
        for _ in range(chance.randint(2, 12)):
            if time.monotonic() > end:
                break
            if chance.random() < 0.1:
                try:
                    client.ask(*chance.choice(MISTAKES))
                    raise ValueError("a mistake was answered")
                except Mixup:
                    count.refusals += 1
            elif not same(client.ask(place, labels), known):
                raise Mixup("an answer to another question")
            else:
                count.answers += 1
            time.sleep(chance.expovariate(1.0))
        if chance.random() < 0.3:
            client.leave(place, [*labels, "one more"])
            count.left += 1
        count.visits += 1
    finally:
        client.close()


def visitors(url: str, first: int, step: int, end: float, count: Count) -> None:
    """One visitor after another."""
    number = first
    while time.monotonic() < end:
        try:
            visit(url, number, end, count)
        except (Mixup, OSError, http.client.HTTPException, ValueError) as error:
            count.errors.append(f"{type(error).__name__}: {error}")
            time.sleep(1)
        number += step


def wander(url: str, number: int, end: float, count: Count) -> None:
    """One visitor after another, each of whom does everything on the pages in an order of their own."""
    chance = random.Random(number)
    while time.monotonic() < end:
        order = pages.slugs()
        chance.shuffle(order)
        for slug in order:
            if time.monotonic() < end:
                everything(url, slug, chance, end, count)
                count.visits += 1


def everything(url: str, slug: str, chance: random.Random, end: float, count: Count) -> None:
    """Everything on one page, until the time is up."""
    try:
        tab = pages.Tab(url, slug, chance.choice(("en", "zh")))
    except (OSError, http.client.HTTPException, KeyError) as error:
        count.errors.append(f"{slug}: {type(error).__name__}: {error}")
        return
    try:
        for name, do in pages.deeds(tab, chance):
            if time.monotonic() > end:
                break
            try:
                do()
                count.answers += 1
            except (Mixup, OSError, http.client.HTTPException, ValueError) as error:
                count.errors.append(f"{slug}, {name}: {type(error).__name__}: {error}")
    finally:
        tab.close()


class Watch:
    """Reads the memory of a process once a second while the context lasts."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.memory: list[tuple[float, float]] = []  # (when, MB)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        while not self._over.wait(1):
            self.memory.append((time.monotonic(), memory_mb(self.pid)))

    def peak(self, start: float = 0, end: float = float("inf")) -> float:
        """The most MB between two moments."""
        return max((mb for at, mb in self.memory if start <= at < end), default=0.0)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()


def all_pages(minutes: float, users: int) -> None:
    """The soak of all pages; exit status 1 after an error, above `MOST`, or where memory grows."""
    os.environ["CLIP_ATLAS_MODEL_MEMORY"] = BUDGET
    count = Count()
    with app() as (url, pid):
        assert pid is not None
        begun = memory_mb(pid)
        print(f"start {begun:.0f} MB", flush=True)
        with Watch(pid) as watch:
            for number, slug in enumerate(pages.slugs()):
                everything(url, slug, random.Random(number), float("inf"), count)
                print(f"{slug} {memory_mb(pid):.0f} MB", flush=True)
            first = memory_mb(pid)
            start = time.monotonic()
            end = start + 60 * minutes
            threads = [
                threading.Thread(target=wander, args=(url, 100 + i, end, count), daemon=True)
                for i in range(users)
            ]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                time.sleep(min(60.0, 5 + 6 * minutes))
                print(
                    f"minute {(time.monotonic() - start) / 60:.0f}: {memory_mb(pid):.0f} MB, {count.answers} answers, "
                    f"{len(count.errors)} errors",
                    flush=True,
                )
            half = (start + time.monotonic()) / 2
            # The server gives memory back once a minute.
            time.sleep(70)
            last = memory_mb(pid)
        peak, earlier, later = watch.peak(), watch.peak(start, half), watch.peak(half)
    for error in count.errors[:10]:
        print(f"  {error}")
    grows = later > earlier + FLAT
    print(
        f"{minutes:.0f} minutes, {count.visits} pages visited, {count.answers} answers, {len(count.errors)} errors; memory "
        f"{begun:.0f} MB after the start, {first:.0f} MB after the first round, {peak:.0f} MB at its peak, {last:.0f} MB at the "
        f"end; peak of the first half {earlier:.0f} MB, of the second {later:.0f} MB"
    )
    if count.errors or peak > MOST or grows:
        raise SystemExit(1)


def main() -> None:
    """Runs the soak and prints its figure; exit status 1 after an error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--users", type=int, help="visitors at any time; 6, or 2 of all pages")
    parser.add_argument("--all-pages", action="store_true", help="everything on every page")
    arguments = parser.parse_args()
    if arguments.all_pages:
        all_pages(arguments.minutes, arguments.users or 2)
        return
    users = arguments.users or 6
    count = Count()
    samples = []
    with app() as (url, pid):
        assert pid is not None
        start = time.monotonic()
        end = start + 60 * arguments.minutes
        threads = [
            threading.Thread(target=visitors, args=(url, i, users, end, count), daemon=True)
            for i in range(users)
        ]
        for thread in threads:
            thread.start()
        print("minute  answers  refusals  left  errors  memory MB  files  threads  uploads", flush=True)
        while any(thread.is_alive() for thread in threads):
            now = sample(pid, start, count.folder)
            samples.append(now)
            print(
                f"{now.at / 60:6.0f}{count.answers:9d}{count.refusals:10d}{count.left:6d}{len(count.errors):8d}"
                f"{now.memory:11.0f}{now.files:7d}{now.threads:9d}{now.uploads:9d}",
                flush=True,
            )
            time.sleep(min(60.0, max(1.0, 60 * arguments.minutes / 60)))
        # The last tabs are closed; the server has a moment to delete their uploads.
        time.sleep(5)
        last = sample(pid, start, count.folder)
    settled = min(SETTLED, 15 * arguments.minutes)
    base = next((one for one in samples if one.at >= settled), samples[0])
    peak = max(one.memory for one in samples if one.at >= base.at)
    print(
        f"{arguments.minutes:.0f} minutes, {count.visits} visits, {count.answers} answers, {len(count.errors)} errors; "
        f"memory {base.memory:.0f} MB after {base.at / 60:.0f} minutes, {peak - base.memory:+.1f} MB at its highest after "
        f"that; open files {base.files} then {last.files}, threads {base.threads} then {last.threads}, uploads left "
        f"{last.uploads}"
    )
    for error in count.errors[:10]:
        print(f"  {error}")
    if count.errors:
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(terminal.run(main))
