"""A class at work: many clients ask the CLIP page's endpoint at once; every answer is checked and memory is watched.

    python -m benchmarks.load                                # 32 clients for 60 s, then 8 users, then 30 page loads
    python -m benchmarks.load --url http://127.0.0.1:7860    # an app that already runs on this machine

Every client asks without a pause. It has images of its own and a label that no other client uses, so an answer that belongs
to another client is noticed; each answer is compared with the answer to the same question before the others started.
A time runs from sending the question to having the answer, on the machine of the server: an upper bound of the server's
time. Memory is read from /proc, so it is watched on Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from benchmarks.startup import free_port, get, memory_mb
from core import terminal

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "assets" / "examples" / "clip"
LABELS = ("red envelope", "sheep", "airplane", "dog", "car", "house")
PICTURES = 4  # each client's own
# Rounding differs a little with the batch that a question is computed in.
TOLERANCE = 2e-3
SETTLED = 10.0  # seconds after which memory may hardly grow


class Mixup(Exception):
    """An answer to another question, or a reply that is not an answer."""


@dataclass
class Tally:
    """What the clients of a run saw."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)  # (seconds since the start, MB)

    def percentile(self, share: float) -> float:
        """Milliseconds that this share of the answers came within."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")

    def growth(self, settled: float = SETTLED) -> float:
        """MB of resident memory gained at its highest after the first seconds."""
        later = [mb for at, mb in self.memory if at >= settled]
        return max(later) - later[0] if later else 0.0


class Session:
    """One open page: a session that lasts until `close`, and what it sends."""

    patience = 120  # seconds for one request

    def __init__(self, url: str) -> None:
        self.place = urlsplit(url)
        self.session = uuid.uuid4().hex[:12]
        self.line = self._connect()
        self.open = self._connect()
        self.open.request("GET", f"/gradio_api/heartbeat/{self.session}")
        self.alive = self.open.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(str(self.place.hostname), self.place.port, timeout=self.patience)

    def _send(self, path: str, body: bytes, kind: str) -> Any:
        self.line.request("POST", path, body, {"content-type": kind})
        answer = self.line.getresponse()
        text = answer.read()
        # The server closes a connection that is idle for seconds; the next request opens a new one.
        self.line.close()
        if answer.status != 200:
            raise Mixup(f"{answer.status} {text[:200]!r}")
        return json.loads(text)

    def upload(self, data: bytes, name: str = "mine.png") -> str:
        """The path of a file on the server."""
        edge = uuid.uuid4().hex
        head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{edge}--\r\n".encode()
        return str(self._send("/gradio_api/upload", body, f"multipart/form-data; boundary={edge}")[0])

    def close(self) -> None:
        """Closes the tab."""
        self.alive.close()
        self.open.close()
        self.line.close()


class Client(Session):
    """One visitor who asks questions through the named endpoint."""

    def ask(self, path: str, labels: list[str]) -> dict[str, float]:
        """Probabilities by label."""
        body = {"data": [{"path": path}, labels, None, None], "session_hash": self.session}
        event = self._send("/gradio_api/call/clip_classify", json.dumps(body).encode(), "application/json")
        self.line.request("GET", f"/gradio_api/call/clip_classify/{event['event_id']}")
        lines = self.line.getresponse().read().decode().splitlines()
        self.line.close()
        for name, data in pairwise(lines):
            if name == "event: complete":
                answer = json.loads(data.removeprefix("data: "))[0]
                return {row["label"]: row["probability"] for row in answer["results"]}
        raise Mixup(" ".join(lines)[:300])

    def leave(self, path: str, labels: list[str]) -> None:
        """Asks and does not wait for the answer."""
        body = {"data": [{"path": path}, labels, None, None], "session_hash": self.session}
        event = self._send("/gradio_api/call/clip_classify", json.dumps(body).encode(), "application/json")
        self.line.request("GET", f"/gradio_api/call/clip_classify/{event['event_id']}")


def pictures(client: int) -> list[bytes]:
    """The images of one client: examples with a few pixels changed."""
    files = sorted(EXAMPLES.glob("*.webp"))
    found = []
    for i in range(PICTURES):
        image = Image.open(files[(client + i) % len(files)]).convert("RGB")
        image.putpixel((client % image.width, i), (client % 256, 40 * i, 200))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two answers to one question agree."""
    return one.keys() == other.keys() and all(abs(one[key] - other[key]) < TOLERANCE for key in one)


def crowd(
    url: str, clients: int, seconds: float, pid: int | None = None, pause: float = 0.0, least: int = 1
) -> Tally:
    """Lets clients ask at once for some seconds.

    Args:
        url: the app.
        clients: how many.
        seconds: how long, from the moment that all are ready.
        pid: the app's process, whose memory is read each second.
        pause: seconds that a client thinks between its questions.
        least: questions that each client asks, however long they take.
    """
    tally = Tally()
    # What each client asks, and the answer before the others start.
    askers = []
    for number in range(clients):
        asker = Client(url)
        labels = [*LABELS, f"client number {number}"]
        places = [asker.upload(data) for data in pictures(number)]
        askers.append((asker, labels, [(place, asker.ask(place, labels)) for place in places]))
    start = time.monotonic()

    def work(asker: Client, labels: list[str], known: list[tuple[str, dict[str, float]]]) -> None:
        turn = 0
        while turn < least or time.monotonic() < start + seconds:
            place, expected = known[turn % len(known)]
            turn += 1
            began = time.perf_counter()
            try:
                if not same(asker.ask(place, labels), expected):
                    raise Mixup("an answer to another question")
            except (Mixup, OSError, http.client.HTTPException, ValueError) as error:
                tally.errors.append(f"{type(error).__name__}: {error}")
                asker.line.close()
                time.sleep(0.2)
            else:
                tally.seconds.append(time.perf_counter() - began)
            time.sleep(pause)

    threads = [threading.Thread(target=work, args=asker, daemon=True) for asker in askers]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if pid:
            tally.memory.append((time.monotonic() - start, memory_mb(pid)))
        time.sleep(1)
    for asker, _, _ in askers:
        asker.close()
    return tally


def open_at_once(url: str, visitors: int) -> list[float]:
    """Seconds until each of many visitors has the CLIP page: the document, its configuration and its scripts."""
    seconds: list[float] = []

    def visit() -> None:
        place, began = urlsplit(url), time.perf_counter()
        line = http.client.HTTPConnection(str(place.hostname), place.port, timeout=120)
        line.request("GET", "/clip", headers={"accept": "text/html"})
        page = line.getresponse().read().decode()
        # What the document names itself, then what Gradio's start asks for.
        parts = set(re.findall(r'(?:src|href)="\.?(/?(?:assets|static)/[^"]+\.(?:js|css))"', page))
        for part in [*sorted(parts), "/theme.css", "/config?page=clip", "/gradio_api/info?page=clip"]:
            line.request("GET", "/" + part.lstrip("/"))
            answer = line.getresponse()
            if answer.read() and answer.status != 200:
                return
        line.close()
        seconds.append(time.perf_counter() - began)

    threads = [threading.Thread(target=visit) for _ in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds


@contextmanager
def app(url: str | None = None) -> Iterator[tuple[str, int | None]]:
    """A warm app of this checkout: its address and process; or the one that runs at `url`."""
    if url:
        yield url, None
        return
    port = free_port()
    environment = {**os.environ, "CLIP_ATLAS_DEVICE": "cpu"}
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            while not json.loads(get(url + "/healthz") or b'{"warm": false}')["warm"]:
                get(url + "/")
                if process.poll() is not None:
                    raise SystemExit(f"app.py ended with status {process.returncode}")
                time.sleep(0.3)
            yield url, process.pid
        finally:
            process.terminate()


def report(title: str, tally: Tally, seconds: float) -> None:
    """Prints the results of a run."""
    count = len(tally.seconds)
    print(f"{title}: {count} answers, {count / seconds:.1f} a second, {len(tally.errors)} errors")
    print(
        f"  median {1000 * statistics.median(tally.seconds or [0]):.0f} ms, 95th percentile {tally.percentile(0.95):.0f} ms, "
        f"slowest {tally.percentile(1):.0f} ms"
    )
    if tally.memory:
        print(
            f"  memory {tally.memory[0][1]:.0f} MB at first, +{tally.growth():.1f} MB after {SETTLED:.0f} s"
        )
    for error in tally.errors[:5]:
        print(f"  {error}")


def main() -> None:
    """Runs the three loads and prints their figures; exit status 1 after an error or a mix-up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="an app that is running; one is started without it")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--visitors", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with app(arguments.url) as (url, pid):
        many = crowd(url, arguments.clients, arguments.seconds, pid)
        report(f"{arguments.clients} clients for {arguments.seconds:.0f} s", many, arguments.seconds)
        few = crowd(url, arguments.users, arguments.seconds / 2, pid)
        report(
            f"{arguments.users} users for {arguments.seconds / 2:.0f} s, no pause", few, arguments.seconds / 2
        )
        opened = open_at_once(url, arguments.visitors)
        print(
            f"{arguments.visitors} visitors open the page at once: {len(opened)} have it, "
            f"the last after {max(opened, default=float('nan')):.1f} s"
        )
    if many.errors or few.errors or len(opened) < arguments.visitors:
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(terminal.run(main))
