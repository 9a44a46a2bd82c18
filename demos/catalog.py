"""The pages of the hub as ordered data, and their guarded import.

    python -m demos.catalog          prints the README's table of papers, `--lang zh` in Chinese
    python -m demos.catalog --write  puts it into README.md and README.zh.md (core/documents.py)

A page is imported when the app is built. One that fails does not take the hub down: its page says why.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from core import documents, terminal
from core.errors import Refusal
from demos.kit.language import Text

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[1]
# What a row has to have, and what it may have.
NAMED = {"title.en", "title.zh", "idea.en", "idea.zh"}
CITED = {"paper.key", "paper.title", "paper.authors", "paper.venue", "paper.year"}
NEEDED = {"pages": NAMED | {"kind", "date"} | CITED, "rooms": NAMED | {"module"}}
PLACES = {"paper.arxiv", "paper.url", "paper.in", "paper.journal", "paper.volume", "paper.pages"}
ALLOWED = {"pages": {"module", "scene"} | PLACES, "rooms": {"quiet"}}
COMING = Text("coming", "即将推出")
OPEN = Text("open", "已开放")


@dataclass(frozen=True)
class Paper:
    """What a page is about, as it is cited."""

    title: str
    authors: str
    year: int
    venue: str
    url: str
    bibtex: str


@dataclass(frozen=True)
class Page:
    """One page of the hub; `build` puts its components into the open Gradio context. A room has no paper.

    `declared` is what the page was made from (`demos.kit.page.Declaration`), None where it was laid out by hand. `routes` are
    further addresses of the server that belong to it (Starlette's), and `titles` the titles of those that are pages, by slug.
    """

    slug: str
    title: Text
    paper: Paper | None
    idea: Text
    build: Callable[[], None]
    declared: Any = None
    routes: tuple[Any, ...] = ()
    titles: Mapping[str, Text] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One row of the catalog; `module` is None while the page is coming."""

    slug: str
    title: Text
    idea: Text
    paper: Paper
    kind: str
    date: str  # "2021-01"
    module: str | None
    scene: bool = False  # whether its address takes a scene of the classroom

    @property
    def ready(self) -> bool:
        """Whether the page can be visited."""
        return self.module is not None


@dataclass(frozen=True)
class Room:
    """A page that is about no paper: it is in the bar and on the home page, not in the tables of papers.

    A quiet one is linked from the foot of every page alone.
    """

    slug: str
    title: Text
    idea: Text
    module: str
    quiet: bool = False


def bibtex(facts: Mapping[str, Any]) -> str:
    """The standard entry of a paper: in proceedings, in a journal, or on arXiv alone."""
    place = "in" if "in" in facts else "journal" if "journal" in facts else ""
    kind = {"in": "inproceedings", "journal": "article", "": "misc"}[place]
    fields = {"title": f"{{{facts['title']}}}", "author": " and ".join(facts["authors"])}
    if place:
        fields["booktitle" if place == "in" else "journal"] = facts[place]
    fields |= {name: facts[name] for name in ("volume", "pages") if name in facts}
    fields["year"] = str(facts["year"])
    if "arxiv" in facts:
        fields |= {"eprint": facts["arxiv"], "archivePrefix": "arXiv"}
    else:
        fields["url"] = facts["url"]
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{facts['key']},\n{lines}}}"


def _paper(facts: Mapping[str, Any]) -> Paper:
    url = facts.get("url") or f"https://arxiv.org/abs/{facts['arxiv']}"
    return Paper(
        facts["title"], ", ".join(facts["authors"]), facts["year"], facts["venue"], url, bibtex(facts)
    )


def _named(slug: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "slug": slug, "title": Text(**row["title"]), "idea": Text(**row["idea"])}


def _check(table: str, slug: str, row: Mapping[str, Any], kinds: Collection[str]) -> None:
    """Refuses a row that lacks a field, has one that no row has, or is of an unknown kind."""
    fields = {
        f"{name}.{part}" if part else name
        for name, value in row.items()
        for part in (value if isinstance(value, Mapping) else ("",))
    }
    lacking = NEEDED[table] - fields
    if table == "pages" and not fields & {"paper.arxiv", "paper.url"}:
        lacking |= {"paper.arxiv"}
    place = f"[{table}.{slug}]"
    if lacking:
        raise Refusal("row_lacks", row=place, fields=", ".join(sorted(lacking)))
    if surplus := fields - NEEDED[table] - ALLOWED[table]:
        raise Refusal("row_surplus", row=place, fields=", ".join(sorted(surplus)))
    if table == "pages" and row["kind"] not in kinds:
        raise Refusal("row_kind", row=place, kind=str(row["kind"]), known=", ".join(kinds))


def read(path: Path) -> tuple[dict[str, Text], tuple[Entry, ...], tuple[Room, ...]]:
    """Kinds, papers and rooms of a catalog.

    Raises:
        Refusal: "row_lacks", "row_surplus", "row_kind", which name the row.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    for table in NEEDED:
        for slug, row in tables[table].items():
            _check(table, slug, row, tables["kinds"])
    entries = (
        Entry(**{"module": None, **_named(slug, row), "paper": _paper(row["paper"])})
        for slug, row in tables["pages"].items()
    )
    rooms = (Room(**_named(slug, row)) for slug, row in tables["rooms"].items())
    return {name: Text(**both) for name, both in tables["kinds"].items()}, tuple(entries), tuple(rooms)


KINDS, PAGES, ROOMS = read(Path(__file__).with_suffix(".toml"))


def open_rows() -> list[Entry | Room]:
    """The rows of every page that can be visited: papers in reading order, then the rooms."""
    return [*(row for row in PAGES if row.ready), *ROOMS]


def listed_rooms() -> list[Room]:
    """The rooms of the bar and the home page."""
    return [room for room in ROOMS if not room.quiet]


def entry(slug: str) -> Entry:
    """The row of that slug; KeyError where there is none."""
    return {row.slug: row for row in PAGES}[slug]


def page(slug: str, build: Callable[[], None], declared: Any = None, **more: Any) -> Page:
    """A page from its catalog row and what lays it out; KeyError with a sentence where it has no row.

    `more` are `routes` and `titles`.
    """
    rows: list[Entry | Room] = [*PAGES, *ROOMS]
    row = next((row for row in rows if row.slug == slug), None)
    if row is None:
        raise KeyError(f"demos/catalog.toml has no row {slug}")
    paper = row.paper if isinstance(row, Entry) else None
    return Page(row.slug, row.title, paper, row.idea, build, declared, **more)


@cache
def load(row: Entry | Room) -> Page | str:
    """The `PAGE` of an entry's module, or one line that says why it is not there."""
    if row.module is None:
        return "coming"
    try:
        return importlib.import_module(row.module).PAGE
    except Refusal as refusal:  # a registry of one's own may lack the rows of a paper
        logger.warning("The page %s cannot be imported: %s", row.slug, refusal)
        return str(refusal)
    except Exception as error:
        logger.exception("The page %s cannot be imported", row.slug)
        return f"{type(error).__name__}: {error}"


def table(lang: str) -> str:
    """The README's table of papers, in Markdown; the title of an open page leads to its document."""
    head = {"en": ("page", "paper", "task", "status"), "zh": ("页面", "论文", "任务", "状态")}[lang]
    ending = {"en": ".md", "zh": ".zh.md"}[lang]
    return documents.table(
        head,
        (
            (
                f"[{row.title.get(lang)}](docs/pages/{row.slug}{ending})"
                if row.ready
                else row.title.get(lang),
                f"[{row.paper.title}]({row.paper.url}), {row.paper.venue}",
                KINDS[row.kind].get(lang),
                (OPEN if row.ready else COMING).get(lang),
            )
            for row in PAGES
        ),
    )


def main() -> None:
    """Prints the table or writes it into both READMEs."""
    parser = argparse.ArgumentParser(prog="python -m demos.catalog", description=main.__doc__)
    parser.add_argument("--lang", choices=("en", "zh"), default="en")
    parser.add_argument("--write", action="store_true", help="rewrite README.md and README.zh.md")
    arguments = parser.parse_args()
    if arguments.write:
        documents.write("papers", lambda _, lang: table(lang))
    else:
        print(table(arguments.lang))


if __name__ == "__main__":
    sys.exit(terminal.run(main))
