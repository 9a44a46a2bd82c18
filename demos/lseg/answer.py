"""What the LSeg page answers: a mask for labels, its files, the named endpoint.

Core keeps the features of an image, so that another label costs one product.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from core import checkpoints, inputs
from core.batch import Outcome, segmented
from core.errors import Refusal
from demos.draw import base
from demos.draw import masks as draw
from demos.kit import files as files_in
from demos.kit import results
from demos.kit.events import api_errors
from demos.kit.html import Markup
from demos.kit.language import Text
from demos.kit.menu import start_row
from demos.kit.page import labelled
from demos.kit.scenes_link import SceneOpened
from demos.lseg.words import PAPER, markup, say

if TYPE_CHECKING:
    from core.segmentation.result import Segmentation
    from demos.lseg.page import Question

OPACITY = 0.6
WAYS = ("lseg", "maskclip")
PAPERS = ("lseg", "clip")
TRICK = "core.segmentation.maskclip"
# Modules of core, imported with torch at the first question, and their classes.
SEGMENTERS = {
    "core.segmentation.lseg": "LSeg",
    "core.segmentation.clipseg": "CLIPSeg",
    "core.segmentation.tips": "TIPS",
    "core.segmentation.sam3": "SAM3",
    TRICK: "MaskCLIP",
}
# Labels for what no other label fits; their pixels stay as they are.
REST = frozenset(("background", "other", "nothing", "背景", "其他", "空白"))
PRESENCES = 12  # labels whose presence is said
CUTOUTS = 6  # labels that are cut out for the files, the largest first


# --- models ----------------------------------------------------------------------------------------------


def plain_rows() -> list[str]:
    """The CLIP rows on this machine, for MaskCLIP's trick; those with real weights first."""
    rows = [row for row in checkpoints.rows("clip") if checkpoints.state(row.name) in ("bundled", "cached")]
    return [row.name for row in sorted(rows, key=lambda row: row.bundled is not None)]


def plain_choices() -> list[tuple[Any, str]]:
    """These rows under their titles."""
    return [(Text(**checkpoints.row(name).title).tr, name) for name in plain_rows()]


def model_of(checkpoint: str | None) -> Any:
    """The segmenter of a row: LSeg's own, a descendant, or MaskCLIP's trick on a CLIP; `encode` and `segment` alike.

    Raises:
        Refusal: "unknown_checkpoint" for a row that is none of these, or what loading refuses.
    """
    row = checkpoints.row(checkpoint or start_row(PAPER))
    module = TRICK if row.paper == "clip" else row.loader.partition(":")[0]
    if row.paper not in PAPERS or module not in SEGMENTERS:
        known = ", ".join(one.name for paper in PAPERS for one in checkpoints.rows(paper))
        raise Refusal("unknown_checkpoint", name=row.name, known=known)
    return getattr(importlib.import_module(module), SEGMENTERS[module]).load(row.name)


def chosen_row(way: str, plain: str, checkpoint: str) -> str | None:
    """The row that answers.

    Raises:
        Refusal: "wrong_value" for an unknown way.
    """
    if way not in WAYS:
        raise Refusal("wrong_value", name="way", wanted=" / ".join(WAYS), value=repr(way)[:40])
    return (plain or plain_rows()[0]) if way == "maskclip" else checkpoint or None


@dataclass(frozen=True)
class Answer:
    """The mask of one image and list of labels, with what it was made of."""

    image: Image.Image
    encoded: Any
    result: Segmentation
    seconds: float

    def line(self, lang: str) -> str:
        """The result line."""
        return results.answer_line(PAPER, self.result, self.seconds, lang)

    @property
    def kind(self) -> str:
        """Which model of core answered: "lseg", "clipseg", "tips", "sam3" or "maskclip"."""
        row = checkpoints.row(self.result.checkpoint)
        return "maskclip" if row.paper == "clip" else row.loader.partition(":")[0].rpartition(".")[2]

    def names(self, lang: str) -> list[str]:
        """The labels; then what the mask holds where none of them fits, for a model that may say so."""
        rest = [] if self.result.presence is None else [say("none_of_these", lang)]
        return [*self.result.labels, *rest]

    @property
    def certainty(self) -> np.ndarray:
        """[h, w] the probability of each place's label, or that none of them fits there."""
        best = self.probabilities.max(0)
        return best if self.result.presence is None else np.maximum(best, 1 - best)

    @property
    def probabilities(self) -> np.ndarray:
        """[N, h, w], as fine as the network's maps; they sum to one over labels, but for a sigmoid's."""
        if self.result.normalisation == "sigmoid":
            return 1 / (1 + np.exp(-self.result.logits))
        shifted = np.exp(self.result.logits - self.result.logits.max(0))
        return shifted / shifted.sum(0)


def ask(image: Image.Image, labels: Sequence[str], row: str | None) -> Answer:
    """Segments an image with the model of a row."""
    model = model_of(row)
    start = time.perf_counter()
    encoded = model.encode(image)
    result = model.segment(encoded, labels)
    return Answer(image, encoded, result, time.perf_counter() - start)


def run(question: Question) -> Answer:
    """The answer to the page's question."""
    image, names = inputs.image(files_in.image_source(question.image)), inputs.labels(question.labels)
    return ask(image, names, chosen_row(question.way, question.plain, question.checkpoint))


# --- endpoint --------------------------------------------------------------------------------------------


def lseg_segment(
    image: gr.FileData,
    labels: list[str] | str,
    checkpoint: str | None = None,
    masks: bool = False,
) -> dict[str, Any]:
    """Give every pixel of an image one of the labels (LSeg; with a CLIP checkpoint, MaskCLIP's trick).

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 1,000. "other" is a label like any other.
        checkpoint: a row of LSeg or of CLIP that is on the server; LSeg's default row when left out.
        masks: whether the answer carries each label's pixels as COCO run lengths.

    Returns:
        {"checkpoint", "seconds", "size": [width, height], "results": [{"label", "share"}, ...]}, the largest first; with
        masks also "images", "categories" and "annotations": a COCO data set of one image, as pycocotools reads it; "merged"
        and "truncated" as in clip_classify. SAM 3 says of each label also "presence", the probability that it is in the
        image, and "instances"; its label null is what none of the labels fits.
    """
    with api_errors():
        names = inputs.labels(labels, limit=1000)
        picture = inputs.image(files_in.uploaded(image))
        result = model_of(checkpoint).segment(picture, names)
        answer = result.to_json()
        if masks:
            answer |= json.loads(draw.coco_rle(result.mask, result.labels, result.size))
        return answer


# --- handlers --------------------------------------------------------------------------------------------


def colour_slots(names: Sequence[str], before: Sequence[str]) -> list[str]:
    """The label of each colour, "" for a free one: labels that stay keep their colours.

    Args:
        names: the labels now.
        before: the labels of the colours in the last answer.
    """
    painted = [name for name in names if name.lower() not in REST]
    kept = [name if name in painted else "" for name in before]
    for name in painted:
        if name not in kept:
            free = kept.index("") if "" in kept else len(kept)
            kept[free : free + 1] = [name]
    return kept


def colours(names: Sequence[str], held: Sequence[str]) -> list[str]:
    """The colour of each label; none for the words that mean the rest."""
    table = draw.palette(len(held))
    return [table[held.index(name)] if name in held else "" for name in names]


def overlay(answer: Answer, held: Sequence[str], lang: str) -> Markup:
    """The image under its mask."""
    names = answer.names(lang)
    painted = colours(names, colour_slots(answer.result.labels, held))
    return draw.overlay(answer.image, answer.result.mask, names, painted, OPACITY, lang, answer.certainty)


def notes(answer: Answer, lang: str) -> dict[str, Any]:
    """What to know before reading the answer."""
    trick = answer.kind == "maskclip"
    more = markup("about_trick", lang) if trick else ""
    if trick and all(checkpoints.row(name).bundled for name in plain_rows()):
        more += markup("only_miniatures", lang)
    words = [name for name in answer.result.labels if name.lower() not in REST]
    hints = [*([more] if more else []), *presences(answer, lang)]
    hints += results.unreadable(answer.result.checkpoint, " ".join(words), lang)
    slots = results.answer_notes(PAPER, answer.result, answer.encoded.digest, words, lang, hints, paper=PAPER)
    # The checkpoint menu has no rows for the trick.
    return slots | ({"get": gr.update(visible="hidden")} if trick else {})


def presences(answer: Answer, lang: str) -> list[str]:
    """What a model that asks first whether a label is in the image found: its probability and the number of instances."""
    result = answer.result
    if result.presence is None or result.instances is None:
        return []
    counted = list(zip(result.labels, result.presence, result.instances, strict=True))
    parts = [
        say("presence_of", lang, name=inputs.visible(name), share=base.percent(share), count=count)
        for name, share, count in counted[:PRESENCES]
    ]
    return [say("presences", lang, parts=("，" if lang == "zh" else ", ").join(parts))]


def segment(question: Question, lang: str) -> dict[str, Any]:
    """The mask over the image, the result line, the labels of the colours."""
    answer = run(question)
    return {
        "mask": overlay(answer, question.held, lang),
        "line": answer.line(lang),
        "held": tuple(colour_slots(answer.result.labels, question.held)),
        **notes(answer, lang),
    }


def files(question: Question, lang: str) -> str:
    """Download links: overlay, label map, run lengths, and cut-outs of the largest labels."""
    answer = run(question)
    result, mask = answer.result, answer.result.mask
    names = answer.names(lang)
    painted = colours(names, colour_slots(result.labels, question.held))
    made = draw.exports(
        answer.image, mask, names, painted, OPACITY, result.size, lang, PAPER, overlay_file="lseg-overlay.png"
    )
    order = np.argsort(-result.shares, kind="stable").tolist()
    largest = [at for at in order if painted[at] and result.shares[at] > 0][:CUTOUTS]
    for number, at in enumerate(largest, 1):
        png = draw.cutout_png(answer.image, mask, at)
        made.append((f"lseg-cutout-{number}.png", "image/png", png, say("cutout", lang, name=names[at])))
    return files_in.downloads(made)


def many(question: Question) -> Callable[[Any], Outcome]:
    """The question of the page for each of many images."""
    names = inputs.labels(question.labels)
    model = model_of(chosen_row(question.way, question.plain, question.checkpoint))

    def verb(image: Image.Image) -> Outcome:
        result = model.segment(image, names)
        shares = result.shares[: len(result.labels)].tolist()
        return segmented(result.labels, shares, result.mask, result.to_json(), image)

    return verb


# --- opening, examples -----------------------------------------------------------------------------------


def first_plain(question: Question, lang: str) -> dict[str, Any]:
    """The CLIP that the trick starts with."""
    return {"plain": plain_rows()[0]}


def plain_menu(question: Question, lang: str) -> dict[str, Any]:
    """The CLIP rows that are on this machine now."""
    rows = [(checkpoints.row(name).title[lang], name) for name in plain_rows()]
    return {"plain": gr.update(choices=rows)}


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets: its image and labels, fresh colours."""
    return {**LABELLED.fill(name, question, lang), "held": ()}


def scene(opened: SceneOpened, question: Question, lang: str) -> dict[str, Any]:
    """The fields that a scene of the classroom sets."""
    return {"labels": ", ".join([*opened.names, say("background", lang)]), "held": ()}


LABELLED = labelled(PAPER, "dog_and_teddy")
EXAMPLES = replace(LABELLED, fill=fill, scene=scene)
