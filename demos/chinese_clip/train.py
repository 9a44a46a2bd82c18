"""The *Two stages* tab: the paper's training as a figure, and small enough to run while one watches."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import Context

from core import checkpoints, runtime
from core.classroom.recipes.common import lessons
from demos.chinese_clip import draw as chinese_draw
from demos.chinese_clip.shared import output
from demos.draw import base as draw
from demos.kit import shell
from demos.kit.jobs import Stops
from demos.kit.shell import Shell, pick, tr

if TYPE_CHECKING:
    from core.classroom.recipes.chinese_clip.live import Moment

STOPS = Stops()
SEAT_MINUTES = 3.0  # after which a training that was left behind makes room for another
STEPS = 240
WAYS = {"two": STEPS // 2, "both": 0}  # steps with the image tower locked
IDEA = (
    "**Now do it.** The image tower of the miniature already sees; a new text tower, which has never read anything, "
    "learns 16 Chinese names from 384 pictures. *Predict first:* with the image tower locked, what happens to the "
    "**English** names of the same pictures?",
    "**动手试试**：微缩模型的图像编码器已经会看图；一个从没读过任何文字的新文本编码器，要从 384 张图片学会 16 个中文名。"
    "*先猜一猜*：图像编码器锁定时，同样这些图片的英文名会怎样？",
)
OFF = (
    "Training is switched off on this Space, which many people share. On your own computer it takes half a minute.",
    "这个 Space 由许多人共用，训练已关闭。在自己的电脑上只要半分钟。",
)


def miniature() -> str:
    """The row whose image tower is taken: the one that every server has."""
    return next(row.name for row in checkpoints.rows("clip") if row.bundled)


def train(session: str, way: str, lang: str) -> Generator[tuple[Any, ...], None, None]:
    """The training as it goes. Outputs: view, Start, Stop."""
    locked = WAYS.get(way, WAYS["two"])
    with lessons.seat(SEAT_MINUTES), STOPS.job(session) as cancel:
        first = pick(lang, "Drawing the pictures …", "正在画图片……")
        yield (
            f'<p class="atlas-line">{first}</p>',
            gr.update(visible=False),
            gr.update(visible=True, interactive=True),
        )
        from core.classroom.recipes.chinese_clip.live import TwoStages

        training = TwoStages(miniature(), locked, STEPS - locked)
        for moment in training.run(cancel):
            buttons = (gr.skip(), gr.skip())
            if moment.done:
                buttons = gr.update(visible=True), gr.update(visible=False)
            yield view(moment, locked, lang), *buttons


def stop(session: str, lang: str) -> tuple[Any, ...]:
    """Asks the session's training to stop; its own handler shows that it has."""
    STOPS.stop(session)
    return (gr.update(interactive=False),)


# --- pictures ----------------------------------------------------------------------------------------------


def view(moment: Moment, locked: int, lang: str) -> str:
    """Numbers, bar, curves; at the end what was measured in a sentence, and the figures as files."""
    if moment.done:
        state = pick(
            lang, "Stopped." if moment.stopped else "Done.", "已停止。" if moment.stopped else "完成。"
        )
    elif not moment.exams:
        state = pick(lang, "The image tower looks at the pictures once.", "图像编码器把图片看一遍。")
    else:
        state = pick(
            lang,
            f"Step {moment.step} of {moment.steps} · image tower {'locked' if moment.locked else 'moving'}",
            f"第 {moment.step} / {moment.steps} 步 · 图像编码器{'已锁定' if moment.locked else '在动'}",
        )
    left = ""
    if not moment.done and moment.left < 3600:
        left = pick(lang, f" · about {moment.left:.0f} s left", f" · 大约还需 {moment.left:.0f} 秒")
    share = 100.0 if moment.done else 100 * moment.share
    label = pick(lang, "Training", "训练进度")
    bar = (
        f'<div class="atlas-progress" role="progressbar" aria-label="{label}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share:.0f}"><span style="width:{share:.1f}%"></span></div>'
        f'<p class="atlas-line">{state}{left}</p>'
    )
    if not moment.exams:
        return bar
    now = moment.exams[-1]
    numbers = (
        (now.chinese, pick(lang, "Chinese names, the new reader", "中文名（新学的）")),
        (now.english, pick(lang, "English names, the old reader", "英文名（原来的）")),
        (now.kept, pick(lang, "image features as before (cosine)", "图像特征与训练前的余弦")),
    )
    big = "".join(
        f"<p><strong>{value:.3f}</strong> <span>{what}</span></p>"
        if value is now.kept
        else f"<p><strong>{value:.0%}</strong> <span>{what}</span></p>"
        for value, what in numbers
    )
    ending = verdict(moment, locked, lang) if moment.done and len(moment.exams) > 1 else ""
    return f'{bar}<div class="live-numbers">{big}</div>{curves(moment, locked, lang)}{ending}'


def curves(moment: Moment, locked: int, lang: str) -> str:
    """Accuracy of both languages by step on pictures that were never trained on; the locked steps are shaded."""
    wide, high, left, base, top = 640, 260, 52, 210, 24

    def across(step: float) -> float:
        return left + step / moment.steps * (wide - left - 16)

    def up(share: float) -> float:
        return base - share * (base - top)

    def line(kind: str, values: list[float]) -> str:
        points = " ".join(
            f"{across(one.step):.1f},{up(value):.1f}" for one, value in zip(moment.exams, values, strict=True)
        )
        x, y = points.split(" ")[-1].split(",")
        return f'<polyline class="{kind}" points="{points}"/><circle class="{kind}" cx="{x}" cy="{y}" r="5"/>'

    grid = "".join(
        f'<line class="grid" x1="{left}" x2="{wide - 16}" y1="{up(share):.1f}" y2="{up(share):.1f}"/>'
        f'<text x="{left - 8}" y="{up(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        for share in (0, 0.5, 1)
    )
    ticks = "".join(
        f'<text x="{across(step):.1f}" y="{base + 18}" text-anchor="middle">{step:.0f}</text>'
        for step in (0, moment.steps / 4, moment.steps / 2, 3 * moment.steps / 4, moment.steps)
    )
    zones = [(0, locked, pick(lang, "stage 1: image tower locked", "第一阶段：图像编码器锁定"), "locked")]
    zones.append((locked, moment.steps, pick(lang, "both towers move", "两个编码器都动"), "free"))
    shades = "".join(
        f'<rect class="{kind}" x="{across(start):.1f}" y="{top - 18}" width="{across(end) - across(start):.1f}" '
        f'height="{base - top + 18}"/><text class="zone" x="{(across(start) + across(end)) / 2:.1f}" y="{top - 4}" '
        f'text-anchor="middle">{name}</text>'
        for start, end, name, kind in zones
        if end > start
    )
    title = pick(
        lang, "Pictures never trained on: right among 16 names", "没训练过的图片：16 个名字里选对的比例"
    )
    key = (
        f'<span class="zh">{pick(lang, "Chinese, new text tower", "中文，新文本编码器")}</span>'
        f'<span class="en">{pick(lang, "English, old text tower", "英文，原文本编码器")}</span>'
    )
    axis = pick(lang, "steps", "步数")
    return (
        f'<figure class="stages-curve"><figcaption><b>{title}</b>{key}</figcaption><svg viewBox="0 0 {wide} {high}" '
        f'role="img" aria-label="{title}">{shades}{grid}{line("en", [one.english for one in moment.exams])}'
        f"{line('zh', [one.chinese for one in moment.exams])}{ticks}"
        f'<text x="{(left + wide) / 2}" y="{high - 8}" text-anchor="middle">{axis}</text></svg></figure>'
    )


def verdict(moment: Moment, locked: int, lang: str) -> str:
    """What this very run showed, and the figures as files."""
    start, end = moment.exams[0], moment.exams[-1]
    held = [one for one in moment.exams if one.step <= locked]
    sentences = []
    if locked:
        last = held[-1]
        sentences.append(
            pick(
                lang,
                f"<strong>Locked, {last.step} steps:</strong> Chinese names went from {start.chinese:.0%} to "
                f"{last.chinese:.0%} right; English stayed at {last.english:.0%}, to the digit: no image feature moved, "
                "so whatever fitted them before fits them still.",
                f"<strong>锁定的 {last.step} 步：</strong>中文名从 {start.chinese:.0%} 升到 {last.chinese:.0%}；"
                f"英文分毫不差，仍是 {last.english:.0%}：图像特征没有动，原来配得上它们的，现在还配得上。",
            )
        )
    if end.step > locked:
        before = held[-1] if held else start
        sentences.append(
            pick(
                lang,
                f"<strong>Both moving, {end.step - before.step} steps:</strong> Chinese {before.chinese:.0%} → "
                f"{end.chinese:.0%}, English {before.english:.0%} → {end.english:.0%}; the image features now have a "
                f"cosine of {end.kept:.3f} with what they were. The paper goes on with this stage because Chinese web "
                "pictures differ from those CLIP saw; the classroom's do not.",
                f"<strong>都动的 {end.step - before.step} 步：</strong>中文 {before.chinese:.0%} → {end.chinese:.0%}，"
                f"英文 {before.english:.0%} → {end.english:.0%}；图像特征与原来的余弦变为 {end.kept:.3f}。"
                "论文继续做这一阶段，因为中文网页的图片和 CLIP 见过的不同；教室里的图片则没有变。",
            )
        )
    note = pick(
        lang,
        "In this small copy only the last linear step of the image tower moves, and the text tower starts from nothing; "
        "the paper moves the whole tower and starts from a Chinese RoBERTa.",
        "这个小实验里，图像编码器只动最后一个线性层，文本编码器从零开始；论文里整个编码器都动，文本从中文 RoBERTa 开始。",
    )
    rows = [
        {
            "step": one.step,
            "image_tower": "locked" if one.step <= locked else "moving",
            "chinese": round(one.chinese, 4),
            "english": round(one.english, 4),
            "cosine_with_before": round(one.kept, 4),
        }
        for one in moment.exams
    ]
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    files = [
        ("two-stages.csv", "text/csv", "\n".join(lines).encode()),
        ("two-stages.json", "application/json", draw.to_json(rows).encode()),
    ]
    said = "".join(f"<p>{sentence}</p>" for sentence in sentences)
    return f'<div class="atlas-verdict some">{said}</div><p class="atlas-line">{note}</p>{shell.downloads(files)}'


# --- layout ------------------------------------------------------------------------------------------------


def training_tab(page: Shell) -> None:
    """Lays the tab out and wires it."""
    root: Any = Context.root_block
    off = runtime.on_space() or runtime.zero_gpu()
    output("stages", chinese_draw.two_stages())
    gr.Markdown(tr(*(OFF if off else IDEA)))
    way = gr.Radio(
        [
            (tr("Locked first, then both", "先锁定，再一起动"), "two"),
            (tr("Both from the start", "一开始就都动"), "both"),
        ],
        value="two",
        label=tr("Image tower", "图像编码器"),
        elem_id="stages-way",
    )
    start = gr.Button(
        tr("Train (about half a minute)", "开始训练（约半分钟）"),
        variant="primary",
        interactive=not off,
        elem_id="stages-button",
    )
    stopping = gr.Button(tr("Stop", "停止"), variant="stop", visible=False, elem_id="stages-stop")
    shown = output("stages-out")
    event = page.on(start.click, train, [way], [shown, start, stopping], session=True, show_progress="hidden")
    page.then(event, rest, [], [start, stopping])
    page.on(stopping.click, stop, [], [stopping], session=True, queue=False, show_progress="hidden")
    root.unload(STOPS.leave)


def rest(lang: str) -> tuple[Any, ...]:
    """The buttons when nothing runs, also after a refusal."""
    return gr.update(visible=True), gr.update(visible=False)
