"""The door of the server: ASGI middleware that streams, and the routes that Gradio does not have.

What Gradio leaves to the app and this module does: security headers and a content policy, limits on request
bodies whether they declare their length or not, no fetching of foreign URLs on a caller's behalf, the language
script in front of Gradio's own start, a page for unknown addresses, and /healthz.
"""

from __future__ import annotations

import html
import json
import os
import re
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_LIMIT = 8 << 20
UPLOAD_LIMIT = 220 << 20
SCRIPT = Path(__file__).resolve().parents[1] / "assets" / "js" / "language.js"
TOO_LARGE = "The request is larger than {limit} MB; send less at once."
FOREIGN_URL = "Files are not fetched from addresses; upload the file or send it as a data URI."


def headers() -> list[tuple[bytes, bytes]]:
    """Security headers of every answer; a Space is shown inside a frame of the Hub's site."""
    frames = "'self' https://huggingface.co" if "SPACE_ID" in os.environ else "'self'"
    policy = (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
        "media-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
        f"frame-ancestors {frames}"
    )
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"permissions-policy", b"camera=(self), microphone=(self), geolocation=()"),
    ]


class Warm:
    """Loads torch and the default model in the background once a browser has been given its first page."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.done = threading.Event()
        self._started = threading.Lock()

    def start(self) -> None:
        """Starts the work in a thread; later calls do nothing."""
        if self._started.acquire(blocking=False):
            threading.Thread(target=self._run, name="warm-up", daemon=True).start()

    def _run(self) -> None:
        try:
            self.work()
        finally:
            self.done.set()


class Guard:
    """Headers, body limits, the SSRF check, the language script and the page for unknown addresses."""

    def __init__(self, app: App, warm: Warm) -> None:
        self.app = app
        self.warm = warm

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        answer = _Answer(self, scope, send)
        if scope["method"] in ("POST", "PUT", "PATCH"):
            limit = UPLOAD_LIMIT if path.endswith("/upload") else JSON_LIMIT
            declared = dict(scope["headers"]).get(b"content-length", b"0")
            if not declared.isdigit() or int(declared) > limit:
                await answer.refuse(413, TOO_LARGE.format(limit=limit >> 20))
                return
            if path.endswith("/upload"):
                receive = _limited(receive, limit)
            else:
                body = await _read(receive, limit)
                if body is None:
                    await answer.refuse(413, TOO_LARGE.format(limit=limit >> 20))
                    return
                if has_foreign_url(body, dict(scope["headers"]).get(b"host", b"").decode("latin-1")):
                    await answer.refuse(400, FOREIGN_URL)
                    return
                receive = _replay(body, receive)
        try:
            await self.app(scope, receive, answer.send)
        except _TooLarge:
            if not answer.started:
                await answer.refuse(413, TOO_LARGE.format(limit=UPLOAD_LIMIT >> 20))


class _TooLarge(Exception):
    """An upload went past its limit while it was being read."""


def _limited(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def read() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _TooLarge
        return message

    return read


async def _read(receive: Receive, limit: int) -> bytes | None:
    """A whole body, or None when it goes past the limit."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body"):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def read() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read


def has_foreign_url(body: bytes, host: str) -> bool:
    """Whether a JSON body asks the server to fetch a file from elsewhere.

    File data may carry an address of this server, a data URI or none.
    """
    if b"http" not in body.lower() and b"//" not in body:
        return False
    try:
        value = json.loads(body)
    except ValueError:
        return False
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            is_file = "path" in item or item.get("meta") == {"_type": "gradio.FileData"}
            for key in ("url", "path"):
                address = item.get(key)
                if is_file and isinstance(address, str) and _is_foreign(address, host):
                    return True
            pending += item.values()
    return False


def _is_foreign(address: str, host: str) -> bool:
    parts = urlsplit(address.strip())
    if parts.scheme in ("data", "blob"):
        return False
    return (bool(parts.netloc) or parts.scheme in ("http", "https", "ftp", "file")) and parts.netloc != host


class _Answer:
    """One answer on its way out: HTML is held back and completed, everything else streams through."""

    def __init__(self, guard: Guard, scope: Scope, send: Send) -> None:
        self.guard = guard
        self.scope = scope
        self.raw_send = send
        self.started = False
        self._start: Message | None = None
        self._html = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._on_start(message)
        elif self._start is None:
            await self.raw_send(message)
        else:
            self._html += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish()

    async def _on_start(self, message: Message) -> None:
        names = {name.lower(): value for name, value in message["headers"]}
        is_html = names.get(b"content-type", b"").startswith(b"text/html")
        wants_page = b"text/html" in dict(self.scope["headers"]).get(b"accept", b"")
        if message["status"] == 404 and wants_page and self.scope["method"] == "GET":
            message["headers"] = [(b"content-type", b"text/html; charset=utf-8")]
            self._html += not_found_page(self.scope["path"]).encode()
            self._start = message
            # What the app says in its own 404 is dropped.
            self.send = self._drop  # type: ignore[method-assign]
            await self._finish()
            return
        if is_html and b"content-encoding" not in names:
            self._start = message
            return
        await self._forward(message)

    async def _drop(self, message: Message) -> None:
        return None

    async def _forward(self, message: Message) -> None:
        self.started = True
        extra = headers()
        taken = {name for name, _ in extra}
        message["headers"] = [
            (name, value) for name, value in message["headers"] if name.lower() not in taken
        ] + extra
        await self.raw_send(message)

    async def _finish(self) -> None:
        assert self._start is not None
        body = with_script(bytes(self._html))
        self._start["headers"] = [
            (name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"
        ] + [(b"content-length", str(len(body)).encode())]
        await self._forward(self._start)
        await self.raw_send({"type": "http.response.body", "body": body})
        self.guard.warm.start()

    async def refuse(self, status: int, sentence: str) -> None:
        """Answers with one sentence as JSON."""
        body = json.dumps({"error": sentence}).encode()
        await self._forward(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode()),
                    (b"connection", b"close"),
                ],
            }
        )
        await self.raw_send({"type": "http.response.body", "body": body})


def with_script(page: bytes) -> bytes:
    """The language script right behind <head>: it has to run before Gradio reads the browser's language."""
    script = b"<script>" + SCRIPT.read_bytes() + b"</script>"
    return re.sub(rb"<head[^>]*>", lambda match: match.group(0) + script, page, count=1)


def not_found_page(path: str) -> str:
    """The page of an unknown address, in both languages."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>CLIP Atlas</title>'
        '<meta name="viewport" content="width=device-width"><style>body{font:18px/1.6 system-ui,sans-serif;'
        "max-width:32em;margin:15vh auto;padding:0 1em;color-scheme:light dark}</style></head><body>"
        f"<h1>404</h1><p>There is no page at {html.escape(path)}.</p><p>没有这个页面。</p>"
        '<p><a href="/">CLIP Atlas</a></p></body></html>'
    )
