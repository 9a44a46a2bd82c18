"""GroupViT against the records of the paper's own code: grouping, features, assignments, decoding to pixels."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from core.segmentation import grouping
from tests.parity.records import Records, drawn, normal

RECORDS = Records("groupvit")


@cache
def model() -> Any:
    """transformers' class with the made-up weights of the original names, each put where the map says."""
    from transformers import GroupViTConfig, GroupViTModel

    source = next(m for m in RECORDS.manifests if isinstance(m.get("key_map_to_transformers"), dict))
    state: dict[str, torch.Tensor] = {}
    for entry in source["state"]:
        value, names = drawn(entry), source["key_map_to_transformers"][entry["key"]]
        if len(value.shape) == 3 and value.shape[-1] == 1:
            value = value.squeeze(-1)  # a 1 x 1 convolution is a linear map
        parts = value.chunk(len(names)) if len(names) > 1 else [value]
        state.update(zip(names, parts, strict=True))
    assert (
        state.pop("multi_label_logit_scale") is not None
    )  # of training; transformers' class has no place for it
    net = GroupViTModel(GroupViTConfig())
    report = net.load_state_dict(state, strict=False)
    assert not report.unexpected_keys
    assert all(name.endswith("position_ids") for name in report.missing_keys)
    return net.eval().requires_grad_(False)


def tokens(texts: list[str]) -> torch.Tensor:
    return open_clip.get_tokenizer("ViT-B-32-quickgelu")(texts)


def text_embeddings(record: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, D] of the first template, and the normalised mean over templates [N, D]."""
    ids = torch.from_numpy(record["tokens"]).long()
    features = model().get_text_features(ids.flatten(0, 1)).pooler_output.unflatten(0, ids.shape[:2])
    return features[:, 0], F.normalize(features.mean(1), dim=-1)


def pixels(manifest: dict[str, Any]) -> torch.Tensor:
    entry = manifest["arrays"]["image"]
    return normal(entry["seed_key"], entry["shape"])


def sparse(ours: torch.Tensor, manifest: dict[str, Any], name: str) -> np.ndarray:
    """Our array at the places that were stored."""
    entry = manifest["arrays"][name]
    assert list(ours.shape) == entry["shape"], name
    return ours.numpy().ravel()[:: entry["step"]]


def cases(field: str) -> list[str]:
    """The records that have this field, at the top or among their settings."""
    return [
        name
        for name in RECORDS.names
        if field in {**RECORDS.read(name)[0], **RECORDS.read(name)[0]["settings"]}
    ]


def test_every_groupvit_record_has_its_test() -> None:
    assert sorted([*cases("hard_assignment"), *cases("with_background")]) == RECORDS.names and RECORDS.names


@pytest.mark.parametrize("case", cases("hard_assignment"))
@torch.inference_mode()
def test_groupvit_grouping_and_features(case: str) -> None:
    manifest, record = RECORDS.read(case)
    hard = manifest["hard_assignment"]
    seen = grouping.encode(model(), pixels(manifest), hard=hard)
    for i, soft in enumerate(seen.assignments):
        name = f"stage{i}_assign_soft"
        np.testing.assert_allclose(sparse(soft[:, None], manifest, name), record[name].ravel(), atol=2e-4)
        ranked = soft.sort(dim=1, descending=True).values
        clear = (ranked[:, 0] - ranked[:, 1] > 1e-4).numpy()
        same = soft.argmax(1).numpy() == record[f"stage{i}_assign_hard_argmax"][:, 0]
        assert same[clear].all() and clear.mean() > 0.9
    # The record follows the choices, a patch's group and then that group's group, or the product of soft assignments.
    first, second = (soft.argmax(1).numpy() for soft in seen.assignments)
    followed = np.take_along_axis(second, first, axis=1)
    product = grouping.compose(seen.assignments)[-1].argmax(1).numpy()
    wanted = record["combined_assignment_argmax"]
    assert max((way == wanted).mean() for way in ([followed] if hard else [followed, product])) > 0.99
    np.testing.assert_allclose(
        sparse(seen.group_features, manifest, "image_feat"), record["image_feat"].ravel(), atol=1e-3
    )
    np.testing.assert_allclose(
        sparse(seen.image_features, manifest, "image_x"), record["image_x"].ravel(), atol=1e-3
    )

    first, texts = text_embeddings(record)
    assert (
        tokens([t for pair in manifest["texts"] for t in pair]).numpy() == record["tokens"].reshape(-1, 77)
    ).all()
    np.testing.assert_allclose(
        sparse(first, manifest, "text_x_first_template"), record["text_x_first_template"].ravel(), atol=1e-3
    )
    np.testing.assert_allclose(texts.numpy(), record["text_embedding_mean_of_templates"], atol=2e-4)
    cosines = F.normalize(seen.image_features, dim=-1) @ texts.T
    np.testing.assert_allclose(cosines.numpy(), record["zero_shot_cosine"], atol=2e-4)


@pytest.mark.parametrize("case", cases("with_background"))
@torch.inference_mode()
def test_groupvit_decoding_to_pixels(case: str) -> None:
    manifest, record = RECORDS.read(case)
    settings = manifest["settings"]
    picture = pixels(manifest)
    height, width = picture.shape[-2:]
    seen = grouping.encode(model(), picture, hard=settings.get("hard_assignment", True))
    composed = grouping.compose(seen.assignments)[-1].unflatten(2, seen.grid)  # [1, G, h, w]
    maps = F.interpolate(composed, (height, width), mode="bilinear", align_corners=False)
    ours = sparse(maps.permute(0, 2, 3, 1), manifest, "final_attention_map")
    np.testing.assert_allclose(ours, record["final_attention_map"].ravel(), atol=2e-4)
    groups = maps.argmax(1)[0]
    assert (groups.numpy() == record["final_group_argmax"][0]).mean() > 0.99

    _, texts = text_embeddings(record)
    np.testing.assert_allclose(texts.numpy(), record["text_embedding"], atol=2e-4)
    scale = min(float(model().logit_scale.exp()), 100.0)
    image = F.normalize(seen.image_features[0], dim=-1) @ texts.T
    cosines = F.normalize(seen.group_features[0], dim=-1) @ texts.T
    scores = grouping.group_scores(cosines, image, scale, settings["top_classes_kept"])
    maps = scores[groups].permute(2, 0, 1)  # [N, H, W]
    if settings["with_background"]:
        line = grouping.background_line(scores, settings["bg_thresh"])
        maps = torch.cat([(maps.amax(0, keepdim=True) < line).float(), maps])
    step = manifest["arrays"]["pred_logits"]["step"]
    error = np.abs(maps.numpy().ravel()[::step] - record["pred_logits"].ravel())
    assert (error < 1e-4).mean() > 0.99
    assert (maps.argmax(0).numpy() == record["pred_argmax"][0]).mean() > 0.99


@torch.inference_mode()
def test_groupvit_grouping_is_transformers() -> None:
    picture = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    theirs = model().vision_model(picture, output_attentions=True)
    ours = grouping.encode(model(), picture)
    for soft, expected in zip(ours.assignments, theirs.attentions, strict=True):
        torch.testing.assert_close(soft, expected, atol=1e-6, rtol=1e-4)
    expected = model().get_image_features(picture).pooler_output
    torch.testing.assert_close(ours.image_features, expected, atol=1e-4, rtol=1e-4)
