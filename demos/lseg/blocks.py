"""*Regularization*: one image and its labels under no block, and under blocks that are used once, twice, four times.

The image is encoded once, and what a block changes is computed from label maps that are there already. The browser
chooses which answer is large, and whether it shows the mask or what changed (assets/css/segment.css).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import inputs
from core.classroom import report
from demos.draw import base, masks
from demos.kit.events import api_errors
from demos.kit.files import uploaded
from demos.kit.html import Markup, grid, join, row, share, tag
from demos.kit.language import Text
from demos.lseg.answer import Answer, colour_slots, colours, model_of, run
from demos.lseg.words import data, say

if TYPE_CHECKING:
    from core.segmentation.regularization import Regularized
    from core.segmentation.result import Segmentation
    from demos.lseg.page import Question

ALONE, ABLATION = "blocks fitted alone", "ablation of blocks"  # how measures of the report card begin
LITTLE = 0.01  # of the pixels
MEAN = "mean"
BLOCKS = {kind: Text(**texts["name"]) for kind, texts in data()["blocks"].items()}


def variants_of(result: Segmentation) -> list[Regularized]:
    """The answers under every block."""
    return importlib.import_module("core.segmentation.regularization").compare(result)


# --- endpoint --------------------------------------------------------------------------------------------


def lseg_regularize(
    image: gr.FileData, labels: list[str] | str, checkpoint: str | None = None
) -> dict[str, Any]:
    """Segment an image with no regularization block, and with bottleneck and depthwise ones used 1, 2 and 4 times.

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 1,000.
        checkpoint: a row of LSeg that has fitted blocks; LSeg's default row when left out.

    Returns:
        {"checkpoint", "results": [{"block", "depth", "changed", "shares": {label: share}}, ...]}: no block first, last the
        plain mean of a window, not fitted; "changed" is the share of pixels with another label than without a block.
    """
    with api_errors():
        names = inputs.labels(labels, limit=1000)
        picture = inputs.image(uploaded(image))
        result = model_of(checkpoint).segment(picture, names)
        rows = [
            {
                "block": one.kind,
                "depth": one.depth,
                "changed": one.share,
                "shares": dict(zip(names, one.shares(len(names)), strict=True)),
            }
            for one in variants_of(result)
        ]
        return {"checkpoint": result.checkpoint, "results": rows}


# --- the tab ---------------------------------------------------------------------------------------------


def compare(question: Question, lang: str) -> dict[str, Any]:
    """The image under every block, what changed, what was measured; and the line."""
    answer = run(question)
    variants = variants_of(answer.result)
    rows = report.rows()
    return {
        "out": figure(answer, variants, question.held, lang)
        + table(variants, rows, answer.result.checkpoint, lang)
        + ablation(rows, lang),
        "line": answer.line(lang),
    }


def figure(answer: Answer, variants: Sequence[Regularized], held: Sequence[str], lang: str) -> Markup:
    """No block beside the chosen one, large; below, all of them to choose from: a row of each kind."""
    names = answer.result.labels
    painted = colours(names, colour_slots(names, held))
    layers = [f"--picture:url({base.data_uri(answer.image, masks.MASK_SIDE)})"]
    for i, one in enumerate(variants):
        layers.append(f"--mask{i}:url({masks.mask_layer(one.mask, painted)})")
        layers.append(f"--change{i}:url({masks.spots_layer(one.changed, base.VERMILION)})")
    most = max(range(1, len(variants)), key=lambda i: variants[i].share * (variants[i].kind != MEAN))
    legend = join(
        tag("li", tag("i", style=f"background:{colour or 'transparent'}"), name)
        for name, colour in zip(names, painted, strict=True)
    )
    toggle = say("show_changed", lang)
    ratio = f"--ratio:{answer.image.width / answer.image.height:.4f}"
    return tag(
        "div",
        tag("p", summary(variants[most], lang), class_="said"),
        tag("div", *(_figure(i, one, lang) for i, one in enumerate(variants)), class_="pair"),
        tag("ul", legend, class_="legend"),
        tag("label", tag("input", type="checkbox"), " ", toggle, class_="only"),
        *(_row(kind, variants, most, lang) for kind in BLOCKS),
        class_="atlas-blocks",
        style=";".join([ratio, *layers]),
    )


def summary(most: Regularized, lang: str) -> str:
    """What the trained block that changes most does."""
    sentence = say("most_changed", lang, name=block_name(most.name, lang), share=_share(most, lang))
    return sentence if most.share >= LITTLE else sentence + say("little", lang)


def block_name(split: str, lang: str) -> str:
    """The report card's "none" or "depthwise x 2" as people read it: "no block", "depthwise × 2"."""
    kind, _, depth = split.partition(" x ")
    if kind == "none":
        return say("no_block", lang)
    return f"{BLOCKS[kind].get(lang)} × {depth}" if kind in BLOCKS else split


def _row(kind: str, variants: Sequence[Regularized], most: int, lang: str) -> Markup:
    """The small answers of a kind: none, and used once, twice, four times."""
    title = BLOCKS[kind].get(lang)
    cells = [_cell(i, one, lang, i == most) for i, one in enumerate(variants) if one.kind in ("none", kind)]
    head = tag("p", tag("b", title), " ", data()["blocks"][kind]["what"][lang])
    return tag("div", head, *cells, class_="row", role="group", aria_label=title)


def _share(one: Regularized, lang: str) -> str:
    return base.percent(one.share) if one.changed.any() else say("none", lang)


def _caption(one: Regularized, lang: str) -> str:
    if one.kind == "none":
        return say("own_mask", lang)
    return say("changed", lang, share=_share(one, lang))


def _stage(i: int, one: Regularized, lang: str) -> Markup:
    """The image with the mask of a variant over it."""
    label = f"{block_name(one.name, lang)}: {_caption(one, lang)}"
    style = f"--mask:var(--mask{i});--change:var(--change{i})"
    return tag("span", class_="stage", role="img", aria_label=label, style=style)


def _figure(i: int, one: Regularized, lang: str) -> Markup:
    caption = tag("figcaption", tag("b", block_name(one.name, lang)), " ", _caption(one, lang))
    return tag("figure", caption, _stage(i, one, lang), class_=f"n{i}")


def _cell(i: int, one: Regularized, lang: str, chosen: bool) -> Markup:
    """A small answer; one of those with a block is chosen to be large."""
    title = say("without", lang) if one.kind == "none" else f"× {one.depth}"
    text = _stage(i, one, lang), tag("span", tag("b", title), " ", _caption(one, lang), class_="name")
    if one.kind == "none":
        return tag("div", *text, class_="cell")
    choice = tag("input", type="radio", name_="atlas-block", value=i, checked=chosen)
    return tag("label", choice, *text, class_="cell")


# --- tables ----------------------------------------------------------------------------------------------


def measured(
    rows: Sequence[Mapping[str, Any]], start: str
) -> tuple[dict[str, str], dict[tuple[str, str], float]]:
    """The measures that begin so, by their rest, and the values by split and measure."""
    chosen = [row for row in rows if row["measure"].startswith(start)]
    names = {row["measure"]: row["measure"].removeprefix(start).strip(": ") for row in chosen}
    return names, {(row["split"], row["measure"]): row["value"] for row in chosen}


def _value(value: float | None, best: float = 2.0) -> Markup:
    if value is None:
        return tag("td", "–")
    return share(value, f"{value:.3f}", best=value == best)


def table(
    variants: Sequence[Regularized], rows: Sequence[Mapping[str, Any]], checkpoint: str, lang: str
) -> Markup:
    """A line of each variant: what changed in this image, its window, and what was measured of it on many scenes."""
    own = [row for row in rows if row["checkpoint"] == checkpoint and row["measure"].startswith(ALONE)]
    names, values = measured(own, ALONE)
    best = {name: max(value for (_, other), value in values.items() if other == name) for name in names}
    head = [say(name, lang) for name in ("block", "changed_here", "its_window")]
    head += [report.named(rest, lang) for rest in names.values()]
    body = [
        row(
            block_name(one.name, lang),
            tag("td", _share(one, lang)),
            tag("td", _window(one, lang)),
            *(_value(values.get((one.name, name)), best[name]) for name in names),
        )
        for one in variants
    ]
    command = [say("measured_by", lang), tag("code", own[0]["command"])] if own else []
    note = tag("p", say("numbers", lang), *command, class_="atlas-line")
    return tag("h3", say("numbers_title", lang)) + grid(head, body) + note


def _window(one: Regularized, lang: str) -> Markup | str:
    if one.window is None:
        return "–"
    label = say("window", lang)
    cells = (tag("span", f"{value:+.2f}") for value in one.window.ravel().tolist())
    return tag("span", *cells, class_="atlas-window", role="group", aria_label=label)


def ablation(rows: Sequence[Mapping[str, Any]], lang: str) -> Markup:
    """What was measured of every kind of block (the paper's Table 4 in small); nothing where nothing was."""
    own = [row for row in rows if row["paper"] == "lseg" and row["measure"].startswith(ABLATION)]
    if not own:
        return Markup("")
    names, values = measured(own, ABLATION)
    body = [
        row(block_name(split, lang), *(_value(values.get((split, name))) for name in names))
        for split in dict.fromkeys(one["split"] for one in own)
    ]
    head = ["", *(report.named(rest, lang) for rest in names.values())]
    note = tag("p", say("together", lang), tag("code", own[0]["command"]), class_="atlas-line")
    return tag("h3", say("together_title", lang)) + grid(head, body) + note
