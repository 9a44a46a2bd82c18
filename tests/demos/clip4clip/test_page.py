"""What only the CLIP4Clip page does: a ranked shelf whose frames play, heads compared, lessons, the endpoint's answer."""

from __future__ import annotations

import base64
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import __main__ as command
from core import inputs
from core.runtime import Cancel
from demos.clip4clip import answer, compare, inside, lessons
from demos.clip4clip.page import PAGE, Question
from demos.kit import batch, library
from tests.pages import opened, run


def question(**changes: Any) -> Question:
    fields, _ = opened(PAGE.declared, {}, "en")  # type: ignore[arg-type]
    first = Question(**{name: fields[name] for name in ("query", "clips") if name in fields})
    return replace(first, **{"checkpoint": "classroom-clip4clip", **changes})


def test_every_clip_of_the_shelf_is_shown_best_first_with_frames_that_play() -> None:
    slots = run(answer.rank, question(), "en")
    assert slots["message"] == ""
    shelf = slots["shelf"]
    names = re.findall(r'data-clip="([^"]+)"', shelf)
    assert sorted(names) == sorted(library.clips())
    scores = [float(score) for score in re.findall(r'class="score">([+-][\d.]+)<', shelf)]
    assert scores == sorted(scores, reverse=True)
    assert shelf.count("<video") == len(names) and shelf.count("data-at=") == 8 * len(names)
    assert shelf.count("data:video/mp4;base64,") == len(names)
    assert shelf.count('poster="data:image/jpeg;base64,') == len(
        names
    )  # a phone loads no frame of a clip before


def test_ones_own_clips_join_the_shelf() -> None:
    path = library.videos()["person_at_table"]["path"]
    alone = run(answer.rank, question(clips="none", own=(path,)), "en")
    assert re.findall(r'data-clip="([^"]+)"', alone["shelf"]) == ["person_at_table.mp4"]
    assert "atlas-hint" in alone["notes"]  # a filmed clip is outside of the miniature's world
    assert len(alone["bars"]) == 1
    nothing = run(answer.rank, question(clips="none", own=None), "zh")
    assert "片段" in nothing["message"]


def test_a_mean_cannot_see_the_order() -> None:
    rows = library.clips()
    pair = [inputs.video(rows[name]["path"]) for name in ("dog_right", "dog_left")]
    retriever = answer.model("classroom-clip4clip")
    right, left = retriever.rank("a dog moving from left to right", pair, "meanP").scores
    assert abs(right - left) < compare.BLIND


def test_heads_that_read_frames_in_their_order_tell_the_direction() -> None:
    out = run(compare.heads, question(), "en")["out"]
    said = dict(re.findall(r"<li><b>([^<]+)</b>: [^.]*\.\d+, [^.]*\.\d+\. ([^<]+)</li>", out))
    titles = library.options("clip4clip", "heads")
    assert set(said) == {title.en for title in titles.values()}
    knows = {name for name, title in titles.items() if said[title.en].startswith("It knows")}
    blind = {name for name, title in titles.items() if said[title.en].startswith("The same")}
    assert {"seqLSTM", "seqTransf"} <= knows and blind == {"meanP"}
    # The same sentence the other way round is answered by the other clip.
    rows = answer.shelf_rows("drawn")
    pair = [inputs.video(rows[name]["path"]) for name in ("dog_right", "dog_left")]
    retriever = answer.model("classroom-clip4clip")
    for head in ("seqLSTM", "seqTransf"):
        right, left = retriever.rank("a dog moving from right to left", pair, head).scores
        assert left > right + compare.BLIND


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_heads_tables_and_neighbours_are_drawn(lang: str) -> None:
    asked = question(query="a cat jumping")
    assert run(compare.heads, asked, lang)["out"].count("<li>") == 4
    assert "<table" in run(compare.untrained, asked, lang)["out"]
    table = run(inside.table, asked, lang)
    assert table["out"].count("<tr>") == len(library.clips()) + 1 and "<rect" in table["histogram"]
    assert "<table" in run(inside.neighbours, asked, lang)["out"]
    assert run(inside.neighbours, replace(asked, head="tightTransf"), lang)["message"]


def test_another_checkpoint_brings_its_own_heads() -> None:
    assert answer.own_head(question(checkpoint="clip4clip-webvid"), "en") == {"head": "meanP"}
    assert answer.own_head(question(), "en") == {}


@pytest.mark.parametrize("name", list(library.lessons("clip4clip")))
def test_every_step_has_an_outcome(name: str) -> None:
    for step in library.lessons("clip4clip")[name]["steps"]:
        found = lessons.outcome(step, "classroom-clip4clip", "en")
        assert 0 <= found.index < len(lessons.choices(step, "zh")) == len(lessons.choices(step, "en"))
        assert found.body


def test_the_mean_is_blind_in_the_first_lesson() -> None:
    step = library.lessons("clip4clip")["order"]["steps"][0]
    assert lessons.outcome(step, "classroom-clip4clip", "en").index == 2


def test_the_mean_is_best_with_few_clips_and_a_head_that_sees_order_with_many() -> None:
    few, many = library.lessons("clip4clip")["data"]["steps"]
    assert lessons.outcome(few, "classroom-clip4clip", "en").index == 0
    assert lessons.outcome(many, "classroom-clip4clip", "zh").index == 2


def test_rank_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    paths = [library.clips()[name]["path"] for name in ("cat_jumps", "key_falls")]
    arguments = command.parser().parse_args(
        ["rank", "a key falling down", *paths, "--json", "--head", "seqLSTM"]
    )
    assert not arguments.run(arguments)
    answer_ = json.loads(capsys.readouterr().out)
    assert answer_["head"] == "seqLSTM" and {row["file"] for row in answer_["results"]} == set(paths)
    arguments = command.parser().parse_args(["rank", "a key falling down", *paths])
    arguments.run(arguments)
    assert "key_falls.mp4" in capsys.readouterr().out


def test_many_clips_get_the_score_that_they_have_on_the_shelf(tmp_path: Path) -> None:
    names = ("cat_jumps", "key_falls")
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as out:
        for name in names:
            out.write(library.clips()[name]["path"], f"{name}.mp4")
        out.writestr("note.txt", "no clip")
    asked = question(query="a key falling down", head="seqLSTM")
    *_, last = batch.rows_of(
        PAGE.declared.many, asked, [str(tmp_path / "clips.zip")], "clip4clip", "en", Cancel()
    )
    assert last["table"].count("<tr>") == 4 and last["table"].count("atlas-thumb") == 2
    assert last["table"].count("atlas-refused") == 1
    data = re.findall(r'download="clip4clip.jsonl" href="data:[^;]+;base64,([^"]+)"', last["links"])
    rows = [json.loads(line) for line in base64.b64decode(data[0]).splitlines()]
    found = {row["file"].removesuffix(".mp4"): row["score"] for row in rows if "score" in row}
    ranking = answer.run(asked, "en")
    shelf = {clip.name: score for clip, score in zip(ranking.clips, ranking.ranking.scores, strict=True)}
    assert found == {name: pytest.approx(shelf[name], abs=1e-4) for name in names}
