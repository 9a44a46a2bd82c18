"""Labels of a detector's question with what is decided about single ones: least scores, negative labels, translations.

A checkpoint that reads no Chinese gets the English names that the classroom's word list has for Chinese labels. The page says
which labels were translated, and which the list does not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core import checkpoints, inputs
from demos.kit import form, library
from demos.kit.results import CHINESE


def by_label_field() -> Any:
    """The field for least scores of single labels."""
    return form.words(library.text("kit", "by_label"), library.text("kit", "by_label_info"), place="settings")


def negatives_field() -> Any:
    """The field for negative labels."""
    return form.words(
        library.text("kit", "negatives"), library.text("kit", "negatives_info"), place="settings"
    )


@dataclass(frozen=True)
class LabelChoices:
    """Labels as a checkpoint is asked for them."""

    names: list[str]
    by_label: dict[str, float]
    negatives: list[str]
    translated: dict[str, str]  # Chinese label -> what the checkpoint is asked
    unread: tuple[str, ...]  # Chinese labels that the word list does not have
    rest: tuple[str, ...]  # parts of the text of scores that are no label with a number

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `GLIP.detect` and `ViLD.detect`."""
        return {"by_label": self.by_label, "negatives": self.negatives}

    def among(self, some: Sequence[str] | None) -> list[bool] | None:
        """Which of the labels are among some that were spelled as the question's; None for None."""
        if some is None:
            return None
        wanted = {self.translated.get(name, name) for name in some}
        return [name in wanted for name in self.names]

    def unmatched(self, names: Sequence[str]) -> list[str]:
        """What the text of scores has beside scores of these labels."""
        from core.detection.choices import plain

        known = set(map(plain, names))
        return [*self.rest, *(name for name in self.by_label if plain(name) not in known)]

    def sentences(self, names: Sequence[str], lang: str) -> list[str]:
        """Notes above the answer: translations, labels without one, scores of labels that were not asked for."""
        mark = "、" if lang == "zh" else ", "
        lines = []
        if self.translated:
            pairs = mark.join(f"{label} → {name}" for label, name in self.translated.items())
            lines.append(library.kit("translated", lang, pairs=pairs))
        if self.unread:
            lines.append(library.kit("untranslated", lang, names=mark.join(self.unread)))
        if unmatched := self.unmatched(names):
            lines.append(library.kit("unmatched", lang, names=mark.join(unmatched)))
        return lines

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """{"translated": {...}, "unmatched": [...]}, each only where there is something to say."""
        values = {"translated": self.translated, "unmatched": self.unmatched(names)}
        return {name: value for name, value in values.items() if value}


def read(
    checkpoint: str,
    labels: Sequence[str],
    by_label: str | Mapping[str, float] | None = None,
    negatives: str | Sequence[str] | None = None,
) -> LabelChoices:
    """The labels of a question for a checkpoint.

    Args:
        checkpoint: a row that answers.
        labels: what `core.inputs.labels` made of what a person typed.
        by_label, negatives: as a person typed them, or as an endpoint got them.

    Raises:
        Refusal: what `core.inputs.scores` and `core.inputs.labels` refuse.
    """
    own, rest = inputs.scores(by_label)
    hidden = (
        inputs.labels(negatives)
        if negatives and (not isinstance(negatives, str) or negatives.strip())
        else []
    )
    english = {} if "zh" in checkpoints.row(checkpoint).languages else _english([*labels, *hidden, *own])

    def name_of(label: str) -> str:
        return english.get(label) or label

    return LabelChoices(
        names=list(dict.fromkeys(map(name_of, labels))),
        by_label={name_of(label): score for label, score in own.items()},
        negatives=list(dict.fromkeys(map(name_of, hidden))),
        translated={label: english[label] for label in [*labels, *hidden] if english.get(label)},
        unread=tuple(label for label in [*labels, *hidden] if english.get(label) == ""),
        rest=tuple(rest),
    )


def _english(labels: Sequence[str]) -> dict[str, str]:
    """Chinese label -> its English name in the classroom's word list, "" where that has none."""
    from core.classroom.world import concepts

    known = {name: concept.en for name, concept in concepts.by_name().items()}
    kinds = {chinese: english for one in concepts.concepts() for english, chinese in one.parents}
    words = kinds | known
    return {label: words.get(label.lower(), "") for label in labels if CHINESE.search(label)}
