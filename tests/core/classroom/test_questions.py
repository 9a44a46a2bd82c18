"""Questions about scenes: their answers follow from the scenes, and cannot be guessed without the image."""

from __future__ import annotations

import random

import pytest
import torch

from core.classroom.world import questions
from core.classroom.world.atlas import open_atlas
from core.classroom.world.concepts import by_name, concepts
from core.classroom.world.placing import Placed, arrange
from core.classroom.world.questions import QUESTIONS, Questions, answer, answers, ask, scenes
from core.classroom.world.specs import Spec

COUNT = 4000


@pytest.fixture(scope="module")
def world() -> tuple[Spec, Questions]:
    spec = scenes(1500, 11, open_atlas())
    return spec, ask(spec, COUNT, 12)


def test_the_same_seed_asks_the_same_questions_and_all_kinds_are_asked(
    world: tuple[Spec, Questions],
) -> None:
    spec, asked = world
    again = ask(spec, COUNT, 12)
    assert asked.texts("en", random.Random(1)) == again.texts("en", random.Random(1))
    assert torch.equal(asked.answer, again.answer)
    assert sorted(asked.kind.unique().tolist()) == list(range(len(QUESTIONS)))
    assert len(asked) == COUNT


def test_answers_follow_from_the_scenes(world: tuple[Spec, Questions]) -> None:
    spec, asked = world
    for kind, scene, first, second, a, b, general, given in zip(
        *(getattr(asked, name).tolist() for name in Questions.__dataclass_fields__), strict=True
    ):
        things = spec.concept[scene, : int(spec.count[scene])].tolist()
        x, half, depth = (getattr(spec, name)[scene].tolist() for name in ("x", "half", "depth"))
        told = answers()[given].name
        name = QUESTIONS[kind]
        if first >= 0 and a >= 0 and name != "exists":
            assert things[first] == a
        if name == "object":
            assert set(things) == {given}
        elif name == "count":
            assert int(told) == (len(things) if general else things.count(a))
        elif name == "exists":
            assert (told == "yes") == (a in things)
        elif name == "side":
            assert (told == "left") == (x[first] < x[second]) and things[second] == b
        elif name == "depth":
            assert (told == "in front") == (depth[first] < depth[second])
        elif name == "larger":
            assert given == (a if half[first] > half[second] else b) and a != b
        elif name == "place":
            assert ("left" in told) <= (x[first] < 0) and ("right" in told) <= (x[first] > 0)


def test_who_does_not_look_is_far_from_right(world: tuple[Spec, Questions]) -> None:
    _, asked = world
    for at, kind in enumerate(QUESTIONS):
        given = asked.answer[asked.kind == at]
        commonest = float(given.unique(return_counts=True)[1].max() / len(given))
        limit = {"count": 0.31, "place": 0.17, "ground": 0.1, "object": 0.02, "larger": 0.03}.get(kind, 0.55)
        assert commonest <= limit, (kind, commonest)
    # Nor does the order of the names tell which of the two is larger.
    larger = asked.take(torch.nonzero(asked.kind == QUESTIONS.index("larger"))[:, 0])
    assert 0.42 < float((larger.answer == larger.a).float().mean()) < 0.58


def test_sentences_of_both_languages() -> None:
    dog, cat, scissors = (by_name()[name].index for name in ("dog", "cat", "scissors"))
    assert questions.worded("side", "en", dog, cat) == "is the dog left or right of the cat?"
    assert questions.worded("side", "zh", dog, cat) == "狗在猫的左边还是右边？"
    assert questions.worded("count", "en", dog) == "how many dogs are there?"
    assert questions.worded("count", "zh", dog) == "有几只狗？"
    assert questions.worded("count", "en", general=True) == "how many things are there?"
    assert questions.worded("exists", "en", scissors) == "are there scissors in the image?"
    assert questions.worded("ground", "zh") == "背景是什么颜色？"
    assert len(answers()) == len(concepts()) + 9 + 4 + 22 + 2 + 2
    assert answers()[answer("exists", "yes")].text("zh") == "有"
    assert {one.text(lang) for one in answers() for lang in ("en", "zh")} <= set(questions.question_corpus())


def test_the_answers_that_a_kind_offers(world: tuple[Spec, Questions]) -> None:
    _, asked = world
    for kind, a, b, given in zip(
        *(getattr(asked, name).tolist() for name in ("kind", "a", "b", "answer")), strict=True
    ):
        assert given in questions.offered(QUESTIONS[kind], a, b)


def test_kinds_that_fit_no_scene_are_left_out() -> None:
    dog = by_name()["dog"].index
    alone = arrange([Placed(dog, 0.0, 0.0, 0.7)], background="red")
    asked = ask(alone, 64, 0)
    kinds = {QUESTIONS[kind] for kind in asked.kind.tolist()}
    assert kinds == {"object", "place", "count", "ground", "exists"}
    assert len(ask(alone, 8, 0, shares={"side": 1.0})) == 0
    absent = ask(alone, 64, 0, shares={"exists": 1.0}, pool=[dog])
    assert set(absent.answer.tolist()) == {answer("exists", "yes")}
