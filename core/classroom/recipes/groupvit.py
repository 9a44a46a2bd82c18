"""Train the miniature GroupViT on classroom scenes with their captions (Xu et al. 2022, section 3): no mask is ever used.

    python -m core.classroom train groupvit --minutes 45
    python -m core.classroom train groupvit --minutes 10 --groups 64 --groups 8     (64-8; give it once for one block)

As in the paper: captions and pictures are matched (equations 6 and 7), and so are pictures and the prompted nouns of their
captions (8 and 9); grouping is hard with Gumbel noise. Unlike the paper the text tower is that of a miniature CLIP, which
learned from captions too, and is locked; only the projection behind it is trained. The same CLIP's picture tower hints, patch
by patch, what its inner stages see there (Romero et al. 2015): the paper has weeks of GPUs for what takes minutes here.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from core.classroom import tokenizer as tokens
from core.classroom.atlas import Atlas, open_atlas
from core.classroom.captions import Writer
from core.classroom.concepts import concepts
from core.classroom.recipes.clip import SEED, Teacher, fast_arithmetic, stages
from core.classroom.recipes.export import MEAN, STD
from core.classroom.recipes.lseg import clip_folder, digest, shipped
from core.classroom.recipes.objectives import content, true_pairs
from core.classroom.recipes.running import Run
from core.classroom.scenes import render
from core.classroom.specs import SceneSettings, Spec, sample
from core.classroom.wording import LANGUAGES, TEMPLATES, phrase
from core.segmentation import grouping
from core.segmentation.groupvit import build, text_tower

SIZE, PATCH, WIDTH, BATCH = 96, 8, 128, 96
RATE = 1.5e-3
MAX_SCALE = 30.0
HINTED = 0.6  # share of the time after which the hints end


@dataclass
class Settings:
    """One training run. `clip`: a bundled row or the folder of an export; `groups`: of each grouping block."""

    clip: str = "classroom-rn"
    minutes: float = 45.0
    device: str = "cpu"
    out: Path = Path("runs/groupvit")
    groups: tuple[int, ...] = (64, 8)
    seed: int = 0
    steps: int | None = None
    size: int = SIZE
    batch: int = BATCH
    log_every: int = 20


def configuration(groups: tuple[int, ...], clip: dict[str, Any], size: int = SIZE) -> dict[str, Any]:
    """transformers' configuration of the miniature.

    Args:
        groups: of each grouping block.
        clip: the model_cfg of the CLIP whose text tower it shares.
        size: side of the pictures.
    """
    depths = {1: [4, 2], 2: [3, 2, 1]}[len(groups)]
    text = clip["text_cfg"]
    return {
        "projection_dim": 128,
        "projection_intermediate_dim": 256,
        "text_config": {
            "vocab_size": text["vocab_size"],
            "hidden_size": text["width"],
            "intermediate_size": 4 * text["width"],
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "max_position_embeddings": text["context_length"],
            "hidden_act": "gelu",
            "eos_token_id": text["vocab_size"] - 1,
        },
        "vision_config": {
            "hidden_size": WIDTH,
            "intermediate_size": 4 * WIDTH,
            "num_hidden_layers": sum(depths),
            "depths": depths,
            "num_group_tokens": [*groups, 0],
            "num_output_groups": [*groups, groups[-1]],
            "num_attention_heads": 4,
            "image_size": size,
            "patch_size": PATCH,
            "assign_mlp_ratio": [0.5, 2],
        },
    }


class Learner(nn.Module):
    """The GroupViT and what is never shipped: the reader of hints."""

    def __init__(self, config: dict[str, Any], channels: int) -> None:
        super().__init__()
        self.model: Any = build(config)
        self.hint = nn.Linear(WIDTH, channels)


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        super().__init__(s.out, s.minutes, s.steps, s.log_every)
        torch.manual_seed(s.seed)
        self.device = torch.device(s.device)
        self.atlas = atlas or open_atlas(device=s.device)
        self.folder = clip_folder(s.clip)
        self.tokenizer = tokens.load(self.folder / "tokenizer.json")
        clip = json.loads((self.folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
        self.context = int(clip["text_cfg"]["context_length"])
        self.config = configuration(s.groups, clip, s.size)
        self.teacher = Teacher(self.folder, self.device)
        learner = Learner(self.config, self.teacher.channels)
        weights = {k: v.float() for k, v in load_file(self.folder / "model.safetensors").items()}
        learner.model.load_state_dict(text_tower(weights), strict=False)
        learner.model.text_model.requires_grad_(False)
        self.learner: Any = learner.to(self.device)
        trained = [p for p in learner.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in trained if p.ndim > 1], "peak": RATE, "weight_decay": 0.05},
                {"params": [p for p in trained if p.ndim < 2], "peak": RATE, "weight_decay": 0.0},
            ],
            lr=RATE,
            betas=(0.9, 0.98),
        )
        self.nouns = {lang: self._nouns(lang) for lang in LANGUAGES}
        self.resume(self.device)

    @torch.no_grad()
    def _read(self, lines: list[str]) -> Tensor:
        """What the locked text tower says of texts [N, W], before the projection."""
        ids = tokens.tokenize(self.tokenizer, lines, self.context)
        ids = ids[:, : int(ids.gt(0).sum(1).max())].to(self.device)
        return self.learner.model.text_model(ids).pooler_output

    def _nouns(self, lang: str) -> Tensor:
        """[forms, C, W] of every concept's name in each template."""
        forms = dict.fromkeys(TEMPLATES[lang])
        return torch.stack(
            [self._read([form.format(phrase(c.name(lang), lang)) for c in concepts()]) for form in forms]
        )

    def train_step(self) -> dict[str, float]:
        """One step on one batch of scenes, told in one language."""
        s, learner = self.settings, self.learner
        self.schedule()
        learner.train()
        lang, rng = LANGUAGES[self.step % 2], random.Random(self.step)
        spec = sample(s.batch, SEED + (s.seed << 24) + self.step, self.atlas, SceneSettings())
        picture = render(spec, self.atlas, s.size).picture
        writer = Writer(spec, self.atlas.mono)
        captions = [writer.write(i, lang, rng) for i in range(len(writer))]
        with fast_arithmetic(self.device):
            told = self._read([caption.text for caption in captions]).float()
            seen = grouping.encode(learner.model, (picture - MEAN[0]) / STD[0], noise=True)
            hints = learner.hint(seen.tokens[0]).float()
        present, truth = self._present(spec)
        nouns = self.nouns[lang][rng.randrange(len(self.nouns[lang]))][present].float()
        with fast_arithmetic(self.device):
            texts = learner.model.text_projection(torch.cat([told, nouns]))
        texts = F.normalize(texts.float(), dim=-1)
        image = F.normalize(seen.image_features.float(), dim=-1)
        scale = learner.model.logit_scale.exp()
        pairs = true_pairs(captions, spec).to(self.device) > 0
        matched = grouping.multi_label_contrast(image, texts[: s.batch], pairs, scale)
        named = grouping.multi_label_contrast(image, texts[s.batch :], truth, scale)
        loss = matched + named
        local = self._hinted(picture, hints)
        if self.progress < HINTED:
            loss = loss + local
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            learner.model.logit_scale.clamp_(1.0, float(torch.tensor(MAX_SCALE).log()))
            used = seen.assignments[-1].argmax(1)  # [B, segments]
            groups = torch.stack([(used == g).any(1) for g in range(self.settings.groups[-1])], 1)
        return {
            "batch": s.batch, "loss": loss.item(), "captions": matched.item(), "nouns": named.item(),
            "hints": local.item(), "groups used": groups.float().sum(1).mean().item(), "scale": scale.item(),
            "lr": self.optimizer.param_groups[0]["lr"],
        }  # fmt: skip

    def _present(self, spec: Spec) -> tuple[Tensor, Tensor]:
        """The concepts that the batch names [M], and which pictures show them [B, M]."""
        shown = content(spec).to(self.device) > 0  # [B, C]
        present = torch.nonzero(shown.any(0))[:, 0]
        return present, shown[:, present]

    def _hinted(self, picture: Tensor, hints: Tensor) -> Tensor:
        """How far the hints [B, P, C] are from what the teacher's second and third stage see at the same patches."""
        tower: Any = self.teacher.clip.visual
        with torch.no_grad(), fast_arithmetic(self.device):
            _, fine, coarse, _ = stages(tower, (picture - MEAN[0]) / STD[0])
        side = self.settings.size // PATCH
        maps = [F.interpolate(x.float(), (side, side), mode="bilinear") for x in (fine, coarse)]
        target = torch.cat(maps, 1).flatten(2).transpose(1, 2)  # [B, P, C]
        flat = target.flatten(0, 1)
        return F.mse_loss(hints, (target - flat.mean(0)) / (flat.std(0) + 1e-3))

    def export(self) -> Path:
        """model.safetensors in half precision without the text tower, config.json and training.json."""
        folder = self.out / "classroom-groupvit"
        folder.mkdir(parents=True, exist_ok=True)
        state = self.learner.model.state_dict()
        own = {k: shipped(v) for k, v in state.items() if not k.startswith("text_model.")}
        save_file(own, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(self.config, indent=1) + "\n", encoding="utf-8")
        note = {
            "paper": "groupvit",
            "clip": {self.folder.name: digest(self.folder / "model.safetensors")},
            "groups": list(self.settings.groups),
            "seed": self.settings.seed,
            "steps": self.step,
            "images": self.images,
            "minutes": round(self.seconds / 60, 1),
        }
        (folder / "training.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        return folder
