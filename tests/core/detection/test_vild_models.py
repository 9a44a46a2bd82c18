"""The bundled ViLD as pages use it: one shape of answers, what is remembered, what is refused."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou

from core import __main__ as cli
from core import checkpoints
from core.detection import ViLD, vild
from core.errors import Refusal

pytestmark = pytest.mark.usefixtures("forget")

ROOT = Path(__file__).resolve().parents[3]
SHELF = ROOT / "assets" / "examples" / "vild" / "toy_shelf.webp"
LABELS = ["duck", "teddy bear", "kite", "soccer ball"]
WORDS = ["dog", "cat", "red envelope"]


@pytest.fixture(scope="module")
def shelf() -> Image.Image:
    return Image.open(SHELF).convert("RGB")


@pytest.fixture(scope="module")
def model() -> ViLD:
    return ViLD.load("classroom-vild", "cpu")


@pytest.mark.parametrize("variant", vild.VARIANTS)
def test_every_variant_answers_in_one_shape(model: ViLD, shelf: Image.Image, variant: vild.Variant) -> None:
    found = model.detect(shelf, LABELS, variant, proposals=20, threshold=0.05)
    count, names = len(found.proposals), len(LABELS)
    assert count == 20 == len(found.objectness) and (np.diff(found.objectness) <= 0).all()
    assert found.class_scores.shape == found.cosines.shape == (count, names)
    norms = np.linalg.norm(found.region_embeddings, axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)
    np.testing.assert_allclose(found.cosines, found.region_embeddings @ found.text_features.T, atol=1e-6)
    assert (np.diff(found.scores) <= 0).all() and found.scores.min() > 0.05 and found.scores.max() <= 1
    assert (found.boxes >= 0).all() and (found.boxes <= [*shelf.size, *shelf.size]).all()
    assert found.base == (False, False, True, True)  # ducks and teddy bears never had a box
    if variant in ("text", "vild"):
        np.testing.assert_allclose(found.class_scores.sum(1) + found.background, 1, atol=1e-4)
    assert (set(found.parts) == {"text", "image"}) == (variant == "ensemble")
    again = pickle.loads(pickle.dumps(found))
    assert again.to_json() == found.to_json() and json.dumps(found.to_json())


def test_something_on_the_shelf_is_found_where_it_is(model: ViLD, shelf: Image.Image) -> None:
    found = model.detect(shelf, LABELS, "ensemble")
    truth = json.loads((SHELF.parent / "examples.json").read_text(encoding="utf-8"))[0]["objects"]
    bear = next(o["visible_box"] for o in truth if o["en"] == "teddy bear")
    best = found.boxes[found.label_indices == 1][0]
    inside = np.minimum(best[2:], bear[2:]) - np.maximum(best[:2], bear[:2])
    area = inside.prod()
    union = (best[2:] - best[:2]).prod() + (bear[2] - bear[0]) * (bear[3] - bear[1]) - area
    assert area / union > 0.5


def test_new_labels_encode_neither_picture_nor_crops_again(
    model: ViLD, shelf: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = model.detect(shelf, LABELS, "crops", proposals=12, threshold=0.0)
    asked: list[str] = []
    read = vild._encode_text

    def listen(of: ViLD, labels: Any) -> np.ndarray:
        asked.extend(labels)
        return read(of, labels)

    monkeypatch.setattr(vild, "_encode_text", listen)
    for name in ("_encode_image", "_encode_crops"):
        monkeypatch.setattr(vild, name, lambda *_, n=name: pytest.fail(f"{n} ran again"))
    # In another order, with one more label: each label's cosines stay its own.
    order = [3, 1, 0, 2]
    second = model.detect(shelf, [*(LABELS[i] for i in order), "小鸭子"], "crops", proposals=8, threshold=0.0)
    assert asked == ["小鸭子"] and len(second.proposals) == 8
    np.testing.assert_allclose(second.cosines[:, :4], first.cosines[:8][:, order], atol=1e-6)


def test_crops_can_be_stopped_and_go_on(model: ViLD, shelf: Image.Image) -> None:
    from core.runtime import Cancel

    cancel = Cancel()
    steps = model.encode_crops(shelf, proposals=40, cancel=cancel)
    assert next(steps) == pytest.approx(16 / 40)
    cancel.set()
    with pytest.raises(Refusal) as refused:
        next(steps)
    assert refused.value.code == "cancelled"
    assert next(model.encode_crops(shelf, proposals=40)) == pytest.approx(32 / 40)


def test_a_fixed_detector_knows_its_base_categories_alone(model: ViLD, shelf: Image.Image) -> None:
    closed = model.closed(shelf, "zh", threshold=0.01)
    assert closed.variant == "text" and all(closed.base) and len(closed.labels) == 346
    assert "鸭子" not in closed.labels and "风筝" in closed.labels
    assert model.is_base(["Kite.", "duck", "风筝"]) == (True, False, True)


def test_the_ensemble_asks_what_is_base(model: ViLD, shelf: Image.Image) -> None:
    known = model.detect(shelf, LABELS, base=[False, False, True, True])
    turned = model.detect(shelf, LABELS, base=[True, True, False, False])
    text, image = known.parts["text"], known.parts["image"]
    np.testing.assert_allclose(known.class_scores[:, 0], (text * image**2)[:, 0] ** (1 / 3), rtol=1e-3)
    np.testing.assert_allclose(turned.class_scores[:, 0], (text**2 * image)[:, 0] ** (1 / 3), rtol=1e-3)


def test_one_label_for_each_thing_where_that_is_wished(model: ViLD, shelf: Image.Image) -> None:
    labels = ["a duck", "a bird", "a toy", "a robot"]
    usual = model.detect(shelf, labels, threshold=0.0)
    single = model.detect(shelf, labels, threshold=0.0, across_labels=True)
    assert 1 <= len(single.boxes) < len(usual.boxes)
    overlaps = box_iou(torch.from_numpy(single.boxes), torch.from_numpy(single.boxes)).fill_diagonal_(0)
    assert overlaps.max() <= 0.5
    kept = {(*box.tolist(), int(label)) for box, label in zip(usual.boxes, usual.label_indices, strict=True)}
    assert all((*b.tolist(), int(i)) in kept for b, i in zip(single.boxes, single.label_indices, strict=True))
    assert single.scores[0] == usual.scores[0]


@pytest.mark.parametrize("size", [(300, 40), (33, 90), (5, 5)])
def test_pictures_of_any_size(model: ViLD, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    found = model.detect(Image.fromarray(noise), WORDS, "image", threshold=0.0)
    assert found.size == size and (found.boxes <= [*size, *size]).all()


def test_on_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["core", "detect", str(SHELF), "--labels", "teddy bear", "--checkpoint", "classroom-vild"]
    monkeypatch.setattr(sys, "argv", [*command, "--threshold", "0.05", "--json"])
    assert cli.main() == 0
    answer = json.loads(capsys.readouterr().out)
    assert {row["label"] for row in answer["results"]} == {"teddy bear"} and answer["size"] == [384, 384]
    monkeypatch.setattr(sys, "argv", [*command, "--variant", "native"])
    assert cli.main() == 1
    assert "ensemble" in capsys.readouterr().err


def test_rows_of_photos_are_pinned_and_say_what_they_can() -> None:
    every = {row.name: row for row in checkpoints.rows("vild")}
    assert vild.variants("classroom-vild") == vild.VARIANTS
    for name in ("vild-crops-b32", "vild-crops-zh", "owlv2-b16", "owlvit-b32"):
        row = every[name]
        assert row.pinned and set(row.options["thresholds"]) == set(vild.variants(name))
        for required, digest in row.requires.items():
            assert digest in {file.sha256 for file in checkpoints.row(required).files}
