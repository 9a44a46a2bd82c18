"""Texts from outside: labels and sentences, without control, bidirectional and zero-width characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from core.errors import Refusal

LABEL_CHARS = 300
SEPARATORS = re.compile(r"[,，、;；\r\n\v\f\x85\u2028\u2029]")
QUOTED_CHARS = 40  # of a text in a refusal


def labels(value: str | Sequence[str] | None, *, limit: int = 100) -> list[str]:
    """Labels, cleaned, in their order, each once.

    Args:
        value: one text, cut at commas and semicolons of both scripts (, ， 、 ; ；) and at line ends; or a
            list of labels, which are not cut.
        limit: how many are allowed.

    Raises:
        Refusal: "labels_not_text", "no_labels", "too_many_labels", "label_too_long", "text_too_long" (a text
            far longer than `limit` labels can be, refused before it is cut).
    """
    if value is None:
        raise Refusal("no_labels")
    if isinstance(value, str):
        # Before cutting: megabytes of commas would become millions of pieces.
        _check_length(value, 2 * limit * LABEL_CHARS)
        pieces: Sequence[str] = SEPARATORS.split(value)
    elif isinstance(value, list | tuple) and all(isinstance(piece, str) for piece in value):
        pieces = value
    else:
        raise Refusal("labels_not_text")
    names = list(dict.fromkeys(filter(None, map(clean, pieces))))
    if not names:
        raise Refusal("no_labels")
    if len(names) > limit:
        raise Refusal("too_many_labels", count=len(names), limit=limit)
    for label in names:
        if len(label) > LABEL_CHARS:
            raise Refusal("label_too_long", label=beginning(label), length=len(label), limit=LABEL_CHARS)
    return names


def text(value: str, *, limit: int = 300, what: str = "text") -> str:
    """One cleaned text, a caption or a question, on one line.

    Args:
        value: what a person typed.
        limit: characters allowed after cleaning.
        what: "text" or "label": the word of the refusal for one that is too long.

    Raises:
        Refusal: "no_text", "text_too_long", "label_too_long".
    """
    if not isinstance(value, str):
        raise Refusal("no_text")
    _check_length(value, 10 * limit)
    line = clean(value)
    if not line:
        raise Refusal("no_text")
    if what == "label" and len(line) > limit:
        raise Refusal("label_too_long", label=beginning(line), length=len(line), limit=limit)
    _check_length(line, limit)
    return line


def _check_length(value: str, limit: int) -> None:
    if len(value) > limit:
        raise Refusal(
            "text_too_long", text=beginning(clean(value[: 2 * QUOTED_CHARS])), length=len(value), limit=limit
        )


def clean(value: str) -> str:
    """NFC on one line, without control, format (bidirectional, zero-width) and surrogate characters."""
    spaced = " ".join(value.split())
    kept = (c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return " ".join(unicodedata.normalize("NFC", "".join(kept)).split())


def beginning(value: str) -> str:
    """The first characters of a text, for a refusal that quotes it."""
    return value if len(value) <= QUOTED_CHARS else value[:QUOTED_CHARS] + "…"
