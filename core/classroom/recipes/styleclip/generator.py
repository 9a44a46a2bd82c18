"""Train the miniature generator: StyleGAN2's network in small, with an encoder beside it.

    python -m core.classroom train styleclip-generator --minutes 25

A StyleGAN2 learns from images alone, against a network that tells its images from real ones, for days on several GPUs. The
classroom knows what is in every image, so that here z is given: the sum of one fixed vector for the thing, its style, the
ground and the rendering. The generator learns by plain regression to make the image of each z, in minutes. What follows from z,
the mapping network, W, W+ and StyleSpace, is StyleGAN2's own. Every thing is in the middle and of one size, as photographs are
aligned for the published generators.

The encoder learns in the same steps, from the same images, which latents make them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from core.classroom.recipes.common.export import shipped
from core.classroom.recipes.common.miniature import WEIGHTS
from core.classroom.recipes.common.running import SEED, Run, fast_arithmetic, move_mean
from core.classroom.recipes.styleclip import scenes
from core.classroom.world.atlas import Atlas, open_atlas
from core.editing.inversion import Encoder
from core.editing.stylegan2 import Architecture, Generator

ARCHITECTURE: dict[str, Any] = {
    "size": scenes.SIZE, "width": 96, "depth": 3, "rate": 0.1, "channels": {4: 128, 8: 96, 16: 64, 32: 40},
}  # fmt: skip
BATCH = 64
RATE, ENCODER_RATE = 0.02, 1.5e-3
NEAR, SAME, ADDED = 1.0, 0.1, 0.01  # weights: image of the encoder's latent, its w, what it adds in layers
MEAN = 0.998  # of the weights that are exported
CODED = {"thing": scenes.THINGS, "style": scenes.STYLES, "ground": scenes.GROUNDS, "rendering": scenes.DRAWN}


def codes(width: int, seed: int = 0) -> Tensor:
    """[K, D] the vectors that z is the sum of, one for each value of every factor of CODED; at right angles if they fit."""
    count = sum(map(len, CODED.values()))
    g = torch.Generator().manual_seed(seed)
    drawn = torch.randn(max(count, width), width, generator=g)
    if count <= width:
        drawn = torch.linalg.qr(drawn)[0] * width**0.5
    return drawn[:count]


def latent(states: scenes.States, table: Tensor) -> Tensor:
    """z [B, D] of states."""
    total, start = torch.zeros(len(states), table.shape[1]), 0
    for name, values in CODED.items():
        total = total + table[start + getattr(states, name)]
        start += len(values)
    return total


@dataclass
class Settings:
    """One training run."""

    minutes: float = 25.0
    device: str = "cpu"
    out: Path = Path("runs/styleclip-generator")
    batch: int = BATCH
    seed: int = 0
    steps: int | None = None
    log_every: int = 100
    rate: float = RATE
    architecture: dict[str, Any] | None = None


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        super().__init__(s, s.device)
        self.atlas = atlas or open_atlas()
        self.config = s.architecture or ARCHITECTURE
        shape = Architecture(**self.config)
        network = nn.ModuleDict(
            {"generator": Generator(shape), "encoder": Encoder(shape.size, shape.width, shape.latents)}
        ).to(self.device)
        self.parts = nn.ModuleDict({"network": network, "mean": copy.deepcopy(network).requires_grad_(False)})
        self.learner = self.parts
        self.table = codes(shape.width)
        self.optimizer = torch.optim.Adam(
            [
                {"params": list(network["generator"].parameters()), "peak": s.rate},
                {"params": list(network["encoder"].parameters()), "peak": ENCODER_RATE},
            ],
            lr=s.rate,
            betas=(0.9, 0.99),
        )
        self.resume(self.device)

    def train_step(self) -> dict[str, float]:
        """One step on new images: from their codes, and from what the encoder sees in them."""
        self.schedule()
        count = self.settings.batch
        drawn = scenes.states(count, SEED + (self.settings.seed << 28) + self.step, aligned=True)
        real = (scenes.draw(drawn, self.atlas, self.config["size"]) * 2 - 1).to(self.device)
        network: Any = self.parts["network"]
        generator, encoder = network["generator"], network["encoder"]
        with fast_arithmetic(self.device):
            w = generator.map(latent(drawn, self.table).to(self.device))
            one, added = encoder.parts(real)
            both = torch.cat([generator.widen(w), one[:, None] + added])
            made, again = generator(both).float().chunk(2)
        error, found = F.mse_loss(made, real), F.mse_loss(again, real)
        same = F.mse_loss(one.float(), w.detach().float())
        loss = error + NEAR * found + SAME * same + ADDED * added.float().square().mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        self.optimizer.step()
        move_mean(self.parts["mean"], network, self.step, MEAN)
        return {
            "loss": float(error.detach()), "inverted": float(found.detach()), "w": float(same.detach()), "batch": float(count)
        }  # fmt: skip

    def export(self, say: Callable[[str], None] = print) -> Path:
        """The mean weights in half precision, the codes and the mean w, the configuration, and how it came about."""
        folder = self.out / "generator"
        folder.mkdir(parents=True, exist_ok=True)
        mean: Any = self.parts["mean"]
        state = {
            f"{part}.{k}": shipped(v)
            for part in ("generator", "encoder")
            for k, v in mean[part].state_dict().items()
        }
        state["codes"] = shipped(self.table)
        every = scenes.states(4096, 1, aligned=True)
        with torch.no_grad():
            w = mean["generator"].map(latent(every, self.table).to(self.device))
        state["latent_avg"] = shipped(w.mean(0))
        save_file(state, folder / WEIGHTS)
        config = {**self.config, "coded": {name: list(values) for name, values in CODED.items()}}
        (folder / "config.json").write_text(
            json.dumps(config, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
        note = {
            **self.origin("styleclip-generator"),
            **self.spent(),
            "seed": self.settings.seed,
        }
        self.write_note(folder, note)
        return folder
