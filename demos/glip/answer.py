"""What the GLIP page does: one handler per verb, and the named endpoint.

A sentence is fused with the picture layer by layer, so a new one runs the head again; the threshold does not: the page
holds every box above a floor.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.draw import boxes as detect_draw
from demos.glip import draw as views
from demos.glip.examples import drawn_pictures, examples, words
from demos.glip.shared import Asked
from demos.kit import detect_jobs, scenes_link, shell
from demos.kit.examples import chosen as strip_choice
from demos.kit.jobs import progress
from demos.kit.language import Text
from demos.kit.menu import needs_download, start_row
from demos.kit.shell import pick
from demos.kit.stops import Stops

if TYPE_CHECKING:
    from PIL import Image

    from core.detection.glip import GLIP
    from core.detection.glip.grounding import EncodedImage
    from core.detection.result import Grounding

PAPER = "glip"
OPENING = "syringes"
STOPS = Stops()
MODES = ("sentence", "labels")
FLOOR = 0.05  # boxes that score less never reach the page
MAX_LINK_TEXT = 3_000  # characters of a prompt that an address may carry
CHINESE = re.compile(r"[\u4e00-\u9fff]")
UNREAD = Text(
    "This checkpoint was taught no Chinese: its boxes for Chinese words are guesses. Write English, or choose the miniature.",
    "这组权重没有学过中文：它给中文词的框只是猜测。请写英文，或改用微缩模型。",
)


# --- answering -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """One picture with what its prompt found."""

    image: Image.Image
    encoded: EncodedImage
    found: Grounding
    seconds: float


def model(checkpoint: str | None) -> GLIP:
    """The detector of a row, loaded on first use."""
    from core.detection.glip import GLIP

    return GLIP.load(checkpoint or start_row(PAPER))


def prompt_of(mode: str, text: str) -> str | list[str]:
    """What the box of the page asks: a caption, or a list of labels.

    Raises:
        Refusal: "wrong_value" for a mode that is none, or what reading texts and labels refuses.
    """
    if mode not in MODES:
        raise Refusal("wrong_value", name="mode", wanted=" / ".join(MODES), value=repr(mode)[:40])
    return inputs.labels(text) if mode == "labels" else inputs.text(text)


def found_of(glip: GLIP, image: Image.Image, prompt: str | list[str], threshold: float) -> Grounding:
    """The boxes of a caption or of labels."""
    if isinstance(prompt, str):
        return glip.ground(image, prompt, threshold=threshold)
    return glip.detect(image, prompt, threshold=threshold)


def ask(image: Image.Image, prompt: str | list[str], checkpoint: str | None) -> Answer:
    """Every box above the floor; core remembers picture and answer, so that the same question costs nothing."""
    glip = model(checkpoint)
    start = time.perf_counter()
    found = found_of(glip, image, prompt, FLOOR)
    return Answer(image, glip.encode(image), found, time.perf_counter() - start)


def answered(asked: Asked) -> Answer:
    """The answer to what the page shows."""
    image = inputs.image(shell.picture_source(asked.picture))
    return ask(image, prompt_of(asked.mode, asked.text), asked.checkpoint)


def as_job(handler: Callable[..., tuple[Any, ...]], outputs: int) -> Callable[..., Any]:
    """A handler of a question as a job: a list of labels that takes several prompts is asked first, prompt by prompt."""
    return detect_jobs.job(Asked, STOPS, prompt_bars, handler, outputs)


def prompt_bars(asked: Asked, cancel: Cancel, lang: str) -> Iterator[str]:
    """Asks the prompts of a long list, with a bar before each; none where one prompt is enough or all are remembered."""
    if asked.mode != "labels" or needs_download(asked.checkpoint or start_row(PAPER)):
        return
    image, names = inputs.image(shell.picture_source(asked.picture)), inputs.labels(asked.text)
    start, first = 0.0, 0
    for done, count in model(asked.checkpoint).detecting(image, names, FLOOR, cancel=cancel):
        if count == 1:
            continue
        if not start:
            start, first = time.perf_counter(), done
        spent = time.perf_counter() - start
        left = f"{spent / (done - first) * (count - done):.0f}" if done > first else ""
        text = pick(
            lang,
            f"The list is too long for one prompt: reading part {done + 1} of {count}"
            + (f", about {left} s left" if left else ""),
            f"标签太多，一个提示放不下：正在读第 {done + 1} 部分，共 {count} 部分"
            + (f"，大约还需 {left} 秒" if left else ""),
        )
        yield progress(done / count, text)


def stop(session: str, lang: str) -> tuple[Any]:
    """Asks the session's job to stop after the prompt that it is at."""
    STOPS.stop(session)
    return (gr.update(visible=False),)


def checked(threshold: Any) -> float:
    """A threshold in [0, 1]; Refusal("out_of_range") for anything else."""
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not number or not 0 <= threshold <= 1:
        raise Refusal("out_of_range", name="threshold", low=0, high=1, value=str(threshold)[:20])
    return float(threshold)


# --- endpoint --------------------------------------------------------------------------------------------


def glip_ground(
    image: gr.FileData,
    caption: str | None = None,
    labels: list[str] | str | None = None,
    threshold: float | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Find what a sentence names in a picture, a box for each phrase (GLIP); or the things of a list of labels.

    Args:
        image: a picture file, or a data URI.
        caption: a sentence that names things, such as "two syringes and a test tube"; in a language of the checkpoint.
        labels: in place of a caption, a list, or one string with commas, at most 1,000; they become the prompt, as in the
            paper, and a list that is too long for one prompt becomes several, whose boxes are ranked together.
        threshold: 0 to 1; boxes that score less are left out. The checkpoint's own when left out.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "prompt", "mode", "seconds", "size": [width, height], "phrases": [{"text", "start", "end"}, ...],
        "results": [{"phrase", "phrase_index", "score", "box": [left, top, right, bottom]}, ...]}, best first.
    """
    with shell.api_errors():
        if (caption is None) == (labels is None):
            raise Refusal("caption_or_labels")
        prompt = inputs.text(caption) if caption is not None else inputs.labels(labels, limit=1000)
        picture = inputs.image(shell.uploaded(image))
        glip = model(checkpoint)
        line = start_threshold(glip.checkpoint) if threshold is None else checked(threshold)
        return found_of(glip, picture, prompt, line).to_json()


def sizes_of(answer: Answer) -> dict[str, Any] | None:
    """How large things were on the way of an answer, for *Tensors* and *Code*; None for a descendant of another build."""
    from core.detection.glip.network import architectures

    options = checkpoints.row(answer.found.checkpoint).options
    shape = architectures().get(options.get("architecture", ""))
    if shape is None:
        return None
    levels = [level.shape[1:] for level in answer.encoded.levels]
    return {
        "levels": levels,
        "pixels": [side * shape["strides"][0] for side in levels[0]],
        "channels": shape["channels"],
        "words": shape["language"]["width"],
        "blocks": shape["head"]["blocks"],
        "heads": shape["head"]["fusion_heads"],
    }


# --- handlers --------------------------------------------------------------------------------------------


def line_of(answer: Answer, lang: str) -> str:
    """The result line, with a hint where a miniature was given a picture from outside its world."""
    found = answer.found
    names = {
        "encode_image": ("picture", "图片"),
        "encode_text": ("words", "文字"),
        "ground": ("fusion", "融合"),
        "boxes": ("boxes", "框"),
    }
    steps = " + ".join(
        f"{pick(lang, *names.get(name, (name, name)))} {value:.0f}" for name, value in found.timings.items()
    )
    line = shell.result_line(answer.seconds, found.checkpoint, found.device, lang, f"{steps} ms")
    drawn = answer.encoded.digest in drawn_pictures() or scenes_link.is_drawn(answer.encoded.digest)
    row = checkpoints.row(found.checkpoint)
    if "zh" not in row.languages and CHINESE.search(found.prompt):
        line += f'<p class="atlas-hint">{UNREAD.get(lang)}</p>'
    return line + (shell.hint(lang) if row.bundled is not None and not drawn else "")


def ground(asked: Asked, lang: str) -> tuple[str, str, str]:
    """The picture with its boxes under the sentence, the table of boxes, the result line."""
    line = checked(asked.threshold)
    answer = answered(asked)
    return (
        views.figure(answer.image, answer.found, line, lang),
        views.table(answer.image, answer.found, line, lang),
        line_of(answer, lang),
    )


def switch(asked: Asked, lang: str) -> tuple[Any, ...]:
    """Where the slider stands for another checkpoint, and its answer where it is on this machine."""
    if needs_download(asked.checkpoint):
        return (gr.skip(),) * 4
    threshold = start_threshold(asked.checkpoint)
    return threshold, *ground(replace(asked, threshold=threshold), lang)


def boxes_table(asked: Asked, lang: str) -> tuple[Any]:
    """The table of boxes for the threshold at which the slider came to rest; left as it is while a long list is asked."""
    line = checked(asked.threshold)
    if next(prompt_bars(asked, Cancel(), lang), ""):
        return (gr.skip(),)
    answer = answered(asked)
    return (views.table(answer.image, answer.found, line, lang),)


def files(asked: Asked, lang: str) -> tuple[str]:
    """Download links of the boxes that the threshold leaves."""
    line = checked(asked.threshold)
    answer = answered(asked)
    names = [phrase.text for phrase in answer.found.phrases]
    marks = views.shown_marks(answer.found, line)
    if not marks:
        raise Refusal("no_boxes_left", threshold=f"{line:.2f}")
    return (detect_draw.exports(answer.image, marks, names, "glip", lang),)


def alignment(asked: Asked, lang: str) -> tuple[str, str]:
    """Both alignment matrices and the result line."""
    line = checked(asked.threshold)
    answer = answered(asked)
    return views.alignment(answer.image, answer.found, line, lang), line_of(answer, lang)


# --- opening, examples -----------------------------------------------------------------------------------


def start_threshold(checkpoint: str | None) -> float:
    """Where the slider stands for a row at first: its own, read without loading torch, as the page opens with it."""
    return float(checkpoints.row(checkpoint or start_row(PAPER)).options["threshold"])


def language_of(checkpoint: str | None, lang: str) -> str:
    """The page's language where the checkpoint reads sentences in it, else English."""
    return lang if lang in checkpoints.row(checkpoint or start_row(PAPER)).languages else "en"


def fill(name: str, mode: str, checkpoint: str | None, lang: str) -> tuple[str, str, str, str]:
    """What an example fills in: picture, sentence or labels, its id, no scene."""
    row = examples()[name]
    text = row["labels" if mode == "labels" else "caption"][language_of(checkpoint, lang)]
    return row["path"], text, name, ""


def choose(value: str, mode: str, checkpoint: str, lang: str) -> tuple[Any, ...]:
    """What a click on the strip of examples fills in."""
    name = strip_choice(value, examples())
    return fill(name, mode, checkpoint, lang) if name else (gr.skip(),) * 4


def other_mode(mode: str, example: str, text: str, checkpoint: str, lang: str) -> tuple[Any, ...]:
    """The example's sentence or labels when the mode changes; what a person typed stays."""
    if example not in examples():
        return (gr.skip(),)
    code = language_of(checkpoint, lang)
    row = examples()[example]
    own = {row[kind][language] for kind in ("caption", "labels") for language in ("en", "zh")}
    return (row["labels" if mode == "labels" else "caption"][code] if text in own else gr.skip(),)


def opened(lang: str, query: dict[str, str]) -> tuple[Any, ...]:
    """The page's first state: picture, text, example, scene, mode, threshold, a refused scene's sentence, the numbers."""
    checkpoint = query.get("checkpoint", "")
    known = checkpoint if checkpoint in {row.name for row in checkpoints.rows(PAPER)} else start_row(PAPER)
    mode = query.get("mode", MODES[0])
    mode = mode if mode in MODES else MODES[0]
    name = query.get("example", OPENING)
    filled = fill(name if name in examples() else OPENING, mode, known, lang)
    refused = ""
    try:
        scene = scenes_link.opened(query, language_of(known, lang))
    except Refusal as refusal:
        scene, refused = None, shell.refusal_html(refusal, lang)
    if scene:
        text = ", ".join(scene.names) if mode == "labels" else scene.caption
        filled = scene.path, text, "", query[scenes_link.PARAMETER]
    path, text, *others = filled
    text = query.get("text", text)[:MAX_LINK_TEXT]
    try:
        threshold = checked(float(query["threshold"]))
    except (KeyError, ValueError, Refusal):
        threshold = start_threshold(known)
    return path, text, *others, mode, threshold, refused, numbers(lang)


def first_answer(asked: Asked, lang: str) -> tuple[str, str, str]:
    """The opening example, run: by the row that the page starts on, or the miniature while that one is not here."""
    start = start_row(PAPER)
    here = checkpoints.state(start) in ("bundled", "cached")
    bundled = next(row.name for row in checkpoints.rows(PAPER) if row.bundled)
    return ground(replace(asked, checkpoint=start if here else bundled), lang)


# --- numbers ---------------------------------------------------------------------------------------------


def report_rows(lang: str) -> list[dict[str, Any]]:
    """The paper's rows of the report card, with what they are called in a language."""
    from core.classroom import report

    return [
        {**row, "said": report.named(row["measure"], lang), "said_split": report.named(row["split"], lang)}
        for row in report.rows()
        if row["paper"] == PAPER
    ]


def numbers(lang: str) -> str:
    """Self-training and fusion with what was measured of them; the miniature's other numbers beside the published ones."""
    rows = report_rows(lang)
    told = words()
    compared: dict[str, list[dict[str, Any]]] = {table["measure"]: [] for table in told["compared"]}
    plain: list[dict[str, Any]] = []
    for row in rows:
        compared.get(row["measure"].partition(":")[0], plain).append(row)
    tables = "".join(
        views.comparison(table["title"]["zh" if lang == "zh" else "en"], compared[table["measure"]], lang)
        for table in told["compared"]
    )
    return (
        views.training(told["training"], rows, lang)
        + tables
        + views.number_table(told["published"], plain, lang)
    )
