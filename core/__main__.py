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
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import batch, checkpoints, inputs, outputs, terminal
from core.drawing import command as drawing
from core.editing import command as editing
from core.errors import Refusal, terminal_language
from core.search import command as search
from core.spatial import command as spatial
from core.video import command as video

if TYPE_CHECKING:
    from PIL import Image

    from core.batch import Outcome, Row, Step
    from core.clip import Classification
    from core.detection import Detection, Grounding
    from core.inputs import Files
    from core.segmentation import Grouping, Segmentation

# What the answers to many files can be written as: a table, a line for each file, or these with COCO and masks.
RESULTS = (".csv", ".jsonl", ".zip")
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
    terminal.tell(found.notes)


def edit(arguments: argparse.Namespace) -> None:
    """StyleCLIP and its descendants: an image changed by a text."""
    out = arguments.out
    if out.suffix.lower() not in editing.WRITTEN:
        raise Refusal("drawing_file", name=out.name, known=", ".join(editing.WRITTEN))
    outputs.check(out)
    result = None
    for frame in editing.frames(arguments):
        terminal.progress(f"step {frame.step} of {frame.steps}, {frame.seconds_left:.0f} s left")
        result = frame.result
    terminal.progress("")
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
                terminal.tell(notes)
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
                terminal.progress("")
                print(f"{inputs.visible(step.row.file)}: {step.row.refusal.text(lang)}", file=sys.stderr)
            if out is None:
                print(batch.json_lines([step.row], lang), end="", flush=True)
            terminal.progress(*_sentence(step, lang))
    finally:
        terminal.progress("")
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


def _write_rows(out: Path, rows: list[Row], lang: str) -> None:
    """The rows in the format that the file's name asks for."""
    match out.suffix.lower():
        case ".csv":  # spreadsheets read UTF-8 only behind its mark
            out.write_text(batch.table(rows, lang), encoding="utf-8-sig", newline="")
        case ".jsonl":
            out.write_text(batch.json_lines(rows, lang), encoding="utf-8")
        case _:
            out.write_bytes(batch.archive(rows, lang))


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
    spatial.add(verbs)
    drawing.add(verbs)
    video.add(verbs)
    verb = verbs.add_parser("listen", help="rank labels and images for a sound (AudioCLIP, CLAP)")
    verb.add_argument("sound", type=Path, help="a sound file, or a video with sound")
    verb.add_argument("--labels", required=True, help="separated by commas or lines")
    verb.add_argument("--images", type=Path, nargs="*", default=[], help="image files")
    verb.add_argument("--checkpoint", help="a row of `python -m core.checkpoints list`")
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=listen)
    search.add(verbs)
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
