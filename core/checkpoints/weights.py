"""Weight files read without running anything that is in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Refusal

if TYPE_CHECKING:
    from torch import Tensor


def load_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file, or from a torch file that holds nothing but tensors.

    Raises:
        Refusal: "unsafe_weights" for a file that would run code or holds other objects, "corrupt_weights" for
            one that cannot be read.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(9)
        # safetensors: the length of the header in 8 bytes, then the header, a JSON object.
        if start[8:] == b"{":
            return load_file(path)
        if not start.startswith((b"PK", b"\x80")):
            raise Refusal("corrupt_weights", file=path.name)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise Refusal("unsafe_weights", file=path.name) from error
    except (OSError, EOFError, ValueError, RuntimeError, SafetensorError) as error:
        code = "unsafe_weights" if "TorchScript" in str(error) else "corrupt_weights"
        raise Refusal(code, file=path.name) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise Refusal("unsafe_weights", file=path.name)
    return dict(state)
