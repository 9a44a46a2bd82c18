"""Train the miniature CLIP4Clip on classroom clips with their captions (Luo et al. 2021, section 3): four similarity calculators.

    python -m core.classroom train clip4clip --minutes 40
    python -m core.classroom train clip4clip --minutes 40 --clip runs/classroom-rn/classroom-rn --device cuda

As in the paper the loss is the symmetric cross-entropy of sentences and clips, and the heads are those of
`core.video.clip4clip`. Unlike the paper CLIP is not tuned end to end: its image tower is frozen, so that the frames are encoded
once (`clip_sets`), and of its text tower the last layers learn, because no caption of a still image has told a motion. The four
heads share that text tower and learn side by side; `headers` trains some of them alone. Sentences that tell the opposite
direction are among the wrong answers of every batch. The tight head, which computes every pair, sees a part of the batch.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from core.checkpoints import bytewise
from core.checkpoints.integrity import sha256
from core.classroom.recipes.clip.objectives import soft_cross_entropy
from core.classroom.recipes.common.clip_sets import (
    CLIPS,
    KINDS,
    ClipSet,
    Kind,
    Sentences,
    clips_of_run,
    together,
    trained_world,
)
from core.classroom.recipes.common.miniature import Miniature, export_folder
from core.classroom.recipes.common.running import Run, by_shape, fast_arithmetic
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.clips import ClipSettings
from core.classroom.world.wording import LANGUAGES
from core.video.clip4clip.heads import HEADERS, Header, HeadSettings, Similarity

CLIP = "classroom-rn"
LAYERS = 1  # of the transformers over frames
TUNED_LAYERS = 2  # of the text tower: the order of two words tells the direction
GROUPS, EACH = 12, 4  # of a batch: things, and clips of each
TIGHT = 16  # clips of a batch that the tight head sees
RATE, TUNED = 1e-3, 0.3  # of the heads, and of what starts as CLIP's, as a share
SHARES = {"content": 0.3, "order": 0.35, "whole": 0.35}  # of the kinds of captions
MAX_SCALE = 100.0


@dataclass
class Settings:
    """One training run.

    clip: a bundled row or the folder of an export. clips: how many are drawn; they are encoded before the first step.
    headers: the similarity calculators that learn. tuned: layers of the text tower that learn.
    """

    clip: str = CLIP
    minutes: float = 40.0
    device: str = "cpu"
    out: Path = Path("runs/clip4clip")
    headers: tuple[Header, ...] = HEADERS
    clips: int = CLIPS
    seed: int = 0
    steps: int | None = None
    log_every: int = 50
    rate: float = RATE
    tuned: int = TUNED_LAYERS
    groups: int = GROUPS
    each: int = EACH
    world: ClipSettings = field(default_factory=trained_world)


class Heads(nn.Module):
    """What learns: the calculators, the end of the text tower, the temperature."""

    def __init__(self, headers: Sequence[Header], tower: Miniature, tuned: int) -> None:
        super().__init__()
        width = tower.model.text_projection.out_features
        self.text = Sentences(tower, tuned)
        self.heads = nn.ModuleDict(
            {
                header: Similarity(
                    HeadSettings(
                        header=header, width=width, layers=LAYERS, heads=width // 64, positions=tower.context
                    )
                )
                for header in headers
            }
        )
        self.logit_scale = nn.Parameter(tower.model.logit_scale.detach().clone())

    @property
    def scale(self) -> Tensor:
        """exp(t), capped as in the paper's training."""
        return self.logit_scale.exp().clamp(max=MAX_SCALE)


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None, clips: ClipSet | None = None) -> None:
        """`clips`: encoded before, in place of those of the settings; the first `settings.clips` of them are used."""
        s = self.settings = settings
        super().__init__(s, s.device)
        self.folder = export_folder(s.clip)
        tower = Miniature(self.folder)
        atlas = atlas or open_atlas(device=s.device)
        self.clips = clips_of_run(s, tower, self.folder, atlas, clips)
        self.learner: Heads = Heads(s.headers, tower, s.tuned)
        self.learner.text.to(self.device)
        self.learner.to(self.device)
        text = [*self.learner.text.parameters(), self.learner.logit_scale]
        self.optimizer = torch.optim.AdamW(
            [
                *by_shape(self.learner.heads.parameters(), s.rate, 0.02),
                {"params": text, "peak": TUNED * s.rate, "weight_decay": 0.0},
            ],
            lr=s.rate,
        )
        self.resume(self.device)

    def train_step(self) -> dict[str, float]:
        """One step of all heads on one batch of clips, with captions in one language."""
        s = self.settings
        self.schedule()
        self.learner.train()
        rng = random.Random((s.seed << 32) + self.step)
        rows = together(self.clips.facts, s.groups, s.each, rng)
        kinds: list[Kind] = rng.choices(KINDS, [SHARES[kind] for kind in KINDS], k=len(rows))
        lang = LANGUAGES[self.step % 2]
        captions = self.clips.sentences(rows, kinds, lang, [rng.randrange(6) for _ in rows])
        turned = [at for at, caption in enumerate(captions) if caption.swapped]
        false = [captions[at].swapped for at in turned]
        # A sentence of the opposite direction is true of clips that move that way, and there may be some in the batch.
        truth = torch.cat(
            [
                self.clips.truth(rows, kinds, rows),
                self.clips.truth(
                    [rows[at] for at in turned], [kinds[at] for at in turned], rows, opposite=True
                ),
            ]
        ).to(self.device)
        frames = self.clips.features[rows].to(self.device).float()
        mask = torch.ones(frames.shape[:2], device=self.device)
        with fast_arithmetic(self.device):
            texts = self.learner.text([caption.text for caption in captions] + false).float()
        numbers: dict[str, float] = {"batch": len(rows)}
        total = torch.zeros((), device=self.device)
        for header, head in self.learner.heads.items():
            wanted, fits = texts, truth
            shown, seen_mask = frames, mask
            if header == "tightTransf":
                some = [*range(TIGHT), *(len(rows) + i for i, at in enumerate(turned) if at < TIGHT)]
                wanted, fits = texts[some], truth[some, :TIGHT]
                shown, seen_mask = frames[:TIGHT], mask[:TIGHT]
            with fast_arithmetic(self.device):
                logits = head(wanted, shown, seen_mask, self.learner.scale).float()
            loss = (soft_cross_entropy(logits, fits) + soft_cross_entropy(logits.T, fits.T)) / 2
            total = total + loss
            own = logits[: len(shown)].detach().argmax(1)
            numbers[header] = float(fits[torch.arange(len(own)), own].mean())
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.learner.parameters(), 1.0)
        self.optimizer.step()
        return {
            **numbers,
            "loss": total.item() / len(self.learner.heads),
            "lr": self.optimizer.param_groups[0]["lr"],
        }

    def export(self) -> Path:
        """model.safetensors with a byte for each number of a matrix, and training.json."""
        folder = self.out / "classroom-clip4clip"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(bytewise.packed(self.exported()), folder / "model.safetensors")
        note = {
            "paper": "clip4clip",
            "clip": {self.folder.name: sha256(self.folder / "model.safetensors")},
            "headers": list(self.settings.headers),
            "clips": len(self.clips),
            "seed": self.settings.seed,
            **self.spent(),
        }
        self.write_note(folder, note)
        return folder

    def exported(self) -> dict[str, Tensor]:
        """All that differs from the frozen CLIP, under the names of a video row; a head that is alone has no prefix."""
        several = len(self.settings.headers) > 1
        state = {
            f"{header}.{name}" if several else name: tensor
            for header, head in self.learner.heads.items()
            for name, tensor in head.state_dict().items()
        }
        return {
            **state,
            **self.learner.text.exported(),
            "clip.logit_scale": self.learner.scale.detach().log(),
        }
