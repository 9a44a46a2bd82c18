"""`python -m demos.clipasso.record`: runs what the CLIPasso page opens with and writes what it shows.

A test runs the sketch again and compares: the recorded run is never older than its miniature.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from core import inputs, terminal
from demos.clipasso import answer
from demos.kit import library, runs, sketch_runs


def sketch() -> Any:
    """The run that the page opens with; the same on every run of one machine."""
    from core.drawing.clipasso import SketchSettings, Variant, sketch

    wanted = library.data(answer.PAGE)["recorded"]
    settings = SketchSettings(
        (Variant(wanted["strokes"]),), seeds=1, steps=wanted["steps"], checkpoint=runs.miniature()
    )
    *_, last = sketch(inputs.image(answer.examples()[answer.OPENING]["path"]), settings)
    return last.result


def main() -> None:
    """Draws the page's opening sketch and writes the files that the page reads."""
    argparse.ArgumentParser(prog="python -m demos.clipasso.record", description=main.__doc__).parse_args()
    labels = answer.examples()[answer.OPENING]["labels"]
    names = {lang: sketch_runs.label_list(labels[lang]) for lang in ("en", "zh")}
    sketch_runs.write(answer.PAGE, sketch_runs.record(sketch(), names))


if __name__ == "__main__":
    sys.exit(terminal.run(main))
