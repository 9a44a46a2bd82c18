"""GLIP's handle on tiny networks: prompts, phrases, answers, files as their authors left them, descendants."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.ops import box_iou, deform_conv2d

from core import __main__ as command_line
from core import checkpoints, runtime
from core.checkpoints import originals, registry
from core.clip import encoders
from core.detection import GLIP
from core.detection.glip import boxes, grounding, language, lists, network, phrases, row_threshold
from core.detection.glip.deform import modulated_conv
from core.detection.glip.head import as_read
from core.errors import Refusal, sentences
from tests import tiny
from tests.conftest import Rows

CLIP = "classroom-rn"
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    ".",
    "a",
    "red",
    "dog",
    "cat",
    "traffic",
    "light",
    "s",
    "##s",
]
COMMON = """paper = "glip"
title = { en = "Tiny", zh = "小" }
licence = "mit"
licence_note = { en = "-", zh = "-" }
citation = "-"
languages = ["en"]
normalisation = "sigmoid"
knows = { en = "-", zh = "-" }
lacks = { en = "-", zh = "-" }
size_bytes = 1_000_000
"""
SMALL: dict[str, Any] = {
    "channels": 16,
    "strides": [8, 16, 32, 64, 128],
    "anchor": 8,
    "backbone": {
        "kind": "swin", "width": 8, "depths": [1, 2, 1, 1], "heads": [1, 2, 2, 2], "window": 3, "taken": [1, 2, 3], "top": True,
    },
    "language": {"kind": "bert", "width": 16, "layers": 1, "heads": 2, "inner": 32, "vocabulary": len(WORDS)},
    "head": {
        "blocks": 2, "fusion": True, "fusion_width": 32, "fusion_heads": 2, "word_heads": 2, "word_inner": 32, "groups": 4,
        "deformable": True, "classes": 3,
    },
}  # fmt: skip


def row(name: str, loader: str, folder: Path, files: str, requires: str, options: str) -> str:
    """A bundled row of a registry of its own."""
    listed = "\n".join(f'[[{name}.files]]\npath = "{file}"' for file in files.split())
    return (
        f'[{name}]\n{COMMON}loader = "{loader}"\nbundled = "{folder}"\nrequires = {{{requires}}}\n'
        f"[{name}.options]\n{options}\n{listed}\n"
    )


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, module_rows: Rows) -> Iterator[Path]:
    """A registry with a miniature, a tiny GLIP-T and a tiny Grounding DINO, all of random weights."""
    folder = tmp_path_factory.mktemp("glip")
    patch = pytest.MonkeyPatch()
    known = {**network.architectures(), "small": SMALL}
    patch.setattr(network, "architectures", lambda: known)
    patch.setattr(grounding, "architectures", lambda: known)
    for name in ("words", "mini", "small", "dino"):
        (folder / name).mkdir()
    (folder / "words" / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(0)
    mini = network.GLIPNet("glip_classroom").state_dict()
    mini["rpn.head.bias0"] += 4  # so that something is found
    mini["rpn.head.share_v"] += 1  # the tower of a fresh miniature adds nothing
    own = {name: value for name, value in mini.items() if not name.startswith("backbone.body.")}
    save_file(own, folder / "mini" / "model.safetensors")
    state = network.GLIPNet("small").state_dict()
    state["rpn.head.bias0"] += 4
    torch.save(
        {"model": {f"module.{k}": v for k, v in state.items()}, "optimizer": {"step": 3}},
        folder / "small" / "w.pth",
    )
    tiny.make_dino(folder / "dino", WORDS)
    clip = checkpoints.row(CLIP)
    built_in = registry.BUILT_IN.read_text(encoding="utf-8")
    start = built_in.index(f"[{CLIP}]")
    end = built_in.index("\n[classroom-vit]", start)
    pictures = (
        "short_side = 64\nlong_side = 96\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\nthreshold = 0.0"
    )
    vocabulary = 'words = "' + hashlib.sha256((folder / "words" / "vocab.txt").read_bytes()).hexdigest() + '"'
    handle = "core.detection.glip.grounding:load_glip"
    tables = [
        built_in[start:end],
        row("words", "core.detection.glip.language:load_vocabulary", folder / "words", "vocab.txt", "", ""),
        row(
            "mini", handle, folder / "mini", "model.safetensors", f'{CLIP} = "{clip.files[0].sha256}"',
            f'architecture = "glip_classroom"\n{pictures}',
        ),
        row(
            "small", handle, folder / "small", "w.pth", vocabulary,
            f'architecture = "small"\norder = "bgr"\n{pictures}',
        )
        + '[small.import]\nexpects = "core.detection.glip.grounding:tensors"\nsource = "-"\nkey = "model"\n'
        'rename = [["module[.](.*)", "\\\\1"]]\n',
        row(
            "dino", "core.detection.glip.dino:load_dino", folder / "dino", "config.json vocab.txt model.safetensors", "",
            f'family = "GroundingDino"\n{pictures}',
        ),
    ]  # fmt: skip
    module_rows(*tables)
    patch.setattr(originals.constants, "HF_HOME", str(folder / "home"))
    yield folder
    patch.undo()
    encoders.runtime.POOL.drop_idle()
    for cache in (grounding.ANSWERS, grounding.ENCODED_IMAGES):
        cache.clear()


def picture() -> Image.Image:
    """A wide image with something in it."""
    levels = np.random.default_rng(0).integers(0, 255, (6, 10, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((300, 180))


@pytest.mark.parametrize("checkpoint", ["mini", "small", "dino"])
def test_a_caption_is_grounded(checkpoint: str, here: Path) -> None:
    model = GLIP.load(checkpoint)
    image = picture()
    answer = model.ground(image, "a red dog and a cat")
    assert answer.mode == "grounding" and answer.prompt == "a red dog and a cat" and answer.size == (300, 180)
    assert [phrase.text for phrase in answer.phrases] == ["a red dog", "a cat"]
    for phrase in answer.phrases:
        own = [answer.prompt[slice(*answer.spans[word])] for word in phrase.words]
        assert " ".join(own) == phrase.text == answer.prompt[phrase.start : phrase.end]
    count, length = len(answer.boxes), len(answer.words)
    assert count and answer.alignment.shape == answer.alignment_before.shape == (count, length)
    assert np.isfinite(answer.alignment).all() and np.isfinite(answer.alignment_before).all()
    assert not np.allclose(answer.alignment, answer.alignment_before)
    assert (np.diff(answer.scores) <= 0).all() and ((answer.scores >= 0) & (answer.scores <= 1)).all()
    assert set(answer.phrase_indices) <= {0, 1}
    x1, y1, x2, y2 = answer.boxes.T
    assert (x1 <= x2).all() and (y1 <= y2).all() and answer.boxes.min() >= 0
    assert x2.max() <= 300 and y2.max() <= 180
    assert json.loads(json.dumps(answer.to_json()))["results"][0]["phrase"] in ("a red dog", "a cat")


@pytest.mark.parametrize("checkpoint", ["mini", "small", "dino"])
def test_a_threshold_runs_nothing(checkpoint: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = GLIP.load(checkpoint)
    encoded = model.encode(picture())
    assert model.encode(encoded) is encoded and model.encode(picture()) is encoded
    whole = model.detect(encoded, ["red dog", "cat"])
    assert whole.mode == "detection" and whole.prompt == "red dog . cat ."
    assert [phrase.text for phrase in whole.phrases] == ["red dog", "cat"]
    monkeypatch.setattr(grounding, "_ground", None)
    middle = float(np.median(whole.scores))
    fewer = model.detect(encoded, ["red dog", "cat"], threshold=middle)
    assert len(fewer.scores) == (whole.scores >= middle).sum() == len(fewer.alignment)
    assert len(model.detect(encoded, ["red dog", "cat"], limit=1).boxes) == 1
    nothing = model.detect(encoded, ["red dog", "cat"], threshold=1.0)
    assert nothing.boxes.shape == (0, 4) and nothing.to_json()["results"] == []
    assert row_threshold(checkpoint) == 0


@pytest.mark.parametrize("checkpoint", ["mini", "small", "dino"])
def test_one_phrase_for_each_thing_where_that_is_wished(checkpoint: str, here: Path) -> None:
    model, image = GLIP.load(checkpoint), picture()
    for ask in (
        lambda **switch: model.detect(image, ["red dog", "cat", "dog"], **switch),
        lambda **switch: model.ground(image, "a red dog and a cat", **switch),
    ):
        usual, single = ask(), ask(across_labels=True)
        assert 1 <= len(single.boxes) <= len(usual.boxes) and single.scores[0] == usual.scores[0]
        assert len(single.alignment) == len(single.phrase_indices) == len(single.boxes)
        assert (np.diff(single.scores) <= 0).all()
        overlaps = box_iou(*[torch.from_numpy(single.boxes) + torch.tensor([0, 0, 1, 1])] * 2).fill_diagonal_(
            0
        )
        assert overlaps.max() <= boxes.SUPPRESSED
        line = float(np.median(usual.scores))
        assert (ask(across_labels=True, threshold=line).scores == single.scores[single.scores >= line]).all()


def test_what_is_asked_wrongly_is_refused(here: Path) -> None:
    model = GLIP.load("mini")
    image = picture()
    cases = {
        "no_phrase": lambda: model.ground(image, "is very red"),
        "phrase_not_in_caption": lambda: model.ground(image, "a cat", ["a dog"]),
        "prompt_too_long": lambda: model.ground(image, "a cat and " * 100 + "a dog"),
        "label_of_many_words": lambda: model.detect(image, ["cat", "a red dog and " * 70]),
    }
    for code, ask in cases.items():
        with pytest.raises(Refusal) as caught:
            ask()
        assert caught.value.code == code and set(sentences()[code]) == {"en", "zh"}
        assert caught.value.text("zh") and caught.value.text("en").endswith(".")


@pytest.mark.parametrize("checkpoint", ["mini", "small", "dino"])
def test_a_long_list_is_several_prompts(checkpoint: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The boxes of a long list are the best of its prompts' boxes, and each knows the words it was read with."""
    model, image = GLIP.load(checkpoint), picture().rotate(180)  # no other test has seen it
    labels = [f"red dog x{'s' * (i % 3)} {i}" for i in range(150)]
    cut = language.cutter(grounding.tokenizer_file(checkpoint))
    pieces = lists.pieces(labels, cut)
    lengths = [len(cut(language.listed(piece)[0]).ids) for piece in pieces]
    assert [one for piece in pieces for one in piece] == labels
    assert len(pieces) > 1 and max(lengths) <= language.WORDS
    for length, following in zip(lengths, pieces[1:], strict=False):
        assert length + len(cut(following[0] + language.SEPARATOR).places) > language.WORDS

    with model.use() as loaded:
        encode, seen = loaded.encode, []
        monkeypatch.setattr(loaded, "encode", lambda one: seen.append(one) or encode(one))
        steps = model.detecting(image, labels, cancel=(cancel := runtime.Cancel()))
        assert next(steps) == (0, len(pieces)) and next(steps) == (1, len(pieces))
        cancel.set()
        if len(pieces) > 2:
            with pytest.raises(Refusal, match="Stopped"):
                next(steps)
        whole = model.detect(image, labels)
        assert len(seen) == 1
    parts = [model.detect(image, piece) for piece in pieces]
    ranked = sorted((score for part in parts for score in part.scores), reverse=True)[: grounding.LIMIT]
    np.testing.assert_array_equal(whole.scores, ranked)
    assert whole.prompt == language.listed(labels)[0] and len(whole.prompts) == len(pieces)
    assert [whole.prompt[one.start : one.end] for one in whole.phrases] == labels
    for phrase in whole.phrases:
        assert all(phrase.start <= whole.spans[word][0] < phrase.end for word in phrase.words)
    for at, index in enumerate(whole.phrase_indices):
        word = whole.phrases[index].words[0]
        which = next(i for i, (first, end) in enumerate(whole.prompts) if first <= word < end)
        read = np.zeros(len(whole.words), bool)
        read[slice(*whole.prompts[which])] = True
        for name in ("alignment", "alignment_before"):
            row = getattr(whole, name)[at]
            np.testing.assert_array_equal(~np.isnan(row), read)
            assert (getattr(parts[which], name) == row[read]).all(1).any()


def test_a_label_without_words_is_found_nowhere(here: Path) -> None:
    model = GLIP.load("mini")
    answer = model.detect(picture(), ["cat", "?"])
    assert answer.phrases[1].words == () and set(answer.phrase_indices) == {0}
    with pytest.raises(Refusal) as caught:
        model.detect(picture(), ["?", "!"])
    assert caught.value.code == "no_word_in_labels"


def test_phrases_can_be_given_by_hand(here: Path) -> None:
    answer = GLIP.load("mini").ground(picture(), "a cat and a cat", ["a cat", "a cat"])
    assert [(phrase.start, phrase.end) for phrase in answer.phrases] == [(0, 5), (10, 15)]


def test_pictures_are_filled_up_and_boxes_are_not(here: Path) -> None:
    """The same image with a side that is a multiple of the stride or not: what fills it up is no place for a box."""
    assert grounding.working_size(2000, 1000, 800, 1333) == (1333, 667)
    assert grounding.working_size(640, 480, 800, 1333) == (1067, 800)
    encoded = GLIP.load("small").encode(picture())
    assert encoded.seen == (96, 58) and encoded.levels[0].shape == (16, 8, 12)


def test_a_descendant_answers_as_its_own_library_does(here: Path) -> None:
    """Every query of the tiny Grounding DINO, against transformers' own reading of the same pass."""
    transformers = encoders.runtime.import_whole("transformers")
    model = GLIP.load("dino")
    image = picture()
    answer = model.ground(image, "a red dog", threshold=0.0)
    with model.use() as loaded, torch.inference_mode():
        assert loaded.cut("a red dog").ids[-3:] == (
            WORDS.index("dog"),
            WORDS.index("."),
            WORDS.index("[SEP]"),
        )
        assert loaded.cut("a cat .").ids.count(WORDS.index(".")) == 1
        pixels, _ = loaded.pixels(image)
        ids = torch.tensor([[WORDS.index(w) for w in ("[CLS]", "a", "red", "dog", ".", "[SEP]")]])
        said = loaded.model(pixel_values=pixels, input_ids=ids)
    reading = transformers.GroundingDinoImageProcessor().post_process_object_detection(
        said, threshold=0.0, target_sizes=[(180, 300)]
    )[0]
    wanted = reading["boxes"].clamp(min=0).minimum(torch.tensor([300.0, 180, 300, 180]))
    by_place = [rows[np.lexsort(rows.T)] for rows in (answer.boxes, wanted.numpy())]
    np.testing.assert_allclose(*by_place, atol=1e-2)
    best = said.logits[0, :, 1:4].sigmoid().mean(1).max().item()
    assert len(answer.boxes) == 12 and answer.scores[0] == pytest.approx(best, abs=1e-5)


# The words of a small CLIP


def test_every_word_of_a_phrase_has_the_phrase_as_its_feature(here: Path) -> None:
    reader = grounding.clip_reader(CLIP)
    text = "一只红色的狗 left of a cat"
    asked = language.prompt(reader, text, [(2, 6), (15, 20)])
    words, mask = reader.features([asked, language.prompt(reader, "dog", [(0, 3)])])
    assert words.shape == (2, len(asked.cut.ids), 192) and mask.sum(1).tolist() == [len(asked.cut.ids), 1]
    with encoders.use(CLIP, "cpu", torch.float32) as clip:
        alone = clip.encode_text(["红色的狗", "a cat", "dog"])
    for phrase, feature in zip(asked.phrases, alone, strict=False):
        np.testing.assert_allclose(words[0, list(phrase.words)], [feature] * len(phrase.words), atol=1e-5)
    np.testing.assert_allclose(words[1, 0], alone[2], atol=1e-5)
    assert words[1, 1:].abs().max() == 0
    loose = [i for i in range(len(asked.cut.ids)) if not any(i in p.words for p in asked.phrases)]
    assert words[0, loose].norm(dim=-1) == pytest.approx(1, abs=1e-4)


def test_a_long_caption_is_read_in_pieces(here: Path) -> None:
    reader = grounding.clip_reader(CLIP)
    asked = language.prompt(reader, "left of " * 40 + "a cat", [(320, 325)])
    words, _ = reader.features([asked])
    assert words.shape[1] == 82 > reader.model.context_length
    assert words[0].norm(dim=-1) == pytest.approx(1, abs=1e-4)


# Files as their authors left them


def test_the_authors_file_is_converted_once(here: Path) -> None:
    row = checkpoints.row("small")
    path = here / "small" / "w.pth"
    made = originals.as_safetensors(row, path)
    assert made != path and originals.as_safetensors(row, path) == made
    held = torch.load(path, weights_only=True)["model"]
    assert {f"module.{name}" for name in load_file(made)} == set(held)
    assert originals.as_safetensors(row, made) == made
    broken = {**held, "module.extra": torch.zeros(1)}
    del broken["module.rpn.head.bias0"]
    torch.save({"model": broken}, here / "broken.pth")
    with pytest.raises(Refusal) as caught:
        originals.as_safetensors(row, here / "broken.pth")
    assert "rpn.head.bias0" in str(caught.value) and "extra" in str(caught.value)


def test_a_row_that_requires_a_row_of_the_hub_needs_both(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkpoints.state("small") == "bundled"
    monkeypatch.delenv("CLIP_ATLAS_REGISTRY")
    assert checkpoints.row("glip-tiny").requires.keys() == {"bert-base-uncased"}
    wanted = grounding.tensors(checkpoints.row("glip-tiny"), {})
    assert len(wanted) == 746 and wanted["rpn.head.bias_lang"].shape == (768,)
    with pytest.raises(Refusal) as caught:
        checkpoints.open("glip-tiny", download=False)
    assert caught.value.params["checkpoint"] == "bert-base-uncased"


# Phrases


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("two syringes and a vial of vaccine", ["syringes", "a vial", "vaccine"]),
        ("A running dog chases the red ball.", ["A running dog", "the red ball"]),
        ("a man riding a horse", ["a man", "a horse"]),
        ("the box is red", ["the box"]),
        ("an orange next to a traffic light", ["an orange", "a traffic light"]),
        ("a top hat on the left of a yellow toy duck", ["a top hat", "a yellow toy duck"]),
        ("is very red", []),
        ("?!", []),
        ("一只猫在狗的左边", ["猫", "狗"]),
        ("一张桌子上有三个红色的苹果", ["桌子", "红色的苹果"]),
        ("和服与高跟鞋", ["和服", "高跟鞋"]),
        ("房子前面的汽车", ["房子", "汽车"]),
        ("这是什么", ["什么"]),
    ],
)
def test_noun_phrases(caption: str, wanted: list[str]) -> None:
    assert [caption[start:end] for start, end in phrases.spans(caption)] == wanted


# Boxes


def test_boxes_go_both_ways() -> None:
    cells = boxes.cell_anchors([8, 16], 4)
    anchors = boxes.spread(cells, [8, 16], [(4, 5), (2, 3)])
    assert anchors.shape == (26, 4) and anchors[6].tolist() == [-4.0, -4.0, 27.0, 27.0]
    truth = torch.tensor([3.0, 5.0, 40.0, 22.0]).expand(26, 4)
    assert boxes.decode(boxes.encode(truth, anchors), anchors).sub(truth).abs().max() < 1e-3


def test_overlapping_boxes_of_one_phrase_are_suppressed_and_of_two_are_not() -> None:
    found = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 29, 29]])
    scores = torch.tensor([[0.9, 0.8], [0.8, 0.1], [0.7, 0.0]])
    kept = boxes.keep(scores, torch.zeros(3), found, [3], (100, 100))
    pairs = list(zip(kept.places.tolist(), kept.phrases.tolist(), strict=True))
    assert pairs == [(0, 0), (0, 1), (2, 0)]
    assert kept.scores[0] == pytest.approx((0.9 * 0.5) ** 0.5)
    assert len(boxes.keep(scores, torch.zeros(3), found, [3], (100, 100), threshold=0.65).scores) == 1
    assert len(boxes.keep(torch.zeros(3, 2), torch.zeros(3), found, [3], (100, 100)).scores) == 0


# Deformable convolution


@pytest.mark.parametrize("stride", [1, 2])
def test_both_deformable_convolutions_agree(stride: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 9, requires_grad=True)
    height, width = 5 // stride + 1, 8 // stride + 1
    offset = (2 * torch.randn(2, 18, height, width)).requires_grad_()
    mask = torch.rand(2, 9, height, width, requires_grad=True)
    weight, bias = torch.randn(5, 4, 3, 3, requires_grad=True), torch.randn(5)
    ours = modulated_conv(x, offset, mask, weight, bias, stride)
    reference = deform_conv2d(x, offset, weight, bias, stride=stride, padding=1, mask=mask)
    torch.testing.assert_close(ours, reference, atol=1e-4, rtol=1e-4)
    back = torch.randn_like(ours)
    inputs = (x, offset, mask, weight)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, back), torch.autograd.grad(reference, inputs, back), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_a_buffer_of_another_size_is_read_from_its_beginning() -> None:
    buffer = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    assert as_read(buffer, 4, 6) is buffer
    assert torch.equal(as_read(buffer, 2, 3)[1].flatten(), torch.arange(72, 90))


# The command line


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["core", "ground", *arguments])
    return command_line.main()


def test_the_command_line_grounds(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "picture.png")
    picture().save(file)
    chosen = ("--checkpoint", "mini")
    assert run(monkeypatch, file, "a red dog and a cat", *chosen, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["mode"] == "grounding" and answer["size"] == [300, 180]
    assert {line["phrase"] for line in answer["results"]} <= {"a red dog", "a cat"}
    assert run(monkeypatch, file, "--labels", "red dog, cat", *chosen, "--threshold", "0") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("mini") and head.endswith("red dog . cat .")
    assert lines and all(line.endswith(("red dog", "cat")) for line in lines)
    for wrong in ((), ("a cat", "--labels", "cat"), ("is red",), ("a cat", "--checkpoint", "no-such-row")):
        extra = () if "--checkpoint" in wrong else chosen
        assert run(monkeypatch, file, *wrong, *extra) == 1
        printed = capsys.readouterr()
        assert printed.out == "" and len(printed.err.splitlines()) == 1
