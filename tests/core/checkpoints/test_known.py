"""Known answers: what the file says, how values are compared, and that every family passes with its library's own answers."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import checkpoints
from core.checkpoints import hub, known, known_inputs, registry
from core.checkpoints.__main__ import main
from core.errors import Refusal
from tests.core.checkpoints import known_families, known_rows
from tests.core.checkpoints.known_rows import Shelf
from tests.standin_hub import StandInHub

BOOK = known.book()
FACTS = [answer for listed in BOOK.answers.values() for answer in listed]


# --- the file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", FACTS, ids=lambda answer: f"{answer.row}-{answer.input}-{answer.kind}")
def test_an_answer_is_complete(answer: known.Answer) -> None:
    assert checkpoints.row(answer.row).repo
    module, function = answer.probe.split(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert answer.input in BOOK.inputs and answer.kind in BOOK.kinds
    assert answer.by in ("authors", "port", "run") and answer.source
    assert answer.kind == "words" or answer.tolerance or answer.relative
    assert answer.kind != "boxes" or answer.pixels
    # What is published fits itself, and nothing else does.
    assert known.compare(answer, answer.want).fits
    other: Any = ["?"] * len(answer.want) if answer.kind == "words" else 99.0 + np.array(answer.want)
    assert not known.compare(answer, other).fits


def test_every_row_has_an_answer_or_a_reason() -> None:
    for row in checkpoints.rows():
        assert known.answers(row.name) or set(known.unknown(row)) == {"en", "zh"}
        assert not (known.answers(row.name) and row.name in BOOK.none)
    assert set(BOOK.none) | set(BOOK.answers) <= {row.name for row in checkpoints.rows()}
    assert {"clip-vit-b32", "grounding-dino-tiny", "owlv2-b16", "siglip2-b32"} <= set(BOOK.answers)
    for words in (*BOOK.none.values(), *BOOK.mistakes.values(), *(k["title"] for k in BOOK.kinds.values())):
        assert set(words) == {"en", "zh"}


@pytest.mark.parametrize("source", BOOK.inputs.values(), ids=lambda source: source.name)
def test_inputs_that_are_here_have_their_digests(source: known_inputs.Input) -> None:
    assert source.licence
    if source.addresses:
        assert source.sha256 or "not checked" in source.licence
        return
    assert known_inputs.digest(known_inputs.images(source)) == source.sha256


def test_the_small_shapes_are_those_that_were_published() -> None:
    """The published digests are of text files of numbers, 24 in a line."""
    published = [
        "b38ff0c9131677ed6cf09832eff40a22841e1a4725d426fad3b1bf6a1dbdb096",
        "2e3e657686a0f6a6df3f3621d21a410d20d9a47b109f06f9405faa4f747a663f",
        "f0f4c38c7af92b3a6b1d55a25272156edd87b41e029e116cfa059003dae029a3",
    ]
    for image, digest in zip(known_inputs.shapes(), published, strict=True):
        numbers = [str(level) for level in image.tobytes()]
        lines = ["P3", "32 32", "255", *(" ".join(numbers[i : i + 24]) for i in range(0, len(numbers), 24))]
        assert hashlib.sha256(("\n".join(lines) + "\n").encode()).hexdigest() == digest


# --- comparing ---------------------------------------------------------------------------------------------


def an_answer(**fields: Any) -> known.Answer:
    plain = known.Answer("row", "ramp", (), "m:f", "logits", (1.0, 2.0), "run", "-", tolerance=0.1)
    return replace(plain, **fields)


@pytest.mark.parametrize(
    ("value", "fits"),
    [([1.05, 2.0], True), ([1.2, 2.0], False), ([1.0], False), ([float("nan"), 2.0], False)],
)
def test_numbers(value: list[float], fits: bool) -> None:
    assert known.compare(an_answer(), value).fits is fits


def test_a_share_of_the_value_may_be_allowed() -> None:
    answer = an_answer(tolerance=0.0, relative=0.02, want=(0.001, 100.0))
    assert known.compare(answer, [0.00101, 101.0]).fits
    assert not known.compare(answer, [0.00105, 100.0]).fits


def test_boxes_are_found_wherever_they_stand_in_the_answer() -> None:
    """Trap 3: queries come in another order on another device."""
    answer = an_answer(kind="boxes", want=([0.9, 0, 0, 10, 10], [0.5, 20, 20, 40, 40]), pixels=1.0)
    boxes = [[0.45, 20.0, 20.0, 40.5, 40.0], [0.01, 0.0, 0.0, 40.0, 40.0], [0.92, 0.5, 0.0, 10.0, 10.0]]
    made = known.compare(answer, boxes)
    assert made.fits and made.difference == pytest.approx(0.05) and made.pixels == 0.5
    assert not known.compare(answer, boxes[:2]).fits and not known.compare(answer, []).fits
    assert (
        known.shorten(boxes, answer.want) == "0.92 0.5 0 10 10"
        and known.shorten(answer.want) == "0.9 0 0 10 10"
    )


def test_words_are_equal_or_not() -> None:
    answer = an_answer(kind="words", want=("2", "red"))
    assert known.compare(answer, ["2", "red"]).fits
    assert known.compare(answer, ["two", "blue"]).difference == 2


# --- every family ------------------------------------------------------------------------------------------

LOADERS = {"mobile": "core.clip.mobile:load_mobile_clip", "metaclip2": "core.clip.metaclip2:load_metaclip2"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shelf, StandInHub]]:
    """A tiny row of every family that has known answers, with what its library says of it."""
    shelf = Shelf(tmp_path_factory.mktemp("families"))
    rows = known_families
    logits, features = rows.siglip_repository(shelf.folder("siglip"))
    shelf.row("siglip", "core.clip.siglip:load_siglip", "sigmoid")
    shelf.answer("siglip", "core.clip.probes:logits", "logits", logits, ["A Dog"])
    shelf.answer("siglip", "core.clip.probes:text_features", "features", features, ["a dog"])
    shares = rows.chinese_repository(shelf.folder("chinese"))
    shelf.row("chinese", "core.clip.encoders:load_chinese_clip")
    shelf.answer(
        "chinese", "core.clip.probes:probabilities", "probabilities", shares, ["站立的羊", "躺着的羊。"]
    )
    for name, make in (("mobile", rows.mobile_repository), ("metaclip2", rows.metaclip2_repository)):
        shelf.answer(name, "core.clip.probes:logits", "logits", make(shelf.folder(name)))
        shelf.row(name, LOADERS[name])
    wanted = rows.groupvit_repository(shelf.folder("groupvit"))
    shelf.row(
        "groupvit", "core.segmentation.groupvit:load_groupvit", model="ViT-B-32-quickgelu", short_side=64
    )
    published = {**dict(BOOK.answers["groupvit-gcc-yfcc"][0].options), "short_side": known_rows.SIDE}
    shelf.answer("groupvit", "core.segmentation.probes:groupvit_logits", "logits", wanted, options=published)
    logits, features = rows.tips_repository(shelf.folder("tips"))
    shelf.row("tips", "core.segmentation.tips:load_tips")
    shelf.answer("tips", "core.segmentation.probes:tips_logits", "logits", logits)
    shelf.answer("tips", "core.segmentation.probes:tips_text", "features", features)
    boxes = rows.sam3_repository(shelf.folder("sam3"))
    shelf.row("sam3", "core.segmentation.sam3:load_sam3", "sigmoid")
    shelf.answer("sam3", "core.segmentation.probes:sam3_boxes", "boxes", boxes, rows.CONCEPTS)
    boxes = rows.dino_repository(shelf.folder("dino"))
    shelf.row(
        "dino", "core.detection.glip.dino:load_dino", "sigmoid", family="GroundingDino", short_side=80, long_side=133,
        sides="dino", phrase="best", mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], threshold=0.3,
    )  # fmt: skip
    shelf.answer("dino", "core.detection.probes:phrases", "boxes", boxes, [rows.DINO_TEXT])
    boxes = rows.omdet_repository(shelf.folder("omdet"))
    shelf.row("omdet", "core.detection.glip.omdet:load_omdet", "sigmoid", threshold=0.3)
    shelf.answer("omdet", "core.detection.probes:labels", "boxes", boxes, rows.OMDET_LABELS)
    boxes = known_rows.owl_repository(shelf.folder("owlv2"), "Owlv2")
    shelf.row(
        "owlv2", "core.detection.owl:load_owl", "sigmoid", family="Owlv2", variants=["native"], prompts="owl",
        thresholds={"native": 0.0},
    )  # fmt: skip
    shelf.answer(
        "owlv2",
        "core.detection.probes:patches",
        "boxes",
        boxes,
        options=dict(BOOK.answers["owlv2-b16"][0].options),
    )
    for kind, probes, text in (
        ("answer", ("vilt_answers", "vilt_words"), "how many cats?"),
        ("fill", ("vilt_gaps", "vilt_fills"), "a dog of [MASK]."),
    ):
        values = rows.vilt_repository(shelf.folder(f"vilt-{kind}"), kind)
        shelf.row(f"vilt-{kind}", "core.vqa.vilt.model:load_vilt", "sigmoid", tasks=[kind])
        for probe, name, value in zip(probes, ("logits", "words"), values, strict=True):
            shelf.answer(f"vilt-{kind}", f"core.vqa.probes:{probe}", name, value, [text])
    shelf.answer(
        "xclip", "core.video.probes:xclip_logits", "logits", rows.xclip_repository(shelf.folder("xclip")), input="frames"
    )  # fmt: skip
    shelf.row("xclip", "core.video.actionclip.xclip:load_xclip", model="ViT-B-32-quickgelu", frames=4)
    shelf.answer(
        "depth", "core.spatial.probes:nearness", "logits", rows.depth_repository(shelf.folder("depth")), [],
        tolerance=0.001, input="photo",
    )  # fmt: skip
    shelf.row("depth", "core.spatial.depth_anything:load")
    shelf.answer(
        "blip", "core.vqa.probes:blip_words", "words", rows.blip_repository(shelf.folder("blip")), ["what is this?"]
    )  # fmt: skip
    shelf.row("blip", "core.vqa.clip_vil.blip:load")
    # Two inputs that have to be fetched: frames of a clip from a data set of the Hub, and an image.
    data = shelf.root / "hub" / "lab" / "data" / known_rows.COMMIT
    data.mkdir(parents=True)
    np.save(data / "frames.npy", np.stack([np.asarray(known_rows.scene())] * 4))
    known_rows.scene().save(data / "scene.png")
    address = f"hub:datasets/lab/data@{known_rows.COMMIT}/"
    digest = hashlib.sha256((data / "scene.png").read_bytes()).hexdigest()
    tables = [
        f'[inputs.frames]\nlicence = "-"\naddresses = ["{address}frames.npy"]',
        f'[inputs.photo]\nlicence = "-"\naddresses = ["{address}gone.png", "{address}scene.png"]\nsha256 = "{digest}"',
    ]
    with known_rows.on_hub(shelf, tables) as server:
        yield shelf, server


NAMES = [
    *LOADERS,
    "siglip",
    "chinese",
    "groupvit",
    "tips",
    "sam3",
    "dino",
    "omdet",
    "owlv2",
    "vilt-answer",
    "vilt-fill",
    "xclip",
    "depth",
    "blip",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_family_answers_as_its_library_does(name: str, shelf: tuple[Shelf, StandInHub]) -> None:
    verdicts = known.check(name)
    assert len(verdicts) == len(known.answers(name))
    for verdict in verdicts:
        assert verdict.verdict == "as published", verdict
        assert verdict.difference is not None and verdict.difference < 2e-3, verdict
        assert verdict.device == "cpu" and verdict.source == "the library"


def test_what_cannot_be_fetched_is_not_reachable_and_no_mistake(
    shelf: tuple[Shelf, StandInHub], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither weights nor inputs that are missing count against a row; wrong bytes do."""
    _, server = shelf
    known_inputs.fetched.cache_clear()
    known.check("depth")
    server.fault("lab/data", "error")
    try:
        known_inputs.fetched.cache_clear()
        (verdict,) = known.check("depth")
        assert verdict.verdict == "not reachable" and "photo" in verdict.reason["en"]
        assert main(["check", "depth", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["verdict"] == "not reachable"
    finally:
        server.faults.clear()
    # What the last complete check said is still remembered.
    remembered = known.remembered("depth")
    assert remembered and remembered.verdict == "as published"


def test_a_wrong_digest_of_an_input_is_refused(shelf: tuple[Shelf, StandInHub]) -> None:
    source = known.book().inputs["photo"]
    with pytest.raises(Refusal) as caught:
        known_inputs.images(replace(source, sha256="0" * 64))
    assert caught.value.code == "known_input" and "sha256" in str(caught.value)


def test_the_command_says_which_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 1
    assert "--all" in capsys.readouterr().err


def test_every_row_of_the_registry_gets_a_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry as it is, and a Hub that has none of it: a line for every row, and no row counts as wrong."""
    shelf = Shelf(tmp_path)
    (shelf.root / "hub").mkdir()
    shelf.rows.append(registry.BUILT_IN.read_text(encoding="utf-8"))
    shelf.answers.append(
        known.BUILT_IN.read_text(encoding="utf-8").split("# --- answers ---", 1)[1].lstrip("-")
    )
    monkeypatch.setattr(hub, "RETRY_PAUSES", ())
    with known_rows.on_hub(shelf):
        assert main(["check", "--all", "--json"]) == 0
        rows = [row.name for row in checkpoints.rows()]
    verdicts = {one["row"]: one["verdict"] for one in json.loads(capsys.readouterr().out)}
    assert list(verdicts) == rows and len(rows) >= 60
    assert set(verdicts.values()) == {"not reachable", "no known answer"}
    assert {name for name, verdict in verdicts.items() if verdict == "not reachable"} == set(BOOK.answers)
