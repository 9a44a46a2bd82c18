"""`python -m demos.chinese_clip.record`: answers what the page opens with and writes the answers into its file.

A test answers it again and compares, so that the recorded answers are never older than the miniature.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from core import checkpoints, inputs, terminal
from demos.chinese_clip import answer
from demos.draw import base as draw
from demos.kit import classifier


def record() -> dict[str, Any]:
    """The opening example's answer and the three sheep, with four digits: the rest differs between processors."""
    name = next(row.name for row in checkpoints.rows("clip") if row.bundled)
    row = answer.examples()[answer.OPENING]
    result = (
        answer.model(name).classify(inputs.image(row["path"]), inputs.labels(row["labels"]["zh"])).to_json()
    )
    sheep = {pose: [round(value, 4) for value in row] for pose, row in answer.sheep_answers(name).items()}
    return {"checkpoint": name, "results": classifier.rounded(result), "sheep": sheep}


def write() -> None:
    """Writes the file that the page reads."""
    answer.RECORDED.write_text(draw.to_json(record()) + "\n", encoding="utf-8")


def main() -> None:
    """Answers the page's opening question and writes the file that the page reads."""
    argparse.ArgumentParser(prog="python -m demos.chinese_clip.record", description=main.__doc__).parse_args()
    write()


if __name__ == "__main__":
    sys.exit(terminal.run(main))
