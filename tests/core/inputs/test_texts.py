"""Texts at the door: labels and sentences, cleaned, or refused in one sentence."""

from __future__ import annotations

import json
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
    assert inputs.labels(["red, white", " x "]) == ["red, white", " x "]
    assert inputs.labels(("a", "b")) == ["a", "b"]


def test_labels_of_one_text_come_back_without_what_is_not_seen() -> None:
    assert inputs.labels("  a \t dog ,,a dog,\u3000猫\u3000") == ["a dog", "猫"]
    assert inputs.labels("do\x00g\x1b[31m,c\u202eat\u2066,b\u200bi\ufeffr\u00add,x\ud800y") == [
        "dog[31m", "cat", "bird", "xy",
    ]  # fmt: skip
    assert inputs.labels("<b onclick=x>dog</b>,<script>") == ["<b onclick=x>dog</b>", "<script>"]


SPELLINGS = [
    "\U0001f469\u200d\U0001f692",  # joined emoji
    "e\u0301tude",  # a decomposed accent, as file names of macOS have it
    "می\u200cخواهم",  # a joiner of Persian
    "क्\u200dष",  # a joiner of Hindi
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # a flag's tags
    "\u2764\ufe0f",  # a variation selector
    " a  dog ",
    "a dog\u00a0",
    "Ａ ＤＯＧ",
    "a\u00addog",
    "\u200ea dog\u200f",
    "two\nlines",
    "red, white; blue",
    "<b>a dog</b> & co",
    "a dog.",
]


def test_labels_of_a_list_come_back_as_they_were_sent() -> None:
    assert inputs.labels(SPELLINGS) == SPELLINGS
    assert inputs.labels(["b", "a", "b"]) == ["b", "a"]
    assert inputs.labels(json.dumps(SPELLINGS)) == SPELLINGS
    assert inputs.labels(["x\ud800y"]) == ["xy"], "half a character can be in no answer"


def test_a_spelling_of_one_text_keeps_its_letters_and_joiners() -> None:
    for spelling in SPELLINGS[:6]:
        assert inputs.labels(f" {spelling} , b") == [spelling, "b"]


def test_json_text_of_a_list_is_read_as_the_list() -> None:
    assert inputs.labels('["a cat", "a dog"]') == ["a cat", "a dog"]
    assert inputs.labels(' [ "a, b" ,\n"c" ] ') == ["a, b", "c"]
    assert inputs.labels('["\\u732b", "狗"]') == ["猫", "狗"]
    for other in ("[a cat, a dog]", '["a cat", 1]', '["a cat"', '{"a": 1}', "[[1], 2]"):
        assert inputs.labels(other) == [piece.strip() for piece in other.split(",")]
    refused_text("no_labels", inputs.labels, "[]")
    refused_text("no_labels", inputs.labels, '["", " "]')
    refused_text("too_many_labels", inputs.labels, json.dumps([str(i) for i in range(101)]), count=101)


def test_what_is_read_of_a_text() -> None:
    assert inputs.clean("e\u0301") == inputs.clean("\u00e9") == "\u00e9"
    assert inputs.clean("do\x00g \x1b[31m\n c\u202eat\u2066") == "dog [31m cat"
    assert inputs.clean(SPELLINGS[0]) == SPELLINGS[0] and inputs.clean(SPELLINGS[2]) == SPELLINGS[2]


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
    start = time.thread_time()
    refused_text("text_too_long", inputs.labels, "," * 20_000_000, length=20_000_000)
    assert time.thread_time() - start < 0.2


def test_text() -> None:
    assert inputs.text("  how\nmany\u202e dogs? ") == "how many dogs?"
    assert inputs.text("一只狗，一只猫") == "一只狗，一只猫"
    for nothing in ("", " \n", "\u200b", None, 5):
        refused_text("no_text", inputs.text, nothing)
    refused_text("text_too_long", inputs.text, "x" * 301, text="x" * 40 + "…", length=301, limit=300)
    refused_text("text_too_long", inputs.text, " " * 10_000_000, length=10_000_000, limit=300)
    with pytest.raises(Refusal) as caught:
        inputs.text("y" * 21, limit=20, what="label")
    assert caught.value.code == "label_too_long"
