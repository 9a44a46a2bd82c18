"""Texts to token ids: whole, and cut to the context length that a text encoder reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

REMEMBERED = 20_000  # texts of a tokenizer whose ids are kept

Encode = Callable[[Sequence[str]], list[list[int]]]


class Tokenizer:
    """Ids of texts, special tokens included, not padded.

    Args:
        encode: texts -> all their ids.
        context_length: ids that the encoder reads; a longer text loses what stands before its last id, which ends it.
        unknown: the id that stands for whatever the vocabulary lacks.
    """

    def __init__(self, encode: Encode, context_length: int, unknown: int | None = None) -> None:
        self.context_length, self.unknown = context_length, unknown
        self._ids = lru_cache(maxsize=REMEMBERED)(lambda text: tuple(encode([text])[0]))

    def whole(self, text: str) -> tuple[int, ...]:
        """All ids of one text."""
        return self._ids(text)

    def is_cut(self, text: str) -> bool:
        """Whether the encoder does not read the end of a text."""
        return len(self.whole(text)) > self.context_length

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids that the encoder reads of each text."""
        return [self.cut(self.whole(text)) for text in texts]

    def cut(self, ids: Sequence[int]) -> list[int]:
        """At most `context_length` ids, the last one kept."""
        return list(ids) if len(ids) <= self.context_length else [*ids[: self.context_length - 1], ids[-1]]


def from_file(path: Path, context_length: int) -> tuple[Any, Tokenizer]:
    """The tokenizer of a tokenizer.json: the library's object, and what cuts its ids."""
    from tokenizers import Tokenizer as Library

    library = Library.from_file(str(path))
    library.no_padding()
    library.no_truncation()
    return library, Tokenizer(
        lambda texts: [one.ids for one in library.encode_batch(list(texts))],
        context_length,
        library.token_to_id("<unk>"),
    )


def of_open_clip(model: str, context_length: int | None = None) -> tuple[Any, Tokenizer]:
    """open_clip's tokenizer of a model that it knows: the library's object, and what cuts its ids."""
    import open_clip

    options = {} if context_length is None else {"context_length": context_length}
    library: Any = open_clip.get_tokenizer(model, **options)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [[library.sot_token_id, *library.encode(text), library.eot_token_id] for text in texts]

    return library, Tokenizer(encode, library.context_length)
