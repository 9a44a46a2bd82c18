"""Two tabs that no other page has: the true names of groups on new scenes, and more things than there are groups."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import inputs
from demos.groupvit import draw
from demos.groupvit.answer import EXAMPLES, homes, model, run
from demos.groupvit.words import PAPER, say, text
from demos.kit import results
from demos.kit.components import mask_stage, output
from demos.kit.jobs import Progress
from demos.kit.layout import Layout
from demos.kit.menu import label_language

if TYPE_CHECKING:
    from core.runtime import Cancel
    from core.segmentation import GroupViT
    from demos.groupvit.page import Question

CROWD = "nine_things"
SCENES = 6  # of the table of true names
MAX_SEED = 9999


def progress(done: int, total: int, start: float, lang: str) -> Progress:
    """How far a job over images is and how long it still takes."""
    left = (time.perf_counter() - start) / done * (total - done)
    return Progress(done / total, say("progress", lang, done=done, total=total, left=left))


# --- true names ------------------------------------------------------------------------------------------


def names(layout: Layout) -> None:
    """Lays *True names* out and wires it."""
    gr.Markdown(text("names_idea").tr)
    seed = gr.Number(0, visible="hidden", label="seed")
    place = layout.place("names", text("names_button"), {"score": output, "table": output})
    others = gr.Button(text("names_others").tr, size="sm", elem_id="names-others")
    layout.ask(place.button.click, place, renamed, [seed])
    layout.ask(others.click, place, renamed_others, [seed], fields={"seed": seed})


def renamed_others(question: Question, seed: Any, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The next six scenes."""
    following = (int(inputs.number("seed", seed, 0, MAX_SEED)) + 1) % (MAX_SEED + 1)
    yield {"seed": following}
    yield from renamed(question, following, lang, cancel)


def renamed(question: Question, seed: Any, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The true names of the groups of new scenes, scene by scene; at the end the mean of both names.

    Raises:
        Refusal: "out_of_range" for a threshold or a seed.
    """
    from core.classroom.world import labelled

    segmenter, threshold = model(question.checkpoint), inputs.number("threshold", question.threshold)
    scenes = labelled.fresh(SCENES, int(inputs.number("seed", seed, 0, MAX_SEED)))
    code = label_language(PAPER, segmenter.checkpoint, lang)
    rows: list[draw.Renamed] = []
    start = time.perf_counter()
    for scene in scenes:
        if cancel.is_set():
            break
        rows.append(rename(segmenter, scene.picture, scene.truth, scene.names(code), threshold))
        yield {"table": draw.renamed_table(rows, lang)}
        yield progress(len(rows), len(scenes), start, lang)
    if rows:
        seconds = time.perf_counter() - start
        line = results.line(seconds, segmenter.checkpoint, segmenter.device, lang)
        yield {"score": draw.before_after(rows, lang), "line": line}


def rename(
    segmenter: GroupViT, image: Any, truth: Any, labels: Sequence[str], threshold: float
) -> draw.Renamed:
    """One scene with the model's names and the true ones."""
    from core.segmentation.oracle import right_names

    grouping = segmenter.segment(inputs.image(image), labels, threshold)
    return draw.Renamed(image, truth, grouping, right_names(grouping, truth))


# --- more things than groups -----------------------------------------------------------------------------


def crowd(layout: Layout) -> None:
    """Lays *More than eight things* out and wires it."""
    gr.Markdown(text("crowd_idea").tr)
    place = layout.place("crowd", text("crowd_button"), {"groups": mask_stage, "shared": output})
    own = gr.Button(text("crowd_own").tr, size="sm", elem_id="crowd-own")
    layout.ask(place.button.click, place, nine_things)
    layout.ask(own.click, place, own_things)


def nine_things(question: Question, lang: str) -> dict[str, Any]:
    """The groups of nine things that are known."""
    return own_things(replace(question, **EXAMPLES.fill(CROWD, question, lang)), lang)


def own_things(question: Question, lang: str) -> dict[str, Any]:
    """The groups of the page's image, and which things share one."""
    answer = run(question)
    return {
        "groups": draw.group_overlay(answer.image, answer.grouping.groups, lang),
        "shared": draw.crowd(answer.grouping, homes(answer, lang), lang),
        "line": answer.line(lang),
    }
