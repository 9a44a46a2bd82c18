"""A Qdrant server as the store: LanceDB's answers, from a stand-in that speaks its REST and from the client's own store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import Refusal
from core.search import qdrant
from core.search.store import Filter, open_store
from tests.core.search.colours import ColourSpace, fill, find, paint, run
from tests.standin_qdrant import Server, running

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*[Ll]ocal"
)  # the client's own store has no indices of payloads

FILTERS = (
    Filter(),
    Filter(roots=("files",), kinds=("image",)),
    Filter(folder="red"),
    Filter(folder="re"),
    Filter(folder="deep/er"),
    Filter(kinds=("text",)),
    Filter(kinds=("video", "sound")),
    Filter(after=1_000.0, before=2_000.0),
    Filter(least=200, most=3_000),
    Filter(whole=True),
    Filter(heard=False),
    Filter(heard=True),
    Filter(roots=("others",)),
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as made:
        yield made


@pytest.fixture(params=["server", "client"])
def store(request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(qdrant, "SCROLLED", 7)  # several pages
    monkeypatch.setattr(qdrant, "POINTS", 16)
    if request.param == "server":
        server.collections.clear()
        return open_store(server.url)
    from qdrant_client import QdrantClient

    return qdrant.Qdrant("qdrant://memory", QdrantClient(":memory:"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    fill(made, 10)
    paint(made / "deep" / "er" / "red.png", "red", 77)
    (made / "notes.txt").write_text("yellow", encoding="utf-8")
    (made / "empty.jpg").touch()
    return made


def table(store: Any) -> Any:
    return store.table(ColourSpace.visual)


def test_both_stores_give_the_same_answers(store: Any, folder: Path, tmp_path: Path) -> None:
    other = open_store(tmp_path / "lance")
    for one in (store, other):
        run(one, folder)
    ours, theirs = table(store), table(other)
    assert ours.files("files") == theirs.files("files") and len(ours.files("files")) == 13
    asked = ColourSpace().texts(["yellow"])[0]
    for where in FILTERS:
        assert (ours.count(where), ours.count_files(where)) == (
            theirs.count(where),
            theirs.count_files(where),
        )
        first, second = (
            {(row.path, row.part): row.score for row in one.search(asked, 500, where, exact=True)}
            for one in (ours, theirs)
        )
        assert set(first) == set(second)
        assert list(first.values()) == pytest.approx(sorted(second.values(), reverse=True), abs=2e-3)
    assert ours.count(Filter(folder="red")) and ours.count(Filter(folder="deep/er")) == 10
    one, two = ours.pieces("files", "red/000.png"), theirs.pieces("files", "red/000.png")
    for mine, yours in zip(one, two, strict=True):
        assert replace(mine, id="", box=None) == replace(yours, id="", box=None)
        assert mine.box == pytest.approx(yours.box) and mine.vector == pytest.approx(yours.vector, abs=2e-3)
    drawn, known = ours.sample(5, Filter()), theirs.sample(5, Filter())
    assert sorted(drawn.files) == sorted(known.files) and drawn.vectors.shape == known.vectors.shape
    assert [row.path for row in ours.failures("files", 9)] == ["empty.jpg"]
    assert [row.refusal.code for row in ours.failures("files", 9)] == ["search_empty"]
    stats, expected = ours.stats(("files",)), theirs.stats(("files",))
    assert (stats.files, stats.pieces, stats.failed) == (expected.files, expected.pieces, expected.failed)
    assert ours.roots() == ["files"] and find(store, "blue").hits[0].row.path.startswith("blue/")


def test_an_index_on_a_server_follows_its_folder(store: Any, folder: Path) -> None:
    run(store, folder)
    before = table(store).count(Filter())
    again = run(store, folder)
    assert (again.done, again.unchanged) == (0, 13)
    ids = {row.id for row in table(store).pieces("files", "red/000.png")}
    version = table(store).version
    assert run(store, folder).total == 0 and table(store).version == version  # nothing changed
    (folder / "red/000.png").rename(folder / "deep/moved.png")
    (folder / "green/001.png").unlink()
    paint(folder / "blue/002.png", "yellow", 99)
    shutil.copy(folder / "blue/007.png", folder / "copy.png")
    step = run(store, folder)
    assert (step.done, step.moved, step.gone) == (2, 1, 1)
    rows = table(store).pieces("files", "deep/moved.png")
    assert {row.id for row in rows} == ids  # not encoded again
    assert table(store).pieces("files", "red/000.png") == [] and table(store).count(Filter()) == before
    assert table(store).count(Filter(folder="deep")) == 20
    assert len(table(store).pieces("files", "blue/002.png")) == 10
    assert table(store).version != version
    assert table(store).get(rows[0].id).path == "deep/moved.png"
    for identity in ("0" * 32, "../../etc"):
        assert table(store).get(identity) is None


def test_every_filter_of_a_server_has_its_index(server: Server, folder: Path) -> None:
    server.collections.clear()
    run(open_store(server.url), folder)
    names = {"root", "path", "kind", "folders", "part", "lot", "size"}
    assert server.indexed["colours"] >= names
    asked = len(server.requests)
    table(open_store(server.url))  # a table that is there is not made again
    assert "/collections/colours" not in {path for _, path, _ in server.requests[asked:]}


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with running() as gone:
        address = gone.url
    with pytest.raises(Refusal) as raised:
        open_store(address.replace("qdrant://", "qdrant://key@"))
    assert raised.value.code == "search_store" and "key" not in raised.value.text("en")


def test_folders_above_a_path() -> None:
    assert qdrant.list_parents("a/b/c.png") == ["a", "a/b"] and qdrant.list_parents("c.png") == []
