"""Train the miniature LSeg on classroom scenes (Li et al. 2022, section 4): masks for four fifths of the concepts.

    python -m core.classroom train lseg --minutes 40
    python -m core.classroom train lseg --minutes 10 --block bottleneck --depth 2     (a row of the ablation)

As in the paper: the text tower is CLIP's and frozen, the loss is a softmax cross-entropy over labels at every pixel with
temperature 0.07, labels are bare names. Unlike the paper the backbone is the image tower of the same CLIP, frozen too, and
not a classifier that is tuned: a miniature has no ImageNet to come from, and what CLIP knows of concepts without masks stays.
The decoder starts as what CLIP's attention pooling says of each place by itself (`warm_start`), and learns to draw from there.
An image is labelled with the concepts it shows and others by lot; what no object covers is "background", or one of its other
names. Concepts without masks (`concepts.unseen`) are in no scene here; the CLIP has seen them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.checkpoints import bytewise
from core.checkpoints.integrity import sha256
from core.classroom.recipes.common.export import MEAN, STD
from core.classroom.recipes.common.masks import labelled
from core.classroom.recipes.common.miniature import Miniature, export_folder
from core.classroom.recipes.common.running import SEED, Run, by_shape, fast_arithmetic
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import concepts, seen
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, sample
from core.classroom.world.wording import LANGUAGES
from core.clip.resnet import picture_tower, value_path
from core.segmentation.blocks import Kind
from core.segmentation.lseg import TEMPERATURE, LSegNet, pixel_loss

CLIP = "classroom-rn"
ARCHITECTURE = "classroom"
BACKGROUND = {"en": ("background", "other", "nothing"), "zh": ("背景", "其他", "空白")}
LABELS = 40  # of an image, besides background
RATE = 1.5e-3
# Until this share of the time: side of the images, images a step.
PHASES = ((0.3, 64, 48), (1.01, 96, 24))


@dataclass
class Settings:
    """One training run.

    clip: a bundled row or the folder of an export, whose towers are used. scenes: of the training. background: how much a
    pixel of the background counts in the loss at the start, beside 1 for a pixel of an object; it grows to 1 with the time.
    units: how strong the convolutions of the decoder are at the start, see `warm_start`. larger: times as many images in a step,
    for a GPU.
    """

    clip: str = CLIP
    minutes: float = 40.0
    device: str = "cpu"
    out: Path = Path("runs/lseg")
    block: Kind = "none"
    depth: int = 0
    seed: int = 0
    steps: int | None = None
    phases: tuple[tuple[float, int, int], ...] = PHASES
    log_every: int = 20
    labels: int = LABELS
    rate: float = RATE
    scenes: SceneSettings = field(default_factory=lambda: SceneSettings(concepts=seen()))
    background: float = 1.0
    units: float = 0.0
    larger: int = 1


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        super().__init__(s, s.device)
        self.atlas = atlas or open_atlas(device=s.device)
        self.folder = export_folder(s.clip)
        self.names, self.grounds = self._texts()
        self.net = LSegNet(ARCHITECTURE, s.block, s.depth, with_clip=False)
        clip = load_file(self.folder / "model.safetensors")
        self.net.pretrained.load_state_dict(picture_tower(clip, "model."))
        warm_start(
            self.net, clip, torch.cat([torch.cat(self.names[lang]) for lang in LANGUAGES]).cpu(), s.units
        )
        self.net.to(self.device)
        for part in (self.net.pretrained, self.net.scratch):
            part.to(memory_format=torch.channels_last)
        self.net.pretrained.requires_grad_(False)
        self.learner = self.net.scratch
        self.optimizer = torch.optim.AdamW(by_shape(self.learner.parameters(), s.rate, 0.02), lr=s.rate)
        self.resume(self.device)

    def _texts(self) -> tuple[dict[str, list[Tensor]], dict[str, Tensor]]:
        """Frozen features by language: of each concept under its names [M, D], and of background's names."""
        miniature = Miniature(self.folder)
        names = {
            lang: [
                forms.to(self.device)
                for forms in miniature.lists([[c.name(lang), *c.also(lang)] for c in concepts()])
            ]
            for lang in LANGUAGES
        }
        return names, {lang: miniature.texts(words).to(self.device) for lang, words in BACKGROUND.items()}

    def labels(self, shown: list[list[int]], rng: random.Random, lang: str) -> tuple[list[list[int]], Tensor]:
        """The concepts [B][N] that label each image, its own first, and features [B, 1 + N, D], background first."""
        forms = {i: self._form(i, rng, lang) for i in seen()}
        grounds = self.grounds[lang]
        chosen, texts = [], []
        for own in shown:
            others = rng.sample(seen(), self.settings.labels + len(own))
            chosen.append([*own, *(i for i in others if i not in own)][: self.settings.labels])
            ground = grounds[rng.randrange(len(grounds))]
            texts.append(torch.stack([ground, *(forms[i] for i in chosen[-1])]))
        return chosen, torch.stack(texts)

    def _form(self, concept: int, rng: random.Random, lang: str) -> Tensor:
        """[D] a concept's name, or now and then another name of it."""
        forms = self.names[lang][concept]
        return forms[0] if rng.random() < 0.8 else forms[rng.randrange(len(forms))]

    def train_step(self) -> dict[str, float]:
        """One step on one batch of scenes, labelled in one language."""
        _, size, batch = next(phase for phase in self.settings.phases if self.progress < phase[0])
        batch *= self.settings.larger
        self.schedule()
        self.learner.train()
        self.net.pretrained.eval()
        spec = sample(batch, SEED + (self.settings.seed << 24) + self.step, self.atlas, self.settings.scenes)
        scenes = render(spec, self.atlas, size)
        truth = labelled(scenes)
        rng = random.Random(self.step)
        shown = [sorted(set(t.unique().tolist()) - {-1}) for t in truth]
        chosen, texts = self.labels(shown, rng, LANGUAGES[self.step % 2])
        column = torch.zeros(batch, len(concepts()) + 1, dtype=torch.long, device=self.device)
        places = torch.arange(1, self.settings.labels + 1, device=self.device).expand(batch, -1)
        column.scatter_(1, torch.tensor(chosen, device=self.device) + 1, places)
        target = column.gather(1, (truth + 1).flatten(1)).view_as(truth)  # [B, H, W]; 0 is background
        # The backbone halves what it is given; scenes are drawn at the half, and compared at the size of the features.
        halved = ((scenes.picture - MEAN[0]) / STD[0]).contiguous(memory_format=torch.channels_last)
        with fast_arithmetic(self.device):
            with torch.no_grad():
                maps = self.net.pretrained.maps(halved)
            cosines = self.net.scratch.cosines(self.net.scratch.paths(maps)[-1], texts)
        logits = self.net.regularized(cosines / TEMPERATURE)
        counts = torch.ones(logits.shape[1], device=self.device)
        counts[0] = self.settings.background + (1 - self.settings.background) * self.progress
        loss = pixel_loss(logits, target, counts)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learner.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            guess = logits[::4].argmax(1)
            target = target[::4]
            inside = target > 0
            right = (guess == target)[inside].float().mean()
            found = ((guess > 0) & inside).sum() / ((guess > 0) | inside).sum()
        return {
            "batch": batch, "size": size, "loss": loss.item(), "named": right.item(), "found": found.item(),
            "lr": self.optimizer.param_groups[0]["lr"],
        }  # fmt: skip

    def export(self) -> Path:
        """model.safetensors in one byte a number without the image tower, and training.json."""
        folder = self.out / "classroom-lseg"
        folder.mkdir(parents=True, exist_ok=True)
        state = {f"scratch.{k}": v for k, v in self.learner.state_dict().items()}
        save_file(bytewise.packed(state), folder / "model.safetensors")
        note = {
            "paper": "lseg",
            "clip": {self.folder.name: sha256(self.folder / "model.safetensors")},
            "block": self.settings.block,
            "depth": self.settings.depth,
            "seed": self.settings.seed,
            **self.spent(),
        }
        self.write_note(folder, note)
        return folder


@torch.no_grad()
def warm_start(net: LSegNet, clip: Mapping[str, Tensor], texts: Tensor, units: float = 0.0) -> None:
    """Makes the decoder say of each place what CLIP's attention pooling says of it alone (MaskCLIP's reading of it).

    The value path c_proj(v_proj(x + position)) is linear, W x + b; the decoder is narrower than the joint space, so it gets
    the part of W that texts can see, its first right singular vectors. All else in the decoder starts as no change; with
    `units` above 0 its convolutions change a little, and then they learn from the first step on.

    Args:
        net: its `scratch` is overwritten.
        clip: the state dict of an open_clip ResNet CLIP whose last stage the backbone shares.
        texts: [M, D] features of what will be asked for, norm 1.
        units: the scale of the residual units at the start.
    """
    weight, bias = value_path(clip, placed=True)
    scratch = net.scratch
    width = scratch.head1.in_channels
    basis = torch.linalg.svd(texts, full_matrices=False).Vh[:width].T  # [D, F]
    for layer in (scratch.layer1_rn, scratch.layer2_rn, scratch.layer3_rn):
        layer.weight.mul_(0.1)
    scratch.layer4_rn.weight.zero_()
    scratch.layer4_rn.weight[:, -weight.shape[1] :, 1, 1] = basis.T @ weight
    scratch.head1.weight.copy_(basis[:, :, None, None])
    scratch.head1.bias.copy_(bias)
    for block in (scratch.refinenet1, scratch.refinenet2, scratch.refinenet3, scratch.refinenet4):
        block.out_conv.weight.copy_(torch.eye(width)[:, :, None, None])
        block.out_conv.bias.zero_()
        for unit in (block.resConfUnit1, block.resConfUnit2):
            unit.bn2.weight.fill_(units)
    regularization = scratch._modules.get("head_block")
    if regularization is not None:
        # A random start turns the maps upside down as often as not, and applied twice it does not learn.
        conv = regularization.depthwise.depthwise
        conv.weight.zero_()
        conv.weight[..., 1, 1] = 1
        conv.bias.zero_()
