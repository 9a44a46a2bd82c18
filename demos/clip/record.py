"""`python -m demos.clip.record`: answers the question that the page opens with and writes the answer into its file.

A test answers it again and compares, so that the recorded answer is never older than the miniature.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from core import checkpoints, inputs, terminal
from demos.clip import answer as clip
from demos.draw import base as draw
from demos.kit import classifier


def record() -> dict[str, Any]:
    """The opening example's answer in both languages, without its time."""
    answers = {}
    model = classifier.model(next(row.name for row in checkpoints.rows("clip") if row.bundled))
    for lang in ("en", "zh"):
        row = clip.examples()[clip.OPENING]
        answer = model.classify(inputs.image(row["path"]), inputs.labels(row["labels"][lang])).to_json()
        answers[lang] = {"checkpoint": answer["checkpoint"], "results": classifier.rounded(answer)}
    return answers


def main() -> None:
    """Answers the page's opening question and writes the file that the page reads."""
    argparse.ArgumentParser(prog="python -m demos.clip.record", description=main.__doc__).parse_args()
    clip.RECORDED.write_text(draw.to_json(record()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(terminal.run(main))
