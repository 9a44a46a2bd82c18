"""Pictures of the Chinese-CLIP page: what is typed is escaped, what is best is marked, figures are the given ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.clip.bilingual import Agreement, Reader
from core.clip.reading import Piece, Reading
from demos.chinese_clip import draw as chinese_draw
from demos.chinese_clip import stages


def reading(text: str, pooling: str = "end", places: int = 3) -> Reading:
    pieces = (Piece("<start>", 1, "special"), Piece(text, 7, "byte"), Piece("<end>", 2, "special"))
    at = {"first": 0, "end": 2, "last": places - 1}[pooling]
    return Reading(text, pieces, places, at, pooling)  # type: ignore[arg-type]


@pytest.mark.parametrize(("pooling", "places", "marked"), [("first", 3, 0), ("end", 3, 2), ("last", 8, 3)])
def test_one_token_is_marked_where_the_feature_is_read(pooling: str, places: int, marked: int) -> None:
    shown = chinese_draw.token_strip(reading("<羊>", pooling, places), "en")
    chips = shown.split("<li ")[1:]
    assert [i for i, chip in enumerate(chips) if "aria-current" in chip] == [marked]
    assert "<羊>" not in shown and "&lt;羊&gt;" in shown
    assert ("padding × 5" in shown) == (places == 8)


def test_published_and_ours_alternate_and_say_who_is_right() -> None:
    table = chinese_draw.published_table(
        ["<甲>", "乙"], [("a <sheep>", 0, [0.2, 0.8], [0.9, 0.1])], "notes", "<model>", "en"
    )
    published, ours = table.split('<tr class="ours">')
    assert "wrong" in published and "80.0%" in published and "right" not in published
    assert "right" in ours and "90.0%" in ours
    for raw in ("<甲>", "<sheep>", "<model>"):
        assert raw not in table


def test_the_best_of_every_way_is_marked_once() -> None:
    def reader(way: str, texts: tuple[str, str], shares: list[float]) -> Reader:
        values = np.array(shares)
        return Reader(way, tuple(reading(text) for text in texts), values, values / 2)  # type: ignore[arg-type]

    table = chinese_draw.readers_table(
        [reader("zh", ("羊", "狗"), [0.7, 0.3]), reader("en", ("sheep", "<dog>"), [0.4, 0.6])], "en"
    )
    assert table.count("✓") == 2 and "✓ 70.0%" in table and "✓ 60.0%" in table and "<dog>" not in table


def test_the_matrix_counts_pairs_that_find_each_other() -> None:
    cosines = np.array([[0.9, 0.1], [0.8, 0.2]])
    found = Agreement(("sheep", "<dog>"), ("羊", "狗"), cosines, np.array([0.5, 0.1]), np.array([0.4, 0.2]))
    assert found.matched.tolist() == [True, False]
    shown = chinese_draw.agreement_matrix(found, "en")
    assert "<strong>1 of 2</strong>" in shown and shown.count('class="pair') == 2 and "<dog>" not in shown
    assert "+0.55" in shown and "+0.45" in shown  # means of the pairs and of the others


def test_numbers_are_the_given_ones() -> None:
    numbers = {"labels": ["<羊>"], "order": [0], "cosines": [0.25], "logits": [5.0], "probabilities": [0.75]}
    result: Any = SimpleNamespace(**numbers, logit_scale=20.0, logit_bias=0.0, normalisation="softmax")
    table = chinese_draw.number_table(result, "zh")
    assert "+0.2500" in table and "+5.00" in table and "75.0%" in table and "<羊>" not in table


def test_the_figure_of_two_stages_is_in_both_languages() -> None:
    shown = chinese_draw.two_stages()
    assert shown.count('class="tower frozen"') == 1 and shown.count('class="tower trained"') == 3
    assert "冻结" in shown and "frozen" in shown


def test_what_a_run_showed_is_said_of_the_stages_that_it_had() -> None:
    from core.classroom.recipes.chinese_clip.live import Examined, Moment

    exams = (Examined(0, 0.0, 0.9, 1.0), Examined(10, 0.5, 0.9, 1.0), Examined(20, 0.6, 0.8, 0.98))
    moment = Moment(20, 20, False, 1.0, 0.0, exams, True, False)
    verdict = stages.look(moment, 10, "en").slots["verdict"]
    assert "0% to 50%" in verdict and "English 90% → 80%" in verdict and "0.980" in verdict
    assert "Locked" not in stages.verdict(moment, 0, "en").split("atlas-line")[0]
