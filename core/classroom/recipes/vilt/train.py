"""Train the miniature ViLT: one transformer that answers questions, tells whether a text fits an image and fills in words.

    python -m core.classroom train vilt --minutes 85

As in the paper (Kim et al. 2021, section 3) the body begins as an image transformer, here that of classroom-vit, and text and
image meet from its first layer. What differs, and why:

1. A word begins as what classroom-vit's text tower says of the names that it is part of, and the first word, which is pooled, as
   the class token; the paper's words begin at random. Finding the thing that a word names is then one thing to learn, not one for
   each word.
2. For the first part of the run several texts share an image: each of them sees itself and the image, the image only itself.
   The patches are then computed once for all of them. In the second part there is one text for an image, and both see each other,
   which is ViLT.
3. Questions are learned together with matching and masked words, not after them; an answer is one of many, by a softmax.
4. The words of names are taught where to look, because a made world knows where everything is (`pointing`). Without that, the
   first version of this recipe answered what, how many and on which ground, and what needs a word to find its thing (is there
   a ..., left or right of ...) at chance, and its matching read little but numbers.
5. What a patch shows can be told by a linear reader from 6 % of the patches before the fourth block, from 13 % before the fifth
   and from 37 % before the sixth, the last one of the image transformer. So words look for their things in the sixth block, and
   one more follows in which the first word reads what they found (`beginning`).

Texts are questions about the scene and its captions: true or false (matching, with the alignment of words and patches), or with a
name masked as a whole.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.vilt.configuration_vilt import ViltConfig

from core.checkpoints import bytewise
from core.checkpoints.integrity import sha256
from core.classroom.recipes.common.miniature import WEIGHTS, Miniature, export_folder
from core.classroom.recipes.common.muon import Joined, Muon
from core.classroom.recipes.common.running import SEED, Run, fast_arithmetic
from core.classroom.recipes.vilt.beginning import (
    LOOK,
    MORE,
    SHOWN,
    SIZE,
    asked_by_head,
    begin,
    configuration,
    covers,
    find_names,
    name_queries,
)
from core.classroom.recipes.vilt.pointing import (
    covering,
    likeness_loss,
    looking_loss,
    naming_loss,
    reading_loss,
    wanted,
)
from core.classroom.recipes.vilt.texts import PAD, Shares, Tokens, Written, write
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.questions import QUESTIONS as KINDS
from core.classroom.world.questions import SCENES, Kind, Questions, answers, ask, scenes
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings
from core.classroom.world.wording import LANGUAGES
from core.vqa.vilt.alignment import alignment_loss, special
from core.vqa.vilt.network import Task, ViltNetwork, image_tokens

CLIP = "classroom-vit"
TOGETHER = 0.88  # the share of the run in which several texts share an image
ASKED, TOLD = 8, 3  # questions and captions of an image then
# Scenes of one thing, of a pair, of several of one kind, of a group: more pairs than questions are measured on.
CROWDS = (0.22, 0.48, 0.18, 0.12)
IMAGES, PAIRS = 32, 64  # of a step, in the first and in the second part
MATCHING, MASKING, ALIGNING = 0.5, 1.0, 0.1  # weights beside questions
NAMING, LOOKING, READING, LIKENESS = 0.3, 0.7, 0.3, 0.1  # of what `pointing` teaches
RATE, BEGUN = 2e-3, 0.4  # of AdamW and Muon, and of what begins as the image transformer, as a share
# How many of a hundred questions are of each kind in training: more of those that are learned late.
ASKED_OF: dict[Kind, float] = {
    "object": 26, "place": 8, "count": 8, "ground": 4, "exists": 18, "side": 12, "depth": 4, "larger": 20,
}  # fmt: skip
WATCHED: tuple[Kind, ...] = ("exists", "side", "larger")  # the kinds that need a word to find its thing
TASKS: tuple[Task, ...] = ("answer", "match", "fill")


@dataclass
class Settings:
    """One training run.

    clip: a bundled row or the folder of an export, which must be an image transformer. together: the share of the run in which
    several texts share an image. questions, captions: texts of an image then. images, pairs: of a step, in the first and in the
    second part. shown: scenes on which the head that is taught begins. masking: the weight of masked words. texts: how
    often which text stands beside an image.
    """

    clip: str = CLIP
    minutes: float = 85.0
    device: str = "cpu"
    out: Path = Path("runs/vilt")
    together: float = TOGETHER
    questions: int = ASKED
    captions: int = TOLD
    images: int = IMAGES
    pairs: int = PAIRS
    shown: int = SHOWN
    seed: int = 0
    steps: int | None = None
    log_every: int = 50
    rate: float = RATE
    masking: float = MASKING
    texts: Shares = field(default_factory=Shares)
    shares: dict[Kind, float] = field(default_factory=lambda: dict(ASKED_OF))
    world: SceneSettings = field(default_factory=lambda: replace(SCENES, kinds=CROWDS))


@dataclass(frozen=True)
class Joint:
    """What several texts beside each image become in one sequence."""

    words: Tensor  # [B, K, L, W]
    patches: Tensor  # [B, P, W]
    pooled: Tensor  # [B, K, W] the first words
    looks: Tensor  # [B, K, L, P] how much the first head of the block `LOOK` looks at each patch
    before: Tensor  # [B, P, W] the patches that this block receives
    reads: Tensor  # [B, 2, K, L] how much the first word looks at each word of its text, in two heads of the last block


def joint(network: ViltNetwork, ids: Tensor, image: Tensor, both: bool) -> Joint:
    """Several texts beside each image in one sequence: a text sees itself and the image.

    Args:
        ids: [B, K, L], padded with `PAD`.
        image: [B, P, W], as of `image_tokens`.
        both: whether the image sees the texts, which is ViLT where K is 1.
    """
    body: Any = network.vilt
    b, k, length = ids.shape
    # Places that hold padding beside every image are left out; texts that are sorted by length leave many.
    kept = (ids != PAD).any(0).flatten()  # [K L]
    texts = body.embeddings.text_embeddings(input_ids=ids.flatten(0, 1)).view(b, k * length, -1)[:, kept]
    kinds = body.embeddings.token_type_embeddings.weight
    hidden = torch.cat([texts + kinds[0], image + kinds[1]], dim=1)
    seen = visibility(ids, kept, image.shape[1], both)
    read = body.encoder(hidden, attention_mask=seen, output_attentions=True, output_hidden_states=True)
    hidden = body.layernorm(read.last_hidden_state)
    count = texts.shape[1]
    looks = hidden.new_zeros(b, k * length, image.shape[1])
    looks[:, kept] = read.attentions[LOOK][:, 0, :count, count:].to(looks)
    words = hidden.new_zeros(b, k * length, hidden.shape[-1])
    words[:, kept] = hidden[:, :count]
    words = words.unflatten(1, (k, length))
    pooled = body.pooler(words.flatten(0, 1)).unflatten(0, (b, k))
    before = read.hidden_states[LOOK][:, count:]
    last = read.attentions[-1][:, :2, :count, :count]
    among = last.new_zeros(b, 2, k, k * length)
    # The first word of every text is kept.
    among[..., kept] = last[:, :, kept.cumsum(0)[::length] - 1]
    reads = among.unflatten(3, (k, length)).diagonal(dim1=2, dim2=3).mT  # [B, 2, K, L]
    return Joint(words, hidden[:, count:], pooled, looks.unflatten(1, (k, length)), before, reads)


def visibility(ids: Tensor, kept: Tensor, patches: int, both: bool) -> Tensor:
    """What is added to the attention [B, 1, T, T]: 0 where a token sees another; T counts the places `kept` [K L] of the texts
    [B, K, L], then the patches."""
    b, k, length = ids.shape
    text = torch.arange(k, device=ids.device).repeat_interleave(length)[kept]
    real = (ids != PAD).flatten(1)[:, kept]
    count = len(text)
    seen = torch.zeros(b, count + patches, count + patches, dtype=torch.bool, device=ids.device)
    seen[:, :count, :count] = (text[:, None] == text[None]) & real[:, None]
    seen[:, :, count:] = True
    if both:
        seen[:, count:, :count] = real[:, None]
    return torch.where(seen, 0.0, -1e4)[:, None]


def chosen(asked: Questions, scene: Tensor, each: int) -> Tensor:
    """The positions [B, each] of the first questions of every scene; those of a scene with fewer are repeated, -1 for none."""
    order = asked.scene.argsort(stable=True)
    first = torch.searchsorted(asked.scene[order], scene)
    count = torch.bincount(asked.scene, minlength=int(scene.max()) + 1)[scene]
    at = first[:, None] + torch.arange(each) % count.clamp(min=1)[:, None]
    return torch.where(count[:, None] > 0, order[at.clamp(max=len(order) - 1)], -1)


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        super().__init__(s, s.device)
        self.folder = export_folder(s.clip)
        clip = Miniature(self.folder)
        if not hasattr(clip.model.visual, "class_embedding"):
            raise SystemExit(f"ViLT begins as an image transformer: --clip {CLIP}")
        self.atlas = atlas or open_atlas(device=s.device)
        self.tokens = Tokens()
        self.names = [self.tokens.parts(lang).to(self.device) for lang in LANGUAGES]
        self.config = configuration(len(self.tokens), clip)
        network = ViltNetwork(ViltConfig(**self.config), TASKS)
        begin(network, clip, self.tokens)
        self.learner: ViltNetwork = network.to(self.device).train()
        if not (s.out / "last.pt").exists():
            find_names(self.learner, self.names, scenes(s.shown, SEED - 1, self.atlas, s.world), self.atlas)
        self.optimizer = optimizer_of(network, s.rate)
        self.resume(self.device)

    def train_step(self) -> dict[str, float]:
        """One step: scenes, questions and captions of them, one loss for each of the three heads."""
        s = self.settings
        self.schedule()
        apart = self.progress >= s.together
        count, each, told = (s.pairs, 1, 0) if apart else (s.images, s.questions, s.captions)
        seed = SEED + (s.seed << 28) + self.step
        rng = random.Random(seed)
        spec = scenes(count, seed, self.atlas, s.world)
        drawn = render(spec, self.atlas, SIZE)
        pixels = (drawn.picture.to(self.device) - 0.5) / 0.5
        cover = covers(drawn, int(self.config["patch_size"]))
        asked = ask(spec, 4 * each * count, seed, shares=s.shares)
        rows = chosen(asked, torch.arange(count), each)
        texts = write(self.tokens, spec, self.atlas, asked, rows, told, rng, apart, s.texts)
        target = wanted(texts.named, spec.concept, spec.present, cover).to(self.device)
        thing = covering(cover, spec.concept, spec.present).to(self.device)
        return {**self._learn(texts, pixels, target, thing, apart), "batch": float(count)}

    def _learn(
        self, texts: Written, pixels: Tensor, target: Tensor, thing: Tensor, apart: bool
    ) -> dict[str, float]:
        network = self.learner
        ids = texts.ids.to(self.device)
        with fast_arithmetic(self.device):
            read = joint(network, ids, image_tokens(network.vilt, pixels), apart)
            words, patches, pooled = read.words, read.patches, read.pooled
            asked, fits, masked = (
                rows.to(self.device) for rows in (texts.answer >= 0, texts.fit >= 0, texts.hidden >= 0)
            )
            given = network.answers(pooled[asked]).float()
            fit = network.matches(pooled[fits]).float()
            written = network.written(words[masked]).float()
        answer = texts.answer.to(self.device)[asked]
        answering = F.cross_entropy(given, answer)
        truth = texts.fit.to(self.device)[fits].float()
        matching = F.binary_cross_entropy_with_logits(fit, truth) if len(fit) else given.sum() * 0
        hidden = texts.hidden.to(self.device)[masked]
        masking = F.cross_entropy(written, hidden) if len(hidden) else given.sum() * 0
        points = target.sum(-1) > 0.5  # [B, K, L]
        looking = looking_loss(read.looks.float()[points], target[points])
        keys = asked_by_head(network, read.before[:, 1:].float(), "key")
        naming = torch.stack(
            [naming_loss(keys, thing, name_queries(network, parts)) for parts in self.names]
        ).mean()
        real = ~special(ids.flatten(0, 1)).view_as(ids)
        likeness = likeness_loss(words.float(), patches[:, 1:].float(), real, target[..., 1:])
        loss = answering + MATCHING * matching + self.settings.masking * masking
        reading = reading_loss(read.reads.float(), texts.named.to(self.device))
        loss = loss + NAMING * naming + LOOKING * looking + READING * reading + LIKENESS * likeness
        told = {
            "answers": answering,
            "matching": matching,
            "masked": masking,
            "naming": naming,
            "looking": looking,
            "reading": reading,
            "likeness": likeness,
        }
        if apart and len(fit):
            rows = fits[:, 0]
            aligning = alignment_loss(
                words[rows, 0].float(),
                patches[rows].float(),
                ids[rows, 0],
                texts.fit.to(self.device)[rows, 0],
            )
            loss = loss + ALIGNING * aligning
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            right = (given.argmax(1) == answer).float()
            kinds = texts.kind.to(self.device)[asked]
            by_kind: dict[str, Tensor] = {kind: right[kinds == KINDS.index(kind)].mean() for kind in WATCHED}
        matched = ((fit > 0) == (truth > 0)).float().mean()
        told = {**told, "matched": matched, "right": right.mean(), **by_kind}
        return {name: float(value.detach()) for name, value in told.items()}

    def export(self) -> Path:
        """The weights in one byte a number, the configuration, the tokenizer and how it came about."""
        folder = self.out / "classroom-vilt"
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            name: tensor
            for name, tensor in self.learner.state_dict().items()
            if name != "mlm_score.decoder.weight"
        }
        save_file(bytewise.packed(state), folder / WEIGHTS)
        names: dict[str, Any] = {"id2label": {str(i): one.en for i, one in enumerate(answers())}}
        names["answers_zh"] = [one.zh for one in answers()]
        (folder / "config.json").write_text(
            json.dumps({**self.config, **names}, ensure_ascii=False, indent=1) + "\n",
            encoding="utf-8",
        )
        self.tokens.library.save(str(folder / "tokenizer.json"), pretty=False)
        note = {
            **self.origin("vilt"),
            **self.spent(),
            "seed": self.settings.seed,
            "clip": {self.folder.name: sha256(self.folder / WEIGHTS)},
        }
        self.write_note(folder, note)
        return folder


def optimizer_of(network: ViltNetwork, rate: float) -> Joined:
    """Muon for the matrices of the blocks, AdamW for the rest; what begins as the image transformer has a lower peak."""
    encoder: Any = network.vilt.encoder
    begun, more = (
        [p for layer in layers for p in layer.parameters() if p.ndim == 2]
        for layers in (encoder.layer[:-MORE], encoder.layer[-MORE:])
    )
    known = {id(p) for p in (*begun, *more)}
    rest = [p for p in network.parameters() if id(p) not in known]
    heads = [
        p for name, p in network.named_parameters() if not name.startswith("vilt.") and id(p) not in known
    ]
    of_heads = {id(p) for p in heads}
    others = [p for p in rest if id(p) not in of_heads]
    made = Joined(
        Muon(begun, rate),
        Muon(more, rate),
        torch.optim.AdamW(
            [
                {"params": heads, "weight_decay": 0.01, "peak": rate},
                {"params": others, "weight_decay": 0.0, "peak": BEGUN * rate},
            ],
            lr=rate,
            betas=(0.9, 0.98),
        ),
    )
    for part, peak in zip(made.parts, (BEGUN * rate, rate), strict=False):
        part.param_groups[0]["peak"] = peak
    return made
