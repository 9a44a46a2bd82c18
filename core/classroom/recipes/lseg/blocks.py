"""Fit LSeg's regularization blocks to the shipped decoder, which stays as it is (Li et al. 2022, section 3.3).

    python -m core.classroom train lseg-blocks && python -m core.checkpoints pin classroom-lseg

Bottleneck and depthwise, applied 1, 2 and 4 times: six blocks of ten numbers, each starting as no change, all on the same
scenes of concepts that have masks. The label maps of a batch are computed once for all of them. Their file is written beside
the decoder and names its digest; the second command puts the file's own digest into the registry. What a block and a
decoder learn together is the ablation's business (`core.classroom.recipes.common.ablations`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from core.checkpoints.integrity import sha256
from core.classroom.recipes.common.masks import labelled
from core.classroom.recipes.common.miniature import export_folder
from core.classroom.recipes.common.running import SEED, Run
from core.classroom.recipes.lseg.evaluate import Candidate
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import concepts, seen
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, sample
from core.classroom.world.wording import LANGUAGES
from core.segmentation import regularization
from core.segmentation.blocks import RegularizationBlock
from core.segmentation.lseg import label_maps, pixel_loss

LABELS = 12  # of an image, besides background
RATE = 0.01


@dataclass
class Settings:
    """One fit. `checkpoint`: a bundled LSeg miniature or the folder of an export; its folder gets the file."""

    checkpoint: str = "classroom-lseg"
    minutes: float = 2.5
    out: Path = Path("runs/lseg-blocks")
    seed: int = 0
    steps: int | None = None
    size: int = 96
    batch: int = 8
    log_every: int = 5


class Fit(Run):
    """Runs `Settings`; a fit is too short to be resumed."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        super().__init__(s)
        self.folder = export_folder(s.checkpoint)
        self.model = Candidate(s.checkpoint)
        self.atlas = atlas or open_atlas()
        self.blocks: dict[regularization.Key, RegularizationBlock] = {
            (kind, depth): regularization.identity(kind, depth)
            for kind in regularization.KINDS
            for depth in regularization.DEPTHS
        }
        self.learner = nn.ModuleList(self.blocks.values())
        self.optimizer = torch.optim.Adam([{"params": list(self.learner.parameters()), "peak": RATE}])

    def train_step(self) -> dict[str, float]:
        """One step of all blocks on one batch of scenes, labelled in one language."""
        s = self.settings
        self.schedule()
        seed = SEED + (s.seed << 24) + self.step
        scenes = render(sample(s.batch, seed, self.atlas, SceneSettings(concepts=seen())), self.atlas, s.size)
        truth = labelled(scenes)
        lang, rng = LANGUAGES[self.step % 2], random.Random(self.step)
        texts, targets = [], []
        for one in truth:
            own = sorted(set(one.unique().tolist()) - {-1})
            others = [i for i in rng.sample(seen(), LABELS + len(own)) if i not in own]
            offered = [*own, *others][:LABELS]
            column = torch.zeros(len(concepts()) + 1, dtype=torch.long)  # 0 is background
            column[torch.tensor(offered) + 1] = torch.arange(1, LABELS + 1)
            targets.append(column[one + 1])
            texts.append(torch.cat([self.model.grounds[lang], self.model.names[lang][offered]]))
        maps = label_maps(self.model.features(scenes.picture), torch.stack(texts)).clone()
        losses = [pixel_loss(block(maps), torch.stack(targets)) for block in self.blocks.values()]
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()
        self.optimizer.step()
        named = {
            regularization.title(*which): loss.item() for which, loss in zip(self.blocks, losses, strict=True)
        }
        return {"batch": s.batch, "none": pixel_loss(maps, torch.stack(targets)).item(), **named}

    def export(self) -> Path:
        """The blocks beside their decoder; returns the file."""
        path = self.folder / regularization.FILE
        weights = self.folder / regularization.WEIGHTS
        regularization.save(path, self.blocks, sha256(weights), self.seconds / 60)
        return path
