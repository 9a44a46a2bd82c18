"""Every verb of the papers on the command line.

python -m core classify IMAGE --labels "a dog, a cat"
python -m core segment IMAGE --labels "sky, sea, sand"
python -m core detect IMAGE --labels "a duck, a robot" --variant ensemble
python -m core ground IMAGE "a cat left of a dog"
python -m core classify FOLDER_OR_ZIP --labels "a dog, a cat" --out results.csv
python -m core points CLOUD --labels "a duck, a car" --projection v2
python -m core depth IMAGE --out depth.png
python -m core sketch IMAGE --strokes 16 --out cat.svg
python -m core draw "a red envelope" --out envelope.png
python -m core rank "a dog moving from left to right" one.mp4 two.mp4
python -m core action CLIP --labels "moving left, moving right"
python -m core listen SOUND --labels "a dog, a bell" --images one.png two.png
python -m core answer IMAGE "what is left of the dog?"
python -m core search index FOLDER
python -m core search "a dog" --kind video
python -m core edit IMAGE "a cat" --method sdedit --out edited.png
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import batch, checkpoints, inputs, outputs, terminal
from core.editing import command as editing
from core.errors import Refusal, terminal_language
from core.search import command

if TYPE_CHECKING:
    from PIL import Image

    from core.batch import Outcome, Row, Step
    from core.clip import Classification
    from core.clip.labels import Notes
    from core.detection import Detection, Grounding
    from core.drawing.strokes import Frame
    from core.inputs import Files
    from core.segmentation import Grouping, Segmentation

# What a drawing can be written as, by the end of the file's name; seconds of a film, and its pixels.
WRITTEN = (".svg", ".png", ".gif", ".mp4")
FILM_SECONDS, SIDE = 4.0, 448
# What the answers to many files can be written as: a table, a line for each file, or these with COCO and masks.
RESULTS = (".csv", ".jsonl", ".zip")
# What a depth map can be written as: millimetres in 16 bits, or metres.
DEPTHS = (".png", ".npy")
IMAGES = "an image file; several of them, a folder or a zip archive are asked one after the other"


@dataclass(frozen=True)
class Verb:
    """What a command does with one image, and with what comes of it."""

    ask: Callable[[Image.Image], Any]
    show: Callable[[Any], None]  # prints an answer
    outcome: Callable[[Any, Image.Image], Outcome]  # of one of many images


def classify(arguments: argparse.Namespace) -> Verb:
    """CLIP: ranks labels for an image."""
    labels = inputs.labels(arguments.labels, limit=1000)
    from core.clip import ZeroShot

    model = ZeroShot.load(arguments.checkpoint or checkpoints.default("clip"))

    def show(result: Classification) -> None:
        print(f"{result.checkpoint}, {1000 * result.seconds:.0f} ms")
        for i in result.order:
            label = inputs.visible(result.labels[i])
            print(f"{result.probabilities[i]:7.1%}  cosine {result.cosines[i]:+.3f}  {label}")

    return Verb(
        lambda image: model.classify(image, labels, arguments.template, arguments.logit_scale),
        show,
        lambda result, image: batch.ranked(result.to_json(), image),
    )


def segment(arguments: argparse.Namespace) -> Verb:
    """LSeg: gives every pixel one of the labels; with a row of GroupViT or CLIP, its way of doing so."""
    labels = inputs.labels(arguments.labels, limit=1000)
    from core import segmentation

    model = segmentation.load(arguments.checkpoint or checkpoints.default("lseg"))

    def show(result: Segmentation | Grouping) -> None:
        print(f"{result.checkpoint}, {1000 * result.seconds:.0f} ms")
        for row in result.to_json()["results"]:
            print(f"{row['share']:7.1%}  {'-' if row['label'] is None else inputs.visible(row['label'])}")

    def outcome(result: Segmentation | Grouping, image: Image.Image) -> Outcome:
        shares = result.shares[: len(result.labels)].tolist()
        return batch.segmented(result.labels, shares, result.mask, result.to_json(), image)

    return Verb(lambda image: model.segment(image, labels), show, outcome)


def detect(arguments: argparse.Namespace) -> Verb:
    """ViLD: boxes of what the labels name."""
    labels = inputs.labels(arguments.labels, limit=1000)
    from core.detection import ViLD

    model = ViLD.load(arguments.checkpoint or checkpoints.default("vild"))

    def ask(image: Image.Image) -> Detection:
        return model.detect(
            image, labels, arguments.variant, proposals=arguments.proposals, threshold=arguments.threshold
        )

    def show(result: Detection) -> None:
        print(f"{result.checkpoint}, {result.variant}, {1000 * result.seconds:.0f} ms")
        for row in result.to_json()["results"]:
            corners = ", ".join(f"{side:.0f}" for side in row["box"])
            print(f"{row['score']:7.1%}  ({corners})  {inputs.visible(row['label'])}")

    def outcome(result: Detection, image: Image.Image) -> Outcome:
        names = [result.labels[index] for index in result.label_indices]
        boxes = list(zip(names, result.scores.tolist(), result.boxes.tolist(), strict=True))
        return batch.detected(boxes, result.to_json(), image)

    return Verb(ask, show, outcome)


def ground(arguments: argparse.Namespace) -> Verb:
    """GLIP: boxes for what a caption names, or for labels."""
    if (arguments.caption is None) == (arguments.labels is None):
        raise Refusal("caption_or_labels")
    caption = None if arguments.caption is None else inputs.text(arguments.caption)
    labels = None if arguments.labels is None else inputs.labels(arguments.labels, limit=1000)
    from core.detection import GLIP

    model = GLIP.load(arguments.checkpoint or checkpoints.default("glip"))

    def ask(image: Image.Image) -> Grounding:
        if caption is not None:
            return model.ground(image, caption, threshold=arguments.threshold)
        return model.detect(image, labels or [], threshold=arguments.threshold)

    def show(result: Grounding) -> None:
        print(f"{result.checkpoint}, {1000 * result.seconds:.0f} ms: {result.prompt}")
        for box, score, index in zip(result.boxes, result.scores, result.phrase_indices, strict=True):
            sides = " ".join(f"{side:7.1f}" for side in box)
            print(f"{score:7.3f}  {sides}  {inputs.visible(result.phrases[index].text)}")

    def outcome(result: Grounding, image: Image.Image) -> Outcome:
        names = [result.phrases[index].text for index in result.phrase_indices]
        boxes = list(zip(names, result.scores.tolist(), result.boxes.tolist(), strict=True))
        return batch.detected(boxes, result.to_json(), image)

    return Verb(ask, show, outcome)


def question(arguments: argparse.Namespace) -> Verb:
    """ViLT, or CLIP-ViL or BLIP where the checkpoint is one of theirs: answers a question about an image."""
    text = inputs.text(arguments.question)
    from core.vqa import clip_vil
    from core.vqa.clip_vil.models import VisualAnswer
    from core.vqa.vilt.model import ViLT
    from core.vqa.vilt.results import Answers

    checkpoint = arguments.checkpoint or checkpoints.default("vilt")
    of_clip_vil = checkpoint in {row.name for row in checkpoints.rows("clip_vil")}
    model = clip_vil.load(checkpoint) if of_clip_vil else ViLT.load(checkpoint)

    def show(result: Answers | VisualAnswer) -> None:
        print(f"{result.checkpoint}, {1000 * result.seconds:.0f} ms")
        for row in result.to_json()["results"]:
            print(f"{row['probability']:7.1%}  {inputs.visible(row['answer'])}")

    def outcome(result: Answers | VisualAnswer, image: Image.Image) -> Outcome:
        best = result.to_json()["results"][0]
        return Outcome(best, result.to_json(), inputs.size_of(image), image=image)

    return Verb(lambda image: model.answer(image, text), show, outcome)


def rank(arguments: argparse.Namespace) -> None:
    """CLIP4Clip: ranks videos by a sentence."""
    query = inputs.text(arguments.query)
    videos = [inputs.video(path, max_seconds=None, max_bytes=None) for path in arguments.videos]
    from core.video.clip4clip.retriever import VideoRetriever

    model = VideoRetriever.load(arguments.checkpoint or checkpoints.default("clip4clip"))
    found = model.rank(query, videos, arguments.head)
    names = [str(path) for path in arguments.videos]
    if arguments.json:
        answer = found.to_json()
        for row in answer["results"]:
            row["file"] = names[row["clip"]]
        print(json.dumps(answer, ensure_ascii=False))
        return
    print(f"{found.checkpoint}, {found.head}, {1000 * found.seconds:.0f} ms")
    for i in found.order.tolist():
        best = found.times[i][found.frames[i].argmax()]
        print(f"{found.scores[i]:+.3f}  {best:7.2f} s  {inputs.visible(names[i])}")
    _tell(found.notes)


def action(arguments: argparse.Namespace) -> None:
    """ActionCLIP: names the action of a video."""
    labels = inputs.labels(arguments.labels, limit=1000)
    video = inputs.video(arguments.video, max_seconds=None, max_bytes=None)
    from core.video import actionclip

    found = actionclip.load(arguments.checkpoint or checkpoints.default("actionclip")).classify(
        video, labels, arguments.template or "all", language=arguments.language
    )
    if arguments.json:
        print(json.dumps(found.to_json(), ensure_ascii=False))
        return
    print(f"{found.checkpoint}, {1000 * found.seconds:.0f} ms")
    for i in found.order.tolist():
        print(
            f"{found.probabilities[i]:7.1%}  cosine {found.cosines[i]:+.3f}  {inputs.visible(found.labels[i])}"
        )
    _tell(found.notes)


def listen(arguments: argparse.Namespace) -> None:
    """AudioCLIP: ranks labels and images for a sound; CLAP ranks labels."""
    labels = inputs.labels(arguments.labels, limit=1000)
    sound = inputs.sound(arguments.sound, max_seconds=None, max_bytes=None)
    images = [inputs.image(path) for path in arguments.images]
    from core.audio.audioclip import AudioCLIP

    found = AudioCLIP.load(arguments.checkpoint or checkpoints.default("audioclip")).compare(
        [sound], images, labels
    )
    if arguments.json:
        print(json.dumps(found.to_json(), ensure_ascii=False))
        return
    print(f"{found.checkpoint}, {1000 * found.seconds:.0f} ms")
    (row,) = found.to_json()["sounds"]
    for one in row["results"]:
        print(f"{one['probability']:7.1%}  cosine {one['cosine']:+.3f}  {inputs.visible(one['label'])}")
    for one in row["images"]:
        print(f"{one['probability']:7.1%}  cosine {one['cosine']:+.3f}  {arguments.images[one['image']]}")
    _tell(found.notes)


def edit(arguments: argparse.Namespace) -> None:
    """StyleCLIP and its descendants: an image changed by a text."""
    out = arguments.out
    if out.suffix.lower() not in editing.WRITTEN:
        raise Refusal("drawing_file", name=out.name, known=", ".join(editing.WRITTEN))
    outputs.check(out)
    result = None
    for frame in editing.frames(arguments):
        _progress(f"step {frame.step} of {frame.steps}, {frame.seconds_left:.0f} s left")
        result = frame.result
    _progress("")
    assert result is not None
    from PIL import Image

    with outputs.writing(out):
        Image.fromarray(result.image).save(out)
    if arguments.json:
        print(json.dumps({**result.to_json(), "out": str(out)}, ensure_ascii=False))
    else:
        print(f"{result.checkpoint}, {result.method}, {result.steps} steps in {result.seconds:.1f} s: {out}")
    if result.blocked:
        print(editing.BLOCKED[terminal_language()], file=sys.stderr)


def answer(arguments: argparse.Namespace) -> int:
    """A verb on one image, or on many files; returns the exit status."""
    paths = arguments.images
    if (
        arguments.out is None
        and len(paths) == 1
        and not paths[0].is_dir()
        and not inputs.is_archive(paths[0])
    ):
        image = inputs.image(paths[0])
        verb = arguments.verb_of(arguments)
        result = verb.ask(image)
        if arguments.json:
            print(json.dumps(result.to_json(), ensure_ascii=False))
        else:
            verb.show(result)
            if notes := getattr(result, "notes", None):  # of labels; a verb without labels has none
                _tell(notes)
        return 0
    if arguments.out is not None:
        if arguments.out.suffix.lower() not in RESULTS:
            raise Refusal("results_file", name=arguments.out.name, known=", ".join(RESULTS))
        outputs.check(arguments.out)
    files = inputs.files_of(paths, limit=None, max_bytes=None)
    return _many(files, arguments.verb_of(arguments), arguments.out)


def _many(files: Files, verb: Verb, out: Path | None) -> int:
    """A verb over many files: JSON lines on standard output as they come, or all rows in a file at the end.

    Progress and the files that are refused are told on standard error. Ctrl-C keeps what is done.
    """
    rows: list[Row] = []
    lang = terminal_language()

    def outcome(image: Image.Image) -> Outcome:
        return replace(verb.outcome(verb.ask(image), image), image=None)

    try:
        for step in batch.run(files, outcome):
            rows.append(step.row)
            if step.row.refusal is not None:
                _progress("")
                print(f"{inputs.visible(step.row.file)}: {step.row.refusal.text(lang)}", file=sys.stderr)
            if out is None:
                print(batch.json_lines([step.row], lang), end="", flush=True)
            _progress(*_sentence(step, lang))
    finally:
        _progress("")
        if out is not None and rows:
            with outputs.writing(out):
                _write_rows(out, rows, lang)
    refused = sum(row.refusal is not None for row in rows)
    where = "" if out is None else f": {out}"
    print(
        f"共 {len(rows)} 个文件，{refused} 个无法处理{where}"
        if lang == "zh"
        else f"{len(rows)} files, {refused} refused{where}",
        file=sys.stderr,
    )
    return 1 if refused else 0


def _sentence(step: Step, lang: str) -> tuple[str, bool]:
    """How far many files are; whether a log that is no terminal gets a line of it: one for each tenth."""
    left = math.ceil(step.seconds_left)
    line = (
        f"{step.done} / {step.total}，大约还需 {left} 秒"
        if lang == "zh"
        else f"{step.done} of {step.total}, {left} s left"
    )
    return line, step.done * 10 // step.total > (step.done - 1) * 10 // step.total


def _progress(line: str, in_log: bool = False) -> None:
    """Shows a line on standard error in place of the last one; in a log only where `in_log` says so."""
    if sys.stderr.isatty():
        print(f"\r{line:60}\r{line}", end="", file=sys.stderr, flush=True)
    elif in_log:
        print(line, file=sys.stderr, flush=True)


def _write_rows(out: Path, rows: list[Row], lang: str) -> None:
    """The rows in the format that the file's name asks for."""
    match out.suffix.lower():
        case ".csv":  # spreadsheets read UTF-8 only behind its mark
            out.write_text(batch.table(rows, lang), encoding="utf-8-sig", newline="")
        case ".jsonl":
            out.write_text(batch.json_lines(rows, lang), encoding="utf-8")
        case _:
            out.write_bytes(batch.archive(rows, lang))


def _tell(notes: Notes) -> None:
    """Says on standard error which labels were merged or cut."""
    for sentence in notes.sentences(terminal_language()):
        print(sentence, file=sys.stderr)


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


def points(arguments: argparse.Namespace) -> None:
    """PointCLIP: ranks labels for a mesh or a point cloud."""
    labels = inputs.labels(arguments.labels, limit=1000)
    cloud = inputs.points(arguments.cloud, up=arguments.up)
    from core.spatial import PointClassifier
    from core.spatial.pointclip import PROJECTIONS

    if arguments.projection not in PROJECTIONS:
        raise Refusal("unknown_method", name=arguments.projection, known=", ".join(PROJECTIONS))
    model = PointClassifier.load(arguments.checkpoint or checkpoints.default("clip"))
    settings = PROJECTIONS[arguments.projection]
    result = model.classify(cloud, labels, arguments.template, arguments.weights, projection=settings)
    if arguments.json:
        print(json.dumps(result.to_json(), ensure_ascii=False))
        return
    print(f"{result.checkpoint}, {len(result.views)} views, {1000 * result.seconds:.0f} ms")
    for i in result.order:
        views = " ".join(f"{value:4.0%}" for value in result.view_probabilities[:, i])
        print(f"{result.probabilities[i]:7.1%}  {inputs.visible(result.labels[i])}  ({views})")
    for sentence in cloud.sentences(terminal_language()):
        print(sentence, file=sys.stderr)
    _tell(result.notes)


def depth(arguments: argparse.Namespace) -> None:
    """DepthCLIP: the depth of every pixel, from words."""
    if arguments.out is not None:
        if arguments.out.suffix.lower() not in DEPTHS:
            raise Refusal("results_file", name=arguments.out.name, known=", ".join(DEPTHS))
        outputs.check(arguments.out)
    image = inputs.image(arguments.image)
    from core.spatial import DepthEstimator

    result = DepthEstimator.load(arguments.checkpoint or checkpoints.default("clip")).estimate(image)
    if arguments.out is not None:
        import numpy as np
        from PIL import Image

        with outputs.writing(arguments.out):
            if arguments.out.suffix.lower() == ".npy":
                np.save(arguments.out, result.depth)
            else:  # millimetres, as depth cameras write them
                Image.fromarray((1000 * result.depth).round().astype(np.uint16)).save(arguments.out)
    if arguments.json:
        print(json.dumps(result.to_json(), ensure_ascii=False))
        return
    print(f"{result.checkpoint}, {1000 * result.seconds:.0f} ms")
    for word, metres, share in zip(result.words, result.bins, result.probabilities.mean((1, 2)), strict=True):
        print(f"{share:7.1%}  {metres:6.2f} m  {inputs.visible(word)}")
    _tell(result.notes)


def _writable(out: Path) -> None:
    """Refuses a file that could not be written, before any work is done for it."""
    if out.suffix.lower() not in WRITTEN:
        raise Refusal("drawing_file", name=out.name, known=", ".join(WRITTEN))
    outputs.check(out)


def _drawn(frames: Iterator[Frame], notes: Notes, arguments: argparse.Namespace) -> None:
    """Runs to the end, with the progress on standard error, and writes what was asked for."""
    for frame in frames:
        _progress(f"step {frame.step} of {frame.steps}, {frame.seconds_left:.0f} s left")
    _progress("")
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
    _tell(notes)


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


def _asking(
    verbs: Any, name: str, help_text: str, verb_of: Callable[[argparse.Namespace], Verb]
) -> argparse.ArgumentParser:
    """The parser of a verb that asks images about labels."""
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=help_text)
    verb.add_argument("images", nargs="+", type=Path, metavar="image", help=IMAGES)
    verb.add_argument("--labels", required=True, help="labels, separated by commas or lines")
    _answering_options(verb, verb_of)
    return verb


def _answering_options(verb: argparse.ArgumentParser, verb_of: Callable[[argparse.Namespace], Verb]) -> None:
    """What every verb on images takes."""
    verb.add_argument("--checkpoint", help="a row of `python -m core.checkpoints list`")
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.add_argument(
        "--out", type=Path, help=f"of many files: {', '.join(RESULTS)}; JSON lines are printed without it"
    )
    verb.set_defaults(run=answer, verb_of=verb_of)


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m core`."""
    main = argparse.ArgumentParser(
        prog="python -m core", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = main.add_subparsers(dest="verb", required=True)
    verb = _asking(verbs, "classify", "rank labels for an image (CLIP)", classify)
    verb.add_argument("--template", help="a template set's name, or a sentence with {} for the label")
    verb.add_argument("--logit-scale", type=float, help="inverse temperature in place of the learned one")
    _asking(verbs, "segment", "give every pixel one of the labels (LSeg, GroupViT, any CLIP)", segment)
    verb = _asking(verbs, "detect", "find what labels name, with boxes (ViLD)", detect)
    verb.add_argument("--variant", help="crops, text, image, vild, ensemble, or what the checkpoint has")
    verb.add_argument("--proposals", type=int, default=100, help="how many are looked at; 100 without it")
    verb.add_argument("--threshold", type=float, help="the least score; the checkpoint's own without it")
    verb = verbs.add_parser("ground", help="find what a sentence names in an image (GLIP)")
    verb.add_argument("images", nargs=1, type=Path, metavar="image", help=IMAGES)
    verb.add_argument("caption", nargs="?", help="a sentence that names things")
    verb.add_argument("--labels", help="in place of a sentence: labels, separated by commas or lines")
    verb.add_argument(
        "--threshold", type=float, help="the least score of a box; without it the checkpoint's own"
    )
    _answering_options(verb, ground)
    verb = verbs.add_parser("answer", help="answer a question about an image (ViLT, CLIP-ViL, BLIP)")
    verb.add_argument("images", nargs=1, type=Path, metavar="image", help=IMAGES)
    verb.add_argument("question", help="in English, or in a language of the checkpoint")
    _answering_options(verb, question)
    verb = verbs.add_parser("points", help="rank labels for a mesh or a point cloud (PointCLIP)")
    verb.add_argument("cloud", type=Path, help="PLY, OFF, OBJ, STL, GLB, PCD, XYZ or NPY")
    verb.add_argument("--labels", required=True, help="labels, separated by commas or lines")
    verb.add_argument("--projection", default="v1", help="v1, v1-ten or v2; v1 without it")
    verb.add_argument("--template", help="a sentence with {} for the label")
    verb.add_argument("--weights", type=float, nargs="+", help="of the views; 1 each without it")
    verb.add_argument("--up", help="the axis that points up in the file: x, y or z")
    verb.add_argument("--checkpoint", help="a CLIP row of `python -m core.checkpoints list`")
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=points)
    verb = verbs.add_parser("depth", help="depth of every pixel, from words (DepthCLIP)")
    verb.add_argument("image", help="an image file")
    verb.add_argument("--checkpoint", help="a CLIP row of `python -m core.checkpoints list`")
    verb.add_argument("--out", type=Path, help=f"the map: {', '.join(DEPTHS)}")
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=depth)
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
    verb = verbs.add_parser("rank", help="rank videos by a sentence (CLIP4Clip, any CLIP)")
    verb.add_argument("query", help="a sentence")
    verb.add_argument("videos", nargs="+", type=Path, metavar="clip", help="video files")
    verb.add_argument("--checkpoint", help="a row of `python -m core.checkpoints list`")
    verb.add_argument(
        "--head", help="meanP, seqLSTM, seqTransf or tightTransf; the checkpoint's first without it"
    )
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=rank)
    verb = verbs.add_parser("action", help="name the action of a video (ActionCLIP, X-CLIP, any CLIP)")
    verb.add_argument("video", type=Path, metavar="clip", help="a video file")
    verb.add_argument("--labels", required=True, help="actions, separated by commas or lines")
    verb.add_argument("--template", help="all, prefix, cloze, suffix, bare, or a sentence with {}")
    verb.add_argument(
        "--language", choices=["en", "zh"], default="en", help="of the checkpoint's own sentences"
    )
    verb.add_argument("--checkpoint", help="a row of `python -m core.checkpoints list`")
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=action)
    verb = verbs.add_parser("listen", help="rank labels and images for a sound (AudioCLIP, CLAP)")
    verb.add_argument("sound", type=Path, help="a sound file, or a video with sound")
    verb.add_argument("--labels", required=True, help="separated by commas or lines")
    verb.add_argument("--images", type=Path, nargs="*", default=[], help="image files")
    verb.add_argument("--checkpoint", help="a row of `python -m core.checkpoints list`")
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=listen)
    command.add(verbs)
    verb = verbs.add_parser("edit", help="change an image by a text (StyleCLIP, diffusion)")
    editing.options(verb)
    verb.set_defaults(run=edit)
    return main


def main() -> int:
    """Runs one verb and returns the exit status."""

    def program() -> int | None:
        arguments = parser().parse_args()
        return arguments.run(arguments)

    return terminal.run(program)


if __name__ == "__main__":
    sys.exit(main())
