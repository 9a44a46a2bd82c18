"""Answers of the AudioCLIP page: labels and images for a sound, the three matrices, files, the named endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import batch, inputs
from core.batch import Outcome
from core.runtime import Cancel
from demos.audioclip import draw
from demos.audioclip.words import FOLDER, PAPER, say, sounds, things
from demos.kit import files as files_in
from demos.kit import library, results
from demos.kit.events import api_errors
from demos.kit.menu import label_language, start_row

if TYPE_CHECKING:
    from PIL import Image

    from core.audio.audioclip import AudioCLIP, Comparison
    from demos.audioclip.page import Question

OPENING = "dog"
MAX_IMAGES = 24  # of a visitor's own
BESIDE = ("rooster", "ambulance", "piano")  # example sounds beside the visitor's in the matrices
PHOTOS = ("german_shepherd", "rocket", "camel", "peacock", "coffee_cup", "pizza", "surfer", "football")


@dataclass(frozen=True)
class Shown:
    """An image of the shelf."""

    path: str
    caption: str
    image: Image.Image
    drawn: bool  # whether a miniature knows such images


@dataclass(frozen=True)
class Answer:
    """What a sound finds; the first sound of the comparison is the visitor's."""

    path: str
    sound: inputs.Sound
    names: tuple[str, ...]  # of the sounds
    images: tuple[Shown, ...]
    comparison: Comparison
    seconds: float

    def line(self, lang: str) -> str:
        """The result line."""
        return results.answer_line(PAPER, self.comparison, self.seconds, lang)


def model(checkpoint: str | None) -> AudioCLIP:
    """The model of a row, loaded on first use."""
    from core.audio.audioclip import AudioCLIP

    return AudioCLIP.load(checkpoint or start_row(PAPER))


def language(checkpoint: str | None, lang: str) -> str:
    """The language of labels: the page's where the checkpoint reads it."""
    return label_language(PAPER, checkpoint or start_row(PAPER), lang)


@cache
def known() -> frozenset[str]:
    """Digests of the synthesised examples."""
    return frozenset(inputs.sound(row["sound"]).digest for row in sounds().values() if not row.get("real"))


def shelf(which: str, own: Sequence[str] | None, lang: str) -> list[Shown]:
    """The images of a question: those of the shelf that was chosen, then the visitor's own."""
    shown = []
    if which == "drawn":
        for row in things().values():
            path = str(FOLDER / row["drawing"])
            shown.append(Shown(path, row[lang], inputs.image(path), True))
    elif which == "photos":
        for name in PHOTOS:
            if name in library.shared():
                row = library.shared()[name]
                shown.append(Shown(row["path"], row["caption"][lang], inputs.image(row["path"]), False))
    for path in list(own or ())[:MAX_IMAGES]:
        shown.append(Shown(path, Path(path).name, inputs.image(path), False))
    return shown


def ask(
    path: str,
    labels: str | Sequence[str],
    checkpoint: str | None,
    lang: str,
    images: Sequence[Shown] = (),
    beside: Sequence[str] = BESIDE,
    cancel: Cancel | None = None,
) -> Answer:
    """The answer to a sound, beside example sounds."""
    check = None if cancel is None else cancel.check
    start = time.perf_counter()
    sound = inputs.sound(path, check=check)
    others = {name: row for name, row in sounds().items() if name in beside}
    opened = {name: inputs.sound(row["sound"]) for name, row in others.items()}
    opened = {name: one for name, one in opened.items() if one.digest != sound.digest}
    found = model(checkpoint).compare([sound, *opened.values()], [one.image for one in images], labels, check)
    names = (say("this_sound", lang), *(others[name]["caption"][lang] for name in opened))
    return Answer(path, sound, names, tuple(images), found, time.perf_counter() - start)


def run(question: Question, lang: str, cancel: Cancel | None = None) -> Answer:
    """The answer to the page's question."""
    labels = inputs.labels(question.labels)
    inputs.sound(question.sound)
    images = shelf(question.images, question.own, lang)
    return ask(str(question.sound), labels, question.checkpoint, lang, images, cancel=cancel)


# --- endpoint --------------------------------------------------------------------------------------------


def audioclip_compare(
    sounds: list[gr.FileData],
    labels: list[str] | str,
    images: list[gr.FileData] | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Compare sounds, images and labels (AudioCLIP).

    Args:
        sounds: sound files, videos with sound, or data URIs; each at most ten minutes long.
        labels: a list, or one string with commas; at most 100, in a language of the checkpoint.
        images: image files, or data URIs; none when left out.
        checkpoint: a registry row that is on the server, of AudioCLIP or CLAP; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "labels", "sounds": [{"duration", "results": [{"label", "probability", "cosine"}, ...] best
        first, "images": [{"image": place among the images, "probability", "cosine"}, ...] best first, "times", "over_time":
        {label: [probability of each window]}}, ...], "image_text": [images, labels] cosines, "scales"}; "merged" and "truncated"
        as in clip_classify.
    """
    with api_errors():
        names = inputs.labels(labels)
        heard = [inputs.sound(files_in.uploaded(one)) for one in sounds] or [inputs.sound(None)]
        seen = [inputs.image(files_in.uploaded(one)) for one in images or ()]
        return model(checkpoint).compare(heard, seen, names).to_json()


# --- handlers --------------------------------------------------------------------------------------------


def listen(question: Question, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The slots of *Try it*: ranked labels, the sound with its curve, ranked images, the matrices."""
    answer = run(question, lang, cancel)
    yield {
        "bars": draw.bars(answer, lang),
        "player": draw.sound(answer, lang),
        "images": draw.images(answer, lang),
        "matrices": draw.matrices(answer, lang),
        "line": answer.line(lang),
        **notes(answer, lang),
    }


def notes(answer: Answer, lang: str) -> dict[str, Any]:
    """The hints above the answer: a miniature knows synthesised sounds, drawings, and the words that it has read."""
    from core import checkpoints

    found = answer.comparison
    row = checkpoints.row(found.checkpoint)
    labels = ", ".join(found.labels)
    more = [*found.notes.sentences(lang), *results.unreadable(found.checkpoint, labels, lang)]
    if row.bundled is not None and answer.sound.digest not in known():
        more.append(say("outside", lang))
    if not model(found.checkpoint).sees and answer.images:
        more.append(say("blind", lang))
    photos = [inputs.digest(one.image) for one in answer.images if not one.drawn]
    unknown = library.unknown_labels(list(found.labels))
    return results.notes(
        found.checkpoint, lang, digest=photos[0] if photos else "", unknown=unknown, more=more, paper=PAPER
    )


def files(question: Question, lang: str) -> str:
    """Download links of the matrices and of the curve."""
    return files_in.downloads(draw.files(run(question, lang)))


def many(question: Question) -> Callable[[inputs.Sound], Outcome]:
    """The labels and the shelf of images of the page for each of many sounds; a sound's thumbnail is its spectrum."""
    from core.audio.audioclip import spectrum

    labels, asked = inputs.labels(question.labels), model(question.checkpoint)
    is_chinese = any(results.CHINESE.search(label) for label in labels)
    images = shelf(question.images, None, "zh" if is_chinese else "en")

    def verb(sound: inputs.Sound) -> Outcome:
        found = asked.compare([sound], [one.image for one in images], labels)
        (answer,) = found.to_json()["sounds"]
        outcome = batch.ranked(answer, draw.coloured(spectrum(sound) / 255))
        best = {"best image": images[answer["images"][0]["image"]].caption} if answer["images"] else {}
        return replace(outcome, cells={**outcome.cells, **best, "seconds": round(sound.duration, 2)})

    return verb


# --- examples --------------------------------------------------------------------------------------------


def examples() -> dict[str, dict[str, Any]]:
    """The example sounds by id: synthesised ones, then recordings."""
    return sounds()


def names(lang: str) -> list[str]:
    """The names of the drawn things."""
    return [row[lang] for row in things().values()]


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets: its sound, and labels in a language of the checkpoint."""
    row = sounds()[name]
    labels = row["labels"] if "labels" in row else {code: ", ".join(names(code)) for code in ("en", "zh")}
    return {"sound": row["sound"], "labels": labels[language(question.checkpoint, lang)]}
