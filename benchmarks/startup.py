"""From `python app.py` to the first page: CPU seconds, wall seconds and memory, beside the smallest Gradio app.

    python -m benchmarks.startup [--runs 5] [--copies 18] [--page glip]

The baseline is an app of one text box: what Gradio itself costs. Both apps, and ours with copies of one of its pages,
are started in turns, so that whatever else the machine does meets all three; the table has the median of each. Then the
warm-up: memory with the miniature loaded, and what the first answer takes after it. Reads /proc, so it runs on Linux alone.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core import terminal

ROOT = Path(__file__).resolve().parents[1]
IMAGE = ROOT / "assets" / "examples" / "clip" / "red_envelope.webp"
SMALLEST = """
import os
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
import gradio as gr
with gr.Blocks() as demo:
    gr.Textbox()
demo.launch(server_port=int(os.sys.argv[-1]), quiet=True)
"""
# `app.py` with copies of a page under addresses of their own.
COPIES = """
import dataclasses, runpy, sys
from demos import catalog
row = next(row for row in catalog.open_rows() if row.slug == {page!r})
copies = [dataclasses.replace(row, slug=f"copy-{{i}}") for i in range({copies})]
rows = [*catalog.open_rows(), *copies]
catalog.open_rows = lambda: rows
sys.argv[0] = "app.py"
runpy.run_path("app.py", run_name="__main__")
"""


def cpu_seconds(pid: int) -> tuple[float, float]:
    """User time, and user and system time together, of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:13])
    return user, user + system


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    line = next(
        row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if row.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1000


def get(url: str) -> bytes | None:
    """A page, or None while nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": "text/html"})) as answer:
            return answer.read()
    except OSError:
        return None


@contextmanager
def first_page(command: list[str], port: int, root: Path = ROOT) -> Iterator[tuple[int, dict[str, float]]]:
    """Starts a server in a checkout and yields its process with what it took until the first page was served."""
    started = time.perf_counter()
    environment = {**os.environ, "CLIP_ATLAS_DEVICE": "cpu", "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, *command, "--port", str(port)],
        cwd=root,
        env=environment,
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            while not get(f"http://127.0.0.1:{port}/"):
                if process.poll() is not None:
                    raise SystemExit(f"{command[-1]} ended with status {process.returncode}")
                time.sleep(0.05)
            user, cpu = cpu_seconds(process.pid)
            yield (
                process.pid,
                {
                    "user CPU s": user,
                    "CPU s": cpu,
                    "wall s": time.perf_counter() - started,
                    "memory MB": memory_mb(process.pid),
                },
            )
        finally:
            process.terminate()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def compare(commands: dict[str, list[str]], runs: int) -> dict[str, dict[str, float]]:
    """The medians of `runs` starts of each command, started in turns; a first start of each is not counted."""
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for i in range(runs + 1):
        for name, command in commands.items():
            with first_page(command, free_port()) as (_, values):
                if i:
                    measured[name].append(values)
    return {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for name, rows in measured.items()
    }


def warm_up() -> str:
    """What the warm-up and the first answers take, in one line each."""
    port = free_port()
    with first_page(["app.py"], port) as (pid, _):
        url = f"http://127.0.0.1:{port}"
        while not json.loads(get(url + "/healthz") or b'{"warm": false}')["warm"]:
            time.sleep(0.1)
        warm_cpu, warm_memory = cpu_seconds(pid)[1], memory_mb(pid)

        from gradio_client import Client, handle_file

        client = Client(url, verbose=False)
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            client.predict(handle_file(str(IMAGE)), "red envelope, dog, car", api_name="/clip_classify")
            seconds.append(time.perf_counter() - start)
        answered_memory = memory_mb(pid)
    return (
        f"warm (torch and miniature loaded): {warm_cpu:.2f} CPU s in all, {warm_memory:.0f} MB\n"
        f"first answer {seconds[0]:.2f} s, second {seconds[1]:.2f} s, then {answered_memory:.0f} MB"
    )


def main() -> None:
    """Measures the apps and prints a table."""
    parser = argparse.ArgumentParser(description="Measures the start of the app.")
    parser.add_argument("--runs", type=int, default=5, help="starts of each app")
    parser.add_argument("--copies", type=int, default=18, help="further pages")
    parser.add_argument("--page", default="glip", help="the page that is copied")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        smallest, more = Path(folder, "smallest.py"), Path(folder, "more.py")
        smallest.write_text(SMALLEST)
        more.write_text(COPIES.format(page=options.page, copies=options.copies))
        names = {"baseline": [str(smallest)], "ours": ["app.py"], "with copies": [str(more)]}
        result = compare(names, options.runs)

    ours, baseline, many = result["ours"], result["baseline"], result["with copies"]
    print(f"{'to the first page':<18}{'ours':>9}{'baseline':>11}{'ratio':>8}{'a further page':>17}")
    for name, value in ours.items():
        further = (many[name] - value) / options.copies
        print(f"{name:<18}{value:>9.2f}{baseline[name]:>11.2f}{value / baseline[name]:>8.2f}{further:>17.3f}")
    print(warm_up())


if __name__ == "__main__":
    sys.exit(terminal.run(main))
