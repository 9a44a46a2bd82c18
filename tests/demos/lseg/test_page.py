"""The LSeg page through its endpoint and handlers: masks that follow labels, colours that stay, files, lessons, refusals."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from core import checkpoints, inputs
from core import masks as rle
from core.checkpoints import registry
from core.classroom.world import description
from core.errors import Refusal
from core.segmentation import lseg
from demos.draw import masks
from demos.kit import library, menu, walkthrough
from demos.lseg import answer, inside, lessons
from demos.lseg.page import PAGE, Question
from demos.lseg.words import examples
from tests import tiny
from tests.conftest import Rows
from tests.pages import offered, run

EXAMPLES = examples()
WALK = PAGE.declared.walk
DOG = EXAMPLES["dog_under_tree"]
ASKED = Question(image=DOG["path"], labels="dog, tree, background", plain="classroom-rn")


# --- endpoint --------------------------------------------------------------------------------------------


def test_the_endpoint_divides_the_image_among_the_labels(client: Client) -> None:
    picture = handle_file(DOG["path"])
    for labels in ("dog, tree, background", ["狗", "树", "背景"]):
        reply = client.predict(picture, labels, None, True, api_name="/lseg_segment")
        assert checkpoints.row(reply["checkpoint"]).paper == "lseg" and reply["size"] == [320, 320]
        shares = [row["share"] for row in reply["results"]]
        assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)
        masks = [
            rle.decode(row["segmentation"]["counts"], *row["segmentation"]["size"])
            for row in reply["annotations"]
        ]
        assert (np.sum(masks, axis=0) == 1).all()  # every pixel has one label
    bare = client.predict(picture, "dog, tree", "classroom-vit", api_name="/lseg_segment")
    assert bare["checkpoint"] == "classroom-vit" and "annotations" not in bare


@pytest.mark.parametrize(
    ("picture", "labels", "checkpoint", "words"),
    [
        (DOG["path"], " ，", None, "label"),
        (DOG["path"], "x" * 400, None, "300"),
        (DOG["path"], "dog", "no-such-row", "no-such-row"),
        (DOG["path"], "dog", "classroom-groupvit", "classroom-groupvit"),
        (DOG["path"], "dog", "lseg-vitl16", "import"),
        (str(Path(__file__)), "dog", None, "image"),
    ],
)
def test_the_endpoint_refuses_in_one_sentence(
    client: Client, picture: str, labels: str, checkpoint: str | None, words: str
) -> None:
    with pytest.raises(AppError) as error:
        client.predict(handle_file(picture), labels, checkpoint, api_name="/lseg_segment")
    assert words in str(error.value) and "Traceback" not in str(error.value)


# --- masks -----------------------------------------------------------------------------------------------


def truth_of(name: str, lang: str, labels: Sequence[str]) -> np.ndarray:
    """[H, W] the exact label of each pixel of a drawn example; the last label is its background."""
    scene = description.draw(description.parse(library.data("lseg")["examples"][name]["scene"]))
    height, width = scene.picture.shape[:2]
    truth = np.full((height, width), len(labels) - 1)
    for thing in scene.truth["objects"]:
        truth[rle.decode(thing["visible_mask"]["counts"], height, width)] = labels.index(thing[lang])
    return truth


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_opening_example_is_right(lang: str) -> None:
    row = EXAMPLES[answer.EXAMPLES.opening]
    labels = inputs.labels(row["labels"][lang])
    result = answer.ask(inputs.image(row["path"]), labels, None).result
    truth = truth_of(answer.EXAMPLES.opening, lang, labels)
    for at, label in enumerate(labels):
        own, exact = result.mask == at, truth == at
        assert (own & exact).sum() / (own | exact).sum() > 0.7, label


def test_another_label_does_not_encode_the_image_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Image.Image] = []
    read: list[Sequence[str]] = []
    one, other = lseg._encode_image, lseg._encode_text

    def encode_image(model: Any, image: Image.Image) -> np.ndarray:
        encoded.append(image)
        return one(model, image)

    def encode_text(model: Any, texts: Sequence[str]) -> np.ndarray:
        read.append(texts)
        return other(model, texts)

    monkeypatch.setattr(lseg, "_encode_image", encode_image)
    monkeypatch.setattr(lseg, "_encode_text", encode_text)
    data = io.BytesIO()
    Image.open(EXAMPLES["toys"]["path"]).resize((311, 307)).save(data, "PNG")  # an image that is new here
    model = answer.model_of(None)
    image = inputs.image(data.getvalue())
    for labels in (["duck", "a nameless thing"], ["duck", "a nameless thing", "another nameless thing"]):
        assert model.segment(image, labels).mask.shape == (307, 311)
    assert len(encoded) == 1 and read[-1] == ["another nameless thing"]


def test_a_change_of_labels_repaints_at_once() -> None:
    labels = "dog, tree, house, car, background"
    street = replace(ASKED, image=EXAMPLES["street"]["path"])
    run(answer.segment, replace(street, labels=labels), "en")
    times = []
    for more in ("cat", "pet", "bus", "cow", "door"):
        start = time.process_time()  # what it costs, however busy the machine of a test is
        assert run(answer.segment, replace(street, labels=f"{labels}, {more}"), "en")["message"] == ""
        times.append(time.process_time() - start)
    assert min(times) < 0.2


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("way", answer.WAYS)
def test_every_example_is_answered_in_both_ways(name: str, way: str) -> None:
    row = EXAMPLES[name]
    for lang in ("en", "zh"):
        asked = replace(ASKED, **answer.fill(name, ASKED, lang), way=way)
        slots = run(answer.segment, asked, lang)
        assert slots["message"] == ""
        assert slots["mask"].count("data-label=") >= len(inputs.labels(row["labels"][lang]))
        assert ("atlas-hint" in slots["notes"]) == (not row["classroom"] or way == "maskclip")
        assert not answer.REST & set(slots["held"])
        # The checkpoint menu has no weights for the trick.
        assert offered(slots) == (not row["classroom"] and way == "lseg")


def test_a_label_that_no_miniature_has_read_is_named_before_the_answer() -> None:
    notes = run(answer.segment, replace(ASKED, labels="dog, foal, other"), "en")["notes"]
    assert "never read these words: foal." in notes


@pytest.fixture
def tiny_rows(tmp_path: Path, rows: Rows) -> None:
    """A TIPSv2 and a SAM 3 of random weights among the rows of the page."""
    tables = [registry.BUILT_IN.read_text(encoding="utf-8")]
    for name, make in (("tips", tiny.make_tips), ("sam3", tiny.make_sam3)):
        make(tmp_path / name)
        table = tiny.row(f"tiny-{name}", tmp_path / name, loader=f"core.segmentation.{name}:load_{name}")
        tables.append(table.replace('paper = "clip"', 'paper = "lseg"').replace('["en", "zh"]', '["en"]'))
    rows(*tables)


@pytest.mark.usefixtures("tiny_rows")
def test_tips_answers_on_the_page_and_shows_its_own_lines() -> None:
    asked = replace(ASKED, checkpoint="tiny-tips")
    slots = run(answer.segment, asked, "en")
    assert slots["message"] == "" and slots["mask"].count("data-label=") >= 3
    assert "not trained on Chinese" not in slots["notes"]
    cards, shapes, _ = inside.code(asked, "en")
    names = [card["name"] for card in cards]
    assert names == ["LoadedTIPS.patch_features", "segment", "winners"] and shapes["pixel_features"]
    assert run(inside.maps, asked, "zh")["message"] == ""
    chinese = run(answer.segment, replace(asked, labels="狗，树"), "zh")
    assert "没有学过中文" in chinese["notes"]


@pytest.mark.usefixtures("tiny_rows")
def test_sam3_says_what_is_there_at_all_and_what_is_none_of_the_labels() -> None:
    labels = "a red cat, a photo of a horse, dog"
    asked = replace(ASKED, checkpoint="tiny-sam3", labels=labels)
    result = answer.run(asked).result
    assert result.presence is not None and result.instances is not None and result.shares[3] > 0.01
    for lang, none, count in (("en", "none of these", "found"), ("zh", "都不是", "找到")):
        slots = run(answer.segment, asked, lang)
        assert slots["message"] == "" and slots["notes"].count(count) == 3 and none in slots["notes"]
        assert none in slots["mask"] and slots["held"] == tuple(inputs.labels(labels))
        assert f"({result.instances[0]} found)" in slots["notes"] or lang == "zh"
        assert run(inside.maps, asked, lang)["message"] == "" and inside.arrays(asked, lang)
    # The rest is an own entry of the answer, and no annotation.
    reply = result.to_json()["results"]
    assert {row["label"] for row in reply} == {*result.labels, None}
    made = json.loads(masks.coco_rle(result.mask, result.labels, result.size))
    assert {row["name"] for row in made["categories"]} == set(result.labels)
    assert max(row["category_id"] for row in made["annotations"]) <= 3
    assert "lseg-cutout-" in answer.files(asked, "en")
    names = [card["name"] for card in inside.code(asked, "en")[0]]
    assert names == ["LoadedSAM3.concept", "winners"]


@pytest.mark.usefixtures("tiny_rows")
def test_many_images_are_counted_by_the_labels_that_are_told_apart() -> None:
    image = inputs.image(DOG["path"])
    for checkpoint in ("tiny-sam3", ""):
        outcome = answer.many(replace(ASKED, checkpoint=checkpoint, labels="dog, Dog, tree"))(image)
        assert list(outcome.labels) == ["dog", "tree"] and set(outcome.cells) == {"share(dog)", "share(tree)"}


@pytest.mark.usefixtures("tiny_rows")
def test_a_step_that_no_label_fits_is_not_judged() -> None:
    step: Any = {"kind": "at", "example": "dog_under_tree", "box": [0.0, 0.0, 1.0, 1.0]}
    step["labels"] = {"en": "dog", "zh": "dog"}  # "dog" is not there for these weights
    case = walkthrough.Case("lseg", step, "tiny-sam3", "en")
    with pytest.raises(Refusal) as caught:
        lessons.at(case)
    assert caught.value.code == "no_label_fits" and "tiny-sam3" in caught.value.text("zh")


@pytest.mark.parametrize(
    "change",
    [{"image": None}, {"labels": ","}, {"labels": None}, {"way": "both"}, {"image": "data:image/png;base64,@@@"},
     {"image": __file__, "way": "maskclip"}, {"checkpoint": "lseg-vitl16"}],
)  # fmt: skip
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_refuses_in_one_sentence(change: dict[str, Any], lang: str) -> None:
    slots = run(answer.segment, replace(ASKED, **change), lang)
    assert slots.keys() == {"message", "bars"} and slots["message"]
    assert any("\u4e00" <= sign <= "\u9fff" for sign in slots["message"]) == (lang == "zh")


def test_labels_that_stay_keep_their_colours() -> None:
    held = answer.colour_slots(["dog", "tree", "car", "Background"], [])
    assert held == ["dog", "tree", "car"]
    held = answer.colour_slots(["dog", "car", "other"], held)
    assert held == ["dog", "", "car"]
    held = answer.colour_slots(["house", "dog", "car", "cat"], held)
    assert held == ["dog", "house", "car", "cat"]
    before = answer.colours(["dog", "car"], ["dog", "tree", "car"])
    assert answer.colours(["car", "other", "dog"], held) == [before[1], "", before[0]]
    # The page hands the labels of the colours from one answer to the next.
    slots = run(answer.segment, replace(ASKED, labels="tree, background", held=("dog", "tree")), "en")
    assert slots["held"] == ("", "tree")


def test_downloads_are_the_mask_of_the_page() -> None:
    links = answer.files(replace(ASKED, labels="dog, tree"), "en")
    names = re.findall(r'download="([^"]+)"', links)
    assert names == [
        "lseg-overlay.png",
        "lseg-labels.png",
        "lseg-coco.json",
        "lseg-cutout-1.png",
        "lseg-cutout-2.png",
    ]
    assert "cut-out of “tree”" in links
    # What no label fits is not cut out.
    assert answer.files(ASKED, "zh").count("抠图") == 2


def test_many_files_get_the_labels_of_the_page() -> None:
    verb = answer.many(ASKED)
    outcome = verb(inputs.image(DOG["path"]))
    assert set(outcome.cells) == {"share(dog)", "share(tree)", "share(background)"}
    assert sum(float(value) for value in outcome.cells.values()) == pytest.approx(1, abs=0.001)
    assert outcome.mask is not None and outcome.mask.shape == outcome.size[::-1]
    json.dumps(outcome.answer)


def test_a_row_to_import_says_how_and_is_not_downloaded() -> None:
    assert "import lseg-vitl16" in menu.cost("lseg-vitl16", "en") and not menu.fetchable("lseg-vitl16")
    assert ("LSeg ViT-L/16" in label for label, _ in menu.choices("lseg", "en"))
    assert "demo_e200.ckpt" in menu.card("lseg-vitl16")


# --- walkthrough, look inside ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", WALK.lessons())
def test_a_step_has_an_outcome_among_its_choices(name: str) -> None:
    for step in WALK.lessons()[name]["steps"]:
        for lang in ("en", "zh"):
            outcome = WALK.outcome(step, "", lang)
            assert 0 <= outcome.index < len(WALK.choices(step, lang))
            assert "atlas-seg-stage" in outcome.body and "&lt;" not in outcome.body
            assert all(label in WALK.card(step, lang) for label in inputs.labels(step["labels"][lang]))


@pytest.mark.parametrize("way", answer.WAYS)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_look_inside_shows_what_was_made(way: str, lang: str) -> None:
    asked = replace(ASKED, labels="dog, tree", way=way, plain="classroom-vit")
    maps = inside.maps(asked, lang)
    assert maps["out"].count("<figure>") == 2 and "atlas-line" in maps["line"]
    tensors, line = inside.arrays(asked, lang)
    assert "[2, " in tensors and "[320, 320]" in tensors and "ms" in line
    cards, made, _ = inside.code(asked, lang)
    names = [card["name"] for card in cards]
    assert ("label_maps" in names) == (way == "lseg") and "winners" in names
    assert {card["made"] for card in cards if "made" in card} <= set(made)


def test_similar_vectors_get_similar_colours() -> None:
    field = np.zeros((6, 8, 5), np.float32)
    field[:, :4, 0] = 1
    field[:, 4:, 1] = 1
    field += np.random.default_rng(0).normal(0, 1e-3, field.shape)
    colours = inside.principal_colours(field).astype(int)
    assert colours.shape == (6, 8, 3)
    assert abs(colours[:, :4, 0].mean() - colours[:, 4:, 0].mean()) > 200
