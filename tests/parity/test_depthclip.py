"""DepthCLIP against its research code: the head, the whole RN50 path, the error measures; settings are the manifests'."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch.nn import functional as F

from core.clip.encoders import OpenClipText
from core.clip.tokenizers import of_open_clip
from core.clip.towers import OpenClipResNet
from core.spatial import depth_errors
from core.spatial.depthclip import DepthWords, depth_logits, depth_of, enlarge, stage_features
from tests.parity.records import Records, drawn, normal

RECORDS = Records("depthclip")
CASES = {name: RECORDS.read(name)[0] for name in RECORDS.names}
HEADS = [name for name, manifest in CASES.items() if "tokens_LNC" in manifest["arrays"]]
WHOLE = [name for name, manifest in CASES.items() if "image" in manifest["arrays"]]
MEASURES = [name for name, manifest in CASES.items() if "gt" in manifest["arrays"]]


def words_of(settings: dict[str, Any]) -> DepthWords:
    """The words of a manifest."""
    (template,), (thing,) = settings["depth_templates"], settings["obj_classes"]
    first, second, third = template.split("{}")
    return DepthWords(
        tuple(settings["depth_classes"]),
        tuple(settings["bin_list"]),
        f"{first}{{object}}{second}{{word}}{third}",
        thing,
        settings["temperature"],
    )


def given(entry: dict[str, Any]) -> torch.Tensor:
    """An input of a record, without what its note changes."""
    return normal(entry["seed_key"], entry["shape"])


def close(value: torch.Tensor, arrays: Any, entry: dict[str, Any], name: str, share: float) -> None:
    """Compares as a record is stored: every step-th number, by a share of the largest."""
    assert list(value.shape) == entry["shape"], name
    found = value.flatten()[:: entry["step"]].numpy()
    wanted = arrays[name].reshape(-1)
    assert np.abs(found - wanted).max() <= share * np.abs(wanted).max(), name


def test_there_are_records_of_each_kind() -> None:
    assert HEADS and WHOLE and MEASURES and len(HEADS) + len(WHOLE) + len(MEASURES) == len(CASES)


@pytest.mark.parametrize("case", HEADS, ids=lambda case: f"depthclip-{case}")
def test_head(case: str) -> None:
    manifest, arrays = RECORDS.read(case)
    entries, words = manifest["arrays"], words_of(manifest["settings"])
    rows, columns = entries["depth"]["shape"][2:]
    tokens = given(entries["tokens_LNC"])
    stage = tokens.permute(1, 2, 0).unflatten(2, (rows, columns))  # [B, C, h, w]
    text = F.normalize(given(entries["text"]), dim=0).T
    logits = depth_logits(stage_features(stage, text.shape[1]), text)
    depth = depth_of(logits, torch.tensor(words.bins), words.temperature)
    assert np.abs(depth.numpy() - arrays["depth"]).max() < 2e-3


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: f"depthclip-{case}")
def test_whole(case: str) -> None:
    manifest, arrays = RECORDS.read(case)
    entries, settings = manifest["arrays"], manifest["settings"]
    words = words_of(settings)
    config = open_clip.get_model_config(f"{settings['clip']}-quickgelu")
    model = open_clip.CLIP(**config).eval().requires_grad_(False)
    state = {entry["key"]: drawn(entry) for entry in manifest["state"]}
    model.load_state_dict(state, strict=True)
    tokenize = of_open_clip(f"{settings['clip']}-quickgelu", model.context_length)[1]
    ids = tokenize(words.sentences)
    padded = torch.zeros(len(ids), model.context_length, dtype=torch.int32)
    for row, one in zip(padded, ids, strict=True):
        row[: len(one)] = torch.tensor(one)
    assert np.array_equal(padded.numpy(), arrays["tokens"])
    with torch.inference_mode():
        text = F.normalize(OpenClipText(model, tokenize)(ids, "cpu"), dim=-1)
        stage = OpenClipResNet(model.visual).stages(given(entries["image"]))["layer4"]
        logits = depth_logits(stage_features(stage, text.shape[1]), text)
        depth = depth_of(logits, torch.tensor(words.bins), words.temperature)
        whole = next(name for name in entries if name.startswith("depth_upsampled"))
        large = enlarge(depth, tuple(entries[whole]["shape"][2:]))
    close(text.T, arrays, entries["text_features_by_class"], "text_features_by_class", 1e-3)
    close(stage.flatten(2).permute(2, 0, 1), arrays, entries["layer4_tokens_LNC"], "layer4_tokens_LNC", 1e-3)
    close(logits, arrays, entries["logits_before_temperature"], "logits_before_temperature", 1e-3)
    small = next(name for name in entries if re.fullmatch(r"depth_\d+x\d+", name))
    best = torch.from_numpy(arrays["logits_before_temperature"]).topk(2, 1).values
    sure = (best[:, 0] - best[:, 1] > 0.01)[:, None].numpy()
    assert np.abs(depth.numpy() - arrays[small])[sure].max() < 1e-2
    close(large, arrays, entries[whole], whole, 1e-2)


def clamped(entry: dict[str, Any]) -> torch.Tensor:
    """A map of a record, made as its note says: clamp(a + b*t, low, high)."""
    a, b, low, high = map(float, re.findall(r"[\d.]+", entry["note"]))
    return (a + b * given(entry)).clamp(low, high)


@pytest.mark.parametrize("case", MEASURES, ids=lambda case: f"depthclip-{case}")
def test_measures(case: str) -> None:
    manifest, arrays = RECORDS.read(case)
    entries = manifest["arrays"]
    truth, prediction = (clamped(entries[name]) for name in ("gt", "pred"))
    name = next(name for name in entries if name.startswith("abs_diff"))
    measures = (
        depth_errors.nyu_errors if truth.shape[2:] == depth_errors.NYU_SIZE else depth_errors.kitti_errors
    )
    found = measures(truth, prediction)
    columns = re.findall("abs_diff|abs_rel|sq_rel|a1|a2|a3|log10|rmse_log|rmse", name)
    assert np.allclose([found[column] for column in columns], arrays[name], atol=1e-4)
