"""TIPSv2: an image tower whose patches were trained to read text (Cao et al. 2026, https://arxiv.org/abs/2604.12012).

TIPSv2 is a CLIP with a second task: a student that sees a masked image predicts the features that its teacher gives every
patch of the whole image, and the patches that are not masked count too (iBOT++). So a patch's feature comes to lie near
the texts of what it shows, and a label map needs no decoder:

    logits [h, w, N] = place_features [h, w, D] @ text_features [N, D].T / temperature

The authors' own evaluation keeps the value path of the last attention, as MaskCLIP does, covers the image with squares that
overlap by a quarter (`places`), and averages each label over nine templates. Pixels are levels from 0 to 1 without a mean
or deviation; texts are put into lower case; a text's feature is the mean over its tokens. The classes are transformers'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core import checkpoints, runtime
from core.checkpoints import Checkpoint
from core.clip import encoders
from core.clip.handles import Handle, remembered_image, remembered_texts
from core.clip.tokenizers import Tokenizer
from core.clip.towers import padded
from core.segmentation import places
from core.segmentation.places import EncodedImage
from core.segmentation.result import Segmentation

VOCABULARY = "tokenizer.model"
CONTEXT = 64  # places of a text
TEXTS_AT_ONCE = 64
# Of the authors' evaluation.
TEMPLATES = (
    "itap of a {}.", "a bad photo of a {}.", "a origami {}.", "a photo of the large {}.", "a {} in a video game.",
    "art of the {}.", "a photo of the small {}.", "a photo of many {}.", "a photo of {}s.",
)  # fmt: skip
ENCODED_IMAGES: runtime.ByteCache[EncodedImage] = runtime.ByteCache()


class PieceTokenizer(Tokenizer):
    """Pieces without a start or end: a longer text loses its end."""

    def cut(self, ids: Sequence[int]) -> list[int]:
        return list(ids[: self.context_length])


@lru_cache(maxsize=4)
def piece_tokenizer(path: Path) -> PieceTokenizer:
    """The tokenizer of a SentencePiece file, for texts in lower case."""
    from sentencepiece import SentencePieceProcessor

    library = SentencePieceProcessor(model_file=str(path))
    return PieceTokenizer(
        lambda texts: library.encode([text.lower() for text in texts]), CONTEXT, library.unk_id()
    )


class LoadedTIPS:
    """What the pool keeps of a row: the model on its device, its tokenizer, how it wants images."""

    def __init__(
        self, model: Any, tokenize: Tokenizer, processor: Any, device: str, dtype: torch.dtype
    ) -> None:
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.tokenize, self.processor, self.device, self.dtype = tokenize, processor, device, dtype
        vision = model.config.vision_config
        self.side, self.grid = int(vision.image_size), int(vision.image_size // vision.patch_size)
        self.logit_scale = 1 / float(model.temperature)

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.model)

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """[B, 3, S, S], levels from 0 to 1; an image that is no such square is squeezed into one."""
        made = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        return made.to(self.device, self.dtype)

    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Features [B, D] of whole images, norm 1."""
        features = self.model.get_image_features(pixel_values=self.pixels(images)).pooler_output
        return F.normalize(features.float(), dim=-1)

    def patch_features(self, squares: Sequence[Image.Image]) -> Tensor:
        """Features [B, grid, grid, D] of the patches: in the last block each patch reads its own value alone."""
        vision = self.model.vision_model
        *blocks, last = vision.encoder.layer
        x = vision.embeddings(self.pixels(squares))  # [B, 1 + registers + h*w, D]
        for block in blocks:
            x = block(x)
        x = x + last.layer_scale1(last.attention.o_proj(last.attention.v_proj(last.norm1(x))))
        x = x + last.layer_scale2(last.mlp(last.norm2(x)))
        patches = vision.layernorm(x)[:, 1 + vision.config.num_register_tokens :]
        return patches.unflatten(1, (self.grid, self.grid))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Features [N, D] of texts, norm 1."""
        features = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            ids = self.tokenize(texts[start : start + TEXTS_AT_ONCE])
            longest = max(map(len, ids))
            output = self.model.get_text_features(
                input_ids=padded(ids, longest).to(self.device),
                attention_mask=padded([[1] * len(text) for text in ids], longest).to(self.device),
            )
            features.append(F.normalize(output.pooler_output.float(), dim=-1))
        return torch.cat(features)


class TIPS(Handle[LoadedTIPS]):
    """Segmentation by the features of patches. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(("core.segmentation.tips:load_tips",))

    @property
    def tokenize(self) -> Tokenizer:
        """Texts to token ids; without the weights."""
        return piece_tokenizer(checkpoints.open(self.checkpoint, download=False)[VOCABULARY])

    def encode(self, image: Image.Image | EncodedImage) -> EncodedImage:
        """The place features of an image (RGB, from `core.inputs.image`); remembered by its content."""
        return remembered_image(
            self.key,
            image,
            ENCODED_IMAGES,
            lambda image, digest, size: EncodedImage(
                self.checkpoint, digest, size, *_encode_image(self, image)
            ),
        )

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Normalised text features [N, D]; only new ones are computed."""
        return remembered_texts(self.key, texts, lambda missing: _encode_text(self, missing))

    def segment(self, image: Image.Image | EncodedImage, labels: str | Sequence[str]) -> Segmentation:
        """Gives every pixel one of the labels, each in the authors' templates; see `places.segment`."""
        return places.segment(self, image, labels, TEMPLATES)


def load_tips(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedTIPS:
    """A published TIPSv2 as transformers' class, which also renames the authors' own tensors; the temperature is in the
    configuration where the file has none."""
    transformers = runtime.import_whole("transformers")
    model = encoders.from_transformers(
        transformers.Tipsv2Model, paths["config.json"].parent, row, dtype, ("position_ids",)
    )
    side = model.config.vision_config.image_size
    processor = transformers.Tipsv2ImageProcessor(size={"height": side, "width": side})
    return LoadedTIPS(model, piece_tokenizer(paths[VOCABULARY]), processor, device, dtype)


@runtime.on_device
def _encode_image(model: TIPS, image: Image.Image) -> tuple[np.ndarray, float]:
    """Place features [h, w, D] of the whole image, and the row's logit scale."""
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        grid = loaded.grid
        features = places.place_features(image, loaded.side, grid, 1, grid * 3 // 4, loaded.patch_features)
        return features, loaded.logit_scale


@runtime.on_device
def _encode_text(model: TIPS, texts: Sequence[str]) -> np.ndarray:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return loaded.text_features(texts).cpu().numpy()
