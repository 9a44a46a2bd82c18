"""Prompts of scenes with what each phrase is about: captions and lists of labels, as GLIP reads both.

A caption tells what is there and how two things lie; a list offers names, of which some are of nothing in the image.
Either way a phrase is a span of characters with the objects that it means.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.classroom.world.concepts import Concept, concepts
from core.classroom.world.specs import KINDS, RELATIONS, Spec
from core.classroom.world.wording import RELATION_WORDS, TEMPLATES, counted, phrase
from core.detection.glip.language import SEPARATOR


@dataclass(frozen=True)
class Prompt:
    """A text and its phrases: the characters of each, its concept, and the slots of the scene that it means."""

    text: str
    spans: tuple[tuple[int, int], ...]
    concepts: tuple[int, ...]
    slots: tuple[tuple[int, ...], ...]  # empty for a label of nothing

    @property
    def phrases(self) -> tuple[str, ...]:
        return tuple(self.text[start:end] for start, end in self.spans)


@dataclass(frozen=True)
class _Noun:
    text: str
    concept: int
    slots: tuple[int, ...]


def _filled(form: str, nouns: dict[str, _Noun]) -> Prompt:
    """A form with its {places} filled, and where they came to lie."""
    text, spans, used = "", [], []
    for piece in re.split(r"(\{\w*\})", form):
        if piece.startswith("{"):
            noun = nouns[piece[1:-1]]
            spans.append((len(text), len(text) + len(noun.text)))
            used.append(noun)
            piece = noun.text
        text += piece
    return Prompt(text, tuple(spans), tuple(n.concept for n in used), tuple(n.slots for n in used))


class Prompter:
    """Writes the prompts of a spec's scenes; the tensors are read once."""

    def __init__(self, spec: Spec) -> None:
        self.kind, self.relation = spec.kind.tolist(), spec.relation.tolist()
        self.concept, self.number = spec.concept.tolist(), spec.count.tolist()

    def __len__(self) -> int:
        return len(self.kind)

    def slots(self, i: int) -> dict[int, tuple[int, ...]]:
        """The concepts that a scene shows, and the slots of each."""
        own = self.concept[i][: self.number[i]]
        return {c: tuple(k for k, other in enumerate(own) if other == c) for c in dict.fromkeys(own)}

    def caption(self, i: int, lang: str, rng: random.Random, names: float = 0.15) -> Prompt:
        """A true sentence that names every object. names: how often by another name."""
        slots = self.slots(i)
        kind, relation = KINDS[self.kind[i]], RELATIONS[self.relation[i]]
        nouns = [
            _Noun(phrase(_word(concepts()[c], lang, rng, names), lang), c, own) for c, own in slots.items()
        ]
        if kind == "flock":
            (noun,) = nouns
            nouns = [
                _Noun(counted(concepts()[noun.concept], len(noun.slots), lang), noun.concept, noun.slots)
            ]
        if kind == "pair" and relation != "none" and rng.random() < 0.7:
            form = rng.choice(RELATION_WORDS[relation][lang])
            held = {"a": nouns[0], "b": nouns[1]}
        else:
            rng.shuffle(nouns)
            held = {f"n{k}": noun for k, noun in enumerate(nouns)}
            form = _listed([f"{{{name}}}" for name in held], lang)
        frame = rng.choice(TEMPLATES[lang]) if rng.random() < 0.4 else "{}"
        return _filled(frame.replace("{}", form), held)

    def listing(
        self, i: int, lang: str, rng: random.Random, pool: Sequence[int], length: int, names: float = 0.15
    ) -> Prompt:
        """Labels in any order: those of the scene and others of the pool, `length` in all where that leaves room."""
        slots = self.slots(i)
        others = [c for c in rng.sample(pool, min(len(pool), length + len(slots))) if c not in slots]
        chosen = [*slots, *others[: max(0, length - len(slots))]]
        rng.shuffle(chosen)
        held = {
            f"n{k}": _Noun(_word(concepts()[c], lang, rng, names), c, slots.get(c, ()))
            for k, c in enumerate(chosen)
        }
        return _filled("".join(f"{{{name}}}{SEPARATOR}" for name in held).rstrip(" "), held)


def _word(concept: Concept, lang: str, rng: random.Random, names: float) -> str:
    also = concept.also(lang)
    return rng.choice(also) if also and rng.random() < names else concept.name(lang)


def _listed(things: list[str], lang: str) -> str:
    if len(things) == 1:
        return things[0]
    joint, last = ("、", "和") if lang == "zh" else (", ", " and ")
    return joint.join(things[:-1]) + last + things[-1]
