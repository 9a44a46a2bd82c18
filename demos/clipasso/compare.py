"""The *Compare* tab of the CLIPasso page: meaning against shape, attention against chance, a sketch against Canny's edges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core.runtime import Cancel
from demos.clipasso import answer as handlers
from demos.draw import strokes as sketch_draw
from demos.kit import jobs
from demos.kit import sketch_runs as runs
from demos.kit.components import output
from demos.kit.shell import Shell, pick, tr

if TYPE_CHECKING:
    from demos.kit.sketch_runs import Made

LOSSES = (
    "The **semantic** loss asks whether CLIP's final features agree: what is it? The **geometric** loss compares layers in "
    "the middle: where is it, and how does it stand? Left only shape, right only meaning, your mixture between them. Each "
    "curve is of its own loss: compare the drawings and their names, not the curves.",
    "**语义**损失比较 CLIP 的最终特征：这是什么？**几何**损失比较中间层：它在哪里，是什么姿势？"
    "左边只看形状，右边只看含义，中间是你调的混合。三条曲线是三种不同的损失：请比较画和名字，不要比较曲线。",
)
STARTS = (
    "The same strokes, once begun where CLIP looks and once anywhere; only the start differs. *Predict first:* how many "
    "steps behind is chance?",
    "同样的笔画，一次从 CLIP 注视处开始，一次从随机位置开始，只有起点不同。*先猜一猜：*随机起点会落后多少步？",
)
EDGES = (
    "An edge detector (Canny) knows no objects. It may spend exactly as much ink as the last sketch of the first tab: whose "
    "drawing does CLIP read better?",
    "边缘检测（Canny）不认识物体。让它用掉和第一个标签页里最近那幅速写一样多的墨：CLIP 更认得出谁的画？",
)


def losses(
    cancel: Cancel,
    picture: str | None,
    strokes: float,
    semantic: float,
    geometric: float,
    steps: float,
    labels: str,
    checkpoint: str,
    lang: str,
) -> Iterator[tuple[Any, ...]]:
    """Shape alone, the mixture, meaning alone: three columns of one run."""
    from core.drawing.clipasso import SketchSettings, Variant

    count = int(strokes)
    variants = (
        Variant(count, 0.0, 1.0),
        Variant(count, float(semantic), float(geometric)),
        Variant(count, 1.0, 0.0),
    )
    settings = SketchSettings(variants, seeds=1, steps=int(steps) or None, checkpoint=checkpoint)

    mixture = f"{semantic:g} : {geometric:g}"
    titles = [
        pick(lang, "only shape", "只看形状"),
        pick(lang, f"meaning : shape = {mixture}", f"含义 : 形状 = {mixture}"),
        pick(lang, "only meaning", "只看含义"),
    ]

    names = runs.label_list(labels)
    for status, message, _ in handlers.watch(
        cancel, handlers.picture_of(picture), settings, titles, names, lang
    ):
        yield status, message


def starts(
    cancel: Cancel,
    picture: str | None,
    strokes: float,
    seeds: float,
    steps: float,
    labels: str,
    checkpoint: str,
    lang: str,
) -> Iterator[tuple[Any, ...]]:
    """Saliency against chance; then the step at which the one is where the other ends."""
    from core.drawing.clipasso import SketchSettings, Variant

    variants = (Variant(int(strokes)), Variant(int(strokes), start="random"))
    settings = SketchSettings(variants, seeds=int(seeds), steps=int(steps) or None, checkpoint=checkpoint)

    titles = [pick(lang, "where CLIP looks", "CLIP 注视处"), pick(lang, "anywhere", "随机")]

    names = runs.label_list(labels)
    for status, message, made in handlers.watch(
        cancel, handlers.picture_of(picture), settings, titles, names, lang
    ):
        yield status, message, (sooner(made, lang) if made else "")


def reached(curves: np.ndarray, loss: float) -> int | None:
    """The first step at which the mean of the seeds' lowest losses so far is at most `loss`; None if it never is.

    Args:
        curves: [N, T] plain losses; nan where they were not judged.
        loss: to be reached.
    """
    lowest = np.minimum.accumulate(np.nan_to_num(curves, nan=np.inf), axis=1).mean(0)
    found = np.flatnonzero(lowest <= loss)
    return int(found[0]) if len(found) else None


def sooner(made: Made, lang: str) -> str:
    """How many steps the better start is ahead."""
    salient, chance = (one.curves for one in made.result.drawn)
    final = float(np.nanmin(chance, axis=1).mean())
    step = reached(salient, final)
    if step is None:
        sentence = pick(
            lang,
            f"This time chance was luckier: the start where CLIP looks never reached {final:.3f}.",
            f"这次随机运气更好：从注视处开始始终没有达到 {final:.3f}。",
        )
    else:
        sentence = pick(
            lang,
            f"Where chance ends ({final:.3f}, {made.result.steps} steps), the start where CLIP looks was after {step} steps.",
            f"随机起点走完 {made.result.steps} 步才到的 {final:.3f}，从注视处开始只用了 {step} 步。",
        )
    return f'<p class="atlas-verdict some">{sentence}</p>'


def edges(made: Made | None, lang: str) -> tuple[str]:
    """Picture, sketch and Canny's drawing with the ink of the sketch, and what the guide says of them."""
    from core.drawing import canny, clipasso

    made = runs.needed(made)
    result, one = made.result, made.result.drawn[0]
    width = float(one.strokes.widths.mean())
    sketch = one.strokes.image()
    ink = canny.ink(sketch)
    rival = canny.at_ink(result.start.picture, ink, width)
    drawings = [result.start.picture, sketch, rival]
    losses, features = clipasso.judged_drawings(made.image, drawings, result.settings)
    titles = [
        pick(lang, "The picture", "原图"),
        pick(lang, f"CLIPasso, {len(one.strokes)} strokes", f"CLIPasso，{len(one.strokes)} 笔"),
        pick(lang, "Canny at equal ink", "等墨量的 Canny"),
    ]
    shown = []
    for i, (drawing, title) in enumerate(zip(drawings, titles, strict=True)):
        name = None
        if made.labels:
            name = runs.named(features[i], made.labels, result.checkpoint).to_json()["results"][0]
        caption = sketch_draw.ink_caption(canny.ink(drawing), float(losses[i]), name, lang)
        shown.append((sketch_draw.png_uri(drawing), title, caption))
    return (sketch_draw.figures(shown),)


# --- layout ----------------------------------------------------------------------------------------------------


def compare_tab(
    page: Shell, picture: Any, labels: gr.Textbox, checkpoint: gr.Dropdown, made: gr.State
) -> None:
    """Lays the tab out and wires it."""
    few = handlers.CONFIG["compare_steps"]
    with gr.Row(equal_height=True):
        strokes = gr.Slider(1, 64, value=16, step=1, label=tr("Strokes", "笔画数"), elem_id="compare-strokes")
        steps = gr.Slider(10, 2001, value=few, step=1, label=tr("Steps", "步数"), elem_id="compare-steps")
    with gr.Tabs():
        with gr.Tab(tr("Meaning or shape", "含义还是形状"), id="losses", elem_id="tab-losses"):
            gr.Markdown(tr(*LOSSES))
            with gr.Row(equal_height=True):
                semantic = gr.Slider(
                    0,
                    10,
                    value=1,
                    step=0.1,
                    label=tr("Meaning (semantic)", "含义（语义）"),
                    elem_id="semantic",
                )
                geometric = gr.Slider(
                    0,
                    10,
                    value=1,
                    step=0.1,
                    label=tr("Shape (geometric)", "形状（几何）"),
                    elem_id="geometric",
                )
            run = gr.Button(tr("Draw all three", "三种都画"), variant="primary", elem_id="losses-button")
            stop = jobs.stop_button("losses-stop")
            status, view = output("losses-status"), sketch_draw.surface("losses-view")
            given = [picture, strokes, semantic, geometric, steps, labels, checkpoint]
            jobs.long_job(page, [run.click], (run, stop), losses, given, [status, view])
        with gr.Tab(tr("Where to begin", "从哪里开始"), id="starts", elem_id="tab-starts"):
            gr.Markdown(tr(*STARTS))
            seeds = gr.Slider(1, 8, value=2, step=1, label=tr("Seeds", "种子数"), elem_id="starts-seeds")
            run = gr.Button(tr("Draw both", "两种都画"), variant="primary", elem_id="starts-button")
            stop = jobs.stop_button("starts-stop")
            status, view = output("starts-status"), sketch_draw.surface("starts-view")
            verdict = output("starts-verdict")
            given = [picture, strokes, seeds, steps, labels, checkpoint]
            jobs.long_job(page, [run.click], (run, stop), starts, given, [status, view, verdict])
        with gr.Tab(tr("Against edge detection", "对比边缘检测"), id="edges", elem_id="tab-edges"):
            gr.Markdown(tr(*EDGES))
            run = gr.Button(
                tr("Compare the last sketch", "比较最近的速写"), variant="primary", elem_id="edges-button"
            )
            shown = output("edges-out")
            page.on(run.click, edges, [made], [shown])
