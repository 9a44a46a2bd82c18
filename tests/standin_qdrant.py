"""A stand-in for a Qdrant server on loopback: what `core.search.qdrant` asks of one, in the server's REST, over points in memory.

A request that the stand-in does not know, or a condition of a filter that it does not know, is an error of the server.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

VERSION = "1.20.0"
DONE = {"operation_id": 0, "status": "completed"}
Points = dict[str, dict[str, Any]]


class Server(ThreadingHTTPServer):
    """Collections by name, and the requests that came in."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.collections: dict[str, Points] = {}
        self.indexed: dict[str, set[str]] = {}
        self.requests: list[tuple[str, str, Any]] = []

    @property
    def url(self) -> str:
        """Its address, as `core.search.store.open_store` takes it."""
        return f"qdrant://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Finds the method of a path and sends what it returns."""
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or "{}")
        path = self.path.partition("?")[0]
        self.server.requests.append((self.command, path, body))
        status, content = 200, {"title": "stand-in", "version": VERSION}
        if path != "/":
            try:
                content = {"result": self.result(path, body), "status": "ok", "time": 0.0}
            except (KeyError, ValueError) as error:
                status, content = 400, {"status": {"error": f"{self.command} {path}: {error!r}"}, "time": 0.0}
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = answer

    def result(self, path: str, body: Any) -> Any:
        """The answer to a request."""
        if path == "/collections":
            return {"collections": [{"name": name} for name in self.server.collections]}
        match = re.fullmatch(r"/collections/([^/]+)(?:/(.+))?", path)
        if match is None:
            raise KeyError(path)
        name, rest = match.group(1), match.group(2) or ""
        if rest == "exists":
            return {"exists": name in self.server.collections}
        if (self.command, rest) == ("PUT", ""):
            self.server.collections[name], self.server.indexed[name] = {}, set()
            return True
        points = self.server.collections[name]
        if rest == "index":
            self.server.indexed[name].add(body["field_name"])
            return DONE
        verbs: dict[tuple[str, str], Callable[[Points, Any], Any]] = {
            ("PUT", "points"): upsert,
            ("POST", "points"): retrieve,
            ("POST", "points/query"): query,
            ("POST", "points/scroll"): scroll,
            ("POST", "points/count"): lambda points, body: {"count": len(chosen(points, body))},
            ("POST", "points/payload"): set_payload,
            ("POST", "points/delete"): delete,
        }
        return verbs[self.command, rest](points, body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def upsert(points: Points, body: Any) -> Any:
    """Points, whole; vectors are normalised and kept in half precision, as a cosine collection of float16 does."""
    for point in body["points"]:
        vectors = {name: np.array(values, float) for name, values in point["vector"].items()}
        unit = {
            name: (one / np.linalg.norm(one)).astype(np.float16).astype(float)
            for name, one in vectors.items()
        }
        points[point["id"]] = {"vector": unit, "payload": point["payload"]}
    return DONE


def retrieve(points: Points, body: Any) -> Any:
    """Points by their ids."""
    return [record(key, points[key], True) for key in body["ids"] if key in points]


def query(points: Points, body: Any) -> Any:
    """The nearest points, best first."""
    asked, using = np.array(body["query"]["nearest"]), body["using"]
    asked = asked / np.linalg.norm(asked)
    keys = [key for key in chosen(points, body) if using in points[key]["vector"]]
    scores = {key: float(points[key]["vector"][using] @ asked) for key in keys}
    best = sorted(keys, key=lambda key: -scores[key])[: body["limit"]]
    return {
        "points": [
            {**record(key, points[key], body["with_vector"]), "score": scores[key], "version": 0}
            for key in best
        ]
    }


def scroll(points: Points, body: Any) -> Any:
    """A page of points in the order of their ids, and where the next one begins."""
    keys = sorted(key for key in chosen(points, body) if key >= (body.get("offset") or ""))
    page, after = keys[: body["limit"]], keys[body["limit"] :]
    return {
        "points": [record(key, points[key], body["with_vector"]) for key in page],
        "next_page_offset": after[0] if after else None,
    }


def set_payload(points: Points, body: Any) -> Any:
    """Values of the payload of some points."""
    for key in chosen(points, body):
        points[key]["payload"].update(body["payload"])
    return DONE


def delete(points: Points, body: Any) -> Any:
    """Points by their ids or by a filter."""
    for key in body["points"] if "points" in body else chosen(points, body):
        points.pop(key, None)
    return DONE


def record(key: str, point: dict[str, Any], has_vector: bool) -> dict[str, Any]:
    """A point as the server sends it."""
    vectors = {name: one.tolist() for name, one in point["vector"].items()}
    return {"id": key, "payload": point["payload"], **({"vector": vectors} if has_vector else {})}


def chosen(points: Points, body: Any) -> list[str]:
    """The ids of the points that a filter lets pass."""
    must = (body.get("filter") or {}).get("must", [])
    return [key for key, point in points.items() if all(passes(point, one) for one in must)]


def passes(point: dict[str, Any], condition: Any) -> bool:
    """Whether a point meets a condition."""
    payload = point["payload"]
    match condition:
        case {"has_vector": name}:
            return name in point["vector"]
        case {"is_null": {"key": key}}:
            return key in payload and payload[key] is None
        case {"key": key, "match": {"value": value}}:
            return value in payload[key] if isinstance(payload.get(key), list) else payload.get(key) == value
        case {"key": key, "match": {"any": values}}:
            return payload.get(key) in values
        case {"key": key, "range": edges}:
            tests: dict[str, Callable[[float, float], bool]] = {
                "gte": lambda value, edge: value >= edge,
                "lte": lambda value, edge: value <= edge,
                "lt": lambda value, edge: value < edge,
            }
            return key in payload and all(
                tests[name](payload[key], edge) for name, edge in edges.items() if edge is not None
            )
    raise ValueError(condition)


@contextmanager
def running() -> Iterator[Server]:
    """A server, for as long as the context lasts."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
