"""The door of the server: ASGI middleware that streams, and what Gradio leaves to the app.

Security headers and a content policy; limits on request bodies, whether they declare their length or not, and on how
many one address sends; no fetching of foreign addresses on a caller's behalf; the language script in front of
Gradio's own start; a page for unknown addresses; an end for streams of events that wait for nothing; a warm-up that waits
until a browser has its first page.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from gradio.server_messages import CloseStreamMessage
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from core.errors import Refusal
from demos.app import endpoints
from demos.app.theme import FONTS, variables
from demos.app.uploads import UPLOADS, Uploads
from demos.kit import language
from demos.kit.language import Text, both
from demos.kit.network import Flow, sender

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_LIMIT = 8 << 20
UPLOAD_LIMIT = 220 << 20
# Statuses of refusals; those of a call that cannot be made have 422.
STATUSES = {
    "not_served": 403,
    "too_many_requests": 429,
    "request_too_large": 413,
    "file_not_fetched": 400,
    "unknown_endpoint": 404,
}
# Gradio's names for files of this server in addresses.
OWN_FILES = re.compile(r"(/[^?#]*)?/gradio_api/(file|stream)[=/]")
# A file of Gradio's front end, whose name has the digest of its content.
HASHED = re.compile(r"/assets/[^/]+-[\w-]{8,9}\.\w+$")
# A scheme of two letters or more (one is a Windows drive), or a host without a scheme.
ADDRESS = re.compile(r"\s*(?!data:|blob:)([a-z][a-z0-9+.-]+:|//|\\\\)", re.IGNORECASE)
FETCHING = re.compile(r"/(file=\s*(https?:|//|ftp:)|proxy=)", re.IGNORECASE)
OTHER_PREVIEWS = re.compile(rb'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*')
STYLE = Path(__file__).resolve().parents[2] / "assets" / "css" / "head.css"


def headers() -> list[tuple[bytes, bytes]]:
    """Security headers of every answer; a Space is shown inside a frame of the Hub's site."""
    frames = "'self' https://huggingface.co" if "SPACE_ID" in os.environ else "'self'"
    # Gradio's front end needs inline scripts and eval; the policy's worth is that nothing is loaded from elsewhere.
    policy = (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
        "media-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
        f"form-action 'self'; frame-ancestors {frames}"
    )
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"permissions-policy", b"camera=(self), microphone=(self), geolocation=(), payment=(), usb=()"),
    ]


class Warm:
    """Runs slow preparations in the background, once, after a browser has been given its first page.

    Args:
        work: what to do.
        delay: seconds between the page and the work; the browser fetches the page's parts in between.
    """

    def __init__(self, work: Callable[[], None], delay: float = 1.5) -> None:
        self.work = work
        self.delay = delay
        self.done = threading.Event()
        self._first = threading.Lock()

    def start(self) -> None:
        """Starts the clock; later calls do nothing."""
        if self._first.acquire(blocking=False):
            timer = threading.Timer(self.delay, self._run)
            timer.daemon = True
            timer.name = "warm-up"
            timer.start()

    def _run(self) -> None:
        try:
            self.work()
        finally:
            self.done.set()


class Guard:
    """The middleware: `app_kwargs={"middleware": [Middleware(Guard, titles=..., warm=...)]}`.

    Args:
        app: the application behind the door.
        titles: document title by page slug, "" for home.
        warm: started by the first page.
        uploads: learns which session uses which uploaded file.
        flow: counts what each address sends.
    """

    def __init__(
        self,
        app: App,
        titles: Mapping[str, Text],
        warm: Warm,
        uploads: Uploads = UPLOADS,
        flow: Flow | None = None,
    ) -> None:
        self.app = app
        self.flow = flow or Flow()
        self.titles = titles
        self.warm = warm
        self.uploads = uploads
        self.head = language.head(titles) + f"<style>{variables()}{STYLE.read_text(encoding='utf-8')}</style>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(self, scope, send)
        if place := self._without_slash(scope):
            await RedirectResponse(place)(scope, receive, answer.send)
            return
        try:
            receive = await self._admit(scope, receive)
            app = NO_EVENTS if await stays_idle(scope) else self.app
            await app(scope, receive, answer.send)
        except Refusal as refusal:
            if answer.started:
                raise
            await answer.refuse(refusal, receive)
        except RuntimeError as error:
            # Gradio refuses a stream of events that has begun where a reload has taken its session away.
            if not (answer.started and isinstance(error.__cause__, HTTPException)):
                raise
            await answer.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """What the app may read of a request.

        Raises:
            Refusal: a code of `STATUSES`; that of an upload's size may come while it is read.
        """
        if FETCHING.search(unquote(scope["path"])):
            raise Refusal("not_served")
        if scope["method"] not in ("POST", "PUT", "PATCH", "DELETE"):
            return receive
        address = sender(scope)
        if address and (seconds := math.ceil(self.flow.wait(address))):
            raise Refusal("too_many_requests", seconds=seconds)
        is_upload = scope["path"].endswith("/upload")
        limit = UPLOAD_LIMIT if is_upload else JSON_LIMIT
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > limit:
            raise Refusal("request_too_large", limit=limit >> 20)
        if is_upload:
            return _limited(receive, limit)
        body = await _read(receive, limit)
        sent = _parsed(body)
        files = file_data(sent)
        if any(map(is_foreign, files)):
            raise Refusal("file_not_fetched")
        session = sent.get("session_hash") if isinstance(sent, dict) else None
        if isinstance(session, str):
            self.uploads.note(session, (str(file["path"]) for file in files if file.get("path")))
        changed = False
        for file in files:
            if "meta" in file and str(file.get("path")).startswith("data:"):
                del file["meta"]  # with it, Gradio takes the data for a path
                changed = True
        value = sent
        if endpoints.CALL.search(scope["path"]):
            value = endpoints.arranged(scope["app"].get_blocks(), scope["path"], sent)
        return _replay(json.dumps(value).encode() if changed or value is not sent else body, receive)

    def _without_slash(self, scope: Scope) -> str | None:
        """Where a page is that was asked for with a slash behind it; None for any other request.

        Gradio would send the browser, for good, to an address outside the prefix of a proxy.
        """
        slug = scope["path"].rstrip("/").rpartition("/")[2]
        is_page = slug and slug in self.titles and scope["path"].endswith("/")
        if not is_page or scope["method"] not in ("GET", "HEAD"):
            return None
        root = scope.get("root_path", "").rstrip("/")
        query = scope.get("query_string", b"").decode("latin-1")
        # Behind a proxy whose prefix is unknown here, an address relative to the one that was asked for.
        return (f"{root}/{slug}" if root else f"../{slug}") + (f"?{query}" if query else "")


# --- streams of events ---------------------------------------------------------------------------------------

NO_EVENTS = Response(f"data: {CloseStreamMessage().model_dump_json()}\n\n", media_type="text/event-stream")
GRACE = 3.0  # seconds; events come close together, and the next one needs the stream
GLANCE = 0.1  # seconds


async def stays_idle(scope: Scope) -> bool:
    """Whether a request is for the events of a session that waits for none, and none begins for `GRACE` seconds.

    Gradio's browser side opens a stream for an event as soon as it knows the event's number. By then the answer may have
    come, through the stream of another event. Gradio would keep the new stream open until the session's next event, and a
    reload in between would be reported as a lost connection.
    """
    if not scope["path"].endswith("/queue/data"):
        return False
    session = Request(scope).query_params.get("session_hash")
    queue = scope["app"].get_blocks()._queue
    end = time.monotonic() + GRACE
    while session in queue.pending_messages_per_session and not queue.pending_event_ids_session.get(session):
        if time.monotonic() > end:
            return True
        await asyncio.sleep(GLANCE)
    return False


# --- request bodies ------------------------------------------------------------------------------------------


def _limited(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def read() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise Refusal("request_too_large", limit=limit >> 20)
        return message

    return read


async def _read(receive: Receive, limit: int) -> bytes:
    """A whole body; Refusal("request_too_large") as soon as it goes past the limit."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > limit:
            raise Refusal("request_too_large", limit=limit >> 20)
        if message["type"] == "http.disconnect" or not message.get("more_body"):
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


def _parsed(body: bytes) -> Any:
    """The value of a JSON body; None where it is none, for us as for the app, which reads it in the same way."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def file_data(value: Any) -> list[dict[str, Any]]:
    """Every object of a JSON value that has a "path" or a "url"."""
    pending, found = [value], []
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            pending += item.values()
            if "path" in item or "url" in item:
                found.append(item)
    return found


def is_foreign(file: Mapping[str, Any]) -> bool:
    """Whether the server would have to fetch this file.

    Its path may be a data URI or a path of this server, which Gradio checks; its url may be a data URI, or one of
    this server's files beside a path, as browsers send it.
    """
    path, url = file.get("path"), file.get("url")
    if isinstance(path, str) and _is_address(path):
        return True
    if isinstance(url, str) and _is_address(url):
        own = OWN_FILES.match(urlsplit(url.strip()).path)
        return not own or not isinstance(path, str) or not path
    return False


def _is_address(text: str) -> bool:
    """Whether a text names another place; a data URI does not."""
    return ADDRESS.match(text) is not None


# --- answers -------------------------------------------------------------------------------------------------


class _Answer:
    """One answer on its way out: HTML is held back and completed, everything else streams through."""

    def __init__(self, guard: Guard, scope: Scope, send: Send) -> None:
        self.guard = guard
        self.scope = scope
        self.raw_send = send
        self.started = False
        self._held: Message | None = None  # the start of a page that is being collected
        self._page = bytearray()
        self._dropping = False

    async def send(self, message: Message) -> None:
        """Takes the app's messages."""
        if message["type"] == "http.response.start":
            await self._on_start(message)
        elif self._dropping:
            return
        elif self._held is None:
            await self.raw_send(message)
        else:
            self._page += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish(self._held, self._completed())

    async def _on_start(self, message: Message) -> None:
        names = {name.lower(): value for name, value in message["headers"]}
        wants_page = b"text/html" in dict(self.scope["headers"]).get(b"accept", b"")
        if message["status"] == 404 and wants_page and self.scope["method"] == "GET":
            self._dropping = True
            message["headers"] = [(b"content-type", b"text/html; charset=utf-8")]
            await self._finish(message, not_found_page(self.guard.head, self.scope.get("root_path", "")))
        elif names.get(b"content-type", b"").startswith(b"text/html") and b"content-encoding" not in names:
            self._held = message
        else:
            await self._forward(message)

    def _completed(self) -> bytes:
        slug = self.scope["path"].rstrip("/").rpartition("/")[2]
        title = self.guard.titles.get(slug, self.guard.titles[""]).en
        # Gradio's own previews advertise Gradio and name an address elsewhere.
        page = OTHER_PREVIEWS.sub(b"", bytes(self._page))
        insert = f"{self.guard.head}<title>{title}</title>".encode()
        return re.sub(rb"<head[^>]*>", lambda found: found[0] + insert, page, count=1)

    async def _finish(self, start: Message, body: bytes) -> None:
        start["headers"] = [
            *((name, value) for name, value in start["headers"] if name.lower() != b"content-length"),
            (b"content-length", str(len(body)).encode()),
        ]
        await self._forward(start)
        await self.raw_send({"type": "http.response.body", "body": body})
        if start["status"] == 200 and self.scope["method"] == "GET":
            self.guard.warm.start()

    async def _forward(self, message: Message) -> None:
        self.started = True
        ours = headers()
        if message["status"] == 200 and HASHED.search(self.scope["path"]):
            ours.append((b"cache-control", b"public, max-age=31536000, immutable"))
        taken = {name for name, _ in ours}
        message["headers"] = [pair for pair in message["headers"] if pair[0].lower() not in taken] + ours
        await self.raw_send(message)

    async def refuse(self, refusal: Refusal, receive: Receive) -> None:
        """Answers with one sentence as JSON and ends the connection, which may still carry a body.

        Gradio's Python client reads what a 422 says of a parameter, and of other answers the status alone.
        """
        asked = dict(self.scope["headers"])
        sentence = refusal.text("zh" if asked.get(b"accept-language", b"").startswith(b"zh") else "en")
        status = STATUSES.get(refusal.code, 422)
        detail: Any = sentence
        if asked.get(b"user-agent", b"").startswith(b"gradio_client"):
            reason = {
                "__type__": "validate",
                "is_valid": False,
                "parameter_name": "call",
                "message": sentence,
            }
            status, detail = 422, [reason]
        fields = {"connection": "close"}
        if "seconds" in refusal.params:
            fields["retry-after"] = str(refusal.params["seconds"])
        answer = JSONResponse({"error": sentence, "detail": detail}, status, fields)
        await answer(self.scope, receive, self.send)


FONT_STACK = ",".join(f'"{name}"' if " " in name else name for name in FONTS)


def not_found_page(head: str, root: str) -> bytes:
    """The page of an unknown address, in the language of the visitor."""
    words = both("There is no such page in this atlas.", "这本图谱里没有这一页。")
    back = both("Back to the start", "回到首页")
    return (
        f'<!doctype html><html lang="en"><head>{head}<meta charset="utf-8"><title>CLIP Atlas</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>body{{font:1.125rem/1.6 {FONT_STACK};max-width:32rem;margin:18vh auto 0;padding:0 1.25rem}}"
        "h1{font-size:3.5rem;margin:0;letter-spacing:-.02em;color:var(--atlas-accent)}a{color:var(--atlas-accent)}"
        f'</style></head><body><main><h1>404</h1><p>{words}</p><p><a href="{root}/">{back}</a></p></main></body></html>'
    ).encode()
