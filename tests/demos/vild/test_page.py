"""The ViLD page through its endpoint and handlers: boxes that follow labels, one encoding of an image, lessons, refusals."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from core import checkpoints, inputs
from core.classroom.world.concepts import find, unseen
from core.detection import vild
from core.runtime import Cancel
from demos.draw import boxes
from demos.kit import code, library, scenes_link, walkthrough
from demos.kit.html import escape
from demos.vild import answer, draw, inside, lessons
from demos.vild.page import PAGE, Question
from demos.vild.words import examples
from tests.pages import offered, opened, parts, run

EXAMPLES = examples()
FILL = PAGE.declared.examples.fill
TOYS = EXAMPLES["toy_shelf"]
LABELS = TOYS["labels"]["en"]
STEPS = [(name, at) for name, row in lessons.lessons().items() for at in range(len(row["steps"]))]


def question(**fields: Any) -> Question:
    """A question about the shelf of toys."""
    return Question(**{"image": TOYS["path"], "labels": LABELS, "threshold": 0.3, "proposals": 60, **fields})


def new_image(size: tuple[int, int]) -> str:
    """The shelf at another size: an image that nobody asked about, as a data URI."""
    data = io.BytesIO()
    Image.open(TOYS["path"]).resize(size).save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


# --- endpoint --------------------------------------------------------------------------------------------


def test_the_endpoint_detects_with_a_box_for_each_thing(client: Client) -> None:
    image = handle_file(TOYS["path"])
    for labels in (LABELS, ["风筝", "足球", "鸭子", "泰迪熊"]):
        result = client.predict(image, labels, "crops", None, 60, None, None, True, api_name="/vild_detect")
        assert result["variant"] == "crops" and result["size"] == [384, 384]
        scores = [row["score"] for row in result["results"]]
        assert scores == sorted(scores, reverse=True) and len(scores) >= 4
        left, top, right, bottom = np.array([row["box"] for row in result["results"]]).T
        assert (left < right).all() and (top < bottom).all() and right.max() <= 384
        assert len(result["annotations"]) == len(scores) and len(result["categories"]) == 4
    bare = client.predict(image, "kite, duck", api_name="/vild_detect")
    assert bare["variant"] == "ensemble" and "annotations" not in bare
    everything = client.predict(image, "kite, duck", "ensemble", 0.0, 20, ["duck"], api_name="/vild_detect")
    assert {(row["label"], row["base"]) for row in everything["results"]} == {("kite", False), ("duck", True)}


@pytest.mark.parametrize(
    ("image", "labels", "variant", "threshold", "proposals", "checkpoint", "words"),
    [
        (TOYS["path"], " ，", None, None, 100, None, "label"),
        (TOYS["path"], "x" * 400, None, None, 100, None, "300"),
        (TOYS["path"], "duck", "both", None, 100, None, "both"),
        (TOYS["path"], "duck", None, 1.5, 100, None, "threshold must be a number from 0 to 1"),
        (TOYS["path"], "duck", None, None, 0, None, "proposals must be a number from 1 to 300"),
        (TOYS["path"], "duck", None, None, 100, "no-such-row", "no-such-row"),
        (TOYS["path"], "duck", None, None, 100, "classroom-lseg", "classroom-lseg"),
        (TOYS["path"], "duck", None, None, 100, "owlvit-b32", "owlvit-b32"),
        (str(Path(__file__)), "duck", None, None, 100, None, "use JPEG"),
    ],
)
def test_the_endpoint_refuses_in_one_sentence(
    client: Client, image: str, labels: str, variant: Any, threshold: Any, proposals: Any, checkpoint: Any, words: str
) -> None:  # fmt: skip
    with pytest.raises(AppError) as error:
        client.predict(
            handle_file(image), labels, variant, threshold, proposals, None, checkpoint, api_name="/vild_detect"
        )  # fmt: skip
    assert words in str(error.value) and "Traceback" not in str(error.value)


# --- the first tab -----------------------------------------------------------------------------------------


def test_labels_threshold_and_variant_do_not_encode_the_image_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Image.Image] = []
    encode = vild._encode_image

    def encode_image(model: Any, image: Image.Image) -> Any:
        encoded.append(image)
        return encode(model, image)

    monkeypatch.setattr(vild, "_encode_image", encode_image)
    image = new_image((311, 307))
    for labels, variant, threshold in (("duck", "ensemble", 0.3), ("owl", "text", 0.1), ("duck", "image", 0)):
        slots = run(
            answer.detect, question(image=image, labels=labels, variant=variant, threshold=threshold), "en"
        )
        assert "atlas-det-stage" in slots["figure"]
    assert len(encoded) == 1


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_runs(name: str, lang: str) -> None:
    row = EXAMPLES[name]
    slots = run(answer.detect, question(variant="image", threshold=0.4, **FILL(name, question(), lang)), lang)
    assert slots["message"] == "" and slots["figure"].count("<li>") == len(inputs.labels(row["labels"][lang]))
    # A photo from outside the classroom gets a hint and the way to real weights.
    assert ("atlas-hint" in slots["notes"]) == offered(slots) == (not row["classroom"])
    assert bool(row.get("real")) == (not row["classroom"]) and slots["region"] == ""


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_opening_answer_is_right(lang: str) -> None:
    fields, _ = opened(PAGE.declared, {}, lang)
    own = {name: value for name, value in fields.items() if name not in ("example", "scene")}
    detection = answer.ask(Question(**own)).detection
    assert draw.correct(detection, TOYS["objects"]).all() and len(detection.boxes) == len(TOYS["objects"])
    assert draw.matches(detection, TOYS["objects"]).any(0).all()


def test_novel_things_of_the_examples_had_no_box() -> None:
    names = {thing["en"] for row in EXAMPLES.values() for thing in row["objects"]}
    novel = {name for name in names if find(name).index in unseen()}  # type: ignore[union-attr]
    assert {"duck", "teddy bear", "robot", "syringe", "chair"} <= novel
    assert not {"kite", "dog", "pill"} & novel
    detection = answer.ask(question()).detection
    assert dict(zip(detection.labels, detection.base, strict=True)) == {
        "kite": True, "soccer ball": True, "duck": False, "teddy bear": False
    }  # fmt: skip


def test_base_boxes_are_blue_and_novel_ones_red_and_a_click_shows_the_region() -> None:
    asked = question(threshold=0.0)
    detection = answer.ask(asked).detection
    figure = run(answer.detect, asked, "en")["figure"]
    assert figure.count("data-pick") >= 2 * len(detection.boxes) > 4
    marks = draw.marks(detection)
    assert all((mark.colour == draw.BASE) == detection.base[mark.group] for mark in marks)
    assert draw.BASE in figure and draw.NOVEL in figure
    region = answer.inspect(asked, "0 171", "en")["region"]
    assert region.count("<img") == 2 and region.count("<tr") == 2 + len(detection.labels)
    assert "ViLD-text" in region and "background" in region
    first = int(detection.proposal_indices[0])
    assert f"{detection.cosines[first].max():+.3f}" in region
    assert answer.inspect(question(), "99999 1", "en") == {}


@pytest.mark.parametrize(
    ("values", "words"),
    [({"image": None}, "picture|image"), ({"labels": ","}, "label"), ({"labels": None}, "label"),
     ({"image": "data:image/png;base64,@@@"}, "data URI"), ({"image": __file__}, "use JPEG"),
     ({"threshold": 2}, "threshold"), ({"proposals": 0}, "proposals"), ({"checkpoint": "classroom-rn"}, "classroom-rn")],
)  # fmt: skip
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_refuses_in_one_sentence(values: dict[str, Any], words: str, lang: str) -> None:
    slots = run(answer.detect, question(**values), lang)
    assert set(slots) == {"message", "bars"} and slots["message"]
    assert lang == "zh" or re.search(words, slots["message"])
    assert any("\u4e00" <= sign <= "\u9fff" for sign in slots["message"]) == (lang == "zh")


def test_html_in_a_label_is_text() -> None:
    asked = question(labels="<img src=x onerror=alert(1)>, duck", threshold=0.0)
    html = run(answer.detect, asked, "en")["figure"] + answer.inspect(asked, "0 1", "en")["region"]
    assert "<img src=x" not in html and "&lt;img" in html


def test_one_label_for_each_object() -> None:
    asked = question(labels="duck, bird, animal", variant="image", threshold=0.0)
    every = answer.ask(asked).detection.boxes
    kept = answer.ask(replace(asked, across_labels=True)).detection.boxes
    assert 0 < len(kept) < len(every) and (np.triu(boxes.overlaps(kept, kept), 1) <= 0.5).all()


def test_crops_have_progress_and_can_be_stopped() -> None:
    asked = question(image=new_image((300, 290)), variant="crops", proposals=40)
    bars = run(answer.crops, asked, "en")["bars"]
    assert len(bars) >= 2 and bars[-1].share == 1 and "s left" in bars[0].text
    assert run(answer.crops, asked, "en")["bars"] == []  # cached
    more = question(image=asked.image, variant="crops", proposals=60)
    assert run(answer.crops, more, "en", cancel=Cancel(stopped=True))["message"] == "Stopped."
    assert run(answer.crops, question(variant="text"), "en")["bars"] == []  # needs no crops


def test_downloads_hold_the_boxes_of_the_page() -> None:
    links = answer.files(question(variant="crops"), "en")
    assert links.count('download="vild-') == 7 and "vild-coco.json" in links and "vild-crops.zip" in links


def test_many_files_ask_the_question_of_the_page() -> None:
    verb = answer.many(question())
    outcome = verb(inputs.image(TOYS["path"]))
    detection = answer.ask(question()).detection
    assert outcome.cells["boxes"] == len(detection.boxes) > 0
    assert outcome.cells["best label"] == detection.labels[int(detection.label_indices[0])]


# --- checkpoints, opening --------------------------------------------------------------------------------


def test_a_row_brings_its_variants_and_its_threshold() -> None:
    for row in checkpoints.rows("vild"):
        assert answer.variants_of(row.name) == vild.variants(row.name)
    fields = answer.other_checkpoint(question(checkpoint="owlvit-b32"), "zh")
    assert fields["variant"]["value"] == "native" and len(fields["variant"]["choices"]) == 1
    assert fields["threshold"] == 0.1
    assert answer.own_threshold(question(variant="text"), "en") == {
        "threshold": answer.threshold_for("text", "")
    }
    assert "owlvit-b32" in run(answer.detect, question(checkpoint="owlvit-b32"), "en")["message"]
    assert lessons.able("owlvit-b32") == lessons.able("") and checkpoints.row(lessons.able("")).bundled


def test_an_example_is_in_a_language_of_the_checkpoint() -> None:
    for checkpoint, lang, language in (
        ("", "zh", "zh"), ("vild-crops-b32", "zh", "en"), ("vild-crops-zh", "en", "zh")
    ):  # fmt: skip
        fields = FILL("toy_shelf", question(checkpoint=checkpoint), lang)
        assert fields["labels"] == TOYS["labels"][language]


def test_an_address_opens_an_example_a_scene_or_the_first_image() -> None:
    query = {"example": "surgery", "variant": "text", "threshold": "0.55", "proposals": "40"}
    fields, refused = opened(PAGE.declared, query, "zh")
    assert fields["image"] == EXAMPLES["surgery"]["path"] and "注射器" in fields["labels"]
    assert (fields["variant"], fields["threshold"], fields["proposals"]) == ("text", 0.55, 40)
    assert (fields["example"], fields["scene"], refused) == ("surgery", "", "")
    # A variant alone brings its own threshold.
    assert opened(PAGE.declared, {"variant": "text"})[0]["threshold"] == answer.threshold_for("text", "")
    text = library.data("vild")["examples"]["toy_shelf"]["scene"]
    fields, _ = opened(PAGE.declared, {scenes_link.PARAMETER: text})
    assert fields["labels"] == "duck, teddy bear, kite, soccer ball" and fields["example"] == ""
    query = {scenes_link.PARAMETER: "nothing", "variant": "x", "labels": "a, b", "threshold": "nan"}
    fields, refused = opened(PAGE.declared, query)
    assert fields["image"] == TOYS["path"] and fields["labels"] == "a, b" and "variant" not in fields
    assert fields["threshold"] == answer.threshold_for("ensemble", "") and "atlas-refusal" in refused


def test_a_variant_that_the_checkpoint_lacks_is_settled() -> None:
    assert answer.settle(question(variant="text"), "en") == {}
    settled = answer.settle(question(variant="text", checkpoint="owlv2-b16"), "en")
    assert settled["variant"]["value"] == "native"


# --- compare, look inside --------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_variants_stand_side_by_side_and_a_closed_list_beside_the_labels(lang: str) -> None:
    slots = run(answer.compare, question(), "toy_shelf", lang)
    assert slots["out"].count("<article>") == len(vild.VARIANTS) and "ms" in slots["line"]
    counts = (
        r"Detected: \d of 2 base, \d of 2 novel" if lang == "en" else r"正确检出：基础类 \d / 2，新类 \d / 2"
    )
    assert len(re.findall(counts, slots["out"])) == len(vild.VARIANTS)
    # Of an image of the visitor's own nothing is known.
    assert not re.findall(counts, run(answer.compare, question(), "", lang)["out"])
    two = run(answer.closed, question(), lang)["out"]
    count = len(answer.model("").base_labels())
    assert two.count("<article>") == 2 and str(count) in two and count > 300


def test_the_candidate_boxes_are_those_of_the_run() -> None:
    slots = run(inside.proposals, question(), "en")
    detection = answer.ask(question()).detection
    assert slots["figure"].count("<button") == len(detection.proposals)
    assert slots["gallery"].count("<img") == inside.FIRST
    assert "atlas-vild-region" in slots["region"] and "ms" in slots["line"]
    assert "Candidate box 4 of" in inside.look(question(), "3 1", "en")["region"]
    assert inside.look(question(), "999 1", "en") == {}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_tensors_have_the_shapes_of_the_run(lang: str) -> None:
    detection = answer.ask(question()).detection
    html, _ = inside.arrays(question(), lang)
    assert f"[{len(detection.proposals)}, 4]" in html and "atlas-vild-matrix" in html
    assert all(escape(row[lang]) in html for row in library.data("vild")["tensors"].values())


@pytest.mark.parametrize("variant", vild.VARIANTS)
def test_code_is_that_of_the_variant(variant: str) -> None:
    html = code.cards(*inside.code(question(variant=variant), "zh")[:2], "zh")
    assert ("def text_loss" in html) == (variant in ("text", "vild", "ensemble"))
    assert ("def crops" in html) == (variant == "crops") and "def choose" in html
    assert "def propose" in html and "def see" not in html and "本次运行" in html


# --- lessons ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "at"), STEPS)
def test_a_lesson_asks_before_it_answers(name: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "SPEED_PROPOSALS", 24)
    walk = PAGE.declared.walk
    where, step = f"{name}:{at}", lessons.lessons()[name]["steps"][at]
    assert "prediction" in run(walkthrough.reveal, walk, where, None, "", "en")["message"]
    for lang in ("en", "zh") if step["kind"] != "speed" else ("zh",):
        before = walkthrough.turn(walk, where, lang)
        assert step["labels"][lang] in before["card"] and "<img" in before["card"]
        assert escape(step["ask"][lang]) in before["card"] and escape(step["why"][lang]) not in before["card"]
        slots = run(walkthrough.reveal, walk, where, "0", "owlvit-b32", lang)
        assert slots["message"] == "" and slots["onwards"]["interactive"]
        assert slots["out"].count("atlas-verdict") == 1 and any(
            f"“{escape(choice)}”" in slots["out"] for choice in lessons.choices(step, lang)
        )
        # The row that answered is named, not the chosen one, which lacks the variants of the paper.
        assert checkpoints.row(lessons.able("")).title[lang] in slots["line"]
        assert bool(slots["bars"]) == (step["kind"] == "speed")


def test_the_step_about_speed_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "SPEED_PROPOSALS", 300)
    step, cancel = lessons.lessons()["speed"]["steps"][0], Cancel()
    job = parts(lessons.outcome, step, "", "en", cancel=cancel)
    next(job)
    cancel.set()
    with pytest.raises(Exception, match="Stopped"):
        list(job)


def test_the_name_that_an_answer_gives_a_thing() -> None:
    step = {"kind": "find", "example": "toy_shelf", "thing": "duck"}
    thing = walkthrough.Case("vild", step, "", "en").thing
    asked = question(labels="duck, kite", variant="crops", threshold=0.9)
    detection = answer.ask(asked).detection
    on_it = draw.overlap(thing["visible_box"], detection.boxes) >= 0.5
    assert lessons.name_given(detection, thing) == (2 if on_it.any() else 0)
    renamed = {"en": "goose", "zh": "鹅", "visible_box": thing["visible_box"]}
    assert lessons.name_given(detection, renamed) == (1 if on_it.any() else 0)
    np.testing.assert_array_equal(draw.correct(detection, [thing]), on_it & (detection.label_indices == 0))
    assert not draw.correct(detection, [renamed]).any() and not draw.correct(detection, []).any()
    assert lessons.name_given(detection, {**renamed, "visible_box": [0, 0, 1, 1]}) == 0
