"""One interface for every dual encoder: open_clip's and transformers' models, full size or miniature.

CLIP (Radford et al. 2021, figure 3): an image encoder and a text encoder map into one joint space; both
outputs are normalised, so that a dot product is a cosine, and `logit_scale` = exp(t) is the learned inverse
temperature. The loaders build the libraries' own classes, put a checkpoint's tensors in by name, and say
which name is missing or left over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
import torchvision  # noqa: F401 - whole, before open_clip imports a part of it: two threads would wait for each other
from PIL import Image
from torch import Tensor, nn

from core import checkpoints, runtime
from core.checkpoints import Checkpoint
from core.clip import DUAL_ENCODERS, tokenizers
from core.clip.tokenizers import Tokenizer
from core.clip.towers import OpenClipResNet, OpenClipViT, TransformersViT, VisionTower, padded
from core.errors import Refusal

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
# Stored in the published files, read by no version of the model: position ids and a text pooler.
UNREAD_BY_CHINESE_CLIP = ("position_ids", "text_model.pooler.dense.weight", "text_model.pooler.dense.bias")
CHINESE_CLIP_CONTEXT = 52
TEXT_BATCH = 64
IMAGE_BATCH = 32

# Features of texts that were asked for before, by checkpoint, arithmetic and text: a changed label encodes
# only what is new.
TEXT_FEATURES: runtime.ByteCache[np.ndarray] = runtime.ByteCache()


class Preprocess(Protocol):
    """An image to the tensor a tower wants."""

    @property
    def side(self) -> int:
        """Pixels of the tower's square: a larger image shows it nothing more."""

    def __call__(self, image: Image.Image) -> Tensor:
        """RGB image -> [3, H, W], normalised."""

    def crop(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The part of a width x height image that the tower sees: xyxy pixels of that image."""


class TextTower(Protocol):
    """A text encoder with its tokenizer."""

    @property
    def tokenize(self) -> Tokenizer:
        """Texts to token ids."""

    def __call__(self, ids: Sequence[Sequence[int]], device: str) -> Tensor:
        """Text features [N, D] of token ids, not normalised."""


class OpenClipPreprocess:
    """open_clip's evaluation transform, with the place of its crop."""

    def __init__(
        self, size: int, mean: Sequence[float], std: Sequence[float], interpolation: str, resize: str
    ):
        import open_clip

        self.side = size
        self.resize = resize
        self.transform = open_clip.image_transform(
            size, False, tuple(mean), tuple(std), resize_mode=resize, interpolation=interpolation
        )

    def __call__(self, image: Image.Image) -> Tensor:
        return self.transform(image)

    def crop(self, width: int, height: int) -> tuple[float, float, float, float]:
        return (0, 0, width, height) if self.resize == "squash" else center_square(width, height)


class TransformersPreprocess:
    """The image processor of a transformers checkpoint, as its own file configures it."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    @property
    def side(self) -> int:
        size = self.processor.size
        return max(size[name] for name in ("shortest_edge", "height", "width") if size.get(name))

    def __call__(self, image: Image.Image) -> Tensor:
        return self.processor(images=image, return_tensors="pt")["pixel_values"][0]

    def crop(self, width: int, height: int) -> tuple[float, float, float, float]:
        squashed = "height" in self.processor.size
        return (0, 0, width, height) if squashed else center_square(width, height)


def center_square(width: int, height: int) -> tuple[float, float, float, float]:
    """The largest centred square, xyxy."""
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


class OpenClipText:
    """open_clip's causal text transformer.

    Attention is causal and the feature is read at the end token, so padding behind it changes nothing: a
    batch is cut to its longest text instead of running all 77 positions.
    """

    def __init__(self, model: Any, tokenize: Tokenizer) -> None:
        self.model = model
        self.tokenize = tokenize

    def __call__(self, ids: Sequence[Sequence[int]], device: str) -> Tensor:
        from open_clip.transformer import text_global_pool

        model = self.model
        length = max(map(len, ids)) if model.attn_mask is not None else model.context_length
        tokens = padded(ids, length).to(device)
        x = model.token_embedding(tokens) + model.positional_embedding[:length]  # [N, L, W]
        mask = None if model.attn_mask is None else model.attn_mask[:length, :length]
        x = model.ln_final(model.transformer(x, attn_mask=mask))
        x = text_global_pool(x, tokens, model.text_pool_type, eos_token_id=model.text_eos_id)
        projection = model.text_projection
        return projection(x) if isinstance(projection, nn.Linear) else x @ projection


class TransformersText:
    """Chinese-CLIP's BERT: the feature of the first token, projected."""

    def __init__(self, model: Any, tokenizer: Any, context_length: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.tokenize = of_bert(tokenizer, context_length)

    def __call__(self, ids: Sequence[Sequence[int]], device: str) -> Tensor:
        batch = self.tokenizer.pad({"input_ids": [list(i) for i in ids]}, return_tensors="pt").to(device)
        return self.model.get_text_features(**batch).pooler_output


class DualEncoder:
    """Two encoders and one joint space of D dimensions (CLIP, figure 3)."""

    def __init__(
        self,
        row: Checkpoint,
        model: nn.Module,
        *,
        vision: VisionTower,
        text: TextTower,
        preprocess: Preprocess,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.row = row
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.vision = vision
        self.text = text
        self.preprocess = preprocess
        self.device = device
        self.dtype = dtype
        parameters = dict(model.named_parameters(recurse=False))
        self.logit_scale = float(parameters["logit_scale"].exp())
        bias = parameters.get("logit_bias")
        self.logit_bias = None if bias is None else float(bias)

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.model)

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """RGB images -> [B, 3, H, W] on the device."""
        return torch.stack([self.preprocess(image) for image in images]).to(self.device, self.dtype)

    @torch.inference_mode()
    def encode_image(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Normalised image features [B, D], float32."""
        batches = [
            F.normalize(self.vision(self.pixels(images[i : i + IMAGE_BATCH])).image_features.float(), dim=-1)
            for i in range(0, len(images), IMAGE_BATCH)
        ]
        return torch.cat(batches).cpu().numpy()

    @torch.inference_mode()
    def encode_patches(self, image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """One image's image feature [D] and patch features [h, w, D], both normalised, float32."""
        output = self.vision(self.pixels([image]))
        image_features = F.normalize(output.image_features[0].float(), dim=-1)
        patch_features = F.normalize(output.patch_features[0].float(), dim=-1)
        return image_features.cpu().numpy(), patch_features.cpu().numpy()

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Normalised text features [N, D], float32."""
        return self.encode_ids(self.text.tokenize(texts))

    @torch.inference_mode()
    def encode_ids(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Normalised text features [N, D] of token ids, float32; texts of like length share a batch."""
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        features = [torch.empty(0)] * len(ids)
        for start in range(0, len(order), TEXT_BATCH):
            chosen = order[start : start + TEXT_BATCH]
            batch = F.normalize(self.text([ids[i] for i in chosen], self.device).float(), dim=-1).cpu()
            for i, feature in zip(chosen, batch, strict=True):
                features[i] = feature
        return torch.stack(features).numpy()

    @torch.inference_mode()
    def attention(self, image: Image.Image) -> np.ndarray:
        """Attention weights [layers, heads, 1 + h*w, 1 + h*w], float32."""
        return self.vision.attention(self.pixels([image]))[0].float().cpu().numpy()

    def stages(self, pixels: Tensor) -> dict[str, Tensor]:
        """Feature maps [B, C, h, w] by stage; differentiable with respect to `pixels`."""
        return self.vision.stages(pixels)


def use(
    checkpoint: str, device: str, dtype: torch.dtype, loaders: frozenset[str] = DUAL_ENCODERS
) -> AbstractContextManager[DualEncoder]:
    """The encoder of a row while the context lasts: loaded once per process, shared by all users.

    Args:
        checkpoint: a row's name.
        device, dtype: of the weights.
        loaders: of the rows that the caller can use; without them a `DualEncoder` is made.
    """
    checkpoints.row(checkpoint, lambda row: row.loader in loaders)
    return runtime.POOL.use(
        (checkpoint, device, str(dtype)),
        lambda: load(checkpoint, device, dtype),
        size_bytes=lambda encoder: encoder.nbytes,
    )


def load(checkpoint: str, device: str, dtype: torch.dtype) -> DualEncoder:
    """Builds the encoder of a row from its local files.

    Raises:
        Refusal: "unknown_checkpoint", "not_downloaded", or "bad_checkpoint" naming the first wrong tensor.
    """
    row = checkpoints.row(checkpoint)
    paths = checkpoints.open(checkpoint, download=False)
    module, function = row.loader.split(":")
    # Whoever asks first may be in inference mode, whose tensors no later user could take a gradient through.
    with torch.inference_mode(False):
        return getattr(import_module(module), function)(paths, row, device, dtype)


def put_state(model: nn.Module, state: Mapping[str, Tensor], row: Checkpoint) -> None:
    """Puts a state dict in by name. One tensor that is missing or unexpected, of another shape or kind of numbers, or not
    finite, refuses the whole file."""
    expected = model.state_dict()
    # A counter of BatchNorm's training; some files leave it out, and inference never reads it.
    counters = {n: torch.tensor(0) for n in expected if n.endswith("num_batches_tracked")}
    # Whole numbers are copied: left in the file, they would keep all of it in memory when the rest is in another precision.
    state = {**counters, **{n: t if t.is_floating_point() else t.clone() for n, t in state.items()}}
    wrong = [name for name in expected if name not in state or not _fits(state[name], expected[name])]
    wrong += [name for name in state if name not in expected]
    if wrong:
        raise Refusal("bad_checkpoint", checkpoint=row.name, tensor=wrong[0], count=len(wrong))
    model.load_state_dict(state, strict=True, assign=True)


def _fits(tensor: Tensor, wanted: Tensor) -> bool:
    """Whether a tensor of a file can take the place of a model's own."""
    alike = tensor.shape == wanted.shape and tensor.is_floating_point() == wanted.is_floating_point()
    return alike and bool(tensor.isfinite().all())


def in_precision(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights in a model's precision; whole numbers stay as they are."""
    return {name: v.to(dtype) if v.is_floating_point() else v for name, v in state.items()}


def open_clip_settings(
    paths: Mapping[str, Path], row: Checkpoint
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Configuration and preprocessing of an open_clip model: of its own file, or of the model that the row names."""
    import open_clip

    if "open_clip_config.json" in paths:
        file = json.loads(paths["open_clip_config.json"].read_text(encoding="utf-8"))
        return file["model_cfg"], file["preprocess_cfg"]
    return open_clip.get_model_config(row.options["model"]), row.options


def open_clip_model(paths: Mapping[str, Path], row: Checkpoint) -> tuple[Any, Any, Mapping[str, Any]]:
    """open_clip's class without weights, its configuration and its preprocessing."""
    import open_clip

    config, preprocess = open_clip_settings(paths, row)
    with torch.device("meta"):
        return open_clip.CLIP(**config), config, preprocess


def open_clip_tensors(row: Checkpoint, paths: Mapping[str, Path]) -> dict[str, Tensor]:
    """The tensors that `load_open_clip` wants, without memory."""
    model, *_ = open_clip_model(paths, row)
    return model.state_dict()


def open_clip_state(paths: Mapping[str, Path], row: Checkpoint) -> dict[str, Tensor]:
    """Tensors by name: those of the row's own file and, where it requires another CLIP, that one's text tower.

    An image tower that learned under a locked text tower (Zhai et al. 2022) ships without it.
    """
    weights = next(path for name, path in paths.items() if name.endswith((".safetensors", ".bin", ".pt")))
    state = checkpoints.load_state_dict(weights)
    for other in row.requires:
        whole = open_clip_state(checkpoints.open(other, download=False), checkpoints.row(other))
        state = {name: tensor for name, tensor in whole.items() if not is_picture(name)} | state
    return state


def is_picture(name: str) -> bool:
    """Whether a tensor of open_clip's CLIP belongs to its image tower."""
    return name.startswith("visual.")


def load_open_clip(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> DualEncoder:
    """An open_clip CLIP: a built-in configuration by name, or the configuration file beside the weights.

    OpenAI's weights were trained with QuickGELU; their rows name the `-quickgelu` configurations, because the
    plain ones would run the wrong activation without a word.
    """
    model, config, preprocess = open_clip_model(paths, row)
    return from_open_clip(model, open_clip_state(paths, row), config, preprocess, paths, row, device, dtype)


def from_open_clip(
    model: Any,
    state: Mapping[str, Tensor],
    config: Any,
    preprocess: Mapping[str, Any],
    paths: Mapping[str, Path],
    row: Checkpoint,
    device: str,
    dtype: torch.dtype,
) -> DualEncoder:
    """The encoder of an open_clip model and its tensors.

    Args:
        model, config, preprocess: as `open_clip_model` gives them; the model may have got another image tower since.
        state: its tensors by name, none missing and none left over.
        paths: of the row's files, for a tokenizer among them.
        row, device, dtype: as a loader gets them.
    """
    import open_clip

    put_state(model, in_precision(state, dtype), row)
    if model.attn_mask is not None:
        # The causal mask is no part of a state dict: made again where the weights are.
        shape = model.attn_mask.shape
        model.attn_mask = torch.full(shape, float("-inf"), dtype=dtype).triu_(1)
    is_vit = isinstance(model.visual, open_clip.transformer.VisionTransformer)
    return DualEncoder(
        row,
        model,
        vision=OpenClipViT(model.visual) if is_vit else OpenClipResNet(model.visual),
        text=OpenClipText(model, open_clip_tokenizer(paths, row, model.context_length)),
        preprocess=OpenClipPreprocess(
            config["vision_cfg"]["image_size"],
            preprocess.get("mean", OPENAI_MEAN),
            preprocess.get("std", OPENAI_STD),
            preprocess.get("interpolation", "bicubic"),
            preprocess.get("resize_mode", "shortest"),
        ),
        device=device,
        dtype=dtype,
    )


def open_clip_tokenizer(paths: Mapping[str, Path], row: Checkpoint, context_length: int) -> Tokenizer:
    """The row's own tokenizer file, or open_clip's tokenizer of the model that the row names."""
    if "tokenizer.json" in paths:
        return tokenizers.from_file(paths["tokenizer.json"], context_length)[1]
    return tokenizers.of_open_clip(row.options["model"], context_length)[1]


def from_transformers(
    kind: Any, folder: Path, row: Checkpoint, dtype: torch.dtype, unread: tuple[str, ...] = (), **options: Any
) -> Any:
    """A model of a transformers class from a local folder; one wrong tensor refuses the whole file.

    Args:
        kind: the class.
        folder: holds config.json and the weights.
        row: named in the refusal.
        dtype: of the weights.
        unread: ends of names that may be in the file although no model reads them.
        options: more of the library's own, such as a configuration in place of the folder's.
    """
    # From a local folder: no request, no conversion thread; torch files are read with weights_only.
    model, report = kind.from_pretrained(
        folder, local_files_only=True, dtype=dtype, output_loading_info=True, **options
    )
    wrong = [*report["missing_keys"], *report["mismatched_keys"]]
    wrong += [name for name in report["unexpected_keys"] if not name.endswith(unread)]
    if wrong:
        raise Refusal("bad_checkpoint", checkpoint=row.name, tensor=str(wrong[0]), count=len(wrong))
    return model


def of_bert(tokenizer: Any, context_length: int) -> Tokenizer:
    """What cuts the ids of transformers' BertTokenizer."""
    return Tokenizer(
        lambda texts: tokenizer(list(texts), verbose=False)["input_ids"],
        context_length,
        tokenizer.unk_token_id,
    )


def load_chinese_clip(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> DualEncoder:
    """Chinese-CLIP (Yang et al. 2022, https://arxiv.org/abs/2211.01335) as transformers' class."""
    transformers = runtime.import_whole("transformers")
    folder = paths["config.json"].parent
    model = from_transformers(transformers.ChineseCLIPModel, folder, row, dtype, UNREAD_BY_CHINESE_CLIP)
    tokenizer = transformers.BertTokenizer.from_pretrained(folder, local_files_only=True)
    processor = transformers.ChineseCLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    return DualEncoder(
        row,
        model,
        vision=TransformersViT(model.vision_model, model.visual_projection),
        text=TransformersText(model, tokenizer, context_length=CHINESE_CLIP_CONTEXT),
        preprocess=TransformersPreprocess(processor),
        device=device,
        dtype=dtype,
    )
