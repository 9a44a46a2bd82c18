"""Train the miniature GLIP on classroom scenes (Li et al. 2022, section 3): a teacher on boxes, a student on captions too.

    python -m core.classroom train glip --minutes 35
    python -m core.classroom train glip --start runs/glip/classroom-glip --minutes 60 --seed 1

Who sees what:

    classroom-rn  images of all concepts with captions, no box (it was trained before); its towers are frozen here
    teacher       `GOLD` scenes of seen concepts (`concepts.seen`) with their boxes, and nothing else
    student       the same scenes with their boxes, and scenes of all concepts with a caption alone: the teacher reads the caption
                  and writes boxes for its phrases, those it gives `SURE` or more are kept (section 3.4)

Of a scene with a caption nothing but image and caption is used. A phrase that the teacher is not sure of says nothing, neither
yes nor no. Both learn from the same start for equal shares of images a step; concepts that are never seen are in no box that a
person drew and in no label list of the gold scenes. Every second prompt is a caption, every other a list of labels in any order:
those of the scene and others by lot. Languages alternate from step to step.

Losses, assignment and the head are the paper's (`core.detection.glip`). Unlike the paper, the pictures' tower and the words' are
CLIP's and frozen, so that names without boxes stay where CLIP has put them, and the network starts as what CLIP's attention
pooling says of each place alone (`warm_start`).

A second run goes on from a student (`--start`): the student as it was writes the boxes, and a copy of it learns for the whole
budget on new scenes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.ops import batched_nms

from core import checkpoints
from core.checkpoints import bytewise
from core.checkpoints.integrity import sha256
from core.classroom.recipes.common.export import MEAN, STD
from core.classroom.recipes.common.miniature import WEIGHTS, Miniature, export_folder
from core.classroom.recipes.common.running import SEED, WARM_UP, Run, by_shape, fast_arithmetic
from core.classroom.recipes.glip.beginning import warm_start
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import concepts, seen
from core.classroom.world.grounded import Prompt as Said
from core.classroom.world.grounded import Prompter
from core.classroom.world.scenes import Scenes, render
from core.classroom.world.specs import SceneSettings, Spec, sample
from core.classroom.world.wording import LANGUAGES
from core.clip.resnet import picture_tower
from core.detection.glip import boxes as of_boxes
from core.detection.glip import language
from core.detection.glip.head import Predictions
from core.detection.glip.language import ClipReader, Prompt
from core.detection.glip.losses import Losses, detection_losses
from core.detection.glip.network import GLIPNet

CLIP = "classroom-rn"
ARCHITECTURE = "glip_classroom"
RATE, RATE_LATER = 1.5e-3, 5e-4  # the later one in a run that goes on from an export
# What decides how much all others count learns faster.
GATES, QUICK = ("share_v", "share_l", "log_scale", "bias0"), 10
SIZES = (96, 96, 128)  # of the images, step by step
LABELS = (3, 12)  # of a list
TEACHING = 0.42  # the share of the time that the teacher learns
GOLD = 1024  # scenes with boxes
SURE = 0.5  # the score that the teacher's box needs
WRITTEN = 8  # boxes of an image at most
SMALLEST = 4  # pixels of a visible side, or a thing has no box
# A scene of captions alone is numbered behind all scenes with boxes.
CAPTIONED = 1 << 23
SCENES: dict[str, Any] = {
    "kinds": (0.25, 0.45, 0.1, 0.2),
    "looks": (0.8, 0.06, 0.03, 0.055, 0.055, 0.0),
    "poses": 0.0,
}
END = torch.tensor([0.0, 0.0, 1.0, 1.0])  # a box that reaches to its last pixel -> one that ends behind it


@dataclass
class Settings:
    """One training run. `clip`: a bundled row or the folder of an export; `start`: a bundled row or the folder of an export that
    goes on learning, empty for a new one; `gold`: scenes with boxes; `student`: whether there is one, for an ablation without it;
    `larger`: times as many images in a step, for a GPU."""

    clip: str = CLIP
    start: str = ""
    minutes: float = 35.0
    device: str = "cpu"
    out: Path = Path("runs/glip")
    fusion: bool = True
    student: bool = True
    gold: int = GOLD
    batch: int = 16
    sizes: tuple[int, ...] = SIZES
    seed: int = 0
    steps: int | None = None
    log_every: int = 50
    larger: int = 1

    @property
    def rate(self) -> float:
        """The highest rate of the run."""
        return RATE_LATER if self.start else RATE


@dataclass(frozen=True)
class Batch:
    """Pictures with what they are asked, and where it is.

    said, asked: the prompts as `grounded` writes them and as the network reads them. boxes [B, K, 4] end behind their last pixel;
    present [B, K]; belongs [B, K, L] 1 at the words of a box; counted [B, L] true at words that the loss looks at.
    """

    pictures: Tensor
    said: list[Said]
    asked: list[Prompt]
    words: Tensor
    mask: Tensor
    boxes: Tensor
    present: Tensor
    belongs: Tensor
    counted: Tensor


def boxed(scenes: Scenes) -> tuple[Tensor, Tensor]:
    """Boxes [B, K, 4] of what is visible, and which of them there are [B, K]."""
    boxes = scenes.boxes(visible=True).float()
    large = (boxes[..., 2:] - boxes[..., :2]).amin(-1) >= SMALLEST
    return boxes, scenes.spec.present.to(boxes.device) & large


def word_table(asked: Sequence[Prompt], length: int) -> Tensor:
    """[B, P, L] 1 where a word is of a phrase; B prompts, P phrases at most."""
    table = torch.zeros(len(asked), max(len(prompt.phrases) for prompt in asked), length)
    for row, prompt in zip(table, asked, strict=True):
        row[: len(prompt.phrases)] = prompt.belongs(length)
    return table


def phrase_scores(said: Predictions, table: Tensor) -> Tensor:
    """[B, R, P] what places score for phrases: the mean over a phrase's words, with centerness."""
    mean = table / table.sum(-1, keepdim=True).clamp(min=1)
    probability = said.logits.float().sigmoid() @ mean.mT
    return (probability * said.centerness.float().sigmoid()[..., None]).sqrt()


class Trainer(Run):
    """Runs `Settings`; `run()` trains teacher and student until the time is over and exports the student."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        super().__init__(s, s.device)
        self.batch = s.batch * s.larger
        self.atlas = atlas or open_atlas(device=s.device)
        self.folder = export_folder(s.clip)
        miniature = Miniature(self.folder)
        self.scale = miniature.scale
        miniature.model.to(self.device)
        self.reader = ClipReader(miniature.model, miniature.tokenizer)
        first = GLIPNet(ARCHITECTURE, s.fusion)
        clip = load_file(self.folder / WEIGHTS)
        self.body: nn.Module = first.backbone.body
        self.body.load_state_dict(picture_tower(clip, "model."))
        self.body.to(self.device).eval().requires_grad_(False)
        if s.start:
            known = checkpoints.load_state_dict(export_folder(s.start) / WEIGHTS)
            first.load_state_dict(known | picture_tower(clip, "backbone.body.model."))
        else:
            texts = self.reader.phrases([c.name(lang) for lang in LANGUAGES for c in concepts()])
            coarse = self.maps(self._scenes(SEED - 1, s.batch, s.sizes[0]).picture)[-1]
            warm_start(first, clip, texts.cpu(), coarse.float().cpu(), self.scale)
        second = GLIPNet(ARCHITECTURE, s.fusion)
        second.load_state_dict(first.state_dict())
        second.backbone.body = self.body
        self.nets = {"teacher": first.to(self.device), "student": second.to(self.device)}
        self.parts = nn.ModuleDict(
            {name: nn.ModuleList([net.backbone.fpn, net.rpn]) for name, net in self.nets.items()}
        )
        self.learner = self.parts
        trained = dict(self.learner.named_parameters())
        gates = [p for k, p in trained.items() if k.endswith(GATES)]
        plain = [p for k, p in trained.items() if not k.endswith(GATES)]
        self.optimizer = torch.optim.AdamW(
            [
                *by_shape(plain, s.rate, 0.02),
                {"params": gates, "peak": QUICK * s.rate, "weight_decay": 0.0},
            ],
            lr=s.rate,
        )
        self.resume(self.device)

    # --- whose turn it is ------------------------------------------------------------------------------

    @property
    def teaching(self) -> float:
        """The share of the budget that is the teacher's: equal steps where steps are counted, none for one that is ready."""
        if self.settings.start:
            return 0.0
        if not self.settings.student:
            return 1.0
        return 0.5 if self.steps is not None else TEACHING

    @property
    def turn(self) -> str:
        """Who learns now."""
        return "teacher" if self.progress < self.teaching else "student"

    def schedule(self) -> None:
        """Learning rates of this step: a warm-up and half a cosine for each of the two."""
        since, until = (0.0, self.teaching) if self.turn == "teacher" else (self.teaching, 1.0)
        at = (self.progress - since) / (until - since)
        share = min(1.0, at / WARM_UP + 0.02) * (0.5 + 0.5 * math.cos(math.pi * at))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share

    # --- what is seen ----------------------------------------------------------------------------------

    @torch.no_grad()
    def maps(self, pictures: Tensor) -> list[Tensor]:
        """What the frozen tower makes of images [B, 3, S, S] in 0..1."""
        with fast_arithmetic(self.device):
            return self.body((pictures - MEAN[0]) / STD[0])

    def _scenes(self, number: int, count: int, size: int, which: Sequence[int] | None = None) -> Scenes:
        return render(self._spec(number, count, which), self.atlas, size)

    def _spec(self, number: int, count: int, which: Sequence[int] | None = None) -> Spec:
        settings = SceneSettings(concepts=tuple(seen() if which is None else which), **SCENES)
        return sample(count, number, self.atlas, settings)

    def _read(self, said: Sequence[Said]) -> tuple[list[Prompt], Tensor, Tensor]:
        """Prompts as the network reads them, word features [B, L, D] and mask [B, L]."""
        asked = [language.prompt(self.reader, prompt.text, prompt.spans) for prompt in said]
        words, mask = self.reader.features(asked)
        return asked, words, mask

    def gold(self, count: int, size: int, lang: str, rng: random.Random) -> Batch:
        """Scenes of the set with boxes: a piece of it, in the order of the set."""
        s = self.settings
        pieces = max(1, s.gold // self.batch)
        # Half a piece is the first half of it: another count would be other scenes.
        piece = self._spec(SEED + (s.seed << 24) + self.step % pieces, self.batch)
        scenes = render(piece.take(slice(count)), self.atlas, size)
        prompter = Prompter(scenes.spec)
        said = [
            prompter.caption(i, lang, rng)
            if rng.random() < 0.5
            else prompter.listing(i, lang, rng, seen(), rng.randint(*LABELS))
            for i in range(count)
        ]
        asked, words, mask = self._read(said)
        boxes, present = boxed(scenes)
        table = word_table(asked, words.shape[1])
        belongs = torch.zeros(*present.shape, words.shape[1])
        for b, prompt in enumerate(said):
            for phrase, slots in enumerate(prompt.slots):
                belongs[b, list(slots)] = table[b, phrase]
        belongs = belongs.to(self.device)
        return Batch(scenes.picture, said, asked, words, mask, boxes, present, belongs, mask)

    def captioned(self, count: int, size: int, lang: str, rng: random.Random) -> Batch:
        """Scenes with a caption alone, with the boxes that the teacher writes (section 3.4)."""
        number = SEED + (self.settings.seed << 24) + CAPTIONED + self.step
        everything = range(len(concepts()))
        scenes = self._scenes(number, count, size, everything)
        prompter = Prompter(scenes.spec)
        captions = [prompter.caption(i, lang, rng) for i in range(count)]
        read = self._read(captions)
        written, present, phrases = self.write(scenes.picture, *read)
        # Half of the time the nouns of the caption become a list, with others by lot.
        said = [
            caption
            if rng.random() < 0.5
            else prompter.listing(i, lang, rng, everything, rng.randint(*LABELS))
            for i, caption in enumerate(captions)
        ]
        asked, words, mask = self._read(said)
        table = word_table(asked, words.shape[1]).to(self.device)
        # Of each phrase of the caption, which phrase of the prompt it is.
        place = torch.zeros(count, max(len(c.concepts) for c in captions), dtype=torch.long)
        sure = torch.zeros_like(place, dtype=torch.bool, device=self.device)
        rows = torch.arange(count, device=self.device)[:, None].expand_as(present)
        sure[rows[present], phrases[present]] = True
        counted = mask.clone()
        for b, (caption, prompt) in enumerate(zip(captions, said, strict=True)):
            for phrase, concept in enumerate(caption.concepts):
                place[b, phrase] = prompt.concepts.index(concept)
                if not sure[b, phrase]:
                    counted[b] &= table[b, place[b, phrase]] == 0
        target = place.to(self.device).gather(1, phrases)
        belongs = table.gather(1, target[..., None].expand(-1, -1, table.shape[-1])) * present[..., None]
        return Batch(scenes.picture, said, asked, words, mask, written, present, belongs, counted)

    @torch.no_grad()
    def write(
        self, pictures: Tensor, asked: Sequence[Prompt], words: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The teacher's boxes [B, K, 4] for captions, which there are [B, K], and their phrases [B, K]; the best first."""
        said, boxes, _ = self.see("teacher", self.maps(pictures), words, mask)
        table = word_table(asked, words.shape[1]).to(self.device)
        scores = phrase_scores(said, table)  # [B, R, P]
        b, r, p = torch.nonzero(scores >= SURE, as_tuple=True)
        found = boxes[b, r].clamp(0, pictures.shape[-1])
        kept = batched_nms(found, scores[b, r, p], b * scores.shape[2] + p, of_boxes.SUPPRESSED)
        picture = b[kept]
        rank = (picture[:, None] == picture).tril(-1).sum(1)  # among the boxes of its image
        kept, picture, rank = (x[rank < WRITTEN] for x in (kept, picture, rank))
        written = torch.zeros(len(pictures), WRITTEN, 4, device=self.device)
        phrases = torch.zeros(len(pictures), WRITTEN, dtype=torch.long, device=self.device)
        present = torch.zeros_like(phrases, dtype=torch.bool)
        written[picture, rank], phrases[picture, rank], present[picture, rank] = found[kept], p[kept], True
        return written, present & ((written[..., 2:] - written[..., :2]).amin(-1) >= SMALLEST), phrases

    def see(
        self, who: str, maps: Sequence[Tensor], words: Tensor, mask: Tensor
    ) -> tuple[Predictions, Tensor, Tensor]:
        """What one of the two says: predictions, boxes [B, R, 4] and anchors [R, 4], all ending behind their last pixel."""
        net = self.nets[who]
        with fast_arithmetic(self.device):
            said = net.head(net.backbone.fpn(maps), words, mask)
        anchors = net.anchors(said.shapes).float()
        end = END.to(self.device)
        return said, of_boxes.decode(said.deltas.float(), anchors) + end, anchors + end

    # --- learning --------------------------------------------------------------------------------------

    def learn(self, who: str, batch: Batch) -> Losses:
        """The losses of a batch."""
        said, boxes, anchors = self.see(who, self.maps(batch.pictures), batch.words, batch.mask)
        return detection_losses(
            said.logits,
            boxes,
            said.centerness,
            anchors,
            [h * w for h, w in said.shapes],
            batch.boxes,
            batch.present,
            batch.belongs,
            batch.counted,
        )

    def train_step(self) -> dict[str, float]:
        """One step of the teacher or the student, in one language."""
        s, who = self.settings, self.turn
        self.schedule()
        size, lang, rng = (
            s.sizes[self.step % len(s.sizes)],
            LANGUAGES[self.step % 2],
            random.Random(self.step),
        )
        if who == "teacher":
            batches = [self.gold(self.batch, size, lang, rng)]
        else:
            half = self.batch // 2
            batches = [self.gold(half, size, lang, rng), self.captioned(self.batch - half, size, lang, rng)]
        parts = [self.learn(who, batch) for batch in batches]
        loss = sum((part.total for part in parts), torch.zeros((), device=self.device)) / len(parts)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parts[who].parameters(), 1.0)
        self.optimizer.step()
        written = batches[-1].present.float().sum(1).mean()
        return {
            "batch": self.batch, "size": size, "student": float(who == "student"), "loss": loss.item(),
            "alignment": parts[0].alignment.item(), "box": parts[0].box.item(), "centerness": parts[0].centerness.item(),
            "boxes": written.item(), "lr": self.optimizer.param_groups[0]["lr"],
        }  # fmt: skip

    def _steps(self, who: str) -> int:
        """How often one of the two learned."""
        state = self.optimizer.state[next(self.parts[who].parameters())]
        return int(state["step"]) if state else 0

    def export(self) -> Path:
        """The student as it ships, model.safetensors in one byte a number without CLIP's towers and training.json; beside it the
        teacher in the same form, where it learned."""
        last = "student" if self.settings.student else "teacher"
        for name in {last} if self.settings.start else {"teacher", last}:
            folder = self.out / ("classroom-glip" if name == last else name)
            folder.mkdir(parents=True, exist_ok=True)
            state = {
                k: v for k, v in self.nets[name].state_dict().items() if not k.startswith("backbone.body.")
            }
            save_file(bytewise.packed(state), folder / WEIGHTS)
            note = {
                **self.origin("glip"),
                "paper": "glip",
                "clip": {self.folder.name: sha256(self.folder / WEIGHTS)},
                "fusion": self.settings.fusion,
                "who": name,
                "saw": {
                    "scenes with boxes": self.settings.gold,
                    "of concepts": len(seen()),
                    "scenes with captions alone, of all concepts": name == "student",
                },
                "seed": self.settings.seed,
                "steps of": {who: self._steps(who) for who in self.nets},
                **self.spent(),
            }
            self.write_note(folder, note)
        return self.out / "classroom-glip"
