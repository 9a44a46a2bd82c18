"""One budget of memory for everything that could be loaded or computed again: models and features.

All of them together keep `model_memory()` bytes: CLIP_ATLAS_MODEL_MEMORY in GiB, without it an eighth of the machine's
memory. What was not used for the longest time goes first, and what is freed goes back to the system.

    system    how much memory there is, and how it is given back
    budget    who goes first
    pool      loaded models (`Pool`) and computed features (`ByteCache`), reached through `core.runtime`
"""

from core.memory.budget import BUDGET, FEATURE_SHARE, Budget
from core.memory.pool import ByteCache, Pool
from core.memory.system import (
    available_memory,
    first_line,
    give_back,
    is_out_of_memory,
    machine_memory,
    model_memory,
    prepare_server,
    relieve,
    watch,
)

__all__ = [
    "BUDGET",
    "FEATURE_SHARE",
    "Budget",
    "ByteCache",
    "Pool",
    "available_memory",
    "first_line",
    "give_back",
    "is_out_of_memory",
    "machine_memory",
    "model_memory",
    "prepare_server",
    "relieve",
    "watch",
]
