"""Spatial regularization blocks: what LSeg does to its label maps before they are enlarged (section 3.3).

One 3x3 convolution with a single input and a single output channel is shared by all labels, so a block has ten numbers,
takes any set of labels, and permuting the labels permutes its answer. A bottleneck block also adds the best score of each
place, which is the same for every label. The same block is applied 1, 2 or 4 times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

Kind = Literal["none", "bottleneck", "depthwise"]
Activation = Literal["relu", "lrelu", "tanh"]
SLOPE = 0.01  # of the leaky ReLU
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "lrelu": lambda: nn.LeakyReLU(SLOPE),
    "tanh": nn.Tanh,
}


class SharedConv(nn.Module):
    """One 3x3 convolution for every label map."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, h, w] -> the same shape."""
        return self.depthwise(x.flatten(0, 1)[:, None]).view_as(x)


class RegularizationBlock(nn.Module):
    """A bottleneck or depthwise block, applied `depth` times with the same ten weights.

    Args:
        kind: "bottleneck" adds the maximum over labels, "depthwise" does not.
        depth: how often; 0 counts as 1, as in the released code.
        activation: between two applications; the released checkpoints have the leaky ReLU.
    """

    def __init__(self, kind: Kind, depth: int, activation: Activation = "lrelu") -> None:
        super().__init__()
        self.kind, self.depth = kind, max(depth, 1)
        self.depthwise = SharedConv()
        self.activation = ACTIVATIONS[activation]()

    def once(self, logits: Tensor, activate: bool) -> Tensor:
        """One application: [B, N, h, w] -> the same shape."""
        y = self.depthwise(logits)
        if self.kind == "bottleneck":
            y = y + logits.amax(dim=1, keepdim=True)
        return self.activation(y) if activate else y

    def forward(self, logits: Tensor) -> Tensor:
        """Label maps [B, N, h, w] -> the same shape; no activation after the last application."""
        for _ in range(self.depth - 1):
            logits = self.once(logits, activate=True)
        return self.once(logits, activate=False)
