"""The traps of published answers: where two right programs differ, and which one this code follows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core import checkpoints
from core.checkpoints import known
from core.clip.siglip import CONTEXT, SiglipText, siglip_tokenizer
from core.detection.glip import boxes, grounding
from core.detection.owl import load_owl
from core.segmentation import groupvit
from tests.core.checkpoints import known_families, known_rows

DINO_ROWS = ("grounding-dino-tiny", "mm-grounding-dino-tiny")


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_trap_1_640_by_480_becomes_1066_by_800() -> None:
    """Published code cuts parts of a pixel off; where the long side decides, its two families differ by a pixel."""
    from transformers.image_transforms import get_size_with_aspect_ratio

    for name in ("glip-tiny", *DINO_ROWS):
        options = checkpoints.row(name).options
        pixels = grounding.Pixels(checkpoints.row(name))
        assert (options["short_side"], options["long_side"]) == (800, 1333)
        assert pixels(Image.new("RGB", (640, 480)))[1] == (1066, 800)
        assert pixels(Image.new("RGB", (480, 640)))[1] == (800, 1066)
    assert grounding.working_size(2000, 1000, 800, 1333, "glip") == (1332, 666)
    assert grounding.working_size(1000, 2000, 800, 1333, "dino") == (666, 1333)
    assert grounding.working_size(900, 800, 800, 1333, "dino") == (900, 800)
    assert grounding.working_size(1, 9000, 800, 1333, "dino")[0] == 1
    sides = np.random.default_rng(0).integers(40, 4000, (200, 2)).tolist()
    for width, height in sides:
        ours = grounding.working_size(width, height, 800, 1333, "dino")
        assert ours == get_size_with_aspect_ratio((height, width), 800, 1333)[::-1]
    # The miniature learned with rounded sides and keeps them.
    assert grounding.Pixels(checkpoints.row("classroom-glip")).sides == "rounded"
    assert grounding.working_size(640, 480, 800, 1333) == (1067, 800)


def test_trap_2_the_score_of_a_phrase_is_its_familys_own() -> None:
    """Of "a cat." the published score is that of the token "a"; GLIP's authors take the mean."""
    logits = torch.tensor([[-4.8913, -0.1900, -0.2161]])
    best = boxes.phrase_scores(logits, [[1, 2], [2], []], "best")
    np.testing.assert_allclose(best.numpy(), [[0.4526, 0.4462, 0.0]], atol=1e-4)
    mean = boxes.phrase_scores(logits, [[1, 2], [2], []])
    np.testing.assert_allclose(mean.numpy(), [[0.4494, 0.4462, 0.0]], atol=1e-4)
    assert {checkpoints.row(name).options["phrase"] for name in DINO_ROWS} == {"best"}
    assert checkpoints.row("glip-tiny").options["phrase"] == "mean"
    published = known.book().answers["grounding-dino-tiny"]
    (own,) = [answer for answer in published if answer.texts == ("a cat.",)]
    assert own.want[0][0] == pytest.approx(float(best[0, 0]), abs=1e-4)


def test_trap_5_owlv2_pads_and_its_boxes_end_at_the_image(tmp_path: Path) -> None:
    """Published slices are of another row with the other family's processor; boxes lie in the padded square."""
    published = known.book().answers["owlv2-b16"]
    assert {answer.kind for answer in published} == {"boxes"}  # its joint space was never converted
    for answer in published:
        for _, left, top, right, bottom in answer.want:
            assert 0 <= left < right <= 640 and 0 <= top < bottom <= 480
        assert answer.options["proposals"] == "all"  # the row itself drops proposals that overlap
    known_rows.owl_repository(tmp_path / "owlv2", "Owlv2")
    row = checkpoints.row("owlv2-b16")
    folder = tmp_path / "owlv2"
    paths = {path.name: path for path in folder.iterdir()}
    loaded = load_owl(paths, row, "cpu", torch.float32)
    assert type(loaded.processor).__name__ == "Owlv2ImageProcessor" and loaded.processor.do_pad
    wide = noise(64, 16)
    pixels = loaded.processor(images=wide, return_tensors="pt")["pixel_values"][0]
    assert pixels[0, 40:].std() < 1e-3 < pixels[0, :14].std()  # three quarters are padding
    loaded.every = True
    with torch.inference_mode():
        every = loaded.see(wide).proposals
        loaded.every = False
        fewer = loaded.see(wide).proposals
    assert len(every) == 16 > len(fewer)
    assert every[:, [0, 2]].min() >= 0 and every[:, [0, 2]].max() <= 64
    assert every[:, [1, 3]].min() >= 0 and every[:, [1, 3]].max() <= 16


def test_trap_6_the_published_answer_of_groupvit_is_of_224_pixels(tmp_path: Path) -> None:
    (answer,) = known.book().answers["groupvit-gcc-yfcc"]
    row = checkpoints.row("groupvit-gcc-yfcc")
    assert row.options["short_side"] == 448 and answer.options["short_side"] == 224
    published = known_families.groupvit_repository(tmp_path)
    from transformers import GroupViTModel

    copy = checkpoints.row(known.variant(row, answer))
    assert copy.options["model"] == row.options["model"]
    image = noise(80, 60)
    seen = {
        name: groupvit.LoadedGroupViT(
            GroupViTModel.from_pretrained(tmp_path), list, which, "cpu", torch.float32
        ).pixels(image)
        for name, which in (("published", copy), ("own", row))
    }
    assert seen["published"].shape == (1, 3, 224, 224)  # a centred square
    assert min(seen["own"].shape[2:]) == 448 and seen["own"].shape[3] > 448  # the whole image
    assert len(published[0]) == len(known_rows.TEXTS)


def test_trap_7_pillow_and_torchvision_differ_within_the_tolerances() -> None:
    """Published values of 2026 are of torchvision's resizer. Rows that resize with Pillow allow for it, others do not need to."""
    import transformers

    image = noise(640, 480)

    def difference(name: str, **settings: object) -> tuple[float, float]:
        made = [
            torch.as_tensor(np.asarray(kind(**settings)(images=image)["pixel_values"][0]))
            for kind in (getattr(transformers, name), getattr(transformers, f"{name}Pil"))
        ]
        apart = (made[0] - made[1]).abs()
        return float(apart.max()), float(apart.mean())

    size = {"height": 768, "width": 768}
    largest, mean = difference("OwlViTImageProcessor", size=size)
    assert 0 < largest <= 0.03 and mean <= 1e-4
    size = {"height": 224, "width": 224}
    largest, _ = difference("ChineseCLIPImageProcessor", size=size, do_center_crop=False)
    assert 0 < largest <= 0.03
    # Rows of Pillow with a library's slices at 1e-3 state a wider tolerance, and why.
    by_pillow = ("clip-vit-b32", "clipseg-rd64", "groupvit-gcc-yfcc", "grounding-dino-tiny")
    for name in by_pillow:
        for answer in known.book().answers[name]:
            if answer.input.startswith("cats") and answer.kind in ("logits", "boxes"):
                assert answer.tolerance >= 0.01, answer


def test_trap_9_siglip_2_reads_lower_case_in_64_places(tmp_path: Path) -> None:
    from transformers import SiglipModel

    known_families.siglip_repository(tmp_path)
    library, tokenize = siglip_tokenizer(tmp_path / "tokenizer.json", CONTEXT)
    assert CONTEXT == 64 and tokenize(["A DOG"]) == tokenize(["a dog"])
    assert (
        library.encode("DO", add_special_tokens=False).ids
        != library.encode("do", add_special_tokens=False).ids
    )
    (ids,) = tokenize(["a dog"])
    assert ids[-1] == library.token_to_id("<eos>") and len(ids) < 64
    model = SiglipModel.from_pretrained(tmp_path).eval()
    pad = library.token_to_id("<pad>")
    whole = torch.full((1, 64), pad)
    whole[0, : len(ids)] = torch.tensor(ids)
    with torch.inference_mode():
        ours = SiglipText(model, tokenize, pad)([ids], "cpu")
        theirs = model.get_text_features(input_ids=whole).pooler_output
        short = model.get_text_features(input_ids=torch.tensor([ids])).pooler_output
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)
    assert (ours - short).abs().max() > 1e-3  # without padding it is another text
    # The recorded run keeps capitals, so that only texts in lower case are listed.
    for name in ("siglip2-b16", "siglip2-b32"):
        for answer in known.book().answers[name]:
            assert not any(re.search("[A-Z]", text) for text in answer.texts)
