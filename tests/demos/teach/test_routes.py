"""The addresses of a class without a server around them: who may do what, what is refused, what a screen is sent."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from core.errors import Refusal
from demos.kit.network import Flow
from demos.teach import plans, routes
from demos.teach.plans import Reply
from demos.teach.rooms import Rooms

BASE = "http://teacher.test/hub/"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The addresses with classes of this test alone; pages answer at once."""
    monkeypatch.setattr(routes, "ROOMS", Rooms())
    monkeypatch.setattr(routes, "GUESSES", Flow(rate=0.5, burst=5))
    monkeypatch.setattr(routes, "PARTS", routes.Parts())
    monkeypatch.setattr(plans, "reply", lambda step, lang: Reply(step.answer, plans.Markup(f"<p>{lang}</p>")))
    app: Any = Starlette(routes=list(routes.ROUTES))
    app.get_blocks = lambda: SimpleNamespace(server_name="0.0.0.0")
    with TestClient(app) as opened:
        yield opened


def post(client: TestClient, path: str, **values: Any) -> Any:
    return client.post(f"/class/{path}", json=values)


def begun(client: TestClient, **values: Any) -> dict[str, Any]:
    """A new class, at its first step."""
    room: dict[str, Any] = post(client, "start", **{"plan": "minutes", "base": BASE, **values}).json()
    assert lead(client, room, "move", at=0).status_code == 200
    return room


def lead(client: TestClient, room: dict[str, Any], do: str, **more: Any) -> Any:
    return post(client, "lead", code=room["code"], key=room["key"], do=do, **more)


def watched(client: TestClient, **who: str) -> Any:
    return client.get("/class/state", params=who)


def test_a_class_from_start_to_end(client: TestClient) -> None:
    room = begun(client)
    assert room["address"] == f"{BASE}class?code={room['code']}" and room["qr"].startswith("<svg")
    pupil = post(client, "join", code=room["code"].lower()).json()
    sent = post(client, "vote", **pupil, at=0, choice=2).json()
    assert sent["mine"] == 2 and "before" not in sent and "notes" not in sent
    seen = watched(client, code=room["code"], word=room["word"]).json()
    assert seen["before"][2] == 1 and seen["voted"] == seen["pupils"] == 1 and seen["after"] is None
    assert seen["notes"]["zh"]["say"]
    answer = client.get("/class/answer", params={**pupil, "at": 0, "lang": "zh"})
    assert answer.status_code == 409 and answer.json()["code"] == "not_revealed"
    lead(client, room, "again")
    post(client, "vote", **pupil, at=0, choice=4)
    shown = lead(client, room, "run").json()
    assert shown["phase"] == "answer" and shown["answer"] == {"en": 4, "zh": 4}
    assert (shown["before"][2], shown["after"][4]) == (1, 1)
    assert client.get("/class/answer", params={**pupil, "at": 0, "lang": "zh"}).text == "<p>zh</p>"
    table = post(client, "export", code=room["code"], key=room["key"], lang="zh")
    lines = table.content.decode("utf-8-sig").splitlines()
    assert lines[0] == "步骤,页面,问题,选项,讨论前,讨论后"
    assert lines[3].startswith("1,CLIP,") and lines[3].endswith(",1,0") and lines[5].endswith(",0,1")
    assert lines[-1].endswith(",0,")  # nobody was asked twice there
    assert lead(client, room, "end").json()["over"]
    assert watched(client, **pupil).status_code == 404


def test_a_pupil_cannot_act_as_the_teacher(client: TestClient) -> None:
    room = begun(client)
    pupil = post(client, "join", code=room["code"]).json()
    for key in ("", pupil["pupil"], room["word"], room["code"]):
        for do in ("move", "again", "run", "close", "open", "end"):
            refused = post(client, "lead", code=room["code"], key=key, do=do, at=1)
            assert refused.status_code == 403 and refused.json()["code"] == "not_the_teacher"
        assert post(client, "export", code=room["code"], key=key).status_code == 403
    for word in (pupil["pupil"], room["key"]):
        assert watched(client, code=room["code"], word=word).status_code == 403
    # What a pupil is told holds neither secret, nor the others' votes.
    told = watched(client, **pupil).text
    assert room["key"] not in told and room["word"] not in told and '"before"' not in told


def test_a_class_knows_its_own_pupils_alone(client: TestClient) -> None:
    one, two = begun(client), begun(client)
    pupil = post(client, "join", code=one["code"]).json()
    stranger = {"code": two["code"], "pupil": pupil["pupil"]}
    assert post(client, "vote", **stranger, at=0, choice=0).json()["code"] == "not_joined"
    assert watched(client, **stranger).status_code == 403
    assert post(client, "lead", code=two["code"], key=one["key"], do="end").status_code == 403


def test_codes_cannot_be_tried_one_by_one(client: TestClient) -> None:
    room = begun(client)
    tried = [post(client, "join", code=f"22222{i}").status_code for i in range(8)]
    assert tried == [404] * 5 + [429] * 3
    # From then on a right code tells nothing either, for a while; no other address is to blame.
    assert post(client, "join", code=room["code"]).status_code == 429
    assert "2 s" in post(client, "join", code=room["code"]).json()["error"]


@pytest.mark.parametrize(
    ("host", "server", "address", "reached"),
    [
        ("http://localhost:7860/", "0.0.0.0", "http://10.1.2.3:7860/", True),
        ("http://127.0.0.1:7860/hub/", "0.0.0.0", "http://10.1.2.3:7860/hub/", True),
        ("http://localhost:7860/", "127.0.0.1", "http://localhost:7860/", False),
        ("https://school.test/hub/", "127.0.0.1", "https://school.test/hub/", True),
    ],
)
def test_the_address_is_one_that_pupils_can_open(
    host: str, server: str, address: str, reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "own_address", lambda: "10.1.2.3")
    assert routes.reachable(host, server) == (address, reached)


@pytest.mark.parametrize("base", ["", "javascript:alert(1)", "ftp://x/", "class"])
def test_what_is_no_address_is_refused(client: TestClient, base: str) -> None:
    assert post(client, "start", plan="minutes", base=base).json()["code"] == "bad_request"


def test_several_processes_are_refused_with_a_reason(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIP_ATLAS_REPLICAS", "3")
    answer = post(client, "start", plan="minutes", base=BASE)
    assert answer.status_code == 409 and "memory of one" in answer.json()["error"]
    chinese = client.post("/class/start?lang=zh", json={"plan": "minutes", "base": BASE})
    assert "一个进程" in chinese.json()["error"]
    monkeypatch.setenv("CLIP_ATLAS_REPLICAS", "1")
    assert begun(client)["mark"] == client.get("/class/server").json()["mark"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null"])
def test_what_is_no_request_is_one_sentence(client: TestClient, body: bytes) -> None:
    for path in routes.POSTS:
        answer = client.post(f"/class/{path}", content=body)
        assert answer.status_code == 409 and answer.json()["code"] == "bad_request"


def test_what_is_typed_is_never_shown_as_html(client: TestClient) -> None:
    answer = post(client, "join", code="<img src=x>")
    assert answer.headers["content-type"] == "application/json" and "<" not in answer.json()["error"]
    assert client.get("/class/card", params={"plan": "<b>", "at": 0}).json()["code"] == "unknown_plan"
    assert client.get("/class/card", params={"plan": "minutes", "at": 99}).json()["code"] == "no_such_step"
    assert client.get("/class/card", params={"plan": "minutes", "at": "x"}).json()["code"] == "bad_request"


def test_a_refusal_of_the_model_reaches_the_teacher(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(step: Any, lang: str) -> Reply:
        raise Refusal("out_of_memory", model="CLIP")

    monkeypatch.setattr(plans, "reply", refuse)
    room = begun(client)
    assert lead(client, room, "run").json()["code"] == "out_of_memory"
    monkeypatch.setattr(plans, "reply", lambda step, lang: Reply(0, plans.Markup("")))
    assert lead(client, room, "run").json()["phase"] == "answer"


def test_the_pages_of_a_class_hold_no_secret(client: TestClient) -> None:
    begun(client)
    for path in ("/class", "/lectern", "/worksheet?plan=minutes"):
        page = client.get(path)
        assert page.status_code == 200 and page.text.startswith("<!doctype html>")
        assert all(room.key not in page.text for room in routes.ROOMS._rooms.values())
    assert client.get("/worksheet?plan=none").status_code == 404
    steps = client.get("/class/plan?plan=minutes").json()
    assert len(steps) == 5 and steps[0]["address"]["zh"] == "clip?step=envelope%3A0"


def run_apart(coroutine: Any) -> Any:
    """Runs a coroutine in a thread of its own: the loop of a browser that another test has opened may run in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def test_a_stream_says_the_whole_state_and_ends_with_the_class() -> None:
    async def follow() -> tuple[list[Any], list[int], Rooms]:
        classes = Rooms()
        room = classes.open("minutes", [6, 2, 3, 2, 2])
        pupil = room.join()
        view = routes.views.pupil_view
        events = routes.stream(room, lambda: view(room, pupil), is_teacher=False)
        seen, connected = [], []
        async for event in events:
            if event.startswith("data:"):
                seen.append(json.loads(re.sub("^data: ", "", event)))
                connected.append(room.connected)
                match len(seen):
                    case 1:
                        room.move(1)
                    case 2:
                        room.vote(pupil, 1, 0)
                        room.reveal({})
                    case 3:
                        classes.end(room)
        connected.append(room.connected)
        return seen, connected, classes

    seen, connected, classes = run_apart(follow())
    assert [view["at"] for view in seen] == [-1, 1, 1, 1] and seen[-1]["over"] and len(classes) == 0
    assert seen[2]["phase"] == "answer" and seen[2]["mine"] == 0
    assert connected == [1, 1, 1, 1, 0]


def test_a_lost_connection_comes_back_into_the_step() -> None:
    async def lose() -> tuple[dict[str, Any], int]:
        room = Rooms().open("minutes", [6, 2, 3, 2, 2])
        pupil = room.join()
        first = routes.stream(room, lambda: routes.views.pupil_view(room, pupil), is_teacher=False)
        await anext(first), await anext(first)
        await first.aclose()
        gone = room.connected
        room.move(2)
        room.vote(pupil, 2, 1)
        second = routes.stream(room, lambda: routes.views.pupil_view(room, pupil), is_teacher=False)
        await anext(second)
        state = json.loads((await anext(second)).removeprefix("data: "))
        await second.aclose()
        return state, gone

    state, gone = run_apart(lose())
    assert gone == 0 and state["at"] == 2 and state["mine"] == 1
