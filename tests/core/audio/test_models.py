"""AudioCLIP's names and shapes are the published ones; CLAP answers as its library does, and always the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core import checkpoints, inputs
from core.audio import audioclip, clap
from core.errors import Refusal
from core.inputs import Sound
from tests import tiny

ROOT = Path(__file__).resolve().parents[3]
RECORD = ROOT / "tests/parity/records/audioclip/full_a0_a.manifest.json"


def test_a_published_file_has_the_names_and_shapes_that_are_wanted() -> None:
    wanted = audioclip.tensors(checkpoints.row("audioclip-full"), {})
    published = {entry["key"]: entry["shape"] for entry in json.loads(RECORD.read_text())["state"]}
    assert {name: list(tensor.shape) for name, tensor in wanted.items()} == published
    assert len(published) == 861


def test_they_are_known_also_after_transformers_has_built_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """It puts another `linspace` in place meanwhile, and torch remembers for good which functions take a device."""
    from torch.utils import _device

    _device._device_constructors.cache_clear()
    with monkeypatch.context() as patch, torch.device("meta"):
        patch.setattr(torch, "linspace", lambda *_, **__: None)
        assert torch.empty(1).is_meta
    try:
        assert audioclip.tensors(checkpoints.row("audioclip-full"), {})
    finally:
        _device._device_constructors.cache_clear()


def test_both_published_rows_are_imported_from_their_authors_files() -> None:
    for name in ("audioclip-full", "audioclip-partial"):
        row = checkpoints.row(name)
        assert row.repo is None or not row.repo
        assert not row.bundled


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a CLAP with random weights."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    made = tmp_path_factory.mktemp("clap")
    text = {
        "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
        "max_position_embeddings": 96, "projection_dim": 24,
    }  # fmt: skip
    audio = {
        "patch_embeds_hidden_size": 16, "hidden_size": 32, "depths": [1, 1], "num_attention_heads": [2, 2],
        "num_hidden_layers": 2, "projection_dim": 24, "window_size": 8,
    }  # fmt: skip
    torch.manual_seed(0)
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=24))
    model.save_pretrained(made)
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(made)
    tiny.tokenizer().save(str(made / "tokenizer.json"))
    return made


@pytest.fixture(scope="module")
def loaded(folder: Path) -> clap.LoadedClap:
    paths = {path.name: path for path in folder.iterdir()}
    return clap.load_clap(paths, checkpoints.row("clap-unfused"), "cpu", torch.float32)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * clap.RATE)).astype(np.float32)


@torch.inference_mode()
def test_clap_hears_and_reads_as_its_library(folder: Path, loaded: clap.LoadedClap) -> None:
    from transformers import ClapFeatureExtractor, ClapModel

    model: Any = ClapModel.from_pretrained(folder).eval()
    wave = noise(3.0)
    batch = ClapFeatureExtractor.from_pretrained(folder)(wave, sampling_rate=clap.RATE, return_tensors="pt")
    wanted = model.get_audio_features(**batch).pooler_output
    np.testing.assert_allclose(loaded.sounds([wave]), wanted.numpy(), rtol=1e-4, atol=1e-5)
    ids = torch.tensor(loaded.tokenize(["a dog"]))
    wanted = model.get_text_features(input_ids=ids).pooler_output
    both = loaded.texts(["a dog", "a dog in front of a red car"])
    np.testing.assert_allclose(both[:1], wanted.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, rtol=1e-5)


def test_a_window_of_clap_is_never_cut_at_random(loaded: clap.LoadedClap) -> None:
    wave = noise(clap.SECONDS)
    first = loaded.sounds([wave])
    np.random.seed(5)
    np.testing.assert_array_equal(loaded.sounds([wave]), first)


def test_a_file_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    row = checkpoints.row("classroom-audioclip")
    state = load_file(row.folder / "model.safetensors")
    del state["audio.conv1.weight"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(Refusal) as caught:
        audioclip.load_audioclip(
            {"model.safetensors": tmp_path / "model.safetensors"}, replace(row), "cpu", torch.float32
        )
    assert caught.value.code == "bad_checkpoint" and caught.value.params["tensor"] == "conv1.weight"


def test_a_sound_keeps_no_samples() -> None:
    path = ROOT / "assets/examples/audioclip/dog.mp3"
    sound = inputs.sound(path)
    assert isinstance(sound, Sound) and sound.envelope.nbytes < 4000 and sound.source == path
