"""The GLIP page through its endpoint and handlers: sentences and lists, the threshold, files, lessons, refusals."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import zipfile
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
from demos.glip.examples import examples, words
from demos.glip.shared import Asked
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from core import checkpoints
from core.classroom.world.concepts import concepts
from core.detection.glip import boxes as glip_boxes
from core.detection.glip import grounding
from core.errors import Refusal
from core.runtime import Cancel
from demos.chinese_clip import code as chinese_code
from demos.glip import answer as handlers
from demos.glip import draw as views
from demos.glip import inside as glip_inside
from demos.glip import lessons as glip_walk
from demos.kit import events as wiring
from demos.kit import shell, sources

EXAMPLES = examples()
PAIR = EXAMPLES["dog_and_car"]
SENTENCE = PAIR["caption"]["en"]


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


def ask(
    picture: Any = PAIR["path"],
    mode: str = "sentence",
    text: str = SENTENCE,
    threshold: Any = 0.3,
    lang: str = "en",
) -> tuple[str, ...]:
    """The page's own call: message, figure, table, line."""
    return shell.guarded(handlers.ground, 3)(Asked(picture, mode, text, threshold, ""), lang)


def iou(box: Any, other: Any) -> float:
    """Of two boxes."""
    return float(views.overlaps(np.array([box], float), np.array([other], float))[0, 0])


# --- endpoint --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_endpoint_grounds_a_sentence(client: Client, lang: str) -> None:
    sentence = PAIR["caption"][lang]
    answer = client.predict(handle_file(PAIR["path"]), sentence, None, 0.05, api_name="/glip_ground")
    assert {"checkpoint", "prompt", "mode", "seconds", "size", "phrases", "results"} == set(answer)
    assert answer["mode"] == "grounding" and answer["prompt"] == sentence
    assert checkpoints.row(answer["checkpoint"]).bundled
    for phrase in answer["phrases"]:
        assert sentence[phrase["start"] : phrase["end"]] == phrase["text"]
    scores = [row["score"] for row in answer["results"]]
    assert scores == sorted(scores, reverse=True) and all(0.05 <= score <= 1 for score in scores)
    # The best box of each phrase lies on its thing.
    for at, thing in enumerate(PAIR["objects"]):
        best = next(row for row in answer["results"] if row["phrase_index"] == at)
        assert thing[lang] in best["phrase"] and iou(best["box"], thing["visible_box"]) > 0.5


def test_labels_are_a_prompt(client: Client) -> None:
    listed = client.predict(handle_file(PAIR["path"]), None, "dog, car", 0.1, api_name="/glip_ground")
    typed = client.predict(handle_file(PAIR["path"]), "dog . car .", None, 0.1, api_name="/glip_ground")
    assert listed["mode"] == "detection" and listed["prompt"] == typed["prompt"] == "dog . car ."
    assert listed["results"] == typed["results"] != []
    # Without a threshold it is the row's own.
    own = client.predict(handle_file(PAIR["path"]), None, ["dog", "car"], api_name="/glip_ground")
    line = grounding.row_threshold(own["checkpoint"])
    assert all(row["score"] >= line for row in own["results"])


@pytest.mark.parametrize(
    ("caption", "labels", "threshold", "checkpoint", "said"),
    [
        (None, None, 0.5, None, "either a caption or labels"),
        ("a dog", "dog", 0.5, None, "either a caption or labels"),
        ("  ", None, 0.5, None, "no text"),
        ("to the left of", None, 0.5, None, "No thing is named"),
        ("a dog " * 80, None, 0.5, None, "300"),
        (None, " ，", 0.5, None, "label"),
        (None, [f"label {i}" for i in range(1001)], 0.5, None, "1000"),
        (None, ["dog", "🐕" * 300], 0.5, None, "word pieces"),
        ("a dog", None, 1.5, None, "threshold must be a number from 0 to 1"),
        ("a dog", None, "high", None, "threshold must be"),
        ("a dog", None, 0.5, "no-such-row", "no-such-row"),
        ("a dog", None, 0.5, "classroom-rn", "no checkpoint “classroom-rn”"),
        (None, "?!, ...", 0.5, None, "No label holds a word"),
    ],
)
def test_bad_input_is_one_sentence(
    client: Client, caption: Any, labels: Any, threshold: Any, checkpoint: Any, said: str
) -> None:
    with pytest.raises(AppError, match=said) as refused:
        client.predict(
            handle_file(PAIR["path"]), caption, labels, threshold, checkpoint, api_name="/glip_ground"
        )
    assert "Traceback" not in str(refused.value) and "logged" not in str(refused.value)


def test_a_file_that_is_no_picture_is_refused(client: Client, tmp_path: Any) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture at all")
    with pytest.raises(AppError, match="not a picture"):
        client.predict(handle_file(str(tmp_path / "a.png")), "a dog", api_name="/glip_ground")


# --- the page --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", handlers.MODES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_answers_in_both_languages(name: str, mode: str) -> None:
    for lang in ("en", "zh"):
        path, text, filled, scene = handlers.fill(name, mode, "", lang)
        message, figure, _, line = ask(path, mode, text, 0.2, lang)
        assert message == "" and filled == name and scene == ""
        assert 'class="gl-phrase' in figure and "atlas-det-stage" in figure and "ms" in line
        assert ("atlas-hint" in line) == (not EXAMPLES[name]["classroom"])


@pytest.mark.parametrize(
    ("picture", "mode", "text", "threshold"),
    [
        (None, "sentence", SENTENCE, 0.5),
        (PAIR["path"], "sentence", " ", 0.5),
        (PAIR["path"], "sentence", "and", 0.5),
        (PAIR["path"], "labels", "，", 0.5),
        (PAIR["path"], "poem", SENTENCE, 0.5),
        (PAIR["path"], "sentence", SENTENCE, 2),
        (PAIR["path"], "sentence", SENTENCE, None),
        (PAIR["path"], "sentence", SENTENCE, float("nan")),
        ("data:image/png;base64,AAAA", "sentence", SENTENCE, 0.5),
    ],
)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_refusals_are_one_sentence(picture: Any, mode: str, text: str, threshold: Any, lang: str) -> None:
    message, *_ = ask(picture, mode, text, threshold, lang)
    assert 'role="alert"' in message and "logged" not in message and "已经记录" not in message
    assert any("\u4e00" <= sign <= "\u9fff" for sign in message) == (lang == "zh")


def test_the_threshold_runs_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ask()
    for name in ("_encode_image", "_ground"):
        monkeypatch.setattr(grounding, name, lambda *_: pytest.fail("ran again"))
    counts = []
    for threshold in (0.05, 0.2, 0.4, 1.0):
        message, figure, table, _ = ask(threshold=threshold)
        # The figure has all boxes and lets the browser hide them; the table has those that are left.
        assert message == "" and figure.count("data-pick=") == ask(threshold=0.0)[1].count("data-pick=")
        counts.append(table.count("gl-crop"))
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1] == 0


def many_labels(count: int, *named: str) -> str:
    """Things of the classroom, more words than one prompt has room for; the named ones last."""
    others = [f"a picture of a {thing.en}" for thing in concepts() if thing.en not in named]
    return ", ".join([*others[: count - len(named)], *named])


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_long_list_shows_how_far_it_is_and_which_prompt_is_which(lang: str, tmp_path: Any) -> None:
    path = tmp_path / "new.png"  # a picture that nobody asked about
    Image.open(PAIR["path"]).resize((380, 371 if lang == "en" else 373)).save(path)
    question = Asked(str(path), "labels", many_labels(100, "dog", "car"), 0.3, "")
    work = wiring.with_session(handlers.as_job(handlers.ground, 3), 4)
    *bars, last = list(work(Session(), *astuple(question), lang))
    count = len(handlers.answered(question).found.prompts)
    assert len(bars) == count > 1 and all(bar[3].count("atlas-progress") == 1 for bar in bars)
    message, figure, table, line, stop = last
    assert message == "" and stop["visible"] is False and "ms" in line and table.count("gl-crop")
    assert figure.count('class="gl-part"') == count and figure.count('class="gl-phrase') == 100
    found = handlers.answered(question).found
    best = [found.phrases[at].text for at in found.phrase_indices[:4]]
    assert "dog" in best
    matrices, _ = handlers.alignment(question, lang)
    shown = np.unique(views.prompt_of(found, np.flatnonzero(views.above(found, 0.3))[: views.MAX_ROWS]))
    assert matrices.count("<h3>") == len(shown) and matrices.count("<table") == 2 * len(shown)
    assert "nan" not in matrices and ">dog</span>" in matrices
    assert list(handlers.prompt_bars(question, Cancel(), lang)) == []  # all remembered
    other = replace(question, text=many_labels(99, "cat"))
    with pytest.raises(Refusal, match="Stopped"):
        list(handlers.prompt_bars(other, Cancel(stopped=True), lang))


def test_a_thousand_labels_by_the_endpoint(client: Client) -> None:
    labels = [*[f"{thing.en} {i}" for i in range(3) for thing in concepts()][:998], "dog", "car"]
    answer = client.predict(handle_file(PAIR["path"]), None, labels, 0.2, api_name="/glip_ground")
    assert len(answer["phrases"]) == 1000 and 0 < len(answer["results"]) <= grounding.LIMIT
    assert {"dog", "car"} & {row["phrase"].split(" ")[0] for row in answer["results"][:10]}


class Session:
    """What a handler sees of a visitor."""

    session_hash = "test"


def test_html_in_a_sentence_is_text() -> None:
    shown = "".join(ask(text="a <img src=x onerror=alert(1)> and a dog"))
    assert "<img src=x" not in shown and "&lt;" in shown


def test_a_picture_of_any_shape(tmp_path: Any) -> None:
    for size in ((20, 300), (700, 200), (9, 9)):
        path = tmp_path / f"{size[0]}.png"
        Image.new("RGB", size, "green").save(path)
        message, figure, *_ = ask(str(path))
        assert message == "" and f"--ratio:{size[0] / size[1]:.4f}" in figure


def test_the_files_hold_the_boxes_that_are_left() -> None:
    message, links = shell.guarded(handlers.files, 1)(
        Asked(PAIR["path"], "sentence", SENTENCE, 0.2, ""), "en"
    )
    found = dict(re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', links))
    assert message == "" and set(found) == {
        f"glip-{name}" for name in ("boxes.png", "boxes.svg", "coco.json", "boxes.csv", "crops.zip")
    }
    data = {name: base64.b64decode(text) for name, text in found.items()}
    kept = json.loads(data["glip-coco.json"])
    assert [row["name"] for row in kept["categories"]] == ["a dog", "a car"]
    assert all(row["score"] >= 0.2 for row in kept["annotations"])
    count = len(kept["annotations"])
    assert len(list(csv.DictReader(io.StringIO(data["glip-boxes.csv"].decode("utf-8-sig"))))) == count > 0
    assert len(zipfile.ZipFile(io.BytesIO(data["glip-crops.zip"])).namelist()) == count
    assert Image.open(io.BytesIO(data["glip-boxes.png"])).size == Image.open(PAIR["path"]).size
    message, _ = shell.guarded(handlers.files, 1)(Asked(PAIR["path"], "sentence", SENTENCE, 1.0, ""), "en")
    assert "nothing to save" in message


def test_the_mode_changes_an_example_and_leaves_what_was_typed() -> None:
    changed = shell.guarded(handlers.other_mode, 1)
    assert changed("labels", "dog_and_car", SENTENCE, "", "zh") == ("", PAIR["labels"]["zh"])
    assert changed("sentence", "dog_and_car", PAIR["labels"]["zh"], "", "en") == ("", SENTENCE)
    for example, typed in (("dog_and_car", "my own words"), ("", SENTENCE)):
        message, kept = changed("labels", example, typed, "", "en")
        assert message == "" and not isinstance(kept, str)


def test_the_address_fills_the_page() -> None:
    *_, name, scene, mode, threshold, refused, numbers = handlers.opened("en", {})
    assert (name, scene, mode, refused) == (handlers.OPENING, "", "sentence", "")
    assert threshold == handlers.start_threshold("") and "46.6" in numbers
    query = {
        "example": "toys",
        "text": "a duck",
        "threshold": "0.7",
        "checkpoint": "nonsense",
        "mode": "labels",
    }
    assert handlers.opened("zh", query)[:6] == (EXAMPLES["toys"]["path"], "a duck", "toys", "", "labels", 0.7)
    assert handlers.opened("en", {"threshold": "7", "mode": "x"})[4:6] == ("sentence", threshold)
    told = handlers.opened("zh", {"scene": "1F415.x0.y0.s60_white.colour.0"})
    assert "狗" in told[1] and told[2] == "" and told[3].startswith("1F415")
    assert 'role="alert"' in handlers.opened("en", {"scene": "nonsense"})[6]


# --- look inside, lessons --------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_alignment_tensors_and_code_are_those_of_the_run(lang: str) -> None:
    asked = Asked(PAIR["path"], "sentence", PAIR["caption"][lang], 0.2, "")
    message, matrices, line = shell.guarded(handlers.alignment, 2)(asked, lang)
    assert message == "" and matrices.count("<table") == 2 and "class=best" in matrices and "ms" in line
    found = handlers.answered(asked).found
    message, shapes, _ = shell.guarded(glip_inside.tensors, 2)(asked, lang)
    sizes = handlers.sizes_of(handlers.answered(asked))
    assert sizes is not None
    places = sum(high * wide for high, wide in sizes["levels"])
    assert message == "" and f"= [{places}, {len(found.words)}]" in shapes
    message, cards, _ = shell.guarded(glip_inside.code, 2)(asked, lang)
    assert message == "" and cards.count('class="code-card"') == len(words()["code"])
    assert f"{found.scores[0]:.3f}" in cards


def test_a_phrase_scores_as_its_words_do() -> None:
    """What the matrix shows is what the score was made of: the mean of the words' sigmoids, times centerness."""
    import torch

    found = handlers.answered(Asked(PAIR["path"], "sentence", SENTENCE, 0.2, "")).found
    probability = glip_boxes.phrase_scores(
        torch.from_numpy(found.alignment), [phrase.words for phrase in found.phrases]
    )
    own = probability[torch.arange(len(found.scores)), torch.from_numpy(found.phrase_indices)].numpy()
    # score² = p · centerness, and centerness is at most 1.
    assert len(own) and (found.scores**2 <= own + 1e-5).all()


@pytest.mark.parametrize("card", words()["code"], ids=lambda card: card["name"])
def test_the_lines_shown_are_in_the_repository(card: dict[str, Any]) -> None:
    shown = chinese_code.passage(card).splitlines()
    file = {line.strip() for line in (sources.ROOT / card["file"]).read_text(encoding="utf-8").splitlines()}
    assert 2 <= len(shown) <= 18 and {line.strip() for line in shown} <= file


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_lessons_ask_before_they_answer(lang: str) -> None:
    for name, lesson in glip_walk.lessons().items():
        for at, step in enumerate(lesson["steps"]):
            where, card, choices, answer, following, picture, mode, text, example = glip_walk.turn_to(
                f"{name}:{at}", lang
            )
            assert where == f"{name}:{at}" and answer == "" and not following["interactive"]
            assert step["why"][lang] not in card
            assert (mode, text, example) == ("sentence", step["caption"][lang], step["example"])
            assert picture == EXAMPLES[step["example"]]["path"]
            verdicts = []
            for _, value in choices["choices"]:
                message, body, following = shell.guarded(glip_walk.reveal, 2)(where, value, "", lang)
                assert message == "" and following["interactive"]
                verdicts.append("atlas-verdict some" in body)
            # One choice is true, whichever it is today.
            assert sum(verdicts) == 1, (name, at)
    message, *_ = shell.guarded(glip_walk.reveal, 2)("syringes:0", None, "", lang)
    assert 'role="alert"' in message


def test_a_list_and_its_prompt_give_the_very_same_boxes() -> None:
    """The lesson's point, held by the run itself."""
    step = glip_walk.lessons()["detection"]["steps"][0]
    name = checkpoints.default(handlers.PAPER)
    assert glip_walk.same(glip_walk.Asked(step, name, "en")).index == 0
