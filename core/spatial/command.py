"""`python -m core points` and `python -m core depth`: PointCLIP and DepthCLIP from the shell."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from core import checkpoints, inputs, outputs, terminal
from core.errors import Refusal, terminal_language

if TYPE_CHECKING:
    pass

# What a depth map can be written as: millimetres in 16 bits, or metres.
DEPTHS = (".png", ".npy")


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds both verbs to the command line."""
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
    terminal.tell(result.notes)


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
    terminal.tell(result.notes)
