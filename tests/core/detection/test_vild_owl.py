"""OWL-ViT, OWLv2 and crops named by a CLIP on a few thousand random weights: transformers' own scores and boxes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core.clip import encoders
from core.detection import ViLD, vild
from core.errors import Refusal
from tests import tiny
from tests.conftest import Rows

pytestmark = pytest.mark.usefixtures("forget")

WORDS = ["dog", "cat", "red envelope"]


def config(kind: Any) -> Any:
    words = tiny.tokenizer().get_vocab_size()
    small = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    return kind(
        text_config={
            **small, "vocab_size": words, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": words - 1,
        },
        vision_config={**small, "image_size": 64, "patch_size": 16},
        projection_dim=32,
    )  # fmt: skip


@pytest.fixture(scope="module")
def owls(tmp_path_factory: pytest.TempPathFactory, module_rows: Rows) -> dict[str, Any]:
    """Both families with random weights saved as published repositories, and a CLIP that names crops."""
    import transformers

    root = tmp_path_factory.mktemp("owls")
    tiny.make_bundle(root / "clip")
    tables: list[str] = []
    models = {}
    for family in ("Owlv2", "OwlViT"):
        torch.manual_seed(1)
        model = getattr(transformers, f"{family}ForObjectDetection")(
            config(getattr(transformers, f"{family}Config"))
        ).eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
        folder = root / family
        model.save_pretrained(folder)
        side = {"height": 64, "width": 64}
        getattr(transformers, f"{family}ImageProcessor")(size=side).save_pretrained(folder)
        tiny.tokenizer().save(str(folder / "tokenizer.json"))
        row = tiny.row(
            f"tiny-{family}", folder, loader="core.detection.owl:load_owl", normalisation="sigmoid"
        )
        tables.append(
            f'{row}[tiny-{family}.options]\nfamily = "{family}"\nvariants = ["native"]\nprompts = "owl"\n'
            "thresholds = {native = 0.0}\n"
        )
        models[family] = model
    digest = hashlib.sha256((root / "clip" / "model.safetensors").read_bytes()).hexdigest()
    row = tiny.row("tiny-vild-crops", root / "Owlv2", loader="core.detection.owl:load_owl")
    head, files = row.split("[[", 1)
    tables.append(
        f'{head}requires = {{tiny-vild-clip = "{digest}"}}\n[[{files}[tiny-vild-crops.options]\nfamily = "Owlv2"\n'
        'variants = ["crops"]\nprompts = "vild"\nscale = 100.0\nthresholds = {crops = 0.1}\n'
    )
    detectors = "".join(tables).replace('paper = "clip"', 'paper = "vild"')
    clip = tiny.row("tiny-vild-clip", root / "clip")
    module_rows(clip, detectors)
    return models


@pytest.mark.parametrize("family", ["Owlv2", "OwlViT"])
def test_scores_and_boxes_are_transformers_own(owls: dict[str, Any], family: str) -> None:
    image = tiny.noise(80, 48)
    lines = [f"a photo of a {word}." for word in WORDS]
    ids = [encoding.ids for encoding in tiny.tokenizer().encode_batch(lines)]
    tokens = torch.zeros(len(ids), 16, dtype=torch.long)
    for line, text in zip(tokens, ids, strict=True):
        line[: len(text)] = torch.tensor(text)
    processor = ViLD.load(f"tiny-{family}", "cpu").use()
    with processor as loaded, torch.inference_mode():
        pixels = loaded.processor(images=image, return_tensors="pt")["pixel_values"]  # type: ignore[attr-defined]
        theirs = owls[family](input_ids=tokens, attention_mask=(tokens > 0).long(), pixel_values=pixels)
        sides = torch.tensor([[80, 80] if family == "Owlv2" else [48, 80]])
        (wanted,) = loaded.processor.post_process_object_detection(theirs, threshold=0.0, target_sizes=sides)  # type: ignore[attr-defined]
    found = ViLD.load(f"tiny-{family}", "cpu").detect(image, WORDS, threshold=0.0, nms=1.0)
    assert found.variant == "native" and found.normalisation == "sigmoid" and not any(found.base)
    scores = theirs.logits[0].sigmoid().numpy()
    assert scores.std() > 0.01
    # Each proposal is one of transformers' patches, cut at the picture's edge.
    edges = wanted["boxes"].numpy().clip(0, [80, 48, 80, 48])
    apart = np.abs(found.proposals[:, None] - edges[None]).max(-1)
    patch = apart.argmin(1)
    assert apart.min(1).max() < 1e-3 and len(set(patch)) == len(patch) >= 2
    np.testing.assert_allclose(found.class_scores, scores[patch], atol=1e-5)
    few = ViLD.load(f"tiny-{family}", "cpu").detect(image, WORDS, proposals=2)
    assert len(few.proposals) == (2 if family == "Owlv2" else len(found.proposals))
    if family == "Owlv2":
        objectness = theirs.objectness_logits[0].sigmoid().numpy()
        np.testing.assert_allclose(found.objectness, objectness[patch], atol=1e-5)
        assert patch[0] in np.argsort(-objectness)[:3]


def test_owlv2_proposes_and_clip_names_the_crops(owls: dict[str, Any]) -> None:
    image, handle = tiny.noise(70, 50), ViLD.load("tiny-vild-crops", "cpu")
    assert vild.variants("tiny-vild-crops") == ("crops",)
    found = handle.detect(image, WORDS, threshold=0.0, proposals=3)
    with encoders.use("tiny-vild-clip", "cpu", torch.float32) as encoder:
        texts = encoder.encode_text(vild.wording.sentences("dog", "vild"))
        box = found.proposals[1]
        centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * 0.75
        wide = np.concatenate([np.maximum(centre - half, 0), np.minimum(centre + half, [70, 50])])
        total = np.zeros(16)
        for part in (box, wide):
            # PIL's own reading of the same crop: another way to shrink and enlarge, nearly the same pixels.
            crop = image.resize((32, 32), Image.Resampling.BILINEAR, box=tuple(map(float, part)))
            total += encoder.encode_image([crop])[0]
    mean = texts.mean(0) / np.linalg.norm(texts.mean(0))
    np.testing.assert_allclose(found.text_features[0], mean, atol=1e-5)
    assert found.region_embeddings[1] @ (total / np.linalg.norm(total)) > 0.97
    with pytest.raises(Refusal) as refused:
        handle.closed(image)
    assert refused.value.code == "no_closed_vocabulary"


def test_a_picture_of_one_pixel_is_one_proposal(owls: dict[str, Any]) -> None:
    found = ViLD.load("tiny-vild-crops", "cpu").detect(tiny.noise(1, 1), WORDS, threshold=0.0)
    assert found.class_scores.shape == (1, 3) and found.class_scores.sum() == pytest.approx(1, abs=1e-4)
