"""Search over files: speed of the index, speed of indexing, killed processes. `benchmarks.retrieval` asks what is found.

    python -m benchmarks.search vectors [--count 1000000] [--keep FOLDER]
    python -m benchmarks.search probes [--count 100000] [--keep FOLDER]
    python -m benchmarks.search indices [--count 1000000] [--keep FOLDER]
    python -m benchmarks.search photos [--count 1000]
    python -m benchmarks.search kills [--count 10]

`vectors` compares an index with comparing everything in one run: clustered vectors of 512 numbers, and questions that lie apart
from them as texts lie apart from images; `probes` does so by the number of cells that a question looks at, `indices` by the way
a number is written and by the candidates that are compared exactly. With `--keep` the table, its index and the right answers
stay in a folder, and the next run measures at once. `photos` indexes JPEGs of 12 megapixels beside a plain loop over the same
encoder. `kills` ends a process that indexes with SIGKILL at random moments and looks at what is left.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core import inputs, terminal
from core.search import index
from core.search.spaces import Space
from core.search.store import Filter, Part, Row, Store, open_store

ROOT = Path(__file__).resolve().parents[1]
DIMS, CLUSTERS, QUESTIONS, TOP, CHUNK, FOLDERS = 512, 1000, 200, 10, 50_000, 100


def line(name: str, value: str, bar: str = "") -> None:
    """One measured line."""
    print(f"{name:52} {value}{f'   goal {bar}' if bar else ''}", flush=True)


# --- vectors -------------------------------------------------------------------------------------------------


def clustered(count: int, seed: int = 0) -> tuple[np.ndarray, Callable[[int, int], np.ndarray]]:
    """Questions [Q, D], and what makes the vectors of a range. Both lie around means of their own, far apart."""
    draw = np.random.default_rng(seed)
    middles = unit(draw.normal(size=(CLUSTERS, DIMS)))
    seen, asked = unit(draw.normal(size=(2, DIMS)))
    chosen = draw.integers(0, CLUSTERS, QUESTIONS)
    noise = unit(draw.normal(size=(QUESTIONS, DIMS)))
    questions = unit(0.77 * asked + 0.5 * middles[chosen] + 0.39 * noise)

    def vectors(start: int, stop: int) -> np.ndarray:
        part = np.random.default_rng([seed, start])
        own = part.integers(0, CLUSTERS, stop - start)
        spread = unit(part.normal(size=(stop - start, DIMS)))
        return unit(0.71 * seen + 0.55 * middles[own] + 0.45 * spread)

    return questions, vectors


def unit(vectors: np.ndarray) -> np.ndarray:
    """Norm 1, float32."""
    made: np.ndarray = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return made


def made(number: int, vector: np.ndarray) -> Row:
    """A row of a table of vectors: an image of its own."""
    return Row(
        id=str(number), root="r", path=f"{number % FOLDERS:02d}/{number:08d}.jpg", part=0, kind="image", start=0.0, end=0.0,
        box=None, shot=0, width=640, height=480, taken=0.0, dated="file", mtime=0.0, size=100_000, hash=f"{number:032x}", text="",
        error="", vector=vector,
    )  # fmt: skip


def filled(folder: Path, count: int) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """A table of vectors, questions, the places of their right answers, and of those below one folder.

    A folder that has them is not filled again; a table whose writing was stopped is.
    """
    questions, make = clustered(count)
    kept, answers = folder / f"index-{count}", folder / f"answers-{count}.npz"
    if not answers.is_file():
        shutil.rmtree(kept, ignore_errors=True)
    table: Any = open_store(kept).table(Part("many", "many", DIMS, 0.99))
    if answers.is_file():
        with np.load(answers) as saved:
            return table, questions, saved["all"], saved["below"]
    best = np.full((QUESTIONS, TOP), -2.0)
    places = np.zeros((QUESTIONS, TOP), int)
    below = best.copy(), places.copy()
    start = time.perf_counter()
    for begin in range(0, count, CHUNK):
        numbers = np.arange(begin, min(count, begin + CHUNK))
        part = make(begin, begin + len(numbers)).astype(np.float16)
        best, places = merged(best, places, questions, part, numbers)
        inside = numbers % FOLDERS == 7
        below = merged(*below, questions, part[inside], numbers[inside])
        table.add([made(number, vector) for number, vector in zip(numbers.tolist(), part, strict=True)])
    line("vectors, seconds to write", f"{count:,}, {time.perf_counter() - start:.0f}")
    np.savez(answers, all=places, below=below[1])
    return table, questions, places, below[1]


def built(table: Any) -> None:
    """Makes the index of a table that has none."""
    if table.cells():
        return
    before, start = peak(), time.perf_counter()
    for _ in range(2):  # as after two runs of indexing: the second time the engine splits the largest cells
        table.tidy()
    seconds = time.perf_counter() - start
    line("seconds to build the index, peak memory", f"{seconds:.0f}, {peak():,} MB (before {before:,} MB)")


def probes(folder: Path, count: int) -> None:
    """What an index trades: recall and time by the number of its cells that a question looks at; the quickest of three turns."""
    from core.search import lance

    table, questions, places, _ = filled(folder, count)
    built(table)
    turns: dict[int, list[tuple[np.ndarray, float]]] = {cells: [] for cells in (2, 4, 9, 20, 35)}
    for _ in range(3):
        for cells, measured in turns.items():
            lance.PROBES = cells
            measured.append(speed(table, questions, places, Filter()))
    for cells, measured in turns.items():
        quickest = min(measured, key=lambda one: float(np.median(one[0])))
        report(f"{cells} of {table.cells()} cells", quickest, "")
    report("comparing everything", speed(table, questions[:20], places, Filter(), exact=True), "")


def indices(folder: Path, count: int) -> None:
    """What other indices trade: bits of a number, and candidates for each wanted piece whose exact vectors are compared."""
    from lancedb import index

    from core.search import lance

    table, questions, places, _ = filled(folder, count)
    built(table)
    cells = table.cells()
    common: dict[str, Any] = {"distance_type": "cosine", "num_partitions": cells}
    choices = (
        ("8 bits (IVF_SQ)", index.IvfSq(**common), (3,)),
        ("4 bits of 128 parts (IVF_PQ)", index.IvfPq(**common, num_sub_vectors=128, num_bits=4), (3, 10)),
        ("1 bit (IVF_RQ)", index.IvfRq(**common, num_bits=1), (3, 10, 20, 40, 80)),
        ("4 bits (IVF_RQ)", index.IvfRq(**common, num_bits=4), (3, 5, 10)),  # as it is: the table keeps it
    )
    for name, config, candidates in choices:
        start = time.perf_counter()
        table.run(table.table.create_index("vector", config=config, replace=True))
        line(name, f"built in {time.perf_counter() - start:.0f} s")
        for each in candidates:
            lance.REFINE = each
            report(f"{name}, {each} candidates", speed(table, questions, places, Filter()), "")
    table.tidy()


def vectors(folder: Path, count: int) -> None:
    """An index against comparing everything."""
    from core.search import lance

    table, questions, places, below = filled(folder, count)
    ours = Filter()
    lower = Filter(folder="07")
    built(table)
    line(
        "on the disk", f"{table.stats().bytes / 1e6:,.0f} MB, vectors alone {2 * DIMS * count / 1e6:,.0f} MB"
    )
    line(
        "cells, of which a question looks at, candidates",
        f"{table.cells()}, {lance.probes(table.cells(), count, count)}, {lance.REFINE} x {TOP}",
    )
    few = questions[: 20 if count > 200_000 else 100]
    report("comparing everything", speed(table, few, places, ours, exact=True), "")
    report(
        "index",
        speed(table, questions, places, ours),
        "p95 under 20 ms, recall .95" if count > 200_000 else "p50 under 8 ms",
    )
    report("index, below one folder", speed(table, questions, below, lower), "p95 under 40 ms, recall .95")


def merged(
    best: np.ndarray, places: np.ndarray, questions: np.ndarray, part: np.ndarray, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The best `TOP` so far with those of a part."""
    cosines = np.concatenate([best, questions @ part.astype(np.float32).T], 1)
    names = np.concatenate([places, np.broadcast_to(numbers, (len(questions), len(numbers)))], 1)
    order = np.argpartition(-cosines, TOP, 1)[:, :TOP]
    return np.take_along_axis(cosines, order, 1), np.take_along_axis(names, order, 1)


def speed(
    table: Any, questions: np.ndarray, places: np.ndarray, where: Filter, exact: bool = False
) -> tuple[np.ndarray, float]:
    """Milliseconds [Q, 2] of each question on the clock and of the processor, and recall."""
    for question in questions[:3]:
        table.search(question, TOP, where, exact)
    times, found = [], 0
    for question, right in zip(questions, places, strict=False):
        start, used = time.perf_counter(), time.process_time()
        rows = table.search(question, TOP, where, exact)
        times.append((1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used)))
        found += len({int(row.id) for row in rows} & set(right.tolist()))
    return np.array(times), found / (TOP * len(questions))


def report(name: str, measured: tuple[np.ndarray, float], bar: str) -> None:
    """Times and recall."""
    (times, used), recall = measured[0].T, measured[1]
    value = f"p50 {np.median(times):.1f} ms, p95 {np.quantile(times, 0.95):.1f} ms"
    value += f", processor {np.median(used):.1f} and {np.quantile(used, 0.95):.1f} ms"
    line(name, f"{value}, recall@{TOP} {recall:.3f}, load {os.getloadavg()[0]:.1f}", bar)


def peak() -> int:
    """Megabytes of this process at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


# --- photos --------------------------------------------------------------------------------------------------


def photos(folder: Path, count: int) -> None:
    """Files a second of 12 megapixels, ours and a plain loop, and memory."""
    (folder / "files").mkdir()
    draw = np.random.default_rng(0)
    shots = []
    for at in range(8):
        small = Image.fromarray(draw.integers(0, 255, (30, 40, 3), np.uint8))
        small.resize((4000, 3000), Image.Resampling.BICUBIC).save(folder / f"{at}.jpg", quality=85)
        shots.append((folder / f"{at}.jpg").read_bytes())
    for at in range(
        count
    ):  # what stands behind the end of a JPEG is read by nobody, and makes another file of it
        (folder / "files" / f"{at:05d}.jpg").write_bytes(shots[at % 8] + at.to_bytes(4, "big"))
    space, store = Space("classroom-rn"), open_store(folder / "index")
    space.images([inputs.image(folder / "0.jpg", max_side=512)])
    start = time.perf_counter()
    for at in range(min(count, 64)):
        image = inputs.image(folder / "files" / f"{at:05d}.jpg", max_side=512)
        from core.search import media

        space.images(media.views(image)[1])
    plain = min(count, 64) / (time.perf_counter() - start)
    start, marks = time.perf_counter(), []
    for _ in index.update(store, space, folder / "files", root="photos"):
        marks.append(resident())
    ours = count / (time.perf_counter() - start)
    line("files a second", f"ours {ours:.1f}, plain loop {plain:.1f}, ratio {ours / plain:.2f}")
    tenth = max(1, len(marks) // 10)
    line("memory after a tenth, and at the end", f"{marks[tenth]:,} MB, {marks[-1]:,} MB", "flat")


def resident() -> int:
    """Megabytes of this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() >> 20


# --- killed processes ----------------------------------------------------------------------------------------


def kills(folder: Path, count: int) -> None:
    """What is left of an index whose process was killed at random moments."""
    space = Space("classroom-rn")
    total = 200
    (folder / "files").mkdir()
    for at in range(total):
        Image.new("RGB", (64, 64), (at, 255 - at, 2 * at % 256)).save(folder / "files" / f"{at:03d}.png")
    draw = random.Random(0)
    for number in range(count):
        store: Store = open_store(folder / f"index{number}")
        reported = killed(store.url, folder / "files", draw.uniform(0, 1.5))
        table = store.table(space.visual)
        known = table.files("files")
        rows = Counter((row.path, row.part) for path in known for row in table.pieces("files", path))
        for _ in index.update(store, space, folder / "files", root="files"):
            pass
        whole = len(table.files("files"))
        verdict = (
            "right" if len(known) >= reported and set(rows.values()) <= {1} and whole == total else "WRONG"
        )
        line(
            f"kill {number + 1}",
            f"reported {reported}, kept {len(known)}, most often {max(rows.values(), default=0)}, after {whole}: {verdict}",
        )


INDEX = """
import sys
from core.search import index
from core.search.spaces import Space
from core.search.store import open_store
index.TOGETHER, index.COMMIT_SECONDS = 4, 0.0
space = Space("classroom-rn")
space.visual
for step in index.update(open_store(sys.argv[1]), space, sys.argv[2], root="files"):
    print(step.done + step.unchanged, flush=True)
"""


def killed(url: str, files: Path, seconds: float) -> int:
    """Kills a process so many seconds after its first commit; how many files it had reported."""
    process = subprocess.Popen(
        [sys.executable, "-c", INDEX, url, str(files)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    reported = int(process.stdout.readline() or 0)
    time.sleep(seconds)
    process.kill()
    rest = process.stdout.read().split()
    process.wait()
    return int(rest[-1]) if rest else reported


PARTS: dict[str, tuple[Callable[[Path, int], None], int]] = {
    "vectors": (vectors, 1_000_000),
    "probes": (probes, 100_000),
    "indices": (indices, 1_000_000),
    "photos": (photos, 1000),
    "kills": (kills, 10),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one measurement."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--count", type=int, help="of vectors, photos or kills")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="of vectors, probes and indices: where the table stays"
    )
    args = parser.parse_args(arguments)
    measure, count = PARTS[args.part]
    if args.keep and args.part not in ("vectors", "probes", "indices"):
        parser.error("only vectors, probes and indices keep a table")
    with ExitStack() as stack:
        folder = args.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="clip-atlas-bench-"))
        measure(Path(folder), args.count or count)
    return 0


if __name__ == "__main__":
    sys.exit(terminal.run(main))
