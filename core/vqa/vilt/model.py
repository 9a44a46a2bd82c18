"""ViLT: images and words enter one transformer together (Kim et al. 2021, https://arxiv.org/abs/2102.03334).

A question gets answers, a text is told to fit the image or not, masked words are filled in. There is nothing to remember of an
image but its patches: words and patches see each other from the first layer on, so that every text is a pass through the whole
transformer. With each answer comes the alignment of its words and the image's patches (`alignment`).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core import checkpoints, inputs, runtime
from core.checkpoints import Checkpoint
from core.clip import encoders
from core.clip.handles import Handle
from core.clip.labels import NO_NOTES, Notes
from core.errors import Refusal
from core.vqa.vilt import alignment
from core.vqa.vilt.network import Reading, Task, ViltNetwork, image_tokens, named, without_weights
from core.vqa.vilt.results import OFFERED, Alignment, Answers, EncodedImage, Filled, Gap, Match

CHINESE = re.compile(r"[\u3400-\u9fff]")
GAP = re.compile(r"\[\s*mask\s*\]|_{2,}", re.IGNORECASE)  # how a masked word may be written
MASK, LAST = "[MASK]", "[SEP]"
# Pixels of the published model; both sides are multiples of the patch.
SHORT_SIDE, LONG_SIDE, STRIDE = 384, 639, 32


class LoadedViLT:
    """What the pool keeps of a row: the network, its tokenizer, its answers, how it wants images."""

    def __init__(
        self,
        network: ViltNetwork,
        library: Any,
        row: Checkpoint,
        answers: Mapping[str, tuple[str, ...]],
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.network = network.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.library, self.row, self.answers = library, row, answers
        self.device, self.dtype = device, dtype
        self.square = row.options.get("size")  # miniatures see squares of this side
        config: Any = network.config
        self.longest, self.patch = config.max_position_embeddings, config.patch_size
        self.mask, self.pad = library.token_to_id(MASK), library.token_to_id("[PAD]") or 0

    @property
    def nbytes(self) -> int:
        """Bytes of weights."""
        return sum(p.numel() * p.element_size() for p in self.network.parameters())

    def pixels(self, image: Image.Image) -> Tensor:
        """An RGB image as pixels [1, 3, H, W] in -1..1.

        Raises:
            Refusal: "vilt_narrow" for an image of which the published preprocessing leaves nothing.
        """
        if self.square:
            small = image.resize((self.square, self.square), Image.Resampling.BICUBIC)
            levels = torch.from_numpy(np.array(small, np.float32)).permute(2, 0, 1)[None] / 255
            return ((levels - 0.5) / 0.5).to(self.device, self.dtype)
        if min(seen_size(*image.size)) < STRIDE:
            raise Refusal("vilt_narrow", width=image.width, height=image.height)
        processor = runtime.import_whole("transformers").ViltImageProcessor()
        return processor(images=image, return_tensors="pt").pixel_values.to(self.device, self.dtype)

    def ids(self, text: str) -> tuple[list[int], bool]:
        """The ids that the transformer reads of a text, and whether its end is cut."""
        whole = self.library.encode(text).ids
        if len(whole) <= self.longest:
            return whole, False
        return [*whole[: self.longest - 1], whole[-1]], True

    def read(self, ids: Sequence[int], tokens: np.ndarray) -> Reading:
        """One pass with one text beside one image [1 + h w, W]."""
        text = torch.tensor([list(ids)], device=self.device)
        image = torch.from_numpy(tokens)[None].to(self.device, self.dtype)
        return self.network.read(text, torch.ones_like(text), image)


def seen_size(width: int, height: int) -> tuple[int, int]:
    """Width and height in pixels at which the published model sees an image: the short side 384, the long one at most 639, both
    down to multiples of 32."""
    short: float = SHORT_SIDE
    long = short / min(width, height) * max(width, height)
    if long > LONG_SIDE:
        short, long = short * LONG_SIDE / long, LONG_SIDE
    sides = [int(side + 0.5) // STRIDE * STRIDE for side in (short, long)]
    return (sides[1], sides[0]) if width > height else (sides[0], sides[1])


class ViLT(Handle[LoadedViLT]):
    """A row of ViLT. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(("core.vqa.vilt.model:load_vilt",))

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the row has heads for."""
        return tuple(checkpoints.row(self.checkpoint).options["tasks"])

    def check(self, task: Task) -> None:
        """Refuses a verb that the row has no head for: "vilt_task"."""
        if task not in self.tasks:
            able = [row.name for row in checkpoints.rows("vilt") if task in row.options["tasks"]]
            raise Refusal("vilt_task", checkpoint=self.checkpoint, known=", ".join(able))

    def encode(self, image: Image.Image | EncodedImage | None) -> EncodedImage:
        """The patches of an RGB image (from `core.inputs.image`); of a plain grey square for None."""
        if isinstance(image, EncodedImage):
            return image
        return _encode(self, image or grey(), "" if image is None else inputs.digest(image))

    def answer(self, image: Image.Image | EncodedImage | None, question: str) -> Answers:
        """Answers to a question about an image; None asks the same question without one.

        Raises:
            Refusal: "vilt_task", "vilt_narrow", and what `core.inputs.text` refuses.
        """
        self.check("answer")
        text = inputs.text(question)
        start = time.perf_counter()
        encoded = self.encode(image)
        lang = "zh" if CHINESE.search(text) else "en"
        names, probabilities, read = _answer(self, encoded, text, lang, start)
        return Answers(**read, names=names, probabilities=probabilities, looked=image is not None)

    def match(self, image: Image.Image | EncodedImage, text: str) -> Match:
        """How well a text fits an image.

        Raises:
            Refusal: as `answer`.
        """
        self.check("match")
        text = inputs.text(text)
        start = time.perf_counter()
        score, read = _match(self, self.encode(image), text, start)
        is_logit = checkpoints.row(self.checkpoint).options.get("match") == "sigmoid"
        probability = 1 / (1 + float(np.exp(-score))) if is_logit else None
        return Match(**read, score=score, probability=probability)

    def fill(self, image: Image.Image | EncodedImage, text: str) -> Filled:
        """A text whose [MASK] words are filled in, the most certain one first.

        Raises:
            Refusal: "no_mask" for a text without a gap; as `answer`.
        """
        self.check("fill")
        text = GAP.sub(MASK, inputs.text(text))
        if MASK not in text:
            raise Refusal("no_mask")
        start = time.perf_counter()
        gaps, read = _fill(self, self.encode(image), text, start)
        words = iter([gap.words[0] for gap in gaps])
        filled = re.sub(re.escape(MASK), lambda _: next(words, MASK), text)
        return Filled(**read, filled=filled, gaps=gaps)

    def compare(self, first: Image.Image, second: Image.Image, text: str) -> np.ndarray:
        """The probabilities [N] that a sentence is false or true of two images (NLVR2).

        Raises:
            Refusal: as `answer`.
        """
        self.check("compare")
        return _compare(self, self.encode(first), self.encode(second), inputs.text(text))


def grey(side: int = SHORT_SIDE) -> Image.Image:
    """What stands for an image where a question is asked without one."""
    return Image.new("RGB", (side, side), (128, 128, 128))


# --- on the device -----------------------------------------------------------------------------------------


@runtime.on_device
def _encode(model: ViLT, image: Image.Image, digest: str) -> EncodedImage:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        pixels = loaded.pixels(image)
        side = loaded.patch
        tokens = image_tokens(loaded.network.vilt, pixels)[0].float().cpu().numpy()
        grid = (pixels.shape[-2] // side, pixels.shape[-1] // side)
        return EncodedImage(model.checkpoint, digest, image.size, grid, tokens)


@runtime.on_device
def _answer(
    model: ViLT, image: EncodedImage, text: str, lang: str, start: float
) -> tuple[tuple[str, ...], np.ndarray, dict[str, Any]]:
    encoded_at = time.perf_counter()
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        ids, is_cut = loaded.ids(text)
        reading = loaded.read(ids, image.tokens)
        logits = loaded.network.answers(reading.pooled)[0].float()
        is_one = loaded.row.normalisation == "softmax"
        probabilities = (logits.softmax(0) if is_one else logits.sigmoid()).cpu().numpy()
        names = loaded.answers.get(lang) or loaded.answers["en"]
        return names, probabilities, _told(loaded, image, text, ids, is_cut, reading, start, encoded_at)


@runtime.on_device
def _match(model: ViLT, image: EncodedImage, text: str, start: float) -> tuple[float, dict[str, Any]]:
    encoded_at = time.perf_counter()
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        ids, is_cut = loaded.ids(text)
        reading = loaded.read(ids, image.tokens)
        score = float(loaded.network.matches(reading.pooled)[0])
        return score, _told(loaded, image, text, ids, is_cut, reading, start, encoded_at)


@runtime.on_device
def _fill(
    model: ViLT, image: EncodedImage, text: str, start: float
) -> tuple[tuple[Gap, ...], dict[str, Any]]:
    encoded_at = time.perf_counter()
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        ids, is_cut = loaded.ids(text)
        places = [place for place, one in enumerate(ids) if one == loaded.mask]
        found: dict[int, Gap] = {}
        reading = loaded.read(ids, image.tokens)
        special = [loaded.library.token_to_id(name) for name in ("[PAD]", "[UNK]", "[CLS]", LAST, MASK)]
        while len(found) < len(places):
            # 1. words for every gap that is left
            left = [place for place in places if place not in found]
            logits = loaded.network.written(reading.words[0, left]).float()
            logits[:, special] = -torch.inf
            chances = logits.softmax(1)
            # 2. fill in the most certain one, read again
            at = int(chances.amax(1).argmax())
            best = chances[at].topk(OFFERED)
            words = tuple(loaded.library.id_to_token(int(one)).removeprefix("##") for one in best.indices)
            found[left[at]] = Gap(words, best.values.cpu().numpy(), len(found))
            ids = [*ids[: left[at]], int(best.indices[0]), *ids[left[at] + 1 :]]
            reading = loaded.read(ids, image.tokens)
        gaps = tuple(found[place] for place in places)
        return gaps, _told(loaded, image, text, ids, is_cut, reading, start, encoded_at)


@runtime.on_device
def _compare(model: ViLT, first: EncodedImage, second: EncodedImage, text: str) -> np.ndarray:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        ids, _ = loaded.ids(text)
        line = torch.tensor([ids], device=loaded.device)
        pooled = [
            loaded.network.read(
                line,
                torch.ones_like(line),
                torch.from_numpy(one.tokens)[None].to(loaded.device, loaded.dtype),
                kind,
            ).pooled
            for kind, one in enumerate((first, second), start=1)
        ]
        return loaded.network.answers(torch.cat(pooled, dim=-1))[0].float().softmax(0).cpu().numpy()


def _told(
    loaded: LoadedViLT,
    image: EncodedImage,
    text: str,
    ids: Sequence[int],
    is_cut: bool,
    reading: Reading,
    start: float,
    encoded_at: float,
) -> dict[str, Any]:
    """The fields of `Read`."""
    read_at = time.perf_counter()
    tokens = tuple(loaded.library.id_to_token(one) for one in ids)
    aligned = aligned_words(reading, ids, tokens, image.grid)
    end = time.perf_counter()
    side = loaded.patch
    return {
        "checkpoint": loaded.row.name,
        "text": text,
        "aligned": aligned,
        "grid": image.grid,
        "seen": (image.grid[1] * side, image.grid[0] * side),
        "tokens": tokens,
        "pooled": reading.pooled[0].float().cpu().numpy(),
        "device": loaded.device,
        "seconds": end - start,
        "timings": {
            "patches": 1000 * (encoded_at - start),
            "transformer": 1000 * (read_at - encoded_at),
            "alignment": 1000 * (end - read_at),
        },
        "notes": Notes(truncated=(text,)) if is_cut else NO_NOTES,
    }


def aligned_words(
    reading: Reading, ids: Sequence[int], tokens: Sequence[str], grid: tuple[int, int]
) -> Alignment:
    """The alignment of one text, in double precision: with so small a beta some plans fall below single precision."""
    words_out = torch.zeros(1, len(ids), dtype=torch.bool)
    words_out[0, 0] = words_out[0, -1] = True
    patches_out = torch.zeros(1, reading.patches.shape[1], dtype=torch.bool)
    patches_out[0, 0] = True
    cost = alignment.costs(
        reading.words.cpu().double(), reading.patches.cpu().double(), words_out, patches_out
    )
    plan = alignment.ipot(cost, words_out, patches_out, alignment.SHOWING_BETA, alignment.SHOWING_ROUNDS)
    distance = float((cost * plan.mT).sum())
    inner = slice(1, -1)
    return Alignment(
        tuple(tokens[inner]),
        plan[0, 1:, inner].T.reshape(-1, *grid).float().numpy(),
        cost[0, inner, 1:].reshape(-1, *grid).float().numpy(),
        distance,
    )


# --- loading -----------------------------------------------------------------------------------------------


def load_vilt(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedViLT:
    """A row of ViLT in transformers' form, or a miniature with several heads."""
    from transformers.models.vilt.configuration_vilt import ViltConfig

    told = json.loads(paths["config.json"].read_text(encoding="utf-8"))
    chinese = told.pop("answers_zh", None)
    config: Any = ViltConfig.from_dict(told)
    tasks: tuple[Task, ...] = tuple(row.options["tasks"])
    weights = next(path for name, path in paths.items() if name.endswith((".safetensors", ".bin")))
    state = checkpoints.load_state_dict(weights)
    network = without_weights(config, tasks)
    encoders.put_state(network, encoders.in_precision(named(state, tasks), dtype), row)
    if "fill" in tasks:
        whole: Any = network
        whole.mlm_score.decoder.weight = whole.vilt.embeddings.text_embeddings.word_embeddings.weight
    answers = {"en": tuple(config.id2label[i] for i in range(config.num_labels))}
    if chinese:
        answers["zh"] = tuple(chinese)
    return LoadedViLT(network, _tokenizer(paths), row, answers, device, dtype)


def _tokenizer(paths: Mapping[str, Path]) -> Any:
    """The library's tokenizer of a tokenizer.json, or BERT's of a vocabulary."""
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    if "tokenizer.json" in paths:
        library = Tokenizer.from_file(str(paths["tokenizer.json"]))
        library.no_padding()
        library.no_truncation()
        return library
    return BertWordPieceTokenizer(str(paths["vocab.txt"]), lowercase=True)
