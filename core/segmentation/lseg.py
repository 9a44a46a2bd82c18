"""LSeg: semantic segmentation by any set of words (Li et al. 2022, https://arxiv.org/abs/2201.03546).

A frozen CLIP text encoder turns N labels into vectors, a dense image encoder turns the image into one vector for every
2 x 2 pixels, and their inner products are the label maps (section 3, figure 2):

    logits [h, w, N] = pixel_features [h, w, D] @ text_features [N, D].T / 0.07

Regularization blocks smooth the maps (`blocks`), bilinear enlargement doubles them. Labels are used bare, without a
template, as in the paper. Features of the image do not depend on the labels, so a new label costs one product.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from core import checkpoints, inputs, runtime
from core.checkpoints import Checkpoint
from core.clip import encoders, tokenizers
from core.clip.handles import Handle, remembered_image, remembered_texts
from core.clip.labels import read
from core.clip.resnet import picture_tower
from core.clip.tokenizers import Tokenizer
from core.segmentation.blocks import Activation, Kind, RegularizationBlock
from core.segmentation.dpt import BACKBONES, Scratch, ViTBackbone, double
from core.segmentation.evaluation import Sliding, multi_scale, passes
from core.segmentation.result import Segmentation, answer

TEMPERATURE = 0.07  # a constant of the released code; CLIP's own logit_scale is not used
STRIDE = 32  # the coarsest map's; sides of an image are multiples of it

ENCODED_IMAGES: runtime.ByteCache[EncodedImage] = runtime.ByteCache()


@cache
def architectures() -> dict[str, Any]:
    """The rows of `architectures.toml`."""
    return tomllib.loads(Path(__file__).with_name("architectures.toml").read_text(encoding="utf-8"))


class LSegNet(nn.Module):
    """The whole network under the names of the released checkpoints.

    Args:
        architecture: a row of `architectures.toml`.
        block, depth: the regularization block.
        with_clip: whether the text tower is part of it, as in the released files.
        activation: of the block.
    """

    def __init__(
        self,
        architecture: str,
        block: Kind = "none",
        depth: int = 0,
        with_clip: bool = True,
        activation: Activation = "lrelu",
    ) -> None:
        super().__init__()
        row = architectures()[architecture]
        options: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in row["backbone"].items()
        }
        self.clip_pretrained: Any = None
        if with_clip and "clip" in row:
            import open_clip

            self.clip_pretrained = open_clip.CLIP(**open_clip.get_model_config(row["clip"]))
        self.pretrained: Any = BACKBONES[options.pop("kind")](**options)
        self.scratch: Any = Scratch(self.pretrained.channels, row["features"], row["dimensions"])
        if block != "none":
            self.scratch.head_block = RegularizationBlock(block, depth, activation)

    def trim(self) -> LSegNet:
        """Takes out what no pass reads: CLIP's image tower and logit scale, and the ViT's classifier."""
        if self.clip_pretrained is not None:
            self.clip_pretrained.visual = None
            del self.clip_pretrained.logit_scale
        if isinstance(self.pretrained, ViTBackbone):
            self.pretrained.model.norm = nn.Identity()
            self.pretrained.model.head = nn.Identity()
        return self

    def pixel_features(self, pixels: Tensor) -> Tensor:
        """[B, 3, H, W], sides multiples of 32 -> normalised features [B, D, H/2, W/2]."""
        return F.normalize(self.scratch(self.pretrained(pixels)), dim=1)

    def regularized(self, logits: Tensor) -> Tensor:
        """Label maps [B, N, h, w] after the blocks."""
        block = self.scratch._modules.get("head_block")
        return logits if block is None else block(logits)

    def forward(self, pixels: Tensor, text_features: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] and texts [N, D] (of all) or [B, N, D] (of each) -> logits [B, N, H, W]."""
        return self.enlarged(self.pixel_features(pixels), text_features)

    def enlarged(self, pixel_features: Tensor, text_features: Tensor) -> Tensor:
        """Features [B, D, H/2, W/2] and texts -> logits [B, N, H, W]."""
        return double(self.regularized(label_maps(pixel_features, text_features)))


def label_maps(pixel_features: Tensor, text_features: Tensor) -> Tensor:
    """Inner products over the temperature: unit [B, D, h, w] with [N, D] or [B, N, D] -> [B, N, h, w]."""
    texts = F.normalize(text_features.float(), dim=-1)
    texts = texts.expand(len(pixel_features), -1, -1)
    return (texts @ pixel_features.flatten(2)).unflatten(2, pixel_features.shape[-2:]) / TEMPERATURE


def pixel_loss(logits: Tensor, target: Tensor, counts: Tensor | None = None, ignore: int = -1) -> Tensor:
    """Softmax cross-entropy over labels (equation 2).

    Args:
        logits: [B, N, H, W].
        target: [B, H, W] of label indices.
        counts: [N] how much a pixel of each label counts; all alike where it is None.
        ignore: the index of pixels that do not count.
    """
    return F.cross_entropy(logits, target, counts, ignore_index=ignore)


@dataclass(frozen=True)
class EncodedImage:
    """The expensive half: the features of one image, whatever the labels will be."""

    checkpoint: str
    digest: str
    size: tuple[int, int]  # width, height of the caller's file
    pixel_features: np.ndarray  # [h, w, D], norm 1 each; h, w are half the sides of the image as encoded

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return self.pixel_features.nbytes


class LoadedLSeg:
    """What the pool keeps of a row: the network on its device, its text tower, how it wants images."""

    def __init__(
        self, net: LSegNet, text: encoders.TextTower | None, row: Checkpoint, device: str, dtype: torch.dtype
    ) -> None:
        self.net = net.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.text, self.device, self.dtype = text, device, dtype
        self.long_side = int(row.options["long_side"])
        self.mean = torch.tensor(row.options["mean"])[:, None, None]
        self.std = torch.tensor(row.options["std"])[:, None, None]

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.net)

    def pixels(self, image: Image.Image, size: tuple[int, int] | None = None) -> Tensor:
        """[1, 3, H, W] normalised; resized to `size` (width, height) where that is given."""
        shown = image.resize(size, Image.Resampling.BILINEAR) if size and size != image.size else image
        levels = torch.from_numpy(np.asarray(shown, dtype=np.float32) / 255).permute(2, 0, 1)
        return ((levels - self.mean) / self.std)[None].to(self.device, self.dtype)


def working_size(width: int, height: int, long_side: int, smallest: int) -> tuple[int, int]:
    """Width and height that an image is encoded at: this long side, both multiples of 32, near its own ratio, and no side
    under the smallest that the backbone can look at."""
    scale = long_side / max(width, height)
    return tuple(max(smallest, round(side * scale / STRIDE) * STRIDE) for side in (width, height))  # type: ignore[return-value]


class LSeg(Handle[LoadedLSeg]):
    """Segmentation by language. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(("core.segmentation.lseg:load_lseg",))

    def encode(self, image: Image.Image | EncodedImage) -> EncodedImage:
        """The pixel features of an image (RGB, from `core.inputs.image`); remembered by its content."""
        return remembered_image(
            self.key,
            image,
            ENCODED_IMAGES,
            lambda image, digest, size: EncodedImage(
                self.checkpoint, digest, size, _encode_image(self, image)
            ),
        )

    @property
    def tokenize(self) -> Tokenizer:
        """Texts to token ids, of the row's own text tower or of the CLIP that it requires."""
        row = checkpoints.row(self.checkpoint)
        if row.requires:
            return super().tokenize
        return _own_tokenizer(architectures()[row.options["architecture"]]["clip"])

    def encode_text(self, labels: Sequence[str]) -> np.ndarray:
        """Normalised features [N, D] of bare labels; only new ones are computed."""
        return remembered_texts(self.key, labels, lambda missing: _encode_text(self, missing))

    def segment(self, image: Image.Image | EncodedImage, labels: str | Sequence[str]) -> Segmentation:
        """Gives every pixel one of the labels.

        Args:
            image: an image, or what `encode` made of it.
            labels: texts in a language the checkpoint knows, or one text that is cut at commas and lines; those that
                the checkpoint reads alike are one label. "other" is a
                label like any other.
        """
        start = time.perf_counter()
        encoded = self.encode(image)
        encoded_at = time.perf_counter()
        offered = read(self.tokenize, labels)
        text_features = self.encode_text(offered.texts)
        texts_at = time.perf_counter()
        features = torch.from_numpy(encoded.pixel_features).permute(2, 0, 1)[None]  # [1, D, h, w]
        with torch.inference_mode():
            before = label_maps(features, torch.from_numpy(text_features))
            after = _blocks(self)(before)
            logits = double(after)[0]
        maps, marks = (before[0], after[0], logits), (start, encoded_at, texts_at)
        return answer(self, offered, encoded.size, maps, text_features, TEMPERATURE, marks)

    def segment_multi_scale(
        self,
        image: Image.Image,
        labels: str | Sequence[str],
        settings: Sliding | None = None,
        cancel: runtime.Cancel | None = None,
    ) -> Iterator[float | Segmentation]:
        """The paper's own evaluation: windows, mirror images and scales, many passes in place of one.

        Args:
            image: an image; it is not resized first.
            labels: as for `segment`.
            settings: scales and sizes; the released ones when None.
            cancel: a set flag stops before the next pass.

        Yields:
            The share that is done after each pass, and last the answer.

        Raises:
            Refusal: "cancelled".
        """
        settings = settings or Sliding()
        start = time.perf_counter()
        offered = read(self.tokenize, labels)
        text_features = self.encode_text(offered.texts)
        texts_at = time.perf_counter()
        every = passes(image.height, image.width, settings)
        for step in _many_passes(self, image, text_features, settings, cancel):
            if isinstance(step, int):
                yield step / every
            else:
                maps = torch.from_numpy(step)
                marks = (start, start, texts_at)
                yield answer(
                    self,
                    offered,
                    inputs.size_of(image),
                    (maps, maps, maps),
                    text_features,
                    TEMPERATURE,
                    marks,
                )


# --- where the weights are ---------------------------------------------------------------------------------


def tensors(row: Checkpoint, paths: Mapping[str, Path]) -> dict[str, Tensor]:
    """The tensors, without memory, that `load_lseg` wants of a row."""
    state = _empty(row).state_dict()
    return {
        name: value for name, value in state.items() if not (row.requires and name.startswith("pretrained."))
    }


def _empty(row: Checkpoint) -> LSegNet:
    """The network that a row names, without weights."""
    options = row.options
    with torch.device("meta"):
        block = {name: options[name] for name in ("block", "depth", "activation") if name in options}
        return LSegNet(options["architecture"], **block, with_clip=not row.requires).trim()


def load_lseg(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedLSeg:
    """An LSeg of any architecture: the released weights, or a miniature that shares the text tower of another row, and its
    image tower too where the file brings none."""
    net = _empty(row)
    state = checkpoints.load_state_dict(next(iter(paths.values())))
    if not any(name.startswith("pretrained.") for name in state):
        shared = checkpoints.open(next(iter(row.requires)), download=False)
        state = {**picture_tower(checkpoints.load_state_dict(shared["model.safetensors"])), **state}
    encoders.put_state(net, encoders.in_precision(state, dtype), row)
    clip, text = net.clip_pretrained, None
    if clip is not None:
        # The causal mask is no part of a state dict.
        clip.attn_mask = torch.full(clip.attn_mask.shape, float("-inf"), dtype=dtype).triu_(1)
        text = encoders.OpenClipText(
            clip, _own_tokenizer(architectures()[row.options["architecture"]]["clip"])
        )
    return LoadedLSeg(net, text, row, device, dtype)


@cache
def _own_tokenizer(clip: str) -> Tokenizer:
    """open_clip's tokenizer of the CLIP whose text tower a network has."""
    return tokenizers.of_open_clip(clip)[1]


@runtime.on_device
def _encode_image(model: LSeg, image: Image.Image) -> np.ndarray:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        pixels = loaded.pixels(
            image, working_size(*image.size, loaded.long_side, loaded.net.pretrained.smallest)
        )
        features = loaded.net.pixel_features(pixels)[0].float()  # [D, h, w]
        return features.permute(1, 2, 0).contiguous().cpu().numpy()


@runtime.on_device
def _encode_text(model: LSeg, labels: Sequence[str]) -> np.ndarray:
    with model.use() as loaded:
        if loaded.text is not None:
            with runtime.semaphore(model.device), torch.inference_mode():
                features = loaded.text(loaded.text.tokenize(labels), model.device)
                return F.normalize(features.float(), dim=-1).cpu().numpy()
    shared = next(iter(checkpoints.row(model.checkpoint).requires))
    with encoders.use(shared, model.device, model.dtype) as encoder, runtime.semaphore(model.device):
        return encoder.encode_text(labels)


@runtime.on_device
def _many_passes(
    model: LSeg,
    image: Image.Image,
    text_features: np.ndarray,
    settings: Sliding,
    cancel: runtime.Cancel | None,
) -> Iterator[int | np.ndarray]:
    """The number of passes done, again and again; last the scores [N, H, W]."""
    with model.use() as loaded, runtime.semaphore(model.device):
        texts = torch.from_numpy(text_features).to(model.device)

        def network(window: Tensor) -> Tensor:
            if cancel is not None:
                cancel.check()
            return loaded.net(window, texts).float()

        scores = yield from multi_scale(network, loaded.pixels(image), settings)
        yield scores[0].cpu().numpy()


@cache
def _blocks(model: LSeg) -> nn.Module:
    """The row's regularization block on the CPU, where a change of labels is computed."""
    weights = _block_weights(model)
    if weights is None:
        return nn.Identity()
    kind, depth, state = weights
    block = RegularizationBlock(kind, depth)
    block.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return block.eval().requires_grad_(False)


@runtime.on_device
def _block_weights(model: LSeg) -> tuple[Kind, int, dict[str, np.ndarray]] | None:
    with model.use() as loaded:
        block = loaded.net.scratch._modules.get("head_block")
        if block is None:
            return None
        state = {name: value.float().cpu().numpy() for name, value in block.state_dict().items()}
        return block.kind, block.depth, state
