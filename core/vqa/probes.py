"""What published answers ask of ViLT and BLIP; see `core.checkpoints.known`. Every function gets the name of a row, the image
and texts of an answer, and a device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from core.vqa.clip_vil.blip import BlipVQA
from core.vqa.vilt.model import LoadedViLT, ViLT
from core.vqa.vilt.network import Reading, image_tokens

PLACE = 4  # of the masked word whose answer is published


def _read(loaded: LoadedViLT, image: Image.Image, text: str) -> Reading:
    tokens = image_tokens(loaded.network.vilt, loaded.pixels(image))[0]
    return loaded.read(loaded.ids(text)[0], tokens.float().cpu().numpy())


@torch.inference_mode()
def vilt_answers(
    row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str
) -> list[list[float]]:
    """The logits of the first three answers to each question."""
    with ViLT.load(row, device, torch.float32).use() as loaded:
        pooled = [_read(loaded, images[0], text).pooled for text in texts]
        return [loaded.network.answers(one)[0, :3].float().tolist() for one in pooled]


@torch.inference_mode()
def vilt_gaps(
    row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str
) -> list[list[float]]:
    """The logits of the first three words at the first place of each text."""
    with ViLT.load(row, device, torch.float32).use() as loaded:
        words = [_read(loaded, images[0], text).words[0, :1] for text in texts]
        return [loaded.network.written(one)[0, :3].float().tolist() for one in words]


@torch.inference_mode()
def vilt_fills(row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str) -> list[str]:
    """The likeliest word at the published masked place of each text."""
    with ViLT.load(row, device, torch.float32).use() as loaded:
        words = [_read(loaded, images[0], text).words[0, PLACE : PLACE + 1] for text in texts]
        best = [int(loaded.network.written(one)[0].argmax()) for one in words]
        return [loaded.library.id_to_token(one) for one in best]


def vilt_words(row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str) -> list[str]:
    """The best answer to each question."""
    model = ViLT.load(row, device, torch.float32)
    answers = [model.answer(images[0], text) for text in texts]
    return [found.names[int(found.order[0])] for found in answers]


@torch.inference_mode()
def blip_words(row: str, images: Sequence[Image.Image], texts: Sequence[str], device: str) -> list[str]:
    """The answer to each question as it is written word by word, the likeliest word each time."""
    with BlipVQA.load(row, device, torch.float32).use() as loaded:
        pixels = loaded.processor(images=images[0], return_tensors="pt")["pixel_values"]
        answers = []
        for text in texts:
            words = loaded.tokenizer(text, return_tensors="pt").to(device)
            found = loaded.model.generate(
                words["input_ids"], pixels.to(device, loaded.dtype), words["attention_mask"]
            )
            answers.append(loaded.tokenizer.decode(found[0], skip_special_tokens=True).strip())
        return answers
