"""What ActionCLIP learns with, and how it scores (Wang et al. 2021, sections 3.2 and 3.3).

In a large batch of clips some have the same action, so that a row of the table clips x sentences has several right answers.
The target is then a distribution, not a one-hot vector, and the loss the divergence of the prediction from it (equation 6).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SHARPNESS = 10.0  # of the target
TEST_SCALE = 100.0  # exp(t) of CLIP, fixed when the published code tests


def same_action(labels: Tensor) -> Tensor:
    """[B] of class numbers -> [B, B] of 1 where two clips have one action."""
    return (labels[:, None] == labels[None]).float()


def target(truth: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """The soft target [B, B]: a softmax over each row of `sharpness` times the truth. What is wrong keeps a little."""
    return (sharpness * truth).softmax(1)


def divergence(logits: Tensor, truth: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """KL(target || prediction), summed over a row and averaged over rows of logits [B, B]; truth as of `same_action`."""
    wanted = target(truth, sharpness)
    return F.kl_div(logits.log_softmax(1), wanted, reduction="batchmean")


def logits(clips: Tensor, sentences: Tensor, logit_scale: Tensor | float) -> tuple[Tensor, Tensor]:
    """Scaled cosines of clips [B, D] and sentences [B, D]: clips by sentences, sentences by clips."""
    per_clip = logit_scale * F.normalize(clips, dim=-1) @ F.normalize(sentences, dim=-1).T
    return per_clip, per_clip.T


def kl_loss(
    clips: Tensor, sentences: Tensor, labels: Tensor, logit_scale: Tensor | float
) -> tuple[Tensor, Tensor, Tensor]:
    """The divergence of clips choosing sentences, of sentences choosing clips, and the mean of both."""
    truth = same_action(labels)
    rows, columns = (divergence(table, truth) for table in logits(clips, sentences, logit_scale))
    return rows, columns, (rows + columns) / 2


def cross_entropy(
    clips: Tensor, sentences: Tensor, logit_scale: Tensor | float
) -> tuple[Tensor, Tensor, Tensor]:
    """CLIP's loss, for which only the diagonal is right; as `kl_loss`."""
    own = torch.arange(len(clips), device=clips.device)
    rows, columns = (F.cross_entropy(table, own) for table in logits(clips, sentences, logit_scale))
    return rows, columns, (rows + columns) / 2


def probabilities(clips: Tensor, texts: Tensor, templates: int, logit_scale: float = TEST_SCALE) -> Tensor:
    """Of every action, [B, N]: a softmax over the actions for each sentence, then the mean over the sentences.

    Args:
        clips: [B, D].
        texts: [K * N, D], all actions in the first of K sentences, then all in the second.
        templates: K.
        logit_scale: exp(t).
    """
    cosines = F.normalize(clips, dim=-1) @ F.normalize(texts, dim=-1).T
    return (logit_scale * cosines).unflatten(1, (templates, -1)).softmax(-1).mean(1)


def compared(
    clips: np.ndarray, texts: np.ndarray, labels: np.ndarray, logit_scale: float
) -> dict[str, np.ndarray | float]:
    """Both losses of clips that choose sentences, and what they are made of.

    Args:
        clips, texts: [B, D].
        labels: [B] class numbers.
        logit_scale: exp(t).

    Returns:
        "hot" and "soft", the targets [B, B]; "guess", the prediction [B, B]; "ce" and "kl", the losses of rows; "punished", the
        mean probability of sentences that are right although the one-hot target calls them wrong.
    """
    per_clip, _ = logits(torch.from_numpy(clips), torch.from_numpy(texts), logit_scale)
    truth = same_action(torch.from_numpy(labels))
    own = torch.arange(len(clips))
    guess = per_clip.softmax(1)
    return {
        "hot": torch.eye(len(clips)).numpy(),
        "soft": target(truth).numpy(),
        "guess": guess.numpy(),
        "ce": float(F.cross_entropy(per_clip, own)),
        "kl": float(divergence(per_clip, truth)),
        "punished": float((guess * (truth - torch.eye(len(clips)))).sum(1).mean()),
    }
