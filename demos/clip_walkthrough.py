"""The *Walkthrough* tab: the lecture's lessons in steps that ask for a prediction before they reveal anything.

Questions are data (`clip_walkthrough.toml`); what is true is computed by the checkpoint that the page is on.
"""

from __future__ import annotations

import html
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from gradio.context import Context
from PIL import Image

from core import inputs
from core.errors import Refusal
from demos import clip_draw, draw, shell, walk
from demos import clip_handlers as handlers
from demos.clip_shared import Common, output
from demos.shell import pick, tr

if TYPE_CHECKING:
    from core.clip import ZeroShot

Step = dict[str, Any]
SHARES = (0.5, 0.9)
IDEA = (
    "Each step sets the picture and the labels, **asks you first**, then runs and explains. What is true depends on the "
    "checkpoint above: nothing here is recorded.",
    "每一步都会设好图片和标签，**先问你**，再运行、解释。结果取决于上面选的权重：这里没有任何事先录好的答案。",
)


@cache
def lessons() -> dict[str, dict[str, Any]]:
    """The lessons by name."""
    rows = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["lessons"]
    return {row["name"]: row for row in rows}


@dataclass(frozen=True)
class Outcome:
    """Which of a step's choices turned out true, and what to show for it."""

    index: int
    body: str


# --- how a step's outcome is read off --------------------------------------------------------------------


def choices_of(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    kind = step["kind"]
    if kind == "best":
        return inputs.labels(step["labels"][lang])
    if kind == "negatives":
        return [str(number) for number in step["choices"]]
    low, high = (f"{share:.0%}" for share in SHARES)
    texts = {
        "share": (
            (f"under {low}", f"{low} to {high}", f"over {high}"),
            (f"不到 {low}", f"{low} 到 {high}", f"超过 {high}"),
        ),
        "there": (("yes, it reaches higher", "no, it does not"), ("是，更高", "不，没有更高")),
        "same": (("the same label wins", "another label wins"), ("赢家不变", "赢家变了")),
        "parts": (("all four say the same", "they differ"), ("四块都一样", "各不相同")),
        "languages": (("the same label", "another one"), ("同一个", "另一个")),
    }
    return list(pick(lang, *texts[kind]))  # type: ignore[arg-type]


def bars(model: ZeroShot, step: Step, lang: str) -> Any:
    """The step's labels asked of its picture."""
    return model.classify(image_of(step), inputs.labels(step["labels"][lang]))


def image_of(step: Step) -> Image.Image:
    """The step's picture."""
    return inputs.image(handlers.examples()[step["example"]]["path"])


def best(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """Which label wins."""
    answer = bars(model, step, lang)
    return Outcome(int(answer.order[0]), draw.probability_bars(answer.to_json()["results"], lang))


def share(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """How sure the best label is."""
    answer = bars(model, step, lang)
    index = int(np.searchsorted(SHARES, float(answer.probabilities.max())))
    return Outcome(index, draw.probability_bars(answer.to_json()["results"], lang))


def there(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """Whether the best label reaches higher than unrelated words."""
    answer = bars(model, step, lang)
    results = answer.to_json()["results"]
    line = model.absence_line(image_of(step), None, lang)
    body = draw.probability_bars(results, lang) + draw.absence_reading(results[0], line, lang)
    return Outcome(0 if results[0]["cosine"] >= line else 1, body)


def same(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """Whether a template changes the winner."""
    names = inputs.labels(step["labels"][lang])
    template = step["template"] + ("-zh" if lang == "zh" else "")
    found = model.compare_templates(image_of(step), names, ["none", template])
    titles = (pick(lang, "bare label", "裸标签"), found[1].templates[0])
    columns = [(title, one.to_json()["results"]) for title, one in zip(titles, found, strict=True)]
    index = 0 if found[0].order[0] == found[1].order[0] else 1
    return Outcome(index, draw.template_table(columns, names, lang))


def parts(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """Whether every quarter has the whole picture's answer."""
    from core.clip import crops

    image = image_of(step)
    boxes = crops.grid(*image.size, 2, 2)
    result = crops.classify_crops(model, image, boxes, inputs.labels(step["labels"][lang]))
    thumbnails = [image.crop(tuple(box)) for box in result.seen.tolist()]
    agree = bool((result.best == result.whole.order[0]).all())
    return Outcome(0 if agree else 1, clip_draw.crop_table(result, image, thumbnails, lang))


def languages(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """Whether labels of the other language win alike."""
    own, other = (
        model.classify(image_of(step), inputs.labels(step[side][lang])) for side in ("labels", "other")
    )
    body = "".join(draw.probability_bars(one.to_json()["results"], lang) for one in (own, other))
    return Outcome(0 if own.order[0] == other.order[0] else 1, body)


def negatives(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """How many cells of a batch are pairs that do not belong together."""
    from core.clip import contrastive

    rows = [row for row in handlers.examples().values() if row["classroom"]][: step["count"]]
    pictures = [inputs.image(row["path"]) for row in rows]
    made = contrastive.match(model, pictures, [row["caption"][lang] for row in rows]).contrast
    count = int((made.targets == 0).sum())
    return Outcome(step["choices"].index(count), batch_table(rows, made.cosines, made.targets > 0, lang))


def batch_table(rows: Sequence[Step], cosines: np.ndarray, positive: np.ndarray, lang: str) -> str:
    """The matrix of a small batch: pictures down, captions across, the positive pairs marked."""
    head = "".join(f'<th scope="col">{html.escape(row["caption"][lang])}</th>' for row in rows)
    signs = (pick(lang, "positive", "正"), pick(lang, "negative", "负"))
    body = "".join(
        f'<tr><th scope="row"><img class="atlas-thumb" alt="{html.escape(row["caption"][lang])}" '
        f'src="{draw.data_uri(inputs.image(row["path"]), 88)}"></th>'
        + "".join(
            f"<td{' class=best' if yes else ''}>{'✓ ' if yes else ''}{signs[0] if yes else signs[1]}"
            f"<small>{value:+.3f}</small></td>"
            for value, yes in zip(values.tolist(), marks.tolist(), strict=True)
        )
        + "</tr>"
        for row, values, marks in zip(rows, cosines, positive, strict=True)
    )
    return (
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


KINDS: dict[str, Callable[[Any, Step, str], Outcome]] = {
    "best": best,
    "share": share,
    "there": there,
    "same": same,
    "parts": parts,
    "languages": languages,
    "negatives": negatives,
}


# --- handlers --------------------------------------------------------------------------------------------


def place(where: str) -> tuple[str, int]:
    """ "sheep:1" -> ("sheep", 1); the first step of the first lesson for anything that is none."""
    return walk.place(where, lessons())


def step_of(where: str) -> Step:
    """The step at a place."""
    name, at = place(where)
    return lessons()[name]["steps"][at]


def turn_to(where: str, lang: str) -> tuple[Any, ...]:
    """Where we are, the question, its choices, an empty answer, whether there is a next step; picture, labels, example."""
    name, at = place(where)
    lesson, step = lessons()[name], step_of(where)
    count = len(lesson["steps"])
    title = html.escape(lesson["title"][lang])
    number = pick(lang, f"step {at + 1} of {count}", f"第 {at + 1} / {count} 步")
    card = f'<div class="atlas-step"><p><b>{title}</b> <span>{number}</span></p><h3>{html.escape(step["ask"][lang])}</h3></div>'
    choices = [(text, str(i)) for i, text in enumerate(choices_of(step, lang))]
    return (
        f"{name}:{at}",
        card,
        gr.update(choices=choices, value=None),
        "",
        gr.update(interactive=False),
        handlers.examples()[step["example"]]["path"],
        step["labels"][lang],
        step["example"],
    )


def onwards(where: str, lang: str) -> tuple[Any, ...]:
    """The next step, of the next lesson behind the last one."""
    return turn_to(walk.following(where, lessons()), lang)


def reveal(where: str, predicted: str | None, checkpoint: str, lang: str) -> tuple[Any, ...]:
    """What happened beside what was predicted, the explanation, and the way onwards."""
    step = step_of(where)
    choices = choices_of(step, lang)
    if predicted not in {str(i) for i in range(len(choices))}:
        raise Refusal("predict_first")
    model = handlers.model(checkpoint)
    start = time.perf_counter()
    outcome = KINDS[step["kind"]](model, step, lang)
    seconds = time.perf_counter() - start
    body = (
        walk.verdict(choices, int(predicted or 0), outcome.index, lang)
        + f'{outcome.body}<p class="atlas-why">{html.escape(step["why"][lang])}</p>'
        + shell.result_line(seconds, model.checkpoint, model.device, lang)
    )
    return body, gr.update(interactive=True)


# --- layout ----------------------------------------------------------------------------------------------


def walkthrough_tab(common: Common) -> None:
    """Lays the tab out and wires it."""
    page = common.page
    tab: Any = Context.block
    gr.Markdown(tr(*IDEA))
    with gr.Row(elem_classes="atlas-lessons"):
        buttons = {
            name: gr.Button(tr(row["title"]["en"], row["title"]["zh"]), size="sm", elem_id=f"walk-{name}")
            for name, row in lessons().items()
        }
    where = gr.Textbox("", visible="hidden", label="lesson")
    card = output("walk-step")
    guess = gr.Radio([], label=tr("Your prediction", "你的预测"), elem_id="walk-guess")
    with gr.Row():
        run = gr.Button(tr("Run it", "运行"), variant="primary", elem_id="walk-run")
        following = gr.Button(tr("Next step", "下一步"), interactive=False, elem_id="walk-next")
    result = output("walk-out")
    shown = [where, card, guess, result, following, common.picture, common.labels, common.example]
    for name, button in buttons.items():
        page.on(button.click, _start(name), [], shown, show_progress="hidden")
    page.on(tab.select, opened, [where], shown, show_progress="hidden")
    page.on(following.click, onwards, [where], shown, show_progress="hidden")
    page.on(run.click, reveal, [where, guess, common.checkpoint], [result, following])


def opened(where: str, lang: str) -> tuple[Any, ...]:
    """The first step when the tab is opened for the first time."""
    return (gr.skip(),) * 8 if where else turn_to("", lang)


def _start(name: str) -> Any:
    return lambda lang: turn_to(name, lang)
