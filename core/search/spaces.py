"""The space of a search: a row of CLIP for images, frames and texts, and the row that hears.

A miniature's sounds lie in the space of its images, so their cosines are compared. Where the sounds have a space of their own
(CLAP), they have a table of their own and ranks are fused.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core import checkpoints, inputs, runtime
from core.clip import DUAL_ENCODERS, ZeroShot
from core.clip.crops import encode_pictures
from core.clip.handles import Handle, remembered_texts
from core.clip.tokenizers import Tokenizer
from core.errors import Refusal
from core.search.store import Part

SOUND_LOADERS = frozenset(("core.audio.audioclip:load_audioclip", "core.audio.clap:load_clap"))
MOST_WINDOWS = 2_000  # of one sound: 2.7 hours of CLAP's
WAY = 2  # in which files become vectors; tables of another way are left as they are
SILENT = 1e-3  # root mean square of a window that is not indexed: -60 dB of full scale


class Hearing(Handle[Any]):
    """A row that encodes sounds and the words about them."""

    LOADERS = SOUND_LOADERS


@cache
def _settings() -> dict[str, dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_name("spaces.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Space:
    """The rows that a search works with. Light: weights are loaded when something is encoded."""

    checkpoint: str

    def __post_init__(self) -> None:
        checkpoints.row(self.checkpoint, lambda row: row.loader in DUAL_ENCODERS)

    @property
    def settings(self) -> dict[str, Any]:
        """The row of spaces.toml."""
        return _settings().get(self.checkpoint, _settings()["default"])

    @cached_property
    def model(self) -> ZeroShot:
        """Images, frames and texts."""
        return ZeroShot.load(self.checkpoint)

    @cached_property
    def hearing(self) -> Hearing | None:
        """Sounds; None where the row that hears is not on this machine."""
        name = self.settings["sounds"]
        known = name in {row.name for row in checkpoints.rows()}
        return Hearing.load(name) if known and checkpoints.state(name) in ("bundled", "cached") else None

    @property
    def language(self) -> str:
        """One that the row reads, English where it does."""
        languages = checkpoints.row(self.checkpoint).languages
        return "en" if "en" in languages else languages[0]

    @property
    def is_joint(self) -> bool:
        """Whether sounds lie in the space of the images."""
        return bool(self.settings["joint"])

    @cached_property
    def visual(self) -> Part:
        """The table of images, frames and texts, and of sounds where they share the space."""
        return Part(
            _table(self.checkpoint), self.checkpoint, self.texts(["a"]).shape[1], self.settings["same"]
        )

    @cached_property
    def audible(self) -> Part | None:
        """The table of sounds; None where nothing hears."""
        if self.hearing is None:
            return None
        if self.is_joint:
            return self.visual
        name = self.hearing.checkpoint
        return Part(_table(name), name, self.sound_texts(["a"]).shape[1], self.settings["same"])

    @property
    def parts(self) -> list[Part]:
        """The tables of a search, each once."""
        return list(dict.fromkeys(part for part in (self.visual, self.audible) if part is not None))

    @cached_property
    def side(self) -> int:
        """Pixels of the square that the image tower sees."""
        return _side(self.model)

    @property
    def tokenize(self) -> Tokenizer:
        """Texts to token ids."""
        return self.model.tokenize

    def images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """RGB images -> features [B, D], norm 1."""
        return encode_pictures(self.model, images)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> features [N, D] beside those of images, norm 1."""
        return self.model.encode_text(texts)

    def sound_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> features [N, D] beside those of sounds, norm 1."""
        if self.is_joint:
            return self.texts(texts)
        hearing = self._hearing()
        return remembered_texts(hearing.key, texts, lambda missing: _encode_texts(hearing, missing))

    def sounds(
        self, sound: inputs.Sound, check: Callable[[], object] | None = None
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """A sound in windows that overlap by half: where they begin [W], their features [W, D] with norm 1, and their seconds.

        Windows in which nothing is heard are left out.
        """
        return _encode_sound(self._hearing(), sound, check)

    def _hearing(self) -> Hearing:
        if self.hearing is None:
            raise Refusal("search_deaf", checkpoint=self.settings["sounds"])
        return self.hearing


def _table(checkpoint: str) -> str:
    """The name of a table: the row, its exact weights and the way of its vectors, so that others never meet these vectors."""
    row = checkpoints.row(checkpoint)
    weights = row.revision or next(
        (file.sha256 for file in row.files if file.path.endswith(".safetensors")), ""
    )
    return f"{checkpoint}-{(weights or 'imported')[:12]}-{WAY}"


@runtime.on_device
def _side(model: ZeroShot) -> int:
    with model.use() as encoder:
        return encoder.preprocess.side


@runtime.on_device
def _encode_texts(hearing: Hearing, texts: Sequence[str]) -> np.ndarray:
    with hearing.use() as loaded, runtime.semaphore(hearing.device):
        found: np.ndarray = loaded.texts(texts)
        return found


@runtime.on_device
def _encode_sound(
    hearing: Hearing, sound: inputs.Sound, check: Callable[[], object] | None
) -> tuple[np.ndarray, np.ndarray, float]:
    import torch

    starts, features = [], []
    with hearing.use() as loaded:
        every = sound.starts(loaded.window, MOST_WINDOWS)
        # A short sound is heard as it is, without silence behind it.
        seconds = min(loaded.window, sound.duration) if len(every) == 1 else loaded.window
        for start, wave in zip(every, sound.windows(loaded.rate, seconds, every, check), strict=True):
            if float(np.sqrt(np.mean(np.square(wave)))) < SILENT:
                continue
            with runtime.semaphore(hearing.device), torch.inference_mode():
                features.append(loaded.sounds([wave])[0])
            starts.append(float(start))
    return np.array(starts), np.array(features, np.float32), float(seconds)
