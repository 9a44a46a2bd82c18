"""The Many files tab: its job over files and archives, progress, Stop, the table and the downloads."""

from __future__ import annotations

import base64
import csv
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core.batch import Outcome, detected, ranked, segmented
from core.errors import Refusal
from core.runtime import Cancel
from demos.kit import batch
from demos.kit.batch import Many
from demos.kit.jobs import Progress


def brightness(question: str) -> Any:
    """A verb that says how bright an image is; the question is the name of its column."""

    def verb(image: Any) -> Outcome:
        value = sum(image.resize((1, 1)).getpixel((0, 0))) / 765
        return Outcome({question: value}, {"value": value}, image.size, image=image)

    return verb


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    files = []
    for i in range(3):
        files.append(tmp_path / f"{i}.png")
        Image.new("RGB", (30, 20), (80 * i, 80 * i, 80 * i)).save(files[-1])
    (tmp_path / "broken.png").write_bytes(b"nothing")
    return [str(file) for file in (*files, tmp_path / "broken.png")]


def job(paths: list[str] | None, lang: str = "en", cancel: Cancel | None = None) -> list[Any]:
    return list(batch.rows_of(Many(brightness), "value", paths, "page", lang, cancel or Cancel()))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_file_is_a_row_and_the_files_can_be_read(paths: list[str], lang: str) -> None:
    *steps, last = job(paths, lang)
    bars = [step for step in steps if isinstance(step, Progress)]
    assert [bar.share for bar in bars] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert last["table"].count("<tr>") == 5 and last["table"].count("atlas-thumb") == 3
    assert "3" in last["line"] and "1" in last["line"]
    data = dict(re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', last["links"]))
    assert set(data) == {"page.csv", "page.jsonl", "page.zip"}
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(data["page.csv"]).decode("utf-8-sig"))))
    assert [row["file"] for row in rows] == ["0.png", "1.png", "2.png", "broken.png"] and rows[3]["refused"]
    inside = zipfile.ZipFile(io.BytesIO(base64.b64decode(data["page.zip"])))
    assert {"table.csv", "rows.jsonl"} <= set(inside.namelist())


def test_an_archive_is_its_members(paths: list[str], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as out:
        for path in paths:
            out.write(path, Path(path).name)
    *_, last = job([str(tmp_path / "all.zip")])
    assert last["table"].count("<tr>") == 5


def test_stop_keeps_what_is_done(paths: list[str]) -> None:
    cancel = Cancel()
    steps = []
    for step in batch.rows_of(Many(brightness), "value", paths, "page", "en", cancel):
        steps.append(step)
        if isinstance(step, Progress) and step.share == 0.5:
            cancel.set()
    assert steps[-1]["table"].count("<tr>") == 3 and "Stopped" in steps[-1]["line"]


@pytest.mark.parametrize("given", [None, []])
def test_no_files_is_one_sentence(given: Any) -> None:
    with pytest.raises(Refusal):
        job(given)


def test_names_are_text_in_the_table(tmp_path: Path) -> None:
    path = tmp_path / "<b>x.png"
    Image.new("RGB", (9, 9)).save(path)
    *_, last = job([str(path)])
    assert "<b>x" not in last["table"] and "&lt;b&gt;x" in last["table"]


def test_outcomes_of_the_three_kinds_of_verbs() -> None:
    image = Image.new("RGB", (8, 6))
    boxed = detected([("a", 0.5, (0, 0, 1, 1)), ("b", 0.75, (0, 0, 2, 2))], {}, image)
    assert boxed.cells == {"boxes": 2, "best label": "b", "best score": 0.75} and boxed.size == (8, 6)
    assert detected([], {}, image).cells["best label"] == ""
    assert segmented(["a"], [0.5], None, {}, image).cells == {"share(a)": 0.5}


def test_a_ranking_has_the_same_columns_for_every_image() -> None:
    answers = [
        {"results": [{"label": a, "probability": 0.7}, {"label": b, "probability": 0.3}]}
        for a, b in ("ab", "ba")
    ]
    cells = [ranked(one, Image.new("RGB", (4, 3))).cells for one in answers]
    assert [list(one) for one in cells] == [["best label", "probability(a)", "probability(b)"]] * 2
    assert cells[1] == {"best label": "b", "probability(a)": 0.3, "probability(b)": 0.7}
