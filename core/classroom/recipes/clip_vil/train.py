"""Train the same answering head on three encoders of one architecture (Shen et al. 2022, sections 3.1 and 4.1).

    python -m core.classroom train clip-vil-supervised --minutes 9
    python -m core.classroom train clip-vil --minutes 10

As in the paper the grid features of an encoder are computed once and stay as they are, and MCAN learns to answer from them, with
binary cross-entropy over all answers. Here the encoders are those of `encoders`: random, supervised, CLIP's. Batches, steps and
the beginning of the heads are the same for all three. Places have learned rows and columns, as in the paper's pre-training, so
that "left of" can be answered.

`tuned=True` lets the last residual stage of an encoder learn along, from the features of the stage before it.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip.modified_resnet import ModifiedResNet
from safetensors.torch import save_file
from torch import Tensor, nn

from core.checkpoints import bytewise
from core.checkpoints.integrity import sha256
from core.classroom.recipes.clip_vil import encoders
from core.classroom.recipes.clip_vil.questions import EACH, SEEDS, SIDE, QuestionSet, ids_of, question_set
from core.classroom.recipes.common.miniature import WEIGHTS, export_folder, tensors
from core.classroom.recipes.common.running import Run, by_shape, fast_arithmetic
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.questions import answers
from core.classroom.world.wording import LANGUAGES
from core.clip import tokenizers
from core.vqa.clip_vil.mcan import MCAN, MCANSettings, answer_loss
from core.vqa.clip_vil.models import ANSWERS, ENCODERS, LONGEST, CLIPViL

CLIP, ROW = "classroom-rn", "classroom-clip-vil"
SCENES, BATCH = 2_000, 64
RATE = 2e-3
TUNED = 0.1  # the rate of an encoder's last stage, as a share
HEAD = {
    "hidden": 64, "heads": 4, "layers": 1, "ff": 128, "flat_mlp": 64, "glimpses": 1, "flat_out": 96, "places": 5,
}  # fmt: skip
RARE = -5.0  # the logit of an answer at the start: one of many


@dataclass
class Settings:
    """One training run.

    clip: a bundled row or the folder of an export. supervised: the folder that `encoders.Trainer` exported. which: the encoders.
    scenes: how many are drawn. share: of the questions that are trained on. tuned: whether the last stage of the encoders learns.
    """

    clip: str = CLIP
    supervised: Path = Path("runs/clip-vil-supervised/clip-vil-supervised")
    which: tuple[str, ...] = ENCODERS
    minutes: float = 10.0
    out: Path = Path("runs/clip-vil")
    scenes: int = SCENES
    share: float = 1.0
    tuned: bool = False
    batch: int = BATCH
    seed: int = 0
    steps: int | None = None
    log_every: int = 50
    rate: float = RATE
    side: int = SIDE


class Learner(nn.Module):
    """A head for each encoder, and the last stages that learn."""

    def __init__(
        self, which: tuple[str, ...], words: Tensor, channels: int, last: Mapping[str, nn.Module]
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleDict()
        for name in which:
            torch.manual_seed(1)  # all heads begin alike
            head = MCAN(head_settings(words, channels))
            nn.init.constant_(head.proj.bias, RARE)
            head.embedding = nn.Embedding.from_pretrained(words.clone(), freeze=True)
            self.heads[name] = head
        self.last = nn.ModuleDict(dict(last))

    def forward(self, name: str, features: Tensor, maps: Tensor | None, ids: Tensor) -> Tensor:
        """Logits [B, A] of the head of an encoder, from features [B, P, C], or from the map before the last stage."""
        if maps is not None:
            features = self.last[name](maps).flatten(2).transpose(1, 2)
        side = round(features.shape[1] ** 0.5)
        return self.heads[name](features, ids, (side, side))


def head_settings(words: Tensor, channels: int) -> MCANSettings:
    """The miniature's head: for an embedding of words [V, D] and features of so many channels."""
    return MCANSettings(len(words), len(answers()), channels, words.shape[1], **HEAD)


def opened_encoders(settings: Settings, atlas: Atlas) -> dict[str, ModifiedResNet]:
    """The encoders of a run."""
    made = {
        "random": lambda: encoders.random_encoder(atlas, settings.side, clip=settings.clip),
        "supervised": lambda: supervised_of(settings),
        "clip": lambda: encoders.clip_encoder(settings.clip),
    }
    return {name: made[name]() for name in settings.which}


def supervised_of(settings: Settings) -> ModifiedResNet:
    """The supervised encoder that was exported; that of the row that ships where there is no export."""
    if (settings.supervised / WEIGHTS).exists():
        return encoders.supervised_encoder(settings.supervised, settings.clip)
    with CLIPViL.load(ROW, "cpu").use() as loaded:
        shipped: Any = loaded.towers["supervised"]
        return copy.deepcopy(shipped)


class Trainer(Run):
    """Runs `Settings`; `run()` trains to the end of the budget and exports."""

    def __init__(
        self,
        settings: Settings,
        atlas: Atlas | None = None,
        towers: Mapping[str, ModifiedResNet] | None = None,
        questions: QuestionSet | None = None,
    ) -> None:
        """`towers` and `questions`: opened and encoded before, in place of those of the settings."""
        s = self.settings = settings
        super().__init__(s)
        self.atlas = atlas or open_atlas()
        self.folder = export_folder(s.clip)
        self.towers = towers or opened_encoders(s, self.atlas)
        self.questions = questions or question_set(
            self.towers, s.scenes, SEEDS, self.atlas, EACH, keep_maps=s.tuned, side=s.side
        )
        words = tensors(self.folder)["token_embedding.weight"].float()
        _, self.tokenize = tokenizers.from_file(self.folder / "tokenizer.json", LONGEST)
        channels = next(iter(self.questions.features.values())).shape[-1]
        last: dict[str, Any] = {name: copy.deepcopy(self.towers[name].layer4) for name in s.which if s.tuned}
        self.learner: Learner = Learner(s.which, words, channels, last)
        for stage in self.learner.last.values():
            stage.requires_grad_(True)
        learning = [p for p in self.learner.heads.parameters() if p.requires_grad]
        groups = by_shape(learning, s.rate, 0.01)
        if s.tuned:
            groups += by_shape(self.learner.last.parameters(), TUNED * s.rate, 0.01)
        self.optimizer = torch.optim.AdamW(groups, lr=s.rate, betas=(0.9, 0.98))
        # The first questions of the set, so that a larger share contains a smaller one; other seeds take others.
        order = list(range(len(self.questions)))
        random.Random(s.seed).shuffle(order)
        self.rows = order[: max(1, round(s.share * len(order)))]
        torch.manual_seed(s.seed)
        self.resume(self.device)

    def train_step(self) -> dict[str, float]:
        """One step: the same questions, in one language, for every head."""
        s = self.settings
        self.schedule()
        self.learner.heads.train()
        self.learner.last.eval()  # its BatchNorms keep the statistics that they came with
        rng = random.Random((s.seed << 32) + self.step)
        rows = torch.tensor(rng.sample(self.rows, min(s.batch, len(self.rows))))
        asked = self.questions.questions.take(rows)
        ids = ids_of(self.tokenize, asked.texts(LANGUAGES[self.step % 2], rng))
        targets = nn.functional.one_hot(asked.answer, len(answers())).float()
        found: dict[str, float] = {}
        total = torch.zeros(())
        for name in s.which:
            features = self.questions.features[name][asked.scene].float()
            maps = self.questions.maps[name][asked.scene].float() if s.tuned else None
            with fast_arithmetic(self.device):
                logits = self.learner(name, features, maps, ids).float()
            total = total + answer_loss(logits, targets) / len(rows)
            found[name] = (logits.argmax(1) == asked.answer).float().mean().item()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        for head in (*self.learner.heads.values(), *self.learner.last.values()):
            nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        self.optimizer.step()
        return {"batch": len(rows), "loss": total.item() / len(s.which), **found}

    def export(self) -> Path:
        """model.safetensors with a byte for each number of a matrix, answers.json, training.json with the options of the row."""
        folder = self.out / "classroom-clip-vil"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(bytewise.packed(self.exported()), folder / WEIGHTS)
        listed = [{"en": one.en, "zh": one.zh} for one in answers()]
        (folder / ANSWERS).write_text(
            json.dumps(listed, ensure_ascii=False, indent=0) + "\n", encoding="utf-8"
        )
        s = self.settings
        note = {
            "paper": "clip_vil",
            "clip": {self.folder.name: sha256(self.folder / WEIGHTS)},
            "options": {"side": s.side, "random_seed": 0, "head": self.head_options()},
            "questions": len(self.rows),
            "seed": s.seed,
            **self.spent(),
        }
        supervised = s.supervised / "training.json"
        if supervised.is_file():
            note["supervised"] = json.loads(supervised.read_text(encoding="utf-8"))
        self.write_note(folder, note)
        return folder

    def head_options(self) -> dict[str, int]:
        """The sizes of the heads."""
        head: Any = next(iter(self.learner.heads.values()))
        s = head.settings
        return {"tokens": s.tokens, "answers": s.answers, "features": s.features, "words": s.words, **HEAD}

    def exported(self) -> dict[str, Tensor]:
        """All that differs from the frozen CLIP, under the names of the row."""
        state: dict[str, Tensor] = {}
        for name in self.settings.which:
            head = self.learner.heads[name].state_dict()
            state |= {f"heads.{name}.{key}": t for key, t in head.items() if key != "embedding.weight"}
        for name in set(self.settings.which) - {"clip"}:
            tower = self.towers[name].state_dict()
            kept = {key: t for key, t in tower.items() if name == "supervised" or ".running_" in f".{key}"}
            state |= {f"encoders.{name}.{key}": t for key, t in kept.items() if t.is_floating_point()}
        return state
