"""What ViLT's verbs answer: answers to a question, whether a text fits, words for gaps; each with the alignment of its words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.clip.labels import NO_NOTES, Notes
from core.vqa.vilt import alignment

OFFERED = 5  # answers that are told as plain values, and words for a gap


@dataclass(frozen=True)
class EncodedImage:
    """An image as the transformer receives it: its patches, embedded with their places."""

    checkpoint: str
    digest: str
    size: tuple[int, int]  # width, height of the image
    grid: tuple[int, int]  # h, w
    tokens: np.ndarray  # [1 + h w, W], the class token first


@dataclass(frozen=True)
class Alignment:
    """How the words of a text lie on the patches: a transport plan."""

    words: tuple[str, ...]  # [M] without the special ones
    plan: np.ndarray  # [M, h, w]; each word has 1 / M
    cost: np.ndarray  # [M, h, w], 1 - cos
    distance: float

    @property
    def share(self) -> np.ndarray:
        """[M, h, w] where each word's mass lies; sums to one for each word."""
        return self.plan * len(self.words)

    def heat(self, word: int) -> np.ndarray:
        """The map of a word as the paper's demo draws it, 0 to 1."""
        return alignment.heat(self.plan[word])


@dataclass(frozen=True)
class Read:
    """What every verb answers: how the text was read, its alignment, what it took."""

    checkpoint: str
    text: str
    aligned: Alignment
    grid: tuple[int, int]
    seen: tuple[int, int]  # width, height in pixels that the transformer saw
    tokens: tuple[str, ...]  # [L] with the special ones
    pooled: np.ndarray  # [W]
    device: str
    seconds: float
    timings: dict[str, float] = field(default_factory=dict)  # milliseconds by step
    notes: Notes = NO_NOTES

    def to_json(self) -> dict[str, Any]:
        """What all answers tell."""
        return {"checkpoint": self.checkpoint, "seconds": round(self.seconds, 4), **self.notes.to_json()}


@dataclass(frozen=True)
class Answers(Read):
    """Answers to a question."""

    names: tuple[str, ...] = ()  # [N] in the question's language
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0))  # [N]
    looked: bool = True  # False where a plain grey image stood for the image

    @property
    def order(self) -> np.ndarray:
        """Answer indices, best first."""
        return np.argsort(-self.probabilities, kind="stable")

    def to_json(self) -> dict[str, Any]:
        """The five best answers as plain values."""
        return {
            **super().to_json(),
            "question": self.text,
            "results": [
                {"answer": self.names[i], "probability": round(float(self.probabilities[i]), 5)}
                for i in self.order[:OFFERED].tolist()
            ],
        }


@dataclass(frozen=True)
class Match(Read):
    """Whether a text fits an image."""

    score: float = 0.0  # unbounded; above zero where they belong together
    probability: float | None = None  # for rows whose score is a logit of yes and no

    def to_json(self) -> dict[str, Any]:
        """The score as plain values."""
        made = {**super().to_json(), "text": self.text, "score": round(self.score, 4)}
        return made if self.probability is None else made | {"probability": round(self.probability, 5)}


@dataclass(frozen=True)
class Gap:
    """A masked word: the likeliest words when it was filled in."""

    words: tuple[str, ...]
    probabilities: np.ndarray
    turn: int  # the most certain gap is filled first


@dataclass(frozen=True)
class Filled(Read):
    """A text whose masked words are filled in."""

    filled: str = ""
    gaps: tuple[Gap, ...] = ()  # in the order of the text

    def to_json(self) -> dict[str, Any]:
        """The text and the words for each gap as plain values."""
        return {
            **super().to_json(),
            "text": self.text,
            "filled": self.filled,
            "gaps": [
                [
                    {"word": word, "probability": round(float(share), 5)}
                    for word, share in zip(gap.words, gap.probabilities, strict=True)
                ]
                for gap in self.gaps
            ],
        }
