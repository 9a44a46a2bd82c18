"""How a text encoder reads a text: its pieces with their ids, and the place where the feature is taken from.

CLIP (Radford et al. 2021, section 2.4) cuts text into pieces of bytes learned on English and reads the feature at the end
token; Chinese-CLIP (Yang et al. 2022) takes a Chinese BERT, one piece a character, and reads it at the first
token; SigLIP 2 pads to 64 places and reads the last. Cutting a text needs no weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

from core import checkpoints, runtime
from core.clip import DUAL_ENCODERS

Kind = Literal["special", "piece", "byte", "unknown"]
Pooling = Literal["first", "end", "last"]
Cut = Callable[[list[str]], list[list[int]]]
POOLING: dict[str, Pooling] = {"argmax": "end", "eos": "end", "first": "first", "last": "last"}


@dataclass(frozen=True)
class Piece:
    """One token: what it stands for, its id, and whether it carries meaning or only a byte of some character."""

    text: str
    id: int
    kind: Kind


@dataclass(frozen=True)
class Reading:
    """One text as a checkpoint's text encoder receives it."""

    text: str
    pieces: tuple[Piece, ...]
    places: int  # the encoder's sequence: as long as the text, or always the same where padding is read too
    feature_at: int  # the place whose state becomes the text feature
    pooling: Pooling

    @property
    def ids(self) -> list[int]:
        """Token ids, special ones included."""
        return [piece.id for piece in self.pieces]


class Vocabulary(Protocol):
    """A tokenizer that can name its pieces."""

    pooling: Pooling
    places: int | None  # None where the sequence is as long as the text

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, special ones included, cut to the context length."""

    def piece(self, id: int) -> Piece:
        """What a token id stands for."""


class FileVocabulary:
    """The vocabulary of a tokenizer.json: the miniatures' and SigLIP 2's."""

    def __init__(self, tokenizer: Any, cut: Cut, pooling: Pooling, context_length: int) -> None:
        self.tokenizer, self.cut, self.context_length = tokenizer, cut, context_length
        self.pooling = pooling
        # The last place is always the same one: the text is padded up to it.
        self.places = context_length if pooling == "last" else None
        self.special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}

    def ids(self, text: str) -> list[int]:
        return self.cut([text])[0]

    def piece(self, id: int) -> Piece:
        text = self.tokenizer.id_to_token(id)
        if text == "<unk>":
            return Piece(text, id, "unknown")
        if text.startswith("<0x"):
            return Piece(text[3:5], id, "byte")
        return Piece(text.replace("▁", " "), id, "special" if id in self.special else "piece")

    @property
    def has_bytes(self) -> bool:
        """Whether there is a piece for every byte."""
        return all(self.tokenizer.token_to_id(f"<0x{byte:02X}>") is not None for byte in range(256))

    def spelled(self, text: str) -> list[int]:
        """The text letter by letter as bytes, between the special tokens: what its words mean is out of sight.

        Raises:
            ValueError: when the vocabulary has no pieces for bytes.
        """
        if not self.has_bytes:
            raise ValueError("this vocabulary has no pieces for bytes")
        codes = [self.tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in text.encode()]
        # What the tokenizer puts around a text of its own.
        around = self.ids("a")
        before = 1 if around[0] in self.special else 0
        room = self.context_length - before - 1
        return [*around[:before], *codes[:room], around[-1]]


class ClipVocabulary:
    """CLIP's byte pairs, as open_clip ships them."""

    pooling: Pooling = "end"
    places: int | None = None

    def __init__(self, model: str) -> None:
        import open_clip

        self.tokenizer: Any = open_clip.get_tokenizer(model)

    def ids(self, text: str) -> list[int]:
        row = self.tokenizer([text])[0]  # [77], padded with zeros; the end token has the highest id
        return row[: int(row.argmax()) + 1].tolist()

    def piece(self, id: int) -> Piece:
        if id in (self.tokenizer.sot_token_id, self.tokenizer.eot_token_id):
            return Piece(self.tokenizer.decoder[id], id, "special")
        name = self.tokenizer.decoder[id].removesuffix("</w>")
        data = bytes(self.tokenizer.byte_decoder[letter] for letter in name)
        try:
            return Piece(data.decode(), id, "piece")
        except UnicodeDecodeError:
            return Piece(data.hex(" ").upper(), id, "byte")


class BertVocabulary:
    """Chinese BERT's: one piece a Chinese character."""

    pooling: Pooling = "first"
    places: int | None = None

    def __init__(self, folder: Path, context_length: int) -> None:
        kind = runtime.whole("transformers").BertTokenizer
        self.tokenizer: Any = kind.from_pretrained(folder, local_files_only=True)
        self.context_length = context_length

    def ids(self, text: str) -> list[int]:
        return self.tokenizer([text], truncation=True, max_length=self.context_length)["input_ids"][0]

    def piece(self, id: int) -> Piece:
        text = self.tokenizer.convert_ids_to_tokens(id)
        if id == self.tokenizer.unk_token_id:
            return Piece(text, id, "unknown")
        return Piece(text, id, "special" if id in self.tokenizer.all_special_ids else "piece")


def vocabulary(checkpoint: str) -> Vocabulary:
    """The vocabulary of a row, without its weights.

    Raises:
        Refusal: "unknown_checkpoint", "other_checkpoint", or "not_downloaded" where it is a file that is not on this machine.
    """
    row = checkpoints.row(checkpoint, lambda row: row.loader in DUAL_ENCODERS)
    if "model" in row.options:  # open_clip brings this one along
        return _built_in(row.options["model"])
    return _from_files(row.loader, tuple(checkpoints.open(checkpoint, download=False).items()))


@lru_cache(maxsize=8)
def _built_in(model: str) -> Vocabulary:
    return ClipVocabulary(model)


@lru_cache(maxsize=8)
def _from_files(loader: str, files: tuple[tuple[str, Path], ...]) -> Vocabulary:
    from core.clip import encoders, siglip

    paths = dict(files)
    if loader.endswith(":load_chinese_clip"):
        return BertVocabulary(paths["config.json"].parent, encoders.CHINESE_CLIP_CONTEXT)
    if loader.endswith(":load_siglip"):
        settings = json.loads(paths["config.json"].read_text(encoding="utf-8"))["text_config"]
        length = settings.get("max_position_embeddings", siglip.CONTEXT)
        cut = siglip.SiglipTokenizer(paths["tokenizer.json"], length)
        return FileVocabulary(cut.pieces, cut, "last", length)
    settings = json.loads(paths["open_clip_config.json"].read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
    length = settings["context_length"]
    tokenizer = encoders.file_tokenizer(paths["tokenizer.json"], length)
    pooling = POOLING[settings.get("pool_type", "argmax")]
    return FileVocabulary(
        tokenizer, lambda texts: [found.ids for found in tokenizer.encode_batch(texts)], pooling, length
    )


def read(checkpoint: str, texts: Sequence[str]) -> list[Reading]:
    """How a row's text encoder receives each text.

    Raises:
        Refusal: as `vocabulary`.
    """
    words = vocabulary(checkpoint)
    return [_reading(words, text, words.ids(text)) for text in texts]


def has_bytes(checkpoint: str) -> bool:
    """Whether a row's vocabulary has a piece for every byte, so that `spell` works."""
    words = vocabulary(checkpoint)
    return isinstance(words, FileVocabulary) and words.has_bytes


def spell(checkpoint: str, texts: Sequence[str]) -> list[Reading]:
    """The texts as bytes alone: how a row with pieces for bytes would read letters that it was never taught.

    Raises:
        Refusal: as `vocabulary`.
        ValueError: when the row has no such pieces.
    """
    words = vocabulary(checkpoint)
    if not isinstance(words, FileVocabulary):
        raise ValueError("this vocabulary has no pieces for bytes")
    return [_reading(words, text, words.spelled(text)) for text in texts]


def _reading(words: Vocabulary, text: str, ids: Sequence[int]) -> Reading:
    places = words.places or len(ids)
    at = {"first": 0, "end": len(ids) - 1, "last": places - 1}[words.pooling]
    return Reading(text, tuple(words.piece(id) for id in ids), places, at, words.pooling)
