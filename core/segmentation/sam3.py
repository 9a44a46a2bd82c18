"""SAM 3: every instance of a concept that a few words name (Carion et al. 2025, https://arxiv.org/abs/2511.16719).

A concept is a short noun phrase. The image is encoded once; each concept then has a pass of its own through a detector, whose
queries give boxes, masks and scores. What is new beside other detectors is the presence head: one number says whether the
concept is in the image at all, so that a query has only to say where. A query's score is the product of the two:

    score [Q] = sigmoid(logits [Q]) * sigmoid(presence)

Concepts do not compete inside the model. The mask of a label is the union of its instances that score above one half, a pixel
takes the label with the surest mask, and where no mask covers it the answer is none of these. The classes are transformers'.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core import runtime
from core.checkpoints import Checkpoint
from core.clip import encoders
from core.clip.handles import Handle, remembered_image
from core.clip.labels import read
from core.clip.tokenizers import Tokenizer, of_open_clip
from core.segmentation.result import Segmentation, answer

THRESHOLD = 0.5  # scores of instances that count, as in the authors' examples
CONTEXT = 32  # places of a text
READ_BY = "ViT-B-32"  # the CLIP whose tokenizer it has
EMPTY = -20.0  # logit of a place where no instance is

ENCODED_IMAGES: runtime.ByteCache[EncodedImage] = runtime.ByteCache()
CONCEPTS: runtime.ByteCache[Concept] = runtime.ByteCache()


@dataclass(frozen=True)
class EncodedImage:
    """The expensive half: what the image tower sees, at three sizes, whatever the concepts will be."""

    checkpoint: str
    digest: str
    size: tuple[int, int]  # width, height of the caller's file
    levels: tuple[np.ndarray, ...]  # [C, h, w] each, the finest first

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return sum(level.nbytes for level in self.levels)


@dataclass(frozen=True)
class Concept:
    """What a pass for one concept found."""

    presence: float  # the probability that the concept is in the image
    boxes: np.ndarray  # [R, 4] xyxy of the instances above the threshold, shares of the sides, best first
    scores: np.ndarray  # [R]
    logits: np.ndarray  # [h, w] of the union of their masks; above 0 is inside
    text_features: np.ndarray  # [D], the mean over the words

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.boxes.nbytes + self.scores.nbytes + self.logits.nbytes + self.text_features.nbytes


class LoadedSAM3:
    """What the pool keeps of a row: the model on its device, its tokenizer, how it wants images."""

    def __init__(self, model: Any, processor: Any, device: str, dtype: torch.dtype) -> None:
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.processor, self.device, self.dtype = processor, device, dtype
        self.tokenize = concept_tokenizer()

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.model)

    def levels(self, image: Image.Image) -> tuple[Tensor, ...]:
        """[1, C, h, w] each, the finest first; the image is squeezed into a square."""
        pixels = self.processor(images=image, return_tensors="pt")["pixel_values"]
        vision = self.model.get_vision_features(pixel_values=pixels.to(self.device, self.dtype))
        return vision.fpn_hidden_states[:-1]  # the coarsest is read by nobody

    def concept(self, levels: Sequence[Tensor], label: str) -> Concept:
        """One pass of the detector."""
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        place = self.model.vision_encoder.neck.position_encoding
        places = [place(level.shape, level.device, level.dtype) for level in levels]
        vision = Sam3VisionEncoderOutput(
            fpn_hidden_states=(*levels, levels[-1]),
            fpn_position_encoding=(*places, places[-1]),
        )
        ids = torch.tensor(self.tokenize([label]), device=self.device)
        mask = torch.ones_like(ids)
        words = self.model.get_text_features(input_ids=ids, attention_mask=mask, return_dict=True)
        output = self.model(vision_embeds=vision, text_embeds=words, attention_mask=mask)
        presence = output.presence_logits[0].float().sigmoid()  # [1]
        scores = output.pred_logits[0].float().sigmoid() * presence  # [Q]
        order = scores.argsort(descending=True)
        kept = order[scores[order] > THRESHOLD]
        masks = output.pred_masks[0, kept].float()
        union = masks.amax(0) if len(kept) else torch.full_like(output.pred_masks[0, 0].float(), EMPTY)
        return Concept(
            presence=float(presence),
            boxes=output.pred_boxes[0, kept].float().cpu().numpy(),
            scores=scores[kept].cpu().numpy(),
            logits=union.cpu().numpy(),
            text_features=words.pooler_output[0].float().mean(0).cpu().numpy(),
        )


@lru_cache(maxsize=1)
def concept_tokenizer() -> Tokenizer:
    """CLIP's tokenizer with the places that SAM 3 reads."""
    return of_open_clip(READ_BY, CONTEXT)[1]


class SAM3(Handle[LoadedSAM3]):
    """Segmentation by concepts. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(("core.segmentation.sam3:load_sam3",))

    @property
    def tokenize(self) -> Tokenizer:
        """Texts to token ids; without the weights."""
        return concept_tokenizer()

    def encode(self, image: Image.Image | EncodedImage) -> EncodedImage:
        """The levels of an image (RGB, from `core.inputs.image`); remembered by its content."""
        return remembered_image(
            self.key,
            image,
            ENCODED_IMAGES,
            lambda image, digest, size: EncodedImage(
                self.checkpoint, digest, size, _encode_image(self, image)
            ),
        )

    def concepts(self, image: Image.Image | EncodedImage, labels: Sequence[str]) -> list[Concept]:
        """What is found for each label; only labels that were not asked of this image have a pass."""
        encoded = self.encode(image)
        return [
            CONCEPTS.get_or((*self.key, encoded.digest, label), partial(_concept, self, encoded, label))
            for label in labels
        ]

    def segment(self, image: Image.Image | EncodedImage, labels: str | Sequence[str]) -> Segmentation:
        """Gives every pixel the label whose mask is surest there, or none where no mask covers it.

        Args:
            image: an image, or what `encode` made of it.
            labels: short noun phrases in a language the checkpoint knows, or one text that is cut at commas and lines; those
                that the checkpoint reads alike are one label.
        """
        start = time.perf_counter()
        encoded = self.encode(image)
        encoded_at = time.perf_counter()
        offered = read(self.tokenize, labels)
        concepts = self.concepts(encoded, offered.texts)
        logits = torch.from_numpy(np.stack([one.logits for one in concepts]))
        texts = np.stack([one.text_features for one in concepts])
        maps, marks = (logits, logits, logits), (start, encoded_at, encoded_at)
        made = answer(self, offered, encoded.size, maps, texts, 1.0, marks, least=0.0)
        return replace(
            made,
            normalisation="sigmoid",
            presence=tuple(one.presence for one in concepts),
            instances=tuple(len(one.scores) for one in concepts),
        )


# --- where the weights are ---------------------------------------------------------------------------------


def tensors(row: Checkpoint, paths: Mapping[str, Path]) -> dict[str, Tensor]:
    """The tensors, without memory, that `load_sam3` wants of a row."""
    transformers = runtime.import_whole("transformers")
    config = transformers.Sam3Config.from_pretrained(paths["config.json"].parent, local_files_only=True)
    with torch.device("meta"):
        return transformers.Sam3Model(config).state_dict()


def load_sam3(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedSAM3:
    """The detector of a published SAM 3 as transformers' class; the file also holds the tracker, which is not read."""
    transformers = runtime.import_whole("transformers")
    model = encoders.from_transformers(transformers.Sam3Model, paths["config.json"].parent, row, dtype)
    side = model.config.image_size
    processor = transformers.Sam3ImageProcessor(size={"height": side, "width": side})
    return LoadedSAM3(model, processor, device, dtype)


@runtime.on_device
def _encode_image(model: SAM3, image: Image.Image) -> tuple[np.ndarray, ...]:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return tuple(level[0].float().contiguous().cpu().numpy() for level in loaded.levels(image))


@runtime.on_device
def _concept(model: SAM3, encoded: EncodedImage, label: str) -> Concept:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        levels = [torch.from_numpy(level)[None].to(loaded.device, loaded.dtype) for level in encoded.levels]
        return loaded.concept(levels, label)
