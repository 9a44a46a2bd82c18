"""What the CLIPDraw page answers: a drawing that draws itself, its continuation, a second opinion, the named endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image

from core import checkpoints, inputs
from core.runtime import Cancel
from demos.draw import base as draw
from demos.draw import strokes
from demos.kit import library, records, results, runs, sketch_runs
from demos.kit.events import api_errors
from demos.kit.html import tag
from demos.kit.language import Text
from demos.kit.menu import needs_download

if TYPE_CHECKING:
    from core.clip import Classification
    from core.drawing.clipdraw import DrawSettings
    from core.drawing.strokes import Drawn, Strokes
    from demos.clipdraw.page import Question
    from demos.kit.sketch_runs import Made

PAGE = "clipdraw"
OPENING = "red_envelope"
DRAW = Text("Draw", "画")

say = partial(library.say, PAGE)


def examples() -> dict[str, dict[str, Any]]:
    """The example prompts by id."""
    return library.data(PAGE)["examples"]


# --- endpoint ----------------------------------------------------------------------------------------------------


def clipdraw_draw(
    prompt: str,
    strokes: int = 64,
    negatives: list[str] | None = None,
    seeds: int = 1,
    steps: int | None = None,
    width: float = 2.0,
    seed: int = 0,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Draw a sentence with coloured strokes that are moved until CLIP reads it in the drawing (CLIPDraw).

    Args:
        prompt: a sentence in a language of the checkpoint.
        strokes: 1 to 512.
        negatives: sentences to keep away from, at most 8; none when left out.
        seeds: how many drawings, 1 to 8; the one nearest to the prompt is the answer.
        steps: of the optimisation, 1 to 5000; the checkpoint's own number when left out.
        width: that strokes begin with in pixels of the 224 canvas, 0.5 to 50; it is learned.
        seed: the same number gives the same drawing, -1 any, which the answer then names.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "steps", "cosine" with the prompt, "loss", "losses" of the seeds, "svg",
        "points" [strokes][points][x, y], "widths", "colors" [strokes][red, green, blue, alpha in 0..1]}; "truncated" as in
        clip_classify.
    """
    with api_errors():
        from core.drawing import clipdraw

        settings = clipdraw.DrawSettings(
            strokes=strokes,
            seeds=seeds,
            first_seed=seed,
            steps=steps,
            negatives=tuple(negatives or ()),
            width=width,
            checkpoint=checkpoint,
        )
        clipdraw.check(settings)
        sentence = inputs.text(prompt)
        result = runs.finish(lambda cancel: clipdraw.draw(sentence, settings, cancel=cancel))
        (answer,) = sketch_runs.answers(result, [])
        one = result.drawn[0]
        return {
            **answer,
            **sketch_runs.taken_seed(result, seed),
            "cosine": round(-one.terms["prompt"], 5),
            **clipdraw.notes(sentence, settings).to_json(),
            "widths": one.strokes.widths.astype(float).round(2).tolist(),
            "colors": one.strokes.colors.astype(float).round(3).tolist(),
        }


# --- judges ------------------------------------------------------------------------------------------------------


def other_judge(guide: str) -> str | None:
    """A row that is on this machine and reads the guide's languages: another one of its kind, else a miniature, else None."""
    own = checkpoints.row(guide)
    rows = [
        row
        for row in checkpoints.rows("clip")
        if row.name != guide and set(row.languages) >= set(own.languages) and not needs_download(row.name)
    ]
    rows.sort(key=lambda row: bool(row.bundled) != bool(own.bundled))
    return rows[0].name if rows else None


def judges(one: Drawn, names: Sequence[str], guide: str) -> dict[str, Classification]:
    """What the guide reads in its drawing, and what a model reads that took no part in it."""
    from core.clip import ZeroShot

    opinions = sketch_runs.guide_alone(one, names, guide)
    other = other_judge(guide)
    if other is not None:
        opinions[other] = ZeroShot.load(other).classify(Image.fromarray(one.strokes.image()), list(names))
    return opinions


def verdict(tops: Mapping[str, Sequence[Any]], lang: str, cosine: float | None = None) -> str:
    """Why the guide's own number says little, and the other model's first label.

    Args:
        tops: labels with their shares by row, best first; the guide's first.
        cosine: of the drawing with the prompt, where it is known.
    """
    guide, *others = tops.items()

    def reading(name: str, row: str, top: Sequence[Any]) -> str:
        label, share = top[0]
        return say(name, lang, title=runs.title(row, lang), label=label, share=draw.percent(share))

    sentence = say("cosine", lang, cosine=cosine) if cosine is not None else ""
    for row, top in others:
        agrees = top[0][0] == guide[1][0][0]
        sentence += reading("guide", *guide) + reading("agrees" if agrees else "differs", row, top)
    return tag("p", sentence, class_="atlas-verdict some") if sentence else ""


# --- runs --------------------------------------------------------------------------------------------------------


def negative_list(text: str | None) -> tuple[str, ...]:
    """The lines of the box of prompts to avoid."""
    return tuple(line.strip() for line in (text or "").splitlines() if line.strip())


def names_with(prompt: str, labels: str | None) -> list[str]:
    """What CLIP chooses from: the prompt, and the other labels."""
    return list(dict.fromkeys([prompt, *sketch_runs.label_list(labels)]))


def settings_of(question: Question, begin: Strokes | None) -> DrawSettings:
    """The settings of a run of the page."""
    from core.drawing.clipdraw import DrawSettings

    return DrawSettings(
        strokes=len(begin) if begin else int(question.strokes),
        seeds=1 if begin else int(question.seeds),
        first_seed=int(question.seed or 0),
        steps=int(question.steps) or None,
        negatives=negative_list(question.negatives),
        width=float(question.width),
        checkpoint=question.checkpoint,
    )


def draw_prompt(
    question: Question, lang: str, cancel: Cancel, *, begin: Strokes | None = None
) -> Iterator[dict[str, Any]]:
    """A drawing that draws itself, from given strokes on where there are some."""
    from core.drawing import clipdraw

    prompt = inputs.text(question.prompt)
    names = names_with(prompt, question.labels)
    settings = settings_of(question, begin)
    guide = question.checkpoint or checkpoints.default("clip")
    more = clipdraw.notes(prompt, settings).sentences(lang)
    notes = results.notes(guide, lang, unknown=library.unknown_labels(names), more=more)
    yield {"verdict": "", "files": "", **notes}
    frames = clipdraw.draw(prompt, settings, begin=begin, cancel=cancel)
    for part in sketch_runs.watch(frames, guide, names, lang, edit=True, judges=judges):
        if "made" in part:
            made = part["made"]
            tops = {row: strokes.top(opinion) for row, opinion in made.opinions[0].items()}
            part["verdict"] = verdict(tops, lang, -made.result.drawn[0].terms["prompt"])
        yield part


def go_on(
    question: Question, made: Made | None, edited: str | None, lang: str, cancel: Cancel
) -> Iterator[dict[str, Any]]:
    """The question drawn further, from where a person left the strokes of the last drawing."""
    before = sketch_runs.require(made).result.strokes
    yield from draw_prompt(question, lang, cancel, begin=strokes.edited(edited, before) or before)


# --- opening, examples -------------------------------------------------------------------------------------------


def opening(lang: str) -> dict[str, Any]:
    """The recorded drawing with what both miniatures read in it."""
    opinions = records.read(PAGE)["opinions"]["zh" if lang == "zh" else "en"]
    return {**sketch_runs.opening(PAGE, DRAW, lang), "verdict": verdict(opinions, lang)}


def prompts(lang: str) -> list[str]:
    """The example prompts."""
    return [row["caption"]["zh" if lang == "zh" else "en"] for row in examples().values()]


def first_labels(question: Question, lang: str) -> dict[str, Any]:
    """The labels that an open page chooses from: the example prompts."""
    return {"labels": ", ".join(prompts(lang))}


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The prompt of an example."""
    return {"prompt": examples()[name]["caption"]["zh" if lang == "zh" else "en"]}
