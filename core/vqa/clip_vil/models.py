"""CLIP-ViL's comparison (Shen et al. 2022): one answering head, MCAN, on encoders of one architecture that learned differently.

A row holds a head for each of its encoders:

- "random": never trained, filled from a seed; the row keeps the statistics of its BatchNorms alone.
- "supervised": trained to name one thing, as ImageNet networks are; the row keeps it.
- "clip": the image tower of the CLIP that the row requires.

Words are embedded by that CLIP's token embedding, as the paper's heads start from word vectors; it is frozen.
The paper's own weights for question answering were never released.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from core import checkpoints, inputs, runtime
from core.checkpoints import Checkpoint
from core.clip import DUAL_ENCODERS, encoders, tokenizers
from core.clip.handles import Handle
from core.clip.labels import NO_NOTES, Notes
from core.clip.towers import OpenClipResNet
from core.errors import Refusal
from core.vqa.clip_vil import grid
from core.vqa.clip_vil.grid import GridView
from core.vqa.clip_vil.mcan import MCAN, MCANSettings

if TYPE_CHECKING:
    from open_clip.modified_resnet import ModifiedResNet

ENCODERS = ("random", "supervised", "clip")
LONGEST = 32  # tokens of a question that are read
TOP = 10  # answers in the plain answer
CHINESE = re.compile(r"[\u3400-\u9fff]")
FEATURES: runtime.ByteCache[Encoded] = runtime.ByteCache()
ANSWERS = "answers.json"


@dataclass(frozen=True)
class Encoded:
    """The expensive half: the grid features of one image."""

    checkpoint: str
    encoder: str
    digest: str
    size: tuple[int, int]  # width, height of the image's pixels
    seen: tuple[int, int]  # height, width in pixels that the tower saw
    grid_features: np.ndarray  # [h, w, C]

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return self.grid_features.nbytes


@dataclass(frozen=True)
class VisualAnswer:
    """The answer first, then what it came from."""

    checkpoint: str
    encoder: str
    question: str
    answers: tuple[str, ...]  # A of them, in the language of the question
    probabilities: np.ndarray  # [A]; each answer's own, they do not sum to one
    grid_features: np.ndarray  # [C, h, w]
    attention: np.ndarray  # [h, w] how far the head looks at each place; sums to one
    words: tuple[str, ...]  # L tokens of the question
    word_attention: np.ndarray  # [L]
    guided: np.ndarray  # [h, w, L] how far each place reads each word in the last layer
    seen: tuple[int, int]
    device: str
    seconds: float
    timings: dict[str, float] = field(default_factory=dict)  # milliseconds by step
    notes: Notes = NO_NOTES

    @property
    def order(self) -> np.ndarray:
        """Indices of answers, best first."""
        return np.argsort(-self.probabilities, kind="stable")

    @property
    def best(self) -> str:
        """The likeliest answer."""
        return self.answers[int(self.order[0])]

    def to_json(self) -> dict[str, Any]:
        """The likeliest answers and where the head looked, as plain values."""
        return {
            "checkpoint": self.checkpoint,
            "encoder": self.encoder,
            "seconds": round(self.seconds, 4),
            "question": self.question,
            "answer": self.best,
            "results": [
                {"answer": self.answers[i], "probability": round(float(self.probabilities[i]), 4)}
                for i in self.order[:TOP]
            ],
            "attention": self.attention.round(4).tolist(),
            **self.notes.to_json(),
        }


# --- towers --------------------------------------------------------------------------------------------------


def empty_tower(vision: Mapping[str, Any]) -> ModifiedResNet:
    """A CLIP ResNet without attention pooling and without memory; `vision` as open_clip's configurations have it."""
    from open_clip.modified_resnet import ModifiedResNet

    with torch.device("meta"):
        visual = ModifiedResNet(vision["layers"], 1, 1, vision["image_size"], vision["width"])
    visual.attnpool = None
    return visual


def random_tower(vision: Mapping[str, Any], seed: int) -> ModifiedResNet:
    """A tower with convolutions of a seed (He et al. 2015) and plain BatchNorms."""
    visual, draw = empty_tower(vision), torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in visual.state_dict().items():
        if tensor.ndim == 4:
            spread = (2 / tensor[0].numel()) ** 0.5
            state[name] = spread * torch.randn(tensor.shape, generator=draw)
        elif name.endswith(("weight", "running_var")):
            state[name] = torch.ones(tensor.shape)
        else:
            state[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
    visual.load_state_dict(state, assign=True)
    return visual


# --- a row ---------------------------------------------------------------------------------------------------


class LoadedHeads:
    """What the pool keeps of a row: its towers and heads by encoder, its tokenizer, its answers."""

    def __init__(
        self,
        row: Checkpoint,
        towers: Mapping[str, nn.Module],
        heads: Mapping[str, MCAN],
        tokenizer: Any,
        answers: Mapping[str, tuple[str, ...]],
        preprocess: Mapping[str, Any],
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.row, self.device, self.dtype = row, device, dtype
        self.towers = {name: self._ready(one) for name, one in towers.items()}
        self.heads: dict[str, Any] = {name: self._ready(one) for name, one in heads.items()}
        self.library, self.tokenize = tokenizer
        self.answers = answers
        self.mean, self.std = (
            torch.tensor(preprocess[name], device=device, dtype=dtype)[:, None, None]
            for name in ("mean", "std")
        )

    def _ready(self, module: nn.Module) -> nn.Module:
        return module.to(device=self.device, dtype=self.dtype).eval().requires_grad_(False)

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        parts = [*self.towers.values(), *self.heads.values()]
        tensors = {t.data_ptr(): t for part in parts for t in (*part.parameters(), *part.buffers())}
        return sum(t.numel() * t.element_size() for t in tensors.values())

    def pixels(self, images: list[Image.Image], view: GridView) -> Tensor:
        """RGB images -> [B, 3, H, W] on the device, normalised."""
        levels = [torch.from_numpy(np.array(grid.resized(image, view))) for image in images]
        pixels = torch.stack(levels).permute(0, 3, 1, 2).to(self.device, self.dtype) / 255
        return (pixels - self.mean) / self.std


def view_of(row: Checkpoint) -> GridView:
    """How a row's images are made ready: as published, or a square of its own."""
    side = row.options.get("side")
    return GridView(side, side, (side, side)) if side else grid.PUBLISHED


def settings_of(options: Mapping[str, Any]) -> MCANSettings:
    """The sizes of a row's heads."""
    return MCANSettings(**options["head"])


def load(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedHeads:
    """The heads of a row on its encoders.

    The file has "heads.ENCODER." and "encoders.ENCODER." before the names of tensors; CLIP's tower and the embedding of words
    are those of the row that it requires.
    """
    weights = next(path for name, path in paths.items() if name.endswith(".safetensors"))
    stored = checkpoints.load_state_dict(weights)
    (other,) = row.requires
    clip_paths, clip_row = checkpoints.open(other, download=False), checkpoints.row(other)
    _, config, preprocess = encoders.open_clip_model(clip_paths, clip_row)
    clip = encoders.open_clip_state(clip_paths, clip_row)
    vision = config["vision_cfg"]
    visual = {
        name.removeprefix("visual."): tensor
        for name, tensor in clip.items()
        if name.startswith("visual.") and ".attnpool." not in name
    }

    def part(prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): t for n, t in stored.items() if n.startswith(prefix)}

    def tower(state: Mapping[str, Tensor]) -> nn.Module:
        made = empty_tower(vision)
        encoders.put_state(made, encoders.in_precision(state, dtype), row)
        return made

    start = dict(random_tower(vision, int(row.options.get("random_seed", 0))).state_dict())
    towers = {
        "random": tower(start | part("encoders.random.")),
        "supervised": tower(part("encoders.supervised.")),
        "clip": tower(visual),
    }
    heads = {}
    for name in ENCODERS:
        with torch.device("meta"):
            heads[name] = MCAN(settings_of(row.options))
        words = {"embedding.weight": clip["token_embedding.weight"]}
        encoders.put_state(heads[name], encoders.in_precision(words | part(f"heads.{name}."), dtype), row)
    listed = json.loads(paths[ANSWERS].read_text(encoding="utf-8"))
    answers = {lang: tuple(one[lang] for one in listed) for lang in ("en", "zh")}
    tokenizer = tokenizers.from_file(clip_paths["tokenizer.json"], LONGEST)
    return LoadedHeads(row, towers, heads, tokenizer, answers, preprocess, device, dtype)


class CLIPViL(Handle[LoadedHeads]):
    """Answers to questions about images. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(("core.vqa.clip_vil.models:load",))
    encoders: tuple[str, ...] = ENCODERS

    def encode(self, image: Image.Image | Encoded, encoder: str = "clip") -> Encoded:
        """The grid features of an image (RGB, from `core.inputs.image`); remembered by its content."""
        if isinstance(image, Encoded):
            return image
        digest = inputs.digest(image)
        return FEATURES.get_or(
            (*self.key, encoder, digest),
            lambda: Encoded(self.checkpoint, encoder, digest, image.size, *_encode(self, image, encoder)),
        )

    def answer(self, image: Image.Image | Encoded, question: str, encoder: str = "clip") -> VisualAnswer:
        """Answers a question about an image.

        Args:
            image: an image, or what `encode` made of it.
            question: a text in a language that the row knows.
            encoder: of `ENCODERS`.

        Raises:
            Refusal: "unknown_method" for another encoder, "no_text", "text_too_long".
        """
        if encoder not in ENCODERS:
            raise Refusal("unknown_method", name=str(encoder)[:40], known=", ".join(ENCODERS))
        start = time.perf_counter()
        text = inputs.text(question)
        encoded = self.encode(image, encoder)
        encoded_at = time.perf_counter()
        found = _answer(self, encoded, text, encoder)
        end = time.perf_counter()
        rows, columns = encoded.grid_features.shape[:2]
        return VisualAnswer(
            checkpoint=self.checkpoint,
            encoder=encoder,
            question=text,
            answers=found["answers"],
            probabilities=found["probabilities"],
            grid_features=encoded.grid_features.transpose(2, 0, 1),
            attention=found["over_grid"].reshape(rows, columns),
            words=found["words"],
            word_attention=found["over_words"],
            guided=found["guided"].reshape(rows, columns, -1),
            seen=encoded.seen,
            device=self.device,
            seconds=end - start,
            timings={"encode_image": 1000 * (encoded_at - start), "answer": 1000 * (end - encoded_at)},
            notes=Notes(truncated=(text,) if found["is_cut"] else ()),
        )


@runtime.on_device
def _encode(model: CLIPViL, image: Image.Image, encoder: str) -> tuple[tuple[int, int], np.ndarray]:
    """The size that the tower saw, and grid features [h, w, C]."""
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        pixels = loaded.pixels([image], view_of(loaded.row))
        features = grid.grid_features(loaded.towers[encoder], pixels)
        return (pixels.shape[2], pixels.shape[3]), features[0].float().cpu().numpy()


@runtime.on_device
def _answer(model: CLIPViL, encoded: Encoded, question: str, encoder: str) -> dict[str, Any]:
    """What the head says, as arrays and plain values."""
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        whole = loaded.tokenize.whole(question)
        ids = loaded.tokenize([question])[0]
        features = torch.from_numpy(encoded.grid_features).to(loaded.device, loaded.dtype)
        looked = loaded.heads[encoder].look(
            features.flatten(0, 1)[None],
            torch.tensor([ids], device=loaded.device),
            (features.shape[0], features.shape[1]),
        )
        return {
            "answers": loaded.answers["zh" if CHINESE.search(question) else "en"],
            "probabilities": looked.logits[0].float().sigmoid().cpu().numpy(),
            "over_grid": looked.over_grid[0].float().cpu().numpy(),
            "over_words": looked.over_words[0].float().cpu().numpy(),
            "guided": looked.guided[0].float().cpu().numpy(),
            "words": tuple(loaded.library.id_to_token(i) for i in ids),
            "is_cut": len(whole) > len(ids),
        }


# --- the grid of any CLIP ResNet -----------------------------------------------------------------------------


class GridEncoder(Handle[encoders.DualEncoder]):
    """The grid features of any CLIP row whose image tower is a ResNet: what a head can be trained on."""

    LOADERS = DUAL_ENCODERS

    def encode(self, image: Image.Image, view: GridView = grid.PUBLISHED) -> np.ndarray:
        """Features [h, w, C] of an image.

        Raises:
            Refusal: "no_grid" where the image tower is a transformer.
        """
        return _grid(self, image, view)


@runtime.on_device
def _grid(model: GridEncoder, image: Image.Image, view: GridView) -> np.ndarray:
    with model.use() as encoder, runtime.semaphore(model.device), torch.inference_mode():
        if not isinstance(encoder.vision, OpenClipResNet):
            raise Refusal("no_grid", checkpoint=model.checkpoint)
        # Preprocessing is the same line for every level of a channel: what it makes of black and of white says which.
        dark, light = (encoder.preprocess(Image.new("RGB", (32, 32), (v, v, v)))[:, :1, :1] for v in (0, 255))
        levels = torch.from_numpy(np.array(grid.resized(image, view))).permute(2, 0, 1).float() / 255
        pixels = (dark + (light - dark) * levels)[None].to(encoder.device, encoder.dtype)
        return grid.grid_features(encoder.vision.visual, pixels)[0].float().cpu().numpy()
