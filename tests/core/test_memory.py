"""One budget for models and features: who goes first, what is never kept, and that the system gets its memory back."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from core import memory, runtime
from core.memory import FEATURE_SHARE, Budget, system

ROOT = Path(__file__).resolve().parents[2]


def load(pool: runtime.Pool, name: str, nbytes: int) -> None:
    """Uses a model of this size once."""
    with pool.use(name, object, size_bytes=lambda _: nbytes):
        pass


def kept(pool: runtime.Pool, *caches: runtime.ByteCache[str]) -> list[str]:
    """What is still there, by name; asking does not count as use."""
    return [*map(str, pool.contents()), *(str(key) for cache in caches for key in cache._items)]


def test_models_and_all_caches_share_one_budget() -> None:
    budget = Budget(800)  # of which features may take 100
    pool, one, other = runtime.Pool(budget), runtime.ByteCache[str](budget), runtime.ByteCache[str](budget)
    one.put("a", "A", 60)
    load(pool, "first", 350)
    other.put("b", "B", 40)
    load(pool, "second", 350)
    assert kept(pool, one, other) == ["first", "second", "a", "b"] and budget.nbytes == 800
    # One byte more, of whatever kind: the least recently used of all goes.
    assert one.get("a") == "A"
    load(pool, "third", 1)
    assert kept(pool, one, other) == ["second", "third", "a", "b"] and budget.nbytes == 451
    load(pool, "fourth", 349)
    load(pool, "fifth", 1)
    assert kept(pool, one, other) == ["second", "third", "fourth", "fifth", "a"]
    assert budget.nbytes == 761


def test_an_old_feature_goes_before_a_new_model_and_an_old_model_before_a_new_feature() -> None:
    budget = Budget(80)
    pool, cache = runtime.Pool(budget), runtime.ByteCache[str](budget)
    for key in "ab":
        cache.put(key, key, 5)
    load(pool, "old", 35)
    load(pool, "new", 40)
    assert kept(pool, cache) == ["old", "new", "b"]
    cache.put("c", "c", 5)
    assert kept(pool, cache) == ["old", "new", "c"]
    load(pool, "new", 40)
    cache.put("d", "d", 5)
    assert kept(pool, cache) == ["new", "c", "d"]


def test_features_keep_to_their_share() -> None:
    budget = Budget(100 * FEATURE_SHARE)
    caches = [runtime.ByteCache[str](budget) for _ in range(3)]
    for step in range(60):
        caches[step % 3].put(step, "x", 9)
        assert sum(cache.nbytes for cache in caches) == budget.nbytes <= 100
    assert [step for step in range(60) if caches[step % 3].get(step)] == list(range(49, 60))


def test_a_value_larger_than_the_share_is_not_kept() -> None:
    budget = Budget(100 * FEATURE_SHARE)
    cache = runtime.ByteCache[str](budget)
    cache.put("a", "small", 10)
    cache.put("b", "large", 101)
    assert cache.get("b") is None and cache.get("a") == "small"
    cache.put("a", "grown", 101)
    assert cache.get("a") is None and budget.nbytes == 0
    cache.put("c", "just fits", 100)
    assert cache.get("c") == "just fits"


def test_a_model_larger_than_the_budget_leaves_room_for_nothing_but_the_last_feature() -> None:
    budget = Budget(80)
    pool, cache = runtime.Pool(budget), runtime.ByteCache[str](budget)
    load(pool, "small", 30)
    cache.put("a", "A", 2)
    cache.put("b", "B", 2)
    load(pool, "giant", 500)
    assert kept(pool, cache) == ["giant", "b"]
    # A slider on the last image does not encode it again.
    assert cache.get("b") == "B"
    cache.put("c", "C", 2)
    assert kept(pool, cache) == ["giant", "c"]


def test_a_model_in_use_stays_and_features_go_for_it() -> None:
    budget = Budget(80)
    pool, cache = runtime.Pool(budget), runtime.ByteCache[str](budget)
    with pool.use("used", object, size_bytes=lambda _: 70):
        cache.put("a", "A", 5)
        cache.put("b", "B", 5)
        load(pool, "other", 10)
        assert kept(pool, cache) == ["used", "other", "b"]
    assert kept(pool, cache) == ["other", "b"]
    assert budget.nbytes == 15


def test_what_leaves_by_itself_is_not_counted() -> None:
    budget = Budget(800)
    pool, cache = runtime.Pool(budget), runtime.ByteCache[str](budget)
    cache.put("a", "A", 50)
    cache.clear()
    load(pool, "model", 500)
    with pytest.raises(ZeroDivisionError), pool.use("broken", lambda: 1 // 0, size_bytes=lambda _: 400):
        raise AssertionError("not reached")
    assert kept(pool, cache) == ["model"] and budget.nbytes == 500
    assert pool.drop_idle() == 1 and budget.nbytes == 0


def test_every_cache_of_core_is_counted_by_the_budget_of_the_process() -> None:
    found: dict[str, Any] = {}
    for module in pkgutil.walk_packages(core.__path__, "core."):
        if not module.name.startswith("core.classroom.recipes") and not module.name.endswith("__main__"):
            found |= {
                f"{module.name}.{name}": value
                for name, value in vars(importlib.import_module(module.name)).items()
                if isinstance(value, runtime.ByteCache | runtime.Pool)
            }
    assert {
        "core.runtime.POOL",
        "core.clip.encoders.TEXT_FEATURES",
        "core.segmentation.lseg.ENCODED_IMAGES",
    } <= set(found)
    assert len({id(cache) for cache in found.values()}) > 10
    assert {name for name, cache in found.items() if cache.budget is not memory.BUDGET} == set()


def test_the_sprites_of_the_classroom_are_counted_and_kept_once() -> None:
    from core.classroom.world.atlas import open_atlas

    atlas = open_atlas(("twemoji",))
    assert open_atlas(("twemoji",)) is atlas
    assert runtime.POOL.contents()["sprites", ("twemoji",), "cpu"] == atlas.nbytes > 1 << 20


# --- back to the system ----------------------------------------------------------------------------------------

# Many small blocks with something behind them that stays: the allocator alone would keep the pages.
GIVES_BACK = """
import threading
import numpy as np
from core import memory, runtime

MODEL, BLOCK = 96 << 20, 64 << 10
stays = []

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def model():
    made = [np.ones(BLOCK, np.uint8) for _ in range(MODEL // BLOCK)]
    stays.append(np.ones(BLOCK, np.uint8))
    return made

def aside(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

def touch(name):
    with pool.use(name, model, size_bytes=lambda made: MODEL):
        pass

budget = memory.Budget(2 * MODEL)
pool, cache = runtime.Pool(budget), runtime.ByteCache(memory.Budget(8 * MODEL))
aside(lambda: touch("a"))
start = resident()
{work}
"""
EVICTED = """
for name in "bcd":
    aside(lambda: touch(name))
grown = resident() - start  # by one model: two of the four are kept
pool.drop_idle()
print(grown, start + grown - resident(), MODEL)
"""
CACHED = """
def fill(keys):
    for key in keys:
        cache.put(key, [np.ones(BLOCK, np.uint8) for _ in range(64)], 64 * BLOCK)
    stays.append(np.ones(BLOCK, np.uint8))
aside(lambda: fill(range(24)))  # as much as the share holds
full = resident()
for round in range(1, 4):
    aside(lambda: fill(range(24 * round, 24 * round + 24)))
print(resident() - full + MODEL, full - start, MODEL)
"""


@pytest.mark.skipif(system._trim() is None, reason="this C library returns nothing on demand")
@pytest.mark.parametrize(("work", "kept_models"), [(EVICTED, 2), (CACHED, 1)], ids=["models", "features"])
def test_the_system_gets_back_what_was_evicted(work: str, kept_models: int) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", GIVES_BACK.replace("{work}", work)], cwd=ROOT, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    grown, dropped, model = map(int, answer.stdout.split())
    assert grown < 1.5 * model
    assert dropped > (kept_models - 0.2) * model


def test_a_system_that_cannot_take_memory_back_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_trim", lambda: None)
    pool = runtime.Pool(Budget(10))
    load(pool, "a", 8)
    load(pool, "b", 8)
    assert list(pool.contents()) == ["b"]


def test_arrays_count_by_their_bytes() -> None:
    cache = runtime.ByteCache[np.ndarray](Budget(100 * FEATURE_SHARE))
    assert cache.get_or("x", lambda: np.zeros(5, np.float32)).nbytes == cache.nbytes == 20


def test_memory_is_given_back_after_jobs_that_made_the_process_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, given = [500 << 20], []

    def give_back() -> None:
        given.append(sizes[0])
        system._after[0] = sizes[0]

    monkeypatch.setattr(system, "_trim", lambda: print)
    monkeypatch.setattr(system, "_after", [500 << 20])
    monkeypatch.setattr(system, "resident", lambda: sizes[0])
    monkeypatch.setattr(system, "give_back", give_back)
    for mib in (500, 560, 570, 600, 640, 300, 300):
        sizes[0] = mib << 20
        memory.relieve()
    assert [size >> 20 for size in given] == [570, 640]


def test_a_server_looks_after_its_memory_until_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, stop = [], threading.Event()

    def relieve() -> None:
        looks.append(len(looks))
        if len(looks) == 3:
            stop.set()

    monkeypatch.setattr(system, "relieve", relieve)
    memory.watch(stop, seconds=0)
    assert looks == [0, 1, 2]


ARENAS = """
import ctypes, sys, threading
import numpy as np
from core import memory

memory.prepare_server()
ready = threading.Barrier(12)

def work():
    ready.wait()
    stays.append([np.ones(8192, np.uint8) for _ in range(100)])
    ready.wait()

stays = []
threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(system._trim() is None, reason="another C library")
def test_the_threads_of_a_server_share_memory(tmp_path: Path) -> None:
    report = tmp_path / "heaps.xml"
    subprocess.run([sys.executable, "-c", ARENAS, str(report)], cwd=ROOT, check=True)
    assert 1 <= report.read_text().count("<heap nr=") <= system.ARENAS


SHAPES = """
import sys
from core import memory

if sys.argv[1] == "server":
    memory.prepare_server()
import torch

def multiply(lengths):
    for length in lengths:
        torch.ones(length, 64, dtype=torch.bfloat16) @ torch.ones(64, 96, dtype=torch.bfloat16)
    memory.give_back()
    return memory.system.resident()

before = multiply(range(1, 20))
print(multiply(range(100, 300)) - before)
"""


@pytest.mark.skipif(system._trim() is None, reason="another C library")
def test_captions_of_many_lengths_leave_little_behind() -> None:
    """A server that trained CLIP4Clip for a minute kept 600 MB: code that oneDNN had made for each length."""
    kept = {
        who: int(subprocess.check_output([sys.executable, "-c", SHAPES, who], cwd=ROOT))
        for who in ("library", "server")
    }
    if kept["library"] < 40 << 20:
        pytest.skip("this processor's products need no code for each shape")
    assert kept["server"] < 0.3 * kept["library"]
