"""The *Walkthrough* tab of the ViLD page: the lecture's cases in steps that ask for a prediction first.

Questions are data (`vild.toml`); what is true is computed by the checkpoint that the page is on.
"""

from __future__ import annotations

import html
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
from gradio.context import Context

from core import checkpoints, inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.draw import boxes as detect_draw
from demos.kit import old_walk as walk
from demos.kit import shell
from demos.kit.components import stage
from demos.kit.menu import start_row
from demos.kit.shell import pick, tr
from demos.vild import answer as handlers
from demos.vild import draw as vild_draw
from demos.vild.examples import examples, words
from demos.vild.shared import Asked, Common, output

Step = dict[str, Any]
TIMES = (2.0, 10.0)  # a little longer, several times, many times
SPEED_PROPOSALS = handlers.MOST_PROPOSALS
HEADS = ("text", "image")
IDEA = (
    "Each step sets the picture and the labels, **asks you first**, then runs and explains. Nothing here is recorded: the "
    "checkpoint above answers, or the miniature where that one does not have all variants.",
    "每一步都会设好图片和标签，**先问你**，再运行、解释。没有任何事先录好的答案：由上面选的权重回答；它没有全部变体时，由微缩模型回答。",
)


def lessons() -> dict[str, dict[str, Any]]:
    """The lessons by name."""
    return {row["name"]: row for row in words()["lessons"]}


@dataclass(frozen=True)
class Outcome:
    """Which of a step's choices turned out true, what to show for it, and the answer behind it."""

    index: int
    body: str
    run: handlers.Run


Ask = Callable[..., handlers.Run]

# --- how a step's outcome is read off --------------------------------------------------------------------


def thing_of(step: Step) -> dict[str, Any]:
    """What a step is about: {"en", "zh", "visible_box"}."""
    found: dict[str, Any] = next(
        one for one in examples()[step["example"]]["objects"] if one["en"] == step["thing"]
    )
    return found


def choices_of(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    if step["kind"] in ("closed", "find"):
        name = thing_of(step)[lang]
        return [
            pick(lang, "nothing: no box is on it", "什么也不说：上面没有框"),
            pick(lang, "a wrong name", "一个错误的名字"),
            pick(lang, f"“{name}”", f"“{name}”"),
        ]
    if step["kind"] == "call":
        names = [thing[lang] for thing in examples()[step["example"]]["objects"]]
        return [*names, pick(lang, "none of them", "都不是")]
    if step["kind"] == "heads":
        return [f"ViLD-{name}" for name in HEADS]
    if step["kind"] == "wrong":
        return [*(f"ViLD-{name}" for name in HEADS), pick(lang, "both as many", "一样多")]
    low, high = (f"{times:.0f}" for times in TIMES)
    return [
        pick(lang, f"less than {low} times as long", f"不到 {low} 倍"),
        pick(lang, f"{low} to {high} times", f"{low} 到 {high} 倍"),
        pick(lang, f"more than {high} times", f"超过 {high} 倍"),
    ]


def called(found: Any, thing: dict[str, Any]) -> int:
    """What an answer makes of a thing: 0 no box is on it, 1 its surest box has another name, 2 its own."""
    there = vild_draw.overlap(thing["visible_box"], found.boxes) >= vild_draw.SAME
    if not there.any():
        return 0
    name = found.labels[int(found.label_indices[there.argmax()])]  # boxes come best first
    return 2 if name.lower() in (thing["en"].lower(), thing["zh"]) else 1


def closed(ask: Ask, step: Step, lang: str) -> Outcome:
    """What the fixed list says of a thing."""
    found = ask(step)
    fixed = found.model.closed(found.encoded, language=lang)
    shown = vild_draw.closed_and_open(found.image, fixed, found.result, lang)
    return Outcome(called(fixed, thing_of(step)), shown, found)


def find(ask: Ask, step: Step, lang: str) -> Outcome:
    """What the labels make of a thing."""
    found = ask(step)
    thing = thing_of(step)
    at = int(vild_draw.overlap(thing["visible_box"], found.result.proposals).argmax())
    row = vild_draw.row_table(found.result, at, lang)
    title = pick(
        lang,
        f"The proposal that fits the {thing['en']} best",
        f"最贴合“{thing['zh']}”的候选框",
    )
    shown = vild_draw.key(lang) + vild_draw.overlay(found.image, found.result, lang)
    return Outcome(called(found.result, thing), f"{shown}<h4>{title}</h4>{row}", found)


def call(ask: Ask, step: Step, lang: str) -> Outcome:
    """Which thing the surest box of a label is on."""
    found = ask(step)
    things = examples()[step["example"]]["objects"]
    own = np.flatnonzero(found.result.label_indices == step["label"])
    index = len(things)
    if len(own):
        overlaps = [
            float(vild_draw.overlap(thing["visible_box"], found.result.boxes[own[:1]])[0]) for thing in things
        ]
        best = int(np.argmax(overlaps))
        index = best if overlaps[best] >= vild_draw.SAME else index
    return Outcome(index, vild_draw.key(lang) + vild_draw.overlay(found.image, found.result, lang), found)


def heads(ask: Ask, step: Step, lang: str) -> Outcome:
    """Which head of the ensemble is surer of a thing's own name."""
    found = ask(step)
    thing = thing_of(step)
    at = int(vild_draw.overlap(thing["visible_box"], found.result.proposals).argmax())
    label = [name.lower() for name in found.result.labels].index(thing[lang].lower())
    sure = [float(found.result.parts[name][at, label]) for name in HEADS]
    return Outcome(int(np.argmax(sure)), vild_draw.region(found.image, found.result, at, lang), found)


def mistakes(count: int, boxes: int, lang: str) -> str:
    """How many of some boxes are wrong."""
    return pick(lang, f"{count} of {boxes} boxes wrong", f"{boxes} 个框里错 {count} 个")


def wrong(ask: Ask, step: Step, lang: str) -> Outcome:
    """Which of two heads has more boxes that are on no thing of their name."""
    runs = [ask({**step, "variant": name}) for name in HEADS]
    things = examples()[step["example"]]["objects"]
    counts = [int((~vild_draw.right(one.result, things)).sum()) for one in runs]
    cards = "".join(
        f"<article><h3>ViLD-{name}: {mistakes(count, len(one.result.boxes), lang)}</h3>"
        f"{detect_draw.overlay(one.image, vild_draw.marks(one.result), lang, side=480, letters=36)}</article>"
        for name, one, count in zip(HEADS, runs, counts, strict=True)
    )
    index = 2 if counts[0] == counts[1] else int(np.argmax(counts))
    return Outcome(index, f'{vild_draw.key(lang)}<div class="atlas-vild-two">{cards}</div>', runs[-1])


def speed(ask: Ask, step: Step, lang: str) -> Outcome:
    """How many times longer CLIP on crops took than one pass, both on a picture that neither had seen."""
    found = ask(step)
    slow, fast = (found.result.timings[name] for name in ("crops", "image"))
    times = slow / max(fast, 1e-6)
    rows = (
        (pick(lang, "one pass of ViLD over the picture", "ViLD 看一遍图片"), fast),
        (
            pick(
                lang,
                f"CLIP on {2 * len(found.result.proposals)} crops of {len(found.result.proposals)} proposals",
                f"CLIP 看 {len(found.result.proposals)} 个候选框的 {2 * len(found.result.proposals)} 张裁剪图",
            ),
            slow,
        ),
    )
    bars = "".join(
        f'<tr><th scope="row">{name}</th><td class="bar"><span style="width:{100 * ms / max(slow, fast):.1f}%"></span></td>'
        f"<td>{ms:.0f} ms</td></tr>"
        for name, ms in rows
    )
    said = pick(lang, f"{times:.1f} times as long", f"是它的 {times:.1f} 倍")
    table = f'<table class="atlas-bars"><tbody>{bars}</tbody></table><p><strong>{said}</strong></p>'
    return Outcome(int(np.searchsorted(TIMES, times)), table, found)


KINDS: dict[str, Callable[[Ask, Step, str], Outcome]] = {
    "closed": closed,
    "find": find,
    "call": call,
    "heads": heads,
    "wrong": wrong,
    "speed": speed,
}


# --- handlers --------------------------------------------------------------------------------------------


def place(where: str) -> tuple[str, int]:
    """ "closed:1" -> ("closed", 1); the first step of the first lesson for anything that is none."""
    return walk.place(where, lessons())


def step_of(where: str) -> Step:
    """The step at a place."""
    name, number = place(where)
    found: Step = lessons()[name]["steps"][number]
    return found


def turn_to(where: str, lang: str) -> tuple[Any, ...]:
    """Where we are, the question, its choices, an empty answer and line, whether there is a next step; picture, labels,
    example."""
    name, number = place(where)
    lesson, step = lessons()[name], step_of(where)
    count = len(lesson["steps"])
    title = html.escape(lesson["title"][lang])
    said = pick(lang, f"step {number + 1} of {count}", f"第 {number + 1} / {count} 步")
    offered = pick(lang, "Labels: ", "标签：") + step["labels"][lang]
    way = vild_draw.VARIANTS[step["variant"]].get(lang)
    picture = detect_draw.overlay(inputs.image(examples()[step["example"]]["path"]), [], lang, side=360)
    card = (
        f'<div class="atlas-step"><p><b>{title}</b> <span>{said}</span></p><h3>{html.escape(step["ask"][lang])}</h3>'
        f'<p class="atlas-line">{html.escape(offered)} · {way}</p></div><div class="atlas-vild-small">{picture}</div>'
    )
    choices = [(text, str(i)) for i, text in enumerate(choices_of(step, lang))]
    return (
        f"{name}:{number}",
        card,
        gr.update(choices=choices, value=None),
        "",
        "",
        gr.update(interactive=False),
        examples()[step["example"]]["path"],
        step["labels"][lang],
        step["example"],
    )


def onwards(where: str, lang: str) -> tuple[Any, ...]:
    """The next step, of the next lesson behind the last one."""
    return turn_to(walk.following(where, lessons()), lang)


def opened(where: str, lang: str) -> tuple[Any, ...]:
    """The first step when the tab is opened for the first time."""
    return (gr.skip(),) * 9 if where else turn_to("", lang)


def reveal(
    session: str, where: str, predicted: str | None, checkpoint: str, lang: str
) -> Generator[tuple[Any, ...], None, None]:
    """What happened beside what was predicted, and the explanation. Outputs: answer, line, the next button, Stop."""
    step, checkpoint = step_of(where), able(checkpoint)
    choices = choices_of(step, lang)
    if predicted not in {str(i) for i in range(len(choices))}:
        raise Refusal("predict_first")
    with handlers.STOPS.job(session) as cancel:
        try:
            start = time.perf_counter()
            if step["kind"] == "speed":
                timed = yield from race(step, checkpoint, cancel, lang)
                outcome = speed(lambda step: timed, step, lang)
            else:
                outcome = KINDS[step["kind"]](lambda step: asked(step, checkpoint, lang), step, lang)
            seconds = time.perf_counter() - start
        except Exception:
            yield gr.skip(), "", gr.skip(), gr.update(visible=False)
            raise
    result = outcome.run.result
    body = (
        walk.verdict(choices, int(predicted or 0), outcome.index, lang)
        + f'{outcome.body}<p class="atlas-why">{html.escape(step["why"][lang])}</p>'
    )
    line = shell.result_line(seconds, result.checkpoint, result.device, lang)
    yield body, line, gr.update(interactive=True), gr.update(visible=False)


def able(checkpoint: str) -> str:
    """The row where it has all variants of the paper, else the first one that has."""
    rows = (
        [checkpoint, *(row.name for row in checkpoints.rows("vild"))] if checkpoint else [start_row("vild")]
    )
    return next(name for name in rows if handlers.VARIANT in handlers.variants_of(name))


def asked(step: Step, checkpoint: str, lang: str) -> handlers.Run:
    """A step's question to a checkpoint, at the step's threshold, or the one that suits its variant."""
    path, threshold = examples()[step["example"]]["path"], step.get("threshold")
    question = Asked(path, step["labels"][lang], step["variant"], threshold, handlers.PROPOSALS, checkpoint)
    return handlers.run(question)


def race(
    step: Step, checkpoint: str, cancel: Cancel, lang: str
) -> Generator[tuple[Any, ...], None, handlers.Run]:
    """CLIP on crops on the step's picture with one pixel changed, so that nothing of it is remembered; bars meanwhile."""
    image = inputs.image(examples()[step["example"]]["path"])
    model = handlers.model_of(checkpoint)
    names = inputs.labels(step["labels"][lang])
    handlers.answer(model, image, names, step["variant"], None, 1)  # loads what is not loaded yet
    for _ in model.encode_crops(image, 1):
        pass
    image.putpixel((0, 0), tuple(random.randbytes(3)))
    start = time.perf_counter()
    encoded = model.encode(image)
    fast = time.perf_counter() - start
    start = time.perf_counter()
    for bar in handlers.crops_bars(model, encoded, SPEED_PROPOSALS, cancel, lang):
        yield gr.skip(), bar, gr.skip(), gr.update(visible=True)
    slow = time.perf_counter() - start
    result = handlers.answer(model, encoded, names, "crops", None, SPEED_PROPOSALS)
    result.timings.update(image=1000 * fast, crops=1000 * slow)
    return handlers.Run(model, image, encoded, result, fast + slow)


# --- layout ----------------------------------------------------------------------------------------------


def walk_tab(common: Common, stopping: gr.Button) -> None:
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
    result, line = stage("walk-out"), output("walk-line")
    shown = [where, card, guess, result, line, following, common.picture, common.labels, common.example]
    for name, button in buttons.items():
        page.on(button.click, _start(name), [], shown, show_progress="hidden")
    page.on(tab.select, opened, [where], shown, show_progress="hidden")
    page.on(following.click, onwards, [where], shown, show_progress="hidden")
    page.on(
        run.click,
        reveal,
        [where, guess, common.checkpoint],
        [result, line, following, stopping],
        session=True,
    )


def _start(name: str) -> Any:
    return lambda lang: turn_to(name, lang)
