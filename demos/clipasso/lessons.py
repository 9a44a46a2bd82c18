"""The lessons of the CLIPasso page: the drawings of a step, and how they answer its question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from core import checkpoints, inputs
from core.runtime import Cancel
from demos.clipasso.answer import PAGE, examples, say
from demos.draw import base as draw
from demos.draw import strokes
from demos.kit import library, sketch_runs, walkthrough
from demos.kit.language import pick
from demos.kit.walkthrough import Outcome, Step

if TYPE_CHECKING:
    from core.clip import Classification
    from core.drawing.clipasso import Variant
    from demos.kit.sketch_runs import Made

STROKES = 16


lessons = partial(library.lessons, PAGE)


def readings(made: Made) -> list[Classification]:
    """What the guide reads in each drawing."""
    return [next(iter(by.values())) for by in made.opinions]


def fewest(made: Made) -> int:
    """The first drawing with the label of the image; the number of drawings where none has it."""
    from core.drawing import questions

    _, features = questions.judged_drawings(made.image, [made.result.start.picture], made.result.settings)
    label = sketch_runs.best(features[0], made)
    names = [reading.labels[int(reading.order[0])] for reading in readings(made)]
    return names.index(label["label"]) if label and label["label"] in names else len(names)


def lowest(made: Made) -> int:
    """The drawing with the lowest loss."""
    losses = [one.loss for one in made.result.drawn]
    return losses.index(min(losses))


def surest(made: Made) -> int:
    """The drawing whose first label has the highest probability."""
    shares = [float(reading.probabilities.max()) for reading in readings(made)]
    return shares.index(max(shares))


@dataclass(frozen=True)
class Kind:
    """How steps of a kind draw and conclude.

    Attributes:
        settings: of `core.drawing.clipasso.Variant`, by drawing.
        outcome: the index of the choice that came true.
    """

    settings: tuple[dict[str, Any], ...]
    outcome: Callable[[Made], int]

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The columns of the run."""
        from core.drawing.clipasso import Variant

        return tuple(Variant(**{"strokes": STROKES, **one}) for one in self.settings)


KINDS = {
    "ladder": Kind(tuple({"strokes": count} for count in library.data(PAGE)["ladder"]), fewest),
    "starts": Kind(({}, {"start": "random"}), lowest),
    "losses": Kind(({"semantic": 0.0}, {}, {"geometric": 0.0}), surest),
}


# --- what the walkthrough asks for --------------------------------------------------------------------------


def titles(step: Step, lang: str) -> list[str]:
    """The titles of a step's drawings."""
    if step["kind"] == "ladder":
        return [say("count", lang, count=count) for count in library.data(PAGE)["ladder"]]
    names = {"starts": ("saliency", "random"), "losses": ("only_shape", "both", "only_meaning")}
    return [say(name, lang) for name in names[step["kind"]]]


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted: one of the drawings, and none of them where that may happen."""
    return [*titles(step, lang), *([say("none", lang)] if step["kind"] == "ladder" else [])]


def card(step: Step, lang: str) -> str:
    """The image of a step and the labels to choose from."""
    row = examples()[step["example"]]
    return walkthrough.image(row["path"], row["caption"][lang], walkthrough.prompt(row["labels"][lang]))


def outcome(step: Step, checkpoint: str, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The run of a step, then which of its choices came true; a run that is stopped has no outcome."""
    from core.drawing import clipasso

    row, kind = examples()[step["example"]], KINDS[step["kind"]]
    image, names = inputs.image(row["path"]), sketch_runs.label_list(row["labels"][lang])
    guide = checkpoint or checkpoints.default("clip")
    settings = clipasso.SketchSettings(
        kind.variants, seeds=1, steps=library.data(PAGE)["compare_steps"], checkpoint=guide
    )
    frames = clipasso.sketch(image, settings, cancel=cancel)
    made = None
    for part in sketch_runs.watch(frames, guide, names, lang, titles=titles(step, lang), image=image):
        made = part.pop("made", None)
        yield part
    if made is not None and not made.result.stopped:
        yield Outcome(kind.outcome(made), table(made, titles(step, lang), lang))


def table(made: Made, names: list[str], lang: str) -> str:
    """Loss and first label of each drawing."""
    rows = []
    for name, one, reading in zip(names, made.result.drawn, readings(made), strict=True):
        first = int(reading.order[0])
        share = draw.percent(float(reading.probabilities[first]))
        rows.append([name, f"{one.loss:.3f}", f"{reading.labels[first]} {share}"])
    head = ["", pick(lang, "loss", "损失"), pick(lang, "CLIP reads", "CLIP 读作")]
    return strokes.rows_table(head, rows)
