"""A small PointNet (Qi et al. 2017, https://arxiv.org/abs/1612.00593): the supervised network of PointCLIP's ensemble.

The same small network looks at every point by itself; the maximum over points is a feature that no order of the points
changes. PointCLIP (section 3.4) adds the logits of such a network, trained on labelled clouds, to its own. The input
transforms of the paper are left out: clouds come upright here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from core import checkpoints, runtime
from core.checkpoints import Checkpoint
from core.clip.encoders import in_precision, put_state
from core.clip.handles import Handle

WIDTHS = (32, 64, 192)
POINTS_AT_ONCE = 1 << 19


class PointNet(nn.Module):
    """Points [B, P, 3] -> logits [B, N]."""

    def __init__(self, classes: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for into, out in zip((3, *widths[:-1]), widths, strict=True):
            layers += [nn.Conv1d(into, out, 1), nn.BatchNorm1d(out), nn.ReLU()]
        self.each = nn.Sequential(*layers)
        self.all = nn.Sequential(
            nn.Linear(widths[-1], widths[-2]), nn.BatchNorm1d(widths[-2]), nn.ReLU(), nn.Dropout(0.3)
        )
        self.head = nn.Linear(widths[-2], classes)

    def forward(self, points: Tensor) -> Tensor:
        features = self.each(points.transpose(1, 2))  # [B, D, P]
        return self.head(self.all(features.amax(-1)))


class LoadedPointNet:
    """The network of a row with the names of its classes."""

    def __init__(self, row: Checkpoint, net: PointNet, device: str, dtype: torch.dtype) -> None:
        self.row, self.device, self.dtype = row, device, dtype
        self.net = net.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.classes: tuple[str, ...] = tuple(row.options["classes"])

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.net)


def load(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedPointNet:
    """A PointNet from the files of a row, whose options name its classes."""
    weights = next(path for name, path in paths.items() if name.endswith(".safetensors"))
    with torch.device("meta"):
        net = PointNet(len(row.options["classes"]))
    put_state(net, in_precision(checkpoints.load_state_dict(weights), dtype), row)
    return LoadedPointNet(row, net, device, dtype)


class SupervisedClassifier(Handle[LoadedPointNet]):
    """A PointNet row. It knows the classes that it was trained on, and no other word."""

    LOADERS = frozenset(("core.spatial.pointnet:load",))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, in English."""
        return tuple(checkpoints.row(self.checkpoint).options["classes"])

    def logits(self, points: np.ndarray) -> np.ndarray:
        """Clouds [B, P, 3] of unit radius -> logits [B, N] over `classes`."""
        with self.use() as loaded, torch.inference_mode():
            clouds = torch.from_numpy(points).to(loaded.device, loaded.dtype)
            at_once = max(1, POINTS_AT_ONCE // points.shape[1])
            return torch.cat([loaded.net(part) for part in clouds.split(at_once)]).float().cpu().numpy()


def ensemble(logits: np.ndarray, others: np.ndarray, weight: float = 0.5) -> np.ndarray:
    """Probabilities of two classifiers [B, N] mixed in the logarithm, as a sum of logits is (PointCLIP, section 3.4).

    Each one's logits are first made logarithms of probabilities, so that neither scale decides.

    Args:
        weight: of the others, 0 to 1.
    """

    def log_softmax(values: np.ndarray) -> np.ndarray:
        shifted = values - values.max(-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

    mixed = (1 - weight) * log_softmax(logits) + weight * log_softmax(others)
    return np.exp(log_softmax(mixed))
