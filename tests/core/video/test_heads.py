"""Heads over frames: order, missing frames, what starts as CLIP, and the losses beside their formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from core.video import tower
from core.video.actionclip import objectives, prompts
from core.video.actionclip.heads import POSTS, PostPrompt, PostSettings
from core.video.clip4clip.heads import HEADERS, HeadSettings, Similarity, contrastive_loss, start_from_clip

SMALL: dict[str, Any] = {"width": 16, "layers": 1, "heads": 2, "positions": 12}


def features(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("header", HEADERS)
def test_a_clip_is_scored_alike_alone_and_in_a_batch_of_longer_ones(header: Any) -> None:
    torch.manual_seed(0)
    head = Similarity(HeadSettings(header=header, **SMALL)).eval()
    frames, texts = features(3, 6, 16), features(2, 16)
    mask = torch.tensor([[1.0] * 6, [1.0] * 4 + [0.0] * 2, [1.0] + [0.0] * 5])
    together = head(texts, frames, mask, 2.0)
    assert together.shape == (2, 3)
    for i, length in enumerate((6, 4, 1)):
        alone = head(texts, frames[i : i + 1, :length], torch.ones(1, length), 2.0)
        torch.testing.assert_close(together[:, i : i + 1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("header", HEADERS)
def test_only_the_mean_does_not_know_the_order(header: Any) -> None:
    torch.manual_seed(0)
    head = Similarity(HeadSettings(header=header, **SMALL)).eval()
    for parameter in head.parameters():
        parameter.data.mul_(20)
    frames, texts, mask = features(1, 6, 16), features(4, 16), torch.ones(1, 6)
    difference = (head(texts, frames, mask) - head(texts, frames.flip(1), mask)).abs().max()
    assert (difference < 1e-5) == (header == "meanP")


@pytest.mark.parametrize("header", HEADERS)
def test_a_clip_without_frames_has_a_number_for_a_score(header: Any) -> None:
    head = Similarity(HeadSettings(header=header, **SMALL)).eval()
    assert head(features(2, 16), features(1, 4, 16), torch.zeros(1, 4)).isfinite().all()


def test_the_tight_head_takes_many_sentences_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head = Similarity(HeadSettings(header="tightTransf", **SMALL)).eval()
    texts, frames, mask = features(5, 16), features(2, 3, 16), torch.ones(2, 3)
    whole = head(texts, frames, mask)
    monkeypatch.setattr("core.video.clip4clip.heads.PAIRS", 2)
    torch.testing.assert_close(head(texts, frames, mask), whole, atol=1e-6, rtol=1e-5)


def test_a_tight_head_cannot_be_loose() -> None:
    with pytest.raises(ValueError, match="never loose"):
        Similarity(HeadSettings(header="tightTransf", loose=True, **SMALL))


def test_heads_start_as_the_first_layers_of_clips_text_tower() -> None:
    head = Similarity(HeadSettings(header="seqTransf", **SMALL))
    clip = {
        name.replace("transformerClip.", "transformer."): torch.full_like(tensor, 0.5)
        for name, tensor in head.state_dict().items()
    }
    clip["positional_embedding"] = torch.full((12, 16), 0.25)
    start_from_clip(head, clip)
    assert all(
        (tensor == (0.25 if name.startswith("frame_position") else 0.5)).all()
        for name, tensor in head.state_dict().items()
    )


def test_contrastive_loss_is_the_cross_entropy_of_rows_and_columns() -> None:
    logits = features(4, 4)
    own = torch.arange(4)
    rows, columns, mean = contrastive_loss(logits)
    torch.testing.assert_close(rows, F.cross_entropy(logits, own))
    torch.testing.assert_close(columns, F.cross_entropy(logits.T, own))
    torch.testing.assert_close(mean, (rows + columns) / 2)


@pytest.mark.parametrize("post", POSTS)
def test_a_post_prompt_gives_one_feature_and_learns(post: Any) -> None:
    torch.manual_seed(0)
    module = PostPrompt(PostSettings(post=post, frames=4, **SMALL)).eval()
    frames = features(3, 4, 16).requires_grad_()
    out = module(frames)
    out.square().sum().backward()
    assert out.shape == (3, 16) and frames.grad is not None and frames.grad.abs().sum() > 0


def test_the_convolution_reads_channels_as_published() -> None:
    """With a kernel that takes the place before, a frame gets numbers of its own neighbouring channels."""
    module = PostPrompt(PostSettings(post="Conv_1D", frames=4, **SMALL))
    module.shift.weight.data.zero_()
    module.shift.weight.data[:, 0, 1] = 1
    frames = features(1, 4, 16)
    again = module.convolved(frames)
    torch.testing.assert_close(again.transpose(1, 2).reshape(1, 4, 16), frames)


def test_prompts_stand_where_their_kind_says() -> None:
    assert len(prompts.TEMPLATES) == 16 and len(set(prompts.TEMPLATES)) == 16
    kinds = [prompts.kind(one) for one in prompts.TEMPLATES]
    assert {kind: kinds.count(kind) for kind in kinds} == {"suffix": 11, "prefix": 3, "bare": 1, "cloze": 1}
    assert prompts.of_kind("prefix") == ("{}, an action", "{} this is an action", "{}, a video of action")
    assert prompts.sentences(["run", "sit"], ("{}", "to {}")) == ["run", "sit", "to run", "to sit"]


def test_the_target_of_repeated_labels_is_shared() -> None:
    truth = objectives.same_action(torch.tensor([0, 1, 0]))
    wanted = objectives.target(truth)
    torch.testing.assert_close(wanted.sum(1), torch.ones(3))
    assert wanted[0, 0] == wanted[0, 2] > 0.49 and wanted[1, 1] > 0.99


def test_the_divergence_is_that_of_the_formula() -> None:
    logits, truth = features(5, 5), objectives.same_action(torch.tensor([0, 1, 0, 2, 1]))
    wanted, guess = objectives.target(truth), logits.softmax(1)
    formula = (wanted * (wanted / guess).log()).sum(1).mean()
    torch.testing.assert_close(objectives.divergence(logits, truth), formula)


def test_the_shift_moves_one_part_forward_and_one_back() -> None:
    x = torch.arange(3.0)[:, None].expand(3, 8)  # frame t holds t everywhere
    moved = tower.shifted(x, 3, 4)
    assert moved[:, 0].tolist() == [1, 2, 0] and moved[:, 2].tolist() == [0, 0, 1]
    assert moved[:, 4].tolist() == [0, 1, 2]
    assert tower.pooled_in_time(torch.arange(4.0)[:, None, None, None], 4).flatten().tolist() == [1, 3]


@pytest.mark.parametrize("time", ["none", "position", "joint"])
def test_the_tower_gives_features_of_clips(time: Any) -> None:
    torch.manual_seed(0)
    net = tower.VideoTower(16, 8, 16, 1, 1, 6, frames=3, time=time).eval()
    clips = features(2, 3, 3, 16, 16)
    assert net.clips(clips).shape == (2, 1 if time == "joint" else 3, 6)
    alone = net.clips(clips[1:])
    torch.testing.assert_close(net.clips(clips)[1:], alone, atol=1e-5, rtol=1e-5)


def test_patches_in_time_start_as_clips_own() -> None:
    torch.manual_seed(0)
    flat = tower.VideoTower(16, 8, 16, 1, 1, 6, frames=3)
    deep = tower.VideoTower(16, 8, 16, 1, 1, 6, frames=3, patches="3d")
    state = flat.state_dict()
    deep.load_state_dict({**state, "conv2.weight": tower.grown_patches(state["conv1.weight"])})
    clips = features(2, 3, 3, 16, 16)
    torch.testing.assert_close(deep.clips(clips), flat.clips(clips), atol=1e-5, rtol=1e-5)


def test_names_of_a_shifted_tower() -> None:
    plain = tower.VideoTower(16, 8, 16, 1, 1, 6)
    moved = tower.VideoTower(16, 8, 16, 1, 1, 6, shift=8)
    state = {f"visual.{name}": tensor for name, tensor in plain.state_dict().items()}
    moved.load_state_dict({name.removeprefix("visual."): t for name, t in tower.with_net(state).items()})
    assert tower.with_net({"transformer.resblocks.0.ln_1.bias": state["visual.class_embedding"]}).keys() == {
        "transformer.resblocks.0.ln_1.bias"
    }


def test_only_the_last_blocks_may_have_a_shift() -> None:
    plain = tower.VideoTower(16, 8, 16, 3, 1, 6)
    moved = tower.VideoTower(16, 8, 16, 3, 1, 6, shift=8, shifted_blocks=1)
    state = {f"visual.{name}": tensor for name, tensor in plain.state_dict().items()}
    renamed = {
        name.removeprefix("visual."): tensor for name, tensor in tower.with_net(state, blocks=1).items()
    }
    moved.load_state_dict(renamed)
    assert (
        "transformer.resblocks.2.net.ln_1.bias" in renamed and "transformer.resblocks.1.ln_1.bias" in renamed
    )
