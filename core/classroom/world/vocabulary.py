"""The words that the captions of the classroom are made of, and the labels that hold other words. Without torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from core.classroom.world.concepts import concepts
from core.classroom.world.wording import (
    GROUND_ZH,
    LANGUAGES,
    LOOKS,
    NUMBERS,
    PLACE_WORDS,
    POSE_WORDS,
    POSITION_WORDS,
    RELATION_WORDS,
    SIZE_WORDS,
    TEMPLATES,
    counted,
    phrase,
)

JOINTS = {"en": ("and", "a kind of"), "zh": ("和", "一种")}  # words with which a caption joins its parts
ENGLISH, CHINESE = re.compile(r"[a-z]+"), re.compile(r"[\u3400-\u9fff]+")


def corpus() -> list[str]:
    """Every word and wording that captions are made of: what the tokenizer is trained on."""
    lines: list[str] = []
    for lang in LANGUAGES:
        zh = lang == "zh"
        for c in concepts():
            for name in (c.name(lang), *c.also(lang)):
                lines += [form.format(phrase(name, lang)) for form in TEMPLATES[lang]]
            lines += [counted(c, n, lang) for n in NUMBERS]
            lines += [pair[zh] for pair in (*c.parents, *c.associations)] * 2
        for forms in (*(f[lang] for f in LOOKS.values()), *(f[lang] for f in RELATION_WORDS.values()),
                      *(f[lang] for f in SIZE_WORDS.values()), *(f[lang] for f in POSE_WORDS.values())):  # fmt: skip
            lines += [re.sub(r"\{\w?\}", " ", form) for form in forms] * 20
        lines += [pair[zh] for pair in (*POSITION_WORDS.values(), *PLACE_WORDS.values())] * 20
    lines += [f"{zh}背景上的" for zh in GROUND_ZH.values()] * 10
    lines += [f"on a {en} background" for en in GROUND_ZH] * 10
    return lines


@cache
def words(clips: bool = False) -> frozenset[str]:
    """The English words of the captions, in lower case; with the words of motions where clips have captions too."""
    lines = [*corpus(), *JOINTS["en"], *(_motions("en") if clips else ())]
    return frozenset(ENGLISH.findall("\n".join(lines).lower()))


@cache
def terms(clips: bool = False) -> frozenset[str]:
    """The Chinese terms of the captions: names, numbers, and the pieces of the wordings around them; of motions with `clips`."""
    named = [
        term
        for c in concepts()
        for term in (c.zh, *c.also_zh, *(pair[1] for pair in (*c.parents, *c.associations)))
    ]
    tables = (LOOKS, RELATION_WORDS, SIZE_WORDS, POSE_WORDS)
    wordings = [form for table in tables for forms in table.values() for form in forms["zh"]]
    numbers = [counted(c, n, "zh").removesuffix(c.zh) for c in concepts() for n in NUMBERS]
    numbers += ["一" + number[1:] for number in numbers]
    places = [pair[1] for pair in (*POSITION_WORDS.values(), *PLACE_WORDS.values())]
    grounds = [form for zh in GROUND_ZH.values() for form in (zh, f"{zh}背景上的")]
    texts = [*named, *wordings, *TEMPLATES["zh"], *numbers, *places, *grounds, *JOINTS["zh"], "的"]
    texts += _motions("zh") if clips else ()
    return frozenset(run for text in texts for run in CHINESE.findall(text))


def unknown(labels: Iterable[str], clips: bool = False) -> list[str]:
    """The labels that hold a word which no caption of the classroom holds; a miniature has never read that word.

    Digits and signs count as read. With `clips`, the captions of clips count too: they tell motions.
    """
    return [label for label in labels if not _is_read(label.lower().replace("'s", ""), clips)]


def _motions(lang: str) -> list[str]:
    """The wordings of motions, without the things that move."""
    from core.classroom.world.motions import ACTIONS, SENTENCES  # this module loads torch

    forms = [form for sentences in SENTENCES.values() for form in sentences[lang]]
    labels = [label[lang == "zh"] for label in ACTIONS.values()]
    return [re.sub(r"\{\w\}", " ", form) for form in (*forms, *labels)]


def _is_read(label: str, clips: bool) -> bool:
    letters = "".join(letter for letter in label if letter.isalpha())
    known = "".join([*ENGLISH.findall(label), *CHINESE.findall(label)])
    return (
        len(known) == len(letters)
        and words(clips).issuperset(ENGLISH.findall(label))
        and all(_is_made_of(terms(clips), run) for run in CHINESE.findall(label))
    )


def _is_made_of(known: frozenset[str], run: str) -> bool:
    """Whether known terms, one behind the other, make up the whole run."""
    longest = max(map(len, known))
    ends = {0}
    for end in range(1, len(run) + 1):
        if any(start in ends and run[start:end] in known for start in range(max(0, end - longest), end)):
            ends.add(end)
    return len(run) in ends


def unread(text: str) -> list[str]:
    """The words of a question or sentence that no question and no caption of the classroom holds, as they stand in it."""
    english, chinese = _of_questions()
    found = [word for word in ENGLISH.findall(text.lower().replace("'s", "")) if word not in english]
    for run in CHINESE.findall(text):
        if not _is_made_of(chinese, run):
            start, end = _reach(chinese, run), len(run) - _reach(chinese, run, backwards=True)
            found.append(run[start:end] if start < end else run)
    return list(dict.fromkeys(found))


@cache
def _of_questions() -> tuple[frozenset[str], frozenset[str]]:
    """The English words and the Chinese terms of captions and of questions; a measure word counts with the question before it."""
    from core.classroom.world.questions import WORDINGS, answers  # this module loads torch
    from core.classroom.world.wording import many, measure

    forms = {lang: [form for forms in WORDINGS.values() for form in forms[lang]] for lang in LANGUAGES}
    plain = [re.sub(r"\{\w+\}", " ", form) for form in (*forms["en"], *forms["zh"])]
    plain += [
        form.replace("{measure}", measure(c)).replace("{a}", " ") for form in forms["zh"] for c in concepts()
    ]
    plain += [
        *(many(c) for c in concepts()),
        *(one.text(lang) for one in answers() for lang in LANGUAGES),
        "are",
        "mask",
    ]
    told = "\n".join(plain).lower()
    return words(False).union(ENGLISH.findall(told)), terms(False).union(CHINESE.findall(told))


def _reach(known: frozenset[str], run: str, backwards: bool = False) -> int:
    """How many signs of a run known terms make up, from its beginning or from its end."""
    sizes = range(len(run), -1, -1)
    return next(
        size for size in sizes if _is_made_of(known, run[len(run) - size :] if backwards else run[:size])
    )
