"""The report card: measured rows beside published numbers, `assets/report_card.json`.

A row is {paper, measure, split, language, value, unit, checkpoint, published, command, seed, commit, minutes,
hardware}. `cards` lays the rows of each paper out as a table; bars, published numbers of others and Chinese names of
the measures are data in `report.toml`.

    python -m core.classroom.report --write  puts the tables of the card into the documents (core/documents.py)
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from core import documents, terminal
from core.classroom.world.concepts import ASSETS

CARD = ASSETS / "report_card.json"
FIELDS = (
    "paper", "measure", "split", "language", "value", "unit", "checkpoint", "published", "command", "seed", "commit",
    "minutes", "hardware",
)  # fmt: skip
MADE = ("checkpoint", "minutes", "hardware", "commit", "seed")  # what a value was made with
COUNTED = "times"  # the unit of events that are listed, not compared

Row = Mapping[str, Any]


def rows() -> list[dict[str, Any]]:
    """All rows recorded so far."""
    return json.loads(CARD.read_text(encoding="utf-8")) if CARD.exists() else []


def record(new: Sequence[dict[str, Any]]) -> None:
    """Put rows on the card; those that the same command measured before are replaced."""
    replaced = {(r["paper"], r["checkpoint"], r["command"]) for r in new}
    kept = [r for r in rows() if (r["paper"], r["checkpoint"], r["command"]) not in replaced]
    body = ",\n".join(json.dumps(r, ensure_ascii=False) for r in [*kept, *new])
    CARD.write_text(f"[\n{body}\n]\n", encoding="utf-8")


@cache
def notes() -> dict[str, Any]:
    """What `report.toml` knows beside the rows: {"names": ..., "papers": ...}."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@dataclass
class Line:
    """One line of a paper's table.

    splits: language -> what the row was measured on; one name where the languages share it.
    values: (checkpoint, language) -> value. note: language -> where the published number is from.
    """

    measure: str
    unit: str
    splits: dict[str, str]
    values: dict[tuple[str, str], float] = field(default_factory=dict)
    bar: float | None = None
    aim: float | None = None
    chance: float | None = None
    published: float | str | None = None
    note: dict[str, str] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether every value is at its bar or above; False where there is no bar."""
        return self.bar is not None and all(value >= self.bar for value in self.values.values())


@dataclass(frozen=True)
class Card:
    """A paper's part of the report card: columns, lines, events that were counted, and how to measure again."""

    paper: str
    lesson: dict[str, str] | None
    columns: list[tuple[str, str]]  # (checkpoint, language)
    lines: list[Line]
    counted: list[Row]
    commands: list[str]
    training: list[Row]  # one row of each checkpoint and measurement: minutes, hardware, commit, seed
    rows: list[Row]  # all of them, as recorded
    headline: Mapping[str, str] | None = (
        None  # of report.toml: measure, split, image, and its sentence as en and zh
    )

    @property
    def headline_value(self) -> float | None:
        """The English value of the headline's line with the first checkpoint; None where the card has no such line."""
        head = self.headline or {}
        for line in self.lines:
            if line.measure == head.get("measure") and head.get("split") in line.splits.values():
                return next(value for (_, language), value in line.values.items() if language == "en")
        return None

    @property
    def marked(self) -> tuple[int, int]:
        """Of the lines that have a bar: how many reach it in every column, and how many there are."""
        bars = [line for line in self.lines if line.bar is not None]
        return sum(line.reached for line in bars), len(bars)


def cards(found: Sequence[Row] | None = None) -> list[Card]:
    """The rows (those of the file when None) by paper, in the order in which papers and measures first appear."""
    found = rows() if found is None else found
    return [_card(paper, [r for r in found if r["paper"] == paper]) for paper in _unique(found, "paper")]


def _unique(found: Sequence[Row], key: str) -> list[Any]:
    return list(dict.fromkeys(r[key] for r in found))


def _card(paper: str, found: Sequence[Row]) -> Card:
    known = notes()["papers"].get(paper, {})
    compared = [r for r in found if r["unit"] != COUNTED]
    languages = sorted(_unique(compared, "language"), key=lambda name: (name not in ("en", "zh"), name))
    columns = [
        (checkpoint, language)
        for checkpoint in _unique(compared, "checkpoint")
        for language in languages
        if any(r["checkpoint"] == checkpoint and r["language"] == language for r in compared)
    ]
    lines = [
        line
        for measure in _unique(compared, "measure")
        for line in _lines([r for r in compared if r["measure"] == measure])
    ]
    for line in lines:
        for row in known.get("marks", ()):
            if _about(row, line):
                line.bar = row.get("bar", line.bar)
                line.aim = row.get("aim", line.aim)
                line.chance = row.get("chance", line.chance)
        for row in known.get("published", ()):
            if line.published is None and _about(row, line):
                line.published, line.note = row["value"], row.get("note", {})
    return Card(
        paper,
        known.get("lesson"),
        columns,
        lines,
        [r for r in found if r["unit"] == COUNTED],
        _unique(found, "command"),
        list({tuple(r[name] for name in MADE): r for r in reversed(found)}.values())[::-1],
        list(found),
        known.get("headline"),
    )


def _lines(found: Sequence[Row]) -> list[Line]:
    """The lines of one measure. Where English and Chinese name their splits in words of their own, as for labels, the
    first of one language belongs to the first of the other."""
    by_language = {
        language: _unique([r for r in found if r["language"] == language], "split")
        for language in _unique(found, "language")
    }
    english, chinese = by_language.get("en", []), by_language.get("zh", [])
    twins = {}
    if not set(english) & set(chinese) and len(english) == len(chinese):
        twins = dict(zip(chinese, english, strict=True))
    lines: dict[str, Line] = {}
    for row in found:
        key: str = twins.get(row["split"]) or row["split"]
        line = lines.setdefault(key, Line(row["measure"], row["unit"], {}))
        line.splits[row["language"]] = row["split"]
        line.values[row["checkpoint"], row["language"]] = row["value"]
        if row["published"] is not None:
            line.published = row["published"]
    return list(lines.values())


def _about(row: Row, line: Line) -> bool:
    """Whether a note of `report.toml` is about a line; without a split it is about all lines of its measure."""
    return row["measure"] == line.measure and row.get("split", "") in ("", *line.splits.values())


def named(word: str, lang: str) -> str:
    """A measure or split in "en" or "zh"; as recorded where it has no Chinese name."""
    return notes()["names"].get(word, word) if lang == "zh" else word


# --- the tables of the documents ---------------------------------------------------------------------------

HEADS = {
    "en": {
        "measure": "English / Chinese",
        "bar": "goal",
        "chance": "guessing",
        "published": "published",
        "by": "Measured by {}.",
    },
    "zh": {
        "measure": "英文 / 中文",
        "bar": "目标",
        "chance": "瞎猜",
        "published": "论文公布",
        "by": "测量命令：{}。",
    },
}


def described(argument: str, lang: str) -> str:
    """A table of the card in Markdown, with the commands that measure it.

    Args:
        argument: "clip | zero-shot top-1 | sheep poses": a paper, and how the wanted measures begin; a row for each
            measure and split, a column for each checkpoint. "lseg by split | ..." has the splits as rows and the measures
            as columns, of one checkpoint.
        lang: "en" or "zh".
    """
    head, *wanted = (part.strip() for part in argument.split("|"))
    paper, _, shape = head.partition(" by ")
    found = [r for r in rows() if r["paper"] == paper and r["measure"].startswith(tuple(wanted))]
    # The order of the argument, then that of the card.
    found.sort(key=lambda r: next(i for i, name in enumerate(wanted) if r["measure"].startswith(name)))
    card = _card(paper, found)
    table = _by_split(card, lang) if shape == "split" else _by_measure(card, lang)
    commands = {"en": ", ", "zh": "、"}[lang].join(f"`{command}`" for command in card.commands)
    return f"{table}\n\n{HEADS[lang]['by'].format(commands)}"


def _by_measure(card: Card, lang: str) -> str:
    words, note, stop = HEADS[lang], {"en": " ({})", "zh": "（{}）"}[lang], {"en": "; ", "zh": "；"}[lang]
    extra = [
        name
        for name in ("chance", "bar", "published")
        if any(getattr(x, name) is not None for x in card.lines)
    ]
    checkpoints = _unique(card.rows, "checkpoint")
    body = []
    for line in card.lines:
        cells = [named(line.measure, lang) + stop + named(line.splits.get(lang) or line.splits["en"], lang)]
        cells += [_values(line, checkpoint) for checkpoint in checkpoints]
        for name in extra:
            value = getattr(line, name)
            source = note.format(line.note[lang]) if name == "published" and line.note else ""
            cells.append("" if value is None else _number(value, line.unit) + source)
        body.append(cells)
    return documents.table([words["measure"], *checkpoints, *(words[name] for name in extra)], body)


def _by_split(card: Card, lang: str) -> str:
    checkpoint = card.columns[0][0]
    measures = _unique(card.rows, "measure")
    cells = {(line.splits["en"], line.measure): _values(line, checkpoint) for line in card.lines}
    splits = list(dict.fromkeys(split for split, _ in cells))
    body = [
        [named(split, lang), *(cells.get((split, measure), "") for measure in measures)] for split in splits
    ]
    return documents.table([HEADS[lang]["measure"], *(named(measure, lang) for measure in measures)], body)


def _values(line: Line, checkpoint: str) -> str:
    """The values of a checkpoint in English and Chinese: "0.779 / 0.780"."""
    return " / ".join(
        _number(line.values[checkpoint, language], line.unit)
        for language in ("en", "zh")
        if (checkpoint, language) in line.values
    )


def _number(value: float | str, unit: str) -> str:
    if isinstance(value, str):
        return value
    return (
        f"{value:.3f}"
        if unit == "share"
        else f"{value:.4g}"
        if unit.startswith("yes")
        else f"{value:.4g} {unit}"
    )


def main() -> None:
    """Puts the tables of the report card into the documents."""
    parser = argparse.ArgumentParser(prog="python -m core.classroom.report", description=main.__doc__)
    parser.add_argument(
        "--write", action="store_true", required=True, help="rewrite the tables of README and docs"
    )
    parser.parse_args()
    documents.write("report", described)


if __name__ == "__main__":
    sys.exit(terminal.run(main))
