"""ActionCLIP against the records of the paper's own code: post-network prompts, temporal shift, loss, sentences and scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from core.video.actionclip import objectives, prompts
from core.video.actionclip.heads import PostPrompt, PostSettings
from core.video.tower import Shifted, VideoTower, shifted
from tests.parity.records import Records
from tests.parity.test_clip4clip import close, filled, given

RECORDS = Records("actionclip")


def cases(*arrays: str) -> list[str]:
    """The records that hold all of these arrays."""
    return [name for name in RECORDS.names if set(arrays) <= set(RECORDS.read(name)[0]["arrays"])]


def prompt(manifest: dict[str, Any]) -> Any:
    """The post-network prompt that the settings of a record ask for; its own start where the record says so."""
    s = manifest["settings"]
    width = manifest["arrays"]["frame_features"]["shape"][-1]
    listed = manifest["state"] if isinstance(manifest["state"], list) else []
    positions = next(
        (e["shape"][0] for e in listed if e["key"] == "frame_position_embeddings.weight"),
        PostSettings().positions,
    )
    own = PostSettings(
        post=s["sim_header"],
        frames=s["T"],
        width=width,
        layers=s.get("layers", PostSettings().layers),
        heads=s.get("heads", PostSettings().heads),
        positions=positions,
    )
    module = PostPrompt(own)
    return filled(module, manifest) if listed or s["sim_header"] == "meanP" else module.eval()


@pytest.mark.parametrize("case", cases("frame_features", "video_feature"))
@torch.inference_mode()
def test_actionclip_post_prompt(case: str) -> None:
    manifest, record = RECORDS.read(case)
    module = prompt(manifest)
    frames = given(manifest, record, "frame_features")
    if "transformer_output_LND" in manifest["arrays"]:
        close(module.attended(frames).transpose(0, 1), record, manifest, "transformer_output_LND")
    close(module(frames), record, manifest, "video_feature")


@pytest.mark.parametrize("case", cases("tokens_LND", "shifted"))
@torch.inference_mode()
def test_actionclip_temporal_shift(case: str) -> None:
    manifest, record = RECORDS.read(case)
    s = manifest["settings"]
    tower = VideoTower(
        s["patch"] * s["grid"], s["patch"], s["width"], s["layers"], max(1, s["width"] // 64), s["output_dim"],
        frames=s["T"], shift=s["n_div"],
    )  # fmt: skip
    filled(tower, manifest, "visual.")
    tokens = given(manifest, record, "tokens_LND").transpose(0, 1)
    block: Any = tower.transformer.resblocks[0]
    assert isinstance(block, Shifted)
    close(block.shift(tokens).transpose(0, 1), record, manifest, "shifted", 0)
    if "maps" in manifest["arrays"]:
        close(
            shifted(given(manifest, record, "maps"), s["T"], s["n_div"]), record, manifest, "maps_shifted", 0
        )
    close(tower.pool(tower.tokens(given(manifest, record, "frames"))), record, manifest, "visual_output")


@pytest.mark.parametrize("case", cases("image_embedding", "text_embedding"))
@torch.inference_mode()
def test_actionclip_loss(case: str) -> None:
    manifest, record = RECORDS.read(case)
    scale = manifest["settings"]["logit_scale"]
    over, _, under = str(scale).partition("/")
    scale = float(over) / float(under or 1)
    clips, sentences = (given(manifest, record, name) for name in ("image_embedding", "text_embedding"))
    labels = torch.from_numpy(record["labels"]).long()
    close(objectives.same_action(labels), record, manifest, "ground_truth", 0)
    close(objectives.logits(clips, sentences, scale)[0], record, manifest, "logits_per_image")
    losses = torch.stack(objectives.kl_loss(clips, sentences, labels, scale))
    np.testing.assert_allclose(
        losses.numpy(), record["losses_image_text_total"], rtol=manifest["tolerance"], atol=0
    )


@pytest.mark.parametrize("case", cases("tokens_template_major", "similarity"))
@torch.inference_mode()
def test_actionclip_prompts(case: str) -> None:
    manifest, record = RECORDS.read(case)
    classes, count = manifest["settings"]["classes"], manifest["settings"]["num_templates"]
    assert count == len(prompts.TEMPLATES)
    tokens = open_clip.get_tokenizer("ViT-B-32-quickgelu")(prompts.sentences(classes))
    np.testing.assert_array_equal(tokens.numpy(), record["tokens_template_major"])
    scores = objectives.probabilities(
        given(manifest, record, "image_features"), given(manifest, record, "text_features"), count
    )
    close(scores, record, manifest, "similarity")


def test_every_actionclip_record_has_its_test() -> None:
    ours = {
        *cases("frame_features", "video_feature"),
        *cases("tokens_LND", "shifted"),
        *cases("image_embedding", "text_embedding"),
        *cases("tokens_template_major", "similarity"),
    }
    assert ours == set(RECORDS.names) and RECORDS.names
