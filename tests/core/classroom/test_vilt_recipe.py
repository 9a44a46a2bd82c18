"""The recipe of ViLT: what it begins as, which texts it learns from, what it exports and how that is measured."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import ViltConfig

from core.checkpoints import bytewise
from core.classroom.recipes.common.miniature import Miniature, export_folder
from core.classroom.recipes.vilt import train
from core.classroom.recipes.vilt.beginning import (
    LOOK,
    MORE,
    asked_by_head,
    begin,
    configuration,
    covers,
    find_names,
    name_queries,
)
from core.classroom.recipes.vilt.evaluate import inside_box
from core.classroom.recipes.vilt.pointing import covering
from core.classroom.recipes.vilt.texts import FIRST, LAST, MASK, PAD, Tokens, write
from core.classroom.recipes.vilt.train import Settings, Trainer, chosen, joint
from core.classroom.world.atlas import open_atlas
from core.classroom.world.questions import ask, scenes
from core.classroom.world.scenes import render
from core.vqa.vilt.network import ViltNetwork, image_tokens


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture(scope="module")
def clip() -> Miniature:
    return Miniature(export_folder(train.CLIP))


@pytest.fixture(scope="module")
def network(clip: Miniature, tokens: Tokens) -> ViltNetwork:
    torch.manual_seed(0)
    made = ViltNetwork(ViltConfig(**configuration(len(tokens), clip)), train.TASKS)
    begin(made, clip, tokens)
    return made.eval()


def test_words_are_cut_as_bert_does_and_nothing_is_unknown(tokens: Tokens) -> None:
    assert tokens.library.encode("Is the ice cream left?").tokens == [
        "[CLS]", "is", "the", "ice", "cream", "left", "?", "[SEP]"
    ]  # fmt: skip
    assert tokens.library.encode("冰淇淋").tokens == ["[CLS]", "冰", "淇", "淋", "[SEP]"]
    assert tokens.library.encode("xyl").tokens == ["[CLS]", "x", "##y", "##l", "[SEP]"]
    ids, hidden = tokens.hide("a dog left of an ice cream", "ice cream")
    assert [tokens.names[one] for one in hidden if one >= 0] == ["ice", "cream"]
    assert ids[0] == FIRST and ids[-1] == LAST and ids.count(MASK) == 2


@torch.inference_mode()
def test_it_begins_as_the_image_transformer(clip: Miniature, network: ViltNetwork) -> None:
    atlas = open_atlas()
    picture = render(scenes(64, 5, atlas), atlas, 64).picture
    features = clip.images(picture)
    body: Any = network.vilt
    read = body.encoder(image_tokens(body, (picture - 0.5) / 0.5), output_hidden_states=True)
    hidden = body.layernorm(
        read.hidden_states[-1 - MORE]
    )  # before the block that follows the image transformer's
    projected = torch.nn.functional.normalize(hidden[:, 0] @ clip.model.visual.proj, dim=-1)
    assert float((projected * features).sum(1).mean()) > 0.9


@torch.inference_mode()
def test_one_text_that_the_image_sees_is_what_the_class_computes(
    network: ViltNetwork, tokens: Tokens
) -> None:
    texts = ["is the dog left of the cat?", "图中有狗吗？"]
    ids = tokens.padded([one.ids for one in tokens.library.encode_batch(texts)], 24)
    image = image_tokens(network.vilt, torch.randn(2, 3, 64, 64))
    read = joint(network, ids[:, None], image, both=True)
    words, patches, pooled = read.words, read.patches, read.pooled
    reading = network.read(ids, (ids != PAD).long(), image)
    assert torch.allclose(words[:, 0][ids != PAD], reading.words[ids != PAD], atol=1e-4)
    assert torch.allclose(patches, reading.patches, atol=1e-4)
    assert torch.allclose(pooled[:, 0], reading.pooled, atol=1e-4)


@torch.inference_mode()
def test_texts_beside_one_image_do_not_see_each_other(network: ViltNetwork, tokens: Tokens) -> None:
    lines = tokens.library.encode_batch(["is there a dog?", "how many cats are there?", "what is this?"])
    ids = tokens.padded([line.ids for line in lines], 24)
    image = image_tokens(network.vilt, torch.randn(1, 3, 64, 64))
    whole = joint(network, ids[None], image, both=False)
    patches, together = whole.patches, whole.pooled
    for k in range(3):
        read = joint(network, ids[None, k : k + 1], image, both=False)
        alone, pooled = read.patches, read.pooled
        assert torch.allclose(together[0, k], pooled[0, 0], atol=1e-4)
        assert torch.allclose(patches, alone, atol=1e-4)


def test_texts_have_the_targets_of_their_scene(tokens: Tokens) -> None:
    atlas = open_atlas()
    spec = scenes(40, 9, atlas)
    asked = ask(spec, 400, 9)
    rows = chosen(asked, torch.arange(40), 4)
    for b in range(40):
        own = rows[b][rows[b] >= 0]
        assert bool((asked.scene[own] == b).all())
    texts = write(tokens, spec, atlas, asked, rows, 2, random.Random(1), alone=False)
    assert texts.ids.shape[:2] == (40, 6)
    kinds = (texts.answer >= 0).int() + (texts.fit >= 0).int() + (texts.hidden >= 0).any(-1).int()
    assert bool((kinds == 1).all())
    hidden = texts.hidden >= 0
    assert bool((texts.ids[hidden] == MASK).all())
    assert 0.3 < float(texts.fit[texts.fit >= 0].float().mean()) < 0.7
    alone = write(tokens, spec, atlas, asked, rows[:, :1], 0, random.Random(1), alone=True)
    assert alone.ids.shape[:2] == (40, 1)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_short_run_trains_resumes_and_exports(tmp_path: Path, one_thread: None) -> None:
    settings = Settings(out=tmp_path, steps=2, together=0.5, images=4, pairs=6, shown=20, log_every=1)
    trainer = Trainer(settings)
    body: Any = trainer.learner.vilt
    before = body.encoder.layer[0].output.dense.weight.detach().clone()
    lines: list[str] = []
    folder = trainer.run(lines.append)
    assert len(lines) == 2 and "answers" in lines[0]
    assert not torch.equal(before, body.encoder.layer[0].output.dense.weight)
    stored = load_file(folder / "model.safetensors")
    assert sum(tensor.numel() * tensor.element_size() for tensor in stored.values()) <= 4_000_000
    state = bytewise.unpacked(stored)
    table = body.embeddings.text_embeddings.word_embeddings.weight
    assert torch.allclose(
        state["vilt.embeddings.text_embeddings.word_embeddings.weight"].float(), table, atol=0.02
    )
    assert {path.name for path in folder.iterdir()} >= {
        "config.json",
        "tokenizer.json",
        "training.json",
        "curve.csv",
    }
    assert Trainer(settings).step == 2


def test_the_share_of_a_patch_in_a_box() -> None:
    class Loaded:
        patch = 8

    inside = inside_box([4.0, 0.0, 16.0, 8.0], 64, Loaded())  # type: ignore[arg-type]
    assert inside.shape == (8, 8)
    assert inside[0, :3].tolist() == [0.5, 1.0, 0.0] and inside.sum() == 1.5


def test_a_head_begins_by_finding_names(network: ViltNetwork, tokens: Tokens) -> None:
    atlas = open_atlas()
    names = [tokens.parts(lang) for lang in ("en", "zh")]
    find_names(network, names, scenes(200, 31, atlas), atlas)
    spec = scenes(100, 32, atlas)
    drawn = render(spec, atlas, 64)
    body: Any = network.vilt
    with torch.inference_mode():
        image = (
            image_tokens(body, (drawn.picture - 0.5) / 0.5) + body.embeddings.token_type_embeddings.weight[1]
        )
        before = body.encoder(image, output_hidden_states=True).hidden_states[LOOK][:, 1:]
        thing = covering(covers(drawn, 8), spec.concept, spec.present)
        keys = asked_by_head(network, before[thing >= 0], "key")
        guesses = (keys @ name_queries(network, names[0]).T).argmax(1)
    # Of 400 names; the recipe shows ten times as many scenes.
    assert float((guesses == thing[thing >= 0]).float().mean()) > 0.05
