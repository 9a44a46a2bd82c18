"""Every page as a visitor uses it: each tab, lesson, variant, live training and drawing once; memory after each page.

    python -m benchmarks.pages                   # starts an app and walks through all pages
    python -m benchmarks.pages --page lseg       # one page, memory after each button

The walk reads what a page offers from the configuration that a browser gets: it presses every button, opens every lesson,
chooses every option of the question, sends a large image and several files. Trainings last the shortest time that a page
offers, drawings a few steps. Reads /proc, so it runs on Linux only.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from benchmarks.load import EXAMPLES, Mixup, Session, app
from benchmarks.startup import get, memory_mb
from core import terminal

# Sliders that would make a run long.
SHORT = {
    "live-minutes": 1,
    "steps": 60,
    "ladder-steps": 30,
    "losses-steps": 30,
    "starts-steps": 30,
    "count": 20,
}
NOT_PRESSED = {"download-checkpoint", "stop-download", "try-get"}
LARGE = (3000, 2000)
WRONG = "went wrong on our side"


class Failure(Mixup):
    """An event that ended in an error, or in the sentence that something went wrong."""


class Tab(Session):
    """One open page: its session, the values of its components, its events."""

    patience = 900

    def __init__(self, url: str, page: str, lang: str = "en") -> None:
        super().__init__(url)
        self.page, self.lang = page, lang
        config = json.loads(get(f"{url}/config?page={page}") or b"{}")
        self.parts = {part["id"]: part for part in config["components"]}
        self.values = {number: part["props"].get("value") for number, part in self.parts.items()}
        self.ids = {
            part["props"]["elem_id"]: number
            for number, part in self.parts.items()
            if part["props"].get("elem_id")
        }
        self.names = {number: name for name, number in self.ids.items()}
        self.events = [row for row in config["dependencies"] if row["backend_fn"]]
        for name, value in SHORT.items():
            self.set(name, value)

    def set(self, name: str, value: Any) -> bool:
        """Sets a component's value, as typing does; False where the page has none of this name."""
        if name in self.ids:
            self.values[self.ids[name]] = value
        return name in self.ids

    def triggers(self, *kinds: str) -> Iterator[tuple[str, str]]:
        """Name and trigger of everything that calls the server, in the page's order."""
        for event in self.events:
            for number, trigger in event["targets"]:
                if trigger in kinds and number in self.names:
                    yield self.names[number], trigger

    def opened(self) -> None:
        """What happens when the page opens."""
        for event in self.events:
            if any(trigger == "load" for _, trigger in event["targets"]):
                self._run(event)

    def fire(self, name: str, trigger: str = "click") -> bool:
        """Fires a component's trigger and what follows it; False where nothing listens."""
        target = [self.ids.get(name), trigger]
        events = [event for event in self.events if target in event["targets"]]
        for event in events:
            self._run(event)
        return bool(events)

    def _run(self, event: Mapping[str, Any]) -> None:
        data = [self.values.get(number) for number in event["inputs"]]
        if event["inputs"] and any(trigger == "load" for _, trigger in event["targets"]):
            data[-1] = self.lang  # the page's script says it
        body = {"fn_index": event["id"], "data": data, "session_hash": self.session, "event_data": None}
        self._send("/gradio_api/queue/join", json.dumps(body).encode(), "application/json")
        line = self._connect()
        line.request("GET", f"/gradio_api/queue/data?session_hash={self.session}")
        chunk: list[Any] = []
        try:
            answer = line.getresponse()
            while text := answer.readline():
                if not text.startswith(b"data:"):
                    continue
                message = json.loads(text[5:])
                values = (message.get("output") or {}).get("data")
                if message["msg"] == "process_generating" and values:
                    chunk = (
                        [patched(old, new) for old, new in zip(chunk, values, strict=True)]
                        if chunk
                        else values
                    )
                    self._take(event, chunk)
                elif message["msg"] == "process_completed":
                    if not message["success"]:
                        raise Failure(f"{self.page}, {event['targets']}: {str(message['output'])[:200]}")
                    self._take(event, values or [])
                    break
                elif message["msg"] == "unexpected_error":
                    raise Failure(f"{self.page}, {event['targets']}: {str(message)[:200]}")
        finally:
            line.close()
        for following in self.events:
            if following.get("trigger_after") == event["id"]:
                self._run(following)

    def _take(self, event: Mapping[str, Any], values: list[Any]) -> None:
        for number, value in zip(event["outputs"], values, strict=False):
            if isinstance(value, dict) and value.get("__type__") == "update":
                if "value" in value:
                    self.values[number] = value["value"]
                if number in self.parts:
                    self.parts[number]["props"] |= {
                        key: one for key, one in value.items() if key != "__type__"
                    }
            else:
                self.values[number] = value
            if isinstance(self.values.get(number), str) and WRONG in self.values[number]:
                raise Failure(f"{self.page}, {event['targets']}: {self.values[number][:200]}")

    def file(self, data: bytes, name: str) -> dict[str, Any]:
        """An uploaded file as components hold it."""
        return {"path": self.upload(data, name), "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def patched(old: Any, edits: list[Any]) -> Any:
    """A value after the edits that Gradio sends in place of the whole."""
    holder = [old]
    for kind, path, value in edits:
        whole: Any = holder
        steps = [0, *path]
        for step in steps[:-1]:
            whole = whole[step]
        last = steps[-1]
        if kind == "append":
            whole[last] += value
        elif kind == "delete":
            del whole[last]
        elif kind == "add" and isinstance(whole, list):
            whole.insert(last, value)
        else:
            whole[last] = value
    return holder[0]


def photo(chance: random.Random, size: tuple[int, int] = LARGE) -> bytes:
    """A JPEG that nobody has sent before."""
    image = Image.open(chance.choice(sorted(EXAMPLES.glob("*.webp")))).convert("RGB").resize(size)
    image.putpixel((chance.randrange(size[0]), chance.randrange(size[1])), (chance.randrange(256), 0, 0))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


# --- what a visitor does -------------------------------------------------------------------------------------


def options(tab: Tab) -> Iterator[tuple[str, Any]]:
    """Every option of the question's menus that needs no download."""
    run = next((event for event in tab.events if [tab.ids.get("try-run"), "click"] in event["targets"]), None)
    for number in run["inputs"] if run else ():
        part = tab.parts.get(number, {})
        if part.get("type") in ("radio", "dropdown"):
            for _, value in part["props"].get("choices") or ():
                name = tab.names.get(number, "")
                if name != "checkpoint" or value.startswith("classroom-"):
                    yield name, value


def deeds(tab: Tab, chance: random.Random) -> Iterator[tuple[str, Any]]:
    """Everything that can be done on a page: a name, and a function that does it."""
    yield "open", tab.opened
    lessons = [name for name, _ in tab.triggers("click") if name.startswith("walk-")]
    pressed = dict.fromkeys(
        name
        for name, _ in tab.triggers("click")
        if name not in NOT_PRESSED and name not in lessons and not name.endswith("-stop")
    )
    for name in pressed:
        yield name, lambda name=name: tab.fire(name)
    for name, trigger in tab.triggers("select"):
        yield name, lambda name=name, trigger=trigger: tab.fire(name, trigger)
    for name in lessons:
        if name not in ("walk-run", "walk-next", "walk-stop", "walk-link"):
            yield name, lambda name=name: lesson(tab, name)
    for name, value in options(tab):

        def choose(name: str = name, value: Any = value) -> None:
            before = tab.values[tab.ids[name]]
            tab.set(name, value)
            tab.fire(name, "input") or tab.fire("try-run")
            tab.set(name, before)

        yield f"{name} = {value}", choose
    if "many-files" in tab.ids:
        yield "many files", lambda: many(tab, chance)
    if "image" in tab.ids:
        yield "large image", lambda: own_image(tab, chance)


def lesson(tab: Tab, name: str) -> None:
    """A lesson of the walkthrough to its end."""
    tab.fire(name)
    title = name.removeprefix("walk-")
    where = next(number for number, part in tab.parts.items() if part["props"].get("label") == "lesson")
    while str(tab.values[where]).startswith(f"{title}:"):
        tab.set("walk-guess", "0")
        tab.fire("walk-run")
        here = tab.values[where]
        tab.fire("walk-next")
        if tab.values[where] == here or str(tab.values[where]).endswith(":0"):
            break


def many(tab: Tab, chance: random.Random) -> None:
    """Several files at once."""
    tab.set("many-files", [tab.file(photo(chance, (640, 480)), f"{i}.jpg") for i in range(3)])
    tab.fire("many-run")


def own_image(tab: Tab, chance: random.Random) -> None:
    """A large image of the visitor's own."""
    tab.set("image", tab.file(photo(chance), "photo.jpg"))
    tab.fire("image", "upload")
    tab.fire("try-run")


def slugs() -> list[str]:
    """The addresses of all pages."""
    from demos import catalog

    return [row.slug for row in catalog.open_rows()]


def main() -> None:
    """Walks through the pages and prints the server's memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", choices=slugs(), help="one page, with a line for each thing that is done")
    parser.add_argument("--url", help="an app that is running; one is started without it")
    parser.add_argument("--pid", type=int, help="the process of that app")
    arguments = parser.parse_args()
    chance = random.Random(0)
    failures = []
    with app(arguments.url) as (url, started):
        pid = started or arguments.pid
        print(f"{'start':<28}{memory_mb(pid):8.0f} MB", flush=True)
        for slug in [arguments.page] if arguments.page else slugs():
            tab = Tab(url, slug)
            for name, do in deeds(tab, chance):
                began = time.monotonic()
                try:
                    do()
                except Mixup as failure:
                    failures.append(str(failure))
                if arguments.page:
                    seconds = time.monotonic() - began
                    print(f"  {name:<26}{memory_mb(pid):8.0f} MB {seconds:8.1f} s", flush=True)
            tab.close()
            print(f"{slug:<28}{memory_mb(pid):8.0f} MB", flush=True)
    for sentence in failures:
        print(sentence)
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(terminal.run(main))
