"""How texts are cut and where they are read: what a page shows is what the encoder gets; two languages, one place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core import checkpoints, inputs
from core.classroom.world.concepts import concepts
from core.clip import ZeroShot, bilingual, encoders, reading
from core.errors import Refusal
from tests import tiny
from tests.conftest import Rows

SCENES = Path(__file__).resolve().parents[3] / "assets" / "examples" / "clip"
TEXTS = ["站立的羊", "a sheep Standing, eating", "龘", "x" * 300]
MINIATURE = "classroom-rn"


@pytest.fixture(scope="module")
def model() -> ZeroShot:
    return ZeroShot.load(MINIATURE, "cpu")


def test_what_is_shown_is_what_the_miniature_reads(model: ZeroShot) -> None:
    encoder = encoders.load(MINIATURE, "cpu", torch.float32)
    readings = reading.read(MINIATURE, TEXTS)
    assert [one.ids for one in readings] == encoder.text.tokenize(TEXTS)
    np.testing.assert_allclose(
        encoder.encode_ids([one.ids for one in readings]), model.encode_text(TEXTS), atol=1e-6
    )
    sheep = readings[0]
    assert [piece.text for piece in sheep.pieces] == ["<sot>", "站", "立", "的", "羊", "<eot>"]
    assert [piece.kind for piece in sheep.pieces] == ["special", *["piece"] * 4, "special"]
    # The feature is the end token's, in a sequence no longer than the text.
    assert sheep.feature_at == 5 and sheep.places == 6 and sheep.pooling == "end"
    # A character that the miniature has no piece for arrives as its three bytes of UTF-8.
    assert [(piece.text, piece.kind) for piece in readings[2].pieces[1:-1]] == [
        (f"{byte:02X}", "byte") for byte in "龘".encode()
    ]
    assert readings[3].places == 32


@pytest.mark.parametrize("checkpoint", ["clip-vit-b32", "clip-rn50", "clip-datacomp-l14"])
def test_clip_gets_three_bytes_for_every_chinese_character_without_any_download(checkpoint: str) -> None:
    from open_clip import tokenize

    texts = ["站立的羊", "a sheep"]
    chinese, english = reading.read(checkpoint, texts)
    for one, row in zip((chinese, english), tokenize(texts), strict=True):
        assert one.ids == row[: int(row.argmax()) + 1].tolist()
    inside = chinese.pieces[1:-1]
    assert " ".join(piece.text for piece in inside) == "站立的羊".encode().hex(" ").upper()
    assert all(piece.kind == "byte" for piece in inside) and len(inside) == 12
    assert [piece.text for piece in english.pieces[1:-1]] == ["a", "sheep"]
    assert {piece.kind for piece in english.pieces} == {"special", "piece"}
    assert chinese.pooling == "end" and chinese.feature_at == len(chinese.pieces) - 1


def test_siglip_reads_the_last_of_64_places(tmp_path: Path, rows: Rows) -> None:
    tiny.make_siglip(tmp_path / "bundle")
    rows(tiny.row("tiny-reading", tmp_path / "bundle", "sigmoid", "core.clip.siglip:load_siglip"))
    encoder = encoders.load("tiny-reading", "cpu", torch.float32)
    readings = reading.read("tiny-reading", TEXTS)
    assert [one.ids for one in readings] == encoder.text.tokenize(TEXTS)
    assert {(one.places, one.feature_at, one.pooling) for one in readings} == {(64, 63, "last")}
    # Letters that its vocabulary has, and the bytes of the one that it lacks.
    station = [f"{byte:02X}" for byte in "站".encode()]
    assert [piece.text for piece in readings[0].pieces] == [*station, "立", "的", "羊", "<eos>"]
    spelled = reading.spell("tiny-reading", ["羊"])[0]
    assert [piece.kind for piece in spelled.pieces] == ["byte"] * 3 + ["special"]


def test_chinese_clip_reads_the_first_place(tmp_path: Path, rows: Rows) -> None:
    tiny.make_chinese_clip(tmp_path / "bundle")
    rows(tiny.row("tiny-bert", tmp_path / "bundle", loader="core.clip.encoders:load_chinese_clip"))
    encoder = encoders.load("tiny-bert", "cpu", torch.float32)
    texts = ["站立的羊", "龘羊"]
    readings = reading.read("tiny-bert", texts)
    assert [one.ids for one in readings] == encoder.text.tokenize(texts)
    assert [piece.text for piece in readings[0].pieces] == ["[CLS]", *"站立的羊", "[SEP]"]
    assert [piece.kind for piece in readings[1].pieces] == ["special", "unknown", "piece", "special"]
    assert {(one.feature_at, one.pooling) for one in readings} == {(0, "first")}
    assert not reading.has_bytes("tiny-bert")
    with pytest.raises(ValueError, match="bytes"):
        reading.spell("tiny-bert", texts)
    # Without pieces for bytes two ways are compared, not three.
    picture = inputs.image(SCENES / "toys.webp")
    clip = ZeroShot.load("tiny-bert", "cpu")
    assert [reader.way for reader in bilingual.compare(clip, picture, texts, ["a", "b"])] == ["zh", "en"]
    assert [reader.way for reader in bilingual.compare(clip, picture, texts, [])] == ["zh"]


def test_spelled_texts_are_the_bytes_of_the_text_and_fit_the_context() -> None:
    one, long = reading.spell(MINIATURE, ["羊", "羊" * 40])
    assert [piece.text for piece in one.pieces[1:-1]] == ["E7", "BE", "8A"]
    assert len(long.pieces) == 32 and long.pieces[-1].text == "<eot>"
    assert reading.has_bytes(MINIATURE) and not reading.has_bytes("clip-vit-b32")


def test_a_vocabulary_that_is_not_here_is_refused() -> None:
    if checkpoints.state("chinese-clip-b16") == "cached":
        pytest.skip("chinese-clip-b16 is on this machine")
    with pytest.raises(Refusal) as caught:
        reading.read("chinese-clip-b16", ["羊"])
    assert caught.value.code == "not_downloaded"


def test_three_ways_to_ask_the_same(model: ZeroShot) -> None:
    picture = inputs.image(SCENES / "red_envelope.webp")
    chinese, english = ["红包", "羊", "飞机"], ["red envelope", "sheep", "airplane"]
    readers = {one.way: one for one in bilingual.compare(model, picture, chinese, english)}
    assert list(readers) == ["zh", "en", "bytes"]
    for way in ("zh", "en"):
        assert readers[way].probabilities.argmax() == 0
    np.testing.assert_allclose(
        readers["zh"].probabilities, model.classify(picture, chinese).probabilities, atol=1e-6
    )
    assert readers["bytes"].probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert [one.text for one in readers["bytes"].readings] == chinese


def test_both_names_of_a_thing_lie_in_one_place_and_its_bytes_do_not(model: ZeroShot) -> None:
    picture = inputs.image(SCENES / "red_envelope.webp")
    things = concepts()
    english, chinese = [thing.en for thing in things], [thing.zh for thing in things]
    found = bilingual.agreement(model, picture, english, chinese)
    assert found.cosines.shape == (len(things),) * 2
    assert found.matched.mean() > 0.98
    assert found.cosines.diagonal().mean() > 0.8 > 0.4 > found.cosines.mean()
    at = english.index("red envelope")
    for cosines in (found.picture_english, found.picture_chinese):
        assert (cosines > cosines[at]).sum() < 10
    assert np.corrcoef(found.picture_english, found.picture_chinese)[0, 1] > 0.9
    # The same names as bytes, which no caption ever taught: chance is 1 in 432.
    spelled = reading.spell(MINIATURE, chinese)
    encoder = encoders.load(MINIATURE, "cpu", torch.float32)
    bytes_only = model.encode_text(english) @ encoder.encode_ids([one.ids for one in spelled]).T
    assert (bytes_only.argmax(axis=1) == np.arange(len(things))).mean() < 0.02
