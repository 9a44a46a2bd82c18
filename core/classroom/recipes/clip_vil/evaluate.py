"""Measure a miniature CLIP-ViL on questions about new scenes, for each of its encoders.

    python -m core.classroom evaluate clip-vil [--checkpoint classroom-clip-vil] [--json] [--record]

An answer is right where the likeliest of all answers is the true one. Beside it stands what somebody who does not look can
reach: the answers of a kind are equally frequent, so that guessing is right one time in as many as the question leaves open; and
the same head with the image of another question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.classroom.recipes.clip_vil.questions import QuestionSet, ids_of, question_set
from core.classroom.recipes.common.fresh import row_of
from core.classroom.recipes.common.rows import Rows
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.questions import QUESTIONS, Kind, Questions, offered
from core.classroom.world.wording import LANGUAGES
from core.clip.tokenizers import Tokenizer
from core.vqa.clip_vil.models import ENCODERS, CLIPViL, LoadedHeads

SEED = 21_000
SCENES = 200
PART = 256
BLIND = "another image"

Logits = Callable[[Tensor, Tensor], Tensor]  # features [B, P, C], ids [B, L] -> [B, A]


@torch.inference_mode()
def predictions(
    logits: Logits,
    features: Tensor,
    questions: Questions,
    tokenize: Tokenizer,
    lang: str,
    scene: Tensor | None = None,
) -> Tensor:
    """[Q] the likeliest answer to each question; `scene` [Q] in place of the questions' own scenes."""
    ids = ids_of(tokenize, questions.texts(lang))
    where = questions.scene if scene is None else scene
    parts = [
        logits(features[rows].float(), words).argmax(1)
        for rows, words in zip(where.split(PART), ids.split(PART), strict=True)
    ]
    return torch.cat(parts)


def by_kind(predicted: Tensor, questions: Questions) -> dict[Kind, float]:
    """The share of right answers to each kind of question."""
    right = (predicted == questions.answer).float()
    found = {kind: right[questions.kind == at] for at, kind in enumerate(QUESTIONS)}
    return {kind: float(values.mean()) for kind, values in found.items() if len(values)}


def mean(shares: Mapping[Any, float]) -> float:
    """Every kind counts alike."""
    return float(np.mean(list(shares.values())))


def guessing(questions: Questions) -> dict[Kind, float]:
    """How often a guess among the answers that a question leaves open is right."""
    found: dict[Kind, list[float]] = {}
    for kind, a, b in zip(*(getattr(questions, name).tolist() for name in ("kind", "a", "b")), strict=True):
        found.setdefault(QUESTIONS[kind], []).append(1 / len(offered(QUESTIONS[kind], a, b)))
    return {kind: float(np.mean(shares)) for kind, shares in found.items()}


@dataclass
class Candidate:
    """A miniature in float32 on the CPU, and the exam encoded by its towers."""

    loaded: LoadedHeads
    exam: QuestionSet

    @classmethod
    def open(cls, checkpoint: str, scenes: int = SCENES, atlas: Atlas | None = None) -> Candidate:
        """By the name of a row or the folder of an export."""
        model = CLIPViL.load(row_of(checkpoint, "clip-vil"), "cpu", torch.float32)
        with model.use() as loaded:
            towers: Any = loaded.towers
            return cls(loaded, question_set(towers, scenes, SEED, atlas or open_atlas()))

    def logits(self, encoder: str) -> Logits:
        """The head of an encoder."""
        head = self.loaded.heads[encoder]

        def run(features: Tensor, ids: Tensor) -> Tensor:
            side = round(features.shape[1] ** 0.5)
            return head(features, ids, (side, side))

        return run

    def right(self, encoder: str, lang: str, scene: Tensor | None = None) -> dict[Kind, float]:
        """The share of right answers to each kind of question."""
        asked = self.exam.questions
        features = self.exam.features[encoder]
        return by_kind(
            predictions(self.logits(encoder), features, asked, self.loaded.tokenize, lang, scene), asked
        )


def shuffled(questions: Questions) -> Tensor:
    """[Q] the scene of another question for each."""
    return questions.scene.roll(len(questions) // 2)


def evaluate(
    checkpoint: str,
    say: Callable[[str], None] = print,
    scenes: int = SCENES,
    encoders: Sequence[str] = ENCODERS,
) -> list[dict[str, Any]]:
    """All measures as rows of the report card."""
    model = Candidate.open(checkpoint, scenes)
    rows = Rows("clip-vil", checkpoint, say)
    for lang in LANGUAGES:
        for encoder in encoders:
            found = model.right(encoder, lang)
            rows.add("right answers, mean of kinds", encoder, lang, mean(found))
            for kind, share in found.items():
                rows.add(f"right answers: {kind}", encoder, lang, share)
        found = model.right("clip", lang, shuffled(model.exam.questions))
        rows.add("right answers, mean of kinds", BLIND, lang, mean(found))
        rows.add("right answers, mean of kinds", "guessing", lang, mean(guessing(model.exam.questions)))
    return rows.measured
