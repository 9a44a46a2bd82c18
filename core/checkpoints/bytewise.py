"""Matrices of a miniature in one byte a number: int8 with a scale for each row.

    matrix [N, ...] float  ->  NAME int8 [N, ...],  NAME.scale float16 [N]

The rows of a tensor [1, N, ...] are those of its second dimension.

Vectors and scalars stay in half precision: they are few; whole numbers stay what they are. A scale is the row's greatest
value over 127, so a number is off by at most half of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SCALE = ".scale"
STEPS = 127


def packed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as they are stored."""
    import torch

    stored: dict[str, Tensor] = {}
    for name, tensor in state.items():
        plain = tensor.detach().cpu()
        if plain.ndim < 2 or not plain.is_floating_point():
            stored[name] = (plain.half() if plain.is_floating_point() else plain).contiguous().clone()
            continue
        plain = plain.float()
        rows = plain.flatten(2)[0] if plain.ndim > 2 and len(plain) == 1 else plain.flatten(1)
        scale = (rows.abs().amax(1) / STEPS).clamp(min=1e-7).half()
        levels = (rows / scale.float()[:, None]).round().clamp(-STEPS, STEPS)
        stored[name] = levels.to(torch.int8).view(plain.shape).contiguous()
        stored[name + SCALE] = scale
    return stored


def unpacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stored tensors as floats; those without a scale as they are."""
    import torch

    pairs = {name for name, tensor in stored.items() if tensor.dtype == torch.int8 and name + SCALE in stored}
    scales = {name + SCALE for name in pairs}
    state = {name: tensor for name, tensor in stored.items() if name not in scales}
    for name in pairs:
        tensor, scale = stored[name], stored[name + SCALE]
        first = 0 if len(tensor) == len(scale) else 1  # the dimension of the rows
        state[name] = tensor.float() * scale.float().view(-1, *[1] * (tensor.ndim - 1 - first))
    return state
