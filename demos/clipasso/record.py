"""`python -m demos.clipasso.record`: runs what the CLIPasso and CLIPDraw pages open with and writes what they show.

tests/demos/clipasso/test_page.py runs the sketch again and compares: the recorded run is never older than its miniature.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from core import checkpoints, inputs
from demos.clipasso import answer as clipasso
from demos.clipdraw import page as clipdraw
from demos.draw import base as draw
from demos.draw import strokes as sketch_draw
from demos.kit import sketch_runs as runs


def miniature() -> str:
    """The row that pages open with, wherever else they may start."""
    return next(row.name for row in checkpoints.rows("clip") if row.bundled)


def sketch() -> Any:
    """The run that the CLIPasso page opens with; the same on every run of one machine."""
    from core.drawing.clipasso import SketchSettings, Variant, sketch

    wanted = clipasso.CONFIG["recorded"]
    settings = SketchSettings(
        (Variant(wanted["strokes"]),), seeds=1, steps=wanted["steps"], checkpoint=miniature()
    )
    picture = inputs.image(clipasso.examples()[clipasso.CONFIG["opening"]]["path"])
    *_, last = sketch(picture, settings)
    return last.result


def drawing() -> Any:
    """The run that the CLIPDraw page opens with."""
    from core.drawing.clipdraw import DrawSettings, draw

    wanted = clipdraw.CONFIG["recorded"]
    settings = DrawSettings(strokes=wanted["strokes"], steps=wanted["steps"], checkpoint=miniature())
    *_, last = draw(clipdraw.CONFIG["prompts"]["en"][0], settings)
    return last.result


def record(result: Any, labels: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A run as a page shows it on opening.

    Args:
        labels: of the drawing, by language.
    """
    one = result.drawn[0]
    picture = draw.data_uri(Image.fromarray(result.start.picture)) if hasattr(result, "start") else ""
    message = sketch_draw.finished("recorded", result.drawn, result.steps, [""], picture=picture)
    return {
        "checkpoint": result.checkpoint,
        "steps": result.steps,
        "loss": round(one.loss, 4),
        "labels": {
            lang: sketch_draw.top(runs.named(one.features, names, result.checkpoint))
            for lang, names in labels.items()
        },
        "message": json.loads(message),
    }


def main() -> None:
    """Writes both records."""
    own = clipasso.examples()[clipasso.CONFIG["opening"]]["labels"]
    labels = {lang: runs.label_list(own[lang]) for lang in ("en", "zh")}
    for path, record_ in (
        (clipasso.RECORDED, lambda: record(sketch(), labels)),
        (clipdraw.RECORDED, lambda: record(drawing(), clipdraw.CONFIG["prompts"])),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record_(), ensure_ascii=False, separators=(",", ":"))
        path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
