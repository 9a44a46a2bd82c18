"""The *Compare* tab: the same labels for two pictures, or for two checkpoints, side by side."""

from __future__ import annotations

from typing import Any

import gradio as gr

from core import checkpoints, inputs
from core.errors import Refusal
from demos.clip import answer as handlers
from demos.clip import pair_draw
from demos.clip.shared import Common
from demos.draw import base as draw
from demos.kit import library, menu, shell
from demos.kit.components import output
from demos.kit.examples import chosen, strip
from demos.kit.language import Text
from demos.kit.shell import tr

SAME = ""
STATES = {"bundled": Text("built in", "内置"), "cached": Text("downloaded", "已下载")}
ABSENT = Text("not on this machine yet", "尚未下载")
IDEA = (
    "The same labels for two pictures, or for two checkpoints. Change one thing at a time, and what moves was moved by it. "
    "*Predict first:* which label will gain?",
    "同样的标签，换一张图片，或换一组权重。一次只改一样，变化就来自它。*先猜一猜：*哪个标签会上升？",
)


# --- endpoint --------------------------------------------------------------------------------------------


def clip_compare(
    image: gr.FileData,
    labels: list[str] | str,
    other_image: gr.FileData | None = None,
    other_checkpoint: str | None = None,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank the same labels for two pictures, or with two checkpoints.

    Args:
        image: a picture file, or a data URI.
        labels: a list, or one string with commas; at most 100.
        other_image: the second picture; the same when left out.
        other_checkpoint: the row asked about the second picture; the same when left out.
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"seconds", "similarity": cosine of the two pictures or null for two checkpoints, "first" and "second":
        {"checkpoint", "results" as in clip_classify}}.
    """
    from core.clip import edit

    with shell.api_errors():
        names = inputs.labels(labels)
        first = inputs.image(shell.uploaded(image))
        second = first if other_image is None else inputs.image(shell.uploaded(other_image))
        model = handlers.model(checkpoint)
        other = handlers.model(other_checkpoint) if other_checkpoint else model
        return edit.ask_twice((model, other), (first, second), names, template).to_json()


# --- handlers --------------------------------------------------------------------------------------------


def compare(
    picture: str | None, other: str | None, labels: str, second: str, checkpoint: str, lang: str
) -> tuple[str, str, str]:
    """Both sides, the table of both answers, and the result line."""
    from core.clip import edit

    names = inputs.labels(labels)
    images = (inputs.image(shell.picture_source(picture)),) * 2
    if other:
        images = images[0], inputs.image(shell.picture_source(other))
    model = handlers.model(checkpoint)
    models = (model, handlers.model(second) if second and second != SAME else model)
    if models[0] == models[1] and inputs.digest(images[0]) == inputs.digest(images[1]):
        raise Refusal("nothing_to_compare")
    pair = edit.ask_twice(models, images, names)
    titles = [checkpoints.row(one.checkpoint).title[lang] for one in models]
    body = pair_draw.columns(((titles[0], images[0]), (titles[1], images[1])), lang) + pair_draw.verdict(
        pair, lang
    )
    line = shell.result_line(pair.seconds, model.checkpoint, model.device, lang)
    worlds = [checkpoints.row(one.checkpoint).bundled is not None for one in models]
    outside = [inputs.digest(image) not in library.classroom_digests() for image in images]
    if any(mini and strange for mini, strange in zip(worlds, outside, strict=True)):
        line += shell.hint(lang)
    files = [
        ("clip-compare.json", "application/json", draw.to_json(pair.to_json()).encode()),
        ("clip-compare.csv", "text/csv", pair_draw.to_csv(pair).encode("utf-8-sig")),
    ]
    return body, pair_draw.table(pair, lang), line + shell.downloads(files)


def take(value: str, lang: str) -> tuple[Any, ...]:
    """The example that was clicked becomes the second picture."""
    name = chosen(value, handlers.examples())
    return (handlers.examples()[name]["path"],) if name else (gr.skip(),)


def rows() -> list[tuple[Any, str]]:
    """The checkpoints that may be asked second."""
    found: list[tuple[Any, str]] = [(tr("the same checkpoint", "同一组权重"), SAME)]
    for row in menu.offered("clip"):
        state = STATES.get(checkpoints.state(row.name), ABSENT)
        found.append((tr(f"{row.title['en']} · {state.en}", f"{row.title['zh']} · {state.zh}"), row.name))
    return found


# --- layout ----------------------------------------------------------------------------------------------


def compare_tab(common: Common) -> None:
    """Lays the tab out and wires it."""
    page = common.page
    gr.Markdown(tr(*IDEA))
    with gr.Row():
        with gr.Column(min_width=240):
            other = shell.picture_input(
                height=220, elem_id="compare-picture", label=tr("Second picture (B)", "第二张图片（B）")
            )
        with gr.Column(min_width=240):
            second = gr.Dropdown(
                rows(),
                value=SAME,
                label=tr("Second checkpoint (B)", "第二组权重（B）"),
                elem_id="compare-checkpoint",
                filterable=False,
            )
            thumbnails = strip(handlers.examples(), "compare-examples")
    run = gr.Button(tr("Compare A with B", "比较 A 与 B"), variant="primary", elem_id="compare-button")
    sides, table, line = output("compare-sides"), output("compare-out"), output("compare-line")
    asked = [common.picture, other, common.labels, second, common.checkpoint]
    shown = [sides, table, line]
    page.on(run.click, compare, asked, shown)
    picked = page.on(thumbnails.change, take, [thumbnails], [other], show_progress="hidden")
    page.then(picked, compare, asked, shown)
    gr.api(clip_compare, api_name="clip_compare")
