"""Muon (Jordan et al. 2024): momentum whose matrix is made orthogonal before it is applied.

A step then moves all directions of a weight matrix equally far, rare ones too. On a CPU the few small matrix products
cost little beside a forward and backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# The quintic of Jordan et al.: steep at zero, so that small singular values arrive near one within five rounds.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


def orthogonal(matrices: Tensor) -> Tensor:
    """[..., M, N] -> the same with the singular values of each pushed to about one (Newton-Schulz), in bfloat16."""
    a, b, c = _QUINTIC
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Muon for weights of two or more dimensions; convolutions count as [out, in * kh * kw].

    A step has about the size that AdamW's would have at the same rate (0.2 * sqrt(max(M, N)), Liu et al. 2025), so
    both optimizers share one schedule. Weight decay is decoupled.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update; a parameter without a gradient stays. Matrices of one shape are made orthogonal together."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(momentum, group["momentum"]).reshape(len(p), -1)  # Nesterov
                alike.setdefault((ahead.shape[0], ahead.shape[1]), []).append((p, ahead))
            for shape, members in alike.items():
                rate = group["lr"]
                updates = orthogonal(torch.stack([ahead for _, ahead in members]))
                for (p, _), update in zip(members, updates, strict=True):
                    p.mul_(1 - rate * group["weight_decay"])
                    p.add_(update.reshape(p.shape), alpha=-rate * 0.2 * max(shape) ** 0.5)


class Joined(torch.optim.Optimizer):
    """Several optimizers of different parameters as one, with one schedule."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        self.defaults = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {str(at): part.state_dict() for at, part in enumerate(self.parts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for at, part in enumerate(self.parts):
            part.load_state_dict(state_dict[str(at)])
