"""What the lessons of all pages share: where one is in them, what was predicted beside what is so, and the tab's layout.

A lesson is a table with a title and steps; a step asks, offers choices and says why (`why`), see the pages' toml files.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.context import Context

from core.errors import Refusal
from demos.kit.events import Shell
from demos.kit.language import pick, tr

Lessons = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """Which of a step's choices turned out true, and what to show for it."""

    index: int
    body: str


def place(where: str, lessons: Lessons) -> tuple[str, int]:
    """ "sheep:1" -> ("sheep", 1); the first step of the first lesson for anything that is none."""
    name, _, number = (where or "").partition(":")
    if name not in lessons:
        return next(iter(lessons)), 0
    at = int(number) if number.isdecimal() and len(number) < 3 else 0
    return name, min(at, len(lessons[name]["steps"]) - 1)


def following(where: str, lessons: Lessons) -> str:
    """The place of the next step, of the next lesson behind the last one."""
    name, at = place(where, lessons)
    if at + 1 < len(lessons[name]["steps"]):
        return f"{name}:{at + 1}"
    names = list(lessons)
    return f"{names[(names.index(name) + 1) % len(names)]}:0"


def verdict(choices: Sequence[str], predicted: int, index: int, lang: str) -> str:
    """What was said beside what is so, as HTML."""
    guess, truth = html.escape(choices[predicted]), html.escape(choices[index])
    right = predicted == index
    said = (
        pick(lang, f"You said “{guess}”, and so it is.", f"你猜“{guess}”，果然如此。")
        if right
        else pick(lang, f"You said “{guess}”; it is “{truth}”.", f"你猜“{guess}”，实际是“{truth}”。")
    )
    mark = "✓" if right else "✗"
    return f'<p class="atlas-verdict {"some" if right else "none"}"><strong>{mark} {said}</strong></p>'


def step_of(where: str, lessons: Lessons) -> dict[str, Any]:
    """The step at a place."""
    name, at = place(where, lessons)
    return lessons[name]["steps"][at]


def heading(where: str, lessons: Lessons, lang: str) -> tuple[str, str]:
    """The lesson's title, as HTML, and which of its steps this is."""
    name, at = place(where, lessons)
    count = len(lessons[name]["steps"])
    number = pick(lang, f"step {at + 1} of {count}", f"第 {at + 1} / {count} 步")
    return html.escape(lessons[name]["title"][lang]), number


def turned(where: str, lessons: Lessons, card: str, choices: Sequence[str]) -> tuple[Any, ...]:
    """A step before its answer: place, question, choices, an empty answer, Next switched off."""
    name, at = place(where, lessons)
    offered = [(text, str(i)) for i, text in enumerate(choices)]
    return f"{name}:{at}", card, gr.update(choices=offered, value=None), "", gr.update(interactive=False)


def prediction(said: str | None, choices: Sequence[str]) -> int:
    """The index of what was predicted.

    Raises:
        Refusal: "predict_first".
    """
    if said not in {str(i) for i in range(len(choices))}:
        raise Refusal("predict_first")
    return int(said or 0)


def answered(
    outcome: Outcome, predicted: int, choices: Sequence[str], why: str, line: str, lang: str
) -> tuple[Any, ...]:
    """What happened beside what was predicted, the explanation, and the way onwards.

    Args:
        outcome: what turned out.
        predicted: from `prediction`.
        choices: in the visitor's language.
        why: the explanation, plain text.
        line: the result line, HTML.
        lang: "en" or "zh".
    """
    said = verdict(choices, predicted, outcome.index, lang)
    body = f'{said}{outcome.body}<p class="atlas-why">{html.escape(why)}</p>{line}'
    return body, gr.update(interactive=True)


def tab(
    page: Shell,
    idea: tuple[str, str],
    lessons: Lessons,
    turn_to: Callable[[str, str], tuple[Any, ...]],
    reveal: Callable[..., tuple[Any, ...]],
    asked: Sequence[Any],
    filled: Sequence[Any] = (),
    result: Callable[[str], Any] | None = None,
) -> None:
    """Lays a tab of lessons out, inside the open `gr.Tab`, and wires it.

    Args:
        page: of the page.
        idea: the line above, in both languages.
        lessons: by name.
        turn_to: place and language -> `turned`'s values and one for each of `filled`.
        reveal: place, prediction, the values of `asked`, language -> `answered`'s values.
        asked: components that an answer depends on.
        filled: components that a step sets.
        result: makes the place of the answer from its id.
    """
    block: Any = Context.block
    gr.Markdown(tr(*idea))
    with gr.Row(elem_classes="atlas-lessons"):
        buttons = {
            name: gr.Button(tr(row["title"]["en"], row["title"]["zh"]), size="sm", elem_id=f"walk-{name}")
            for name, row in lessons.items()
        }
    where = gr.Textbox("", visible="hidden", label="lesson")
    card = _place_for("walk-step")
    guess = gr.Radio([], label=tr("Your prediction", "你的预测"), elem_id="walk-guess")
    with gr.Row():
        run = gr.Button(tr("Run it", "运行"), variant="primary", elem_id="walk-run")
        onwards = gr.Button(tr("Next step", "下一步"), interactive=False, elem_id="walk-next")
    answer = (result or _place_for)("walk-out")
    shown = [where, card, guess, answer, onwards, *filled]

    def start(name: str) -> Callable[[str], tuple[Any, ...]]:
        return lambda lang: turn_to(name, lang)

    def opened(here: str, lang: str) -> tuple[Any, ...]:
        """The first step when the tab is opened for the first time."""
        return (gr.skip(),) * len(shown) if here else turn_to("", lang)

    for name, button in buttons.items():
        page.on(button.click, start(name), [], shown, show_progress="hidden")
    page.on(block.select, opened, [where], shown, show_progress="hidden")
    page.on(
        onwards.click,
        lambda here, lang: turn_to(following(here, lessons), lang),
        [where],
        shown,
        show_progress="hidden",
    )
    page.on(run.click, reveal, [where, guess, *asked], [answer, onwards])


def _place_for(elem_id: str) -> gr.HTML:
    return gr.HTML("", elem_id=elem_id, padding=False, apply_default_css=False)
