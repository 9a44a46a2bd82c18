"""Noun phrases of a caption, by rules: `<DT>?<JJ.*>*<NN.*>+` as in the published code, without a tagger.

English: whatever is not a function word, a verb or a number belongs to a phrase, a determiner begins one, and
adjectives alone are none. Chinese: what lies between conjunctions, verbs and places, without numeral and measure word. The
word lists cover captions of images; where they fail, the phrases are given by hand.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

CJK = re.compile(r"[一-鿿]")
WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*|\d+|[^\sA-Za-z\d]")


PART = ("adjective", "adjective_noun", "noun", "participle", "place")

Span = tuple[int, int]


@cache
def lists() -> dict[str, frozenset[str]]:
    """The word lists of `phrases.toml`."""
    tables = tomllib.loads(Path(__file__).with_name("phrases.toml").read_text(encoding="utf-8"))
    return {name: frozenset(words.split()) for name, words in tables.items()}


def spans(caption: str) -> list[Span]:
    """The characters of every noun phrase, in their order; none for a text without one."""
    return _chinese(caption) if CJK.search(caption) else _english(caption)


def _kind(word: str) -> str:
    """What a word is to the rule by itself."""
    low, known = word.lower(), lists()
    for kind in ("determiner", "number", "function", "verb", "adjective", "adjective_noun", "place"):
        if low in known[kind]:
            return kind
    if not word[0].isalpha():
        return "number" if word.isdigit() else "function"
    participle = low.endswith("ing") and len(low) > 5 and low not in known["ing_noun"]
    return "participle" if participle else "noun"


def _kinds(words: Sequence[str]) -> list[str]:
    """What each word is among its neighbours: "determiner", "adjective", "noun", or "function" for all that is in no phrase."""
    alone = [_kind(word) for word in words]
    kinds: list[str] = []
    for i, (word, kind) in enumerate(zip(words, alone, strict=True)):
        before = kinds[-1] if kinds else "function"
        behind = alone[i + 1] if i + 1 < len(words) else "function"
        if kind == "participle":  # "a running dog", but "a man riding a horse" and "is eating"
            verb = before == "noun" or (i > 0 and alone[i - 1] == "verb")
            kind = "function" if verb else "adjective"
        elif kind == "adjective_noun":  # "an orange bird", but "an orange" and "a traffic light"
            kind = "noun" if before == "noun" or behind not in PART else "adjective"
        elif kind == "place":  # "a top hat", but "the top of a tree"
            kind = "adjective" if behind == "noun" and before in ("determiner", "adjective") else "function"
        elif kind == "noun" and before == "noun" and behind == "determiner" and word.endswith("s"):
            kind = "function"  # "a dog chases the ball"
        kinds.append("function" if kind in ("verb", "number") else kind)
    return kinds


def _english(caption: str) -> list[Span]:
    matches = list(WORD.finditer(caption))
    kinds = _kinds([match[0] for match in matches])
    made: list[Span] = []
    first, end = -1, -1  # of the phrase that is being read; an end once it has a noun
    for match, kind in [*zip(matches, kinds, strict=True), (None, "function")]:
        if match is None or kind in ("function", "determiner") or (kind == "adjective" and end >= 0):
            if end >= 0:
                made.append((first, end))
            first, end = -1, -1
        if match is not None and kind != "function":
            first = match.start() if first < 0 else first
            end = match.end() if kind == "noun" else end
    return made


@cache
def _breaks() -> re.Pattern[str]:
    """What lies between Chinese phrases; group 1 for a word that only looks like it."""
    keep, words = (
        "|".join(sorted(map(re.escape, lists()[name]), key=len, reverse=True))
        for name in ("chinese_keep", "chinese_break")
    )
    return re.compile(rf"({keep})|(?:{words})的?|[^一-鿿A-Za-z\d]+")


@cache
def _measures() -> re.Pattern[str]:
    """Numeral and measure word in front of a Chinese noun."""
    measure = "|".join(sorted(lists()["chinese_measure"], key=len, reverse=True))
    return re.compile(rf"(?:[这那每某]|[一二两三四五六七八九十几\d])+(?:些|{measure})")


def _chinese(caption: str) -> list[Span]:
    made, start = [], 0
    for match in [*(m for m in _breaks().finditer(caption) if not m[1]), None]:
        end = match.start() if match else len(caption)
        counted = _measures().match(caption, start, end)
        first = counted.end() if counted and counted.end() < end else start
        last = end - (end - first > 1 and caption[end - 1] in lists()["chinese_tail"])
        if CJK.search(caption, first, last) and caption[first:last] not in lists()["chinese_pronoun"]:
            made.append((first, last))
        start = match.end() if match else end
    return made
