"""Tiny rows of CLIP4Clip and ActionCLIP on a tiny CLIP, made in milliseconds, known to this process alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from core import checkpoints
from core.checkpoints import Checkpoint, File, bytewise, registry
from tests import tiny

BASE = "tiny-video-clip"
WIDTH, CONTEXT = 16, 12  # of tiny.make_bundle
SIZES: dict[str, Any] = {"layers": 1, "heads": 2, "frames": 4}


def base(folder: Path) -> Checkpoint:
    """The CLIP below all of them."""
    tiny.make_bundle(folder)
    model = checkpoints.row("classroom-rn")
    files = tuple(File(file.path) for file in model.files)  # without the digests of the real ones
    row = replace(model, name=BASE, bundled=str(folder), files=files, requires={}, options={})
    registry.add(row)
    return row


def filled(module: nn.Module) -> dict[str, Tensor]:
    """Tensors of a module that are far from what it starts with."""
    torch.manual_seed(1)
    return {name: 0.3 * torch.randn_like(t) for name, t in module.state_dict().items()}


def add(name: str, paper: str, folder: Path, loader: str, state: dict[str, Tensor], **options: Any) -> str:
    """A bundled row of a paper that requires the tiny CLIP; its tensors are stored as a miniature's."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(bytewise.packed(state), folder / "model.safetensors")
    row = replace(
        checkpoints.row("classroom-rn"),
        name=name,
        paper=paper,
        loader=loader,
        bundled=str(folder),
        files=(File("model.safetensors"),),
        requires={BASE: ""},
        options={**SIZES, **options},
    )
    registry.add(row)
    return name
