"""The *Walkthrough* tab: the sheep lesson of the lecture notes as steps that ask before they answer."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from core import inputs
from demos.chinese_clip import answer as handlers
from demos.chinese_clip.shared import output
from demos.draw import base as draw
from demos.kit.shell import Shell, pick, tr

ALL = "sheep"  # a step that shows the three pictures at once


def steps() -> list[dict[str, Any]]:
    """The steps as written in chinese_clip.toml."""
    return handlers.published()["walk"]


def step_at(number: float) -> tuple[int, dict[str, Any]]:
    """A step by its number, the nearest one where there is none."""
    here = min(max(int(number), 0), len(steps()) - 1)
    return here, steps()[here]


def show(number: float, lang: str) -> tuple[Any, ...]:
    """A step before its answer. Outputs: number, question, choices, answer, Back, Next."""
    here, step = step_at(number)
    code = "zh" if lang == "zh" else "en"
    count = pick(lang, f"Step {here + 1} of {len(steps())}", f"第 {here + 1} 步，共 {len(steps())} 步")
    picture = draw.data_uri(inputs.image(handlers.examples()[step["picture"]]["path"]), 360)
    question = (
        f'<div class="walk-step"><img alt="" src="{picture}"><div><p class="atlas-kicker">{count}</p>'
        f"<h3>{html.escape(step['title'][code])}</h3><p>{html.escape(step['ask'][code])}</p></div></div>"
    )
    choices = [(text, str(i)) for i, text in enumerate(step["choices"][code])]
    return (
        here,
        question,
        gr.update(choices=choices, value=None),
        "",
        gr.update(interactive=here > 0),
        gr.update(interactive=here + 1 < len(steps())),
    )


def reveal(number: float, guess: str | None, checkpoint: str, lang: str) -> tuple[str]:
    """What comes out, beside what was predicted, and why."""
    _, step = step_at(number)
    code = "zh" if lang == "zh" else "en"
    right = step["right"]
    if guess is None:
        said = pick(lang, "No prediction this time.", "这次没有先猜。")
    elif int(guess) == right:
        said = pick(lang, "You predicted it.", "猜对了。")
    else:
        said = pick(
            lang,
            f"You predicted otherwise; it is: {step['choices'][code][right]}.",
            f"和你猜的不同，答案是：{step['choices'][code][right]}。",
        )
    body = handlers.flock_html(lang) if step["shows"] == "flock" else _rows(step["shows"], checkpoint, lang)
    return (
        f'<div class="atlas-verdict {"some" if guess is not None and int(guess) == right else "none"}"><p>'
        f"<strong>{html.escape(said)}</strong></p><p>{html.escape(step['explain'][code])}</p></div>{body}",
    )


def _rows(pose: str, checkpoint: str, lang: str) -> str:
    ours = handlers.sheep_answers(checkpoint or handlers.start_row("clip", "zh"))
    name = checkpoint or handlers.start_row("clip", "zh")
    return handlers.lesson_table(ours, name, lang, handlers.POSES if pose == ALL else (pose,))


def walk_tab(page: Shell, checkpoint: Any) -> None:
    """Lays the tab out and wires it."""
    number = gr.Number(0, visible="hidden", label="step")
    question = output("walk-question")
    guess = gr.Radio([], label=tr("Your prediction", "你的预测"), elem_id="walk-guess")
    run = gr.Button(tr("Run and explain", "运行并解释"), variant="primary", elem_id="walk-button")
    answer = output("walk-answer")
    with gr.Row():
        back = gr.Button(tr("← Back", "← 上一步"), interactive=False, elem_id="walk-back")
        following = gr.Button(tr("Next →", "下一步 →"), elem_id="walk-next")
    outputs = [number, question, guess, answer, back, following]
    page.on(run.click, reveal, [number, guess, checkpoint], [answer])
    page.on(
        back.click, lambda number, lang: show(number - 1, lang), [number], outputs, show_progress="hidden"
    )
    page.on(
        following.click,
        lambda number, lang: show(number + 1, lang),
        [number],
        outputs,
        show_progress="hidden",
    )
    page.on_load(lambda lang, query: show(0, lang), outputs)
