"""Texts at the door: labels and sentences, cleaned, or refused in one sentence."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from core import inputs
from core.errors import Refusal


def test_labels_are_cut_at_the_commas_of_both_scripts() -> None:
    assert inputs.labels("a dog, a cat，红包、猫;b；c\nd\r\ne") == [
        "a dog",
        "a cat",
        "红包",
        "猫",
        "b",
        "c",
        "d",
        "e",
    ]
    assert inputs.labels(["red, white", " x "]) == ["red, white", "x"]
    assert inputs.labels(("a", "b")) == ["a", "b"]


def test_labels_are_cleaned() -> None:
    assert inputs.labels("  a \t dog ,,a dog,\u3000猫\u3000") == ["a dog", "猫"]
    assert inputs.labels(["b", "a", "b"]) == ["b", "a"]
    assert inputs.labels("e\u0301,\u00e9,e\u200d\u0301") == ["\u00e9"]
    assert inputs.labels(["do\x00g\x1b[31m", "c\u202eat\u2066", "b\u200bi\ufeffr\u00add", "x\ud800y"]) == [
        "dog[31m", "cat", "bird", "xy",
    ]  # fmt: skip
    assert inputs.labels(["two\nlines"]) == ["two lines"]
    assert inputs.labels("<b onclick=x>dog</b>,<script>") == ["<b onclick=x>dog</b>", "<script>"]


def refused_text(code: str, function: Callable[..., Any], value: Any, **params: Any) -> Refusal:
    """`function(value)` is refused with this code and these parameters."""
    with pytest.raises(Refusal) as caught:
        function(value)
    assert caught.value.code == code
    assert caught.value.params.items() >= params.items()
    return caught.value


def test_labels_that_are_refused() -> None:
    for nothing in (None, "", " , ，\n", [], ["", "\u200b"]):
        refused_text("no_labels", inputs.labels, nothing)
    thousand = [f"label {i}" for i in range(1000)]
    refused_text("too_many_labels", inputs.labels, thousand, count=1000, limit=100)
    refused_text("too_many_labels", inputs.labels, ",".join(thousand), count=1000, limit=100)
    assert inputs.labels(thousand, limit=1000) == thousand
    assert len(inputs.labels([f"l{i % 100}" for i in range(1000)])) == 100
    long = "dog " * 2500
    refusal = refused_text("label_too_long", inputs.labels, long, length=9999, limit=300)
    assert len(str(refusal)) < 160 and "dog dog" in str(refusal)
    refused_text("label_too_long", inputs.labels, ["ok", "x" * 301], length=301)
    assert inputs.labels(["x" * 300]) == ["x" * 300]
    for other in (5, {"a": 1}, [1, 2], ["a", None], b"bytes"):
        refused_text("labels_not_text", inputs.labels, other)


def test_a_flood_of_commas_is_refused_before_it_is_cut() -> None:
    start = time.process_time()
    refused_text("text_too_long", inputs.labels, "," * 20_000_000, length=20_000_000)
    assert time.process_time() - start < 0.2


def test_text() -> None:
    assert inputs.text("  how\nmany\u202e dogs? ") == "how many dogs?"
    assert inputs.text("一只狗，一只猫") == "一只狗，一只猫"
    for nothing in ("", " \n", "\u200b", None, 5):
        refused_text("no_text", inputs.text, nothing)
    refused_text("text_too_long", inputs.text, "x" * 301, text="x" * 40 + "…", length=301, limit=300)
    refused_text("text_too_long", inputs.text, " " * 10_000_000)
    with pytest.raises(Refusal) as caught:
        inputs.text("y" * 21, limit=20, what="label")
    assert caught.value.code == "label_too_long"
