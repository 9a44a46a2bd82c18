"""`python -m demos.clipdraw.record`: runs what the CLIPDraw page opens with and writes what it shows."""

from __future__ import annotations

from typing import Any

from demos.clipdraw import answer
from demos.kit import library, sketch_runs


def drawing() -> Any:
    """The run that the page opens with; the same on every run of one machine."""
    from core.drawing.clipdraw import DrawSettings, draw

    wanted = library.data(answer.PAGE)["recorded"]
    settings = DrawSettings(
        strokes=wanted["strokes"], steps=wanted["steps"], checkpoint=sketch_runs.miniature()
    )
    *_, last = draw(answer.examples()[answer.OPENING]["caption"]["en"], settings)
    return last.result


if __name__ == "__main__":
    names = {lang: answer.prompts(lang) for lang in ("en", "zh")}
    sketch_runs.write(answer.PAGE, sketch_runs.record(drawing(), names, answer.judges))
