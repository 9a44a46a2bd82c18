"""ViLD's maths by hand: losses, the split of N and M, scores of the ensemble, boxes; and prompts as the demo writes them."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from core.detection import boxes, wording
from core.detection.proposals import recall
from core.detection.regions import (
    ViLDNet,
    ensemble,
    image_loss,
    probabilities,
    text_logits,
    text_loss,
    vild_loss,
)
from core.detection.vild import architectures


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_logits_are_cosines_times_the_scale_background_first() -> None:
    regions, texts = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([[0.0, 1.0], [0.8, 0.6]])
    # The background's length does not matter.
    got = text_logits(regions, texts, torch.tensor([7.0, 0.0]), 100.0)
    torch.testing.assert_close(got, torch.tensor([[100.0, 0.0, 80.0], [60.0, 80.0, 96.0]]))


def test_text_loss_by_hand_with_novel_categories_at_zero() -> None:
    regions, texts = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    ground, target = torch.tensor([0.0, -1.0]), torch.tensor([2])
    # Logits 0, 0, 2 and three zeros for categories without a text.
    wanted = -math.log(math.e**2 / (math.e**2 + 2 + 3))
    assert text_loss(regions, texts, ground, target, 2.0, novel=3).item() == pytest.approx(wanted, rel=1e-5)


def test_image_loss_sums_dimensions_and_averages_proposals() -> None:
    regions, crops = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    assert image_loss(regions, crops).item() == pytest.approx((0.4 + 0.8 + 0.0) / 2)


def test_n_and_m_are_split_and_keep_to_their_own_loss() -> None:
    texts, ground, crops, target = unit(3, 8), unit(8, seed=1), unit(4, 8, seed=2), torch.tensor([0, 3])
    regions = unit(6, 8, seed=3).requires_grad_()
    total, text, image = vild_loss(regions, texts, ground, target, crops, 10.0, weight=0.5)
    assert total.item() == pytest.approx((text + 0.5 * image).item())
    assert text.item() == pytest.approx(text_loss(regions[:2], texts, ground, target, 10.0).item())
    assert image.item() == pytest.approx(image_loss(regions[2:], crops).item())
    image.backward()
    assert regions.grad is not None
    assert not regions.grad[:2].any() and regions.grad[2:].any(1).all()


def test_the_ensemble_is_a_geometric_mean_with_the_shares_swapped() -> None:
    text, image = torch.tensor([[0.64, 0.064]]), torch.tensor([[0.08, 0.8]])
    got = ensemble(text, image, torch.tensor([True, False]))
    wanted = [(0.64**2 * 0.08) ** (1 / 3), (0.064 * 0.8**2) ** (1 / 3)]
    torch.testing.assert_close(got, torch.tensor([wanted]))


def test_scores_follow_the_labels_in_any_order() -> None:
    regions, texts, ground, order = unit(5, 8), unit(4, 8, seed=1), unit(8, seed=2), [2, 0, 3, 1]
    whole = probabilities(regions, texts, 10.0, ground)
    torch.testing.assert_close(whole.sum(1), torch.ones(5))
    turned = probabilities(regions, texts[order], 10.0, ground)
    torch.testing.assert_close(turned[:, 1:], whole[:, 1:][:, order])
    torch.testing.assert_close(turned[:, 0], whole[:, 0])


def test_gradients_reach_the_heads_and_never_the_tower() -> None:
    torch.manual_seed(0)
    net = ViLDNet(architectures()["vild_classroom"])
    net.pretrained.requires_grad_(False)
    net.train()
    net.pretrained.eval()
    levels = net.proposer.pyramid(net.pretrained(torch.randn(2, 3, 64, 64))[1:])
    truth = [{"boxes": torch.tensor([[4.0, 4.0, 40.0, 44.0]])}, {"boxes": torch.empty(0, 4)}]
    found, objectness, losses = net.proposer.propose(levels, (64, 64), truth)
    assert [len(f) for f in found] == [len(o) for o in objectness]
    assert all((o[:-1] >= o[1:]).all() and o.min() >= 0 and o.max() <= 1 for o in objectness)
    regions = net.proposer.regions(levels, [f[:6] for f in found], (64, 64))
    text = text_loss(
        net.heads["text"](regions), unit(3, 192), net.background["text"], torch.randint(4, (12,)), 20.0
    )
    (text + sum(losses.values())).backward()
    touched = {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None}
    assert touched == {"proposer", "heads", "background"}
    # A head learns from its own loss alone.
    assert all(p.grad is None for p in [*net.heads["image"].parameters(), *net.heads["vild"].parameters()])


def test_boxes_are_enlarged_about_their_centre_and_cut() -> None:
    made = boxes.enlarged(torch.tensor([[10.0, 20.0, 30.0, 40.0], [0.0, 0.0, 20.0, 20.0]]), 1.5, 34.0, 100.0)
    torch.testing.assert_close(made, torch.tensor([[5.0, 15.0, 34.0, 45.0], [0.0, 0.0, 25.0, 25.0]]))


def test_a_crop_is_the_part_of_the_picture() -> None:
    picture = torch.zeros(1, 3, 16, 16)
    picture[:, 0, 4:12, 8:16] = 1
    (inside, outside) = boxes.crops(
        picture, [torch.tensor([[8.0, 4.0, 16.0, 12.0], [0.0, 0.0, 6.0, 4.0]])], 4
    )
    assert inside[0].min() > 0.8 and inside[1:].max() == 0 and outside.max() == 0


def test_of_boxes_with_one_label_the_surest_stays() -> None:
    where = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [20.0, 0.0, 30.0, 10.0]])
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.7], [0.3, 0.2]])
    box, label, score = boxes.choose(where, scores, threshold=0.25, overlap=0.5)
    # Box 1 is dropped as label 0 and kept as label 1: NMS is label by label.
    assert list(zip(box.tolist(), label.tolist(), strict=True)) == [(0, 0), (1, 1), (2, 0)]
    torch.testing.assert_close(score, torch.tensor([0.9, 0.7, 0.3]))
    assert len(boxes.choose(where, scores, 0.95, 0.5)[0]) == 0


def test_across_labels_one_box_of_each_thing_stays() -> None:
    found = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    scores = torch.tensor([[0.9, 0.3], [0.2, 0.8], [0.1, 0.7]])
    box, label, score = boxes.choose(found, scores, 0.05, 0.5, across_labels=True)
    assert list(zip(box.tolist(), label.tolist(), strict=True)) == [(0, 0), (2, 1)]
    assert score.tolist() == pytest.approx([0.9, 0.7])
    assert len(boxes.choose(found, scores, 0.05, 0.5)[0]) == 4


def test_recall_counts_true_boxes_that_a_proposal_covers() -> None:
    true = torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    found = [torch.tensor([[1.0, 0.0, 10.0, 10.0]]), torch.empty(0, 4), torch.empty(0, 4)]
    assert recall(found, [true, torch.empty(0, 4), true[:1]]) == (1, 3)


def test_prompts_are_the_demos() -> None:
    lines = wording.sentences("Toy_duck.", "vild")
    assert len(lines) == 63 == len(set(lines))
    assert lines[0] == "There is a toy duck in the scene." and "itap of my toy duck." in lines
    assert "This is a photo of a toy duck." in lines and "This is the plushie toy duck." in lines
    assert "This is a good photo of an umbrella." in wording.sentences("umbrella", "vild")
    assert wording.sentences("鸭子", "classroom")[1] == "一张鸭子的图片"
    assert wording.sentences("cup/mug", "owl") == ["a photo of a cup or mug."]
