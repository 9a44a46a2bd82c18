"""A question to an index: words, images and sounds with weights; filters; hits with their place, and where chance ends.

    found = query.search(store, space, [query.Term("a dog")], Filter(kinds=("video",)))
    for hit in found.hits: print(hit.row.path, hit.row.start, hit.score, hit.fit)

A cosine alone says little: another checkpoint, another kind of file, another question has another scale. So unrelated
questions are asked as well: everyday words, or other images and sounds of the tables. `fit` tells by how many of their spreads
a score lies above their mean on the same piece. Random files and unrelated questions together are the null distribution. What
only `CHANCE` of such pairs reach is the level, and what lies below it is "nothing found". Hits are sorted by their cosines:
images, videos, sounds and texts each on a scale of their own, the mean and spread of unrelated questions on all of them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from core import inputs
from core.clip.labels import NO_NOTES, Notes, read
from core.errors import Refusal
from core.search.media import of_image
from core.search.ranking import Hit, best_of_files, fused, hits_of, moment, sample, scale_of
from core.search.spaces import Space
from core.search.store import Filter, Part, Row, Stats, Store, Table

PAGE = 24
MAX_HITS = 500  # of all pages
OVER = 12  # pieces that are asked for for each hit: an image has ten and more
MAX_WEIGHT = 10.0
SIGNED = re.compile(r"\s+(?=[+\-−]\s)")
WEIGHTED = re.compile(r"^\s*([+\-−])?\s*(?:(\d+(?:[.,]\d+)?)\s*[:：]\s*)?(.+)$", re.DOTALL)


@dataclass(frozen=True)
class Term:
    """A part of a question: words, an image, a sound, or a piece of the index ("more like this"); negative weights take away."""

    what: str | Image.Image | inputs.Sound | Row
    weight: float = 1.0


@dataclass(frozen=True)
class Found:
    """The answer first, then what it was made of."""

    checkpoint: str
    hits: tuple[Hit, ...]  # one page of them, best first
    total: int  # hits of all pages that were looked for
    is_more: bool
    above: int  # of all pages: how many lie above the level
    levels: tuple[float, ...]  # of each table
    fits: np.ndarray  # [H] of the hits of all pages
    random_fits: np.ndarray  # [N] of the best pieces of random files
    vector: np.ndarray | None  # [D] the question among images
    heard: np.ndarray | None  # [D] among sounds
    stats: Stats
    device: str
    seconds: float
    timings: dict[str, float]  # milliseconds by step
    notes: Notes = NO_NOTES

    def to_json(self) -> dict[str, Any]:
        """The answer as plain values."""
        return {
            "checkpoint": self.checkpoint,
            "seconds": round(self.seconds, 4),
            "results": [hit.to_json() for hit in self.hits],
            "more": self.is_more,
            "above_chance": self.above,
            "files": self.stats.files,
            "levels": [round(level, 3) for level in self.levels],
            **self.notes.to_json(),
        }


def parse(text: str) -> list[Term]:
    """Words with weights: "a dog", "2: a dog + a ball - grass". Parts stand between blanks with + or -.

    Raises:
        Refusal: "search_query", "search_weight", what `core.inputs.text` refuses.
    """
    terms = []
    for part in SIGNED.split(text.strip()):
        found = WEIGHTED.match(part)
        if found is None:
            continue
        sign, number, words = found.groups()
        weight = float((number or "1").replace(",", "."))
        if not 0 < weight <= MAX_WEIGHT:
            raise Refusal("search_weight", limit=int(MAX_WEIGHT))
        terms.append(Term(inputs.text(words), -weight if sign in ("-", "−") else weight))
    if not any(term.weight > 0 for term in terms):
        raise Refusal("search_query")
    return terms


def search(
    store: Store,
    space: Space,
    terms: Sequence[Term],
    where: Filter | None = None,
    *,
    page: int = 0,
    size: int = PAGE,
    exact: bool = False,
    check: Callable[[], object] | None = None,
) -> Found:
    """Finds what fits a question.

    Args:
        store: of the tables.
        space: the rows that encode.
        terms: at least one with a positive weight.
        where: which pieces are looked at.
        page: which `size` hits of the list are returned.
        exact: whether all vectors are compared where there is an index.
        check: called on the way; may raise.

    Raises:
        Refusal: "search_query", "search_deaf", "search_apart", "cancelled".
    """
    where = where or Filter()
    begin = time.perf_counter()
    vector, heard, notes = encode(space, terms, check)
    encoded_at = time.perf_counter()
    wanted = min(MAX_HITS, (page + 1) * size + 1)
    about = _about(terms)
    lists: list[list[Hit]] = []
    levels: list[float] = []
    fits: list[np.ndarray] = []
    stats: list[Stats] = []
    searched = 0.0
    for part, one in _questions(space, vector, heard):
        table = store.table(part)
        start = time.perf_counter()
        rows = [row for some in _groups(where, about) for row in _enough(table, one, wanted, some, exact)]
        searched += 1000 * (time.perf_counter() - start)
        where_drawn = replace(where, whole=where.whole or about == "sound")
        drawn = sample(table, where_drawn)
        scale = scale_of(table, space, about, drawn, where_drawn)
        stats.append(table.stats(where.roots))
        levels.append(scale.level)
        fits.append(best_of_files(drawn, scale.fits(drawn.vectors, drawn.vectors @ one, drawn.groups))[:, 0])
        lists.append(hits_of(rows, scale, part.same))
    hits = fused(lists)
    end = time.perf_counter()
    return Found(
        checkpoint=space.checkpoint,
        hits=tuple(hits[page * size : (page + 1) * size]),
        total=len(hits),
        is_more=len(hits) > (page + 1) * size,
        above=sum(hit.is_above for hit in hits),
        levels=tuple(levels),
        random_fits=np.concatenate(fits),
        fits=np.array([hit.fit for hit in hits]),
        vector=vector,
        heard=heard,
        stats=stats[0],
        device=space.model.device,
        seconds=end - begin,
        timings={
            "encode_query": 1000 * (encoded_at - begin),
            "search": searched,
            "rank": 1000 * (end - encoded_at) - searched,
        },
        notes=notes,
    )


def _questions(
    space: Space, vector: np.ndarray | None, heard: np.ndarray | None
) -> Iterator[tuple[Part, np.ndarray]]:
    """The question to each table."""
    if vector is not None:
        yield space.visual, vector
    if heard is not None and not space.is_joint and space.audible is not None:
        yield space.audible, heard


def _about(terms: Sequence[Term]) -> str:
    """What a question consists of: "words", "sound" where a sound is in it, else "image"."""
    if all(isinstance(term.what, str) for term in terms):
        return "words"
    sounds = (
        isinstance(one, inputs.Sound) or (isinstance(one, Row) and one.heard)
        for one in (t.what for t in terms)
    )
    return "sound" if any(sounds) else "image"


def _groups(where: Filter, about: str) -> list[Filter]:
    """What is seen, heard and read is looked for apart: one of them has the greater cosines and would crowd out the others.

    A sound is compared with whole frames alone: it names a thing and no corner, and squares would only add chances to err.
    """
    kinds = set(where.kinds or ("image", "video", "sound", "text"))
    groups = []
    if seen := kinds & {"image", "video"}:
        is_whole = where.whole or about == "sound"
        groups.append(replace(where, kinds=tuple(sorted(seen)), heard=False, whole=is_whole))
    if kinds & {"sound", "video"} and not where.whole:
        groups.append(replace(where, kinds=tuple(sorted(kinds & {"sound", "video"})), heard=True))
    if "text" in kinds:
        groups.append(replace(where, kinds=("text",)))
    return groups


def encode(
    space: Space, terms: Sequence[Term], check: Callable[[], object] | None = None
) -> tuple[np.ndarray | None, np.ndarray | None, Notes]:
    """The directions [D] of a question among images and among sounds; None where it has none there."""
    if not any(term.weight > 0 for term in terms):
        raise Refusal("search_query")
    texts = [term.what for term in terms if isinstance(term.what, str)]
    notes = read(space.tokenize, texts).notes if texts else NO_NOTES
    seen: list[np.ndarray] | None = []
    heard: list[np.ndarray] | None = []
    for term in terms:
        one, other = _term(space, term.what, check)
        seen = None if seen is None or one is None else [*seen, term.weight * one]
        heard = None if heard is None or other is None else [*heard, term.weight * other]
    if seen is None and heard is None:
        raise Refusal("search_apart")
    return _direction(seen), _direction(heard), replace(notes, merged={})


def _term(
    space: Space, what: Any, check: Callable[[], object] | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """A term among images and among sounds."""
    if isinstance(what, str):
        seen = space.texts([inputs.clean(what)])[0]
        if space.is_joint:
            return seen, seen
        return seen, space.sound_texts([inputs.clean(what)])[0] if space.hearing is not None else None
    if isinstance(what, Row):
        vector = what.vector
        return (vector, vector) if space.is_joint else (None, vector) if what.heard else (vector, None)
    if isinstance(what, inputs.Sound):
        if space.hearing is None:
            raise Refusal("search_deaf", checkpoint=space.settings["sounds"])
        _, windows, _ = space.sounds(what, check)
        if not len(windows):
            raise Refusal("search_nothing")
        mean = windows.mean(0)
        mean = mean / max(float(np.linalg.norm(mean)), 1e-9)
        return (mean, mean) if space.is_joint else (None, mean)
    vector = next(of_image(what, space)).vector
    return vector, (vector if space.is_joint else None)


def _direction(parts: list[np.ndarray] | None) -> np.ndarray | None:
    if not parts:
        return None
    total: np.ndarray = np.sum(parts, 0)
    return total / max(float(np.linalg.norm(total)), 1e-9)


def _enough(table: Table, vector: np.ndarray, hits: int, where: Filter, exact: bool) -> list[Row]:
    """Pieces for at least so many hits, or all there are."""
    count = hits * OVER
    while True:
        rows = table.search(vector, count, where, exact)
        if len(rows) < count or len({moment(row) for row in rows}) >= hits or count > MAX_HITS * OVER:
            return rows
        count *= 3
