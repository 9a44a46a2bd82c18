"""Values of named endpoints: right ones arrive as their types, wrong ones are a sentence that names the parameter."""

from __future__ import annotations

import base64
import inspect
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client

from core.errors import Refusal
from demos.app import endpoints as values
from demos.app import site
from tests.conftest import ROOT


def endpoint(
    image: gr.FileData,
    labels: list[str] | str,
    boxes: list[list[float]],
    count: int = 3,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """An endpoint."""
    return {"image": image, "labels": labels, "boxes": boxes, "count": count, "checkpoint": checkpoint}


def test_right_values_arrive_as_their_types() -> None:
    answer = values.checked(endpoint)({"path": "x"}, ["a"], [[1, 2.5]], 4, None)
    assert answer == {
        "image": {"path": "x"},
        "labels": ["a"],
        "boxes": [[1.0, 2.5]],
        "count": 4,
        "checkpoint": None,
    }
    assert values.checked(endpoint)(None, "a, b", [])["labels"] == "a, b"


@pytest.mark.parametrize(
    ("at", "wrong", "name"),
    [
        (1, 5, "labels"),
        (1, [1], "labels"),
        (1, {"a": 1}, "labels"),
        (2, [["x"]], "boxes"),
        (2, [[float("nan")]], "boxes"),
        (2, [[float("inf")]], "boxes"),
        (3, "many", "count"),
        (3, 1.5, "count"),
        (3, None, "count"),
        (4, {"x": 1}, "checkpoint"),
    ],
)
def test_wrong_ones_are_a_sentence(at: int, wrong: Any, name: str, caplog: pytest.LogCaptureFixture) -> None:
    arguments = [None, "a", [], 1, None]
    arguments[at] = wrong
    with caplog.at_level(logging.ERROR), pytest.raises(gr.Error) as caught:
        values.checked(endpoint)(*arguments)
    assert str(caught.value.message).startswith(f"The parameter {name} must be ")
    assert len(caught.value.message) < 250 and not caplog.records


def test_a_generator_stays_one_and_is_checked_before_it_starts() -> None:
    def steps(count: int) -> Iterator[int]:
        yield from range(count)

    wrapped = values.checked(steps)
    assert inspect.isgeneratorfunction(wrapped) and list(wrapped(2)) == [0, 1]
    with pytest.raises(gr.Error):
        next(wrapped("x"))


def test_every_named_endpoint_of_the_app_is_checked() -> None:
    demo = site.build()
    public = [event for event in demo.fns.values() if event.api_visibility == "public"]
    assert len(public) >= 2
    for event in public:
        assert event.fn.__wrapped__ and event.fn.__doc__ and event.api_name
        plain = [p for p in inspect.signature(event.fn).parameters.values() if "FileData" not in str(p)]
        assert len(values.adapters(event.fn)) == len(plain), event.api_name


# --- JSON texts ----------------------------------------------------------------------------------------------


def options(
    labels: list[str] | str,
    boxes: list[list[float]] | None = None,
    things: list[dict[str, Any]] | None = None,
    note: str = "",
) -> dict[str, Any]:
    """An endpoint without images."""
    return {"labels": labels, "boxes": boxes, "things": things, "note": note}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("labels", '["a cat", "a dog"]', ["a cat", "a dog"]),
        ("labels", ' ["红包", "a, b"] ', ["红包", "a, b"]),
        ("labels", "[]", []),
        ("labels", "[1, 2]", "[1, 2]"),
        ("labels", "[a cat, a dog", "[a cat, a dog"),
        ("labels", '{"a": 1}', '{"a": 1}'),
        ("labels", "[" * 9_999, "[" * 9_999),
        ("boxes", "[[0, 1, 2, 3.5]]", [[0.0, 1.0, 2.0, 3.5]]),
        ("boxes", "null", None),
        ("things", '[{"name": "dog"}]', [{"name": "dog"}]),
        ("note", '["a text that looks like a list"]', '["a text that looks like a list"]'),
    ],
)
def test_a_list_that_was_sent_as_its_text_is_read_as_the_list(name: str, text: str, value: Any) -> None:
    arguments = {"labels": "a", "boxes": None, "things": None, "note": "", name: text}
    if (name, text) == ("boxes", "null"):
        with pytest.raises(gr.Error, match="boxes"):
            values.checked(options)(*arguments.values())
        return
    assert values.checked(options)(*arguments.values())[name] == value


# --- calls by HTTP -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo() -> gr.Blocks:
    with gr.Blocks() as demo:
        gr.api(options, api_name="options")
        gr.Button().click(lambda: None, api_name="hidden", api_visibility="private")
    values.check_endpoints(demo)
    return demo


@pytest.mark.parametrize(
    ("path", "body", "arranged"),
    [
        ("call/options", {"data": ["a"]}, {"data": ["a", None, None, ""]}),
        ("call/options/", {"data": ["a", [[1]]]}, {"data": ["a", [[1]], None, ""]}),
        ("call/options", {"data": ["a", None, None, "b"]}, {"data": ["a", None, None, "b"]}),
        ("call/v2/options", {"labels": "a", "note": "b"}, {"labels": "a", "note": "b"}),
        ("queue/join", {"data": []}, {"data": []}),
        ("call/options/e51b/more", {"data": 1}, {"data": 1}),
    ],
)
def test_what_was_left_out_is_filled_in(demo: gr.Blocks, path: str, body: Any, arranged: Any) -> None:
    assert values.arranged(demo, f"/gradio_api/{path}", body) == arranged


@pytest.mark.parametrize(
    ("path", "body", "code", "word"),
    [
        ("call/options", {"data": []}, "missing_value", "labels"),
        ("call/options", {"data": [1, 2, 3, 4, 5]}, "too_many_values", "things"),
        ("call/options", {"labels": "a"}, "not_a_call", '"data"'),
        ("call/options", {"data": "a"}, "not_a_call", '"data"'),
        ("call/options", ["a"], "not_a_call", '"data"'),
        ("call/options", None, "not_a_call", '"data"'),
        ("call/v2/options", None, "not_a_call", '"labels"'),
        ("call/v2/options", {}, "missing_value", "labels"),
        ("call/v2/options", {"data": ["a"]}, "unknown_parameter", "note"),
        ("call/v2/options", {"labels": "a", "label": "b"}, "unknown_parameter", "label;"),
        ("call/nothing", {"data": []}, "unknown_endpoint", "nothing"),
        ("call/v2/nothing", {}, "unknown_endpoint", "nothing"),
        ("call/hidden", {"data": []}, "unknown_endpoint", "hidden"),
    ],
)
def test_a_call_that_cannot_be_made_is_a_sentence(
    demo: gr.Blocks, path: str, body: Any, code: str, word: str
) -> None:
    with pytest.raises(Refusal) as refusal:
        values.arranged(demo, f"/gradio_api/{path}", body)
    assert refusal.value.code == code and word in str(refusal.value)


# --- the running app -----------------------------------------------------------------------------------------

RAW = (ROOT / "assets" / "examples" / "clip" / "toys.webp").read_bytes()
URI = "data:image/webp;base64," + base64.b64encode(RAW).decode()
WRAPPED = "data:image/webp;base64,\n" + base64.encodebytes(RAW).decode()
META = {"_type": "gradio.FileData"}


def post(server: str, path: str, body: Any) -> str:
    """What a plain HTTP call answers: the last event's data, or the status and the body of a refusal."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{server}/gradio_api/call/{path}", data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            event = json.load(answer)["event_id"]
    except urllib.error.HTTPError as error:
        return f"{error.code} {json.load(error)['error']}"
    place = f"{server}/gradio_api/call/{path.removeprefix('v2/').rstrip('/')}/{event}"
    with urllib.request.urlopen(place, timeout=300) as answer:
        return answer.read().decode()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clip_classify", {"data": [{"path": URI}, "a cat, a dog"]}),
        ("clip_classify", {"data": [URI, ["a cat", "a dog"]]}),
        ("clip_classify", {"data": [{"path": WRAPPED}, "a cat, a dog", None, None]}),
        ("clip_classify", {"data": [{"path": URI, "meta": META}, '["a cat", "a dog"]']}),
        ("v2/clip_classify", {"image": {"path": URI, "meta": META}, "labels": "a cat, a dog"}),
        ("v2/clip_classify", {"image": {"path": URI, "url": None}, "labels": "a cat, a dog"}),
        ("v2/clip_classify", {"image": {"url": URI}, "labels": "a cat, a dog"}),
        ("v2/clip_classify/", {"labels": "a cat, a dog", "image": URI, "template": None}),
    ],
)
def test_every_form_of_a_call_is_answered(server: str, path: str, body: Any) -> None:
    answer = post(server, path, body)
    assert "event: complete" in answer, answer
    results = json.loads(answer.split("data: ", 1)[1])[0]["results"]
    assert sorted(row["label"] for row in results) == ["a cat", "a dog"]


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("v2/clip_classify", {"labels": "a cat"}, "422 clip_classify needs a value for its parameter image."),
        ("clip_classify", {"data": []}, "422 clip_classify needs a value for its parameter image."),
        ("clip_classify", b"{", "422 A call of clip_classify is a JSON object"),
        ("clip_classify", b"", "422 A call of clip_classify is a JSON object"),
        ("clip_nothing", {"data": []}, "404 There is no endpoint clip_nothing"),
        ("v2/clip_classify", {"image": URI, "label": "a"}, "422 clip_classify has no parameter label"),
        ("clip_classify", {"data": [None, "a cat"]}, "must be a file uploaded to this server"),
        ("clip_classify", {"data": [7, "a cat"]}, "must be a file uploaded to this server"),
        ("clip_classify", {"data": [{"path": "/etc/passwd", "meta": META}, "a"]}, "must be a file uploaded"),
        ("clip_classify", {"data": [{"path": "x", "meta": META}, "a"]}, "must be a file uploaded"),
        ("clip_classify", {"data": [{"meta": META}, "a"]}, "must be a file uploaded"),
        ("clip_classify", {"data": [{"path": ["x"], "meta": META}, "a"]}, "must be a file uploaded"),
        ("clip_classify", {"data": [{"path": URI[:-9] + "!"}, "a"]}, "data URI cannot be read"),
        (
            "clip_classify",
            {"data": [{"path": "https://example.org/a.png"}, "a"]},
            "400 Files are not fetched",
        ),
    ],
)
def test_every_other_call_says_why_not(server: str, path: str, body: Any, sentence: str) -> None:
    answer = post(server, path, body)
    assert sentence in answer and "null" not in answer


@pytest.mark.parametrize("endpoint", ["/clip_classify", "/vild_detect", "/lseg_segment"])
@pytest.mark.parametrize("address", ["https://example.org/a.png", "http://127.0.0.1:9/a.png"])
def test_a_client_reads_why_an_address_is_not_fetched(client: Client, endpoint: str, address: str) -> None:
    file = {"path": address, "url": address, "meta": META}
    with pytest.raises(Exception, match="upload the file or send it as a data URI"):
        client.predict(file, "a cat", api_name=endpoint)


def test_a_client_reads_what_is_too_large(client: Client) -> None:
    with pytest.raises(Exception, match="larger than the 8 MB"):
        client.predict("data:," + "x" * (9 << 20), "a cat", api_name="/clip_classify")
