"""Questions about scenes whose answers are known exactly, in English and Chinese.

    object   what is this?                          the name of the one kind of thing in the image
    place    where is the dog?                      one of nine places
    count    how many dogs are there?               1 to 4
    ground   what colour is the background?         a colour, a pattern or a place
    exists   is there a dog in the image?           yes or no
    side     is the dog left or right of the cat?   left or right
    depth    is the dog in front of or behind the cat?
    larger   which is larger, the dog or the cat?   one of both names

The answers of a kind are equally frequent, whatever the question names: a model that does not look at the image cannot be right
more often than by chance. An answer is one class with a name in each language.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor

from core.classroom.world.atlas import Atlas
from core.classroom.world.concepts import Concept, concepts
from core.classroom.world.factors import FACTORS, places, values
from core.classroom.world.specs import (
    BACKGROUNDS,
    KINDS,
    PATTERNS,
    PLACES,
    RELATIONS,
    SceneSettings,
    Spec,
    sample,
)
from core.classroom.world.wording import (
    GROUND_ZH,
    LANGUAGES,
    NUMBERS,
    PLACE_WORDS,
    POSITION_WORDS,
    definite,
    is_plural,
    many,
    measure,
    phrase,
)

Kind = Literal["object", "place", "count", "ground", "exists", "side", "depth", "larger"]
QUESTIONS: tuple[Kind, ...] = get_args(Kind)
# How many of a hundred questions are of each kind: those with more answers need more examples.
SHARES: dict[Kind, float] = {
    "object": 14, "place": 12, "count": 10, "ground": 6, "exists": 22, "side": 18, "depth": 8, "larger": 10,
}  # fmt: skip
# The scenes that questions are asked of: more crowds, so that there is something to count, and mostly in colour.
SCENES = SceneSettings(
    kinds=(0.34, 0.34, 0.22, 0.1),
    looks=(0.9, 0.1, 0.0, 0.0, 0.0, 0.0),
    sizes=(0.1, 0.4, 0.38, 0.12),
    axes=(0.5, 0.16, 0.34),
    augment=0.5,
    poses=0.0,
)
APART = 0.5  # how far apart in x two things are of which one is left of the other
LARGER = 1.25  # how many times as long the larger of two things is
SMALLER = (0.5, 0.72)  # the share of its size that is left to a thing beside a larger one

WORDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "object": {
        "en": ("what is this?", "what is in the image?", "what does the image show?"),
        "zh": ("这是什么？", "图中是什么？", "图里有什么？"),
    },
    "place": {
        "en": ("where {is} {the_a}?", "where in the image {is} {the_a}?"),
        "zh": ("{a}在哪里？", "{a}在图中的什么位置？"),
    },
    "count": {
        "en": ("how many {many} are there?", "how many {many} can you see?"),
        "zh": ("有几{measure}{a}？", "图中有几{measure}{a}？"),
    },
    "count all": {
        "en": ("how many things are there?", "how many things can you see?"),
        "zh": ("有几样东西？", "图中有几样东西？"),
    },
    "ground": {
        "en": ("what is the background?", "what is behind everything?"),
        "zh": ("背景是什么？", "背景是什么样的？"),
    },
    "ground colour": {
        "en": ("what colour is the background?", "which colour does the background have?"),
        "zh": ("背景是什么颜色？", "背景是哪种颜色？"),
    },
    "exists": {
        "en": ("{is} there {a} in the image?", "does the image show {a}?", "can you see {a}?"),
        "zh": ("图中有{a}吗？", "有没有{a}？", "能看到{a}吗？"),
    },
    "side": {
        "en": ("{is} {the_a} left or right of {the_b}?", "{is} {the_a} to the left or to the right of {the_b}?"),
        "zh": ("{a}在{b}的左边还是右边？", "{a}在{b}左边还是右边？"),
    },
    "depth": {
        "en": ("{is} {the_a} in front of or behind {the_b}?", "{is} {the_a} behind or in front of {the_b}?"),
        "zh": ("{a}在{b}的前面还是后面？", "{a}在{b}后面还是前面？"),
    },
    "larger": {
        "en": ("which is larger, {the_a} or {the_b}?", "which is bigger, {the_a} or {the_b}?"),
        "zh": ("哪个更大，{a}还是{b}？", "{a}和{b}哪个更大？"),
    },
}  # fmt: skip
_PLAIN = tuple(
    name for name, (pattern, _, _) in BACKGROUNDS.items() if pattern == PATTERNS[0] and name != "textured"
)


@dataclass(frozen=True)
class Answer:
    """A class of answers. group: "concept", "position", "number", "ground", "exists" or "depth"; name: within its group."""

    group: str
    name: str
    en: str
    zh: str

    def text(self, lang: str) -> str:
        """What it is called in "en" or "zh"."""
        return self.zh if lang == "zh" else self.en


@cache
def answers() -> tuple[Answer, ...]:
    """Every answer, in the order of the classes: the concepts first, each at its own index."""
    return (
        *(Answer("concept", c.code, c.en, c.zh) for c in concepts()),
        *(Answer("position", name, name, zh) for name, (_, zh) in POSITION_WORDS.items()),
        *(Answer("number", str(n), str(n), str(n)) for n in NUMBERS),
        *(
            Answer("ground", name, name, PLACE_WORDS[name][1][:-1] if name in PLACES else GROUND_ZH[name])
            for name in BACKGROUNDS
        ),
        Answer("exists", "yes", "yes", "有"),
        Answer("exists", "no", "no", "没有"),
        Answer("depth", "in front", "in front", "前面"),
        Answer("depth", "behind", "behind", "后面"),
    )


@cache
def first_of(group: str) -> int:
    """The class of the first answer of a group; the others of the group follow."""
    return next(i for i, answer in enumerate(answers()) if answer.group == group)


@cache
def answer(group: str, name: str) -> int:
    """The class of an answer."""
    return next(i for i, one in enumerate(answers()) if (one.group, one.name) == (group, name))


@dataclass(frozen=True)
class Questions:
    """Q questions about the scenes of a spec; all tensors are [Q]."""

    kind: Tensor  # index into QUESTIONS
    scene: Tensor  # index into the spec
    first: Tensor  # the slot of the thing that is asked about, -1 for none
    second: Tensor  # the slot of the other thing, -1 for none
    a: Tensor  # the concept that is named first, -1 for none
    b: Tensor  # the concept that is named second, -1 for none
    general: Tensor  # bool: asks for all things, or for a background of any sort
    answer: Tensor  # index into answers()

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, index: Tensor) -> Questions:
        """The questions at these positions."""
        return Questions(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def texts(self, lang: str, rng: random.Random | None = None) -> list[str]:
        """Each question in "en" or "zh": in its first wording, or in one that rng chooses."""
        rows = zip(self.kind.tolist(), self.a.tolist(), self.b.tolist(), self.general.tolist(), strict=True)
        return [worded(QUESTIONS[kind], lang, a, b, general, rng) for kind, a, b, general in rows]


def worded(
    kind: Kind, lang: str, a: int = -1, b: int = -1, general: bool = False, rng: random.Random | None = None
) -> str:
    """One question about the concepts a and b, as `Questions` has them."""
    if kind == "count":
        name = "count all" if general else "count"
    elif kind == "ground":
        name = "ground" if general else "ground colour"
    else:
        name = kind
    forms = WORDINGS[name][lang]
    form = forms[0] if rng is None else rng.choice(forms)
    return form.format(**_named("a", a, lang), **_named("b", b, lang))


def _named(letter: str, index: int, lang: str) -> Mapping[str, str]:
    """What a wording may say of a concept."""
    if index < 0:
        return {}
    concept = concepts()[index]
    name = concept.name(lang)
    told = {letter: phrase(name, lang), f"the_{letter}": definite(name, lang)}
    if letter == "a":
        told |= {"many": many(concept), "measure": measure(concept), "is": "are" if is_plural(name) else "is"}
    return told


@cache
def question_corpus() -> list[str]:
    """Every wording with every concept, and every answer: what a tokenizer has to read."""
    lines = [one.text(lang) for lang in LANGUAGES for one in answers()]
    for forms in WORDINGS.values():
        for lang in LANGUAGES:
            for form in forms[lang]:
                lines += [
                    form.format(**_named("a", c.index, lang), **_named("b", c.index, lang))
                    for c in concepts()
                ]
    return list(dict.fromkeys(lines))


def scenes(count: int, seed: int, atlas: Atlas, settings: SceneSettings = SCENES) -> Spec:
    """Scenes for questions: those of `sample`, but that in half of the pairs side by side one thing is much smaller."""
    spec = sample(count, seed, atlas, settings)
    g = torch.Generator().manual_seed(seed + 1)
    beside = (spec.kind == KINDS.index("pair")) & (spec.relation != RELATIONS.index("front"))
    shrunk = beside & (torch.rand(count, generator=g) < 0.5)
    which = torch.randint(0, 2, (count,), generator=g)
    low, high = SMALLER
    share = low + (high - low) * torch.rand(count, generator=g)
    rows = torch.nonzero(shrunk)[:, 0]
    spec.half[rows, which[rows]] *= share[rows]
    return spec


def ask(
    spec: Spec,
    count: int,
    seed: int,
    shares: Mapping[Kind, float] = SHARES,
    pool: Sequence[int] | None = None,
) -> Questions:
    """Draws questions about the scenes of a spec; a scene may get several or none.

    Args:
        spec: as of `scenes` or `sample`.
        count: Q, questions in all; kinds that fit no scene are left out.
        seed: of the draw.
        shares: how many of the questions are of each kind; they need not sum to one.
        pool: the concepts that a question may name although they are not there; all by default.

    Returns:
        Q questions in no order; the answers of a kind are as equally frequent as the scenes allow.
    """
    g = torch.Generator().manual_seed(seed)
    found = {kind: _CANDIDATES[kind](spec, g, pool) for kind in QUESTIONS if shares.get(kind, 0) > 0}
    usable = [kind for kind in found if len(found[kind])]
    if not usable or count <= 0:
        nothing = torch.zeros(0, dtype=torch.long)
        return Questions(*(nothing,) * 6, nothing.bool(), nothing)
    weights = torch.tensor([float(shares[kind]) for kind in usable])
    drawn = torch.multinomial(weights, count, replacement=True, generator=g)
    parts = []
    for at, kind in enumerate(usable):
        number = int((drawn == at).sum())
        if number:
            of_kind = found[kind]
            chances = _balanced(of_kind.answer, of_kind.general)
            parts.append(of_kind.take(torch.multinomial(chances, number, replacement=True, generator=g)))
    joined = Questions(*(torch.cat([getattr(p, n) for p in parts]) for n in Questions.__dataclass_fields__))
    return joined.take(torch.randperm(count, generator=g))


def _balanced(answer_: Tensor, general: Tensor) -> Tensor:
    """Chances [N] by which the answers among the candidates of each form are equally frequent."""
    _, group, size = (answer_ * 2 + general).unique(return_inverse=True, return_counts=True)
    chances = 1 / size[group].double()
    # Both forms keep their shares of the candidates.
    for form in (False, True):
        rows = general == form
        if bool(rows.any()):
            chances[rows] *= rows.double().mean() / chances[rows].sum()
    return chances


def _candidates(
    kind: Kind,
    scene: Tensor,
    answer_: Tensor,
    first: Tensor | None = None,
    second: Tensor | None = None,
    a: Tensor | None = None,
    b: Tensor | None = None,
    general: Tensor | None = None,
) -> Questions:
    none = torch.full_like(scene, -1)
    return Questions(
        torch.full_like(scene, QUESTIONS.index(kind)),
        scene,
        none if first is None else first,
        none if second is None else second,
        none if a is None else a,
        none if b is None else b,
        torch.zeros(len(scene), dtype=torch.bool) if general is None else general,
        answer_,
    )


def _is(spec: Spec, *kinds: str) -> Tensor:
    """[B] whether a scene is of one of these kinds."""
    return torch.isin(spec.kind, torch.tensor([KINDS.index(kind) for kind in kinds]))


def _objects(spec: Spec, g: torch.Generator, pool: Sequence[int] | None) -> Questions:
    scene = torch.nonzero(_is(spec, "single", "flock"))[:, 0]
    return _candidates("object", scene, spec.concept[scene, 0], torch.zeros_like(scene))


def _places(spec: Spec, g: torch.Generator, pool: Sequence[int] | None) -> Questions:
    place = places(spec.x.flatten(), spec.y.flatten()).view_as(spec.x)
    asked = spec.present & (place >= 0) & _is(spec, "single", "pair", "group")[:, None]
    scene, slot = torch.nonzero(asked, as_tuple=True)
    return _candidates(
        "place", scene, first_of("position") + place[scene, slot], slot, a=spec.concept[scene, slot]
    )


def _counts(spec: Spec, g: torch.Generator, pool: Sequence[int] | None) -> Questions:
    scene = torch.arange(len(spec))
    alike = _is(spec, "single", "flock")
    # One kind of thing is asked for by its name or as things; several kinds only as things.
    general = ~alike | (torch.rand(len(spec), generator=g) < 0.3)
    named = torch.where(general, -1, spec.concept[:, 0])
    slot = torch.where(general, -1, 0)
    return _candidates("count", scene, first_of("number") + spec.count - 1, slot, a=named, general=general)


def _grounds(spec: Spec, g: torch.Generator, pool: Sequence[int] | None) -> Questions:
    ground = values(spec)[:, list(FACTORS).index("ground")]
    scene = torch.nonzero(ground >= 0)[:, 0]
    plain = torch.tensor([name in _PLAIN for name in BACKGROUNDS])[ground[scene]]
    general = ~plain | (torch.rand(len(scene), generator=g) < 0.5)
    return _candidates("ground", scene, first_of("ground") + ground[scene], general=general)


def _exists(spec: Spec, g: torch.Generator, pool: Sequence[int] | None) -> Questions:
    scene, slot = torch.nonzero(spec.present, as_tuple=True)
    present = spec.concept[scene, slot]
    names = torch.arange(len(concepts())) if pool is None else torch.as_tensor(list(pool))
    absent = names[torch.randint(len(names), (len(scene),), generator=g)]
    here = torch.where(spec.present, spec.concept, -1)[scene]  # [N, K]
    new = ~(here == absent[:, None]).any(1)
    yes, no = answer("exists", "yes"), answer("exists", "no")
    return _candidates(
        "exists",
        torch.cat([scene, scene[new]]),
        torch.cat([torch.full_like(scene, yes), torch.full_like(scene[new], no)]),
        torch.cat([slot, torch.full_like(slot[new], -1)]),
        a=torch.cat([present, absent[new]]),
    )


def _pairs(spec: Spec, allowed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scenes and two slots [N] of every ordered pair of different things that `allowed` [B, K, K] lets through."""
    here = spec.present[:, :, None] & spec.present[:, None, :]
    differ = spec.concept[:, :, None] != spec.concept[:, None, :]
    scene, i, j = torch.nonzero(here & differ & allowed, as_tuple=True)
    return scene, i, j


def _sides(spec: Spec, g: torch.Generator, pool: Sequence[int] | None) -> Questions:
    gap = spec.x[:, None, :] - spec.x[:, :, None]  # [B, i, j]: above zero where i is left of j
    scene, i, j = _pairs(spec, gap.abs() >= APART)
    side = torch.where(gap[scene, i, j] > 0, answer("position", "left"), answer("position", "right"))
    return _candidates("side", scene, side, i, j, spec.concept[scene, i], spec.concept[scene, j])


def _depths(spec: Spec, g: torch.Generator, pool: Sequence[int] | None) -> Questions:
    hidden = spec.relation == RELATIONS.index("front")
    scene, i, j = _pairs(spec, hidden[:, None, None].expand(-1, spec.x.shape[1], spec.x.shape[1]))
    near = spec.depth[scene, i] < spec.depth[scene, j]
    told = torch.where(near, answer("depth", "in front"), answer("depth", "behind"))
    return _candidates("depth", scene, told, i, j, spec.concept[scene, i], spec.concept[scene, j])


def _larger(spec: Spec, g: torch.Generator, pool: Sequence[int] | None) -> Questions:
    ratio = spec.half[:, :, None] / spec.half[:, None, :]
    beside = (spec.relation != RELATIONS.index("front"))[:, None, None]
    scene, i, j = _pairs(spec, beside & (torch.maximum(ratio, 1 / ratio) >= LARGER))
    a, b = spec.concept[scene, i], spec.concept[scene, j]
    return _candidates("larger", scene, torch.where(ratio[scene, i, j] > 1, a, b), i, j, a, b)


_CANDIDATES = {
    "object": _objects,
    "place": _places,
    "count": _counts,
    "ground": _grounds,
    "exists": _exists,
    "side": _sides,
    "depth": _depths,
    "larger": _larger,
}


def offered(kind: Kind, a: int, b: int) -> tuple[int, ...]:
    """The answers that a question of a kind can have: what somebody who does not look has to choose from."""
    if kind == "object":
        return tuple(range(len(concepts())))
    if kind == "larger":
        return (a, b)
    if kind == "side":
        return answer("position", "left"), answer("position", "right")
    group = {
        "place": "position",
        "count": "number",
        "ground": "ground",
        "exists": "exists",
        "depth": "depth",
    }[kind]
    return tuple(i for i, one in enumerate(answers()) if one.group == group)


def concept_of(answer_: int) -> Concept | None:
    """The concept that an answer names; None for the others."""
    return concepts()[answer_] if answer_ < len(concepts()) else None
