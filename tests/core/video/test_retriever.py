"""CLIP4Clip as a whole: sampling, ranking, both directions, rows of every kind."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from core import checkpoints, inputs, runtime
from core.checkpoints import originals
from core.clip import ZeroShot
from core.errors import Refusal
from core.video import models
from core.video.clip4clip.heads import HEADERS, HeadSettings, Similarity
from core.video.clip4clip.retriever import Sampling, VideoRetriever, sampling
from core.video.tower import VideoTower
from tests.core.inputs.test_video import film, steady
from tests.core.video import rows

LOADER = "core.video.clip4clip.retriever:load_clip4clip"


@pytest.fixture(scope="module", autouse=True)
def made(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("rows")
    rows.base(folder / "clip")
    state = {}
    for header in HEADERS[1:]:
        own = HeadSettings(header=header, width=rows.WIDTH, layers=1, heads=2, positions=rows.CONTEXT)
        state |= {f"{header}.{name}": tensor for name, tensor in rows.filled(Similarity(own)).items()}
    rows.add("tiny-c4c", "clip4clip", folder / "c4c", LOADER, state, headers=list(HEADERS), rate=4.0)


@pytest.fixture(scope="module")
def videos() -> list[inputs.Video]:
    return [inputs.video(film(steady(50))), inputs.video(film(steady(20, 10)))]


@pytest.fixture()
def retriever(forget: None) -> VideoRetriever:
    return VideoRetriever.load("tiny-c4c", "cpu")


def test_frames_are_sampled_as_the_published_commands_do() -> None:
    assert Sampling().times(5.3).tolist() == [0, 1, 2, 3, 4]
    assert Sampling().times(0.4).tolist() == [0]
    spread = Sampling().times(100.0)
    assert spread.tolist() == np.linspace(0, 99, 12).astype(int).tolist()
    assert Sampling(cut="head").times(100.0).tolist() == list(range(12))
    assert Sampling(cut="tail").times(100.0).tolist() == list(range(88, 100))
    assert Sampling(frames=3, rate=2.0).times(1.0).tolist() == [0, 0.5]
    assert sampling("tiny-c4c") == Sampling(4, 4.0) and sampling(rows.BASE) == Sampling(12, 1.0)


@pytest.mark.parametrize("head", HEADERS)
def test_ranking_says_what_the_head_says(
    retriever: VideoRetriever, videos: list[inputs.Video], head: Any
) -> None:
    found = retriever.rank("a red dog", videos, head)
    clips = [retriever.encode(video) for video in videos]
    with retriever.video() as loaded:
        texts = loaded.texts(["a red dog"])
        for i, clip in enumerate(clips):
            x = torch.from_numpy(clip.frame_features)[None]
            logit = loaded.heads[head](texts, x, torch.ones(1, len(clip.times)), loaded.encoder.logit_scale)
            assert found.logits[i] == pytest.approx(logit.item(), abs=1e-4)
    assert found.head == head and sorted(found.order.tolist()) == [0, 1]
    assert found.scores[found.order[0]] >= found.scores[found.order[1]]
    for clip, cosines, times in zip(clips, found.frames, found.times, strict=True):
        np.testing.assert_allclose(cosines, clip.directions @ found.text_features, atol=1e-6)
        np.testing.assert_array_equal(times, clip.times)
    answer = found.to_json()
    assert json.loads(json.dumps(answer))["results"][0]["clip"] == int(found.order[0])
    assert pickle.loads(pickle.dumps(found)).head == head


def test_the_order_of_frames_can_be_changed(retriever: VideoRetriever, videos: list[inputs.Video]) -> None:
    own = sampling("tiny-c4c")
    backwards = replace(own, order="reverse")
    mean = retriever.rank("dog", videos, "meanP").scores
    np.testing.assert_allclose(retriever.rank("dog", videos, "meanP", backwards).scores, mean, atol=1e-5)
    forwards = retriever.rank("dog", videos[:1], "seqTransf").scores
    assert abs(retriever.rank("dog", videos[:1], "seqTransf", backwards).scores - forwards).max() > 1e-4
    shuffled = retriever.encode(videos[0], replace(own, order="random"))
    assert sorted(shuffled.times) == retriever.encode(videos[0]).times.tolist()


def test_a_row_of_clip_retrieves_by_the_mean(retriever: VideoRetriever, videos: list[inputs.Video]) -> None:
    plain = VideoRetriever.load(rows.BASE, "cpu")
    assert plain.headers == ("meanP",)
    asked = sampling("tiny-c4c")
    found = plain.rank("a dog", videos, asked=asked)
    np.testing.assert_allclose(found.scores, retriever.rank("a dog", videos, "meanP").scores, atol=1e-5)
    text = ZeroShot.load(rows.BASE, "cpu").encode_text(["a dog"])[0]
    mean = plain.encode(videos[0], asked).directions.mean(0)
    assert found.scores[0] == pytest.approx(float(mean @ text / np.linalg.norm(mean)), abs=1e-5)


def test_a_miniature_shares_the_features_of_its_clip(
    retriever: VideoRetriever, videos: list[inputs.Video]
) -> None:
    first = retriever.encode(videos[0])
    assert VideoRetriever.load(rows.BASE, "cpu").encode(videos[0], sampling("tiny-c4c")) is first


def test_texts_of_a_clip_and_clips_like_a_clip(retriever: VideoRetriever, videos: list[inputs.Video]) -> None:
    table = retriever.table(["a dog", "money"], videos, "seqLSTM")
    np.testing.assert_allclose(table[0], retriever.rank("a dog", videos, "seqLSTM").scores, atol=1e-5)
    near = retriever.neighbours(videos[0], videos, "seqLSTM")
    assert near.shape == (2,) and near[0] == pytest.approx(1, abs=1e-5)
    with pytest.raises(Refusal) as refused:
        retriever.neighbours(videos[0], videos, "tightTransf")
    assert refused.value.code == "tight_wants_text"


def test_what_cannot_be_ranked_is_refused(retriever: VideoRetriever, videos: list[inputs.Video]) -> None:
    with pytest.raises(Refusal) as unknown:
        retriever.rank("dog", videos, "sum")
    assert unknown.value.code == "no_such_head" and "seqLSTM" in unknown.value.text("en")
    with pytest.raises(Refusal) as nothing:
        retriever.rank("dog", [])
    assert nothing.value.code == "no_clips"
    with pytest.raises(Refusal) as stopped:
        retriever.rank("dog", videos, cancel=runtime.Cancel(stopped=True))
    assert stopped.value.code == "cancelled"


def published(folder: Path, header: str) -> Path:
    """A file as the authors' program writes it, of the tiny CLIP."""
    clip = checkpoints.load_state_dict(checkpoints.row(rows.BASE).folder / "model.safetensors")
    own = HeadSettings(header=header, width=rows.WIDTH, layers=1, heads=2, positions=rows.CONTEXT)  # type: ignore[arg-type]
    state = {models.CLIP + name: tensor for name, tensor in clip.items()} | rows.filled(Similarity(own))
    if header == "meanP":  # left by a model that was not loose
        state["cross.pooler.dense.bias"] = torch.zeros(16)
    path = folder / "pytorch_model.bin.4"
    torch.save(state, path)
    return path


@pytest.mark.parametrize("header", HEADERS)
def test_files_of_the_authors_fit_their_rows(tmp_path: Path, header: str) -> None:
    """Names and unread tensors are those of the row in the registry; the sizes are tiny."""
    row = checkpoints.row(f"clip4clip-{header.lower()}")
    small = replace(
        row, requires={rows.BASE: ""}, options={"headers": [header], "layers": 1, "heads": 2, "tower": {}}
    )
    assert row.original is not None
    held = originals.tensors(row.original, published(tmp_path, header))
    assert originals.check(small, held, originals.expected(small, {}))


def test_the_published_sizes_are_expected_of_a_file() -> None:
    wanted = originals.expected(checkpoints.row("clip4clip-seqtransf"), {})
    assert wanted["clip.visual.conv1.weight"].shape == (768, 3, 32, 32)
    assert wanted["frame_position_embeddings.weight"].shape == (77, 512)
    assert wanted["transformerClip.resblocks.3.mlp.c_fc.weight"].shape == (2048, 512)
    tight = originals.expected(checkpoints.row("clip4clip-tighttransf"), {})
    assert tight["similarity_dense.weight"].shape == (1, 512)
    deep = originals.expected(checkpoints.row("clip4clip-meanp-3d"), {})
    assert deep["clip.visual.conv2.weight"].shape == (768, 3, 3, 32, 32)


def test_clips_of_transformers_become_open_clips(tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    side = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**side, "vocab_size": 50, "max_position_embeddings": 9, "eos_token_id": 49, "bos_token_id": 0},
        vision_config={**side, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = CLIPModel(config).eval()
    for parameter in theirs.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.1)
    ours = open_clip.CLIP(
        24,
        {"image_size": 32, "patch_size": 8, "layers": 2, "width": 128, "head_width": 64},
        {"context_length": 9, "vocab_size": 50, "width": 128, "heads": 2, "layers": 2},
        quick_gelu=True,
    ).eval()
    ours.load_state_dict(models.from_transformers(theirs.state_dict()))
    pixels, ids = torch.randn(2, 3, 32, 32), torch.tensor([[0, 5, 7, 49, 1, 1, 1, 1, 1]])
    with torch.inference_mode():
        torch.testing.assert_close(
            ours.encode_image(pixels), theirs.get_image_features(pixels).pooler_output, atol=1e-4, rtol=1e-3
        )
        torch.testing.assert_close(
            ours.encode_text(ids), theirs.get_text_features(ids).pooler_output, atol=1e-4, rtol=1e-3
        )


def test_patches_in_time_make_a_row_of_their_own(
    tmp_path: Path, videos: list[inputs.Video], retriever: VideoRetriever
) -> None:
    """A tower that looks at neighbours gives other features; one that starts as CLIP's the same."""
    clip = checkpoints.load_state_dict(checkpoints.row(rows.BASE).folder / "model.safetensors")
    tower = VideoTower(32, 8, 32, 2, 2, 16, patches="3d", frames=4)
    deep = {"clip.visual.conv2.weight": torch.zeros_like(tower.conv2.weight)}
    deep["clip.visual.conv2.weight"][:, :, 1] = clip["visual.conv1.weight"]
    rows.add(
        "tiny-3d", "clip4clip", tmp_path / "a", LOADER, deep, tower={"patches": "3d", "frames": 4}, rate=4.0
    )
    same = VideoRetriever.load("tiny-3d", "cpu").encode(videos[0]).frame_features
    np.testing.assert_allclose(same, retriever.encode(videos[0]).frame_features, atol=0.01)
    deep["clip.visual.conv2.weight"][:, :, 0] = 8 * clip["visual.conv1.weight"].flip(0)
    rows.add(
        "tiny-3d-moved",
        "clip4clip",
        tmp_path / "b",
        LOADER,
        deep,
        tower={"patches": "3d", "frames": 4},
        rate=4.0,
    )
    moved = VideoRetriever.load("tiny-3d-moved", "cpu").encode(videos[0]).frame_features
    assert abs(moved - same).max() > 0.05


def test_a_file_with_a_wrong_tensor_is_refused(tmp_path: Path) -> None:
    rows.add(
        "tiny-broken", "clip4clip", tmp_path, LOADER, {"lstm.weight": torch.zeros(2, 2)}, headers=["seqLSTM"]
    )
    with pytest.raises(Refusal) as refused:
        VideoRetriever.load("tiny-broken", "cpu")
    assert refused.value.code == "bad_checkpoint"


def test_matrices_of_a_miniature_are_bytes(tmp_path: Path) -> None:
    from core.checkpoints import bytewise

    state = {"a": torch.randn(8, 5), "b": torch.randn(3), "c": torch.zeros(2, 2, 2)}
    stored = bytewise.packed(state)
    assert stored["a"].dtype == torch.int8 and stored["b"].dtype == torch.float16
    save_file(stored, tmp_path / "x.safetensors")
    back = checkpoints.load_state_dict(tmp_path / "x.safetensors")
    assert back.keys() == state.keys()
    limit = state["a"].abs().amax(1, keepdim=True) / 127
    assert ((back["a"] - state["a"]).abs() <= 0.51 * limit + 1e-3 * state["a"].abs()).all() and not back[
        "c"
    ].any()
