"""What the ViLD page does: one handler per verb, and the named endpoint.

The picture's proposals are found and encoded once and remembered by core: labels, variant and threshold only read them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from core import checkpoints, inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.draw import boxes as detect_draw
from demos.kit import detect_jobs, scenes_link, shell
from demos.kit.components import picked
from demos.kit.examples import chosen as strip_choice
from demos.kit.jobs import Stops, progress
from demos.kit.menu import needs_download, start_row
from demos.kit.shell import pick
from demos.vild import draw as vild_draw
from demos.vild.examples import drawn_pictures, examples
from demos.vild.shared import Asked

if TYPE_CHECKING:
    from core.detection import Detection

OPENING = "toy_shelf"
STOPS = Stops()
VARIANT = "ensemble"
PROPOSALS, MOST_PROPOSALS = 100, 300  # the usual number, and the most that the paper distils from one image
MAX_LINK_LABELS = 20_000  # characters of labels that an address may carry


def model_of(checkpoint: str | None) -> Any:
    """The detector of a row, loaded on first use."""
    from core.detection.vild import ViLD

    return ViLD.load(checkpoint or start_row("vild"))


def row_of(checkpoint: str) -> checkpoints.Checkpoint:
    """A row of ViLD, the one that the page starts on where none is named."""
    return checkpoints.row(checkpoint or start_row("vild"), lambda row: row.paper == "vild")


def variants_of(checkpoint: str) -> tuple[str, ...]:
    """The variants that a row knows, as `core.detection.vild.variants` has them; asking that would load torch."""
    return tuple(row_of(checkpoint).options.get("variants", ()))


def variant_for(variant: str, checkpoint: str) -> str:
    """The variant where the row knows it, else the row's last one."""
    known = variants_of(checkpoint)
    return variant if variant in known else known[-1]


def threshold_for(variant: str, checkpoint: str) -> float:
    """The least score that suits a variant of a row."""
    return float(row_of(checkpoint).options["thresholds"][variant])


# --- endpoint --------------------------------------------------------------------------------------------


def vild_detect(
    image: gr.FileData,
    labels: list[str] | str,
    variant: str | None = None,
    threshold: float | None = None,
    proposals: int = PROPOSALS,
    base: list[str] | None = None,
    checkpoint: str | None = None,
    coco: bool = False,
    across_labels: bool = False,
) -> dict[str, Any]:
    """Find the things that labels name in a picture, with a box each (open-vocabulary detection, ViLD).

    Args:
        image: a picture file, or a data URI.
        labels: a list, or one string with commas; at most 1,000.
        variant: "crops" (CLIP on crops), "text", "image", "vild" or "ensemble"; a row may know only some of them, and OWL-ViT
            only "native". The ensemble, or the row's last one, when left out.
        threshold: the least score of a box, 0 to 1; what suits the variant when left out.
        proposals: how many of the picture's proposals are asked about, 1 to 300.
        base: which of the labels count as base categories for the ensemble; those that had boxes in training when left out.
        checkpoint: a row of ViLD that is on the server; the default row when left out.
        coco: whether the answer carries the boxes as a COCO data set, too.
        across_labels: whether of boxes of different labels that overlap only the surest stays: one label for each thing.

    Returns:
        {"checkpoint", "variant", "seconds", "size": [width, height], "results": [{"label", "base", "score",
        "box": [left, top, right, bottom] in pixels}, ...]}, best first; with coco also "images", "categories", "annotations";
        "merged" and "truncated" as in clip_classify.
    """
    with shell.api_errors():
        names = inputs.labels(labels, limit=1000)
        picture = inputs.image(shell.uploaded(image))
        given = None if base is None else [name in base for name in names]
        found = answer(
            model_of(checkpoint), picture, names, variant, threshold, proposals, given, across_labels
        )
        result = found.to_json()
        if coco:
            result |= json.loads(detect_draw.coco_json(vild_draw.marks(found), found.labels, found.size))
        return result


def answer(
    model: Any,
    image: Any,
    names: Sequence[str],
    variant: str | None,
    threshold: float | None,
    proposals: float,
    base: Sequence[bool] | None = None,
    across_labels: bool = False,
) -> Detection:
    """A detection with values that are in range.

    Raises:
        Refusal: "out_of_range", or what core refuses.
    """
    for name, value, low, high in (
        ("threshold", threshold, 0, 1),
        ("proposals", proposals, 1, MOST_PROPOSALS),
    ):
        if value is not None and not low <= value <= high:
            raise Refusal("out_of_range", name=name, low=low, high=high, value=value)
    found: Detection = model.detect(
        image, names, variant, base, int(proposals), threshold, across_labels=across_labels
    )
    return found


# --- handlers --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One answer with what it was made from."""

    model: Any
    image: Image.Image
    encoded: Any
    result: Detection
    seconds: float


def run(asked: Asked) -> Run:
    """Detects in the page's picture."""
    image, names = inputs.image(shell.picture_source(asked.picture)), inputs.labels(asked.labels)
    model = model_of(asked.checkpoint)
    start = time.perf_counter()
    encoded = model.encode(image)
    # A row that the browser remembers may know other variants than the radio shows yet.
    variant = variant_for(asked.variant, asked.checkpoint)
    result = answer(model, encoded, names, variant, asked.threshold, asked.proposals)
    return Run(model, image, encoded, result, time.perf_counter() - start)


def line_of(found: Run, lang: str) -> str:
    """The result line, and a hint where a miniature was given a picture from outside its world."""
    result = found.result
    steps = " + ".join(
        f"{vild_draw.STEPS[name].get(lang) if name in vild_draw.STEPS else name} {milliseconds:.0f}"
        for name, milliseconds in result.timings.items()
    )
    line = shell.result_line(found.seconds, result.checkpoint, result.device, lang, f"{steps} ms")
    digest = inputs.digest(found.image)
    drawn = digest in drawn_pictures() or scenes_link.is_drawn(digest)
    outside = checkpoints.row(result.checkpoint).bundled is not None and not drawn
    return line + (shell.hint(lang) if outside else "")


# --- jobs ------------------------------------------------------------------------------------------------


def as_job(handler: Callable[..., tuple[Any, ...]], outputs: int, every: bool = False) -> Callable[..., Any]:
    """A handler of a question as a job: crops that it needs are encoded first.

    Args:
        handler: `handler(asked, ..., lang)`; its last output is the line.
        outputs: how many it has; the Stop button comes behind them.
        every: whether all variants are asked, not only the chosen one.
    """

    def crops(asked: Asked, cancel: Cancel, lang: str) -> Iterator[str]:
        known = "crops" in variants_of(asked.checkpoint)
        if known and (every or variant_for(asked.variant, asked.checkpoint) == "crops"):
            model = model_of(asked.checkpoint)
            image = inputs.image(shell.picture_source(asked.picture))
            yield from crops_bars(model, image, asked.proposals, cancel, lang)

    return detect_jobs.job(Asked, STOPS, crops, handler, outputs)


def crops_bars(model: Any, image: Any, proposals: float, cancel: Cancel, lang: str) -> Iterator[str]:
    """Encodes the crops of a picture's proposals, with a bar for each few; nothing where they are remembered."""
    start = time.perf_counter()
    for share in model.encode_crops(image, int(proposals), cancel):
        left = (time.perf_counter() - start) / share * (1 - share)
        text = pick(
            lang,
            f"CLIP looks at every crop: {share:.0%}, about {left:.0f} s left",
            f"CLIP 正在逐个看裁剪图：{share:.0%}，大约还需 {left:.0f} 秒",
        )
        yield progress(share, text)


def stop(session: str, lang: str) -> tuple[Any]:
    """Asks the session's job to stop after the crops that it is at."""
    STOPS.stop(session)
    return (gr.update(visible=False),)


# --- answers ---------------------------------------------------------------------------------------------


def detect(asked: Asked, lang: str) -> tuple[Any, ...]:
    """The overlay, an empty look at a box, and the line."""
    found = run(asked)
    shown = vild_draw.key(lang) + vild_draw.overlay(found.image, found.result, lang, "inspect")
    return shown, "", line_of(found, lang)


def fit(variant: str, checkpoint: str, lang: str) -> tuple[Any, ...]:
    """The variants that a row knows; the chosen one stays where it is one of them."""
    choices = [(vild_draw.VARIANTS[name].get(lang), name) for name in variants_of(checkpoint)]
    return (gr.update(choices=choices, value=variant_for(variant, checkpoint)),)


def suit(variant: str, checkpoint: str, lang: str) -> tuple[float]:
    """The threshold that suits a variant of a row."""
    return (threshold_for(variant_for(variant, checkpoint), checkpoint),)


def switched(asked: Asked, lang: str) -> tuple[Any, ...]:
    """The answer of another row, where it is on this machine; else its menu says how to get it."""
    if needs_download(asked.checkpoint):
        return (gr.skip(),) * 3
    return detect(asked, lang)


def inspect(asked: Asked, clicked: str, lang: str) -> tuple[Any, ...]:
    """The region behind a box that was clicked on: its crop and its row of similarities."""
    found = run(asked)
    at = picked(clicked, len(found.result.boxes))
    if at is None:
        return (gr.skip(),)
    region = int(found.result.proposal_indices[at])
    return (vild_draw.region(found.image, found.result, region, lang),)


def compare(asked: Asked, example: str, lang: str) -> tuple[str, str]:
    """The same picture and labels under every variant that the row knows, each at the threshold that suits it; the line."""
    start = time.perf_counter()
    runs = [run(replace(asked, variant=name, threshold=None)) for name in variants_of(asked.checkpoint)]
    things = examples()[example]["objects"] if example in examples() else []
    answers = [one.result for one in runs]
    shown = vild_draw.side_by_side(runs[0].image, answers, things, lang)
    whole = replace(runs[-1], seconds=time.perf_counter() - start)
    return shown + vild_draw.best_scores(answers, lang), line_of(whole, lang)


def closed(asked: Asked, lang: str) -> tuple[str, str]:
    """What a detector with a fixed list says beside what the page's labels find, and the line."""
    found = run(asked)
    fixed = found.model.closed(found.encoded, language=lang, proposals=int(asked.proposals))
    return vild_draw.closed_and_open(found.image, fixed, found.result, lang), line_of(found, lang)


def files(asked: Asked, lang: str) -> tuple[str]:
    """Download links: annotated picture, SVG, COCO JSON, table, crops."""
    found = run(asked)
    marks = vild_draw.marks(found.result)
    return (detect_draw.exports(found.image, marks, found.result.labels, "vild", lang),)


# --- opening ---------------------------------------------------------------------------------------------


def fill(name: str, lang: str) -> tuple[Any, ...]:
    """What an example fills in: picture, labels, its id, no scene."""
    row = examples()[name]
    return row["path"], row["labels"][lang], name, ""


def choose(value: str, lang: str) -> tuple[Any, ...]:
    """What a click on the strip of examples fills in."""
    name = strip_choice(value, examples())
    return fill(name, lang) if name else (gr.skip(),) * 4


def opened(lang: str, query: dict[str, str]) -> tuple[Any, ...]:
    """The page's first state: what its address asks for, else the first example."""
    name = query.get("example", OPENING)
    filled = fill(name if name in examples() else OPENING, lang)
    refused = ""
    try:
        scene = scenes_link.opened(query, lang)
    except Refusal as refusal:
        scene, refused = None, shell.refusal_html(refusal, lang)
    if scene:
        filled = (scene.path, ", ".join(scene.names), "", query[scenes_link.PARAMETER])
    path, labels, *others = filled
    labels = query.get("labels", labels)[:MAX_LINK_LABELS]
    row = start_row("vild")
    variant = variant_for(query.get("variant", VARIANT), row)
    threshold = number(query.get("threshold"), threshold_for(variant, row), 0, 1)
    proposals = int(number(query.get("proposals"), PROPOSALS, 1, MOST_PROPOSALS))
    return path, labels, *others, variant, threshold, proposals, refused


def number(text: str | None, usual: float, low: float, high: float) -> float:
    """A number of an address, inside its range; the usual one for what is none."""
    try:
        value = float(text or "")
    except ValueError:
        return usual
    return value if low <= value <= high else usual
