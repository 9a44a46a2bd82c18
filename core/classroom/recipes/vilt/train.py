"""Train the miniature ViLT: one transformer that answers questions, tells whether a text fits an image and fills in words.

    python -m core.classroom train vilt --minutes 40

As in the paper (Kim et al. 2021, section 3) the body begins as an image transformer, here that of classroom-vit, and text and
image meet from its first layer. What differs, and why:

1. A word begins as what classroom-vit's text tower says of the names that it is part of, and the first word, which is pooled, as
   the class token; the paper's words begin at random. Finding the thing that a word names is then one thing to learn, not one for
   each word.
2. For the first part of the run several texts share an image: each of them sees itself and the image, the image only itself.
   The patches are then computed once for all of them. In the second part there is one text for an image, and both see each other,
   which is ViLT.
3. Questions are learned together with matching and masked words, not after them; an answer is one of many, by a softmax.

Texts are questions about the scene and its captions: true or false (matching, with the alignment of words and patches), or with a
name masked as a whole.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ViltConfig

from core.checkpoints import bytewise
from core.checkpoints.integrity import sha256
from core.classroom.recipes.common.miniature import NOTE, WEIGHTS, Miniature, export_folder
from core.classroom.recipes.common.muon import Muon
from core.classroom.recipes.common.rows import commit
from core.classroom.recipes.common.running import SEED, Run, fast_arithmetic
from core.classroom.recipes.vilt.texts import FIRST, PAD, Tokens, Written, names_of, write
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.questions import SCENES, SHARES, Kind, Questions, answers, ask, scenes
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings
from core.vqa.vilt.alignment import alignment_loss
from core.vqa.vilt.network import Task, ViltNetwork, image_tokens

CLIP = "classroom-vit"
SIZE = 64
CONTEXT = 24  # words of a text, [CLS] and [SEP] included
TOGETHER = 0.75  # the share of the run in which several texts share an image
QUESTIONS, CAPTIONS = 8, 2  # texts of an image then
IMAGES, PAIRS = 32, 64  # of a step, in the first and in the second part
MATCHING, MASKING, ALIGNING = 0.3, 0.4, 0.1  # weights beside questions
RATE, BEGUN = 2e-3, 0.4  # of AdamW and Muon, and of what begins as the image transformer, as a share
TASKS: tuple[Task, ...] = ("answer", "match", "fill")


@dataclass
class Settings:
    """One training run.

    clip: a bundled row or the folder of an export, which must be an image transformer. together: the share of the run in which
    several texts share an image. questions, captions: texts of an image then. images, pairs: of a step, in the first and in the
    second part.
    """

    clip: str = CLIP
    minutes: float = 40.0
    device: str = "cpu"
    out: Path = Path("runs/vilt")
    together: float = TOGETHER
    questions: int = QUESTIONS
    captions: int = CAPTIONS
    images: int = IMAGES
    pairs: int = PAIRS
    seed: int = 0
    steps: int | None = None
    log_every: int = 50
    rate: float = RATE
    shares: dict[Kind, float] = field(default_factory=lambda: dict(SHARES))
    world: SceneSettings = field(default_factory=lambda: SCENES)


def configuration(words: int, clip: Miniature) -> dict[str, Any]:
    """The miniature's ViltConfig: the sizes of the image transformer, the classroom's words and answers."""
    visual: Any = clip.model.visual
    block = visual.transformer.resblocks[0]
    return {
        "vocab_size": words,
        "max_position_embeddings": CONTEXT,
        "hidden_size": visual.conv1.out_channels,
        "num_hidden_layers": len(visual.transformer.resblocks),
        "num_attention_heads": block.attn.num_heads,
        "intermediate_size": block.mlp.c_fc.out_features,
        "layer_norm_eps": 1e-5,
        "image_size": visual.image_size[0],
        "patch_size": visual.patch_size[0],
        "num_labels": len(answers()),
        "pad_token_id": PAD,
    }


@torch.no_grad()
def begin(network: ViltNetwork, clip: Miniature, tokens: Tokens) -> None:
    """Puts the image transformer's weights into the body, and what the text tower says of names into the words.

    The norm in front of the first block, which ViLT does not have, becomes part of the patches: its mean and its gain are linear,
    and for the deviation of each patch stands that of an average one.
    """
    visual: Any = clip.model.visual
    body: Any = network.vilt
    for block, layer in zip(visual.transformer.resblocks, body.encoder.layer, strict=True):
        parts = zip(block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3), strict=True)
        attention = layer.attention.attention
        for linear, (weight, bias) in zip(
            (attention.query, attention.key, attention.value), parts, strict=True
        ):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        for mine, theirs in (
            (layer.attention.output.dense, block.attn.out_proj),
            (layer.intermediate.dense, block.mlp.c_fc),
            (layer.output.dense, block.mlp.c_proj),
            (layer.layernorm_before, block.ln_1),
            (layer.layernorm_after, block.ln_2),
        ):
            mine.load_state_dict(theirs.state_dict())
    body.layernorm.load_state_dict(visual.ln_post.state_dict())

    kernel, places = visual.conv1.weight, visual.positional_embedding
    norm, e = visual.ln_pre, body.embeddings
    example = render(scenes(64, 7, open_atlas()), open_atlas(), SIZE).picture
    patches = visual.conv1((example - clip.mean) / clip.std).flatten(2).transpose(1, 2) + places[1:]
    gain = norm.weight / patches.std(-1).median()
    # Twice, because ViLT's pixels lie in -1..1 and the miniature's in -2..2.
    scale = float(0.5 / clip.std.mean())
    e.patch_embeddings.projection.weight.copy_(scale * (kernel - kernel.mean(0)) * gain[:, None, None, None])
    e.patch_embeddings.projection.bias.copy_(norm.bias)
    e.position_embeddings[0, 1:] = (places[1:] - places[1:].mean(-1, keepdim=True)) * gain
    e.position_embeddings[0, 0] = 0
    e.cls_token.copy_(norm(visual.class_embedding + places[0])[None, None])
    e.token_type_embeddings.weight.zero_()

    # What a patch of the last block would have to be for the projection to say the same as the text tower.
    table = e.text_embeddings.word_embeddings.weight
    spoken = names_of(tokens, clip.texts)  # [V, D], zero for words of no name
    meant = spoken @ torch.linalg.pinv(visual.proj)
    meant = meant / visual.ln_post.weight
    named = spoken.norm(dim=1) > 0
    meant[named] /= meant[named].std(-1, keepdim=True)
    table[named] = 0.05 * (meant[named] + 0.3 * torch.randn_like(meant[named]))
    table[~named] = 0.05 * torch.randn_like(table[~named])
    table[PAD] = 0
    # The first word, which is pooled, begins as the class token, and the pooling as the projection.
    start = body.embeddings.cls_token[0, 0]
    table[FIRST] = 0.05 * (start - start.mean()) / start.std()
    e.text_embeddings.position_embeddings.weight[0] = 0
    e.text_embeddings.token_type_embeddings.weight[0] = 0
    body.pooler.dense.weight.copy_(visual.proj.T * (0.5 / (visual.proj.T.norm(dim=1, keepdim=True))))
    body.pooler.dense.bias.zero_()


def joint(network: ViltNetwork, ids: Tensor, image: Tensor, both: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Several texts beside each image in one sequence: a text sees itself and the image.

    Args:
        ids: [B, K, L], padded with `PAD`.
        image: [B, P, W], as of `image_tokens`.
        both: whether the image sees the texts, which is ViLT where K is 1.

    Returns:
        words [B, K, L, W], patches [B, P, W] and the pooled first words [B, K, W].
    """
    body: Any = network.vilt
    b, k, length = ids.shape
    # Places that hold padding beside every image are left out; texts that are sorted by length leave many.
    kept = (ids != PAD).any(0).flatten()  # [K L]
    texts = body.embeddings.text_embeddings(input_ids=ids.flatten(0, 1)).view(b, k * length, -1)[:, kept]
    kinds = body.embeddings.token_type_embeddings.weight
    hidden = torch.cat([texts + kinds[0], image + kinds[1]], dim=1)
    seen = visibility(ids, kept, image.shape[1], both)
    hidden = body.layernorm(body.encoder(hidden, attention_mask=seen).last_hidden_state)
    count = texts.shape[1]
    words = hidden.new_zeros(b, k * length, hidden.shape[-1])
    words[:, kept] = hidden[:, :count]
    words = words.unflatten(1, (k, length))
    return words, hidden[:, count:], body.pooler(words.flatten(0, 1)).unflatten(0, (b, k))


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
        super().__init__(s.out, s.minutes, s.steps, s.log_every)
        torch.manual_seed(s.seed)
        self.device = torch.device(s.device)
        self.folder = export_folder(s.clip)
        clip = Miniature(self.folder)
        if not hasattr(clip.model.visual, "class_embedding"):
            raise SystemExit(f"ViLT begins as an image transformer: --clip {CLIP}")
        self.atlas = atlas or open_atlas(device=s.device)
        self.tokens = Tokens()
        self.config = configuration(len(self.tokens), clip)
        network = ViltNetwork(ViltConfig(**self.config), TASKS)
        begin(network, clip, self.tokens)
        self.learner: ViltNetwork = network.to(self.device).train()
        self.optimizer = Both(network, s.rate)
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
        pixels = (render(spec, self.atlas, SIZE).picture.to(self.device) - 0.5) / 0.5
        asked = ask(spec, 4 * each * count, seed, shares=s.shares)
        rows = chosen(asked, torch.arange(count), each)
        texts = write(self.tokens, spec, self.atlas, asked, rows, told, rng, apart)
        return {**self._learn(texts, pixels, apart), "batch": float(count)}

    def _learn(self, texts: Written, pixels: Tensor, apart: bool) -> dict[str, float]:
        network = self.learner
        ids = texts.ids.to(self.device)
        with fast_arithmetic(self.device):
            words, patches, pooled = joint(network, ids, image_tokens(network.vilt, pixels), apart)
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
        loss = answering + MATCHING * matching + MASKING * masking
        told = {"answers": answering, "matching": matching, "masked": masking}
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
            right = (given.argmax(1) == answer).float().mean()
        return {**{name: float(value.detach()) for name, value in told.items()}, "right": float(right)}

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
            "recipe": "core/classroom/recipes/vilt/train.py",
            "command": f"python -m core.classroom train vilt --minutes {self.settings.minutes:g}",
            **self.spent(),
            "seed": self.settings.seed,
            "commit": commit(),
            "clip": {self.folder.name: sha256(self.folder / WEIGHTS)},
        }
        (folder / NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        curve = self.out / "curve.csv"
        if curve.exists():
            (folder / "curve.csv").write_text(curve.read_text())
        return folder


class Both(torch.optim.Optimizer):
    """Muon for the matrices of the blocks, AdamW for the rest, as one optimizer with one schedule."""

    def __init__(self, network: ViltNetwork, rate: float) -> None:
        body = list(network.vilt.encoder.named_parameters())
        matrices = [p for _, p in body if p.ndim == 2]
        known = {id(p) for p in matrices}
        rest = [p for p in network.parameters() if id(p) not in known]
        heads = [
            p for name, p in network.named_parameters() if not name.startswith("vilt.") and id(p) not in known
        ]
        of_heads = {id(p) for p in heads}
        others = [p for p in rest if id(p) not in of_heads]
        self.parts: tuple[torch.optim.Optimizer, ...] = (
            Muon(matrices, rate),
            torch.optim.AdamW(
                [
                    {"params": heads, "weight_decay": 0.01, "peak": rate},
                    {"params": others, "weight_decay": 0.0, "peak": BEGUN * rate},
                ],
                lr=rate,
                betas=(0.9, 0.98),
            ),
        )
        self.parts[0].param_groups[0]["peak"] = BEGUN * rate
        self.defaults = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {str(at): part.state_dict() for at, part in enumerate(self.parts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for at, part in enumerate(self.parts):
            part.load_state_dict(state_dict[str(at)])
