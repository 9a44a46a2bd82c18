"""Captions of scenes in English and Chinese. Every caption is true of its scene; a swapped one and a twin are false.

A caption also says what it claims: a row of `claim_table()`, the concepts of which a single image makes it true. So
a training batch knows that "a photo of a dog" fits every image of a dog in it, not only the one it was written for.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from core.classroom.world.atlas import POSES
from core.classroom.world.concepts import Concept, concepts
from core.classroom.world.factors import FACTORS, NOTHING, framed, sentence, values
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.specs import KINDS, RELATIONS, Spec
from core.classroom.world.wording import (
    LOOKS,
    NUMBERS,
    POSE_WORDS,
    RELATION_WORDS,
    TEMPLATES,
    counted,
    phrase,
)

# How often captions name a factor that can be seen: those with more values need more examples.
WEIGHTS = {"ground": 3, "place": 3, "size": 2, "rendering": 1, "number": 1}
TWINS = 3  # false sentences beside a true one that names a factor


@dataclass(frozen=True)
class Caption:
    """A sentence with what is known of it.

    swapped: the false one made by swapping its two objects, if it tells a relation. claim: its row of `claim_table()`
    (-1: only its own scene). named: the value of each of FACTORS that it names, -1 of the others. twins: TWINS false
    sentences, which differ from it in the value of one factor.
    """

    text: str
    swapped: str | None = None
    claim: int = -1
    named: tuple[int, ...] = NOTHING
    twins: tuple[str, ...] = ()


@cache
def claims() -> dict[str, int]:
    """What a caption may claim -> row of `claim_table()`: each concept, then each parent and association (English)."""
    words = {word for c in concepts() for word, _ in (*c.parents, *c.associations)}
    names = [c.code for c in concepts()] + sorted(words)
    return {name: i for i, name in enumerate(names)}


@cache
def claim_table() -> Tensor:
    """[claims, concepts] 1.0 where an image of the concept alone makes the claim true."""
    table = torch.zeros(len(claims()), len(concepts()))
    for c in concepts():
        table[claims()[c.code], c.index] = 1
        for word, _ in (*c.parents, *c.associations):
            table[claims()[word], c.index] = 1
            # "money" is both a concept and something a red envelope is associated with.
            named = next((other for other in concepts() if other.en == word), None)
            if named is not None:
                table[claims()[word], named.index] = 1
    return table


class Writer:
    """Writes captions for the scenes of one spec; the tensors are read once.

    Args:
        mono: [S] of the atlas, so that one-colour drawings can be called line drawings.
        forward: tell relations only in wordings that begin with the first object ("A left of B", never "B right of
            A"). Who is left then follows from the order alone, and is easier to learn.
    """

    def __init__(self, spec: Spec, mono: Tensor | None = None, forward: bool = False) -> None:
        self.forward = forward
        self.kind = spec.kind.tolist()
        self.number = spec.count.tolist()
        self.concept = spec.concept.tolist()
        self.pose = spec.pose.tolist()
        self.relation = spec.relation.tolist()
        self.values = values(spec, mono).tolist()
        one_colour = mono[spec.sprite] if mono is not None else torch.zeros_like(spec.present)
        drawn = (one_colour | ~spec.present).all(1) & (spec.rendering == RENDERINGS.index("colour"))
        self.drawn = drawn.tolist()

    def __len__(self) -> int:
        return len(self.kind)

    def write(self, i: int, lang: str, rng: random.Random) -> Caption:
        """One of the true captions of scene i, chosen by rng."""
        kind = KINDS[self.kind[i]]
        if kind == "single":
            return self._single(i, lang, rng)
        if kind == "pair":
            return self._pair(i, lang, rng)
        if kind == "flock":
            return self._flock(i, lang, rng)
        return self._group(i, lang, rng)

    def name(self, i: int, lang: str, rng: random.Random | None = None) -> Caption:
        """The bare name of the first object (with rng: sometimes a synonym, sometimes a template)."""
        c = concepts()[self.concept[i][0]]
        word = self._word(c, lang, rng) if rng is not None else c.name(lang)
        if rng is not None and rng.random() < 0.5:
            word = rng.choice(TEMPLATES[lang]).format(phrase(word, lang))
        return Caption(word, claim=c.index)

    def content(self, i: int, lang: str) -> Caption:
        """The plain caption: what is there, with the relation when there are two. The same every time."""
        things = [concepts()[c] for c in self.concept[i][: self.number[i]]]
        kind, relation = KINDS[self.kind[i]], RELATIONS[self.relation[i]]
        if kind == "single":
            text = phrase(things[0].name(lang), lang)
            pose = POSES[self.pose[i][0]]
            if pose != "standing":
                words = POSE_WORDS[pose][lang][1 if pose == "eating" else 0]
                text = f"{text} {words}" if lang == "en" else f"{words}{text}"
            return Caption(text, claim=things[0].index)
        if kind == "flock":
            return Caption(counted(things[0], self.number[i], lang))
        if kind == "pair" and relation != "none":
            return self._related(i, lang, lambda forms: forms[0])
        return Caption(_listed([phrase(c.name(lang), lang) for c in things], lang))

    def relation_of(self, i: int, lang: str, form: int = 0) -> Caption:
        """The relation of a pair, in the given wording, with its swapped twin."""
        return self._related(i, lang, lambda forms: forms[form % len(forms)])

    # one scene, one sentence

    def _word(self, c: Concept, lang: str, rng: random.Random) -> str:
        also = c.also(lang)
        return rng.choice(also) if also and rng.random() < 0.2 else c.name(lang)

    def _single(self, i: int, lang: str, rng: random.Random) -> Caption:
        c = concepts()[self.concept[i][0]]
        name, zh = self._word(c, lang, rng), lang == "zh"
        pose = POSES[self.pose[i][0]]
        posed = pose != "standing" or c.en == "sheep"
        if posed and rng.random() < 0.7:
            words = rng.choice(POSE_WORDS[pose][lang])
            return Caption(f"{words}{name}" if zh else f"{phrase(name, lang)} {words}")
        roll = rng.random()
        tags = [pair[zh] for pair in c.associations]
        if tags and roll < 0.09:
            rng.shuffle(tags)
            return Caption(
                ("，" if zh else ", ").join([name, *tags[: rng.randint(1, len(tags))]]), claim=c.index
            )
        if tags and roll < 0.15:
            at = rng.randrange(len(c.associations))
            return Caption(c.associations[at][zh], claim=claims()[c.associations[at][0]])
        if c.parents and roll < 0.2:
            en, word = rng.choice(c.parents)
            text = word if zh else en
            if rng.random() < 0.5:
                return Caption(text if zh else phrase(text, "en"), claim=claims()[en])
            return Caption(
                f"{name}，一种{word}" if zh else f"{phrase(name, lang)}, a kind of {en}", claim=c.index
            )
        if self.drawn[i] and roll < 0.4:
            return Caption(rng.choice(LOOKS["line"][lang]).format(phrase(name, lang)))
        if roll < 0.7:
            named, form = self._chosen(i, rng, tuple(FACTORS)), rng.randrange(6)
            return self._described(named, rng, lambda v: sentence(c, v, lang, form, name), claim=c.index)
        return Caption(rng.choice(TEMPLATES[lang]).format(phrase(name, lang)), claim=c.index)

    def _chosen(self, i: int, rng: random.Random, among: Sequence[str]) -> dict[str, int]:
        """One or two of these factors with their values, of those that can be seen."""
        seen = {f: v for f, v in zip(FACTORS, self.values[i], strict=True) if v >= 0 and f in among}
        if not seen:
            return {}
        drawn = rng.choices(list(seen), [WEIGHTS[f] for f in seen], k=2 if rng.random() < 0.4 else 1)
        chosen = set(drawn)
        if "number" in chosen:
            chosen.discard("size")
        return {f: v for f, v in seen.items() if f in chosen}

    def _described(
        self,
        named: dict[str, int],
        rng: random.Random,
        tell: Callable[[dict[str, int]], str],
        claim: int = -1,
    ) -> Caption:
        """The sentence that `tell` makes of the values of some factors, with its twins."""
        twins: tuple[str, ...] = ()
        if named:
            factor = rng.choice(sorted(named))
            others = [v for v in range(len(FACTORS[factor])) if v != named[factor]]
            twins = tuple(tell({**named, factor: v}) for v in rng.sample(others, TWINS))
        return Caption(tell(named), None, claim, tuple(named.get(f, -1) for f in FACTORS), twins)

    def _related(self, i: int, lang: str, choose: Callable[[tuple[str, ...]], str]) -> Caption:
        a, b = (concepts()[c] for c in self.concept[i][:2])
        forms = RELATION_WORDS[RELATIONS[self.relation[i]]][lang]
        if self.forward:
            forms = tuple(form for form in forms if form.index("{a}") < form.index("{b}"))
        form = choose(forms)
        first, second = phrase(a.name(lang), lang), phrase(b.name(lang), lang)
        return Caption(form.format(a=first, b=second), form.format(a=second, b=first))

    def _pair(self, i: int, lang: str, rng: random.Random) -> Caption:
        if rng.random() < 0.7:
            caption = self._related(i, lang, rng.choice)
        else:
            things = [phrase(concepts()[c].name(lang), lang) for c in self.concept[i][:2]]
            rng.shuffle(things)
            caption = Caption(_listed(things, lang))
        return self._framed(i, caption, lang, rng)

    def _framed(self, i: int, caption: Caption, lang: str, rng: random.Random) -> Caption:
        """Sometimes with the ground, the rendering or a template around the content."""
        roll = rng.random()
        if roll < 0.5:
            named, form = self._chosen(i, rng, ("ground", "rendering")), rng.randrange(6)
            described = self._described(named, rng, lambda v: framed(caption.text, v, lang, form))
            if caption.swapped is None:
                return described
            return replace(described, swapped=framed(caption.swapped, named, lang, form))
        if roll < 0.62:
            template = rng.choice(TEMPLATES[lang])
            swapped = None if caption.swapped is None else template.format(caption.swapped)
            return Caption(template.format(caption.text), swapped)
        return caption

    def _flock(self, i: int, lang: str, rng: random.Random) -> Caption:
        c, n = concepts()[self.concept[i][0]], self.number[i]
        poses = {POSES[p] for p in self.pose[i][:n]}
        if len(poses) == 1 and c.en == "sheep" and rng.random() < 0.6:
            words = rng.choice(POSE_WORDS[poses.pop()][lang])
            text = f"{counted(c, n, lang)} {words}" if lang == "en" else f"{NUMBERS[n][1]}只{words}{c.zh}"
            return self._framed(i, Caption(text), lang, rng)
        named = self._chosen(i, rng, ("ground", "rendering")) if rng.random() < 0.4 else {}
        named, form = {"number": n - 1, **named}, rng.randrange(6)
        return self._described(named, rng, lambda v: sentence(c, v, lang, form))

    def _group(self, i: int, lang: str, rng: random.Random) -> Caption:
        things = [phrase(concepts()[c].name(lang), lang) for c in self.concept[i][: self.number[i]]]
        rng.shuffle(things)
        return self._framed(i, Caption(_listed(things, lang)), lang, rng)


def _listed(things: list[str], lang: str) -> str:
    if len(things) == 1:
        return things[0]
    if lang == "zh":
        return "、".join(things[:-1]) + "和" + things[-1]
    return ", ".join(things[:-1]) + " and " + things[-1]
