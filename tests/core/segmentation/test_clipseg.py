"""CLIPSeg on a few thousand weights: its maps are those of transformers' class, its labels answer one by one."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from core import checkpoints
from core.errors import Refusal
from core.segmentation import CLIPSeg, clipseg
from tests import tiny
from tests.conftest import Rows

pytestmark = pytest.mark.usefixtures("forget")

SIDE = 64
LABELS = ["dog", "cat", "red envelope", "sheep"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def config() -> Any:
    """Three layers of each tower; positions for a smaller image than is given, as in the published model."""
    from transformers import CLIPSegConfig

    words = tiny.tokenizer().get_vocab_size()
    small = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    return CLIPSegConfig(
        text_config={
            **small, "num_hidden_layers": 2, "vocab_size": words, "max_position_embeddings": 12, "eos_token_id": words - 1,
            "bos_token_id": 1, "pad_token_id": 0,
        },
        vision_config={**small, "num_hidden_layers": 3, "image_size": 32, "patch_size": 16},
        projection_dim=24, reduce_dim=8, decoder_num_attention_heads=2, decoder_intermediate_size=16,
        extract_layers=[0, 1, 2], use_complex_transposed_convolution=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, module_rows: Rows) -> Any:
    """transformers' own model with random weights, saved as a published repository and named in the registry."""
    from transformers import CLIPSegForImageSegmentation

    folder = tmp_path_factory.mktemp("clipseg")
    torch.manual_seed(0)
    model = CLIPSegForImageSegmentation(config()).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    model.save_pretrained(folder)
    tiny.tokenizer().save(str(folder / "tokenizer.json"))
    preprocess = {"size": {"height": SIDE, "width": SIDE}, "image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocess))
    module_rows(tiny.row("tiny-clipseg", folder, loader="core.segmentation.clipseg:load_clipseg"))
    return model


@pytest.mark.parametrize("count", [1, 4])
def test_maps_are_transformers_own(original: Any, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipseg, "LABELS_AT_ONCE", 3)
    image, labels = tiny.noise(SIDE, SIDE), LABELS[:count]
    ids = [encoding.ids for encoding in tiny.tokenizer().encode_batch(labels)]
    batch = torch.tensor([row + [0] * (max(map(len, ids)) - len(row)) for row in ids])
    levels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    pixels = (levels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.inference_mode():
        theirs = original(input_ids=batch, pixel_values=pixels.expand(count, -1, -1, -1)).logits
    found = CLIPSeg.load("tiny-clipseg", "cpu").segment(image, labels)
    wanted = theirs.numpy()
    np.testing.assert_allclose(found.logits, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    # Neither the same everywhere nor the same for every label.
    assert wanted.std() > 0.02 and (count == 1 or np.abs(wanted[0] - wanted[1]).max() > 0.01 * wanted.std())
    np.testing.assert_array_equal(found.mask, found.logits.argmax(0))
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-found.logits)), atol=1e-5)


@pytest.mark.parametrize("size", [(60, 40), (33, 33), (20, 300), (5, 5)])
def test_pictures_of_any_size(original: Any, size: tuple[int, int]) -> None:
    found = CLIPSeg.load("tiny-clipseg", "cpu").segment(tiny.noise(*size), LABELS)
    assert found.mask.shape == (size[1], size[0]) and found.scores.shape == (4, size[1], size[0])
    assert found.shares.sum() == pytest.approx(1)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.mask, found.mask)


def test_a_label_says_the_same_whoever_is_beside_it(original: Any) -> None:
    model = CLIPSeg.load("tiny-clipseg", "cpu")
    encoded = model.encode(tiny.noise(50, 30))
    together, alone = model.segment(encoded, LABELS), model.segment(encoded, LABELS[2:3])
    np.testing.assert_allclose(together.scores[2], alone.scores[0], atol=1e-5)
    assert alone.scores[0].max() < 1  # a softmax of one label would be sure of it


def test_a_changed_label_encodes_only_itself(original: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CLIPSeg.load("tiny-clipseg", "cpu")
    model.segment(tiny.noise(SIDE, SIDE), LABELS)
    asked: list[str] = []
    read = clipseg._encode_text

    def listen(of: CLIPSeg, texts: Any) -> np.ndarray:
        asked.extend(texts)
        return read(of, texts)

    monkeypatch.setattr(clipseg, "_encode_text", listen)
    monkeypatch.setattr(clipseg, "_encode_image", lambda *_: pytest.fail("the picture was encoded again"))
    model.segment(tiny.noise(SIDE, SIDE), [*LABELS, "money"])
    assert asked == ["money"]


def test_a_file_that_lacks_a_tensor_is_refused(original: Any) -> None:
    from safetensors.torch import load_file, save_file

    row = checkpoints.row("tiny-clipseg")
    paths = checkpoints.open("tiny-clipseg")
    whole = load_file(paths["model.safetensors"])
    try:
        save_file(
            {k: v for k, v in whole.items() if k != "decoder.film_mul.bias"}, paths["model.safetensors"],
            metadata={"format": "pt"},
        )  # fmt: skip
        with pytest.raises(Refusal) as refused:
            clipseg.load_clipseg(paths, row, "cpu", torch.float32)
        assert refused.value.params["tensor"] == "decoder.film_mul.bias"
    finally:
        save_file(whole, paths["model.safetensors"], metadata={"format": "pt"})
