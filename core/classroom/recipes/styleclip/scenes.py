"""The small world that both parts of the StyleCLIP miniature know: one thing on a ground, drawn in one of a few ways.

A state has five factors: the thing, the drawing style of its sprite, the ground, the rendering and the place, with the size
beside them. Two states that differ in one factor are an exact pair of before and after, which no collection of photographs has.
A style has no name in the texts. Grounds keep their plain colours and nothing is warped, so that the image of a state is exact,
too.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache

import torch
from torch import Tensor

from core.classroom.world import factors
from core.classroom.world.atlas import Atlas
from core.classroom.world.concepts import by_name, concepts
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.scenes import render
from core.classroom.world.specs import BACKGROUNDS, SIZES, SceneSettings, sample
from core.classroom.world.wording import POSITION_WORDS

SIZE = 32  # pixels of a side
THINGS = (
    "dog", "cat", "horse", "cow", "pig", "rabbit", "elephant", "panda", "penguin", "frog", "turtle", "snake", "whale",
    "tropical fish", "octopus", "bee", "ladybug", "cactus", "tree", "tulip", "sunflower", "mushroom", "apple", "banana",
    "watermelon", "strawberry", "grapes", "pizza", "hamburger", "doughnut", "ice cream", "car", "bus", "bicycle", "airplane",
    "rocket", "sailboat", "house", "castle", "sun", "star", "umbrella", "guitar", "bell", "key", "scissors", "heart", "crown",
    "candle", "gift",
)  # fmt: skip
STYLES = ("noto", "twemoji", "fluent-emoji-flat")
GROUNDS = (
    "white", "black", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "grass", "sea", "sand",
    "night",
)  # fmt: skip
DRAWN = ("colour", "grey", "silhouette", "sketch")
PLACES = {
    "middle": (0.0, 0.0),
    "left": (-0.36, 0.0),
    "right": (0.36, 0.0),
    "top": (0.0, -0.36),
    "bottom": (0.0, 0.36),
}
ALONE, PLACED = (0.66, 0.84), 0.62  # half the size of a thing in the middle, and of one elsewhere
ALIGNED = 0.8  # of every thing that the generator learns
CHANGES = ("thing", "ground", "rendering", "place")
# Gain, paper, pen and grain of whatever is drawn in ink: pale paper and a dark pen.
_PEN = (4.0, 0.98, 0.98, 0.97, 0.1, 0.1, 0.12, 0.0)
_HORIZON = 0.1


@dataclass(frozen=True)
class States:
    """B states: indices into THINGS, STYLES, GROUNDS, DRAWN and PLACES, and half the size of the thing; each [B]."""

    thing: Tensor
    style: Tensor
    ground: Tensor
    rendering: Tensor
    place: Tensor
    half: Tensor

    def __len__(self) -> int:
        return len(self.thing)

    def take(self, index: Tensor | slice | Sequence[int]) -> States:
        """The states at these positions."""
        where = torch.tensor(index) if isinstance(index, (list, tuple)) else index
        return States(**{f.name: getattr(self, f.name)[where] for f in fields(self)})


@cache
def thing_concepts() -> tuple[int, ...]:
    """The concept of each of THINGS."""
    return tuple(by_name()[name].index for name in THINGS)


def thing_names(lang: str) -> list[str]:
    """The name of each of THINGS."""
    return [concepts()[i].name(lang) for i in thing_concepts()]


def names_a_thing(text: str) -> bool:
    """Whether a text names one of THINGS, in either language."""
    words = text.lower()
    english = (rf"\b{re.escape(name.lower())}(e?s)?\b" for name in thing_names("en"))
    return any(re.search(name, words) for name in english) or any(name in text for name in thing_names("zh"))


def states(count: int, seed: int, aligned: bool = False, plain: bool = False) -> States:
    """Draws states. aligned: every thing in the middle and of one size, as the generator learns them. plain: in colour."""
    g = torch.Generator().manual_seed(seed)

    def pick(shares: Sequence[float]) -> Tensor:
        return torch.multinomial(
            torch.tensor(shares, dtype=torch.float), count, replacement=True, generator=g
        )

    thing, style, ground = (pick([1.0] * len(names)) for names in (THINGS, STYLES, GROUNDS))
    rendering = pick((0.7, 0.08, 0.08, 0.14))
    place = pick((0.6, 0.1, 0.1, 0.1, 0.1))
    low, high = ALONE
    half = torch.where(place == 0, low + (high - low) * torch.rand(count, generator=g), PLACED)
    if aligned:
        place, half = torch.zeros_like(place), torch.full_like(half, ALIGNED)
    if plain:
        rendering = torch.zeros_like(rendering)
    return States(thing, style, ground, rendering, place, half)


def pairs(count: int, seed: int, shares: Sequence[float]) -> tuple[States, States, Tensor]:
    """States before and after, and which of CHANGES was made [B]; shares: of CHANGES.

    A ground changes only where it is seen, and a place only to one of another name."""
    g = torch.Generator().manual_seed(seed ^ 0x5EED)
    before = states(count, seed)
    change = torch.multinomial(torch.tensor(shares, dtype=torch.float), count, replacement=True, generator=g)
    sizes = {"thing": len(THINGS), "ground": len(GROUNDS), "rendering": len(DRAWN), "place": len(PLACES)}
    # A new ground or place is seen in colour alone; most renderings are made of a coloured image.
    coloured = (change == 1) | ((change == 2) & (torch.rand(count, generator=g) < 0.7))
    before = replace(before, rendering=torch.where(coloured, 0, before.rendering))
    moved = {}
    for at, (name, size) in enumerate(sizes.items()):
        old: Tensor = getattr(before, name)
        shift = torch.randint(1, size, (count,), generator=g)
        moved[name] = torch.where(change == at, (old + shift) % size, old)
    # A thing that moves has the size that things have at the sides.
    half = torch.where(change == 3, PLACED, before.half)
    before = replace(before, half=half)
    return before, replace(before, **moved), change


def draw(states_: States, atlas: Atlas, size: int = SIZE) -> Tensor:
    """Images [B, 3, size, size] in [0, 1]; what a ground's texture or a shaking hand would add is left out."""
    count = len(states_)
    spec = sample(
        count, 0, atlas, SceneSettings(kinds=(1, 0, 0, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.0, poses=0.0)
    )
    concept = torch.tensor(thing_concepts())[states_.thing]
    styles = torch.tensor([atlas.styles.index(name) for name in STYLES])
    backgrounds = torch.tensor([list(BACKGROUNDS).index(name) for name in GROUNDS])[states_.ground]
    colours = torch.tensor([BACKGROUNDS[name][1:] for name in GROUNDS])[states_.ground]
    centre = torch.tensor(list(PLACES.values()))[states_.place]
    rendering = torch.tensor([RENDERINGS.index(name) for name in DRAWN])[states_.rendering]

    def first(tensor: Tensor, value: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor[:, 0] = value
        return tensor

    pattern = torch.tensor([0.0, 6.0, _HORIZON, 0.0]).expand(count, 4).clone()
    spec = replace(
        spec,
        concept=first(spec.concept, concept),
        pose=torch.zeros_like(spec.pose),
        sprite=first(spec.sprite, atlas.table[styles[states_.style], concept, 0]),
        x=first(spec.x, centre[:, 0]),
        y=first(spec.y, centre[:, 1]),
        half=first(spec.half, states_.half),
        affine=torch.eye(2).expand_as(spec.affine).clone(),
        outline=torch.zeros_like(spec.outline),
        fill=torch.zeros_like(spec.fill),
        background=backgrounds,
        ground=colours,
        pattern=pattern,
        rendering=rendering,
        stroke=torch.tensor(_PEN).expand(count, -1).clone(),
        wobble=torch.zeros_like(spec.wobble),
        tone=torch.tensor([1.0, 0.0, 0.0]).expand(count, 3).clone(),
        texture=torch.zeros_like(spec.texture),
    )
    return render(spec, atlas, size).picture


def caption(states_: States, row: int, lang: str, tell: frozenset[str], form: int = 0) -> str:
    """A text of a state that names the thing and those of ground, rendering, place and size that `tell` has."""
    concept = concepts()[thing_concepts()[int(states_.thing[row])]]
    named: dict[str, int] = {}
    if "ground" in tell:
        named["ground"] = list(BACKGROUNDS).index(GROUNDS[int(states_.ground[row])])
    if "rendering" in tell:
        named["rendering"] = RENDERINGS.index(DRAWN[int(states_.rendering[row])])
    if "place" in tell:
        named["place"] = list(POSITION_WORDS).index(list(PLACES)[int(states_.place[row])])
    if "size" in tell:
        named["size"] = SIZES.index("giant")
    return factors.sentence(concept, named, lang, form)


def told(before: States, after: States, row: int, rng: random.Random, alone: bool) -> frozenset[str]:
    """What the text of an edit names: what changed, and some of what can be seen and stays.

    alone: there is no image to keep anything of, so that more is said."""
    changed = {
        name for name in CHANGES[1:] if int(getattr(before, name)[row]) != int(getattr(after, name)[row])
    }
    coloured = int(after.rendering[row]) == 0
    seen = {"rendering": True, "ground": coloured, "place": True}
    # From ink to colour no ground can be kept: the text has to say which.
    if coloured and int(before.rendering[row]) != 0:
        changed.add("ground")
    if not coloured:
        changed.discard("ground")
        # An image alone is in colour unless the text says otherwise.
        if alone:
            changed.add("rendering")
    share = 0.6 if alone else 0.35
    kept = {
        name
        for name, visible in seen.items()
        if visible and rng.random() < (share if name != "rendering" else 0.15)
    }
    return frozenset(changed | kept)
