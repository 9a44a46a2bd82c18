"""Train a miniature CLIP on classroom scenes (Radford et al. 2021, section 2.3 and figure 3), in two languages.

    python -m core.classroom train clip --model classroom-rn --minutes 75

The paper's loss with four changes that make an hour on two CPU cores enough:

1. A curriculum by share of the time budget (`PHASES`): single objects on plain ground, then any single objects, then
   scenes of up to four with captions, at the full picture size.
2. Anchors: one learned vector per concept, never shipped. Pictures of a single object and names in both languages are
   classified against them, so that each tower gets a target before the other has learned anything. A batch of pictures
   then costs no pass of the text tower; names take their turn every `NAMES_EVERY` steps.
3. True pairs off the diagonal count as true: identical captions, and plain captions of a concept that another picture
   of the batch shows (`claims`). Captions with their two objects swapped are extra wrong answers.
4. Both towers end in a BatchNorm without affine part, which keeps the features spread out; `export` folds it into the
   projections, so that the shipped file is open_clip's plain CLIP class.

Not in the paper: the learned temperature is capped at `MAX_SCALE`, and the anchors' targets are smoothed, so that all
wrong names end up equally far away and a softmax over labels that are all absent stays undecided.
"""

from __future__ import annotations

import csv
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP
from open_clip.transformer import text_global_pool
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from core.classroom import tokenizer as tokens
from core.classroom.atlas import Atlas, open_atlas
from core.classroom.captions import LANGUAGES, TEMPLATES, Caption, Writer, claim_table, phrase
from core.classroom.concepts import concepts
from core.classroom.scenes import SceneSettings, Spec, render, sample

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
MAX_SCALE = 16.0
NAMES_EVERY = 4
SMOOTHING = 0.1
SEED = 1 << 32  # training seeds start here; evaluation seeds are small numbers

TEXT = {"context_length": tokens.CONTEXT, "width": 128, "heads": 4, "layers": 3, "proj_bias": True}
VISION: dict[str, dict[str, Any]] = {
    "classroom-rn": {
        "layers": [2, 2, 2, 2],
        "width": 20,
        "head_width": 64,
        "image_size": 64,
        "patch_size": None,
    },
    "classroom-vit": {"layers": 6, "width": 192, "head_width": 64, "image_size": 64, "patch_size": 8},
}
EMBED = 192


@dataclass(frozen=True)
class Phase:
    """Until this share of the time: pictures of `size` pixels, `batch` a step, scenes drawn by `scenes`.

    captions: whether pictures are matched with captions too, not only with their concept.
    """

    until: float
    size: int
    batch: int
    scenes: SceneSettings
    captions: bool


_SINGLES = SceneSettings(
    kinds=(1, 0, 0, 0), looks=(0.8, 0.04, 0.03, 0.05, 0.05, 0.03), augment=0.5, easy=True, poses=0
)
_ONE = SceneSettings(kinds=(1, 0, 0, 0), augment=0.8, poses=0.02)
_ALL = SceneSettings()
PHASES: dict[str, tuple[Phase, ...]] = {
    "classroom-rn": (
        Phase(0.06, 48, 96, _SINGLES, False),
        Phase(0.38, 48, 128, _ONE, False),
        Phase(1.01, 64, 224, _ALL, True),
    ),
    "classroom-vit": (
        Phase(0.10, 64, 96, _SINGLES, False),
        Phase(0.35, 64, 128, _ONE, False),
        Phase(1.01, 64, 192, _ALL, True),
    ),
}


@dataclass
class Settings:
    """One training run. `steps` ends it early (tests); `styles` leaves drawing styles out (ablations)."""

    model: str = "classroom-rn"
    minutes: float = 75.0
    device: str = "cpu"
    out: Path = Path("runs/classroom-rn")
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    seed: int = 0
    steps: int | None = None
    styles: tuple[str, ...] = ()
    vision: dict[str, Any] = field(default_factory=dict)  # overrides, for tests
    phases: tuple[Phase, ...] = ()
    log_every: int = 50


def build(
    model: str, vocabulary: int, overrides: dict[str, Any] | None = None
) -> tuple[CLIP, dict[str, Any]]:
    """The open_clip model of this name, untrained, and its model_cfg."""
    vision = {**VISION[model], **(overrides or {})}
    text = {**TEXT, "vocab_size": vocabulary}
    config = {"embed_dim": EMBED, "vision_cfg": dict(vision), "text_cfg": dict(text)}
    clip = CLIP(EMBED, vision, text, init_logit_scale=math.log(10.0))
    return clip, config


class Learner(nn.Module):
    """A CLIP in training: its towers, the two BatchNorms at their ends, and the anchors."""

    def __init__(self, clip: CLIP) -> None:
        super().__init__()
        self.clip = clip
        self.image_norm = nn.BatchNorm1d(EMBED, affine=False)
        self.text_norm = nn.BatchNorm1d(EMBED, affine=False)
        self.anchors = nn.Parameter(0.07 * torch.randn(len(concepts()), EMBED))  # never shipped

    def encode_image(self, picture: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] -> features [B, D], before normalisation."""
        x = ((picture - MEAN[0]) / STD[0]).contiguous(memory_format=torch.channels_last)
        v: Any = self.clip.visual
        if hasattr(v, "attnpool"):
            x = v.layer4(v.layer3(v.layer2(v.layer1(v.stem(x)))))  # [B, C, h, w]
            x = attention_pool(v.attnpool, x)
        else:
            x = v(x)
        return self.image_norm(x.float())

    def classify(self, features: Tensor, cosine: bool) -> Tensor:
        """Logits [N, C] of features [N, D] against the anchors: plain products at first (they learn faster),
        cosines at CLIP's temperature once captions are learned the same way."""
        if not cosine:
            return features @ self.anchors.T
        return self.scale * F.normalize(features, dim=-1) @ F.normalize(self.anchors, dim=-1).T

    def encode_text(self, ids: Tensor) -> Tensor:
        """Ids [N, L] -> features [N, D] after the norm. Short and long texts run apart, each cut to its length."""
        lengths = ids.gt(0).sum(1)
        out = torch.empty(len(ids), EMBED, device=ids.device)
        limit = 9
        for rows in (lengths <= limit).nonzero()[:, 0], (lengths > limit).nonzero()[:, 0]:
            if len(rows):
                out = out.index_copy(0, rows, self._text(ids[rows, : int(lengths[rows].max())]).float())
        return self.text_norm(out)

    def _text(self, ids: Tensor) -> Tensor:
        c, length = self.clip, ids.shape[1]
        x = c.token_embedding(ids) + c.positional_embedding[:length]
        x = c.ln_final(c.transformer(x, attn_mask=c.attn_mask[:length, :length]))
        return c.text_projection(text_global_pool(x, ids, c.text_pool_type))

    @property
    def scale(self) -> Tensor:
        return self.clip.logit_scale.exp()


def attention_pool(pool: Any, x: Tensor) -> Tensor:
    """open_clip's AttentionPool2d on a map [B, C, h, w] of any size, for the one query that is used."""
    b, c, h, w = x.shape
    side = math.isqrt(len(pool.positional_embedding) - 1)
    first, grid = pool.positional_embedding.split([1, side * side])
    if (h, w) != (side, side):  # smaller pictures while training: the places are averaged
        grid = grid.T.reshape(1, c, side, side)
        grid = F.interpolate(grid, (h, w), mode="bilinear", antialias=True).flatten(2)[0].T
    tokens = x.flatten(2).transpose(1, 2)  # [B, hw, C]
    tokens = torch.cat([tokens.mean(1, keepdim=True) + first, tokens + grid], 1)

    def heads(y: Tensor) -> Tensor:
        return y.reshape(b, -1, pool.num_heads, c // pool.num_heads).transpose(1, 2)

    query, key, value = (
        heads(pool.q_proj(tokens[:, :1])),
        heads(pool.k_proj(tokens)),
        heads(pool.v_proj(tokens)),
    )
    mixed = F.scaled_dot_product_attention(query, key, value)  # [B, heads, 1, C / heads]
    return pool.c_proj(mixed.transpose(1, 2).reshape(b, c))


def soft_cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy against rows of `truth` (0/1), each divided among its ones; rows without a one do not count."""
    total = truth.sum(1)
    loss = -(truth * logits.log_softmax(1)).sum(1) / total.clamp(min=1)
    return loss[total > 0].mean()


def contrast(
    image: Tensor, text: Tensor, truth: Tensor, scale: Tensor, swapped: Tensor | None = None
) -> Tensor:
    """The symmetric loss of CLIP (figure 3) with several true texts a picture.

    image, text [B, D] normalised; truth [B, B] 0/1 (picture, text); swapped [M, D]: texts true of no picture."""
    logits = scale * image @ text.T
    rows, target = logits, truth
    if swapped is not None and len(swapped):
        rows = torch.cat([logits, scale * image @ swapped.T], 1)
        target = torch.cat([truth, truth.new_zeros(len(truth), len(swapped))], 1)
    return (soft_cross_entropy(rows, target) + soft_cross_entropy(logits.T, truth.T)) / 2


def true_pairs(captions: Sequence[Caption], spec: Spec) -> Tensor:
    """[B pictures, B captions] 1 where a caption is known to be true of a picture."""
    b = len(captions)
    order = {text: n for n, text in enumerate(dict.fromkeys(c.text for c in captions))}
    same = torch.tensor([order[c.text] for c in captions])
    truth = same[:, None] == same[None]
    claim = torch.tensor([c.claim for c in captions])
    single = spec.kind == 0
    shown = claim_table()[claim.clamp(min=0)][:, spec.concept[:, 0]].T > 0  # [pictures, captions]
    return (truth | (shown & (claim >= 0)[None] & single[:, None]) | torch.eye(b, dtype=torch.bool)).float()


class Trainer:
    """Runs `Settings`; `run()` trains until the time is over and exports. Resumes from `out/last.pt`."""

    def __init__(self, settings: Settings, atlas: Atlas | None = None) -> None:
        s = self.settings = settings
        torch.manual_seed(s.seed)
        self.device = torch.device(s.device)
        self.atlas = atlas or (open_atlas(s.styles, s.device) if s.styles else open_atlas(device=s.device))
        self.tokenizer = tokens.train()
        clip, self.config = build(s.model, self.tokenizer.get_vocab_size(), s.vision)
        self.learner = Learner(clip).to(self.device)
        self.learner.clip.visual.to(memory_format=torch.channels_last)
        self.phases = s.phases or PHASES[s.model]
        matrices = [p for p in self.learner.parameters() if p.ndim > 1]
        vectors = [p for p in self.learner.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": s.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=s.learning_rate, betas=(0.9, 0.98),
        )  # fmt: skip
        self.step = self.images = 0
        self.seconds = 0.0
        self.names = {lang: self._names(lang) for lang in LANGUAGES}
        last = s.out / "last.pt"
        if last.exists():
            self._restore(torch.load(last, map_location=self.device, weights_only=True))

    def _names(self, lang: str) -> list[Tensor]:
        """All names, ids [C, L], in several wordings: bare ones more often, because they are short and so quick."""
        forms = ["{}"] * 6 + list(TEMPLATES[lang])
        rng = random.Random(1)
        tables = []
        for form in forms:
            words = [rng.choice([c.name(lang)] * 4 + list(c.also(lang))) for c in concepts()]
            tables.append([form.format(phrase(word, lang)) for word in words])
        return [tokens.tokenize(self.tokenizer, lines).to(self.device) for lines in tables]

    def progress(self) -> float:
        """Share of the budget used, 0..1."""
        if self.settings.steps is not None:
            return min(1.0, self.step / self.settings.steps)
        return min(1.0, self.seconds / (60 * self.settings.minutes))

    def phase(self) -> Phase:
        """The part of the curriculum that is on."""
        return next(p for p in self.phases if self.progress() < p.until)

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
                    f"{self.progress():5.1%}  step {self.step}  {self.images / 1000:.0f}k pictures  {rate:.0f}/s  "
                    f"{means['size']:.0f}px  top-1 {means['top1']:.1%}  pictures {means['shown']:.2f}  "
                    f"names {means['named']:.2f}  captions {means['captions']:.2f}  "
                    f"scale {means['scale']:.1f}  lr {means['lr']:.1e}"
                )
                rows, logged = [], now
            if now - saved > 120:
                self.save()
                saved = now
        self.save()
        return export(self.learner, self.config, self.tokenizer, s.out / s.model)

    def train_step(self) -> dict[str, float]:
        """One step on one batch of scenes, both languages."""
        s, at = self.settings, self.progress()
        phase = self.phase()
        rate = s.learning_rate * min(1.0, at / 0.02 + 0.02) * (0.5 + 0.5 * math.cos(math.pi * at))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.learner.train()
        if at > 0.8:
            # The features that ship use the running statistics; the towers get used to them before the end.
            self.learner.image_norm.eval()
            self.learner.text_norm.eval()

        spec = sample(phase.batch, SEED + (s.seed << 24) + self.step, self.atlas, phase.scenes)
        picture = render(spec, self.atlas, phase.size).picture
        rng = random.Random(self.step)
        captions: list[Caption] = []
        texts: list[Tensor] = []
        if self.step % NAMES_EVERY == 0:
            texts += [rng.choice(self.names[lang]) for lang in LANGUAGES]
        if phase.captions:
            writer = Writer(spec, self.atlas.mono)
            lang = LANGUAGES[self.step % 2]
            captions = [writer.write(i, lang, rng) for i in range(len(writer))]
            lines = [c.text for c in captions] + [c.swapped for c in captions if c.swapped is not None]
            texts.append(tokens.tokenize(self.tokenizer, lines).to(self.device))

        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type != "mps"):
            image = self.learner.encode_image(picture)
            text = self.learner.encode_text(torch.cat(texts)) if texts else image[:0]
        single = torch.nonzero(spec.kind == 0)[:, 0].to(self.device)
        label = spec.concept[:, 0].to(self.device)[single]
        guess = self.learner.classify(image[single], phase.captions)
        shown = F.cross_entropy(guess, label, label_smoothing=SMOOTHING)
        named = matched = torch.zeros((), device=self.device)
        if self.step % NAMES_EVERY == 0:
            c = len(concepts())
            every = torch.arange(c, device=self.device).repeat(2)
            guess_text = self.learner.classify(text[: 2 * c], phase.captions)
            named = F.cross_entropy(guess_text, every, label_smoothing=SMOOTHING)
            text = text[2 * c :]
        if captions:
            truth = true_pairs(captions, spec).to(self.device)
            image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
            matched = contrast(image, text[: len(truth)], truth, self.learner.scale, text[len(truth) :])
        loss = (0.5 if captions else 1.0) * (shown + named) + matched

        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.learner.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.learner.clip.logit_scale.clamp_(math.log(4.0), math.log(MAX_SCALE))
        self.step += 1
        self.images += len(spec)
        with torch.no_grad():
            correct = (guess.argmax(1) == label).float().mean()
        return {
            "batch": len(spec), "size": phase.size, "loss": loss.item(), "shown": shown.item(),
            "named": named.item() * NAMES_EVERY, "captions": matched.item(), "top1": correct.item(),
            "scale": self.learner.scale.item(), "lr": rate,
        }  # fmt: skip

    def save(self) -> None:
        """Everything `run` needs to go on, written whole or not at all."""
        state = {
            "learner": self.learner.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step,
            "images": self.images, "seconds": self.seconds,
        }  # fmt: skip
        part = self.settings.out / "last.part"
        torch.save(state, part)
        part.replace(self.settings.out / "last.pt")

    def _restore(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.images, self.seconds = state["step"], state["images"], state["seconds"]


@torch.no_grad()
def folded(learner: Learner) -> dict[str, Tensor]:
    """The CLIP's tensors with both BatchNorms inside its projections: same features, plain model.

    (Wx + b - mean) / std: into the last linear map of the attention pooling and of the text tower. The ViT's
    projection has no bias, so its shift goes through the pseudo-inverse into the LayerNorm before it.
    """
    state = {k: v.detach().clone().cpu() for k, v in learner.clip.state_dict().items()}

    def statistics(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
        assert norm.running_mean is not None and norm.running_var is not None
        return norm.running_mean.cpu(), (norm.running_var.cpu() + norm.eps).rsqrt()

    def linear(weight: str, bias: str, mean: Tensor, inverse: Tensor) -> None:
        state[weight] = state[weight] * inverse[:, None]
        state[bias] = (state[bias] - mean) * inverse

    linear("text_projection.weight", "text_projection.bias", *statistics(learner.text_norm))
    mean, inverse = statistics(learner.image_norm)
    if "visual.attnpool.c_proj.weight" in state:
        linear("visual.attnpool.c_proj.weight", "visual.attnpool.c_proj.bias", mean, inverse)
    else:
        projection = state["visual.proj"].double()  # [W, D]
        shift = -mean.double() @ torch.linalg.pinv(projection)
        state["visual.ln_post.bias"] = state["visual.ln_post.bias"] + shift.float()
        state["visual.proj"] = (projection * inverse.double()).float()
    return state


def export(learner: Learner, config: dict[str, Any], tokenizer: Any, folder: Path) -> Path:
    """Write model.safetensors (fp16), open_clip_config.json and tokenizer.json into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in folded(learner).items()}
    save_file(state, folder / "model.safetensors")
    preprocess = {"mean": list(MEAN), "std": list(STD), "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2) + "\n", encoding="utf-8"
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
