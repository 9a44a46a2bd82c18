"""Train the miniature AudioCLIP: sounds of classroom things meet the frozen towers of a miniature CLIP (Guzhov et al. 2022).

    python -m core.classroom train audioclip --minutes 20

As in the paper's partial training only the audio tower and two logit scales learn; images and words stay where CLIP put them.
The loss is the paper's contrast over three pairs, plus the term that keeps the filters' norms. A batch holds each thing once, so
that no label of it counts as a negative of itself. The features of the drawings and of the sentences are computed once.

`leave_out` drops pairs from the loss; what follows from which pairs is measured by `pairs`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from core.audio import objectives
from core.audio.esresnet import EncoderSettings, ESResNeXt
from core.audio.fbsp import FrontEnd, FrontEndSettings
from core.checkpoints import bytewise
from core.checkpoints.integrity import sha256
from core.classroom.recipes.common.miniature import Miniature, export_folder
from core.classroom.recipes.common.running import Run, by_shape, fast_arithmetic
from core.classroom.world.atlas import load_atlas
from core.classroom.world.scenes import render
from core.classroom.world.sounds import LENGTH, RATE, SECONDS, SOUNDING, made, sounding
from core.classroom.world.specs import SceneSettings, sample
from core.classroom.world.sprites import STYLES
from core.classroom.world.wording import LANGUAGES, TEMPLATES, phrase

CLIP = "classroom-rn"
SOUNDS = 96  # of each thing
DRAWINGS = 24  # of each thing
SIZE = 64
NEW_STYLES = ("noto-v1", "emojione-monotone")  # whose drawings no sound meets in training
SEED = 1 << 20  # seeds of training sounds start here; evaluation seeds are small numbers
INT16 = 32_768.0  # the range of samples that AudioCLIP reads
RATE_OF_FILTERS = 3e-3
NARROWEST = 0.05  # of the filters' widths, which must stay positive
MASKS = (20, 20)  # at most so many bins of a band, so many frames, are hidden in training
SETTINGS = EncoderSettings(
    FrontEndSettings(n_fft=512, hop_length=320, win_length=512),
    blocks=(1, 1, 1, 1), planes=(16, 32, 64, 96), stem=24, groups=4, group_width=32, outputs=192,
)  # fmt: skip


@dataclass
class Settings:
    """One training run.

    clip: a bundled row or the folder of an export. codes: the things that sound. sounds: of each. groups: how often each thing is
    in a batch. leave_out: pairs without a term, as "audio-text".
    fixed_filters: the filters stay as they begin, so that spectra are computed once.
    """

    clip: str = CLIP
    minutes: float = 20.0
    device: str = "cpu"
    out: Path = Path("runs/audioclip")
    codes: tuple[str, ...] = SOUNDING
    sounds: int = SOUNDS
    groups: int = 2
    leave_out: tuple[str, ...] = ()
    fixed_filters: bool = False
    seed: int = 0
    steps: int | None = None
    log_every: int = 50
    rate: float = 3e-3

    @property
    def pairs(self) -> tuple[objectives.Pair, ...]:
        """Those whose terms are in the loss."""
        return tuple(pair for pair in objectives.PAIRS if "-".join(pair) not in self.leave_out)


@dataclass(frozen=True)
class Frozen:
    """What the frozen towers say of N things, norm 1."""

    images: Tensor  # [N, M, D] drawings
    texts: dict[str, Tensor]  # by language [N, K, D], one for each sentence
    image_text: float  # exp(t) of the CLIP


def drawings(tower: Miniature, codes: Sequence[str], each: int, seed: int, new: bool = False) -> Tensor:
    """Features [N, M, D] of single things, drawn M times each; `new`: in the styles that training leaves out."""
    styles = NEW_STYLES if new else tuple(style for style in STYLES if style not in NEW_STYLES)
    atlas = load_atlas(styles)
    concepts = [concept.index for concept in sounding() if concept.code in codes]
    order = {concept.index: concept.code for concept in sounding()}
    found: dict[str, list[Tensor]] = {code: [] for code in codes}
    while min(map(len, found.values())) < each:
        settings = SceneSettings(
            kinds=(1, 0, 0, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.5, concepts=tuple(concepts)
        )
        spec = sample(len(codes) * 8, seed, atlas, settings)
        features = tower.images(render(spec, atlas, SIZE).picture)
        for concept, feature in zip(spec.concept[:, 0].tolist(), features, strict=True):
            found[order[concept]].append(feature)
        seed += 1
    return torch.stack([torch.stack(found[code][:each]) for code in codes])


def sentences(tower: Miniature, codes: Sequence[str], lang: str) -> Tensor:
    """Features [N, K, D] of the names in all sentences of a language."""
    by_code = {concept.code: concept for concept in sounding()}
    rows = [
        tower.texts(
            [form.format(phrase(by_code[code].name(lang), lang)) for form in dict.fromkeys(TEMPLATES[lang])]
        )
        for code in codes
    ]
    return torch.stack(rows)


def frozen(tower: Miniature, codes: Sequence[str], seed: int, each: int = DRAWINGS) -> Frozen:
    """Both towers' features of the things."""
    return Frozen(
        drawings(tower, codes, each, seed),
        {lang: sentences(tower, codes, lang) for lang in LANGUAGES},
        tower.scale,
    )


def training_sounds(codes: Sequence[str], each: int, seed: int, kept: Path | None = None) -> Tensor:
    """[N, each, A] int16, kept in a file once they are made."""
    if kept is not None and kept.exists():
        stored: Tensor = torch.load(kept, weights_only=True)
        if stored.shape[:2] == (len(codes), each):
            return stored
    made_ = torch.stack([(made(code, each, seed) * (INT16 - 1)).round().short() for code in codes])
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(made_, kept)
    return made_


class Learner(nn.Module):
    """What learns: the audio tower and two scales."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = ESResNeXt(SETTINGS)
        self.logit_scale_ai = nn.Parameter(torch.tensor(30.0).log())
        self.logit_scale_at = nn.Parameter(torch.tensor(30.0).log())

    def scales(self, image_text: float) -> dict[objectives.Pair, Tensor | float]:
        """exp(t) of the pairs."""
        ai, at = objectives.scale(self.logit_scale_ai), objectives.scale(self.logit_scale_at)
        return {("audio", "image"): ai, ("audio", "text"): at, ("image", "text"): image_text}


class Trainer(Run):
    """Runs `Settings`; `run()` trains until the time is over and exports."""

    def __init__(self, settings: Settings, known: Frozen | None = None, sounds: Tensor | None = None) -> None:
        """`known`, `sounds`: made before, in place of those of the settings."""
        s = self.settings = settings
        super().__init__(s, s.device)
        self.folder = export_folder(s.clip)
        tower = Miniature(self.folder)
        self.known = known or frozen(tower, s.codes, SEED + s.seed)
        kept = s.out / "sounds.pt"
        self.sounds = (
            sounds if sounds is not None else training_sounds(s.codes, s.sounds, SEED + s.seed, kept)
        )
        self.learner: Learner = Learner().to(self.device)
        cast("Any", self.learner.audio).to(memory_format=torch.channels_last)  # a third faster on a CPU
        self.decibels = self._spectra() if s.fixed_filters else None
        learner = self.learner
        filters = [learner.audio.fbsp.m, learner.audio.fbsp.fb, learner.audio.fbsp.fc]
        apart = {id(p) for p in (*filters, learner.audio.fbsp.bias)}
        rest = [p for p in learner.parameters() if id(p) not in apart]
        self.optimizer = torch.optim.AdamW(
            [
                *by_shape(rest, s.rate, 0.05),
                {"params": filters, "peak": RATE_OF_FILTERS, "weight_decay": 0.0},
            ],
            lr=s.rate,
        )
        self.resume(self.device)

    @torch.no_grad()
    def _spectra(self) -> Tensor:
        """Decibels [N, each, 3, F, T] of all sounds, in half precision."""
        front: FrontEnd = self.learner.audio.requires_grad_(False)
        parts = [
            FrontEnd.forward(front, one.float().to(self.device)[:, None])[:, 0].half() for one in self.sounds
        ]
        self.learner.audio.requires_grad_(True)
        return torch.stack(parts)

    def batch(self, rng: random.Random, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Decibels [GN, 1, 3, F, T], and what the frozen towers say [G, N, D]: one drawing and one sentence each."""
        s, things = self.settings, len(self.settings.codes)
        chosen = torch.randint(self.sounds.shape[1], (s.groups, things), generator=generator)
        every = torch.arange(things).expand(s.groups, -1)
        if self.decibels is not None:
            decibels = self.decibels[every, chosen].flatten(0, 1)[:, None].float()
        else:
            wave = self.sounds[every, chosen].flatten(0, 1).float()
            wave = torch.stack(
                [
                    row.roll(int(by))
                    for row, by in zip(
                        wave, torch.randint(LENGTH, (len(wave),), generator=generator), strict=True
                    )
                ]
            )
            decibels = FrontEnd.forward(self.learner.audio, wave[:, None].to(self.device))
        drawing = torch.randint(self.known.images.shape[1], (s.groups, things), generator=generator)
        texts = self.known.texts[LANGUAGES[self.step % len(LANGUAGES)]]
        sentence = torch.randint(texts.shape[1], (s.groups, things), generator=generator)
        given = {"image": self.known.images[every, drawing], "text": texts[every, sentence]}
        return masked(decibels, rng), {name: tensor.to(self.device) for name, tensor in given.items()}

    def train_step(self) -> dict[str, float]:
        """One step on a batch that has each thing `groups` times."""
        s, learner = self.settings, self.learner
        self.schedule()
        learner.train()
        rng = random.Random((s.seed << 32) + self.step)
        decibels, given = self.batch(rng, torch.Generator().manual_seed((s.seed << 32) + self.step))
        with fast_arithmetic(self.device):
            features = learner.audio.see(decibels).features.float()
        audio = F.normalize(features, dim=-1).unflatten(0, (s.groups, -1))
        triple = {"audio": audio, **given}
        scales = {
            pair: value for pair, value in learner.scales(self.known.image_text).items() if pair in s.pairs
        }
        matrices = objectives.logits(triple, scales)
        loss = objectives.loss(matrices.values())
        if self.decibels is None:
            loss = loss + learner.audio.fbsp.loss().float()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        learner.audio.fbsp.normalise_gradients()
        torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        self.optimizer.step()
        with torch.no_grad():
            learner.audio.fbsp.fb.clamp_(min=NARROWEST)
            cosines = triple["audio"] @ triple["text"].mT
            right = (
                (cosines.argmax(-1) == torch.arange(cosines.shape[-1], device=cosines.device)).float().mean()
            )
        return {
            "batch": len(decibels), "loss": loss.item(), "right": right.item(), "lr": self.optimizer.param_groups[0]["lr"],
        }  # fmt: skip

    def export(self) -> Path:
        """model.safetensors with a byte for each number of a matrix, and training.json with the options of its row."""
        folder = self.out / "classroom-audioclip"
        folder.mkdir(parents=True, exist_ok=True)
        save_file(stored(self.learner.state_dict()), folder / "model.safetensors")
        s = self.settings
        note = {
            "paper": "audioclip",
            "clip": {self.folder.name: sha256(self.folder / "model.safetensors")},
            "options": {"rate": RATE, "seconds": SECONDS, "encoder": asdict(SETTINGS)},
            "pairs": ["-".join(pair) for pair in s.pairs],
            "things": list(s.codes),
            "seed": s.seed,
            **self.spent(),
        }
        self.write_note(folder, note)
        return folder


def masked(decibels: Tensor, rng: random.Random) -> Tensor:
    """With a few bins and a few frames set to the mean, the same in all sounds of a batch."""
    decibels, mean = decibels.clone(), decibels.detach().mean((-2, -1), keepdim=True)
    for axis, most in zip((-2, -1), MASKS, strict=True):
        width = rng.randint(0, min(most, decibels.shape[axis] // 3))
        start = rng.randint(0, decibels.shape[axis] - width)
        part = decibels.narrow(axis, start, width)
        part.copy_(mean.expand_as(part))
    return decibels


def stored(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What ships: matrices in bytes; filters as they are, since half precision has no thousandth of a bin at the top."""
    left_out = ("num_batches_tracked", "audio.window", "audio.fbsp.bias")
    own = {name: tensor for name, tensor in state.items() if not name.endswith(left_out)}
    whole = {name: t.detach().cpu().contiguous() for name, t in own.items() if ".fbsp." in name}
    return bytewise.packed({name: t for name, t in own.items() if name not in whole}) | whole
