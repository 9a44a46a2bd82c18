"""The addresses of a class: thin, the class itself is `rooms`, what it shows is `views`.

Screens follow a class by server-sent events. Each event is the whole state, so a connection that was lost needs nothing but
a new one. Where a proxy holds streams back, the same state is fetched by requests that wait (`/class/state`).
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import json
import math
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from core.errors import Refusal
from demos.kit.network import EVERYWHERE, Flow, own_address, sender
from demos.teach import plans, screens, sheets, views
from demos.teach.plans import LANGUAGES
from demos.teach.rooms import Room, Rooms, same

MARK = secrets.token_hex(6)  # of this process: another one does not know its classes
BEAT = 15.0  # seconds between signs of life on a stream
PATIENCE = 20.0  # seconds that a request for the next state waits
TOGETHER = 0.05  # seconds in which votes are gathered for the teacher
STATUSES = {
    "no_class": 404,
    "unknown_plan": 404,
    "not_the_teacher": 403,
    "not_joined": 403,
    "too_many_codes": 429,
}
LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
STREAM = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}

ROOMS = Rooms()
# Wrong codes from one address: a class behind one access point mistypes some, nobody tries them all.
GUESSES = Flow(rate=0.5, burst=60)
Handler = Callable[[Request], Awaitable[Response]]


# --- what requests have in common --------------------------------------------------------------------------


def refusing(handler: Handler) -> Handler:
    """A handler whose refusals are answered as one sentence in the language of the screen."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refusal as refusal:
            lang = request.query_params.get("lang", "en")
            error = {"error": refusal.text(lang), "code": refusal.code}
            return JSONResponse(error, STATUSES.get(refusal.code, 409), {"cache-control": "no-store"})

    return answer


async def sent(request: Request) -> dict[str, Any]:
    """The values of a request's body.

    Raises:
        Refusal: "bad_request".
    """
    try:
        values = await request.json()
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise Refusal("bad_request")
    return values


def text(values: Any, name: str) -> str:
    """A text of a request."""
    return str(values.get(name) or "")[:200]


def number(values: Any, name: str) -> int:
    """A whole number of a request.

    Raises:
        Refusal: "bad_request".
    """
    value = values.get(name)
    try:
        return int(str(value)[:6])
    except ValueError:
        raise Refusal("bad_request") from None


def asker(request: Request) -> str:
    """Whose wrong codes are counted together; one household of IPv6 addresses is one asker."""
    host = sender(request.scope) or "here"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network(f"{host}/64", strict=False)) if address.version == 6 else host


def room_of(request: Request, code: str) -> Room:
    """The class with a code; who has asked for many that do not exist has to wait.

    Raises:
        Refusal: "no_class", "too_many_codes".
    """
    who = asker(request)
    if seconds := math.ceil(GUESSES.wait(who, takes=False)):
        raise Refusal("too_many_codes", seconds=seconds)
    try:
        return ROOMS.find(code)
    except Refusal:
        GUESSES.wait(who)
        raise


def led(request: Request, values: dict[str, Any]) -> Room:
    """The class that the sender leads."""
    room = room_of(request, text(values, "code"))
    return ROOMS.led(room.code, text(values, "key"))


def watcher(request: Request) -> tuple[Room, Callable[[], dict[str, Any]], bool]:
    """The class that a screen follows, what it sees, and whether it is the teacher's.

    Raises:
        Refusal: "not_joined", "not_the_teacher" besides those of `room_of`.
    """
    query = request.query_params
    room = room_of(request, query.get("code", ""))
    if word := query.get("word"):
        if not same(room.word, word):
            raise Refusal("not_the_teacher")
        return room, lambda: views.teacher_view(room), True
    pupil = query.get("pupil", "")
    if pupil not in room.pupils:
        raise Refusal("not_joined")
    return room, lambda: views.pupil_view(room, pupil), False


# --- what pages compute for a class ------------------------------------------------------------------------


class Parts:
    """Cards and answers of steps: each is computed once, whoever asks first."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], asyncio.Task[Any]] = {}

    async def get(self, make: Callable[..., Any], plan: str, at: int, lang: str) -> Any:
        """What `make(step, lang)` returns for a step; a failure is not remembered."""
        steps = plans.plan(plan).steps
        if not 0 <= at < len(steps):
            raise Refusal("no_such_step", count=len(steps))
        key = (make, plan, at, "zh" if lang == "zh" else "en")
        if key not in self._made:
            self._made[key] = asyncio.create_task(run_in_threadpool(make, steps[at], key[-1]))
        task = self._made[key]
        try:
            return await asyncio.shield(task)
        except Exception:
            self._made.pop(key, None)
            raise

    def prepare(self, plan: str, at: int) -> None:
        """Begins to compute what a class will ask for at a step."""
        for lang in LANGUAGES:
            for make in (plans.card, plans.reply):
                task = asyncio.ensure_future(self.get(make, plan, at, lang))
                # Whoever needs it later is told.
                task.add_done_callback(lambda done: done.cancelled() or done.exception())


PARTS = Parts()


# --- the teacher -------------------------------------------------------------------------------------------


def one_process() -> None:
    """Refuses where pupils could reach another process than their teacher.

    Raises:
        Refusal: "class_replicas".
    """
    count = os.environ.get("CLIP_ATLAS_REPLICAS", "1")
    if count != "1":
        raise Refusal("class_replicas")


async def start(request: Request) -> Response:
    """A new class: its code, what its teacher leads and watches it with, its address and QR code."""
    values = await sent(request)
    one_process()
    plan = plans.plan(text(values, "plan"))
    choices = await run_in_threadpool(views.choice_counts, plan)
    base, everybody = reachable(text(values, "base"), request.app.get_blocks().server_name)
    room = ROOMS.open(plan.name, choices)
    address = f"{base}class?code={room.code}"
    PARTS.prepare(plan.name, 0)
    return JSONResponse(
        {
            "code": room.code,
            "key": room.key,
            "word": room.word,
            "mark": MARK,
            "address": address,
            "qr": qr_code(address) if everybody else "",
            "title": {lang: plan.title.get(lang) for lang in LANGUAGES},
        }
    )


def reachable(base: str, host: str | None) -> tuple[str, bool]:
    """The address of the hub for others, and whether they can reach it.

    Args:
        base: the address at which the teacher's browser has the hub.
        host: that the server listens to.

    Raises:
        Refusal: "bad_request" for what is no address.
    """
    place = urlsplit(base)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise Refusal("bad_request")
    if place.hostname not in LOOPBACK:
        return base, True
    own = own_address() if host in EVERYWHERE else None
    if own is None:
        return base, False
    port = f":{place.port}" if place.port else ""
    return f"{place.scheme}://{own}{port}{place.path}", True


def qr_code(address: str) -> str:
    """The QR code of an address as SVG."""
    import segno

    out = io.BytesIO()
    code = segno.make(address, micro=False)
    code.save(out, kind="svg", border=2, dark="#000", light="#fff", xmldecl=False, omitsize=True)
    return out.getvalue().decode()


async def lead(request: Request) -> Response:
    """What the teacher does: move, vote again, run, close or open the door, end."""
    values = await sent(request)
    room = led(request, values)
    match text(values, "do"):
        case "move":
            at = number(values, "at")
            room.move(at)
            for near in (at, at + 1):
                if 0 <= near < len(room.ballots):
                    PARTS.prepare(room.plan, near)
        case "again":
            room.vote_again()
        case "run":
            at = room.at
            replies = [await PARTS.get(plans.reply, room.plan, at, lang) for lang in LANGUAGES]
            if at == room.at:
                answers = {lang: reply.index for lang, reply in zip(LANGUAGES, replies, strict=True)}
                room.reveal(answers)
        case "close":
            room.close(True)
        case "open":
            room.close(False)
        case "end":
            ROOMS.end(room)
        case _:
            raise Refusal("bad_request")
    return JSONResponse(views.teacher_view(room))


async def export(request: Request) -> Response:
    """The counts as CSV."""
    values = await sent(request)
    room = led(request, values)
    table = views.counts_csv(room, "zh" if text(values, "lang") == "zh" else "en")
    return Response(table.encode("utf-8-sig"), media_type="text/csv")


# --- pupils ------------------------------------------------------------------------------------------------


async def join(request: Request) -> Response:
    """A new pupil of a class."""
    room = room_of(request, text(await sent(request), "code"))
    return JSONResponse({"code": room.code, "pupil": room.join()})


async def vote(request: Request) -> Response:
    """A pupil's prediction."""
    values = await sent(request)
    room, pupil = room_of(request, text(values, "code")), text(values, "pupil")
    room.vote(pupil, number(values, "at"), number(values, "choice"))
    return JSONResponse(views.pupil_view(room, pupil))


# --- everybody ---------------------------------------------------------------------------------------------


async def events(request: Request) -> Response:
    """The state of a class, and again after each change."""
    return StreamingResponse(stream(*watcher(request)), media_type="text/event-stream", headers=STREAM)


async def stream(room: Room, view: Callable[[], dict[str, Any]], is_teacher: bool) -> AsyncIterator[str]:
    """The events of one screen."""
    changed = asyncio.Event()
    leave = room.listen(changed.set, is_teacher)
    changed.set()
    try:
        yield "retry: 1000\n\n"
        while True:
            try:
                await asyncio.wait_for(changed.wait(), BEAT)
            except TimeoutError:
                ROOMS.sweep()
                yield ": still here\n\n"
                continue
            if is_teacher:
                await asyncio.sleep(TOGETHER)
            changed.clear()
            current = view()
            yield f"data: {json.dumps(current, ensure_ascii=False)}\n\n"
            if current["over"]:
                return
    finally:
        leave()


async def state(request: Request) -> Response:
    """The state of a class as soon as it is newer than `after`; for browsers whose proxy holds streams back."""
    room, view, is_teacher = watcher(request)
    after = request.query_params.get("after", "")
    changed = asyncio.Event()
    leave = room.listen(changed.set, is_teacher)
    try:
        if str(view()["version"]) == after:
            await asyncio.wait_for(changed.wait(), PATIENCE)
    except TimeoutError:
        pass
    finally:
        leave()
    return JSONResponse(view(), headers={"cache-control": "no-store"})


async def server(_: Request) -> Response:
    """Which process answers: the teacher's browser asks several times before a class begins."""
    return JSONResponse({"mark": MARK}, headers={"cache-control": "no-store"})


async def card(request: Request) -> Response:
    """The inputs of a step: its image and what is asked about it."""
    query = request.query_params
    made = await PARTS.get(plans.card, query.get("plan", ""), number(query, "at"), query.get("lang", "en"))
    return HTMLResponse(made, headers={"cache-control": "public, max-age=3600"})


async def answer(request: Request) -> Response:
    """What the miniature answers to a step, once the teacher has run it."""
    query = request.query_params
    room, _, _ = watcher(request)
    at = number(query, "at")
    if not views.is_revealed(room, at):
        raise Refusal("not_revealed")
    reply = await PARTS.get(plans.reply, room.plan, at, query.get("lang", "en"))
    return HTMLResponse(reply.body, headers={"cache-control": "private, max-age=3600"})


async def worksheet(request: Request) -> Response:
    """The questions of a plan on paper; with `answers`, what the miniature says to them."""
    query = request.query_params
    make = sheets.answers if query.get("answers") else sheets.questions
    return HTMLResponse(await run_in_threadpool(make, query.get("plan", "")))


async def plan_steps(request: Request) -> Response:
    """Titles and addresses of a plan's steps, for the keys of a projector."""
    return JSONResponse(screens.steps(plans.plan(request.query_params.get("plan", ""))))


async def pupil_screen(_: Request) -> Response:
    """The page that pupils join on."""
    return HTMLResponse(screens.pupil())


async def teacher_screen(_: Request) -> Response:
    """The page that a teacher leads a class from; it is meant for the projector."""
    return HTMLResponse(screens.teacher())


POSTS = {"start": start, "lead": lead, "export": export, "join": join, "vote": vote}
GETS = {
    "events": events,
    "state": state,
    "server": server,
    "card": card,
    "answer": answer,
    "plan": plan_steps,
}
PAGES = {"class": pupil_screen, "lectern": teacher_screen, "worksheet": worksheet}
ROUTES = (
    *(Route(f"/{name}", refusing(handler), methods=["GET"]) for name, handler in PAGES.items()),
    *(Route(f"/class/{name}", refusing(handler), methods=["POST"]) for name, handler in POSTS.items()),
    *(Route(f"/class/{name}", refusing(handler), methods=["GET"]) for name, handler in GETS.items()),
)
