"""`python -m demos.clip.record`: the recorded answer to the question that the page opens with."""

from __future__ import annotations

import sys
from typing import Any

from core import checkpoints, inputs
from demos.clip import answer as clip
from demos.clip.words import examples
from demos.kit import classifier, records


def record() -> dict[str, Any]:
    """The opening example's answer in both languages, without its time."""
    row = examples()[clip.OPENING]
    image = inputs.image(row["path"])
    model = classifier.model(next(row.name for row in checkpoints.rows("clip") if row.bundled))
    answers = {lang: model.classify(image, inputs.labels(row["labels"][lang])) for lang in ("en", "zh")}
    return {
        lang: {"checkpoint": model.checkpoint, "results": classifier.rounded(answer.to_json())}
        for lang, answer in answers.items()
    }


if __name__ == "__main__":
    sys.exit(records.run(clip.PAPER, record))
