"""GLIP against the records of the paper's own code: state dict, one block, the whole network, boxes, the loss over words."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from core.detection.glip import boxes, losses
from core.detection.glip.fusion import BertLayer, VLFuse
from core.detection.glip.head import DyConv
from core.detection.glip.network import GLIPNet, architectures
from tests.parity.records import Records, drawn, normal

RECORDS = Records("glip")
LEVELS = 5


def cases(*arrays: str) -> list[str]:
    """The records that hold all of these arrays."""
    return [name for name in RECORDS.names if set(arrays) <= set(RECORDS.read(name)[0]["arrays"])]


def given(manifest: dict[str, Any], name: str) -> torch.Tensor:
    """An input of a record, as its seed makes it."""
    entry = manifest["arrays"][name]
    return normal(entry["seed_key"], entry["shape"])


def close(ours: torch.Tensor, record: Any, manifest: dict[str, Any], name: str, share: float = 1e-3) -> None:
    """The largest difference at the places that were stored, against a share of the array's greatest value."""
    entry = manifest["arrays"][name]
    assert list(ours.shape) == entry["shape"], name
    error = np.abs(ours.numpy().ravel()[:: entry["step"]] - record[name].ravel()).max() / entry["absmax"]
    assert error <= share, (name, error)


@cache
def whole(case: str) -> Any:
    """The network with made-up weights. The record names every tensor of it: none missing, none left over."""
    manifest, _ = RECORDS.read(case)
    with torch.device("meta"):
        net = GLIPNet("glip_tiny")
    ours = {key: list(value.shape) for key, value in net.state_dict().items()}
    assert ours == {entry["key"]: entry["shape"] for entry in manifest["state"]}
    fixed = {key: value for key, value in constants().items() if key in ours}
    state = {}
    for entry in manifest["state"]:
        key = entry["key"]
        state[key] = fixed[key] if key in fixed else drawn(entry).reshape(entry["shape"])
    net.load_state_dict(state, assign=True)
    return net.eval().requires_grad_(False)


def constants() -> dict[str, torch.Tensor]:
    """What the constructor makes and no training changes: tables of places."""
    row = architectures()["glip_tiny"]["backbone"]
    from core.detection.glip.backbone import relative_positions

    made = {"language_backbone.body.model.embeddings.position_ids": torch.arange(512)[None]}
    for i, depth in enumerate(row["depths"]):
        for j in range(depth):
            name = f"backbone.body.layers.{i}.blocks.{j}.attn.relative_position_index"
            made[name] = relative_positions(row["window"])
    return made


@pytest.fixture(autouse=True, scope="module")
def forget() -> Iterator[None]:
    """The network has a gigabyte."""
    yield
    whole.cache_clear()
    gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("case", cases("image", "input_ids", "det0_boxes"))
@torch.inference_mode()
def test_glip_whole_network(case: str) -> None:
    manifest, record = RECORDS.read(case)
    net = whole(case)
    pixels = given(manifest, "image")
    maps = net.backbone.body(pixels)
    for i, seen in enumerate(maps):
        close(seen, record, manifest, f"swin_stage{i}")
    levels = net.backbone.fpn(maps)
    for i, level in enumerate(levels):
        close(level, record, manifest, f"fpn{i}")
    ids = torch.from_numpy(record["input_ids"]).long()
    mask = torch.from_numpy(record["attention_mask"]) > 0
    hidden = net.language_backbone(ids, mask)
    close(hidden, record, manifest, "lang_hidden")
    close(hidden * mask[..., None], record, manifest, "lang_embedded")

    found = net.head(levels, hidden, mask)
    sizes = [h * w for h, w in found.shapes]
    parts = zip(found.deltas.split(sizes, 1), found.centerness.split(sizes, 1), strict=True)
    for i, ((deltas, central), shape) in enumerate(zip(parts, found.shapes, strict=True)):
        close(deltas.mT.unflatten(2, shape), record, manifest, f"bbox_reg{i}")
        close(central.unflatten(1, shape)[:, None], record, manifest, f"centerness{i}")
    for i, logits in enumerate(found.logits.split(sizes, 1)):
        close(logits, record, manifest, f"dot_logits{i}")
    anchors = net.anchors(found.shapes)
    close(anchors, record, manifest, "anchors_first_image")

    # Many scores lie next to each other here, so the boxes may change places: the scores tell that the same were found.
    phrases = [manifest["positive_map"][str(i + 1)] for i in range(len(manifest["positive_map"]))]
    scores = boxes.phrase_scores(found.logits[0], phrases)
    decoded = boxes.decode(found.deltas[0], anchors)
    height, width = pixels.shape[2:]
    kept = boxes.keep(scores, found.centerness[0], decoded, sizes, (width, height))
    np.testing.assert_allclose(kept.scores, record["det0_scores"], atol=2e-3)


@pytest.mark.parametrize("case", cases("visual0", "fuse_hidden", "dyconv_visual0"))
@torch.inference_mode()
def test_glip_one_block(case: str) -> None:
    manifest, record = RECORDS.read(case)
    state = {entry["key"]: drawn(entry) for entry in manifest["state"]}
    row = architectures()["glip_tiny"]
    head, width = row["head"], row["language"]["width"]
    fuse = filled(
        VLFuse(row["channels"], width, head["fusion_width"], head["fusion_heads"], 1 / 6),
        state, manifest["prefix_fuse"],
    )  # fmt: skip
    layer = filled(BertLayer(width, head["word_heads"], head["word_inner"]), state, manifest["prefix_bert"])
    dynamic = filled(
        DyConv(row["channels"], head["groups"], head["deformable"]), state, manifest["prefix_dyconv"]
    )
    maps = [given(manifest, f"visual{i}") for i in range(LEVELS)]
    hidden = given(manifest, "hidden")
    mask = torch.from_numpy(record["mask"]) > 0

    attention = fuse.b_attn
    regions = torch.cat([level.flatten(2).mT for level in maps], dim=1)
    to_regions, to_words = attention.attn(
        attention.layer_norm_v(regions), attention.layer_norm_l(hidden), mask
    )
    close(to_regions, record, manifest, "fuse_attention_delta_visual_flat")
    close(to_words, record, manifest, "fuse_attention_delta_hidden")
    fused, words = fuse(maps, hidden, mask)
    for i, level in enumerate(fused):
        close(level, record, manifest, f"fuse_visual{i}")
    close(words, record, manifest, "fuse_hidden")
    close(layer(words, mask), record, manifest, "bert_hidden")

    offset, weights = dynamic.offsets(maps[0])
    close(dynamic.DyConv[1](maps[0], offset, weights), record, manifest, "dyconv_branch1_level0")
    trap = dynamic.DyConv[0](maps[1], offset, weights)
    close(trap, record, manifest, "dyconv_branch0_level1_using_level0_offsets")
    close(dynamic.relu(maps[0]), record, manifest, "dyrelu_on_visual0")
    for i, level in enumerate(dynamic(maps)):
        close(level, record, manifest, f"dyconv_visual{i}")


def filled(module: Any, state: dict[str, torch.Tensor], prefix: str) -> Any:
    """A module with the tensors of a record below a prefix: all of them, and no other."""
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    module.load_state_dict(own, assign=True)
    return module.eval().requires_grad_(False)


@pytest.mark.parametrize("case", cases("dot_logits0", "det1_boxes_xyxy"))
def test_glip_boxes(case: str) -> None:
    """Everything behind the head: anchors, boxes, scores of phrases, suppression."""
    manifest, record = RECORDS.read(case)
    row = architectures()["glip_tiny"]
    deltas = [given(manifest, f"bbox_reg{i}") for i in range(LEVELS)]
    shapes = [(level.shape[2], level.shape[3]) for level in deltas]
    cells = boxes.cell_anchors(row["strides"], row["anchor"])
    anchors = boxes.spread(cells, row["strides"], shapes)
    close(anchors, record, manifest, "anchors", 1e-6)
    logits = torch.cat([2 * given(manifest, f"dot_logits{i}") - 2.5 for i in range(LEVELS)], dim=1)
    central = torch.cat([given(manifest, f"centerness{i}").flatten(1) for i in range(LEVELS)], dim=1)
    decoded = boxes.decode(torch.cat([level.flatten(2).mT for level in deltas], dim=1), anchors)
    phrases = [manifest["positive_map"][str(i + 1)] for i in range(len(manifest["positive_map"]))]
    for i, (height, width) in enumerate(manifest["image_sizes_hw"]):
        scores = boxes.phrase_scores(logits[i], phrases)
        levels = [h * w for h, w in shapes]
        kept = boxes.keep(scores, central[i], decoded[i], levels, (width, height))
        np.testing.assert_allclose(kept.boxes, record[f"det{i}_boxes_xyxy"], atol=1e-3)
        np.testing.assert_allclose(kept.scores, record[f"det{i}_scores"], atol=1e-5)
        np.testing.assert_array_equal(kept.phrases + 1, record[f"det{i}_labels"])


@pytest.mark.parametrize("case", cases("loss_sum", "text_mask"))
def test_glip_token_loss(case: str) -> None:
    manifest, record = RECORDS.read(case)
    logits = 2 * given(manifest, "logits") - 1
    targets = (given(manifest, "targets") > 1.2).float()
    loss = losses.token_loss(logits, targets, torch.from_numpy(record["text_mask"]))
    np.testing.assert_allclose(loss.item(), record["loss_sum"].item(), rtol=1e-5)
