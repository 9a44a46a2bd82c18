"""BLIP for questions (Li et al. 2022, https://arxiv.org/abs/2201.12086): CLIP-ViL's descendant, whose weights are on the Hub.

It has no list of answers: a decoder writes the answer word by word. The model is transformers'.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from core import inputs, runtime
from core.checkpoints import Checkpoint
from core.clip import encoders
from core.clip.handles import Handle
from core.errors import Refusal
from core.vqa.clip_vil.models import VisualAnswer

BEAMS = 3  # answers that are followed at once, and given
LONGEST = 10  # tokens of an answer
ENCODER = "blip"


class LoadedBlip:
    """What the pool keeps of a row: the model, its tokenizer, how it wants images."""

    def __init__(self, model: Any, tokenizer: Any, processor: Any, device: str, dtype: torch.dtype) -> None:
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.tokenizer, self.processor, self.device, self.dtype = tokenizer, processor, device, dtype

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.model)

    def answers(self, image: Image.Image, question: str) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
        """Answers and the probability that each is written, best first, and the tokens of the question."""
        pixels = self.processor(images=image, return_tensors="pt")["pixel_values"]
        words = self.tokenizer(question, return_tensors="pt").to(self.device)
        found = self.model.generate(
            words["input_ids"],
            pixels.to(self.device, self.dtype),
            words["attention_mask"],
            num_beams=BEAMS,
            num_return_sequences=BEAMS,
            max_new_tokens=LONGEST,
            length_penalty=0.0,  # scores are sums of logarithms
            return_dict_in_generate=True,
            output_scores=True,
        )
        texts = [self.tokenizer.decode(one, skip_special_tokens=True).strip() for one in found.sequences]
        shares = found.sequences_scores.float().exp().cpu().numpy()
        best: dict[str, float] = {}
        for text, share in zip(texts, shares.tolist(), strict=True):
            best.setdefault(text, share)
        tokens = tuple(self.tokenizer.convert_ids_to_tokens(words["input_ids"][0].tolist()))
        return list(best), np.array(list(best.values()), np.float32), tokens


def load(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedBlip:
    """transformers' class with the weights of a row."""
    transformers = runtime.import_whole("transformers")
    folder = paths["config.json"].parent
    model = encoders.from_transformers(
        transformers.BlipForQuestionAnswering, folder, row, dtype, ("position_ids",)
    )
    tokenizer = transformers.BertTokenizer.from_pretrained(folder, local_files_only=True)
    processor = transformers.BlipImageProcessor.from_pretrained(folder, local_files_only=True)
    return LoadedBlip(model, tokenizer, processor, device, dtype)


class BlipVQA(Handle[LoadedBlip]):
    """Answers that are written freely. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(("core.vqa.clip_vil.blip:load",))
    encoders: tuple[str, ...] = (ENCODER,)

    def answer(self, image: Image.Image, question: str, encoder: str = ENCODER) -> VisualAnswer:
        """Answers a question about an image (RGB, from `core.inputs.image`); `encoder` is for CLIP-ViL's rows.

        Raises:
            Refusal: "unknown_method" for an encoder that the row lacks, "no_text", "text_too_long".
        """
        if encoder != ENCODER:
            raise Refusal("unknown_method", name=str(encoder)[:40], known=ENCODER)
        start = time.perf_counter()
        text = inputs.text(question)
        answers, probabilities, words = _answer(self, image, text)
        nothing = np.zeros((0, 0), np.float32)
        seconds = time.perf_counter() - start
        return VisualAnswer(
            checkpoint=self.checkpoint,
            encoder=ENCODER,
            question=text,
            answers=tuple(answers),
            probabilities=probabilities,
            grid_features=nothing[None],
            attention=nothing,
            words=words,
            word_attention=np.zeros(0, np.float32),
            guided=nothing[..., None],
            seen=(0, 0),
            device=self.device,
            seconds=seconds,
            timings={"answer": 1000 * seconds},
        )


@runtime.on_device
def _answer(
    model: BlipVQA, image: Image.Image, question: str
) -> tuple[list[str], np.ndarray, tuple[str, ...]]:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return loaded.answers(image, question)
