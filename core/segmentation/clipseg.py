"""CLIPSeg: a mask for any words from a small decoder on a frozen CLIP (Lüddecke and Ecker 2022, https://arxiv.org/abs/2112.10003).

A descendant of LSeg's idea whose weights are on the Hub. The activations of three layers of CLIP's ViT go up through a
decoder of three thin transformer layers; a text comes in once, as a scale and a shift of the decoder's first tokens (FiLM,
section 3.1). So each text has a pass of the decoder, and a map, of its own:

    logits [N, S, S] = decoder(activations, text_features [N, D])

Labels do not compete inside the model: each map answers yes or no with a sigmoid, the model has never seen two labels side
by side, and the maps do not sum to one. What a pixel is given here is the label with the surest map, even where none is
above one half; `Segmentation.scores` are the sigmoids. The model is transformers'; an image is squeezed into a square.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core import runtime
from core.checkpoints import Checkpoint
from core.clip import encoders
from core.clip.handles import Handle, remembered_image, remembered_texts
from core.clip.labels import read
from core.clip.towers import padded
from core.segmentation.result import Segmentation, answer

LABELS_AT_ONCE = 16  # passes of the decoder together
ENCODED_IMAGES: runtime.ByteCache[EncodedImage] = runtime.ByteCache()


@dataclass(frozen=True)
class EncodedImage:
    """The expensive half: what three layers of CLIP see in one image, whatever the labels will be."""

    checkpoint: str
    digest: str
    size: tuple[int, int]  # width, height of the caller's file
    activations: np.ndarray  # [layers, 1 + h * w, W], the class token first

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return self.activations.nbytes


class LoadedCLIPSeg:
    """What the pool keeps of a row: the model on its device, its tokenizer, how it wants images."""

    def __init__(
        self,
        model: Any,
        tokenize: Callable[[Sequence[str]], list[list[int]]],
        preprocess: Mapping[str, Any],
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.tokenize, self.device, self.dtype = tokenize, device, dtype
        size = preprocess["size"]
        self.side = int(size["height"] if isinstance(size, dict) else size)
        self.mean = torch.tensor(preprocess["image_mean"])[:, None, None]
        self.std = torch.tensor(preprocess["image_std"])[:, None, None]

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.model)

    def pixels(self, image: Image.Image) -> Tensor:
        """[1, 3, S, S] normalised; the picture's ratio is given up, as in training."""
        shown = image.resize((self.side, self.side), Image.Resampling.BILINEAR)
        levels = torch.from_numpy(np.asarray(shown, dtype=np.float32) / 255).permute(2, 0, 1)
        return ((levels - self.mean) / self.std)[None].to(self.device, self.dtype)

    def activations(self, pixels: Tensor) -> Tensor:
        """[1, 3, S, S] -> [layers, 1 + h * w, W], what the decoder reads."""
        seen = self.model.clip.get_image_features(
            pixel_values=pixels, output_hidden_states=True
        ).hidden_states
        return torch.cat([seen[layer + 1] for layer in self.model.extract_layers])

    def texts(self, labels: Sequence[str]) -> Tensor:
        """Projected features [N, D], not normalised: the decoder was trained on them as they are."""
        ids = self.tokenize(labels)
        batch = padded(ids, max(map(len, ids)))
        return self.model.clip.get_text_features(batch.to(self.device)).pooler_output

    def maps(self, activations: Tensor, texts: Tensor) -> Tensor:
        """[layers, 1 + h * w, W] and [N, D] -> logits [N, S, S]."""
        made = []
        for part in texts.split(LABELS_AT_ONCE):
            of_each = tuple(activation.expand(len(part), -1, -1) for activation in activations)
            made.append(self.model.decoder(of_each, part).logits)
        return torch.cat(made)


class CLIPSeg(Handle[LoadedCLIPSeg]):
    """Segmentation by yes or no for each label. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(("core.segmentation.clipseg:load_clipseg",))

    def encode(self, image: Image.Image | EncodedImage) -> EncodedImage:
        """The activations of an image (RGB, from `core.inputs.image`); remembered by its content."""
        return remembered_image(
            self.key,
            image,
            ENCODED_IMAGES,
            lambda image, digest, size: EncodedImage(
                self.checkpoint, digest, size, _encode_image(self, image)
            ),
        )

    def encode_text(self, labels: Sequence[str]) -> np.ndarray:
        """Features [N, D] of bare labels, as the decoder takes them; only new ones are computed."""
        return remembered_texts(self.key, labels, lambda missing: _encode_text(self, missing))

    def segment(self, image: Image.Image | EncodedImage, labels: str | Sequence[str]) -> Segmentation:
        """Gives every pixel the label whose own map is surest there.

        Args:
            image: an image, or what `encode` made of it.
            labels: texts in a language the checkpoint knows, or one text that is cut at commas and lines; those that
                the checkpoint reads alike are one label.
        """
        start = time.perf_counter()
        encoded = self.encode(image)
        encoded_at = time.perf_counter()
        offered = read(self.tokenize, labels)
        text_features = self.encode_text(offered.texts)
        texts_at = time.perf_counter()
        logits = torch.from_numpy(_decode(self, encoded.activations, text_features))
        maps, marks = (logits, logits, logits), (start, encoded_at, texts_at)
        found = answer(self, offered, encoded.size, maps, text_features, 1.0, marks)
        return replace(found, normalisation="sigmoid")


def load_clipseg(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> LoadedCLIPSeg:
    """A published CLIPSeg in transformers' form; its tokenizer is CLIP's."""
    kind = runtime.import_whole("transformers").CLIPSegForImageSegmentation
    folder = paths["config.json"].parent
    model = encoders.from_transformers(kind, folder, row, dtype, ("position_ids",))
    length = model.config.text_config.max_position_embeddings
    preprocess = json.loads(paths["preprocessor_config.json"].read_text(encoding="utf-8"))
    return LoadedCLIPSeg(model, encoders.open_clip_tokenizer(paths, row, length), preprocess, device, dtype)


@runtime.on_device
def _encode_image(model: CLIPSeg, image: Image.Image) -> np.ndarray:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return loaded.activations(loaded.pixels(image)).float().cpu().numpy()


@runtime.on_device
def _encode_text(model: CLIPSeg, labels: Sequence[str]) -> np.ndarray:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return loaded.texts(labels).float().cpu().numpy()


@runtime.on_device
def _decode(model: CLIPSeg, activations: np.ndarray, text_features: np.ndarray) -> np.ndarray:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        seen = torch.from_numpy(activations).to(loaded.device, loaded.dtype)
        texts = torch.from_numpy(text_features).to(loaded.device, loaded.dtype)
        return loaded.maps(seen, texts).float().cpu().numpy()
