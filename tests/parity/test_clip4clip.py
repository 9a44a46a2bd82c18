"""CLIP4Clip against the records of the paper's own code: four similarity calculators, their losses, 3-D patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from core.video.clip4clip.heads import HeadSettings, Similarity, contrastive_loss
from core.video.tower import VideoTower
from tests.parity.records import Records, drawn, normal

RECORDS = Records("clip4clip")


def cases(*arrays: str) -> list[str]:
    """The records that hold all of these arrays."""
    return [name for name in RECORDS.names if set(arrays) <= set(RECORDS.read(name)[0]["arrays"])]


def given(manifest: dict[str, Any], record: Any, name: str) -> torch.Tensor:
    """An input of a record: as it is stored, else as its seed makes it."""
    entry = manifest["arrays"][name]
    if name in record:
        return torch.from_numpy(record[name]).float()
    return normal(entry["seed_key"], entry["shape"])


def close(ours: torch.Tensor, record: Any, manifest: dict[str, Any], name: str, share: float = 1e-4) -> None:
    """The largest difference at the places that were stored, against a share of the array's greatest value."""
    entry = manifest["arrays"][name]
    assert list(ours.shape) == entry["shape"], name
    error = np.abs(ours.numpy().ravel()[:: entry["step"]] - record[name].ravel()).max() / entry["absmax"]
    assert error <= share, (name, error)


def filled(module: Any, manifest: dict[str, Any], prefix: str = "") -> Any:
    """A module with the tensors of a record: all of them, and no other but CLIP's scale."""
    state = {
        entry["key"].removeprefix(prefix): drawn(entry)
        for entry in manifest["state"]
        if entry["key"] != "clip.logit_scale"
    }
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def similarity(manifest: dict[str, Any]) -> tuple[Any, torch.Tensor]:
    """The calculator that the settings of a record ask for, and exp(t)."""
    s = manifest["settings"]
    own = HeadSettings(
        header=s["sim_header"],
        width=s["width"],
        layers=s["cross_num_hidden_layers"],
        heads=s["heads"],
        epsilon=s["layer_norm_eps"],
        loose=s["loose_type"],
    )
    entries = {entry["key"]: entry for entry in manifest["state"]}
    for name, entry in entries.items():
        if name.endswith("position_embeddings.weight"):
            own = HeadSettings(**{**vars(own), "positions": entry["shape"][0]})
    scale = drawn(entries["clip.logit_scale"]) if "clip.logit_scale" in entries else torch.tensor(1.0)
    return filled(Similarity(own), manifest), scale.exp()


@pytest.mark.parametrize("case", cases("visual_output", "sequence_output", "logits_text_by_video"))
@torch.inference_mode()
def test_clip4clip_similarity(case: str) -> None:
    manifest, record = RECORDS.read(case)
    head, scale = similarity(manifest)
    frames = given(manifest, record, "visual_output")
    texts = given(manifest, record, "sequence_output").squeeze(1)
    mask = given(manifest, record, "video_mask")
    if "lstm_packed_data" in manifest["arrays"]:
        lengths = mask.sum(-1).long()
        packed = torch.nn.utils.rnn.pack_padded_sequence(frames, lengths, True, False)
        close(head.lstm_visual(packed)[0].data, record, manifest, "lstm_packed_data")
    if "transformer_output_LND" in manifest["arrays"]:
        close(head.attended(frames, mask).transpose(0, 1), record, manifest, "transformer_output_LND")
    if "cross_output" in manifest["arrays"]:
        hidden, pooled = head.crossed(texts, frames, mask)
        close(hidden, record, manifest, "cross_output")
        close(pooled, record, manifest, "cross_pooled")
    logits = head(texts, frames, mask, scale)
    close(logits, record, manifest, "logits_text_by_video")
    if "loss_t2v_v2t_mean" in manifest["arrays"]:
        close(torch.stack(contrastive_loss(logits)), record, manifest, "loss_t2v_v2t_mean")


@pytest.mark.parametrize("case", cases("frames", "tokens"))
@torch.inference_mode()
def test_clip4clip_patches(case: str) -> None:
    manifest, record = RECORDS.read(case)
    s = manifest["settings"]
    tower = VideoTower(
        s["patch"] * s["grid"], s["patch"], s["width"], s["layers"], max(1, s["width"] // 64), s["output_dim"],
        frames=s["T"], patches=s["linear_patch"],
    )  # fmt: skip
    filled(tower, manifest, "clip.visual.")
    tokens = tower.tokens(given(manifest, record, "frames"))
    close(tokens, record, manifest, "tokens")
    if "frame_features" in manifest["arrays"]:
        close(tower.pool(tokens), record, manifest, "frame_features")


def test_every_clip4clip_record_has_its_test() -> None:
    assert RECORDS.names
    ours = {*cases("visual_output", "sequence_output", "logits_text_by_video"), *cases("frames", "tokens")}
    assert ours == set(RECORDS.names)
