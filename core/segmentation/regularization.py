"""LSeg's regularization blocks beside each other on one frozen network (Li et al. 2022, section 3.3 and table 6).

A decoder of the paper is trained together with its block. Here none / 1 / 2 / 4 applications share one decoder that knows
nothing of blocks, and of each block its ten numbers alone were fitted (`core.classroom.recipes.lseg.blocks`): so what
differs between two answers is the block and nothing else, and all of them come from one encoding of the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from core import checkpoints
from core.errors import Refusal
from core.segmentation.blocks import Kind, RegularizationBlock
from core.segmentation.dpt import double
from core.segmentation.result import Segmentation, winners

KINDS: tuple[Kind, ...] = ("bottleneck", "depthwise")
DEPTHS = (1, 2, 4)  # applications
FILE, WEIGHTS = "blocks.safetensors", "model.safetensors"  # of a row that has fitted blocks
SIDE = 640  # pixels of the long side of a compared mask

MEAN = "mean"

Key = tuple[str, int]  # kind, depth
Blocks = Mapping[Key, RegularizationBlock]


def title(kind: str, depth: int) -> str:
    """ "none", "bottleneck x 2": as the report card names a row."""
    return kind if kind == "none" else f"{kind} x {depth}"


def identity(kind: Kind, depth: int) -> RegularizationBlock:
    """A block that changes no winner: the middle of its window is 1, all else 0.

    A random start turns the maps upside down as often as not, and applied twice it does not learn.
    """
    block = RegularizationBlock(kind, depth)
    conv = block.depthwise.depthwise
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[..., 1, 1] = 1
        conv.bias.zero_()  # type: ignore[union-attr]
    return block


def mean(depth: int) -> RegularizationBlock:
    """A depthwise block that takes the plain mean of its window."""
    block = RegularizationBlock("depthwise", depth)
    conv = block.depthwise.depthwise
    conv.weight.data.fill_(1 / conv.weight.numel())
    conv.bias.data.zero_()  # type: ignore[union-attr]
    return block.eval().requires_grad_(False)


def compared(blocks: Blocks) -> Blocks:
    """Fitted blocks and the means beside them, by kind and depth."""
    return {**blocks, **{(MEAN, depth): mean(depth) for depth in DEPTHS}}


def save(path: Path, blocks: Blocks, fitted_on: str, minutes: float) -> None:
    """Writes blocks into one file.

    Args:
        path: a safetensors file.
        blocks: by kind and depth.
        fitted_on: sha256 of the decoder that they belong to.
        minutes: that the fit took.
    """
    state = {
        f"{kind}{depth}.{name}": value.detach().cpu().contiguous()
        for (kind, depth), block in blocks.items()
        for name, value in block.state_dict().items()
    }
    save_file(state, path, {"fitted_on": fitted_on, "minutes": f"{minutes:.1f}"})


def read(path: Path) -> tuple[dict[Key, RegularizationBlock], dict[str, str]]:
    """Blocks by kind and depth, frozen, and what `save` noted of them."""
    blocks: dict[Key, RegularizationBlock] = {}
    with safe_open(path, "pt") as file:
        for kind in KINDS:
            for depth in DEPTHS:
                block = RegularizationBlock(kind, depth)
                names = list(block.state_dict())
                block.load_state_dict({name: file.get_tensor(f"{kind}{depth}.{name}") for name in names})
                blocks[kind, depth] = block.eval().requires_grad_(False)
        return blocks, file.metadata()


@lru_cache(maxsize=2)
def _read(path: Path, digest: str) -> tuple[Blocks, dict[str, str]]:
    return read(path)


def fitted(checkpoint: str) -> Blocks:
    """The blocks that belong to a row's decoder.

    Raises:
        Refusal: "no_blocks" where the row has none, "stale_blocks" where they were fitted to other weights.
    """
    digests = {file.path: file.sha256 or "" for file in checkpoints.row(checkpoint).files}
    if FILE not in digests:
        known = [row.name for row in checkpoints.rows("lseg") if any(f.path == FILE for f in row.files)]
        raise Refusal("no_blocks", checkpoint=checkpoint, known=", ".join(known))
    blocks, note = _read(checkpoints.open(checkpoint, download=False)[FILE], digests[FILE])
    if note["fitted_on"] != digests[WEIGHTS]:
        raise Refusal("stale_blocks", checkpoint=checkpoint)
    return blocks


@dataclass(frozen=True)
class Regularized:
    """One answer of the frozen network: with no block, or with one applied `depth` times."""

    kind: str  # "none", one of KINDS, or MEAN
    depth: int
    mask: np.ndarray  # [H, W] uint16, the index of each pixel's label; at most SIDE on the long side
    changed: np.ndarray  # [H, W] bool, where the label is another than without a block
    window: np.ndarray | None  # [3, 3] weights of a place and its neighbours, where there is a block

    @property
    def name(self) -> str:
        """As the report card has it."""
        return title(self.kind, self.depth)

    @property
    def share(self) -> float:
        """Of the pixels that changed their label."""
        return float(self.changed.mean())

    def shares(self, labels: int) -> list[float]:
        """Of that many labels: the share of the image that each won."""
        return (np.bincount(self.mask.ravel(), minlength=labels) / self.mask.size).tolist()


def compare(result: Segmentation) -> list[Regularized]:
    """None, every fitted block of the result's checkpoint, and means, on the label maps that the result already has.

    Raises:
        Refusal: what `fitted` refuses.
    """
    blocks = fitted(result.checkpoint)
    scale = min(1.0, SIDE / max(result.size))
    width, height = (max(1, round(side * scale)) for side in result.size)
    before = torch.from_numpy(result.before_blocks)[None]  # [1, N, h, w]

    with torch.inference_mode():
        plain = _mask(before, height, width)
        found = [Regularized("none", 0, plain, np.zeros(plain.shape, bool), None)]
        for (kind, depth), block in compared(blocks).items():
            mask = _mask(block(before), height, width)
            conv = block.depthwise.depthwise
            found.append(Regularized(kind, depth, mask, mask != plain, conv.weight[0, 0].numpy()))
    return found


def _mask(maps: Tensor, height: int, width: int) -> np.ndarray:
    return winners(double(maps)[0], height, width).numpy().astype(np.uint16)
