"""The GLIP page through its endpoint and handlers: sentences and lists, the threshold, files, lessons, refusals."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from core import checkpoints
from core.classroom.world.concepts import concepts
from core.detection.glip import boxes as glip_boxes
from core.detection.glip import grounding
from core.runtime import Cancel
from demos.draw import boxes
from demos.glip import answer, draw, inside, lessons
from demos.glip.page import PAGE, Question
from demos.glip.words import PAPER, data, examples
from demos.kit import code, library, results, walkthrough
from demos.kit.html import escape
from demos.kit.scenes_link import SceneOpened
from tests.pages import offered, opened, run

EXAMPLES = examples()
PAIR = EXAMPLES["dog_and_car"]
SENTENCE = PAIR["caption"]["en"]


def question(text: str = SENTENCE, threshold: Any = 0.3, **fields: Any) -> Question:
    """A question about the dog and the car."""
    return Question(**{"image": PAIR["path"], "text": text, "threshold": threshold, **fields})


def iou(box: Any, other: Any) -> float:
    """Of two boxes."""
    return float(boxes.overlaps(np.array([box], float), np.array([other], float))[0, 0])


# --- endpoint --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_endpoint_grounds_a_sentence(client: Client, lang: str) -> None:
    sentence = PAIR["caption"][lang]
    result = client.predict(handle_file(PAIR["path"]), sentence, None, 0.05, api_name="/glip_ground")
    assert {"checkpoint", "prompt", "mode", "seconds", "size", "phrases", "results"} == set(result)
    assert result["mode"] == "grounding" and result["prompt"] == sentence
    assert checkpoints.row(result["checkpoint"]).bundled
    for phrase in result["phrases"]:
        assert sentence[phrase["start"] : phrase["end"]] == phrase["text"]
    scores = [row["score"] for row in result["results"]]
    assert scores == sorted(scores, reverse=True) and all(0.05 <= score <= 1 for score in scores)
    # The best box of each phrase lies on its thing.
    for at, thing in enumerate(PAIR["objects"]):
        best = next(row for row in result["results"] if row["phrase_index"] == at)
        assert thing[lang] in best["phrase"] and iou(best["box"], thing["visible_box"]) > 0.5


def test_labels_are_a_prompt(client: Client) -> None:
    image = handle_file(PAIR["path"])
    listed = client.predict(image, None, "dog, car", 0.1, api_name="/glip_ground")
    typed = client.predict(image, "dog . car .", None, 0.1, api_name="/glip_ground")
    assert listed["mode"] == "detection" and listed["prompt"] == typed["prompt"] == "dog . car ."
    assert listed["results"] == typed["results"] != []
    # Without a threshold it is the row's own.
    own = client.predict(image, None, ["dog", "car"], api_name="/glip_ground")
    threshold = grounding.row_threshold(own["checkpoint"])
    assert all(row["score"] >= threshold for row in own["results"])


@pytest.mark.parametrize(
    ("caption", "labels", "threshold", "checkpoint", "sentence"),
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
        ("a dog", None, 0.5, "classroom-rn", "classroom-rn"),
        (None, "?!, ...", 0.5, None, "No label holds a word"),
    ],
)
def test_bad_input_is_one_sentence(
    client: Client, caption: Any, labels: Any, threshold: Any, checkpoint: Any, sentence: str
) -> None:
    with pytest.raises(AppError, match=sentence) as refused:
        client.predict(
            handle_file(PAIR["path"]), caption, labels, threshold, checkpoint, api_name="/glip_ground"
        )
    assert "Traceback" not in str(refused.value) and "logged" not in str(refused.value)


def test_a_file_that_is_no_image_is_refused(client: Client, tmp_path: Any) -> None:
    (tmp_path / "a.png").write_bytes(b"no image at all")
    with pytest.raises(AppError, match="use JPEG"):
        client.predict(handle_file(str(tmp_path / "a.png")), "a dog", api_name="/glip_ground")


def test_a_thousand_labels_by_the_endpoint(client: Client) -> None:
    labels = [*[f"{thing.en} {i}" for i in range(3) for thing in concepts()][:998], "dog", "car"]
    result = client.predict(handle_file(PAIR["path"]), None, labels, 0.2, api_name="/glip_ground")
    assert len(result["phrases"]) == 1000 and 0 < len(result["results"]) <= grounding.LIMIT
    assert {"dog", "car"} & {row["phrase"].split(" ")[0] for row in result["results"][:10]}


# --- the first tab -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", answer.MODES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_answers_in_both_languages(name: str, mode: str) -> None:
    for lang in ("en", "zh"):
        fields = answer.fill(name, question(mode=mode), lang)
        slots = run(answer.ground, question(mode=mode, **fields), lang)
        assert slots["message"] == "" and slots["figure"].count('class="gl-phrase') >= 2
        assert "atlas-det-stage" in slots["figure"] and "ms" in slots["line"]
        # A photo from outside the classroom gets a hint and the way to real weights.
        assert ("atlas-hint" in slots["notes"]) == offered(slots) == (not EXAMPLES[name]["classroom"])
        assert bool(EXAMPLES[name].get("real")) == (not EXAMPLES[name]["classroom"])


@pytest.mark.parametrize("mode", answer.MODES)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_opening_answer_is_right(lang: str, mode: str) -> None:
    fields = answer.fill(answer.OPENING, question(mode=mode), lang)
    opening = question(mode=mode, **(fields | answer.own_threshold(question(), lang)))
    result = answer.run(opening).grounding
    visible = draw.above(result, opening.threshold)
    names = [result.phrases[at].text for at in result.phrase_indices[visible].tolist()]
    things = [(one[lang], one["visible_box"]) for one in EXAMPLES[answer.OPENING]["objects"]]
    assert len(names) == len(things)
    for name, box in zip(names, result.boxes[visible], strict=True):
        assert any(thing in name and iou(box, truth) > 0.5 for thing, truth in things)


@pytest.mark.parametrize(
    "fields",
    [
        {"image": None},
        {"text": " "},
        {"text": "and"},
        {"mode": "labels", "text": "，"},
        {"mode": "poem"},
        {"threshold": 2},
        {"threshold": None},
        {"threshold": float("nan")},
        {"image": "data:image/png;base64,AAAA"},
    ],
)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_refusals_are_one_sentence(fields: dict[str, Any], lang: str) -> None:
    slots = run(answer.ground, question(**fields), lang)
    assert slots["message"] and set(slots) == {"message", "bars"}
    assert any("\u4e00" <= sign <= "\u9fff" for sign in slots["message"]) == (lang == "zh")


def test_another_threshold_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    every = run(answer.ground, question(threshold=0.0), "en")["figure"].count("data-pick=")
    for name in ("_encode_image", "_ground"):
        monkeypatch.setattr(grounding, name, lambda *_: pytest.fail("ran again"))
    counts = []
    for threshold in (0.05, 0.2, 0.4, 1.0):
        slots = run(answer.ground, question(threshold=threshold), "en")
        # The figure has all boxes and lets the browser hide them; the table has those above the threshold.
        assert slots["message"] == "" and slots["figure"].count("data-pick=") == every
        counts.append(slots["table"].count("gl-crop"))
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1] == 0


def many_labels(count: int, *named: str) -> str:
    """Things of the classroom, more words than one prompt has room for; the named ones last."""
    others = [f"a picture of a {thing.en}" for thing in concepts() if thing.en not in named]
    return ", ".join([*others[: count - len(named)], *named])


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_long_list_has_progress_and_numbered_prompts(lang: str, tmp_path: Any) -> None:
    path = tmp_path / "new.png"  # an image that nobody asked about
    Image.open(PAIR["path"]).resize((380, 371 if lang == "en" else 373)).save(path)
    asked = question(many_labels(100, "dog", "car"), image=str(path), mode="labels")
    bars = run(answer.prompts, asked, lang)["bars"]
    result = answer.run(asked).grounding
    count = len(result.prompts)
    assert len(bars) == count > 1 and [bar.share for bar in bars] == [i / count for i in range(count)]
    assert all(("left" if lang == "en" else "大约还需") in bar.text for bar in bars[1:])
    slots = run(answer.ground, asked, lang)
    assert slots["message"] == "" and "ms" in slots["line"] and slots["table"].count("gl-crop")
    assert (
        slots["figure"].count('class="gl-part"') == count and slots["figure"].count('class="gl-phrase') == 100
    )
    assert "dog" in [result.phrases[at].text for at in result.phrase_indices[:4]]
    matrices = run(inside.alignment, asked, lang)["out"]
    rows = np.flatnonzero(draw.above(result, 0.3))[: draw.MAX_ROWS]
    prompts = np.unique(draw.prompt_of(result, rows))
    assert matrices.count("<h3>") == len(prompts) and matrices.count("<table") == 2 * len(prompts)
    assert not re.search(r"\bnan\b", matrices) and ">dog</span>" in matrices
    assert run(answer.prompts, asked, lang)["bars"] == []  # all cached
    other = replace(asked, text=many_labels(99, "cat"))
    stopped = run(answer.prompts, other, lang, cancel=Cancel(stopped=True))
    assert stopped["message"] in ("Stopped.", "已停止。")


def test_one_phrase_for_each_object() -> None:
    asked = question("a dog and an animal and a car", 0.05)
    every = answer.run(asked).grounding.boxes
    kept = answer.run(replace(asked, across_labels=True)).grounding.boxes
    assert (boxes.overlaps(every, every) > 0.5).sum() > len(every) and 0 < len(kept) < len(every)
    assert (np.triu(boxes.overlaps(kept, kept), 1) < 0.9).all()


def test_html_in_a_sentence_is_text() -> None:
    slots = run(answer.ground, question("a <img src=x onerror=alert(1)> and a dog"), "en")
    html = slots["figure"] + slots["table"]
    assert slots["message"] == "" and "<img src=x" not in html and "&lt;" in html


@pytest.mark.parametrize("size", [(20, 300), (700, 200), (9, 9)])
def test_an_image_of_any_shape(size: tuple[int, int], tmp_path: Any) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", size, "green").save(path)
    slots = run(answer.ground, question(image=str(path)), "en")
    assert slots["message"] == "" and f"--ratio:{size[0] / size[1]:.4f}" in slots["figure"]


def test_the_files_hold_the_boxes_above_the_threshold() -> None:
    links = answer.files(question(threshold=0.2), "en")
    data = {
        name: base64.b64decode(text)
        for name, text in re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', links)
    }
    names = ("boxes.png", "boxes.svg", "coco.json", "yolo.zip", "voc.xml", "boxes.csv", "crops.zip")
    assert set(data) == {f"glip-{name}" for name in names}
    kept = json.loads(data["glip-coco.json"])
    assert [row["name"] for row in kept["categories"]] == ["a dog", "a car"]
    assert all(row["score"] >= 0.2 for row in kept["annotations"])
    count = len(kept["annotations"])
    assert len(list(csv.DictReader(io.StringIO(data["glip-boxes.csv"].decode("utf-8-sig"))))) == count > 0
    assert len(zipfile.ZipFile(io.BytesIO(data["glip-crops.zip"])).namelist()) == count
    assert data["glip-voc.xml"].decode().count("<object>") == count
    yolo = zipfile.ZipFile(io.BytesIO(data["glip-yolo.zip"]))
    (labels,) = [name for name in yolo.namelist() if name.startswith("labels/")]
    assert len(yolo.read(labels).splitlines()) == count
    assert Image.open(io.BytesIO(data["glip-boxes.png"])).size == Image.open(PAIR["path"]).size
    assert "nothing to save" in run(answer.files, question(threshold=1.0), "en")["message"]


def test_a_checkpoint_without_chinese_says_so() -> None:
    assert "zh" not in checkpoints.row("glip-tiny").languages
    assert results.unreadable("glip-tiny", "一只狗", "en") and not results.unreadable(
        "glip-tiny", "a dog", "en"
    )
    assert not results.unreadable("classroom-glip", "一只狗", "zh")
    fields = answer.fill("toys", question(checkpoint="glip-tiny"), "zh")
    assert fields["text"] == EXAMPLES["toys"]["caption"]["en"]


def test_the_mode_changes_an_example_and_keeps_a_typed_text() -> None:
    labels, sentence = PAIR["labels"]["zh"], PAIR["caption"]["en"]
    assert answer.other_mode(question(SENTENCE, mode="labels"), "zh") == {"text": labels}
    assert answer.other_mode(question(labels, mode="sentence"), "en") == {"text": sentence}
    assert not isinstance(answer.other_mode(question("my own words", mode="labels"), "en")["text"], str)


# --- opening ---------------------------------------------------------------------------------------------


def test_an_address_fills_the_page() -> None:
    fields, refused = opened(PAGE.declared, {})
    assert (fields["example"], fields["scene"], refused) == (answer.OPENING, "", "")
    assert fields["threshold"] == answer.start_threshold("")
    fields, _ = opened(
        PAGE.declared, {"example": "toys", "text": "a duck", "threshold": "0.7", "mode": "labels"}, "zh"
    )
    assert fields["image"] == EXAMPLES["toys"]["path"]
    assert (fields["text"], fields["mode"], fields["threshold"]) == ("a duck", "labels", 0.7)
    # A mode alone brings the list of the example.
    assert opened(PAGE.declared, {"mode": "labels"}, "zh")[0]["text"] == PAIR["labels"]["zh"]
    fields, _ = opened(PAGE.declared, {"threshold": "7", "mode": "x"})
    assert "mode" not in fields and fields["threshold"] == answer.start_threshold("")
    fields, _ = opened(PAGE.declared, {"scene": "1F415.x0.y0.s60_white.colour.0"}, "zh")
    assert "狗" in fields["text"] and fields["example"] == "" and fields["scene"].startswith("1F415")
    assert 'role="alert"' in opened(PAGE.declared, {"scene": "nonsense"})[1]


def test_a_scene_brings_its_caption_or_its_names() -> None:
    scene = SceneOpened("a.png", "a dog and a car", "dog, car, house", ("dog", "car"))
    assert answer.scene(scene, question(), "en") == {"text": "a dog and a car"}
    assert answer.scene(scene, question(mode="labels"), "en") == {"text": "dog, car"}


# --- look inside, train it, lessons ----------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_alignment_tensors_and_code_are_those_of_the_run(lang: str) -> None:
    asked = question(PAIR["caption"][lang], 0.2)
    result = answer.run(asked)
    slots = run(inside.alignment, asked, lang)
    assert slots["out"].count("<table") == 2 and 'class="best"' in slots["out"] and "ms" in slots["line"]
    tabs = {tab.name: tab for tab in PAGE.declared.inside}
    places = sum(level[0].size for level in result.encoded.levels)
    steps = run(tabs["tensors"].handler, asked, lang)["out"]
    assert f"= [{places}, {len(result.grounding.words)}]" in steps
    made = {card["made"] for card in data()["code"] if "made" in card}
    assert made == set(data()["made"])
    cards = run(tabs["code"].handler, asked, lang)["out"]
    assert cards.count('class="code-card"') == len(data()["code"])
    assert cards.count(">in this run<" if lang == "en" else ">本次运行<") == len(made)
    assert f"{result.grounding.scores[0]:.3f}" in cards


def test_a_phrase_scores_as_its_words_do() -> None:
    """The matrix has what the score is made of: the mean of the words' sigmoids, times centerness."""
    import torch

    result = answer.run(question(threshold=0.2)).grounding
    probability = glip_boxes.phrase_scores(
        torch.from_numpy(result.alignment), [phrase.words for phrase in result.phrases]
    )
    own = probability[torch.arange(len(result.scores)), torch.from_numpy(result.phrase_indices)].numpy()
    # score² = p · centerness, and centerness is at most 1.
    assert len(own) and (result.scores**2 <= own + 1e-5).all()


@pytest.mark.parametrize("card", library.data("glip")["code"], ids=lambda card: card["name"])
def test_the_lines_of_a_card_are_in_the_repository(card: dict[str, Any]) -> None:
    lines = code.passage(card).splitlines()
    file = {line.strip() for line in (code.ROOT / card["file"]).read_text(encoding="utf-8").splitlines()}
    assert 2 <= len(lines) <= 18 and {line.strip() for line in lines} <= file


def test_training_has_the_measured_and_the_published_numbers() -> None:
    for lang in ("en", "zh"):
        html = inside.training(lang)
        assert "46.6" in html and html.count("<li>") == 3 and html.count("<h4>") == 2


STEPS = [(name, at) for name, lesson in lessons.lessons().items() for at in range(len(lesson["steps"]))]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(("name", "at"), STEPS)
def test_a_lesson_asks_before_it_answers(name: str, at: int, lang: str) -> None:
    walk = PAGE.declared.walk
    where, step = f"{name}:{at}", lessons.lessons()[name]["steps"][at]
    before = walkthrough.turn(walk, where, lang)
    assert before["where"] == where and before["out"] == "" and not before["onwards"]["interactive"]
    assert escape(step["ask"][lang]) in before["card"] and escape(step["why"][lang]) not in before["card"]
    assert step["caption"][lang] in before["card"] and "<img" in before["card"]
    verdicts = []
    for _, value in before["guess"]["choices"]:
        slots = run(walkthrough.reveal, walk, where, value, "", lang)
        assert slots["message"] == "" and slots["onwards"]["interactive"] and "atlas-why" in slots["out"]
        verdicts.append("atlas-verdict some" in slots["out"])
    assert sum(verdicts) == 1  # exactly one choice comes true


def test_a_list_and_its_prompt_give_exactly_the_same_boxes() -> None:
    """The point of the lesson holds."""
    step = lessons.lessons()["detection"]["steps"][0]
    case = walkthrough.Case(PAPER, step, checkpoints.default(PAPER), "en")
    assert lessons.same(case).index == 0
