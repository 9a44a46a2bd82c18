"""`python -m demos.clipdraw.record`: runs what the CLIPDraw page opens with and writes what it shows."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from core import terminal
from demos.clipdraw import answer
from demos.kit import library, runs, sketch_runs


def drawing() -> Any:
    """The run that the page opens with; the same on every run of one machine."""
    from core.drawing.clipdraw import DrawSettings, draw

    wanted = library.data(answer.PAGE)["recorded"]
    settings = DrawSettings(strokes=wanted["strokes"], steps=wanted["steps"], checkpoint=runs.miniature())
    *_, last = draw(answer.examples()[answer.OPENING]["caption"]["en"], settings)
    return last.result


def main() -> None:
    """Draws the page's opening sketch and writes the files that the page reads."""
    argparse.ArgumentParser(prog="python -m demos.clipdraw.record", description=main.__doc__).parse_args()
    names = {lang: answer.prompts(lang) for lang in ("en", "zh")}
    sketch_runs.write(answer.PAGE, sketch_runs.record(drawing(), names, answer.judges))


if __name__ == "__main__":
    sys.exit(terminal.run(main))
