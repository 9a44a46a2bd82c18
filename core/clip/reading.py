"""How a text encoder reads a text: its pieces with their ids, and the place where the feature is taken from.

CLIP (Radford et al. 2021, section 2.4) cuts text into pieces of bytes learned on English and reads the feature at the end
token; Chinese-CLIP (Yang et al. 2022) takes a Chinese BERT, one piece a character, and reads it at the first
token; SigLIP 2 pads to 64 places and reads the last. Cutting a text needs no weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

from core import checkpoints, runtime
from core.clip import DUAL_ENCODERS, tokenizers
from core.clip.tokenizers import Tokenizer
from core.errors import Refusal

Kind = Literal["special", "piece", "byte", "unknown"]
Pooling = Literal["first", "end", "last"]
CLIP_CONTEXT = 77
OWN_FILES = {"tokenizer.json", "vocab.txt"}
# The files that a row's vocabulary was read from.
_FILES: dict[str, tuple[tuple[str, Path], ...]] = {}
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
    truncated: bool = False  # whether there was more text than the encoder reads

    @property
    def ids(self) -> list[int]:
        """Token ids, special ones included."""
        return [piece.id for piece in self.pieces]


class Vocabulary(Protocol):
    """A tokenizer that can name its pieces."""

    pooling: Pooling
    places: int | None  # None where the sequence is as long as the text
    tokenize: Tokenizer

    def piece(self, id: int) -> Piece:
        """What a token id stands for."""


class FileVocabulary:
    """The vocabulary of a tokenizer.json: the miniatures' and SigLIP 2's."""

    def __init__(self, library: Any, tokenize: Tokenizer, pooling: Pooling) -> None:
        self.library, self.tokenize, self.pooling = library, tokenize, pooling
        # The last place is always the same one: the text is padded up to it.
        self.places = tokenize.context_length if pooling == "last" else None
        self.special = {i for i, token in library.get_added_tokens_decoder().items() if token.special}

    def piece(self, id: int) -> Piece:
        text = self.library.id_to_token(id)
        if text == "<unk>":
            return Piece(text, id, "unknown")
        if text.startswith("<0x"):
            return Piece(text[3:5], id, "byte")
        return Piece(text.replace("▁", " "), id, "special" if id in self.special else "piece")

    @property
    def has_bytes(self) -> bool:
        """Whether there is a piece for every byte."""
        return all(self.library.token_to_id(f"<0x{byte:02X}>") is not None for byte in range(256))

    def spelled(self, text: str) -> list[int]:
        """The text letter by letter as bytes, between the special tokens: what its words mean is out of sight.

        Raises:
            ValueError: when the vocabulary has no pieces for bytes.
        """
        if not self.has_bytes:
            raise ValueError("this vocabulary has no pieces for bytes")
        codes = [self.library.token_to_id(f"<0x{byte:02X}>") for byte in text.encode()]
        # What the tokenizer puts around a text of its own.
        around = self.tokenize.whole("a")
        before = 1 if around[0] in self.special else 0
        return [*around[:before], *codes, around[-1]]


class ClipVocabulary:
    """CLIP's byte pairs, as open_clip ships them."""

    pooling: Pooling = "end"
    places: int | None = None

    def __init__(self, model: str) -> None:
        self.library, self.tokenize = tokenizers.of_open_clip(model)

    def piece(self, id: int) -> Piece:
        library = self.library
        if id in (library.sot_token_id, library.eot_token_id):
            return Piece(library.decoder[id], id, "special")
        data = bytes(library.byte_decoder[letter] for letter in library.decoder[id].removesuffix("</w>"))
        try:
            return Piece(data.decode(), id, "piece")
        except UnicodeDecodeError:
            return Piece(data.hex(" ").upper(), id, "byte")


class BertVocabulary:
    """Chinese BERT's: one piece a Chinese character."""

    pooling: Pooling = "first"
    places: int | None = None

    def __init__(self, folder: Path, context_length: int) -> None:
        from core.clip import encoders

        kind = runtime.import_whole("transformers").BertTokenizer
        self.library: Any = kind.from_pretrained(folder, local_files_only=True)
        self.tokenize = encoders.of_bert(self.library, context_length)

    def piece(self, id: int) -> Piece:
        text = self.library.convert_ids_to_tokens(id)
        if id == self.library.unk_token_id:
            return Piece(text, id, "unknown")
        return Piece(text, id, "special" if id in self.library.all_special_ids else "piece")


def vocabulary(checkpoint: str) -> Vocabulary:
    """The vocabulary of a dual encoder's row, without its weights.

    Raises:
        Refusal: "unknown_checkpoint", "other_checkpoint", or "not_downloaded" where it is a file that is not on this machine.
    """
    checkpoints.row(checkpoint, lambda row: row.loader in DUAL_ENCODERS)
    return _vocabulary(checkpoint)


def tokenizer(checkpoint: str) -> Tokenizer:
    """Texts to the token ids of any row's text encoder, or of that of the CLIP which it requires; without weights.

    Raises:
        Refusal: "unknown_checkpoint", "not_downloaded".
    """
    return _vocabulary(checkpoint).tokenize


def _vocabulary(checkpoint: str) -> Vocabulary:
    row = checkpoints.row(checkpoint)
    if "model" in row.options:  # open_clip brings this one along
        return _built_in(row.options["model"])
    if row.requires and not {file.path for file in row.files} & OWN_FILES:
        return _vocabulary(next(iter(row.requires)))
    try:
        files = tuple(checkpoints.open(checkpoint, download=False).items())
    except Refusal:
        # A checkpoint that is loaded answers without its files; so does its vocabulary.
        if checkpoint not in _FILES:
            raise
        files = _FILES[checkpoint]
    _FILES[checkpoint] = files
    return _from_files(row.loader, files)


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
        return FileVocabulary(*siglip.siglip_tokenizer(paths["tokenizer.json"], length), "last")
    if "open_clip_config.json" not in paths:  # a model of transformers with CLIP's text encoder
        settings = json.loads(paths["config.json"].read_text(encoding="utf-8"))["text_config"]
        length = settings.get("max_position_embeddings", CLIP_CONTEXT)
        return FileVocabulary(*tokenizers.from_file(paths["tokenizer.json"], length), "end")
    settings = json.loads(paths["open_clip_config.json"].read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
    length = settings["context_length"]
    pooling = POOLING[settings.get("pool_type", "argmax")]
    return FileVocabulary(*tokenizers.from_file(paths["tokenizer.json"], length), pooling)


def read(checkpoint: str, texts: Iterable[str]) -> list[Reading]:
    """How a row's text encoder receives each text.

    Raises:
        Refusal: as `vocabulary`.
    """
    words = vocabulary(checkpoint)
    return [_reading(words, text, words.tokenize.whole(text)) for text in texts]


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


def _reading(words: Vocabulary, text: str, whole: Sequence[int]) -> Reading:
    ids = words.tokenize.cut(whole)
    places = words.places or len(ids)
    at = {"first": 0, "end": len(ids) - 1, "last": places - 1}[words.pooling]
    return Reading(
        text, tuple(words.piece(id) for id in ids), places, at, words.pooling, len(ids) < len(whole)
    )
