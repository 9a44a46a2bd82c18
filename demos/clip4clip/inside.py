"""*Look inside* of the CLIP4Clip page: sentences by clips, clips by clips, shapes, code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import Refusal
from demos.clip4clip import answer as answers
from demos.clip4clip.words import say, text
from demos.draw import players
from demos.kit import results
from demos.kit.html import tag

if TYPE_CHECKING:
    from demos.clip4clip.page import Question


def table(question: Question, lang: str) -> dict[str, Any]:
    """All captions of the shelf with all its clips: rows rank clips, columns sentences; matching and strange pairs below."""
    retriever = answers.model(question.checkpoint)
    clips = [c for c in answers.shelf(question.clips, None, answers.language(question, lang)) if c.caption]
    if not clips:
        raise Refusal("no_clips")
    start = time.perf_counter()
    captions = [clip.caption for clip in clips]
    asked = answers.sampling(retriever, question.order)
    values = retriever.table(captions, [clip.video for clip in clips], question.head, asked)
    seconds = time.perf_counter() - start
    good = np.eye(len(clips), dtype=bool)
    own = int((values.argmax(1) == np.arange(len(clips))).sum())
    back = int((values.argmax(0) == np.arange(len(clips))).sum())
    found = tag("p", say("found", lang, own=own, back=back, count=len(clips)))
    groups = [(say("matching", lang), values[good]), (say("strange", lang), values[~good])]
    return {
        "out": found
        + players.table(
            values, captions, [clip.name for clip in clips], text("column_sentence").get(lang), good
        ),
        "histogram": players.histogram(groups, say("histogram", lang), lang),
        "line": results.line(seconds, retriever.checkpoint, retriever.device, lang),
    }


def neighbours(question: Question, lang: str) -> dict[str, Any]:
    """Every clip of the shelf with every other: video to video.

    Raises:
        Refusal: "tight_wants_text" for the tight head.
    """
    retriever = answers.model(question.checkpoint)
    clips = answers.shelf(question.clips, question.own, answers.language(question, lang))
    videos = [clip.video for clip in clips]
    start = time.perf_counter()
    values = np.stack([retriever.neighbours(video, videos, question.head) for video in videos])
    np.fill_diagonal(values, np.nan)
    values = np.where(np.isnan(values), np.nanmin(values), values)
    names = [clip.caption or clip.name for clip in clips]
    made = players.table(values, names, [clip.name for clip in clips], text("column_clip").get(lang))
    line = results.line(time.perf_counter() - start, retriever.checkpoint, retriever.device, lang)
    return {"out": made, "line": line}


def values(question: Question, lang: str) -> tuple[dict[str, Any], str]:
    """What the templates of shapes in data.toml ask for, and the line."""
    answer = answers.run(question, lang)
    ranking = answer.ranking
    first = int(ranking.order[0])
    frames = answer.encoded[first].frame_features
    retriever = answers.model(question.checkpoint)
    return {
        "clips": len(answer.clips),
        "frames": len(frames),
        "width": frames.shape[1],
        "head": ranking.head,
        "scale": f"{ranking.logit_scale:.1f}",
        "times": ", ".join(f"{at:.2f}" for at in ranking.times[first]),
        "cosines": ", ".join(f"{value:+.2f}" for value in ranking.frames[first]),
        "best": f"{ranking.scores[first]:+.3f}",
        "norms": ", ".join(f"{value:.1f}" for value in np.linalg.norm(frames, axis=1)),
        "heads": ", ".join(retriever.headers),
    }, answer.line(lang)
