"""The concepts of the classroom: names in English and Chinese, synonyms, parents, associations.

The table is `assets/sprites/concepts.toml`; its order is the order of the sprites in every sheet.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[3] / "assets"
SPRITES = ASSETS / "sprites"

UNSEEN_EVERY, FIRST_UNSEEN = 5, 3


@dataclass(frozen=True)
class Concept:
    """One thing the classroom can draw: `name` and `also` take "en" or "zh"; the pairs are (en, zh).

    `names` and `also` are keyed by language ("en", "zh"); `parents` and `associations` are pairs (en, zh)."""

    index: int
    code: str
    en: str
    zh: str
    also_en: tuple[str, ...] = ()
    also_zh: tuple[str, ...] = ()
    parents: tuple[tuple[str, str], ...] = ()
    associations: tuple[tuple[str, str], ...] = ()

    def name(self, lang: str) -> str:
        """The one name in "en" or "zh"."""
        return self.zh if lang == "zh" else self.en

    def also(self, lang: str) -> tuple[str, ...]:
        """Its synonyms in "en" or "zh"."""
        return self.also_zh if lang == "zh" else self.also_en


@cache
def concepts() -> tuple[Concept, ...]:
    """All concepts, in the order of the sprite sheets."""
    table = tomllib.loads((SPRITES / "concepts.toml").read_text(encoding="utf-8"))
    parents = table["parents"]
    return tuple(
        Concept(
            index,
            code,
            row["en"],
            row["zh"],
            tuple(row.get("also_en", ())),
            tuple(row.get("also_zh", ())),
            tuple((p, parents[p]) for p in row.get("parents", ())),
            tuple(row.get("with", {}).items()),
        )
        for index, (code, row) in enumerate(table["concepts"].items())
    )


@cache
def by_code() -> dict[str, Concept]:
    """Code point in upper-case hex -> concept."""
    return {c.code: c for c in concepts()}


@cache
def by_name() -> dict[str, Concept]:
    """Any name or synonym of either language, lower case -> concept."""
    return {word.lower(): c for c in concepts() for word in (c.en, c.zh, *c.also_en, *c.also_zh)}


def find(word: str) -> Concept | None:
    """The concept that a code point, a name or a synonym means; None when it is unknown."""
    word = word.strip()
    return by_code().get(word.upper().removeprefix("U+")) or by_name().get(word.lower())


@cache
def unseen() -> tuple[int, ...]:
    """Indices of the concepts that no recipe gets a mask or a box of, so that open-vocabulary claims can be tested."""
    return tuple(c.index for c in concepts() if c.index % UNSEEN_EVERY == FIRST_UNSEEN)


@cache
def seen() -> tuple[int, ...]:
    """Indices of the concepts whose masks and boxes are trained on."""
    return tuple(c.index for c in concepts() if c.index % UNSEEN_EVERY != FIRST_UNSEEN)
