"""Noun phrases of a caption, by rules: `<DT>?<JJ.*>*<NN.*>+` as in the published code, without a tagger.

English: whatever is not a function word, a verb or a number belongs to a phrase, a determiner may begin it, and
adjectives alone are none. Chinese: what lies between conjunctions, verbs and places, without numeral and measure word. The
word lists cover captions of pictures; where they fail, the phrases are given by hand.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

CJK = re.compile(r"[一-鿿]")
WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*|\d+|[^\sA-Za-z\d]")


@cache
def lists() -> dict[str, frozenset[str]]:
    """The word lists of `phrases.toml`."""
    tables = tomllib.loads(Path(__file__).with_name("phrases.toml").read_text(encoding="utf-8"))
    return {name: frozenset(words.split()) for name, words in tables.items()}


def spans(caption: str) -> list[tuple[int, int]]:
    """The characters of every noun phrase, in their order; none for a text without one."""
    return _chinese(caption) if CJK.search(caption) else _english(caption)


def _kind(word: str, before: str) -> str:
    """What a word is to the rule; `before` is the kind of the word in front of it."""
    known = lists()
    low = word.lower()
    for kind in ("determiner", "number", "function", "verb", "adjective"):
        if low in known[kind]:
            return kind
    if not word[0].isalpha():
        return "number" if word.isdigit() else "function"
    # "a man riding a horse": a participle; "a running dog": an adjective.
    if low.endswith("ing") and len(low) > 5 and low not in known["ing_noun"]:
        return "verb" if before == "noun" else "adjective"
    return "noun"


def _english(caption: str) -> list[tuple[int, int]]:
    made: list[tuple[int, int]] = []
    start: int | None = None
    end, noun, kind = 0, False, ""
    for match in [*WORD.finditer(caption), None]:
        kind = _kind(match[0], kind) if match else "function"
        inside = kind in ("adjective", "noun")
        # An adjective behind a noun begins another phrase or none.
        if start is not None and (not inside or (noun and kind == "adjective")):
            if noun:
                made.append((start, end))
            start, noun = None, False
        if match and (inside or kind == "determiner"):
            start = match.start() if start is None else start
            end, noun = match.end(), noun or kind == "noun"
    return made


@cache
def _breaks() -> re.Pattern[str]:
    """What lies between Chinese phrases."""
    words = sorted(lists()["chinese_break"], key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words)) + r"|[^一-鿿A-Za-z\d]+")


@cache
def _measures() -> re.Pattern[str]:
    """Numeral and measure word in front of a Chinese noun."""
    measure = "|".join(sorted(lists()["chinese_measure"], key=len, reverse=True))
    return re.compile(rf"(?:这|那|每|某|[一二两三四五六七八九十几\d])+(?:些|{measure})")


def _chinese(caption: str) -> list[tuple[int, int]]:
    made, start = [], 0
    for match in [*_breaks().finditer(caption), None]:
        end = match.start() if match else len(caption)
        counted = _measures().match(caption, start, end)
        first = counted.end() if counted and counted.end() < end else start
        if first < end and CJK.search(caption, first, end):
            made.append((first, end))
        start = match.end() if match else end
    return made
