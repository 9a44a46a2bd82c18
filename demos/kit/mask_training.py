"""The live training of the LSeg and the GroupViT page: a segmenter learns while one watches its mask.

Loss, IoU and the mask of a fixed scene, whose pair of things is in no training scene, come every few seconds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from core.classroom.recipes.common import lessons
from demos.draw import masks
from demos.kit import form, library, train
from demos.kit.components import mask_stage, output
from demos.kit.files import to_data_uri
from demos.kit.html import tag
from demos.kit.language import Text, pick
from demos.kit.page import Custom
from demos.kit.train import Curve, Live, Moment

if TYPE_CHECKING:
    from core.classroom.recipes.common.live_masks import Frame, Lesson

OPACITY = 0.65
SETTING_UP = 1.0  # minutes that the seat is held for what comes before the first step
TRUTH = Text(
    "The exact mask. It is used for the comparison, never for training.",
    "精确的掩码，只用于对比，不用于训练。",
)


@dataclass(frozen=True)
class Settings:
    """What a visitor chooses."""

    minutes: float = form.slider(1, 5, 2, Text("Minutes", "分钟"), step=0.5, place="top")


def tab(paper: str, idea: Text, meaning: Text) -> Custom:
    """The tab of a paper.

    Args:
        paper: "lseg" or "groupvit".
        idea: the sentences above the settings.
        meaning: of the first large figure, the IoU of the scene that is visible.
    """
    return train.tab(
        Live(
            paper,
            idea,
            Settings,
            partial(learn, paper, meaning),
            lambda settings: settings.minutes + SETTING_UP,
            {"mask": mask_stage, "truth": output},
        )
    )


def learn(paper: str, meaning: Text, chosen: Settings, lang: str, cancel: Any) -> Iterator[Moment]:
    """The moments of a training.

    Raises:
        Refusal: "lesson_range" for minutes out of their limits.
    """
    settings = lessons.MaskSettings(
        paper, float(chosen.minutes), "zh" if lang == "zh" else "en", random.randrange(1 << 16)
    )
    settings.check()
    from core.classroom.recipes.common import live_masks

    lesson = live_masks.lesson(settings)
    for frame in lesson.run(cancel):
        yield moment(frame, lesson, meaning, lang)


def moment(frame: Frame, lesson: Lesson, meaning: Text, lang: str) -> Moment:
    """A frame of the lesson as the page shows it."""
    settings = lesson.settings
    losses, seconds = frame.points("loss"), pick(lang, "seconds", "秒")
    end = frame.seconds if frame.done else 60 * settings.minutes
    return Moment(
        share=frame.seconds / (60 * settings.minutes),
        left=frame.left,
        facts=library.kit("mask_facts", lang, step=frame.step, images=frame.pictures),
        state="running" if not frame.done else "stopped" if frame.stopped else "done",
        numbers=[
            (f"{frame.iou:.2f}", meaning.get(lang)),
            (f"{frame.mean_iou:.2f}", pick(lang, "mean of six new scenes", "六个新场景的平均")),
            (f"{losses[-1][1]:.2f}" if losses else "–", pick(lang, "loss", "损失")),
        ],
        curves=[
            Curve(
                library.kit("mask_new", lang),
                [
                    (pick(lang, "six scenes", "六个场景"), frame.points("mean iou")),
                    (pick(lang, "this scene", "这个场景"), frame.points("iou")),
                ],
                seconds,
                end,
                top=1.0,
            ),
            *learned(frame, lang, seconds, end),
            Curve(library.kit("train_loss", lang), [(pick(lang, "loss", "损失"), losses)], seconds, end),
        ],
        rows=frame.curve,
        # The truth stays what it is, so that it travels once.
        slots={
            "mask": mask(frame, lesson, lang),
            **({} if frame.step else {"truth": truth(lesson, lang)}),
        },
    )


def learned(frame: Frame, lang: str, seconds: str, end: float) -> list[Curve]:
    """LSeg's *where* and *what*: objects told from the background, and pixels of objects with the correct label."""
    if not frame.points("found"):
        return []
    lines = [
        (library.kit("mask_where", lang), frame.points("found")),
        (library.kit("mask_what", lang), frame.points("named")),
    ]
    return [Curve(library.kit("mask_both", lang), lines, seconds, end, top=1.0)]


def mask(frame: Frame, lesson: Lesson, lang: str) -> str:
    """The mask of the scene as the model draws it now; GroupViT's groups carry their numbers."""
    paper = lesson.settings.paper
    names = [name if paper == "lseg" else f"{k + 1} · {name}" for k, name in enumerate(frame.names)]
    return masks.overlay(lesson.picture, frame.mask, names, colours(paper, len(names)), OPACITY, lang)


def truth(lesson: Lesson, lang: str) -> str:
    """The exact mask of the scene."""
    names = list(lesson.labels)
    png = masks.overlay_png(lesson.picture, lesson.true_mask, names, colours("lseg", len(names)), OPACITY)
    source, text = to_data_uri("image/png", png), TRUTH.get(lang)
    return tag("figure", tag("figcaption", text), tag("img", alt=text, src=source), class_="segment-truth")


def colours(paper: str, count: int) -> list[str]:
    """One for each name; LSeg's background, the first, leaves the image as it is."""
    return ["", *masks.palette(count - 1)] if paper == "lseg" else masks.palette(count)
