"""The three encoders of the comparison: one architecture, that of classroom-rn's image tower without its attention pooling.

    python -m core.classroom train clip-vil-supervised --minutes 8

- "random": never trained. Its BatchNorms have seen some scenes, so that the features have a common scale.
- "supervised": trained to name the one thing in an image, one of all concepts, as an ImageNet network is (He et al. 2016):
  average pooling and a linear classifier, softmax cross-entropy. It reads no captions.
- "clip": that of classroom-rn.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip.modified_resnet import ModifiedResNet
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.classroom.recipes.common.export import MEAN, STD
from core.classroom.recipes.common.miniature import WEIGHTS, export_folder, tensors
from core.classroom.recipes.common.muon import Muon
from core.classroom.recipes.common.running import SEED, Run, fast_arithmetic
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import concepts
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, sample
from core.vqa.clip_vil.grid import stages
from core.vqa.clip_vil.models import empty_tower, random_tower

CLIP = "classroom-rn"
RATE = 3e-3
SMOOTHING = 0.1
EASY = SceneSettings(
    kinds=(1, 0, 0, 0), looks=(0.8, 0.04, 0.03, 0.05, 0.05, 0.03), augment=0.5, easy=True, poses=0
)
ONE = SceneSettings(kinds=(1, 0, 0, 0), augment=0.8, poses=0.0)
# Until this share of the time: pixels of a side, images a step, scenes.
PHASES = ((0.4, 48, 96, EASY), (0.8, 48, 128, ONE), (1.01, 64, 128, ONE))
CALIBRATED = 256  # scenes that the BatchNorms of the random encoder see


@dataclass
class Settings:
    """One training of the supervised encoder; `steps` ends it early (tests)."""

    clip: str = CLIP
    minutes: float = 8.0
    out: Path = Path("runs/clip-vil-supervised")
    seed: int = 0
    steps: int | None = None
    log_every: int = 50
    rate: float = RATE
    phases: tuple[tuple[float, int, int, SceneSettings], ...] = PHASES


class Classifier(nn.Module):
    """The tower, average pooling, a BatchNorm without weights, a linear layer."""

    def __init__(self, visual: ModifiedResNet, classes: int) -> None:
        super().__init__()
        self.visual = visual
        channels = visual.layer4[-1].bn3.num_features
        self.norm = nn.BatchNorm1d(channels, affine=False)
        self.head = nn.Linear(channels, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [B, 3, H, W] -> logits [B, N]."""
        return self.head(self.norm(stages(self.visual, pixels)["layer4"].mean((2, 3)).float()))


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports the tower."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        super().__init__(s)
        self.atlas = atlas or open_atlas()
        visual = random_tower(vision_of(s.clip), s.seed)
        visual.to(memory_format=torch.channels_last)
        for module in visual.modules():
            if isinstance(module, nn.AvgPool2d):
                module.ceil_mode = (
                    True  # maps of small images have odd sides; their last row and column count too
                )
        for name, p in visual.named_parameters():
            if name.endswith("bn3.weight") and name.startswith("layer"):
                nn.init.zeros_(p)  # as in CLIP's own start: residual branches begin at nothing
        self.learner: Classifier = Classifier(visual, len(concepts()))
        # As in CLIP's recipe convolutions are stepped by Muon; the rest by AdamW, whose moments a resumed run begins anew.
        matrices = [p for p in self.learner.parameters() if p.ndim == 4]
        rest = [p for p in self.learner.parameters() if p.ndim < 4]
        self.optimizer = Muon(matrices, s.rate, weight_decay=0.05)
        self.optimizer.param_groups[0]["peak"] = s.rate
        self.others = torch.optim.AdamW(
            [{"params": rest, "peak": s.rate}], lr=s.rate, betas=(0.9, 0.98), weight_decay=0.0
        )
        self.resume(self.device)

    def schedule(self) -> None:
        """The rates of this step, of both optimizers."""
        super().schedule()
        for group in self.others.param_groups:
            group["lr"] = self.optimizer.param_groups[0]["lr"]

    def train_step(self) -> dict[str, float]:
        """One step on new scenes with one thing each."""
        s = self.settings
        _, size, batch, scenes = next(phase for phase in s.phases if self.progress < phase[0])
        self.schedule()
        self.learner.train()
        spec = sample(batch, SEED + (s.seed << 24) + self.step, self.atlas, scenes)
        pixels = normalised(render(spec, self.atlas, size).picture).contiguous(
            memory_format=torch.channels_last
        )
        labels = spec.concept[:, 0]
        with fast_arithmetic(self.device):
            logits = self.learner(pixels).float()
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=SMOOTHING)
        for optimizer in (self.optimizer, self.others):
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.learner.parameters(), 1.0)
        for optimizer in (self.optimizer, self.others):
            optimizer.step()
        return {
            "batch": batch,
            "loss": loss.item(),
            "top1": (logits.argmax(1) == labels).float().mean().item(),
            "lr": self.optimizer.param_groups[0]["lr"],
        }

    def export(self) -> Path:
        """model.safetensors with the tower, and training.json."""
        folder = self.out / self.out.name
        folder.mkdir(parents=True, exist_ok=True)
        visual: Any = self.learner.visual
        state = {
            name: t.detach().half().contiguous() if t.is_floating_point() else t
            for name, t in visual.state_dict().items()
        }
        save_file(state, folder / WEIGHTS)
        note = {
            "top1": round(accuracy(self.learner, self.atlas), 4),
            "seed": self.settings.seed,
            **self.spent(),
        }
        self.write_note(folder, note)
        return folder


@torch.inference_mode()
def accuracy(classifier: Classifier, atlas: Atlas, count: int = 512, size: int = 64) -> float:
    """Top-1 over all concepts on new scenes with one thing each."""
    classifier.eval()
    spec = sample(count, 97, atlas, ONE)
    pixels = normalised(render(spec, atlas, size).picture)
    guess = torch.cat([classifier(part).argmax(1) for part in pixels.split(64)])
    return float((guess == spec.concept[:, 0]).float().mean())


def normalised(picture: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [0, 1] as the miniature's tower gets them."""
    return (picture - MEAN[0]) / STD[0]


def vision_of(clip: str) -> dict[str, Any]:
    """The sizes of a miniature's image tower."""
    config = json.loads((export_folder(clip) / "open_clip_config.json").read_text(encoding="utf-8"))
    return config["model_cfg"]["vision_cfg"]


def clip_encoder(clip: str = CLIP) -> ModifiedResNet:
    """The image tower of a CLIP miniature without its pooling."""
    state = {
        name.removeprefix("visual."): t
        for name, t in tensors(export_folder(clip)).items()
        if name.startswith("visual.") and ".attnpool." not in name
    }
    return _filled(vision_of(clip), state)


def supervised_encoder(folder: Path, clip: str = CLIP) -> ModifiedResNet:
    """The tower that `Trainer` exported."""
    return _filled(vision_of(clip), load_file(folder / WEIGHTS))


def _filled(vision: dict[str, Any], state: dict[str, Tensor]) -> ModifiedResNet:
    visual = empty_tower(vision)
    visual.load_state_dict(
        {n: t.float() if t.is_floating_point() else t for n, t in state.items()}, assign=True
    )
    return visual.eval().requires_grad_(False)


@torch.no_grad()
def calibrated(visual: ModifiedResNet, atlas: Atlas, size: int, count: int = CALIBRATED) -> ModifiedResNet:
    """The same with the statistics of its BatchNorms over some scenes; its weights stay as they are."""
    norms = [module for module in visual.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over batches
    visual.train()
    pixels = normalised(render(sample(count, 53, atlas), atlas, size).picture)
    for part in pixels.split(32):
        stages(visual, part)
    for norm in norms:
        norm.momentum = 0.1
    return visual.eval().requires_grad_(False)


def random_encoder(atlas: Atlas, size: int, seed: int = 0, clip: str = CLIP) -> ModifiedResNet:
    """The tower that was never trained."""
    return calibrated(random_tower(vision_of(clip), seed), atlas, size)
