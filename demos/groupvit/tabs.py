"""Two tabs that no other page has: the true names of groups on new scenes, and more things than there are groups."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import inputs
from core.errors import Refusal
from demos.groupvit import draw
from demos.groupvit.answer import PAPER, Answer, ask, checked, examples, homes, line_of, model, run
from demos.kit import results
from demos.kit.components import mask_stage, output
from demos.kit.jobs import Progress
from demos.kit.language import Text, pick
from demos.kit.menu import label_language
from demos.kit.page import Layout

if TYPE_CHECKING:
    from core.runtime import Cancel
    from core.segmentation import GroupViT
    from demos.groupvit.page import Question

CROWD = "nine_things"
SCENES = 6  # of the table of true names
MAX_SEED = 9999
NAMES_IDEA = Text(
    "A mask can be wrong because the groups are wrong, or because their names are. The exact mask of these new scenes is "
    "known. Each group gets its true name, and nothing else changes.",
    "掩码不对，可能是分组不对，也可能是名称不对。这些新场景的精确掩码是已知的：给每个组换上真实的名称，其余都不变。",
)
CROWD_IDEA = Text(
    "The last stage has a fixed number of groups, eight in the paper. An image with more things cannot keep them apart. "
    "**Predict first:** what happens to nine things?",
    "最后一个阶段的组数是固定的，论文里是八个。图里的东西更多时，就无法分开。**先猜一猜**：九样东西会怎样？",
)


def progress(done: int, total: int, start: float, lang: str) -> Progress:
    """How far a job over images is and how long it still takes."""
    left = (time.perf_counter() - start) / done * (total - done)
    text = pick(
        lang, f"{done} of {total} images, {left:.0f} s left", f"第 {done} / {total} 张，还需 {left:.0f} 秒"
    )
    return Progress(done / total, text)


# --- true names ------------------------------------------------------------------------------------------


def names(layout: Layout) -> None:
    """Lays *True names* out and wires it."""
    gr.Markdown(NAMES_IDEA.tr)
    seed = gr.Number(0, visible="hidden", label="seed")
    slots = {"score": output, "table": output}
    place = layout.place("names", Text("Give six scenes their true names", "给六个场景换上真实名称"), slots)
    others = gr.Button(Text("Six other scenes", "换六个场景").tr, size="sm", elem_id="names-others")
    layout.ask(place.button.click, place, renamed, [seed])
    layout.ask(others.click, place, renamed_others, [seed], fields={"seed": seed})


def renamed_others(question: Question, seed: Any, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The next six scenes."""
    following = (seed_of(seed) + 1) % (MAX_SEED + 1)
    yield {"seed": following}
    yield from renamed(question, following, lang, cancel)


def renamed(question: Question, seed: Any, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The true names of the groups of new scenes, scene by scene; at the end the mean of both names.

    Raises:
        Refusal: "out_of_range" for a threshold or a seed.
    """
    from core.classroom.world import labelled

    segmenter, threshold = model(question.checkpoint), checked(question.threshold)
    scenes = labelled.fresh(SCENES, seed_of(seed))
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
    from core.segmentation.groupvit import right_names

    grouping = segmenter.segment(inputs.image(image), labels, threshold)
    return draw.Renamed(image, truth, grouping, right_names(grouping, truth))


def seed_of(value: Any) -> int:
    """A whole seed of the page; Refusal("out_of_range") for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SEED:
        raise Refusal("out_of_range", name="seed", low=0, high=MAX_SEED, value=str(value)[:20])
    return int(value)


# --- more things than groups -----------------------------------------------------------------------------


def crowd(layout: Layout) -> None:
    """Lays *More than eight things* out and wires it."""
    gr.Markdown(CROWD_IDEA.tr)
    slots = {"groups": mask_stage, "shared": output}
    place = layout.place("crowd", Text("Nine things", "九样东西"), slots)
    own = gr.Button(Text("The image of this page", "本页的图片").tr, size="sm", elem_id="crowd-own")
    layout.ask(place.button.click, place, nine_things)
    layout.ask(own.click, place, own_things)


def nine_things(question: Question, lang: str) -> dict[str, Any]:
    """The groups of nine things that are known."""
    row = examples()[CROWD]
    labels = row["labels"][label_language(PAPER, question.checkpoint, lang)]
    return shared(ask(inputs.image(row["path"]), inputs.labels(labels), question), lang)


def own_things(question: Question, lang: str) -> dict[str, Any]:
    """The groups of the page's image."""
    return shared(run(question), lang)


def shared(answer: Answer, lang: str) -> dict[str, Any]:
    """The groups over an image, and which things share one."""
    return {
        "groups": draw.group_overlay(answer.image, answer.grouping.groups, lang),
        "shared": draw.crowd(answer.grouping, homes(answer, lang), lang),
        "line": line_of(answer, lang),
    }
