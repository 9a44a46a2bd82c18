"""ViLT at full size on random weights: an answer against transformers called directly; the alignment of 40 words and 240 patches.

python -m benchmarks.vilt
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers.models.vilt.configuration_vilt import ViltConfig
from transformers.models.vilt.modeling_vilt import ViltForQuestionAnswering

from core import terminal
from core.vqa.vilt import alignment
from core.vqa.vilt.network import ViltNetwork, image_tokens

WORDS, GRID = 40, (12, 20)


def milliseconds(call: Callable[[], object], times: int) -> float:
    """The fastest of several calls."""
    call()
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return 1000 * best


@torch.inference_mode()
def main() -> None:
    """Prints ours, the library's and the ratio; then the alignment in the settings of training and of pictures."""
    torch.manual_seed(0)
    answers: Any = {"num_labels": 3129}
    whole = ViltForQuestionAnswering(ViltConfig(**answers)).eval()
    network = ViltNetwork(ViltConfig(**{**answers, "num_hidden_layers": 1}), ("answer",))
    network.vilt, network.classifier = whole.vilt, whole.classifier
    pixels, ids = torch.randn(1, 3, 384, 512), torch.randint(1000, 20_000, (1, 12))
    mask = torch.ones_like(ids)
    seen = torch.ones(1, 384, 512)
    ours = milliseconds(
        lambda: network.answers(network.read(ids, mask, image_tokens(network.vilt, pixels)).pooled), 5
    )
    theirs = milliseconds(
        lambda: whole(input_ids=ids, attention_mask=mask, pixel_values=pixels, pixel_mask=seen), 5
    )
    print(
        f"an answer, 384 x 512: ours {ours:.0f} ms, transformers {theirs:.0f} ms, ratio {ours / theirs:.2f}"
    )
    words, patches = torch.randn(1, WORDS, 768), torch.randn(1, GRID[0] * GRID[1], 768)
    words_out = torch.zeros(1, WORDS, dtype=torch.bool)
    patches_out = torch.zeros(1, patches.shape[1], dtype=torch.bool)
    cost = alignment.costs(words, patches, words_out, patches_out)
    for name, beta, rounds in (
        ("training", alignment.TRAINING_BETA, alignment.TRAINING_ROUNDS),
        ("pictures", alignment.SHOWING_BETA, alignment.SHOWING_ROUNDS),
    ):
        ipot = milliseconds(lambda b=beta, r=rounds: alignment.ipot(cost, words_out, patches_out, b, r), 5)  # type: ignore[misc]
        print(f"alignment of {WORDS} x {patches.shape[1]}, {name}, {rounds} rounds: {ipot:.1f} ms")


if __name__ == "__main__":
    sys.exit(terminal.run(main))
