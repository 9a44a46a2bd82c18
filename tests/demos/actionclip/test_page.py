"""What only the ActionCLIP page does: probabilities over time, sentences, prompts switched, the target of the loss."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core import __main__ as command
from core.runtime import Cancel
from demos.actionclip import answer, compare, inside, lessons
from demos.actionclip.page import PAGE, Question
from demos.kit import batch, library
from tests.pages import opened, run

ROW = "classroom-actionclip"


def question(**changes: Any) -> Question:
    fields, _ = opened(PAGE.declared, {}, "en")  # type: ignore[arg-type]
    return replace(Question(video=fields["video"], labels=fields["labels"], checkpoint=ROW), **changes)


def test_the_answer_has_bars_a_player_and_a_curve() -> None:
    slots = run(answer.classify, question(), "en")
    assert slots["message"] == "" and "moving right" in slots["bars"]
    assert slots["clip"].count("data-at=") == 8 and "<video" in slots["clip"]
    assert slots["time"].count("<polyline") == 8
    assert "atlas-hint" not in slots["notes"]


def test_a_filmed_clip_is_outside_of_the_miniatures_world() -> None:
    row = library.videos()["sign_language_eat"]
    slots = run(answer.classify, question(video=row["path"], labels=row["actions"]["zh"]), "zh")
    assert slots["message"] == "" and "atlas-hint" in slots["notes"]
    assert run(answer.classify, question(video=None), "zh")["message"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_sentences_prompts_and_parts_are_compared(lang: str) -> None:
    asked = question(labels="moving right, moving left")
    assert run(compare.templates, asked, lang)["out"].count("<tr>") == (18 if lang == "en" else 7)
    switched = run(compare.switched, asked, lang)["out"]
    assert switched.count("<tr>") == 3  # all prompts, without the one behind the network
    assert "<polyline" in run(inside.timeline, asked, lang)["out"]
    target = run(inside.target, question(), lang)["out"]
    assert target.count("<figure") == 3


def test_switching_the_prompt_off_averages_the_frames() -> None:
    path = library.clips()["dog_right"]["path"]
    on = answer.ask(path, ["moving right", "moving left"], ROW, "en").recognition
    off = answer.ask(path, ["moving right", "moving left"], ROW, "en", prompts=("pre", "in")).recognition
    assert on.parts == ("post",) and off.parts == ()
    assert abs(on.clip_features - off.clip_features).max() > 1e-3


def test_the_targets_differ_where_a_label_repeats() -> None:
    batch = inside.losses_of(answer.model(ROW), "en")
    labels = batch["labels"]
    same = np.array([[a == b for b in labels] for a in labels])
    assert same.sum() == len(labels) + 2
    assert ((batch["soft"] > 0.4) == same).all() and (batch["hot"].sum(1) == 1).all()
    assert batch["kl"] < batch["ce"]


@pytest.mark.parametrize("name", list(library.lessons("actionclip")))
def test_every_step_has_an_outcome(name: str) -> None:
    for step in library.lessons("actionclip")[name]["steps"]:
        found = lessons.outcome(step, ROW, "en")
        assert 0 <= found.index < len(lessons.choices(step, "zh")) == len(lessons.choices(step, "en"))
        assert found.body


def test_a_row_of_two_equal_labels_has_two_right_answers() -> None:
    step = library.lessons("actionclip")["loss"]["steps"][0]
    assert lessons.outcome(step, ROW, "en").index == 1


def test_action_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    path = library.clips()["cat_jumps"]["path"]
    arguments = command.parser().parse_args(["action", path, "--labels", "jumping, falling", "--json"])
    arguments.run(arguments)
    found = json.loads(capsys.readouterr().out)
    assert {row["label"] for row in found["results"]} == {"jumping", "falling"}
    assert len(found["over_time"]["jumping"]) == len(found["times"]) == 8


def test_many_clips_are_named() -> None:
    names = ("cat_jumps", "key_falls")
    paths = [library.clips()[name]["path"] for name in names]
    *_, last = batch.rows_of(PAGE.declared.many, question(), paths, "actionclip", "zh", Cancel())
    assert last["table"].count("atlas-thumb") == 2 and "atlas-refused" not in last["table"]
    alone = [answer.run(question(video=path), "en").recognition for path in paths]
    for found, name in zip(alone, names, strict=True):
        assert f"{name}.mp4" in last["table"] and f"<td>{found.labels[found.order[0]]}</td>" in last["table"]
