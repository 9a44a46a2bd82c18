"""`python -m demos.chinese_clip.record`: the recorded answers to what the page opens with."""

from __future__ import annotations

import sys
from typing import Any

from core import checkpoints, inputs
from demos.chinese_clip import answer
from demos.kit import classifier, records


def record() -> dict[str, Any]:
    """The opening example's answer and the three sheep, with four digits: the rest differs between processors."""
    name = next(row.name for row in checkpoints.rows("clip") if row.bundled)
    row = answer.examples()[answer.OPENING]
    result = (
        answer.model(name).classify(inputs.image(row["path"]), inputs.labels(row["labels"]["zh"])).to_json()
    )
    sheep = {pose: [round(value, 4) for value in row] for pose, row in answer.sheep_answers(name).items()}
    return {"checkpoint": name, "results": classifier.rounded(result), "sheep": sheep}


if __name__ == "__main__":
    sys.exit(records.run("chinese_clip", record))
