"""`GLIP`: a sentence or a list of labels to boxes (Li et al. 2022, section 3; https://arxiv.org/abs/2112.03857).

An image is encoded once (`encode`); the head reads the words too, so a new prompt runs it again, and the answer to a prompt
is remembered, so that a threshold runs nothing. The descendants of GLIP answer through the same handle: a row's loader says
which network it is (`Grounder`).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core import checkpoints, inputs, runtime
from core.checkpoints import Checkpoint, originals
from core.clip import encoders
from core.clip.handles import Handle
from core.clip.labels import distinct
from core.clip.resnet import picture_tower
from core.detection import choices
from core.detection.glip import boxes, language, lists, phrases
from core.detection.glip.head import as_regions
from core.detection.glip.language import BertReader, ClipReader, Mode, Prompt, Reader, Span
from core.detection.glip.network import GLIPNet, architectures
from core.detection.result import Grounding
from core.errors import Refusal

STRIDE = 32  # sides of an image are filled up to multiples of it
LIMIT = 100  # boxes of an answer
Sides = Literal["rounded", "glip", "dino"]

ENCODED_IMAGES: runtime.ByteCache[EncodedImage] = runtime.ByteCache()
ANSWERS: runtime.ByteCache[Grounding] = runtime.ByteCache()


@dataclass(frozen=True)
class EncodedImage:
    """The half that no word changes: levels of a pyramid [C, h, w], or whatever the row's network begins with."""

    checkpoint: str
    digest: str
    size: tuple[int, int]  # width, height of the caller's file
    seen: tuple[int, int]  # width, height that the network sees, without what fills it up
    levels: tuple[np.ndarray, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the features."""
        return sum(level.nbytes for level in self.levels)


@dataclass(frozen=True)
class Found:
    """What a network finds for a prompt, best first: R boxes in pixels of the image as it sees it."""

    prompt: Prompt
    boxes: np.ndarray  # [R, 4]
    scores: np.ndarray  # [R]
    phrases: np.ndarray  # [R]
    logits: np.ndarray  # [R, ids of the prompt]
    before: np.ndarray  # [R, ids of the prompt]
    timings: dict[str, float]


class Grounder(Protocol):
    """A network that grounds, on its device."""

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""

    def encode(self, image: Image.Image) -> tuple[tuple[np.ndarray, ...], tuple[int, int]]:
        """An image -> what no word changes, and width and height as the network sees it."""

    def ground(self, encoded: EncodedImage, text: str, spans: Sequence[Span], mode: Mode) -> Found:
        """A text and the characters of its phrases -> at most `LIMIT` boxes of any score."""


class Pixels:
    """How a row wants images.

    Args:
        row: its options are short_side, long_side and sides, mean and std of values in 0..1, order ("bgr" where it is that).
        stride: sides are filled up to multiples of it.
    """

    def __init__(self, row: Checkpoint, stride: int = 1) -> None:
        options, self.stride = row.options, stride
        self.short_side, self.long_side = int(options["short_side"]), int(options["long_side"])
        self.sides: Sides = options.get("sides", "rounded")
        self.reversed = options.get("order") == "bgr"
        self.mean = torch.tensor(options["mean"])[:, None, None]
        self.std = torch.tensor(options["std"])[:, None, None]

    def __call__(self, image: Image.Image) -> tuple[Tensor, tuple[int, int]]:
        """[1, 3, H, W] normalised, filled up with zeros right and below; width and height of the image in it."""
        size = working_size(*image.size, self.short_side, self.long_side, self.sides)
        shown = image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)
        levels = torch.from_numpy(np.asarray(shown, dtype=np.float32) / 255).permute(2, 0, 1)
        levels = (levels - self.mean) / self.std
        levels = levels.flip(0) if self.reversed else levels
        return F.pad(levels, (0, -size[0] % self.stride, 0, -size[1] % self.stride))[None], size


class LoadedGLIP:
    """What the pool keeps of a row: the network on its device, its reader of words, how it wants images."""

    def __init__(
        self, net: GLIPNet, reader: Reader, row: Checkpoint, device: str, dtype: torch.dtype
    ) -> None:
        self.net = net.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.net.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.reader, self.device, self.dtype = reader, device, dtype
        self.pixels = Pixels(row, STRIDE)
        self.phrase: boxes.Phrase = row.options.get("phrase", "mean")

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.net)

    def encode(self, image: Image.Image) -> tuple[tuple[np.ndarray, ...], tuple[int, int]]:
        pixels, seen = self.pixels(image)
        pixels = pixels.to(self.device, self.dtype, memory_format=torch.channels_last)
        levels = self.net.features(pixels)
        return tuple(level[0].float().contiguous().cpu().numpy() for level in levels), seen

    def ground(self, encoded: EncodedImage, text: str, spans: Sequence[Span], mode: Mode) -> Found:
        start = time.perf_counter()
        levels = [torch.from_numpy(level)[None].to(self.device, self.dtype) for level in encoded.levels]
        prompt = language.prompt(self.reader, text, spans, mode)
        words, mask = self.reader.features([prompt])
        words, mask = words.to(self.device, self.dtype), mask.to(self.device)
        read_at = time.perf_counter()
        said = self.net.head(levels, words, mask)
        head_at = time.perf_counter()
        scores = boxes.phrase_scores(said.logits[0], prompt.tokens, self.phrase)
        decoded = boxes.decode(said.deltas[0].float(), self.net.anchors(said.shapes).float())
        sizes = [h * w for h, w in said.shapes]
        kept = boxes.keep(scores, said.centerness[0], decoded, sizes, encoded.seen, LIMIT)
        before = self.net.head.products(as_regions(levels)[:, kept.places], words)[0]
        end = time.perf_counter()
        timings = {
            "encode_text": 1000 * (read_at - start),
            "ground": 1000 * (head_at - read_at),
            "boxes": 1000 * (end - head_at),
        }
        logits = said.logits[0, kept.places]
        parts = (kept.boxes, kept.scores, kept.phrases, logits.float(), before.float())
        found, scored, phrase, after, first = (part.cpu().numpy() for part in parts)
        return Found(prompt, found, scored, phrase, after, first, timings)


def working_size(
    width: int, height: int, short_side: int, long_side: int, sides: Sides = "rounded"
) -> tuple[int, int]:
    """Width and height that an image is resized to: the short side as wished, the long one no longer than allowed.

    Args:
        width, height: of the image.
        short_side, long_side: of a row.
        sides: what becomes of parts of a pixel. The published code cuts them off, and 640 x 480 becomes 1066 x 800; where the
            long side decides, "glip" (maskrcnn-benchmark) rounds the short side first and "dino" (transformers) does not.
    """
    short, long = min(width, height), max(width, height)
    if sides == "rounded":
        scale = min(short_side / short, long_side / long)
        return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))
    exact = float(short_side) if long / short * short_side <= long_side else long_side * short / long
    smaller = round(exact)
    if smaller == short:
        return width, height
    larger = int((exact if sides == "dino" else smaller) * long / short)
    made = max(1, smaller), max(1, larger)
    return made if width < height else made[::-1]


class GLIP(Handle[Grounder]):
    """Detection as grounding. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(
        f"core.detection.glip.{name}"
        for name in ("grounding:load_glip", "dino:load_dino", "omdet:load_omdet")
    )

    def encode(self, image: Image.Image | EncodedImage) -> EncodedImage:
        """What no word changes of an image (RGB, from `core.inputs.image`); remembered by its content."""
        if isinstance(image, EncodedImage):
            return image
        digest = inputs.digest(image)

        def made() -> EncodedImage:
            levels, seen = _encode_image(self, image)
            return EncodedImage(self.checkpoint, digest, inputs.size_of(image), seen, levels)

        return ENCODED_IMAGES.get_or((*self.key, digest), made)

    def ground(
        self,
        image: Image.Image | EncodedImage,
        caption: str,
        phrases: Sequence[str] | None = None,
        threshold: float | None = None,
        limit: int = LIMIT,
        across_labels: bool = False,
        by_label: Mapping[str, float] | None = None,
    ) -> Grounding:
        """Boxes for the noun phrases of a caption.

        Args:
            image: an image, or what `encode` made of it.
            caption: any text, in a language the checkpoint knows.
            phrases: parts of the caption to look for; its noun phrases when None.
            threshold: boxes that score less are left out; the checkpoint's own when None.
            limit: at most so many boxes, of `LIMIT`.
            across_labels: whether the less sure of two boxes of different phrases that overlap goes: one phrase for each thing.
            by_label: for single phrases a least score in place of the threshold.

        Raises:
            Refusal: "no_phrase", "phrase_not_in_caption", "prompt_too_long".
        """
        spans = phrase_spans(caption, phrases)
        whole = runtime.finish(self._steps(image, [(caption, spans)], "grounding"))
        threshold = row_threshold(self.checkpoint) if threshold is None else threshold
        return lists.kept(whole, threshold, limit, across_labels, by_label or {})

    def detect(
        self,
        image: Image.Image | EncodedImage,
        labels: str | Sequence[str],
        threshold: float | None = None,
        limit: int = LIMIT,
        across_labels: bool = False,
        by_label: Mapping[str, float] | None = None,
        negatives: Sequence[str] = (),
    ) -> Grounding:
        """Boxes for labels, which are joined to a prompt: detection as grounding (section 3.1).

        Args:
            image: an image, or what `encode` made of it.
            labels: texts, or one text that is cut at commas and lines; those that are read alike are one label.
            threshold, limit, across_labels, by_label: as for `ground`.
            negatives: further labels, whose boxes take those of others and are left out (`core.detection.choices`).

        Raises:
            Refusal: "no_word_in_labels", "label_of_many_words"; what `inputs.labels` refuses.
        """
        options: dict[str, Any] = {
            "across_labels": across_labels,
            "by_label": by_label,
            "negatives": negatives,
        }
        return runtime.finish(self.detecting(image, labels, threshold, limit, **options))

    def detecting(
        self,
        image: Image.Image | EncodedImage,
        labels: str | Sequence[str],
        threshold: float | None = None,
        limit: int = LIMIT,
        cancel: runtime.Cancel | None = None,
        across_labels: bool = False,
        by_label: Mapping[str, float] | None = None,
        negatives: Sequence[str] = (),
    ) -> Generator[tuple[int, int], None, Grounding]:
        """`detect`, prompt by prompt: a list that is longer than what can be read at once takes several.

        Args:
            cancel: a set flag stops before the next prompt; what the others said is remembered.

        Yields:
            How many prompts are done, and of how many, before each that is not remembered.

        Raises:
            Refusal: "cancelled", and those of `detect`.
        """
        cut = language.cutter(tokenizer_file(self.checkpoint))
        # A small CLIP reads each label by itself, and no further than its context.
        is_cut = self.tokenize.is_cut if _reads_with_clip(self.checkpoint) else lambda text: False

        def ids(text: str) -> Hashable:
            read = cut(text)
            return read.ids if read.is_known else (read.ids, text)

        names = inputs.labels(labels, limit=None)
        asked = choices.with_negatives(names, negatives)
        offered = distinct(asked, ids, is_cut)
        prompts = [language.listed(piece) for piece in lists.pieces(offered.texts, cut)]
        answer = yield from self._steps(image, prompts, "detection", cancel)
        phrases = [replace(one, text=name) for one, name in zip(answer.phrases, offered.names, strict=True)]
        hidden = choices.places(offered.names, asked[len(names) :])
        answer = replace(answer, phrases=tuple(phrases), notes=offered.notes, negatives=hidden)
        threshold = row_threshold(self.checkpoint) if threshold is None else threshold
        return lists.kept(answer, threshold, limit, across_labels, by_label or {})

    def _steps(
        self,
        image: Image.Image | EncodedImage,
        asked: Sequence[tuple[str, list[Span]]],
        mode: Mode,
        cancel: runtime.Cancel | None = None,
    ) -> Generator[tuple[int, int], None, Grounding]:
        """Every box of one or more prompts, given as their texts and the characters of their phrases."""
        start = time.perf_counter()
        encoded = self.encode(image)
        encoded_at = time.perf_counter()
        parts = []
        for done, (text, spans) in enumerate(asked):
            key = (*self.key, encoded.digest, text, tuple(spans), mode)
            known = ANSWERS.get(key)
            if known is None:
                if cancel is not None:
                    cancel.check()
                yield done, len(asked)
                known = _grounding(self, encoded, _ground(self, encoded, text, spans, mode))
                ANSWERS.put(key, known, known.alignment.nbytes + known.alignment_before.nbytes + 4096)
            parts.append(known)
        whole = lists.joined(parts, LIMIT)
        return replace(
            whole,
            timings={"encode_image": 1000 * (encoded_at - start), **whole.timings},
            seconds=time.perf_counter() - start,
        )


def row_threshold(checkpoint: str) -> float:
    """The score that a row's boxes need when nothing else is asked for."""
    return float(checkpoints.row(checkpoint, lambda row: row.loader in GLIP.LOADERS).options["threshold"])


def phrase_spans(caption: str, wanted: Sequence[str] | None = None) -> list[Span]:
    """The characters of the phrases of a caption: its noun phrases, or those given.

    Raises:
        Refusal: "no_phrase", "phrase_not_in_caption".
    """
    spans = phrases.spans(caption) if wanted is None else language.locate(caption, wanted)
    if not spans:
        raise Refusal("no_phrase")
    return spans


def _grounding(model: GLIP, encoded: EncodedImage, found: Found) -> Grounding:
    """What a network found as the answer: pixels of the caller's file, special tokens left out."""
    (width, height), (own_width, own_height) = encoded.size, encoded.seen
    ratio = np.array([width / own_width, height / own_height] * 2, dtype=np.float32)
    places = list(found.prompt.cut.places)
    return Grounding(
        checkpoint=model.checkpoint,
        prompt=found.prompt.text,
        mode=found.prompt.mode,
        phrases=found.prompt.phrases,
        boxes=(found.boxes * ratio).astype(np.float32),
        scores=found.scores.astype(np.float32),
        phrase_indices=found.phrases.astype(np.int64),
        words=found.prompt.cut.words,
        spans=found.prompt.cut.spans,
        prompts=((0, len(places)),),
        alignment=found.logits[:, places],
        alignment_before=found.before[:, places],
        size=encoded.size,
        device=model.device,
        seconds=0.0,
        timings=found.timings,
    )


# --- where the weights are ---------------------------------------------------------------------------------


def tensors(row: Checkpoint, paths: Mapping[str, Path]) -> dict[str, Tensor]:
    """The tensors, without memory, that `load_glip` wants of a row's own file."""
    shared = _shares_towers(row)
    return {
        name: value
        for name, value in _empty(row).state_dict().items()
        if not (shared and name.startswith("backbone.body."))
    }


def _reads_with_clip(checkpoint: str) -> bool:
    """Whether the words of a row are read by the text tower of a CLIP."""
    row = checkpoints.row(checkpoint)
    return row.options.get("architecture") in architectures() and _shares_towers(row)


def _shares_towers(row: Checkpoint) -> bool:
    return architectures()[row.options["architecture"]]["language"]["kind"] == "clip_text"


def _empty(row: Checkpoint) -> GLIPNet:
    """The network that a row names, without weights."""
    with torch.device("meta"):
        return GLIPNet(row.options["architecture"], row.options.get("fusion"))


def load_glip(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedGLIP:
    """GLIP-T as released, with the vocabulary of the row it requires; or a miniature that shares the towers of that row."""
    net = _empty(row)
    (other,) = row.requires
    shared = checkpoints.open(other, download=False)
    (path,) = paths.values()
    state = checkpoints.load_state_dict(originals.as_safetensors(row, path))
    if _shares_towers(row):
        clip = checkpoints.load_state_dict(shared["model.safetensors"])
        state = {**picture_tower(clip, "backbone.body.model."), **state}
    encoders.put_state(net, encoders.in_precision(state, dtype), row)
    if net.language_backbone is not None:
        net.language_backbone.settle()
        return LoadedGLIP(net, BertReader(shared["vocab.txt"], net.language_backbone), row, device, dtype)
    return LoadedGLIP(net, clip_reader(other, device, dtype), row, device, dtype)


def tokenizer_file(checkpoint: str) -> Path:
    """What a row's tokenizer is read from: a file of its own, or of the row that it requires."""
    names = (checkpoint, *checkpoints.row(checkpoint).requires)
    files = {name: path for row in names for name, path in checkpoints.open(row, download=False).items()}
    return next(files[name] for name in ("vocab.txt", "tokenizer.json", "vocab.json") if name in files)


def clip_reader(checkpoint: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> ClipReader:
    """The word reader of a miniature: the text tower and tokenizer of a row of open_clip's class."""
    from tokenizers import Tokenizer

    encoder = encoders.load(checkpoint, device, dtype)
    text: Any = encoder.text
    file = checkpoints.open(checkpoint, download=False)["tokenizer.json"]
    return ClipReader(text.model, Tokenizer.from_file(str(file)))


@runtime.on_device
def _encode_image(model: GLIP, image: Image.Image) -> tuple[tuple[np.ndarray, ...], tuple[int, int]]:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return loaded.encode(image)


@runtime.on_device
def _ground(model: GLIP, encoded: EncodedImage, text: str, spans: Sequence[Span], mode: Mode) -> Found:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return loaded.ground(encoded, text, spans, mode)
