"""The classroom's row with tiny networks of random weights, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from core.checkpoints import Checkpoint, File, bytewise, registry
from core.editing import rows
from core.editing.editor import ARCHITECTURE, EditorNetwork
from core.editing.inversion import Encoder
from core.editing.pipelines import shape_of
from core.editing.stylegan2 import Generator

BOTH = {"en": "tiny", "zh": "微型"}
UNET: dict[str, Any] = {**ARCHITECTURE, "block_out_channels": [16, 16], "norm_num_groups": 8}
GENERATOR: dict[str, Any] = {
    "size": 32, "width": 96, "depth": 1, "rate": 0.1, "channels": {"4": 16, "8": 8, "16": 8, "32": 8}
}  # fmt: skip
FACTORS = {
    "thing": ["dog", "cat", "car"],
    "style": ["noto"],
    "ground": ["white", "red"],
    "rendering": ["colour", "sketch"],
}


def tensors() -> dict[str, torch.Tensor]:
    """What the row's file holds."""
    torch.manual_seed(0)
    generator = Generator(shape_of(GENERATOR))
    shape = generator.architecture
    measured = sum(w for i, w in enumerate(generator.style_widths) if i not in generator.to_rgb)
    parts = {
        "unet": EditorNetwork(UNET).unet,
        "generator": generator,
        "encoder": Encoder(shape.size, shape.width, shape.latents),
    }
    state = {f"{part}.{name}": t for part, net in parts.items() for name, t in net.state_dict().items()}
    state = {name: t for name, t in state.items() if not name.endswith(".kernel")}
    state["codes"] = torch.randn(sum(map(len, FACTORS.values())), shape.width)
    state["latent_avg"] = torch.zeros(shape.width)
    state["relevance"] = F.normalize(torch.randn(measured, 192), dim=-1)
    return state


def miniature(folder: Path, name: str = "tiny-classroom") -> str:
    """Writes the row's files into a folder and makes it a row of this process; returns its name."""
    save_file(bytewise.packed(tensors()), folder / "model.safetensors")
    config = {"unet": UNET, "generator": GENERATOR, "factors": FACTORS}
    (folder / rows.CONFIG).write_text(json.dumps(config))
    registry.add(
        Checkpoint(name, "styleclip", BOTH, rows.CLASSROOM, (File("model.safetensors"), File(rows.CONFIG)), 1, "none", BOTH,
                   "none", ("en", "zh"), "softmax", BOTH, BOTH, bundled=str(folder), requires={"classroom-rn": ""})
    )  # fmt: skip
    return name
