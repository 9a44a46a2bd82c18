"""The GroupViT page through its endpoint and handlers: the threshold, groups across images, true names, refusals."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from core import checkpoints, inputs
from core import masks as rle
from core.classroom.world import labelled
from core.runtime import Cancel
from core.segmentation import groupvit
from demos.groupvit import answer, inside, tabs
from demos.groupvit.page import PAGE, Question
from demos.groupvit.words import data, examples
from demos.kit.jobs import Progress
from tests.pages import parts, run

EXAMPLES = examples()
DRAWN = [name for name, row in EXAMPLES.items() if row["classroom"]]
PETS = EXAMPLES["dog_and_cat"]
LABELS = PETS["labels"]["en"]
WALK = PAGE.declared.walk
ASKED = Question(image=PETS["path"], labels=LABELS, threshold=0.2)


# --- endpoint --------------------------------------------------------------------------------------------


def test_the_endpoint_segments(client: Client) -> None:
    reply = client.predict(handle_file(PETS["path"]), LABELS, 0.2, api_name="/groupvit_segment")
    assert {"checkpoint", "seconds", "size", "threshold", "line", "results", "groups"} == set(reply)
    assert checkpoints.row(reply["checkpoint"]).bundled
    width, height = reply["size"]
    masks = [rle.decode(row["mask"]["counts"], height, width) for row in reply["results"]]
    # Every pixel has one label or none.
    np.testing.assert_array_equal(np.sum(masks, axis=0), 1)
    for row, mask in zip(reply["results"], masks, strict=True):
        assert row["share"] == pytest.approx(mask.mean())
    assert {row["label"] for row in reply["results"]} == {*LABELS.split(", "), None}
    assert sum(row["share"] for row in reply["results"] if row["label"]) > 0
    # Without a threshold it is the row's own.
    own = client.predict(handle_file(PETS["path"]), ["dog", "cat"], api_name="/groupvit_segment")
    assert own["threshold"] == groupvit.row_threshold(own["checkpoint"])


@pytest.mark.parametrize(
    ("labels", "threshold", "checkpoint", "words"),
    [
        (" ，", 0.5, None, "label"),
        ("dog", 1.5, None, "threshold must be a number from 0 to 1"),
        ("dog", -0.1, None, "threshold must be a number from 0 to 1"),
        ("dog", "high", None, "threshold must be"),
        ("dog", 0.5, "no-such-row", "no-such-row"),
        (", ".join(f"label {i}" for i in range(101)), 0.5, None, "100"),
        (["a" * 400], 0.5, None, "300"),
    ],
)
def test_bad_input_is_one_sentence(
    client: Client, labels: Any, threshold: Any, checkpoint: str | None, words: str
) -> None:
    with pytest.raises(AppError, match=words) as refused:
        client.predict(handle_file(PETS["path"]), labels, threshold, checkpoint, api_name="/groupvit_segment")
    assert "Traceback" not in str(refused.value) and "logged" not in str(refused.value)


def test_a_file_that_is_no_image_is_refused(client: Client, tmp_path: Any) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture at all")
    with pytest.raises(AppError, match="not an image"):
        client.predict(handle_file(str(tmp_path / "a.png")), "dog", api_name="/groupvit_segment")


# --- the page --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_opening_example_is_right(lang: str) -> None:
    """At the threshold that the page opens with, each thing and the background have their place."""
    row = EXAMPLES[answer.EXAMPLES.opening]
    asked = replace(
        ASKED,
        **answer.EXAMPLES.fill(answer.EXAMPLES.opening, ASKED, lang),
        **answer.own_threshold(ASKED, lang),
    )
    grouping = answer.run(asked).grouping
    places = np.array([grouping.labels.index(name) for name in row["names"][lang]] + [-1])
    truth = places[labelled.stored(row)]
    for place in np.unique(np.concatenate([truth, grouping.mask])):
        own, exact = grouping.mask == place, truth == place
        assert (own & exact).sum() / (own | exact).sum() > 0.5, place


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_answers_in_both_languages(name: str) -> None:
    for lang in ("en", "zh"):
        asked = replace(ASKED, **answer.EXAMPLES.fill(name, ASKED, lang))
        slots = run(answer.segment, asked, lang)
        assert slots["message"] == "" and "atlas-line" in slots["line"]
        assert "atlas-seg-mask" in slots["mask"] and "gv-bar" in slots["chart"]
        assert 'class="best"' in slots["table"]
        assert ("atlas-hint" in slots["notes"]) == (not EXAMPLES[name]["classroom"])


@pytest.mark.parametrize(
    "change",
    [
        {"image": None},
        {"labels": "，"},
        {"threshold": 2},
        {"threshold": None},
        {"threshold": float("nan")},
        {"image": "data:image/png;base64,AAAA"},
    ],
)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_refusals_are_one_sentence(change: dict[str, Any], lang: str) -> None:
    slots = run(answer.segment, replace(ASKED, **change), lang)
    assert slots.keys() == {"message", "bars"} and slots["message"]
    assert any("\u4e00" <= sign <= "\u9fff" for sign in slots["message"]) == (lang == "zh")


def test_the_threshold_moves_without_encoding_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run(answer.segment, ASKED, "en")
    for name in ("_encode_image", "_encode_text"):
        monkeypatch.setattr(groupvit, name, lambda *_: pytest.fail("encoded again"))
    shares = []
    for threshold in (0.0, 0.1, 0.3, 0.6, 1.0):
        slots = answer.picture(answer.run(replace(ASKED, threshold=threshold)), "en")
        assert set(slots) == {"mask", "chart", "table"}
        shares.append(float(re.search(r"<strong>([\d.]+)%</strong> of the image", slots["chart"])[1]))  # type: ignore[index]
    assert shares == sorted(shares) and shares[0] == 0


def test_html_in_labels_is_text() -> None:
    slots = run(answer.segment, replace(ASKED, labels="<img src=x onerror=alert(1)>, dog"), "en")
    text = "".join(str(slots[name]) for name in ("mask", "chart", "table", "notes"))
    assert "<img src=x" not in text and "&lt;img src=x" in text


def test_an_image_of_any_shape(tmp_path: Any) -> None:
    for size in ((20, 300), (700, 200), (9, 9)):
        buffer = io.BytesIO()
        Image.new("RGB", size, "green").save(buffer, "PNG")
        path = tmp_path / f"{size[0]}.png"
        path.write_bytes(buffer.getvalue())
        slots = run(answer.segment, replace(ASKED, image=str(path)), "en")
        assert slots["message"] == "" and f"--ratio:{size[0] / size[1]:.4f}" in slots["mask"]


def test_downloads_and_many_files_have_the_labels_of_the_page() -> None:
    assert answer.files(ASKED, "en").count("download=") == 5
    outcome = answer.many(replace(ASKED, threshold=0.95))(inputs.image(PETS["path"]))
    assert set(outcome.cells) == {f"share({name})" for name in LABELS.split(", ")}
    assert outcome.mask is not None and outcome.mask.min() == -1  # no label


# --- tabs ------------------------------------------------------------------------------------------------


def across(cancel: Cancel, lang: str = "en") -> Iterator[Any]:
    """The job of *Groups*."""
    return parts(inside.across, ASKED, lang, cancel=cancel)


def test_a_group_across_images() -> None:
    *bars, last = across(Cancel())
    # The page's image is one of the examples and stands there once; the nine things are not in the row.
    assert len(bars) == len(DRAWN) - 1 and all(isinstance(bar, Progress) for bar in bars)
    assert last["out"].count('class="gv-picture"') == len(DRAWN) - 1 and "atlas-line" in last["line"]
    assert last["out"].count(PETS["caption"]["en"]) == 2  # the image's text and its caption


def test_a_stopped_row_keeps_what_it_has() -> None:
    cancel = Cancel()
    job = across(cancel, "zh")
    next(job)
    cancel.set()
    (last,) = job
    assert last["out"].count('class="gv-picture"') == 1


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_nine_things_share_eight_groups(lang: str) -> None:
    slots = run(tabs.nine_things, ASKED, lang)
    assert slots["message"] == "" and "atlas-seg-mask" in slots["groups"]
    homes = re.findall(r'<tr><th scope="row">[^<]+</th><td>([^<]+)</td>', slots["shared"])
    things = [name for row in homes for name in re.split("[,、] ?", row)]
    assert sorted(things) == sorted(EXAMPLES[tabs.CROWD]["names"][lang]) and len(homes) <= 8
    # The page's own image stays what it is.
    own = run(tabs.own_things, ASKED, lang)
    assert own["message"] == "" and own["shared"] != slots["shared"]


def test_true_names_stand_beside_the_models_own() -> None:
    *_, before, bar, last = parts(tabs.renamed, ASKED, 3, "en")
    table = re.findall(r"mIoU ([\d.]+)", before["table"])
    assert len(table) == 2 * tabs.SCENES and isinstance(bar, Progress) and bar.share == 1
    own, right = (sum(map(float, table[i::2])) / tabs.SCENES for i in (0, 1))
    means = [float(value) for value in re.findall(r"<b>([\d.]+)</b>", last["score"])]
    assert means == pytest.approx([own, right], abs=0.011)
    assert "seed must be a number" in run(tabs.renamed, ASKED, -1, "en")["message"]
    assert next(parts(tabs.renamed_others, ASKED, tabs.MAX_SEED, "en")) == {"seed": 0}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_tensors_and_code_are_those_of_the_run(lang: str) -> None:
    tabs_by_name = {tab.name: tab for tab in PAGE.declared.inside}
    shown = run(tabs_by_name["tensors"].handler, ASKED, lang)
    shapes = re.findall("<code>([^<]+)</code>", shown["out"])
    assert "[1, 3, 96, 96]" in shapes and "[384, 384]" in shapes and "ms" in shown["line"]
    made = {card["made"] for card in data()["code"] if "made" in card}
    assert made == set(data()["made"])
    cards = run(tabs_by_name["code"].handler, ASKED, lang)["out"]
    assert cards.count("<section") == len(data()["code"]) and "θ = 0.20" in cards
    assert cards.count(">in this run<" if lang == "en" else ">本次运行<") == len(made)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", WALK.lessons())
def test_a_step_has_an_outcome_among_its_choices(name: str, lang: str) -> None:
    for step in WALK.lessons()[name]["steps"]:
        outcome = WALK.outcome(step, "", lang)
        assert 0 <= outcome.index < len(WALK.choices(step, lang)) and "<" in outcome.body


@pytest.mark.parametrize(("lang", "word"), [("en", "published"), ("zh", "已发表")])
def test_published_numbers_are_marked(lang: str, word: str) -> None:
    table = inside.published(lang)
    assert "52.3 %" in table and word in table and "mIoU" in table
