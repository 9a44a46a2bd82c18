"""What the detectors answer with: boxes in pixels of the caller's file, and what they were made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.clip.labels import NO_NOTES, Notes


@dataclass(frozen=True)
class Detection:
    """Boxes with a label each, best first; then the proposals they were chosen from."""

    checkpoint: str
    variant: str  # one of `vild.VARIANTS`; "native" where the network has a way of its own (OWL-ViT)
    labels: tuple[str, ...]
    base: tuple[bool, ...]  # [N] whether a label is a base category: one that had boxes in training
    boxes: np.ndarray  # [R, 4] xyxy, pixels
    scores: np.ndarray  # [R] 0..1
    label_indices: np.ndarray  # [R] int64
    proposal_indices: np.ndarray  # [R] int64, which proposal each box comes from
    proposals: np.ndarray  # [M, 4] xyxy, pixels, best objectness first
    objectness: np.ndarray  # [M] 0..1
    region_embeddings: np.ndarray  # [M, D] norm 1, of the variant's head (the text head's for the ensemble)
    text_features: np.ndarray  # [N, D] norm 1
    cosines: np.ndarray  # [M, N] region_embeddings @ text_features.T
    class_scores: np.ndarray  # [M, N] the variant's probabilities
    background: np.ndarray  # [M] probability of no label; zeros where the variant has no background
    parts: dict[str, np.ndarray]  # of an ensemble: "text" and "image" probabilities, [M, N] each; else empty
    size: tuple[int, int]  # width, height of the caller's file
    device: str
    seconds: float
    timings: dict[str, float]  # milliseconds by step
    normalisation: str = "softmax"  # "sigmoid" where each label has a yes or no of its own
    notes: Notes = NO_NOTES
    negatives: tuple[int, ...] = ()  # labels that only took boxes from others

    def to_json(self) -> dict[str, Any]:
        """The boxes as plain values."""
        return {
            "checkpoint": self.checkpoint,
            "variant": self.variant,
            "seconds": round(self.seconds, 4),
            "size": list(self.size),
            "results": [
                {
                    "label": self.labels[index],
                    "base": self.base[index],
                    "score": float(score),
                    "box": [round(float(side), 2) for side in box],
                }
                for box, score, index in zip(self.boxes, self.scores, self.label_indices, strict=True)
            ],
            **self.notes.to_json(),
        }


@dataclass(frozen=True)
class Phrase:
    """A noun phrase of a caption, or a label of a list as it was sent: characters `start:end` of the prompt."""

    text: str
    start: int
    end: int
    words: tuple[int, ...]  # places in `Grounding.words`


@dataclass(frozen=True)
class Grounding:
    """Boxes with a phrase of the prompt each, best first; then the alignment they were read from."""

    checkpoint: str
    prompt: str  # the caption, or the labels joined
    mode: str  # "grounding" for a caption, "detection" for a list of labels
    phrases: tuple[Phrase, ...]
    boxes: np.ndarray  # [R, 4] xyxy, pixels
    scores: np.ndarray  # [R] 0..1
    phrase_indices: np.ndarray  # [R] int64
    words: tuple[str, ...]  # [L] the prompt as the language backbone reads it, special tokens left out
    spans: tuple[tuple[int, int], ...]  # [L] characters of the prompt that each word is
    prompts: tuple[
        tuple[int, int], ...
    ]  # words first:end of each prompt; a long list of labels takes several
    # Scores of region features with word features, S = O P^T (equation 3), of the places that the boxes come from; NaN for
    # words of another prompt than the box's, and for words of no phrase where a network reads phrases alone.
    alignment: np.ndarray  # [R, L] logits after deep fusion
    alignment_before: np.ndarray  # [R, L] the same product of the features that enter the fusion
    size: tuple[int, int]  # width, height of the caller's file
    device: str
    seconds: float
    timings: dict[str, float]  # milliseconds by step
    normalisation: str = "sigmoid"
    notes: Notes = NO_NOTES
    negatives: tuple[int, ...] = ()  # phrases that only took boxes from others
    settled: tuple[int, ...] = ()  # phrases with a least score of their own, which all their boxes reach

    def to_json(self) -> dict[str, Any]:
        """The boxes as plain values."""
        return {
            "checkpoint": self.checkpoint,
            "prompt": self.prompt,
            "mode": self.mode,
            "seconds": round(self.seconds, 4),
            "size": list(self.size),
            "phrases": [
                {"text": p.text, "start": p.start, "end": p.end}
                | ({"negative": True} if at in self.negatives else {})
                for at, p in enumerate(self.phrases)
            ],
            "results": [
                {
                    "phrase": self.phrases[index].text,
                    "phrase_index": int(index),
                    "score": float(score),
                    "box": [round(float(side), 2) for side in box],
                }
                for box, score, index in zip(self.boxes, self.scores, self.phrase_indices, strict=True)
            ],
            **self.notes.to_json(),
        }
