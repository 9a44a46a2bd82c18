"""Known answers: does a row say what its weights are published to say?

`known_answers.toml` holds the published inputs and values. `check` runs a row through the code of its pages and compares; each
answer gets a verdict. Verdicts are remembered beside the record of checked files, for as long as the row's files stay the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core import checkpoints
from core.checkpoints import integrity, known_inputs, registry
from core.checkpoints.known_inputs import Input
from core.checkpoints.registry import Both, Checkpoint
from core.errors import Refusal

if TYPE_CHECKING:
    from core.checkpoints.transfer import Progress
    from core.runtime import Cancel

BUILT_IN = Path(__file__).with_name("known_answers.toml")
QUOTED = 5  # values of an answer in a line
OVERLAP = 0.5  # IoU from which a box of an answer is the published one
# Refusals that say that the bytes are not the published ones; every other one says that the row could not be asked.
WRONG_BYTES = {
    "bad_checkpoint",
    "bundle_damaged",
    "cache_damaged",
    "corrupt_weights",
    "unsafe_weights",
    "wrong_digest",
}

State = Literal["as published", "differs", "no known answer", "not reachable"]
COMPARED: tuple[State, ...] = ("as published", "differs")
TITLES: dict[State, dict[str, str]] = {
    "as published": {"en": "as published", "zh": "与公布的一致"},
    "differs": {"en": "differs", "zh": "不一致"},
    "no known answer": {"en": "no known answer", "zh": "没有已知答案"},
    "not reachable": {"en": "not reachable", "zh": "无法获取"},
}
OTHERS: Both = {"en": "no published answer was found", "zh": "没有找到已公布的答案"}
MINIATURE: Both = {
    "en": "trained here: its digests are the check",
    "zh": "由本仓库训练：以摘要核对",
}


@dataclass(frozen=True)
class Answer:
    """One published answer of a row."""

    row: str
    input: str
    texts: tuple[str, ...]
    probe: str  # "module:function" of (row, images, texts, device) -> values like `want`
    kind: str  # a table of [kinds]
    want: tuple[Any, ...]
    by: str  # "authors", "port" or "run"
    source: str
    tolerance: float = 0.0
    relative: float = 0.0  # a share of the published value, added to the tolerance
    pixels: float = 0.0  # tolerance of the corners of boxes
    note: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)  # in place of the row's own


@dataclass(frozen=True)
class Verdict:
    """What came of one answer of a row, or of a row without any."""

    row: str
    verdict: State
    kind: str = ""
    input: str = ""
    value: Any = None
    published: Any = None
    difference: float | None = None  # the greatest; of the scores for boxes, of words how many
    pixels: float | None = None  # the greatest of the corners of boxes
    tolerance: float = 0.0
    source: str = ""
    reason: Both = field(default_factory=dict)
    seconds: float = 0.0
    device: str = ""

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain values."""
        made = asdict(self)
        made["reason"] = dict(self.reason)
        return made


# --- what is published -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Book:
    """The file of known answers."""

    inputs: Mapping[str, Input]
    answers: Mapping[str, tuple[Answer, ...]]
    none: Mapping[str, Both]  # row -> why nothing is known
    kinds: Mapping[str, Mapping[str, Any]]
    mistakes: Mapping[str, Both]


def path() -> Path:
    """The file of known answers in use."""
    return Path(os.environ.get("CLIP_ATLAS_KNOWN_ANSWERS") or BUILT_IN)


def book() -> Book:
    """The known answers in use."""
    file = path()
    return _read(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(file: Path, mtime: int) -> Book:
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    inputs = {
        name: Input(name, **{**table, "addresses": tuple(table.get("addresses", ()))})
        for name, table in tables.get("inputs", {}).items()
    }
    answers = {
        row: tuple(
            Answer(row, **{**table, "texts": tuple(table["texts"]), "want": tuple(table["want"])})
            for table in listed
        )
        for row, listed in tables.get("answers", {}).items()
    }
    return Book(inputs, answers, tables.get("none", {}), tables.get("kinds", {}), tables.get("mistakes", {}))


def answers(row: str) -> tuple[Answer, ...]:
    """The published answers of a row, those whose input is at hand first."""
    listed, sources = book().answers.get(row, ()), book().inputs
    return tuple(sorted(listed, key=lambda answer: bool(sources[answer.input].addresses)))


def unknown(row: Checkpoint) -> Both:
    """Why nothing is known of a row, as a sentence."""
    return MINIATURE if row.bundled else book().none.get(row.name, OTHERS)


# --- comparing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """How far a value is from the published one."""

    fits: bool
    difference: float | None
    pixels: float | None = None


def compare(answer: Answer, value: Any) -> Comparison:
    """Compares what a probe returned with what is published.

    Words are equal or not. Boxes are matched by overlap, never by place: queries come in another order on another device. All
    other kinds are numbers in the shape of the published ones.
    """
    if answer.kind == "words":
        wrong = sum(a != b for a, b in zip(value, answer.want, strict=True))
        return Comparison(not wrong, float(wrong))
    if answer.kind == "boxes":
        return _compare_boxes(answer, value)
    import numpy as np

    ours, theirs = np.asarray(value, dtype=np.float64), np.asarray(answer.want, dtype=np.float64)
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        return Comparison(False, None)
    apart = np.abs(ours - theirs)
    fits = bool((apart <= answer.tolerance + answer.relative * np.abs(theirs)).all())
    return Comparison(fits, float(apart.max(initial=0.0)))


def _compare_boxes(answer: Answer, value: Sequence[Sequence[float]]) -> Comparison:
    scores, corners = [], []
    for wanted in answer.want:
        best = max(value, key=lambda box: overlap(box[1:], wanted[1:]), default=None)
        if best is None or overlap(best[1:], wanted[1:]) < OVERLAP:
            return Comparison(False, None)
        scores.append(abs(best[0] - wanted[0]))
        corners.append(max(abs(a - b) for a, b in zip(best[1:], wanted[1:], strict=True)))
    fits = max(scores) <= answer.tolerance and max(corners) <= answer.pixels
    return Comparison(fits, max(scores), max(corners))


def overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Intersection over union of two boxes, xyxy."""
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    both = max(wide, 0) * max(high, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return both / (sum(areas) - both) if both else 0.0


def shorten(value: Any, beside: Any = None) -> str:
    """A value in a few characters; of boxes the one that fits the first published one.

    Args:
        value: of a probe, or published.
        beside: the published value, where `value` is a probe's.
    """
    first = value
    if beside is not None and _is_box(beside[0]):
        first = [max(value, key=lambda box: overlap(box[1:], beside[0][1:]))] if len(value) else []
    while len(first) and not isinstance(first[0], str | int | float):
        first = first[0]
    cells = [one if isinstance(one, str) else f"{one:.4g}" for one in first[:QUOTED]]
    return " ".join([*cells, "…"] if len(first) > QUOTED else cells)


def _is_box(value: Any) -> bool:
    return not isinstance(value, str | int | float) and len(value) == 5


# --- checking ----------------------------------------------------------------------------------------------


def check(
    name: str,
    *,
    device: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancel: Cancel | None = None,
    download: bool = True,
    first: bool = False,
) -> list[Verdict]:
    """The verdicts of a row, one for each published answer; they are remembered.

    Args:
        name: a row of the registry.
        device: to run it on; the best one when None.
        progress: called during a download.
        cancel: a set flag stops between two answers and during a download.
        download: False leaves the network to the inputs alone.
        first: whether the first answer that can be compared is enough.

    Raises:
        Refusal: "unknown_checkpoint", "cancelled".
    """
    row = registry.row(name)
    listed = answers(name)
    if not listed:
        return [Verdict(name, "no known answer", reason=unknown(row))]
    start = time.perf_counter()
    try:
        checkpoints.open(name, progress=progress, cancel=cancel, download=download)
    except Refusal as refusal:
        if refusal.code == "cancelled":
            raise
        seconds = time.perf_counter() - start
        verdicts = [_refused(answer, refusal, seconds, "") for answer in listed[:1]]
    else:
        verdicts = []
        for answer in listed:
            if cancel is not None:
                cancel.check()
            verdicts.append(_ask(row, answer, device))
            if first and verdicts[-1].verdict in COMPARED:
                break
    remember(name, verdicts)
    return verdicts


def _ask(row: Checkpoint, answer: Answer, device: str | None) -> Verdict:
    """Runs one probe and compares."""
    from core import runtime

    device = device or runtime.pick_device()
    start = time.perf_counter()
    try:
        images = known_inputs.images(book().inputs[answer.input])
        module, function = answer.probe.split(":")
        value = getattr(import_module(module), function)(variant(row, answer), images, answer.texts, device)
    except Refusal as refusal:
        return _refused(answer, refusal, time.perf_counter() - start, device)
    made = compare(answer, value)
    return Verdict(
        answer.row,
        "as published" if made.fits else "differs",
        kind=answer.kind,
        input=answer.input,
        value=value,
        published=answer.want,
        difference=made.difference,
        pixels=made.pixels,
        tolerance=answer.tolerance,
        source=answer.source,
        seconds=time.perf_counter() - start,
        device=device,
    )


def variant(row: Checkpoint, answer: Answer) -> str:
    """The name under which a row is asked: its own, or that of a copy with the options of the published answer."""
    if not answer.options:
        return row.name
    told = json.dumps(answer.options, sort_keys=True)
    name = f"{row.name}.{hashlib.sha256(told.encode()).hexdigest()[:6]}"
    copy = replace(row, name=name, options={**row.options, **answer.options})
    registry.add(copy)
    return copy.name


def _refused(answer: Answer, refusal: Refusal, seconds: float, device: str) -> Verdict:
    return Verdict(
        answer.row,
        "differs" if refusal.code in WRONG_BYTES else "not reachable",
        kind=answer.kind,
        input=answer.input,
        published=answer.want,
        tolerance=answer.tolerance,
        source=answer.source,
        reason={lang: refusal.text(lang) for lang in ("en", "zh")},
        seconds=seconds,
        device=device,
    )


def summarise(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that stands for a row: the first that differs, else the first as published, else the first."""
    for state in reversed(COMPARED):
        for one in verdicts:
            if one.verdict == state:
                return one
    return verdicts[0]


# --- what a machine with a network said --------------------------------------------------------------------

RESULTS = (
    registry.ROOT / "docs" / "known_answers.json"
)  # the output of `check --all --json`, once somebody has run it


def results(file: Path = RESULTS) -> dict[str, Verdict]:
    """The verdict of each row in a file that `check --json` has written; nothing where there is no file."""
    if not file.is_file():
        return {}
    rows: dict[str, list[Verdict]] = {}
    for entry in json.loads(file.read_text(encoding="utf-8")):
        rows.setdefault(entry["row"], []).append(Verdict(**entry))
    return {name: summarise(verdicts) for name, verdicts in rows.items()}


# --- remembering -------------------------------------------------------------------------------------------


def record() -> Path:
    """The file that remembers verdicts."""
    from core.checkpoints import hub

    return hub.record().with_name("known.json")


def remember(name: str, verdicts: Sequence[Verdict]) -> None:
    """Notes the verdict of a row, where its files are here; without a word where nothing can be written."""
    one = summarise(verdicts)
    if one.verdict not in COMPARED:
        return
    entries = _entries()
    entries[name] = {**one.to_json(), "value": None, "published": None, "files": _files(name)}
    with suppress(OSError):
        file = record()
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(entries, ensure_ascii=False, indent=1), encoding="utf-8")
        draft.replace(file)


def remembered(name: str) -> Verdict | None:
    """What the last check of a row said; None where there was none, or its files are others since. Never asks a network."""
    entry = _entries().get(name)
    if not isinstance(entry, dict) or entry.get("files") != _files(name):
        return None
    with suppress(TypeError):
        return Verdict(**{key: value for key, value in entry.items() if key != "files"})
    return None


def _entries() -> dict[str, Any]:
    try:
        entries = json.loads(record().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _files(name: str) -> list[str]:
    """What a row's files are now, as far as they are here: place, size and time of each."""
    with suppress(Refusal, OSError):
        paths = checkpoints.open(name, download=False)
        return sorted(integrity.identity(path) for path in paths.values())
    return []
