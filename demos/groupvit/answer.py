"""What the GroupViT page does: one handler per verb, and the named endpoint.

A picture is encoded once, before any label is known; labels and the threshold only read a table of groups and labels.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Generator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import checkpoints, inputs
from core.errors import Refusal
from demos.groupvit import draw as views
from demos.kit import library, shell
from demos.kit.examples import chosen as strip_choice
from demos.kit.form import LONGEST
from demos.kit.jobs import Stops
from demos.kit.menu import start_row
from demos.kit.shell import pick

if TYPE_CHECKING:
    from PIL import Image

    from core.segmentation import Grouping, GroupViT

PAPER = "groupvit"
FOLDER = library.ASSETS / "groupvit"
OPENING, CROWD = "horse_and_tree", "nine_things"
PHOTOS = ("goat_eating_grass", "camel", "foal", "hot_air_balloons", "two_dogs", "surfer")
SCENES = 6  # of the table of right names
MAX_SEED = 9999
STOPS = Stops()


@cache
def texts() -> dict[str, Any]:
    """Published numbers, the cards of code and the lessons."""
    return tomllib.loads(Path(__file__).with_name("data.toml").read_text(encoding="utf-8"))


@cache
def examples() -> dict[str, dict[str, Any]]:
    """Example pictures by id: drawn scenes whose truth is known, then photos of the CLIP page."""
    found = {}
    for row in json.loads((FOLDER / "examples.json").read_text(encoding="utf-8")):
        path = FOLDER / row["file"]
        found[path.stem] = {**row, "path": str(path), "classroom": True}
    others = library.shared()
    return found | {name: others[name] for name in PHOTOS}


@cache
def drawn_pictures() -> dict[str, str]:
    """Example scenes by the digest of their picture."""
    return {
        inputs.digest(inputs.image(row["path"])): name for name, row in examples().items() if row["classroom"]
    }


def model(checkpoint: str | None) -> GroupViT:
    """The segmenter of a row, loaded on first use."""
    from core.segmentation import GroupViT

    return GroupViT.load(checkpoint or start_row(PAPER))


def start_threshold(checkpoint: str) -> float:
    """Where the slider stands for a row at first."""
    from core.segmentation.groupvit import row_threshold

    return row_threshold(checkpoint or start_row(PAPER))


# --- endpoint --------------------------------------------------------------------------------------------


def groupvit_segment(
    image: gr.FileData,
    labels: list[str] | str,
    threshold: float | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Segment a picture into groups that a GroupViT names with your labels; no mask was ever shown to it in training.

    Args:
        image: a picture file, or a data URI.
        labels: a list, or one string with commas; at most 100, in a language of the checkpoint.
        threshold: 0 to 1; groups whose best score is lower are background. The checkpoint's own when left out.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "size", "threshold", "line", "results": [{"label", "share", "mask"}, ...], "groups":
        [{"group", "label", "score"}, ...]}; label null is background, masks are COCO run lengths {"size", "counts"};
        "merged" and "truncated" as in clip_classify.
    """
    with shell.api_errors():
        names = inputs.labels(labels)
        picture = inputs.image(shell.uploaded(image))
        segmenter = model(checkpoint)
        line = start_threshold(segmenter.checkpoint) if threshold is None else checked(threshold)
        found = segmenter.segment(picture, names, line)
        return {**found.to_json(), "line": found.line, "results": masks_of(found)}


def checked(threshold: Any) -> float:
    """A threshold in [0, 1]; Refusal("out_of_range") for anything else."""
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not number or not 0 <= threshold <= 1:
        raise Refusal("out_of_range", name="threshold", low=0, high=1, value=str(threshold)[:20])
    return float(threshold)


def masks_of(found: Grouping) -> list[dict[str, Any]]:
    """The results of an answer with the run lengths of each label's mask."""
    from core import masks as rle

    count = len(found.labels)
    places = {name: i for i, name in enumerate([*found.labels, None])}
    mask = views.with_ground(found.mask, count)
    size = list(found.mask.shape)
    return [
        {**row, "mask": {"size": size, "counts": rle.encode(mask == places[row["label"]])}}
        for row in found.to_json()["results"]
    ]


# --- segmenting ------------------------------------------------------------------------------------------


def answered(
    picture: str | None, labels: str, threshold: float, checkpoint: str
) -> tuple[Image.Image, Grouping, str, float]:
    """The picture, the answer, the picture's digest and the seconds that it took."""
    image, names = inputs.image(shell.picture_source(picture)), inputs.labels(labels)
    segmenter = model(checkpoint)
    start = time.perf_counter()
    encoded = segmenter.encode(image)
    found = segmenter.segment(encoded, names, checked(threshold))
    return image, found, encoded.digest, time.perf_counter() - start


def line_of(found: Grouping, digest: str, seconds: float, lang: str) -> str:
    """The result line, with a hint where a miniature is shown a picture from outside its world."""
    timing = pick(
        lang,
        f"picture {found.timings['encode_image']:.0f} ms, labels {found.timings['encode_text']:.0f} ms, "
        f"mask {found.timings['segment']:.0f} ms",
        f"图片 {found.timings['encode_image']:.0f} ms，标签 {found.timings['encode_text']:.0f} ms，"
        f"掩码 {found.timings['segment']:.0f} ms",
    )
    line = shell.result_line(seconds, found.checkpoint, found.device, lang, timing)
    drawn = digest in drawn_pictures() or digest in library.classroom_digests()
    outside = checkpoints.row(found.checkpoint).bundled is not None and not drawn
    return line + (shell.hint(lang) if outside else "")


def segment(
    picture: str | None, labels: str, threshold: float, checkpoint: str, lang: str
) -> tuple[str, str, str, str, str]:
    """Overlay, chart against the threshold, table of groups, result line, downloads."""
    image, found, digest, seconds = answered(picture, labels, threshold, checkpoint)
    return (
        views.answer_overlay(image, found, lang),
        views.chart(found, lang),
        views.group_table(found, lang),
        line_of(found, digest, seconds, lang),
        views.files(image, found, lang),
    )


def repaint(
    picture: str | None, labels: str, threshold: float, checkpoint: str, lang: str
) -> tuple[str, str, str]:
    """The same while the slider moves: overlay, chart, table."""
    image, found, *_ = answered(picture, labels, threshold, checkpoint)
    return views.answer_overlay(image, found, lang), views.chart(found, lang), views.group_table(found, lang)


def downloads(
    picture: str | None, labels: str, threshold: float, checkpoint: str, lang: str
) -> tuple[str, str]:
    """Result line and files of the mask at which the slider came to rest."""
    image, found, digest, seconds = answered(picture, labels, threshold, checkpoint)
    return line_of(found, digest, seconds, lang), views.files(image, found, lang)


def own_threshold(checkpoint: str, lang: str) -> tuple[float]:
    """The slider's place for a checkpoint that was just chosen."""
    return (start_threshold(checkpoint),)


# --- look inside -----------------------------------------------------------------------------------------


def row_names(checkpoint: str) -> list[str]:
    """The examples of the row of pictures: drawn ones for a miniature, photos for real weights."""
    drawn = checkpoints.row(checkpoint).bundled is not None
    return [name for name, row in examples().items() if row["classroom"] == drawn and name != CROWD]


def across(
    session: str, picture: str | None, checkpoint: str, lang: str
) -> Generator[tuple[Any, ...], None, None]:
    """The groups of the page's picture and of a row of examples. Outputs: row, line, Stop."""
    first = inputs.image(shell.picture_source(picture))
    segmenter = model(checkpoint)
    code = "zh" if lang == "zh" else "en"
    own = inputs.digest(first)
    asked = [(pick(lang, "your picture", "你的图片"), first)]
    for name in row_names(segmenter.checkpoint):
        image = inputs.image(examples()[name]["path"])
        caption = examples()[name]["caption"][code]
        if inputs.digest(image) == own:
            asked[0] = (caption, image)
        else:
            asked.append((caption, image))
    made, counts, start = [], (0, 0), time.perf_counter()
    with STOPS.job(session) as cancel:
        for caption, image in asked:
            if cancel.is_set():
                break
            encoded = segmenter.encode(image)
            counts = len(encoded.stages[0]), len(encoded.stages[-1])
            made.append(views.row_picture(image, encoded, caption))
            yield gr.skip(), progress(len(made), len(asked), start, lang), gr.update(visible=True)
    seconds = time.perf_counter() - start
    line = shell.result_line(seconds, segmenter.checkpoint, segmenter.device, lang)
    shown = views.group_row(made, counts, lang) if made else gr.skip()
    yield shown, line, gr.update(visible=False)


def progress(done: int, total: int, start: float, lang: str) -> str:
    """How far a job is and how long it will still take."""
    left = (time.perf_counter() - start) / done * (total - done)
    text = pick(
        lang, f"{done} of {total} pictures, {left:.0f} s left", f"第 {done} / {total} 张，还需 {left:.0f} 秒"
    )
    return (
        f'<div class="atlas-progress" role="progressbar" aria-label="{text}" aria-valuemin="0" aria-valuemax="{total}" '
        f'aria-valuenow="{done}"><span style="width:{100 * done / total:.0f}%"></span></div>'
        f'<p class="atlas-line">{text}</p>'
    )


def stop(session: str, lang: str) -> tuple[Any]:
    """Asks the session's job to stop after the picture that it is at."""
    STOPS.stop(session)
    return (gr.update(interactive=False),)


def rest(lang: str) -> tuple[Any]:
    """The Stop button when nothing runs."""
    return (gr.update(visible=False, interactive=True),)


# --- limits ----------------------------------------------------------------------------------------------


def crowded(
    picture: str | None, labels: str, threshold: float, checkpoint: str, lang: str
) -> tuple[str, str, str]:
    """How many things and how few groups: the groups over the picture, who shares which, the result line."""
    image, found, digest, seconds = answered(picture, labels, threshold, checkpoint)
    overlay = views.group_overlay(image, found.groups, lang)
    return (
        overlay,
        views.crowd(found, homes(found, digest, lang), lang),
        line_of(found, digest, seconds, lang),
    )


def homes(found: Grouping, digest: str, lang: str) -> dict[str, int]:
    """Each thing of an example scene and the group that owns most of its pixels; empty for other pictures."""
    from core.classroom.world import labelled

    if digest not in drawn_pictures():
        return {}
    row = examples()[drawn_pictures()[digest]]
    truth = labelled.stored(row)
    names = row["names"]["zh" if lang == "zh" else "en"]
    own = [found.groups[truth == at] for at in range(len(names))]
    return {
        name: int(np.bincount(groups).argmax())
        for name, groups in zip(names, own, strict=True)
        if len(groups)
    }


def renamed(
    session: str, seed: float, threshold: float, checkpoint: str, lang: str
) -> Generator[tuple[Any, ...], None, None]:
    """Right names for the groups of fresh scenes, scene by scene. Outputs: score, table, line, Stop."""
    from core.classroom.world import labelled

    segmenter = model(checkpoint)
    line, start = checked(threshold), time.perf_counter()
    scenes = labelled.fresh(SCENES, seed_of(seed))
    code = label_language(segmenter.checkpoint, lang)
    rows: list[views.Renamed] = []
    with STOPS.job(session) as cancel:
        for scene in scenes:
            if cancel.is_set():
                break
            rows.append(rename(segmenter, scene.picture, scene.truth, scene.names(code), line))
            bar = progress(len(rows), len(scenes), start, lang)
            yield gr.skip(), views.renamed_table(rows, lang), bar, gr.update(visible=True)
    seconds = time.perf_counter() - start
    said = shell.result_line(seconds, segmenter.checkpoint, segmenter.device, lang)
    score = views.before_after(rows, lang) if rows else gr.skip()
    yield score, gr.skip(), said, gr.update(visible=False)


def rename(segmenter: GroupViT, picture: Any, truth: Any, names: Sequence[str], line: float) -> views.Renamed:
    """One scene with the model's names and the right ones."""
    from core.segmentation.groupvit import right_names

    found = segmenter.segment(inputs.image(picture), names, line)
    return views.Renamed(picture, truth, found, right_names(found, truth))


def label_language(checkpoint: str, lang: str) -> str:
    """The page's language where the checkpoint reads labels in it, else English."""
    return lang if lang in checkpoints.row(checkpoint).languages else "en"


def seed_of(value: float | None) -> int:
    """A whole seed of the page; Refusal("out_of_range") for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SEED:
        raise Refusal("out_of_range", name="seed", low=0, high=MAX_SEED, value=str(value)[:20])
    return int(value)


def other_seed(seed: float, lang: str) -> tuple[int]:
    """The next six scenes."""
    return ((seed_of(seed) + 1) % (MAX_SEED + 1),)


def published_html(lang: str) -> str:
    """Published numbers of the real models, and the miniature's own where the report card has them."""
    from core.classroom import report

    ours = [
        {**row, "measure": report.named(row["measure"], lang), "split": report.named(row["split"], lang)}
        for row in report.rows()
        if row["paper"] == PAPER and "mIoU" in row["measure"]
    ]
    return views.published_table(texts()["published"], ours, lang)


# --- opening ---------------------------------------------------------------------------------------------


def fill(name: str, checkpoint: str, lang: str) -> tuple[str, str, str]:
    """What an example fills in: picture, labels in a language that the checkpoint reads, its id."""
    row = examples()[name]
    return row["path"], row["labels"][label_language(checkpoint or start_row(PAPER), lang)], name


def choose(value: str, checkpoint: str, lang: str) -> tuple[Any, ...]:
    """What a click on the strip of examples fills in."""
    name = strip_choice(value, examples())
    return fill(name, checkpoint, lang) if name else (gr.skip(),) * 3


def nine(checkpoint: str, lang: str) -> tuple[Any, ...]:
    """The picture of nine things."""
    return fill(CROWD, checkpoint, lang)


def opened(lang: str, query: dict[str, str]) -> tuple[Any, ...]:
    """A page's first state, what its address asks for or the first example: picture, labels, id, threshold, numbers."""
    name = query.get("example", OPENING)
    checkpoint = query.get("checkpoint", "")
    known = checkpoint if checkpoint in {row.name for row in checkpoints.rows(PAPER)} else start_row(PAPER)
    path, labels, name = fill(name if name in examples() else OPENING, known, lang)
    labels = query.get("labels", labels)[:LONGEST]
    try:
        threshold = checked(float(query["threshold"]))
    except (KeyError, ValueError, Refusal):
        threshold = start_threshold(known)
    return path, labels, name, threshold, published_html(lang)


def first_answer(picture: str | None, labels: str, threshold: float, lang: str) -> tuple[str, ...]:
    """The opening example, run: by the row that the page starts on, or the miniature while that one is not here."""
    start = start_row(PAPER)
    here = checkpoints.state(start) in ("bundled", "cached")
    bundled = next(row.name for row in checkpoints.rows(PAPER) if row.bundled)
    return segment(picture, labels, threshold, start if here else bundled, lang)
