"""Which mistakes each kind of known answer finds: five are planted in the files of tiny rows on the stand-in Hub."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import checkpoints
from core.checkpoints import known
from core.checkpoints.__main__ import main
from tests.core.checkpoints import known_rows
from tests.core.checkpoints.known_rows import MISTAKES, Shelf

OPEN_CLIP = "core.clip.encoders:load_open_clip"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """For every kind a row with the right files and five with a mistake each, all with the answers of the right files."""
    shelf = Shelf(tmp_path_factory.mktemp("known"))
    source = shelf.root / "clip"
    wanted = known_rows.clip_repository(source)
    for mistake in ("right", *MISTAKES):
        for kind, probe in known_rows.CLIP_PROBES.items():
            name = f"{kind}-{mistake}"
            folder = known_rows.copy(source, shelf.folder(name))
            if mistake != "right":
                known_rows.spoil_clip(folder, mistake)
            shelf.row(name, OPEN_CLIP)
            shelf.answer(name, probe, kind, wanted[kind])
    source = shelf.root / "owl"
    boxes = known_rows.owl_repository(source)
    for mistake in ("right", *MISTAKES):
        folder = known_rows.copy(source, shelf.folder(f"boxes-{mistake}"))
        if mistake != "right":
            known_rows.spoil_owl(folder, mistake)
        shelf.row(
            f"boxes-{mistake}", "core.detection.owl:load_owl", "sigmoid",
            family="OwlViT", variants=["native"], prompts="owl", thresholds={"native": 0.0},
        )  # fmt: skip
        shelf.answer(
            f"boxes-{mistake}", "core.detection.probes:patches", "boxes", boxes, options={"prompts": "plain"}
        )
    source = shelf.root / "clipseg"
    overlaps = known_rows.clipseg_repository(source)
    for mistake in ("right", *MISTAKES):
        folder = known_rows.copy(source, shelf.folder(f"masks-{mistake}"))
        if mistake != "right":
            known_rows.spoil_clipseg(folder, mistake)
        shelf.row(f"masks-{mistake}", "core.segmentation.clipseg:load_clipseg", "sigmoid")
        shelf.answer(
            f"masks-{mistake}", "core.segmentation.probes:overlaps", "masks", overlaps,
            known_rows.MASKED, input="meadow",
        )  # fmt: skip
    with known_rows.on_hub(shelf):
        yield shelf


def test_every_mistake_is_found_by_the_kinds_that_say_so(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    """All rows in one command: the right ones pass, and the table of `known_answers.toml` is what was measured."""
    start = time.process_time()
    assert main(["check", "--all"]) == 1
    assert time.process_time() - start < 120
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines() if line.strip()]
    rows = [row.name for row in checkpoints.rows()]
    assert [line[0] for line in lines] == rows and len(rows) >= 40
    verdicts = {line[0]: line[1] for line in lines}
    book = known.book()
    measured = {
        kind: [mistake for mistake in MISTAKES if verdicts[f"{kind}-{mistake}"] == "differs"]
        for kind in book.kinds
    }
    assert {verdicts[f"{kind}-right"] for kind in book.kinds} == {"as published"}
    assert set(verdicts.values()) == {"as published", "differs"}
    assert measured == {kind: table["catches"] for kind, table in book.kinds.items()}
    # Five planted, five caught.
    assert measured["logits"] == list(MISTAKES) == list(book.mistakes)


def test_verdicts_are_remembered_until_the_files_change(shelf: Shelf) -> None:
    (before,) = known.check("logits-right")
    remembered = known.remembered("logits-right")
    assert remembered is not None and remembered.verdict == "as published" == before.verdict
    assert remembered.source == "the library" and remembered.value is None
    path: Path = checkpoints.open("logits-right", download=False)["tokenizer.json"]
    data = path.read_bytes()
    target = path.resolve()
    target.write_bytes(data + b" ")
    assert known.remembered("logits-right") is None
    target.write_bytes(data)


def test_only_what_is_here_is_checked_where_that_is_wished(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--cached", "--json"]) == 1
    assert '"difference"' in capsys.readouterr().out
