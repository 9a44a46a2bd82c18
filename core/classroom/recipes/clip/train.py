"""Train a miniature CLIP on classroom scenes (Radford et al. 2021, section 2.3 and figure 3), in two languages.

    python -m core.classroom train clip --model classroom-rn
    python -m core.classroom train clip --model classroom-vit --teacher runs/classroom-rn/classroom-rn

The paper's loss with changes that make an hour or so on a laptop enough:

1. A curriculum by share of the time budget (`PHASES`): single objects on plain ground, then any single objects, then
   scenes of up to four with captions, at last at the full image size.
2. Anchors: one learned vector per concept, never shipped. Images and names in both languages are classified against
   them, so that each tower gets a target before the other has learned anything. A batch of images then costs no pass
   of the text tower; names take their turn every `NAMES_EVERY` steps. Pairs are also classified by the role that each
   object plays (`objectives.Roles`), which is how word order is learned.
3. True pairs off the diagonal count as true: identical captions, and plain captions of a concept that another image
   of the batch shows (`claims`). Captions with their two objects swapped are extra wrong answers.
4. Grounds, places, sizes, renderings and numbers (`core.classroom.world.factors`) have anchors of their own, because captions
   alone teach what a thing is and little else. Some captions meet their twins, which are false in one of these factors
   only, and in every step all images choose among the sentences that name every value (`factors.table`).
5. Both towers end in a BatchNorm without affine part, which keeps the features spread out; `export` folds it into the
   projections, so that the shipped file is open_clip's plain CLIP class.
6. Matrices are stepped by Muon, the rest by AdamW. Every rendered batch is used twice, with captions in one language
   each, moved a little the second time.

Not in the paper: the learned temperature is capped at `MAX_SCALE`, and the anchors' targets are smoothed, so that all
wrong names end up equally far away and a softmax over labels that are all absent stays undecided.

With a teacher (`classroom-vit`, which learns from `classroom-rn`) the text tower is the teacher's, locked (Zhai et al.
2022), and the image tower learns the teacher's features: those of the whole image, and, patch by patch, those of
its inner stages (hints, Romero et al. 2015) and what its pooling says of each place by itself, which give a ViT 64
targets an image in place of one. The teacher may
still be in training, one thread each: its export is renewed with every save, and read again when it is newer. Half of
the patches are left out in each step until the last fifth (Li et al. 2023), which makes a step twice as fast.
"""

from __future__ import annotations

import csv
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.classroom.recipes.clip.batches import PHASES, TWINNED, Batch, Batches, Phase, feed
from core.classroom.recipes.clip.learner import Learner, Teacher, build
from core.classroom.recipes.clip.objectives import (
    ANCHOR_SCALE,
    choice,
    content,
    contrast,
    factor_hits,
    factor_loss,
    named_factors,
    role_loss,
    soft_cross_entropy,
)
from core.classroom.recipes.common import tokenizer as tokens
from core.classroom.recipes.common.export import export
from core.classroom.recipes.common.miniature import NOTE
from core.classroom.recipes.common.muon import Muon
from core.classroom.recipes.common.running import fast_arithmetic, hardware
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.captions import TWINS
from core.classroom.world.concepts import concepts
from core.classroom.world.factors import FACTORS, table_values, values
from core.classroom.world.specs import Spec
from core.classroom.world.wording import LANGUAGES, TEMPLATES, phrase

MAX_SCALE = 10.0
NAMES_EVERY = 4
SMOOTHING = 0.1
RATES = {"classroom-rn": 3e-3, "classroom-vit": 1.5e-3}


@dataclass
class Settings:
    """One training run. `steps` ends it early (tests); `styles` leaves drawing styles out (ablations); `teacher` is
    the folder of an exported miniature, read again whenever it is renewed. `workers` processes make batches, which are `larger`
    times as large as the recipe's: a GPU takes both."""

    model: str = "classroom-rn"
    minutes: float = 130.0
    device: str = "cpu"
    out: Path = Path("runs/classroom-rn")
    learning_rate: float | None = None  # RATES[model]
    weight_decay: float = 0.05
    seed: int = 0
    steps: int | None = None
    styles: tuple[str, ...] = ()
    teacher: Path | None = None
    vision: dict[str, Any] = field(default_factory=dict)  # overrides, for tests
    phases: tuple[Phase, ...] = ()
    log_every: int = 50
    workers: int = 0
    larger: int = 1


class Trainer:
    """Runs `Settings`; `run()` trains until the time is over and exports. Resumes from `out/last.pt`."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        torch.manual_seed(s.seed)
        self.device = torch.device(s.device)
        # Processes that make batches have no GPU.
        drawn_on = "cpu" if s.workers else s.device
        self.atlas = atlas or (open_atlas(s.styles, drawn_on) if s.styles else open_atlas(device=drawn_on))
        self.tokenizer = tokens.train()
        clip, self.config = build(s.model, self.tokenizer.get_vocab_size(), s.vision)
        self.learner = Learner(clip).to(self.device)
        self.learner.clip.visual.to(memory_format=torch.channels_last)
        self.phases = tuple(replace(p, batch=p.batch * s.larger) for p in s.phases or PHASES[s.model])
        self.teacher: Teacher | None = None
        self.taught = torch.empty(0)
        self.met = 0
        if s.teacher is not None:
            self.learner.hint = nn.Linear(
                self.config["vision_cfg"]["width"], Teacher(s.teacher, self.device).channels
            )
            self.learner.hint.to(self.device)
        # Muon is for hidden matrices; embeddings, anchors and what feeds the attention pooling stay with AdamW.
        self.peak = s.learning_rate or RATES[s.model]
        hidden: list[Tensor] = []
        matrices: list[Tensor] = []
        vectors: list[Tensor] = []
        for name, p in self.learner.named_parameters():
            inner = ".layer" in name or ".transformer." in name or ".stem" in name or ".conv" in name
            (hidden if p.ndim > 1 and inner else matrices if p.ndim > 1 else vectors).append(p)
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            Muon(hidden, self.peak, weight_decay=s.weight_decay),
            torch.optim.AdamW(
                [
                    {"params": matrices, "weight_decay": s.weight_decay},
                    {"params": vectors, "weight_decay": 0.0},
                ],
                lr=self.peak,
                betas=(0.9, 0.98),
                fused=True,
            ),
        )
        self.step = self.images = 0
        self.seconds = 0.0
        self.names = {lang: self._names(lang) for lang in LANGUAGES}
        last = s.out / "last.pt"
        if last.exists():
            self._restore(torch.load(last, map_location=self.device, weights_only=True))
        batches = Batches(s.seed, self.atlas, self.tokenizer, TWINNED * s.larger)
        self.batches = feed(batches, self.step, self.phase, self.device, s.workers)

    def _names(self, lang: str) -> list[Tensor]:
        """All names, ids [C, L], in several wordings: bare ones more often, because they are short and so quick."""
        forms = ["{}"] * 6 + list(TEMPLATES[lang])
        rng = random.Random(1)
        tables = []
        for form in forms:
            words = [rng.choice([c.name(lang)] * 4 + list(c.also(lang))) for c in concepts()]
            tables.append([form.format(phrase(word, lang)) for word in words])
        return [tokens.tokenize(self.tokenizer, lines).to(self.device) for lines in tables]

    def progress(self, step: int | None = None) -> float:
        """Share of the budget used, 0..1: now, or, where steps are counted, at a step."""
        if self.settings.steps is not None:
            return min(1.0, (self.step if step is None else step) / self.settings.steps)
        return min(1.0, self.seconds / (60 * self.settings.minutes))

    def phase(self, step: int) -> Phase:
        """The part of the curriculum that is on at a step; where minutes are counted, the part that is on now."""
        return next(p for p in self.phases if self.progress(step) < p.until)

    def run(self, say: Callable[[str], None] = print) -> Path:
        """Train to the end of the budget, with a line and a row of `curve.csv` now and then; returns the export."""
        s = self.settings
        s.out.mkdir(parents=True, exist_ok=True)
        curve = s.out / "curve.csv"
        rows: list[dict[str, float]] = []
        saved = logged = time.monotonic()
        while self.progress() < 1:
            start = time.monotonic()
            rows.append(self.train_step())
            now = time.monotonic()
            self.seconds += now - start
            if len(rows) == s.log_every or self.progress() >= 1:
                means = {k: sum(r[k] for r in rows) / len(rows) for k in rows[-1]}
                means = {"step": self.step, "images": self.images, "minutes": self.seconds / 60, **means}
                new = not curve.exists()
                with curve.open("a", newline="") as file:
                    writer = csv.DictWriter(file, list(means))
                    if new:
                        writer.writeheader()
                    writer.writerow({k: round(v, 5) for k, v in means.items()})
                rate = sum(r["batch"] for r in rows) / (now - logged)
                say(
                    f"{self.progress():5.1%}  step {self.step}  {self.images / 1000:.0f}k images  {rate:.0f}/s  "
                    f"{means['size']:.0f}px  top-1 {means['top1']:.1%}  images {means['shown']:.2f}  "
                    f"names {means['named']:.2f}  roles {means['roles']:.2f}  captions {means['captions']:.2f}  "
                    f"order {means['order']:.2f}  twins {means['twins']:.2f}  table {means['table']:.2f}  "
                    f"ground {means.get('top1_ground', 0):.1%}  scale {means['scale']:.1f}  lr {means['lr']:.1e}"
                )
                rows, logged = [], now
            if now - saved > 120:
                self.save()
                saved = now
        folder = self.save()
        (folder / NOTE).write_text(json.dumps(self.note(), indent=1) + "\n", encoding="utf-8")
        return folder

    def note(self) -> dict[str, Any]:
        """What training.json says of a finished run."""
        s, threads = self.settings, torch.get_num_threads()
        given = {
            "--threads": threads,
            "--minutes": f"{s.minutes:g}",
            "--teacher": s.teacher and s.teacher.name,
            "--device": s.device if s.device != "cpu" else None,
            "--workers": s.workers,
            "--larger": s.larger if s.larger > 1 else None,
            "--rate": s.learning_rate,
        }
        options = " ".join(f"{name} {value}" for name, value in given.items() if value)
        return {
            "recipe": "core/classroom/recipes/clip/train.py",
            "command": f"python -m core.classroom train clip --model {s.model} {options}",
            "minutes": round(self.seconds / 60, 1),
            "images": self.images,
            "steps": self.step,
            "seed": s.seed,
            "hardware": hardware(self.device),
        }

    def train_step(self) -> dict[str, float]:
        """One step on one batch of scenes."""
        s, at = self.settings, self.progress()
        rate = self.peak * min(1.0, at / 0.02 + 0.02) * (0.5 + 0.5 * math.cos(math.pi * at))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        if s.teacher is not None:
            self._meet(s.teacher)
        self.learner.train()
        if at > 0.8:
            # The features that ship use the running statistics; the towers get used to them before the end.
            self.learner.image_norm.eval()
            self.learner.text_norm.eval()

        batch = next(self.batches)
        parts = self._taught(batch) if s.teacher else self._own(batch)
        loss = parts.pop("loss")

        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.learner.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        with torch.no_grad():
            self.learner.clip.logit_scale.clamp_(math.log(4.0), math.log(MAX_SCALE))
        self.step += 1
        self.images += len(batch.spec)
        return {
            "batch": len(batch.spec), "size": batch.phase.size, "loss": loss.item(),
            **{name: value.item() for name, value in parts.items()},
            "scale": self.learner.scale.item(), "lr": rate,
        }  # fmt: skip

    def _own(self, batch: Batch) -> dict[str, Tensor]:
        """Both towers learn: anchors, names, roles, captions, factors."""
        learner, spec, phase = self.learner, batch.spec, batch.phase
        captions = phase.captions
        with fast_arithmetic(self.device):
            image = learner.encode_image(batch.picture)
        texts = [batch.ids] if captions else []
        turn = self.step % self._names_every(captions) == 0
        if turn:
            rng = random.Random(self.step)
            texts = [rng.choice(self.names[lang]) for lang in LANGUAGES] + texts
        with fast_arithmetic(self.device):
            text = learner.encode_text(torch.cat(texts)) if texts else image[:0]

        guess = learner.classify(image, captions)
        target = content(spec).to(self.device)
        shown = soft_cross_entropy(guess, (1 - SMOOTHING) * target + SMOOTHING / target.shape[1])
        named = torch.zeros((), device=self.device)
        if turn:
            c = len(concepts())
            every = torch.arange(c, device=self.device).repeat(2)
            guess_text = learner.classify(text[: 2 * c], captions)
            named = F.cross_entropy(guess_text, every, label_smoothing=SMOOTHING)
            text = text[2 * c :]
        seen = values(spec, self.atlas.mono)
        factors = learner.factors.loss(image, seen, SMOOTHING)
        loss = (0.5 if captions else 1.0) * (shown + named) + phase.factors * factors
        parts = {"shown": shown, "named": named * self._names_every(captions)}
        if captions:
            texts = text.split(batch.parts)
            parts |= {"roles": self._roles(batch, image, texts), **self._matched(batch, image, texts)}
            said, _, _, table = texts
            claim = torch.tensor([c.claim for c in batch.captions])
            plain = torch.nonzero((claim >= 0) & (claim < len(learner.anchors)))[:, 0]
            parts["claims"] = F.cross_entropy(
                learner.classify(said[plain], True), claim[plain].to(self.device), label_smoothing=SMOOTHING
            )
            naming = torch.cat([named_factors(batch.captions), table_values()])
            factors_named = learner.factors.loss(torch.cat([said, table]), naming, SMOOTHING)
            loss = loss + parts["roles"] + parts["captions"] + parts["order"] + parts["twins"]
            loss = loss + 0.5 * parts["claims"] + phase.factors * (factors_named + parts["table"])
        else:
            parts |= dict.fromkeys(
                ("roles", "captions", "order", "twins", "table", "claims"), named.new_zeros(())
            )
        hits = factor_hits(image, list(learner.factors.tables), seen)
        return {"loss": loss, **parts, "factors": factors, "top1": self._top1(guess, spec), **hits}

    def _roles(self, batch: Batch, image: Tensor, texts: Sequence[Tensor]) -> Tensor:
        """Pairs and the captions that tell their relation, against the anchors in their roles."""
        learner, spec, told = self.learner, batch.spec, batch.told
        twisted = spec.take(told)
        turned = replace(twisted, concept=twisted.concept[:, [1, 0, *range(2, twisted.concept.shape[1])]])
        pairs = torch.nonzero(spec.relation > 0)[:, 0]
        anchors = learner.roles.turned(learner.anchors)
        said, swapped = texts[:2]
        return (
            role_loss(image[pairs], anchors, spec.take(pairs), ANCHOR_SCALE, SMOOTHING)
            + 0.5 * role_loss(said[told], anchors, twisted, ANCHOR_SCALE, SMOOTHING)
            + 0.5 * role_loss(swapped, anchors, turned, ANCHOR_SCALE, SMOOTHING)
        )

    def _matched(self, batch: Batch, image: Tensor, texts: Sequence[Tensor]) -> dict[str, Tensor]:
        """Pictures [B, D] against captions, their swapped ones, their twins, and the sentences of the table."""
        spec, scale = batch.spec, self.learner.scale
        image = F.normalize(image, dim=-1)
        said, swapped, twins, table = (F.normalize(text, dim=-1) for text in texts)
        told, twinned = batch.told, batch.twinned
        none = torch.zeros((), device=self.device)
        tables = table.split([len(names) for names in FACTORS.values()])
        return {
            "captions": contrast(image, said, batch.truth, scale, swapped),
            "order": choice(image[told], said[told], swapped[:, None], scale) if told else none,
            "twins": choice(image[twinned], said[twinned], twins.unflatten(0, (-1, TWINS)), scale)
            if twinned
            else none,
            "table": factor_loss(image, tables, values(spec, self.atlas.mono), SMOOTHING),
        }

    def _taught(self, batch: Batch) -> dict[str, Tensor]:
        """The image tower alone learns: the teacher's features, and its locked text features of names and captions."""
        assert self.teacher is not None
        spec = batch.spec
        places = (batch.picture.shape[-1] // self.config["vision_cfg"]["patch_size"]) ** 2
        kept = torch.randperm(places)[: places // 2 if self.progress() < 0.8 else places].sort().values
        with fast_arithmetic(self.device):
            model, shown_there, said_there = self.teacher.image(batch.picture)
            image, hints, patch_features = self.learner.look(batch.picture, kept.to(self.device))
        image = F.normalize(image, dim=-1)
        distance = (1 - (image * model).sum(1)).mean()
        local = F.mse_loss(hints, shown_there[:, kept])
        dense = 1 - (F.normalize(patch_features, dim=-1) * said_there[:, kept]).sum(-1).mean()
        guess = ANCHOR_SCALE * image @ self.taught.T
        target = content(spec).to(self.device)
        shown = soft_cross_entropy(guess, (1 - SMOOTHING) * target + SMOOTHING / target.shape[1])
        parts = dict.fromkeys(("captions", "order", "twins", "table"), torch.zeros((), device=self.device))
        if batch.phase.captions:
            with fast_arithmetic(self.device):
                text = self.teacher.text(batch.ids)
            parts = self._matched(batch, image, text.split(batch.parts))
        told = (
            shown + parts["captions"] + parts["order"] + parts["twins"] + batch.phase.factors * parts["table"]
        )
        return {
            "loss": local + 4 * distance + 2 * dense + 0.5 * told, "shown": shown, "named": distance, "roles": dense,
            **parts, "top1": self._top1(guess, spec),
        }  # fmt: skip

    def _names_every(self, captions: bool) -> int:
        """Every how many steps all names take their turn: less often once captions name things too."""
        return 2 * NAMES_EVERY if captions else NAMES_EVERY

    @torch.no_grad()
    def _top1(self, guess: Tensor, spec: Spec) -> Tensor:
        single = torch.nonzero(spec.kind == 0)[:, 0].to(self.device)
        return (guess[single].argmax(1) == spec.concept[:, 0].to(self.device)[single]).float().mean()

    @torch.no_grad()
    def _meet(self, folder: Path) -> None:
        """Lock the teacher's text tower in, again when it is newer."""
        stamp = (folder / "model.safetensors").stat().st_mtime_ns
        if stamp == self.met:
            return
        self.met = stamp
        teacher = self.teacher = Teacher(folder, self.device)
        own = self.learner.clip.state_dict()
        text = {
            k: v for k, v in teacher.clip.state_dict().items() if not k.startswith("visual.") and k in own
        }
        self.learner.clip.load_state_dict({**own, **text})
        for name, p in self.learner.clip.named_parameters():
            if not name.startswith("visual."):
                p.requires_grad_(False)
        both = [teacher.text(self.names[lang][0]) for lang in LANGUAGES]
        self.taught = F.normalize(both[0] + both[1], dim=-1)  # [C, D]
        plain = self.learner.text_norm  # the teacher's is inside its projection already
        assert plain.running_var is not None
        plain.reset_running_stats()
        plain.running_var.fill_(1 - plain.eps)

    def save(self) -> Path:
        """Write what `run` needs to go on, and the export as it is now; returns the export's folder."""
        state = {
            "learner": self.learner.state_dict(), "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step, "images": self.images, "seconds": self.seconds,
        }  # fmt: skip
        self.settings.out.mkdir(parents=True, exist_ok=True)
        part = self.settings.out / "last.part"
        torch.save(state, part)
        part.replace(self.settings.out / "last.pt")
        return export(self.learner, self.config, self.tokenizer, self.settings.out / self.settings.model)

    def _restore(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        for optimizer, stored in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)
        self.step, self.images, self.seconds = state["step"], state["images"], state["seconds"]
