"""`python -m core sketch` and `python -m core draw`: CLIPasso and CLIPDraw from the shell."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import inputs, outputs, terminal
from core.errors import Refusal

if TYPE_CHECKING:
    from core.clip.labels import Notes
    from core.drawing.strokes import Frame

# What a drawing can be written as, by the end of the file's name; seconds of a film, and its pixels.
WRITTEN = (".svg", ".png", ".gif", ".mp4")
FILM_SECONDS, SIDE = 4.0, 448


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds both ways of drawing to the command line."""
    verb = verbs.add_parser("sketch", help="draw an image in a few strokes (CLIPasso)")
    verb.add_argument("image", help="an image file")
    _drawing_options(verb, strokes=16, seeds=3, out="sketch.svg")
    verb.add_argument("--width", type=float, default=3.0, help="of the strokes, in pixels of 224")
    verb.add_argument("--colour", action="store_true", help="strokes learn a colour")
    verb.add_argument("--cut-out", action="store_true", help="remove the background first")
    verb.set_defaults(run=sketch)
    verb = verbs.add_parser("draw", help="draw a text in coloured strokes (CLIPDraw)")
    verb.add_argument("prompt", help="what to draw")
    _drawing_options(verb, strokes=64, seeds=1, out="drawing.svg")
    verb.add_argument("--negative", action="append", default=[], help="a text to keep away from; repeatable")
    verb.set_defaults(run=draw)


def _drawing_options(verb: argparse.ArgumentParser, strokes: int, seeds: int, out: str) -> None:
    """What both ways of drawing take."""
    verb.add_argument("--checkpoint", help="the guide: a row of `python -m core.checkpoints list`")
    verb.add_argument("--strokes", type=int, default=strokes, help=f"how many; {strokes} without it")
    verb.add_argument(
        "--seed", type=int, default=0, help="the first seed; the same one gives the same drawing, -1 any"
    )
    verb.add_argument(
        "--seeds", type=int, default=seeds, help=f"beginnings, the best wins; {seeds} without it"
    )
    verb.add_argument("--steps", type=int, help="of the optimisation; without it the guide's own number")
    verb.add_argument("--out", type=Path, default=Path(out), help=f"{', '.join(WRITTEN)}; {out} without it")
    verb.add_argument("--json", action="store_true", help="print what was done as JSON")


def sketch(arguments: argparse.Namespace) -> None:
    """CLIPasso: an image in a few strokes."""
    _writable(arguments.out)
    image = inputs.image(arguments.image)
    from core.clip.labels import NO_NOTES
    from core.drawing import clipasso

    settings = clipasso.SketchSettings(
        variants=clipasso.ladder(arguments.strokes),
        seeds=arguments.seeds,
        first_seed=arguments.seed,
        steps=arguments.steps,
        width=arguments.width,
        colour=arguments.colour,
        cut_out=arguments.cut_out,
        checkpoint=arguments.checkpoint,
    )
    _drawn(clipasso.sketch(image, settings), NO_NOTES, arguments)


def draw(arguments: argparse.Namespace) -> None:
    """CLIPDraw: a text in coloured strokes."""
    _writable(arguments.out)
    from core.drawing import clipdraw

    settings = clipdraw.DrawSettings(
        strokes=arguments.strokes,
        seeds=arguments.seeds,
        first_seed=arguments.seed,
        steps=arguments.steps,
        negatives=tuple(arguments.negative),
        checkpoint=arguments.checkpoint,
    )
    _drawn(clipdraw.draw(arguments.prompt, settings), clipdraw.notes(arguments.prompt, settings), arguments)


def _writable(out: Path) -> None:
    """Refuses a file that could not be written, before any work is done for it."""
    if out.suffix.lower() not in WRITTEN:
        raise Refusal("drawing_file", name=out.name, known=", ".join(WRITTEN))
    outputs.check(out)


def _drawn(frames: Iterator[Frame], notes: Notes, arguments: argparse.Namespace) -> None:
    """Runs to the end, with the progress on standard error, and writes what was asked for."""
    for frame in frames:
        terminal.progress(f"step {frame.step} of {frame.steps}, {frame.seconds_left:.0f} s left")
    terminal.progress("")
    result = frame.result
    assert result is not None
    best = result.drawn[0]
    with outputs.writing(arguments.out):
        _write(arguments.out, best)
    answer: dict[str, Any] = {
        "checkpoint": result.checkpoint,
        "device": result.device,
        "rasterizer": result.rasterizer,
        "strokes": len(best.strokes),
        "steps": result.steps,
        "seconds": round(result.seconds, 2),
        "seed": result.settings.first_seed + best.seed,
        "loss": best.loss,
        "losses": best.losses.tolist(),
        "terms": best.terms,
        "out": str(arguments.out),
        **notes.to_json(),
    }
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=False))
        return
    print(
        f"{answer['checkpoint']}, {answer['steps']} steps in {answer['seconds']:.1f} s on {answer['device']}"
    )
    print(f"loss {best.loss:.4f} with seed {answer['seed']}: {arguments.out}")
    terminal.tell(notes)


def _write(out: Path, drawn: Any) -> None:
    """One drawing in the format that the file's name asks for."""
    kind = out.suffix.lower()
    if kind == ".svg":
        out.write_text(drawn.strokes.svg(), encoding="utf-8")
        return
    if kind == ".png":
        from PIL import Image

        Image.fromarray(drawn.strokes.image(SIDE)).save(out)
        return
    from core.drawing import film

    pictures = film.pixels([*drawn.history, drawn.strokes], SIDE)
    make = film.gif if kind == ".gif" else film.mp4
    out.write_bytes(make(pictures, FILM_SECONDS))
