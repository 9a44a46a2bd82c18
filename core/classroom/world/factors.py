"""What a caption may tell of an image beside names and relations: its ground, a place, a size, a rendering, a number.

Each of these is a factor with a few values. An image has one value of every factor, or none where the factor cannot be
seen: a silhouette has no ground, and two things have no place in common. A text names some of the factors. Sentences
that name the same factors in the same wording differ in exactly one value; of these the false ones are the hardest
wrong answers that a caption can have.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from core.classroom.world.concepts import Concept
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.specs import BACKGROUNDS, KINDS, PLACES, SIZES, VIVID, Spec
from core.classroom.world.wording import (
    LOOKS,
    NUMBERS,
    POSITION_WORDS,
    SIZE_WORDS,
    counted,
    grounded,
    phrase,
)

FACTORS: dict[str, tuple[str, ...]] = {
    "ground": tuple(BACKGROUNDS),
    "place": tuple(POSITION_WORDS),
    "size": SIZES,
    "rendering": RENDERINGS,
    "number": tuple(str(n) for n in NUMBERS),
}
NOTHING = (-1,) * len(FACTORS)  # names no factor
_MIDDLE, _SIDE = 0.12, 0.3  # how far from the centre a thing still is in the middle, and is at a side


def values(spec: Spec, mono: Tensor | None = None) -> Tensor:
    """The value of every factor in every image, [B, F] in the order of FACTORS; -1 where it cannot be seen.

    mono: [S] of the atlas; whether things drawn in one colour make a colour image, nobody can say."""
    single, flock = spec.kind == KINDS.index("single"), spec.kind == KINDS.index("flock")
    named = {name: i for i, name in enumerate(RENDERINGS)}
    rendering = spec.rendering
    if mono is not None:
        drawn = (mono[spec.sprite] | ~spec.present).all(1)
        plain = (rendering == named["colour"]) | (rendering == named["grey"])
        rendering = torch.where(drawn & plain, -1, rendering)
    # Grey images keep patterns and places; of plain colours they keep the brightness alone.
    lasting = torch.tensor([name in PLACES or name in VIVID for name in BACKGROUNDS])[spec.background]
    grounded = (spec.rendering == named["colour"]) | ((spec.rendering == named["grey"]) & lasting)
    columns = {
        "ground": torch.where(grounded, spec.background, -1),
        "place": torch.where(single, places(spec.x[:, 0], spec.y[:, 0]), -1),
        "size": torch.where(single, spec.size, -1),
        "rendering": rendering,
        "number": torch.where(single | flock, spec.count - 1, -1),
    }
    return torch.stack([columns[factor] for factor in FACTORS], 1)


def places(x: Tensor, y: Tensor) -> Tensor:
    """Where on the canvas [B] things at (x, y) are, as indices into POSITION_WORDS; -1 between two places."""
    names = list(POSITION_WORDS)
    place = torch.full_like(x, -1, dtype=torch.long)
    middle = torch.maximum(x.abs(), y.abs()) < _MIDDLE
    place[middle] = names.index("middle")
    across = {"left": x < -_SIDE, "right": x > _SIDE, "": x.abs() < _SIDE * 2 / 3}
    down = {"top": y < -_SIDE, "bottom": y > _SIDE, "": y.abs() < _SIDE * 2 / 3}
    for column, in_column in across.items():
        for row, in_row in down.items():
            name = f"{row} {column}".strip()
            if name:
                place[in_column & in_row] = names.index(name)
    return place


def sentence(
    concept: Concept, named: Mapping[str, int], lang: str, form: int = 0, name: str | None = None
) -> str:
    """A noun phrase that names the concept and the values of some factors: "a sketch of a giant dog on the left".

    named: factor -> index of its value. form: which of the wordings of each value is used. name: in place of the
    concept's own. A number takes the place of a size, because a size is that of one thing.
    """
    word = name or concept.name(lang)
    if "number" in named:
        text = counted(concept, list(NUMBERS)[named["number"]], lang)
    elif "size" in named:
        forms = SIZE_WORDS[SIZES[named["size"]]][lang]
        text = forms[form % len(forms)].format(n=word, a=phrase(word, lang))
    else:
        text = phrase(word, lang)
    return framed(text, named, lang, form)


def framed(text: str, named: Mapping[str, int], lang: str, form: int = 0) -> str:
    """The text with the place, the ground and the rendering of `named` around it."""
    if "place" in named:
        en, zh = POSITION_WORDS[FACTORS["place"][named["place"]]]
        text = f"{zh}的{text}" if lang == "zh" else f"{text} {en}"
    if "ground" in named:
        text = grounded(FACTORS["ground"][named["ground"]], text, lang)
    if "rendering" in named:
        forms = LOOKS[RENDERINGS[named["rendering"]]][lang]
        text = forms[form % len(forms)].format(text)
    return text


def table(concept: Concept, lang: str, form: int = 0) -> list[str]:
    """One sentence about the concept for every value of every factor, in the order of FACTORS."""
    return [
        sentence(concept, {factor: value}, lang, form)
        for factor, names in FACTORS.items()
        for value in range(len(names))
    ]


def table_values() -> Tensor:
    """[V, F] the values that the sentences of `table` name; each names one factor."""
    rows = torch.full((sum(map(len, FACTORS.values())), len(FACTORS)), -1)
    start = 0
    for column, names in enumerate(FACTORS.values()):
        rows[start : start + len(names), column] = torch.arange(len(names))
        start += len(names)
    return rows
