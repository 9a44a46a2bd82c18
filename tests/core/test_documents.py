"""Generated tables of the documents: what stands between marks is made again, and nothing else."""

from __future__ import annotations

from core import documents
from core.checkpoints.__main__ import described as checkpoint_table
from core.classroom import report


def test_a_table_escapes_bars_in_cells() -> None:
    assert documents.table(["a", "b"], [["1|2", ""]]) == "| a | b |\n| --- | --- |\n| 1\\|2 |  |"


def test_only_marks_of_that_name_are_filled() -> None:
    before = "x\n<!-- one: a | b -->\nold\n<!-- /one -->\n<!-- two: c -->\n<!-- /two -->\ny\n"
    after = documents.filled(before, "zh", "one", lambda argument, lang: f"{argument} {lang}")
    assert after == "x\n<!-- one: a | b -->\na | b zh\n<!-- /one -->\n<!-- two: c -->\n<!-- /two -->\ny\n"
    assert documents.filled(after, "zh", "one", lambda argument, lang: f"{argument} {lang}") == after


def test_the_documents_come_in_two_languages() -> None:
    languages = list(documents.documents().values())
    assert languages.count("en") == languages.count("zh") > 10


def test_checkpoints_are_chosen_by_paper_or_by_being_bundled() -> None:
    every, bundled, lseg = (checkpoint_table(which, "en") for which in ("all", "bundled", "lseg"))
    assert "`clip-vit-b32`" in every and "`clip-vit-b32`" not in bundled
    assert "`classroom-lseg`" in every and "`classroom-lseg`" in bundled and "`classroom-lseg`" in lseg
    assert "`classroom-rn`" not in lseg


def test_a_table_of_the_report_card_has_its_measures_values_and_commands() -> None:
    table = report.described("clip | zero-shot top-1 | sheep poses", "en")
    lines = table.splitlines()
    assert lines[0] == "| English / Chinese | classroom-rn | classroom-vit | guessing | goal | published |"
    assert lines[2].startswith("| zero-shot top-1; colour | 0.") and "ImageNet" in lines[2]
    assert sum(line.startswith("| sheep poses") for line in lines) == 1
    assert "Measured by `python -m core.classroom evaluate clip" in lines[-1]
    assert "零样本 top-1；彩色" in report.described("clip | zero-shot top-1", "zh")


def test_a_table_by_split_has_the_measures_as_columns() -> None:
    lines = report.described("lseg by split | ablation of blocks", "en").splitlines()
    assert lines[0].count("ablation of blocks") == 2
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| none", "| bottleneck x 1", "| bottleneck x 2"]
