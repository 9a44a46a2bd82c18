"""The *Contrastive batch* tab through its endpoint and handlers: the loss, its buttons, refusals in one sentence."""

from __future__ import annotations

import base64
import csv
import io
import re
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from demos.clip import answer as handlers
from demos.clip import batch as clip_batch
from demos.clip import batches
from demos.kit import events as wiring
from demos.kit import shell

PICTURES = [
    handlers.examples()[name]["path"] for name in ("red_envelope", "sheep_eating", "airplane_drawing")
]
CAPTIONS = ["a red envelope", "a sheep eating grass", "an airplane"]
PLOT, NOTE, CARD, CODE, LINE, SCALE, MARK, SCALE_OF, CURVE, BEFORE = range(1, 11)


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


def ask(
    captions: str, where: str = "classroom", count: float = 6, view: str = "rows", scale: float = 1.0,
    scale_of: str = "", before: str = "", lang: str = "en", files: list[str] | None = None, handler: Any = None,
) -> tuple[Any, ...]:  # fmt: skip
    """The page's own call: the message, then what `clip_batch.compute` shows."""
    guard = shell.guarded(handler or clip_batch.compute, clip_batch.SHOWN)
    return guard(where, count, files, captions, view, scale, scale_of, before, "", lang)


def start(lang: str = "en", where: str = "classroom", count: float = 6) -> str:
    """The captions that a set begins with."""
    return str(clip_batch.fill(where, count, None, "", lang)[0])


def loss(shown: tuple[Any, ...]) -> float:
    """The loss of an answer."""
    assert shown[0] == ""
    return float(shown[BEFORE])


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


# --- the page's handlers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("view", ["rows", "columns", "logits", "gradient", "sigmoid"])
def test_every_view_in_both_languages(view: str, lang: str) -> None:
    shown = ask(start(lang), view=view, lang=lang)
    assert loss(shown) < 0.3
    assert len(shown[PLOT].layout.annotations) == 36
    assert shown[CODE].count("<tr>") == 10 and "ms" in shown[LINE]
    assert shown[LINE].count("download=") == 3


def test_swapping_costs_and_reset_brings_it_back() -> None:
    right = ask(start())
    (text,) = clip_batch.swap(start(), "en")
    assert text.splitlines()[:2] == start().splitlines()[1::-1]
    wrong = ask(text, before=right[BEFORE])
    assert loss(wrong) > loss(right) + 1
    assert f"was {loss(right):.3f}" in wrong[CARD] and "4 of 6" in wrong[CARD]
    assert clip_batch.swap(text, "en") == (start(),)


def test_shuffling_leaves_no_caption_in_place() -> None:
    lines = start(count=9).splitlines()
    for _ in range(20):
        moved = clip_batch.shuffle("\n".join(lines), "en")[0].splitlines()
        assert sorted(moved) == sorted(lines)
        assert all(there != here for there, here in zip(moved, lines, strict=True))


def test_the_slider_stands_at_what_was_learned_until_it_is_moved() -> None:
    first = ask(start(), scale=77.0)
    learned = first[SCALE]
    assert f"{learned:.1f}" in first[MARK]
    # The rounded number of the slider is no other temperature.
    again = ask(start(), scale=learned, scale_of=first[SCALE_OF])
    assert loss(again) == loss(first)
    low = ask(start(), scale=1.0, scale_of=first[SCALE_OF])
    assert low[SCALE] == 1 and 3 * loss(first) < loss(low) < np.log(6)
    # What was set for another checkpoint does not count.
    assert loss(ask(start(), scale=1.0, scale_of="another 16.00")) == loss(first)


def test_one_caption_twice_is_right_for_both() -> None:
    shown = ask(start(where="same", count=5), where="same", count=5)
    assert "5 of 5" in shown[CARD] and f"{2 * np.log(2) / 5:.3f}" in shown[CARD]


def test_scenes_of_a_seed_are_the_same_again_and_all_different() -> None:
    texts = start(where="scenes:3", count=8).splitlines()
    assert len(set(texts)) == 8 and start(where="scenes:3", count=8).splitlines() == texts
    assert loss(ask("\n".join(texts), where="scenes:3", count=8)) < np.log(8)


def test_uploads_are_a_batch_with_captions_to_begin_with() -> None:
    text, count, before = clip_batch.fill("uploaded", 6, PICTURES, "", "en")
    assert count == 3 and before == "" and len(text.splitlines()) == 3
    shown = ask(text, where="uploaded", files=PICTURES)
    assert shown[0] == "" and "atlas-hint" in shown[LINE]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    ("captions", "where", "files"),
    [
        ("", "classroom", None),
        ("one\ntwo", "classroom", None),
        ("x" * 500, "classroom", None),
        ("a", "uploaded", None),
        ("a", "uploaded", PICTURES[:1]),
    ],
)
def test_bad_batches_are_refused_in_one_sentence(captions: str, where: str, files: Any, lang: str) -> None:
    shown = ask(captions, where=where, files=files, lang=lang)
    assert 'role="alert"' in shown[0] and "logged" not in shown[0] and "已经记录" not in shown[0]


def test_typing_is_patient() -> None:
    shown = ask("a red envelope\na sheep", handler=clip_batch.typed)
    assert (
        shown[0] == "" and "2 captions for 6 pictures" in shown[LINE] and len(shown) == clip_batch.SHOWN + 1
    )
    assert loss(ask(start(), handler=clip_batch.typed)) < 0.3


def test_the_table_as_csv_can_be_read_back() -> None:
    shown = ask(start())
    data = re.search(r'download="clip-batch.csv" href="data:text/csv;base64,([^"]+)"', shown[LINE])
    assert data
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(data[1]).decode("utf-8-sig"))))
    assert len(rows) == 36 and rows[0]["text"] == "a red envelope"


# --- batch size against difficulty -------------------------------------------------------------------------


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool of pairs that is encoded in a moment, and progress after every picture."""
    monkeypatch.setattr(clip_batch, "POOL", 64)
    monkeypatch.setattr(clip_batch, "scenes", lambda seed, count, side: batches.scenes(0, 64, 64))
    monkeypatch.setattr(clip_batch, "SHOW_SECONDS", 0.0)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_larger_batches_are_measured_with_progress(pool: None, lang: str) -> None:
    steps = list(wiring.guarded(clip_batch.harder, 2)("tab", "", lang))
    assert all(step[0] == "" for step in steps) and len(steps) > 10
    assert "aria-valuenow" in steps[5][1] and ("s left" in steps[5][1]) == (lang == "en")
    assert steps[-1][1].count("<figure") == 2 and steps[-1][2]["visible"] is False


def test_stop_ends_the_measuring(pool: None) -> None:
    steps = wiring.guarded(clip_batch.harder, 2)("tab", "", "en")
    next(steps)
    next(steps)
    clip_batch.stop("another", "en")
    next(steps)
    clip_batch.stop("tab", "en")
    rest = list(steps)
    assert len(rest) == 1 and "stopped" in rest[0][1].lower() and rest[0][2]["visible"] is False
