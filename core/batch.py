"""A verb over many images, clips, sounds or clouds: rows as they come, and the table, JSON lines, COCO file and masks of them.

    for step in batch.run(inputs.files_of(paths), verb, cancel):    # verb(image) -> Outcome
        print(step.done, step.total, step.seconds_left, step.row.file)

A file that cannot be read, or that the verb refuses, becomes a row with its refusal, and the others follow.
"""

from __future__ import annotations

import csv
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import coco as data_sets
from core import inputs
from core.coco import Coco
from core.errors import Refusal
from core.inputs import Files
from core.masks import Packed, packed
from core.runtime import Cancel

# A spreadsheet would run a cell that begins with one of these as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Outcome:
    """What a verb says of one file.

    Attributes:
        cells: one row of the table: column -> text or number.
        answer: everything, as plain values for JSON.
        size: (width, height) of the file's image or frames; of a cloud's depth image, of a sound's spectrum.
        boxes: (label, score, [left, top, right, bottom] in pixels) of each box.
        labels: names of the values of `mask`.
        mask: [H, W] index into `labels` for each pixel of the file, -1 for none.
        image: what a thumbnail is made of.
    """

    cells: Mapping[str, str | float]
    answer: Mapping[str, Any]
    size: tuple[int, int]
    boxes: Sequence[tuple[str, float, Sequence[float]]] = ()
    labels: Sequence[str] = ()
    mask: NDArray[np.integer[Any]] | Packed | None = None
    image: Image.Image | None = None


@dataclass(frozen=True)
class Row:
    """One file: its outcome, or the refusal that stands in its place."""

    file: str
    seconds: float
    outcome: Outcome | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Step:
    """A row, how many of how many files are done, and about how many seconds the others take."""

    done: int
    total: int
    row: Row
    seconds_left: float


def ranked(answer: Mapping[str, Any], image: Image.Image) -> Outcome:
    """The outcome of a verb that ranks labels: the best one, and the probability of each in the order of their names."""
    rows = answer["results"]
    cells: dict[str, str | float] = {"best label": rows[0]["label"]}
    cells |= {
        f"probability({row['label']})": round(float(row["probability"]), 4)
        for row in sorted(rows, key=lambda row: row["label"])
    }
    return Outcome(cells, answer, inputs.size_of(image), image=image)


def detected(
    boxes: Sequence[tuple[str, float, Sequence[float]]], answer: Mapping[str, Any], image: Image.Image
) -> Outcome:
    """The outcome of a verb that finds boxes: their number, and the best one."""
    best = max(boxes, key=lambda box: box[1], default=None)
    cells: dict[str, str | float] = {"boxes": len(boxes)}
    cells |= {"best label": best[0] if best else "", "best score": round(float(best[1]), 4) if best else ""}
    return Outcome(cells, answer, inputs.size_of(image), boxes=boxes, image=image)


def segmented(
    labels: Sequence[str], shares: Sequence[float], mask: Any, answer: Mapping[str, Any], image: Image.Image
) -> Outcome:
    """The outcome of a verb that gives each pixel a label: every label's share of the image."""
    cells: dict[str, str | float] = {
        f"share({name})": round(float(value), 4) for name, value in zip(labels, shares, strict=True)
    }
    return Outcome(cells, answer, inputs.size_of(image), labels=labels, mask=mask, image=image)


def run(
    files: Files,
    verb: Callable[[Any], Outcome],
    cancel: Cancel | None = None,
    read: Callable[[Any], Any] = inputs.image,
) -> Iterator[Step]:
    """Applies a verb to one file after the other; ends in front of the next file once `cancel` is set.

    `read` makes of a path, or of bytes, what the verb takes.
    """
    start = time.perf_counter()
    for at, member in enumerate(files):
        if cancel is not None and cancel.is_set():
            return
        begin = time.perf_counter()
        outcome, refusal = None, member.refusal
        if refusal is None:
            try:
                outcome = verb(read(member.content))
                if outcome.mask is not None:  # hundreds of them are kept
                    outcome = replace(outcome, mask=packed(outcome.mask))
            except Refusal as reason:
                refusal = reason
        now = time.perf_counter()
        row = Row(member.name, now - begin, outcome, refusal)
        yield Step(at + 1, len(files), row, (now - start) / (at + 1) * (len(files) - at - 1))


# --- files of the rows -------------------------------------------------------------------------------------


def table(rows: Sequence[Row], lang: str = "en") -> str:
    """The rows as CSV: file, the columns of the verb, seconds, and the sentence of a refusal."""
    columns = list(dict.fromkeys(name for row in rows if row.outcome for name in row.outcome.cells))
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["file", *columns, "seconds", "refused"])
    for row in rows:
        cells = row.outcome.cells if row.outcome else {}
        reason = row.refusal.text(lang) if row.refusal else ""
        values = [row.file, *(cells.get(name, "") for name in columns), f"{row.seconds:.3f}", reason]
        writer.writerow([_harmless(value) for value in values])
    return buffer.getvalue()


def _harmless(value: str | float) -> str | float:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def json_lines(rows: Sequence[Row], lang: str = "en") -> str:
    """One JSON object a line: {"file", "seconds", ...answer} or {"file", "refused"}."""
    lines = []
    for row in rows:
        if row.outcome is not None:
            values: dict[str, Any] = {
                **row.outcome.answer,
                "file": row.file,
                "seconds": round(row.seconds, 4),
            }
        else:
            values = {"file": row.file, "refused": row.refusal.text(lang) if row.refusal else ""}
        lines.append(json.dumps(values, ensure_ascii=False))
    return "\n".join(lines) + "\n" if lines else ""


def coco(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Boxes and masks as one COCO data set; None where the verb gives neither.

    Images and categories are numbered from 1. A mask's segmentation is its run lengths.
    """
    kept = [row for row in rows if row.outcome is not None]
    outcomes = [row.outcome for row in kept if row.outcome is not None]
    if not any(len(one.boxes) or one.mask is not None for one in outcomes):
        return None
    made = Coco()
    for row, one in zip(kept, outcomes, strict=True):
        made.image(row.file, one.size)
        for label, score, box in one.boxes:
            made.box(made.category(label), box, score)
        mask = np.zeros((0, 0), int) if one.mask is None else packed(one.mask).unpacked()
        for index, label in enumerate(one.labels):
            own = np.equal(mask, index)
            if own.any():
                made.mask(made.category(label), own)
    return made.data()


def archive(rows: Sequence[Row], lang: str = "en") -> bytes:
    """A zip of the table, the JSON lines, and where the verb gives them the COCO, YOLO and VOC files and a label image a file.

    A label image has the index of the label + 1 in each pixel, 0 for none; labels.json names them.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        # Spreadsheets read UTF-8 only behind its mark.
        out.writestr("table.csv", table(rows, lang).encode("utf-8-sig"))
        out.writestr("rows.jsonl", json_lines(rows, lang))
        data = coco(rows)
        if data is not None:
            out.writestr("coco.json", json.dumps(data, ensure_ascii=False))
            for folder, files in (("yolo", data_sets.yolo(data)), ("voc", data_sets.voc(data))):
                for name, text in files.items():
                    out.writestr(f"{folder}/{name}", text)
        labels: dict[str, list[str]] = {}
        for at, row in enumerate(rows):
            if row.outcome is None or row.outcome.mask is None:
                continue
            name = f"masks/{at + 1:03d}_{PurePosixPath(row.file).stem[:60]}.png"
            out.writestr(name, packed(row.outcome.mask).png)
            labels[name] = list(row.outcome.labels)
        if labels:
            out.writestr("labels.json", json.dumps(labels, ensure_ascii=False, indent=1))
    return buffer.getvalue()
