"""Values of named endpoints: right ones arrive as their types, wrong ones are a sentence that names the parameter."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from demos.app import endpoints as values
from demos.app import site


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
