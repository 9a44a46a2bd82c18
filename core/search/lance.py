"""Tables in LanceDB: columns in files, each commit whole or absent, several processes at once.

Below `EXACT` vectors all of them are compared; above, an index of cells with four bits a number (IVF_RQ) finds candidates, which
are compared exactly. Cells and candidates were chosen on queries that lie apart from the vectors, as texts lie apart from images
(`benchmarks/search.py`): what suffices for vectors of the table loses a third of the right answers to texts.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import Refusal
from core.runtime import optional
from core.search.store import LOTS, FileState, Filter, Part, Row, Sample, Stats, in_batches

try:
    import fcntl
except ImportError:  # Windows: nothing is freed there while it may be read (`Lance.alone`)
    fcntl = None  # type: ignore[assignment]

EXACT = 50_000  # vectors up to which all are compared
FEW = 2_000  # of an index, which a filter leaves, and which are all compared: each is read from its own place
CELL = 2_000  # vectors of a cell of the index
# Cells at most. The engine sorts into more than 256 in steps, and the cells that lie nearest to text-like questions come out far
# too large.
CELLS = 250
PROBES = 20  # cells that a question looks at
BITS = 4  # a number of a vector in the index: with one, eighty candidates a piece would be needed in place of four
REFINE = 4  # candidates for each wanted piece whose exact vectors are compared
KEPT = timedelta(days=1)  # of old versions where readers cannot be asked
PATHS = 500  # in one condition
FORMAT = 4  # of a table; one of another format is left as it is and made again under another name

# Columns that conditions name. What an answer shows is JSON in one column, because each column that it reads costs time and a
# row has nineteen values; so nine of them are in both. The column of roots would take a third of the time of a question to a
# million vectors.
NAMED = ("id", "root", "path", "part", "kind", "taken", "size", "error", "heard")
FACTS = (
    "root", "id", "path", "part", "kind", "start", "end", "box", "shot", "width", "height", "taken", "dated", "mtime", "size",
    "hash", "text", "error", "heard",
)  # fmt: skip
FOUND = ("facts", "vector", "_distance")  # of an answer


class Lance:
    """A store of LanceDB: a folder, an object store, memory, or a server of its makers."""

    def __init__(self, url: str) -> None:
        import lancedb  # takes seconds: only where a search begins
        from lancedb.background_loop import LOOP

        self.is_local = "://" not in url
        self.url = os.path.abspath(os.path.expanduser(url)) if self.is_local else url
        self.counted: dict[tuple[str, ...], tuple[str, Any]] = {}  # see `LanceTable._once`
        # The engine works in a loop of its own. What is asked of it in one coroutine passes between threads once.
        self.run = LOOP.run
        try:
            if self.is_local:
                os.makedirs(self.url, exist_ok=True)
            # Zero: every read sees what other processes have committed.
            connection = lancedb.connect_async(self.url, read_consistency_interval=timedelta(0))
            self.db: Any = self.run(connection)
        except Exception as error:  # the engine raises anything of its drivers
            raise Refusal("search_store", url=_safe(url), reason=str(error)[:200]) from error

    def table(self, part: Part) -> LanceTable:
        name = f"{part.name.replace('/', '-')}-{FORMAT}"
        schema = _schema(part.dims)
        # Another process may have made it a moment ago.
        opened = self.run(self.db.create_table(name, schema=schema, exist_ok=True))
        if self.run(opened.schema()).field("vector").type.list_size != part.dims:
            raise Refusal("search_store", url=_safe(self.url), reason=f"{name} has other vectors")
        return LanceTable(self, part, opened)

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._lock("writing", exclusive=True) as mine:
            if not mine:
                raise Refusal("search_busy")
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While it lasts no process frees old versions."""
        with self._lock("reading", exclusive=False):
            yield

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no process reads, for as long as the context lasts."""
        with self._lock("reading", exclusive=True) as mine:
            yield mine and self.is_local and fcntl is not None

    @contextmanager
    def _lock(self, name: str, exclusive: bool) -> Iterator[bool]:
        if not self.is_local or fcntl is None:
            yield True
            return
        handle = os.open(os.path.join(self.url, f".{name}"), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(handle)


class LanceTable:
    """The pieces of one checkpoint."""

    def __init__(self, store: Lance, part: Part, table: Any) -> None:
        self.store, self.part, self.table = store, part, table
        self.url, self.run = store.url, store.run

    # --- reading ---------------------------------------------------------------------------------------------

    def count(self, where: Filter) -> int:
        with self.store.reading():
            return int(self.run(self.table.count_rows(condition(where))))

    def files(self, root: str) -> dict[str, FileState]:
        rows = map(_row, self._rows(f"root = {quoted(root)} AND part = 0", ("facts",)))
        return {row.path: FileState(row.size, row.mtime, row.hash, row.error) for row in rows}

    def search(self, vector: np.ndarray, count: int, where: Filter, exact: bool = False) -> list[Row]:
        asked = np.asarray(vector, np.float32)
        # Rows without a vector are never found; a condition on it would read every vector of the table.
        only = condition(where, pieces=False)
        with self.store.reading():
            found = self.run(self._found(asked, count, only, exact))
        return [row for row in _rows_of(found) if row.vector is not None]

    async def _found(self, vector: np.ndarray, count: int, only: str, exact: bool) -> Any:
        """The nearest rows that a condition (empty: none) lets pass, as the engine gives them."""
        query = self.table.query().nearest_to(vector).column("vector").distance_type("cosine")
        if only:
            query = query.where(only)
        version = await self._version()
        cells, every = await self._once(version, ("cells",), self._count_cells)
        left = every
        if cells and only:
            left = await self._once(f"{version} {only}", ("left",), partial(self.table.count_rows, only))
        if exact or not cells or left <= FEW:
            query = query.bypass_vector_index()
        else:
            query = query.nprobes(probes(cells, every, left)).refine_factor(REFINE)
        return await query.select(list(FOUND)).limit(count).to_arrow()

    def sample(self, files: int, where: Filter) -> Sample:
        known = max(1, self.count_files(where))
        highest = min(LOTS - 1, LOTS * files // known)
        drawn = f"{condition(where)} AND lot <= {highest}"
        found = self._columns(drawn, ("root", "path", "kind", "heard", "vector"))
        roots, paths, kinds, heard = (found[name].to_pylist() for name in ("root", "path", "kind", "heard"))
        flat = found["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return Sample(
            ["sound" if is_heard else kind for kind, is_heard in zip(kinds, heard, strict=True)],
            list(zip(roots, paths, strict=True)),
            flat.astype(np.float32).reshape(-1, self.part.dims),
        )

    @property
    def version(self) -> str:
        """Changes with the content."""
        return str(self.run(self._version()))

    async def _version(self) -> str:
        await self.table.checkout_latest()
        return str(await self.table.version())

    def count_files(self, where: Filter) -> int:
        """How many files have pieces that a filter lets pass."""
        with self.store.reading():
            return int(self.run(self.table.count_rows(f"{condition(where)} AND part = 0")))

    def get(self, identity: str) -> Row | None:
        return next(map(_row, self._rows(f"id = {quoted(identity)}", ("facts", "vector"))), None)

    def pieces(self, root: str, path: str) -> list[Row]:
        found = self._rows(f"root = {quoted(root)} AND path = {quoted(path)}", ("facts", "vector"))
        return sorted(map(_row, found), key=lambda row: row.part)

    def failures(self, root: str, most: int) -> list[Row]:
        return [_row(one) for one in self._rows(f"root = {quoted(root)} AND error != ''", ("facts",), most)]

    def stats(self, roots: Sequence[str] = ()) -> Stats:
        own = condition(Filter(roots=tuple(roots)), pieces=False) or "true"

        async def count() -> list[int]:
            parts = ("part = 0 AND error = ''", "vector IS NOT NULL", "error != ''")
            return [int(await self.table.count_rows(f"{own} AND {more}")) for more in parts]

        with self.store.reading():
            files, pieces, failed = self.run(self._once(self.version, ("stats", *roots), count))
        size = None
        if self.store.is_local:
            folder = Path(self.store.url, f"{self.table.name}.lance")
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        return Stats(files, pieces, failed, size, bool(self.cells()))

    def roots(self) -> list[str]:
        return sorted({row["root"] for row in self._rows("part = 0", ("root",))})

    def cells(self) -> int:
        """Cells of the index; 0 where there is none."""
        return int(self.run(self._once(self.version, ("cells",), self._count_cells))[0])

    async def _once(self, state: str, name: tuple[str, ...], count: Callable[[], Awaitable[Any]]) -> Any:
        """What is counted once for each state of the table: every vector is read for some of it, at every question."""
        key = (self.table.name, *name)
        known = self.store.counted.get(key)
        if known is None or known[0] != state:
            known = self.store.counted[key] = state, await count()
        return known[1]

    async def _count_cells(self) -> tuple[int, int]:
        """Cells of the index, 0 where there is none, and rows of the table."""
        every = int(await self.table.count_rows())
        for index in await self.table.list_indices():
            if list(index.columns) == ["vector"]:
                stats = await self.table.index_stats(index.name)
                return (_partitions(int(stats.num_indexed_rows)) if stats else 0), every
        return 0, every

    def _rows(self, where: str, columns: Sequence[str], most: int | None = None) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._columns(where, columns, most).to_pylist()
        return rows

    def _columns(self, where: str, columns: Sequence[str], most: int | None = None) -> Any:
        """Columns of the rows for which a condition holds, as the engine gives them."""

        async def read() -> Any:
            query = self.table.query().where(where).select(list(columns))
            return await query.limit(most or await self.table.count_rows()).to_arrow()

        with self.store.reading():
            return self.run(read())

    # --- writing ---------------------------------------------------------------------------------------------

    def add(self, rows: Sequence[Row]) -> None:
        if rows:
            self.run(self.table.add(_arrow(rows, self.part.dims)))

    def replace(self, root: str, paths: Sequence[str], rows: Sequence[Row]) -> None:
        merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge = merge.when_not_matched_by_source_delete(_of_paths(root, paths))
        self.run(merge.execute(_arrow(rows, self.part.dims), on_bad_vectors="null"))

    def move(self, root: str, moves: Mapping[str, str]) -> None:
        for batch in in_batches(moves.items(), PATHS):
            names = dict(batch)
            found = self._rows(_of_paths(root, list(names)), ("facts", "vector"))
            rows = [replace(row, path=names[row.path]) for row in map(_row, found)]
            merge = self.table.merge_insert("id").when_matched_update_all()
            self.run(merge.execute(_arrow(rows, self.part.dims), on_bad_vectors="null"))

    def remove(self, root: str, paths: Sequence[str]) -> None:
        for batch in in_batches(paths, PATHS):
            self.run(self.table.delete(_of_paths(root, batch)))

    def tidy(self) -> None:
        self.run(self._bring_up_to_date())
        with self.store.alone() as is_alone, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nobody else may read: nobody does
            self.run(self.table.optimize(cleanup_older_than=timedelta(0) if is_alone else KEPT))

    async def _bring_up_to_date(self) -> None:
        """Makes the index where it is missing, or where the table has outgrown it."""
        count = int(await self.table.count_rows("vector IS NOT NULL"))
        indices = {tuple(index.columns): index.name for index in await self.table.list_indices()}
        vectors = indices.get(("vector",))
        stats = await self.table.index_stats(vectors) if vectors else None
        # The cells of a table that has doubled are too large.
        has_doubled = stats and stats.num_unindexed_rows > stats.num_indexed_rows
        if has_doubled or (vectors is None and count > EXACT):
            await self._build(count)

    async def _build(self, count: int) -> None:
        """Makes the indices of vectors and of paths again."""
        index = optional("lancedb.index")
        config = index.IvfRq(distance_type="cosine", num_partitions=_partitions(count), num_bits=BITS)
        await self.table.create_index("vector", config=config, replace=True)
        for column in ("path", "lot", "id", "taken", "size"):
            await self.table.create_index(column, config=index.BTree(), replace=True)
        for column in ("root", "kind", "heard"):
            await self.table.create_index(column, config=index.Bitmap(), replace=True)


# --- rows and conditions -------------------------------------------------------------------------------------


def _partitions(count: int) -> int:
    return min(CELLS, max(16, count // CELL))


def probes(cells: int, count: int, left: int) -> int:
    """How many of the cells of an index a question looks at, where a filter leaves so many of all vectors.

    Cells are chosen by the question, and what a filter leaves may lie in others: for a hundredth it takes 1.7 times as many.
    """
    more = 1 + 0.35 * math.log10(max(1.0, count / max(1, left)))
    return min(cells, max(1, round(PROBES * more)))


def quoted(text: str) -> str:
    """A text as a literal of a condition."""
    return "'" + text.replace("'", "''") + "'"


def _of_paths(root: str, paths: Sequence[str]) -> str:
    return f"root = {quoted(root)} AND path IN ({', '.join(map(quoted, paths))})"


def condition(where: Filter, pieces: bool = True) -> str:
    """A filter as the engine reads it; `pieces` leaves out files that have none."""
    parts = ["vector IS NOT NULL"] if pieces else []
    if where.roots:
        parts.append(f"root IN ({', '.join(map(quoted, where.roots))})")
    if where.kinds:
        parts.append(f"kind IN ({', '.join(map(quoted, where.kinds))})")
    if where.folder:
        # Between "a/" and the sign behind "/": an index of paths answers that, a pattern it would not.
        parts.append(f"path >= {quoted(where.folder + '/')} AND path < {quoted(where.folder + '0')}")
    for column, sign, value in (
        ("taken", ">=", where.after), ("taken", "<", where.before), ("size", ">=", where.least), ("size", "<=", where.most),
    ):  # fmt: skip
        if value is not None:
            parts.append(f"{column} {sign} {value!r}")
    if where.whole:
        parts.append("whole")
    if where.heard is not None:
        parts.append(f"heard = {str(where.heard).lower()}")
    return " AND ".join(parts)


def _schema(dims: int) -> Any:
    pa = optional("pyarrow")
    return pa.schema(
        [
            ("id", pa.string()), ("vector", pa.list_(pa.float16(), dims)), ("root", pa.string()), ("path", pa.string()),
            ("part", pa.int32()), ("kind", pa.string()), ("taken", pa.float64()), ("size", pa.int64()), ("error", pa.string()),
            ("heard", pa.bool_()), ("whole", pa.bool_()), ("lot", pa.int32()), ("facts", pa.string()),
        ]
    )  # fmt: skip


def _arrow(rows: Sequence[Row], dims: int) -> Any:
    pa = optional("pyarrow")
    schema = _schema(dims)
    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in (*NAMED, "lot")}
    columns["whole"] = [row.box is None for row in rows]
    columns["facts"] = [_facts(row) for row in rows]
    columns["vector"] = [None if row.vector is None else row.vector.astype(np.float16) for row in rows]
    arrays = [pa.array(columns[column.name], column.type) for column in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _facts(row: Row) -> str:
    return json.dumps([getattr(row, name) for name in FACTS], ensure_ascii=False, default=float)


def _row(values: Mapping[str, Any]) -> Row:
    facts = dict(zip(FACTS, json.loads(values["facts"]), strict=True))
    facts["box"] = None if facts["box"] is None else tuple(facts["box"])
    vector = values.get("vector")
    return Row(
        **facts,
        vector=None if vector is None else np.asarray(vector, np.float32),
        score=1.0 - float(values["_distance"]) if values.get("_distance") is not None else 0.0,
    )


def _rows_of(found: Any) -> list[Row]:
    """The rows of an answer; their vectors are taken out as one array."""
    count = found.num_rows
    flat = found["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors: Any = flat.astype(np.float32).reshape(count, -1) if count else ()
    return [
        _row({**one, "vector": vector})
        for one, vector in zip(found.drop(["vector"]).to_pylist(), vectors, strict=True)
    ]


def _safe(url: str) -> str:
    """An address without what may be a password in it."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"
