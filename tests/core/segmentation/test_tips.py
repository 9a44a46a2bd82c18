"""TIPSv2 on a few thousand weights: features are those of transformers' class, patches are named by the authors' recipe."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from core import checkpoints, segmentation
from core.checkpoints import registry
from core.errors import Refusal
from core.segmentation import TIPS, tips
from tests import tiny
from tests.conftest import Rows

pytestmark = pytest.mark.usefixtures("forget")

SIDE, PATCH, GRID = 112, 14, 8
LABELS = ["dog", "red envelope", "sheep"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, module_rows: Rows) -> Any:
    """transformers' own model with random weights, saved as a published repository and named in the registry."""
    folder = tmp_path_factory.mktemp("tips")
    model = tiny.make_tips(folder)
    module_rows(tiny.row("tiny-tips", folder, loader="core.segmentation.tips:load_tips"))
    return model


def levels(image: Image.Image) -> torch.Tensor:
    """[1, 3, H, W] from 0 to 1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


def read_by_library(original: Any, texts: list[str]) -> torch.Tensor:
    """Features [N, D] as transformers' own tokenizer and text tower give them, padded to all 64 places; norm 1."""
    from transformers import Tipsv2Tokenizer

    folder = checkpoints.open("tiny-tips")["tokenizer.model"].parent
    words = Tipsv2Tokenizer.from_pretrained(folder)
    given = words(texts, padding="max_length", truncation=True, max_length=64, return_tensors="pt")
    with torch.inference_mode():
        return F.normalize(original.get_text_features(**given).pooler_output, dim=-1)


def seen_by_recipe(original: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Features [B, grid, grid, D] of the authors' recipe: in the last block every place attends to itself alone."""
    from transformers.models.tipsv2 import modeling_tipsv2

    def alone(module: Any, query: Any, key: Any, value: torch.Tensor, *_: Any, **__: Any) -> tuple[Any, None]:
        return value.transpose(1, 2).contiguous(), None

    last = original.vision_model.encoder.layer[-1].attention
    functions = modeling_tipsv2.ALL_ATTENTION_FUNCTIONS
    usual = type(last).forward

    def forward(self: Any, *arguments: Any, **options: Any) -> Any:
        if self is not last:
            return usual(self, *arguments, **options)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(functions, "get_interface", lambda *_: alone)
            return usual(self, *arguments, **options)

    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(last), "forward", forward)
        states = original.vision_model(pixel_values=pixels).last_hidden_state
    return states[:, 2:].unflatten(1, (GRID, GRID))


def test_transformers_b14_has_as_many_numbers_as_the_published_file() -> None:
    """mteb counts 195,948,288, which the size of the row follows; the file has no temperature."""
    from transformers import Tipsv2Config, Tipsv2Model

    with torch.device("meta"):
        count = sum(one.numel() for one in Tipsv2Model(Tipsv2Config()).parameters()) - 1
    row = registry._read(registry.BUILT_IN, 0)["tipsv2-b14"]
    assert count == 195_948_288 and 0 < row.size_bytes - 4 * count < 1_000_000


def test_texts_and_whole_images_are_transformers_own(original: Any) -> None:
    texts = ["A photo of a Dog.", "two   sheep", "红包 and ä"]
    image = tiny.noise(150, 90)
    with TIPS.load("tiny-tips", "cpu").use() as loaded, torch.inference_mode():
        read, seen = loaded.text_features(texts), loaded.image_features([image])
        assert loaded.logit_scale == pytest.approx(50)
    torch.testing.assert_close(read, read_by_library(original, texts), atol=1e-5, rtol=0)
    from transformers import Tipsv2ImageProcessor

    processor = Tipsv2ImageProcessor(size={"height": SIDE, "width": SIDE})
    with torch.inference_mode():
        theirs = original.get_image_features(**processor(images=image, return_tensors="pt")).pooler_output
    torch.testing.assert_close(seen, F.normalize(theirs, dim=-1), atol=1e-5, rtol=0)
    assert (read @ read.T).fill_diagonal_(0).max() < 0.99  # the texts differ


def test_a_square_is_named_as_the_authors_do(original: Any) -> None:
    """Value features of patches, nine templates averaged, the learned temperature."""
    image = tiny.noise(SIDE, SIDE)
    places = F.normalize(seen_by_recipe(original, levels(image))[0], dim=-1)
    plain = F.normalize(
        original.vision_model(pixel_values=levels(image)).last_hidden_state[0, 2:].detach(), dim=-1
    )
    assert (places.flatten(0, 1) - plain).abs().max() > 0.01  # the trick changes something
    captions = [template.replace("{}", label) for template in tips.TEMPLATES for label in LABELS]
    each = read_by_library(original, captions).unflatten(0, (9, len(LABELS)))
    texts = F.normalize(each.mean(0), dim=-1)
    wanted = (50 * places @ texts.T).permute(2, 0, 1).numpy()
    found = TIPS.load("tiny-tips", "cpu").segment(image, LABELS)
    np.testing.assert_allclose(found.logits, wanted, rtol=0, atol=1e-3)
    assert found.temperature == pytest.approx(0.02) and wanted.argmax(0).std() > 0
    np.testing.assert_allclose(found.scores.sum(0), 1, atol=1e-4)


def test_a_long_image_is_covered_with_squares_that_are_averaged(original: Any) -> None:
    """14 places along the short... side by side: squares that start 0 and 6 places from the left, as authors overlap them."""
    image = tiny.noise(14 * PATCH, SIDE)
    both = torch.cat([levels(image)[..., :SIDE], levels(image)[..., -SIDE:]])
    features = F.normalize(seen_by_recipe(original, both), dim=-1)
    total = torch.zeros(GRID, 14, 32)
    total[:, :8] += features[0]
    total[:, 6:] += features[1]
    encoded = TIPS.load("tiny-tips", "cpu").encode(image)
    np.testing.assert_allclose(encoded.place_features, F.normalize(total, dim=-1).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(60, 40), (33, 33), (20, 300), (5, 5)])
def test_images_of_any_size(original: Any, size: tuple[int, int]) -> None:
    found = segmentation.load("tiny-tips").segment(tiny.noise(*size), LABELS)
    assert found.mask.shape == (size[1], size[0]) and found.scores.shape == (3, size[1], size[0])
    assert found.shares.sum() == pytest.approx(1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).mask, found.mask)


def test_capitals_are_one_label_and_a_long_text_loses_its_end(original: Any) -> None:
    model = TIPS.load("tiny-tips", "cpu")
    found = model.segment(tiny.noise(SIDE, SIDE), ["Dog", "dog", "sheep"])
    assert found.labels == ("Dog", "sheep") and found.notes.merged == {"dog": "Dog"}
    long = "a red cat " * 25
    assert model.tokenize([long])[0] == list(model.tokenize.whole(long)[:64])
    assert model.segment(tiny.noise(SIDE, SIDE), ["dog", long.strip()]).notes.truncated == (long.strip(),)


def test_another_label_encodes_only_itself(original: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TIPS.load("tiny-tips", "cpu")
    model.segment(tiny.noise(SIDE, SIDE), LABELS)
    asked: list[str] = []
    read = tips._encode_text
    monkeypatch.setattr(tips, "_encode_text", lambda of, texts: asked.extend(texts) or read(of, texts))
    monkeypatch.setattr(tips, "_encode_image", lambda *_: pytest.fail("the image was encoded again"))
    model.segment(tiny.noise(SIDE, SIDE), [*LABELS, "money"])
    assert asked == [template.replace("{}", "money") for template in tips.TEMPLATES]


def test_a_file_that_lacks_a_tensor_is_refused(original: Any) -> None:
    paths = checkpoints.open("tiny-tips")
    whole = load_file(paths["model.safetensors"])
    try:
        save_file(
            {k: v for k, v in whole.items() if k != "vision_encoder.norm.bias"}, paths["model.safetensors"],
            metadata={"format": "pt"},
        )  # fmt: skip
        with pytest.raises(Refusal) as refused:
            tips.load_tips(paths, checkpoints.row("tiny-tips"), "cpu", torch.float32)
        assert refused.value.params["tensor"] == "vision_model.layernorm.bias"
    finally:
        save_file(whole, paths["model.safetensors"], metadata={"format": "pt"})
