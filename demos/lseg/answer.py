"""What the LSeg page does: one handler per verb, and the named endpoint.

The picture is encoded once and remembered by core, so that a label that comes or goes costs one product.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from core import checkpoints, inputs
from core.errors import Refusal
from demos.draw import masks as segment_draw
from demos.kit import scenes_link, shell
from demos.kit.examples import chosen as strip_choice
from demos.kit.menu import needs_download, start_row
from demos.kit.shell import pick
from demos.lseg.examples import drawn_pictures, examples

if TYPE_CHECKING:
    from core.segmentation.result import Segmentation

OPENING = "street"
OPACITY = 0.6
WAYS = ("lseg", "maskclip")
PAPERS = ("lseg", "clip")
TRICK = "core.segmentation.maskclip"
# Modules of core, imported with torch when they are first asked, and their classes.
SEGMENTERS = {"core.segmentation.lseg": "LSeg", "core.segmentation.clipseg": "CLIPSeg", TRICK: "MaskCLIP"}
# Words for what no label fits: their pixels stay as they are.
REST = frozenset(("background", "other", "nothing", "背景", "其他", "空白"))
MAX_LINK_LABELS = 20_000  # characters of labels that an address may carry


def plain_rows() -> list[str]:
    """The CLIP rows on this machine, for MaskCLIP's trick; the best for photos first."""
    here = [row for row in checkpoints.rows("clip") if checkpoints.state(row.name) in ("bundled", "cached")]
    return [row.name for row in sorted(here, key=lambda row: row.bundled is not None)]


def model_of(checkpoint: str | None) -> Any:
    """The segmenter of a row: LSeg's own, a descendant, or MaskCLIP's trick on a CLIP; `encode` and `segment` alike.

    Raises:
        Refusal: "unknown_checkpoint" for a row that is none of these, or what loading refuses.
    """
    row = checkpoints.row(checkpoint or start_row("lseg"))
    module = TRICK if row.paper == "clip" else row.loader.partition(":")[0]
    if row.paper not in PAPERS or module not in SEGMENTERS:
        known = ", ".join(one.name for paper in PAPERS for one in checkpoints.rows(paper))
        raise Refusal("unknown_checkpoint", name=row.name, known=known)
    return getattr(importlib.import_module(module), SEGMENTERS[module]).load(row.name)


# --- endpoint --------------------------------------------------------------------------------------------


def lseg_segment(
    image: gr.FileData,
    labels: list[str] | str,
    checkpoint: str | None = None,
    masks: bool = False,
) -> dict[str, Any]:
    """Give every pixel of a picture one of the labels (LSeg; with a CLIP checkpoint, MaskCLIP's trick).

    Args:
        image: a picture file, or a data URI.
        labels: a list, or one string with commas; at most 1,000. "other" is a label like any other.
        checkpoint: a row of LSeg or of CLIP that is on the server; LSeg's default row when left out.
        masks: whether the answer carries each label's pixels as COCO run lengths.

    Returns:
        {"checkpoint", "seconds", "size": [width, height], "results": [{"label", "share"}, ...]}, the largest first; with
        masks also "images", "categories" and "annotations": a COCO data set of one image, as pycocotools reads it; "merged"
        and "truncated" as in clip_classify.
    """
    with shell.api_errors():
        names = inputs.labels(labels, limit=1000)
        picture = inputs.image(shell.uploaded(image))
        result = model_of(checkpoint).segment(picture, names)
        answer = result.to_json()
        if masks:
            answer |= json.loads(segment_draw.coco_rle(result.mask, result.labels, result.size))
        return answer


# --- handlers --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One answer with what it was made from."""

    image: Image.Image
    encoded: Any
    result: Segmentation
    seconds: float

    @property
    def kind(self) -> str:
        """Which of the models of core answered: "lseg", "clipseg" or "maskclip"."""
        row = checkpoints.row(self.result.checkpoint)
        return "maskclip" if row.paper == "clip" else row.loader.partition(":")[0].rpartition(".")[2]

    @property
    def sure(self) -> np.ndarray:
        """[h, w] the winner's probability."""
        return self.probabilities.max(0)

    @property
    def probabilities(self) -> np.ndarray:
        """[N, h, w], as fine as the network's maps; they sum to one over labels, but for a sigmoid's."""
        if self.result.normalisation == "sigmoid":
            return 1 / (1 + np.exp(-self.result.logits))
        shifted = np.exp(self.result.logits - self.result.logits.max(0))
        return shifted / shifted.sum(0)


def run(picture: str | None, labels: str | Sequence[str], way: str, plain: str, checkpoint: str) -> Run:
    """Segments the page's picture in one of the two ways."""
    image, names = inputs.image(shell.picture_source(picture)), inputs.labels(labels)
    if way not in WAYS:
        raise Refusal("wrong_value", name="way", wanted=" / ".join(WAYS), value=repr(way)[:40])
    model = model_of((plain or plain_rows()[0]) if way == "maskclip" else checkpoint)
    start = time.perf_counter()
    encoded = model.encode(image)
    result = model.segment(encoded, names)
    return Run(image, encoded, result, time.perf_counter() - start)


def slots(names: Sequence[str], before: Sequence[str]) -> list[str]:
    """Which label has which colour, "" for a free one: those that stay keep theirs.

    Args:
        names: the labels now.
        before: the slots of the last answer.
    """
    painted = [name for name in names if name.lower() not in REST]
    kept = [name if name in painted else "" for name in before]
    for name in painted:
        if name not in kept:
            free = kept.index("") if "" in kept else len(kept)
            kept[free : free + 1] = [name]
    return kept


def colours(names: Sequence[str], held: Sequence[str]) -> list[str]:
    """The colour of each label by its slot; none for the words that mean the rest."""
    table = segment_draw.palette(len(held))
    return [table[held.index(name)] if name in held else "" for name in names]


def line_of(found: Run, lang: str) -> str:
    """The result line, and a hint where a miniature was given a picture from outside its world."""
    result = found.result
    parts = (
        ("encode_image", "picture", "图片"),
        ("encode_text", "labels", "标签"),
        ("segment", "mask", "分割"),
    )
    steps = " + ".join(f"{pick(lang, en, zh)} {result.timings[key]:.0f}" for key, en, zh in parts)
    line = shell.result_line(found.seconds, result.checkpoint, result.device, lang, f"{steps} ms")
    drawn = found.encoded.digest in drawn_pictures() or scenes_link.is_drawn(found.encoded.digest)
    outside = checkpoints.row(result.checkpoint).bundled is not None and not drawn
    return line + (shell.hint(lang) if outside else "")


def segment(
    picture: str | None,
    labels: str,
    way: str,
    plain: str,
    checkpoint: str,
    held: list[str],
    lang: str,
) -> tuple[Any, ...]:
    """The overlay, the line under it, the slots of colours, and the labels that a cut-out can be made of."""
    found = run(picture, labels, way, plain, checkpoint)
    names = found.result.labels
    held = slots(names, held)
    shown = segment_draw.overlay(
        found.image, found.result.mask, names, colours(names, held), OPACITY, lang, found.sure
    )
    best = max(
        (i for i, name in enumerate(names) if name in held),
        key=lambda i: found.result.shares[i],
        default=0,
    )
    cut = gr.update(choices=list(names), value=names[best])
    return shown, line_of(found, lang), held, cut


def switch(
    picture: str | None, labels: str, way: str, plain: str, checkpoint: str, held: list[str], lang: str
) -> tuple[Any, ...]:
    """The answer of another model at once, where it is on this machine; else the menu says how to get it."""
    if way == "lseg" and needs_download(checkpoint):
        return (gr.skip(),) * 4
    return segment(picture, labels, way, plain, checkpoint, held, lang)


def maps(
    picture: str | None, labels: str, way: str, plain: str, checkpoint: str, lang: str
) -> tuple[str, str]:
    """Every label's probability over the picture, and the line."""
    found = run(picture, labels, way, plain, checkpoint)
    sums = found.result.normalisation == "softmax"
    shown = segment_draw.heat_maps(found.image, found.probabilities, found.result.labels, lang, sums)
    return shown, line_of(found, lang)


def files(
    picture: str | None,
    labels: str,
    way: str,
    plain: str,
    checkpoint: str,
    held: list[str],
    cut: str,
    lang: str,
) -> tuple[str]:
    """Download links: overlay, label map, run lengths, and the cut-out of one label."""
    found = run(picture, labels, way, plain, checkpoint)
    names, mask = found.result.labels, found.result.mask
    painted = colours(names, slots(names, held))
    rows = [
        (
            pick(lang, "overlay PNG", "叠加图 PNG"),
            "lseg-overlay.png",
            "image/png",
            segment_draw.overlay_png(found.image, mask, names, painted, OPACITY),
        ),
        (
            pick(lang, "label map PNG", "标签图 PNG"),
            "lseg-labels.png",
            "image/png",
            segment_draw.mask_png(mask, names),
        ),
        (
            "COCO-RLE JSON",
            "lseg-coco.json",
            "application/json",
            segment_draw.coco_rle(mask, names, found.result.size).encode(),
        ),
    ]
    if cut in names:
        title = pick(lang, f"cut-out of “{cut}” PNG", f"抠出“{cut}” PNG")
        data = segment_draw.cutout_png(found.image, mask, names.index(cut))
        rows.append((title, "lseg-cutout.png", "image/png", data))
    return (segment_draw.links(rows, lang),)


# --- the way, and opening --------------------------------------------------------------------------------


def way_note(way: str, lang: str) -> tuple[Any, ...]:
    """The menu of CLIP rows and what is said of it, where the trick is chosen."""
    trick = way == "maskclip"
    only_miniatures = all(checkpoints.row(name).bundled for name in plain_rows())
    note = pick(
        lang,
        "No weights of its own: the value path of CLIP's last attention speaks for each place, so it is coarse but knows "
        "whatever that CLIP knows.",
        "它没有自己的权重：直接用 CLIP 最后一层注意力的 value 通路代表每一处，所以粗糙，但那个 CLIP 认识的它都认识。",
    )
    if only_miniatures:
        note += pick(
            lang,
            ' For photos fetch a real CLIP in the menu of the <a href="clip">CLIP page</a>; it is offered here then.',
            '要看照片，请先在 <a href="clip">CLIP 页</a>的菜单里下载一个真实的 CLIP，之后这里就能选。',
        )
    rows = [(checkpoints.row(name).title[lang], name) for name in plain_rows()]
    return (
        gr.update(choices=rows, visible=trick),
        f'<p class="atlas-line">{note}</p>' if trick else "",
    )


def fill(name: str, lang: str) -> tuple[Any, ...]:
    """What an example fills in: picture, labels, its id, no scene, fresh colours."""
    row = examples()[name]
    return row["path"], row["labels"][lang], name, "", []


def choose(value: str, lang: str) -> tuple[Any, ...]:
    """What a click on the strip of examples fills in."""
    name = strip_choice(value, examples())
    return fill(name, lang) if name else (gr.skip(),) * 5


def opened(lang: str, query: dict[str, str]) -> tuple[Any, ...]:
    """The page's first state: what its address asks for, else the first example; and it is segmented at once."""
    name = query.get("example", OPENING)
    filled = fill(name if name in examples() else OPENING, lang)
    refused = ""
    try:
        scene = scenes_link.opened(query, lang)
    except Refusal as refusal:
        scene, refused = None, shell.refusal_html(refusal, lang)
    if scene:
        labels = ", ".join([*scene.names, pick(lang, "background", "背景")])
        filled = (scene.path, labels, "", query[scenes_link.PARAMETER], [])
    path, labels, *others = filled
    labels = query.get("labels", labels)[:MAX_LINK_LABELS]
    way = query.get("way") if query.get("way") in WAYS else WAYS[0]
    plain = query.get("plain") if query.get("plain") in plain_rows() else plain_rows()[0]
    return path, labels, *others, way, plain, refused
