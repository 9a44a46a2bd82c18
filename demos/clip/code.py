"""The *Code* tab: the lines of `core` that one answer ran through, beside the paper's pseudocode, with live shapes."""

from __future__ import annotations

import html
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import inputs
from demos.clip import answer as handlers
from demos.clip.shared import Common, template_choices
from demos.draw import base as draw
from demos.kit import shell
from demos.kit.components import output
from demos.kit.shell import pick, tr

if TYPE_CHECKING:
    from core.clip.trace import FunctionRun, Run, SourceLine

IDEA = (
    "Left, what the paper wrote down (figure 3); right, the code of this hub that just ran for your picture and your labels, "
    "read from its source. Bright lines ran; behind them stands what they made.",
    "左边是论文写下的伪代码（图 3）；右边是本站刚刚为你的图片和标签运行过的代码，直接读自源文件。"
    "亮的行运行过，行尾是它得到的结果。",
)
ROOM = 74  # characters of a line that fit beside the page's picture


@cache
def steps() -> list[dict[str, Any]]:
    """The paper's lines and the functions that are them."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["steps"]


# --- endpoint --------------------------------------------------------------------------------------------


def clip_code(
    image: gr.FileData,
    labels: list[str] | str,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """The source lines that a classification runs through, and the shape of what each of them made.

    Args:
        image: a picture file, or a data URI.
        labels: a list, or one string with commas; at most 100.
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "functions": [{"role", "name", "file", "lines": [{"number", "code", "ran", "made": variable
        -> shape or value}]}]}, in the order of the paper's pseudocode.
    """
    from core.clip import trace

    with shell.api_errors():
        names = inputs.labels(labels)
        picture = inputs.image(shell.uploaded(image))
        return trace.classify(handlers.model(checkpoint), picture, names, template).to_json()


# --- handlers and drawing --------------------------------------------------------------------------------


def show(picture: str | None, labels: str, template: str, checkpoint: str, lang: str) -> tuple[str, str]:
    """The steps with the lines that ran, and the result line."""
    from core.clip import trace

    image, names = inputs.image(shell.picture_source(picture)), inputs.labels(labels)
    model = handlers.model(checkpoint)
    run = trace.classify(model, image, names, template)
    line = handlers.shown_line(run.answer, model.encode(image), run.seconds, lang)
    facts = [("clip-code.json", "application/json", draw.to_json(run.to_json()).encode())]
    return step_cards(run, lang) + draw.probability_bars(
        run.answer.to_json()["results"], lang
    ), line + shell.downloads(facts)


def step_cards(run: Run, lang: str) -> str:
    """A card for each step: the paper's lines and what they mean, beside the source."""
    cards = []
    for step in steps():
        paper = "".join(f"<li><code>{html.escape(one)}</code></li>" for one in step["paper"])
        source = _source(run.functions[step["role"]], step["marks"], lang)
        words = html.escape(step[lang])
        cards.append(
            f'<section><div><ol class="atlas-paper-code">{paper}</ol><p>{words}</p></div>{source}</section>'
        )
    return f'<div class="atlas-code">{"".join(cards)}</div>'


def _source(function: FunctionRun, marks: list[str], lang: str) -> str:
    title = pick(lang, "lines of", "源代码")
    body = "".join(_line(line, marks) for line in function.lines)
    return (
        f'<div class="atlas-source"><p><b>{html.escape(function.name)}</b> <span class="atlas-only-read">{title}</span>'
        f"<code>{function.file}</code></p>"
        f'<div class="atlas-scroll" tabindex="0"><table><tbody>{body}</tbody></table></div></div>'
    )


def _line(line: SourceLine, marks: list[str]) -> str:
    kind = "ran" if line.ran else "idle"
    if line.ran and any(mark in line.code for mark in marks):
        kind += " key"
    made = " ".join(
        f"<span>{html.escape('→' if name == 'return' else name)} <b>{html.escape(value)}</b></span>"
        for name, value in line.made
    )
    # What a long line made stands below it, where it can be seen without scrolling.
    room = len(line.code) + sum(len(name) + len(value) + 6 for name, value in line.made)
    below = ' class="below"' if room > ROOM else ""
    shown = f"<div>{made}</div>" if made else ""
    code = html.escape(line.code)
    return f'<tr class="{kind}"><td>{line.number}</td><td{below}><code>{code}</code>{shown}</td></tr>'


# --- layout ----------------------------------------------------------------------------------------------


def code_tab(common: Common) -> None:
    """Lays the tab out and wires it."""
    gr.Markdown(tr(*IDEA))
    template = gr.Dropdown(
        template_choices(), value="photo", label=tr("Prompt template", "提示模板"), elem_id="code-template",
        filterable=False,
    )  # fmt: skip
    run = gr.Button(tr("Run it line by line", "逐行运行"), variant="primary", elem_id="code-button")
    body, line = output("code-out"), output("code-line")
    asked = [common.picture, common.labels, template, common.checkpoint]
    common.page.on(run.click, show, asked, [body, line])
    gr.api(clip_code, api_name="clip_code")
