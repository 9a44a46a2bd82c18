"""GroupViT: segmentation that emerges from captions alone (Xu et al. 2022, https://arxiv.org/abs/2202.11094).

The model is transformers'; grouping, composition and losses are `core.segmentation.grouping`. An image becomes at most
eight groups before any word is known, so the encoded image is small, and a new label or threshold is a table of 8 x N
numbers. Zero-shot transfer (section 3.4): each group takes the label it fits best, and is background where the best label
fits worse than a threshold.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from core import checkpoints, runtime
from core.checkpoints import Checkpoint
from core.clip import encoders, prompts
from core.clip.handles import Handle, remembered_image, remembered_texts
from core.clip.labels import NO_NOTES, Notes, read
from core.clip.towers import padded
from core.segmentation import grouping
from core.segmentation.result import winner_mask

IMAGENET_MEAN = (123.675 / 255, 116.28 / 255, 103.53 / 255)
IMAGENET_STD = (58.395 / 255, 57.12 / 255, 57.375 / 255)
TEMPLATE = "a photo of a {}."  # the one that the released code segments with
THRESHOLD = 0.95  # of PASCAL VOC and COCO in the released configurations
MAX_SCALE = 100.0
MAX_ASPECT = 4
BACKGROUND = -1

ENCODED_IMAGES: runtime.ByteCache[EncodedImage] = runtime.ByteCache()


@dataclass(frozen=True)
class EncodedImage:
    """The expensive half: one image as groups, whatever the labels will be."""

    checkpoint: str
    digest: str
    size: tuple[int, int]  # width, height of the caller's file
    stages: tuple[np.ndarray, ...]  # per grouping block [G, h, w]: how much each patch belongs to each group
    group_features: np.ndarray  # [G, D] of the last groups, norm 1 each
    image_features: np.ndarray  # [D], norm 1
    logit_scale: float

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return sum(stage.nbytes for stage in self.stages)

    def group_map(self, stage: int = -1) -> np.ndarray:
        """[H, W] uint8: the group of every pixel of the caller's file, after one of the grouping blocks."""
        return winner_mask(torch.from_numpy(self.stages[stage]), self.size).astype(np.uint8)


@dataclass(frozen=True)
class Grouping:
    """The answer first, then what it was made of."""

    checkpoint: str
    labels: tuple[str, ...]
    mask: np.ndarray  # [H, W] int16, the index of each pixel's label, -1 for background
    groups: np.ndarray  # [H, W] uint8, the group of each pixel after the last block
    group_labels: np.ndarray  # [G] the label of each group, -1 for background
    scores: np.ndarray  # [G, N] in [0, 1]
    group_cosines: np.ndarray  # [G, N], similarity of group and text
    image_cosines: np.ndarray  # [N]
    stages: tuple[np.ndarray, ...]  # as encoded
    threshold: float  # as asked for
    line: float  # as used: never above the best score, so that something is always named
    text_features: np.ndarray  # [N, D]
    size: tuple[int, int]
    device: str
    seconds: float
    timings: dict[str, float]  # milliseconds by step
    notes: Notes = NO_NOTES

    @property
    def shares(self) -> np.ndarray:
        """[N + 1] share of the image of each label, background last."""
        counts = np.bincount(self.mask.ravel() % (len(self.labels) + 1), minlength=len(self.labels) + 1)
        return counts / self.mask.size

    def to_json(self) -> dict[str, Any]:
        """Shares and the table of groups as plain values."""
        names = [*self.labels, None]
        order = np.argsort(-self.shares, kind="stable")
        return {
            "checkpoint": self.checkpoint,
            "seconds": round(self.seconds, 4),
            "size": list(self.size),
            "threshold": self.threshold,
            "results": [{"label": names[i], "share": float(self.shares[i])} for i in order],
            "groups": [
                {"group": g, "label": names[int(label)], "score": float(self.scores[g].max())}
                for g, label in enumerate(self.group_labels)
                if (self.groups == g).any()
            ],
            **self.notes.to_json(),
        }


class LoadedGroupViT:
    """What the pool keeps of a row: the model on its device, its tokenizer, how it wants images."""

    def __init__(
        self,
        model: Any,
        tokenize: Callable[[Sequence[str]], list[list[int]]],
        row: Checkpoint,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.tokenize, self.device, self.dtype = tokenize, device, dtype
        self.short_side = int(row.options["short_side"])
        self.patch: int = self.model.vision_model.config.patch_size
        self.mean = torch.tensor(row.options.get("mean", IMAGENET_MEAN))[:, None, None]
        self.std = torch.tensor(row.options.get("std", IMAGENET_STD))[:, None, None]
        # As transformers' own example prepares an image: a centred square in place of the whole.
        self.crop = row.options.get("crop") and encoders.OpenClipPreprocess(
            self.short_side, row.options["mean"], row.options["std"], row.options["interpolation"], "shortest"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.model)

    @property
    def logit_scale(self) -> float:
        """The learned inverse temperature, capped as in training."""
        return min(float(self.model.logit_scale.exp()), MAX_SCALE)

    def pixels(self, image: Image.Image) -> Tensor:
        """[1, 3, H, W] normalised, at this row's short side, sides multiples of its patches."""
        if self.crop:
            return self.crop(image)[None].to(self.device, self.dtype)
        scale = self.short_side / min(image.size)
        longest = MAX_ASPECT * self.short_side
        width, height = (
            max(1, round(min(side * scale, longest) / self.patch)) * self.patch for side in image.size
        )
        shown = image.resize((width, height), Image.Resampling.BILINEAR)
        levels = torch.from_numpy(np.asarray(shown, dtype=np.float32) / 255).permute(2, 0, 1)
        return ((levels - self.mean) / self.std)[None].to(self.device, self.dtype)

    def texts(self, captions: Sequence[str]) -> Tensor:
        """Projected features [N, D], not normalised."""
        ids = self.tokenize(captions)
        batch = padded(ids, max(map(len, ids)))
        return self.model.get_text_features(batch.to(self.device)).pooler_output


@dataclass(frozen=True)
class Widths:
    """What the tensors on the way are made of."""

    patch: int  # pixels
    width: int  # of a token inside the image tower
    depths: tuple[int, ...]  # layers of each stage


class GroupViT(Handle[LoadedGroupViT]):
    """Segmentation from captions alone. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(
        ("core.segmentation.groupvit:load_groupvit", "core.segmentation.groupvit:load_miniature")
    )

    @property
    def widths(self) -> Widths:
        """Sizes of the image tower, read from the loaded model."""
        with self.use() as loaded:
            config = loaded.model.vision_model.config
            return Widths(int(config.patch_size), int(config.hidden_size), tuple(config.depths))

    def encode(self, image: Image.Image | EncodedImage) -> EncodedImage:
        """The groups of an image (RGB, from `core.inputs.image`); remembered by its content."""
        return remembered_image(
            self.key,
            image,
            ENCODED_IMAGES,
            lambda image, digest, size: EncodedImage(
                self.checkpoint, digest, size, *_encode_image(self, image)
            ),
        )

    def encode_text(
        self, labels: Sequence[str], templates: str | Sequence[str] | None = TEMPLATE
    ) -> np.ndarray:
        """Text features [N, D], norm 1: the mean over templates, normalised only then. Only new ones are computed."""
        filled = prompts.resolve(templates)

        def encode(missing: Sequence[str]) -> np.ndarray:
            captions = [prompts.fill(template, label) for label in missing for template in filled]
            features = _encode_text(self, captions).reshape(len(missing), len(filled), -1).mean(1)
            return features / np.linalg.norm(features, axis=-1, keepdims=True)

        return remembered_texts((*self.key, filled), labels, encode)

    def segment(
        self,
        image: Image.Image | EncodedImage,
        labels: str | Sequence[str],
        threshold: float = THRESHOLD,
        templates: str | Sequence[str] | None = TEMPLATE,
    ) -> Grouping:
        """Gives every group, and so every pixel, one of the labels or none.

        Args:
            image: an image, or what `encode` made of it.
            labels: texts in a language the checkpoint knows, or one text that is cut at commas and lines; those that
                the checkpoint reads alike are one label.
            threshold: in [0, 1]; groups whose best score is lower are background. 0 names everything.
            templates: as in `ZeroShot.classify`.
        """
        start = time.perf_counter()
        encoded = self.encode(image)
        encoded_at = time.perf_counter()
        offered = read(self.tokenize, labels, prompts.resolve(templates))
        text_features = self.encode_text(offered.texts, templates)
        texts_at = time.perf_counter()
        group_cosines = encoded.group_features @ text_features.T  # [G, N]
        image_cosines = text_features @ encoded.image_features  # [N]
        scores = grouping.group_scores(
            torch.from_numpy(group_cosines), torch.from_numpy(image_cosines), encoded.logit_scale
        )
        line = grouping.background_line(scores, threshold)
        best, named = (values.numpy() for values in scores.max(dim=1))
        group_labels = np.where(best < line, BACKGROUND, named).astype(np.int16)
        groups = encoded.group_map()
        mask = group_labels[groups]
        end = time.perf_counter()
        return Grouping(
            checkpoint=self.checkpoint,
            labels=offered.names,
            mask=mask,
            groups=groups,
            group_labels=group_labels,
            scores=scores.numpy(),
            group_cosines=group_cosines,
            image_cosines=image_cosines,
            stages=encoded.stages,
            threshold=threshold,
            line=line,
            text_features=text_features,
            size=encoded.size,
            device=self.device,
            seconds=end - start,
            timings={
                "encode_image": 1000 * (encoded_at - start),
                "encode_text": 1000 * (texts_at - encoded_at),
                "segment": 1000 * (end - texts_at),
            },
            notes=offered.notes,
        )


# --- where the weights are ---------------------------------------------------------------------------------


def load_groupvit(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> LoadedGroupViT:
    """A published GroupViT in transformers' form; its tokenizer is CLIP's."""
    kind = runtime.import_whole("transformers").GroupViTModel
    model = encoders.from_transformers(kind, paths["config.json"].parent, row, dtype, ("position_ids",))
    length = model.config.text_config.max_position_embeddings
    return LoadedGroupViT(model, encoders.open_clip_tokenizer({}, row, length), row, device, dtype)


def load_miniature(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> LoadedGroupViT:
    """A small GroupViT of the same class: what its file lacks is that of the CLIP row it requires."""
    config = json.loads(paths["config.json"].read_text(encoding="utf-8"))
    model = build(config)
    (other,) = row.requires
    shared = checkpoints.open(other, download=False)
    clip = encoders.open_clip_state(shared, checkpoints.row(other))
    state = {**towers(clip, config), **checkpoints.load_state_dict(paths["model.safetensors"])}
    encoders.put_state(model, encoders.in_precision(state, dtype), row)
    length = config["text_config"]["max_position_embeddings"]
    return LoadedGroupViT(model, encoders.open_clip_tokenizer(shared, row, length), row, device, dtype)


def build(config: Mapping[str, Any]) -> Any:
    """transformers' GroupViTModel of a configuration, untrained, its learned tokens drawn apart.

    transformers starts group tokens and places at zero, where all groups are one and stay one.
    """
    transformers = runtime.import_whole("transformers")
    model = transformers.GroupViTModel(transformers.GroupViTConfig(**config))
    vision: Any = model.vision_model
    nn.init.trunc_normal_(vision.embeddings.position_embeddings, std=0.02)
    for stage in vision.encoder.stages:
        if stage.group_token is not None:
            nn.init.trunc_normal_(stage.group_token, std=0.02)
    return model


def text_tower(clip: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's text tower under the names of transformers' GroupViT, without the projection.

    Args:
        clip: the state dict of an open_clip CLIP.
    """
    whole = {
        "token_embedding.weight": "embeddings.token_embedding.weight",
        "positional_embedding": "embeddings.position_embedding.weight",
        "ln_final.weight": "final_layer_norm.weight",
        "ln_final.bias": "final_layer_norm.bias",
    }
    state = {f"text_model.{new}": clip[old] for old, new in whole.items()}
    return {**state, **_layers(clip, "transformer.", lambda layer: f"text_model.encoder.layers.{layer}.")}


def picture_layers(clip: Mapping[str, Tensor], depths: Sequence[int]) -> dict[str, Tensor]:
    """The transformer layers of open_clip's ViT under the names of GroupViT's, dealt out to its stages.

    Args:
        clip: the state dict of an open_clip CLIP.
        depths: layers of each stage; their sum is the ViT's.
    """
    places = [(stage, layer) for stage, depth in enumerate(depths) for layer in range(depth)]

    def target(layer: int) -> str:
        stage, within = places[layer]
        return f"vision_model.encoder.stages.{stage}.layers.{within}."

    return _layers(clip, "visual.transformer.", target)


def towers(clip: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """All that a miniature of this configuration can share with a ViT CLIP: its text tower and the layers of its ViT."""
    return {**text_tower(clip), **picture_layers(clip, config["vision_config"]["depths"])}


def _layers(clip: Mapping[str, Tensor], prefix: str, target: Callable[[int], str]) -> dict[str, Tensor]:
    """open_clip's residual blocks below `prefix` under transformers' names; `target` says where a layer goes."""
    parts = {
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
        "attn.out_proj": "self_attn.out_proj",
    }
    state = {}
    for name, value in clip.items():
        if not name.startswith(f"{prefix}resblocks."):
            continue
        layer, part = name.removeprefix(f"{prefix}resblocks.").split(".", 1)
        to = target(int(layer))
        if part.startswith("attn.in_proj_"):
            kind = part.removeprefix("attn.in_proj_")
            for projection, third in zip(("q", "k", "v"), value.chunk(3), strict=True):
                state[f"{to}self_attn.{projection}_proj.{kind}"] = third
        else:
            old, kind = part.rsplit(".", 1)
            state[f"{to}{parts[old]}.{kind}"] = value
    return state


def row_threshold(checkpoint: str) -> float:
    """The background threshold to begin with: the row's own, where it names one, else the released `THRESHOLD`."""
    return float(checkpoints.row(checkpoint).options.get("threshold", THRESHOLD))


@runtime.on_device
def _encode_image(
    model: GroupViT, image: Image.Image
) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray, float]:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        seen = grouping.encode(loaded.model, loaded.pixels(image))
        stages = tuple(
            maps[0].float().unflatten(1, seen.grid).cpu().numpy()
            for maps in grouping.compose(seen.assignments)
        )
        features = F.normalize(seen.group_features[0].float(), dim=-1).cpu().numpy()
        whole = F.normalize(seen.image_features[0].float(), dim=-1).cpu().numpy()
        return stages, features, whole, loaded.logit_scale


@runtime.on_device
def _encode_text(model: GroupViT, captions: Sequence[str]) -> np.ndarray:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return loaded.texts(captions).float().cpu().numpy()
