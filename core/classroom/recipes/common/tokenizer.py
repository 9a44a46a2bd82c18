"""The bilingual sub-word tokenizer of the miniatures: BPE over names, templates and tags, bytes for everything else.

Chinese characters stand alone, English words are lower case. Ids: 0 <pad>, then <unk>, 256 bytes, the learned
pieces, and last <sot> and <eot>; <eot> is the highest id, which open_clip's "argmax" pooling looks for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from core.classroom.world.vocabulary import corpus

CONTEXT = 32
PIECES = 2000


def train(pieces: int = PIECES, context: int = CONTEXT) -> Tokenizer:
    """Learn the vocabulary from the caption grammar; deterministic."""
    draft = Tokenizer(models.BPE())
    _front(draft)
    trainer = trainers.BpeTrainer(vocab_size=pieces, min_frequency=2, show_progress=False)
    draft.train_from_iterator(corpus(), trainer)
    learned = json.loads(draft.to_str())["model"]
    names = ["<pad>", "<unk>", *(f"<0x{i:02X}>" for i in range(256))]
    names += [piece for piece, _ in sorted(learned["vocab"].items(), key=lambda item: item[1])]
    merges: list[tuple[str, str]] = [(left, right) for left, right in learned["merges"]]
    tokenizer = Tokenizer(
        models.BPE({n: i for i, n in enumerate(names)}, merges, unk_token="<unk>", byte_fallback=True)
    )
    _front(tokenizer)
    tokenizer.add_special_tokens(["<sot>", "<eot>"])
    sot, eot = len(names), len(names) + 1
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<sot> $A <eot>", special_tokens=[("<sot>", sot), ("<eot>", eot)]
    )
    tokenizer.enable_truncation(context)
    return tokenizer


def _front(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.BertNormalizer(
                clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=True
            ),
            normalizers.Replace(Regex(r"[.。,，、;；:：!！?？'\"“”]"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()


def load(path: Path) -> Tokenizer:
    """A tokenizer.json from disk."""
    return Tokenizer.from_file(str(path))


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], context: int = CONTEXT) -> Tensor:
    """Texts -> ids [B, context], padded with 0."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
    # One tensor from all rows: a tensor of each takes longer than the tokenizer itself.
    padded = [row + [0] * (context - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.long).reshape(len(rows), context)
