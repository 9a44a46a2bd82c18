"""The *Train it live* tab of the LSeg and the GroupViT page: a segmenter learns while one watches its mask.

Loss, IoU and the mask of a fixed scene whose pair of things no training scene shows come every few seconds. One lesson
runs at a time on a server, of this kind or of CLIP's.
"""

from __future__ import annotations

import base64
import csv
import io
import random
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import Context

from core.classroom.recipes.common import lessons
from demos.draw import charts as curves
from demos.draw import masks as segment_draw
from demos.kit import jobs, shell
from demos.kit.components import mask_stage, output
from demos.kit.jobs import Stops
from demos.kit.language import Text
from demos.kit.shell import Shell, pick, tr

if TYPE_CHECKING:
    from core.classroom.recipes.common.live_masks import Frame, Lesson

STOPS = Stops()
OPACITY = 0.65
SETTING_UP = 1.0  # minutes that the seat is held for what comes before the first step
IDEA = {
    "lseg": Text(
        "The decoder of a small LSeg starts as what CLIP says of each place, and learns from masks to draw: watch its edges "
        "tighten on a pair of things that it never sees together. *Predict first:* does it learn **where** or **what** "
        "sooner?",
        "小小的 LSeg 解码器一开始只会转述 CLIP 对每个位置的看法，再从掩码学会描边：看它在一对从未同时见过的东西上越画越准。"
        "*先猜一猜*：它先学会“在哪里”，还是先学会“是什么”？",
    ),
    "groupvit": Text(
        "No mask is ever shown to it: from captions alone a small GroupViT finds out which patches belong together. "
        "*Predict first:* will its groups follow the two things, or their parts?",
        "它从没见过任何掩码：小小的 GroupViT 只靠图片描述，就要弄清哪些图块属于一起。"
        "*先猜一猜*：它的分组会跟着两样东西走，还是跟着它们的局部走？",
    ),
}
SAID = {
    "lseg": Text("IoU of this scene", "这个场景的 IoU"),
    "groupvit": Text("IoU of this scene, each group rightly named", "这个场景的 IoU（每组都给对名字）"),
}
OFF = Text(
    "Training is switched off on this Space, which many people share. On your own computer this tab trains in minutes.",
    "这个 Space 由许多人共用，训练已关闭。在自己的电脑上，这个标签页几分钟就能训练。",
)


# --- handlers --------------------------------------------------------------------------------------------


def train(paper: str, session: str, minutes: float, lang: str) -> Generator[tuple[Any, ...], None, None]:
    """The lesson as it goes. Outputs: numbers and progress, mask, curves and truth, Start, Stop."""
    settings = lessons.MaskSettings(
        paper, float(minutes), "zh" if lang == "zh" else "en", random.randrange(1 << 16)
    )
    settings.check()
    same = gr.skip()
    with lessons.seat(settings.minutes + SETTING_UP), STOPS.job(session) as cancel:
        first = pick(lang, "Drawing the scenes, reading the names …", "正在画场景、读名称……")
        running = gr.update(visible=False), gr.update(visible=True, interactive=True)
        yield jobs.progress(None, first), "", "", *running
        try:
            from core.classroom.recipes.common.live_masks import lesson

            made = lesson(settings)
            for frame in made.run(cancel):
                buttons = (gr.update(visible=True), gr.update(visible=False)) if frame.done else (same, same)
                yield (
                    numbers(frame, settings, lang),
                    mask_view(frame, made, paper, lang),
                    curves_view(frame, made, settings, lang),
                    *buttons,
                )
        except Exception:
            # The message says why; the button has to come back.
            yield "", same, same, gr.update(visible=True), gr.update(visible=False)
            raise


def stop(session: str, lang: str) -> tuple[Any, ...]:
    """Asks the session's lesson to stop; its own handler shows that it has."""
    STOPS.stop(session)
    return (gr.update(interactive=False),)


def numbers(frame: Frame, settings: lessons.MaskSettings, lang: str) -> str:
    """The figures of a moment, and how far it is."""
    minutes, seconds = divmod(round(frame.left), 60)
    if frame.done:
        state = pick(lang, "Stopped.", "已停止。") if frame.stopped else pick(lang, "Done.", "完成。")
    else:
        state = pick(lang, f"{minutes}:{seconds:02d} left", f"剩余 {minutes}:{seconds:02d}")
    facts = pick(
        lang,
        f"{frame.step:,} steps · {frame.pictures:,} pictures · {state}",
        f"{frame.step:,} 步 · {frame.pictures:,} 张图片 · {state}",
    )
    losses = frame.points("loss")
    big = (
        (f"{frame.iou:.2f}", SAID[settings.paper].get(lang)),
        (f"{frame.mean_iou:.2f}", pick(lang, "mean of six new scenes", "六个新场景的平均")),
        (f"{losses[-1][1]:.2f}" if losses else "–", pick(lang, "loss", "损失")),
    )
    shown = "".join(f"<p><strong>{value}</strong> <span>{what}</span></p>" for value, what in big)
    share = 1.0 if frame.done else min(1.0, frame.seconds / (60 * settings.minutes))
    return f'<div class="live-numbers">{shown}</div>{jobs.progress(share, facts)}'


def mask_view(frame: Frame, lesson: Lesson, paper: str, lang: str) -> str:
    """The mask of the scene as the model draws it now."""
    names = [name if paper == "lseg" else f"{k + 1} · {name}" for k, name in enumerate(frame.names)]
    return segment_draw.overlay(lesson.picture, frame.mask, names, colours(paper, len(names)), OPACITY, lang)


def colours(paper: str, count: int) -> list[str]:
    """One for each name; LSeg's background, the first, leaves the picture as it is."""
    return ["", *segment_draw.palette(count - 1)] if paper == "lseg" else segment_draw.palette(count)


def curves_view(frame: Frame, lesson: Lesson, settings: lessons.MaskSettings, lang: str) -> str:
    """What is right, how IoU and loss went, and the numbers behind them as a file."""
    end = max(frame.seconds if frame.done else 60 * settings.minutes, 1.0)
    ticks = [(0.0, "0"), (end / 2, f"{end / 2:.0f}"), (end, f"{end:.0f}")]
    axis = pick(lang, "seconds", "秒")
    iou = curves.curve(
        [frame.points("mean iou"), frame.points("iou")],
        pick(lang, "IoU on scenes with new pairs", "新组合场景上的 IoU"),
        (pick(lang, "six scenes", "六个场景"), pick(lang, "this scene", "这个场景")),
        axis,
        ticks,
        top=1.0,
    )
    loss = curves.curve(
        [frame.points("loss")],
        pick(lang, "Loss on training batches", "训练批次的损失"),
        (pick(lang, "loss", "损失"),),
        axis,
        ticks,
    )
    labels = list(lesson.labels)
    truth = segment_draw.overlay_png(
        lesson.picture, lesson.true_mask, labels, colours("lseg", len(labels)), OPACITY
    )
    said = pick(
        lang, "The exact mask: it is only compared, never trained on", "精确掩码：只用来对比，从不用于训练"
    )
    file = shell.downloads([(f"{settings.paper}-training.csv", "text/csv", table(frame))])
    return (
        f'<div class="batch-curves">{iou}{loss}</div><figure class="segment-truth"><figcaption>{said}</figcaption>'
        f'<img alt="{said}" src="data:image/png;base64,{base64.b64encode(truth).decode()}"></figure>{file}'
    )


def table(frame: Frame) -> bytes:
    """The curve as CSV, a row for each look at the mask."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(dict.fromkeys(name for row in frame.curve for name in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows({name: round(value, 5) for name, value in row.items()} for row in frame.curve)
    return text.getvalue().encode()


# --- layout ----------------------------------------------------------------------------------------------


def train_tab(page: Shell, paper: str) -> None:
    """Lays the tab out and wires it.

    Args:
        page: the page's hidden parts.
        paper: "lseg" or "groupvit".
    """
    root: Any = Context.root_block
    off = lessons.off()
    text = OFF if off else IDEA[paper]
    gr.Markdown(tr(text.en, text.zh))
    minutes = gr.Slider(1, 5, value=2, step=0.5, label=tr("Minutes", "分钟"), elem_id="train-minutes")
    start = gr.Button(tr("Train", "开始训练"), variant="primary", interactive=not off, elem_id="train-button")
    stopping = jobs.stop_button("train-stop")
    figures = output("train-numbers")
    with gr.Row():
        with gr.Column(scale=6, min_width=320):
            mask = mask_stage("train-mask")
        with gr.Column(scale=5, min_width=300):
            drawn = output("train-curves")
    page.on(
        start.click,
        partial(train, paper),
        [minutes],
        [figures, mask, drawn, start, stopping],
        session=True,
        show_progress="hidden",
    )
    page.on(stopping.click, stop, [], [stopping], session=True, queue=False, show_progress="hidden")
    root.unload(STOPS.leave)
