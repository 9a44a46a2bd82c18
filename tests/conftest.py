"""The app as people meet it: a server in a process of its own, and the system's chromium."""

from __future__ import annotations

import gc
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# No name but this machine's is known to the browser: nothing leaves it. (Playwright's `route` would cost as much again as
# the requests themselves.)
BROWSER_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip

# Resolves when nothing was drawn for 300 ms; after 5 s in any case, because a drawing may draw itself.
STILL = """() => new Promise((resolve) => {
  let timer;
  const still = () => { watch.disconnect(); resolve(); };
  const watch = new MutationObserver(() => { clearTimeout(timer); timer = setTimeout(still, 300); });
  watch.observe(document, { childList: true, subtree: true, characterData: true });
  timer = setTimeout(still, 300);
  setTimeout(still, 5000);
})"""
# Clears what a page keeps in the browser; a test may have forbidden one of the two.
FORGET = """() => ["localStorage", "sessionStorage"].forEach((name) => { try { window[name].clear(); } catch {} })"""
QUEUE: WeakKeyDictionary[Any, set[Any]] = (
    WeakKeyDictionary()
)  # by page: the events its handlers are at work on

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# The index of the CLIFS page: not in the home of whoever runs the tests.
os.environ.setdefault("CLIP_ATLAS_SEARCH", tempfile.mkdtemp(prefix="clip-atlas-tests-"))
# One thread: servers and tests share the cores, and threads that wait for each other would cost tenfold.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """Of what is imported by now nothing is garbage: Python need not go through it again each time it looks for some."""
    gc.freeze()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url: str, **headers: str) -> tuple[int, bytes]:
    """Status and body of one request."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=600) as answer:
        return answer.status, answer.read()


def process_of(url: str) -> int:
    """The process that serves an address of `running_app`."""
    wanted = [b"--port", str(urlsplit(url).port).encode(), b""]
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if line.read_bytes().split(b"\0")[-3:] == wanted:
                return int(line.parent.name)
    raise LookupError(url)


@contextmanager
def running_app(
    log: Path, warm: bool = True, command: Sequence[str] = (sys.executable,), **environment: str
) -> Iterator[str]:
    """`python app.py` on a free port; yields its address once it answers (and is warm, if asked)."""
    port = free_port()
    variables = {**os.environ, "CLIP_ATLAS_DEVICE": "cpu", **environment}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "app.py", "--port", str(port)],
            cwd=ROOT,
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 900
        asked = False
        while True:
            with suppress(OSError):
                if json.loads(get(url + "/healthz")[1])["warm"] or not warm:
                    break
                if not asked:  # a browser's first page starts the warm-up
                    get(url + "/", Accept="text/html")
                    asked = True
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the app does not come up:\n{log.read_text()[-3000:]}")
            time.sleep(0.3)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=120)
        except subprocess.TimeoutExpired:  # a handler may wait for a Hub that a test has slowed down
            process.kill()
            process.wait()


Rows = Callable[..., Path]


@contextmanager
def registered(folder: Path) -> Iterator[Rows]:
    """`rows(*tables)` makes tables the registry, in a file of this folder and on the CPU, while the context lasts."""
    with pytest.MonkeyPatch.context() as patch:

        def rows(*tables: str) -> Path:
            path = folder / "registry.toml"
            path.write_text("\n".join(tables), encoding="utf-8")
            patch.setenv("CLIP_ATLAS_REGISTRY", str(path))
            patch.setenv("CLIP_ATLAS_DEVICE", "cpu")
            return path

        yield rows


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    """`rows(*tables)` gives a test a registry of its own (`tests.tiny.row` makes tables); returns its file."""
    with registered(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def module_rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """The same for all tests of a module."""
    with registered(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def forget() -> None:
    """No feature that an earlier test computed is remembered."""
    from core.memory import BUDGET

    with BUDGET.lock:
        for entry in list(BUDGET.features.entries):
            BUDGET.remove(BUDGET.features, entry)
            entry.forget()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one warm app for the whole session."""
    log = tmp_path_factory.mktemp("server") / "app.log"
    with running_app(log) as url:
        yield url
    assert "Traceback" not in log.read_text(), log.read_text()[-3000:]


def open_client(server: str) -> Any:
    """A gradio_client that waits as long as a busy machine needs."""
    from gradio_client import Client

    return Client(server, verbose=False, httpx_kwargs={"timeout": 300})


@pytest.fixture(scope="session")
def client(server: str) -> Any:
    """One client of the warm app for the whole session."""
    return open_client(server)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser; tests that ask for it are skipped, loudly, where there is none."""
    if CHROMIUM is None:
        pytest.skip("NO BROWSER: install chromium to run the browser tests")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=BROWSER_FLAGS)
        yield browser
        browser.close()


def settle(page: Any, rounds: int = 1, seconds: float = 20) -> None:
    """Waits until no handler of a page is at work and nothing changes in it for `rounds` times 0.3 s, `seconds` at most. (Its
    network never rests: Gradio keeps one stream open for as long as the page lives, another for as long as handlers work.)"""
    end = time.monotonic() + seconds
    quiet = 0
    while quiet < rounds and time.monotonic() < end:
        page.evaluate(STILL)
        quiet = 0 if QUEUE[page] else quiet + 1


class Visit:
    """A tab that keeps what must not happen: errors on the console and requests to other hosts."""

    def __init__(self, browser: Any, locale: str, script: str) -> None:
        self.server = ""
        self.errors: list[str] = []
        self.outside: list[str] = []
        # Nothing moves by itself: a cloud that turns would take the time of the tests beside it.
        self.context = browser.new_context(reduced_motion="reduce", locale=locale)
        self.context.add_init_script(script)
        self.page = self.context.new_page()
        self.page.set_default_timeout(180_000)  # of a busy machine; nothing waits longer than it has to
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.context.on("request", self._check)
        working = QUEUE[self.page] = set()
        self.page.on("request", lambda request: working.add(request) if "/queue/" in request.url else None)
        self.page.on("requestfinished", lambda request: working.discard(request))
        self.page.on("requestfailed", lambda request: working.discard(request))

    def _check(self, request: Any) -> None:
        if not request.url.startswith((self.server, "data:", "blob:")):
            self.outside.append(request.url)

    def open(self, path: str, filled: str = "true") -> Any:
        """Opens a page of the app and waits until the JavaScript expression `filled` is true in it."""
        self.page.goto(self.server + path)
        self.page.locator("h1").first.wait_for()
        settle(self.page, rounds=3)  # what a page asks for when it opens is asked a moment after it is drawn
        self.page.wait_for_function(filled)
        return self.page

    def check(self) -> None:
        """Says what must not have happened."""
        if not self.page.is_closed():
            self.page.evaluate("0")  # what the page has said so far is here
        assert self.errors == []
        assert self.outside == []

    def forget(self) -> None:
        """Leaves the page, and nothing of the visit stays but the scripts that the browser has read."""
        self.page.goto(self.server + "/healthz")  # it has the same memory and no script that writes into it
        self.page.evaluate(FORGET)
        self.page.mouse.move(0, 0)
        self.context.clear_cookies()
        self.context.clear_permissions()
        self.errors.clear()  # Gradio reports requests that a change of page cut off
        self.outside.clear()
        QUEUE[self.page].clear()


class Tabs:
    """The tabs of a browser. One that was left is used again: where its scripts were read before, a page of Gradio takes half
    of the time."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.free: dict[tuple[str, str], list[Visit]] = {}  # by language and script

    @contextmanager
    def visit(
        self,
        server: str,
        width: int = 1280,
        height: int = 900,
        locale: str = "en-US",
        color_scheme: str = "light",
        script: str = "",
    ) -> Iterator[Visit]:
        """A tab that knows nothing of other visits, for an app; `script` runs in each page before the page's own. At the end
        the tab is checked."""
        free = self.free.setdefault((locale, script), [])
        tab = free.pop() if free else Visit(self.browser, locale, script)
        tab.server = server
        tab.page.set_viewport_size({"width": width, "height": height})
        tab.page.emulate_media(media="screen", color_scheme=color_scheme)
        try:
            yield tab
            tab.check()
        except BaseException:
            tab.context.close()
            raise
        if tab.page.is_closed():
            tab.context.close()
        else:
            tab.forget()
            free.append(tab)


@pytest.fixture(scope="session")
def tabs(chromium: Any) -> Tabs:
    """The tabs of the session's browser."""
    return Tabs(chromium)


def visits(tabs: Tabs, server: str) -> Iterator[Callable[..., Visit]]:
    """For a fixture: `visit(...)` opens a tab on an app as `Tabs.visit` does; all are checked at the end."""
    with ExitStack() as opened:
        yield lambda **how: opened.enter_context(tabs.visit(server, **how))


@pytest.fixture
def visit(tabs: Tabs, server: str) -> Iterator[Callable[..., Visit]]:
    """`visit(width=..., height=..., locale=..., color_scheme=..., script=...)` opens a tab on the warm app."""
    yield from visits(tabs, server)
