"""The Classroom page through its endpoints and handlers: exact truth, links that open elsewhere, data sets, refusals."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio.utils import get_upload_folder
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from core import inputs
from core import masks as rle
from core.classroom.world.concepts import concepts
from core.errors import Refusal
from core.runtime import Cancel
from demos import catalog
from demos.classroom import answer as handlers
from demos.clip import answer as clip_handlers
from demos.clip.page import PAGE as CLIP
from demos.kit import events, scenes_link
from tests import pages

PAIR = "1F415.x-50.y10.s44.d60.ttwemoji_1F697.x50.y10.s44.d60.tnoto_grass.colour.0"


def compose(client: Client, **fields: Any) -> dict[str, Any]:
    return client.predict(api_name="/classroom_compose", **fields)


# --- a scene by its endpoint ---------------------------------------------------------------------------------


def test_a_composed_scene_tells_the_truth_about_its_picture(client: Client) -> None:
    answer = compose(client, objects=["dog", "红包"], arrangement="front", background="sea", size=160)
    assert answer["captions"]["en"][0] == "a dog in front of a red envelope"
    assert answer["captions"]["zh"][0] == "狗在红包的前面"
    assert answer["swapped"]["en"] == "a red envelope in front of a dog"
    assert (answer["background"], answer["rendering"], answer["arrangement"]) == ("sea", "colour", "front")
    with Image.open(answer["picture"]) as picture:
        assert picture.format == "PNG" and picture.size == (160, 160)
    things = {thing["en"]: thing for thing in answer["objects"]}
    assert {thing["zh"] for thing in answer["objects"]} == {"狗", "红包"}
    assert things["dog"]["depth"] < things["red envelope"]["depth"]
    assert things["red envelope"]["visible_area"] < things["red envelope"]["area"]
    for thing in things.values():
        for box, mask in (("box", "mask"), ("visible_box", "visible_mask")):
            rows, columns = np.nonzero(rle.decode(thing[mask]["counts"], *thing[mask]["size"]))
            left, top, right, bottom = thing[box]
            assert (left, top) == (columns.min(), rows.min())
            assert (right, bottom) == (columns.max() + 1, rows.max() + 1)


def test_a_scene_comes_back_from_its_text_and_a_surprise_from_its_number(client: Client) -> None:
    first = compose(client, objects="dog, 汽车", background="grass", rendering="line", seed=7, size=96)
    again = compose(client, scene=first["scene"], size=96)
    assert again["captions"] == first["captions"] and again["objects"] == first["objects"]
    assert Path(again["picture"]).read_bytes() == Path(first["picture"]).read_bytes()
    surprise = compose(client, scene="20", size=64)
    assert surprise["seed"] == 20
    assert compose(client, scene=surprise["scene"], size=64)["objects"] == surprise["objects"]


def test_an_object_may_say_where_and_how_it_stands(client: Client) -> None:
    sheep = {
        "concept": "sheep",
        "x": -0.4,
        "y": 0.2,
        "half": 0.5,
        "depth": 0.3,
        "pose": "lying",
        "style": "noto",
    }
    (thing,) = compose(client, objects=[sheep], size=96)["objects"]
    assert (thing["pose"], thing["style"], thing["depth"]) == ("lying", "noto", 0.3)
    left, _, right, _ = thing["box"]
    assert (left + right) / 2 < 48


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"objects": []},
        {"objects": ["dog"] * 5},
        {"objects": "unicornfish"},
        {"objects": 5},
        {"objects": [{"concept": "dog", "x": "left"}]},
        {"objects": [{"concept": "dog", "colour": "red"}]},
        {"objects": ["dog"], "arrangement": "diagonal"},
        {"objects": ["dog"], "background": "<script>"},
        {"objects": ["dog"], "rendering": "oil"},
        {"objects": ["dog"], "seed": -2},
        {"objects": ["dog"], "size": 100_000},
        {"scene": "../../etc/passwd"},
        {"scene": "9" * 500},
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused_in_one_sentence(client: Client, fields: dict[str, Any]) -> None:
    with pytest.raises(AppError) as refused:
        compose(client, **fields)
    sentence = str(refused.value)
    assert 10 < len(sentence) < 200 and "\n" not in sentence
    assert "Traceback" not in sentence and "logged" not in sentence


# --- a data set by its endpoint ------------------------------------------------------------------------------


def table(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    return json.loads(archive.read(f"annotations/{name}.json"))


def test_a_data_set_is_coco_with_captions_in_both_languages_and_licences(client: Client) -> None:
    job = client.submit(30, 3, 64, "pair", "colour", api_name="/classroom_dataset")
    final = job.result()
    steps = job.outputs()
    assert [step["done"] for step in steps] == [24, 30] and steps[0]["archive"] is None
    assert final["done"] == final["scenes"] == 30
    with zipfile.ZipFile(final["archive"]) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        assert b"CC-BY" in archive.read("LICENSES.md") and b"--seed 3" in archive.read("README.md")
        for split, count in (("train", 24), ("val", 6)):
            instances, captions = (table(archive, f"{kind}_{split}") for kind in ("instances", "captions"))
            assert {"info", "licenses", "images", "annotations", "categories"} == set(instances)
            images = {image["id"]: image for image in instances["images"]}
            assert len(images) == count and captions["images"] == instances["images"]
            assert {f"images/{split}/{image['file_name']}" for image in images.values()} <= names
            categories = {category["id"] for category in instances["categories"]}
            assert len(categories) == len(concepts())
            for row in instances["annotations"]:
                assert row["image_id"] in images and row["category_id"] in categories
                height, width = row["segmentation"]["size"]
                mask = rle.decode(row["segmentation"]["counts"], height, width)
                rows, columns = np.nonzero(mask)
                assert row["area"] == len(rows) and row["iscrowd"] == 0
                assert row["bbox"] == [
                    columns.min(), rows.min(), columns.max() + 1 - columns.min(), rows.max() + 1 - rows.min()
                ]  # fmt: skip
            things = Counter(row["image_id"] for row in instances["annotations"])
            assert set(things) == set(images) and max(things.values()) == 2
            told = {(row["image_id"], row["language"]) for row in captions["annotations"]}
            assert told == {(number, language) for number in images for language in ("en", "zh")}
            assert all(row["caption"].strip() for row in captions["annotations"])


@pytest.mark.parametrize(
    "fields",
    [
        {"scenes": 1},
        {"scenes": 100_000},
        {"size": 7},
        {"kind": "crowd"},
        {"look": "oil"},
        {"augment": 9.0},
        {"seed": -2},
        {"scenes": "many"},
    ],
    ids=str,
)
def test_a_data_set_that_cannot_be_is_refused_in_one_sentence(client: Client, fields: dict[str, Any]) -> None:
    with pytest.raises(AppError) as refused:
        client.predict(api_name="/classroom_dataset", **fields)
    assert len(str(refused.value)) < 200 and "logged" not in str(refused.value)


def test_the_endpoints_are_typed_and_documented(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for name in ("/classroom_compose", "/classroom_dataset"):
        assert named[name]["parameters"]
        for parameter in named[name]["parameters"]:
            assert parameter["python_type"]["type"] != "Any", parameter["parameter_name"]
            assert parameter["parameter_has_default"]


# --- the page's own calls ------------------------------------------------------------------------------------


def page(handler: Any, *values: Any) -> tuple[str, list[Any], tuple[Any, ...]]:
    """The last answer of a handler as the page gets it: message, controls, views."""
    steps = events.guarded(handler, handlers.CONTROLS + handlers.VIEWS)(*values)
    message, *rest = steps if isinstance(steps, tuple) else [*steps][-1]
    return message, rest[: handlers.CONTROLS], tuple(rest[handlers.CONTROLS :])


def value_of(controls: list[Any], slot: int, name: str) -> Any:
    return controls[slot * len(handlers.OBJECT) + handlers.OBJECT.index(name)]


SHEEP = ["1F411", 0.0, 0.0, 0.44, 0.6, 0.0, False, "lying", ""]
DOG = ["1F415", 0.3, 0.2, 0.3, 0.3, 0.0, False, "standing", ""]
EMPTY = ["", 0.0, 0.0, 0.44, 0.6, 0.0, False, "standing", ""]


def test_relations_place_the_objects_and_a_slider_sets_them_free() -> None:
    values = [*SHEEP, *EMPTY, *DOG, *EMPTY, "left", "snow", "sketch", 5, "zh"]
    message, controls, (stage, line, files, links, scene) = page(handlers.compose, *values)
    assert message == "" and value_of(controls, 0, "x") == -0.5 and value_of(controls, 2, "x") == 0.5
    assert value_of(controls, 1, "concept") == ""
    assert "羊在狗的左边" in stage and "a sheep to the left of a dog" in stage and "秒" in line
    assert scene.endswith("_snow.sketch.5") and files.count("<a ") == 3
    assert f"clip?scene={scene}" in links
    _, controls, (*_, moved) = page(handlers.move, *values)
    assert controls[-4] == "free" and "1F415.x30.y20.s30.d30" in moved


def test_what_never_stood_anywhere_gets_a_place_beside_the_others() -> None:
    values = [*DOG, *SHEEP, *EMPTY, *EMPTY, "free", "white", "colour", 0, "en"]
    _, controls, _ = page(handlers.compose, *values)
    assert (value_of(controls, 0, "x"), value_of(controls, 0, "y")) == (0.3, 0.2)
    assert (value_of(controls, 1, "x"), value_of(controls, 1, "y")) == (-0.62, -0.6)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_nothing_to_draw_is_one_sentence(lang: str) -> None:
    message, controls, _ = page(handlers.compose, *EMPTY * 4, "left", "grass", "colour", 0, lang)
    assert 'role="alert"' in message and controls[0] == {"__type__": "update"}
    message, *_ = page(handlers.compose, *DOG, *EMPTY * 3, "left", "grass", "colour", -3, lang)
    assert 'role="alert"' in message and "logged" not in message
    message, controls, _ = page(handlers.compose, *DOG, *EMPTY * 3, "left", "grass", "colour", None, lang)
    assert message == "" and controls[-1] == 0


def test_a_fresh_page_shows_the_recorded_scene_and_a_link_its_own() -> None:
    message, controls, (stage, line, *_, scene) = page(handlers.opened, "en", {})
    assert message == "" and "Recorded" in line and "a dog to the left of a car" in stage
    assert scene == PAIR and controls[-4:] == ["left", "grass", "colour", 0]
    text = "1F411.x0.y20.s60.d30.peating_night.grey.3"
    _, controls, (stage, line, *_, scene) = page(handlers.opened, "zh", {"scene": text})
    assert scene == text and "预先记录" not in line and "进食" in stage
    assert value_of(controls, 0, "pose") == "eating" and controls[-3:] == ["night", "grey", 3]
    _, _, (stage, line, *_) = page(handlers.opened, "en", {"scene": "<b>no scene</b>"})
    assert 'role="alert"' in line and "<b>no" not in line and "a dog to the left of a car" in stage


def test_every_example_runs() -> None:
    for name, row in handlers.examples().items():
        message, _, (*_, scene) = page(handlers.choose, f"{name} 17", "en")
        assert message == "" and scene == row["scene"]


def test_a_data_set_stops_and_leaves_nothing_behind() -> None:
    folder = Path(get_upload_folder())
    before = set(folder.glob("dataset-*"))
    cancel = Cancel()
    steps = handlers.dataset(60, 0, 48, "single", "line", True, "en", cancel)
    assert next(steps).share == 0
    bar = next(steps)
    assert "24 of 60 scenes" in bar.text and "left" in bar.text
    assert set(folder.glob("dataset-*")) - before
    cancel.set()
    with pytest.raises(Refusal, match="Stopped"):
        list(steps)
    assert set(folder.glob("dataset-*")) == before


# --- the scene on other pages --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lang", "caption"), [("en", "a dog to the left of a car"), ("zh", "狗在汽车的左边")]
)
def test_the_clip_page_opens_with_a_scene(lang: str, caption: str) -> None:
    fields, refused = pages.opened(CLIP.declared, {"scene": PAIR}, lang)
    assert refused == "" and fields["scene"] == PAIR and fields["example"] == ""
    assert inputs.labels(fields["labels"])[0] == caption
    form = pages.form(CLIP.declared.question)
    own = {name: value for name, value in fields.items() if name in form.fields}
    slots = pages.run(clip_handlers.classify, replace(form.first, **own), lang)
    # An image of the classroom: no hint that the miniature cannot know it.
    assert slots["message"] == "" and caption in slots["bars"] and slots["notes"] == ""


def test_the_clip_page_says_that_a_link_holds_no_scene() -> None:
    fields, refused = pages.opened(CLIP.declared, {"scene": "1F415.q3_grass.colour.0"})
    assert 'role="alert"' in refused and fields["scene"] == ""
    assert fields["image"] == CLIP.declared.examples.rows()[clip_handlers.OPENING]["path"]


def test_links_lead_to_every_open_page_that_takes_a_scene() -> None:
    links = scenes_link.links(PAIR, "en")
    for row in catalog.PAGES:
        assert (f'href="{row.slug}?scene=' in links) == (row.ready and row.scene)
    assert links.count("<a ") >= 1
