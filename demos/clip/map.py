"""The *Map* tab: pictures and texts of one joint space in two or three dimensions, and the texts nearest to a picture."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from gradio.context import Context
from PIL import Image

from core import checkpoints, inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.clip import answer as handlers
from demos.clip import inside_draw
from demos.clip.shared import Common
from demos.draw import base as draw
from demos.kit import shell
from demos.kit.components import output
from demos.kit.jobs import Stops
from demos.kit.shell import pick, tr

if TYPE_CHECKING:
    from core.clip import ZeroShot

STOPS = Stops()
CONCEPTS, OWN = "concepts", "own"
NEAREST = 10
MAX_POOL = 1000
CHUNK = 32  # texts encoded between two looks at the Stop button
IDEA = (
    "One picture or one text is one arrow of length 1. Here are many at once, flattened by principal components: what CLIP "
    "finds alike lies together. *Predict first:* will a picture lie nearer to its caption or to another picture?",
    "一张图片或一条文本就是一支长度为 1 的箭头。这里把许多支用主成分压到一张图上：CLIP 觉得相似的就靠在一起。"
    "*先猜一猜：*一张图片会离自己的描述更近，还是离别的图片更近？",
)


# --- endpoint --------------------------------------------------------------------------------------------


def clip_map(
    images: list[gr.FileData],
    texts: list[str],
    dimensions: int = 2,
    centred: bool = False,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """A map of pictures and texts in the joint space, and for each picture its texts by nearness.

    Args:
        images: 1 to 64 picture files, or data URIs.
        texts: 1 to 1,000 texts.
        dimensions: 2 or 3 principal components.
        centred: whether pictures and texts are each moved to a mean of zero, which closes the gap between them.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "points": pictures first, then texts, "explained": share of the variance by axis, "gap":
        distance between the two means, "nearest": for each picture [{"text", "cosine"}, ...], at most 10, best first}.
    """
    from core.clip import inside

    with shell.api_errors():
        count = len(images) if isinstance(images, list) else 0
        if not 1 <= count <= 64:
            raise Refusal("batch_size", low=1, high=64, count=count)
        names = inputs.labels(texts, limit=MAX_POOL)
        if dimensions not in (2, 3):
            raise Refusal("map_dimensions", value=dimensions)
        pictures = [inputs.image(shell.uploaded(image)) for image in images]
        model = handlers.model(checkpoint)
        start = time.perf_counter()
        seen = np.stack([model.encode(picture).image_features for picture in pictures])
        read = model.encode_text([inputs.clean(name) for name in names])
        made = inside.project(
            np.vstack([seen, read]), np.arange(len(seen) + len(read)) >= len(seen), dimensions, centred
        )
        return {
            "checkpoint": model.checkpoint,
            "seconds": round(time.perf_counter() - start, 4),
            "points": made.points.astype(float).round(5).tolist(),
            "explained": made.explained.round(5).tolist(),
            "gap": round(made.gap, 5),
            "nearest": [
                [{"text": names[i], "cosine": float(row[i])} for i in np.argsort(-row)[:NEAREST]]
                for row in seen @ read.T
            ],
        }


# --- handlers --------------------------------------------------------------------------------------------


def shelf(checkpoint: str) -> dict[str, dict[str, Any]]:
    """The example pictures that a row knows something about: the classroom's for a miniature, else the photos too."""
    miniature = checkpoints.row(checkpoint).bundled is not None
    return {name: row for name, row in handlers.examples().items() if row["classroom"] or not miniature}


def pool_of(kind: str, own: str, captions: Sequence[str], lang: str) -> list[str]:
    """The texts among which the nearest are looked for: the visitor's, or the classroom's things and all captions."""
    if kind == OWN:
        return inputs.labels(own, limit=MAX_POOL)
    from core.classroom.world.concepts import concepts
    from core.classroom.world.wording import phrase

    things = [phrase(concept.name(lang), lang) for concept in concepts()]
    return list(dict.fromkeys([*captions, *things]))


def encode_texts(model: ZeroShot, texts: Sequence[str], cancel: Cancel) -> Generator[float, None, np.ndarray]:
    """Text features [N, D], a few at a time; yields the share that is done."""
    parts = []
    for start in range(0, len(texts), CHUNK):
        cancel.check()
        parts.append(model.encode_text([inputs.clean(text) for text in texts[start : start + CHUNK]]))
        yield min(1.0, (start + CHUNK) / len(texts))
    return np.vstack(parts)


def encode_pictures(
    model: ZeroShot, pictures: Sequence[Image.Image], cancel: Cancel
) -> Generator[float, None, np.ndarray]:
    """Image features [B, D], one at a time; yields the share that is done."""
    features = []
    for done, picture in enumerate(pictures, start=1):
        cancel.check()
        features.append(model.encode(picture).image_features)
        yield done / len(pictures)
    return np.stack(features)


def lay_map(
    session: str,
    picture: str | None,
    labels: str,
    dimensions: int,
    centred: bool,
    kind: str,
    own: str,
    checkpoint: str,
    lang: str,
) -> Generator[tuple[Any, ...], None, None]:
    """The figure, what it leaves out, the nearest texts, the result line, and the Stop button while it works."""
    from core.clip import inside

    same = gr.skip()
    image, names = inputs.image(shell.picture_source(picture)), inputs.labels(labels)
    model = handlers.model(checkpoint)
    language = lang if lang in checkpoints.row(model.checkpoint).languages else "en"
    rows = shelf(model.checkpoint)
    texts = pool_of(kind, own, [row["caption"][language] for row in rows.values()], language)
    others = {name: inputs.image(row["path"]) for name, row in rows.items()}
    others = {name: one for name, one in others.items() if inputs.digest(one) != inputs.digest(image)}
    captions = [rows[name]["caption"][language] for name in others]
    start = time.perf_counter()
    with STOPS.job(session) as cancel:
        shown = time.monotonic()
        steps = _both(
            encode_pictures(model, [image, *others.values()], cancel),
            encode_texts(model, [*names, *captions, *texts], cancel),
        )
        while True:
            try:
                share = next(steps)
            except StopIteration as end:
                seen, read = end.value
                break
            if time.monotonic() - shown > 0.4:
                shown = time.monotonic()
                left = (time.perf_counter() - start) * (1 - share) / max(share, 1e-3)
                yield same, same, same, progress(share, left, lang), gr.update(visible=True)
    asked = len(names) + len(captions)
    points = np.vstack([seen, read[:asked]])
    made = inside.project(points, np.arange(len(points)) >= len(seen), dimensions, centred)
    kinds = ["asked", *["picture"] * len(others), *["label"] * len(names), *["caption"] * len(captions)]
    all_names = [
        pick(lang, "this picture", "当前图片"),
        *(rows[name]["caption"][lang] for name in others),
        *names,
        *captions,
    ]
    thumbnails = [draw.data_uri(one, 96) for one in (image, *others.values())]
    pairs = [(1 + i, len(seen) + len(names) + i) for i in range(len(others))]
    figure = inside_draw.map_figure(made, all_names, kinds, [*thumbnails, *[None] * asked], pairs, lang)
    cosines = read[asked:] @ seen[0]
    best = np.argsort(-cosines, kind="stable")[:NEAREST].tolist()
    table = inside_draw.nearest_table([texts[i] for i in best], cosines[best].tolist(), len(texts), lang)
    line = shell.result_line(time.perf_counter() - start, model.checkpoint, model.device, lang)
    drawn = gr.update(value=figure, visible=True)
    yield drawn, inside_draw.map_note(made, centred, lang), table, line, gr.update(visible=False)


def _both(
    pictures: Generator[float, None, np.ndarray], texts: Generator[float, None, np.ndarray]
) -> Generator[float, None, tuple[np.ndarray, np.ndarray]]:
    """Two jobs one after the other, each half of the way."""

    def half(job: Generator[float, None, np.ndarray], base: float) -> Generator[float, None, np.ndarray]:
        while True:
            try:
                yield base + next(job) / 2
            except StopIteration as end:
                return end.value

    seen = yield from half(pictures, 0.0)
    return seen, (yield from half(texts, 0.5))


def progress(share: float, left: float, lang: str) -> str:
    """A bar with the time that is left."""
    text = pick(lang, f"Encoding, about {left:.0f} s left", f"正在编码，大约还需 {left:.0f} 秒")
    return (
        f'<div class="atlas-progress" role="progressbar" aria-label="{text}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * share:.0f}"><span style="width:{100 * share:.1f}%"></span></div>'
        f'<p class="atlas-line">{text}</p>'
    )


def stop(session: str, lang: str) -> tuple[Any, ...]:
    """Asks the session's job to stop."""
    STOPS.stop(session)
    return ()


# --- layout ----------------------------------------------------------------------------------------------


def map_tab(common: Common) -> None:
    """Lays the tab out and wires it."""
    page = common.page
    root: Any = Context.root_block
    gr.Markdown(tr(*IDEA))
    with gr.Row(equal_height=True):
        dimensions = gr.Radio(
            [(tr("2D, with pictures", "二维，带图片"), 2), (tr("3D, turn it", "三维，可转动"), 3)],
            value=2,
            label=tr("Dimensions", "维数"),
            elem_id="map-dimensions",
        )
        centred = gr.Checkbox(
            value=False,
            label=tr("Close the gap between pictures and texts", "消除图片与文本之间的间隙"),
            elem_id="map-centred",
        )
    with gr.Accordion(
        tr("Nearest texts: among which?", "最近的文本：从哪些里找？"), open=False, elem_id="map-pool"
    ):
        kind = gr.Radio(
            [
                (
                    tr(
                        "the examples' captions and the things of the classroom", "例子的描述和“教室”里的事物"
                    ),
                    CONCEPTS,
                ),
                (tr("my own list", "我自己的列表"), OWN),
            ],
            value=CONCEPTS,
            label=tr("Texts", "文本"),
            elem_id="map-kind",
        )
        own = gr.Textbox(
            label=tr(
                "Own texts, one a line or with commas, at most 1,000",
                "自己的文本，每行一条或用逗号分开，最多 1000 条",
            ),
            lines=3,
            elem_id="map-own",
        )
    with gr.Row():
        run = gr.Button(tr("Draw the map", "画出地图"), variant="primary", elem_id="map-button")
        stopping = gr.Button(tr("Stop", "停止"), variant="stop", visible=False, elem_id="map-stop")
    plot = gr.Plot(show_label=False, elem_id="map-plot", container=False, visible=False)
    note, table, line = output("map-note"), output("map-nearest"), output("map-line")
    asked = [common.picture, common.labels, dimensions, centred, kind, own, common.checkpoint]
    shown = [plot, note, table, line, stopping]
    page.on(
        [run.click, dimensions.input, centred.input],
        lay_map,
        asked,
        shown,
        session=True,
        show_progress="hidden",
    )
    page.on(stopping.click, stop, [], [], session=True, queue=False, show_progress="hidden")
    root.unload(STOPS.leave)
    gr.api(clip_map, api_name="clip_map")
