"""`python -m demos.clip.record`: answers the question that the page opens with and writes the answer into its file.

A test answers it again and compares, so that the recorded answer is never older than the miniature.
"""

from __future__ import annotations

from typing import Any

from core import checkpoints, inputs
from demos.clip import answer as clip
from demos.draw import base as draw


def record() -> dict[str, Any]:
    """The opening example's answer in both languages, without its time."""
    found = {}
    for lang in ("en", "zh"):
        path, labels, *_ = clip.fill(clip.OPENING, lang)
        model = clip.model(next(row.name for row in checkpoints.rows("clip") if row.bundled))
        answer = model.classify(inputs.image(path), inputs.labels(labels)).to_json()
        # Four digits: the rest differs between processors.
        results = [
            {**row, "probability": round(row["probability"], 4), "cosine": round(row["cosine"], 4)}
            for row in answer["results"]
        ]
        found[lang] = {"checkpoint": answer["checkpoint"], "results": results}
    return found


if __name__ == "__main__":
    clip.RECORDED.write_text(draw.to_json(record()) + "\n", encoding="utf-8")
