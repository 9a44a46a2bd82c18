"""A class in one network: what the terminal says, and that the address it gives is served."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import segno

from demos.app import lan
from demos.kit import network
from tests.conftest import ROOT, free_port, get


def test_the_terminal_says_address_code_and_webcam_in_both_languages() -> None:
    for lang, word in (("en", "https"), ("zh", "摄像头")):
        text = lan.announcement("192.168.1.23", 7860, lang)
        assert "http://192.168.1.23:7860" in text and "http://localhost:7860" in text and word in text
        assert lan.qr_code("http://192.168.1.23:7860") in text
        assert lan.announcement(None, 7860, lang) == lan.ALONE.get(lang)


def test_the_code_on_the_screen_is_the_address() -> None:
    """Read back module by module: two of them in the height of a character, light ones drawn."""
    url = "http://192.168.1.23:7860"
    drawn = [[c in "█▀" for c in line] for line in lan.qr_code(url).splitlines()]
    lower = [[c in "█▄" for c in line] for line in lan.qr_code(url).splitlines()]
    rows = [row for pair in zip(drawn, lower, strict=True) for row in pair]
    matrix = [[bool(module) for module in row] for row in segno.make(url, micro=False).matrix_iter(border=2)]
    size = len(matrix)
    assert [[not light for light in row] for row in rows[:size]] == matrix


@pytest.mark.parametrize(("host", "spoken"), [("0.0.0.0", True), ("::", True), ("127.0.0.1", False)])
def test_only_a_server_for_the_network_announces_itself(
    host: str, spoken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lan, "own_address", lambda: "10.1.2.3")
    out = io.StringIO()
    lan.announce(host, 7000, out)
    assert bool(out.getvalue()) == spoken
    monkeypatch.setenv("SPACE_ID", "someone/atlas")
    silent = io.StringIO()
    lan.announce(host, 7000, silent)
    assert silent.getvalue() == ""


def test_a_terminal_without_blocks_gets_the_address() -> None:
    raw = io.BytesIO()
    plain = io.TextIOWrapper(raw, encoding="ascii")
    lan.announce("0.0.0.0", 7000, plain)
    plain.flush()
    assert raw.getvalue().isascii()


def test_no_network_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "SOMEWHERE", ("127.0.0.1", 9))
    assert lan.own_address() is None

    def unreachable(*_: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(network.socket, "socket", unreachable_socket(unreachable))
    assert lan.own_address() is None


def unreachable_socket(connect: object) -> type[socket.socket]:
    """A socket class that reaches nobody."""
    return type("Unreachable", (socket.socket,), {"connect": connect})


def test_the_app_serves_the_address_that_it_prints(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "app.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py", "--host", "0.0.0.0", "--port", str(port)],
            cwd=ROOT,
            env={
                **os.environ,
                "CLIP_ATLAS_DEVICE": "cpu",
                "PYTHONIOENCODING": "utf-8",
                "LANG": "en_US.UTF-8",
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 300
        while "webcam" not in log.read_text("utf-8") and lan.ALONE.en not in log.read_text("utf-8"):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text("utf-8")
            time.sleep(0.3)
        told = re.search(r"open  (http://[\d.]+:\d+)", log.read_text("utf-8"))
        address = told[1] if told else f"http://127.0.0.1:{port}"
        assert get(address + "/healthz")[0] == 200
        assert address.endswith(f":{port}")
    finally:
        # As a container is stopped, or a teacher presses Ctrl-C.
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 0, log.read_text("utf-8")
    assert "Traceback" not in log.read_text("utf-8")
