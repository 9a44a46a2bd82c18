"""What the CLIP page does: one handler per verb, and the named endpoints.

Each takes plain values, calls `core.clip`, and lets `demos.draw.base` turn the result into what is seen.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.clip import prompts
from core.errors import Refusal
from demos.draw import base as draw
from demos.draw import sigmoid as draw_sigmoid
from demos.kit import classifier, library, scenes_link, shell
from demos.kit.examples import chosen as strip_choice
from demos.kit.form import LONGEST
from demos.kit.shell import pick

if TYPE_CHECKING:
    from core.clip import Classification, EncodedImage

RECORDED = library.ASSETS / "clip" / "recorded.json"
OPENING = "red_envelope"
COMPARED = ["none", "photo", "drawing", "seven"]
SCALES = (1.0, 200.0)
ABSENT = {"en": "plane, dog, car, bird", "zh": "飞机，狗，汽车，鸟"}
POLYSEMY = {
    "en": ("mouse, computer, cheese", "a {}\na {}, a small animal\na {}, a part of a computer"),
    "zh": ("老鼠，电脑，奶酪", "{}\n{}，一种小动物\n{}，电脑的一部分"),
}


examples = library.shared
model = classifier.model


# --- endpoints -------------------------------------------------------------------------------------------


def clip_classify(
    image: gr.FileData,
    labels: list[str] | str,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank labels for a picture with a CLIP model (zero-shot classification).

    Args:
        image: a picture file, or a data URI.
        labels: a list, or one string with commas; at most 1,000, in a language of the checkpoint.
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "results": [{"label", "probability", "cosine"}, ...]}, best first. Where there are any,
        "merged": {label: the label that the checkpoint reads the same}, "truncated": labels whose ends it does not read.
    """
    with shell.api_errors():
        names = inputs.labels(labels, limit=1000)
        picture = inputs.image(shell.uploaded(image))
        return model(checkpoint).classify(picture, names, template).to_json()


def clip_compare_templates(
    image: gr.FileData,
    labels: list[str] | str,
    templates: list[str] | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank the same labels under several prompt templates; the picture is encoded once.

    Args:
        image: a picture file, or a data URI.
        labels: a list, or one string with commas; at most 100.
        templates: names of template sets or sentences with {}; four common ones when left out.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "templates": {template: results as in clip_classify}}.
    """
    with shell.api_errors():
        names = inputs.labels(labels)
        picture = inputs.image(shell.uploaded(image))
        chosen = templates or COMPARED
        clip = model(checkpoint)
        start = time.perf_counter()
        results = clip.compare_templates(picture, names, chosen)
        seconds = time.perf_counter() - start
        return {
            "checkpoint": results[0].checkpoint,
            "seconds": round(seconds, 4),
            "templates": {
                name: result.to_json()["results"] for name, result in zip(chosen, results, strict=True)
            },
        }


# --- handlers --------------------------------------------------------------------------------------------


def shown_line(result: Classification, encoded: EncodedImage, seconds: float, lang: str) -> str:
    """The result line; what a sigmoid's probabilities mean, and a hint to a miniature's picture from outside."""
    line = shell.result_line(seconds, result.checkpoint, result.device, lang)
    if result.normalisation == "sigmoid":
        shares = result.probabilities.tolist()
        line = draw_sigmoid.sum_note(shares, result.logit_scale, result.logit_bias, lang) + line
    is_miniature = checkpoints.row(result.checkpoint).bundled is not None
    drawn = encoded.digest in library.classroom_digests() or scenes_link.is_drawn(encoded.digest)
    outside = is_miniature and not drawn
    return line + (shell.hint(lang) if outside else "")


def classify(
    picture: str | None,
    labels: str,
    template: str,
    own: str,
    scale: float,
    scale_of: str,
    checkpoint: str,
    lang: str,
) -> tuple[Any, ...]:
    """Bars, result line, relevance, slider with its mark, and downloads.

    The slider belongs to the checkpoint it was last set for: another one brings its own learned value.
    """
    image, names = inputs.image(shell.picture_source(picture)), inputs.labels(labels)
    clip = model(checkpoint)
    start = time.perf_counter()
    encoded = clip.encode(image)
    result = clip.classify(
        encoded,
        names,
        classifier.template(template, own),
        float(scale) if scale_of == clip.checkpoint else None,
    )
    seconds = time.perf_counter() - start
    answer = result.to_json()
    rows, best = answer["results"], int(result.order[0])
    files = [
        ("clip.json", "application/json", draw.to_json(answer).encode()),
        ("clip.csv", "text/csv", draw.to_csv(rows).encode("utf-8-sig")),
        ("clip.svg", "image/svg+xml", draw.bars_svg(rows, f"CLIP · {result.checkpoint}").encode()),
        ("clip.png", "image/png", draw.png_beside(image, rows)),
    ]
    return (
        draw.probability_bars(rows, lang),
        shown_line(result, encoded, seconds, lang) + shell.downloads(files),
        draw.relevance_figure(image, result.relevance[best], result.crop, result.labels[best], lang),
        result.logit_scale,
        draw.scale_mark(result.learned_logit_scale, *SCALES, lang),
        result.checkpoint,
    )


def absent(
    picture: str | None, labels: str, absent_labels: str, template: str, own: str, checkpoint: str, lang: str
) -> tuple[str, str, str]:
    """The red-envelope experiment: bars and readings for a label set with the answer and one without."""
    image = inputs.image(shell.picture_source(picture))
    present, missing = inputs.labels(labels), inputs.labels(absent_labels)
    clip = model(checkpoint)
    start = time.perf_counter()
    encoded = clip.encode(image)
    templates = classifier.template(template, own)
    language = "zh" if any("\u4e00" <= letter <= "\u9fff" for letter in labels + absent_labels) else "en"
    line = clip.absence_line(encoded, templates, language)
    shown = []
    for names in (present, missing):
        result = clip.classify(encoded, names, templates)
        rows = result.to_json()["results"]
        reading = draw_sigmoid.absence_reading if result.normalisation == "sigmoid" else draw.absence_reading
        shown.append(draw.probability_bars(rows, lang) + reading(rows[0], line, lang))
    return shown[0], shown[1], shown_line(result, encoded, time.perf_counter() - start, lang)


def compare(
    picture: str | None, labels: str, chosen: list[str], own: str, checkpoint: str, lang: str
) -> tuple[str, str]:
    """The same labels under the chosen sets and every own template, side by side."""
    image, names = inputs.image(shell.picture_source(picture)), inputs.labels(labels)
    own_lines = [line.strip() for line in (own or "").splitlines() if line.strip()]
    wanted = [*chosen, *own_lines] or ["none"]
    clip = model(checkpoint)
    start = time.perf_counter()
    encoded = clip.encode(image)
    results = clip.compare_templates(encoded, names, wanted)
    seconds = time.perf_counter() - start
    sets = prompts.template_sets()
    titles = [pick(lang, sets[name].en, sets[name].zh) if name in sets else name for name in wanted]
    columns = [(title, result.to_json()["results"]) for title, result in zip(titles, results, strict=True)]
    return draw.template_table(columns, results[0].labels, lang), shown_line(
        results[-1], encoded, seconds, lang
    )


# --- opening ---------------------------------------------------------------------------------------------


def recorded(lang: str) -> str:
    """The recorded answer that a fresh page shows, marked as recorded."""
    record = json.loads(RECORDED.read_text(encoding="utf-8"))[lang]
    note = pick(
        lang,
        f"Recorded example ({record['checkpoint']}); press Classify to run it.",
        f"预先记录的例子（{record['checkpoint']}）；点“分类”即可现场运行。",
    )
    return f'<p class="atlas-line">{note}</p>' + draw.probability_bars(record["results"], lang)


def polysemy(lang: str) -> tuple[str, str, list[str]]:
    """A word with two senses and templates that tell them apart: labels, own templates, no named sets."""
    labels, templates = POLYSEMY[lang]
    return labels, templates, []


def fill(name: str, lang: str) -> tuple[str, ...]:
    """Everything an example fills in: picture, three boxes of labels, labels that are absent, its id, no scene."""
    row = examples()[name]
    labels = row["labels"][lang]
    return row["path"], labels, labels, ABSENT[lang], labels, name, ""


def choose(value: str, lang: str) -> tuple[Any, ...]:
    """What a click on the strip of examples fills in."""
    name = strip_choice(value, examples())
    return fill(name, lang) if name else (gr.skip(),) * 7


def opened(lang: str, query: dict[str, str]) -> tuple[Any, ...]:
    """A page's first state: what its address asks for, an example or a scene, else the recorded example."""
    fresh = not {"example", "labels", scenes_link.PARAMETER} & set(query)
    name, template = query.get("example", OPENING), query.get("template", "none")
    note = recorded(lang) if fresh else ""
    filled = fill(name if name in examples() else OPENING, lang)
    try:
        scene = scenes_link.opened(query, lang)
    except Refusal as refusal:
        scene, note = None, shell.refusal_html(refusal, lang) + recorded(lang)
    if scene:
        labels = scene.labels
        filled = (scene.path, labels, labels, ABSENT[lang], labels, "", query[scenes_link.PARAMETER])
    path, labels, *others = filled
    labels = query.get("labels", labels)[:LONGEST]
    known = template if template in prompts.template_sets() else "none"
    return path, labels, *others, note, known
