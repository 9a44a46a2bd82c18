"""The ViLD page through its endpoint and handlers: boxes that follow labels, one look at a picture, lessons, refusals."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import astuple
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
from core.errors import Refusal
from core.runtime import Cancel
from demos.kit import events as wiring
from demos.kit import scenes_link, shell
from demos.kit.code import passage
from demos.vild import answer as handlers
from demos.vild import (
    draw as vild_draw,
)
from demos.vild import (
    examples as vild_examples,
)
from demos.vild import (
    inside as vild_inside,
)
from demos.vild import (
    lessons as vild_walk,
)
from demos.vild.shared import Asked

EXAMPLES = vild_examples.examples()
TOYS = EXAMPLES["toy_shelf"]
LABELS = TOYS["labels"]["en"]
STEPS = [(name, at) for name, row in vild_walk.lessons().items() for at in range(len(row["steps"]))]


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


def asked(
    picture: Any = TOYS["path"],
    labels: Any = LABELS,
    variant: str = "ensemble",
    threshold: float = 0.3,
    proposals: float = 60,
    checkpoint: str = "",
) -> Asked:
    """The page's own question."""
    return Asked(picture, labels, variant, threshold, proposals, checkpoint)


def streamed(handler: Any, outputs: int, question: Asked, lang: str) -> tuple[Any, ...]:
    """What the page shows in the end for a question that is a job: (message, *outputs, Stop)."""
    work = handlers.as_job(handler, outputs)
    return list(wiring.with_session(work, outputs + 1)(Session(), *astuple(question), lang))[-1]


class Session:
    """What a handler sees of a visitor."""

    session_hash = "test"


def test_the_endpoint_finds_things_with_a_box_each(client: Client) -> None:
    picture = handle_file(TOYS["path"])
    for labels in (LABELS, ["风筝", "足球", "鸭子", "泰迪熊"]):
        answer = client.predict(picture, labels, "crops", None, 60, None, None, True, api_name="/vild_detect")
        assert answer["variant"] == "crops" and answer["size"] == [384, 384]
        scores = [row["score"] for row in answer["results"]]
        assert scores == sorted(scores, reverse=True) and len(scores) >= 4
        left, top, right, bottom = np.array([row["box"] for row in answer["results"]]).T
        assert (left < right).all() and (top < bottom).all() and right.max() <= 384
        assert len(answer["annotations"]) == len(scores) and len(answer["categories"]) == 4
    bare = client.predict(picture, "kite, duck", api_name="/vild_detect")
    assert bare["variant"] == "ensemble" and "annotations" not in bare
    everything = client.predict(picture, "kite, duck", "ensemble", 0.0, 20, ["duck"], api_name="/vild_detect")
    assert {(row["label"], row["base"]) for row in everything["results"]} == {("kite", False), ("duck", True)}


@pytest.mark.parametrize(
    ("picture", "labels", "variant", "threshold", "proposals", "checkpoint", "said"),
    [
        (TOYS["path"], " ，", None, None, 100, None, "label"),
        (TOYS["path"], "x" * 400, None, None, 100, None, "300"),
        (TOYS["path"], "duck", "both", None, 100, None, "both"),
        (TOYS["path"], "duck", None, 1.5, 100, None, "threshold must be a number from 0 to 1"),
        (TOYS["path"], "duck", None, None, 0, None, "proposals must be a number from 1 to 300"),
        (TOYS["path"], "duck", None, None, 100, "no-such-row", "no-such-row"),
        (TOYS["path"], "duck", None, None, 100, "classroom-lseg", "classroom-lseg"),
        (TOYS["path"], "duck", None, None, 100, "owlvit-b32", "owlvit-b32"),
        (str(Path(__file__)), "duck", None, None, 100, None, "picture"),
    ],
)
def test_the_endpoint_refuses_in_one_sentence(
    client: Client, picture: str, labels: str, variant: Any, threshold: Any, proposals: Any, checkpoint: Any, said: str
) -> None:  # fmt: skip
    with pytest.raises(AppError) as error:
        client.predict(
            handle_file(picture), labels, variant, threshold, proposals, None, checkpoint, api_name="/vild_detect"
        )  # fmt: skip
    assert said in str(error.value) and "Traceback" not in str(error.value)


def test_labels_threshold_and_variant_do_not_look_at_the_picture_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Image.Image] = []
    look = vild._encode_image

    def encode_image(model: Any, image: Image.Image) -> Any:
        seen.append(image)
        return look(model, image)

    monkeypatch.setattr(vild, "_encode_image", encode_image)
    data = io.BytesIO()
    Image.open(TOYS["path"]).resize((311, 307)).save(data, "PNG")  # a picture that nobody asked about
    uri = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    for labels, variant, threshold in (("duck", "ensemble", 0.3), ("owl", "text", 0.1), ("duck", "image", 0)):
        shown, *_ = handlers.detect(asked(uri, labels, variant, threshold), "en")
        assert "atlas-det-stage" in shown
    assert len(seen) == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_runs(name: str) -> None:
    row = EXAMPLES[name]
    for lang in ("en", "zh"):
        labels = row["labels"][lang]
        message, shown, _, line, stop = streamed(
            handlers.detect, 3, asked(row["path"], labels, "image", 0.4), lang
        )
        assert message == "" and shown.count("<li>") == len(inputs.labels(labels))
        assert ("atlas-hint" in line) == (not row["classroom"]) and stop["visible"] is False


def test_novel_things_of_the_examples_never_had_a_box() -> None:
    names = {thing["en"] for row in EXAMPLES.values() for thing in row["objects"]}
    novel = {name for name in names if find(name).index in unseen()}  # type: ignore[union-attr]
    assert {"duck", "teddy bear", "robot", "syringe", "chair"} <= novel
    assert not {"kite", "dog", "pill"} & novel
    found = handlers.run(asked()).result
    assert dict(zip(found.labels, found.base, strict=True)) == {
        "kite": True, "soccer ball": True, "duck": False, "teddy bear": False
    }  # fmt: skip


def test_boxes_are_drawn_base_in_blue_and_novel_in_red_and_show_their_region() -> None:
    found = handlers.run(asked(threshold=0.0)).result
    shown, *_ = handlers.detect(asked(threshold=0.0), "en")
    assert shown.count("data-pick") >= 2 * len(found.boxes) > 4
    blue, red = vild_draw.BASE, vild_draw.NOVEL
    assert all((mark.colour == blue) == found.base[mark.group] for mark in vild_draw.marks(found))
    assert blue in shown and red in shown
    (region,) = handlers.inspect(asked(threshold=0.0), "0 171", "en")
    assert region.count("<img") == 2 and region.count("<tr") == 2 + len(found.labels)
    assert "ViLD-text" in region and "background" in region
    first = int(found.proposal_indices[0])
    assert f"{found.cosines[first].max():+.3f}" in region
    assert handlers.inspect(asked(), "99999 1", "en") == (shell.guarded(_refuse, 1)("en")[1],)


def _refuse(lang: str) -> tuple[str]:
    raise Refusal("no_picture")


def test_a_refusal_takes_the_bar_and_the_stop_button_away() -> None:
    work = wiring.with_session(handlers.as_job(handlers.detect, 3), 4)
    before, last = list(work(Session(), *astuple(asked(picture=None, variant="crops")), "en"))
    assert before[3] == "" and before[4]["visible"] is False
    assert "atlas-refusal" in last[0] and last[0].count("<p") == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [({"picture": None}, "picture"), ({"labels": ","}, "label"), ({"labels": None}, "label"),
     ({"picture": "data:image/png;base64,@@@"}, "data URI"), ({"picture": __file__}, "picture"),
     ({"threshold": 2}, "threshold"), ({"proposals": 0}, "proposals"), ({"checkpoint": "classroom-rn"}, "classroom-rn")],
)  # fmt: skip
def test_the_page_refuses_in_one_sentence(values: dict[str, Any], said: str) -> None:
    message, *rest = shell.guarded(handlers.detect, 3)(asked(**values), "en")
    assert message.count("<p") == 1 and "atlas-refusal" in message and said in message
    assert all(value == shell.guarded(_refuse, 1)("en")[1] for value in rest)


def test_crops_show_how_far_they_are_and_can_be_stopped() -> None:
    data = io.BytesIO()
    Image.open(TOYS["path"]).resize((300, 290)).save(data, "PNG")
    image = inputs.image(data.getvalue())
    model = handlers.model_of("")
    bars = list(handlers.crops_bars(model, image, 40, Cancel(), "en"))
    assert len(bars) >= 2 and 'aria-valuenow="100"' in bars[-1]
    assert list(handlers.crops_bars(model, image, 40, Cancel(), "en")) == []  # remembered
    with pytest.raises(Refusal, match="Stopped"):
        list(handlers.crops_bars(model, image, 60, Cancel(stopped=True), "en"))


def test_variants_stand_side_by_side_and_the_closed_list_beside_the_words() -> None:
    shown, line = handlers.compare(asked(), "toy_shelf", "en")
    assert shown.count("<article>") == len(vild.VARIANTS) and "ms" in line
    assert len(re.findall(r"Found: \d of 2 base, \d of 2 novel", shown)) == len(vild.VARIANTS)
    for lang in ("en", "zh"):
        two, _ = handlers.closed(asked(), lang)
        count = len(handlers.model_of("").base_labels())
        assert two.count("<article>") == 2 and str(count) in two and count > 300


def test_a_row_says_what_it_can_do() -> None:
    for row in checkpoints.rows("vild"):
        assert handlers.variants_of(row.name) == vild.variants(row.name)
    (radio,) = handlers.fit("ensemble", "owlvit-b32", "zh")
    assert radio["value"] == "native" and len(radio["choices"]) == 1
    assert handlers.suit("ensemble", "owlvit-b32", "en") == (0.1,)
    still = handlers.switched(asked(checkpoint="owlvit-b32"), "en")
    assert still == (shell.guarded(_refuse, 1)("en")[1],) * 3  # its menu says how to get it
    assert vild_walk.able("owlvit-b32") == vild_walk.able("") and checkpoints.row(vild_walk.able("")).bundled


def test_downloads_are_the_boxes_of_the_page() -> None:
    (links,) = handlers.files(asked(variant="crops"), "en")
    assert links.count('download="vild-') == 5 and "vild-coco.json" in links and "vild-crops.zip" in links


@pytest.mark.parametrize(("name", "at"), STEPS)
def test_every_lesson_asks_first_and_then_answers(
    name: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vild_walk, "SPEED_PROPOSALS", 24)
    where, step = f"{name}:{at}", vild_walk.lessons()[name]["steps"][at]
    with pytest.raises(Refusal, match="prediction"):
        next(vild_walk.reveal("session", where, None, "", "en"))
    for lang in ("en", "zh") if step["kind"] != "speed" else ("zh",):
        choices = vild_walk.choices_of(step, lang)
        *_, (body, line, onwards, _) = vild_walk.reveal("session", where, "0", "", lang)
        assert body.count("atlas-verdict") == 1 and onwards["interactive"] and "ms" in line
        assert any(f"“{choice}”" in body for choice in choices)
        assert vild_walk.turn_to(where, lang)[7] == step["labels"][lang]


def test_what_a_lesson_reads_off_an_answer() -> None:
    step = {"kind": "find", "example": "toy_shelf", "thing": "duck"}
    thing = vild_walk.thing_of(step)
    found = handlers.run(asked(labels="duck, kite", variant="crops", threshold=0.9)).result
    there = vild_draw.overlap(thing["visible_box"], found.boxes) >= 0.5
    assert vild_walk.called(found, thing) == (2 if there.any() else 0)
    renamed = {"en": "goose", "zh": "鹅", "visible_box": thing["visible_box"]}
    assert vild_walk.called(found, renamed) == (1 if there.any() else 0)
    np.testing.assert_array_equal(vild_draw.right(found, [thing]), there & (found.label_indices == 0))
    assert not vild_draw.right(found, [renamed]).any() and not vild_draw.right(found, []).any()
    nowhere = {**renamed, "visible_box": [0, 0, 1, 1]}
    assert vild_walk.called(found, nowhere) == 0


def test_the_look_inside_shows_what_was_made() -> None:
    shown, region, gallery, line = vild_inside.proposals(asked(), "en")
    found = handlers.run(asked()).result
    assert shown.count("<button") == len(found.proposals) and gallery.count("<img") == vild_inside.FIRST
    assert "atlas-vild-region" in region and "ms" in line
    assert "Proposal 4 of" in vild_inside.look(asked(), "3 1", "en")[0]
    for lang in ("en", "zh"):
        table, _ = vild_inside.tensors(asked(), lang)
        assert f"[{len(found.proposals)}, 4]" in table
    for variant in vild.VARIANTS:
        code, _ = vild_inside.code(asked(variant=variant), "zh")
        assert ("def text_loss" in code) == (variant in ("text", "vild", "ensemble"))
        assert ("def crops" in code) == (variant == "crops") and "def choose" in code
        assert "def propose" in code and "def see" not in code
    assert all(passage(card) for card in vild_examples.words()["code"])


def test_an_address_opens_an_example_a_scene_or_the_first_picture() -> None:
    query = {"example": "surgery", "variant": "text", "threshold": "0.55", "proposals": "40"}
    path, labels, example, scene, variant, threshold, proposals, refused = handlers.opened("zh", query)
    assert path == EXAMPLES["surgery"]["path"] and "注射器" in labels and example == "surgery"
    assert (variant, threshold, proposals, scene, refused) == ("text", 0.55, 40, "", "")
    text = vild_examples.words()["examples"]["toy_shelf"]["scene"]
    opened = handlers.opened("en", {scenes_link.PARAMETER: text})
    assert opened[1] == "duck, teddy bear, kite, soccer ball" and opened[2] == ""
    bad = handlers.opened(
        "en", {scenes_link.PARAMETER: "nothing", "variant": "x", "labels": "a, b", "threshold": "nan"}
    )
    assert bad[0] == TOYS["path"] and bad[1] == "a, b" and bad[4] == "ensemble" and "atlas-refusal" in bad[7]
    assert bad[5] == handlers.threshold_for("ensemble", "")
