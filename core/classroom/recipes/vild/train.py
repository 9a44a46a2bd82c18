"""Train the miniature ViLD on classroom scenes (Gu et al. 2022): boxes for four fifths of the concepts, CLIP for the rest.

    python -m core.classroom train vild --minutes 40

Scenes show all concepts; boxes are known of base categories only (`concepts.seen`), and what is never seen stands in the scenes
without a box, as novel categories do in the paper's. The backbone is the image tower of classroom-rn, frozen, so its maps of
a set of scenes are computed once. Three stages share the time:

    1  proposals: pyramid, RPN and box head learn where something is, whatever it is
    2  M proposals of every scene of the set are cropped at 1x and 1.5x and encoded by CLIP, once, as the paper does
    3  the three region heads learn, and stage 1 goes on: text loss on N sampled proposals of the set and of fresh scenes,
       L1 distillation on the M precomputed ones, both losses for the joint head

Unlike the paper, one pyramid serves the heads of all variants, so one file answers for each; images have 128 pixels, the heads
two convolutions in place of four. The language of the base categories' texts changes from step to step.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from core.checkpoints.integrity import sha256
from core.classroom.recipes.common.export import MEAN, STD, shipped
from core.classroom.recipes.common.miniature import Miniature, export_folder
from core.classroom.recipes.common.running import SEED, Run, by_shape, fast_arithmetic
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import concepts, seen, unseen
from core.classroom.world.scenes import Scenes, render
from core.classroom.world.specs import SceneSettings, sample
from core.classroom.world.wording import LANGUAGES
from core.clip.resnet import picture_tower
from core.detection import boxes as of_boxes
from core.detection import wording
from core.detection.proposals import recall, smooth_l1
from core.detection.regions import DISTILLATION, ViLDNet, image_loss, text_loss, vild_loss
from core.detection.vild import architectures

CLIP = "classroom-rn"
ARCHITECTURE = "vild_classroom"
SIZE = 128  # of the images
RATE = 2e-3
PROPOSING = 0.1  # the share of the time that stage 1 gets
SAMPLED, FOREGROUND = 32, 0.25  # N of each image, and how many of them cover a base box
PRECOMPUTED = 12  # M of each image
MATCH = 0.5  # IoU
LEAST_SEEN = 0.25  # of an object, or it has no box
SCALE = 20.0  # 1 / temperature; the miniature CLIP's own is 10
SCENES = SceneSettings(kinds=(0.3, 0.4, 0.1, 0.2), looks=(0.75, 0.05, 0.05, 0.05, 0.05, 0.05), augment=0.7)
CROP_SIDE, CROPS_AT_ONCE = 64, 24


@dataclass
class Settings:
    """One training run. `clip`: a bundled row or the folder of an export; `scenes`: in the set; `batch`: of the set a step,
    `fresh`: drawn for it; `larger`: times as many of both, for a GPU."""

    clip: str = CLIP
    minutes: float = 40.0
    device: str = "cpu"
    out: Path = Path("runs/vild")
    seed: int = 0
    steps: int | None = None
    scenes: int = 5000
    batch: int = 16
    fresh: int = 8
    log_every: int = 50
    larger: int = 1


@dataclass
class Truth:
    """What stands in one picture: boxes [K, 4] and concepts [K] of what is seen well enough."""

    boxes: Tensor
    concepts: Tensor

    def only(self, which: Tensor) -> Truth:
        """The objects whose concept is marked in `which` [C]."""
        kept = which[self.concepts]
        return Truth(self.boxes[kept], self.concepts[kept])


def truths(scenes: Scenes) -> list[Truth]:
    """Boxes of the visible part of every object that is not almost hidden, on the device of the images."""
    boxes = scenes.boxes(visible=True).float()
    shown = scenes.visible.flatten(2).sum(-1) / scenes.amodal.flatten(2).sum(-1).clamp(min=1)
    good = scenes.spec.present.to(boxes.device) & (shown >= LEAST_SEEN)
    concept = scenes.spec.concept.to(boxes.device)
    return [Truth(b[g], c[g]) for b, c, g in zip(boxes, concept, good, strict=True)]


@dataclass
class Shelf:
    """The set of scenes: frozen maps in half precision, images in bytes until they are cropped, truth."""

    maps: list[Tensor] = field(default_factory=list)
    pictures: Tensor | None = None
    truth: list[Truth] = field(default_factory=list)
    proposals: list[Tensor] = field(default_factory=list)  # [M, 4] of each
    crops: list[Tensor] = field(default_factory=list)  # [M, D] of each

    def __len__(self) -> int:
        return len(self.truth)


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        super().__init__(s, s.device)
        self.atlas = atlas or open_atlas(device=s.device)
        self.folder = export_folder(s.clip)
        self.clip = Miniature(self.folder)
        self.clip.model.visual.to(self.device)
        self.base = torch.zeros(len(concepts()), dtype=torch.bool, device=self.device)
        self.base[list(seen())] = True
        # Concept -> its column in the text loss, 0 for none.
        self.column = torch.where(self.base, self.base.long().cumsum(0), 0)
        self.names = {lang: base_texts(self.clip, lang).to(self.device) for lang in LANGUAGES}
        self.net = ViLDNet(architectures()[ARCHITECTURE])
        clip = load_file(self.folder / "model.safetensors")
        self.net.pretrained.load_state_dict(picture_tower(clip, "model."))
        self.net.pretrained.requires_grad_(False)
        self.net.to(self.device)
        for part in (self.net.pretrained, self.net.proposer):
            part.to(memory_format=torch.channels_last)
        self.learner = self.net
        trained = [p for p in self.net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(by_shape(trained, RATE, 0.05), lr=RATE)
        self.shelf = Shelf()
        self.of_set, self.fresh = s.batch * s.larger, s.fresh * s.larger
        self.resume(self.device)

    # --- the set ---------------------------------------------------------------------------------------

    def scenes(self, count: int, seed: int) -> tuple[Tensor, list[Tensor], list[Truth]]:
        """Pictures [B, 3, S, S], the frozen tower's maps at strides 8, 16, 32, and the truth."""
        made = render(sample(count, SEED + seed, self.atlas, SCENES), self.atlas, SIZE)
        pixels = ((made.picture - MEAN[0]) / STD[0]).contiguous(memory_format=torch.channels_last)
        with fast_arithmetic(self.device), torch.no_grad():
            maps = [m.bfloat16() for m in self.net.pretrained(pixels)[1:]]
        return made.picture, maps, truths(made)

    def fill(self) -> None:
        """Draws the set and computes its maps."""
        self.net.pretrained.eval()
        parts = []
        for start in range(0, self.settings.scenes, 96):
            count = min(96, self.settings.scenes - start)
            picture, maps, truth = self.scenes(count, (self.settings.seed << 24) + start)
            parts.append(((picture * 255).byte(), *maps))
            self.shelf.truth += truth
        self.shelf.pictures, *self.shelf.maps = (torch.cat(column) for column in zip(*parts, strict=True))

    def precompute(self) -> None:
        """Stage 2: M proposals of every scene with CLIP's embeddings of their crops, 1x and 1.5x added and normalised."""
        assert self.shelf.pictures is not None
        self.net.eval()
        for start in range(0, len(self.shelf), CROPS_AT_ONCE):
            rows = slice(start, start + CROPS_AT_ONCE)
            found = self.propose([m[rows] for m in self.shelf.maps])
            found = [f[:PRECOMPUTED] for f in found]
            self.shelf.proposals += found
            self.shelf.crops += self.seen_by_clip(self.shelf.pictures[rows].float() / 255, found)
        self.shelf.pictures = None

    @torch.no_grad()
    def propose(self, maps: list[Tensor]) -> list[Tensor]:
        """Proposals [M, 4] of each image, best first."""
        self.net.eval()
        with fast_arithmetic(self.device):
            levels = self.net.proposer.pyramid(maps)
            return self.net.proposer.propose(levels, (SIZE, SIZE))[0]

    def seen_by_clip(self, pictures: Tensor, boxes: list[Tensor]) -> list[Tensor]:
        """CLIP's embeddings [M, D] of each picture's boxes, averaged over both crops."""
        total: Tensor | float = 0.0
        for factor in of_boxes.SCALES:
            around = [of_boxes.enlarged(b, factor, SIZE, SIZE) for b in boxes]
            parts = of_boxes.crops(pictures, around, CROP_SIDE)
            with fast_arithmetic(self.device):
                total = total + self.clip.images(parts).float()
        assert isinstance(total, Tensor)
        return list(F.normalize(total, dim=-1).clone().split([len(b) for b in boxes]))

    # --- a step ----------------------------------------------------------------------------------------

    def sampled(self, found: list[Tensor], truth: list[Truth]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """N proposals of each image, a quarter of them on base boxes.

        Returns:
            Boxes [N, 4] of each image; the base box that each is matched with [N, 4]; and targets [sum of N]: the column of
            its category, 0 for background.
        """
        boxes, matched, targets = [], [], []
        for proposals, true in zip(found, truth, strict=True):
            every = torch.cat([proposals, true.boxes])
            if len(true.boxes):
                overlap, which = box_iou(every, true.boxes).max(1)
                column = torch.where(overlap >= MATCH, self.column[true.concepts][which], 0)
                mate = true.boxes[which]
            else:
                column, mate = torch.zeros(len(every), dtype=torch.long, device=self.device), every
            order = torch.randperm(len(every)).to(self.device)
            inside, outside = order[column[order] > 0], order[column[order] == 0]
            inside = inside[: int(SAMPLED * FOREGROUND)]
            kept = torch.cat([inside, outside[: SAMPLED - len(inside)]])
            boxes.append(every[kept])
            matched.append(mate[kept])
            targets.append(column[kept])
        return boxes, matched, torch.cat(targets)

    def train_step(self) -> dict[str, float]:
        """One step on scenes of the set; from stage 3 on also on fresh ones."""
        net = self.net
        if not len(self.shelf):
            self.fill()
        naming = self.progress >= PROPOSING
        if naming and not self.shelf.proposals:
            self.precompute()
        self.schedule()
        net.train()
        net.pretrained.eval()
        rows = torch.randint(
            len(self.shelf), (self.of_set,), generator=torch.Generator().manual_seed(self.step)
        )
        maps = [m[rows] for m in self.shelf.maps]
        truth = [self.shelf.truth[i].only(self.base) for i in rows.tolist()]
        if naming and self.fresh:
            _, more, new = self.scenes(self.fresh, (self.settings.seed << 24) + (1 << 22) + self.step)
            maps = [torch.cat(pair) for pair in zip(maps, more, strict=True)]
            truth += [t.only(self.base) for t in new]
        size = (SIZE, SIZE)
        with fast_arithmetic(self.device):
            levels = net.proposer.pyramid(maps)
            found, _, losses = net.proposer.propose(levels, size, [{"boxes": t.boxes} for t in truth])
        chosen, matched, target = self.sampled(found, truth)
        sampled = net.proposer.regions(levels, chosen, size)
        with fast_arithmetic(self.device):
            hit = target > 0
            wanted = net.coder.encode_single(torch.cat(matched)[hit], torch.cat(chosen)[hit])
            losses["box"] = smooth_l1(net.box(sampled[hit]), wanted)
            if naming:
                precomputed = [self.shelf.proposals[i] for i in rows.tolist()]
                crops = torch.cat([self.shelf.crops[i] for i in rows.tolist()])
                levels = {name: level[: self.of_set] for name, level in levels.items()}
                losses |= self.named(sampled, target, net.proposer.regions(levels, precomputed, size), crops)
        loss = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        self.optimizer.step()
        told = {name: value.item() for name, value in losses.items()}
        if not naming:
            told |= dict.fromkeys(("text", "image", "vild text", "vild image"), 0.0)
        covered, there = recall([c[:SAMPLED] for c in found], [t.boxes for t in truth])
        return {
            "batch": len(truth), **told, "recall": covered / max(there, 1), "lr": self.optimizer.param_groups[0]["lr"],
        }  # fmt: skip

    def named(self, sampled: Tensor, target: Tensor, precomputed: Tensor, crops: Tensor) -> dict[str, Tensor]:
        """Losses of the three heads: N sampled and M precomputed proposals go through the joint one together."""
        net, texts, novel = self.net, self.names[LANGUAGES[self.step % 2]], len(unseen())
        joint = net.heads["vild"](torch.cat([sampled, precomputed]))
        ground = net.background
        _, text, image = vild_loss(joint, texts, ground["vild"], target, crops, SCALE, novel)
        return {
            "text": text_loss(net.heads["text"](sampled), texts, ground["text"], target, SCALE, novel),
            "image": DISTILLATION * image_loss(net.heads["image"](precomputed), crops),
            "vild text": text,
            "vild image": DISTILLATION * image,
        }

    def export(self) -> Path:
        """model.safetensors in half precision without the image tower, the base vocabulary, and training.json."""
        folder = self.out / "classroom-vild"
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: shipped(v) for k, v in self.net.state_dict().items() if not k.startswith("pretrained.")}
        save_file(state, folder / "model.safetensors")
        base = [concepts()[i] for i in seen()]
        words = {lang: [c.name(lang) for c in base] for lang in LANGUAGES}
        words["also"] = [name for c in base for lang in LANGUAGES for name in c.also(lang)]
        text = json.dumps(words, ensure_ascii=False, indent=1) + "\n"
        (folder / "vocabulary.json").write_text(text, encoding="utf-8")
        note = {
            "paper": "vild",
            "clip": {self.folder.name: sha256(self.folder / "model.safetensors")},
            "scenes": self.settings.scenes,
            "seed": self.settings.seed,
            **self.spent(),
        }
        self.write_note(folder, note)
        return folder


def base_texts(clip: Miniature, lang: str) -> Tensor:
    """Features [N, D] of the base categories' names in the sentences that the row asks with."""
    return texts_of(clip, [concepts()[i].name(lang) for i in seen()])


def texts_of(clip: Miniature, labels: list[str]) -> Tensor:
    """Features [N, D], norm 1, of labels in the classroom's sentences."""
    parts = clip.lists([wording.sentences(label, "classroom") for label in labels])
    return F.normalize(torch.stack([part.mean(0) for part in parts]), dim=-1)
