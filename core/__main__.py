"""Every verb of the papers on the command line.

python -m core classify IMAGE --labels "a dog, a cat"
python -m core detect IMAGE --labels "a duck, a robot" --variant ensemble
python -m core ground IMAGE "a cat left of a dog"
python -m core sketch IMAGE --strokes 16 --out cat.svg
python -m core draw "a red envelope" --out envelope.png
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import checkpoints, inputs, outputs, terminal
from core.errors import Refusal, terminal_language

if TYPE_CHECKING:
    from core.clip.labels import Notes
    from core.drawing.strokes import Frame

# What a drawing can be written as, by the end of the file's name; seconds of a film, and its pixels.
WRITTEN = (".svg", ".png", ".gif", ".mp4")
FILM_SECONDS, SIDE = 4.0, 448


def classify(arguments: argparse.Namespace) -> None:
    """CLIP: ranks labels for a picture."""
    image = inputs.image(arguments.image)
    labels = inputs.labels(arguments.labels, limit=1000)
    from core.clip import ZeroShot

    model = ZeroShot.load(arguments.checkpoint or checkpoints.default("clip"))
    result = model.classify(image, labels, arguments.template, arguments.logit_scale)
    if arguments.json:
        print(json.dumps(result.to_json(), ensure_ascii=False))
        return
    print(f"{result.checkpoint}, {1000 * result.seconds:.0f} ms")
    for i in result.order:
        label = inputs.visible(result.labels[i])
        print(f"{result.probabilities[i]:7.1%}  cosine {result.cosines[i]:+.3f}  {label}")
    _tell(result.notes)


def detect(arguments: argparse.Namespace) -> None:
    """ViLD: boxes of what the labels name."""
    image = inputs.image(arguments.image)
    labels = inputs.labels(arguments.labels, limit=1000)
    from core.detection import ViLD

    model = ViLD.load(arguments.checkpoint or checkpoints.default("vild"))
    result = model.detect(
        image, labels, arguments.variant, proposals=arguments.proposals, threshold=arguments.threshold
    )
    answer = result.to_json()
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=False))
        return
    print(f"{result.checkpoint}, {result.variant}, {1000 * result.seconds:.0f} ms")
    for row in answer["results"]:
        corners = ", ".join(f"{side:.0f}" for side in row["box"])
        print(f"{row['score']:7.1%}  ({corners})  {inputs.visible(row['label'])}")
    _tell(result.notes)


def ground(arguments: argparse.Namespace) -> None:
    """GLIP: boxes for what a caption names, or for labels."""
    image = inputs.image(arguments.image)
    if (arguments.caption is None) == (arguments.labels is None):
        raise Refusal("caption_or_labels")
    caption = None if arguments.caption is None else inputs.text(arguments.caption)
    labels = None if arguments.labels is None else inputs.labels(arguments.labels, limit=1000)
    from core.detection import GLIP

    model = GLIP.load(arguments.checkpoint or checkpoints.default("glip"))
    if caption is not None:
        result = model.ground(image, caption, threshold=arguments.threshold)
    else:
        result = model.detect(image, labels or [], threshold=arguments.threshold)
    if arguments.json:
        print(json.dumps(result.to_json(), ensure_ascii=False))
        return
    print(f"{result.checkpoint}, {1000 * result.seconds:.0f} ms: {result.prompt}")
    for box, score, index in zip(result.boxes, result.scores, result.phrase_indices, strict=True):
        sides = " ".join(f"{side:7.1f}" for side in box)
        print(f"{score:7.3f}  {sides}  {inputs.visible(result.phrases[index].text)}")
    _tell(result.notes)


def _tell(notes: Notes) -> None:
    """Says on standard error which labels were merged or cut."""
    for sentence in notes.sentences(terminal_language()):
        print(sentence, file=sys.stderr)


def sketch(arguments: argparse.Namespace) -> None:
    """CLIPasso: a picture in a few strokes."""
    _writable(arguments.out)
    image = inputs.image(arguments.image)
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
    _drawn(clipasso.sketch(image, settings), arguments)


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
    _drawn(clipdraw.draw(arguments.prompt, settings), arguments)


def _writable(out: Path) -> None:
    """Refuses a file that could not be written, before any work is done for it."""
    if out.suffix.lower() not in WRITTEN:
        raise Refusal("drawing_file", name=out.name, known=", ".join(WRITTEN))
    outputs.check(out)


def _drawn(frames: Iterator[Frame], arguments: argparse.Namespace) -> None:
    """Runs to the end, with the progress on standard error, and writes what was asked for."""
    for frame in frames:
        if sys.stderr.isatty():
            line = f"step {frame.step} of {frame.steps}, {frame.seconds_left:.0f} s left"
            print(f"\r{line:40}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
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
    }
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=False))
        return
    print(
        f"{answer['checkpoint']}, {answer['steps']} steps in {answer['seconds']:.1f} s on {answer['device']}"
    )
    print(f"loss {best.loss:.4f} with seed {answer['seed']}: {arguments.out}")


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


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m core`."""
    main = argparse.ArgumentParser(
        prog="python -m core", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = main.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("classify", help="rank labels for a picture (CLIP)")
    verb.add_argument("image", help="a picture file")
    verb.add_argument("--labels", required=True, help="labels, separated by commas or lines")
    verb.add_argument("--template", help="a template set's name, or a sentence with {} for the label")
    verb.add_argument("--checkpoint", help="a row of `python -m core.checkpoints list`")
    verb.add_argument("--logit-scale", type=float, help="inverse temperature in place of the learned one")
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=classify)
    verb = verbs.add_parser("detect", help="find what labels name, with boxes (ViLD)")
    verb.add_argument("image", help="a picture file")
    verb.add_argument("--labels", required=True, help="labels, separated by commas or lines")
    verb.add_argument("--variant", help="crops, text, image, vild, ensemble, or what the checkpoint has")
    verb.add_argument("--checkpoint", help="a row of `python -m core.checkpoints list`")
    verb.add_argument("--proposals", type=int, default=100, help="how many are looked at; 100 without it")
    verb.add_argument("--threshold", type=float, help="the least score; the checkpoint's own without it")
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=detect)
    verb = verbs.add_parser("ground", help="find what a sentence names in a picture (GLIP)")
    verb.add_argument("image", help="a picture file")
    verb.add_argument("caption", nargs="?", help="a sentence that names things")
    verb.add_argument("--labels", help="in place of a sentence: labels, separated by commas or lines")
    verb.add_argument(
        "--threshold", type=float, help="the least score of a box; without it the checkpoint's own"
    )
    verb.add_argument("--checkpoint", help="a row of `python -m core.checkpoints list`")
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=ground)
    verb = verbs.add_parser("sketch", help="draw a picture in a few strokes (CLIPasso)")
    verb.add_argument("image", help="a picture file")
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
    return main


def main() -> int:
    """Runs one verb and returns the exit status."""

    def program() -> None:
        arguments = parser().parse_args()
        arguments.run(arguments)

    return terminal.run(program)


if __name__ == "__main__":
    sys.exit(main())
