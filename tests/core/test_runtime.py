"""`core.runtime`: one load under concurrent first calls, budgets, failures, turns, the ZeroGPU seam."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import memory, runtime
from core.errors import Refusal

SOON = 300.0  # seconds that a test waits at most for something that happens at once


class Model:
    """Stands for weights: a name and a size."""

    def __init__(self, name: str, nbytes: int = 0) -> None:
        self.name = name
        self.nbytes = nbytes


def size(model: Model) -> int:
    return model.nbytes


def touch(pool: runtime.Pool, name: str, nbytes: int = 1) -> Model:
    """Uses a model once."""
    with pool.use(name, lambda: Model(name, nbytes), size_bytes=size) as model:
        return model


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> Iterator[None]:
    """The pool collects garbage when it drops a model; what other tests left would be searched every time."""
    gc.freeze()
    yield
    gc.unfreeze()


def features(nbytes: int) -> runtime.ByteCache[Any]:
    """A cache that keeps so many bytes."""
    return runtime.ByteCache(memory.Budget(nbytes * memory.FEATURE_SHARE))


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Runs `work(i)` in `count` threads that start at once; their results or exceptions, by number."""
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count

    def one(i: int) -> None:
        barrier.wait(SOON)
        try:
            results[i] = work(i)
        except BaseException as error:
            results[i] = error

    workers = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(SOON)
        assert not worker.is_alive()
    return results


def waiting(pool: runtime.Pool, key: str, users: int) -> None:
    """Returns once `users` callers hold or wait for a model."""
    end = time.monotonic() + SOON
    while pool._entries[key].users < users:
        assert time.monotonic() < end
        time.sleep(0.001)


# --- pool --------------------------------------------------------------------------------------------------


def test_concurrent_first_calls_load_once() -> None:
    pool = runtime.Pool(memory.Budget(100))
    loads: list[int] = []

    def work(i: int) -> Model:
        def load() -> Model:
            loads.append(i)
            waiting(pool, "clip", 8)
            return Model("clip")

        with pool.use("clip", load) as model:
            return model

    models = together(8, work)
    assert len(loads) == 1
    assert len(set(map(id, models))) == 1
    assert pool._entries["clip"].users == 0


def test_different_models_load_side_by_side() -> None:
    pool = runtime.Pool(memory.Budget(100))
    both = threading.Barrier(2)

    def work(i: int) -> str:
        def load() -> Model:
            both.wait(SOON)  # passes only when the other load runs meanwhile
            return Model(str(i))

        with pool.use(i, load) as model:
            return model.name

    assert together(2, work) == ["0", "1"]


def test_a_load_may_use_the_pool() -> None:
    pool = runtime.Pool(memory.Budget(100))

    def head() -> Model:
        with pool.use("tower", lambda: Model("tower")) as tower:
            return Model(f"head on {tower.name}")

    with pool.use("head", head) as model:
        assert model.name == "head on tower"
    assert list(pool.contents()) == ["head", "tower"]


def test_a_failed_load_refuses_all_who_wait_and_leaves_nothing() -> None:
    pool = runtime.Pool(memory.Budget(100))
    attempts: list[int] = []

    def work(i: int) -> None:
        def load() -> Model:
            attempts.append(i)
            waiting(pool, "clip", 4)
            raise Refusal("bad_setting", name="x", value="y")

        with pool.use("clip", load):
            raise AssertionError("not reached")

    errors = together(4, work)
    assert len(attempts) == 1
    assert len(set(map(id, errors))) == 4
    assert {(e.code, str(e.params)) for e in errors} == {("bad_setting", "{'name': 'x', 'value': 'y'}")}
    assert pool.contents() == {}
    assert touch(pool, "clip").name == "clip"


def test_an_unexpected_failure_reaches_all_who_wait() -> None:
    pool = runtime.Pool(memory.Budget(100))

    def work(i: int) -> None:
        def load() -> Model:
            waiting(pool, "clip", 3)
            raise KeyError("visual.proj")

        with pool.use("clip", load):
            raise AssertionError("not reached")

    errors = together(3, work)
    assert sorted(type(e).__name__ for e in errors) == ["KeyError", "RuntimeError", "RuntimeError"]
    assert all("visual.proj" in str(e) for e in errors)


@pytest.mark.parametrize("stop", [Refusal("cancelled"), KeyboardInterrupt(), GeneratorExit()])
def test_when_the_loading_caller_is_stopped_another_loads(stop: BaseException) -> None:
    pool = runtime.Pool(memory.Budget(100))
    attempts: list[int] = []

    def work(i: int) -> Model:
        def load() -> Model:
            attempts.append(i)
            if len(attempts) == 1:
                waiting(pool, "clip", 3)
                raise stop
            return Model("clip")

        with pool.use("clip", load) as model:
            return model

    results = together(3, work)
    assert results[attempts[0]] is stop
    others = [r for i, r in enumerate(results) if i != attempts[0]]
    assert others[0] is others[1] and others[0].name == "clip"
    assert len(attempts) == 2


def test_a_size_that_cannot_be_told_is_a_failed_load() -> None:
    pool = runtime.Pool(memory.Budget(100))
    with pytest.raises(AttributeError), pool.use("clip", object, size_bytes=lambda m: m.nbytes):
        raise AssertionError("not reached")
    assert pool.contents() == {}


def test_least_recently_used_models_go() -> None:
    pool = runtime.Pool(memory.Budget(10))
    for name in "abc":
        touch(pool, name, 3)
    touch(pool, "a", 3)
    touch(pool, "d", 3)
    assert pool.contents() == {"c": 3, "a": 3, "d": 3}
    touch(pool, "e", 9)
    assert pool.contents() == {"e": 9}


def test_a_model_larger_than_the_budget_stays_until_another_comes() -> None:
    pool = runtime.Pool(memory.Budget(10))
    first = touch(pool, "giant", 50)
    assert touch(pool, "giant", 50) is first
    touch(pool, "small", 1)
    assert pool.contents() == {"small": 1}


def test_a_model_in_use_is_never_evicted() -> None:
    pool = runtime.Pool(memory.Budget(10))
    with pool.use("a", lambda: Model("a", 8), size_bytes=size) as a:
        with pool.use("b", lambda: Model("b", 8), size_bytes=size):
            assert pool.contents() == {"a": 8, "b": 8}
            assert touch(pool, "a", 8) is a
            assert pool.drop_idle() == 0
        # b is idle and was used before a.
        assert pool.contents() == {"a": 8}
    assert pool.contents() == {"a": 8}
    assert pool.drop_idle() == 1
    assert pool.contents() == {}


def test_an_evicted_model_is_freed() -> None:
    import weakref

    pool = runtime.Pool(memory.Budget(10))
    gone = weakref.ref(touch(pool, "a", 8))
    touch(pool, "b", 8)
    assert gone() is None


def test_many_threads_on_a_small_budget() -> None:
    pool = runtime.Pool(memory.Budget(5))
    loaded: list[str] = []

    def work(i: int) -> int:
        for step in range(8):
            name = "abcdefg"[(i * 5 + step * 3) % 7]

            def load(name: str = name) -> Model:
                loaded.append(name)
                return Model(name, 2)

            with pool.use(name, load, size_bytes=size) as model:
                assert model.name == name
                assert name in pool.contents()
        return i

    assert together(6, work) == list(range(6))
    assert sum(pool.contents().values()) <= 5
    assert all(entry.users == 0 for entry in pool._entries.values())


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_out_of_memory_drops_the_idle_and_tries_once_more(error: Exception) -> None:
    pool = runtime.Pool(memory.Budget(100))
    touch(pool, "idle")
    attempts: list[dict[Any, int]] = []

    def load_later() -> Model:
        attempts.append(pool.contents())
        if len(attempts) == 1:
            raise error
        return Model("clip")

    with pool.use("clip", load_later) as model:
        assert model.name == "clip"
    assert attempts == [{"idle": 1}, {}]

    def load_never() -> Model:
        attempts.append({})
        raise error

    attempts.clear()
    with pytest.raises(Refusal) as caught, pool.use(("clip-vit-l14", "cpu"), load_never):
        raise AssertionError("not reached")
    assert (caught.value.code, caught.value.params) == ("out_of_memory", {"model": "clip-vit-l14"})
    assert len(attempts) == 2
    assert ("clip-vit-l14", "cpu") not in pool.contents()


def test_torch_says_out_of_memory_in_words_we_know() -> None:
    torch = pytest.importorskip("torch")
    pool = runtime.Pool(memory.Budget(100))
    touch(pool, "idle")
    with (
        pytest.raises(Refusal) as caught,
        pool.use("clip", lambda: Model("clip")) as model,
    ):
        torch.empty(1 << 60, dtype=torch.uint8)
    assert (caught.value.code, caught.value.params) == ("out_of_memory", {"model": "clip"})
    assert pool.contents() == {"clip": 0} and model.name == "clip"
    assert runtime.is_out_of_memory(torch.OutOfMemoryError("x out of memory"))


def test_other_errors_pass_unchanged() -> None:
    pool = runtime.Pool(memory.Budget(100))
    with pytest.raises(ZeroDivisionError), pool.use("clip", lambda: Model("clip")):
        raise ZeroDivisionError
    assert not runtime.is_out_of_memory(ValueError("out of memory"))
    assert not runtime.is_out_of_memory(OSError(28, "No space left on device"))
    assert pool._entries["clip"].users == 0


def test_the_budget_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIP_ATLAS_MODEL_MEMORY", "0.5")
    assert memory.model_memory() == 1 << 29
    for wrong in ("half", "-1", "nan", "inf", "0"):
        monkeypatch.setenv("CLIP_ATLAS_MODEL_MEMORY", wrong)
        pool = runtime.Pool(memory.Budget())
        with pytest.raises(Refusal, match="CLIP_ATLAS_MODEL_MEMORY"), pool.use("clip", lambda: Model("clip")):
            raise AssertionError("not reached")
    monkeypatch.delenv("CLIP_ATLAS_MODEL_MEMORY")
    machine, available = memory.machine_memory(), runtime.available_memory()
    assert machine is not None and available is not None and machine > available > 64 << 20
    assert memory.model_memory() == machine // 8
    monkeypatch.setattr(memory.system, "machine_memory", lambda: None)
    assert memory.model_memory() == 1 << 30  # of 8 GiB where the system does not say


# --- cache, turns, stops, times ----------------------------------------------------------------------------


def test_byte_cache_forgets_the_least_recently_used() -> None:
    cache: runtime.ByteCache[str] = features(10)
    for key in "abc":
        cache.put(key, key.upper(), 3)
    assert cache.get("a") == "A"
    cache.put("d", "D", 4)
    assert [cache.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    assert (cache.nbytes, len(cache)) == (10, 3)
    cache.put("a", "again", 1)
    assert (cache.get("a"), cache.nbytes) == ("again", 8)
    cache.put("huge", "x", 11)
    assert cache.get("huge") is None and len(cache) == 3
    cache.put("a", "too large now", 11)
    assert cache.get("a") is None and cache.nbytes == 7
    cache.clear()
    assert (cache.nbytes, len(cache), cache.get("d")) == (0, 0, None)


def test_byte_cache_makes_what_is_missing() -> None:
    cache: runtime.ByteCache[np.ndarray] = features(100)
    made = cache.get_or("x", lambda: np.zeros(5, np.float32))
    assert cache.nbytes == 20
    assert cache.get_or("x", lambda: np.ones(5, np.float32)) is made
    words: runtime.ByteCache[str] = features(100)
    assert words.get_or("y", lambda: "text", nbytes=len) == "text" and words.nbytes == 4


def test_byte_cache_counts_right_under_threads() -> None:
    cache: runtime.ByteCache[int] = features(50)

    def work(i: int) -> None:
        for step in range(500):
            key = (i * 7 + step) % 40
            cache.put(key, key, key % 5 + 1)
            assert cache.get(key) in (key, None)

    assert together(6, work) == [None] * 6
    assert cache.nbytes == cache.budget.nbytes <= 50


def test_one_at_a_time_on_a_device() -> None:
    assert runtime.semaphore("test:0") is runtime.semaphore("test:0")
    assert runtime.semaphore("test:0") is not runtime.semaphore("test:1")
    inside = 0
    most = 0

    def work(i: int) -> None:
        nonlocal inside, most
        for _ in range(20):
            with runtime.semaphore("test:0"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0002)
                inside -= 1

    assert together(6, work) == [None] * 6
    assert most == 1


def test_turns_are_given_in_the_order_of_asking() -> None:
    turns = runtime.Turns()
    order: list[int] = []

    def work(i: int) -> None:
        with turns:
            order.append(i)

    turns.acquire()
    workers = []
    for i in range(5):
        workers.append(threading.Thread(target=work, args=(i,)))
        workers[-1].start()
        end = time.monotonic() + SOON
        while len(turns._waiting) <= i:
            assert time.monotonic() < end
            time.sleep(0.001)
    turns.release()
    # A job that comes straight back stands behind those who wait.
    with turns:
        order.append(99)
    for worker in workers:
        worker.join(SOON)
    assert order == [0, 1, 2, 3, 4, 99]
    with pytest.raises(ZeroDivisionError), turns:
        raise ZeroDivisionError
    with turns:
        pass


def test_a_module_that_puts_another_in_its_place_is_whole_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "changeling.py").write_text(
        "import sys, time, types\ntime.sleep(0.2)\nother = types.ModuleType(__name__)\n"
        "other.thing = 7\nsys.modules[__name__] = other\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "changeling", raising=False)
    assert together(4, lambda _: runtime.import_whole("changeling").thing) == [7] * 4


def test_cancel() -> None:
    cancel = runtime.Cancel()
    cancel.check()
    copy = pickle.loads(pickle.dumps(cancel))
    cancel.set()
    assert cancel.is_set() and not copy.is_set()
    assert pickle.loads(pickle.dumps(cancel)).is_set()
    with pytest.raises(Refusal) as caught:
        cancel.check()
    assert caught.value.code == "cancelled"


def test_stopwatch_adds_up_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.25, 1.0, 1.5, 2.0, 2.0])
    monkeypatch.setattr(runtime, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    watch = runtime.Stopwatch()
    for _ in range(2):
        with watch.span("encode_image"):
            pass
    with pytest.raises(ValueError), watch.span("encode_text"):
        raise ValueError
    assert watch.ms == {"encode_image": 750.0, "encode_text": 0.0}


# --- where -------------------------------------------------------------------------------------------------


def test_device_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLIP_ATLAS_DEVICE", raising=False)
    monkeypatch.setattr(runtime, "devices", lambda: ("cuda", "cuda:1", "cpu"))
    assert runtime.pick_device() == "cuda"
    assert runtime.pick_device("cuda:0") == "cuda"
    assert runtime.pick_device("cuda:1") == "cuda:1"
    assert runtime.pick_device("cpu") == "cpu"
    monkeypatch.setenv("CLIP_ATLAS_DEVICE", " cpu ")
    assert runtime.pick_device("cuda") == "cpu"
    for wrong in ("mps", "cuda:2", "gpu"):
        monkeypatch.setenv("CLIP_ATLAS_DEVICE", wrong)
        with pytest.raises(Refusal) as caught:
            runtime.pick_device()
        assert caught.value.code == "no_such_device"
        assert caught.value.params == {"device": wrong, "known": "cuda, cuda:1, cpu"}


def test_this_machine() -> None:
    torch = pytest.importorskip("torch")
    assert runtime.devices()[-1] == "cpu"
    assert ("cuda" in runtime.devices()) == torch.cuda.is_available()
    assert runtime.pick_dtype("cpu") in (torch.float32, torch.bfloat16)
    assert runtime.pick_dtype("mps") == torch.float32
    assert runtime.threads() >= 1
    assert torch.get_num_threads() >= 1


def test_bf16_only_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    for faster, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(runtime, "_bf16_is_faster", lambda faster=faster: faster)
        assert runtime.pick_dtype("cpu") == dtype


def test_threads_follow_the_share_of_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(48)), raising=False)
    for line, count in (
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("max 100000", 48),
        ("", 48),
        ("1 100000", 1),
    ):
        monkeypatch.setattr(runtime, "first_line", lambda _, line=line: line)
        assert runtime.threads() == count
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert runtime.threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert runtime.threads() == 1


def test_torch_is_held_to_that_share(monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = types.SimpleNamespace(count=48)
    fake.get_num_threads = lambda: fake.count
    fake.set_num_threads = lambda count: setattr(fake, "count", count)
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert (
        runtime.pick_device("cpu") == "cpu" and fake.count == 48
    )  # the user's own setting is torch's business
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(runtime, "threads", lambda: 2)
    assert runtime.pick_device("cpu") == "cpu" and fake.count == 2
    assert runtime.system_line("cpu") == "CPU, 2 threads, fp32"
    assert runtime.system_line("cpu", "bf16", "zh") == "CPU，2 线程，bf16"
    fake.count = 1
    assert runtime.system_line("cpu") == "CPU, 1 thread, fp32"
    assert runtime.system_line("cuda:1") == "CUDA:1, fp32"


COUNTS = """
import threading, torch
from core import runtime

def count(work=torch.get_num_threads):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    thread.join()
    return answers[0]

def line():
    return runtime.system_line("cpu")

before = torch.get_num_threads(), count(), count(line)
print(*before)
with runtime.one_thread():
    print(torch.get_num_threads(), count())
    with runtime.one_thread():
        pass
    print(torch.get_num_threads())
{use}
print((torch.get_num_threads(), count(), count(line)) == before)
"""
USES = {
    "an exception": """
try:
    with runtime.one_thread():
        1 / 0
except ZeroDivisionError:
    pass
""",
    "a live training": """
from core.classroom.recipes.clip import live
from core.classroom.world.concepts import concepts
ticks = iter(range(10**6))
lesson = live.Lesson(live.LiveSettings((0, 1, 2), minutes=0.05, batch=16, exam=1))
count(lambda: list(lesson.run(clock=lambda: next(ticks) / 5)))
""",
    "composed scenes": """
from core.classroom.world.scenes import compose
count(lambda: compose(0, 64, size=48))
""",
    "a drawing": """
from core.drawing.rasterize import render
def draw():
    points = torch.rand(1, 3, 4, 2, requires_grad=True)
    render(points, torch.ones(1, 3), torch.ones(1, 3, 4), (8, 8), backend="torch").sum().backward()
count(draw)
""",
}


@pytest.mark.parametrize("use", USES)
def test_nothing_that_a_page_runs_changes_how_many_threads_torch_uses(use: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", COUNTS.format(use=USES[use])],
        # Passive: on a busy machine threads that wait for each other would keep a core from those that work.
        env={**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    if lines[0].startswith("1 "):
        pytest.skip("this machine has one core")
    inside = 1 if runtime._openmp() else 2
    assert lines == ["2 2 CPU, 2 threads, fp32", f"{inside} 2", f"{inside}", "True"]


def test_only_the_start_says_how_many_threads_torch_uses() -> None:
    root = Path(__file__).parents[2]
    setters = {
        file.relative_to(root).as_posix()
        for folder in ("core", "demos")
        for file in (root / folder).rglob("*.py")
        if "torch.set_num_threads(" in file.read_text("utf-8")
    }
    # The first choice of a device, and an option of the command that trains.
    assert setters == {"core/runtime.py", "core/classroom/__main__.py"}


def test_spaces_are_told_by_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SYSTEM", "SPACE_ID", "SPACES_ZERO_GPU"):
        monkeypatch.delenv(name, raising=False)
    assert not runtime.on_space() and not runtime.zero_gpu()
    monkeypatch.setenv("SPACE_ID", "someone/atlas")
    assert runtime.on_space()
    for value, there in (("true", True), ("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("SPACES_ZERO_GPU", value)
        assert runtime.zero_gpu() is there


# --- the ZeroGPU seam --------------------------------------------------------------------------------------


def test_elsewhere_the_seam_is_the_function_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    monkeypatch.setitem(sys.modules, "spaces", None)  # importing it would fail

    def work() -> None: ...

    assert runtime.on_device(work) is work


@pytest.fixture
def zero_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for `spaces` that does what its worker does: pickles both ways, hides exceptions."""

    def gpu(task: Callable[..., Any]) -> Callable[..., Any]:
        def hidden(error: Exception) -> RuntimeError:
            return RuntimeError(f"GPU task failed: {type(error).__name__}")

        def regular(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = pickle.loads(pickle.dumps((args, kwargs)))
            try:
                result = task(*args, **kwargs)
            except Exception as error:
                raise hidden(error) from None
            return pickle.loads(pickle.dumps(result))

        def generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
            args, kwargs = pickle.loads(pickle.dumps((args, kwargs)))
            try:
                for item in task(*args, **kwargs):
                    yield pickle.loads(pickle.dumps(item))
            except Exception as error:
                raise hidden(error) from None

        return generator if task.__code__.co_flags & 0x20 else regular

    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", types.SimpleNamespace(GPU=gpu))


@pytest.mark.usefixtures("zero_gpu")
def test_results_and_refusals_come_back_from_the_worker() -> None:
    @runtime.on_device
    def classify(cancel: runtime.Cancel, n: int, *, scale: float = 1.0) -> float:
        """Doubles."""
        cancel.check()
        return 2 * n * scale

    assert classify(runtime.Cancel(), 3, scale=0.5) == 3.0
    assert classify.__name__ == "classify" and classify.__doc__ == "Doubles."
    with pytest.raises(Refusal) as caught:
        classify(runtime.Cancel(stopped=True), 3)
    assert caught.value.code == "cancelled"
    with pytest.raises(RuntimeError, match="TypeError"):
        classify(runtime.Cancel(), None)


@pytest.mark.usefixtures("zero_gpu")
def test_generators_come_back_step_by_step_and_can_be_closed() -> None:
    ended: list[str] = []

    @runtime.on_device
    def sketch(steps: int) -> Iterator[int]:
        try:
            for i in range(steps):
                if i == 3:
                    raise Refusal("bad_setting", name="steps", value="3")
                yield i
        finally:
            ended.append("ended")

    assert list(sketch(2)) == [0, 1]
    seen = []
    with pytest.raises(Refusal, match="steps"):
        for item in sketch(9):
            seen.append(item)
    assert seen == [0, 1, 2]
    frames: Any = sketch(3)
    assert next(frames) == 0
    frames.close()
    assert ended == ["ended"] * 3


def counting(closed: list[str]) -> Generator[int, None, str]:
    """Steps 1 and 2, then "done"; writes down that it was closed early."""
    try:
        yield 1
        yield 2
    except GeneratorExit:
        closed.append("closed")
        raise
    return "done"


def test_a_job_is_finished_and_its_steps_are_reported() -> None:
    steps: list[int] = []
    assert runtime.finish(counting([])) == "done"
    assert runtime.finish(counting([]), steps.append) == "done"
    assert steps == [1, 2]


def test_a_report_that_raises_closes_the_job() -> None:
    def refuse(step: int) -> None:
        raise Refusal("cancelled")

    closed: list[str] = []
    with pytest.raises(Refusal):
        runtime.finish(counting(closed), refuse)
    assert closed == ["closed"]


def test_steps_are_relayed_changed_and_closed() -> None:
    closed: list[str] = []
    job = runtime.relay(counting(closed), lambda step: f"step {step}")
    texts: list[str] = []
    assert runtime.finish(job, texts.append) == "done"
    assert texts == ["step 1", "step 2"] and not closed
    job = runtime.relay(counting(closed), str)
    next(job)
    job.close()
    assert closed == ["closed"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_worker_gets_open_locks() -> None:
    cache: runtime.ByteCache[int] = features(10)
    pool = runtime.Pool(memory.Budget(10))
    kept = touch(pool, "ready")
    turns = runtime.semaphore("test:fork")
    loading, proceed = threading.Event(), threading.Event()

    def slow() -> Model:
        loading.set()
        proceed.wait(SOON)
        return Model("slow")

    other = threading.Thread(target=lambda: pool.use("slow", slow).__enter__())
    other.start()
    assert loading.wait(SOON)
    with cache.budget.lock, pool.budget.lock, turns, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # forking with threads around is what is tested
        child = os.fork()
        if child == 0:
            try:
                cache.put("a", 1, 1)
                with runtime.semaphore("test:fork"), pool.use("slow", lambda: Model("own")) as model:
                    fine = model.name == "own" and touch(pool, "ready") is kept
                os._exit(0 if fine else 1)
            finally:
                os._exit(2)
    end = time.monotonic() + SOON
    status = (0, 0)
    while status[0] == 0 and time.monotonic() < end:
        status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.005)
    proceed.set()
    other.join(SOON)
    if status[0] == 0:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert status == (child, 0)
