"""The Chinese-CLIP page through its endpoints and handlers: both languages, published answers beside ours, lessons, training."""

from __future__ import annotations

import re
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from core import checkpoints
from core.runtime import Cancel
from demos.chinese_clip import answer, compare, inside, record, stages
from demos.chinese_clip.page import PAGE, Question
from demos.kit import library, records, walkthrough
from tests.pages import offered, run

EXAMPLES = answer.examples()
LYING = EXAMPLES["sheep_lying"]
SHEEP = answer.data()["sheep"]


def question(**fields: Any) -> Question:
    """The opening question with some fields changed."""
    opening = {"image": LYING["path"], "labels": LYING["labels"]["zh"], "english": LYING["labels"]["en"]}
    return Question(**{**opening, "template": "none", **fields})


def test_the_endpoint_ranks_chinese_labels(client: Client) -> None:
    answer = client.predict(handle_file(LYING["path"]), "羊，红包、飞机", api_name="/chinese_clip_classify")
    assert set(answer) == {"checkpoint", "seconds", "results"}
    assert checkpoints.row(answer["checkpoint"]).bundled
    assert answer["results"][0]["label"] == "羊"
    assert sum(row["probability"] for row in answer["results"]) == pytest.approx(1, abs=1e-5)
    with pytest.raises(AppError, match="label"):
        client.predict(handle_file(LYING["path"]), " ，", api_name="/chinese_clip_classify")


def test_the_endpoint_shows_what_arrives_at_a_text_encoder(client: Client) -> None:
    english_only = client.predict("羊", "clip-vit-b32", api_name="/chinese_clip_tokens")["texts"][0]
    kinds = [token["kind"] for token in english_only["tokens"]]
    # CLIP has no piece for the character: its three bytes arrive, between start and end, and the end is read.
    assert "byte" in kinds and kinds[0] == kinds[-1] == "special"
    assert english_only["pooling"] == "end" and english_only["feature_at"] == len(kinds) - 1
    ours = client.predict(["羊"], api_name="/chinese_clip_tokens")["texts"][0]
    assert [token["text"].strip() for token in ours["tokens"] if token["kind"] == "piece"] == ["羊"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_runs_in_both_languages(name: str) -> None:
    row = EXAMPLES[name]
    for lang in ("en", "zh"):
        asked = question(image=row["path"], labels=row["labels"]["zh"], english=row["labels"]["en"])
        slots = run(answer.classify, asked, lang)
        assert slots["message"] == "" and "<table" in slots["bars"] and "download=" in slots["line"]
        assert offered(slots) == ("atlas-hint" in slots["notes"])
        assert row["classroom"] or offered(slots)
        # An English reader sees what each Chinese label means.
        assert (" · " in slots["bars"]) == (lang == "en")


@pytest.mark.parametrize("fields", [{"image": None}, {"labels": "，"}, {"own": "没有空位"}])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_refusals_are_one_sentence(fields: dict[str, Any], lang: str) -> None:
    message = run(answer.classify, question(**fields), lang)["message"]
    assert message
    assert any("\u4e00" <= sign <= "\u9fff" for sign in re.sub("“.*?”", "", message)) == (lang == "zh")


def test_html_in_labels_is_text() -> None:
    asked = question(labels="<img src=x>，羊", english="<b>bold</b>, sheep")
    for handler in (answer.classify, compare.readers, inside.tensors):
        reply = handler(asked, "en")
        shown = "".join(str(part) for part in (reply.values() if isinstance(reply, dict) else reply))
        assert "<img src=x" not in shown and "<b>bold" not in shown and "&lt;img" in shown


def test_the_recorded_answer_is_what_the_miniature_says_today() -> None:
    today = record.record()
    recorded = records.read("chinese_clip")
    assert recorded["checkpoint"] == today["checkpoint"]
    cosines = {row["label"]: row["cosine"] for row in recorded["results"]}
    assert cosines == pytest.approx({row["label"]: row["cosine"] for row in today["results"]}, abs=2e-3)
    for pose, shares in today["sheep"].items():
        assert recorded["sheep"][pose] == pytest.approx(shares, abs=0.02)
    for lang, word in (("en", "Recorded"), ("zh", "预先记录")):
        assert word in answer.opening(lang)["bars"]


@pytest.mark.parametrize(("lang", "word"), [("en", "published"), ("zh", "已发表")])
def test_published_figures_stand_beside_ours_and_are_marked(lang: str, word: str) -> None:
    table = run(answer.classify, question(), lang)["lesson"]
    rows = re.findall(r'<tr class="(published|ours)">(.*?)</tr>', table)
    assert [kind for kind, _ in rows] == ["published", "ours"] * 3
    for (_, row), pose in zip(rows[::2], answer.POSES, strict=True):
        assert word in row
        shown = [float(share) for share in re.findall(r"([\d.]+)%</td>", row)]
        assert shown == pytest.approx([100 * share for share in SHEEP[pose]], abs=0.051)
    ours = answer.sheep_answers("")
    for (_, row), pose in zip(rows[1::2], answer.POSES, strict=True):
        assert word not in row
        shown = [float(share) for share in re.findall(r"([\d.]+)%</td>", row)]
        assert shown == pytest.approx([100 * share for share in ours[pose]], abs=0.051)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_same_question_in_each_way(lang: str) -> None:
    slots = run(compare.readers, question(), lang)
    assert slots["message"] == ""
    ways = 4 if checkpoints.state(compare.ENGLISH_ONLY) == "cached" else 3
    assert slots["out"].count('<th scope="col">') == 1 + ways and slots["out"].count("✓") == ways
    assert slots["tokens"].count('<div class="atlas-tokens">') == 2 and 'class="byte"' in slots["tokens"]
    # Without translations of all labels there is no English column.
    slots = run(compare.readers, question(labels="羊，狗", english="sheep"), lang)
    assert slots["out"].count('<th scope="col">') == ways


def test_names_of_two_languages() -> None:
    names = answer.data()["names"]
    english, chinese = ", ".join(names["english"]), "，".join(names["chinese"])
    slots = run(compare.agree, question(), english, chinese, "en")
    assert slots["message"] == "" and slots["out"].count('class="pair') == len(names["english"])
    matched = int(re.search(r"<strong>(\d+) of", slots["out"]).group(1))  # type: ignore[union-attr]
    assert matched == len(re.findall(r'class="pair best"', slots["out"]))
    for first, second in (
        ("a, b", "羊"),
        (",".join("abcdefghijklm"), "，".join("一二三四五六七八九十百千万")),
    ):
        assert "names" in run(compare.agree, question(), first, second, "en")["message"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_tensors_and_code_are_those_of_the_run(lang: str) -> None:
    table, _ = inside.tensors(question(), lang)
    assert table.count("aria-current") == 3 and "softmax" in table
    rows, values, _ = inside.code(question(), lang)
    assert rows == inside.cards("core.clip.encoders:load_open_clip")
    # The same cosines in both tabs.
    cosine = re.search(r"<td>(\+0\.\d{4})</td>", table).group(1)  # type: ignore[union-attr]
    assert f"{float(cosine):+.3f}" in values["logits"]


def test_every_row_of_the_page_has_its_own_text_tower_card() -> None:
    for row in checkpoints.rows("clip"):
        assert len([card for card in inside.cards(row.loader) if "tower" in card]) == 1, row.name


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_walkthrough_compares_the_prediction_with_what_was_published(lang: str) -> None:
    walk = PAGE.declared.walk
    for name, lesson in library.lessons("chinese_clip").items():
        for at, step in enumerate(lesson["steps"]):
            replies = [
                run(
                    lambda *values: next(walkthrough.reveal(walk, *values, Cancel())),
                    f"{name}:{at}",
                    str(i),
                    "",
                    lang,
                )
                for i in range(len(step["choices"][lang]))
            ]
            verdicts = ["atlas-verdict some" in reply["out"] for reply in replies]
            assert verdicts == [i == step["right"] for i in range(len(verdicts))]
            assert all(("published" if lang == "en" else "已发表") in reply["out"] for reply in replies)


def test_english_stays_while_the_image_tower_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "STEPS", 40)
    monkeypatch.setattr(stages, "LOCKED", {"two": 40, "both": 0})
    looks = list(stages.lesson(stages.Settings("two"), "en", Cancel()))
    last = looks[-1]
    assert last.state == "done" and last.numbers[2][0] == "1.000"
    assert "Locked, 40 steps" in last.slots["verdict"] and "Both moving" not in last.slots["verdict"]
    assert [row["image_tower"] for row in last.rows] == ["locked"] * len(last.rows)


def test_a_stopped_training_says_so() -> None:
    cancel = Cancel()
    looks = stages.lesson(stages.Settings("both"), "zh", cancel)
    next(looks)
    cancel.set()
    *_, last = looks
    assert last.state == "stopped"
