"""Train the supervised PointNet of PointCLIP's ensemble on classroom clouds, in minutes on one core.

    python -m core.classroom train pointclip --minutes 8

A few hundred clouds of each class are made once; each step turns them a little about the vertical axis, stretches them and
adds noise. No CLIP takes part, so that the network knows what CLIP does not, and nothing else than its twenty classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from core.classroom.recipes.common.miniature import WEIGHTS
from core.classroom.recipes.common.rows import commit
from core.classroom.recipes.common.running import Run
from core.classroom.world import clouds as world
from core.classroom.world.clouds import CloudSettings
from core.spatial.pointnet import PointNet

SEED = 9_000  # training clouds start here; evaluation seeds are small numbers
POINTS = 256  # of a cloud in a step


@dataclass
class Settings:
    """One training run."""

    minutes: float = 8.0
    device: str = "cpu"
    out: Path = Path("runs/pointclip")
    seed: int = 0
    steps: int | None = None
    clouds: int = 60  # of each class
    batch: int = 32
    rate: float = 2e-3
    log_every: int = 50


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports."""

    def __init__(self, settings: Settings) -> None:
        s = self.settings = settings
        super().__init__(s, s.device)
        made = world.sample(s.clouds, SEED + s.seed, CloudSettings())
        self.points = torch.from_numpy(made.points).to(self.device)
        self.labels = torch.from_numpy(made.labels).to(self.device)
        self.learner = PointNet(len(made.concepts)).to(self.device).train()
        self.optimizer = torch.optim.AdamW(
            [{"params": list(self.learner.parameters()), "peak": s.rate}], lr=s.rate, weight_decay=0.01
        )
        self.resume(self.device)

    def train_step(self) -> dict[str, float]:
        self.schedule()
        chosen = torch.randint(len(self.points), (self.settings.batch,), device=self.device)
        logits = self.learner(changed(self.points[chosen]))
        loss = F.cross_entropy(logits, self.labels[chosen], label_smoothing=0.1)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        right = float((logits.argmax(1) == self.labels[chosen]).float().mean())
        return {"batch": len(chosen), "loss": float(loss.detach()), "accuracy": right}

    def export(self) -> Path:
        """Writes the weights in fp16 and a note on the training."""
        folder = self.out / "classroom-pointnet"
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            name: value.cpu().half() if value.is_floating_point() else value.cpu()
            for name, value in self.learner.state_dict().items()
        }
        save_file(state, folder / WEIGHTS)
        note = {
            **self.spent(),
            "seed": self.settings.seed,
            "classes": list(world.MEASURED),
            "commit": commit(),
        }
        self.write_note(folder, note)
        return folder


def changed(points: Tensor) -> Tensor:
    """Clouds [B, P, 3] with fewer points, turned a little, stretched, with noise; of unit radius again."""
    count = len(points)
    kept = torch.randint(points.shape[1], (count, POINTS), device=points.device)
    points = points.gather(1, kept[..., None].expand(-1, -1, 3))
    angle = 0.15 * torch.randn(count, device=points.device)
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], -1).reshape(-1, 3, 3)
    stretch = 1 + 0.1 * torch.randn(count, 1, 3, device=points.device)
    points = points @ turn * stretch + 0.01 * torch.randn_like(points)
    points = points - points.mean(1, keepdim=True)
    return points / points.norm(dim=-1).amax(1)[:, None, None]
