"""`python -m demos.sketch_record`: runs what the CLIPasso and CLIPDraw pages open with and writes what they show.

tests/e2e/test_clipasso.py runs the sketch again and compares: the recorded run is never older than its miniature.
"""

from __future__ import annotations

import json
from typing import Any

from core import checkpoints, inputs
from demos import clipasso_handlers as page
from demos import sketch_draw


def miniature() -> str:
    """The row that pages open with, wherever else they may start."""
    return next(row.name for row in checkpoints.rows("clip") if row.bundled)


def sketch() -> Any:
    """The opening example's run; deterministic on one machine."""
    from core.drawing.clipasso import SketchSettings, Variant, sketch

    wanted = page.CONFIG["recorded"]
    settings = SketchSettings((Variant(wanted["strokes"]),), seeds=1, steps=wanted["steps"], checkpoint=miniature())
    picture = inputs.image(page.examples()[page.CONFIG["opening"]]["path"])
    *_, last = sketch(picture, settings)
    return last.result


def record(result: Any) -> dict[str, Any]:
    """A run as the page shows it on opening."""
    one = result.drawn[0]
    picture = sketch_draw.png_uri(result.start.picture)
    message = sketch_draw.finished("recorded", result.drawn, result.steps, [""], picture=picture)
    labels = page.examples()[page.CONFIG["opening"]]["labels"]
    return {
        "checkpoint": result.checkpoint,
        "steps": result.steps,
        "loss": round(one.loss, 4),
        "labels": {
            lang: sketch_draw.top(page.named(one.features, page.label_list(labels[lang]), result.checkpoint))
            for lang in ("en", "zh")
        },
        "message": json.loads(message),
    }


def main() -> None:
    """Writes the record."""
    page.RECORDED.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record(sketch()), ensure_ascii=False, separators=(",", ":"))
    page.RECORDED.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
