"""Texts from outside: labels and sentences.

Labels come back as they were sent, so that an answer can be looked up by what was asked; `clean` is what a text
encoder reads of them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence

from core.errors import Refusal
from core.inputs.numbers import number

LABEL_CHARS = 300
SCORE = re.compile(r"(.*?\S)\s*[\s:：=]\s*(\d*\.?\d+)")  # of a label: "dog 0.4", "dog: 0.4"
SEPARATORS = re.compile(r"[,，、;；\r\n\v\f\x85\u2028\u2029]")
QUOTED_CHARS = 40  # of a text in a refusal
UNSEEN = ("Cc", "Cf", "Cs")  # categories of control, format and surrogate characters
# Format characters that carry meaning: what joins emoji and the letters of Persian and Indic words, and flags' tags.
JOINERS = {0x200C, 0x200D, *range(0xE0020, 0xE0080)}


def labels(value: str | Sequence[str] | None, *, limit: int | None = 100) -> list[str]:
    """Labels in their order, each spelling once.

    Args:
        value: a list of labels, which come back as they were sent; or one text: the JSON text of such a list, or
            labels between commas and semicolons of both scripts (, ， 、 ; ；) and line ends, which come back without
            the blanks around them and without control and bidirectional characters.
        limit: how many are allowed, of at most 300 characters each; None for any number of any length.

    Raises:
        Refusal: "labels_not_text", "no_labels", "too_many_labels", "label_too_long", "text_too_long" (a text
            far longer than `limit` labels can be, refused before it is cut).
    """
    if value is None:
        raise Refusal("no_labels")
    if isinstance(value, str):
        if limit is not None:  # before cutting: megabytes of commas would become millions of pieces
            _check_length(value, 2 * limit * LABEL_CHARS)
        parsed = _json_list(value)
        pieces = [visible(piece) for piece in SEPARATORS.split(value)] if parsed is None else parsed
    elif isinstance(value, list | tuple) and all(isinstance(piece, str) for piece in value):
        pieces = [without_surrogates(piece) for piece in value]
    else:
        raise Refusal("labels_not_text")
    names = [piece for piece in dict.fromkeys(pieces) if clean(piece)]
    if not names:
        raise Refusal("no_labels")
    if limit is None:
        return names
    if len(names) > limit:
        raise Refusal("too_many_labels", count=len(names), limit=limit)
    for label in names:
        if len(label) > LABEL_CHARS and len(clean(label)) > LABEL_CHARS:
            raise Refusal("label_too_long", label=beginning(label), length=len(label), limit=LABEL_CHARS)
    return names


def scores(value: str | Mapping[str, float] | None) -> tuple[dict[str, float], list[str]]:
    """Least scores of single labels, and the parts of the text that are none.

    Args:
        value: label -> number; or one text with a number from 0 to 1 behind each label: "dog 0.4, cat: 0.25".

    Raises:
        Refusal: "out_of_range" for a number of a mapping, "text_too_long".
    """
    if isinstance(value, Mapping):
        return {str(name): number(str(name)[:40], score) for name, score in value.items()}, []
    own: dict[str, float] = {}
    rest: list[str] = []
    _check_length(value or "", 2 * LABEL_CHARS * 100)
    for piece in filter(None, map(clean, SEPARATORS.split(value or ""))):
        match = SCORE.fullmatch(piece)
        if match and float(match[2]) <= 1:
            own[match[1]] = float(match[2])
        else:
            rest.append(piece)
    return own, rest


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
    _check_length(value, limit, raw=10 * limit)
    line = clean(value)
    if not line:
        raise Refusal("no_text")
    if what == "label" and len(line) > limit:
        raise Refusal("label_too_long", label=beginning(line), length=len(line), limit=limit)
    _check_length(line, limit)
    return line


def clean(value: str) -> str:
    """What is read of a text: NFC on one line, without control, bidirectional, zero-width and surrogate characters."""
    return unicodedata.normalize("NFC", visible(value))


def visible(value: str) -> str:
    """A text on one line, without blanks around it and characters that are not seen, but spelled as it was."""
    kept = (c for c in " ".join(value.split()) if ord(c) in JOINERS or unicodedata.category(c) not in UNSEEN)
    return " ".join("".join(kept).split())


def without_surrogates(value: str) -> str:
    """A text without halves of characters, which no file and no answer can carry."""
    return value.encode("utf-8", "ignore").decode()


def beginning(value: str) -> str:
    """The first characters of a text, for a refusal that quotes it."""
    line = visible(value[: 4 * QUOTED_CHARS])
    return line if len(line) <= QUOTED_CHARS else line[:QUOTED_CHARS] + "…"


def _json_list(value: str) -> list[str] | None:
    """The labels of a JSON list of texts, as some clients send a list; None where the text is anything else."""
    line = value.strip()
    if not (line.startswith("[") and line.endswith("]")):
        return None
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(parsed, list) and all(isinstance(piece, str) for piece in parsed)
    return [without_surrogates(piece) for piece in parsed] if is_list else None


def _check_length(value: str, limit: int, raw: int | None = None) -> None:
    """Refuses a text of more than `limit` characters, or one that has `raw` even before it is cleaned."""
    if len(value) > (raw or limit):
        raise Refusal("text_too_long", text=beginning(value), length=len(value), limit=limit)
