"""Train the miniature ActionCLIP on classroom clips and the names of their motions (Wang et al. 2021, section 3).

    python -m core.classroom train actionclip --minutes 15
    python -m core.classroom train actionclip --minutes 15 --pre position --shift 8 --device cuda      (all three prompts)

As in the paper each clip draws one of the sentences for its label, several clips of a batch have the same label, and the loss is
the divergence of the prediction from a soft target that shares a row among them; `loss="ce"` is CLIP's own, for which only the
diagonal is right. Two motions are held out by name: no clip of them is trained on, their words have to do.

Without `pre` and `shift` the image tower is frozen and its frames are encoded once; with them the tower is a `VideoTower`, clips
are drawn anew for every step, and of the tower the prompt and its last block learn. Of the text tower the last layer learns.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from core.checkpoints import bytewise
from core.checkpoints.integrity import sha256
from core.classroom.recipes.common.clip_sets import (
    CLIPS,
    FRAMES,
    PART,
    SEEDS,
    SIZE,
    ClipSet,
    Sentences,
    clips_of_run,
    trained_world,
)
from core.classroom.recipes.common.miniature import Miniature, export_folder
from core.classroom.recipes.common.running import Run, by_shape, fast_arithmetic
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.clips import ClipSettings, render_clips, sample_clips, times
from core.classroom.world.motions import ACTIONS, MOTIONS
from core.classroom.world.wording import LANGUAGES
from core.video.actionclip import objectives, prompts
from core.video.actionclip.heads import Post, PostPrompt, PostSettings
from core.video.tower import Time, VideoTower, with_net

CLIP = "classroom-rn"
TOWER = "classroom-vit"  # of runs whose prompts are in the image tower
BATCH = 64
LAYERS = 1  # of the post-network transformers
HELD_OUT = ("up", "shrink")  # motions that are known by their names alone
RATE, TUNED = 1e-3, 0.3  # of the prompts, and of what starts as CLIP's, as a share
MAX_SCALE = 100.0
Loss = Literal["kl", "ce"]


def trained_motions() -> tuple[str, ...]:
    """All but those that are held out."""
    return tuple(name for name in MOTIONS if name not in HELD_OUT)


@dataclass
class Settings:
    """One training run.

    clip: a bundled row or the folder of an export. post: the post-network prompt. pre: time of the frames, before the tower.
    shift: parts of the temporal shift inside it, 0 for none. shifted_blocks: in front of so many of its last blocks. loss: "kl"
    or "ce". kind: of the sentences, "all" or one kind. clips: how many are encoded before the first step, where the tower is
    frozen.
    """

    clip: str = CLIP
    minutes: float = 15.0
    device: str = "cpu"
    out: Path = Path("runs/actionclip")
    post: Post = "Transf"
    pre: Time = "none"
    shift: int = 0
    shifted_blocks: int = 1
    loss: Loss = "kl"
    kind: str = "all"
    clips: int = CLIPS
    batch: int = BATCH
    seed: int = 0
    steps: int | None = None
    log_every: int = 50
    rate: float = RATE
    world: ClipSettings = field(default_factory=lambda: trained_world(trained_motions()))

    @property
    def has_tower(self) -> bool:
        """Whether a prompt is in the image tower, which then learns."""
        return self.pre != "none" or self.shift > 0

    @property
    def tower(self) -> dict[str, Any]:
        """The options of the `VideoTower`."""
        options: dict[str, Any] = {"frames": FRAMES, "time": self.pre}
        return options | ({"shift": self.shift, "shifted_blocks": self.shifted_blocks} if self.shift else {})


class Prompts(nn.Module):
    """What learns: the prompts, the end of both towers, the temperature."""

    def __init__(self, settings: Settings, tower: Miniature) -> None:
        super().__init__()
        width = tower.model.text_projection.out_features
        self.text = Sentences(tower)
        self.post = PostPrompt(post_settings(settings.post, width))
        self.logit_scale = nn.Parameter(tower.model.logit_scale.detach().clone())
        self.image: Any = None
        if settings.has_tower:
            self.image = image_tower(tower, settings)
            self.image.requires_grad_(False)
            for part in (self.image.transformer.resblocks[-1], self.image.ln_post):
                part.requires_grad_(True)
            self.image.proj.requires_grad_(True)
            if settings.pre != "none":
                self.image.time_embedding.requires_grad_(True)

    @property
    def scale(self) -> Tensor:
        """exp(t), capped."""
        return self.logit_scale.exp().clamp(max=MAX_SCALE)


def post_settings(post: Post, width: int) -> PostSettings:
    """The miniature's post-network prompt."""
    return PostSettings(
        post=post, frames=FRAMES, width=width, layers=LAYERS, heads=width // 64, positions=FRAMES
    )


def image_tower(tower: Miniature, settings: Settings) -> VideoTower:
    """The miniature's ViT as one that knows clips, with its weights; the time embedding begins at zero.

    Raises:
        SystemExit: where the miniature's image tower is no transformer.
    """
    visual: Any = tower.model.visual
    if not hasattr(visual, "class_embedding"):
        raise SystemExit(f"prompts in the image tower need a transformer: --clip {TOWER}")
    made = VideoTower(
        visual.image_size[0], visual.patch_size[0], visual.conv1.out_channels, len(visual.transformer.resblocks),
        visual.transformer.resblocks[0].attn.num_heads, visual.output_dim, quick=False, **settings.tower,
    )  # fmt: skip
    state = {f"visual.{name}": tensor for name, tensor in visual.state_dict().items()}
    state = with_net(state, blocks=settings.shifted_blocks) if settings.shift else state
    own = {name.removeprefix("visual."): tensor for name, tensor in state.items()}
    if settings.pre != "none":
        own["time_embedding"] = torch.zeros_like(made.time_embedding)
    made.load_state_dict(own)
    return made


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None, clips: ClipSet | None = None) -> None:
        """`clips`: encoded before, in place of those of the settings; the first `settings.clips` of them are used."""
        s = self.settings = settings
        super().__init__(s, s.device)
        self.folder = export_folder(s.clip)
        self.tower = Miniature(self.folder)
        self.atlas = atlas or open_atlas(device=s.device)
        self.clips = None if s.has_tower else clips_of_run(s, self.tower, self.folder, self.atlas, clips)
        self.learner: Prompts = Prompts(s, self.tower)
        self.learner.text.to(self.device)
        self.learner.to(self.device)
        rest = [
            p
            for name, p in self.learner.named_parameters()
            if p.requires_grad and not name.startswith("post.")
        ]
        self.optimizer = torch.optim.AdamW(
            [
                *by_shape(self.learner.post.parameters(), s.rate, 0.02),
                {"params": rest, "peak": TUNED * s.rate, "weight_decay": 0.0},
            ],
            lr=s.rate,
        )
        self.resume(self.device)

    def frames(self, rng: random.Random) -> tuple[Tensor, Tensor]:
        """The features [B, T, D] of a batch of clips, and their motions [B]."""
        s = self.settings
        if self.clips is not None:
            rows = rng.sample(range(len(self.clips)), min(s.batch, len(self.clips)))
            return self.clips.features[rows].to(self.device).float(), self.clips.spec.motion[rows]
        spec = sample_clips(s.batch, SEEDS + (s.seed << 24) + self.step, self.atlas, s.world)
        parts = [
            render_clips(spec.take(slice(at, at + PART)), self.atlas, times(FRAMES), SIZE).picture
            for at in range(0, s.batch, PART)
        ]
        pixels = (torch.cat(parts).to(self.device) - self.tower.mean.to(self.device)) / self.tower.std.to(
            self.device
        )
        with fast_arithmetic(self.device):
            return self.learner.image.clips(pixels).float(), spec.motion

    def train_step(self) -> dict[str, float]:
        """One step on one batch of clips, each with one sentence for its motion, in one language."""
        s = self.settings
        self.schedule()
        self.learner.train()
        rng = random.Random((s.seed << 32) + self.step)
        lang = LANGUAGES[self.step % 2]
        frames, motion = self.frames(rng)
        templates = prompts.of_kind(s.kind, prompts.CHINESE if lang == "zh" else prompts.TEMPLATES)
        labels = [ACTIONS[MOTIONS[i]][lang == "zh"] for i in motion.tolist()]
        sentences = [rng.choice(templates).format(label) for label in labels]
        with fast_arithmetic(self.device):
            clips, texts = self.learner.post(frames).float(), self.learner.text(sentences).float()
        labelled = motion.to(self.device)
        if s.loss == "kl":
            loss = objectives.kl_loss(clips, texts, labelled, self.learner.scale)[2]
        else:
            loss = objectives.cross_entropy(clips, texts, self.learner.scale)[2]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in self.learner.parameters() if p.requires_grad], 1.0)
        self.optimizer.step()
        with torch.no_grad():
            chosen = objectives.logits(clips, texts, 1.0)[0].argmax(1)
            right = (labelled[chosen] == labelled).float().mean()
        return {
            "batch": len(motion), "loss": loss.item(), "right": right.item(), "lr": self.optimizer.param_groups[0]["lr"],
        }  # fmt: skip

    def export(self) -> Path:
        """model.safetensors with a byte for each number of a matrix, and training.json with the options of its row."""
        folder = self.out / "classroom-actionclip"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(bytewise.packed(self.exported()), folder / "model.safetensors")
        s = self.settings
        note = {
            "paper": "actionclip",
            "clip": {self.folder.name: sha256(self.folder / "model.safetensors")},
            "options": self.options(),
            "loss": s.loss,
            "kind": s.kind,
            "held_out": list(HELD_OUT),
            "seed": s.seed,
            **self.spent(),
        }
        self.write_note(folder, note)
        return folder

    def options(self) -> dict[str, Any]:
        """What the loader has to know of the network."""
        post = self.learner.post.settings
        options = {
            "post": post.post, "frames": FRAMES, "layers": post.layers, "heads": post.heads, "positions": post.positions,
            "test_scale": round(self.learner.scale.item(), 2), "templates": {"zh": list(prompts.CHINESE)},
        }  # fmt: skip
        return options | ({"tower": self.settings.tower} if self.settings.has_tower else {})

    def exported(self) -> dict[str, Tensor]:
        """All that differs from the frozen CLIP, under the names of a video row."""
        state = {**self.learner.post.state_dict(), **self.learner.text.exported()}
        state["clip.logit_scale"] = self.learner.scale.detach().log()
        if self.learner.image is not None:
            learned = {name for name, p in self.learner.image.named_parameters() if p.requires_grad}
            state |= {
                f"clip.visual.{name}": tensor
                for name, tensor in self.learner.image.state_dict().items()
                if name in learned
            }
        return state


def variant(settings: Settings, **changes: Any) -> Settings:
    """The settings of another run; the tower is the one that its prompts need."""
    made = replace(settings, **changes)
    return replace(made, clip=TOWER) if made.has_tower and made.clip == CLIP else made
