"""The order of hits and where chance ends: the null distribution of a table, copies, lists of several spaces.

Unrelated questions are asked of random files: everyday words, or other images and sounds of the table. `Scale` keeps what their
cosines look like; a hit that fits better than `CHANCE` of these pairs lies above the level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from core import runtime
from core.clip.zero_shot import background_words
from core.search.store import Filter, Row, Sample, Table

if TYPE_CHECKING:
    from core.search.spaces import Space

RANDOM_FILES = 400
CHANCE = 0.02  # that an unrelated question reaches the level on a random file
UNRELATED = 120  # questions
SMALLEST_SPREAD = 0.01  # of cosines: a handful of alike files has hardly any
RANK = 60  # of reciprocal rank fusion (Cormack et al. 2009)
BURST = 1.0  # seconds by which the times of two photos of a burst differ at least

# Random files of a table, by its version: every question is compared with the same ones.
SAMPLES: runtime.ByteCache[Sample] = runtime.ByteCache()
SCALES: runtime.ByteCache[Scale] = runtime.ByteCache()


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
            "file": row.path,
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


def group(row: Row) -> str:
    """What a piece is compared with: a video's sound is compared with sounds."""
    return "sound" if row.heard else row.kind


def moment(row: Row) -> tuple[Any, ...]:
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
    best = best_of_files(drawn, np.where(unrelated, fits, -np.inf))
    return replace(scale, level=float(np.quantile(best[np.isfinite(best)], 1 - CHANCE)))


def best_of_files(drawn: Sample, fits: np.ndarray) -> np.ndarray:
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
        known = best.setdefault(moment(row), (place, fit, row))
        if row.score > known[2].score:
            best[moment(row)] = place, fit, row
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
