"""python -m core.classroom sprites | examples | dataset | train PAPER | evaluate PAPER | ablate PAPER"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from core import inputs, outputs, terminal

# What can be trained, and for how long unless told otherwise.
MINUTES = {
    "clip": 130.0,
    "lseg": 40.0,
    "lseg-blocks": 2.5,
    "groupvit": 45.0,
    "vild": 40.0,
    "glip": 35.0,
    "pointclip": 8.0,
    "clip4clip": 40.0,
    "actionclip": 15.0,
    "vilt": 85.0,
    "audioclip": 20.0,
    "clip-vil-supervised": 9.0,
    "clip-vil": 10.0,
    "styleclip": 85.0,
    "styleclip-editor": 60.0,
    "styleclip-generator": 25.0,
}

NAMES = {"clip": "clips", "sound": "sounds"}  # of what a data set has in place of scenes


def keep_memory() -> None:
    """Tell glibc to keep freed blocks: a training step frees and asks for the same large ones again, and on some
    machines getting fresh pages from the system takes longer than the arithmetic."""
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
            for option, value in ((-3, 1 << 30), (-1, (1 << 31) - 1), (-2, 1 << 28)):  # mmap, trim, top pad
                libc.mallopt(option, value)
        except OSError:
            return


def main(arguments: list[str] | None = None) -> int:
    """Parses and runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m core.classroom", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("sprites", help="render the sprite sheets from build-time packages")
    drawing.add_argument(
        "--sources", type=Path, required=True, help="folder with node_modules and the two fonts"
    )
    commands.add_parser("examples", help="draw the example images of the CLIP, GroupViT and Classroom pages")
    exporting = commands.add_parser(
        "dataset", help="write scenes or clips with COCO boxes, masks and captions, or sounds"
    )
    exporting.add_argument(
        "--out", type=Path, required=True, help="a new folder, or an archive ending in .zip"
    )
    exporting.add_argument("--scenes", type=int, default=100)
    exporting.add_argument("--seed", type=int, default=0)
    exporting.add_argument("--size", type=int, default=224, help="pixels of a side")
    exporting.add_argument(
        "--kind", choices=["mixed", "single", "pair", "flock", "group", "clip", "sound"], default="mixed"
    )
    exporting.add_argument("--frames", type=int, default=24, help="of a clip")
    exporting.add_argument(
        "--look",
        choices=["mixed", "colour", "grey", "silhouette", "line", "sketch", "depth"],
        default="mixed",
    )
    exporting.add_argument("--augment", type=float, default=0.5, help="0 plain sprites .. 1 as in training")
    training = commands.add_parser("train", help="train a miniature")
    training.add_argument(
        "paper",
        choices=[*MINUTES, "depthclip", "all"],
        help="all: the whole chain, resumed where it stopped; depthclip, which takes seconds, is no part of it",
    )
    training.add_argument("--model", choices=["classroom-rn", "classroom-vit"], default="classroom-rn")
    training.add_argument(
        "--minutes",
        type=float,
        help="time budget; the curriculum scales with it "
        f"({', '.join(f'{name} {minutes:g}' for name, minutes in MINUTES.items())})",
    )
    training.add_argument(
        "--clip",
        help="the miniature to build on: a row or an export (lseg, vild, glip classroom-rn, groupvit classroom-vit, "
        "lseg-blocks classroom-lseg)",
    )
    training.add_argument(
        "--start",
        default="",
        help="a row or an export that goes on learning (glip, groupvit; styleclip-editor, which then sees more renderings)",
    )
    training.add_argument("--steps", type=int, help="so many steps in place of minutes")
    training.add_argument(
        "--block", choices=["none", "bottleneck", "depthwise"], default="none", help="(lseg)"
    )
    training.add_argument("--depth", type=int, default=0, help="how often the block is applied (lseg)")
    training.add_argument(
        "--post", choices=["meanP", "Conv_1D", "LSTM", "Transf", "Transf_cls"], default="Transf",
        help="what joins the frames (actionclip)",
    )  # fmt: skip
    training.add_argument(
        "--pre", choices=["none", "position", "joint"], default="none", help="time of the frames (actionclip)"
    )
    training.add_argument(
        "--shift", type=int, default=0, help="parts of the temporal shift, 8 as published (actionclip)"
    )
    training.add_argument("--loss", choices=["kl", "ce"], default="kl", help="(actionclip)")
    training.add_argument("--clips", type=int, help="how many clips are drawn (clip4clip, actionclip)")
    training.add_argument(
        "--groups",
        type=int,
        action="append",
        metavar="N",
        help="groups of a block; 64 and 8 by default (groupvit)",
    )
    training.add_argument(
        "--threads", type=int, help="CPU threads; one each is best for two runs side by side"
    )
    training.add_argument(
        "--teacher", type=Path, help="folder of an exported miniature to learn from (classroom-vit)"
    )
    training.add_argument("--device", default="cpu")
    training.add_argument(
        "--workers",
        type=int,
        default=0,
        help="processes that draw scenes beside the training, for a GPU (clip)",
    )
    training.add_argument("--larger", type=int, default=1, help="times as many images in a step, for a GPU")
    training.add_argument("--rate", type=float, help="peak learning rate in place of the recipe's own (clip)")
    training.add_argument(
        "--out", type=Path, help="folder for checkpoints, curve and export; a run there is resumed"
    )
    training.add_argument("--seed", type=int, default=0)
    training.add_argument(
        "--leave-out", action="append", default=[], metavar="STYLE", help="a style not to train on"
    )
    ablating = commands.add_parser("ablate", help="train and measure the rows of a paper's ablation")
    ablating.add_argument(
        "paper",
        choices=[
            "lseg",
            "groupvit",
            "glip",
            "clip4clip",
            "actionclip",
            "actionclip-prompts",
            "audioclip",
            "clip-vil",
            "clip-vil-tuned",
        ],
    )
    ablating.add_argument("--steps", type=int, default=300, help="of each row")
    ablating.add_argument(
        "--out",
        type=Path,
        help="folder that keeps what was trained; rows of clips there go on where they stopped",
    )
    testing = commands.add_parser("evaluate", help="measure a miniature on seeds never trained on")
    testing.add_argument(
        "paper",
        choices=[
            "clip",
            "clipasso",
            "lseg",
            "lseg-blocks",
            "groupvit",
            "vild",
            "glip",
            "pointclip",
            "depthclip",
            "clip4clip",
            "actionclip",
            "vilt",
            "audioclip",
            "clip-vil",
            "styleclip",
        ],
    )
    testing.add_argument(
        "--checkpoint", help="a registry row or a folder with an export; the bundled miniature without it"
    )
    testing.add_argument(
        "--other", default="classroom-vit", help="a miniature that names sketches it did not guide (clipasso)"
    )
    for option, of in (("--seeds", "beginnings"), ("--steps", "steps"), ("--views", "warped views a step")):
        testing.add_argument(
            option, type=int, help=f"{of} of a sketch (clipasso); the guide's own without it"
        )
    testing.add_argument("--sprites", type=Path, help="a folder of <CODEPOINT>.png in another style")
    for measuring in (testing, ablating):
        measuring.add_argument(
            "--record", action="store_true", help="put the rows into assets/report_card.json"
        )
        measuring.add_argument(
            "--json", action="store_true", help="rows of the report card in place of a table"
        )
    return terminal.run(lambda: _run(parser.parse_args(arguments)))


def _run(args: argparse.Namespace) -> None:
    """Runs one command."""
    if args.command == "sprites":
        from core.classroom.world import sprites

        for style, number in sprites.build(args.sources).items():
            print(f"{style}: {number} concepts")
    elif args.command == "examples":
        from core.classroom.world import clip_examples, examples, labelled, sound_examples

        for file in (
            *examples.write(),
            *examples.write_described(),
            *labelled.write(),
            *clip_examples.write(),
            *sound_examples.write(),
        ):
            print(file)
    elif args.command == "dataset":
        _dataset(args)
    elif args.command == "train":
        keep_memory()
        _train(args)
    elif args.command == "ablate":
        from core.classroom.recipes.common import ablations

        keep_memory()
        _told(ablations.ablate(args.paper, args.steps, lambda line: print(line, flush=True), args.out), args)
    else:
        _evaluate(args)


def _dataset(args: argparse.Namespace) -> None:
    from core.classroom.world import dataset

    seed = inputs.seed(args.seed)
    settings = dataset.DatasetSettings(
        args.scenes, seed, args.size, args.kind, args.look, args.augment, args.frames
    )
    look = outputs.check if args.out.suffix == ".zip" else outputs.check_folder
    look(args.out)
    with outputs.writing(args.out):
        for done in dataset.write(args.out, settings):
            print(
                f"\r{done} of {args.scenes} {NAMES.get(args.kind, 'scenes')}",
                end="",
                file=sys.stderr,
                flush=True,
            )
    print(file=sys.stderr)
    print(args.out)


def _train(args: argparse.Namespace) -> None:
    import torch

    from core.classroom.recipes.clip import evaluate
    from core.classroom.recipes.clip.train import Settings, Trainer
    from core.classroom.world import sprites

    if args.threads:
        torch.set_num_threads(args.threads)
    if args.paper == "all":
        from core.classroom.chain import train_all

        train_all(
            args.out or Path("runs"), lambda line: print(line, flush=True), args.device, args.seed, args.steps
        )
        return
    if args.paper == "depthclip":
        from core.classroom.recipes.depthclip import train as depthclip

        chosen: dict[str, Any] = {"steps": args.steps} if args.steps else {}
        bins = depthclip.Settings(
            args.clip or depthclip.CLIP, seed=args.seed, out=args.out or Path("runs") / args.paper, **chosen
        )
        print(f"exported {depthclip.run(bins)}")
        return
    if args.minutes is None:
        args.minutes = MINUTES[args.paper]
    if args.paper != "clip":
        _train_segmenter(args)
        return
    styles = tuple(s for s in sprites.STYLES if s not in args.leave_out) if args.leave_out else ()
    out = args.out or Path("runs") / args.model
    settings = Settings(
        args.model,
        args.minutes,
        args.device,
        out,
        learning_rate=args.rate,
        seed=args.seed,
        styles=styles,
        teacher=args.teacher,
        steps=args.steps,
        workers=args.workers,
        larger=args.larger,
    )
    folder = Trainer(settings).run(lambda line: print(line, flush=True))
    print(f"exported {folder}", flush=True)
    print(evaluate.table(evaluate.evaluate(str(folder), quick=True)))


def _train_segmenter(args: argparse.Namespace) -> None:
    from core.classroom.recipes.actionclip import train as actionclip
    from core.classroom.recipes.audioclip import train as audioclip
    from core.classroom.recipes.clip4clip import train as clip4clip
    from core.classroom.recipes.clip_vil import encoders as clip_vil_encoders
    from core.classroom.recipes.clip_vil import train as clip_vil
    from core.classroom.recipes.common.running import Run
    from core.classroom.recipes.glip import train as glip
    from core.classroom.recipes.groupvit import train as groupvit
    from core.classroom.recipes.lseg import blocks as lseg_blocks
    from core.classroom.recipes.lseg import train as lseg
    from core.classroom.recipes.pointclip import train as pointclip
    from core.classroom.recipes.styleclip import editor as styleclip_editor
    from core.classroom.recipes.styleclip import generator as styleclip_generator
    from core.classroom.recipes.styleclip import train as styleclip
    from core.classroom.recipes.vild import train as vild
    from core.classroom.recipes.vilt import train as vilt

    out = args.out or Path("runs") / args.paper
    common: dict[str, Any] = {"minutes": args.minutes, "out": out, "seed": args.seed, "steps": args.steps}
    on_gpu: dict[str, Any] = {"device": args.device, "larger": args.larger}
    run: Run | styleclip.Trainer
    if args.paper == "lseg":
        run = lseg.Trainer(
            lseg.Settings(clip=args.clip or lseg.CLIP, block=args.block, depth=args.depth, **common, **on_gpu)
        )
    elif args.paper == "lseg-blocks":
        run = lseg_blocks.Fit(lseg_blocks.Settings(args.clip or "classroom-lseg", **common))
    elif args.paper == "vild":
        run = vild.Trainer(vild.Settings(clip=args.clip or vild.CLIP, **common, **on_gpu))
    elif args.paper == "pointclip":
        run = pointclip.Trainer(pointclip.Settings(device=args.device, **common))
    elif args.paper == "clip4clip":
        count = args.clips or clip4clip.CLIPS
        clip = args.clip or clip4clip.CLIP
        run = clip4clip.Trainer(clip4clip.Settings(clip=clip, clips=count, device=args.device, **common))
    elif args.paper == "actionclip":
        chosen: dict[str, Any] = {"post": args.post, "pre": args.pre, "shift": args.shift, "loss": args.loss}
        base = actionclip.Settings(
            clips=args.clips or actionclip.CLIPS, device=args.device, **common, **chosen
        )
        run = actionclip.Trainer(actionclip.variant(base, **({"clip": args.clip} if args.clip else {})))
    elif args.paper == "vilt":
        run = vilt.Trainer(vilt.Settings(clip=args.clip or vilt.CLIP, device=args.device, **common))
    elif args.paper == "audioclip":
        clip = args.clip or audioclip.CLIP
        run = audioclip.Trainer(audioclip.Settings(clip=clip, device=args.device, **common))
    elif args.paper == "clip-vil-supervised":
        run = clip_vil_encoders.Trainer(clip_vil_encoders.Settings(**common))
    elif args.paper == "clip-vil":
        run = clip_vil.Trainer(clip_vil.Settings(**common))
    elif args.paper == "styleclip":
        clip = args.clip or styleclip_editor.CLIP
        run = styleclip.Trainer(styleclip.Settings(clip=clip, device=args.device, **common))
    elif args.paper == "styleclip-editor":
        clip = args.clip or styleclip_editor.CLIP
        run = styleclip_editor.Trainer(
            styleclip_editor.Settings(clip=clip, start=args.start, device=args.device, **common)
        )
    elif args.paper == "styleclip-generator":
        run = styleclip_generator.Trainer(styleclip_generator.Settings(device=args.device, **common))
    elif args.paper == "glip":
        run = glip.Trainer(glip.Settings(clip=args.clip or glip.CLIP, start=args.start, **common, **on_gpu))
    else:
        groups = tuple(args.groups or (64, 8))
        run = groupvit.Trainer(
            groupvit.Settings(
                clip=args.clip or groupvit.CLIP, start=args.start, groups=groups, **common, **on_gpu
            )
        )
    print(f"exported {run.run(lambda line: print(line, flush=True))}", flush=True)


def _evaluate(args: argparse.Namespace) -> None:
    from core.classroom import report
    from core.classroom.recipes.clip import evaluate

    if args.paper in (
        "lseg",
        "lseg-blocks",
        "groupvit",
        "vild",
        "glip",
        "clip4clip",
        "actionclip",
        "vilt",
        "audioclip",
        "clip-vil",
        "styleclip",
    ):
        paper, _, part = args.paper.replace("clip-vil", "clip_vil").partition("-")
        examiner = import_module(f"core.classroom.recipes.{paper}.evaluate{'_' * bool(part)}{part}")
        rows = examiner.evaluate(
            args.checkpoint or f"classroom-{args.paper.removesuffix('-blocks')}",
            say=lambda line: print(line, file=sys.stderr),
        )
        _told(rows, args)
        return
    args.checkpoint = args.checkpoint or "classroom-rn"

    if args.paper in ("pointclip", "depthclip"):
        examiner = import_module(f"core.classroom.recipes.{args.paper}.evaluate")
        _told(examiner.evaluate(args.checkpoint, say=lambda line: print(line, file=sys.stderr)), args)
        return
    if args.paper == "clipasso":
        from core.classroom.recipes.clipasso import evaluate as evaluate_sketch

        chosen = {name: getattr(args, name) for name in ("seeds", "steps", "views")}
        rows = evaluate_sketch.evaluate(
            args.checkpoint,
            args.other,
            lambda line: print(line, file=sys.stderr, flush=True),
            chosen={name: value for name, value in chosen.items() if value is not None},
        )
        _told(rows, args)
        return
    if args.sprites is not None:
        result = evaluate.style(args.checkpoint, args.sprites)
        if args.record:
            report.record(result.rows(args.checkpoint))
        print(json.dumps(result.row()) if args.json else result.line())
        return
    _told(evaluate.evaluate(args.checkpoint), args)


def _told(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """Prints measured rows, and records them where that is wanted."""
    from core.classroom import report
    from core.classroom.recipes.clip import evaluate

    if args.record:
        report.record(rows)
    print(json.dumps(rows, ensure_ascii=False, indent=1) if args.json else evaluate.table(rows))


if __name__ == "__main__":
    sys.exit(main())
