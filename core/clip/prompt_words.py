"""What each word of a prompt adds to its score: the sentence is read again without that word.

    added(word) = cosine(image, sentence) - cosine(image, sentence without the word)

It is the oldest way to explain a score (leaving one out; Robnik-Sikonja and Kononenko 2008), needs no gradient, and works for
every text encoder. What a word adds depends on the others: two words that say the same each add little. Chinese is taken apart
into its characters, other scripts at their blanks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from core import inputs
from core.clip.zero_shot import Classification, EncodedImage, ZeroShot

WORDS = re.compile(r"[\u3400-\u9fff]|[^\s\u3400-\u9fff]+")


@dataclass(frozen=True)
class PromptWords:
    """A sentence, its score, and what each of its words adds."""

    text: str
    words: tuple[str, ...]  # [L]
    spans: tuple[tuple[int, int], ...]  # [L] characters of the text
    cosine: float
    added: np.ndarray  # [L] cosine with the word less the cosine without it
    answer: Classification  # of the sentence alone, with its map over the image

    @property
    def shares(self) -> np.ndarray:
        """[L] each word's part in all changes of the score, with its sign; their sizes sum to one."""
        total = float(np.abs(self.added).sum())
        return self.added / total if total else np.zeros_like(self.added)

    def to_json(self) -> dict[str, Any]:
        """The words in their order, as plain values."""
        return {
            "text": self.text,
            "cosine": self.cosine,
            "words": [
                {"word": word, "added": float(added), "share": float(share)}
                for word, added, share in zip(self.words, self.added, self.shares, strict=True)
            ],
        }


def prompt_words(model: ZeroShot, image: Image.Image | EncodedImage, text: str) -> PromptWords:
    """What each word of a sentence adds to its cosine with an image.

    Args:
        model: that reads.
        image: an image, or what `encode` made of it.
        text: a sentence of any length that the checkpoint reads.

    Raises:
        Refusal: "no_text" for a text without a word.
    """
    line = inputs.text(text, limit=1000)
    spans = tuple(match.span() for match in WORDS.finditer(line))
    encoded = model.encode(image)
    answer = model.classify(encoded, [line])
    without = [line[:first] + line[end:] for first, end in spans]
    cosines = model.encode_text([" ".join(one.split()) for one in without]) @ encoded.image_features
    cosine = float(answer.cosines[0])
    words = tuple(line[first:end] for first, end in spans)
    return PromptWords(line, words, spans, cosine, cosine - cosines, answer)
