"""What the CLIPasso page does: one handler per verb, and the named endpoints.

Each takes plain values, calls `core.drawing.clipasso`, and lets `demos.draw.strokes` and `demos.draw.stroke_files` turn the
result into what is seen. Long handlers are generators for `demos.kit.jobs.long_job`: their first argument is the stop flag,
their first output the line that says how far they are.
"""

from __future__ import annotations

import html
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.draw import base as draw
from demos.draw import strokes as sketch_draw
from demos.kit import library, scenes_link, shell
from demos.kit import sketch_runs as runs
from demos.kit.examples import chosen as strip_choice
from demos.kit.form import LONGEST
from demos.kit.shell import pick
from demos.kit.sketch_runs import Made

if TYPE_CHECKING:
    from PIL import Image

    from core.drawing.clipasso import SketchSettings
    from core.drawing.strokes import Strokes

CONFIG = tomllib.loads(Path(__file__).with_name("data.toml").read_text(encoding="utf-8"))
RECORDED = library.ASSETS / "clipasso" / "recorded.json"
NAME = "clipasso"
MAX_RUNGS = 8  # of a ladder through the endpoint


@cache
def examples() -> dict[str, dict[str, Any]]:
    """The page's example pictures by id."""
    every = library.shared()
    return {name: every[name] for name in CONFIG["examples"]}


# --- endpoints -------------------------------------------------------------------------------------------------


def clipasso_sketch(
    image: gr.FileData,
    strokes: int = 16,
    seeds: int = 1,
    steps: int | None = None,
    width: float = 3.0,
    colour: bool = False,
    cut_out: bool = False,
    start: str = "saliency",
    semantic: float = 1.0,
    geometric: float = 1.0,
    seed: int = 0,
    labels: list[str] | str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Sketch a picture with a few strokes that keep what CLIP sees in it (CLIPasso).

    Args:
        image: a picture file, or a data URI.
        strokes: 1 to 64; fewer is more abstract.
        seeds: how many beginnings are tried, 1 to 8; the best one is the answer.
        steps: of the optimisation, 1 to 5000; the checkpoint's own number when left out.
        width: of the strokes in pixels of the 224 canvas, 0.5 to 20.
        colour: strokes learn a colour instead of being black.
        cut_out: the background is removed first.
        start: strokes begin at "saliency" (where CLIP looks, on edges) or "random" places.
        semantic: weight of what the picture means, 0 to 10.
        geometric: weight of where things are, 0 to 10.
        seed: the same number gives the same sketch, -1 any, which the answer then names.
        labels: names to choose from for the finished sketch, at most 50; none when left out.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "steps", "loss", "losses" of the seeds, "svg", "points" [strokes][points][x, y], "labels"}.
    """
    with shell.api_errors():
        from core.drawing.clipasso import SketchSettings, Variant

        picture = inputs.image(shell.uploaded(image))
        names = inputs.labels(labels, limit=runs.MAX_LABELS) if labels else []
        variant = Variant(int(strokes), float(semantic), float(geometric), _start(start))
        settings = SketchSettings(
            variants=(variant,),
            seeds=int(seeds),
            first_seed=int(seed),
            steps=None if steps is None else int(steps),
            width=float(width),
            colour=bool(colour),
            cut_out=bool(cut_out),
            checkpoint=checkpoint,
        )
        result = _finish(picture, settings)
        return {**runs.answers(result, names)[0], **runs.taken_seed(result, seed)}


def clipasso_ladder(
    image: gr.FileData,
    strokes: list[int] | None = None,
    steps: int | None = None,
    seed: int = 0,
    labels: list[str] | str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Sketch a picture with several numbers of strokes in one run: the abstraction ladder of CLIPasso.

    Args:
        image: a picture file, or a data URI.
        strokes: the numbers, at most 8 of 1 to 64; 4, 8, 16 and 32 when left out.
        steps: of the optimisation, 1 to 5000; the checkpoint's own number when left out.
        seed: the same number gives the same sketches, -1 any, which the answer then names.
        labels: names to choose from for each finished sketch, at most 50; none when left out.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "steps", "sketches": [{"strokes", "loss", "svg", "points", "labels"}, ...]}.
    """
    with shell.api_errors():
        from core.drawing.clipasso import SketchSettings, ladder

        picture = inputs.image(shell.uploaded(image))
        names = inputs.labels(labels, limit=runs.MAX_LABELS) if labels else []
        counts = [int(count) for count in (CONFIG["ladder"] if strokes is None else strokes)]
        if not 1 <= len(counts) <= MAX_RUNGS:
            raise Refusal("sketch_setting", name="variants", value=len(counts), low=1, high=MAX_RUNGS)
        settings = SketchSettings(
            variants=ladder(*counts),
            seeds=1,
            first_seed=int(seed),
            steps=None if steps is None else int(steps),
            checkpoint=checkpoint,
        )
        result = _finish(picture, settings)
        first, *_ = answers = runs.answers(result, names)
        run = {key: first[key] for key in ("checkpoint", "seconds", "steps")}
        kept = ("loss", "svg", "points", "labels")
        sketches = [
            {"strokes": len(one["points"]), **{key: one[key] for key in kept if key in one}}
            for one in answers
        ]
        return {**run, "sketches": sketches, **runs.taken_seed(result, seed)}


def _start(text: str) -> Any:
    """How strokes begin; whatever is not "random" begins where CLIP looks."""
    return "random" if text == "random" else "saliency"


def _finish(picture: Image.Image, settings: SketchSettings) -> Any:
    """A whole run in its turn."""
    from core.drawing import clipasso

    clipasso.check(settings)
    return runs.finish(lambda cancel: clipasso.sketch(picture, settings, cancel=cancel))


# --- what all runs share -----------------------------------------------------------------------------------------


def picture_of(value: str | None) -> Image.Image:
    """The page's picture."""
    return inputs.image(shell.picture_source(value))


def watch(
    cancel: Cancel,
    image: Image.Image,
    settings: SketchSettings,
    titles: Sequence[str],
    names: Sequence[str],
    lang: str,
    *,
    begin: Strokes | None = None,
    edit: bool = False,
) -> Iterator[tuple[str, str, Made | None]]:
    """A run as it goes: (status, message of the surface, None) for every frame; then (line, message, Made)."""
    from core.drawing import clipasso

    frames = clipasso.sketch(image, settings, begin=begin, cancel=cancel)
    checkpoint = settings.checkpoint or checkpoints.default("clip")
    for status, message, result in runs.watch(frames, titles, names, checkpoint, lang, edit=edit):
        if result is None:
            yield status, message, None
        else:
            yield status + hint(image, result.checkpoint, lang), message, Made(image, result, tuple(names))


def hint(image: Image.Image, checkpoint: str, lang: str) -> str:
    """Said when a picture from outside is given to a miniature."""
    digest = inputs.digest(image)
    known = digest in library.classroom_digests() or scenes_link.is_drawn(digest)
    return shell.hint(lang) if checkpoints.row(checkpoint).bundled is not None and not known else ""


# --- handlers ----------------------------------------------------------------------------------------------------


def sketch(
    cancel: Cancel,
    picture: str | None,
    strokes: float,
    seeds: float,
    steps: float,
    width: float,
    colour: bool,
    cut_out: bool,
    start: str,
    seed: float,
    labels: str,
    checkpoint: str,
    lang: str,
) -> Iterator[tuple[Any, ...]]:
    """A sketch that draws itself: status, surface, the finished run, downloads."""
    from core.drawing.clipasso import SketchSettings, Variant

    settings = SketchSettings(
        variants=(Variant(int(strokes), start=_start(start)),),
        seeds=int(seeds),
        first_seed=int(seed or 0),
        steps=int(steps) or None,
        width=float(width),
        colour=bool(colour),
        cut_out=bool(cut_out),
        checkpoint=checkpoint,
    )
    image, names = picture_of(picture), runs.label_list(labels)
    yield from _with_exports(watch(cancel, image, settings, [""], names, lang, edit=True))


def sketch_example(cancel: Cancel, value: str, *values: Any) -> Iterator[tuple[Any, ...]]:
    """A click on an example: its picture, labels and id are filled in behind the outputs of `sketch`, which runs."""
    strokes, seeds, steps, width, colour, cut_out, start, seed, checkpoint, lang = values
    name = strip_choice(value, examples())
    if name is None:
        return
    row = examples()[name]
    filled: tuple[Any, ...] = (row["path"], row["labels"][lang], name)
    knobs = (strokes, seeds, steps, width, colour, cut_out, start, seed)
    for step in sketch(cancel, row["path"], *knobs, row["labels"][lang], checkpoint, lang):
        yield *step, *filled
        filled = (None,) * 3


def go_on(
    cancel: Cancel, made: Made | None, drawn: str | None, steps: float, labels: str, lang: str
) -> Iterator[tuple[Any, ...]]:
    """The last sketch optimised further, from where a person left its strokes."""
    made = runs.needed(made)
    before = made.result.drawn[0].strokes
    begin = sketch_draw.edited(drawn, before) or before
    settings = made.result.settings
    variant = replace(settings.variants[0], strokes=len(begin))
    settings = replace(settings, variants=(variant,), seeds=1, steps=int(steps) or None)
    names = runs.label_list(labels)
    yield from _with_exports(watch(cancel, made.image, settings, [""], names, lang, begin=begin, edit=True))


def _with_exports(steps: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for status, message, made in steps:
        yield status, message, made, (runs.exports(made, NAME) if made else "")


def ladder(
    cancel: Cancel,
    picture: str | None,
    counts: list[int],
    steps: float,
    seed: float,
    labels: str,
    checkpoint: str,
    lang: str,
) -> Iterator[tuple[Any, ...]]:
    """Several numbers of strokes side by side from one run."""
    from core.drawing import clipasso

    variants = clipasso.ladder(*sorted(int(count) for count in counts) or CONFIG["ladder"])
    settings = clipasso.SketchSettings(
        variants=variants,
        seeds=1,
        first_seed=int(seed or 0),
        steps=int(steps) or None,
        checkpoint=checkpoint,
    )
    titles = [pick(lang, f"{v.strokes} strokes", f"{v.strokes} 笔") for v in variants]
    yield from _with_exports(
        watch(cancel, picture_of(picture), settings, titles, runs.label_list(labels), lang)
    )


def films(made: Made | None, lang: str) -> tuple[str]:
    """The last run as a GIF and an MP4."""
    return runs.films(made, NAME, lang)


def judge_edit(made: Made | None, drawn: str | None, lang: str) -> tuple[str]:
    """What the loss says of strokes that a person has moved."""
    made = runs.needed(made)
    one = made.result.drawn[0]
    strokes = sketch_draw.edited(drawn, one.strokes)
    if strokes is None:
        return ("",)
    from core.drawing import clipasso

    settings = replace(made.result.settings, checkpoint=made.result.checkpoint)
    losses, features = clipasso.judged_drawings(made.image, [one.strokes.image(), strokes.image()], settings)
    before, after = (float(loss) for loss in losses)
    kind = "some" if after <= before else "none"
    sentence = pick(
        lang,
        f"Your hand: the loss {'falls' if after < before else 'grows'} from {before:.3f} to {after:.3f}. "
        "Continue, and the optimiser goes on from your strokes.",
        f"经你之手，损失从 {before:.3f} {'降到' if after < before else '升到'} {after:.3f}。"
        "点“从这里继续”，优化器会接着你的笔画画下去。",
    )
    if made.labels:
        best = runs.named(features[1], made.labels, made.result.checkpoint).to_json()["results"][0]
        sentence += pick(lang, " CLIP now reads: ", " CLIP 现在读作：")
        sentence += f"{best['label']} {draw.percent(best['probability'])}"
    return (f'<p class="atlas-verdict {kind}">{html.escape(sentence)}</p>',)


# --- opening -------------------------------------------------------------------------------------------------------


def recorded() -> dict[str, Any]:
    """The recorded run that a fresh page shows."""
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def opened(lang: str, query: dict[str, str]) -> tuple[Any, ...]:
    """A page's first state: picture, labels, example, surface, status."""
    scene = scenes_link.opened(query, lang)
    if scene is not None:
        return scene.path, scene.labels, "", "", ""
    name = query.get("example", CONFIG["opening"])
    name = name if name in examples() else CONFIG["opening"]
    row = examples()[name]
    if name != CONFIG["opening"] or "labels" in query:
        return (
            row["path"],
            query.get("labels", row["labels"][lang])[:LONGEST],
            name,
            "",
            "",
        )
    record = recorded()
    note = pick(
        lang,
        f"Recorded run ({record['checkpoint']}, {record['steps']} steps); press Sketch to run it here.",
        f"预先记录的一次运行（{record['checkpoint']}，{record['steps']} 步）；点“画”即可现场运行。",
    )
    message = json.dumps({**record["message"], "labels": [record["labels"][lang]]}, ensure_ascii=False)
    return row["path"], row["labels"][lang], name, message, f'<p class="atlas-line">{note}</p>'
