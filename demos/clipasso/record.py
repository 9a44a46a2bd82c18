"""`python -m demos.clipasso.record`: the recorded run that the CLIPasso page opens with."""

from __future__ import annotations

import sys
from typing import Any

from core import inputs
from demos.clipasso import answer
from demos.kit import library, records, runs, sketch_runs


def sketch() -> Any:
    """The run that the page opens with; the same on every run of one machine."""
    from core.drawing.clipasso import SketchSettings, Variant, sketch

    wanted = library.data(answer.PAGE)["recorded"]
    settings = SketchSettings(
        (Variant(wanted["strokes"]),), seeds=1, steps=wanted["steps"], checkpoint=runs.miniature()
    )
    *_, last = sketch(inputs.image(answer.examples()[answer.OPENING]["path"]), settings)
    return last.result


def record() -> dict[str, Any]:
    """The run and what the page shows of it."""
    labels = answer.examples()[answer.OPENING]["labels"]
    names = {lang: sketch_runs.label_list(labels[lang]) for lang in ("en", "zh")}
    return sketch_runs.record(sketch(), names)


if __name__ == "__main__":
    sys.exit(records.run(answer.PAGE, record))
