"""The Chinese-CLIP page through its endpoints and handlers: both languages, published beside ours, refusals."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from core import checkpoints
from demos.chinese_clip import answer as handlers
from demos.chinese_clip import (
    code as chinese_code,
)
from demos.chinese_clip import (
    lessons as chinese_walk,
)
from demos.chinese_clip import (
    record as chinese_record,
)
from demos.chinese_clip import (
    train as chinese_training,
)
from demos.kit import shell, sources

EXAMPLES = handlers.examples()
LYING = EXAMPLES["sheep_lying"]
SHEEP = handlers.published()["sheep"]


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


def ask(
    picture: str | None, chinese: str, english: str = "", lang: str = "en", own: str = ""
) -> tuple[Any, ...]:
    """The page's own call: (message, bars, line)."""
    return shell.guarded(handlers.classify, 2)(picture, chinese, english, "none", own, "", lang)


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
        message, bars, line = ask(row["path"], row["labels"]["zh"], row["labels"]["en"], lang)
        assert message == "" and "<table" in bars and "download=" in line
        assert ("atlas-hint" in line) == (not row["classroom"])
        # An English reader sees what each Chinese label means.
        assert (" · " in bars) == (lang == "en")


@pytest.mark.parametrize(
    ("picture", "chinese", "own"),
    [(None, "羊", ""), (LYING["path"], "，", ""), (LYING["path"], "羊", "没有空位")],
)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_refusals_are_one_sentence(picture: str | None, chinese: str, own: str, lang: str) -> None:
    message, *_ = ask(picture, chinese, lang=lang, own=own)
    assert 'role="alert"' in message and "logged" not in message and "已经记录" not in message
    assert any("\u4e00" <= sign <= "\u9fff" for sign in re.sub("“.*?”", "", message)) == (lang == "zh")


def test_html_in_labels_is_text() -> None:
    _, bars, _ = ask(LYING["path"], "<img src=x>，羊", "<b>bold</b>, sheep")
    assert "<img src=x" not in bars and "<b>bold" not in bars and "&lt;img" in bars


def test_the_recorded_answer_is_what_the_miniature_says_today() -> None:
    today = chinese_record.record()
    recorded = json.loads(handlers.RECORDED.read_text(encoding="utf-8"))
    assert recorded["checkpoint"] == today["checkpoint"]
    there = {row["label"]: row["cosine"] for row in recorded["results"]}
    assert there == pytest.approx({row["label"]: row["cosine"] for row in today["results"]}, abs=2e-3)
    for pose, shares in today["sheep"].items():
        assert recorded["sheep"][pose] == pytest.approx(shares, abs=0.02)


@pytest.mark.parametrize(("lang", "word"), [("en", "published"), ("zh", "已发表")])
def test_published_figures_stand_beside_ours_and_are_marked(lang: str, word: str) -> None:
    (table,) = handlers.lesson("", lang)
    rows = re.findall(r'<tr class="(published|ours)">(.*?)</tr>', table)
    assert [kind for kind, _ in rows] == ["published", "ours"] * 3
    for (_, row), pose in zip(rows[::2], handlers.POSES, strict=True):
        assert word in row
        shown = [float(share) for share in re.findall(r"([\d.]+)%</td>", row)]
        assert shown == pytest.approx([100 * share for share in SHEEP[pose]], abs=0.051)
    ours = handlers.sheep_answers("")
    for (_, row), pose in zip(rows[1::2], handlers.POSES, strict=True):
        assert word not in row
        shown = [float(share) for share in re.findall(r"([\d.]+)%</td>", row)]
        assert shown == pytest.approx([100 * share for share in ours[pose]], abs=0.051)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_same_question_in_each_way(lang: str) -> None:
    message, table, tokens, line = shell.guarded(handlers.readers, 3)(
        LYING["path"], LYING["labels"]["zh"], LYING["labels"]["en"], "", lang
    )
    assert message == "" and "ms" in line
    ways = 4 if checkpoints.state(handlers.ENGLISH_ONLY) == "cached" else 3
    assert table.count('<th scope="col">') == 1 + ways and table.count("✓") == ways
    assert tokens.count('<div class="atlas-tokens">') == 2 and 'class="byte"' in tokens
    # Without translations of all labels there is no English column.
    _, table, *_ = shell.guarded(handlers.readers, 3)(LYING["path"], "羊，狗", "sheep", "", lang)
    assert table.count('<th scope="col">') == ways


def test_names_of_two_languages() -> None:
    names = handlers.published()["names"]
    english, chinese = ", ".join(names["english"]), "，".join(names["chinese"])
    message, matrix, line = shell.guarded(handlers.agree, 2)(LYING["path"], english, chinese, "", "en")
    assert message == "" and matrix.count('class="pair') == len(names["english"])
    found = int(re.search(r"<strong>(\d+) of", matrix).group(1))  # type: ignore[union-attr]
    assert found == len(re.findall(r'class="pair best"', matrix)) and "ms" in line
    for first, second in (
        ("a, b", "羊"),
        (",".join("abcdefghijklm"), "，".join("一二三四五六七八九十百千万")),
    ):
        message, *_ = shell.guarded(handlers.agree, 2)(LYING["path"], first, second, "", "en")
        assert "names" in message and 'role="alert"' in message


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_steps_and_code_are_those_of_the_run(lang: str) -> None:
    message, tokens, shapes, numbers = shell.guarded(handlers.steps, 3)(
        LYING["path"], LYING["labels"]["zh"], "none", "", "", lang
    )
    assert message == "" and tokens.count("aria-current") == 3 and "softmax" in shapes
    message, cards, line = shell.guarded(chinese_code.run, 2)(
        LYING["path"], LYING["labels"]["zh"], "none", "", "", lang
    )
    assert (
        message == ""
        and "ms" in line
        and cards.count("code-card") - 1 == len(chinese_code.cards("core.clip.encoders:load_open_clip"))
    )
    # The same cosines in both tabs.
    cosine = re.search(r"<td>(\+0\.\d{4})</td>", numbers).group(1)  # type: ignore[union-attr]
    assert f"{float(cosine):+.3f}" in cards


@pytest.mark.parametrize("card", handlers.published()["code"], ids=lambda card: card["equation"][:12])
def test_the_lines_shown_are_in_the_repository(card: dict[str, Any]) -> None:
    shown = chinese_code.passage(card).splitlines()
    file = {line.strip() for line in (sources.ROOT / card["file"]).read_text(encoding="utf-8").splitlines()}
    assert 2 <= len(shown) <= 20 and {line.strip() for line in shown} <= file
    if "first" in card:
        assert shown[0].startswith(card["first"]) and shown[-1].startswith(card["last"])


def test_every_row_of_the_page_has_its_own_text_tower_card() -> None:
    for row in checkpoints.rows("clip"):
        towers = [card for card in chinese_code.cards(row.loader) if "tower" in card]
        assert len(towers) == 1, row.name


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_walkthrough_asks_before_it_answers(lang: str) -> None:
    last = len(chinese_walk.steps()) - 1
    for number, step in enumerate(chinese_walk.steps()):
        here, question, choices, answer, back, following = chinese_walk.show(number, lang)
        assert here == number and answer == "" and len(choices["choices"]) == 3
        assert step["explain"][lang] not in question
        assert back["interactive"] == (number > 0) and following["interactive"] == (number < last)
        (right,) = chinese_walk.reveal(number, str(step["right"]), "", lang)
        (wrong,) = chinese_walk.reveal(number, str((step["right"] + 1) % 3), "", lang)
        assert "atlas-verdict some" in right and "atlas-verdict none" in wrong
        assert ("published" if lang == "en" else "已发表") in right and "%" in right
    assert chinese_walk.step_at(99)[0] == last and chinese_walk.step_at(-5)[0] == 0


def test_training_keeps_english_while_the_image_tower_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chinese_training, "STEPS", 40)
    monkeypatch.setattr(chinese_training, "WAYS", {"two": 40, "both": 0})
    views = list(shell.guarded(chinese_training.train, 3)("session", "two", "en"))
    assert all(message == "" for message, *_ in views)
    ended = views[-1][1]
    assert "Locked, 40 steps" in ended and "1.000" in ended and "Both moving" not in ended
    assert ended.count("download=") == 2


def test_a_stopped_training_says_so() -> None:
    steps = shell.guarded(chinese_training.train, 3)("stopper", "both", "zh")
    next(steps)
    next(steps)
    chinese_training.stop("stopper", "zh")
    *_, (message, view, *_) = steps
    assert message == "" and "已停止" in view
