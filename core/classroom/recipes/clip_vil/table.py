"""The comparison of the paper as a table: three encoders, frozen and tuned, on 1 %, 10 % and 100 % of the questions.

    python -m core.classroom ablate clip-vil --steps 400 --out FOLDER [--record]
    python -m core.classroom ablate clip-vil-tuned --steps 400 --out FOLDER [--record]

A larger share of the questions gets more steps (`STEPS`). Frozen features are computed once, and the heads of an encoder are
trained from three seeds. Tuned: each head goes on for some steps of few questions while the last residual stage of its encoder
learns along; beside it stands the same head after as many more steps without that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor

from core.classroom.recipes.clip_vil import evaluate
from core.classroom.recipes.clip_vil.questions import EACH, SEEDS, QuestionSet, question_set
from core.classroom.recipes.clip_vil.train import Settings, Trainer, opened_encoders
from core.classroom.world.atlas import open_atlas
from core.classroom.world.wording import LANGUAGES
from core.vqa.clip_vil.models import ENCODERS

SHARES = {"1 %": 0.01, "10 %": 0.1, "100 %": 1.0}
STEPS = {"1 %": 0.25, "10 %": 0.5, "100 %": 1.0}  # the share of the steps that a share of the questions gets
MORE, FEW = 100, 16  # steps by which the tuned ones go on, and questions of such a step
EXAM = 150  # new scenes


def right(trainer: Trainer, exam: QuestionSet, name: str) -> float:
    """The share of right answers of a trainer's head, the mean over kinds and languages."""
    learner, tuned = trainer.learner.eval(), trainer.settings.tuned
    given = exam.maps[name] if tuned else exam.features[name]

    def logits(features: Tensor, ids: Tensor) -> Tensor:
        return learner(name, features, features if tuned else None, ids)

    shares = [
        evaluate.mean(
            evaluate.by_kind(
                evaluate.predictions(logits, given, exam.questions, trainer.tokenize, lang), exam.questions
            )
        )
        for lang in LANGUAGES
    ]
    return sum(shares) / len(shares)


@dataclass(frozen=True)
class Bench:
    """What the runs of a table share: the encoders, the questions to learn from, those of the exam."""

    base: Settings
    towers: Mapping[str, ModifiedResNet]
    training: QuestionSet
    exam: QuestionSet

    @classmethod
    def of(cls, base: Settings, out: Path) -> Bench:
        """Drawn and encoded, or read from the folder of the runs."""
        atlas = open_atlas()
        towers = opened_encoders(replace(base, which=ENCODERS), atlas)
        training, exam = (
            question_set(towers, count, seed, atlas, EACH, True, base.side, out / f"{name}.pt")
            for name, count, seed in (("training", base.scenes, SEEDS), ("exam", EXAM, evaluate.SEED + 7))
        )
        return cls(base, towers, training, exam)

    def head(self, name: str, share: str, seed: int, steps: int, out: Path) -> Trainer:
        """The head of an encoder on a share of the questions, trained; a run that is in the folder is not run again."""
        count = max(1, round(STEPS[share] * steps))
        settings = replace(
            self.base, which=(name,), share=SHARES[share], seed=seed, steps=count,
            out=out / f"{name}-{share[:-2]}-{seed}",
        )  # fmt: skip
        trainer = Trainer(settings, open_atlas(), self.towers, self.training)
        trainer.run(lambda _: None)
        return trainer

    def gone_on(self, first: Trainer, tuned: bool) -> float:
        """What a trained head reaches after a few more steps, with the last stage of its encoder or without."""
        settings = replace(
            first.settings, tuned=tuned, steps=MORE, batch=FEW, rate=first.settings.rate / 4,
            out=first.settings.out / ("tuned" if tuned else "on"),
        )  # fmt: skip
        trainer = Trainer(settings, open_atlas(), self.towers, self.training)
        trainer.learner.heads.load_state_dict(first.learner.heads.state_dict())
        trainer.run(lambda _: None)
        return right(trainer, self.exam, first.settings.which[0])


@dataclass(frozen=True)
class Way:
    """One way to measure an encoder: `measure` gives a value for each of `names`, which have a place for the share."""

    names: tuple[str, ...]
    suffix: str  # of the folders of its runs
    measure: Callable[[Bench, str, str, int, int, Path], list[float]]  # encoder, share, seed, steps, folder


def frozen(bench: Bench, name: str, share: str, seed: int, steps: int, out: Path) -> list[float]:
    """Right answers of a head on a frozen encoder."""
    return [right(bench.head(name, share, seed, steps, out), bench.exam, name)]


def tuned(bench: Bench, name: str, share: str, seed: int, steps: int, out: Path) -> list[float]:
    """Right answers of that head, gone on without the encoder's last stage and with it."""
    first = bench.head(name, share, seed, steps, out)
    return [bench.gone_on(first, along) for along in (False, True)]


FROZEN = Way(("frozen, {} of the questions",), "", frozen)
TUNED = Way(("frozen, {} of the questions, more steps", "tuned, {} of the questions"), "-tuned", tuned)


def rows(
    steps: int,
    out: Path,
    way: Way,
    once: Any,
    averaged: Any,
    base: Settings | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
) -> Iterator[tuple[str, str, float]]:
    """Measure, encoder, value: the mean over seeds and their spread. `once` and `averaged` are those of `common.ablations`."""
    bench = Bench.of(base or Settings(), out)
    for name in ENCODERS:
        for share in SHARES:
            runs = [
                once(
                    out / f"{name}-{share[:-2]}-{seed}{way.suffix}",
                    partial(way.measure, bench, name, share, seed, steps, out),
                )
                for seed in seeds
            ]
            for measure, values in zip(way.names, zip(*runs, strict=True), strict=True):
                yield from averaged(measure.format(share), name, list(values))
