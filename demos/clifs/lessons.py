"""The lessons of the CLIFS page: how the outcome of a step is computed. The questions are in data.toml."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core.search.store import Filter
from demos.clifs import answer as answers
from demos.clifs import collections, compare, draw
from demos.clifs.words import PAPER, ROWS, data, line
from demos.kit import library
from demos.kit import walkthrough as walk
from demos.kit.html import Markup, join
from demos.kit.menu import label_language
from demos.kit.walkthrough import Case, Outcome, Step

if TYPE_CHECKING:
    from core.search.query import Found

SECONDS = 60


def search(case: Case, code: str = "", exact: bool = False, **more: Any) -> Found:
    """The answer to the words of a step in the sample."""
    from core.search import query

    space = answers.space(case.checkpoint)
    where = collections.prepared(collections.sample(), space)
    words = case.step["words"][code or label_language(ROWS, case.checkpoint, case.lang)]
    shown = Filter(roots=where.roots, **more)
    return query.search(where.store, space, query.parse(words), shown, size=90, exact=exact)


def patches(case: Case) -> Outcome:
    """The ranks of a file in whose corner the thing is, with squares and without."""
    from core.search import ranking

    found = [search(case, kinds=("image",), whole=whole) for whole in (False, True)]
    ranks = [ranking.rank_of(one.hits, case.step["file"]) or len(one.hits) + 1 for one in found]
    told = line("ranks", case.lang, file=case.step["file"], cut=ranks[0], whole=ranks[1])
    first = [rank <= 3 for rank in ranks]
    index = 0 if first == [True, False] else 1 if all(first) else 2
    return Outcome(index, told + draw.hit_table(found[0], case.lang, 5))


def scale(case: Case) -> Outcome:
    """Which has the greater cosine: the right sound, or an image without the thing."""
    found = search(case)
    sound = next((hit for hit in found.hits if hit.row.path == case.step["sound"]), None)
    image = next((hit for hit in found.hits if hit.row.path == case.step["image"]), None)
    table = draw.hit_table(found, case.lang, 12)
    if sound is None or image is None:
        return Outcome(2, table)
    fits = {"sound_fit": sound.fit, "image_fit": image.fit}
    told = line("cosines", case.lang, sound=sound.score, image=image.score, **fits)
    return Outcome(int(sound.score <= image.score), told + table)


def models(case: Case) -> Outcome:
    """Whether a threshold between right and wrong of one checkpoint suits the other."""
    lines, pairs = [], []
    for name in case.step["checkpoints"]:
        hits = search(replace(case, checkpoint=name), kinds=("image",)).hits
        right = next((hit.score for hit in hits if hit.row.path == case.step["file"]), -1.0)
        wrong = max(hit.score for hit in hits if hit.row.path != case.step["file"])
        pairs.append((right, wrong))
        lines.append(line("models", case.lang, name=name, right=right, wrong=wrong))
    is_apart = max(wrong for _, wrong in pairs) < min(right for right, _ in pairs)
    return Outcome(0 if is_apart else 1, join(lines))


def nothing(case: Case) -> Outcome:
    """Whether anything lies above the level for a thing that no file shows."""
    found = search(case)
    index = 0 if not found.above else 1 if found.above <= 3 else 2
    return Outcome(index, draw.hit_table(found, case.lang, 5))


def languages(case: Case) -> Outcome:
    """Whether both languages find the same first file."""
    found = [search(case, code) for code in ("en", "zh")]
    first = [one.hits[0].row.path if one.hits else "" for one in found]
    body = "".join(draw.hit_table(one, case.lang, 4) for one in found)
    return Outcome(0 if first[0] == first[1] else 1, Markup(body))


def trade(case: Case) -> Outcome:
    """How many of the ten best an index found that looked at some of its cells, by a measurement; the sample both ways."""
    measured, looked = data()["traded"], case.step["cells"]
    ms, recall = next((ms, recall) for ms, recall, cells in measured["points"] if cells == looked)
    share = looked / measured["cells"]
    # The first one reads what the others remember.
    _, usual, every = (search(case, exact=way) for way in (False, False, True))
    told = line("traded", case.lang, looked=looked, cells=measured["cells"], found=10 * recall, ms=ms)
    body = draw.trade(case.lang, looked) + told + compare.both_ways(every, usual, case.lang)
    return Outcome(2 if recall > 0.9 else 1 if recall > 2 * share else 0, body)


def rate(case: Case) -> Outcome:
    """How many frames of a minute are indexed by the rule of CLIFS, and by counting seconds."""
    fps = float(case.step["rate"])
    theirs = sum(number % fps == 0 for number in range(round(fps * SECONDS)))
    times = np.arange(round(fps * SECONDS)) / fps
    ours = len(np.unique(np.searchsorted(times, np.arange(SECONDS) + 1e-6, "right")))
    told = line("frames", case.lang, rate=fps, theirs=theirs, ours=ours)
    return Outcome({1: 0, SECONDS: 1}.get(theirs, 2), told)


KINDS = {kind.__name__: kind for kind in (patches, scale, models, nothing, languages, trade, rate)}


def card(step: Step, lang: str) -> Markup:
    """What a step asks: its words, and its image."""
    words = walk.prompt(step["words"][lang]) if "words" in step else Markup()
    if "file" in step:
        return walk.image(str(library.ASSETS / step["file"]), step["file"], words)
    return words


def walkthrough(slot: Callable[[str], Any]) -> walk.Walkthrough:
    """The walkthrough of the page; `slot` makes the place of an outcome."""
    return walk.of_page(PAPER, KINDS, card=card, idea=library.text(PAPER, "walk_idea"), slot=slot)
