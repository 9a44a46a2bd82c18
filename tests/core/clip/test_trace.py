"""The trace of a run: the lines are the source's, what ran did run, and shapes are those of the answer."""

from __future__ import annotations

import inspect
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from core.clip import ZeroShot, encoders, trace
from core.errors import Refusal
from demos.clip.words import data
from tests import tiny

ROOT = Path(__file__).resolve().parents[3]
LABELS = ["dog", "cat", "red envelope"]


def branches(value: int) -> str:
    """Which way a number goes."""
    answer = "?"
    if value > 2:
        answer = "large"
    if value < 2:
        answer = " ".join(
            [
                "a text that is long enough to be kept on a line of its own by the formatter",
                "whatever it wants",
            ]
        )
    pair = [value, value]
    return answer[-5:] + str(len(pair))


def test_only_lines_that_ran_are_marked() -> None:
    with trace.recording({"own": branches}) as found:
        assert branches(1) == "wants2"
        branches(3)  # only the first call counts
    lines = {line.code.strip(): line for line in trace._function_run(branches, found["own"]).lines}
    assert not lines['answer = "large"'].ran
    # A statement over several lines ran as a whole.
    assert (
        lines['answer = " ".join('].ran and next(one for code, one in lines.items() if "own by" in code).ran
    )
    assert lines["return answer[-5:] + str(len(pair))"].ran
    assert '"""Which way a number goes."""' not in lines
    made = dict(pair for line in lines.values() for pair in line.made)
    assert made["pair"] == "2 items" and made["return"] == "“wants2”" and made["answer"].startswith("“a text")


def test_lines_are_those_of_the_file() -> None:
    run = trace.classify(ZeroShot.load("classroom-rn", "cpu"), tiny.noise(60, 40), LABELS, "seven")
    assert list(run.functions) == [step["role"] for step in data()["pseudocode"]]
    for one in run.functions.values():
        source = (ROOT / one.file).read_text(encoding="utf-8").splitlines()
        for line in one.lines:
            assert source[line.number - 1].strip() == line.code.strip()
        assert sum(line.ran for line in one.lines) >= 2


def test_shapes_are_those_of_the_answer_also_when_everything_is_remembered() -> None:
    model = ZeroShot.load("classroom-rn", "cpu")
    answer = model.classify(tiny.noise(60, 40), LABELS, "seven")
    run = trace.classify(model, tiny.noise(60, 40), LABELS, "seven")
    np.testing.assert_array_equal(run.answer.probabilities, answer.probabilities)
    made = {
        role: {name: value for line in one.lines for name, value in line.made}
        for role, one in run.functions.items()
    }
    count, width = answer.text_features.shape
    templates = len(answer.templates)
    assert made["image_features"]["image_features"] == f"[{width}]"
    assert made["text"]["return"] == f"[{templates * count}, {width}]"
    assert made["ensemble"]["return"] == f"[{count}, {width}]"
    assert made["classify"]["per_template"] == f"[{templates}, {count}, {width}]"
    assert made["classify"]["logits"].startswith(f"[{count}] = ")
    assert made["normalise"]["return"] == trace.describe(answer.probabilities)
    functions = run.to_json()["functions"]
    assert functions[0]["file"] == "core/clip/towers.py" and functions[0]["lines"][0]["number"] > 1


def test_every_step_of_the_paper_finds_its_line() -> None:
    """The marks of the page's table are in the source of what they stand for: a renamed variable breaks this."""
    run = trace.classify(ZeroShot.load("classroom-rn", "cpu"), tiny.noise(60, 40), LABELS)
    for step in data()["pseudocode"]:
        one = run.functions[step["role"]]
        assert any(mark in line.code for line in one.lines for mark in step["marks"] if line.ran), step[
            "role"
        ]


def test_the_trace_ends_with_its_run_and_stays_in_its_thread() -> None:
    elsewhere: list[object] = []
    before, threading_trace = sys.gettrace(), threading.gettrace()
    with trace.recording({"own": branches}):
        thread = threading.Thread(target=lambda: elsewhere.append(sys.gettrace()))
        thread.start()
        thread.join()
        assert sys.gettrace() is not None
    assert sys.gettrace() is before and elsewhere == [threading_trace]
    with pytest.raises(ValueError), trace.recording({"own": branches}):
        raise ValueError
    assert sys.gettrace() is before


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (torch.zeros(2, 3), "[2, 3]"),
        (np.array([1.0, 0.25]), "[2] = 1, 0.25"),
        (torch.tensor(0.5), "0.5"),
        (np.zeros(7), "[7]"),
        ("a photo of a very long story indeed", "“a photo of a very long stor…”"),
        ([torch.zeros(2)] * 3, "3 × [2] = 0, 0"),
        ((np.zeros(9), np.zeros((2, 2))), "[9], [2, 2]"),
        (12.34567, "12.35"),
        (True, ""),
        (None, ""),
        (object(), ""),
        ([], ""),
    ],
)
def test_what_values_look_like(value: object, shown: str) -> None:
    assert trace.describe(value) == shown


def test_too_many_labels() -> None:
    with pytest.raises(Refusal) as refusal:
        trace.classify(ZeroShot.load("classroom-rn", "cpu"), tiny.noise(60, 40), [str(i) for i in range(101)])
    assert refusal.value.code == "too_many_labels"


def test_decorated_functions_are_read_behind_their_decorator() -> None:
    method = encoders.DualEncoder.encode_patches
    assert inspect.unwrap(method) is not method
    run = trace._function_run(method, {})
    assert run.name == "DualEncoder.encode_patches" and run.lines[0].code.strip().startswith(
        "def encode_patches"
    )
