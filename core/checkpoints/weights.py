"""Weight files read without running anything that is in them."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.checkpoints import bytewise
from core.errors import Refusal
from core.runtime import is_out_of_memory

if TYPE_CHECKING:
    from torch import Tensor


class Inert:
    """Stands for an object of another library inside a weight file: takes whatever it is given and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def load_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file, or from a torch file that holds nothing but tensors.

    Matrices of a miniature, which are stored in one byte a number, come back as floats.

    Raises:
        Refusal: "unsafe_weights" for a file that would run code or holds other objects, "corrupt_weights" for
            one that cannot be read.
    """
    state = read(path)
    if not is_state_dict(state):
        raise Refusal("unsafe_weights", file=Path(path).name)
    return bytewise.unpacked(state)


def is_safetensors(path: Path) -> bool:
    """Whether a file is in that form, whatever its name: the length of the header in 8 bytes, then the header, a JSON object."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def is_state_dict(value: Any) -> bool:
    """Whether a value is tensors by name and nothing else."""
    import torch

    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(tensor, torch.Tensor) for key, tensor in value.items()
    )


def read(path: str | Path, inert: Sequence[str] = ()) -> Any:
    """What a safetensors or torch file holds: tensors, numbers, texts and containers of them.

    Args:
        path: the file.
        inert: full names of classes that the file is known to mention; an `Inert` takes the place of each.

    Raises:
        Refusal: "unsafe_weights" for a file that would run code, "corrupt_weights" for one that cannot be read.
        MemoryError: there is no room for the tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    # A class of its own for each name: torch wants them to differ.
    stand_ins: list[Any] = [(type("Inert", (Inert,), {}), name) for name in inert]
    try:
        if is_safetensors(path):
            return load_file(path)
        with path.open("rb") as file:
            start = file.read(2)
        if not start.startswith((b"PK", b"\x80")):
            raise Refusal("corrupt_weights", file=path.name)
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise Refusal("unsafe_weights", file=path.name) from error
    except (OSError, EOFError, ValueError, RuntimeError, SafetensorError) as error:
        # safetensors and torch give the system's word in their own errors: that is no fault of the file.
        if is_out_of_memory(error) or f"os error {errno.ENOMEM}" in str(error):
            raise MemoryError(str(error)) from error
        code = "unsafe_weights" if "TorchScript" in str(error) else "corrupt_weights"
        raise Refusal(code, file=path.name) from error
