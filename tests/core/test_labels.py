"""Labels through every verb: one text is cut as documented, spellings come back, what is merged or cut off is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import inputs
from core.clip import ZeroShot, contrastive, crops, edit, relevance, trace
from core.clip.labels import Notes
from core.detection import GLIP, ViLD
from core.segmentation import GroupViT
from core.segmentation.lseg import LSeg
from core.segmentation.maskclip import MaskCLIP

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"
LONG = (
    "a small picture of many different things that stand on a white table in a quiet room with a large window and "
    * 2
)


@pytest.fixture(scope="module")
def image() -> inputs.FileImage:
    return inputs.image(EXAMPLES / "glip" / "dog_and_car.webp")


Ask = Callable[[Any], Any]


@pytest.fixture(
    params=[
        "classify",
        "crops",
        "relevance",
        "twice",
        "trace",
        "vild",
        "glip",
        "lseg",
        "groupvit",
        "maskclip",
    ]
)
def ask(request: pytest.FixtureRequest, image: inputs.FileImage) -> Ask:
    """A verb on the same image: labels -> its answer as plain values, with the labels that it has."""
    clip = "classroom-rn"
    quarters = crops.grid(*inputs.size_of(image), 1, 2)

    def pair(labels: Any) -> Any:
        models = ZeroShot.load(clip), ZeroShot.load("classroom-vit")
        return edit.ask_twice(models, (image, image), labels).to_json()

    verbs: dict[str, Ask] = {
        "classify": lambda labels: ZeroShot.load(clip).classify(image, labels).to_json(),
        "crops": lambda labels: crops.classify_crops(ZeroShot.load(clip), image, quarters, labels).to_json(),
        "relevance": lambda labels: relevance.locate(ZeroShot.load(clip), image, labels, "gradcam").to_json(),
        "twice": pair,
        "trace": lambda labels: trace.classify(ZeroShot.load(clip), image, labels).answer.to_json(),
        "vild": lambda labels: ViLD.load("classroom-vild").detect(image, labels, threshold=0).to_json(),
        "glip": lambda labels: GLIP.load("classroom-glip").detect(image, labels, threshold=0).to_json(),
        "lseg": lambda labels: LSeg.load("classroom-lseg").segment(image, labels).to_json(),
        "groupvit": lambda labels: GroupViT.load("classroom-groupvit").segment(image, labels, 0).to_json(),
        "maskclip": lambda labels: MaskCLIP.load(clip).segment(image, labels).to_json(),
    }
    return verbs[request.param]


def labels_of(answer: dict[str, Any]) -> set[str]:
    """The labels that an answer names."""
    if "phrases" in answer:
        return {phrase["text"] for phrase in answer["phrases"]}
    rows = (
        answer.get("results") or answer.get("whole") or answer.get("relevance") or answer["first"]["results"]
    )
    return {row["label"] for row in rows} - {None}  # what GroupViT calls the background


def test_one_text_is_cut_as_at_every_door(ask: Ask) -> None:
    for text in ("a dog, a car", "a dog，a car", "a dog\na car", '["a dog", "a car"]'):
        assert labels_of(ask(text)) == {"a dog", "a car"}
    assert labels_of(ask("a dog")) == {"a dog"}


def test_sent_spellings_come_back(ask: Ask) -> None:
    sent = ["  a DOG ", "\U0001f469\u200d\U0001f692", "e\u0301tude", "می\u200cخواهم", "a\u00a0car."]
    assert labels_of(ask(sent)) == set(sent)


def test_labels_of_one_meaning_are_one_and_it_is_said(ask: Ask) -> None:
    sent = ["a dog", "a car", "A DOG", "ａ　ｄｏｇ", " a  dog", "a dog."]
    answer = ask(sent)
    assert labels_of(answer) == {"a dog", "a car"}
    assert answer["merged"] == dict.fromkeys(sent[2:], "a dog")
    assert "truncated" not in answer
    alone = ask(["a dog", "a car"])
    assert {**answer, "seconds": 0, "merged": 0} == {
        **alone,
        "seconds": 0,
        "merged": 0,
    } or "phrases" in answer
    assert "merged" not in alone
    json.dumps(answer)


def test_what_is_not_read_is_said(ask: Ask) -> None:
    sent = [LONG + "a dog", LONG + "a car", "a dog"]
    answer = ask(sent)
    assert labels_of(answer) == set(sent), "labels that differ behind the cut are two labels"
    assert answer["truncated"] == sent[:2]


def test_the_first_spelling_stands_for_all(image: inputs.FileImage) -> None:
    model = ZeroShot.load("classroom-rn")
    one, other = (
        model.classify(image, labels) for labels in (["a dog", "A DOG", "a car"], ["A DOG", "a dog", "a car"])
    )
    assert one.labels == ("a dog", "a car") and other.labels == ("A DOG", "a car")
    # The spellings are encoded in batches of different sizes, which round differently.
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
    shares = [
        LSeg.load("classroom-lseg").segment(image, list(labels)).shares
        for labels in (one.labels, other.labels)
    ]
    np.testing.assert_allclose(*shares, atol=1e-6)


def test_words_that_a_vocabulary_lacks_are_not_one() -> None:
    """Two characters without pieces of their own arrive as bytes, or as unknown: they stay two labels."""
    from core.clip import reading
    from core.clip.labels import read
    from core.clip.tokenizers import Tokenizer

    known = read(reading.tokenizer("classroom-rn"), ["龘", "靐"])
    assert len(known) == 2
    lacking = Tokenizer(lambda texts: [[1, 0, 2] for _ in texts], 8, unknown=0)
    assert len(read(lacking, ["龘", "靐", "龘 "])) == 2


def test_a_label_that_only_its_template_makes_too_long() -> None:
    image = inputs.image(EXAMPLES / "clip" / "toys.webp")
    model = ZeroShot.load("classroom-rn")
    label = " ".join(["dog"] * 26)
    assert model.classify(image, [label]).notes.truncated == ()
    assert model.classify(image, [label], "a very small drawing of a {} on a table").notes.truncated == (
        label,
    )


def test_base_labels_follow_the_merged_ones(image: inputs.FileImage) -> None:
    model = ViLD.load("classroom-vild")
    answer = model.detect(image, ["a dog", "A dog", "a car"], base=[True, True, False])
    assert answer.labels == ("a dog", "a car") and answer.base == (True, False)


def test_captions_of_a_batch_say_what_is_cut(image: inputs.FileImage) -> None:
    model = ZeroShot.load("classroom-rn")
    answer = contrastive.match(model, [image, image], [LONG, "a dog"]).to_json()
    assert answer["truncated"] == [LONG] and "merged" not in answer


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_notes_are_sentences(lang: str) -> None:
    assert Notes().sentences(lang) == [] and Notes().to_json() == {}
    notes = Notes({"A DOG": "a dog", "\x1b[31mx": "x"}, (LONG,))
    first, second, third = notes.sentences(lang)
    assert "A DOG" in first and "\x1b" not in second and "…" in third
    assert len(Notes({str(i): "x" for i in range(50)}).sentences(lang)) == 3
