"""The *What if?* tab: paint something out or put something in, and see how far the answer moves."""

from __future__ import annotations

import html
import io
import json
import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from core import inputs
from core.errors import Refusal
from demos.clip import answer as handlers
from demos.clip import pair_draw
from demos.clip.shared import Common
from demos.draw import base as draw
from demos.kit import components, shell, thumbnails
from demos.kit.components import output
from demos.kit.shell import both, pick, tr

if TYPE_CHECKING:
    from core.classroom.world.concepts import Concept
    from core.clip.edit import Paste, Stroke

STYLE = "noto"
PATCH = ""  # the thing that paints out the square it covers
IDEA = (
    "Does the answer really come from the thing it names? Take it away and see. Paint over a part of the picture, or put "
    "something in; the model is asked again after every change. *Predict first:* how far will each label move?",
    "答案真的来自它所说的东西吗？拿走它看看。涂掉图中一部分，或者放入一样东西；每改一次，模型就重新回答一次。"
    "*先猜一猜：*每个标签会变多少？",
)
FILLS = {
    "around": ("the colours around it", "周围的颜色"),
    "grey": ("grey", "灰色"),
    "noise": ("noise", "噪声"),
}


@cache
def settings() -> dict[str, Any]:
    """The shelf and the changes of one click."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


# --- things ----------------------------------------------------------------------------------------------


@cache
def sheet() -> np.ndarray:
    """Every sprite of the style that the classroom's pictures use most: uint8 [concepts, h, w, 4]."""
    from core.classroom.world import sprites

    return sprites.sheet(STYLE)


@lru_cache(maxsize=128)
def sprite(name: str) -> np.ndarray:
    """A concept's drawing, uint8 [h, w, 4].

    Raises:
        Refusal: "unknown_concept" for what the classroom cannot draw.
    """
    concept = find(name)
    cell = sheet()[concept.index]
    if not cell[..., 3].any():
        raise Refusal("unknown_concept", name=name)
    return cell


def find(name: str) -> Concept:
    """The concept of a name, a synonym or a code point.

    Raises:
        Refusal: "unknown_concept" for what the classroom does not know.
    """
    from core.classroom.world import concepts

    concept = concepts.find(name)
    if concept is None:
        raise Refusal("unknown_concept", name=name)
    return concept


def thumbnail(name: str) -> str:
    """The address of a concept's drawing, by the concept's English name."""
    return thumbnails.register(f"sprite {STYLE} {name}", lambda: Image.fromarray(sprite(name)))


def edited(
    image: Image.Image,
    strokes: list[Stroke],
    pastes: list[Paste],
    boxes: list[list[float]],
    fill: str,
) -> Image.Image:
    """The picture as it was changed: first everything is painted out, then things are put in."""
    from core.clip import edit

    shorter = min(image.size)
    squares = [
        [
            thing.x * image.width - thing.size * shorter / 2,
            thing.y * image.height - thing.size * shorter / 2,
            thing.x * image.width + thing.size * shorter / 2,
            thing.y * image.height + thing.size * shorter / 2,
        ]
        for thing in pastes
        if thing.name == PATCH
    ]
    shown = edit.paint_out(image, edit.mask_of(image.size, strokes, [*boxes, *squares]), fill)
    for thing in pastes:
        if thing.name != PATCH:
            shown = edit.paste(shown, sprite(thing.name), thing)
    return shown


# --- endpoint --------------------------------------------------------------------------------------------


def clip_counterfactual(
    image: gr.FileData,
    labels: list[str] | str,
    boxes: list[list[float]] | None = None,
    things: list[dict[str, Any]] | None = None,
    fill: str = "around",
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank labels before and after something is painted out of a picture, or put into it.

    Args:
        image: a picture file, or a data URI.
        labels: a list, or one string with commas; at most 100.
        boxes: parts to paint out as [left, top, right, bottom] in pixels of the picture, at most 64.
        things: what to put in, at most 16: {"name": one of the classroom's concepts, "x", "y": centre as shares of width and
            height, "size": share of the shorter side}.
        fill: what the painted parts become: "around" (the colours around them), "grey" or "noise".
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"seconds", "similarity": cosine of before and after, "first" and "second": {"checkpoint", "results" as in
        clip_classify}, "picture": the changed picture as a data URI}.
    """
    from core.clip import crops, edit

    with shell.api_errors():
        names = inputs.labels(labels)
        picture = inputs.image(shell.uploaded(image))
        painted = []
        if boxes:
            checked = crops.check_boxes(boxes, *inputs.size_of(picture))
            painted = inputs.to_pixels(picture, checked).tolist()
        _, pastes = edit.check(None, things)
        if not painted and not pastes:
            raise Refusal("nothing_changed")
        changed = edited(picture, [], pastes, painted, fill)
        model = handlers.model(checkpoint)
        pair = edit.ask_twice((model, model), (picture, changed), names, template)
        return {**pair.to_json(), "picture": draw.data_uri(changed, 2048)}


# --- handlers --------------------------------------------------------------------------------------------


def ask(
    picture: str | None, value: str | None, labels: str, fill: str, checkpoint: str, lang: str
) -> tuple[str, str, str]:
    """Before and after, the table of both answers, and the result line."""
    from core.clip import edit

    image, names = inputs.image(shell.picture_source(picture)), inputs.labels(labels)
    drawn = components.read(value)
    strokes, pastes = edit.check(drawn.get("strokes"), drawn.get("pastes"))
    if not strokes and not pastes:
        raise Refusal("nothing_changed")
    changed = edited(image, strokes, pastes, [], fill)
    model = handlers.model(checkpoint)
    pair = edit.ask_twice((model, model), (image, changed), names)
    sides = ((pick(lang, "before", "之前"), image), (pick(lang, "after", "之后"), changed))
    buffer = io.BytesIO()
    changed.save(buffer, "PNG")
    files = [
        ("clip-what-if.json", "application/json", draw.to_json(pair.to_json()).encode()),
        ("clip-what-if.csv", "text/csv", pair_draw.to_csv(pair).encode("utf-8-sig")),
        ("clip-what-if.png", "image/png", buffer.getvalue()),
    ]
    line = handlers.shown_line(pair.first, model.encode(image), pair.seconds, lang)
    return (
        pair_draw.columns(sides, lang) + pair_draw.verdict(pair, lang),
        pair_draw.table(pair, lang),
        line + shell.downloads(files),
    )


def put_in(value: str | None, name: str, lang: str) -> tuple[str, str]:
    """The surface with one more thing in its middle, by the name that was typed; the box is empty again."""
    drawn = components.read(value)
    wanted = inputs.text(name)
    pastes = drawn.get("pastes")
    pastes = [
        *(pastes if isinstance(pastes, list) else []),
        {"name": wanted, "x": 0.5, "y": 0.5, "size": 0.4},
    ]
    sprite(wanted)  # refuses what it cannot draw
    known = {wanted: {"src": thumbnail(find(wanted).en), "title": wanted}}
    strokes = drawn.get("strokes") if isinstance(drawn.get("strokes"), list) else []
    return json.dumps({"strokes": strokes, "pastes": pastes, "known": known}, ensure_ascii=False), ""


def attempt(name: str, lang: str) -> tuple[Any, ...]:
    """A change of one click: picture, labels, the surface's value, the example's id."""
    row = settings()["tries"][name]
    example = handlers.examples()[row["example"]]
    width = example["size"]
    pastes: list[dict[str, Any]] = []
    left, top, right, bottom = (0.06, 0.05, 0.5, 0.45)
    for thing in example["objects"]:
        if thing["en"] == row.get("thing"):
            left, top, right, bottom = (value / width for value in thing["box"])
            side = 1.12 * max(right - left, bottom - top)
            pastes.append({"name": PATCH, "x": (left + right) / 2, "y": (top + bottom) / 2, "size": side})
    if "paste" in row:
        side = 1.05 * max(right - left, bottom - top)
        pastes.append({"name": row["paste"], "x": (left + right) / 2, "y": (top + bottom) / 2, "size": side})
    value = json.dumps({"for": Path(example["path"]).name, "strokes": [], "pastes": pastes})
    return example["path"], row["labels"][lang], value, row["example"]


# --- layout ----------------------------------------------------------------------------------------------


def surface() -> gr.HTML:
    """The picture with its brush and its shelf of things."""
    tip = both(
        "Drag on the picture to paint out. Click a thing below to put it in; drag it, or its corner to resize it.",
        "在图上拖动即可涂掉。点下面的东西可放入图中；拖动可移动，拖右下角可改变大小。",
    )
    blank = both("Blank patch", "空白块")
    things = f'<button type="button" data-sprite="{PATCH}" title="patch"><b>□</b>'
    things += f'<span class="atlas-only-read">{blank}</span></button>'
    for thing in settings()["shelf"]:
        name, chinese = thing["en"], thing["zh"]
        things += (
            f'<button type="button" data-sprite="{html.escape(name)}" title="{html.escape(name)} {html.escape(chinese)}">'
            f'<img alt="" src="{thumbnail(name)}"><span class="atlas-only-read">{both(name, chinese)}</span></button>'
        )
    return components.surface(
        "whatif-surface",
        "edit.js",
        f'<div class="atlas-surface"><p class="atlas-line">{tip}</p>'
        '<div class="atlas-pane" hidden><img alt="" draggable="false"><canvas></canvas></div>'
        f'<div class="atlas-shelf" role="group">{things}</div><p class="atlas-tools">'
        f'<label>{both("Brush", "画笔")} <input type="range" min="0.015" max="0.15" step="0.005" value="0.05"></label>'
        f'<button type="button" class="atlas-chip" data-undo>{both("Undo", "撤销")}</button>'
        f'<button type="button" class="atlas-chip" data-clear>{both("Start again", "重来")}</button>'
        '<span data-count role="status"></span></p></div>',
    )


def whatif_tab(common: Common) -> None:
    """Lays the tab out and wires it."""
    page = common.page
    gr.Markdown(tr(*IDEA))
    with gr.Row(elem_classes="atlas-lessons"):
        buttons = {
            name: gr.Button(tr(row["title"]["en"], row["title"]["zh"]), size="sm", elem_id=f"whatif-{name}")
            for name, row in settings()["tries"].items()
        }
    pane = surface()
    components.follow(pane, common.picture, keep=True)
    with gr.Row(elem_classes="atlas-put"):
        typed = gr.Textbox(
            label=tr("Put in anything the classroom can draw", "放入教室里会画的任何东西"),
            placeholder=tr("dog", "狗"),
            elem_id="whatif-name",
        )
        add = gr.Button(tr("Put in", "放入"), elem_id="whatif-add", min_width=100)
    fill = gr.Radio(
        [(tr(*words), name) for name, words in FILLS.items()],
        value="around",
        label=tr("What is painted out becomes", "涂掉的部分变成"),
        elem_id="whatif-fill",
    )
    run = gr.Button(tr("Ask again", "再问一次"), variant="primary", elem_id="whatif-button")
    sides, table, line = output("whatif-sides"), output("whatif-out"), output("whatif-line")
    asked = [common.picture, pane, common.labels, fill, common.checkpoint]
    shown = [sides, table, line]
    page.on([run.click, fill.input], ask, asked, shown)
    page.on(pane.input, ask_quietly, asked, shown, show_progress="hidden", trigger_mode="always_last")
    named = page.on([add.click, typed.submit], put_in, [pane, typed], [pane, typed], show_progress="hidden")
    page.then(named, ask, asked, shown)
    filled = [common.picture, common.labels, pane, common.example]
    for name, button in buttons.items():
        changed = page.on(button.click, _attempt(name), [], filled, show_progress="hidden")
        page.then(changed, ask, asked, shown)
    gr.api(clip_counterfactual, api_name="clip_counterfactual")


def ask_quietly(*values: Any) -> tuple[Any, ...]:
    """`ask` after a change by hand: a picture that is whole again is no refusal, its old answer goes."""
    drawn = components.read(values[1])
    return ask(*values) if drawn.get("strokes") or drawn.get("pastes") else ("", "", "")


def _attempt(name: str) -> Any:
    return lambda lang: attempt(name, lang)
