"""Train the miniature GroupViT on classroom scenes with their captions (Xu et al. 2022, section 3): no mask is ever used.

    python -m core.classroom train groupvit --minutes 45
    python -m core.classroom train groupvit --minutes 10 --groups 64 --groups 8     (64-8; give it once for one block)
    python -m core.classroom train groupvit --start runs/groupvit/classroom-groupvit --minutes 40 --seed 1

As in the paper: captions and images are matched (equations 6 and 7), and so are images and the prompted nouns of their
captions (8 and 9); grouping is hard with Gumbel noise. Unlike the paper it does not start from nothing, because the paper
has weeks of GPUs for what takes minutes here: the text tower is that of a miniature CLIP, which learned from captions too, and
is locked, only the projection behind it is trained; the layers of the image tower are those of the same CLIP's ViT, and
only the last stage's, which see groups in place of patches, are tuned. And five terms are added that the paper can do without
(`core.segmentation.grouping`): single groups are matched with nouns, groups are used evenly, the patches of a group look alike,
few groups answer to one noun, and a group says what a CLIP's pooling says of its places (MaskCLIP's reading, distilled): a
ViT's tokens know of objects elsewhere, so background would answer to their names as readily. None of them knows a mask.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from core import checkpoints
from core.checkpoints.integrity import sha256
from core.classroom.recipes.clip.objectives import content, true_pairs
from core.classroom.recipes.common import tokenizer as tokens
from core.classroom.recipes.common.export import MEAN, STD, shipped
from core.classroom.recipes.common.miniature import WEIGHTS, export_folder, tensors
from core.classroom.recipes.common.running import SEED, Run, by_shape, fast_arithmetic
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.captions import Writer
from core.classroom.world.concepts import concepts
from core.classroom.world.scenes import render
from core.classroom.world.specs import BACKGROUNDS, SceneSettings, Spec, sample
from core.classroom.world.wording import LANGUAGES, TEMPLATES, ground_phrase, phrase
from core.clip.resnet import ClipResNetBackbone, picture_tower, value_path
from core.segmentation import grouping
from core.segmentation.groupvit import build, picture_layers, text_tower

CLIP, SIBLING = "classroom-vit", "classroom-rn"
SIZE, PATCH = 96, 8
RATE, RATE_LATER = 1.5e-3, 5e-4  # the later one in a run that goes on from an export
TUNED = 0.2  # the rate of what starts as CLIP's, as a share
MAX_SCALE = 30.0
SPREAD = 0.5  # weight of the uneven use of groups
WITHIN = 8.0  # weight of what differs within groups
UNSURE = 0.4  # weight of how many groups answer to a noun
TOLD = 3.0  # weight of what the sibling says of a group's places
LOUPE = (
    128  # side of the images that the sibling says it of: of 4 x 4 places, twice as many as at its own size
)
APART = 0.5  # how far apart group tokens start, in the units of the patches beside them
# Until this share of the time: side of the images, images a step.
PHASES = ((0.6, 64, 96), (1.01, SIZE, 64))


@dataclass
class Settings:
    """One training run. `clip`: a bundled row or the folder of an export; `start`: a bundled row or the folder of an export that
    goes on learning at the last phase's size, empty for a new one; `groups`: of each grouping block; `larger`: times as many
    images in a step, for a GPU."""

    clip: str = CLIP
    start: str = ""
    minutes: float = 45.0
    device: str = "cpu"
    out: Path = Path("runs/groupvit")
    groups: tuple[int, ...] = (64, 8)
    seed: int = 0
    steps: int | None = None
    phases: tuple[tuple[float, int, int], ...] = PHASES
    log_every: int = 20
    larger: int = 1

    @property
    def rate(self) -> float:
        """The highest rate of the run."""
        return RATE_LATER if self.start else RATE


def configuration(groups: tuple[int, ...], clip: dict[str, Any]) -> dict[str, Any]:
    """transformers' configuration of the miniature.

    Args:
        groups: of each grouping block.
        clip: the model_cfg of the ViT CLIP whose text tower it shares and whose layers it starts from.
    """
    depths = {1: [4, 2], 2: [3, 2, 1]}[len(groups)]
    text, vision = clip["text_cfg"], clip["vision_cfg"]
    return {
        "projection_dim": clip["embed_dim"],
        "projection_intermediate_dim": 2 * max(text["width"], vision["width"]),
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
            "hidden_size": vision["width"],
            "intermediate_size": 4 * vision["width"],
            "num_hidden_layers": sum(depths),
            "depths": depths,
            "num_group_tokens": [*groups, 0],
            "num_output_groups": [*groups, groups[-1]],
            "num_attention_heads": vision["width"] // vision["head_width"],
            "image_size": SIZE,
            "patch_size": PATCH,
            "assign_mlp_ratio": [0.5, 2],
        },
    }


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        super().__init__(s, s.device)
        self.atlas = atlas or open_atlas(device=s.device)
        self.folder = export_folder(s.clip)
        self.tokenizer = tokens.load(self.folder / "tokenizer.json")
        clip = json.loads((self.folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
        self.context = int(clip["text_cfg"]["context_length"])
        self.phases = s.phases[-1:] if s.start else s.phases
        self.config = configuration(s.groups, clip)
        self.learner: Any = build(self.config)
        weights = {k: v.float() for k, v in tensors(self.folder).items()}
        tuned = warm_start(self.learner, weights, self.config["vision_config"]["depths"])
        self.learner.text_model.requires_grad_(False)
        for stage in self.learner.vision_model.encoder.stages[:-1]:
            stage.layers.requires_grad_(False)
        self.learner.to(self.device)
        trained = {k: p for k, p in self.learner.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            [
                *by_shape((p for k, p in trained.items() if k in tuned), TUNED * s.rate, 0.05),
                *by_shape((p for k, p in trained.items() if k not in tuned), s.rate, 0.05),
            ],
            lr=s.rate,
            betas=(0.9, 0.98),
        )
        sibling = export_folder(SIBLING, beside=self.folder)
        self.sibling = resnet(sibling).to(self.device)
        weight, bias = value_path(tensors(sibling), placed=False)
        self.values = weight[:, :, None, None].to(self.device), bias.to(self.device)
        self.nouns = {lang: self._nouns(lang) for lang in LANGUAGES}
        if s.start:
            known = checkpoints.load_state_dict(export_folder(s.start) / WEIGHTS)
            self.learner.load_state_dict(self.learner.state_dict() | known)
        else:
            self._settle_norms()
        self.resume(self.device)

    @torch.no_grad()
    def _read(self, lines: list[str]) -> Tensor:
        """What the locked text tower says of texts [N, W], before the projection."""
        ids = tokens.tokenize(self.tokenizer, lines, self.context)
        ids = ids[:, : int(ids.gt(0).sum(1).max())].to(self.device)
        return self.learner.text_model(ids).pooler_output

    def _nouns(self, lang: str) -> Tensor:
        """[forms, C + grounds, W] of every concept's name in each template, then of every background's."""
        forms = dict.fromkeys(TEMPLATES[lang])
        grounds = [ground_phrase(ground, lang) for ground in BACKGROUNDS]
        names = [*(phrase(c.name(lang), lang) for c in concepts()), *grounds]
        return torch.stack([self._read([form.format(name) for name in names]) for form in forms])

    @torch.no_grad()
    def _settle_norms(self) -> None:
        """Makes both projections' batch norms hand through what they see of a first batch."""
        spec = sample(self.phases[0][2], SEED - 1, self.atlas, SceneSettings())
        picture = (render(spec, self.atlas, self.phases[0][1]).picture - MEAN[0]) / STD[0]
        nouns = torch.cat([*self.nouns.values()]).flatten(0, 1).float()
        for norm, look in (
            (self.learner.text_projection[1], lambda: self.learner.text_projection[0](nouns)),
            (self.learner.visual_projection[1], lambda: self._hidden(picture)),
        ):
            hidden = look()
            norm.running_mean.copy_(hidden.mean(0))
            norm.running_var.copy_(hidden.var(0))
            norm.bias.copy_(hidden.mean(0))
            norm.weight.copy_((hidden.var(0) + norm.eps).sqrt())

    def _hidden(self, picture: Tensor) -> Tensor:
        """[N, H] what the first half of the visual projection makes of groups."""
        caught: list[Tensor] = []
        handle = self.learner.visual_projection[0].register_forward_hook(lambda *args: caught.append(args[2]))
        self.learner.eval()
        grouping.encode(self.learner, picture)
        handle.remove()
        return caught[0]

    def train_step(self) -> dict[str, float]:
        """One step on one batch of scenes, told in one language."""
        s, learner = self.settings, self.learner
        _, size, batch = next(phase for phase in self.phases if self.progress < phase[0])
        batch *= s.larger
        self.schedule()
        learner.train()
        lang, rng = LANGUAGES[self.step % 2], random.Random(self.step)
        spec = sample(batch, SEED + (s.seed << 24) + self.step, self.atlas, SceneSettings())
        picture = render(spec, self.atlas, size).picture
        writer = Writer(spec, self.atlas.mono)
        captions = [writer.write(i, lang, rng) for i in range(len(writer))]
        with fast_arithmetic(self.device):
            sentences = self._read([caption.text for caption in captions]).float()
            seen = grouping.encode(learner, (picture - MEAN[0]) / STD[0], noise=True)
        present, truth = self._present(spec)
        nouns = self.nouns[lang][rng.randrange(len(self.nouns[lang]))][present].float()
        with fast_arithmetic(self.device):
            texts = learner.text_projection(torch.cat([sentences, nouns]))
        texts = F.normalize(texts.float(), dim=-1)
        image = F.normalize(seen.image_features.float(), dim=-1)
        groups = F.normalize(seen.group_features.float(), dim=-1)
        scale = learner.logit_scale.exp()
        pairs = true_pairs(captions, spec).to(self.device) > 0
        matched = grouping.multi_label_contrast(image, texts[:batch], pairs, scale)
        named = grouping.multi_label_contrast(image, texts[batch:], truth, scale)
        single = grouping.group_contrast(groups, texts[batch:], truth, scale)
        objects = truth * (present < len(concepts()))
        unsure = grouping.undecided(groups, texts[batch:], objects, scale)
        uneven = grouping.spread([soft.float() for soft in seen.assignments])
        within = grouping.unexplained([soft.float() for soft in seen.assignments], self._looks(picture))
        told = grouping.unlike(groups, [soft.float() for soft in seen.assignments], self._said(picture))
        loss = matched + named + single + SPREAD * uneven + WITHIN * within + UNSURE * unsure + TOLD * told
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            learner.logit_scale.clamp_(1.0, float(torch.tensor(MAX_SCALE).log()))
            used = seen.assignments[-1].argmax(1)  # [B, segments]
            busy = F.one_hot(used, self.settings.groups[-1]).amax(1)  # [B, groups]
        return {
            "batch": batch, "size": size, "loss": loss.item(), "captions": matched.item(), "nouns": named.item(),
            "groups": single.item(), "uneven": uneven.item(), "within": within.item(), "unsure": unsure.item(),
            "told": told.item(), "groups used": busy.sum(1).float().mean().item(), "scale": scale.item(),
            "lr": self.optimizer.param_groups[0]["lr"],
        }  # fmt: skip

    @torch.no_grad()
    def _looks(self, picture: Tensor) -> Tensor:
        """[B, P, C] what patches look like: their colour, and the inner maps of the CLIP's ResNet sibling, which saw no mask
        either and knows less of places than a ViT does; both with equal weight."""
        _, fine, coarse, _ = self.sibling((picture - MEAN[0]) / STD[0])
        grid = (picture.shape[-2] // PATCH, picture.shape[-1] // PATCH)
        maps = [F.interpolate(x, grid, mode="bilinear").flatten(2).transpose(1, 2) for x in (fine, coarse)]
        colour = F.avg_pool2d(picture, PATCH).flatten(2).transpose(1, 2)
        parts = [torch.cat([x / x.std(dim=(0, 1)).clamp_min(1e-3) for x in maps], dim=-1), colour]
        spread = [(part - part.mean(dim=(0, 1))).square().sum(-1).mean().sqrt() for part in parts]
        return torch.cat(
            [part / size.clamp_min(1e-6) for part, size in zip(parts, spread, strict=True)], dim=-1
        )

    @torch.no_grad()
    def _said(self, picture: Tensor) -> Tensor:
        """[B, P, D] what the pooling of the CLIP's ResNet sibling says of each patch by itself, norm 1."""
        large = F.interpolate(picture, (LOUPE, LOUPE), mode="bilinear")
        with fast_arithmetic(self.device):
            values = F.conv2d(self.sibling((large - MEAN[0]) / STD[0])[3], *self.values).float()
        grid = (picture.shape[-2] // PATCH, picture.shape[-1] // PATCH)
        return F.normalize(F.interpolate(values, grid, mode="bilinear").flatten(2).transpose(1, 2), dim=-1)

    def _present(self, spec: Spec) -> tuple[Tensor, Tensor]:
        """The concepts and backgrounds that the batch names [M], and which images show them [B, M]."""
        grounds = (
            F.one_hot(spec.background, len(BACKGROUNDS)) * (spec.rendering == 0)[:, None]
        )  # only in colour
        shown = torch.cat([content(spec) > 0, grounds > 0], dim=1).to(self.device)  # [B, C + grounds]
        present = torch.nonzero(shown.any(0))[:, 0]
        return present, shown[:, present]

    def export(self) -> Path:
        """model.safetensors in half precision without what is CLIP's, config.json and training.json."""
        folder = self.out / "classroom-groupvit"
        folder.mkdir(parents=True, exist_ok=True)
        locked = {k for k, p in self.learner.named_parameters() if not p.requires_grad}
        own = {k: shipped(v) for k, v in self.learner.state_dict().items() if k not in locked}
        save_file(own, folder / WEIGHTS)
        (folder / "config.json").write_text(json.dumps(self.config, indent=1) + "\n", encoding="utf-8")
        note = {
            **self.origin("groupvit"),
            "paper": "groupvit",
            "clip": {self.folder.name: sha256(self.folder / WEIGHTS)},
            "groups": list(self.settings.groups),
            "seed": self.settings.seed,
            **self.spent(),
        }
        self.write_note(folder, note)
        return folder


def resnet(folder: Path) -> ClipResNetBackbone:
    """The image tower of an exported ResNet CLIP, frozen."""
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"][
        "vision_cfg"
    ]
    tower = ClipResNetBackbone(tuple(config["layers"]), config["width"])
    tower.load_state_dict(picture_tower(load_file(folder / WEIGHTS), "model."))
    return tower.eval().requires_grad_(False)


@torch.no_grad()
def warm_start(model: Any, clip: Mapping[str, Tensor], depths: Sequence[int]) -> set[str]:
    """Puts the towers of a ViT CLIP into an untrained GroupViT; returns the names of what now holds CLIP's.

    Layers and projections are CLIP's own. A grouping block starts by comparing tokens and segments as they are and by
    handing on the mean of what chose a group. GroupViT adds places after its first normalisation and CLIP before, so the
    first layers see a little different sums.

    Args:
        model: as `build` makes it.
        clip: the state dict of an open_clip CLIP with a ViT of the same width and patches.
        depths: layers of each stage.
    """
    places = clip["visual.positional_embedding"][1:]  # without the class token's
    side = round(len(places) ** 0.5)
    grid = model.config.vision_config.image_size // model.config.vision_config.patch_size
    places = places.T.unflatten(1, (side, side))[None]
    embeddings = "vision_model.embeddings."
    state = {
        **text_tower(clip),
        **picture_layers(clip, depths),
        f"{embeddings}patch_embeddings.projection.weight": clip["visual.conv1.weight"],
        f"{embeddings}layernorm.weight": clip["visual.ln_pre.weight"],
        f"{embeddings}layernorm.bias": clip["visual.ln_pre.bias"],
        f"{embeddings}position_embeddings": F.interpolate(places, (grid, grid), mode="bicubic").flatten(2).transpose(1, 2),
        "vision_model.layernorm.weight": clip["visual.ln_post.weight"],
        "vision_model.layernorm.bias": clip["visual.ln_post.bias"],
        **through_relu("visual_projection", clip["visual.proj"].T, torch.zeros(len(clip["visual.proj"].T)), model),
        **through_relu("text_projection", clip["text_projection.weight"], clip["text_projection.bias"], model),
    }  # fmt: skip
    if model.load_state_dict(state, strict=False).unexpected_keys:
        raise ValueError("not the layers of this GroupViT")
    for stage in model.vision_model.encoder.stages:
        if stage.group_token is not None:
            nn.init.normal_(stage.group_token, std=APART)
            for part in ("q_proj", "k_proj", "v_proj", "proj"):
                nn.init.eye_(stage.downsample.assign.get_submodule(part).weight)
    return set(state)


def through_relu(name: str, weight: Tensor, bias: Tensor, model: Any) -> dict[str, Tensor]:
    """A linear map [D, W] as GroupViT's two-layer projection: x and -x go through the ReLU and are put together again."""
    width = weight.shape[1]
    first = torch.zeros_like(model.get_submodule(name)[0].weight)
    first[:width], first[width : 2 * width] = torch.eye(width), -torch.eye(width)
    last = torch.zeros_like(model.get_submodule(name)[3].weight)
    last[:, :width], last[:, width : 2 * width] = weight, -weight
    return {
        f"{name}.0.weight": first,
        f"{name}.0.bias": torch.zeros(len(first)),
        f"{name}.3.weight": last,
        f"{name}.3.bias": bias,
    }
