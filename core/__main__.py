"""Every verb of the papers on the command line: `python -m core classify IMAGE --labels "a dog, a cat"`."""

from __future__ import annotations

import argparse
import json
import sys

from core import checkpoints, inputs
from core.errors import Refusal


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
        print(f"{result.probabilities[i]:7.1%}  cosine {result.cosines[i]:+.3f}  {result.labels[i]}")


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m core`."""
    main = argparse.ArgumentParser(prog="python -m core", description=__doc__)
    verbs = main.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("classify", help="rank labels for a picture (CLIP)")
    verb.add_argument("image", help="a picture file")
    verb.add_argument("--labels", required=True, help="labels, separated by commas or lines")
    verb.add_argument("--template", help="a template set's name, or a sentence with {} for the label")
    verb.add_argument("--checkpoint", help="a row of `python -m core.checkpoints list`")
    verb.add_argument("--logit-scale", type=float, help="inverse temperature in place of the learned one")
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=classify)
    return main


def main() -> int:
    """Runs one verb; a refusal is one sentence on standard error and exit status 1."""
    arguments = parser().parse_args()
    try:
        arguments.run(arguments)
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
