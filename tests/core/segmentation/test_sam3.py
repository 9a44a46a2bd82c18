"""SAM 3 on random weights: boxes, masks and scores are transformers' own, presence decides what is none of the labels."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from core import checkpoints, segmentation
from core.checkpoints import originals
from core.checkpoints.registry import Original
from core.errors import Refusal
from core.segmentation import SAM3, sam3
from tests import tiny
from tests.conftest import Rows
from tests.core.checkpoints.known_families import CONCEPTS

pytestmark = pytest.mark.usefixtures("forget")

SIZE = (150, 90)
ABSENT = "dog"
LABELS = [*CONCEPTS, ABSENT]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, module_rows: Rows) -> Any:
    """transformers' own detector with random weights, saved as a published repository and named in the registry."""
    folder = tmp_path_factory.mktemp("sam3")
    model = tiny.make_sam3(folder)
    module_rows(tiny.row("tiny-sam3", folder, "sigmoid", loader="core.segmentation.sam3:load_sam3"))
    return model


def asked(original: Any, label: str) -> tuple[Any, Any]:
    """What transformers says of the image and one text, padded to all places; and its processor."""
    from transformers import Sam3ImageProcessor

    processor = Sam3ImageProcessor(size={"height": 112, "width": 112})
    (ids,) = open_clip.get_tokenizer("ViT-B-32", context_length=32)([label])
    with torch.inference_mode():
        output = original(
            **processor(images=tiny.noise(*SIZE), return_tensors="pt"),
            input_ids=ids[None],
            attention_mask=(ids > 0).long()[None],
        )
    return output, processor


@pytest.mark.parametrize("label", LABELS)
def test_a_concept_is_transformers_own(original: Any, label: str) -> None:
    output, processor = asked(original, label)
    (theirs,) = processor.post_process_instance_segmentation(output, threshold=0.5, mask_threshold=0.5)
    model = SAM3.load("tiny-sam3", "cpu")
    (ours,) = model.concepts(tiny.noise(*SIZE), [label])
    order = theirs["scores"].argsort(descending=True)
    assert ours.presence == pytest.approx(float(output.presence_logits.sigmoid()), abs=1e-5)
    np.testing.assert_allclose(ours.scores, theirs["scores"][order], atol=1e-5)
    np.testing.assert_allclose(ours.boxes, theirs["boxes"][order], atol=1e-5)
    union = theirs["masks"].bool().any(0) if len(order) else torch.zeros(32, 32, dtype=torch.bool)
    np.testing.assert_array_equal(ours.logits > 0, union.numpy())
    assert (len(order) == 0) == (label == ABSENT)


def test_a_pixel_takes_the_surest_label_or_none(original: Any) -> None:
    found = SAM3.load("tiny-sam3", "cpu").segment(tiny.noise(*SIZE), LABELS)
    logits = []
    for label in LABELS:
        output, _ = asked(original, label)
        scores = output.pred_logits[0].sigmoid() * output.presence_logits[0].sigmoid()
        masks = output.pred_masks[0][scores > 0.5]
        logits.append(masks.amax(0) if len(masks) else torch.full((32, 32), sam3.EMPTY))
    maps = F.interpolate(torch.stack(logits)[None], SIZE[::-1], mode="bilinear", align_corners=False)[0]
    best, which = maps.max(0)
    wanted = torch.where(best > 0, which, len(LABELS)).numpy()
    assert (
        found.mask == wanted
    ).mean() > 0.999  # all but places where two numbers are equal in the last digits
    assert set(np.unique(wanted)) == {0, 1, 3}
    assert found.shares.shape == (4,) and found.shares.sum() == pytest.approx(1) and found.shares[2] == 0
    assert found.presence is not None and found.instances is not None
    assert found.presence[2] < 0.5 < min(found.presence[:2]) and found.instances[2] == 0
    rows = {row["label"]: row for row in found.to_json()["results"]}
    assert set(rows) == {*LABELS, None} and set(rows[None]) == {"label", "share"}
    assert rows[ABSENT]["presence"] == found.presence[2] and rows[LABELS[0]]["instances"] >= 1
    np.testing.assert_array_equal(found.scores.argmax(0)[found.mask < 3], found.mask[found.mask < 3])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).mask, found.mask)


@pytest.mark.parametrize("size", [(60, 40), (20, 300), (5, 5)])
def test_images_of_any_size(original: Any, size: tuple[int, int]) -> None:
    found = segmentation.load("tiny-sam3").segment(tiny.noise(*size), LABELS)
    assert found.mask.shape == (size[1], size[0]) and found.mask.max() <= len(LABELS)


def test_only_a_new_label_has_a_pass(original: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SAM3.load("tiny-sam3", "cpu")
    model.segment(tiny.noise(*SIZE), LABELS)
    passes: list[str] = []
    run = sam3._concept
    monkeypatch.setattr(
        sam3, "_concept", lambda of, encoded, label: passes.append(label) or run(of, encoded, label)
    )
    monkeypatch.setattr(sam3, "_encode_image", lambda *_: pytest.fail("the image was encoded again"))
    found = model.segment(tiny.noise(*SIZE), [*LABELS, "DOG", "sheep"])
    assert passes == ["sheep"] and found.notes.merged == {"DOG": "dog"}
    long = "a very long name of " * 8
    assert model.segment(tiny.noise(*SIZE), ["dog", long.strip()]).notes.truncated == (long.strip(),)


def test_a_file_that_lacks_a_tensor_is_refused(original: Any) -> None:
    paths = checkpoints.open("tiny-sam3")
    whole = load_file(paths["model.safetensors"])
    left = {name: value for name, value in whole.items() if not name.endswith("text_projection.bias")}
    try:
        save_file(left, paths["model.safetensors"], metadata={"format": "pt"})
        with pytest.raises(Refusal) as refused:
            sam3.load_sam3(paths, checkpoints.row("tiny-sam3"), "cpu", torch.float32)
        assert refused.value.params["tensor"] == "text_projection.bias"
    finally:
        save_file(whole, paths["model.safetensors"], metadata={"format": "pt"})


def test_the_published_file_is_imported_without_its_tracker(
    original: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """What a person downloads from the gated page becomes the row's files, by the import table of the real row."""
    table = checkpoints.registry._read(checkpoints.registry.BUILT_IN, 0)["sam3"].original
    assert isinstance(table, Original)
    row = replace(checkpoints.row("tiny-sam3"), bundled=None, original=table)
    monkeypatch.setattr(originals.constants, "HF_HOME", str(tmp_path))
    source = checkpoints.open("tiny-sam3")["model.safetensors"]
    made = originals.bring(row, source)
    names = load_file(made["model.safetensors"]).keys()
    assert set(names) == set(original.state_dict()) and made["config.json"].is_file()
    loaded = sam3.load_sam3(made, row, "cpu", torch.float32)
    torch.testing.assert_close(loaded.model.text_projection.weight, original.text_projection.weight)
