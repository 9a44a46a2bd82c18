"""CLAP (Wu et al. 2023): sound and text in one space, as transformers has it.

The library cuts a sound longer than ten seconds at a random place. Here a long sound is heard in windows of ten seconds that lie
at fixed places (`core.audio.audioclip.AudioCLIP.encode`), so that the same file always has the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from core import checkpoints, runtime
from core.checkpoints import Checkpoint
from core.clip import encoders
from core.clip.tokenizers import Tokenizer

RATE, SECONDS = 48_000, 10.0
CONTEXT = 77  # tokens that the text tower read in training
UNREAD = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")


class ClapScales(NamedTuple):
    """exp(t) of the pairs; there are no images."""

    audio_image: float
    audio_text: float
    image_text: float


class LoadedClap:
    """What the pool keeps of a row."""

    def __init__(
        self, model: Any, features: Any, tokenize: Tokenizer, device: str, dtype: torch.dtype
    ) -> None:
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.features, self.tokenize = features, tokenize
        self.device, self.dtype = device, dtype
        scale = float(self.model.logit_scale_a.exp())
        self.scales = ClapScales(scale, scale, 1.0)
        self.rate, self.window = RATE, SECONDS

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.model)

    def sounds(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        """Waves [A] in -1..1 of at most ten seconds -> features [W, D], norm 1."""
        batch = self.features(list(waves), sampling_rate=RATE, return_tensors="pt")
        # "fused" rows mark one clip of a batch of short ones as long, at random: none is.
        more = {"is_longer": torch.zeros(len(waves), 1, dtype=torch.bool)} if "is_longer" in batch else {}
        values = batch["input_features"].to(self.device, self.dtype)
        found = self.model.get_audio_features(input_features=values, **more).pooler_output
        return F.normalize(found.float(), dim=-1).cpu().numpy()

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> features [N, D], norm 1."""
        ids = self.tokenize(texts)
        batch = torch.ones(len(ids), max(map(len, ids)), dtype=torch.long)  # RoBERTa's padding is 1
        mask = torch.zeros_like(batch)
        for row, kept, text in zip(batch, mask, ids, strict=True):
            row[: len(text)], kept[: len(text)] = torch.tensor(text), 1
        found = self.model.get_text_features(
            input_ids=batch.to(self.device), attention_mask=mask.to(self.device)
        ).pooler_output
        return F.normalize(found.float(), dim=-1).cpu().numpy()


@lru_cache(maxsize=4)
def _tokenizer(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer as Library

    library = Library.from_file(str(path))
    library.no_padding()
    library.no_truncation()
    return Tokenizer(
        lambda texts: [one.ids for one in library.encode_batch(list(texts))],
        CONTEXT,
        library.token_to_id("<unk>"),
    )


def tokenizer(checkpoint: str) -> Tokenizer:
    """RoBERTa's byte pairs of a row, without its weights.

    Raises:
        Refusal: "unknown_checkpoint", "not_downloaded".
    """
    return _tokenizer(checkpoints.open(checkpoint, download=False)["tokenizer.json"])


def load_clap(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedClap:
    """A CLAP of transformers from its local files."""
    transformers = runtime.import_whole("transformers")
    folder = paths["config.json"].parent
    model = encoders.from_transformers(transformers.ClapModel, folder, row, dtype, UNREAD)
    features = transformers.ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)
    return LoadedClap(model, features, _tokenizer(paths["tokenizer.json"]), device, dtype)
