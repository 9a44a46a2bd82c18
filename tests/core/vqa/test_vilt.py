"""ViLT's verbs on a tiny network: equal to transformers' classes, with alignments that add up, and refusals in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    ViltConfig,
    ViltForImageAndTextRetrieval,
    ViltForImagesAndTextClassification,
    ViltForMaskedLM,
    ViltForQuestionAnswering,
    ViltImageProcessor,
)

from core.classroom.recipes.vilt.texts import PAD, Tokens
from core.errors import Refusal
from core.vqa.vilt import alignment
from core.vqa.vilt.model import LoadedViLT, ViLT, seen_size
from core.vqa.vilt.network import Task, ViltNetwork, image_tokens, named
from core.vqa.vilt.results import EncodedImage
from tests import tiny
from tests.conftest import Rows

SIZES: dict[str, Any] = {
    "max_position_embeddings": 16, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "image_size": 32, "patch_size": 8, "num_labels": 3, "pad_token_id": PAD,
}  # fmt: skip
TASKS: tuple[Task, ...] = ("answer", "match", "fill")


def table(name: str, folder: Path, tasks: tuple[str, ...], **options: Any) -> str:
    """The registry table of a tiny row."""
    told = {"tasks": list(tasks), **options}
    lines = [f"{key} = {json.dumps(value)}" for key, value in told.items()]
    text = tiny.row(name, folder, loader="core.vqa.vilt.model:load_vilt").replace('"clip"', '"vilt"', 1)
    return f"{text}\n[{name}.options]\n" + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture(scope="module")
def network(tokens: Tokens) -> ViltNetwork:
    torch.manual_seed(3)
    made = ViltNetwork(ViltConfig(vocab_size=len(tokens), **SIZES), TASKS)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


@pytest.fixture(scope="module")
def models(
    tokens: Tokens, network: ViltNetwork, tmp_path_factory: pytest.TempPathFactory, module_rows: Rows
) -> Any:
    """Two rows: one with three heads, one that compares two images."""
    root = tmp_path_factory.mktemp("vilt")
    config = {"vocab_size": len(tokens), **SIZES}
    torch.manual_seed(4)
    pair = {**config, "num_images": 2, "modality_type_vocab_size": 3, "num_labels": 2}
    two = ViltForImagesAndTextClassification(ViltConfig(**pair))
    rows = []
    for name, told, state, tasks in (
        ("tiny-vilt", {**config, "answers_zh": ["猫", "狗", "二"]}, network.state_dict(), TASKS),
        ("tiny-pair", pair, two.state_dict(), ("compare",)),
    ):
        folder = root / name
        folder.mkdir()
        kept = {key: value.contiguous() for key, value in state.items() if key != "mlm_score.decoder.weight"}
        save_file(kept, folder / "model.safetensors")
        labels = {str(i): word for i, word in enumerate(("cat", "dog", "2")[: told["num_labels"]])}
        (folder / "config.json").write_text(json.dumps({**told, "id2label": labels}, ensure_ascii=False))
        tokens.library.save(str(folder / "tokenizer.json"))
        rows.append(table(name, folder, tasks, size=32, match="sigmoid"))
    module_rows(*rows)
    return {name: ViLT.load(name, "cpu") for name in ("tiny-vilt", "tiny-pair")}, two.eval()


def picture(seed: int = 0, size: tuple[int, int] = (48, 48)) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(levels)


def pixels_of(model: ViLT, image: Image.Image) -> torch.Tensor:
    with model.use() as loaded:
        return loaded.pixels(image)


def library_inputs(model: ViLT, image: Image.Image, text: str) -> dict[str, torch.Tensor]:
    """The inputs of transformers' classes."""
    pixels = pixels_of(model, image)
    with model.use() as loaded:
        ids = torch.tensor([loaded.ids(text)[0]])
    return {
        "input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels,
        "pixel_mask": torch.ones(1, *pixels.shape[-2:]),
    }  # fmt: skip


@torch.inference_mode()
def test_patches_are_the_librarys_in_reading_order(network: ViltNetwork) -> None:
    for height, width in ((32, 32), (16, 40)):
        pixels = torch.randn(2, 3, height, width)
        mine = image_tokens(network.vilt, pixels)
        theirs, _, (index, (_, columns)) = network.vilt.embeddings.visual_embed(
            pixels, torch.ones(2, height, width), max_image_length=-1
        )
        place = (index[..., 0] * columns + index[..., 1])[..., None].expand(-1, -1, mine.shape[-1])
        assert torch.allclose(torch.gather(mine[:, 1:], 1, place), theirs[:, 1:], atol=1e-6)
        assert torch.equal(mine[:, 0], theirs[:, 0])


@torch.inference_mode()
def test_answers_scores_and_words_are_those_of_the_library(models: Any, network: ViltNetwork) -> None:
    model, image = models[0]["tiny-vilt"], picture()
    state = network.state_dict()
    classes = {
        task: kind(network.config).eval()
        for task, kind in (
            ("answer", ViltForQuestionAnswering),
            ("match", ViltForImageAndTextRetrieval),
            ("fill", ViltForMaskedLM),
        )
    }
    for one in classes.values():
        one.load_state_dict({name: state[name] for name in one.state_dict()})
    given = library_inputs(model, image, "is there a dog?")
    found = model.answer(image, "is there a dog?")
    assert np.allclose(found.probabilities, classes["answer"](**given).logits[0].softmax(0), atol=1e-5)
    assert found.names == ("cat", "dog", "2") and found.looked
    assert model.answer(image, "图中有狗吗？").names == ("猫", "狗", "二")
    match = model.match(image, "a dog")
    wanted = float(classes["match"](**library_inputs(model, image, "a dog")).logits[0, 0])
    assert match.score == pytest.approx(wanted, abs=1e-4)
    assert match.probability == pytest.approx(1 / (1 + np.exp(-wanted)), abs=1e-5)
    filled = model.fill(image, "a [mask] on grass")
    given = library_inputs(model, image, "a [MASK] on grass")
    with model.use() as loaded:
        at = given["input_ids"][0].tolist().index(loaded.mask)
        logits = classes["fill"](**given).logits[0, at]
        logits[
            [loaded.library.token_to_id(name) for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")]
        ] = -1e9
        word = loaded.library.id_to_token(int(logits.argmax())).removeprefix("##")
    assert filled.filled == f"a {word} on grass"
    assert filled.gaps[0].words[0] == word
    assert filled.gaps[0].probabilities[0] == pytest.approx(float(logits.softmax(0).max()), abs=1e-5)


@torch.inference_mode()
def test_two_images_are_compared_as_the_library_does(models: Any) -> None:
    rows, whole = models
    model, text = rows["tiny-pair"], "one dog more"
    images = [picture(1), picture(2)]
    given = library_inputs(model, images[0], text)
    both = torch.stack([pixels_of(model, image)[0] for image in images])[None]
    del given["pixel_mask"]
    theirs = whole(**{**given, "pixel_values": both}).logits[0].softmax(0)
    assert np.allclose(model.compare(*images, text), theirs, atol=1e-5)


def test_gaps_are_filled_one_by_one_the_most_certain_first(models: Any) -> None:
    found = models[0]["tiny-vilt"].fill(picture(), "a [MASK] left of a ___")
    assert sorted(gap.turn for gap in found.gaps) == [0, 1]
    assert "[MASK]" not in found.filled and found.filled.startswith("a ")
    assert found.to_json()["gaps"][1][0]["word"] == found.gaps[1].words[0]


def test_the_alignment_adds_up(models: Any) -> None:
    found = models[0]["tiny-vilt"].answer(picture(), "where is the dog?")
    aligned = found.aligned
    assert aligned.words == ("where", "is", "the", "dog", "?")
    assert aligned.plan.shape == (5, 4, 4)
    assert np.allclose(aligned.share.sum((1, 2)), 1, atol=1e-5)
    assert aligned.distance == pytest.approx(float((aligned.plan * aligned.cost).sum()), rel=1e-4)
    assert aligned.heat(3).min() >= 0 and aligned.heat(3).max() <= 1
    assert found.tokens[0] == "[CLS]" and found.tokens[-1] == "[SEP]"


def test_a_question_without_an_image_is_answered_from_words_alone(models: Any) -> None:
    model = models[0]["tiny-vilt"]
    blind = model.answer(None, "is there a dog?")
    assert not blind.looked
    same = model.answer(Image.new("RGB", (9, 9), (128, 128, 128)), "is there a dog?")
    assert np.allclose(blind.probabilities, same.probabilities, atol=1e-6)


def test_an_image_is_encoded_once(models: Any) -> None:
    model = models[0]["tiny-vilt"]
    encoded = model.encode(picture())
    assert isinstance(encoded, EncodedImage) and encoded.grid == (4, 4) and encoded.tokens.shape == (17, 32)
    again = model.answer(encoded, "is there a dog?")
    assert np.array_equal(again.probabilities, model.answer(picture(), "is there a dog?").probabilities)


def test_what_cannot_be_answered_is_refused_in_words(models: Any) -> None:
    rows, _ = models
    with pytest.raises(Refusal) as refused:
        rows["tiny-pair"].answer(picture(), "is there a dog?")
    assert refused.value.code == "vilt_task" and "tiny-vilt" in refused.value.text("zh")
    with pytest.raises(Refusal) as refused:
        rows["tiny-vilt"].fill(picture(), "a dog")
    assert refused.value.code == "no_mask"


def test_long_texts_are_cut_and_the_answer_says_so(models: Any) -> None:
    found = models[0]["tiny-vilt"].answer(
        picture(), "is there a dog left of a cat left of a dog left of a cat?"
    )
    assert len(found.tokens) == 16 and found.tokens[-1] == "[SEP]"
    assert found.notes.truncated
    assert found.to_json()["truncated"]


@pytest.mark.parametrize("size", [(640, 480), (1000, 300), (50, 50), (333, 500), (700, 699), (639, 200)])
def test_sizes_are_the_processors(size: tuple[int, int]) -> None:
    seen = ViltImageProcessor()(images=Image.new("RGB", size), return_tensors="pt").pixel_values.shape
    assert seen_size(*size) == (seen[-1], seen[-2])


def test_an_image_too_narrow_for_the_published_size_is_refused(network: ViltNetwork, models: Any) -> None:
    from core import checkpoints

    row = checkpoints.row("tiny-vilt")
    from dataclasses import replace

    published = replace(row, options={"tasks": ["answer"]})
    with models[0]["tiny-vilt"].use() as loaded:
        plain = LoadedViLT(network, loaded.library, published, {"en": ("a",)}, "cpu", torch.float32)
    assert plain.pixels(Image.new("RGB", (640, 480))).shape == (1, 3, 384, 512)
    with pytest.raises(Refusal) as refused:
        plain.pixels(Image.new("RGB", (2000, 20)))
    assert refused.value.code == "vilt_narrow"


def test_published_tensors_get_their_names() -> None:
    table_ = torch.zeros(5, 2)
    state = {
        "vilt.embeddings.text_embeddings.word_embeddings.weight": table_,
        "vilt.embeddings.text_embeddings.position_ids": torch.arange(3),
        "mlm_score.bias": torch.ones(5),
    }
    made = named(state, ("fill",))
    assert made["mlm_score.decoder.weight"] is table_
    assert torch.equal(made["mlm_score.decoder.bias"], torch.ones(5))
    assert not any(name.endswith("position_ids") or name == "mlm_score.bias" for name in made)


def test_maps_of_words_that_stand_nowhere_are_empty() -> None:
    assert not alignment.heat(np.full((3, 3), 0.1)).any()
    spread = np.zeros((3, 3))
    spread[1, 1] = 1.0
    assert alignment.heat(spread)[1, 1] == 1.0 and alignment.heat(spread).sum() == 1.0
