"""The *Many files* tab: the page's verb, with the page's labels and settings, over several files or a zip archive.

A page declares `Many(verb)`: `verb(question)` gives the function that `core.batch.run` applies to each image, clip, sound or
cloud. It is made once, so that labels are encoded once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from core import batch, inputs
from core.batch import Outcome, Row
from core.errors import Refusal
from core.inputs.archives import MAX_BYTES, MAX_FILES
from core.runtime import Cancel
from demos.draw import base as draw
from demos.kit import library
from demos.kit.components import output
from demos.kit.files import downloads
from demos.kit.html import Markup, grid, join, tag
from demos.kit.jobs import Progress
from demos.kit.language import Text, pick

if TYPE_CHECKING:
    from demos.kit.layout import Layout

RUN = Text("Run over all files", "处理全部文件")
SIDE = 56  # pixels of a thumbnail
LISTED = 100  # rows of the table on the page; the files hold all of them
PAUSE = 1.0  # seconds between two tables while the job runs


@dataclass(frozen=True)
class Kind:
    """What the files hold: how one is read, and how the page calls one and all of them."""

    read: Callable[[Any], Any]
    one: Text
    all: Text

    @property
    def idea(self) -> Text:
        """What the tab does with them."""
        limits: Any = {"files": MAX_FILES, "size": MAX_BYTES >> 20}
        return Text(*(library.kit("many", lang, thing=self.one.get(lang), **limits) for lang in ("en", "zh")))


IMAGES = Kind(inputs.image, Text("image", "张图片"), Text("Images, or a zip archive", "图片或 zip 压缩包"))
SOUNDS = Kind(
    inputs.sound,
    Text("sound", "段声音"),
    Text("Sounds, videos with sound, or a zip archive", "声音、带声音的视频或 zip 压缩包"),
)
CLIPS = Kind(inputs.video, Text("clip", "个片段"), Text("Clips, or a zip archive", "片段或 zip 压缩包"))
CLOUDS = Kind(
    inputs.points,
    Text("cloud or mesh", "个点云或网格"),
    Text("Clouds and meshes, or a zip archive", "点云、网格或 zip 压缩包"),
)


@dataclass(frozen=True)
class Many:
    """The verb of a page over many files: `verb(question)` -> `(image, clip, sound or cloud) -> Outcome`."""

    verb: Callable[[Any], Callable[[Any], Outcome]]
    kind: Kind = IMAGES


def lay_out(layout: Layout, many: Many, name: str) -> None:
    """Lays the tab out inside the open `gr.Tab` and wires it; downloads are named after the page."""
    gr.Markdown(many.kind.idea.tr)
    given = gr.File(file_count="multiple", label=many.kind.all.tr, elem_id="many-files", height=160)
    place = layout.place("many", RUN, {"table": output, "links": output})

    def run(question: Any, paths: Sequence[str] | None, lang: str, cancel: Cancel) -> Iterator[Any]:
        yield from rows_of(many, question, paths, name, lang, cancel)

    layout.ask(place.button.click, place, run, [given], prepare=False)


def rows_of(
    many: Many, question: Any, paths: Sequence[str] | None, name: str, lang: str, cancel: Cancel
) -> Iterator[Any]:
    """The job: progress, the table now and then, at the end the whole table and its files.

    Raises:
        Refusal: "no_files" and what else `core.inputs.files_of` refuses, or what the question itself is refused for.
    """
    members = inputs.files_of(list(paths or ()))
    yield Progress(0.0, pick(lang, "Getting ready …", "正在准备……"))
    verb = many.verb(question)
    rows: list[Row] = []
    thumbnails: list[str] = []
    drawn = time.monotonic()
    for step in batch.run(members, verb, cancel, many.kind.read):
        rows.append(step.row)
        thumbnails.append(thumbnail(step.row) if len(rows) <= LISTED else "")
        # The pixels are not needed any more; 500 images would fill the memory.
        rows[-1] = without_image(step.row)
        left = round(step.seconds_left)
        text = library.kit("files_done", lang, done=step.done, total=step.total, left=left)
        yield Progress(step.done / step.total, text)
        if time.monotonic() - drawn > PAUSE:
            yield {"table": table(rows, thumbnails, lang)}
            drawn = time.monotonic()
    if not rows:
        raise Refusal("cancelled")
    yield {
        "table": table(rows, thumbnails, lang),
        "links": links(rows, name, lang),
        "line": summary(rows, len(members), lang),
    }


def summary(rows: Sequence[Row], total: int, lang: str) -> Markup:
    """How many files were answered and refused, and whether the job was stopped."""
    refused = sum(row.refusal is not None for row in rows)
    text = library.kit("files_answered", lang, answered=len(rows) - refused, total=total, refused=refused)
    if len(rows) < total:
        text += library.kit("files_stopped", lang)
    return tag("p", text, class_="atlas-line")


def thumbnail(row: Row) -> str:
    """The image of a row, small, as a data URI; "" where there is none."""
    image = row.outcome.image if row.outcome else None
    return draw.data_uri(image, SIDE) if isinstance(image, Image.Image) else ""


def without_image(row: Row) -> Row:
    """The row without the pixels of its image."""
    if row.outcome is None or row.outcome.image is None:
        return row
    kept = {**row.outcome.__dict__, "image": None}
    return Row(row.file, row.seconds, Outcome(**kept))


def table(rows: Sequence[Row], thumbnails: Sequence[str], lang: str) -> Markup:
    """The first rows as a table: thumbnail, file, the verb's columns; a refusal in place of the columns."""
    columns = list(dict.fromkeys(name for row in rows if row.outcome for name in row.outcome.cells))
    body = []
    for row, source in zip(rows[:LISTED], thumbnails, strict=False):
        image = tag("img", src=source, alt="", class_="atlas-thumb") if source else ""
        if row.outcome is not None:
            values = (row.outcome.cells.get(name, "") for name in columns)
            cells = join(tag("td", f"{v:.3f}" if isinstance(v, float) else str(v)) for v in values)
        else:
            reason = row.refusal.text(lang) if row.refusal else ""
            cells = tag("td", reason, colspan=max(1, len(columns)), class_="atlas-refused")
        body.append(tag("tr", tag("td", image), tag("th", row.file, scope="row"), cells))
    more = len(rows) - LISTED
    note = tag("p", library.kit("more_rows", lang, more=more), class_="atlas-line") if more > 0 else ""
    return grid(["", pick(lang, "file", "文件"), *columns], body) + note


def links(rows: Sequence[Row], name: str, lang: str) -> Markup:
    """Downloads that carry their data: the table, the JSON lines, and a zip of everything."""
    parts = [
        (f"{name}.csv", "text/csv", batch.table(rows, lang).encode("utf-8-sig")),
        (f"{name}.jsonl", "application/jsonl", batch.json_lines(rows, lang).encode()),
        (f"{name}.zip", "application/zip", batch.archive(rows, lang)),
    ]
    return downloads(parts)
