"""The lines of this package that one answer runs through, read from their source, each with the shapes that it made.

Nothing is told about the code here: the source comes from `inspect`, what ran and what it made from Python's own trace of
the run, so that a page cannot show anything but what happened.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Number
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image

from core import inputs
from core.clip import encoders, prompts, zero_shot
from core.clip.labels import read
from core.clip.zero_shot import Classification, ZeroShot

ROOT = Path(__file__).resolve().parents[2]
MAX_LABELS = 100
MAX_TEXT = 28  # characters of a string that is shown
MAX_NUMBERS = 6  # entries of a vector that is shown


@dataclass(frozen=True)
class SourceLine:
    """One line of source and what it left in its function's variables when it ran."""

    number: int
    code: str
    ran: bool
    made: tuple[tuple[str, str], ...]  # (variable, shape or value); "return" for what was handed back


@dataclass(frozen=True)
class FunctionRun:
    """One function, without its docstring."""

    name: str
    file: str  # below the repository's root
    lines: tuple[SourceLine, ...]


@dataclass(frozen=True)
class Run:
    """Functions by role ("image", "image_features", "text", "text_features", "ensemble", "classify", "normalise")."""

    functions: Mapping[str, FunctionRun]
    answer: Classification
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "checkpoint": self.answer.checkpoint,
            "seconds": round(self.seconds, 4),
            "functions": [
                {
                    "role": role,
                    "name": one.name,
                    "file": one.file,
                    "lines": [
                        {"number": line.number, "code": line.code, "ran": line.ran, "made": dict(line.made)}
                        for line in one.lines
                    ],
                }
                for role, one in self.functions.items()
            ],
        }


def classify(
    model: ZeroShot,
    image: Image.Image,
    labels: str | Sequence[str],
    templates: str | Sequence[str] | None = None,
) -> Run:
    """One classification with every line recorded; what caches hold is computed again.

    Raises:
        Refusal: what `ZeroShot.classify` refuses, "too_many_labels" past 100.
    """
    start = time.perf_counter()
    labels = inputs.labels(labels, limit=MAX_LABELS)
    texts = read(model.tokenize, labels).texts
    filled = [prompts.fill(one, text) for one in prompts.resolve(templates) for text in texts]
    with encoders.use(model.checkpoint, model.device, model.dtype) as encoder:
        functions: dict[str, Callable[..., Any]] = {
            "image": type(encoder.vision).__call__,
            "image_features": encoders.DualEncoder.encode_patches,
            "text": type(encoder.text).__call__,
            "text_features": encoders.DualEncoder.encode_ids,
            "ensemble": prompts.ensemble,
            "classify": ZeroShot.classify,
            "normalise": zero_shot.normalise,
        }
        with recording(functions) as seen:
            # Both halves of the encoder as `classify` calls them; it finds their results remembered.
            encoder.encode_patches(image)
            encoder.encode_text(filled)
            answer = model.classify(image, labels, templates)
    runs = {role: _function_run(function, seen[role]) for role, function in functions.items()}
    return Run(runs, answer, time.perf_counter() - start)


Seen = dict[int, dict[str, str]]  # line number -> what it made


@contextmanager
def recording(functions: Mapping[str, Callable[..., Any]]) -> Iterator[dict[str, Seen]]:
    """Records the first call of each function in this thread while the context lasts; other threads run untouched."""
    roles: dict[CodeType, str] = {inspect.unwrap(one).__code__: role for role, one in functions.items()}
    found: dict[str, Seen] = {role: {} for role in functions}
    watched: dict[FrameType, _Watch] = {}

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        role = roles.get(frame.f_code)
        if event != "call" or role is None or found[role]:
            return None
        watched[frame] = _Watch(found[role], frame)
        found[role][frame.f_lineno] = {}
        return step

    def step(frame: FrameType, event: str, argument: Any) -> Any:
        watched[frame].step(frame, event, argument)
        if event == "return":
            del watched[frame]
        return step

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield found
    finally:
        sys.settrace(before)


class _Watch:
    """One call of one function: after each line, which variables hold something new."""

    def __init__(self, seen: Seen, frame: FrameType) -> None:
        self.seen = seen
        self.line = frame.f_lineno
        self.known = {name: id(value) for name, value in frame.f_locals.items()}
        # Objects that are shown stay alive meanwhile: an id is never used twice.
        self.kept: list[Any] = list(frame.f_locals.values())

    def step(self, frame: FrameType, event: str, argument: Any) -> None:
        made = self.seen.setdefault(self.line, {})
        for name, value in frame.f_locals.items():
            if self.known.get(name) != id(value):
                self.known[name] = id(value)
                self.kept.append(value)
                if shown := describe(value):
                    made[name] = shown
        if event == "return" and argument is not None and (shown := describe(argument)):
            made["return"] = shown
        self.line = frame.f_lineno
        if event == "line":
            self.seen.setdefault(self.line, {})


def describe(value: Any) -> str:
    """The shape of an array, a plain value, the length of a list; nothing for anything else."""
    if isinstance(value, torch.Tensor | np.ndarray):
        if not value.ndim:
            return f"{float(value):.4g}"
        shape = str(list(value.shape))
        few = value.ndim == 1 and 1 < value.shape[0] <= MAX_NUMBERS
        return f"{shape} = {', '.join(f'{one:.3g}' for one in value.tolist())}" if few else shape
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, str):
        return f"“{value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + '…'}”"
    if isinstance(value, Number) and not isinstance(value, complex):
        return f"{value:.4g}"
    if isinstance(value, list | tuple) and value:
        parts = {describe(part) for part in value}
        if isinstance(value, tuple) and len(value) <= 3 and all(describe(part) for part in value):
            return ", ".join(describe(part) for part in value)
        kind = parts.pop() if len(parts) == 1 else ""
        return f"{len(value)} × {kind}" if kind.startswith("[") else f"{len(value)} items"
    return ""


def _function_run(function: Callable[..., Any], seen: Seen) -> FunctionRun:
    function = inspect.unwrap(function)
    text, first = inspect.getsourcelines(function)
    body = ast.parse(textwrap.dedent("".join(text))).body[0]
    assert isinstance(body, ast.FunctionDef)
    hidden: set[int] = set()
    opening = body.body[0]
    if isinstance(opening, ast.Expr) and isinstance(opening.value, ast.Constant):
        hidden = set(range(opening.lineno, (opening.end_lineno or opening.lineno) + 1))
    spans = _spans(body)
    rows = []
    for at, code in enumerate(textwrap.dedent("".join(text)).splitlines(), start=1):
        if at in hidden or code.lstrip().startswith("@"):
            continue
        number = first + at - 1
        # Python names the line where a step begins; a statement that goes on below ran with it.
        begun = {one for one in range(*spans.get(at, (at, at + 1))) if first + one - 1 in seen}
        # A decorated function begins, for Python, at its decorator.
        head = body.lineno <= at < opening.lineno
        ran = bool(seen if head else begun) and bool(code.strip())
        rows.append(SourceLine(number, code, ran, tuple(seen.get(number, {}).items())))
    file = Path(inspect.getsourcefile(function) or "").resolve()
    name = function.__qualname__
    return FunctionRun(name, file.relative_to(ROOT).as_posix(), tuple(rows))


def _spans(function: ast.FunctionDef) -> dict[int, tuple[int, int]]:
    """For each line of a simple statement, where that statement begins and ends; both count from 1."""
    spans: dict[int, tuple[int, int]] = {}
    for node in ast.walk(function):
        if not isinstance(node, ast.stmt):
            continue
        inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
        last = (min(child.lineno for child in inner) - 1) if inner else (node.end_lineno or node.lineno)
        for line in range(node.lineno, last + 1):
            # Inner statements come later in the walk and know better.
            spans[line] = (node.lineno, last + 1)
    return spans
