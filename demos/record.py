"""`python -m demos.record`: runs the example that the CLIP page opens with and writes the answer that it shows.

tests/e2e/test_clip.py runs it again and compares: a recorded answer is never older than the miniature it came from.
"""

from __future__ import annotations

from typing import Any

from core import checkpoints, inputs
from demos import clip, draw

EXAMPLE = "red_envelope"


def record() -> dict[str, Any]:
    """The opening example's answer in both languages, without its time."""
    found = {}
    for lang in ("en", "zh"):
        path, labels = clip.choose_example(EXAMPLE, lang)
        model = clip.model(next(row.name for row in checkpoints.rows("clip") if row.bundled))
        answer = model.classify(inputs.image(path), inputs.labels(labels)).to_json()
        found[lang] = {"checkpoint": answer["checkpoint"], "results": answer["results"]}
    return found


if __name__ == "__main__":
    clip.RECORDED.write_text(draw.to_json(record()) + "\n", encoding="utf-8")
