"""The *Train CLIP live* tab: a CLIP of a few concepts learns on this machine while one watches.

Loss, the matrix of a fixed batch that it never trains on, and zero-shot accuracy come about once a second. What it has
learned can be tried afterwards and goes with the visitor's tab.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Generator
from functools import cache
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import Context

from core import inputs
from core.classroom.recipes.common import lessons
from core.classroom.world.concepts import Concept, find
from core.errors import Refusal
from demos.clip.shared import Common
from demos.draw import base as draw
from demos.draw import charts as curves
from demos.kit import jobs, shell
from demos.kit.components import output
from demos.kit.jobs import Stops
from demos.kit.shell import pick, tr

if TYPE_CHECKING:
    from core.classroom.recipes.clip.live import Snapshot, Toy

STOPS = Stops()
KEPT, KEPT_SECONDS = 16, 1800  # toys that the server keeps, and how long after they were last tried
IDEA = (
    "Two encoders that know nothing, and the loss of the tab before: watch them find a common language. Rows of the "
    "matrix are pictures that are **never trained on**; when the diagonal lights up, each has found its caption. "
    "*Predict first:* which two things will it mix up the longest?",
    "两个一无所知的编码器，加上前一个标签页里的损失：看它们怎样找到共同语言。矩阵每一行是一张**从未训练过**的图片，"
    "对角线亮起来，就说明每张都找到了自己的描述。*先猜一猜*：哪两样东西会混淆得最久？",
)
TRYING = ("### Try what it has learned", "### 试试它学到了什么")
OFF = (
    "Training is switched off on this Space, which many people share. On your own computer this tab trains a CLIP in "
    "two minutes.",
    "这个 Space 由许多人共用，训练已关闭。在自己的电脑上，这个标签页两分钟就能训练出一个 CLIP。",
)


class Toys:
    """What visitors have trained, by session; none outlives its tab, nor half an hour without use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Toy]] = {}  # the least recently used first

    def keep(self, session: str, toy: Toy) -> None:
        """Keeps a session's toy in place of its last one."""
        with self._lock:
            self._kept.pop(session, None)
            self._kept[session] = time.monotonic(), toy
            old = time.monotonic() - KEPT_SECONDS
            for name in [name for name, (used, _) in self._kept.items() if used < old]:
                del self._kept[name]
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]

    def of(self, session: str) -> Toy:
        """The session's toy.

        Raises:
            Refusal: "no_toy" when it has none any more.
        """
        with self._lock:
            used, toy = self._kept.get(session, (0.0, None))
        if toy is None or used < time.monotonic() - KEPT_SECONDS:
            self.drop(session)
            raise Refusal("no_toy")
        self.keep(session, toy)
        return toy

    def drop(self, session: str) -> None:
        """Forgets the session's toy."""
        with self._lock:
            self._kept.pop(session, None)

    def left(self, request: gr.Request) -> None:
        """What `Blocks.unload` calls when a tab closes."""
        self.drop(str(request.session_hash))

    def __len__(self) -> int:
        return len(self._kept)


TOYS = Toys()


@cache
def offered() -> dict[str, Concept]:
    """The concepts that may be chosen, by their English name."""
    return {name: concept for name in lessons.NAMES if (concept := find(name))}


# --- handlers --------------------------------------------------------------------------------------------


def train(
    session: str,
    names: list[str],
    language: str,
    minutes: float,
    batch: float,
    rate: float,
    temperature: str,
    scale: float,
    lang: str,
) -> Generator[tuple[Any, ...], None, None]:
    """The lesson as it goes; then what can be tried. Outputs: view, Start, Stop, the part for trying, its result."""
    settings = lessons.LiveSettings(
        concepts=tuple(offered()[name].index for name in names if name in offered()),
        language="zh" if language == "zh" else "en",
        minutes=float(minutes),
        batch=int(batch),
        learning_rate=float(rate),
        learn_scale=temperature != "fixed",
        scale=float(scale),
        seed=random.randrange(1 << 16),
    )
    same = gr.skip()
    settings.check()
    with lessons.seat(settings.minutes), STOPS.job(session) as cancel:
        TOYS.drop(session)
        running = (
            gr.update(visible=False),
            gr.update(visible=True, interactive=True),
            gr.update(visible=False),
            "",
        )
        first = pick(lang, "Drawing the scenes …", "正在画场景……")
        yield jobs.progress(None, first), *running
        from core.classroom.recipes.clip.live import Lesson

        lesson = Lesson(settings)
        pictures = [draw.data_uri(picture, 64) for picture in lesson.fixed_batch()]
        for shot in lesson.run(cancel):
            view = lesson_view(shot, pictures, lesson.names, settings, lang)
            if shot.done:
                TOYS.keep(session, lesson.toy())
                yield view, gr.update(visible=True), gr.update(visible=False), gr.update(visible=True), ""
            else:
                yield view, same, same, same, same


def stop(session: str, lang: str) -> tuple[Any, ...]:
    """Asks the session's lesson to stop; its own handler shows that it has."""
    STOPS.stop(session)
    return (gr.update(interactive=False),)


def lesson_view(
    shot: Snapshot, pictures: list[str], names: tuple[str, ...], settings: lessons.LiveSettings, lang: str
) -> str:
    """Numbers, curves and matrix of a moment."""
    n, seconds = len(names), 60 * settings.minutes
    minutes_left, seconds_left = divmod(round(shot.left), 60)
    if shot.done:
        state = pick(lang, "Stopped." if shot.stopped else "Done.", "已停止。" if shot.stopped else "完成。")
        state += pick(lang, f" Measured on {shot.tested} scenes.", f"在 {shot.tested} 个场景上测得。")
    else:
        state = pick(
            lang, f"{minutes_left}:{seconds_left:02d} left", f"剩余 {minutes_left}:{seconds_left:02d}"
        )
    share = 1.0 if shot.done else min(shot.seconds / seconds, 1.0)
    facts = pick(
        lang,
        f"{shot.step:,} steps · {shot.pictures:,} pictures · scale {shot.scale:.1f} · {state}",
        f"{shot.step:,} 步 · {shot.pictures:,} 张图片 · 尺度 {shot.scale:.1f} · {state}",
    )
    chance = 1 / n
    numbers = (
        (
            f"{shot.accuracy:.0%}",
            pick(lang, f"named right (guessing {chance:.0%})", f"认对（瞎猜 {chance:.0%}）"),
        ),
        (
            f"{shot.loss:.2f}" if shot.losses else "–",
            pick(lang, f"loss (guessing {shot.guess:.2f})", f"损失（瞎猜 {shot.guess:.2f}）"),
        ),
    )
    big = "".join(f"<p><strong>{value}</strong> <span>{what}</span></p>" for value, what in numbers)
    axis, end = pick(lang, "seconds", "秒"), max(shot.seconds if shot.done else seconds, 1.0)
    ticks = [(0.0, "0"), (end / 2, f"{end / 2:.0f}"), (end, f"{end:.0f}")]
    guess = pick(lang, "guessing", "瞎猜")
    loss = curves.curve(
        [shot.losses, [(0.0, shot.guess), (end, shot.guess)]],
        pick(lang, "Loss on training batches", "训练批次的损失"),
        (pick(lang, "loss", "损失"), guess),
        axis,
        ticks,
        top=1.25 * shot.guess,
    )
    accuracy = curves.curve(
        [shot.accuracies, [(0.0, chance), (end, chance)]],
        pick(lang, "Zero-shot accuracy on new scenes", "新场景上的零样本准确率"),
        (pick(lang, "accuracy", "准确率"), guess),
        axis,
        ticks,
        top=1.0,
    )
    return (
        f'<div class="live-numbers">{big}</div>{jobs.progress(share, facts)}'
        f'<div class="live-board">{curves.live_matrix(shot.probabilities, pictures, names, lang)}'
        f'<div class="batch-curves">{accuracy}{loss}</div></div>'
    )


def another(session: str, lang: str) -> tuple[str]:
    """A scene that the toy never trained on, what the toy says, and whether that is right."""
    toy = TOYS.of(session)
    picture, name = toy.scene(random.randrange(len(toy.labels)))
    rows = answer(toy, picture)
    right = rows[0]["label"] == name
    verdict = pick(
        lang,
        f"{'Right' if right else 'Wrong'}: it is “{name}”, on a background that it never saw it on.",
        f"{'对了' if right else '错了'}：是“{name}”，而且训练时没见过它在这种背景上。",
    )
    return (tried(picture, rows, verdict, "some" if right else "none", lang),)


def own(session: str, picture: str | None, lang: str) -> tuple[str]:
    """What the toy says to a picture from outside."""
    toy = TOYS.of(session)
    image = inputs.image(shell.picture_source(picture))
    verdict = pick(
        lang,
        f"It knows {len(toy.names)} words and 32 × 32 pixels: it has to choose one of them, whatever it sees.",
        f"它只认识 {len(toy.names)} 个词、只看 32 × 32 像素：不管看到什么，都只能从中选一个。",
    )
    return (tried(image, answer(toy, image), verdict, "some", lang),)


def answer(toy: Toy, picture: Any) -> list[dict[str, Any]]:
    """The toy's labels, best first."""
    probabilities, cosines = toy.classify(picture)
    rows = zip(toy.names, probabilities.tolist(), cosines.tolist(), strict=True)
    found = [{"label": name, "probability": p, "cosine": c} for name, p, c in rows]
    return sorted(found, key=lambda row: -row["probability"])


def tried(picture: Any, rows: list[dict[str, Any]], verdict: str, kind: str, lang: str) -> str:
    """The picture, the verdict and the first five labels."""
    return (
        f'<div class="live-try"><img alt="" src="{draw.data_uri(picture, 280)}"><div>'
        f'<p class="atlas-verdict {kind}">{verdict}</p>{draw.probability_bars(rows[:5], lang)}</div></div>'
    )


# --- layout ----------------------------------------------------------------------------------------------


def live_tab(common: Common) -> None:
    """Lays the tab out and wires it."""
    page = common.page
    root: Any = Context.root_block
    off = lessons.off()
    gr.Markdown(tr(*(OFF if off else IDEA)))
    limits = lessons.LIMITS
    names = gr.CheckboxGroup(
        [(tr(concept.en, concept.zh), name) for name, concept in offered().items()],
        value=list(offered())[:16],
        label=tr("Concepts to learn (2 to 24)", "要学的概念（2 到 24 个）"),
        elem_id="live-concepts",
    )
    with gr.Row(equal_height=True):
        language = gr.Radio(
            [(tr("English", "英文"), "en"), (tr("Chinese", "中文"), "zh")],
            value="en",
            label=tr("Captions in", "描述语言"),
            elem_id="live-language",
        )
        minutes = gr.Slider(1, 5, value=2, step=0.5, label=tr("Minutes", "分钟"), elem_id="live-minutes")
    with gr.Accordion(
        tr("Batch, learning rate, temperature", "批次、学习率、温度"), open=False, elem_id="live-knobs"
    ):
        batch = gr.Slider(
            8,
            limits["batch"][1],
            value=48,
            step=8,
            label=tr("Pairs a batch", "每批对数"),
            elem_id="live-batch",
        )
        rate = gr.Slider(
            0.0001, 0.01, value=0.0015, step=0.0001, label=tr("Learning rate", "学习率"), elem_id="live-rate"
        )
        with gr.Row(equal_height=True):
            temperature = gr.Radio(
                [(tr("learned", "学习"), "learned"), (tr("fixed", "固定"), "fixed")],
                value="learned",
                label=tr("Temperature", "温度"),
                elem_id="live-temperature",
            )
            scale = gr.Slider(
                1,
                100,
                value=10,
                step=1,
                label=tr("Logit scale at the start", "起始 logit scale"),
                elem_id="live-scale",
            )
    start = gr.Button(tr("Train", "开始训练"), variant="primary", interactive=not off, elem_id="live-button")
    stopping = gr.Button(tr("Stop", "停止"), variant="stop", visible=False, elem_id="live-stop")
    view = output("live-view")
    with gr.Column(visible=False, elem_id="live-trying") as trying:
        gr.Markdown(tr(*TRYING))
        with gr.Row():
            with gr.Column(scale=4, min_width=280):
                scene = gr.Button(tr("Show it a new scene", "给它看一个新场景"), elem_id="live-scene")
                mine = shell.picture_input(
                    height=220,
                    elem_id="live-own",
                    label=tr("… or a picture of your own", "……或者你自己的图片"),
                )
            with gr.Column(scale=6, min_width=320):
                result = output("live-result")

    knobs = [names, language, minutes, batch, rate, temperature, scale]
    page.on(
        start.click,
        train,
        knobs,
        [view, start, stopping, trying, result],
        session=True,
        show_progress="hidden",
    )
    page.on(stopping.click, stop, [], [stopping], session=True, queue=False, show_progress="hidden")
    page.on(scene.click, another, [], [result], session=True)
    page.on([mine.upload, mine.input], own, [mine], [result], session=True)
    # The language of the page is the first choice.
    page.on_load(lambda lang, query: (lang,), [language])
    root.unload(STOPS.leave)
    root.unload(TOYS.left)
