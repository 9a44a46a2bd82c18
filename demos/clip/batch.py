"""The *Contrastive batch* tab: n images and n captions, and the paper's loss on their matrix line by line.

Images and captions that were encoded before are remembered, so that a slider, a swap or an edit answers at once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import Context
from PIL import Image, ImageOps

from core import inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.clip import answer as answers
from demos.clip.words import data, say, text
from demos.draw import base as draw
from demos.draw import charts, matrix
from demos.kit import classifier, components, form, library, results
from demos.kit import files as files_in
from demos.kit.components import button_row, output
from demos.kit.events import api_errors
from demos.kit.html import Markup
from demos.kit.jobs import Progress, timed
from demos.kit.language import Text
from demos.kit.layout import Layout
from demos.kit.places import folded

if TYPE_CHECKING:
    from core.classroom.world.pairs import Pair
    from demos.clip.page import Question

LOW, HIGH, FIRST = 2, 16, 6  # pairs
SCENES, UPLOADED, START = "scenes", "uploaded", "classroom"
SETS: dict[str, dict[str, Any]] = data()["batches"]  # of one click
CHANGES = ("swap", "shuffle", "reset", "scenes")
POOL, POOL_SIDE = 128, 128  # pairs that random batches are drawn from, and their pixels


def clip_matrix(
    images: list[gr.FileData],
    captions: list[str] | str,
    checkpoint: str | None = None,
    logit_scale: float | None = None,
) -> dict[str, Any]:
    """The matrix of a contrastive batch: n images against n captions, and CLIP's symmetric loss on it.

    Args:
        images: 1 to 64 image files, or data URIs.
        captions: as many texts, a list or one string with lines; caption k is held to belong to image k, equal
            texts share the target.
        checkpoint: a registry row that is on the server; the default row when left out.
        logit_scale: inverse temperature in place of the learned one, above 0 and at most 1,000.

    Returns:
        {"checkpoint", "seconds", "captions", "logit_scale", "learned_logit_scale", "loss", "loss_i", "loss_t",
        "chance", "picture_accuracy", "caption_accuracy", "cosines", "logits", "probabilities" (rows sum to 1),
        "probabilities_by_caption" (columns sum to 1), "gradient", "sigmoid": {"loss", "scale", "bias",
        "probabilities"}}; matrices have images in rows.
    """
    from core.clip import contrastive

    with api_errors():
        given = images if isinstance(images, list) else []
        if not 1 <= len(given) <= 64:
            raise Refusal("batch_size", low=1, high=64, count=len(given))
        is_text = isinstance(captions, str)
        texts = lines_of(captions) if is_text else [inputs.text(one) for one in captions or []]  # type: ignore[arg-type]
        if len(texts) != len(given):
            raise Refusal("matrix_shape", images=len(given), captions=len(texts))
        scale = None if logit_scale is None else contrastive.check_scale(logit_scale)
        sources = [inputs.image(files_in.uploaded(image)) for image in given]
        return contrastive.match(classifier.model(checkpoint), sources, texts, scale).to_json()


# --- batches ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """The inputs of the tab.

    Attributes:
        where: the name of a set of data.toml, "scenes:7" by a seed, or "uploaded".
        scale_of: what `learned_scale` made when the slider was last set.
        before: the loss of the last answer.
    """

    where: str = form.memory(START)
    count: float = form.slider(LOW, HIGH, FIRST, text("pairs"), place="top")
    captions: str = form.words(text("batch_captions"), lines=6)
    scale: float = form.slider(
        *answers.SCALES, answers.SCALES[0], text("temperature"), step=0.01, place="top"
    )
    view: str = form.choice(matrix.VIEWS, "rows", text("view"))
    seed: int = form.number(1, text("seed"))
    files: tuple[str, ...] | None = form.upload(text("own_images"), height=150)
    scale_of: str = form.memory("")
    before: str = form.memory("")


@lru_cache(maxsize=8)
def scenes(seed: int, count: int, side: int) -> list[Pair]:
    """Scenes of the classroom with captions, no caption twice."""
    from core.classroom.world.pairs import captioned

    return captioned(count, seed, side)


def source(text: str) -> tuple[str, int]:
    """ "scenes:7" -> ("scenes", 7); the name of a set or "uploaded" has no seed; any other text is the first set."""
    name, _, seed = (text or "").partition(":")
    if name == SCENES and seed.isdecimal() and len(seed) < 10:
        return SCENES, int(seed)
    return (name if name in SETS or name == UPLOADED else START), 0


def images_of(batch: Batch) -> list[Image.Image]:
    """The n images of a batch.

    Raises:
        Refusal: "no_image" for an upload without files, "batch_size", or what an image is refused for.
    """
    name, seed = source(batch.where)
    if name == SCENES:
        return [pair.picture for pair in scenes(seed, HIGH, 224)][: int(batch.count)]
    if name == UPLOADED:
        if not batch.files:
            raise Refusal("no_image")
        if not LOW <= len(batch.files) <= HIGH:
            raise Refusal("batch_size", low=LOW, high=HIGH, count=len(batch.files))
        return [inputs.image(file) for file in batch.files]
    return [example(one) for one in SETS[name]["images"][: int(batch.count)]]


@lru_cache(maxsize=64)
def example(name: str) -> Image.Image:
    """One of the example images; "mirror:NAME" is the same turned around."""
    image = inputs.image(library.shared()[name.removeprefix("mirror:")]["path"])
    return ImageOps.mirror(image) if name.startswith("mirror:") else image


def captions_of(batch: Batch, checkpoint: str, lang: str) -> list[str]:
    """The captions that belong to the images; for uploads the most probable everyday words, as a first draft."""
    name, seed = source(batch.where)
    language = classifier.language(checkpoint, lang)
    if name == SCENES:
        return [pair.caption[language] for pair in scenes(seed, HIGH, 224)][: int(batch.count)]
    if name == UPLOADED:
        from core.clip.zero_shot import background_words

        model, words = classifier.model(checkpoint), background_words(language)
        answers = [model.classify(image, words) for image in images_of(batch)]
        return [one.labels[one.order[0]] for one in answers]
    row = SETS[name]
    own = row.get(language) or [library.shared()[one]["caption"][language] for one in row["images"]]
    return own[: int(batch.count)]


def lines_of(captions: str) -> list[str]:
    """The captions of the box, one a line, cleaned."""
    return [inputs.text(line) for line in (captions or "").splitlines() if line.strip()]


# --- handlers --------------------------------------------------------------------------------------------


Change = Callable[[Batch], Batch]


def drafted(batch: Batch, checkpoint: str, lang: str) -> Batch:
    """The batch with the captions that belong to its images."""
    captions = captions_of(batch, checkpoint, lang)
    return replace(batch, captions="\n".join(captions), count=len(captions), before="")


def composed(batch: Batch) -> Batch:
    """Scenes of the seed."""
    return replace(batch, where=f"{SCENES}:{int(batch.seed or 0)}")


def swapped(batch: Batch) -> Batch:
    """The first two captions change places."""
    lines = lines_of(batch.captions)
    return replace(batch, captions="\n".join([*lines[1::-1], *lines[2:]]))


def shuffled(batch: Batch) -> Batch:
    """No caption stays where it is: a random cycle."""
    lines = lines_of(batch.captions)
    order = random.sample(range(len(lines)), len(lines))
    moved = list(lines)
    for at, to in zip(order, [*order[1:], *order[:1]], strict=True):
        moved[to] = lines[at]
    return replace(batch, captions="\n".join(moved))


def ask(change: Change, drafts: bool, question: Question, *values: Any) -> dict[str, Any]:
    """The answer to a changed batch.

    Args:
        change: of the batch.
        drafts: whether the captions are written anew; a batch without captions gets them in any case.
        question: of the page.
        values: those of a `Batch`, and the language.
    """
    *given, lang = values
    batch = change(Batch(*given))
    if drafts or not batch.captions:
        batch = drafted(batch, question.checkpoint, lang)
    slots = compute(batch, question.checkpoint, lang)
    return {"where": batch.where, "count": batch.count, "captions": batch.captions, **slots}


def compute(batch: Batch, checkpoint: str, lang: str) -> dict[str, Any]:
    """The loss, the matrix, the pseudocode with its values, the loss at other temperatures, the slider."""
    from core.clip import contrastive

    images = images_of(batch)
    model = classifier.model(checkpoint)
    scale = answers.own_scale(batch.scale, batch.scale_of, model.checkpoint) if batch.scale_of else None
    answer = contrastive.match(model, images, lines_of(batch.captions), scale)
    made, view = answer.contrast, batch.view if batch.view in matrix.VIEWS else "rows"
    title = f"CLIP · {answer.checkpoint} · loss {made.loss:.3f}"
    downloads = files_in.downloads(
        [
            draw.json_file("clip-batch.json", answer.to_json()),
            draw.csv_file("clip-batch.csv", matrix.to_csv(answer)),
            ("clip-batch.png", "image/png", matrix.to_png(answer, images, view, title)),
        ]
    )
    is_outside = source(batch.where)[0] in (UPLOADED, "photos")
    digest = inputs.digest(images[0]) if is_outside else ""
    more = answer.notes.sentences(lang)
    hint = results.notes(answer.checkpoint, lang, digest=digest, more=more)["notes"]
    line = results.line(answer.seconds, answer.checkpoint, answer.device, lang)
    info = say("learned", lang, scale=answer.learned_logit_scale)
    return {
        "card": matrix.loss_card(answer, float(batch.before) if batch.before else None, lang),
        "note": matrix.note(view, lang),
        "plot": matrix.figure(answer, [draw.data_uri(image, 96) for image in images], view, lang),
        "line": hint + line + Markup(downloads),
        "curve": charts.temperature_figure(answer, lang),
        "code": matrix.code_table(made.lines, lang),
        "scale": gr.update(value=round(made.logit_scale, 2), info=info),
        "scale_of": answers.learned_scale(answer.checkpoint, answer.learned_logit_scale),
        "before": f"{made.loss:.6f}",
    }


def harder(question: Question, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The job that measures loss and accuracy for batches of 2 to 64 scenes; encoding comes first, an image at a time."""
    from core.clip import atlas, contrastive

    start = time.perf_counter()
    yield Progress(None, say("composing", lang, count=POOL))
    pairs = scenes(0, POOL, POOL_SIDE)
    model = classifier.model(question.checkpoint)
    language = classifier.language(model.checkpoint, lang)
    images, captions = [pair.picture for pair in pairs], [pair.caption[language] for pair in pairs]
    encoding = atlas.encoding(model, images, captions, cancel)
    vectors = yield from timed(encoding, partial(say, "encoding", lang))
    count = len(pairs)
    scale = model.classify(images[0], captions[:1]).learned_logit_scale
    measured = contrastive.difficulty(vectors[:count], vectors[count:], scale)
    line = results.line(time.perf_counter() - start, model.checkpoint, model.device, lang)
    yield {"curves": charts.difficulty_figure(measured, lang), "line": line}


# --- layout ----------------------------------------------------------------------------------------------


def lay_out(layout: Layout) -> None:
    """Lays the tab out and wires it."""
    tab: Any = Context.block
    own: dict[str, Any] = {"own_inputs": True, "own_checkpoint": False}
    gr.Markdown(text("batch").tr)
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            chosen = button_row("batch", {name: Text(**row["title"]) for name, row in SETS.items()})
            fields = form.lay_out_fields(Batch, "batch", text("more_batch"))
            changes = button_row("batch", {name: text(name) for name in CHANGES})
        with gr.Column(scale=6, min_width=320):
            slots: dict[str, Any] = dict.fromkeys(("card", "note", "plot", "line", "curve"), output)
            slots |= {"plot": components.plot, "code": folded(text("pseudocode"))}
            place = layout.place("batch", Text("Compute the loss", "计算损失"), slots, **own)

    def on(triggers: Any, change: Change = replace, drafts: bool = False) -> None:
        layout.ask(triggers, place, partial(ask, change, drafts), list(fields.values()), fields=fields)

    for name, button in chosen.items():
        count = FIRST if name == START else len(SETS[name]["images"])  # the first set begins with fewer
        on(button.click, partial(replace, where=name, count=count), drafts=True)
    on([fields["count"].release, changes["reset"].click], drafts=True)
    on(fields["files"].upload, partial(replace, where=UPLOADED), drafts=True)
    on(changes["scenes"].click, composed, drafts=True)
    on(changes["swap"].click, swapped)
    on(changes["shuffle"].click, shuffled)
    # A tab inside a group comes into view when either is chosen.
    openings = [tab.select, tab.parent.parent.select]
    on([place.button.click, fields["view"].input, fields["scale"].release, *openings])

    gr.Markdown(text("harder").tr)
    measure = layout.place("harder", Text("Measure n = 2 … 64", "测量 n = 2 … 64"), {"curves": output}, **own)
    layout.ask(measure.button.click, measure, harder)
