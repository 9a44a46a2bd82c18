"""PointCLIP against its research code: rotations, depth images and adapter of the records, whatever their settings."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from core.spatial import projection
from core.spatial.adapter import AdapterSettings, InterViewAdapter, adapted_logits, cloud_logits, smooth_loss
from core.spatial.projection import Perspective
from tests.parity.records import Records, drawn, normal

RECORDS = Records("pointclip")
CASES = {name: RECORDS.read(name)[0] for name in RECORDS.names}
PROJECTED = [name for name, manifest in CASES.items() if "rot_mat" in manifest["arrays"]]
ADAPTED = [name for name, manifest in CASES.items() if "adapted" in manifest["arrays"]]


def settings_of(manifest: dict[str, Any]) -> Perspective:
    """The projection that a manifest names: sets of views by their number, the size of a point's square by its text."""
    s = manifest["settings"]
    views = {6: projection.SIX, 10: projection.TEN}[s["num_views"]]
    size = re.search(r"\((\d+)x(\d+)\)", s.get("splat", "(1x1)"))
    assert size is not None
    spread = s.get("size_x", int(size[1])), s.get("size_y", int(size[2]))
    return Perspective(views, None, s["resolution"], -s["translation_z"], spread)


def points_of(case: str, manifest: dict[str, Any], arrays: Any) -> torch.Tensor:
    """The cloud of a record."""
    return torch.from_numpy(arrays["points"])


def test_there_are_records() -> None:
    assert PROJECTED and ADAPTED and set(PROJECTED) | set(ADAPTED) == set(CASES)


@pytest.mark.parametrize("case", PROJECTED, ids=lambda case: f"pointclip-{case}")
def test_depth_images(case: str) -> None:
    manifest, arrays = RECORDS.read(case)
    settings = settings_of(manifest)
    assert np.abs(projection.rotations(settings.views).numpy() - arrays["rot_mat"]).max() < 1e-6
    points = points_of(case, manifest, arrays)
    views = projection.project(points, settings)[0]
    wanted = torch.zeros(views.numel())
    places = torch.from_numpy(arrays["depth_nonzero_flat_index"]).long()
    wanted[places] = torch.from_numpy(arrays["depth_nonzero_value"])
    wanted = wanted.reshape(views.shape)
    same = (views > 0) == (wanted > 0)
    # A point whose coordinate is a whole number within rounding may fall on the pixel beside it.
    assert (~same).sum() <= 2
    assert (views - wanted)[same].abs().max() < 1e-5
    if "clip_input_224" in arrays:
        entry = manifest["arrays"]["clip_input_224"]
        pixels = projection.as_pixels(views[None], entry["shape"][-1])
        assert list(pixels.shape) == entry["shape"]
        assert np.allclose(pixels.flatten()[:: entry["step"]].numpy(), arrays["clip_input_224"], atol=1e-5)


@pytest.mark.parametrize("case", ADAPTED, ids=lambda case: f"pointclip-{case}")
def test_adapter(case: str) -> None:
    manifest, arrays = RECORDS.read(case)
    s, entries = manifest["settings"], manifest["arrays"]
    settings = AdapterSettings(ratio=s["ratio"], fusion=s.get("fusion_init", 0.5))
    adapter = InterViewAdapter(s["num_views"], s["channel"], settings)
    assert torch.equal(adapter.fusion_ratio.detach(), torch.full((s["num_views"],), settings.fusion))
    state = {entry["key"].removeprefix("adapter."): drawn(entry) for entry in manifest["state"]}
    adapter.load_state_dict(state, strict=True)
    adapter.eval()
    given = {
        name: normal(entries[name]["seed_key"], entries[name]["shape"])
        for name in ("view_features", "text_features")
    }
    views = given["view_features"].reshape(-1, s["num_views"], s["channel"])
    texts = torch.nn.functional.normalize(given["text_features"], dim=-1)
    with torch.inference_mode():
        found = {
            "global_feature": adapter.global_feature(views),
            "adapted": adapter(views),
            "logits_scale100": adapted_logits(adapter, views, texts, 100.0),
            "zero_shot_logits_scale100": cloud_logits(
                torch.nn.functional.normalize(views, dim=-1).flatten(1), texts, 100.0
            ),
        }
        labels = torch.from_numpy(arrays["labels"])
        found["smooth_loss"] = smooth_loss(found["logits_scale100"], labels).reshape(1)
    for name, value in found.items():
        assert np.abs(value.numpy() - arrays[name]).max() <= 1e-4 * np.abs(arrays[name]).max(), name
