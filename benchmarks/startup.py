"""From `python app.py` to the first page: CPU seconds, wall seconds and memory, beside the smallest Gradio app.

    python -m benchmarks.startup

The baseline is an app of one text box in the same run: what Gradio itself costs. Then the warm-up: memory with the
miniature loaded, and what the first answer takes after it. Reads /proc, so it runs on Linux alone.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "assets" / "examples" / "clip" / "red_envelope.webp"
SMALLEST = """
import os
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
import gradio as gr
with gr.Blocks() as demo:
    gr.Textbox()
demo.launch(server_port={port}, quiet=True)
"""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
def first_page(command: list[str], port: int) -> Iterator[tuple[int, dict[str, float]]]:
    """Starts a server and yields its process with what it took until the first page was served."""
    started = time.perf_counter()
    environment = {**os.environ, "CLIP_ATLAS_DEVICE": "cpu"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            while not get(f"http://127.0.0.1:{port}/"):
                if process.poll() is not None:
                    raise SystemExit(f"{command[-1]} ended with status {process.returncode}")
                time.sleep(0.05)
            yield (
                process.pid,
                {
                    "CPU s": cpu_seconds(process.pid),
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


def main() -> None:
    """Measures both apps and prints a table."""
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(SMALLEST.format(port=port))
        script.flush()
        with first_page([sys.executable, script.name], port) as (_, baseline):
            pass

    port = free_port()
    with first_page([sys.executable, "app.py", "--port", str(port)], port) as (pid, ours):
        url = f"http://127.0.0.1:{port}"
        while not json.loads(get(url + "/healthz") or b'{"warm": false}')["warm"]:
            time.sleep(0.1)
        warm_cpu, warm_memory = cpu_seconds(pid), memory_mb(pid)

        from gradio_client import Client, handle_file

        client = Client(url, verbose=False)
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            client.predict(handle_file(str(PICTURE)), "red envelope, dog, car", api_name="/clip_classify")
            seconds.append(time.perf_counter() - start)
        answered_memory = memory_mb(pid)

    print(f"{'to the first page':<18}{'ours':>9}{'baseline':>11}{'ratio':>8}")
    for name, value in ours.items():
        print(f"{name:<18}{value:>9.2f}{baseline[name]:>11.2f}{value / baseline[name]:>8.2f}")
    print(f"warm (torch and miniature loaded): {warm_cpu:.2f} CPU s in all, {warm_memory:.0f} MB")
    print(f"first answer {seconds[0]:.2f} s, second {seconds[1]:.2f} s, then {answered_memory:.0f} MB")


if __name__ == "__main__":
    main()
