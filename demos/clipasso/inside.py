"""The *Look inside* tab of the CLIPasso page: where strokes began and why, and what each one is worth to the guide."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import gradio as gr

from demos.draw import strokes as sketch_draw
from demos.kit import sketch_runs as runs
from demos.kit.components import output
from demos.kit.shell import Shell, pick, tr

if TYPE_CHECKING:
    from demos.kit.sketch_runs import Made

IDEA = (
    "Of the last sketch of the first tab: where its strokes began, and what each of them is worth. *Predict first:* which "
    "stroke could go without harm? Press a stroke to take it away.",
    "针对第一个标签页里的最近一幅速写：笔画从哪里开始，每一笔值多少。*先猜一猜：*哪一笔去掉也无妨？点一笔把它拿走。",
)


def inside(made: Made | None, lang: str) -> tuple[str, str, str]:
    """The maps before the first step, the sketch with the worth of its strokes, and the labels as it grew."""
    made = runs.needed(made)
    result = made.result
    return sketch_draw.start_maps(result.start, lang), worth(made, lang), growth(made, lang)


def worth(made: Made, lang: str) -> str:
    """The message of a surface on which strokes are pressed: the darker one is, the more the loss would miss it."""
    from core.drawing import clipasso

    one = made.result.drawn[0]
    settings = made.result.settings
    whole, change = clipasso.leave_one_out(made.image, one.strokes, settings)
    return sketch_draw.valued(str(time.time_ns()), one.strokes, whole, change)


def growth(made: Made, lang: str) -> str:
    """What the guide read in the sketch at eight moments of the run."""
    from core.drawing import clipasso, film

    one = made.result.drawn[0]
    keep = sketch_draw.spread(len(one.history), 8)
    pictures = film.pixels([one.history[i] for i in keep], 224)
    losses, features = clipasso.judged_drawings(made.image, list(pictures), made.result.settings)
    shown = []
    for i, picture, loss, feature in zip(keep, pictures, losses, features, strict=True):
        title = pick(lang, f"Step {one.history_steps[i]}", f"第 {one.history_steps[i]} 步")
        caption = pick(lang, f"loss {loss:.3f}", f"损失 {loss:.3f}")
        if made.labels:
            best = runs.named(feature, made.labels, made.result.checkpoint).to_json()["results"][0]
            caption = f"{best['label']} {best['probability']:.0%} · {caption}"
        shown.append((sketch_draw.png_uri(picture), title, caption))
    return sketch_draw.figures(shown)


def inside_tab(page: Shell, made: gr.State) -> None:
    """Lays the tab out and wires it."""
    gr.Markdown(tr(*IDEA))
    run = gr.Button(
        tr("Look inside the last sketch", "看看最近这幅速写"), variant="primary", elem_id="inside-button"
    )
    gr.Markdown(tr("### Where strokes begin", "### 笔画从哪里开始"))
    maps = output("inside-maps")
    gr.Markdown(tr("### What each stroke is worth", "### 每一笔值多少"))
    view: Any = sketch_draw.surface("inside-view")
    gr.Markdown(tr("### What CLIP read while it grew", "### 生长过程中 CLIP 读到了什么"))
    moments = output("inside-growth")
    page.on(run.click, inside, [made], [maps, view, moments])
