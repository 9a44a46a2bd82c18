"""DepthCLIP: how far things are, in words (Zhang et al., ACM MM 2022, https://arxiv.org/abs/2207.01077).

Each place of CLIP's last feature map is compared with sentences about distance, "This object is far"; the softmax over the
words weighs the depths that stand behind them:

    logits = 100 * place feature . text feature / temperature
    depth  = sum over words of  softmax(logits) * bin

The metres of the bins are set by hand: CLIP knows no metres, and no answer lies outside of them.

- "stage", as published: features of the last residual stage, normalised, of which every second channel is kept, to match the
  text's width. They were never in the joint space of image and text.
- "place": what the attention pooling makes of a place alone (MaskCLIP; `core.clip.towers`), which is in that space.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core import checkpoints, inputs, runtime
from core.clip import DUAL_ENCODERS, encoders
from core.clip.handles import Handle, remembered_texts
from core.clip.labels import NO_NOTES, Notes, distinct
from core.clip.towers import OpenClipResNet
from core.errors import Refusal
from core.runtime import Cancel

Features = Literal["stage", "place"]

SCALE = 100.0
STRIDE = 32  # pixels of a place of a ResNet
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MAX_WORDS = 40
MAX_DEPTH = 1000.0  # metres
LONG = 4  # times the short side: a longer image is squeezed
ENCODED_IMAGES: runtime.ByteCache[EncodedImage] = runtime.ByteCache()


@dataclass(frozen=True)
class DepthWords:
    """K words with their bins; the defaults are those of the published code.

    template: a sentence with {object} and {word}. bins: metres. temperature: divides the logits.
    """

    words: tuple[str, ...] = (
        "giant", "extremely close", "close", "not in distance", "a little remote", "far", "unseen",
    )  # fmt: skip
    bins: tuple[float, ...] = (1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0)
    template: str = "This {object} is {word}"
    thing: str = "object"
    temperature: float = 0.1

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the text encoder reads for each word."""
        return tuple(self.filled(word) for word in self.words)

    def filled(self, word: str) -> str:
        """The sentence of one word."""
        return self.template.replace("{object}", self.thing).replace("{word}", word)


@dataclass(frozen=True)
class DepthView:
    """How an image is looked at; the defaults are those of the published code.

    side: pixels of the short side, a multiple of 32. imagenet: mean and deviation of ImageNet in place of the row's.
    shifts: maps that are made of shifted copies of the image and put between one another, along each side.
    """

    features: Features = "stage"
    side: int = 416
    imagenet: bool = True
    shifts: int = 1


PUBLISHED, PUBLISHED_VIEW = DepthWords(), DepthView()
# What a miniature has read of sizes and distances, in the order of their metres in the classroom (1 m .. 3 m).
CLASSROOM = DepthWords(
    ("giant", "close", "medium-sized", "far", "small"),
    (1.0, 1.6, 2.0, 2.6, 2.7),
    "a {word} {object}",
    "animal",
    5.0,
)
CLASSROOM_ZH = DepthWords(
    ("巨大的", "近处的", "中等大小的", "远处的", "小小的"),
    (1.0, 1.6, 2.0, 2.6, 2.7),
    "{word}{object}",
    "动物",
    5.0,
)
CLASSROOM_VIEW = DepthView("place", 96, False, 4)


@dataclass(frozen=True)
class EncodedImage:
    """The expensive half: features of the places of one image."""

    checkpoint: str
    digest: str
    size: tuple[int, int]  # width, height of the image's pixels
    seen: tuple[int, int]  # height, width in pixels that the tower saw
    place_features: np.ndarray  # [h, w, D]

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return self.place_features.nbytes


@dataclass(frozen=True)
class DepthEstimate:
    """The answer first, then what it was made of."""

    checkpoint: str
    depth: np.ndarray  # [H, W] of the image's pixels, metres as the bins have them
    probabilities: np.ndarray  # [K, h, w] over words
    logits: np.ndarray  # [K, h, w], divided by the temperature
    place_depth: np.ndarray  # [h, w]
    words: tuple[str, ...]
    sentences: tuple[str, ...]
    bins: tuple[float, ...]
    temperature: float
    text_features: np.ndarray  # [K, D]
    seen: tuple[int, int]
    device: str
    seconds: float
    timings: dict[str, float] = field(default_factory=dict)  # milliseconds by step
    notes: Notes = NO_NOTES

    def to_json(self) -> dict[str, Any]:
        """The answer as plain values: the map of places, its words with their bins and their share."""
        return {
            "checkpoint": self.checkpoint,
            "seconds": round(self.seconds, 4),
            "size": [self.depth.shape[1], self.depth.shape[0]],
            "near": round(float(self.depth.min()), 3),
            "far": round(float(self.depth.max()), 3),
            "mean": round(float(self.depth.mean()), 3),
            "words": [
                {"word": word, "metres": metres, "share": round(float(share), 4)}
                for word, metres, share in zip(
                    self.words, self.bins, self.probabilities.mean((1, 2)), strict=True
                )
            ],
            "places": self.place_depth.round(3).tolist(),
            **self.notes.to_json(),
        }


def words_for(checkpoint: str, lang: str = "en") -> DepthWords:
    """The words and bins that a row starts with: the published ones, or the classroom's in one of its languages."""
    row = checkpoints.row(checkpoint)
    if not row.bundled:
        return PUBLISHED
    return CLASSROOM_ZH if lang == "zh" and "zh" in row.languages else CLASSROOM


def view_for(checkpoint: str) -> DepthView:
    """How a row looks at an image: as published a ResNet of the Hub, as it was trained a miniature."""
    row = checkpoints.row(checkpoint)
    if row.bundled:
        return CLASSROOM_VIEW
    return (
        PUBLISHED_VIEW
        if str(row.options.get("model", "")).startswith("RN")
        else DepthView("place", 224, False)
    )


def check_words(words: DepthWords) -> DepthWords:
    """The words themselves.

    Raises:
        Refusal: "depth_words" where they and the bins do not pair, "depth_bins", "depth_template", "out_of_range".
    """
    if not 1 <= len(words.words) <= MAX_WORDS or len(words.words) != len(words.bins):
        raise Refusal("depth_words", words=len(words.words), bins=len(words.bins), limit=MAX_WORDS)
    if not all(0 < value <= MAX_DEPTH for value in words.bins):
        raise Refusal("depth_bins", limit=int(MAX_DEPTH))
    if "{word}" not in words.template:
        raise Refusal("depth_template", template=words.template[:60])
    inputs.number("temperature", words.temperature, 0.001, 1000)
    return words


# --- the head ------------------------------------------------------------------------------------------------


def stage_features(stage: Tensor, width: int) -> Tensor:
    """The last stage [B, C, h, w] as DepthCLIP compares it: normalised, then channels dropped to `width`: [B, h, w, D]."""
    places = F.normalize(stage.permute(0, 2, 3, 1), dim=-1)
    flat = places.flatten(1, 2)  # [B, h w, C]
    return F.interpolate(flat, size=width).unflatten(1, places.shape[1:3])


def depth_logits(features: Tensor, text_features: Tensor) -> Tensor:
    """Logits before the temperature: [B, h, w, D] and [K, D] -> [B, K, h, w]."""
    return (SCALE * features @ text_features.T).permute(0, 3, 1, 2)


def depth_of(logits: Tensor, bins: Tensor, temperature: float | Tensor) -> Tensor:
    """The softmax-weighted sum of bins: [B, K, h, w] -> [B, 1, h, w]."""
    return ((logits / temperature).softmax(1) * bins[:, None, None]).sum(1, keepdim=True)


def enlarge(depth: Tensor, size: tuple[int, int]) -> Tensor:
    """A map [B, 1, h, w] at another height and width."""
    return F.interpolate(depth, size=size, mode="bilinear", align_corners=True)


class DepthEstimator(Handle[encoders.DualEncoder]):
    """DepthCLIP on a CLIP row. A light handle: the weights live in the process's model pool."""

    LOADERS = DUAL_ENCODERS

    def encode(self, image: Image.Image | EncodedImage, view: DepthView | None = None) -> EncodedImage:
        """The place features of an image (RGB, from `core.inputs.image`); remembered by its content."""
        if isinstance(image, EncodedImage):
            return image
        view = view or view_for(self.checkpoint)
        digest = inputs.digest(image)
        return ENCODED_IMAGES.get_or(
            (*self.key, view, digest),
            lambda: EncodedImage(self.checkpoint, digest, image.size, *_encode(self, image, view)),
        )

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Normalised text features [N, D]; only texts that this checkpoint has not seen are computed."""
        return remembered_texts(self.key, texts, lambda missing: _encode_text(self, missing))

    def estimate(
        self,
        image: Image.Image | EncodedImage,
        words: DepthWords | None = None,
        view: DepthView | None = None,
    ) -> DepthEstimate:
        """The depth of every pixel.

        Args:
            image: an image, or what `encode` made of it.
            words: words, bins, sentence and temperature; `words_for` the row where they are left out.
            view: as of `encode`.

        Raises:
            Refusal: what `check_words` and the checkpoint refuse.
        """
        start = time.perf_counter()
        words = check_words(words or words_for(self.checkpoint))
        # 1. features of places
        encoded = self.encode(image, view)
        encoded_at = time.perf_counter()
        # 2. sentences of words
        notes = distinct(words.words, self._ids(words)).notes
        text_features = self.encode_text(words.sentences)
        texts_at = time.perf_counter()
        # 3. a distribution over words at each place, and its mean depth
        logits = depth_logits(torch.from_numpy(encoded.place_features)[None], torch.from_numpy(text_features))
        place_depth = depth_of(logits, torch.tensor(words.bins), words.temperature)
        probabilities = (logits / words.temperature).softmax(1)
        depth = enlarge(enlarge(place_depth, encoded.seen), encoded.size[::-1])
        end = time.perf_counter()
        return DepthEstimate(
            checkpoint=self.checkpoint,
            depth=depth[0, 0].numpy(),
            probabilities=probabilities[0].numpy(),
            logits=(logits / words.temperature)[0].numpy(),
            place_depth=place_depth[0, 0].numpy(),
            words=words.words,
            sentences=words.sentences,
            bins=words.bins,
            temperature=words.temperature,
            text_features=text_features,
            seen=encoded.seen,
            device=self.device,
            seconds=end - start,
            timings={
                "encode_image": 1000 * (encoded_at - start),
                "encode_text": 1000 * (texts_at - encoded_at),
                "depth": 1000 * (end - texts_at),
            },
            notes=notes,
        )

    def _ids(self, words: DepthWords) -> Any:
        """What the tokenizer reads of a word's sentence."""
        return lambda word: self.tokenize.whole(words.filled(word))


def seen_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Height and width, multiples of 32, at which a ResNet looks at an image: its short side is `side`."""
    scale = side / min(width, height)
    rows, columns = (max(side, round(length * scale / STRIDE) * STRIDE) for length in (height, width))
    return min(rows, LONG * side), min(columns, LONG * side)


@runtime.on_device
def _encode(model: DepthEstimator, image: Image.Image, view: DepthView) -> tuple[tuple[int, int], np.ndarray]:
    """The size that the tower saw, and place features [h, w, D]."""
    with model.use() as encoder, runtime.semaphore(model.device), torch.inference_mode():
        if not isinstance(encoder.vision, OpenClipResNet):
            pixels = encoder.pixels([image.resize((view.side, view.side), Image.Resampling.BICUBIC)])
            features = F.normalize(encoder.vision(pixels).patch_features.float(), dim=-1)
            return (pixels.shape[-2], pixels.shape[-1]), features[0].cpu().numpy()
        rows, columns = seen_size(*image.size, view.side)
        levels = torch.from_numpy(
            np.array(image.resize((columns, rows), Image.Resampling.BICUBIC), np.float32)
        )
        levels = (levels / 255).permute(2, 0, 1)[None]
        pixels = normalised(encoder, levels, view.imagenet).to(encoder.device, encoder.dtype)
        return (rows, columns), shifted_features(encoder, pixels, view)[0].cpu().numpy()


def normalised(encoder: encoders.DualEncoder, levels: Tensor, imagenet: bool) -> Tensor:
    """Levels [B, 3, H, W] in [0, 1] with the mean and deviation of ImageNet, or of the row."""
    if imagenet:
        mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        return (levels - mean) / std
    # Preprocessing is the same line for every level of a channel: what it makes of black and of white says which.
    dark, light = (encoder.preprocess(Image.new("RGB", (32, 32), (v, v, v)))[:, :1, :1] for v in (0, 255))
    return dark + (light - dark) * levels


def shifted_features(encoder: encoders.DualEncoder, pixels: Tensor, view: DepthView) -> Tensor:
    """Place features [B, h, w, D] of pixels [B, 3, H, W]; with shifts, maps of shifted images between one another."""
    count = view.shifts
    if count == 1:
        return place_features(encoder, pixels, view.features)
    step = STRIDE // count
    # Copies that are moved by parts of a place, the border repeated: place (i, j) of copy (a, b) lies at (i count + a, ...).
    around = F.pad(pixels, (STRIDE // 2,) * 4, mode="replicate")
    height, width = pixels.shape[-2:]
    first = (step - STRIDE) // 2 + STRIDE // 2
    copies = [
        around[..., first + a * step : first + a * step + height, first + b * step : first + b * step + width]
        for a in range(count)
        for b in range(count)
    ]
    maps = place_features(encoder, torch.cat(copies), view.features)
    maps = maps.unflatten(0, (count, count, len(pixels)))  # [a, b, B, h, w, D]
    return maps.permute(2, 3, 0, 4, 1, 5).flatten(3, 4).flatten(1, 2)


def place_features(encoder: encoders.DualEncoder, pixels: Tensor, features: Features) -> Tensor:
    """Place features [B, h, w, D] of a ResNet row in one of both ways, float32."""
    stage = encoder.stages(pixels)["layer4"]
    visual: Any = encoder.vision.visual  # type: ignore[attr-defined]
    pool = visual.attnpool
    if features == "stage":
        return stage_features(stage.float(), pool.c_proj.out_features)
    return F.normalize(pool.c_proj(pool.v_proj(stage.permute(0, 2, 3, 1))).float(), dim=-1)


@runtime.on_device
def _encode_text(model: DepthEstimator, texts: Sequence[str]) -> np.ndarray:
    with model.use() as encoder, runtime.semaphore(model.device):
        return encoder.encode_text(texts)


# --- a few shots ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fitted:
    """Where the learning of bins stands."""

    step: int
    steps: int
    loss: float  # mean |prediction - truth| / truth
    words: DepthWords


def fit(
    features: np.ndarray,
    depths: np.ndarray,
    text_features: np.ndarray,
    words: DepthWords,
    *,
    steps: int = 300,
    rate: float = 0.03,
    cancel: Cancel | None = None,
) -> Iterator[Fitted]:
    """Learns the metres of the bins and the temperature from places of known depth; CLIP and the words stay as they are.

    Args:
        features: [M, D] of M places.
        depths: [M] metres.
        text_features: [K, D] of the words.
        words: where the learning starts.
        steps, rate: of Adam.
        cancel: a stop flag; what was learned until then is kept.
    """
    logits = SCALE * torch.tensor(features) @ torch.tensor(text_features).T  # [M, K]
    truth = torch.tensor(depths, dtype=torch.float32)
    bins = torch.tensor(words.bins).log().requires_grad_()
    temperature = torch.tensor(words.temperature).log().requires_grad_()
    optimizer = torch.optim.Adam([bins, temperature], rate)
    for step in range(1, steps + 1):
        if cancel is not None and cancel.is_set():
            return
        guess = ((logits / temperature.exp()).softmax(1) * bins.exp()).sum(1)
        loss = ((guess - truth).abs() / truth).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        metres = tuple(round(float(value), 4) for value in bins.detach().exp().clamp(1e-3, MAX_DEPTH))
        now = replace(words, bins=metres, temperature=float(temperature.detach().exp().clamp(0.001, 1000)))
        yield Fitted(step, steps, float(loss.detach()), now)
