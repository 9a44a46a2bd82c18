"""Grounds, places, sizes, renderings and numbers: what images show of them, what captions tell, and what is learned."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from core.classroom.recipes.clip import evaluate
from core.classroom.recipes.clip.objectives import Factors, factor_hits, factor_loss, true_pairs
from core.classroom.recipes.common import tokenizer as tokens
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.captions import TWINS, Caption, Writer
from core.classroom.world.concepts import concepts
from core.classroom.world.factors import FACTORS, NOTHING, framed, sentence, table, table_values, values
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.specs import BACKGROUNDS, KINDS, SIZE_RANGE, SceneSettings, Spec, sample
from core.classroom.world.wording import (
    LANGUAGES,
    LOOKS,
    PLACE_WORDS,
    POSITION_WORDS,
    SIZE_WORDS,
    ground_phrase,
)

COLUMN = {factor: column for column, factor in enumerate(FACTORS)}


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return open_atlas(("twemoji", "symbola"))


@pytest.fixture(scope="module")
def spec(atlas: Atlas) -> Spec:
    return sample(600, 21, atlas)


def marks(factor: str, value: int, lang: str) -> tuple[str, ...]:
    """Words of which a sentence that names this value has one; of numbers there is none, as they stand in the noun."""
    name, zh = FACTORS[factor][value], lang == "zh"
    if factor == "ground":
        return (PLACE_WORDS[name][zh] if name in PLACE_WORDS else ground_phrase(name, lang),)
    if factor == "place":
        return (f"{POSITION_WORDS[name][zh]}的" if zh else POSITION_WORDS[name][0],)
    forms = {"size": SIZE_WORDS, "rendering": LOOKS}.get(factor, {}).get(name, {}).get(lang, ())
    return tuple(form.replace("{n}", "").replace("{a}", "").replace("{}", "").strip() for form in forms)


def names_value(text: str, factor: str, value: int, lang: str) -> bool:
    return any(mark.removeprefix("a ") in text for mark in marks(factor, value, lang))


def test_values_are_what_the_picture_shows(atlas: Atlas, spec: Spec) -> None:
    seen = values(spec, atlas.mono)
    shown = set()
    for i, row in enumerate(seen.tolist()):
        value = {factor: row[column] for factor, column in COLUMN.items()}
        kind, look = KINDS[int(spec.kind[i])], RENDERINGS[int(spec.rendering[i])]
        ground = list(BACKGROUNDS)[int(spec.background[i])]
        if look in ("silhouette", "line", "sketch", "depth") or (look == "grey" and ground == "red"):
            assert value["ground"] == -1, "nobody can tell"
        elif look == "colour":
            assert FACTORS["ground"][value["ground"]] == ground
        if kind in ("pair", "group"):
            assert value["place"] == value["size"] == value["number"] == -1
        else:
            assert value["number"] + 1 == int(spec.present[i].sum())
        if value["rendering"] >= 0:
            assert FACTORS["rendering"][value["rendering"]] == look
        if value["size"] >= 0:
            low, high = SIZE_RANGE[value["size"]]
            assert low <= spec.half[i, 0] <= high
        if value["place"] >= 0:
            place = FACTORS["place"][value["place"]]
            x, y = float(spec.x[i, 0]), float(spec.y[i, 0])
            assert ("left" in place) == (x < -0.3) and ("right" in place) == (x > 0.3)
            assert ("top" in place) == (y < -0.3) and ("bottom" in place) == (y > 0.3)
            assert (place == "middle") == (max(abs(x), abs(y)) < 0.12)
        shown |= {(factor, v) for factor, v in value.items() if v >= 0}
    assert len(shown) == sum(map(len, FACTORS.values())), "every value occurs"


def test_the_rendering_of_a_drawing_in_one_colour_is_left_open(atlas: Atlas) -> None:
    spec = sample(200, 5, atlas, SceneSettings(kinds=(1, 0, 0, 0), looks=(1, 1, 1, 0, 0, 0)))
    drawn = atlas.mono[spec.sprite[:, 0]] & (spec.rendering < 2)
    assert drawn.any() and not drawn.all()
    rendering = values(spec, atlas.mono)[:, COLUMN["rendering"]]
    assert ((rendering == -1) == drawn).all()
    assert (values(spec)[:, COLUMN["rendering"]] == spec.rendering).all()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_captions_tell_the_truth_and_twins_change_one_factor(atlas: Atlas, spec: Spec, lang: str) -> None:
    writer, rng = Writer(spec, atlas.mono), random.Random(1)
    seen = values(spec, atlas.mono).tolist()
    changed, with_twins = set(), 0
    for i in range(len(spec)):
        caption = writer.write(i, lang, rng)
        named = {f: v for f, v in zip(FACTORS, caption.named, strict=True) if v >= 0}
        assert all(seen[i][COLUMN[f]] == v for f, v in named.items()), caption
        for factor, value in named.items():
            assert factor == "number" or names_value(caption.text, factor, value, lang), caption
        assert bool(named) == bool(caption.twins)
        assert len(set(caption.twins)) == len(caption.twins) in (0, TWINS)
        if not named:
            continue
        with_twins += 1
        false = []
        for twin in caption.twins:
            assert twin != caption.text
            kept = {f for f, v in named.items() if f != "number" and names_value(twin, f, v, lang)}
            # A place in the image and a ground may share characters ("上"), never whole words.
            lost = {f for f in named if f != "number"} - kept
            assert len(lost) == ("number" not in named or len(lost) == 1), (caption, twin)
            false.append(lost)
        assert all(lost == false[0] for lost in false), "all twins of a caption change the same factor"
        changed |= {next(iter(false[0]), "number")}
    assert changed == set(FACTORS) and with_twins > len(spec) / 3


def test_sentences_put_factors_together() -> None:
    dog = next(c for c in concepts() if c.en == "dog")
    grass, sketch = FACTORS["ground"].index("grass"), RENDERINGS.index("sketch")
    giant, left = 0, FACTORS["place"].index("left")
    assert sentence(dog, {"size": giant, "place": left, "rendering": sketch}, "en") == (
        "a sketch of a giant dog on the left"
    )
    assert sentence(dog, {"number": 2, "ground": grass}, "zh") == "草地上的三只狗"
    assert sentence(dog, {"number": 0}, "en") == "one dog"
    assert sentence(dog, {"size": 2}, "en", form=1, name="puppy") == "a puppy at a middle distance"
    assert framed("a dog and a cat", {"ground": grass}, "en") == "a dog and a cat on grass"


def test_the_table_names_every_value_once() -> None:
    truth = table_values()
    assert len(truth) == sum(map(len, FACTORS.values())) and (truth >= 0).sum(1).eq(1).all()
    for lang in LANGUAGES:
        for form in range(3):
            lines = table(concepts()[0], lang, form)
            assert len(set(lines)) == len(lines) == len(truth)
        for line, row in zip(table(concepts()[0], lang), truth.tolist(), strict=True):
            factor = list(FACTORS)[next(c for c, v in enumerate(row) if v >= 0)]
            assert factor == "number" or names_value(line, factor, max(row), lang)


def test_the_tokenizer_knows_every_word_of_the_factors() -> None:
    tokenizer = tokens.train()
    for lang in LANGUAGES:
        for form in range(3):
            for line in table(concepts()[0], lang, form):
                spelled = tokenizer.encode(line).tokens
                assert not any(t.startswith("<0x") or t == "<unk>" for t in spelled), line


def test_a_caption_is_true_of_pictures_that_show_what_it_names(atlas: Atlas) -> None:
    spec = sample(3, 0, atlas, SceneSettings(kinds=(1, 0, 0, 0), looks=(1, 0, 0, 0, 0, 0), poses=0))
    spec.concept[:, 0] = 7
    spec.background[:] = torch.tensor([3, 16, 16])
    spec.size[:] = torch.tensor([1, 1, 3])
    on_grass = [16 if f == "ground" else -1 for f in FACTORS]
    close_on_grass = [1 if f == "size" else v for f, v in zip(FACTORS, on_grass, strict=True)]
    said = [
        Caption("plain", claim=7),
        Caption("on grass", claim=7, named=tuple(on_grass)),
        Caption("close, on grass", named=tuple(close_on_grass), claim=7),
    ]
    # The captions are those of the images in their order; the third is not true of its own, which counts all the same.
    assert true_pairs(said, spec).tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 1]]
    assert Caption("x").named == NOTHING


def test_anchors_of_factors_are_learned_and_what_is_not_known_does_not_count() -> None:
    torch.manual_seed(0)
    anchors = Factors(16)
    features = torch.randn(12, 16)
    truth = torch.full((12, len(FACTORS)), -1)
    assert anchors.loss(features, truth, 0.1).item() == 0
    truth[:, COLUMN["size"]] = torch.arange(12) % 4
    tables = list(anchors.tables)
    before = anchors.loss(features, truth, 0.1)
    assert before.item() == pytest.approx(
        F.cross_entropy(
            20 * F.normalize(features, dim=-1) @ F.normalize(tables[COLUMN["size"]], dim=-1).T,
            truth[:, COLUMN["size"]],
            label_smoothing=0.1,
        ).item()
    )
    optimizer = torch.optim.Adam(anchors.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        anchors.loss(features, truth, 0.1).backward()
        optimizer.step()
    assert factor_loss(features, list(anchors.tables), truth, 0.1) < before - 0.5
    hits = factor_hits(features, list(anchors.tables), truth)
    assert hits["top1_size"] > 0.7 and hits["top1_ground"] == 0


class Oracle:
    """Stands for a miniature: every line has a direction of its own, every image that of all true sentences."""

    size = 64

    def __init__(self, atlas: Atlas, factors: Sequence[str]) -> None:
        self.atlas, self.factors = atlas, factors

    def texts(self, lines: Sequence[str]) -> Tensor:
        rows = [
            torch.randn(64, generator=torch.Generator().manual_seed(crc32(line.encode()))) for line in lines
        ]
        return F.normalize(torch.stack(rows), dim=-1)

    def images(self, spec: Spec) -> Tensor:
        features = []
        for i, row in enumerate(values(spec, self.atlas.mono).tolist()):
            concept = concepts()[int(spec.concept[i, 0])]
            true = [
                sentence(concept, {f: row[COLUMN[f]]}, lang, form)
                for f in self.factors
                for lang in LANGUAGES
                for form in range(2)
                if row[COLUMN[f]] >= 0
            ]
            features.append(self.texts(true or ["nothing"]).sum(0))
        return F.normalize(torch.stack(features), dim=-1)


def test_factors_are_examined(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "render", lambda spec, atlas, size: SimpleNamespace(picture=spec))
    measured: dict[tuple[str, str], float] = {}

    def add(measure: str, split: str, lang: str, value: float) -> None:
        assert measure == "factor"
        measured[split, lang] = value

    model: Any = Oracle(atlas, ("ground", "size"))
    evaluate.factors(model, atlas, add, count=120)
    assert len(measured) == 2 * (len(FACTORS) + 1)
    for lang in LANGUAGES:
        for split in ("ground of 22", "ground of 11 plain colours", "size of 4"):
            assert measured[split, lang] > 0.95, split
        assert measured["place of 9", lang] < 0.6 and measured["rendering of 6", lang] < 0.6
