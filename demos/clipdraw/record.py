"""`python -m demos.clipdraw.record`: the recorded run that the CLIPDraw page opens with."""

from __future__ import annotations

import sys
from typing import Any

from demos.clipdraw import answer
from demos.kit import library, records, runs, sketch_runs


def drawing() -> Any:
    """The run that the page opens with; the same on every run of one machine."""
    from core.drawing.clipdraw import DrawSettings, draw

    wanted = library.data(answer.PAGE)["recorded"]
    settings = DrawSettings(strokes=wanted["strokes"], steps=wanted["steps"], checkpoint=runs.miniature())
    *_, last = draw(answer.examples()[answer.OPENING]["caption"]["en"], settings)
    return last.result


def record() -> dict[str, Any]:
    """The run and what the page shows of it."""
    names = {lang: answer.prompts(lang) for lang in ("en", "zh")}
    return sketch_runs.record(drawing(), names, answer.judges)


if __name__ == "__main__":
    sys.exit(records.run(answer.PAGE, record))
