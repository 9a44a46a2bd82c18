"""One hour of visitors who come and go: does the server lose memory, files, threads or answers?

    python -m benchmarks.soak                 # 60 minutes, 6 visitors at any time
    python -m benchmarks.soak --minutes 5

A visitor opens the page, uploads an image, asks some questions at the pace of a person, makes mistakes, and closes the tab,
often in the middle of an answer. Every minute a line prints answers, errors, memory, open files, threads and the uploads
that are still there. The last line is the result: what grew between the first ten minutes (or the first quarter of a
shorter run) and the end. Reads /proc, so it runs on Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import LABELS, Client, Mixup, app, pictures, same
from benchmarks.startup import get, memory_mb

SETTLED = 600.0  # seconds
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


def main() -> None:
    """Runs the soak and prints its figure; exit status 1 after an error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--users", type=int, default=6)
    arguments = parser.parse_args()
    count = Count()
    samples = []
    with app() as (url, pid):
        assert pid is not None
        start = time.monotonic()
        end = start + 60 * arguments.minutes
        threads = [
            threading.Thread(target=visitors, args=(url, i, arguments.users, end, count), daemon=True)
            for i in range(arguments.users)
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
    main()
