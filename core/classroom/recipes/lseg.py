"""Train the miniature LSeg on classroom scenes (Li et al. 2022, section 4): masks for four fifths of the concepts.

    python -m core.classroom train lseg --minutes 40
    python -m core.classroom train lseg --minutes 10 --block bottleneck --depth 2     (a row of the ablation)

As in the paper: the text tower is CLIP's and frozen, the loss is a softmax cross-entropy over labels at every pixel with
temperature 0.07, the decoder learns ten times faster than the backbone, labels are bare names. Unlike the paper the backbone
starts as the picture tower of the same CLIP, not of a classifier: a miniature has no ImageNet to come from. A batch is
labelled with the concepts it shows and others by lot; what no object covers is "background", or one of its other names.
Concepts without masks (`unseen`) are in no scene here; the CLIP has seen them.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from core.classroom.atlas import Atlas, open_atlas
from core.classroom.concepts import ASSETS, concepts
from core.classroom.miniature import Miniature
from core.classroom.recipes.clip import SEED, fast_arithmetic
from core.classroom.recipes.export import MEAN, STD
from core.classroom.recipes.running import Run
from core.classroom.scenes import Scenes, render
from core.classroom.specs import SceneSettings, sample
from core.classroom.wording import LANGUAGES
from core.segmentation.blocks import Kind
from core.segmentation.lseg import LSegNet, pixel_loss

ARCHITECTURE = "classroom"
BACKGROUND = {"en": ("background", "other", "nothing"), "zh": ("背景", "其他", "空白")}
LABELS = 96  # of a batch, besides background
RATE = 2e-3  # of the decoder; the backbone's is a tenth
# Until this share of the time: side of the pictures, pictures a step.
PHASES = ((0.55, 64, 48), (1.01, 96, 24))
SEEN_EVERY = 5


@cache
def unseen() -> tuple[int, ...]:
    """The concepts that never get a mask, one in five."""
    return tuple(c.index for c in concepts() if c.index % SEEN_EVERY == 3)


@cache
def seen() -> tuple[int, ...]:
    """The concepts whose masks are trained on."""
    return tuple(c.index for c in concepts() if c.index % SEEN_EVERY != 3)


@dataclass
class Settings:
    """One training run. `clip`: a bundled row or the folder of an export, whose towers are used."""

    clip: str = "classroom-rn"
    minutes: float = 40.0
    device: str = "cpu"
    out: Path = Path("runs/lseg")
    block: Kind = "none"
    depth: int = 0
    seed: int = 0
    steps: int | None = None
    phases: tuple[tuple[float, int, int], ...] = PHASES
    log_every: int = 20


def clip_folder(clip: str) -> Path:
    """Where a miniature CLIP lies: a folder with an export, or a bundled row's."""
    folder = Path(clip)
    return folder if (folder / "model.safetensors").exists() else ASSETS / "checkpoints" / clip


def labelled(scenes: Scenes) -> Tensor:
    """[B, H, W] the concept of each pixel, -1 where no object is seen."""
    visible = scenes.visible.float()  # disjoint
    which = scenes.spec.concept.to(visible.device)[:, :, None, None] + 1
    return (visible * which).sum(1).long() - 1


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        super().__init__(s.out, s.minutes, s.steps, s.log_every)
        torch.manual_seed(s.seed)
        self.device = torch.device(s.device)
        self.atlas = atlas or open_atlas(device=s.device)
        self.folder = clip_folder(s.clip)
        self.net = LSegNet(ARCHITECTURE, s.block, s.depth, with_clip=False)
        self.net.pretrained.model.load_state_dict(picture_tower(self.folder))
        self.net.to(self.device)
        for part in (self.net.pretrained, self.net.scratch):
            part.to(memory_format=torch.channels_last)
        self.learner = self.net
        backbone, scratch = list(self.net.pretrained.parameters()), list(self.net.scratch.parameters())
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in backbone if p.ndim > 1], "peak": 0.1 * RATE, "weight_decay": 0.02},
                {"params": [p for p in backbone if p.ndim < 2], "peak": 0.1 * RATE, "weight_decay": 0.0},
                {"params": [p for p in scratch if p.ndim > 1], "peak": RATE, "weight_decay": 0.02},
                {"params": [p for p in scratch if p.ndim < 2], "peak": RATE, "weight_decay": 0.0},
            ],
            lr=RATE,
        )
        self.names, self.grounds = self._texts()
        self.resume(self.device)

    def _texts(self) -> tuple[dict[str, list[Tensor]], dict[str, Tensor]]:
        """Frozen features by language: of each concept under its names [M, D], and of background's names."""
        miniature = Miniature(self.folder)
        names = {
            lang: [miniature.texts([c.name(lang), *c.also(lang)]).to(self.device) for c in concepts()]
            for lang in LANGUAGES
        }
        return names, {lang: miniature.texts(words).to(self.device) for lang, words in BACKGROUND.items()}

    def labels(self, shown: set[int], rng: random.Random, lang: str) -> tuple[list[int], Tensor]:
        """The concepts that label a batch, by lot beside those it shows, and features [1 + N, D], background first."""
        others = [i for i in seen() if i not in shown]
        chosen = [*sorted(shown), *rng.sample(others, max(0, min(LABELS - len(shown), len(others))))]
        grounds = self.grounds[lang]
        texts = [grounds[rng.randrange(len(grounds))]]
        for index in chosen:
            forms = self.names[lang][index]
            texts.append(forms[0] if rng.random() < 0.8 else forms[rng.randrange(len(forms))])
        return chosen, torch.stack(texts)

    def train_step(self) -> dict[str, float]:
        """One step on one batch of scenes, labelled in one language."""
        _, size, batch = next(phase for phase in self.settings.phases if self.progress < phase[0])
        self.schedule()
        self.net.train()
        spec = sample(
            batch, SEED + (self.settings.seed << 24) + self.step, self.atlas, SceneSettings(concepts=seen())
        )
        scenes = render(spec, self.atlas, size)
        truth = labelled(scenes)
        rng = random.Random(self.step)
        chosen, texts = self.labels(set(truth.unique().tolist()) - {-1}, rng, LANGUAGES[self.step % 2])
        column = torch.zeros(len(concepts()) + 1, dtype=torch.long, device=self.device)
        column[torch.tensor(chosen, device=self.device) + 1] = torch.arange(
            1, len(chosen) + 1, device=self.device
        )
        target = column[truth + 1]  # [B, H, W]; 0 is background
        pixels = ((scenes.picture - MEAN[0]) / STD[0]).contiguous(memory_format=torch.channels_last)
        with fast_arithmetic(self.device):
            features = self.net.scratch(self.net.pretrained(pixels))
        features = F.normalize(features.float(), dim=1)
        logits = self.net.enlarged(features, texts)
        loss = pixel_loss(logits, target)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            guess = logits.argmax(1)
            inside = target > 0
            right = (guess == target)[inside].float().mean()
            found = ((guess > 0) & inside).sum() / ((guess > 0) | inside).sum()
        return {
            "batch": batch, "size": size, "loss": loss.item(), "named": right.item(), "found": found.item(),
            "lr": self.optimizer.param_groups[2]["lr"],
        }  # fmt: skip

    def export(self) -> Path:
        """model.safetensors in half precision, and training.json."""
        folder = self.out / "classroom-lseg"
        folder.mkdir(parents=True, exist_ok=True)
        state = self.net.trim().state_dict()
        save_file({k: shipped(v) for k, v in state.items()}, folder / "model.safetensors")
        note = {
            "paper": "lseg",
            "clip": {self.folder.name: digest(self.folder / "model.safetensors")},
            "block": self.settings.block,
            "depth": self.settings.depth,
            "seed": self.settings.seed,
            "steps": self.step,
            "images": self.images,
            "minutes": round(self.seconds / 60, 1),
        }
        (folder / "training.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        return folder


def shipped(tensor: Tensor) -> Tensor:
    """As it is stored: half precision, plain memory."""
    return (tensor.half() if tensor.is_floating_point() else tensor).detach().cpu().contiguous().clone()


def digest(path: Path) -> str:
    """sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def picture_tower(folder: Path) -> dict[str, Any]:
    """The tensors of an exported CLIP's ResNet without its attention pooling, in float32."""
    state = load_file(folder / "model.safetensors")
    prefix = "visual."
    return {
        name.removeprefix(prefix): value.float() if value.is_floating_point() else value
        for name, value in state.items()
        if name.startswith(prefix) and ".attnpool." not in name
    }
