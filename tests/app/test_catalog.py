"""The catalog: right citations, months, guarded imports, and the README's table."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import Refusal
from demos import catalog
from demos.catalog import KINDS, PAGES, Entry, Page

FAMILY = {
    *(
        "clip",
        "chinese-clip",
        "lseg",
        "groupvit",
        "vild",
        "glip",
        "glipv2",
        "clipasso",
        "clipdraw",
        "styleclip",
    ),
    *("clip4clip", "actionclip", "pointclip", "depthclip", "vilt", "clip-vil", "audioclip", "clifs"),
}


@pytest.fixture
def broken_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A row whose module raises when it is imported."""
    (tmp_path / "atlas_broken_page.py").write_text("raise OSError('no <such> file')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "atlas_broken_page", raising=False)
    row = catalog.entry("clip")
    return Entry(row.slug, row.title, row.idea, row.paper, row.kind, row.date, "atlas_broken_page")


def test_the_family_is_complete_and_in_known_kinds() -> None:
    assert {row.slug for row in PAGES} >= FAMILY
    assert {row.kind for row in PAGES} == set(KINDS)


@pytest.mark.parametrize("row", PAGES, ids=lambda row: row.slug)
def test_a_row_is_consistent(row: Entry) -> None:
    year, month = row.date.split("-")
    assert 1 <= int(month) <= 12
    # A venue follows the first release in the same or the next year.
    assert row.paper.year - int(year) in (0, 1)
    assert str(row.paper.year) in row.paper.venue
    assert re.fullmatch(r"https://(arxiv\.org/abs/\d{4}\.\d{5}|github\.com/\S+)", row.paper.url)
    if "arxiv.org" in row.paper.url:
        # An arXiv number begins with year and month; CLIP itself was shown two months before.
        number = row.paper.url.rpartition("/")[2]
        assert number[:4] == f"{year[2:]}{month}" or row.slug == "clip"
    assert re.fullmatch(r"[a-z0-9-]+", row.slug)


@pytest.mark.parametrize("row", PAGES, ids=lambda row: row.slug)
def test_a_bibtex_entry_is_well_formed(row: Entry) -> None:
    text = row.paper.bibtex
    assert re.match(r"@(inproceedings|article|misc)\{[a-z]+\d{4}[a-z0-9]+,\n", text)
    assert text.count("{") == text.count("}") and text.endswith("}")
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", text, re.MULTILINE))
    assert fields["title"] == f"{{{row.paper.title}}}"
    assert fields["author"].split(" and ") == row.paper.authors.split(", ")
    assert fields["year"] == str(row.paper.year)
    kind = text[1 : text.index("{")]
    assert ("booktitle" in fields) == (kind == "inproceedings")
    assert ("journal" in fields) == (kind == "article")


def test_keys_are_unique() -> None:
    keys = [row.paper.bibtex.split("{")[1].split(",")[0] for row in PAGES]
    assert len(set(keys)) == len(keys)


def test_a_page_that_is_there_is_loaded() -> None:
    loaded = catalog.load(catalog.entry("clip"))
    assert isinstance(loaded, Page), loaded
    assert loaded.slug == "clip" and loaded.paper == catalog.entry("clip").paper


def test_a_page_that_fails_says_why(broken_module: Entry) -> None:
    assert catalog.load(broken_module) == "OSError: no <such> file"


def test_a_page_without_a_row_names_it() -> None:
    with pytest.raises(KeyError, match=r"demos/catalog.toml has no row unlisted"):
        catalog.page("unlisted", lambda: None)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "matching"\n', "", ["[pages.clip]", "kind"]),
        ('date = "2021-01"\n', "", ["[pages.clip]", "date"]),
        ('kind = "matching"', 'knd = "matching"', ["[pages.clip]", "kind"]),
        ('kind = "matching"', 'kind = "machting"', ["[pages.clip]", "machting", "segmentation"]),
        ("scene = true\nkind", "sceen = true\nkind", ["[pages.clip]", "sceen"]),
        ('paper.venue = "ICML 2021"\n', "", ["[pages.clip]", "paper.venue"]),
        ('paper.arxiv = "2103.00020"\n', "", ["[pages.clip]", "paper.arxiv"]),
        ('title = { en = "CLIP", zh = "CLIP" }', 'title = { en = "CLIP" }', ["[pages.clip]", "title.zh"]),
        ('module = "demos.report.page"\n', "", ["[rooms.report]", "module"]),
    ],
)
def test_a_wrong_row_is_named_in_one_sentence(old: str, new: str, words: list[str], tmp_path: Path) -> None:
    text = Path(catalog.__file__).with_suffix(".toml").read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "catalog.toml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(Refusal) as refusal:
        catalog.read(file)
    assert all(word in refusal.value.text(lang) for word in words for lang in ("en", "zh"))


def test_a_page_to_come_is_not_imported() -> None:
    row = replace(catalog.entry("clip"), module=None)
    assert not row.ready and catalog.load(row) == "coming"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_table_lists_every_paper_with_its_status(lang: str) -> None:
    lines = catalog.table(lang).splitlines()
    assert len(lines) == 2 + len(PAGES)
    assert all(line.count("|") == 5 for line in lines)
    for row, line in zip(PAGES, lines[2:], strict=True):
        status = (catalog.OPEN if row.ready else catalog.COMING).get(lang)
        assert line.endswith(f"| {status} |") and row.paper.url in line
