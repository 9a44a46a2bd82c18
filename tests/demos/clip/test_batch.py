"""The *Contrastive batch* tab through its endpoint and handlers: the loss, its buttons, refusals in one sentence."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import re
from functools import partial
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from core.errors import Refusal
from core.runtime import Cancel
from demos.clip import batch as tab
from demos.clip.batch import Batch
from tests.demos.clip.asked import EXAMPLES, asked
from tests.pages import parts, run

PICTURES = [EXAMPLES[name]["path"] for name in ("red_envelope", "sheep_eating", "airplane_drawing")]
CAPTIONS = ["a red envelope", "a sheep eating grass", "an airplane"]


def ask(
    change: Any = dataclasses.replace, drafts: bool = False, lang: str = "en", **fields: Any
) -> dict[str, Any]:
    """The answer to a batch of the tab, the message of a refusal among its slots."""
    batch = Batch(**({"count": 6, "captions": START[lang]} | fields))
    values = [getattr(batch, one.name) for one in dataclasses.fields(Batch)]
    return run(partial(tab.ask, change, drafts), asked(), *values, lang)


def start(lang: str = "en", where: str = "classroom", count: float = 6) -> str:
    """The captions that a set begins with."""
    return tab.drafted(Batch(where=where, count=count), "", lang).captions


def loss(slots: dict[str, Any]) -> float:
    """The loss of an answer."""
    assert slots["message"] == ""
    return float(slots["before"])


START = {lang: start(lang) for lang in ("en", "zh")}


# --- endpoint ----------------------------------------------------------------------------------------------


def test_the_endpoint_answers_the_matrix_and_its_loss(client: Client) -> None:
    files = [handle_file(path) for path in PICTURES]
    answer = client.predict(files, CAPTIONS, api_name="/clip_matrix")
    rows, columns = np.array(answer["probabilities"]), np.array(answer["probabilities_by_caption"])
    assert rows.shape == (3, 3) and np.allclose(rows.sum(1), 1) and np.allclose(columns.sum(0), 1)
    logits = np.array(answer["logits"])
    assert np.allclose(logits, answer["logit_scale"] * np.array(answer["cosines"]), atol=1e-4)
    assert answer["loss_i"] == pytest.approx(-np.log(rows.diagonal()).mean(), abs=1e-4)
    assert answer["loss"] == pytest.approx((answer["loss_i"] + answer["loss_t"]) / 2)
    assert answer["picture_accuracy"] == answer["caption_accuracy"] == 1 and answer["loss"] < 0.5 * np.log(3)
    # Captions as lines of one text are the same question; a temperature of one's own changes logits, not cosines.
    warm = client.predict(files, "\n".join(CAPTIONS), logit_scale=2, api_name="/clip_matrix")
    assert np.allclose(warm["cosines"], answer["cosines"], atol=1e-5) and warm["logit_scale"] == 2
    assert warm["loss"] > answer["loss"]


@pytest.mark.parametrize(
    ("count", "captions", "scale", "sentence"),
    [
        (0, [], None, "1 to 64 images, not 0"),
        (65, ["a"] * 65, None, "1 to 64 images, not 65"),
        (2, ["a"], None, "2 images and 1 captions"),
        (2, " ", None, "2 images and 0 captions"),
        (2, None, None, "captions must be"),
        (2, ["a", 3], None, "captions must be"),
        (2, ["a", "b" * 400], None, "300"),
        (2, ["a", "b"], 0, "above 0 and at most 1000"),
        (2, ["a", "b"], "hot", "logit_scale must be"),
    ],
)
def test_the_endpoint_refuses_in_one_sentence(
    client: Client, count: int, captions: Any, scale: Any, sentence: str
) -> None:
    files = [handle_file(PICTURES[0])] * count
    with pytest.raises(AppError, match=sentence):
        client.predict(files, captions, None, scale, api_name="/clip_matrix")


def test_the_endpoint_says_what_it_takes(client: Client) -> None:
    known = client.view_api(return_format="dict", print_info=False)["named_endpoints"]["/clip_matrix"]
    assert [row["parameter_name"] for row in known["parameters"]] == [
        "images", "captions", "checkpoint", "logit_scale",
    ]  # fmt: skip
    assert "symmetric loss" in known["description"]


# --- the page --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("view", ["rows", "columns", "logits", "gradient", "sigmoid"])
def test_every_view_in_both_languages(view: str, lang: str) -> None:
    slots = ask(view=view, lang=lang)
    assert loss(slots) < 0.3
    assert len(slots["plot"].layout.annotations) == 36
    assert slots["code"].count("<tr>") == 10 and slots["line"].count("download=") == 3


def test_swapping_costs_and_reset_restores_the_loss() -> None:
    first = ask()
    wrong = ask(tab.swapped, before=first["before"])
    assert wrong["captions"].splitlines()[:2] == START["en"].splitlines()[1::-1]
    assert loss(wrong) > loss(first) + 1
    assert f"was {loss(first):.3f}" in wrong["card"] and "4 of 6" in wrong["card"]
    reset = ask(drafts=True, captions=wrong["captions"])
    assert reset["captions"] == START["en"] and loss(reset) == loss(first)


def test_shuffling_leaves_no_caption_in_place() -> None:
    lines = start(count=9).splitlines()
    for _ in range(20):
        moved = tab.shuffled(Batch(captions="\n".join(lines))).captions.splitlines()
        assert sorted(moved) == sorted(lines)
        assert all(to != at for to, at in zip(moved, lines, strict=True))


def test_a_tab_that_is_opened_drafts_its_captions_once() -> None:
    assert ask(captions="")["captions"] == START["en"]
    assert ask(captions=START["zh"])["captions"] == START["zh"]


def test_the_slider_stands_at_what_was_learned_until_it_is_moved() -> None:
    first = ask(scale=77.0)
    learned = first["scale"]["value"]
    assert f"{learned:.1f}" in first["scale"]["info"]
    # The rounded number of the slider is no other temperature.
    assert loss(ask(scale=learned, scale_of=first["scale_of"])) == loss(first)
    low = ask(scale=1.0, scale_of=first["scale_of"])
    assert low["scale"]["value"] == 1 and 3 * loss(first) < loss(low) < np.log(6)
    # What was set for another checkpoint does not count.
    assert loss(ask(scale=1.0, scale_of="another 16.00")) == loss(first)


def test_one_caption_twice_is_correct_for_both() -> None:
    card = ask(where="same", count=5, captions=start(where="same", count=5))["card"]
    assert "5 of 5" in card and f"{2 * np.log(2) / 5:.3f}" in card


def test_scenes_of_a_seed_are_the_same_again_and_all_different() -> None:
    first = ask(tab.composed, drafts=True, seed=3, count=8)
    texts = first["captions"].splitlines()
    assert first["where"] == "scenes:3" and len(set(texts)) == 8 and loss(first) < np.log(8)
    assert start(where="scenes:3", count=8).splitlines() == texts


def test_uploads_are_a_batch_with_captions_to_begin_with() -> None:
    slots = ask(drafts=True, where="uploaded", files=PICTURES)
    assert slots["count"] == 3 and len(slots["captions"].splitlines()) == 3
    assert slots["message"] == "" and "atlas-hint" not in ask()["line"]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    ("captions", "where", "files"),
    [
        ("one\ntwo", "classroom", None),
        ("x" * 500, "classroom", None),
        ("a", "uploaded", None),
        ("a", "uploaded", PICTURES[:1]),
    ],
)
def test_bad_batches_are_refused_in_one_sentence(captions: str, where: str, files: Any, lang: str) -> None:
    assert ask(captions=captions, where=where, files=files, lang=lang)["message"]


def test_the_table_as_csv_can_be_read_back() -> None:
    data = re.search(r'download="clip-batch.csv" href="data:text/csv;base64,([^"]+)"', ask()["line"])
    assert data
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(data[1]).decode("utf-8-sig"))))
    assert len(rows) == 36 and rows[0]["text"] == "a red envelope"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("photos", ("photos", 0)), ("scenes:7", ("scenes", 7)), ("uploaded", ("uploaded", 0)),
        ("scenes:-1", ("classroom", 0)), ("scenes:9999999999", ("classroom", 0)), ("../x", ("classroom", 0)),
        ("", ("classroom", 0)),
    ],
)  # fmt: skip
def test_a_batch_is_named_by_what_the_server_knows(name: str, known: tuple[str, int]) -> None:
    assert tab.source(name) == known


@pytest.mark.parametrize("name", tab.SETS)
def test_every_set_has_as_many_captions_as_images(name: str) -> None:
    batch = Batch(where=name, count=tab.HIGH)
    images = tab.images_of(batch)
    assert tab.LOW <= len(images) <= tab.HIGH
    for lang in ("en", "zh"):
        captions = tab.captions_of(batch, "classroom-rn", lang)
        assert len(captions) == len(images) and all(captions)
    assert len(tab.images_of(dataclasses.replace(batch, count=2))) == 2


# --- batch size against difficulty -------------------------------------------------------------------------


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool of pairs that is encoded in a moment."""
    pairs = tab.scenes(0, 64, 64)
    monkeypatch.setattr(tab, "scenes", lambda seed, count, side: pairs)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_larger_batches_are_measured_with_progress(pool: None, lang: str) -> None:
    slots = run(tab.harder, asked(), lang)
    assert slots["message"] == "" and slots["curves"].count("<figure") == 2
    assert len(slots["bars"]) > 64 and ("s left" in slots["bars"][5].text) == (lang == "en")


def test_stop_ends_the_measuring(pool: None) -> None:
    cancel = Cancel()
    steps = parts(tab.harder, asked(), "en", cancel=cancel)
    next(steps)
    next(steps)
    cancel.set()
    with pytest.raises(Refusal):
        next(steps)
