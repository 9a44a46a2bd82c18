"""A dual encoder of a few thousand weights, made in milliseconds, as a bundled row of a registry of its own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = [
    "a",
    "photo",
    "of",
    "drawing",
    "dog",
    "cat",
    "red",
    "envelope",
    "money",
    "sheep",
    *"狗猫红包一张的照片",
]


def tokenizer() -> Tokenizer:
    """Words and Chinese characters; <eot> has the highest id, as the text tower's pooling wants it."""
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<sot>", "<unk>", *WORDS, "<eot>"])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Whitespace()]
    )
    made.post_processor = processors.TemplateProcessing(
        single="<sot> $A <eot>", special_tokens=[("<sot>", 1), ("<eot>", len(vocabulary) - 1)]
    )
    return made


def make_bundle(folder: Path, seed: int = 0, image_size: int = 32) -> None:
    """Writes model.safetensors, open_clip_config.json and tokenizer.json with random weights."""
    made = tokenizer()
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": image_size,
            "layers": 2,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": 12,
            "vocab_size": made.get_vocab_size(),
            "width": 32,
            "heads": 2,
            "layers": 2,
        },
    }
    torch.manual_seed(seed)
    model = open_clip.CLIP(**config)
    for parameter in model.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.2)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {"resize_mode": "shortest"}})
    )
    made.save(str(folder / "tokenizer.json"))


def row(name: str, folder: Path, normalisation: str = "softmax") -> str:
    """The registry table of a bundle."""
    lines = [
        f"[{name}]",
        'paper = "clip"',
        'title = {en = "Tiny", zh = "微型"}',
        'loader = "core.clip.encoders:load_open_clip"',
        f'bundled = "{folder}"',
        'licence = "apache-2.0"',
        'licence_note = {en = "random weights", zh = "随机权重"}',
        'citation = "none"',
        'languages = ["en", "zh"]',
        f'normalisation = "{normalisation}"',
        'knows = {en = "nothing", zh = "无"}',
        'lacks = {en = "everything", zh = "一切"}',
    ]
    for path in sorted(folder.iterdir()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines += [f"[[{name}.files]]", f'path = "{path.name}"', f'sha256 = "{digest}"']
    return "\n".join(lines) + "\n"
