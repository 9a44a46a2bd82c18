"""Main memory: how much there is and is used, what is said when it runs out, and how it goes back to the system.

CLIP_ATLAS_MODEL_MEMORY is the number of GiB that models and features may keep.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import math
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from core.errors import Refusal

UNKNOWN_MEMORY = 8 << 30
MACHINE_SHARE = 8  # models and features may keep this part of the machine's memory
WATCH_SECONDS = 10.0
GROWN = 64 << 20  # bytes by which the process has grown when it is time to give memory back
# glibc makes an arena of memory for each thread, up to eight for each core; what one has freed no other uses.
M_ARENA_MAX, ARENAS = -8, 2
# Of oneDNN: of the process, and of each thread.
PIECES_OF_CODE = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": 64, "LRU_CACHE_CAPACITY": 16}
OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "alloc_failed",
)


def first_line(path: str) -> str:
    """The first line of a file of the system, or "" where there is none."""
    try:
        return Path(path).read_text().splitlines()[0]
    except (OSError, IndexError):
        return ""


def available_memory() -> int | None:
    """Bytes of main memory that this process can still get, or None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        free = [nbytes // 2 for nbytes in _installed()]
    return min([*free, *_allowed()], default=None)


def machine_memory() -> int | None:
    """Bytes of main memory that this machine, or the container, has; None where the system does not say."""
    return min([*_installed(), *_allowed()], default=None)


def _installed() -> list[int]:
    """Bytes of the machine's memory, where the system says it."""
    known = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {})
    return [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if known else []


def _allowed() -> list[int]:
    """Bytes that the container allows, where there is one with a limit."""
    limit = first_line("/sys/fs/cgroup/memory.max")
    return [int(limit)] if limit.isdecimal() else []


def model_memory() -> int:
    """Bytes of the budget: CLIP_ATLAS_MODEL_MEMORY, else an eighth of the machine's memory.

    Raises:
        Refusal: "bad_setting" when the variable is no positive number.
    """
    setting = os.environ.get("CLIP_ATLAS_MODEL_MEMORY", "").strip()
    if not setting:
        return (machine_memory() or UNKNOWN_MEMORY) // MACHINE_SHARE
    try:
        gib = float(setting)
    except ValueError:
        gib = 0.0
    if not 0 < gib < math.inf:
        raise Refusal("bad_setting", name="CLIP_ATLAS_MODEL_MEMORY", value=setting[:40])
    return int(gib * (1 << 30))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the CPU or an accelerator."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in message for words in OUT_OF_MEMORY_WORDS)


def resident() -> int:
    """Bytes of main memory that this process uses now; 0 where the system does not say."""
    pages = first_line("/proc/self/statm").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else 0


_after = [0]  # resident bytes after memory was given back last


@cache
def _trim() -> Callable[[int], int] | None:
    """The C library's function that returns free memory to the system, where it has one."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def give_back(collect: bool = True) -> None:
    """Returns free memory to the system and the accelerator: after evictions and after long jobs.

    Args:
        collect: whether to look for garbage first; models and trainings are full of cycles, features have none.
    """
    if collect:
        gc.collect()
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        cuda.empty_cache()
    trim = _trim()
    if trim is not None:
        trim(0)
    _after[0] = resident()


def relieve() -> None:
    """Gives memory back where the process has grown since the last time."""
    if _trim() is not None and resident() - _after[0] > GROWN:
        give_back()


def watch(stop: threading.Event, seconds: float = WATCH_SECONDS) -> None:
    """Gives memory back whenever the process has grown, until `stop` is set: what a thread of a server does.

    At the end of a job, whoever runs it still holds some of what it made; and answers that are no jobs make a server grow, too.
    """
    while not stop.wait(seconds):
        relieve()


def prepare_server() -> None:
    """Lets a server with many threads use less memory: before it starts them and before torch is imported.

    All threads share a few arenas of malloc. oneDNN, which computes for torch on a CPU, keeps the code that it made for each new
    shape: 1,024 pieces for the process and as many for each thread, where captions of every length make hundreds of shapes.
    What the user set wins.
    """
    for variable, pieces in PIECES_OF_CODE.items():
        os.environ.setdefault(variable, str(pieces))
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
