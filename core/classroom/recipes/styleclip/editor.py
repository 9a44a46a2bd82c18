"""Train the miniature editor: InstructPix2Pix on exact pairs.

    python -m core.classroom train styleclip-editor --minutes 60
    python -m core.classroom train styleclip-editor --start runs/styleclip-editor/editor --minutes 40 --seed 1

Brooks et al. (2023) let a language model write instructions and a diffusion model draw the pairs, half a million of them, many
wrong. The classroom draws an image before and after with one factor changed (`scenes.pairs`), and the text describes the image
after. The text tower of classroom-rn stays as it is. A tenth of the texts and a part of the sources are left out, so that the
same network also generates from a text alone and both guidances work.

A sketch is the hardest edit: its lines are finer than anything else, and only one pair in twenty asks for it. So a second run
goes on from an export (`--start`) with pairs half of which change the rendering.

Half of the times are high (t >= 500): what is in the image and on which ground is decided there, where the weighting by
signal and noise that many recipes use leaves no gradient. Matrices learn by Muon, the rest by AdamW; what is exported is the
mean of the weights of the last steps.
"""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from core import checkpoints
from core.checkpoints.integrity import sha256
from core.classroom.recipes.common import tokenizer as tokens
from core.classroom.recipes.common.export import shipped
from core.classroom.recipes.common.miniature import WEIGHTS, Miniature, export_folder
from core.classroom.recipes.common.muon import Joined, Muon
from core.classroom.recipes.common.running import SEED, Run, fast_arithmetic, move_mean
from core.classroom.recipes.styleclip import scenes
from core.classroom.world.atlas import Atlas, open_atlas
from core.editing.editor import ARCHITECTURE, SCHEDULE, Condition, EditorNetwork, condition, fold, schedule

CLIP = "classroom-rn"
PART = "unet."  # what the tensors of the editor begin with, where the generator is in the same file
BATCH = 64
SHARES = (0.55, 0.2, 0.15, 0.1)  # of scenes.CHANGES
SHARES_LATER = (0.27, 0.12, 0.55, 0.06)  # in a run that goes on from an export
NO_TEXT, NO_IMAGE = 0.1, 0.2
HIGH, HIGHEST = 500, 1000  # half of the times lie between them
RATE, RATE_LATER = 2e-3, 1e-3
MEAN = 0.999  # of the weights that are exported
CHINESE = 0.4  # of the texts


@dataclass
class Settings:
    """One training run.

    clip: a bundled row or the folder of an export whose text tower is read. start: a bundled row or the folder of an export whose
    editor goes on learning; empty for a new one.
    """

    clip: str = CLIP
    start: str = ""
    minutes: float = 60.0
    device: str = "cpu"
    out: Path = Path("runs/styleclip-editor")
    batch: int = BATCH
    seed: int = 0
    steps: int | None = None
    log_every: int = 100
    architecture: dict[str, Any] | None = None

    @property
    def rate(self) -> float:
        """The highest rate of the run."""
        return RATE_LATER if self.start else RATE

    @property
    def shares(self) -> tuple[float, ...]:
        """Of scenes.CHANGES."""
        return SHARES_LATER if self.start else SHARES


def optimizer_of(network: nn.Module, rate: float) -> Joined:
    """Muon for matrices and kernels, AdamW for the rest."""
    # The first and last layers touch pixels; each of their rows has a meaning of its own.
    ends = ("conv_in", "conv_out")
    matrices = [p for n, p in network.named_parameters() if p.ndim > 1 and not any(e in n for e in ends)]
    known = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in known]
    made = Joined(
        Muon(matrices, rate, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    )
    for group in made.param_groups:
        group["peak"] = rate
    return made


class Texts:
    """The frozen text tower of a miniature CLIP."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.clip = Miniature(folder)
        self.clip.model.to(device)
        self.device = device
        self.nothing = self.read([""])

    def read(self, texts: list[str]) -> Condition:
        """What the tower makes of texts."""
        ids = tokens.tokenize(self.clip.tokenizer, texts, self.clip.context).to(self.device)
        return condition(self.clip.model, ids)


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        super().__init__(s, s.device)
        self.folder = export_folder(s.clip)
        self.texts = Texts(self.folder, self.device)
        self.atlas = atlas or open_atlas()
        network = EditorNetwork(s.architecture or ARCHITECTURE).to(self.device)
        if s.start:
            network.unet.load_state_dict(unet_of(export_folder(s.start)))
        mean = copy.deepcopy(network).requires_grad_(False)
        self.parts = nn.ModuleDict({"network": network, "mean": mean})
        self.learner = self.parts
        self.optimizer = optimizer_of(network, s.rate)
        self.noise = schedule().alphas_cumprod.to(self.device)
        self.resume(self.device)

    def batch(self, seed: int) -> tuple[Tensor, Tensor, Condition]:
        """Folded images before (zeros where there is none) and after, and what the texts say."""
        count, rng = self.settings.batch, random.Random(seed)
        before, after, _ = scenes.pairs(count, seed, self.settings.shares)
        images = scenes.draw(
            scenes.States(*(torch.cat([getattr(s, f) for s in (before, after)]) for f in FIELDS)), self.atlas
        )
        source, target = fold(images.to(self.device)).chunk(2)
        alone = [rng.random() < NO_IMAGE for _ in range(count)]
        texts = []
        for row in range(count):
            tell = scenes.told(before, after, row, rng, alone[row])
            # A name from the other language now and then keeps both of them one space.
            lang = "zh" if rng.random() < CHINESE else "en"
            texts.append(
                "" if rng.random() < NO_TEXT else scenes.caption(after, row, lang, tell, rng.randrange(6))
            )
        source = source * ~torch.tensor(alone, device=self.device)[:, None, None, None]
        return source, target, self.texts.read(texts)

    def train_step(self) -> dict[str, float]:
        """One step on new pairs."""
        self.schedule()
        count = self.settings.batch
        seed = SEED + (self.settings.seed << 28) + self.step
        source, target, text = self.batch(seed)
        g = torch.Generator().manual_seed(seed)
        low = torch.randint(0, HIGHEST, (count,), generator=g)
        high = torch.randint(HIGH, HIGHEST, (count,), generator=g)
        time = torch.where(torch.arange(count) % 2 == 0, low, high).to(self.device)
        noise = torch.randn(target.shape, generator=g).to(self.device)
        kept = self.noise[time][:, None, None, None]
        noisy = kept.sqrt() * target + (1 - kept).sqrt() * noise
        v = kept.sqrt() * noise - (1 - kept).sqrt() * target
        network = self.parts["network"]
        with fast_arithmetic(self.device):
            given = network(noisy, time, source, text)
        loss = F.mse_loss(given.float(), v, reduction="none").mean((1, 2, 3))
        self.optimizer.zero_grad(set_to_none=True)
        loss.mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        self.optimizer.step()
        move_mean(self.parts["mean"], network, self.step, MEAN)
        told = loss.detach()
        return {
            "loss": float(told.mean()),
            "high": float(told[time >= HIGH].mean()),
            "low": float(told[time < HIGH].mean()),
            "batch": float(count),
        }

    def export(self) -> Path:
        """The mean weights in half precision, the configuration, and how they came about."""
        folder = self.out / "editor"
        folder.mkdir(parents=True, exist_ok=True)
        mean: Any = self.parts["mean"]
        save_file({k: shipped(v) for k, v in mean.unet.state_dict().items()}, folder / WEIGHTS)
        config = {"unet": mean.architecture, "schedule": SCHEDULE, "size": scenes.SIZE}
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        note = {
            **self.origin("styleclip-editor", "editor"),
            **self.spent(),
            "seed": self.settings.seed,
            "clip": {self.folder.name: sha256(self.folder / WEIGHTS)},
        }
        self.write_note(folder, note)
        return folder


def unet_of(folder: Path) -> dict[str, Tensor]:
    """The UNet in the export of an editor, or in a folder that has the generator, too; float32."""
    state = checkpoints.load_state_dict(folder / WEIGHTS)
    joined = any(name.startswith(PART) for name in state)
    return {
        name.removeprefix(PART): tensor.float()
        for name, tensor in state.items()
        if name.startswith(PART) or not joined
    }


FIELDS = tuple(scenes.States.__dataclass_fields__)
