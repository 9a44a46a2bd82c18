"""*Compare* on the CLIP4Clip page: the four heads on one sentence; the trained row beside plain CLIP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from core import checkpoints, inputs
from demos.clip4clip import answer as answers
from demos.clip4clip.words import PAPER, markup, say, text
from demos.draw import players
from demos.kit import results
from demos.kit.html import Markup, tag

if TYPE_CHECKING:
    from core.video.clip4clip.retriever import VideoRetriever
    from demos.clip4clip.page import Question


def head_names(retriever: VideoRetriever, lang: str) -> list[str]:
    """The titles of a row's heads."""
    from demos.kit import library

    titles = library.options(PAPER, "heads")
    return [titles[header].get(lang) for header in retriever.headers]


def scaled(scores: np.ndarray) -> np.ndarray:
    """Scores [V] with mean 0 and deviation 1: heads have scales of their own."""
    return (scores - scores.mean()) / max(float(scores.std()), 1e-9)


def heads(question: Question, lang: str) -> dict[str, Any]:
    """The scores of every clip by every head of the row, and what each thinks of the first two clips, one clip both ways."""
    retriever = answers.model(question.checkpoint)
    clips = answers.shelf(question.clips, question.own, answers.language(question, lang))
    query, asked = inputs.text(question.query), answers.sampling(retriever, question.order)
    start = time.perf_counter()
    rankings = [
        retriever.rank(query, [clip.video for clip in clips], head, asked) for head in retriever.headers
    ]
    seconds = time.perf_counter() - start
    columns = np.stack([scaled(ranking.scores) for ranking in rankings], 1)  # [V, heads]
    names = [clip.caption or clip.name for clip in clips]
    titles = head_names(retriever, lang)
    table = players.table(columns.T, titles, names, text("column_head").get(lang))
    line = results.line(seconds, retriever.checkpoint, retriever.device, lang)
    return {
        "out": both_ways(retriever, lang) + table + tag("p", say("scaled", lang), class_="atlas-line"),
        "line": line,
    }


def both_ways(retriever: VideoRetriever, lang: str) -> Markup:
    """What every head says of one drawn clip and the same clip backwards, asked for its direction."""
    rows = answers.shelf_rows("drawn")
    pair = [inputs.video(rows[name]["path"]) for name in ("dog_right", "dog_left")]
    from demos.kit.menu import label_language

    code = label_language(PAPER, retriever.checkpoint, lang)
    query = rows["dog_right"]["caption"][code]
    parts = []
    for header, title in zip(retriever.headers, head_names(retriever, lang), strict=True):
        right, left = retriever.rank(query, pair, header).scores.tolist()
        name = "knows" if right > left else "wrong"
        name = "blind" if abs(right - left) < BLIND else name
        parts.append(
            tag("li", markup(f"both_{name}", lang, head=title, right=f"{right:+.3f}", left=f"{left:+.3f}"))
        )
    return tag("p", markup("both_ways", lang, query=query)) + tag("ul", *parts, class_="vid-list")


BLIND = 0.01  # a difference of scores that small is no opinion: the frames of two files differ by their compression


def untrained(question: Question, lang: str) -> dict[str, Any]:
    """The chosen head beside the mean of a CLIP that was trained on still images alone."""
    retriever = answers.model(question.checkpoint)
    base = next(iter(checkpoints.row(retriever.checkpoint).requires), "") or "clip-vit-b32"
    if checkpoints.state(base) not in ("bundled", "cached"):
        base = checkpoints.default("clip")
    plain = answers.model(base)
    clips = answers.shelf(question.clips, question.own, answers.language(question, lang))
    videos = [clip.video for clip in clips]
    query = inputs.text(question.query)
    start = time.perf_counter()
    asked = answers.sampling(retriever, question.order)
    columns = [
        retriever.rank(query, videos, question.head, asked).scores,
        plain.rank(query, videos, None, asked).scores,
    ]
    seconds = time.perf_counter() - start
    lang_code = "zh" if lang == "zh" else "en"
    titles = [checkpoints.row(one.checkpoint).title[lang_code] for one in (retriever, plain)]
    names = [clip.caption or clip.name for clip in clips]
    table = players.table(
        np.stack([scaled(one) for one in columns]), titles, names, text("column_row").get(lang)
    )
    line = results.line(seconds, retriever.checkpoint, retriever.device, lang)
    return {"out": table + tag("p", say("scaled", lang), class_="atlas-line"), "line": line}
