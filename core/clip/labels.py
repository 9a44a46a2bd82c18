"""Labels as they were sent, and as a checkpoint reads them.

A tokenizer knows no capitals, no full-width letters and perhaps no final stop: labels that it reads as the same tokens
are one label for the checkpoint, and count as one, so that no score is halved by a second spelling. What stands behind
the context length of a text encoder is not read at all. Both are said in the answer (`Notes`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core import inputs
from core.clip import prompts
from core.clip.tokenizers import Tokenizer

QUOTED, QUOTED_CHARS = 3, 40  # notes of a kind in sentences, characters of a text in one
Sentences = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class Notes:
    """What became of texts on their way into a text encoder."""

    merged: Mapping[str, str] = field(
        default_factory=dict
    )  # other spellings -> the label that they were read as
    truncated: tuple[str, ...] = ()  # texts whose ends are not read

    def to_json(self) -> dict[str, Any]:
        """{"merged": {...}, "truncated": [...]}, each only where there is something to say."""
        notes = {"merged": dict(self.merged), "truncated": list(self.truncated)}
        return {name: value for name, value in notes.items() if value}

    def sentences(self, lang: str) -> list[str]:
        """The same in "en" or "zh", the first few of each kind."""
        is_chinese = lang == "zh"
        lines = []
        for other, label in list(self.merged.items())[:QUOTED]:
            other, label = inputs.visible(other), inputs.visible(label)
            lines.append(
                f"对这组权重来说，“{other}”和“{label}”没有区别，按一个标签计算。"
                if is_chinese
                else f"For this checkpoint “{other}” is the same as “{label}”: they count as one label."
            )
        for text in map(inputs.visible, self.truncated[:QUOTED]):
            start = text if len(text) <= QUOTED_CHARS else f"{text[:QUOTED_CHARS]}…"
            lines.append(
                f"“{start}”太长，这组权重读不到它的结尾。"
                if is_chinese
                else f"“{start}” is too long for this checkpoint: it does not read the end."
            )
        return lines


NO_NOTES = Notes()


@dataclass(frozen=True)
class Labels:
    """N labels that a checkpoint tells apart."""

    names: tuple[str, ...]  # [N] as they were sent, the first spelling of each
    texts: tuple[str, ...]  # [N] what is read of them
    places: tuple[int, ...]  # [N] of each among the labels that were sent
    notes: Notes

    def __len__(self) -> int:
        return len(self.names)


def read(
    tokenize: Tokenizer,
    labels: str | Sequence[str],
    templates: Sequence[str] = ("{}",),
    sentences: Sentences | None = None,
) -> Labels:
    """Labels as a text encoder reads them.

    Args:
        tokenize: what cuts its texts.
        labels: a list, or one text that is cut (`core.inputs.labels`).
        templates: what the labels are put into.
        sentences: in place of templates, label -> what is read for it.

    Raises:
        Refusal: what `core.inputs.labels` refuses.
    """
    # A label that is cut in its longest template is cut.
    template = max(templates, key=len)
    filled = sentences or (lambda text: [prompts.fill(template, text)])

    def ids(text: str) -> Hashable:
        tokens = tokenize.whole(filled(text)[0])
        # Two words that a vocabulary lacks are not two spellings of one.
        return (tokens, text) if tokenize.unknown in tokens else tokens

    def is_cut(text: str) -> bool:
        return any(map(tokenize.is_cut, filled(text)))

    return distinct(inputs.labels(labels, limit=None), ids, is_cut)


def distinct(
    labels: Sequence[str], ids: Callable[[str], Hashable], is_cut: Callable[[str], bool] = lambda text: False
) -> Labels:
    """Labels of which each has other tokens than those before it.

    Args:
        labels: as they were sent.
        ids: cleaned text -> all its tokens, also those that are not read.
        is_cut: cleaned text -> whether some of them are not read.
    """
    first: dict[Hashable, int] = {}
    merged: dict[str, str] = {}
    texts = [inputs.clean(label) for label in labels]
    for place, (label, text) in enumerate(zip(labels, texts, strict=True)):
        known = first.setdefault(ids(text), place)
        if known != place:
            merged[label] = labels[known]
    places = tuple(first.values())
    return Labels(
        names=tuple(labels[place] for place in places),
        texts=tuple(texts[place] for place in places),
        places=places,
        notes=Notes(merged, tuple(labels[place] for place in places if is_cut(texts[place]))),
    )
