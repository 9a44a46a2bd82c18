"""Tables on a Qdrant server, qdrant://host:6333: for questions that have to be split over several machines.

An optional installation: `pip install qdrant-client`. The same interface as LanceDB's tables; the server keeps its own index and
compares exactly where it is asked to. A batch of new rows is one request. A changed file is written before its old rows go:
a killed process leaves it twice at worst, until the next run, and never lost.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import numpy as np

from core.errors import Refusal
from core.runtime import optional
from core.search.store import LOTS, FileState, Filter, Part, Row, Sample, Stats, in_batches

VECTOR = "piece"  # the name of the vector of a point; a file without pieces has a point without it
POINTS = 256  # of a request
SCROLLED = 1_000
SECONDS = 60  # that a request may take
TEXTS, NUMBERS = ("root", "path", "kind", "folders"), ("part", "lot", "size")
MARK = str(
    uuid.UUID(int=0)
)  # a point without a vector: its payload says which version of the content this is
KEPT = tuple(field.name for field in fields(Row) if field.name not in ("id", "vector", "score"))


class Qdrant:
    """A store on a server, or any client of its makers."""

    def __init__(self, url: str, client: Any = None) -> None:
        self.url = url
        library = optional("qdrant_client")
        self.models = optional("qdrant_client.models")
        try:
            address = url.replace("qdrant://", "http://", 1)
            self.client = client or library.QdrantClient(url=address, timeout=SECONDS)
            self.client.get_collections()
        except Exception as error:  # the client raises anything of its transport
            raise Refusal("search_store", url=url.rpartition("@")[2], reason=str(error)[:200]) from error

    def table(self, part: Part) -> QdrantTable:
        if not self.client.collection_exists(part.name):
            models = self.models
            vectors = models.VectorParams(
                size=part.dims, distance=models.Distance.COSINE, datatype=models.Datatype.FLOAT16
            )
            self.client.create_collection(part.name, vectors_config={VECTOR: vectors})
            for name in TEXTS:
                self.client.create_payload_index(part.name, name, models.PayloadSchemaType.KEYWORD)
            for name in NUMBERS:
                self.client.create_payload_index(part.name, name, models.PayloadSchemaType.INTEGER)
        return QdrantTable(self, part)

    @contextmanager
    def writing(self) -> Iterator[None]:
        yield  # the server orders what it is sent; one indexer for a root is the user's part


class QdrantTable:
    """The pieces of one checkpoint."""

    def __init__(self, store: Qdrant, part: Part) -> None:
        self.store, self.part, self.url = store, part, store.url
        self.client, self.models, self.name = store.client, store.models, part.name

    # --- reading ---------------------------------------------------------------------------------------------

    def count(self, where: Filter) -> int:
        return self._count(self.condition(where))

    def count_files(self, where: Filter) -> int:
        return self._count(self.condition(where, part=0))

    def files(self, root: str) -> dict[str, FileState]:
        rows = self._scroll(self._must(root=root, part=0), vectors=False)
        return {row.path: FileState(row.size, row.mtime, row.hash, row.error) for row in rows}

    def search(self, vector: np.ndarray, count: int, where: Filter, exact: bool = False) -> list[Row]:
        found = self.client.query_points(
            self.name,
            query=np.asarray(vector, float).tolist(),
            using=VECTOR,
            query_filter=self.condition(where),
            limit=count,
            with_payload=True,
            with_vectors=True,
            search_params=self.models.SearchParams(exact=exact),
        )
        return [replace(self._row(point), score=float(point.score)) for point in found.points]

    def sample(self, files: int, where: Filter) -> Sample:
        highest = min(LOTS - 1, LOTS * files // max(1, self.count_files(where)))
        rows = list(self._scroll(self.condition(where, lot=highest)))
        vectors = [row.vector for row in rows if row.vector is not None]
        return Sample(
            ["sound" if row.heard else str(row.kind) for row in rows],
            [(row.root, row.path) for row in rows],
            np.stack(vectors) if vectors else np.zeros((0, self.part.dims), np.float32),
        )

    @property
    def version(self) -> str:
        """Changes with the content: the server counts no versions, so each change leaves a mark."""
        marks = self.client.retrieve(self.name, [MARK], with_payload=True)
        return str(marks[0].payload["version"]) if marks else ""

    def get(self, identity: str) -> Row | None:
        try:
            key = str(uuid.UUID(identity))
        except ValueError:
            return None
        if key == MARK:
            return None
        found = self.client.retrieve(self.name, [key], with_payload=True, with_vectors=True)
        return self._row(found[0]) if found else None

    def pieces(self, root: str, path: str) -> list[Row]:
        return sorted(self._scroll(self._must(root=root, path=path)), key=lambda row: row.part)

    def failures(self, root: str, most: int) -> list[Row]:
        rows = (row for row in self._scroll(self._must(root=root, kind=""), vectors=False) if row.error)
        return [row for _, row in zip(range(most), rows, strict=False)]

    def stats(self, roots: Sequence[str] = ()) -> Stats:
        where = Filter(roots=tuple(roots))
        failed = self._count(self.condition(replace(where, kinds=("",)), pieces=False))
        files = self._count(self.condition(where, part=0, pieces=False)) - failed
        return Stats(files, self.count(where), failed, None, True)

    def roots(self) -> list[str]:
        return sorted({row.root for row in self._scroll(self._must(part=0), vectors=False)})

    # --- writing ---------------------------------------------------------------------------------------------

    def add(self, rows: Sequence[Row]) -> None:
        for batch in in_batches(rows, POINTS):
            points = [
                self.models.PointStruct(
                    id=str(uuid.UUID(row.id)),
                    vector={} if row.vector is None else {VECTOR: row.vector.tolist()},
                    payload={
                        **{name: getattr(row, name) for name in KEPT},
                        "lot": row.lot,
                        "folders": list_parents(row.path),
                    },
                )
                for row in batch
            ]
            self.client.upsert(self.name, points, wait=True)
        self._mark(rows)

    def replace(self, root: str, paths: Sequence[str], rows: Sequence[Row]) -> None:
        old = [row.id for path in paths for row in self.pieces(root, path)]
        self.add(rows)
        for batch in in_batches(old, SCROLLED):
            keys = [str(uuid.UUID(one)) for one in batch]
            self.client.delete(self.name, self.models.PointIdsList(points=keys), wait=True)
        self._mark(old)

    def move(self, root: str, moves: Mapping[str, str]) -> None:
        for old, new in moves.items():
            fresh = {"path": new, "folders": list_parents(new)}
            self.client.set_payload(self.name, fresh, points=self._must(root=root, path=old), wait=True)
        self._mark(moves)

    def remove(self, root: str, paths: Sequence[str]) -> None:
        for path in paths:
            chosen = self.models.FilterSelector(filter=self._must(root=root, path=path))
            self.client.delete(self.name, chosen, wait=True)
        self._mark(paths)

    def _mark(self, changes: Sized) -> None:
        """Gives the content another version where something changed. The change comes first: a version is never newer."""
        if not changes:
            return
        mark = self.models.PointStruct(id=MARK, vector={}, payload={"version": uuid.uuid4().hex})
        self.client.upsert(self.name, [mark], wait=True)

    def tidy(self) -> None:
        """The server looks after its own index."""

    # --- conditions ------------------------------------------------------------------------------------------

    def condition(
        self, where: Filter, part: int | None = None, lot: int | None = None, pieces: bool = True
    ) -> Any:
        """A filter as the server reads it; `pieces` leaves out files that have none.

        A folder is a beginning of the path, which the server does not know as such: rows carry all folders above them.
        """
        models = self.models
        must: list[Any] = []
        if where.roots:
            must.append(self._any("root", where.roots))
        if where.kinds:
            must.append(self._any("kind", where.kinds))
        if where.folder:
            must.append(models.FieldCondition(key="folders", match=models.MatchValue(value=where.folder)))
        for key, low, high in (
            ("taken", where.after, where.before),
            ("size", where.least, where.most),
            ("lot", None, lot),
        ):
            if low is not None or high is not None:
                edge = {"lt": high} if key == "taken" else {"lte": high}
                must.append(models.FieldCondition(key=key, range=models.Range(gte=low, **edge)))
        if where.whole:
            must.append(models.IsNullCondition(is_null=models.PayloadField(key="box")))
        if where.heard is not None:
            must.append(models.FieldCondition(key="heard", match=models.MatchValue(value=where.heard)))
        if part is not None:
            must.append(models.FieldCondition(key="part", match=models.MatchValue(value=part)))
        if pieces:
            must.append(models.HasVectorCondition(has_vector=VECTOR))
        return models.Filter(must=must) if must else None

    def _any(self, key: str, values: Sequence[str]) -> Any:
        return self.models.FieldCondition(key=key, match=self.models.MatchAny(any=list(values)))

    def _must(self, **values: Any) -> Any:
        models = self.models
        return models.Filter(
            must=[
                models.FieldCondition(key=key, match=models.MatchValue(value=value))
                for key, value in values.items()
            ]
        )

    def _count(self, condition: Any) -> int:
        return int(self.client.count(self.name, count_filter=condition, exact=True).count)

    def _scroll(self, condition: Any, vectors: bool = True) -> Iterator[Row]:
        offset: Any = None
        while True:
            points, offset = self.client.scroll(
                self.name, condition, limit=SCROLLED, offset=offset, with_payload=True, with_vectors=vectors
            )
            yield from map(self._row, points)
            if offset is None:
                return

    def _row(self, point: Any) -> Row:
        values = {name: point.payload.get(name) for name in KEPT}
        values["box"] = None if values["box"] is None else tuple(values["box"])
        vector = (point.vector or {}).get(VECTOR) if isinstance(point.vector, dict) else None
        return Row(
            id=uuid.UUID(str(point.id)).hex,
            **values,
            vector=None if vector is None else np.asarray(vector, np.float32),
        )


def list_parents(path: str) -> list[str]:
    """The folders that a path lies in, each from the root."""
    parts = path.split("/")
    return ["/".join(parts[:at]) for at in range(1, len(parts))]
