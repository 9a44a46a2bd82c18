"""LSeg against the records of the paper's own code: state dict, every stage, label maps, sliding evaluation."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from core import runtime
from core.segmentation import evaluation
from core.segmentation.dpt import double
from core.segmentation.lseg import LSegNet, label_maps
from tests.parity.records import Records, drawn, normal

RECORDS = Records("lseg")
ARCHITECTURES = {"clip_vitl16_384": "vit_l16"}
BLOCKS = {0: "none", 1: "bottleneck", 2: "depthwise"}


# Weights of the last network, by their entry in the record: most cases are of the same network.
MADE: dict[str, torch.Tensor] = {}


def entries(case: str) -> list[dict[str, Any]]:
    """The whole state of a case: its own entries, after those of a record of the same network that lists it all."""
    manifest, _ = RECORDS.read(case)
    own = manifest["state"]
    if len(own) > 2:
        return own
    backbone = manifest["settings"]["backbone"]
    for other in RECORDS.manifests:
        if other["settings"].get("backbone") == backbone and len(other["state"]) > 2:
            return other["state"] + own
    raise AssertionError(f"no record lists the tensors of {backbone}")


def built(case: str, architecture: str, **block: Any) -> Any:
    """The network with made-up weights. The record names every tensor of it: none missing, none left over."""
    with torch.device("meta"):
        net: Any = LSegNet(architecture, **block)
    listed = {entry["key"]: entry for entry in entries(case)}
    ours = {key: list(value.shape) for key, value in net.state_dict().items()}
    assert ours == {key: entry["shape"] for key, entry in listed.items()}
    # The image tower of CLIP runs nowhere: a quarter of the weights need not be made.
    net.clip_pretrained.visual = None
    wanted = {key: json.dumps(entry) for key, entry in listed.items() if ".visual." not in key}
    for stale in MADE.keys() - set(wanted.values()):
        del MADE[stale]
    MADE.update({entry: drawn(json.loads(entry)) for entry in wanted.values() if entry not in MADE})
    net.load_state_dict({key: MADE[entry] for key, entry in wanted.items()}, assign=True)
    places = net.clip_pretrained.context_length
    net.clip_pretrained.attn_mask = torch.full((places, places), -torch.inf).triu_(1)
    return net.eval().requires_grad_(False)


@pytest.fixture(autouse=True, scope="module")
def forget() -> Iterator[None]:
    """A network has two gigabytes."""
    yield
    MADE.clear()
    gc.collect()


def distance(ours: torch.Tensor, record: Any, manifest: dict[str, Any], name: str) -> float:
    """The largest difference at the places that were stored, as a share of the array's greatest value."""
    entry = manifest["arrays"][name]
    assert list(ours.shape) == entry["shape"], name
    return float(
        np.abs(ours.numpy().ravel()[:: entry["step"]] - record[name].ravel()).max() / entry["absmax"]
    )


def close(ours: torch.Tensor, record: Any, manifest: dict[str, Any], name: str) -> None:
    error = distance(ours, record, manifest, name)
    assert error <= 1e-3, (name, error)


def cases(*settings: str) -> list[str]:
    """The records whose settings have all of these."""
    return sorted(name for name in RECORDS.names if set(settings) <= set(RECORDS.read(name)[0]["settings"]))


@pytest.mark.slow
@pytest.mark.parametrize("case", cases("backbone", "arch_option"))
@torch.inference_mode()
def test_lseg_whole_network(case: str) -> None:
    manifest, record = RECORDS.read(case)
    settings = manifest["settings"]
    kind = BLOCKS[settings["arch_option"]]
    block = {"block": kind, "depth": settings["block_depth"], "activation": settings["activation"]}
    net = built(case, ARCHITECTURES[settings["backbone"]], **block)
    pixels = normal(manifest["arrays"]["image"]["seed_key"], manifest["arrays"]["image"]["shape"])

    tokens = open_clip.get_tokenizer("ViT-B-32-quickgelu")(manifest["labels"])
    np.testing.assert_array_equal(tokens.numpy(), record["tokens"])
    text_features = net.clip_pretrained.encode_text(tokens)
    close(text_features, record, manifest, "text_features")
    hooks = list(net.pretrained.tokens(pixels))
    for i, seen in enumerate(hooks, 1):
        close(seen, record, manifest, f"vit_hook{i}")
    net.pretrained.tokens = lambda _: hooks  # what follows need not compute them again
    paths = net.scratch.paths(net.pretrained(pixels))
    close(paths[0], record, manifest, "path_4")
    close(paths[-1], record, manifest, "path_1")
    head = net.scratch.head1(paths[-1])
    close(head, record, manifest, "head1")
    before = label_maps(F.normalize(head, dim=1), text_features)
    if kind != "none":
        close(before, record, manifest, "logits_before_blocks")
    # The published code applies the block `block_depth` times, the last time without its activation; so do we, and
    # tests/core/segmentation/test_lseg.py compares that chain with the formula. The records of the blocks hold one application
    # with its activation instead, whatever their depth: a record may be either, to the same tolerance.
    readings = [net.regularized(before)]
    if kind != "none":
        readings.append(net.scratch.head_block.once(before, activate=True))
    after = min(readings, key=lambda maps: distance(maps, record, manifest, "logits_before_upsample"))
    close(after, record, manifest, "logits_before_upsample")
    agrees(double(after), record, manifest)
    torch.testing.assert_close(net(pixels, text_features), double(readings[0]))


def agrees(output: torch.Tensor, record: Any, manifest: dict[str, Any]) -> None:
    close(output, record, manifest, "output")
    entry = manifest["arrays"]["argmax"]
    same = output.argmax(1).numpy().ravel()[:: entry["step"]] == record["argmax"].ravel()
    assert same.mean() > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("case", cases("label_list", "class_of_each_image"))
@torch.inference_mode()
def test_lseg_few_shot_variant(case: str) -> None:
    manifest, record = RECORDS.read(case)
    settings = manifest["settings"]
    net = built(case, "resnet101")
    pixels = normal(manifest["arrays"]["image"]["seed_key"], manifest["arrays"]["image"]["shape"])
    maps = net.pretrained(pixels)
    close(net.scratch.layer4_rn(maps[3]), record, manifest, "layer4_rn")
    path = net.scratch.paths(maps)[-1]
    close(path, record, manifest, "path_1")
    close(net.scratch.head1(path), record, manifest, "head1")

    pairs = [["others", name] for name in settings["label_list"]]
    tokens = torch.stack([open_clip.get_tokenizer("ViT-B-32-quickgelu")(pair) for pair in pairs])
    np.testing.assert_array_equal(tokens.numpy(), record["tokens_per_class"])
    text_features = net.clip_pretrained.encode_text(tokens.flatten(0, 1)).unflatten(0, (-1, 2))
    # Each image of a batch has the pair of its own class.
    agrees(net(pixels, text_features[settings["class_of_each_image"]]), record, manifest)


@pytest.mark.parametrize("case", cases("base_size", "crop_size", "scales"))
def test_lseg_sliding_evaluation(case: str) -> None:
    manifest, record = RECORDS.read(case)
    settings = manifest["settings"]
    picture, kernel = (
        normal(manifest["arrays"][name]["seed_key"], manifest["arrays"][name]["shape"])
        for name in ("image", "kernel")
    )
    calls = []

    def network(window: torch.Tensor) -> torch.Tensor:
        assert window.shape[-2:] == (settings["crop_size"], settings["crop_size"])
        calls.append(window)
        return torch.tanh(F.conv2d(window, kernel, padding=1) / 3)

    sliding = evaluation.Sliding(
        settings["base_size"], settings["crop_size"], tuple(settings["scales"]), settings["flip"]
    )
    steps = evaluation.multi_scale(network, picture, sliding)
    done: list[int] = []
    scores = runtime.finish(steps, done.append)
    assert len(calls) == settings["network_calls"] == evaluation.passes(*picture.shape[-2:], sliding)
    assert done == list(range(1, len(calls) + 1))
    np.testing.assert_allclose(scores.numpy(), record["scores"], atol=manifest["tolerance"])


def test_every_lseg_record_has_its_test() -> None:
    found = [
        *cases("backbone", "arch_option"),
        *cases("label_list", "class_of_each_image"),
        *cases("base_size", "crop_size", "scales"),
    ]
    assert sorted(found) == sorted(RECORDS.names) and found
