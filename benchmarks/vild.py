"""Time of ViLD's single pass over 300 proposals, compared with CLIP on the crops of the same proposals.

    python -m benchmarks.vild [--proposals 300] [--repeats 5] [--checkpoint classroom-vild]

The paper's point (Gu et al. 2022, section 3.2): classifying crops is accurate and slow. Both run in one process on the same
threads and the same image, and nothing is remembered between repeats. The crops are taken at 1x and 1.5x, as in the paper,
and encoded by the image tower that is the backbone of the single pass. The goal is a ratio of ten.

    single pass   image -> proposals -> region embeddings of all heads, and scores of the labels
    crops         the same, and CLIP on both crops of each proposal
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from core import runtime, terminal
from core.classroom.world.concepts import concepts
from core.detection import ViLD, vild

SCENE = Path(__file__).resolve().parents[1] / "assets" / "examples" / "vild" / "toy_shelf.webp"
BAR = 10.0
LABELS = 20


def timed(work: Callable[[], object], repeats: int) -> float:
    """Median seconds, after one run that is not counted."""
    spent = []
    for _ in range(repeats + 1):
        vild.ENCODED_IMAGES.clear()
        vild.CROPS.clear()
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:])


def main() -> int:
    """Times both and prints their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--proposals", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--checkpoint", default="classroom-vild")
    arguments = parser.parse_args()
    model = ViLD.load(arguments.checkpoint)
    image = Image.open(SCENE).convert("RGB")
    labels = [c.name("en") for c in concepts()[:LABELS]]
    count = arguments.proposals
    looked_at = len(model.detect(image, labels, "ensemble", proposals=count).proposals)

    single = timed(lambda: model.detect(image, labels, "ensemble", proposals=count), arguments.repeats)
    crops = timed(
        lambda: model.detect(image, labels, "crops", proposals=count), max(1, arguments.repeats // 2)
    )
    print(f"{arguments.checkpoint}, {runtime.system_line(model.device)}")
    print(f"{looked_at} proposals, {LABELS} labels that are known already, medians")
    print(f"  single pass          {1000 * single:8.1f} ms")
    print(f"  CLIP on every crop   {1000 * crops:8.1f} ms")
    print(f"  ratio                {crops / single:8.1f}x   (bar: {BAR:.0f}x)")
    return 0 if crops / single >= BAR else 1


if __name__ == "__main__":
    sys.exit(terminal.run(main))
