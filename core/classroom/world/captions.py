"""Captions of scenes in English and Chinese. Every caption is true of its scene; a swapped one is false.

A caption also says what it claims: a row of `claim_table()`, the concepts of which a single picture makes it true. So
a training batch knows that "a photo of a dog" fits every picture of a dog in it, not only the one it was written for.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from core.classroom.world.atlas import POSES
from core.classroom.world.concepts import Concept, concepts
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.specs import BACKGROUNDS, KINDS, PLACES, RELATIONS, SIZES, VIVID, Spec
from core.classroom.world.wording import (
    LOOKS,
    NUMBERS,
    PLACE_WORDS,
    POSE_WORDS,
    POSITION_WORDS,
    RELATION_WORDS,
    SIZE_WORDS,
    TEMPLATES,
    counted,
    ground_phrase,
    phrase,
)


@dataclass(frozen=True)
class Caption:
    """A sentence, the false one made by swapping its two objects (if it tells a relation), and its claim
    (-1: only its own scene)."""

    text: str
    swapped: str | None = None
    claim: int = -1


@cache
def claims() -> dict[str, int]:
    """What a caption may claim -> row of `claim_table()`: each concept, then each parent and association (English)."""
    words = {word for c in concepts() for word, _ in (*c.parents, *c.associations)}
    names = [c.code for c in concepts()] + sorted(words)
    return {name: i for i, name in enumerate(names)}


@cache
def claim_table() -> Tensor:
    """[claims, concepts] 1.0 where a picture of the concept alone makes the claim true."""
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
        self.size = spec.size.tolist()
        self.background = spec.background.tolist()
        self.rendering = spec.rendering.tolist()
        self.x = spec.x[:, 0].tolist()
        self.y = spec.y[:, 0].tolist()
        one_colour = mono[spec.sprite] if mono is not None else torch.zeros_like(spec.present)
        self.drawn = (one_colour | ~spec.present).all(1).tolist()

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
        if tags and roll < 0.12:
            rng.shuffle(tags)
            return Caption(
                ("，" if zh else ", ").join([name, *tags[: rng.randint(1, len(tags))]]), claim=c.index
            )
        if tags and roll < 0.2:
            at = rng.randrange(len(c.associations))
            return Caption(c.associations[at][zh], claim=claims()[c.associations[at][0]])
        if c.parents and roll < 0.26:
            en, word = rng.choice(c.parents)
            text = word if zh else en
            if rng.random() < 0.5:
                return Caption(text if zh else phrase(text, "en"), claim=claims()[en])
            return Caption(
                f"{name}，一种{word}" if zh else f"{phrase(name, lang)}, a kind of {en}", claim=c.index
            )
        look = RENDERINGS[self.rendering[i]]
        if look != "colour" or (self.drawn[i] and roll < 0.6):
            if roll < 0.72:
                shown = "line" if look == "colour" else look
                return Caption(self._look(shown, name, phrase(name, lang), lang, rng))
        elif roll < 0.45:
            extra = self._extra(i, name, lang, rng)
            if extra is not None:
                return Caption(extra)
        return Caption(rng.choice(TEMPLATES[lang]).format(phrase(name, lang)), claim=c.index)

    def _look(self, look: str, name: str, noun: str, lang: str, rng: random.Random) -> str:
        return rng.choice(LOOKS[look][lang]).format(noun, n=name)

    def _extra(self, i: int, name: str, lang: str, rng: random.Random) -> str | None:
        """Position, size or background of a single object."""
        zh = lang == "zh"
        what = rng.choice(("position", "size", "ground", "ground"))
        if what == "size" and SIZES[self.size[i]] in SIZE_WORDS:
            form = rng.choice(SIZE_WORDS[SIZES[self.size[i]]][lang])
            return form.format(n=name, a=phrase(name, lang))
        if what == "ground":
            return self._grounded(i, phrase(name, lang), lang)
        if what == "position":
            x, y = self.x[i], self.y[i]
            side = "middle" if max(abs(x), abs(y)) < 0.12 else ""
            if max(abs(x), abs(y)) > 0.3 and min(abs(x), abs(y)) < 0.2:
                side = ("left" if x < 0 else "right") if abs(x) > abs(y) else ("top" if y < 0 else "bottom")
            if side:
                en, word = POSITION_WORDS[side]
                return f"{word}的{name}" if zh else f"{phrase(name, lang)} {en}"
        return None

    def _grounded(self, i: int, text: str, lang: str) -> str | None:
        """The text with the background added; None where the background has no word in this rendering."""
        ground, look = list(BACKGROUNDS)[self.background[i]], RENDERINGS[self.rendering[i]]
        if look not in ("colour", "grey") or (
            look == "grey" and ground not in PLACES and ground not in VIVID
        ):
            return None
        if ground in PLACES:
            en, zh = PLACE_WORDS[ground]
            return f"{zh}的{text}" if lang == "zh" else f"{text} {en}"
        name = ground_phrase(ground, lang)
        return f"{name}上的{text}" if lang == "zh" else f"{text} on {name}"

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
        """Sometimes with the rendering, the background or a template around the content."""
        look, roll = RENDERINGS[self.rendering[i]], rng.random()
        if look != "colour" and roll < 0.5:
            form = LOOKS[look][lang][0]
        elif roll < 0.15:
            form = rng.choice(TEMPLATES[lang])
        elif roll < 0.3 and self._grounded(i, "", lang) is not None:
            added = self._grounded(i, "{}", lang)
            form = added if added is not None else "{}"
        else:
            return caption
        swapped = None if caption.swapped is None else form.format(caption.swapped)
        return Caption(form.format(caption.text), swapped)

    def _flock(self, i: int, lang: str, rng: random.Random) -> Caption:
        c, n = concepts()[self.concept[i][0]], self.number[i]
        poses = {POSES[p] for p in self.pose[i][:n]}
        text = counted(c, n, lang)
        if len(poses) == 1 and c.en == "sheep" and rng.random() < 0.6:
            words = rng.choice(POSE_WORDS[poses.pop()][lang])
            text = f"{text} {words}" if lang == "en" else f"{NUMBERS[n][1]}只{words}{c.zh}"
        return self._framed(i, Caption(text), lang, rng)

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
