"""The *Lessons* tab: predict, run, explain. Questions are data (`groupvit.toml`); what is true is computed when it runs."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core import inputs
from demos.draw import base as draw
from demos.groupvit import answer as handlers
from demos.groupvit import draw as views
from demos.kit import old_walk as walk
from demos.kit import shell
from demos.kit.menu import start_row
from demos.kit.shell import pick

if TYPE_CHECKING:
    from core.segmentation import GroupViT

Step = dict[str, Any]
CUTS = {"ground": (0.5, 0.9), "wrong": (0.005, 0.5), "parts": (0.125, 0.5), "renamed": (0.05, 0.3)}
SEEN = 0.002  # of the picture: fewer pixels that change their label are noise


def lessons() -> dict[str, dict[str, Any]]:
    """The lessons by name."""
    return {row["name"]: row for row in handlers.texts()["lessons"]}


def choices_of(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    texts = {
        "ground": (
            ("under half", "half to nine tenths", "more than nine tenths"),
            ("不到一半", "一半到九成", "超过九成"),
        ),
        "wrong": (("none of it", "up to half", "more than half"), ("完全没有", "不超过一半", "超过一半")),
        "parts": (
            ("up to an eighth of them", "up to half", "more than half"),
            ("不超过八分之一", "不超过一半", "超过一半"),
        ),
        "renamed": (
            ("hardly: under 0.05", "by 0.05 to 0.3", "by more than 0.3"),
            ("几乎不升：不到 0.05", "升 0.05 到 0.3", "升 0.3 以上"),
        ),
        "alone": (("all of them", "at least half", "fewer than half"), ("全部", "至少一半", "不到一半")),
        "absent": (("yes", "no"), ("会", "不会")),
    }
    return list(pick(lang, *texts[step["kind"]]))  # type: ignore[arg-type]


# --- how a step's outcome is read off ------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A step's picture, its labels in the language of the checkpoint, its truth, the page's own threshold."""

    model: GroupViT
    step: Step
    lang: str

    @property
    def row(self) -> Step:
        """The step's example."""
        return handlers.examples()[self.step["example"]]

    @property
    def image(self) -> Any:
        """Its picture."""
        return inputs.image(self.row["path"])

    @property
    def threshold(self) -> float:
        """The step's threshold, else the checkpoint's own."""
        return float(self.step.get("threshold", handlers.start_threshold(self.model.checkpoint)))

    def labels(self, name: str = "labels") -> list[str]:
        """The step's labels, else its example's."""
        code = handlers.label_language(self.model.checkpoint, self.lang)
        return inputs.labels((self.step.get(name) or self.row["labels"])[code])

    def found(self, name: str = "labels") -> Any:
        """The answer."""
        return self.model.segment(self.image, self.labels(name), self.threshold)

    def truth(self) -> np.ndarray:
        """[H, W] place of each pixel's thing among the step's labels, -1 for background."""
        from core.classroom.world import labelled

        code = handlers.label_language(self.model.checkpoint, self.lang)
        labels = self.labels()
        places = np.array([labels.index(name) for name in self.row["names"][code]] + [-1])
        return places[labelled.stored(self.row)]


def cut(kind: str, value: float) -> int:
    """Between which of a kind's cuts a value lies."""
    return int(np.searchsorted(CUTS[kind], value, side="left"))


def over(asked: Asked, found: Any) -> str:
    """The answer's mask and its chart."""
    return views.answer_overlay(asked.image, found, asked.lang) + views.chart(found, asked.lang)


def ground(asked: Asked) -> walk.Outcome:
    """How much is background."""
    found = asked.found()
    return walk.Outcome(cut("ground", views.background_share(found)), over(asked, found))


def wrong(asked: Asked) -> walk.Outcome:
    """How much of the true background is called something."""
    found = asked.found()
    return walk.Outcome(cut("wrong", float((found.mask[asked.truth() < 0] >= 0).mean())), over(asked, found))


def parts(asked: Asked) -> walk.Outcome:
    """How many groups of the first stage own a pixel."""
    groups = asked.model.encode(asked.image).group_map(0)
    tokens = len(asked.model.encode(asked.image).stages[0])
    used = len(np.unique(groups))
    line = pick(asked.lang, f"{used} of {tokens} groups", f"{tokens} 个组里用了 {used} 个")
    body = f'<p class="gv-big">{line}</p>' + views.group_overlay(asked.image, groups, asked.lang)
    return walk.Outcome(cut("parts", used / tokens), body)


def alone(asked: Asked) -> walk.Outcome:
    """How many things have a group to themselves."""
    found = asked.found()
    homes = handlers.homes(found, inputs.digest(asked.image), asked.lang)
    shared = [list(homes.values()).count(group) for group in homes.values()]
    share = shared.count(1) / len(shared)
    body = views.crowd(found, homes, asked.lang) + views.group_overlay(asked.image, found.groups, asked.lang)
    return walk.Outcome(0 if share == 1 else 1 if share >= 0.5 else 2, body)


def renamed(asked: Asked) -> walk.Outcome:
    """How much right names add."""
    row = handlers.rename(
        asked.model, np.asarray(asked.image), asked.truth(), asked.labels(), asked.threshold
    )
    body = views.before_after([row], asked.lang) + views.renamed_table([row], asked.lang)
    return walk.Outcome(cut("renamed", row.right.right - row.right.own), body)


def absent(asked: Asked) -> walk.Outcome:
    """Whether labels that are not there take pixels."""
    few, more = asked.found("labels"), asked.found("more")
    taken = float((more.mask >= len(few.labels)).mean())
    body = over(asked, few) + over(asked, more)
    return walk.Outcome(0 if taken > SEEN else 1, body)


KINDS: dict[str, Callable[[Asked], walk.Outcome]] = {
    "ground": ground,
    "wrong": wrong,
    "parts": parts,
    "alone": alone,
    "renamed": renamed,
    "absent": absent,
}


# --- handlers ------------------------------------------------------------------------------------------------


def turn_to(where: str, lang: str) -> tuple[Any, ...]:
    """Place, question with its picture, choices, an empty answer, Next switched off."""
    step = walk.step_of(where, lessons())
    title, number = walk.heading(where, lessons(), lang)
    row = handlers.examples()[step["example"]]
    card = (
        f'<div class="gv-step"><img alt="{html.escape(row["caption"][lang])}" '
        f'src="{draw.data_uri(inputs.image(row["path"]), 300)}"><div><p class="atlas-kicker">{title} · {number}</p>'
        f"<h3>{html.escape(step['ask'][lang])}</h3></div></div>"
    )
    return walk.turned(where, lessons(), card, choices_of(step, lang))


def reveal(where: str, predicted: str | None, checkpoint: str, lang: str) -> tuple[Any, ...]:
    """What happened beside what was predicted, the explanation, and the way onwards."""
    step = walk.step_of(where, lessons())
    choices = choices_of(step, lang)
    guess = walk.prediction(predicted, choices)
    model = handlers.model(checkpoint or start_row(handlers.PAPER))
    start = time.perf_counter()
    outcome = KINDS[step["kind"]](Asked(model, step, lang))
    line = shell.result_line(time.perf_counter() - start, model.checkpoint, model.device, lang)
    return walk.answered(outcome, guess, choices, step["why"][lang], line, lang)
