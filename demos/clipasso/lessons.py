"""The *Walkthrough* and *Code* tabs of the CLIPasso page: predict, run, explain; and the lines that ran beside the paper."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.runtime import Cancel
from demos.clipasso import answer as handlers
from demos.draw import base as draw
from demos.draw import strokes as sketch_draw
from demos.kit import jobs, sources
from demos.kit import sketch_runs as runs
from demos.kit.components import output
from demos.kit.language import Text
from demos.kit.shell import Shell, pick, tr

if TYPE_CHECKING:
    from core.drawing.clipasso import Variant
    from demos.kit.sketch_runs import Made


@dataclass(frozen=True)
class Step:
    """One guided step: a question with answers to choose from, the columns that answer it, and what they say."""

    name: str
    title: Text
    question: Text
    answers: tuple[Text, ...]
    columns: Callable[[], tuple[Variant, ...]]
    outcome: Callable[[Made], int | None]  # index of the right answer in this run
    lesson: Text


def _ladder() -> tuple[Variant, ...]:
    from core.drawing.clipasso import ladder

    return ladder(*handlers.CONFIG["ladder"])


def _starts() -> tuple[Variant, ...]:
    from core.drawing.clipasso import Variant

    return Variant(16), Variant(16, start="random")


def _losses() -> tuple[Variant, ...]:
    from core.drawing.clipasso import Variant

    return Variant(16, 0.0, 1.0), Variant(16), Variant(16, 1.0, 0.0)


def _read(made: Made) -> list[Any]:
    """What the guide reads in every column."""
    return [runs.named(one.features, made.labels, made.result.checkpoint) for one in made.result.drawn]


def _first_right(made: Made) -> int | None:
    """The fewest strokes that get the name which the picture itself gets; None where none does."""
    from core.drawing import clipasso

    _, features = clipasso.judged_drawings(made.image, [made.result.start.picture], made.result.settings)
    truth = int(runs.named(features[0], made.labels, made.result.checkpoint).order[0])
    right = [i for i, found in enumerate(_read(made)) if int(found.order[0]) == truth]
    return right[0] if right else None


def _surest(made: Made) -> int:
    """The column of which the guide is surest."""
    shares = [float(found.probabilities.max()) for found in _read(made)]
    return shares.index(max(shares))


def _lower(made: Made) -> int:
    """The column with the lower loss."""
    return int(made.result.drawn[0].loss > made.result.drawn[1].loss)


STEPS = (
    Step(
        "ladder",
        Text("1 · How few strokes are enough?", "1 · 多少笔才够？"),
        Text(
            "4, 8, 16 and 32 strokes, same picture. Which is the **smallest** number at which CLIP gives the drawing the "
            "name that it gives the picture?",
            "同一张图，用 4、8、16、32 笔来画。CLIP 给画和给原图取同一个名字，**最少**需要几笔？",
        ),
        tuple(Text(f"{count} strokes", f"{count} 笔") for count in handlers.CONFIG["ladder"]),
        _ladder,
        _first_right,
        Text(
            "Nobody told the drawing which details matter. With few strokes only what CLIP needs for the name survives: "
            "that is the paper's idea of *abstraction*, set by one number.",
            "没有人告诉它哪些细节重要。笔画少的时候，只有 CLIP 认名字所需的部分会留下："
            "这就是论文所说的*抽象*，只由一个数字控制。",
        ),
    ),
    Step(
        "starts",
        Text("2 · Does it matter where one begins?", "2 · 起点重要吗？"),
        Text(
            "Two runs of 16 strokes; one begins where CLIP looks, one anywhere. Which ends with the lower loss?",
            "两次运行都用 16 笔：一次从 CLIP 注视处开始，一次随机开始。谁最后的损失更低？",
        ),
        (Text("where CLIP looks", "CLIP 注视处"), Text("anywhere", "随机")),
        _starts,
        _lower,
        Text(
            "The problem is not convex: a stroke far from every contour gets almost no gradient and stays there. Beginning "
            "on salient edges is half of the work (section 3.3).",
            "这个问题不是凸的：离轮廓很远的一笔几乎得不到梯度，只能待在原地。从显著的边缘开始，事情就成了一半（3.3 节）。",
        ),
    ),
    Step(
        "losses",
        Text("3 · Meaning or shape?", "3 · 含义还是形状？"),
        Text(
            "Three drawings: one made for shape alone, one for both, one for meaning alone. Of which name will CLIP be the "
            "**surest**?",
            "三幅画：一幅只求形状，一幅两者兼顾，一幅只求含义。CLIP 对哪一幅的名字**最有把握**？",
        ),
        (Text("only shape", "只看形状"), Text("both", "两者兼顾"), Text("only meaning", "只看含义")),
        _losses,
        _surest,
        Text(
            "Look at the drawing, not only at the number: with meaning alone CLIP may be content with marks that no person "
            "reads. The layers in the middle hold the drawing to the picture's shape; the paper uses both.",
            "别只看数字，也看看画：只求含义时，人看不懂的痕迹也可能让 CLIP 满意。中间层把画拉回图片的形状，所以论文两者都用。",
        ),
    ),
)


def walk(
    step: Step,
    cancel: Cancel,
    guess: str | None,
    picture: str | None,
    labels: str,
    checkpoint: str,
    lang: str,
) -> Iterator[tuple[Any, ...]]:
    """A step's run; then what it says of the prediction."""
    from core.drawing.clipasso import SketchSettings

    settings = SketchSettings(
        step.columns(), seeds=1, steps=handlers.CONFIG["compare_steps"], checkpoint=checkpoint
    )
    names = runs.label_list(labels)
    if not names:
        names = runs.label_list(", ".join(text.get(lang) for text in step.answers))

    titles = [text.get(lang) for text in step.answers]

    image = handlers.picture_of(picture)
    for status, message, made in handlers.watch(cancel, image, settings, titles, names, lang):
        yield status, message, (told(step, guess, made, lang) if made else "")


def told(step: Step, guess: str | None, made: Made, lang: str) -> str:
    """Prediction against outcome, and the lesson."""
    outcome = step.outcome(made)
    answers = [text.get(lang) for text in step.answers]
    right = answers[outcome] if outcome is not None else pick(lang, "none of them", "都不是")
    seen = pick(lang, f"In this run: {right}.", f"这次的结果：{right}。")
    if guess is not None and guess.isdecimal() and int(guess) < len(answers):
        said = answers[int(guess)]
        agree = outcome == int(guess)
        seen = pick(lang, f"You said: {said}. {seen}", f"你的预测：{said}。{seen}")
        seen += pick(lang, " Well predicted." if agree else "", "猜对了。" if agree else "")
    lesson = step.lesson.get(lang).replace("*", "")
    return (
        f'<p class="atlas-verdict some"><strong>{html.escape(seen)}</strong><br>{html.escape(lesson)}</p>'
        + (sketch_draw.rows_table(*_shares(made, answers, lang)) if made.labels else "")
    )


def _shares(made: Made, answers: list[str], lang: str) -> tuple[list[str], list[list[str]]]:
    """Loss and first name of each column."""
    head = ["", pick(lang, "loss", "损失"), pick(lang, "CLIP reads", "CLIP 读作")]
    rows = []
    for title, one, found in zip(answers, made.result.drawn, _read(made), strict=True):
        best = int(found.order[0])
        share = draw.percent(float(found.probabilities[best]))
        rows.append([title, f"{one.loss:.3f}", f"{found.labels[best]} {share}"])
    return head, rows


def walkthrough_tab(page: Shell, picture: Any, labels: gr.Textbox, checkpoint: gr.Dropdown) -> None:
    """Lays the steps out, each with its own prediction, run and lesson."""
    for i, step in enumerate(STEPS):
        with gr.Accordion(tr(step.title.en, step.title.zh), open=i == 0, elem_id=f"walk-{step.name}"):
            gr.Markdown(tr(step.question.en, step.question.zh))
            guess = gr.Radio(
                [(tr(text.en, text.zh), str(k)) for k, text in enumerate(step.answers)],
                label=tr("Your prediction", "你的预测"),
                elem_id=f"walk-{step.name}-guess",
            )
            run = gr.Button(tr("Run it", "运行看看"), variant="primary", elem_id=f"walk-{step.name}-button")
            stop = jobs.stop_button(f"walk-{step.name}-stop")
            status = output(f"walk-{step.name}-status")
            view = sketch_draw.surface(f"walk-{step.name}-view")
            verdict = output(f"walk-{step.name}-lesson")

            def handler(cancel: Cancel, *values: Any, step: Step = step) -> Iterator[tuple[Any, ...]]:
                yield from walk(step, cancel, *values)

            jobs.long_job(
                page,
                [run.click],
                (run, stop),
                handler,
                [guess, picture, labels, checkpoint],
                [status, view, verdict],
            )


# --- code --------------------------------------------------------------------------------------------------------

PIECES = (
    (
        Text(
            r"**Start points** (section 3.3): attention $A$ times edges $E$, softmax with $\tau = 0.3$, $n$ draws without "
            r"replacement: $p \propto e^{A \cdot E / \tau}$",
            r"**起点**（3.3 节）：注意力 $A$ 乘以边缘 $E$，温度 $\tau = 0.3$ 的 softmax，不放回地抽 $n$ 个："
            r"$p \propto e^{A \cdot E / \tau}$",
        ),
        "core/drawing/saliency.py",
        "probability",
    ),
    (
        Text(
            r"**The loss** (section 3.2), picture $I$, drawing $S$, the same warps for both: "
            r"$L = \sum_l \lVert \mathrm{CLIP}_l(I) - \mathrm{CLIP}_l(S) \rVert^2 + w \, (1 - \cos(\mathrm{CLIP}(I), "
            r"\mathrm{CLIP}(S)))$",
            r"**损失**（3.2 节），图片 $I$、画 $S$ 做同样的变形："
            r"$L = \sum_l \lVert \mathrm{CLIP}_l(I) - \mathrm{CLIP}_l(S) \rVert^2 + w \, (1 - \cos(\mathrm{CLIP}(I), "
            r"\mathrm{CLIP}(S)))$",
        ),
        "core/drawing/losses.py",
        "PerceptualLoss.terms",
    ),
    (
        Text(
            "**One step**: render all drawings of the run as one batch, ask CLIP, move every control point by Adam",
            "**一步**：把所有的画作为一个批次渲染，问 CLIP，用 Adam 移动每个控制点",
        ),
        "core/drawing/optimise.py",
        "Optimiser.step",
    ),
)


def code_tab() -> None:
    """The lines that draw, beside the paper's equations."""
    for text, file, name in PIECES:
        gr.Markdown(tr(text.en, text.zh), latex_delimiters=[{"left": "$", "right": "$", "display": False}])
        gr.Markdown(sources.markdown(file, name))
