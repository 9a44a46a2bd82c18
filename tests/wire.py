"""A tab without a browser: the requests that Gradio's own front end makes, one by one."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import get

PATIENCE = 600  # seconds; a machine may be busy with other things


def connect(server: str) -> http.client.HTTPConnection:
    """A connection that waits as long as a busy machine needs."""
    place = urlsplit(server)
    return http.client.HTTPConnection(str(place.hostname), place.port, timeout=PATIENCE)


def post(server: str, path: str, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
    """Status and JSON of a POST."""
    connection = connect(server)
    connection.request("POST", path, body, {"content-type": kind})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text.startswith((b"{", b"[")) else text.decode()


def upload(server: str, name: str, data: bytes) -> str:
    """Uploads one file as a browser does; returns its path on the server."""
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{edge}--\r\n".encode()
    status, answer = post(server, "/gradio_api/upload", body, f"multipart/form-data; boundary={edge}")
    assert status == 200, answer
    return answer[0]


class Tab:
    """One open page: its session, its components by `elem_id`, and its events."""

    def __init__(self, server: str, page: str = "clip") -> None:
        self.server = server
        self.session = uuid.uuid4().hex[:10]
        config = json.loads(get(f"{server}/config?page={page}")[1])
        self.parts: dict[int, dict[str, Any]] = {part["id"]: part for part in config["components"]}
        self.ids = {
            part["props"].get("elem_id"): number
            for number, part in self.parts.items()
            if part["props"].get("elem_id")
        }
        self.events: list[dict[str, Any]] = config["dependencies"]

    def event(self, elem_id: str, trigger: str) -> dict[str, Any]:
        """The event that a component's trigger starts on the server."""
        target = [self.ids[elem_id], trigger]
        return next(row for row in self.events if target in row["targets"] and row["backend_fn"])

    def join(self, event: Mapping[str, Any], values: Mapping[Any, Any]) -> tuple[int, Any]:
        """Starts an event with values by `elem_id` or number; every other input is as the page opened with it."""
        given = {self.ids.get(name, name): value for name, value in values.items()}
        data = [given.get(n, self.parts[n]["props"].get("value")) for n in event["inputs"]]
        body = json.dumps(
            {"fn_index": event["id"], "data": data, "session_hash": self.session, "event_data": None}
        )
        return post(self.server, "/gradio_api/queue/join", body.encode())

    @contextmanager
    def stream(self) -> Iterator[Iterator[dict[str, Any]]]:
        """The session's messages as they come; leaving the context closes the connection, as a closed tab does."""
        connection = connect(self.server)
        connection.request("GET", f"/gradio_api/queue/data?session_hash={self.session}")
        answer = connection.getresponse()

        def messages() -> Iterator[dict[str, Any]]:
            while line := answer.readline():
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

        try:
            yield messages()
        finally:
            answer.close()
            connection.close()

    def run(self, elem_id: str, trigger: str, **values: Any) -> str:
        """Runs one event to its end; everything that it showed, as text."""
        status, answer = self.join(self.event(elem_id, trigger), values)
        assert status == 200, answer
        shown = []
        with self.stream() as messages:
            for message in messages:
                shown.append(json.dumps(message.get("output", ""), ensure_ascii=False))
                if message["msg"] == "process_completed":
                    break
        return "\n".join(shown)
