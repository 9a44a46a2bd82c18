"""What stands beside an answer: the result line, and notes on what a miniature knows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import gradio as gr

from core import checkpoints
from demos.kit import library, scenes_link
from demos.kit.components import visibility
from demos.kit.html import Markup, join, tag
from demos.kit.language import pick
from demos.kit.menu import fetchable, needs_download

CHINESE = re.compile(r"[\u3400-\u9fff]")


def line(seconds: float, checkpoint: str, device: str, lang: str, details: str = "") -> Markup:
    """The line under an answer: seconds and the row's title, the device and the parts of the time behind a fold.

    `checkpoint` is "" for an answer that no checkpoint gave.
    """
    spent = f"{seconds:.2f}" if seconds >= 0.005 else "<0.01"
    facts = [pick(lang, f"{spent} s", f"{spent} 秒")]
    if checkpoint:
        facts.append(checkpoints.row(checkpoint).title["zh" if lang == "zh" else "en"])
    fold = tag(
        "details",
        tag("summary", pick(lang, "details", "详情")),
        " " + " · ".join(part for part in (device, details) if part),
        class_="atlas-details",
    )
    return tag("div", " · ".join(facts) + " · ", fold, class_="atlas-line")


def answer_line(page: str, answer: Any, seconds: float, lang: str) -> Markup:
    """The line under an answer of core that has a `checkpoint`, a `device` and `timings` in milliseconds.

    The table `timings` of the page's data.toml names the parts.
    """
    names = library.data(page)["timings"]
    parts = [
        f"{names[part]['zh' if lang == 'zh' else 'en'] if part in names else part} {value:.0f} ms"
        for part, value in answer.timings.items()
    ]
    return line(seconds, answer.checkpoint, answer.device, lang, " + ".join(parts))


def real_row(paper: str) -> str | None:
    """The row with real weights that a page offers first; None where a paper has none on the Hub."""
    names = [row.name for row in checkpoints.rows(paper) if row.repo]
    start = checkpoints.default(paper)
    return start if start in names else next(iter(names), None)


def is_classroom(digest: str, page: str = "") -> bool:
    """Whether an image (by `core.inputs.digest`) is one that a miniature was taught to see."""
    return digest in library.classroom_digests(page) or scenes_link.is_drawn(digest)


def unreadable(checkpoint: str, text: str, lang: str) -> list[str]:
    """A sentence for `notes` where a text has Chinese words and the checkpoint was not trained on Chinese."""
    if "zh" in checkpoints.row(checkpoint).languages or not CHINESE.search(text):
        return []
    return [library.kit("unread", lang)]


def notes(
    checkpoint: str,
    lang: str,
    *,
    digest: str = "",
    page: str = "",
    unknown: Sequence[str] = (),
    paper: str | None = None,
    more: Sequence[str] = (),
) -> dict[str, Any]:
    """The slots "notes" and "get" above an answer: what to know before reading it, and the way to real weights.

    Args:
        checkpoint: the row that answered.
        lang: "en" or "zh".
        digest: of the image that it was given; "" where it is not known to come from outside.
        page: whose example images the miniature knows besides the shared ones.
        unknown: labels outside the words of a miniature.
        paper: whose real weights are offered; the row's own paper where it is None.
        more: further sentences.
    """
    row = checkpoints.row(checkpoint)
    sentences = list(more)
    outside = row.bundled is not None and bool(digest) and not is_classroom(digest, page)
    if outside:
        sentences.append(library.kit("outside", lang))
    if row.bundled is not None and unknown:
        names = "、".join(unknown) if lang == "zh" else ", ".join(unknown)
        sentences.append(library.kit("unknown", lang, names=names))
    real = real_row(paper or row.paper) if outside or (row.bundled is not None and unknown) else None
    return {
        "notes": join(tag("p", sentence, class_="atlas-hint") for sentence in sentences),
        "get": gr.update(visible=visibility(real is not None), value=_offer(real, lang) if real else ""),
    }


def answer_notes(
    page: str,
    result: Any,
    digest: str,
    labels: Sequence[str],
    lang: str,
    more: Sequence[str] = (),
    **options: Any,
) -> dict[str, Any]:
    """`notes` on an answer of core to labels, with what the answer itself notes of them."""
    sentences = [*more, *result.notes.sentences(lang)]
    unknown = library.unknown_labels(labels)
    return notes(
        result.checkpoint, lang, digest=digest, page=page, unknown=unknown, more=sentences, **options
    )


def _offer(name: str, lang: str) -> str:
    row = checkpoints.row(name)
    title = row.title["zh" if lang == "zh" else "en"]
    if not needs_download(name):
        return pick(lang, f"Use {title}", f"改用 {title}")
    size = checkpoints.human(row.size_bytes)
    if not fetchable(name):
        return pick(lang, f"Choose {title}", f"选择 {title}")
    return pick(lang, f"Get {title}, {size}", f"下载 {title}，{size}")
