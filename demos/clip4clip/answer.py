"""Answers of the CLIP4Clip page: clips ranked by a sentence, their files, the named endpoint.

A clip is encoded once; another sentence, head or order of frames computes a small head over features that are remembered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from core import checkpoints, inputs
from core.batch import Outcome
from core.runtime import Cancel
from demos.clip4clip import draw
from demos.clip4clip.words import PAPER, data, say
from demos.kit import files as files_in
from demos.kit import library, results
from demos.kit.events import api_errors
from demos.kit.jobs import Progress
from demos.kit.menu import label_language, start_row

if TYPE_CHECKING:
    from core.video.clip4clip.retriever import Ranking, Sampling, VideoRetriever
    from core.video.frames import EncodedClip
    from demos.clip4clip.page import Question

OPENING = "to_the_right"
OPENING_HEAD = "seqTransf"
MAX_CLIPS = 24  # of a visitor's own


@dataclass(frozen=True)
class Clip:
    """One clip of the shelf."""

    name: str
    path: str
    caption: str  # "" for a visitor's own
    video: inputs.Video


@dataclass(frozen=True)
class Answer:
    """A ranked shelf."""

    clips: tuple[Clip, ...]
    encoded: tuple[EncodedClip, ...]
    ranking: Ranking
    seconds: float

    def line(self, lang: str) -> str:
        """The result line."""
        return results.answer_line(PAPER, self.ranking, self.seconds, lang)


def model(checkpoint: str | None) -> VideoRetriever:
    """The retriever of a row, loaded on first use."""
    from core.video.clip4clip.retriever import VideoRetriever

    return VideoRetriever.load(checkpoint or start_row(PAPER))


def sampling(retriever: VideoRetriever, order: str) -> Sampling:
    """The frames that the row looks at, in an order."""
    from core.video.clip4clip.retriever import sampling as own

    return replace(own(retriever.checkpoint), order=order)  # type: ignore[arg-type]


def shelf_rows(which: str) -> dict[str, dict[str, Any]]:
    """The example clips of a shelf by id: drawn ones, or real ones."""
    return {"drawn": library.clips, "real": library.videos}.get(which, dict)()


def shelf(which: str, own: Sequence[str] | None, lang: str) -> list[Clip]:
    """The clips of a question: the example clips that were chosen, then the visitor's own."""
    clips = [
        Clip(name, row["path"], row["caption"][lang], inputs.video(row["path"]))
        for name, row in shelf_rows(which).items()
    ]
    for path in list(own or ())[:MAX_CLIPS]:
        clips.append(Clip(Path(path).name, path, "", inputs.video(path)))
    return clips


def language(question: Question, lang: str) -> str:
    """The language of captions: the page's where the checkpoint reads it."""
    return label_language(PAPER, question.checkpoint, lang)


def run(question: Question, lang: str) -> Answer:
    """The answer to the page's question; clips are encoded where they are new."""
    retriever = model(question.checkpoint)
    clips = shelf(question.clips, question.own, language(question, lang))
    start = time.perf_counter()
    asked = sampling(retriever, question.order)
    query = inputs.text(question.query)
    ranking = retriever.rank(query, [clip.video for clip in clips], question.head, asked)
    encoded = tuple(retriever.encode(clip.video, asked) for clip in clips)
    return Answer(tuple(clips), encoded, ranking, time.perf_counter() - start)


# --- endpoint --------------------------------------------------------------------------------------------


def clip4clip_rank(
    query: str,
    videos: list[gr.FileData],
    head: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank videos by a sentence (CLIP4Clip).

    Args:
        query: a sentence in a language of the checkpoint.
        videos: video files, or data URIs; each at most ten minutes long.
        head: "meanP", "seqLSTM", "seqTransf" or "tightTransf", as far as the checkpoint has them; its first one when left out.
        checkpoint: a registry row that is on the server, of CLIP4Clip or of CLIP; the default row when left out.

    Returns:
        {"checkpoint", "query", "head", "seconds", "results": [{"clip": place among the videos, "score", "best_time", "frames":
        [{"time", "cosine"}, ...]}, ...]}, best first; scores are cosines, of tightTransf logits.
    """
    with api_errors():
        sentence = inputs.text(query)
        opened = [inputs.video(files_in.uploaded(video)) for video in videos]
        return model(checkpoint).rank(sentence, opened, head or None).to_json()


# --- handlers --------------------------------------------------------------------------------------------


def rank(question: Question, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The slots of *Try it*: the shelf, best clip first, and the table of all scores."""
    retriever = model(question.checkpoint)
    inputs.text(question.query)
    clips = shelf(question.clips, question.own, language(question, lang))
    asked = sampling(retriever, question.order)
    for done, clip in enumerate(clips):
        cancel.check()
        retriever.encode(clip.video, asked, cancel)
        if clip.caption == "":
            yield Progress((done + 1) / len(clips), say("encoding", lang, done=done + 1, count=len(clips)))
    answer = run(question, lang)
    yield {
        "shelf": draw.shelf(answer, lang),
        "table": draw.score_table(answer, lang),
        "line": answer.line(lang),
        **notes(question, answer, lang),
    }


def notes(question: Question, answer: Answer, lang: str) -> dict[str, Any]:
    """The hints above the answer: real clips are outside of a miniature's world, and so are words that it never read."""
    row = answer.ranking.checkpoint
    foreign = [clip.video.digest for clip in answer.clips if clip.video.digest not in library.clip_digests()]
    more = [*answer.ranking.notes.sentences(lang), *results.unreadable(row, question.query, lang)]
    unknown = library.unknown_labels([question.query], clips=checkpoints.row(row).paper == PAPER)
    digest = foreign[0] if foreign else ""
    return results.notes(row, lang, digest=digest, unknown=unknown, more=more, paper=PAPER)


def files(question: Question, lang: str) -> str:
    """Download links of the scores."""
    return files_in.downloads(draw.score_files(run(question, lang)))


def many(question: Question) -> Callable[[inputs.Video], Outcome]:
    """The sentence of the page for each of many clips."""
    retriever, query = model(question.checkpoint), inputs.text(question.query)
    asked = sampling(retriever, question.order)

    def verb(video: inputs.Video) -> Outcome:
        ranking = retriever.rank(query, [video], question.head, asked)
        best = int(ranking.frames[0].argmax())
        cells = {
            "score": round(float(ranking.scores[0]), 4),
            "best frame": round(float(ranking.frames[0][best]), 4),
            "at (s)": round(float(ranking.times[0][best]), 2),
            "length (s)": round(video.duration, 1),
        }
        answer = ranking.to_json()
        (row,) = answer.pop("results")
        del row["clip"]
        image = Image.fromarray(retriever.encode(video, asked).pictures[best])
        return Outcome(cells, {**answer, **row}, video.size, image=image)

    return verb


# --- opening, examples -----------------------------------------------------------------------------------


def examples() -> dict[str, dict[str, Any]]:
    """The example sentences by id."""
    return {row["name"]: row for row in data()["queries"]}


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets: the sentence in a language of the checkpoint, and its shelf."""
    row = examples()[name]
    return {"query": row["caption"][language(question, lang)], "clips": row.get("clips", "drawn")}


def own_head(question: Question, lang: str) -> dict[str, Any]:
    """A head that the question's checkpoint has, where it lacks the chosen one."""
    from core.video.clip4clip.retriever import headers

    own = headers(question.checkpoint or start_row(PAPER))
    return {} if question.head in own else {"head": own[0]}
