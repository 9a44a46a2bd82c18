"""Example images of the pages with a data file: they are what their scenes draw, and say what the pages ask of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from core import checkpoints, inputs
from demos.kit import library, results, tensors
from demos.kit import page as page_of_kit
from demos.kit.html import Markup
from demos.kit.language import Text
from demos.kit.menu import label_language
from demos.kit.walkthrough import Case

PAGES = ("lseg", "vild", "glip")


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_own_pictures_are_what_their_scenes_draw(page: str, tmp_path: Path) -> None:
    library.write(page, tmp_path)
    kept = library.ASSETS / page
    assert (tmp_path / library.LISTING).read_text() == (kept / library.LISTING).read_text()
    for file in tmp_path.glob("*.webp"):
        difference = np.asarray(Image.open(kept / file.name), int) - np.asarray(Image.open(file), int)
        assert np.abs(difference).max() <= 2


@pytest.mark.parametrize("page", PAGES)
def test_an_example_is_a_scene_of_the_page_or_a_picture_of_the_clip_page(page: str) -> None:
    rows = library.data(page)["examples"]
    for name, row in library.examples(page).items():
        assert Path(row["path"]).is_file() and row["labels"] == rows[name]["labels"]
        assert row["caption"] == rows[name].get("caption", row["caption"]) and row["caption"]["zh"]
        own = "scene" in rows[name]
        assert ((library.ASSETS / page) in Path(row["path"]).parents) == own
        assert not own or (row["classroom"] and row["objects"])


def test_sentences_of_a_page_have_places_for_values(monkeypatch: pytest.MonkeyPatch) -> None:
    says = {"count": {"en": "{n} images of {share:.0%}", "zh": "{n} 张图片，{share:.0%}"}}
    monkeypatch.setattr(library, "data", lambda page: {"says": says})
    assert library.say("page", "count", "en", n=3, share=0.5) == "3 images of 50%"
    assert library.say("page", "count", "zh", n=3, share=0.5) == "3 张图片，50%"
    assert library.text("page", "count") == Text(**says["count"])


def test_a_row_that_data_toml_lacks_is_named() -> None:
    with pytest.raises(KeyError, match=r"demos/glip/data.toml has no \[says\] nothing"):
        library.say("glip", "nothing", "en")
    with pytest.raises(KeyError, match=r"has no \[tabs\] nothing"):
        page_of_kit.tab("glip", "nothing", str)


def test_an_example_without_an_image_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shared = library.shared()
    examples: dict[str, dict[str, str]] = {"red_envelope": {"real": "no"}}
    monkeypatch.setattr(library, "data", lambda page: {"examples": examples})
    monkeypatch.setattr(library, "shared", lambda: shared)
    monkeypatch.setattr(library, "ASSETS", tmp_path)
    # A page whose examples are all shared ones has no folder of its own.
    assert library.examples.__wrapped__("new")["red_envelope"]["path"] == shared["red_envelope"]["path"]
    examples["unknown"] = {"real": "no"}
    with pytest.raises(KeyError, match=r"unknown is no shared image and has no scene"):
        library.examples.__wrapped__("new")
    for name in (
        "own",
        "red_envelope",
    ):  # a scene is drawn for the page, also where a shared image has its name
        examples.clear()
        examples[name] = {"scene": "1F415_white.colour.0"}
        with pytest.raises(KeyError, match=rf"{name} is not drawn yet: python -m demos.kit.library new"):
            library.examples.__wrapped__("new")


def test_a_page_without_weights_has_the_visitors_language_and_a_line() -> None:
    assert label_language("no-such-paper", "", "zh") == "zh"
    case = Case("no-such-paper", {"labels": {"en": "red", "zh": "红色"}}, "", "zh")
    assert case.labels() == ["红色"]
    line = results.line(0.5, "", "cpu", "en")
    assert "0.50 s" in line and "cpu" in line and " ·  · " not in line


def test_a_sentence_of_html_escapes_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    says = {"best": {"en": "<b>{name}</b> is best", "zh": "最好的是<b>{name}</b>"}}
    monkeypatch.setattr(library, "data", lambda page: {"says": says})
    assert library.markup("page", "best", "en", name="<dog>") == "<b>&lt;dog&gt;</b> is best"
    assert library.markup("page", "best", "zh", name=Markup("<i>狗</i>")) == "最好的是<b><i>狗</i></b>"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_line_names_the_parts_of_the_time(lang: str) -> None:
    answer = SimpleNamespace(
        checkpoint=checkpoints.default("lseg"), device="cpu", timings={"segment": 12.4, "other": 3.0}
    )
    line = results.answer_line("lseg", answer, 1.5, lang)
    assert ("mask 12 ms" if lang == "en" else "掩码 12 ms") + " + other 3 ms" in line and "1.50" in line


def test_templates_of_steps_take_the_values_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [
        {
            "name": {"en": "image", "zh": "图片"},
            "shape": "[1, {width}]",
            "meaning": {"en": "{places} places", "zh": "{places} 个位置"},
        }
    ]
    texts = {"steps": steps, "tensors": {"mask": {"en": "the mask", "zh": "掩码"}}}
    monkeypatch.setattr(library, "data", lambda page: texts)
    ((name, shape, meaning),) = tensors.steps("page", width=96, places=4)
    assert (name.zh, shape, meaning) == ("图片", "[1, 96]", Text("4 places", "4 个位置"))
    ((name, shape, meaning),) = tensors.named("page", {"mask": tensors.shape(np.zeros((2, 3)))})
    assert (name.en, shape, meaning.zh) == ("mask", "[2, 3]", "掩码")


def test_the_boxes_of_a_drawn_image_are_known() -> None:
    row = library.shared()["cat_left_of_car"]
    boxes = library.known_boxes(["a cat", "汽车", "dog"], inputs.image(row["path"]))
    assert boxes == [[row["objects"][0]["box"]], [row["objects"][1]["box"]], []]
    photo = inputs.image(library.shared()["rose"]["path"])
    assert library.known_boxes(["a rose"], photo) == [[]]
