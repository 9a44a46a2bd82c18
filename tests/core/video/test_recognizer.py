"""ActionCLIP as a whole: prompts switched on and off, probabilities over time, rows of every kind; X-CLIP."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core import checkpoints, inputs
from core.checkpoints import File, originals, registry
from core.clip import encoders
from core.errors import Refusal
from core.video import models
from core.video.actionclip import objectives, prompts, xclip
from core.video.actionclip.heads import PostPrompt, PostSettings
from core.video.actionclip.recognizer import ActionRecognizer, parts_of, templates_of
from core.video.tower import VideoTower
from tests.core.inputs.test_video import film, steady
from tests.core.video import rows

LOADER = "core.video.actionclip.recognizer:load_actionclip"
LABELS = ["dog", "cat", "red envelope"]
POST = PostSettings(post="Transf", frames=4, width=rows.WIDTH, layers=1, heads=2, positions=4)


@pytest.fixture(scope="module", autouse=True)
def made(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("rows")
    rows.base(folder / "clip")
    tower = VideoTower(32, 8, 32, 2, 2, 16, frames=4, time="position")
    state = rows.filled(PostPrompt(POST))
    state |= {"clip.visual.time_embedding": 0.5 * torch.randn_like(tower.time_embedding)}
    options: dict[str, Any] = {
        "post": "Transf",
        "positions": 4,
        "tower": {"frames": 4, "time": "position", "shift": 8},
        "templates": {"zh": ["{}", "{}的照片"]},
    }
    rows.add("tiny-action", "actionclip", folder / "action", LOADER, state, **options)


@pytest.fixture(scope="module")
def video() -> inputs.Video:
    return inputs.video(film(steady(50)))


@pytest.fixture()
def recognizer(forget: None) -> ActionRecognizer:
    return ActionRecognizer.load("tiny-action", "cpu")


def test_the_answer_is_that_of_the_published_test(recognizer: ActionRecognizer, video: inputs.Video) -> None:
    found = recognizer.classify(video, LABELS)
    clip = recognizer.encode(video)
    assert clip.times == pytest.approx(video.shown(video.uniform(4)))
    with recognizer.video() as loaded:
        feature = loaded.heads["post"](torch.from_numpy(clip.frame_features)[None])
        texts = loaded.texts(prompts.sentences(LABELS))
    wanted = objectives.probabilities(feature, texts, 16)[0]
    np.testing.assert_allclose(found.probabilities, wanted.numpy(), atol=1e-4)
    assert found.parts == ("pre", "in", "post") == recognizer.parts
    assert found.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert found.per_template.shape == (16, 3) and found.text_features.shape == (16, 3, 16)
    assert found.frame_probabilities.shape == (4, 3)
    np.testing.assert_allclose(found.frame_probabilities.sum(1), 1, atol=1e-5)
    assert json.loads(json.dumps(found.to_json()))["results"][0]["label"] == LABELS[found.order[0]]
    assert pickle.loads(pickle.dumps(found)).labels == found.labels


def test_each_prompt_can_be_switched_off(recognizer: ActionRecognizer, video: inputs.Video) -> None:
    answers = {
        parts: recognizer.classify(video, LABELS, parts=parts).clip_features
        for parts in ((), ("pre",), ("in",), ("post",), ("pre", "in"), ("pre", "in", "post"))
    }
    features = list(answers.values())
    for i, one in enumerate(features):
        for other in features[i + 1 :]:
            assert abs(one - other).max() > 1e-4
    plain = ActionRecognizer.load(rows.BASE, "cpu")
    assert plain.parts == () == parts_of(rows.BASE)
    clip = plain.encode(video, times=video.uniform(4))
    mean = plain.classify(clip, LABELS).clip_features
    np.testing.assert_allclose(answers[()], mean, atol=1e-4)


def test_sentences_by_kind_and_language(recognizer: ActionRecognizer, video: inputs.Video) -> None:
    assert len(templates_of("tiny-action")) == 16 and len(templates_of("tiny-action", "prefix")) == 3
    assert templates_of("tiny-action", "all", "zh") == ("{}", "{}的照片")
    assert templates_of("tiny-action", "cloze", "zh") == ("{}",)
    found = recognizer.classify(video, LABELS, ["a photo of {}"])
    assert found.templates == ("a photo of {}",) and found.per_template.shape == (1, 3)
    with pytest.raises(Refusal):
        recognizer.classify(video, LABELS, "no place")


def test_parts_of_a_video_are_clips_of_their_own(recognizer: ActionRecognizer, video: inputs.Video) -> None:
    line = recognizer.timeline(video, LABELS, windows=3)
    assert line.times.tolist() == pytest.approx(np.array([[0, 2 / 3], [2 / 3, 4 / 3], [4 / 3, 2]]))
    assert line.probabilities.shape == (3, 3)
    times = line.times[1, 0] + (np.arange(4) + 0.5) / 4 * (2 / 3)
    alone = recognizer.classify(recognizer.encode(video, times=times), LABELS)
    np.testing.assert_allclose(line.probabilities[1], alone.probabilities, atol=1e-5)


def test_a_tower_that_joins_all_frames_answers(tmp_path: Path, video: inputs.Video) -> None:
    tower = VideoTower(32, 8, 32, 2, 2, 16, frames=4, time="joint")
    state = {"clip.visual.time_embedding": torch.randn_like(tower.time_embedding)}
    rows.add(
        "tiny-joint",
        "actionclip",
        tmp_path,
        LOADER,
        state,
        post="meanP",
        tower={"frames": 4, "time": "joint"},
    )
    model = ActionRecognizer.load("tiny-joint", "cpu")
    assert model.encode(video).frame_features.shape == (1, 16)
    assert model.classify(video, LABELS).probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_files_of_the_authors_fit_their_rows(tmp_path: Path) -> None:
    clip = checkpoints.load_state_dict(checkpoints.row(rows.BASE).folder / "model.safetensors")
    fusion = rows.filled(PostPrompt(replace(POST, positions=77)))
    torch.save(
        {
            "epoch": 49,
            "model_state_dict": clip,
            "fusion_model_state_dict": {f"module.{name}": tensor for name, tensor in fusion.items()},
        },
        tmp_path / "best.pt",
    )
    for name in ("actionclip-b32-8f", "actionclip-b16-16f"):
        row = checkpoints.row(name)
        small = replace(
            row, requires={rows.BASE: ""}, options={"post": "Transf", "frames": 4, "layers": 1, "heads": 2}
        )
        assert row.original is not None
        held = originals.tensors(row.original, tmp_path / "best.pt")
        assert originals.check(small, held, originals.expected(small, {}))


def test_files_of_mmaction_fit_their_rows(tmp_path: Path) -> None:
    clip = checkpoints.load_state_dict(checkpoints.row(rows.BASE).folder / "model.safetensors")
    state = {f"clip.{name}": tensor for name, tensor in clip.items()}
    state |= {f"adapter.{name}": tensor for name, tensor in rows.filled(PostPrompt(POST)).items()}
    torch.save({"meta": {"epoch": 1}, "state_dict": state}, tmp_path / "vit.pth")
    row = checkpoints.row("actionclip-mmaction-b32-8f")
    assert row.options["positions"] == 8 and row.original is not None
    small = replace(
        row,
        requires={rows.BASE: ""},
        options={"post": "Transf", "frames": 4, "layers": 1, "heads": 2, "positions": 4, "epsilon": 1e-5},
    )
    held = originals.tensors(row.original, tmp_path / "vit.pth")
    assert originals.check(small, held, originals.expected(small, {}))


def test_the_published_sizes_are_expected_of_a_file() -> None:
    wanted = originals.expected(checkpoints.row("actionclip-b16-16f"), {})
    assert wanted["clip.visual.conv1.weight"].shape == (768, 3, 16, 16)
    assert wanted["transformer.resblocks.5.mlp.c_fc.weight"].shape == (2048, 512)
    assert wanted["frame_position_embeddings.weight"].shape == (77, 512)


def test_xclip_is_transformers_own(tmp_path: Path, video: inputs.Video) -> None:
    from transformers import CLIPImageProcessor, XCLIPConfig, XCLIPModel

    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = XCLIPConfig(
        text_config={**size, "vocab_size": 49408, "max_position_embeddings": 77},
        vision_config={
            **size, "image_size": 32, "patch_size": 16, "num_frames": 4, "mit_hidden_size": 16,
            "mit_intermediate_size": 32, "mit_num_hidden_layers": 1, "mit_num_attention_heads": 2,
        },
        projection_dim=16,
        prompt_num_attention_heads=2,
    )  # fmt: skip
    torch.manual_seed(0)
    net = XCLIPModel(config).eval()
    net.save_pretrained(tmp_path)
    size_of = {"shortest_edge": 32}
    CLIPImageProcessor(size=size_of, crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    row = checkpoints.row("xclip-b32")
    registry.add(
        replace(
            row,
            name="tiny-xclip",
            repo=None,
            bundled=str(tmp_path),
            files=tuple(File(file.path) for file in row.files),
            options={**row.options, "frames": 4},
        )
    )
    model = xclip.XCLIP.load("tiny-xclip", "cpu")
    found = model.classify(video, LABELS)
    with model.use() as loaded, torch.inference_mode():
        images = [
            Image.fromarray(frame.pixels) for frame in video.at(video.uniform(4), side=loaded.preprocess.side)
        ]
        ids = loaded.tokenize(LABELS)
        batch = torch.zeros(3, max(map(len, ids)), dtype=torch.long)
        for line, text in zip(batch, ids, strict=True):
            line[: len(text)] = torch.tensor(text)
        wanted = net(input_ids=batch, pixel_values=loaded.pixels(images)[None]).logits_per_video[0]
    np.testing.assert_allclose(found.logit_scale * found.cosines, wanted.numpy(), atol=1e-4)
    assert found.frame_features.shape == (4, 16) and found.templates == ("{}",)
    assert isinstance(loaded.preprocess, encoders.TransformersPreprocess) and models.CLIP == "clip."
