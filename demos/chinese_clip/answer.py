"""What the Chinese-CLIP page answers: bars for Chinese labels, the sheep lesson, the named endpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.batch import Outcome, ranked
from core.clip import prompts
from demos.chinese_clip import draw
from demos.chinese_clip.draw import data, say, text
from demos.draw import base
from demos.kit import classifier, files, library, records, results
from demos.kit.components import output
from demos.kit.events import api_errors
from demos.kit.html import tag
from demos.kit.language import both_of, tr
from demos.kit.menu import start_row

if TYPE_CHECKING:
    from core.clip import Classification, EncodedImage, ZeroShot
    from demos.chinese_clip.page import Question

FOLDER = library.ASSETS / "chinese_clip"
OPENING = "sheep_lying"
# The shared scenes and photographs that have Chinese labels of interest.
SCENES = ("flock", "red_envelope", "dog_under_tree", "cat_left_of_car", "toys", "airplane_drawing")
PHOTOS = ("goat_eating_grass", "teapot", "camel", "peacock")
POSES = ("lying", "eating", "standing")  # the order of the lecture notes


@cache
def examples() -> dict[str, dict[str, Any]]:
    """Example images by id: the three sheep, then shared scenes and photographs."""
    rows = json.loads((FOLDER / "examples.json").read_text(encoding="utf-8"))
    sheep = {
        (FOLDER / row["file"]).stem: {**row, "path": str(FOLDER / row["file"]), "classroom": True}
        for row in rows
    }
    shared = library.shared()
    return sheep | {name: shared[name] for name in (*SCENES, *PHOTOS)}


@cache
def sheep_digests() -> frozenset[str]:
    """Digests of the three sheep, which the miniature knows how to see."""
    return frozenset(inputs.digest(inputs.image(examples()[f"sheep_{pose}"]["path"])) for pose in POSES)


def templates() -> list[tuple[Any, str]]:
    """The template sets for Chinese labels."""
    return [
        (tr(row.en, row.zh), row.name) for row in prompts.template_sets().values() if "zh" in row.languages
    ]


def model(checkpoint: str | None) -> ZeroShot:
    """The classifier of a row, loaded on first use; the first row that reads Chinese for None."""
    return classifier.model(checkpoint or start_row("clip", "zh"))


# --- endpoints -------------------------------------------------------------------------------------------


def chinese_clip_classify(
    image: gr.FileData,
    labels: list[str] | str,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank Chinese labels for an image with Chinese-CLIP or another model that reads Chinese.

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas, Chinese ones too; at most 1,000.
        template: a template set ("photo-zh", "drawing-zh", "seven-zh") or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the bilingual miniature when left out.

    Returns:
        {"checkpoint", "seconds", "results": [{"label", "probability", "cosine"}, ...]}, best first; "merged" and
        "truncated" as in clip_classify.
    """
    with api_errors():
        names = inputs.labels(labels, limit=1000)
        pixels = inputs.image(files.uploaded(image))
        return model(checkpoint).classify(pixels, names, template).to_json()


def chinese_clip_tokens(texts: list[str] | str, checkpoint: str | None = None) -> dict[str, Any]:
    """Cut texts into the tokens that a checkpoint's text encoder receives, without running it.

    Args:
        texts: a list, or one string with commas; at most 100.
        checkpoint: a registry row; English-only CLIP rows need no download for this.

    Returns:
        {"checkpoint", "texts": [{"text", "pooling", "feature_at", "places", "tokens": [{"text", "id", "kind"}]}]}, and
        "truncated": true with a text whose end is not read. kind is "special", "piece", "byte" or "unknown", pooling
        "first", "end" or "last".
    """
    with api_errors():
        from core.clip import reading

        names = inputs.labels(texts)
        chosen = checkpoint or start_row("clip", "zh")
        return {
            "checkpoint": chosen,
            "texts": [
                {
                    "text": name,
                    "pooling": one.pooling,
                    "feature_at": one.feature_at,
                    "places": one.places,
                    "tokens": [
                        {"text": piece.text, "id": piece.id, "kind": piece.kind} for piece in one.pieces
                    ],
                    **({"truncated": True} if one.truncated else {}),
                }
                for name, one in zip(names, reading.read(chosen, map(inputs.clean, names)), strict=True)
            ],
        }


# --- handlers --------------------------------------------------------------------------------------------


def read(question: Question) -> tuple[Any, list[str]]:
    """The image and the Chinese labels of a question."""
    return inputs.image(files.image_source(question.image)), inputs.labels(question.labels)


def translations(chinese: Sequence[str], english: str) -> list[str]:
    """The English labels where there is one for each Chinese label, else none."""
    typed = inputs.labels(english) if (english or "").strip(" ,，\n") else []
    return typed if len(typed) == len(chinese) else []


def notes(result: Classification, encoded: EncodedImage, names: Sequence[str], lang: str) -> dict[str, Any]:
    """What to know before reading an answer."""
    digest = "" if encoded.digest in sheep_digests() else encoded.digest
    return results.notes(
        result.checkpoint,
        lang,
        digest=digest,
        unknown=library.unknown_labels(names),
        more=result.notes.sentences(lang),
    )


def classify(question: Question, lang: str) -> dict[str, Any]:
    """Bars with their files, and the sheep lesson with the same checkpoint."""
    image, names = read(question)
    meanings = dict(zip(names, translations(names, question.english), strict=False))
    zero_shot = model(question.checkpoint)
    start = time.perf_counter()
    encoded = zero_shot.encode(image)
    result = zero_shot.classify(encoded, names, classifier.template(question.template, question.own))
    seconds = time.perf_counter() - start
    answer = result.to_json()
    rows = [with_meaning(row, meanings, lang) for row in answer["results"]]
    exports = [
        ("chinese-clip.json", "application/json", base.to_json(answer).encode()),
        ("chinese-clip.csv", "text/csv", base.to_csv(answer["results"]).encode("utf-8-sig")),
        ("chinese-clip.svg", "image/svg+xml", base.bars_svg(rows, result.checkpoint).encode()),
    ]
    table = lesson_table(sheep_answers(result.checkpoint), result.checkpoint, lang)
    return {
        "bars": base.probability_bars(rows, lang),
        "lesson": table,
        "line": classifier.line(result, seconds, lang) + files.downloads(exports),
        **notes(result, encoded, names, lang),
    }


def with_meaning(row: dict[str, Any], meanings: dict[str, str], lang: str) -> dict[str, Any]:
    """A result whose label carries its English meaning for an English reader."""
    meaning = meanings.get(row["label"])
    return {**row, "label": f"{row['label']} · {meaning}"} if lang == "en" and meaning else row


def many(question: Question) -> Callable[[Any], Outcome]:
    """The question of the page for each of many images."""
    names, template = inputs.labels(question.labels), classifier.template(question.template, question.own)
    zero_shot = model(question.checkpoint)

    def verb(image: Any) -> Outcome:
        result = zero_shot.classify(image, names, template)
        return ranked(result.to_json(), image)

    return verb


# --- the sheep lesson ------------------------------------------------------------------------------------


def lesson_slot(elem_id: str) -> Any:
    """The place of the sheep lesson under its title."""
    output(f"{elem_id}-title", tag("h3", both_of(text("lesson"))))
    return output(elem_id)


def sheep_answers(checkpoint: str) -> dict[str, list[float]]:
    """A row's probabilities of the three labels for each of the page's three sheep, by pose."""
    zero_shot = model(checkpoint)
    labels = data()["sheep"]["labels"]
    return {
        pose: zero_shot.classify(
            inputs.image(examples()[f"sheep_{pose}"]["path"]), labels
        ).probabilities.tolist()
        for pose in POSES
    }


def lesson_table(
    ours: dict[str, list[float]], checkpoint: str, lang: str, poses: Sequence[str] = POSES
) -> str:
    """The notes' answers with a row's own under each."""
    sheep = data()["sheep"]
    correct = {"standing": 0, "eating": 1, "lying": 2}
    table = [(say(pose, lang), correct[pose], sheep[pose], ours[pose]) for pose in poses]
    title = checkpoints.row(checkpoint).title[lang]
    return draw.published_table(heads(sheep, lang), table, sheep["source"][lang], title, lang)


def heads(published: dict[str, Any], lang: str) -> list[str]:
    """The labels of a published answer; an English reader sees what each means."""
    labels = published["labels"]
    if lang == "zh":
        return labels
    return [f"{zh} {en}" for zh, en in zip(labels, published["english"], strict=True)]


def flock_html(lang: str) -> str:
    """The published answer of an English-only CLIP to Chinese labels, with where it stands."""
    flock = data()["flock"]
    return draw.flock_note(heads(flock, lang), flock["probabilities"], flock["source"][lang], lang)


# --- opening ---------------------------------------------------------------------------------------------


def opening(lang: str) -> dict[str, Any]:
    """The recorded answers that are there until the first answer is computed."""
    made = records.read("chinese_clip")
    sheep = data()["sheep"]
    meanings = dict(zip(sheep["labels"], sheep["english"], strict=True))
    rows = [with_meaning(row, meanings, lang) for row in made["results"]]
    note = say("recorded", lang, checkpoint=made["checkpoint"])
    return {
        "bars": tag("p", note, class_="atlas-line") + base.probability_bars(rows, lang),
        "lesson": lesson_table(made["sheep"], made["checkpoint"], lang),
    }


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets."""
    row = examples()[name]
    return {"image": row["path"], "labels": row["labels"]["zh"], "english": row["labels"]["en"]}
