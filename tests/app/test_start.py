"""The start of the server: what prevents it is one sentence and a status, before anything heavy is loaded."""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Refusal
from demos.app import address, start
from tests.conftest import ROOT, free_port, get, running_app


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def app(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs app.py to its end."""
    variables = {**os.environ, "LC_ALL": "C.UTF-8", **environment}
    return subprocess.run(
        [sys.executable, "app.py", *arguments],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )


# --- the address ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]"])
def test_a_free_port_is_taken_as_it_is(host: str) -> None:
    port = free_port()
    assert address.check(host, port) == port


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_port_zero_means_any_free_one(host: str) -> None:
    assert address.check(host, 0) > 1023


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::1"])
def test_a_port_of_another_program_is_refused_with_a_free_one(host: str, taken: int) -> None:
    with pytest.raises(Refusal) as refusal:
        address.check(host, taken)
    assert refusal.value.code == "port_taken"
    assert address.check(host, int(refusal.value.params["free"])) != taken


@pytest.mark.parametrize(
    ("host", "port", "code"),
    [
        ("127.0.0.1", 65536, "bad_port"),
        ("127.0.0.1", -1, "bad_port"),
        ("nowhere.invalid", 7000, "host_unknown"),
        ("a" * 300, 7000, "host_unknown"),
        ("http://localhost", 7000, "host_unknown"),
        ("192.0.2.1", 7000, "host_elsewhere"),
    ],
)
def test_an_address_that_cannot_be_is_refused(host: str, port: int, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        address.check(host, port)
    assert refusal.value.code == code


def test_a_port_of_the_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = address._bind

    def guarded(kind: int, place: tuple[object, ...]) -> int:
        if 0 < int(str(place[1])) < 1024:
            raise PermissionError(13, "Permission denied")
        return bind(kind, place)

    monkeypatch.setattr(address, "_bind", guarded)
    with pytest.raises(Refusal) as refusal:
        address.check("127.0.0.1", 80)
    assert refusal.value.code == "port_forbidden" and int(refusal.value.params["free"]) > 1023


# --- the program ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", [False, True])
@pytest.mark.parametrize(("lang", "word"), [("C.UTF-8", "another port"), ("zh_CN.UTF-8", "换一个端口")])
def test_a_taken_port_is_one_sentence(variable: bool, lang: str, word: str, taken: int) -> None:
    arguments = () if variable else ("--port", str(taken))
    environment = {"GRADIO_SERVER_PORT": str(taken)} if variable else {}
    answer = app(*arguments, LC_ALL=lang, PYTHONPROFILEIMPORTTIME="1", **environment)
    lines = [line for line in answer.stderr.splitlines() if not line.startswith("import time")]
    assert answer.returncode == 1 and len(lines) == 1 and word in lines[0] and str(taken) in lines[0]
    imported = {line.rsplit("|")[-1].strip().split(".")[0] for line in answer.stderr.splitlines()}
    assert not {"gradio", "torch"} & imported


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "word"),
    [
        (("--port", "99999"), {}, 1, "99999"),
        (("--port", "http"), {}, 2, "--port"),
        ((), {"GRADIO_SERVER_PORT": "http"}, 2, "--port"),
        (("--host", "nowhere.invalid"), {}, 1, "nowhere.invalid"),
        ((), {"GRADIO_SERVER_NAME": "192.0.2.1"}, 1, "192.0.2.1"),
        ((), {"GRADIO_TEMP_DIR": "/dev/null/x"}, 1, "/dev/null/x"),
    ],
)
def test_what_prevents_the_start_is_said(
    arguments: tuple[str, ...], environment: dict[str, str], status: int, word: str
) -> None:
    answer = app(*arguments, **environment)
    assert answer.returncode == status and word in answer.stderr and "Traceback" not in answer.stderr


def test_a_folder_for_temporary_files_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert app("--port", "99999", GRADIO_TEMP_DIR=str(folder)).returncode == 1
    assert list(folder.iterdir()) == []  # what was made in it has gone with the program


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_the_pages_are_built_leaves_nothing_behind(stop: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(free_port())],
        cwd=ROOT,
        env={**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.iterdir()):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(stop)
    _, printed = process.communicate(timeout=600)
    assert process.returncode == 130 and "Traceback" not in printed and list(tmp_path.iterdir()) == []


class RefusingProxy(http.server.BaseHTTPRequestHandler):
    """A proxy that reaches nobody."""

    def do_GET(self) -> None:
        self.send_error(502)

    do_HEAD = do_POST = do_CONNECT = do_GET

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


@pytest.fixture
def proxy() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), RefusingProxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_proxies_of_the_environment_do_not_stop_the_server(proxy: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = {"HTTP_PROXY": proxy, "http_proxy": proxy, "all_proxy": "socks4://h:9", "NO_PROXY": "[::1]"}
    with running_app(log, warm=False, **environment) as url:
        opener = urllib_without_proxies()
        assert json.load(opener(url + "/healthz"))["status"] == "ok"
    printed = log.read_text("utf-8")
    assert "all_proxy" in printed and "Traceback" not in printed


def urllib_without_proxies():  # type: ignore[no-untyped-def]
    """Opens addresses directly."""
    import urllib.request

    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def test_a_terminal_without_emoji_does_not_stop_the_server(tmp_path: Path) -> None:
    """Gradio's own lines have some; redirected output of Windows and the C locale cannot take them."""
    with running_app(tmp_path / "log", warm=False, PYTHONIOENCODING="ascii", LC_ALL="zh_CN.UTF-8") as url:
        assert get(url + "/healthz")[0] == 200


def test_a_stop_that_a_library_caught_still_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "STOPPED", threading.Event())
    served: list[Any] = []
    with contextlib.suppress(BaseException):  # as a library does around an import of its own
        start._stop()
    pages: Any = type("Pages", (), {"launch": lambda self, **options: served.append(options)})()
    with pytest.raises(KeyboardInterrupt):
        start.serve(pages, argparse.Namespace())
    assert not served
