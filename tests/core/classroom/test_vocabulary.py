"""Which labels hold words that no caption of the classroom holds."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from core.classroom.world import vocabulary


@pytest.mark.parametrize(
    "label",
    ["a dog", "Two Dogs", "a sheep eating grass", "red envelope", "a line drawing of a cat", "3 dogs", "", "42",
     "a dog to the left of a car", "red", "狗", "站立的羊", "猫在汽车的左边", "三只羊", "一个试管", "红色背景上的狗",
     "一种动物", "钱，新年", "dog 狗"],
)  # fmt: skip
def test_what_captions_say_is_read(label: str) -> None:
    assert vocabulary.unknown([label]) == []


@pytest.mark.parametrize(
    "label",
    [
        "a quantum computer",
        "café",
        "Hund",
        "chien",
        "a parachute",
        "量子计算机",
        "苹果派",
        "一群人",
        "狗 und 猫",
        "собака",
        "犬です",
    ],
)
def test_other_words_are_not(label: str) -> None:
    assert vocabulary.unknown(["a dog", label, "a cat"]) == [label]


def test_every_caption_of_a_scene_is_read() -> None:
    from core.classroom.world import specs
    from core.classroom.world.atlas import open_atlas
    from core.classroom.world.captions import Writer

    rng, drawings = random.Random(0), open_atlas(("twemoji",))
    writer = Writer(specs.sample(300, 0, drawings), drawings.mono)
    for lang in ("en", "zh"):
        texts = [writer.write(i, lang, rng).text for i in range(len(writer))]
        assert vocabulary.unknown(texts) == []


def test_captions_of_clips_tell_motions() -> None:
    from core.classroom.world.motions import ACTIONS, SENTENCES

    labels = [label for both in ACTIONS.values() for label in both]
    told = [form.format(a="a dog", b="a tree") for lists in SENTENCES.values() for form in lists["en"]]
    told += [form.format(a="狗", b="树") for lists in SENTENCES.values() for form in lists["zh"]]
    assert vocabulary.unknown([*labels, *told], clips=True) == []
    assert vocabulary.unknown(["a dog moving from left to right", "狗从左向右移动"]) != []
    assert vocabulary.unknown(["a kumquat moving left", "金桔从左向右移动"], clips=True) != []


def test_asking_needs_no_torch() -> None:
    code = "import sys; from core.classroom.world.vocabulary import unknown; unknown(['狗']); print('torch' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600
    )
    assert run.stdout.strip() == "False"


def test_words_that_no_question_of_the_classroom_holds_are_named() -> None:
    for known in (
        "how many ice creams are there?", "Is the dog in front of or behind the cat?", "有几只狗？", "图中有冰淇淋吗？",
        "背景是什么颜色？", "哪个更大，狗还是猫？", "a [MASK] to the left of a car", "are there scissors in the image?",
    ):  # fmt: skip
        assert vocabulary.unread(known) == [], known
    assert vocabulary.unread("is there a kumquat?") == ["kumquat"]
    assert vocabulary.unread("金桔") == ["金桔"]
    assert "桔" in vocabulary.unread("图中有金桔吗？")[0]
