"""Answers of the ActionCLIP page: probabilities of actions, over time, their files, the named endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from core import batch, checkpoints, inputs
from core.batch import Outcome
from core.runtime import Cancel
from demos.actionclip import draw
from demos.actionclip.words import PAPER
from demos.kit import files as files_in
from demos.kit import library, results
from demos.kit.events import api_errors
from demos.kit.menu import label_language, start_row

if TYPE_CHECKING:
    from core.video.actionclip.recognizer import ActionRecognizer, Recognition
    from core.video.actionclip.xclip import XCLIP
    from core.video.frames import EncodedClip
    from demos.actionclip.page import Question

OPENING = "dog_right"
ALL = ("pre", "in", "post")


@dataclass(frozen=True)
class Answer:
    """What a clip shows."""

    path: str
    video: inputs.Video
    encoded: EncodedClip
    recognition: Recognition
    seconds: float

    def line(self, lang: str) -> str:
        """The result line."""
        return results.answer_line(PAPER, self.recognition, self.seconds, lang)


def model(checkpoint: str | None) -> ActionRecognizer | XCLIP:
    """The recognizer of a row, loaded on first use."""
    from core.video import actionclip

    return actionclip.load(checkpoint or start_row(PAPER))


def language(checkpoint: str | None, lang: str) -> str:
    """The language of labels: the page's where the checkpoint reads it."""
    return label_language(PAPER, checkpoint or start_row(PAPER), lang)


def ask(
    path: str,
    labels: str | Sequence[str],
    checkpoint: str | None,
    lang: str,
    sentences: str | Sequence[str] = "all",
    prompts: Sequence[str] | None = None,
    cancel: Cancel | None = None,
) -> Answer:
    """The answer to actions for a clip."""
    recognizer = model(checkpoint)
    video = inputs.video(path)
    check = None if cancel is None else cancel.check
    start = time.perf_counter()
    encoded = recognizer.encode(video, prompts, check=check)
    code = language(recognizer.checkpoint, lang)
    found = recognizer.classify(encoded, labels, sentences, prompts, code)
    return Answer(path, video, encoded, found, time.perf_counter() - start)


def run(question: Question, lang: str, cancel: Cancel | None = None) -> Answer:
    """The answer to the page's question."""
    labels = inputs.labels(question.labels)
    inputs.video(question.video)
    return ask(
        str(question.video), labels, question.checkpoint, lang, question.sentences, tuple(question.prompts), cancel
    )  # fmt: skip


# --- endpoint --------------------------------------------------------------------------------------------


def actionclip_classify(
    video: gr.FileData,
    labels: list[str] | str,
    templates: list[str] | str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank actions for a video (ActionCLIP).

    Args:
        video: a video file, or a data URI; at most ten minutes long.
        labels: a list, or one string with commas; at most 100, in a language of the checkpoint.
        templates: "all" for the paper's sixteen sentences, "prefix", "cloze", "suffix" or "bare" for some of them, or sentences
            with {} for the label; all when left out.
        checkpoint: a registry row that is on the server, of ActionCLIP or of CLIP; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "results": [{"label", "probability", "cosine"}, ...]} best first, "times": seconds of the
        frames, "over_time": {label: [probability of each frame]}; "merged" and "truncated" as in clip_classify.
    """
    with api_errors():
        names = inputs.labels(labels)
        opened = inputs.video(files_in.uploaded(video))
        recognizer = model(checkpoint)
        chinese = any(results.CHINESE.search(name) for name in names)
        code = language(recognizer.checkpoint, "zh" if chinese else "en")
        return recognizer.classify(opened, names, templates or "all", language=code).to_json()


# --- handlers --------------------------------------------------------------------------------------------


def classify(question: Question, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The slots of *Try it*: bars, the clip with its frames, probabilities over time."""
    answer = run(question, lang, cancel)
    yield {
        "bars": draw.bars(answer, lang),
        "clip": draw.clip(answer, lang),
        "time": draw.over_time(answer, lang),
        "line": answer.line(lang),
        **notes(answer, lang),
    }


def notes(answer: Answer, lang: str) -> dict[str, Any]:
    """The hints above the answer."""
    found = answer.recognition
    digest = "" if answer.video.digest in library.clip_digests() else answer.video.digest
    more = [
        *found.notes.sentences(lang),
        *results.unreadable(found.checkpoint, ", ".join(found.labels), lang),
    ]
    own = checkpoints.row(found.checkpoint).paper == PAPER
    unknown = library.unknown_labels(found.labels, clips=own)
    return results.notes(found.checkpoint, lang, digest=digest, unknown=unknown, more=more, paper=PAPER)


def files(question: Question, lang: str) -> str:
    """Download links of the probabilities."""
    return files_in.downloads(draw.files(run(question, lang)))


def many(question: Question) -> Callable[[inputs.Video], Outcome]:
    """The actions of the page for each of many clips."""
    labels, recognizer = inputs.labels(question.labels), model(question.checkpoint)
    is_chinese = any(results.CHINESE.search(label) for label in labels)
    code, prompts = language(question.checkpoint, "zh" if is_chinese else "en"), tuple(question.prompts)

    def verb(video: inputs.Video) -> Outcome:
        encoded = recognizer.encode(video, prompts)
        found = recognizer.classify(encoded, labels, question.sentences, prompts, code)
        middle = Image.fromarray(encoded.pictures[len(encoded.pictures) // 2])
        return replace(batch.ranked(found.to_json(), middle), size=video.size)

    return verb


# --- examples --------------------------------------------------------------------------------------------


def examples() -> dict[str, dict[str, Any]]:
    """The example clips by id: drawn ones, then filmed ones."""
    rows = {**library.clips(), **{name: {**row, "real": True} for name, row in library.videos().items()}}
    return {
        name: {key: row[key] for key in ("caption", "real") if key in row} | {"file": row["path"]}
        for name, row in rows.items()
    }


def drawn_actions(lang: str) -> list[str]:
    """The labels of all drawn example clips, each once."""
    return list(dict.fromkeys(row["action"][lang] for row in library.clips().values()))


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets: its clip, and actions worth asking in a language of the checkpoint."""
    code = language(question.checkpoint, lang)
    if name in library.clips():
        return {"video": library.clips()[name]["path"], "labels": ", ".join(drawn_actions(code))}
    row = library.videos()[name]
    return {"video": row["path"], "labels": row["actions"][code]}
