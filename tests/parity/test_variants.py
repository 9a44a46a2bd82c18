"""Records of other settings are read as they are written: loss kinds, soft assignment, activations.

Each record is made here in the format of the shared ones, from small networks and the made-up weights of the rule; what differs
from the recorded settings is computed by a few lines of their own. A wrong value in a record has to fail.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from core.segmentation import lseg
from tests.core.segmentation.test_lseg import TINY_VIT
from tests.parity import test_clipasso, test_groupvit, test_lseg
from tests.parity.records import HERE, Records, normal

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TINY_CLIPS = {
    "RN101": {"image_size": 224, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "ViT-B/32": {"image_size": 224, "layers": 12, "width": 32, "head_width": 16, "patch_size": 32},
}


def write(folder: Path, case: str, manifest: dict[str, Any], arrays: dict[str, Any]) -> None:
    """A record: every array whole, with the statistics that tests compare with."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: np.asarray(value) for name, value in arrays.items()}
    notes = {
        name: {"shape": list(value.shape), "step": 1, "absmax": float(np.abs(value.astype(float)).max())}
        for name, value in kept.items()
    }
    whole = {**manifest, "case": case, "arrays": {**notes, **manifest.get("arrays", {})}}
    (folder / f"{case}.manifest.json").write_text(json.dumps(whole))
    np.savez(folder / f"{case}.npz", **kept)


def rule(key: str, value: torch.Tensor) -> str:
    """Which line of the weight rule a tensor falls under."""
    if not value.shape:
        return "default"
    for end, name in (("running_var", "var"), ("running_mean", "mean")):
        if key.endswith(end):
            return name
    if value.ndim == 1:
        return "scale" if key.endswith("weight") else "bias"
    small = ("embedding.weight", "pos_embed", "positional_embedding", "cls_token")
    return "embed" if key.endswith(small) else "fanin"


def listed(model: torch.nn.Module) -> list[dict[str, Any]]:
    """The state of a network as a manifest lists it."""
    entries = []
    for key, value in model.state_dict().items():
        entry: dict[str, Any] = {"key": key, "shape": list(value.shape), "rule": rule(key, value)}
        entry["dtype"] = str(value.dtype).removeprefix("torch.")
        if entry["rule"] == "default":
            entry["value"] = 2.659 if value.is_floating_point() else 0
        else:
            t = normal(key, value.shape)
            first = t.flatten()[0].item()
            entry["first"] = {
                "var": 1 + 0.1 * abs(first),
                "scale": 1 + 0.1 * first,
                "mean": 0.1 * first,
                "bias": 0.1 * first,
                "embed": 0.02 * first,
                "fanin": first / (t.numel() / value.shape[0]) ** 0.5,
            }[entry["rule"]]
        entries.append(entry)
    return entries


# --- CLIPasso --------------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "L1": lambda a, b: (a - b).abs().mean(),
    "L2": lambda a, b: ((a - b) ** 2).mean(),
    "Cos": lambda a, b: (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).mean(),
}


@pytest.fixture
def clipasso(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, vision in TINY_CLIPS.items():
        path = tmp_path / f"variant-{name.replace('/', '-')}.json"
        path.write_text(
            json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": TEXT, "quick_gelu": True})
        )
        open_clip.add_model_config(path)
        monkeypatch.setitem(test_clipasso.MODELS, name, path.stem)
    monkeypatch.setattr(test_clipasso, "FOLDER", tmp_path / "clipasso")
    return tmp_path / "clipasso"


def loss_record(folder: Path, clip: str, kinds: str | list[str], wrong: float = 0.0) -> str:
    """A record of a loss of this kind, or of these kinds layer by layer."""
    vision = test_clipasso.tower(clip)
    count = 5 if clip.startswith("RN") else 12
    weights = [0.0] * count
    weights[2], weights[-1] = 1.0, 0.5
    names = vision.stage_names
    rng = np.random.default_rng(0)
    sketch_u8, photo_u8 = (rng.integers(0, 256, (224, 224, 3), np.uint8) for _ in range(2))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (test_clipasso.OPENAI_MEAN, test_clipasso.OPENAI_STD))
    sketch = test_clipasso.pixels(sketch_u8).requires_grad_()
    seen, photo = vision.see((sketch - mean) / std), vision.see((test_clipasso.pixels(photo_u8) - mean) / std)
    each = [kinds] * count if isinstance(kinds, str) else kinds
    terms = {
        f"clip_conv_loss_layer{i}": weight * KINDS[kind](seen.maps[name], photo.maps[name])
        for i, (name, weight, kind) in enumerate(zip(names, weights, each, strict=True))
        if weight
    }
    terms["fc"] = 0.1 * (1 - F.cosine_similarity(seen.image_features, photo.image_features)).mean()
    total = torch.stack(list(terms.values())).sum()
    (grad,) = torch.autograd.grad(total, sketch)
    arrays = {name: value.detach().numpy() * (1 + wrong) for name, value in terms.items()}
    arrays |= {"total": total.detach().numpy() * (1 + wrong), "grad_wrt_sketch": grad.numpy()}
    arrays |= {"fc_photo": photo.image_features.numpy(), "sketch_u8": sketch_u8, "photo_u8": photo_u8}
    settings = {
        "clip": clip,
        "conv_loss": kinds,
        "layer_weights": weights,
        "fc_weight": 0.1,
        "fc_distance": "1-cosine",
    }
    write(folder, "loss_variant", {"system": "CLIPasso", "settings": settings, "state": []}, arrays)
    return "loss_variant"


MIXED = ["L1", "L2", "Cos", "L2", "L1"]


@pytest.mark.parametrize("clip", TINY_CLIPS)
@pytest.mark.parametrize("kinds", [*KINDS, MIXED], ids=str)
def test_clipassos_loss_is_of_the_recorded_kind(clip: str, kinds: Any, clipasso: Path) -> None:
    if isinstance(kinds, list) and not clip.startswith("RN"):
        kinds = [*kinds, *["L1"] * 6, "Cos"]
    test_clipasso.test_losses_and_their_gradient(loss_record(clipasso, clip, kinds))


def test_a_wrong_loss_fails(clipasso: Path) -> None:
    case = loss_record(clipasso, "RN101", "L1", wrong=0.01)
    with pytest.raises(AssertionError):
        test_clipasso.test_losses_and_their_gradient(case)
    path = clipasso / f"{case}.manifest.json"
    loss_record(clipasso, "RN101", "L1")
    path.write_text(path.read_text().replace('"L1"', '"L2"'))
    with pytest.raises(AssertionError):
        test_clipasso.test_losses_and_their_gradient(case)


# --- GroupViT --------------------------------------------------------------------------------------------------


def groupvit_record(folder: Path, case: str, claim: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' own forward pass with the softmax in place of its hard one; `claim` is what the manifest says."""
    from transformers.models.groupvit import modeling_groupvit

    monkeypatch.setattr(modeling_groupvit, "hard_softmax", lambda logits, dim: logits.softmax(dim))
    model, key, shape = test_groupvit.model(), f"groupvit/{case}/image", [1, 3, 224, 224]
    image = normal(key, shape)
    with torch.inference_mode():
        vision = model.vision_model(image, output_attentions=True)
        pooled = model.get_image_features(image).pooler_output
        groups = model.visual_projection(vision.last_hidden_state[0])[None]
        texts = [["a photo of a cat.", "itap of a cat."], ["a photo of a dog.", "itap of a dog."]]
        ids = test_groupvit.tokens([text for pair in texts for text in pair])
        features = model.get_text_features(ids).pooler_output.unflatten(0, (2, 2))
    mean = F.normalize(features.mean(1), dim=-1)
    first, second = vision.attentions
    arrays = {
        "tokens": ids.unflatten(0, (2, 2)),
        "image_feat": groups,
        "image_x": pooled,
        "text_x_first_template": features[:, 0],
        "text_embedding_mean_of_templates": mean,
        "zero_shot_cosine": F.normalize(pooled, dim=-1) @ mean.T,
        "combined_assignment_argmax": (second @ first).argmax(1),
    }
    for i, soft in enumerate((first, second)):
        arrays |= {
            f"stage{i}_assign_soft": soft[:, None],
            f"stage{i}_assign_hard_argmax": soft[:, None].argmax(2),
        }
    manifest = {
        "settings": {}, "hard_assignment": claim, "texts": texts, "state": "same as hard_224_a0_a.manifest.json",
        "arrays": {"image": {"shape": shape, "seed_key": key}},
    }  # fmt: skip
    write(folder, case, manifest, {name: value.numpy() for name, value in arrays.items()})


@pytest.mark.slow
def test_groupvits_assignment_is_of_the_recorded_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOLDENS", str(tmp_path))
    monkeypatch.setattr(test_groupvit, "RECORDS", Records("groupvit"))
    test_groupvit.model.cache_clear()
    groupvit_record(tmp_path / "groupvit", "soft", False, monkeypatch)
    test_groupvit.test_groupvit_grouping_and_features("soft")
    groupvit_record(tmp_path / "groupvit", "soft", True, monkeypatch)
    with pytest.raises(AssertionError):  # the same numbers, said to be those of a hard assignment
        test_groupvit.test_groupvit_grouping_and_features("soft")


# --- LSeg ------------------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": lambda y: torch.where(y > 0, y, torch.zeros_like(y)),
    "lrelu": lambda y: torch.where(y > 0, y, 0.01 * y),
    "tanh": lambda y: 2 / (1 + (-2 * y).exp()) - 1,
}


@pytest.fixture
def tiny_lseg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "variant-lseg.json"
    vision = {"image_size": 32, "layers": 1, "width": 16, "head_width": 16, "patch_size": 16}
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": TEXT}))
    open_clip.add_model_config(path)
    monkeypatch.setattr(lseg, "architectures", lambda: {"variant": {**TINY_VIT, "clip": "variant-lseg"}})
    monkeypatch.setitem(test_lseg.ARCHITECTURES, "variant_vit", "variant")
    monkeypatch.setenv("GOLDENS", str(tmp_path))
    monkeypatch.setattr(test_lseg, "RECORDS", Records("lseg"))
    monkeypatch.setattr(test_lseg, "MADE", {})
    return tmp_path / "lseg"


def lseg_record(folder: Path, option: int, depth: int, activation: str, once: bool) -> str:
    """A record of a small network; the block is computed by its formula, once with or `depth` times without a last activation."""
    with torch.device("meta"):
        net = lseg.LSegNet("variant", test_lseg.BLOCKS[option], depth)  # type: ignore[arg-type]
    case, labels = "variant", ["cat", "dog", "a red car"]
    key, shape = f"lseg/{case}/image", [2, 3, 64, 96]
    settings = {
        "backbone": "variant_vit",
        "activation": activation,
        "arch_option": option,
        "block_depth": depth,
    }
    manifest = {
        "settings": settings, "labels": labels, "state": listed(net),
        "arrays": {"image": {"shape": shape, "seed_key": key}},
    }  # fmt: skip
    write(folder, case, manifest, {})  # so that the network can be built from it
    made = test_lseg.built(case, "variant", block=test_lseg.BLOCKS[option], depth=depth)
    tokens = open_clip.get_tokenizer("ViT-B-32-quickgelu")(labels)
    with torch.inference_mode():
        texts = made.clip_pretrained.encode_text(tokens)
        hooks = list(made.pretrained.tokens(normal(key, shape)))
        paths = made.scratch.paths(made.pretrained(normal(key, shape)))
        head = made.scratch.head1(paths[-1])
        unit = F.normalize(head, dim=1), F.normalize(texts, dim=1)
        before = torch.einsum("bdhw,nd->bnhw", *unit) / 0.07
        conv = made.scratch.head_block.depthwise.depthwise
        after = before
        for time in range(1 if once else depth):
            shared = torch.stack(
                [F.conv2d(x[:, None], conv.weight, conv.bias, padding=1)[:, 0] for x in after.unbind(1)], 1
            )
            shared = shared + after.amax(1, keepdim=True) if option == 1 else shared
            after = ACTIVATIONS[activation](shared) if once or time < depth - 1 else shared
        output = F.interpolate(after, scale_factor=2, mode="bilinear", align_corners=True)
    arrays = {
        "tokens": tokens, "text_features": texts, "path_4": paths[0], "path_1": paths[-1], "head1": head,
        "logits_before_blocks": before, "logits_before_upsample": after, "output": output, "argmax": output.argmax(1),
        **{f"vit_hook{i}": seen for i, seen in enumerate(hooks, 1)},
    }  # fmt: skip
    write(folder, case, manifest, {name: value.numpy() for name, value in arrays.items()})
    return case


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("option", "depth", "once"), [(1, 2, False), (2, 4, False), (1, 1, True), (2, 1, True)]
)
def test_lsegs_activation_is_the_recorded_one(
    activation: str, option: int, depth: int, once: bool, tiny_lseg: Path
) -> None:
    case = lseg_record(tiny_lseg, option, depth, activation, once)
    test_lseg.test_lseg_whole_network(case)
    path = tiny_lseg / f"{case}.manifest.json"
    other = {"relu": "tanh", "lrelu": "tanh", "tanh": "relu"}[activation]
    path.write_text(path.read_text().replace(f'"activation": "{activation}"', f'"activation": "{other}"'))
    with pytest.raises(AssertionError):
        test_lseg.test_lseg_whole_network(case)


def test_the_records_of_this_repository_are_whole() -> None:
    for system in ("clipasso", "groupvit", "lseg"):
        manifests = [json.loads(path.read_text()) for path in (HERE / system).glob("*.manifest.json")]
        assert manifests
        for manifest in manifests:
            settings = manifest["settings"]
            assert "layer_weights" not in settings or settings["conv_loss"] in KINDS
            assert "arch_option" not in settings or settings["activation"] in ACTIVATIONS
