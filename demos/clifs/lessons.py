"""The lessons of the CLIFS page: how the outcome of a step is computed. The questions are in data.toml."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from core.search.store import Filter
from demos.clifs import answer as answers
from demos.clifs import collections, draw
from demos.clifs.words import PAPER, ROWS, data, line
from demos.kit import library
from demos.kit import walkthrough as walk
from demos.kit.html import Markup, join
from demos.kit.menu import label_language
from demos.kit.walkthrough import Outcome, Step

if TYPE_CHECKING:
    from core.search.query import Found

SECONDS = 60


def search(step: Step, checkpoint: str, lang: str, code: str = "", **more: Any) -> Found:
    """The answer to the words of a step in the sample."""
    from core.search import query

    space = answers.space(checkpoint)
    where = collections.prepared(collections.sample(), space)
    words = step["words"][code or label_language(ROWS, checkpoint, lang)]
    return query.search(where.store, space, query.parse(words), Filter(roots=where.roots, **more), size=90)


def patches(step: Step, checkpoint: str, lang: str) -> Outcome:
    """The ranks of a file in whose corner the thing is, with squares and without."""
    from core.search import ranking

    found = [search(step, checkpoint, lang, kinds=("image",), whole=whole) for whole in (False, True)]
    ranks = [ranking.rank_of(one.hits, step["file"]) or len(one.hits) + 1 for one in found]
    told = line("ranks", lang, file=step["file"], cut=ranks[0], whole=ranks[1])
    first = [rank <= 3 for rank in ranks]
    index = 0 if first == [True, False] else 1 if all(first) else 2
    return Outcome(index, told + draw.hit_table(found[0], lang, 5))


def scale(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which has the greater cosine: the right sound, or an image without the thing."""
    found = search(step, checkpoint, lang)
    sound = next((hit for hit in found.hits if hit.row.path == step["sound"]), None)
    image = next((hit for hit in found.hits if hit.row.path == step["image"]), None)
    table = draw.hit_table(found, lang, 12)
    if sound is None or image is None:
        return Outcome(2, table)
    fits = {"sound_fit": sound.fit, "image_fit": image.fit}
    told = line("cosines", lang, sound=sound.score, image=image.score, **fits)
    return Outcome(int(sound.score <= image.score), told + table)


def models(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Whether a threshold between right and wrong of one checkpoint suits the other."""
    lines, pairs = [], []
    for name in step["checkpoints"]:
        hits = search(step, name, lang, kinds=("image",)).hits
        right = next((hit.score for hit in hits if hit.row.path == step["file"]), -1.0)
        wrong = max(hit.score for hit in hits if hit.row.path != step["file"])
        pairs.append((right, wrong))
        lines.append(line("models", lang, name=name, right=right, wrong=wrong))
    is_apart = max(wrong for _, wrong in pairs) < min(right for right, _ in pairs)
    return Outcome(0 if is_apart else 1, join(lines))


def nothing(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Whether anything lies above the level for a thing that no file shows."""
    found = search(step, checkpoint, lang)
    return Outcome(0 if not found.above else 1 if found.above <= 3 else 2, draw.hit_table(found, lang, 5))


def languages(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Whether both languages find the same first file."""
    found = [search(step, checkpoint, lang, code) for code in ("en", "zh")]
    first = [one.hits[0].row.path if one.hits else "" for one in found]
    body = "".join(draw.hit_table(one, lang, 4) for one in found)
    return Outcome(0 if first[0] == first[1] else 1, Markup(body))


def rate(step: Step, checkpoint: str, lang: str) -> Outcome:
    """How many frames of a minute are indexed by the rule of CLIFS, and by counting seconds."""
    fps = float(step["rate"])
    theirs = sum(number % fps == 0 for number in range(round(fps * SECONDS)))
    times = np.arange(round(fps * SECONDS)) / fps
    ours = len(np.unique(np.searchsorted(times, np.arange(SECONDS) + 1e-6, "right")))
    told = line("frames", lang, rate=fps, theirs=theirs, ours=ours)
    return Outcome({1: 0, SECONDS: 1}.get(theirs, 2), told)


KINDS = {kind.__name__: kind for kind in (patches, scale, models, nothing, languages, rate)}


def card(step: Step, lang: str) -> Markup:
    """What a step asks: its words, and its image."""
    words = walk.prompt(step["words"][lang]) if "words" in step else Markup()
    if "file" in step:
        return walk.image(str(library.ASSETS / step["file"]), step["file"], words)
    return words


def outcome(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which of a step's choices came true with a checkpoint."""
    return KINDS[step["kind"]](step, checkpoint, lang)


def walkthrough(slot: Callable[[str], Any]) -> walk.Walkthrough:
    """The walkthrough of the page; `slot` makes the place of an outcome."""
    lessons = partial(library.lessons, PAPER)
    return walk.Walkthrough(
        lessons,
        lambda step, lang: list(data()["choices"][step["kind"]][lang]),
        card,
        outcome,
        idea=library.text(PAPER, "walk_idea"),
        slot=slot,
    )
