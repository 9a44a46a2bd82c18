"""AudioCLIP against the records of the paper's own code: the front end, the audio encoder, the whole model, the loss."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.audio import objectives
from core.audio.esresnet import EncoderSettings, ESResNeXt
from core.audio.fbsp import FrontEnd, FrontEndSettings
from tests.parity.records import Records, drawn, normal

RECORDS = Records("audioclip")
SCALES = ("audio", "image"), ("audio", "text"), ("image", "text")


def cases(*arrays: str) -> list[str]:
    """The records that hold all of these arrays."""
    return [name for name in RECORDS.names if set(arrays) <= set(RECORDS.read(name)[0]["arrays"])]


def made(manifest: dict[str, Any], record: Any, name: str) -> Tensor:
    """An input of a record: as its seed makes it, or as it is stored."""
    entry = manifest["arrays"][name]
    if "seed_key" not in entry:
        return torch.from_numpy(record[name])
    value = normal(entry["seed_key"], entry["shape"])
    for operation, number in entry.get("then", ()):
        assert operation == "mul"
        value = value * number
    return value


def error(ours: Tensor, record: Any, manifest: dict[str, Any], name: str) -> np.ndarray:
    """Differences at the places that were stored."""
    entry = manifest["arrays"][name]
    assert list(ours.shape) == entry["shape"], name
    return np.abs(ours.detach().float().numpy().ravel()[:: entry["step"]] - record[name].ravel())


def close(
    ours: Tensor, record: Any, manifest: dict[str, Any], name: str, share: float, part: float = 1.0
) -> None:
    """Differences against a share of the array's greatest value, in at least this part of the places."""
    found = error(ours, record, manifest, name)
    assert (found <= share * manifest["arrays"][name]["absmax"]).mean() >= part, (name, found.max())


def close_decibels(ours: Tensor, record: Any, manifest: dict[str, Any]) -> None:
    found = error(ours, record, manifest, "x_db")
    assert (found <= 0.05).mean() >= 0.999 and found.max() <= 3


def front_end(settings: dict[str, Any]) -> FrontEndSettings:
    """Every setting of the front end that a manifest names."""
    return FrontEndSettings(**{name: settings[name] for name in FrontEndSettings.__dataclass_fields__})


def state_of(entries: list[dict[str, Any]], prefix: str, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The made-up tensors of a module; those that keep the constructor's value are its own."""
    state = {}
    for entry in entries:
        if not entry["key"].startswith(prefix):
            continue
        name = entry["key"].removeprefix(prefix)
        listed = entry["rule"] != "default" or "value" in entry
        state[name] = drawn(entry) if listed else own[name]
    return state


def encoder(manifest: dict[str, Any]) -> ESResNeXt:
    """The audio encoder of a record."""
    s = manifest["settings"]
    net = ESResNeXt(EncoderSettings(front_end(s), attention=s["apply_attention"], outputs=s["num_classes"]))
    state = state_of(manifest["state"], "audio.", net.state_dict())
    net.load_state_dict(state, strict=True)
    return net.requires_grad_(False).train(not s["mode"].startswith("eval"))


@pytest.mark.parametrize("case", cases("ttf_weights", "frames_windowed"))
@torch.no_grad()
def test_audioclip_front_end(case: str) -> None:
    manifest, record = RECORDS.read(case)
    front = FrontEnd(front_end(manifest["settings"]))
    own = dict(front.state_dict())
    front.load_state_dict(own | state_of(manifest["state"], "audio.", own), strict=True)
    wave = made(manifest, record, "waveform")
    assert error(front.window, record, manifest, "window").max() <= 1e-6
    frames = front.frames(wave.flatten(0, 1))
    assert error(frames * front.window, record, manifest, "frames_windowed").max() <= 1e-6
    weights = torch.view_as_real(front.fbsp.weights())
    close(weights, record, manifest, "ttf_weights", 1e-3, 0.9999)
    close(weights, record, manifest, "ttf_weights", 2e-2)
    np.testing.assert_allclose(front.fbsp.norms().numpy(), record["ttf_norm"].ravel(), rtol=1e-3)
    np.testing.assert_allclose(front.fbsp.loss().item(), record["loss_ttf"].ravel()[0], rtol=1e-3, atol=1e-9)
    spectrum = front.spectrum(wave.flatten(0, 1))
    close(torch.stack(spectrum, -1), record, manifest, "spec", 5e-3)
    close_decibels(front(wave), record, manifest)
    silent = front(torch.full((1, 1, 3000), -0.5))
    assert [silent.min().item(), silent.max().item(), *silent.shape] == record["x_db_constant"].tolist()


@pytest.mark.parametrize("case", cases("stage4", "att5"))
@torch.no_grad()
def test_audioclip_encoder(case: str) -> None:
    manifest, record = RECORDS.read(case)
    net = encoder(manifest)
    decibels = FrontEnd.forward(net, made(manifest, record, "waveform"))
    close_decibels(decibels, record, manifest)
    seen = net.see(decibels)
    by_batch = net.training
    share = 5e-3 if by_batch else 1e-3
    close(seen.stem, record, manifest, "stem", share)
    for at, (stage, attention) in enumerate(zip(seen.stages, seen.maps, strict=False), 1):
        close(stage, record, manifest, f"stage{at}", share)
        close(attention, record, manifest, f"att{at}", share)
    close(seen.maps[-1], record, manifest, "att5", 3e-2 if by_batch else share)
    close(seen.pooled, record, manifest, "pooled", 3e-2 if by_batch else share)
    close(seen.features, record, manifest, "audio_features", 1e-2 if by_batch else share)
    np.testing.assert_allclose(net.fbsp.loss().item(), record["loss_ttf"].ravel()[0], rtol=1e-3)
    for name in manifest["arrays"]:
        if name.startswith("after."):
            close(net.state_dict()[name.removeprefix("after.audio.")], record, manifest, name, share)


@cache
def whole() -> tuple[open_clip.CLIP, ESResNeXt, dict[str, Tensor]]:
    """The whole model with the weights of its record: CLIP, the audio encoder, the scales."""
    entries = next(
        m["state"] for m in RECORDS.manifests if isinstance(m.get("state"), list) and len(m["state"]) == 861
    )
    config = open_clip.get_model_config("RN50-quickgelu")
    with torch.device("meta"):
        clip: Any = open_clip.CLIP(**config)
    audio = ESResNeXt(EncoderSettings())
    audio.load_state_dict(state_of(entries, "audio.", audio.state_dict()), strict=True)
    own = [entry for entry in entries if not entry["key"].startswith(("audio.", "logit_scale_"))]
    clip.load_state_dict({entry["key"]: drawn(entry) for entry in own}, strict=True, assign=True)
    length = clip.context_length
    clip.attn_mask = torch.full((length, length), float("-inf")).triu_(1)
    scales = {entry["key"]: drawn(entry) for entry in entries if entry["key"].startswith("logit_scale")}
    return clip.eval().requires_grad_(False), audio.eval().requires_grad_(False), scales


@pytest.mark.parametrize("case", cases("image_blocks", "text_tokens"))
@torch.inference_mode()
def test_audioclip_whole(case: str) -> None:
    manifest, record = RECORDS.read(case)
    clip, audio, scales = whole()
    blocks = made(manifest, record, "image_blocks")
    images = blocks.repeat_interleave(56, 2).repeat_interleave(56, 3)
    tokens = torch.from_numpy(record["text_tokens"]).long()
    listed = [", ".join(labels) for labels in manifest["settings"]["texts"]]
    assert torch.equal(open_clip.get_tokenizer("RN50-quickgelu")(listed), tokens)
    features = {
        "audio": F.normalize(audio(made(manifest, record, "audio")), dim=-1),
        "image": F.normalize(clip.encode_image(images), dim=-1),
        "text": F.normalize(clip.encode_text(tokens), dim=-1),
    }
    close(features["audio"], record, manifest, "audio_features", 1e-3)
    for name in ("image", "text"):
        close(features[name], record, manifest, f"{name}_features", 2e-4)
    keys = ("logit_scale_ai", "logit_scale_at", "logit_scale")
    exp = {pair: objectives.scale(scales[key]) for pair, key in zip(SCALES, keys, strict=True)}
    np.testing.assert_allclose([value.item() for value in exp.values()], record["scales_ai_at_it"], rtol=1e-6)
    matrices = objectives.logits(features, exp)
    for pair, matrix in matrices.items():
        found = error(matrix, record, manifest, "logits_" + "_".join(pair))
        assert found.max() <= 5e-4 * exp[pair].item()
    norms = audio.fbsp.loss().item()
    total = objectives.loss(matrices.values()).item() + norms
    np.testing.assert_allclose(total, record["loss_total"].ravel()[0], rtol=2e-3)
    alone = [objectives.loss([matrices[pair]]).item() for pair in (SCALES[1], SCALES[0], SCALES[2])]
    np.testing.assert_allclose(
        [alone[0] + norms, alone[1] + norms, alone[2]], record["loss_pairs_at_ai_it"], rtol=2e-3
    )


@pytest.mark.parametrize("case", cases("sample_weights", "prob_multilabel"))
def test_audioclip_loss(case: str) -> None:
    manifest, record = RECORDS.read(case)
    raw = {name: made(manifest, record, f"{name}_embedding") for name in objectives.MODALITIES}
    a, image, text = raw["audio"], raw["image"], raw["text"]
    mixed = {"audio": a, "image": 0.6 * a + 0.8 * image, "text": 0.5 * a + 0.3 * image + 0.8 * text}
    features = {name: F.normalize(one, dim=-1) for name, one in mixed.items()}
    scales = {entry["key"]: objectives.scale(drawn(entry)) for entry in manifest["state"]}
    keys = ("logit_scale_ai", "logit_scale_at", "logit_scale")
    matrices = objectives.logits(features, dict(zip(SCALES, (scales[key] for key in keys), strict=True)))
    for pair, matrix in matrices.items():
        assert error(matrix, record, manifest, "logits_" + "_".join(pair)).max() <= 1e-3
    weights = objectives.sample_weights(manifest["settings"]["labels"], manifest["settings"]["class_weights"])
    np.testing.assert_allclose(weights.numpy(), record["sample_weights"], rtol=1e-6)
    ai, at, it = (matrices[pair] for pair in SCALES)
    loss = objectives.loss
    three = [loss([ai, at, it]), loss([ai, at, it], weights)]
    one = [loss([ai]), loss([at]), loss([it]), loss([at], weights)]
    two = {(x, y): loss([matrices[x], matrices[y]]).item() for x in SCALES for y in SCALES if x < y}
    np.testing.assert_allclose([x.item() for x in three], record["loss_three"], rtol=1e-4)
    np.testing.assert_allclose([x.item() for x in one], record["loss_one_pair"], rtol=1e-4)
    for value in record["loss_two_pairs"].ravel():
        assert min(abs(value - x) / value for x in two.values()) <= 1e-4
    np.testing.assert_allclose(
        objectives.probabilities(at).numpy(), record["prob_softmax"], rtol=1e-4, atol=1e-9
    )
    cosines = features["audio"] @ features["text"].T
    np.testing.assert_allclose(objectives.several(cosines).numpy(), record["prob_multilabel"], rtol=1e-4)


def test_every_audioclip_record_has_its_test() -> None:
    ours = {
        *cases("ttf_weights", "frames_windowed"),
        *cases("stage4", "att5"),
        *cases("image_blocks", "text_tokens"),
        *cases("sample_weights", "prob_multilabel"),
    }
    assert ours == set(RECORDS.names) and RECORDS.names
