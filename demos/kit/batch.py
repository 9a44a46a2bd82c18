"""The *Many files* tab: the page's verb, with the page's labels and settings, over several files or a zip archive.

A page declares `Many(verb)`: `verb(question)` gives the function that `core.batch.run` applies to each image. It is made
once, so that labels are encoded once.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from core import batch, inputs
from core.batch import Outcome, Row, Step, detected, ranked, segmented
from core.errors import Refusal
from core.inputs.archives import MAX_BYTES, MAX_FILES
from core.runtime import Cancel
from demos.draw import base as draw
from demos.kit.components import output
from demos.kit.html import Markup, join, tag
from demos.kit.jobs import Progress
from demos.kit.language import Text, pick

if TYPE_CHECKING:
    from demos.kit.page import Layout

__all__ = [
    "Many",
    "detected",
    "lay_out",
    "links",
    "ranked",
    "rows_of",
    "segmented",
    "sentence",
    "summary",
    "table",
    "thumbnail",
    "without_image",
]

IDEA = Text(
    f"Give several files, or one zip archive of them: at most {MAX_FILES} files and {MAX_BYTES >> 20} MB. Each image is asked "
    "the question of this page, with its labels, its settings and its checkpoint. A file that cannot be read is listed with "
    "the reason.",
    f"可以一次给多个文件，也可以给一个 zip 压缩包：最多 {MAX_FILES} 个文件、{MAX_BYTES >> 20} MB。"
    "每张图片都用本页的标签、设置和权重来处理；无法读取的文件会列出原因。",
)
FILES = Text("Images, or a zip archive", "图片或 zip 压缩包")
RUN = Text("Run over all files", "处理全部文件")
SIDE = 56  # pixels of a thumbnail
LISTED = 100  # rows of the table on the page; the files hold all of them
PAUSE = 1.0  # seconds between two tables while the job runs


@dataclass(frozen=True)
class Many:
    """The verb of a page over many files: `verb(question)` -> `(image) -> Outcome`."""

    verb: Callable[[Any], Callable[[Any], Outcome]]


def lay_out(layout: Layout, many: Many, name: str) -> None:
    """Lays the tab out inside the open `gr.Tab` and wires it; downloads are named after the page."""
    gr.Markdown(IDEA.tr)
    given = gr.File(file_count="multiple", label=FILES.tr, elem_id="many-files", height=160)
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
    for step in batch.run(members, verb, cancel):
        rows.append(step.row)
        thumbnails.append(thumbnail(step.row) if len(rows) <= LISTED else "")
        # The pixels are not needed any more; 500 images would fill the memory.
        rows[-1] = without_image(step.row)
        yield Progress(step.done / step.total, sentence(step, lang))
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


def sentence(step: Step, lang: str) -> str:
    """How far the job is."""
    left = round(step.seconds_left)
    return pick(
        lang,
        f"{step.done} of {step.total} files, about {left} s left",
        f"已处理 {step.done} / {step.total} 个文件，大约还需 {left} 秒",
    )


def summary(rows: Sequence[Row], total: int, lang: str) -> Markup:
    """How many files were answered and refused, and whether the job was stopped."""
    refused = sum(row.refusal is not None for row in rows)
    text = pick(
        lang,
        f"{len(rows) - refused} of {total} files answered, {refused} refused.",
        f"共 {total} 个文件，处理了 {len(rows) - refused} 个，{refused} 个无法处理。",
    )
    if len(rows) < total:
        text += pick(lang, " Stopped; what was done is kept.", "已停止，完成的部分已保留。")
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
    head = join(tag("th", name, scope="col") for name in ("", pick(lang, "file", "文件"), *columns))
    body = []
    for row, source in zip(rows[:LISTED], thumbnails, strict=False):
        image = tag("img", src=source, alt="", class_="atlas-thumb") if source else ""
        if row.outcome is not None:
            cells = join(tag("td", _shown(row.outcome.cells.get(name, ""))) for name in columns)
        else:
            reason = row.refusal.text(lang) if row.refusal else ""
            cells = tag("td", reason, colspan=max(1, len(columns)), class_="atlas-refused")
        body.append(tag("tr", tag("td", image), tag("th", row.file, scope="row"), cells))
    grid = tag("table", tag("thead", tag("tr", head)), tag("tbody", join(body)), class_="atlas-grid")
    more = len(rows) - LISTED
    rest = pick(lang, f"{more} more rows are in the files.", f"另有 {more} 行在下载的文件中。")
    note = tag("p", rest, class_="atlas-line") if more > 0 else ""
    return tag("div", grid, class_="atlas-scroll", tabindex="0") + note


def _shown(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.3f}" if isinstance(value, float) else str(value)


def links(rows: Sequence[Row], name: str, lang: str) -> Markup:
    """Downloads that carry their data: the table, the JSON lines, and a zip of everything."""
    parts = [
        (f"{name}.csv", "text/csv", batch.table(rows, lang).encode("utf-8-sig")),
        (f"{name}.jsonl", "application/jsonl", batch.json_lines(rows, lang).encode()),
        (f"{name}.zip", "application/zip", batch.archive(rows, lang)),
    ]
    chips = join(
        (
            tag(
                "a",
                file.rpartition(".")[2].upper(),
                class_="atlas-chip",
                download=file,
                href=f"data:{mime};base64,{base64.b64encode(data).decode()}",
            )
            for file, mime, data in parts
        ),
        " ",
    )
    return tag("p", pick(lang, "Download", "下载"), " ", chips, class_="atlas-downloads")
