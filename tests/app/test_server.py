"""The door of the server: headers, body limits, foreign addresses, the pages on their way out, the warm-up."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from starlette.exceptions import HTTPException

from demos.app import guard as door
from demos.app import site
from demos.app.guard import Guard, Warm
from demos.kit import network
from demos.kit.language import Text
from tests.wire import Tab

TITLES = {"": Text("Home", "首页"), "clip": Text("CLIP", "CLIP")}
Answer = tuple[int, dict[str, str], bytes]


def request(
    server: str, method: str, path: str, body: bytes | Iterable[bytes] | None = None, **headers: str
) -> Answer:
    """One request to the running app; an iterable body is sent in chunks without a length."""
    place = urlsplit(server)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=300)
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        # A server that has refused does not read the rest.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, fields, encode_chunked=not isinstance(body, bytes | None))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


# --- the running app -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/", "text/html", 200),
        ("/clip", "text/html", 200),
        ("/healthz", "*/*", 200),
        ("/theme.css", "text/css", 200),
        ("/nope", "text/html", 404),
        ("/nope", "application/json", 404),
    ],
)
def test_every_answer_carries_the_security_headers(server: str, path: str, accept: str, status: int) -> None:
    code, headers, _ = request(server, "GET", path, accept=accept)
    assert code == status
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'" and policy["object-src"] == "'none'"
    assert policy["frame-ancestors"] == "'self'"
    assert not any("*" in value or "http" in value for value in policy.values())
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "camera=(self)" in headers["permissions-policy"]


def test_browsers_keep_what_is_named_after_its_content(server: str) -> None:
    page = request(server, "GET", "/clip", accept="text/html")
    script = re.search(r"assets/[\w.-]+\.js", page[2].decode())
    assert script
    kept = request(server, "GET", f"/{script[0]}")
    assert kept[0] == 200 and kept[1]["cache-control"] == "public, max-age=31536000, immutable"
    gone = request(server, "GET", "/assets/index-00000000.js")
    for answer in (page, gone, request(server, "GET", "/theme.css")):
        assert "immutable" not in answer[1].get("cache-control", "")
    assert gone[0] == 404


def test_the_script_comes_before_everything_else(server: str) -> None:
    _, headers, body = request(server, "GET", "/clip", accept="text/html")
    page = body.decode()
    assert int(headers["content-length"]) == len(body)
    head = page[page.index("<head") :]
    assert head[head.index(">") + 1 :].startswith("<script>// Runs before Gradio starts")
    assert page.count("// Runs before Gradio starts") == 1
    assert "<title>CLIP · CLIP Atlas</title>" in page
    # Gradio's previews for other sites name Gradio, and an image that lies elsewhere.
    assert 'property="og:' not in page and 'name="twitter:' not in page


def test_an_unknown_page_is_a_page_of_ours_for_people_and_json_for_programs(server: str) -> None:
    code, headers, body = request(server, "GET", "/nope/<b>", accept="text/html,*/*")
    page = body.decode()
    assert code == 404 and headers["content-type"].startswith("text/html")
    assert "no such page" in page and "没有这一页" in page and 'href="/"' in page
    assert "<b>" not in page.split("<body>")[1]
    code, headers, _ = request(server, "GET", "/nope", accept="application/json")
    assert code == 404 and headers["content-type"].startswith("application/json")


def test_healthz_says_that_it_is_warm_and_nothing_broken(server: str) -> None:
    code, _, body = request(server, "GET", "/healthz")
    assert code == 200 and json.loads(body) == {"status": "ok", "warm": True, "broken": []}


def test_a_json_body_of_60_mb_is_refused_by_its_length(server: str) -> None:
    # Not one byte of it is sent: the answer cannot have waited for them.
    code, _, body = request(server, "POST", "/gradio_api/queue/join", content_length=str(60 << 20))
    assert code == 413 and "8 MB" in json.loads(body)["error"]


def test_a_json_body_without_a_length_is_refused_while_it_comes(server: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(12):
            yield b" " * (1 << 20)

    code, _, body = request(
        server, "POST", "/gradio_api/queue/join", chunks(), content_type="application/json"
    )
    assert code == 413 and "8 MB" in json.loads(body)["error"]


@pytest.mark.parametrize(
    "file",
    [
        {"path": "http://127.0.0.1/x.png", "meta": {"_type": "gradio.FileData"}},
        {"path": "x.png", "url": "https://example.org/x.png", "meta": {"_type": "gradio.FileData"}},
        {"url": "http://169.254.169.254/latest"},
    ],
)
def test_files_of_other_places_are_not_fetched(server: str, file: dict[str, Any]) -> None:
    body = json.dumps({"data": [file, "a, b", None, None]}).encode()
    code, _, answer = request(
        server, "POST", "/gradio_api/call/clip_classify", body, content_type="application/json"
    )
    assert code == 400 and "not fetched" in json.loads(answer)["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=https://example.org/x.png",
        "/gradio_api/file=http:%2F%2Fexample.org/x",
        "/gradio_api/proxy=https://example.org/",
    ],
)
def test_the_server_is_no_proxy(server: str, path: str) -> None:
    assert request(server, "GET", path)[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "codes"),
    [
        ("POST", "/gradio_api/run/clip_classify", {404}),
        ("GET", "/monitoring", {403, 404}),
        ("GET", "/docs", {404}),
        ("GET", "/openapi.json", {404}),
        ("GET", "/gradio_api/file=/etc/passwd", {403, 404}),
        ("GET", "/gradio_api/file=app.py", {403, 404}),
    ],
)
def test_what_gradio_would_open_stays_shut(server: str, method: str, path: str, codes: set[int]) -> None:
    body = b'{"data": []}' if method == "POST" else None
    assert request(server, method, path, body, content_type="application/json")[0] in codes


# --- the middleware by itself --------------------------------------------------------------------------------


def run(
    app: Any,
    body: list[bytes] | None = None,
    method: str = "GET",
    path: str = "/",
    headers: dict[str, str] | None = None,
    warm: Warm | None = None,
    client: str | None = None,
    flow: network.Flow | None = None,
    root: str = "",
    query: str = "",
) -> list[dict[str, Any]]:
    """The messages that Guard sends for one request to `app`."""
    guard = Guard(app, TITLES, warm or Warm(lambda: None), flow=flow)
    chunks = list(body or [b""])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not chunks:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root,
        "query_string": query.encode(),
        "client": (client, 50_000) if client else None,
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    # In a thread of its own: playwright's loop, where a browser test ran before, goes on in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, guard(scope, receive, send)).result()
    return sent


def answering(kind: str, *parts: bytes, status: int = 200, read: bool = False) -> Any:
    """An ASGI app that answers with these parts, after reading the request if asked to."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        size = 0
        while read:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        fields = [(b"content-type", kind.encode()), (b"x-read", str(size).encode())]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        for i, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": i + 1 < len(parts)})

    return app


def test_streams_pass_through_piece_by_piece() -> None:
    sent = run(answering("text/event-stream", b"data: 1\n\n", b"data: 2\n\n"))
    assert [message.get("body") for message in sent] == [None, b"data: 1\n\n", b"data: 2\n\n"]


def test_a_page_in_pieces_becomes_one_with_the_right_length() -> None:
    sent = run(answering("text/html; charset=utf-8", b"<html><he", b"ad><meta></head>", b"</html>"))
    assert len(sent) == 2
    body = sent[1]["body"]
    assert body.startswith(b"<html><head><script>") and body.endswith(b"<meta></head></html>")
    assert dict(sent[0]["headers"])[b"content-length"] == str(len(body)).encode()


def test_compressed_pages_are_left_alone() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        fields = [(b"content-type", b"text/html"), (b"content-encoding", b"br")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"\x0b\x02\x80"})

    assert run(app)[1]["body"] == b"\x0b\x02\x80"


def test_uploads_have_a_limit_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "UPLOAD_LIMIT", 100)
    app = answering("application/json", b"[]", read=True)
    fits = run(app, [b"x" * 60, b"x" * 40], "POST", "/gradio_api/upload")
    assert fits[0]["status"] == 200 and dict(fits[0]["headers"])[b"x-read"] == b"100"
    assert run(app, [b"x" * 60, b"x" * 41], "POST", "/gradio_api/upload")[0]["status"] == 413
    declared = run(app, [b""], "POST", "/gradio_api/upload", {"content-length": "101"})
    assert declared[0]["status"] == 413
    assert run(app, [b""], "POST", "/gradio_api/upload", {"content-length": "-1"})[0]["status"] == 413


def test_an_address_that_sends_too_much_waits_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(network.time, "monotonic", lambda: now[0])
    flow = network.Flow(rate=2, burst=3)
    app = answering("application/json", b"{}", read=True)

    def send(client: str | None, method: str = "POST", **headers: str) -> dict[str, Any]:
        return run(app, [b"{}"], method, "/x", headers, client=client, flow=flow)[0]

    assert [send("10.0.0.7")["status"] for _ in range(5)] == [200, 200, 200, 429, 429]
    refusal = send("10.0.0.7")
    assert dict(refusal["headers"])[b"retry-after"] == b"1"
    assert send("10.0.0.8")["status"] == 200 and send("10.0.0.7", "GET")["status"] == 200
    now[0] += 1.1
    assert [send("10.0.0.7")["status"] for _ in range(3)] == [200, 200, 429]
    # The machine itself, or a proxy in front with limits of its own.
    assert {send(client)["status"] for client in (None, "127.0.0.1", "::1") for _ in range(5)} == {200}


def test_behind_a_spaces_proxy_visitors_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = [(b"x-forwarded-for", b"1.1.1.1, 10.9.9.9")]
    scope = {"client": ("172.16.0.1", 5), "headers": headers}
    assert network.sender(scope) == "172.16.0.1"
    monkeypatch.setenv("SPACE_ID", "someone/clip-atlas")
    assert network.sender(scope) == "10.9.9.9"
    assert network.sender({"client": ("172.16.0.1", 5), "headers": []}) == "172.16.0.1"


def test_addresses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(network.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(network, "ADDRESSES", 100)
    flow = network.Flow(rate=10, burst=10)
    for i in range(1000):
        now[0] += 0.1
        flow.wait(f"10.0.0.{i}")
    assert len(flow._level) <= 101


def test_a_body_that_fits_arrives_whole() -> None:
    sent = run(answering("application/json", b"{}", read=True), [b'{"a":', b" 1}"], "POST", "/x")
    assert dict(sent[0]["headers"])[b"x-read"] == b"8"


@pytest.mark.parametrize(
    ("value", "foreign"),
    [
        ({"data": ["see http://example.org", {"label": "http://x"}]}, False),
        ({"path": "data:image/png;base64,AAAA"}, False),
        ({"path": "", "url": "data:image/png;base64,AAAA"}, False),
        ({"path": "/tmp/gradio/a.png", "url": "http://host:7860/gradio_api/file=/tmp/gradio/a.png"}, False),
        ({"path": "/tmp/a.png", "url": "https://lab.example/hub/gradio_api/file=/tmp/a.png"}, False),
        ({"path": "C:\\temp\\a.png"}, False),
        ({"path": None, "url": None}, False),
        ([[{"deep": [{"path": "http://x/y"}]}]], True),
        ({"path": " HTTPS://x/y"}, True),
        ({"path": "//x/y"}, True),
        ({"path": "file:///etc/passwd"}, True),
        ({"path": "ftp://x"}, True),
        ({"url": "http://x/gradio_api/file=/a"}, True),
        ({"path": "a.png", "url": "http://x/other?/gradio_api/file=a"}, True),
        ({"path": "a.png", "url": "\\\\host\\share"}, True),
    ],
)
def test_foreign_files_are_told_from_own_ones(value: Any, foreign: bool) -> None:
    assert any(map(door.is_foreign, door.file_data(value))) is foreign


def test_a_body_that_is_no_json_is_the_apps_business() -> None:
    assert door._parsed(b"[" * 100_000) is None
    for body in (b"", b"\xff{", b"[1"):
        sent = run(answering("application/json", b"{}", read=True), [body], "POST", "/gradio_api/queue/join")
        assert dict(sent[0]["headers"])[b"x-read"] == str(len(body)).encode()


@pytest.mark.parametrize("root", ["", "/atlas", "/deep/atlas/"])
@pytest.mark.parametrize("query", ["", "example=toys&lang=zh"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_slash_behind_a_page_leads_to_the_page(root: str, query: str, method: str) -> None:
    """Within the prefix of a proxy, whether it is known here or not, and not for good: a browser keeps a 301."""
    app = answering("text/html", b"<head>")
    (start, _) = run(app, method=method, path="/clip/", root=root, query=query)
    place = dict(start["headers"])[b"location"].decode()
    asked = f"https://example.org{root.rstrip('/') or '/unknown/prefix'}/clip/"
    wanted = asked.rstrip("/") + (f"?{query}" if query else "")
    assert start["status"] == 307 and urljoin(asked, place) == wanted
    assert dict(start["headers"])[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/nope/"), ("POST", "/clip/"), ("GET", "/clip")]
)
def test_other_addresses_stay_as_they_are(method: str, path: str) -> None:
    assert run(answering("text/html", b"<head>"), method=method, path=path)[0]["status"] == 200


@pytest.mark.parametrize(
    ("accepts", "word"), [("zh-CN,zh;q=0.9", "不会从网址"), ("de,en", "not fetched"), ("", "not fetched")]
)
def test_a_refusal_is_in_the_callers_language(accepts: str, word: str) -> None:
    body = json.dumps({"data": [{"path": "https://example.org/x.png"}]}).encode()
    path = "/gradio_api/queue/join"
    sent = run(answering("text/html"), [body], "POST", path, {"accept-language": accepts})
    answer = json.loads(sent[1]["body"])
    assert sent[0]["status"] == 400 and word in answer["error"] and answer["detail"] == answer["error"]
    # Gradio's client for Python reads the sentence of one status alone.
    sent = run(answering("text/html"), [body], "POST", path, {"user-agent": "gradio_client/2.7.2"})
    assert sent[0]["status"] == 422 and "not fetched" in json.loads(sent[1]["body"])["detail"][0]["message"]


def test_a_space_may_be_shown_inside_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "someone/clip-atlas")
    policy = dict(door.headers())[b"content-security-policy"].decode()
    assert policy.endswith("frame-ancestors 'self' https://huggingface.co")


def test_the_warm_up_runs_once_and_only_after_a_page() -> None:
    calls: list[str] = []

    def threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "warm-up"]

    for thread in threads():  # of an app that another test has built
        thread.join()
    warm = Warm(lambda: calls.append(threading.current_thread().name), delay=0.0)
    run(answering("application/json", b"{}"), warm=warm)
    run(answering("text/html", b"<head></head>"), method="HEAD", warm=warm)
    run(answering("text/html", b"<head></head>", status=404), headers={"accept": "text/html"}, warm=warm)
    assert threads() == [] and not warm.done.is_set()
    for _ in range(3):
        run(answering("text/html", b"<head></head>"), warm=warm)
    assert warm.done.wait(300)
    for thread in threads():
        thread.join()
    assert calls == ["warm-up"]


def test_a_failed_warm_up_is_over_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(site.checkpoints, "default", lambda paper: 1 / 0)
    warm = Warm(site.warm_up, delay=0.0)
    warm.start()
    assert warm.done.wait(300)
    assert "warm-up failed" in caplog.text


def test_a_stream_whose_session_is_gone_ends_and_other_errors_are_raised() -> None:
    """A reload takes the session of a stream of events away; Gradio then refuses in the middle of the stream."""

    def failing(error: Exception) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            fields = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": fields})
            raise RuntimeError("response already started") from error

        return app

    sent = run(failing(HTTPException(404)))
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    with pytest.raises(RuntimeError):
        run(failing(ValueError()))


@pytest.fixture
def idle(server: str) -> tuple[Tab, dict[str, Any]]:
    """A tab whose event is over, and the event."""
    tab = Tab(server)
    event = tab.event("checkpoint", "input")
    assert tab.join(event, {})[0] == 200
    with tab.stream() as messages:
        assert [message["msg"] for message in messages][-1] == "close_stream"
    return tab, event


def test_a_stream_in_which_nothing_comes_ends(idle: tuple[Tab, dict[str, Any]]) -> None:
    """A browser opens a stream for an event whose answer has come through the stream of another event."""
    tab, _ = idle
    with tab.stream() as messages:
        assert next(messages)["msg"] == "close_stream"  # Gradio alone sends a heartbeat, for ever


def test_a_stream_that_waits_serves_an_event_that_begins_meanwhile(idle: tuple[Tab, dict[str, Any]]) -> None:
    tab, event = idle
    timer = threading.Timer(door.GRACE / 3, tab.join, (event, {}))
    timer.start()
    with tab.stream() as messages:
        assert "process_completed" in [message["msg"] for message in messages]
    timer.join()
