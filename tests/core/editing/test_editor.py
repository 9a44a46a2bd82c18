"""The miniature editor's arithmetic with networks that are known exactly: its steps, its two guidances, its reading of texts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from core.classroom.recipes.common import tokenizer as tokens
from core.classroom.recipes.common.miniature import open_miniature
from core.editing import editor
from core.editing.editor import Condition, condition, denoise, fold, guided, schedule, unfold


def some(count: int, value: float) -> Condition:
    """A condition whose feature tells which text it is."""
    return Condition(
        torch.zeros(count, 3, 4), torch.ones(count, 3, dtype=torch.bool), torch.full((count, 2), value)
    )


class Knowing:
    """A network that knows the image: its v leads there from any noise."""

    def __init__(self, image: Tensor) -> None:
        self.image, self.kept = image, schedule().alphas_cumprod

    def __call__(self, noisy: Tensor, time: Tensor, source: Tensor, text: Condition) -> Tensor:
        kept = self.kept[time][:, None, None, None].double()
        image = self.image.repeat(len(noisy) // len(self.image), 1, 1, 1)
        noise = (noisy - kept.sqrt() * image) / (1 - kept).sqrt()
        return (kept.sqrt() * noise - (1 - kept).sqrt() * image).float()


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_network_that_knows_the_image_makes_it(strength: float) -> None:
    images = torch.rand(2, 3, 8, 8)
    network: Any = Knowing(fold(images))
    noisy = torch.randn(2, 12, 4, 4)
    seen = list(denoise(network, noisy, None, some(2, 1), some(1, 0), steps=8, strength=strength))
    assert len(seen) == round(8 * strength)
    assert (unfold(seen[-1][0]) - images).abs().max() < 0.01
    # It foresees the image from the first step on.
    assert (unfold(seen[0][1]) - images).abs().max() < 0.01


def test_the_schedule_begins_in_pure_noise() -> None:
    plan = schedule(16)
    assert len(plan.timesteps) == 16 and int(plan.timesteps[0]) == 999
    assert float(plan.alphas_cumprod[-1]) < 1e-4 and plan.config.prediction_type == "v_prediction"


def test_both_guidances_are_equation_3() -> None:
    values = {(1.0, True): 5.0, (0.0, True): 3.0, (0.0, False): 1.0, (1.0, False): 4.0}

    def network(noisy: Tensor, time: Tensor, source: Tensor, text: Condition) -> Tensor:
        rows = [values[float(text.feature[i, 0]), bool(source[i].abs().sum() > 0)] for i in range(len(noisy))]
        return torch.tensor(rows)[:, None, None, None].expand_as(noisy)

    noisy, source, any_network = torch.randn(2, 12, 4, 4), torch.ones(2, 12, 4, 4), network
    made = guided(any_network, noisy, torch.tensor(5), source, some(2, 1), some(1, 0), 3.0, 1.5)  # type: ignore[arg-type]
    assert made.unique().tolist() == [1 + 1.5 * (3 - 1) + 3 * (5 - 3)]
    alone = guided(any_network, noisy, torch.tensor(5), None, some(2, 1), some(1, 0), 3.0)  # type: ignore[arg-type]
    assert alone.unique().tolist() == [1 + 3 * (4 - 1)]
    plain = guided(any_network, noisy, torch.tensor(5), source, some(2, 1), some(1, 0), 1.0, 1.0)  # type: ignore[arg-type]
    assert plain.unique().tolist() == [5]


def test_texts_are_read_as_the_tower_does() -> None:
    clip = open_miniature("classroom-rn")
    texts = ["a dog", "红色背景上的一只猫", ""]
    found = condition(clip.model, tokens.tokenize(clip.tokenizer, texts, clip.context))
    torch.testing.assert_close(
        F.normalize(found.feature, dim=-1), clip.texts(texts).clone(), atol=1e-5, rtol=1e-4
    )
    assert found.feature.norm(dim=1).tolist() == pytest.approx([192**0.5] * 3, rel=1e-4)
    assert (
        found.real.sum(1).tolist()[2]
        == 2
        < int(found.real.sum(1)[0])
        < found.words.shape[1]
        == len(found.real[1])
    )
    kept = found.where(
        torch.tensor([True, False, True]), condition(clip.model, tokens.tokenize(clip.tokenizer, [""]))
    )
    torch.testing.assert_close(kept.feature[1], found.feature[2])
    assert torch.equal(kept.real[1], found.real[2]) and torch.equal(kept.words[0], found.words[0])


def test_a_text_changes_what_the_network_says() -> None:
    torch.manual_seed(0)
    small = {**editor.ARCHITECTURE, "block_out_channels": [16, 16], "norm_num_groups": 8}
    network = editor.EditorNetwork(small).eval()
    clip = open_miniature("classroom-rn")
    both = condition(clip.model, tokens.tokenize(clip.tokenizer, ["a dog", "a car"], clip.context))
    noisy = torch.randn(1, 12, 16, 16).repeat(2, 1, 1, 1)
    with torch.no_grad():
        first, second = network(noisy, torch.tensor([500, 500]), torch.zeros_like(noisy), both)
        third, _ = network(noisy, torch.tensor([500, 500]), torch.ones_like(noisy), both)
    assert first.shape == (12, 16, 16) and (first - second).abs().max() > 1e-4
    assert (first - third).abs().max() > 1e-4
