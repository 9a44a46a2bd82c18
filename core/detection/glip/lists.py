"""Long lists of labels: cut into prompts that can be read at once, asked one by one, and put together again.

The published code evaluates LVIS in this way: pieces of the list are prompts of their own, and the boxes of all are ranked
together. Scores are sigmoids of a place and its own words, so those of two prompts are on one scale, though words of
one prompt have read each other and those of another have not. Two things differ here. A piece is as long as the language
model can read, in place of 40 labels, so that there are fewer of them; and the backbone runs once for all pieces, not once
for each (as MM-Grounding-DINO does it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from core.detection import choices
from core.detection.glip import boxes
from core.detection.glip.language import SEPARATOR, WORDS, Cut
from core.detection.result import Grounding, Phrase
from core.errors import Refusal

SHOWN = 40  # characters of a label in a sentence


def pieces(labels: Sequence[str], cut: Callable[[str], Cut]) -> list[Sequence[str]]:
    """Labels in their order, in as few prompts as can be read: none longer than `WORDS`, special tokens counted.

    Args:
        labels: N texts.
        cut: the reader's tokenizer; what stands between two labels is cut like what it stands behind.

    Raises:
        Refusal: "label_of_many_words" for a label that no prompt has room for, "no_word_in_labels" where none has one.
    """
    made: list[Sequence[str]] = []
    first, left = 0, -1
    for at, label in enumerate(labels):
        read = cut(label + SEPARATOR)
        room, count = WORDS - (len(read.ids) - len(read.places)), len(read.places)
        if count > room:
            said = label if len(label) <= SHOWN else label[:SHOWN] + "…"
            raise Refusal("label_of_many_words", label=said, words=count, limit=room)
        if count > left:
            made += [labels[first:at]] if at else []
            first, left = at, room
        left -= count
    if not any(cut(label).places for label in labels):
        raise Refusal("no_word_in_labels")
    return [*made, labels[first:]]


def joined(parts: Sequence[Grounding], limit: int) -> Grounding:
    """The answers to the prompts of a list as the answer to the list: the best `limit` boxes of all, best first.

    A label stands in one prompt, where its overlapping boxes were suppressed; boxes of two labels never suppress each other.
    What a box has to do with words of a prompt that its place never read is unknown: NaN.
    """
    if len(parts) == 1:
        return parts[0]
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")[:limit]
    prompts, phrases, spans = [], [], []
    word = start = 0
    for part in parts:
        prompts.append((word, word + len(part.words)))
        phrases += [
            Phrase(one.text, one.start + start, one.end + start, tuple(i + word for i in one.words))
            for one in part.phrases
        ]
        spans += [(first + start, end + start) for first, end in part.spans]
        word, start = word + len(part.words), start + len(part.prompt) + 1
    firsts = np.cumsum([0, *(len(part.phrases) for part in parts[:-1])])
    return replace(
        parts[0],
        prompt=" ".join(part.prompt for part in parts),
        phrases=tuple(phrases),
        boxes=np.concatenate([part.boxes for part in parts])[order],
        scores=scores[order],
        phrase_indices=np.concatenate(
            [part.phrase_indices + first for part, first in zip(parts, firsts, strict=True)]
        )[order],
        words=tuple(one for part in parts for one in part.words),
        spans=tuple(spans),
        prompts=tuple(prompts),
        alignment=_spread([part.alignment for part in parts], order),
        alignment_before=_spread([part.alignment_before for part in parts], order),
        timings={name: sum(part.timings[name] for part in parts) for name in parts[0].timings},
    )


def kept(
    whole: Grounding, threshold: float, limit: int, across_labels: bool, by_label: Mapping[str, float]
) -> Grounding:
    """The boxes of an answer that are sure enough, and that no surer one stands for; arguments as of `GLIP.detect`."""
    names = [phrase.text for phrase in whole.phrases]
    least = choices.least_scores(names, threshold, by_label, whole.negatives)
    visible = choices.select_visible(whole.boxes, whole.scores, whole.phrase_indices, whole.negatives)
    left = np.flatnonzero(visible & (whole.scores >= least[whole.phrase_indices]))
    if across_labels:
        left = left[boxes.suppress_overlaps(whole.boxes[left], whole.scores[left])]
    shown = ("boxes", "scores", "phrase_indices", "alignment", "alignment_before")
    parts = {name: getattr(whole, name)[left[:limit]] for name in shown}
    return replace(whole, settled=choices.places(names, list(by_label)), **parts)


def _spread(parts: Sequence[np.ndarray], order: np.ndarray) -> np.ndarray:
    """Matrices of prompts, [R, L] each, along the diagonal of one; of its rows those of `order`, in that order."""
    rows, columns = (np.cumsum([0, *(part.shape[axis] for part in parts)]) for axis in (0, 1))
    of = np.searchsorted(rows, order, side="right") - 1  # which part each row is of
    spread = np.full((len(order), columns[-1]), np.nan, np.float32)
    for i, part in enumerate(parts):
        spread[of == i, columns[i] : columns[i + 1]] = part[order[of == i] - rows[i]]
    return spread
