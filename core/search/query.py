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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from core import inputs, runtime
from core.clip.labels import NO_NOTES, Notes, read
from core.clip.zero_shot import background_words
from core.errors import Refusal
from core.search.spaces import Space
from core.search.store import Filter, Part, Row, Sample, Stats, Store, Table

PAGE = 24
MAX_HITS = 500  # of all pages
OVER = 12  # pieces that are asked for for each hit: an image has ten and more
RANDOM_FILES = 400
CHANCE = 0.02  # that an unrelated question reaches the level on a random file
UNRELATED = 120  # questions
SMALLEST_SPREAD = 0.01  # of cosines: a handful of alike files has hardly any
RANK = 60  # of reciprocal rank fusion (Cormack et al. 2009)
BURST = 1.0  # seconds by which the times of two photos of a burst differ at least
MAX_WEIGHT = 10.0
SIGNED = re.compile(r"\s+(?=[+\-−]\s)")
WEIGHTED = re.compile(r"^\s*([+\-−])?\s*(?:(\d+(?:[.,]\d+)?)\s*[:：]\s*)?(.+)$", re.DOTALL)


# Random files of a table, by its version: every question is compared with the same ones.
SAMPLES: runtime.ByteCache[Sample] = runtime.ByteCache()
SCALES: runtime.ByteCache[Scale] = runtime.ByteCache()


@dataclass(frozen=True)
class Term:
    """A part of a question: words, an image, a sound, or a piece of the index ("more like this"); negative weights take away."""

    what: str | Image.Image | inputs.Sound | Row
    weight: float = 1.0


@dataclass(frozen=True)
class Hit:
    """A file, or a moment of one."""

    row: Row  # its best piece
    score: float  # cosine with the question
    fit: float  # spreads above what everyday words score on the same piece
    is_above: bool  # whether chance hardly explains it
    copies: tuple[Row, ...] = ()  # other files with the same content

    @property
    def group(self) -> str:
        """The kind of thing that was compared: a video's sound is a sound."""
        return group(self.row)

    def to_json(self) -> dict[str, Any]:
        """The hit as plain values."""
        row = self.row
        return {
            "id": row.id,
            "root": row.root,
            "path": row.path,
            "kind": row.kind,
            "start": round(row.start, 3),
            "end": round(row.end, 3),
            "box": None if row.box is None else [round(float(side), 4) for side in row.box],
            "heard": row.heard,
            "score": float(self.score),
            "fit": float(self.fit),
            "above_chance": self.is_above,
            "copies": [one.path for one in self.copies],
            **({"text": row.text} if row.text else {}),
        }


@dataclass(frozen=True)
class Scale:
    """What a cosine is worth.

    Attributes:
        questions: [M, D] unrelated ones.
        groups: mean and spread of their cosines by what is compared: images, videos, sounds, texts.
        by_piece: whether a fit takes the mean and spread on the piece itself in place of its group's.
        level: the fit that only `CHANCE` of the unrelated questions reach with the best piece of a random file.
    """

    questions: np.ndarray
    groups: Mapping[str, tuple[float, float]]
    by_piece: bool
    level: float

    def fits(self, vectors: np.ndarray, cosines: np.ndarray, groups: Sequence[str]) -> np.ndarray:
        """Fits [N] of cosines [N] with pieces [N, D]."""
        if not self.by_piece:
            return self.places(cosines, groups)
        others = vectors @ self.questions.T
        found: np.ndarray = (cosines - others.mean(1)) / np.maximum(others.std(1), SMALLEST_SPREAD)
        return found

    def places(self, cosines: np.ndarray, groups: Sequence[str]) -> np.ndarray:
        """What hits are sorted by: within a group as the cosines, and comparable between groups."""
        pairs = np.array([self.groups.get(name, (0.0, 1.0)) for name in groups]).reshape(-1, 2)
        found: np.ndarray = (cosines - pairs[:, 0]) / np.maximum(pairs[:, 1], SMALLEST_SPREAD)
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of the questions."""
        return self.questions.nbytes


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
        fits.append(_best(drawn, scale.fits(drawn.vectors, drawn.vectors @ one, drawn.groups))[:, 0])
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
    vector = space.images([what])[0]
    return vector, (vector if space.is_joint else None)


def _direction(parts: list[np.ndarray] | None) -> np.ndarray | None:
    if not parts:
        return None
    total: np.ndarray = np.sum(parts, 0)
    return total / max(float(np.linalg.norm(total)), 1e-9)


# --- ranking -------------------------------------------------------------------------------------------------


def group(row: Row) -> str:
    """What a piece is compared with: a video's sound is compared with sounds."""
    return "sound" if row.heard else row.kind


def _enough(table: Table, vector: np.ndarray, hits: int, where: Filter, exact: bool) -> list[Row]:
    """Pieces for at least so many hits, or all there are."""
    count = hits * OVER
    while True:
        rows = table.search(vector, count, where, exact)
        if len(rows) < count or len({_moment(row) for row in rows}) >= hits or count > MAX_HITS * OVER:
            return rows
        count *= 3


def _moment(row: Row) -> tuple[Any, ...]:
    """What one hit stands for: a file; of a video a shot, of a sound a window."""
    if row.kind == "video":
        return row.root, row.path, row.heard, row.start if row.heard else row.shot
    return row.root, row.path, (row.start if row.kind == "sound" else 0)


def sample(table: Table, where: Filter) -> Sample:
    """Random files of a table; remembered until it changes."""
    return SAMPLES.get_or(
        (table.url, table.part.name, table.version, where.whole),
        lambda: table.sample(RANDOM_FILES, Filter(whole=where.whole)),
    )


def scale_of(table: Table, space: Space, about: str, drawn: Sample, where: Filter) -> Scale:
    """The scale of questions of a kind; remembered until the table changes."""
    return SCALES.get_or(
        (table.url, table.part.name, table.version, where.whole, about),
        lambda: _scale(table, space, about, drawn),
    )


def _scale(table: Table, space: Space, about: str, drawn: Sample) -> Scale:
    is_seen = table.part == space.visual
    if about == "words":
        words = background_words(space.language if is_seen else "en")
        questions = space.texts(words) if is_seen else space.sound_texts(words)
        owners: list[Any] = [None] * len(questions)
    else:
        chosen = [
            at
            for at, name in enumerate(drawn.groups)
            if (name == "sound") == (about == "sound") and name != "text"
        ]
        chosen = chosen[:: max(1, len(chosen) // UNRELATED)]
        questions, owners = drawn.vectors[chosen], [drawn.files[at] for at in chosen]
    if not len(drawn.files) or not len(questions):
        return Scale(questions, {}, False, 0.0)
    cosines = drawn.vectors @ questions.T  # [N, M]
    unrelated = np.array([[file != owner for owner in owners] for file in drawn.files])
    names = np.array(drawn.groups)
    pairs = {name: cosines[names == name][unrelated[names == name]] for name in sorted(set(drawn.groups))}
    groups = {name: (float(some.mean()), float(some.std())) for name, some in pairs.items() if len(some)}
    scale = Scale(questions, groups, about == "words", 0.0)
    fits = np.stack([scale.fits(drawn.vectors, column, drawn.groups) for column in cosines.T], 1)
    best = _best(drawn, np.where(unrelated, fits, -np.inf))
    return replace(scale, level=float(np.quantile(best[np.isfinite(best)], 1 - CHANCE)))


def _best(drawn: Sample, fits: np.ndarray) -> np.ndarray:
    """The best piece of each file: [N] or [N, M] of pieces -> [F, M]."""
    places = {file: at for at, file in enumerate(dict.fromkeys(drawn.files))}
    best = np.full((len(places), *fits.reshape(len(fits), -1).shape[1:]), -np.inf)
    np.maximum.at(best, [places[file] for file in drawn.files], fits.reshape(len(fits), -1))
    return best


def hits_of(rows: Sequence[Row], scale: Scale, same: float) -> list[Hit]:
    """The best piece of each moment, copies together, best first."""
    if not rows:
        return []
    vectors = np.stack([row.vector for row in rows if row.vector is not None])
    cosines, groups = np.array([row.score for row in rows]), list(map(group, rows))
    fits, places = scale.fits(vectors, cosines, groups).tolist(), scale.places(cosines, groups).tolist()
    best: dict[tuple[Any, ...], tuple[float, float, Row]] = {}
    for place, fit, row in zip(places, fits, rows, strict=True):
        known = best.setdefault(_moment(row), (place, fit, row))
        if row.score > known[2].score:
            best[_moment(row)] = place, fit, row
    hits: list[Hit] = []
    for _, fit, row in sorted(best.values(), key=lambda one: -one[0]):
        if row.heard and any(_overlap(hit.row, row) for hit in hits):
            continue
        twin = next((at for at, hit in enumerate(hits) if is_copy(hit.row, row, same)), None)
        if twin is None:
            hits.append(Hit(row, row.score, fit, fit > scale.level))
        else:
            hits[twin] = replace(hits[twin], copies=(*hits[twin].copies, row))
    return hits


def _overlap(first: Row, second: Row) -> bool:
    """Whether two windows of one sound hear the same moment."""
    is_one = first.heard and (first.root, first.path) == (second.root, second.path)
    return is_one and first.start < second.end and second.start < first.end


def is_copy(first: Row, second: Row, same: float) -> bool:
    """Whether two pieces are one thing twice. Photos of a burst look alike, but their cameras say different times."""
    if (first.root, first.path) == (second.root, second.path) or first.kind != second.kind:
        return False
    if first.hash == second.hash:
        return (first.start, first.box) == (second.start, second.box)
    if first.kind != "image" or first.box != second.box or abs(first.score - second.score) > 1 - same:
        return False
    dated = first.dated == second.dated == "exif"
    if dated and abs(first.taken - second.taken) >= BURST:
        return False
    if first.vector is None or second.vector is None:
        return False
    return float(first.vector @ second.vector) >= same


def fused(lists: Sequence[Sequence[Hit]]) -> list[Hit]:
    """One list of several. Spaces have scales of their own, so ranks are fused and cosines never compared."""
    filled = [one for one in lists if one]
    if len(filled) < 2:
        return list(filled[0]) if filled else []
    ranked = [(1 / (RANK + rank), hit) for one in filled for rank, hit in enumerate(one, 1)]
    # Those that chance explains stand behind, whatever their rank.
    return [hit for _, hit in sorted(ranked, key=lambda pair: (not pair[1].is_above, -pair[0]))]


def rank_of(hits: Sequence[Hit], path: str) -> int | None:
    """The place of a file in a list, from 1; None where it is not in it."""
    return next(
        (at for at, hit in enumerate(hits, 1) if path in (hit.row.path, *(c.path for c in hit.copies))), None
    )
