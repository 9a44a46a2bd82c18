"""CLIP-ViL against the records of the published code: grid and caption features of CLIP's ResNets, MCAN's layers, the net."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet
from PIL import Image
from torch import nn

from core.vqa.clip_vil import grid, mcan
from tests.parity.records import Records, drawn, normal
from tests.parity.test_clip4clip import close, filled, given

RECORDS = Records("clip_vil")
HEAD_SIZE = 64  # channels of a head in the attention pooling of CLIP's ResNets


def cases(*arrays: str) -> list[str]:
    """The records that hold all of these arrays."""
    return [name for name in RECORDS.names if set(arrays) <= set(RECORDS.read(name)[0]["arrays"])]


def share(manifest: dict[str, Any]) -> float:
    """The tolerance of a record, as a share of the largest number."""
    told = manifest["tolerance"]
    return float(re.findall(r"[\d.]+(?:e-?\d+)?", told if isinstance(told, str) else told["others"])[0])


def tower(manifest: dict[str, Any]) -> Any:
    """The ResNet that a record's settings ask for."""
    s = manifest["settings"]
    shapes = {entry["key"]: entry["shape"] for entry in manifest["state"]}
    out = shapes["visual.attnpool.c_proj.weight"][0]
    heads = 32 * s["width"] // HEAD_SIZE
    with torch.device("meta"):
        made = ModifiedResNet(s["layers"], out, heads, s["input_resolution"], s["width"])
    return filled(made, manifest, "visual.")


def pixels(manifest: dict[str, Any], size: tuple[int, int]) -> torch.Tensor:
    """The input that a record makes of blocks: every value repeated until the size is full."""
    entry = manifest["arrays"]["blocks"]
    blocks = normal(entry["seed_key"], entry["shape"])
    for operation, value in entry["then"]:
        blocks = getattr(torch, operation)(blocks, value)
    rows, columns = size[0] // blocks.shape[2], size[1] // blocks.shape[3]
    return blocks.repeat_interleave(rows, 2).repeat_interleave(columns, 3)


def photo(manifest: dict[str, Any], record: Any) -> torch.Tensor:
    """The pixels of a stored image as the tower of the record gets them."""
    told = manifest["settings"]["resize"]
    short, longest = map(int, re.findall(r"side (\d+) with longest at most (\d+)", told)[0])
    height, width = map(int, re.findall(r"exactly (\d+)x(\d+)", told)[0])
    image = Image.fromarray(record["image_u8"])
    resized = np.asarray(grid.resized(image, grid.GridView(short, longest, (height, width))))
    entry = manifest["arrays"]["resized_u8"]
    assert list(resized.shape) == entry["shape"]
    found = resized.reshape(-1)[:: entry["step"]].astype(int)
    assert np.abs(found - record["resized_u8"].reshape(-1).astype(int)).max() <= 1
    levels = torch.from_numpy(resized.copy()).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return (levels - mean) / std


CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.parametrize("case", cases("grid_features"))
@torch.inference_mode()
def test_clip_vil_grid_features(case: str) -> None:
    manifest, record = RECORDS.read(case)
    visual = tower(manifest)
    size = tuple(manifest["settings"]["input"][2:])
    seen = photo(manifest, record) if "image_u8" in record else pixels(manifest, size)
    assert list(seen.shape) == manifest["settings"]["input"]
    maps = grid.stages(visual, seen)
    for name in sorted(maps.keys() & manifest["arrays"].keys()):
        close(maps[name], record, manifest, name, share(manifest))
    close(grid.grid_features(visual, seen), record, manifest, "grid_features", share(manifest))


@pytest.mark.parametrize("case", cases("att", "fc"))
@torch.inference_mode()
def test_clip_vil_caption_features(case: str) -> None:
    manifest, record = RECORDS.read(case)
    side = manifest["settings"]["input"]
    (mode,) = re.findall("^(bilinear|bicubic)", manifest["settings"]["position_resize"])
    found = grid.caption_features(tower(manifest), pixels(manifest, (side, side)), mode)
    close(found.positions, record, manifest, "positional_embedding", share(manifest))
    close(found.att[0], record, manifest, "att", share(manifest))
    close(found.fc[0], record, manifest, "fc", share(manifest))


def settings_of(manifest: dict[str, Any]) -> mcan.MCANSettings:
    """The sizes that a record names."""
    s = manifest["settings"]
    sizes = {
        name: s[name] for name in ("hidden", "heads", "layers", "ff", "flat_mlp", "glimpses", "flat_out")
    }
    return mcan.MCANSettings(
        s.get("token_size", 2),
        s.get("answer_size", 2),
        s.get("image_feature", 2),
        s.get("word_embed", 2),
        **sizes,
    )


@pytest.mark.parametrize("case", cases("lang_flat", "image_flat"))
@torch.inference_mode()
def test_mcan_layers(case: str) -> None:
    manifest, record = RECORDS.read(case)
    own = settings_of(manifest)
    parts = {"backbone": mcan.MCA(own), "attflat_img": mcan.AttFlat(own), "attflat_lang": mcan.AttFlat(own)}
    net: Any = filled(nn.ModuleDict(parts), manifest)
    words, places = given(manifest, record, "lang"), given(manifest, record, "image")
    word_mask, mask = (torch.from_numpy(record[name]).bool() for name in ("lang_mask", "image_mask"))
    told = share(manifest)
    every = net["backbone"].encode(words, word_mask)
    after = net["backbone"].decode(places, every[-1], mask, word_mask)
    for at in range(own.layers):
        for name, maps in (("lang_layer", every), ("image_layer", after)):
            if f"{name}{at}" in record:
                close(maps[at], record, manifest, f"{name}{at}", told)
    close(net["attflat_lang"](every[-1], word_mask), record, manifest, "lang_flat", told)
    close(net["attflat_img"](after[-1], mask), record, manifest, "image_flat", told)


@pytest.mark.parametrize("case", cases("ques_ix", "probabilities"))
@torch.inference_mode()
def test_mcan_net(case: str) -> None:
    manifest, record = RECORDS.read(case)
    net = filled(mcan.MCAN(settings_of(manifest)), manifest)
    features = given(manifest, record, "image_features").clone()
    for rows, one in zip(record["image_rows"].tolist(), features, strict=True):
        one[rows:] = 0
    ids = torch.from_numpy(record["ques_ix"]).long()
    logits = net(features, ids)
    assert np.abs(logits.sigmoid().numpy() - record["probabilities"]).max() < 1e-5
    assert torch.allclose(net.look(features, ids).logits, logits, atol=1e-6)
    loss = mcan.answer_loss(logits, torch.from_numpy(record["targets"]))
    np.testing.assert_allclose(loss.item(), record["loss_bce_sum"].item(), rtol=1e-4)


def test_every_clip_vil_record_has_its_test() -> None:
    ours = {
        *cases("grid_features"),
        *cases("att", "fc"),
        *cases("lang_flat", "image_flat"),
        *cases("ques_ix", "probabilities"),
    }
    assert ours == set(RECORDS.names) and RECORDS.names


@torch.inference_mode()
def test_the_grid_of_an_rn50x4_has_its_width_at_any_size() -> None:
    """Width 80, blocks 4-6-10-6: 2,560 channels, which no input size changes."""
    torch.manual_seed(0)
    visual = ModifiedResNet([4, 6, 10, 6], 640, 40, 288, 80).eval()
    assert grid.grid_features(visual, torch.randn(1, 3, 97, 160)).shape == (1, 3, 5, 2560)


def test_a_record_is_filled_by_its_rule() -> None:
    manifest, _ = RECORDS.read(cases("lang_flat")[0])
    gain = next(entry for entry in manifest["state"] if entry["key"].endswith("norm1.a_2"))
    assert drawn(gain).mean().item() == pytest.approx(1, abs=0.1)
