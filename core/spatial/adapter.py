"""PointCLIP's inter-view adapter: a small network over the features of all views, trained on a few clouds of each class.

Zhang et al. 2022, section 3.3 (equations 5 and 6). A global feature of all views is spread over the views again, and what
comes of it is mixed with the views' own features. CLIP itself stays frozen. Names of tensors are the released ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.runtime import Cancel


@dataclass(frozen=True)
class AdapterSettings:
    """The adapter and its training; the defaults are those of the published code."""

    ratio: float = 0.6  # of what was adapted in the mixture with the views' own features
    fusion: float = 0.5  # weight of each view at the start
    dropout: float = 0.075
    smoothing: float = 0.2  # of the labels
    epochs: int = 250
    batch: int = 32
    rate: float = 0.01
    momentum: float = 0.9
    decay: float = 5e-4
    seed: int = 0


class ViewNorm(nn.Module):
    """Batch normalisation of each channel over clouds and views."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """[B, V, D] -> [B, V, D]."""
        return self.bn(features.flatten(0, 1)).unflatten(0, features.shape[:2])


class InterViewAdapter(nn.Module):
    """Features of V views [B, V, D] -> adapted features of a cloud [B, V D], not normalised."""

    def __init__(self, views: int, channels: int, settings: AdapterSettings | None = None) -> None:
        super().__init__()
        s = settings or AdapterSettings()
        self.ratio = s.ratio
        self.fusion_ratio = nn.Parameter(torch.full((views,), s.fusion))
        self.global_f = nn.Sequential(
            ViewNorm(channels),
            nn.Dropout(s.dropout),
            nn.Flatten(),
            nn.Linear(channels * views, channels),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Dropout(s.dropout),
        )
        self.view_f = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels * views), nn.ReLU()
        )

    def global_feature(self, features: Tensor) -> Tensor:
        """One feature of all views: [B, V, D] -> [B, D] (equation 5)."""
        return self.global_f(features * self.fusion_ratio[:, None])

    def forward(self, features: Tensor) -> Tensor:
        # Equation 6: what the global feature says to each view, beside the view itself.
        return self.view_f(self.global_feature(features)) * self.ratio + features.flatten(1) * (
            1 - self.ratio
        )


def cloud_logits(features: Tensor, text_features: Tensor, scale: float) -> Tensor:
    """Logits of clouds against labels whose text stands for every view.

    Args:
        features: [B, V D], one row a cloud, as they are to be compared.
        text_features: [N, D], norm 1.
        scale: inverse temperature.

    Returns:
        [B, N]. The text is repeated for each view and normalised as a whole.
    """
    views = features.shape[1] // text_features.shape[1]
    return scale * features @ F.normalize(text_features.repeat(1, views), dim=-1).T


def adapted_logits(
    adapter: InterViewAdapter, features: Tensor, text_features: Tensor, scale: float
) -> Tensor:
    """Logits [B, N] of few-shot PointCLIP: the adapter's output is normalised as a whole."""
    return cloud_logits(F.normalize(adapter(features), dim=-1), text_features, scale)


def smooth_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.2) -> Tensor:
    """Cross-entropy where the right label has 1 - smoothing and each other one an equal part of the rest."""
    others = smoothing / (logits.shape[1] - 1)
    targets = torch.full_like(logits, others).scatter(1, labels[:, None], 1 - smoothing)
    return -(targets * logits.log_softmax(1)).sum(1).mean()


@dataclass(frozen=True)
class Epoch:
    """Where a training stands after an epoch."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float  # on the shots


def train(
    features: np.ndarray,
    labels: np.ndarray,
    text_features: np.ndarray,
    scale: float,
    settings: AdapterSettings | None = None,
    cancel: Cancel | None = None,
) -> Iterator[tuple[Epoch, InterViewAdapter]]:
    """Trains an adapter on the views of a few clouds; yields after each epoch, and ends early once `cancel` is set.

    Args:
        features: [M, V, D] of M clouds, not normalised.
        labels: [M] index of each one's label.
        text_features: [N, D], norm 1.
        scale: inverse temperature.
        settings: of the adapter and the training.
        cancel: a stop flag.
    """
    s = settings or AdapterSettings()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(s.seed)
        adapter = InterViewAdapter(features.shape[1], features.shape[2], s).train()
    shots, truth, texts = torch.tensor(features), torch.tensor(labels), torch.tensor(text_features)
    # The generator yields to others between its steps, so dropout and order have a generator of their own.
    order = torch.Generator().manual_seed(s.seed)
    optimizer = torch.optim.SGD(adapter.parameters(), s.rate, s.momentum, weight_decay=s.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, s.epochs)
    for epoch in range(1, s.epochs + 1):
        if cancel is not None and cancel.is_set():
            return
        total = right = 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(s.seed * 100_003 + epoch)
            for part in torch.randperm(len(shots), generator=order).split(s.batch):
                if len(part) == 1:  # batch normalisation needs two
                    part = torch.cat([part, torch.randint(len(shots), (1,), generator=order)])
                logits = adapted_logits(adapter, shots[part], texts, scale)
                loss = smooth_loss(logits, truth[part], s.smoothing)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += float(loss.detach()) * len(part)
                right += float((logits.argmax(1) == truth[part]).sum())
        schedule.step()
        yield Epoch(epoch, s.epochs, total / len(shots), right / len(shots)), adapter


@torch.inference_mode()
def predict(
    adapter: InterViewAdapter, features: np.ndarray, text_features: np.ndarray, scale: float
) -> np.ndarray:
    """Logits [B, N] of clouds from their view features [B, V, D]."""
    adapter.eval()
    logits = adapted_logits(adapter, torch.tensor(features), torch.tensor(text_features), scale)
    adapter.train()
    return logits.numpy()
