"""Where models run: device and dtype, the pool of models, turns, stop flags, timings, the ZeroGPU seam.

Environment:

    CLIP_ATLAS_DEVICE          "cpu", "cuda", "cuda:1", "mps": forces the device
    CLIP_ATLAS_MODEL_MEMORY    GiB that loaded models and features may keep (`core.memory`)
    OMP_NUM_THREADS            CPU threads of torch; without it the cores that this process may really use

torch is imported by the functions that need it, never by `import core.runtime`.
"""

from __future__ import annotations

import ctypes
import inspect
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache, wraps
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from core.errors import Refusal
from core.memory import ByteCache, Pool, available_memory, first_line, is_out_of_memory

if TYPE_CHECKING:
    import torch

__all__ = [
    "POOL",
    "ByteCache",
    "Cancel",
    "Pool",
    "Stopwatch",
    "Turns",
    "available_memory",
    "devices",
    "finish",
    "is_out_of_memory",
    "network_bytes",
    "on_device",
    "on_space",
    "one_thread",
    "optional",
    "pick_device",
    "pick_dtype",
    "relay",
    "semaphore",
    "system_line",
    "threads",
    "zero_gpu",
]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")

# bf16 has to win clearly: it costs digits.
BF16_GAIN = 1.3

# The loaded models of this process.
POOL = Pool()


def zero_gpu() -> bool:
    """Whether this process runs on a ZeroGPU Space (the variable is read as `spaces` reads it)."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def on_space() -> bool:
    """Whether this process runs on a Hugging Face Space."""
    return os.environ.get("SYSTEM") == "spaces" or "SPACE_ID" in os.environ


def threads() -> int:
    """CPU threads to compute with: OMP_NUM_THREADS, else the cores that this process may use.

    A container sees every core of its host and may be held to a share of them: on a Space that has two of
    many, a thread for each visible core makes everything slower.
    """
    wished = os.environ.get("OMP_NUM_THREADS", "")
    if wished.isdecimal() and int(wished) > 0:
        return int(wished)
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = first_line("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdecimal():
        cores = min(cores, math.ceil(int(quota[0]) / int(quota[1])))
    return max(cores, 1)


def import_whole(name: str) -> Any:
    """A module once its import is over, whichever thread began it.

    transformers puts another object into its own place while it is imported; a thread that waited for the import of
    another still holds the first one, which lacks its classes.
    """
    import_module(name)
    return sys.modules[name]


def optional(name: str) -> Any:
    """A module of a package that the app itself does not need.

    Raises:
        Refusal: "no_package" where it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name != package:
            raise
        raise Refusal("no_package", package=package) from error


def _torch() -> Any:
    """torch, after `spaces` where that has to patch it first."""
    if zero_gpu():
        import spaces  # noqa: F401
    import torch

    return torch


def _hold_threads() -> int:
    """Keeps torch, once it is loaded, from using more threads than `threads()`; returns how many it uses."""
    torch: Any = sys.modules.get("torch")
    if not hasattr(torch, "set_num_threads"):  # not imported, or being imported by another thread
        return threads()
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > threads():
        torch.set_num_threads(threads())
    return torch.get_num_threads()


@cache
def _openmp() -> Any | None:
    """The OpenMP library that torch computes with, or None where it cannot be reached."""
    torch = _torch()
    for path in sorted((Path(torch.__file__).parent / "lib").glob("lib*omp*")):
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(str(path))
            if library.omp_get_max_threads() == torch.get_num_threads():
                return library
    return None


@contextmanager
def one_thread() -> Iterator[None]:
    """Computes with one core in the calling thread, and in no other.

    For many small operators, and for threads that share the cores among themselves. torch.set_num_threads would not do: the
    count that one thread sets is the count of every thread that begins later.
    """
    torch, openmp = _torch(), _openmp()
    if openmp is None:
        yield
        return
    before = torch.get_num_threads()  # also makes torch set up a new thread, before it is changed here
    openmp.omp_set_num_threads(1)
    try:
        yield
    finally:
        openmp.omp_set_num_threads(before)


@cache
def devices() -> tuple[str, ...]:
    """The devices of this machine, best first; "cpu" is always the last."""
    torch = _torch()
    found = []
    if torch.cuda.is_available():
        found = ["cuda", *(f"cuda:{i}" for i in range(1, torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def pick_device(prefer: str | None = None) -> str:
    """The device to load models on.

    Args:
        prefer: "cuda", "cuda:1", "mps" or "cpu"; None takes the best. CLIP_ATLAS_DEVICE overrules it.

    Raises:
        Refusal: "no_such_device" when the one asked for is not on this machine.
    """
    wished = os.environ.get("CLIP_ATLAS_DEVICE", "").strip() or prefer
    wished = "cuda" if wished == "cuda:0" else wished
    # "cpu" needs no look at the accelerators, which would load torch.
    if wished != "cpu":
        known = devices()
        wished = wished or known[0]
        if wished not in known:
            raise Refusal("no_such_device", device=wished[:40], known=", ".join(known))
    _hold_threads()
    return wished


def pick_dtype(device: str) -> torch.dtype:
    """The fastest safe arithmetic of a device; encoders use float32 unless a caller asks for this.

    CUDA: bf16 from compute capability 8, else fp16. CPU: bf16 where a probe shows that it is faster, never
    fp16, which is far slower there. MPS: fp32.
    """
    torch = _torch()
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
    return torch.bfloat16 if device == "cpu" and _bf16_is_faster() else torch.float32


@cache
def _bf16_is_faster() -> bool:
    """Times a product of two 512 x 512 matrices in both dtypes; milliseconds, once per process."""
    torch = _torch()

    def best(dtype: Any) -> float:
        a = torch.ones(512, 512, dtype=dtype)
        seconds = []
        for _ in range(4):  # the first one builds the kernel
            start = time.perf_counter()
            torch.mm(a, a)
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    return best(torch.float32) > BF16_GAIN * best(torch.bfloat16)


def system_line(device: str | None = None, dtype: str = "fp32", lang: str = "en") -> str:
    """What answers are computed on, for the line under them: "CPU, 2 threads, fp32"."""
    device = device or pick_device()
    if device == "cpu":
        count = _hold_threads()
        parts = ["CPU", f"{count} 线程" if lang == "zh" else f"{count} thread{'s' * (count != 1)}", dtype]
    else:
        parts = ["ZeroGPU" if zero_gpu() else device.upper(), dtype]
    return ("，" if lang == "zh" else ", ").join(parts)


class Turns:
    """A lock that is given in the order of asking.

    A plain lock lets the thread that has just released it take it again, so that one long job of many steps
    could starve every short request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Event] = deque()

    def acquire(self) -> None:
        """Waits for the turn."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def release(self) -> None:
        """Hands the turn to whoever has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


_turns: dict[str, Turns] = {}


def semaphore(device: str) -> Turns:
    """The turn of a device: one model step at a time. Take it per step, not per job."""
    return _turns.setdefault(device, Turns())


class Cancel:
    """A stop flag that a job polls between its steps.

    It pickles as its state: a ZeroGPU worker gets the flag as it was; later stops reach it when its generator
    is closed.
    """

    def __init__(self, stopped: bool = False) -> None:
        self._event = threading.Event()
        if stopped:
            self._event.set()

    def set(self) -> None:
        """Asks the job to stop."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

    def check(self) -> None:
        """Raises Refusal("cancelled") once a stop was asked for."""
        if self._event.is_set():
            raise Refusal("cancelled")

    def __reduce__(self) -> tuple[Any, ...]:
        return Cancel, (self.is_set(),)


class Stopwatch:
    """Milliseconds by step: `with watch.span("encode_image"): ...`, then `watch.ms`."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Adds the time of the context to `ms[name]`, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + 1000 * (time.perf_counter() - start)


class _Refused:
    """A refusal on its way out of a worker: ZeroGPU replaces an exception by the name of its class."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


def finish(steps: Generator[S, None, R], report: Callable[[S], object] = lambda step: None) -> R:
    """Runs a generator to its end, gives each of its steps to `report`, and returns what it returns."""
    with closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            report(step)


def network_bytes(network: torch.nn.Module) -> int:
    """Bytes of a network's weights and buffers."""
    return sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers()))


def relay(steps: Generator[S, None, R], change: Callable[[S], T]) -> Generator[T, None, R]:
    """Yields each step of a generator as `change` makes it, and returns what the generator returns."""
    with closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            yield change(step)


def on_device(function: Callable[P, R]) -> Callable[P, R]:
    """Runs a function or a generator where the accelerator is: itself, except on ZeroGPU.

    There `spaces.GPU` runs it in a forked worker: arguments and results are pickled, and what it does to
    locks, stop flags and caches stays in the worker. Refusals come back as they were raised.
    """
    if not zero_gpu():
        return function
    import spaces

    if inspect.isgeneratorfunction(function):

        def steps(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            try:
                yield from function(*args, **kwargs)
            except Refusal as refusal:
                yield _Refused(refusal)

        worker = spaces.GPU(wraps(function)(steps))

        def outer_steps(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            with closing(worker(*args, **kwargs)) as items:
                for item in items:
                    yield _unwrap(item)

        return wraps(function)(outer_steps)  # type: ignore[return-value]

    def call(*args: P.args, **kwargs: P.kwargs) -> R | _Refused:
        try:
            return function(*args, **kwargs)
        except Refusal as refusal:
            return _Refused(refusal)

    worker = spaces.GPU(wraps(function)(call))
    return wraps(function)(lambda *args, **kwargs: _unwrap(worker(*args, **kwargs)))


def _unwrap(answer: Any) -> Any:
    if isinstance(answer, _Refused):
        raise answer.refusal
    return answer


if hasattr(os, "register_at_fork"):
    # The threads that hold a turn do not exist in a forked worker.
    os.register_at_fork(after_in_child=_turns.clear)
