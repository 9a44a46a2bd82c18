"""The concept table and the sprite sheets: unique names, the concepts the lessons use, drawings where promised."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from core.classroom import find
from core.classroom.world import sprites
from core.classroom.world.concepts import concepts, seen, unseen
from core.errors import Refusal

REQUIRED = [
    "red envelope",
    "money",
    "envelope",
    "sheep",
    "dog",
    "cat",
    "duck",
    "teddy bear",
    "chair",
    "syringe",
    "test tube",
    "pill",
    "tree",
    "seedling",
    "car",
    "airplane",
    "bird",
    "horse",
    "camel",
    "flamingo",
    "rose",
    "house",
    "eye",
]


def test_about_four_hundred_concepts_keyed_by_code_point() -> None:
    codes = [c.code for c in concepts()]
    assert 390 <= len(codes) <= 450
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[0-9A-F]{4,5}", code) for code in codes)
    assert [c.index for c in concepts()] == list(range(len(codes)))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_word_names_two_concepts(lang: str) -> None:
    words = Counter(w.lower() for c in concepts() for w in (c.name(lang), *c.also(lang)))
    assert [w for w, n in words.items() if n > 1] == []


def test_chinese_names_are_chinese() -> None:
    for concept in concepts():
        assert re.search(r"[\u4e00-\u9fff]", concept.zh), concept
        assert not re.search(r"[\u4e00-\u9fff]", concept.en), concept


@pytest.mark.parametrize("name", REQUIRED)
def test_the_concepts_of_the_lessons_are_there(name: str) -> None:
    concept = find(name)
    assert concept is not None and concept.en == name


def test_words_lead_to_concepts() -> None:
    assert find("U+1F411") is find("羊") is find("ewe") is find("1f411")
    assert find("no such thing") is None
    envelope = find("red envelope")
    assert envelope is not None
    assert {en for en, _ in envelope.associations} == {"money", "new year", "China"}


def test_every_style_draws_what_it_lists_and_nothing_else() -> None:
    for style, codes in sprites.drawn().items():
        cells = sprites.sheet(style)
        assert cells.shape == (len(concepts()), sprites.CELL, sprites.CELL, 4)
        filled = cells[..., 3].reshape(len(cells), -1).max(1) > 128
        assert {c.code for c in concepts() if filled[c.index]} == set(codes), style
    drawn = Counter(code for codes in sprites.drawn().values() for code in codes)
    assert min(drawn[c.code] for c in concepts()) >= 4


def test_openmoji_is_in_no_sheet() -> None:
    assert not [style for style in sprites.STYLES if "openmoji" in style]
    assert len(sprites.STYLES) >= 9


def test_fit_trims_and_centres() -> None:
    from PIL import Image

    picture = Image.new("RGBA", (200, 100), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (20, 40, 60, 50))
    cell = sprites.fit(picture)
    assert cell is not None
    rows, columns = np.nonzero(cell[..., 3] > 128)
    assert columns.max() - columns.min() + 1 == sprites.INNER
    assert rows.max() - rows.min() + 1 == pytest.approx(sprites.INNER / 4, abs=1)
    assert abs(rows.mean() - (sprites.CELL - 1) / 2) < 1
    assert (cell[48, 48, :3] == (255, 0, 0)).all()
    assert sprites.fit(Image.new("RGBA", (5, 5), (0, 0, 0, 0))) is None


def test_one_concept_in_five_is_kept_from_masks_and_boxes() -> None:
    assert not set(seen()) & set(unseen())
    assert len(seen()) + len(unseen()) == len(concepts())
    assert len(unseen()) / len(concepts()) == pytest.approx(0.2, abs=0.01)
    # What the lessons of ViLD and GLIP ask for.
    for name in ("duck", "syringe"):
        concept = find(name)
        assert concept is not None and concept.index in unseen()


def test_a_drawing_by_any_name() -> None:
    dog = sprites.drawing("dog")
    assert dog.shape == (sprites.CELL, sprites.CELL, 4) and dog[..., 3].any()
    assert all(np.array_equal(dog, sprites.drawing(name)) for name in ("狗", "1F415"))
    with pytest.raises(Refusal) as refusal:
        sprites.drawing("unicycle of glass")
    assert refusal.value.code == "unknown_concept"
