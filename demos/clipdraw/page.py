"""The CLIPDraw page: a prompt becomes a drawing of coloured strokes while one watches."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import Context

from core import checkpoints, inputs
from core.runtime import Cancel
from demos import catalog
from demos.clipasso import answer as sketches
from demos.draw import strokes as sketch_draw
from demos.kit import jobs, library, shell, sources
from demos.kit import sketch_runs as runs
from demos.kit.components import label_box, output
from demos.kit.examples import ON_CLICK
from demos.kit.form import LONGEST
from demos.kit.language import Text
from demos.kit.menu import CheckpointMenu
from demos.kit.shell import Shell, both, pick, tr
from demos.kit.sketch_runs import Made

if TYPE_CHECKING:
    from core.drawing.clipdraw import DrawSettings

NAME = "clipdraw"
RECORDED = library.ASSETS / NAME / "recorded.json"
CONFIG = sketches.CONFIG["clipdraw"]
IDEA = (
    "Nothing is copied and nothing is trained: coloured curves begin **anywhere**, and Adam moves them until CLIP finds the "
    "sentence in the drawing. *Predict first:* will you recognise what CLIP recognises?",
    "不照抄任何图片，也不训练任何网络：彩色曲线从**随机位置**开始，Adam 移动它们，直到 CLIP 在画里读出那句话。"
    "*先猜一猜：*CLIP 认得出的，你也认得出吗？",
)
NEGATIVES = (
    "One a line; the paper's: A badly drawn sketch. / Many ugly, messy drawings.",
    "每行一句；论文里用的是：A badly drawn sketch. / Many ugly, messy drawings.",
)
PIECES = (
    (
        Text(
            r"**The loss**: minus the cosine of prompt $T$ with every warped view of the drawing, plus 0.3 times the cosine "
            r"with each negative prompt: $L = -\sum_v \cos(\mathrm{CLIP}(S_v), \mathrm{CLIP}(T)) + 0.3 \sum_{v, n} \cos("
            r"\mathrm{CLIP}(S_v), \mathrm{CLIP}(T_n))$",
            r"**损失**：画的每个变形视图与提示 $T$ 的余弦取负，再加 0.3 倍与各负面提示的余弦："
            r"$L = -\sum_v \cos(\mathrm{CLIP}(S_v), \mathrm{CLIP}(T)) + 0.3 \sum_{v, n} \cos(\mathrm{CLIP}(S_v), "
            r"\mathrm{CLIP}(T_n))$",
        ),
        "core/drawing/clipdraw.py",
        "Agreement.__call__",
    ),
    (
        Text(
            "**The beginning**: strokes of one to three cubics, anywhere, of any colour",
            "**开始**：由一到三段三次曲线组成的笔画，位置、颜色全随机",
        ),
        "core/drawing/clipdraw.py",
        "scatter",
    ),
)


# --- endpoint ----------------------------------------------------------------------------------------------------


def clipdraw_draw(
    prompt: str,
    strokes: int = 64,
    negatives: list[str] | None = None,
    seeds: int = 1,
    steps: int | None = None,
    width: float = 2.0,
    seed: int = 0,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Draw a sentence with coloured strokes that are moved until CLIP reads it in the drawing (CLIPDraw).

    Args:
        prompt: a sentence in a language of the checkpoint.
        strokes: 1 to 512.
        negatives: sentences to keep away from, at most 8; none when left out.
        seeds: how many drawings, 1 to 8; the one nearest to the prompt is the answer.
        steps: of the optimisation, 1 to 5000; the checkpoint's own number when left out.
        width: that strokes begin with in pixels of the 224 canvas, 0.5 to 50; it is learned.
        seed: the same number gives the same drawing, -1 any, which the answer then names.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "steps", "cosine" with the prompt, "loss", "losses" of the seeds, "svg",
        "points" [strokes][points][x, y], "widths", "colors" [strokes][red, green, blue, alpha in 0..1]}.
    """
    with shell.api_errors():
        from core.drawing import clipdraw

        settings = clipdraw.DrawSettings(
            strokes=strokes,
            seeds=seeds,
            first_seed=seed,
            steps=steps,
            negatives=tuple(negatives or ()),
            width=width,
            checkpoint=checkpoint,
        )
        clipdraw.check(settings)
        sentence = inputs.text(prompt)
        result = runs.finish(lambda cancel: clipdraw.draw(sentence, settings, cancel=cancel))
        (answer,) = runs.answers(result, [])
        one = result.drawn[0]
        return {
            **answer,
            **runs.taken_seed(result, seed),
            "cosine": round(-one.terms["prompt"], 5),
            "widths": one.strokes.widths.astype(float).round(2).tolist(),
            "colors": one.strokes.colors.astype(float).round(3).tolist(),
        }


# --- handlers ----------------------------------------------------------------------------------------------------


def negative_list(text: str | None) -> tuple[str, ...]:
    """The lines of the box of negative prompts."""
    return tuple(line.strip() for line in (text or "").splitlines() if line.strip())


def names_with(prompt: str, labels: str | None) -> list[str]:
    """What CLIP chooses from: the prompt, and the other names."""
    return list(dict.fromkeys([prompt, *runs.label_list(labels)]))


def watch(
    cancel: Cancel, prompt: str, settings: DrawSettings, labels: str, lang: str, begin: Any = None
) -> Iterator[tuple[Any, ...]]:
    """A drawing as it goes: status, surface, the finished run, downloads."""
    from core.drawing import clipdraw

    prompt = inputs.text(prompt)
    names = names_with(prompt, labels)
    frames = clipdraw.draw(prompt, settings, begin=begin, cancel=cancel)
    checkpoint = settings.checkpoint or checkpoints.default("clip")
    for status, message, result in runs.watch(frames, [""], names, checkpoint, lang, edit=True):
        if result is None:
            yield status, message, None, ""
        else:
            made = Made(None, result, tuple(names))
            cosine = -result.drawn[0].terms["prompt"]
            told = pick(lang, f"cosine with the prompt: {cosine:.3f}", f"与提示的余弦：{cosine:.3f}")
            yield (
                f'<p class="atlas-verdict some">{html.escape(told)}</p>{status}',
                message,
                made,
                runs.exports(made, NAME),
            )


def draw_prompt(
    cancel: Cancel,
    prompt: str,
    negatives: str,
    strokes: float,
    seeds: float,
    steps: float,
    width: float,
    seed: float,
    labels: str,
    checkpoint: str,
    lang: str,
) -> Iterator[tuple[Any, ...]]:
    """A drawing that draws itself."""
    from core.drawing.clipdraw import DrawSettings

    settings = DrawSettings(
        strokes=int(strokes),
        seeds=int(seeds),
        first_seed=int(seed or 0),
        steps=int(steps) or None,
        negatives=negative_list(negatives),
        width=float(width),
        checkpoint=checkpoint,
    )
    yield from watch(cancel, prompt, settings, labels, lang)


def go_on(
    cancel: Cancel, made: Made | None, drawn: str | None, prompt: str, steps: float, labels: str, lang: str
) -> Iterator[tuple[Any, ...]]:
    """The last drawing optimised further, from where a person left its strokes; towards what the box now says."""
    result = runs.needed(made).result
    before = result.drawn[0].strokes
    begin = sketch_draw.edited(drawn, before) or before
    settings = replace(result.settings, strokes=len(begin), seeds=1, steps=int(steps) or None)
    yield from watch(cancel, prompt, settings, labels, lang, begin)


def films(made: Made | None, lang: str) -> tuple[str]:
    """The last run as a GIF and an MP4."""
    return runs.films(made, NAME, lang)


def opened(lang: str, query: dict[str, str]) -> tuple[Any, ...]:
    """A page's first state: prompt, names, surface, status."""
    prompts = CONFIG["prompts"][lang]
    labels = ", ".join(prompts)
    if "prompt" in query:
        return query["prompt"][:LONGEST], labels, "", ""
    record = json.loads(RECORDED.read_text(encoding="utf-8"))
    note = pick(
        lang,
        f"Recorded run ({record['checkpoint']}, {record['steps']} steps); press Draw to run it here.",
        f"预先记录的一次运行（{record['checkpoint']}，{record['steps']} 步）；点“画”即可现场运行。",
    )
    message = json.dumps({**record["message"], "labels": [record["labels"][lang]]}, ensure_ascii=False)
    return prompts[0], labels, message, f'<p class="atlas-line">{note}</p>'


# --- layout ------------------------------------------------------------------------------------------------------


def build() -> None:
    """Lays the page out and wires its handlers."""
    page = Shell()
    root: Any = Context.root_block
    with gr.Row():
        with gr.Column(scale=3, min_width=280):
            menu = CheckpointMenu("clip", page)
            prompt = gr.Textbox(
                label=tr("What should be drawn?", "画什么？"), lines=2, elem_id="prompt", max_length=300
            )
            chips = prompt_strip()
            negatives = gr.Textbox(
                label=tr("Keep away from", "远离这些"), info=tr(*NEGATIVES), lines=2, elem_id="negatives"
            )
            labels = label_box(
                "labels",
                tr("Names that CLIP chooses from, besides the prompt", "除提示外，CLIP 从中选择的名字"),
            )
            made = gr.State(None, time_to_live=1800)
        with gr.Column(scale=7, min_width=320), gr.Tabs(elem_classes="atlas-groups"):
            with gr.Tab(tr("Try it", "试一试"), id="try"):
                view, status = draw_tab(page, menu.value, prompt, chips, negatives, labels, made)
            with gr.Tab(tr("Code", "代码"), id="code", elem_id="tab-code"):
                for text, file, name in PIECES:
                    gr.Markdown(
                        tr(text.en, text.zh),
                        latex_delimiters=[{"left": "$", "right": "$", "display": False}],
                    )
                    gr.Markdown(sources.markdown(file, name))
    page.on_load(opened, [prompt, labels, view, status])
    root.unload(jobs.STOPS.leave)
    gr.api(clipdraw_draw, api_name="clipdraw_draw")


def prompt_strip() -> gr.HTML:
    """Example prompts: one click fills and runs."""
    pairs = zip(CONFIG["prompts"]["en"], CONFIG["prompts"]["zh"], strict=True)
    buttons = "".join(
        f'<button type="button" class="atlas-chip" data-example="{i}">{both(html.escape(en), html.escape(zh))}</button>'
        for i, (en, zh) in enumerate(pairs)
    )
    title = both("Examples: one click fills and runs", "例子：点一下就运行")
    return gr.HTML(
        value="",
        html_template=f'<div class="sketch-prompts"><p>{title}</p><div>{buttons}</div></div>',
        js_on_load=ON_CLICK,
        elem_id="prompts",
        padding=False,
        apply_default_css=False,
    )


def draw_example(cancel: Cancel, value: str, *values: Any) -> Iterator[tuple[Any, ...]]:
    """A click on an example prompt: it is filled in behind the outputs of `draw_prompt`, which runs."""
    negatives, strokes, seeds, steps, width, seed, labels, checkpoint, lang = values
    place = (value or "").partition(" ")[0]
    prompts = CONFIG["prompts"][lang]
    if not place.isdecimal() or int(place) >= len(prompts):
        return
    filled: str | None = prompts[int(place)]
    knobs = (negatives, strokes, seeds, steps, width, seed, labels)
    for step in draw_prompt(cancel, prompts[int(place)], *knobs, checkpoint, lang):
        yield *step, filled
        filled = None


def draw_tab(
    page: Shell,
    checkpoint: gr.Dropdown,
    prompt: gr.Textbox,
    chips: gr.HTML,
    negatives: gr.Textbox,
    labels: gr.Textbox,
    made: gr.State,
) -> tuple[gr.HTML, gr.HTML]:
    """The first tab; returns its surface and its status."""
    gr.Markdown(tr(*IDEA))
    strokes = gr.Slider(
        4, 256, value=CONFIG["strokes"], step=4, label=tr("Strokes", "笔画数"), elem_id="strokes"
    )
    run = gr.Button(tr("Draw", "画"), variant="primary", elem_id="draw-button")
    stop = jobs.stop_button("draw-stop")
    with gr.Accordion(tr("Seeds, width, steps", "种子、粗细、步数"), open=False, elem_id="knobs"):
        with gr.Row(equal_height=True):
            seeds = gr.Slider(
                1,
                8,
                value=1,
                step=1,
                label=tr("Seeds: the best one wins", "种子数：取最好的"),
                elem_id="seeds",
            )
            width = gr.Slider(
                0.5, 20, value=2, step=0.5, label=tr("Width at the start", "起始粗细"), elem_id="width"
            )
        with gr.Row(equal_height=True):
            steps = gr.Slider(
                0,
                2000,
                value=0,
                step=1,
                label=tr("Steps", "步数"),
                info=tr(
                    "0: as many as the checkpoint needs (250 for the miniature; 1,000 is the default of the authors' notebook).",
                    "0：按权重所需（微缩模型 250 步；作者的 notebook 默认 1000 步）。",
                ),
                elem_id="steps",
            )
            seed = gr.Number(0, label=tr("First seed", "第一个种子"), precision=0, elem_id="seed")
    status, view = output("draw-status"), sketch_draw.surface("draw-view")
    files = output("draw-files")
    with gr.Row(elem_classes="atlas-lessons"):
        again = gr.Button(tr("Continue from here", "从这里继续"), size="sm", elem_id="draw-continue")
        stop_again = jobs.stop_button("continue-stop")
        film = gr.Button(tr("GIF and MP4", "GIF 和 MP4"), size="sm", elem_id="draw-film")
        shell.link_button({"prompt": prompt, "checkpoint": checkpoint}, elem_id="link")
    shown = output("draw-film-out")
    outputs = [status, view, made, files]
    knobs = [negatives, strokes, seeds, steps, width, seed, labels, checkpoint]
    jobs.long_job(page, [run.click, prompt.submit], (run, stop), draw_prompt, [prompt, *knobs], outputs)
    jobs.long_job(page, [chips.change], (run, stop), draw_example, [chips, *knobs], [*outputs, prompt])
    jobs.long_job(
        page, [again.click], (again, stop_again), go_on, [made, view, prompt, steps, labels], outputs
    )
    page.on(film.click, films, [made], [shown])
    for button in (run, again):
        button.click(None, None, [shown], js="() => ''", api_visibility="private", show_progress="hidden")
    return view, status


PAGE = catalog.page(NAME, build)
