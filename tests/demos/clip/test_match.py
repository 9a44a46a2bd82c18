"""*Match?* and *Words* through their endpoints and handlers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from core.clip import matching
from core.runtime import Cancel
from demos.clip import match
from demos.draw import charts
from tests import tiny
from tests.conftest import Rows
from tests.demos.clip.asked import EXAMPLES, asked
from tests.pages import run

CAT, FLOCK = EXAMPLES["cat_left_of_car"], EXAMPLES["flock"]


def test_labels_are_independent_through_the_endpoint(client: Client) -> None:
    image = handle_file(FLOCK["path"])
    whole = client.predict(image, "four sheep, a sheep, a pizza", api_name="/clip_match")
    assert set(whole) == {"checkpoint", "line", "pairs", "command", "results"}
    verdicts = {row["label"]: row["matches"] for row in whole["results"]}
    assert verdicts["four sheep"] and verdicts["a sheep"] and not verdicts["a pizza"]  # two match at once
    assert "core.classroom" in whole["command"] and whole["pairs"][0] == 512
    # A label says the same whatever stands beside it.
    alone = client.predict(image, "a sheep", api_name="/clip_match")["results"][0]
    together = next(row for row in whole["results"] if row["label"] == "a sheep")
    assert alone["cosine"] == pytest.approx(together["cosine"], abs=1e-5)
    assert alone["matches"] == together["matches"]
    for row in whole["results"]:
        assert row["matches"] == (row["cosine"] >= whole["line"])
        assert 0 <= row["above_matching"] <= row["above_strange"] <= 1


def test_words_through_the_endpoint(client: Client) -> None:
    answer = client.predict(handle_file(CAT["path"]), "a cat to the left of a car", api_name="/clip_words")
    added = {row["word"]: row["added"] for row in answer["words"]}
    assert added["cat"] > added["to"] and answer["checkpoint"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_tab_shows_labels_on_the_recorded_pairs(lang: str) -> None:
    slots = run(match.match, asked("flock", "four sheep, <b>pizza</b>"), lang, cancel=Cancel())
    html = slots["out"]
    assert slots["bars"] == [] and "clip-match.json" in slots["line"]
    assert html.count('class="own"') > 10 and html.count('class="other"') > 10
    assert html.count('<line class="spot"') == 2 and "&lt;b&gt;pizza" in html and "<b>pizza" not in html
    assert "core.classroom.recipes.clip.matches" in html
    assert ("matches" if lang == "en" else "相配") in html and ("✗" in html)


def test_labels_of_another_language_have_its_pairs() -> None:
    english = run(match.match, asked("cat_left_of_car", "a cat"), "en", cancel=Cancel())["out"]
    chinese = run(match.match, asked("cat_left_of_car", "猫"), "en", cancel=Cancel())["out"]
    lines = [matching.recorded("classroom-rn", lang).line for lang in ("en", "zh")]  # type: ignore[union-attr]
    assert [f"{line:.2f}" in html for line, html in zip(lines, (english, chinese), strict=True)] == [
        True,
        True,
    ]


def test_a_row_without_a_record_is_measured_here(tmp_path: Path, rows: Rows) -> None:
    rows(tiny.bundled("tiny-match", tmp_path))
    question = asked("cat_left_of_car", "dog, cat", checkpoint="tiny-match")
    slots = run(match.match, question, "en", cancel=Cancel())
    assert slots["bars"] and slots["bars"][-1].share == 1.0
    drawings = sum(row["classroom"] for row in EXAMPLES.values())
    assert f"{drawings} matching" in slots["out"] and "on this machine" in slots["out"]
    assert "Recorded" not in slots["out"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_words_stand_beside_the_map(lang: str) -> None:
    slots = run(match.words, asked("cat_left_of_car", "cat, car, dog", template="photo"), lang)
    cards = slots["out"].split("<section>")[1:]
    assert len(cards) == 3 and all("<img" in card for card in cards)
    words = re.findall(r'class="clip-word[^"]*" style="--strength:([\d.]+)">(\w+)', cards[0])
    strengths = {word: float(value) for value, word in words}
    assert max(strengths, key=strengths.__getitem__) in ("cat", "car") and strengths["photo"] < 1
    assert ("left out" if lang == "en" else "去掉该词") in slots["out"]


def test_of_several_templates_the_first_is_taken_apart() -> None:
    slots = run(match.words, asked("cat_left_of_car", "cat, car", template="seven"), "en")
    assert "Of the 7 templates" in slots["out"]


def test_marks_beyond_the_bins_widen_the_axis() -> None:
    counts = matching.counted(
        "", "", matching.np.array([[0.5, 0.1], [0.1, 0.5]]), ~matching.np.eye(2, dtype=bool)
    )
    pair = counts.matching, counts.strange
    svg = charts.histograms(matching.EDGES, pair, ("a", "b"), "t <", "x", 0.3, [0.9, -0.4])
    assert "t &lt;" in svg and svg.count('<text class="spot"') == 2
    places = [float(x) for x in re.findall(r'<line class="spot" x1="(-?[\d.]+)"', svg)]
    assert all(0 <= x <= 640 for x in places) and places[0] > places[1]
