"""What a video row is in memory: CLIP's two towers, an image tower that may know clips, and the heads that the row brings.

A clip is encoded once; what is asked of it costs a product or a small head over T vectors. Features are kept as the towers
leave them, not normalised: heads that add positions or attend to frames want CLIP's own lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from core import checkpoints
from core.checkpoints import Checkpoint, originals
from core.clip import DUAL_ENCODERS, encoders
from core.clip.encoders import DualEncoder
from core.clip.handles import Handle
from core.inputs.video import Video
from core.video import frames
from core.video.frames import EncodedClip
from core.video.tower import VideoTower, with_net

CLIP = "clip."  # what stands before the names of CLIP's tensors in a video row


class LoadedVideo:
    """What the pool keeps of a row: its encoder and its heads.

    Attributes:
        encoder: both towers of CLIP.
        heads: the row's own layers by name.
    """

    def __init__(self, encoder: DualEncoder, heads: Mapping[str, nn.Module]) -> None:
        self.encoder = encoder
        self.heads = {
            name: head.to(device=encoder.device, dtype=encoder.dtype).eval().requires_grad_(False)
            for name, head in heads.items()
        }

    @property
    def device(self) -> str:
        """Where the weights are."""
        return self.encoder.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.encoder.dtype

    @property
    def tower(self) -> VideoTower | None:
        """The image tower where it looks at several frames at once."""
        visual = getattr(self.encoder.model, "visual", None)
        return visual if isinstance(visual, VideoTower) else None

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        own = [t for head in self.heads.values() for t in (*head.parameters(), *head.buffers())]
        return self.encoder.nbytes + sum(t.numel() * t.element_size() for t in own)

    @property
    def preprocess(self) -> encoders.Preprocess:
        """An image to what the tower wants."""
        return self.encoder.preprocess

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """RGB images -> [T, 3, H, W] on the device."""
        return self.encoder.pixels(images)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> features [N, D], not normalised."""
        ids = self.encoder.text.tokenize(texts)
        parts = [
            self.encoder.text(ids[i : i + encoders.TEXT_BATCH], self.device).float()
            for i in range(0, len(ids), encoders.TEXT_BATCH)
        ]
        return torch.cat(parts)


class Towers(Handle[DualEncoder]):
    """A CLIP whose image tower sees frames one by one."""

    LOADERS = DUAL_ENCODERS


def frame_features(loaded: LoadedVideo, pixels: Tensor) -> Tensor:
    """Each frame by itself: [T, 3, H, W] -> [T, D], not normalised."""
    return loaded.encoder.vision(pixels).image_features


def clip_features(loaded: LoadedVideo, pixels: Tensor) -> Tensor:
    """The frames of one clip together: [T, 3, H, W] -> [T, D]; one row where the tower joins them."""
    return _tower(loaded).clips(pixels[None])[0]


def without_pre(loaded: LoadedVideo, pixels: Tensor) -> Tensor:
    """The same without the time embedding."""
    return _tower(loaded).clips(pixels[None], time=False)[0]


def without_in(loaded: LoadedVideo, pixels: Tensor) -> Tensor:
    """The same without the temporal shift."""
    return _tower(loaded).clips(pixels[None], shift=False)[0]


def without_both(loaded: LoadedVideo, pixels: Tensor) -> Tensor:
    """The same with neither."""
    return _tower(loaded).clips(pixels[None], time=False, shift=False)[0]


def _tower(loaded: LoadedVideo) -> VideoTower:
    assert loaded.tower is not None, "a row with options.tower has a VideoTower"
    return loaded.tower


# How a tower encodes a clip while some of its prompts are switched off: named functions, because caches know them by name.
SWITCHED: dict[tuple[bool, bool], frames.Encode] = {
    (True, True): clip_features,
    (False, True): without_pre,
    (True, False): without_in,
    (False, False): without_both,
}


def encode(
    model: Handle[Any],
    video: Video,
    times: np.ndarray,
    check: Callable[[], object] | None = None,
    without: Sequence[str] = (),
) -> EncodedClip:
    """The frames of a video at some times in the space of a video row; remembered.

    A miniature that leaves the image tower of its CLIP as it is shares the features with it, and with other miniatures.

    Args:
        model: a handle of a video row, or of a CLIP.
        video: from `core.inputs.video`.
        times: [T] seconds, ascending.
        check: called on the way; may raise to stop.
        without: of "pre" and "in", the prompts of the tower that are switched off.
    """
    row = checkpoints.row(model.checkpoint)
    if row.options.get("tower"):
        how = SWITCHED["pre" not in without, "in" not in without]
        return frames.encode(model, video, times, features=how, whole=True, check=check)
    if row.requires:
        towers = Towers(next(iter(row.requires)), model.device, model.dtype)
        return frames.encode(towers, video, times, check=check)
    if row.loader in DUAL_ENCODERS:
        return frames.encode(model, video, times, check=check)
    return frames.encode(model, video, times, features=frame_features, check=check)


def plain(paths: Mapping[str, Path], row: Checkpoint) -> dict[str, Path]:
    """The files of a row; weights that its authors left nested beside an optimizer are made plain first."""
    ends = (".pt", ".pth", ".bin")
    return {
        name: originals.as_safetensors(row, path) if name.endswith(ends) else path
        for name, path in paths.items()
    }


def state_of(paths: Mapping[str, Path], row: Checkpoint) -> dict[str, Tensor]:
    """All tensors of a row by name: CLIP's behind "clip.", those of the row it requires where its own file has none."""
    ends = (".safetensors", ".bin", ".pt", ".pth")
    weights = next(path for name, path in paths.items() if name.endswith(ends))
    own = checkpoints.load_state_dict(weights)
    for other in row.requires:
        base = encoders.open_clip_state(checkpoints.open(other, download=False), checkpoints.row(other))
        tower = row.options.get("tower", {})
        base = with_net(base, blocks=tower.get("shifted_blocks")) if tower.get("shift") else base
        own = {CLIP + name: tensor for name, tensor in base.items()} | own
    return own


def clip_of(
    paths: Mapping[str, Path], row: Checkpoint
) -> tuple[Any, Any, Mapping[str, Any], Mapping[str, Path]]:
    """open_clip's model of a row without weights, its configuration, its preprocessing, and the files it was read from."""
    if row.requires:
        (other,) = row.requires
        paths, row = checkpoints.open(other, download=False), _with_tower(checkpoints.row(other), row)
    model, config, preprocess = encoders.open_clip_model(paths, row)
    if row.options.get("tower"):
        model.visual = own_tower(config, row.options["tower"])
    return model, config, preprocess, paths


def _with_tower(base: Checkpoint, row: Checkpoint) -> Checkpoint:
    return replace(base, options={**base.options, **{k: v for k, v in row.options.items() if k == "tower"}})


def own_tower(config: Mapping[str, Any], options: Mapping[str, Any]) -> VideoTower:
    """A `VideoTower` of CLIP's sizes, without memory; `options` as `VideoTower` takes them."""
    vision = config["vision_cfg"]
    quick = bool(config.get("quick_gelu", False))
    with torch.device("meta"):
        return VideoTower(
            vision["image_size"],
            vision["patch_size"],
            vision["width"],
            vision["layers"],
            vision["width"] // vision.get("head_width", 64),
            config["embed_dim"],
            quick=quick,
            **options,
        )


def load(
    paths: Mapping[str, Path],
    row: Checkpoint,
    device: str,
    dtype: torch.dtype,
    heads: Mapping[str, nn.Module],
    state: Mapping[str, Tensor] | None = None,
) -> LoadedVideo:
    """A row whose tensors are CLIP's behind "clip." and those of its heads behind their names.

    Args:
        paths, row, device, dtype: as a loader gets them.
        heads: the heads by name; the tensors of a head called "" have no name before them.
        state: the tensors where they are not simply those of the file.
    """
    state = state_of(paths, row) if state is None else state
    model, config, preprocess, files = clip_of(paths, row)
    clip = {name.removeprefix(CLIP): tensor for name, tensor in state.items() if name.startswith(CLIP)}
    encoder = encoders.from_open_clip(model, clip, config, preprocess, files, row, device, dtype)
    rest = {name: tensor for name, tensor in state.items() if not name.startswith(CLIP)}
    own = (
        nn.ModuleDict({name: head for name, head in heads.items() if name}) if "" not in heads else heads[""]
    )
    encoders.put_state(own, encoders.in_precision(rest, dtype), row)
    return LoadedVideo(encoder, heads)


def tensors(row: Checkpoint, paths: Mapping[str, Path], head: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """The tensors that `load` wants of a row with one head, without memory: what an imported file is compared with."""
    model, *_ = clip_of(paths, row)
    with torch.device("meta"):
        own = head()
    return {CLIP + name: t for name, t in model.state_dict().items()} | dict(own.state_dict())


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of transformers' CLIP under open_clip's names; queries, keys and values are joined again.

    Position ids, which no model reads, are left out. Raises KeyError for a layer that lacks one of the three.
    """
    whole = {
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "text_model.final_layer_norm.weight": "ln_final.weight",
        "text_model.final_layer_norm.bias": "ln_final.bias",
        "vision_model.embeddings.class_embedding": "visual.class_embedding",
        "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
        "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
        "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
        "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
        "vision_model.post_layernorm.weight": "visual.ln_post.weight",
        "vision_model.post_layernorm.bias": "visual.ln_post.bias",
        "logit_scale": "logit_scale",
    }
    turned = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}
    towers = {
        "text_model.encoder.layers.": "transformer.",
        "vision_model.encoder.layers.": "visual.transformer.",
    }
    parts = {
        "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }  # fmt: skip
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        prefix = next((one for one in towers if name.startswith(one)), None)
        if name.endswith("position_ids"):
            continue
        if name in whole:
            renamed[whole[name]] = tensor
        elif name in turned:
            renamed[turned[name]] = tensor.T
        elif prefix is None:
            renamed[name] = tensor  # the loader names it in its refusal
        else:
            layer, rest = name.removeprefix(prefix).split(".", 1)
            part, kind = rest.rsplit(".", 1)
            to = f"{towers[prefix]}resblocks.{layer}."
            if part in parts:
                renamed[f"{to}{parts[part]}.{kind}"] = tensor
            elif part == "self_attn.q_proj":
                joined = [state[f"{prefix}{layer}.self_attn.{one}_proj.{kind}"] for one in "qkv"]
                renamed[f"{to}attn.in_proj_{kind}"] = torch.cat(joined)
    return renamed
