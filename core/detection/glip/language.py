"""The words of GLIP: a prompt cut into words with their places in the text, and a feature for each (figure 2, left).

Two encoders of words. BERT reads the prompt and is part of the network, as released. The miniature has the frozen text tower
of a small CLIP, which knows names only as whole texts: all words of a phrase carry the feature of that phrase read by itself,
so that a word without boxes in training still lies where its images lie; the other words carry their hidden states under
the same projection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from core import runtime
from core.clip.tokenizers import of_open_clip
from core.detection.glip.network import Bert
from core.detection.result import Phrase
from core.errors import Refusal

WORDS = 256  # of a prompt
SEPARATOR = " . "
TEXTS_AT_ONCE = 64
PIECE = re.compile(r"[^\W\d_]+|\d|[^\s\w]|_")  # what CLIP's tokenizer takes for a word
PHRASE_FEATURES: runtime.ByteCache[Tensor] = runtime.ByteCache()

Mode = Literal["grounding", "detection"]
Span = tuple[int, int]


@dataclass(frozen=True)
class Cut:
    """A text as an encoder reads it."""

    ids: tuple[int, ...]  # special tokens included
    places: tuple[int, ...]  # [L] where each word stands among the ids
    words: tuple[str, ...]  # [L]
    spans: tuple[Span, ...]  # [L] characters of the text
    is_known: bool = True  # whether the vocabulary has pieces for all of it


@dataclass(frozen=True)
class Prompt:
    """A text, its phrases, and how an encoder reads it."""

    text: str
    mode: Mode
    phrases: tuple[Phrase, ...]
    cut: Cut

    @property
    def tokens(self) -> list[list[int]]:
        """Of each phrase, where its words stand among the ids."""
        return [[self.cut.places[word] for word in phrase.words] for phrase in self.phrases]

    def belongs(self, length: int | None = None) -> Tensor:
        """[K, length] 1 where a token is a word of a phrase."""
        table = torch.zeros(len(self.phrases), length or len(self.cut.ids))
        for row, tokens in zip(table, self.tokens, strict=True):
            row[tokens] = 1
        return table


class Cutter(Protocol):
    """A tokenizer."""

    def cut(self, text: str) -> Cut:
        """A text into words."""


class Reader(Cutter, Protocol):
    """An encoder of words with its tokenizer."""

    def features(self, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        """B prompts -> word features [B, L, D] and mask [B, L], true at words; L is that of the longest."""


def listed(labels: Sequence[str]) -> tuple[str, list[Span]]:
    """Labels joined as one prompt, and where each lies in it."""
    text, spans = "", []
    for label in labels:
        spans.append((len(text), len(text) + len(label)))
        text += label + SEPARATOR
    return text.rstrip(), spans


def locate(caption: str, phrases: Sequence[str]) -> list[Span]:
    """Where phrases lie in a caption: each behind the one before it where it can, else at its first place.

    Raises:
        Refusal: "phrase_not_in_caption".
    """
    low, spans, behind = caption.lower(), [], 0
    for phrase in phrases:
        wanted = phrase.strip().lower()
        start = low.find(wanted, behind) if wanted else -1
        start = low.find(wanted) if wanted and start < 0 else start
        if start < 0:
            raise Refusal("phrase_not_in_caption", phrase=phrase[:60])
        behind = start + len(wanted)
        spans.append((start, behind))
    return spans


def prompt(reader: Cutter, text: str, spans: Sequence[Span], mode: Mode = "grounding") -> Prompt:
    """A text and the characters of its phrases -> what the network is asked.

    Raises:
        Refusal: "no_phrase" where there is no word, "prompt_too_long" for more than `WORDS` of them.
    """
    cut = reader.cut(text)
    if not cut.words:
        raise Refusal("no_phrase")
    if len(cut.ids) > WORDS:
        raise Refusal("prompt_too_long", words=len(cut.ids), limit=WORDS)
    phrases = tuple(
        Phrase(
            text[start:end],
            start,
            end,
            tuple(i for i, (first, last) in enumerate(cut.spans) if first < end and last > start),
        )
        for start, end in spans
    )
    return Prompt(text, mode, phrases, cut)


def padded(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids of B texts -> [B, L] filled with 0, and true where there are some."""
    length = max(map(len, ids))
    rows = torch.tensor([[*row, *[0] * (length - len(row))] for row in ids], dtype=torch.long)
    mask = torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in ids])
    return rows, mask


def _cut(encoding: Any, text: str, skip_special: bool, unknown: int | None) -> Cut:
    """What a `tokenizers` encoding says of a text; `unknown` is the id of what the vocabulary lacks."""
    ids = [i for i, special in enumerate(encoding.special_tokens_mask) if not (special and skip_special)]
    own = [n for n, i in enumerate(ids) if not encoding.special_tokens_mask[i]]
    spans = tuple(encoding.offsets[ids[n]] for n in own)
    words = tuple(text[start:end] for start, end in spans)
    return Cut(tuple(encoding.ids[i] for i in ids), tuple(own), words, spans, unknown not in encoding.ids)


def bert_cutter(vocabulary: Path) -> Callable[[str], Cut]:
    """BERT's tokenizer, with its tokens in front and behind."""
    from tokenizers import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    unknown = tokenizer.token_to_id("[UNK]")
    return lambda text: _cut(tokenizer.encode(text), text, skip_special=False, unknown=unknown)


def clip_cutter(tokenizer: Any) -> Callable[[str], Cut]:
    """The tokenizer of a small CLIP (`tokenizers.Tokenizer`), without its tokens in front and behind."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    unknown = tokenizer.token_to_id("<unk>")
    return lambda text: _cut(tokenizer.encode(text), text, skip_special=True, unknown=unknown)


def byte_pair_cutter() -> Callable[[str], Cut]:
    """CLIP's tokenizer, word by word: a word of several pieces has a number of its own."""
    library, _ = of_open_clip("ViT-B-32")
    base = len(library.decoder)

    def number(word: str) -> int:
        return sum(piece * base**i for i, piece in enumerate(library.encode(word)))

    def cut(text: str) -> Cut:
        spans = tuple(match.span() for match in PIECE.finditer(text))
        words = tuple(text[start:end] for start, end in spans)
        ids = (library.sot_token_id, *map(number, words), library.eot_token_id)
        return Cut(ids, tuple(range(1, len(words) + 1)), words, spans)

    return cut


@cache
def cutter(file: Path) -> Callable[[str], Cut]:
    """The tokenizer of a file: a list of BERT's word pieces, CLIP's byte pairs, or a small CLIP's own."""
    from tokenizers import Tokenizer

    if file.name == "vocab.json":
        return byte_pair_cutter()
    return bert_cutter(file) if file.suffix == ".txt" else clip_cutter(Tokenizer.from_file(str(file)))


class BertReader:
    """BERT, which reads the whole prompt at once."""

    def __init__(self, vocabulary: Path, bert: Bert) -> None:
        self._cut = bert_cutter(vocabulary)
        self.bert = bert

    def cut(self, text: str) -> Cut:
        return self._cut(text)

    def features(self, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        ids, mask = padded([prompt.cut.ids for prompt in prompts])
        device = next(self.bert.parameters()).device
        ids, mask = ids.to(device), mask.to(device)
        return self.bert(ids, mask), mask


class ClipReader:
    """The text tower of a small CLIP in open_clip's class, which reads phrases one by one.

    Args:
        model: open_clip's CLIP; `tokenizer` is its `tokenizers.Tokenizer`.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer, self._cut = model, tokenizer, clip_cutter(tokenizer)
        self.start, self.end = self._frame()
        self._key = object()  # of this reader in PHRASE_FEATURES

    def _frame(self) -> tuple[int, int]:
        """The ids that stand before and behind every text."""
        first, *_, last = self.tokenizer.encode("a").ids
        return first, last

    def cut(self, text: str) -> Cut:
        return self._cut(text)

    @torch.no_grad()
    def hidden(self, ids: Tensor) -> Tensor:
        """Ids [N, L], no longer than the context -> what leaves the last layer, projected: [N, L, D]."""
        model, length = self.model, ids.shape[1]
        x = model.token_embedding(ids) + model.positional_embedding[:length]
        mask = None if model.attn_mask is None else model.attn_mask[:length, :length]
        x = model.ln_final(model.transformer(x, attn_mask=mask))
        projection = model.text_projection
        return projection(x) if isinstance(projection, torch.nn.Module) else x @ projection

    def _texts(self, texts: Sequence[str]) -> Tensor:
        """Features [N, D] of whole texts, norm 1, read at the end token."""
        room = self.model.context_length - 1
        ids = [[*encoding.ids[:room], self.end] for encoding in self.tokenizer.encode_batch(list(texts))]
        ids = [row[:-1] if row[-2] == self.end else row for row in ids]
        rows, mask = padded(ids)
        device = self.model.positional_embedding.device
        hidden = self.hidden(rows.to(device))
        last = (mask.sum(1) - 1).to(device)
        return F.normalize(hidden[torch.arange(len(ids), device=device), last].float(), dim=-1)

    def phrases(self, texts: Sequence[str]) -> Tensor:
        """Features [N, D] of phrases, each read by itself, norm 1; remembered."""
        every = {text: PHRASE_FEATURES.get((self._key, text)) for text in texts}
        missing = sorted((text for text, feature in every.items() if feature is None), key=len)
        for start in range(0, len(missing), TEXTS_AT_ONCE):
            batch = missing[start : start + TEXTS_AT_ONCE]
            for text, feature in zip(batch, self._texts(batch), strict=True):
                every[text] = feature = feature.clone()  # not the whole batch with it
                PHRASE_FEATURES.put((self._key, text), feature, feature.nbytes)
        return torch.stack([feature for text in texts if (feature := every[text]) is not None])

    def _states(self, prompts: Sequence[Prompt]) -> list[Tensor]:
        """The hidden state of every word of each prompt, norm 1: [L, D]; a long prompt is read in pieces."""
        room = self.model.context_length - 2
        pieces = [
            [self.start, *prompt.cut.ids[at : at + room], self.end]
            for prompt in prompts
            for at in range(0, len(prompt.cut.ids), room)
        ]
        rows, mask = padded(pieces)
        states = F.normalize(self.hidden(rows.to(self.model.positional_embedding.device)).float(), dim=-1)
        own = [row[1 : int(kept.sum()) - 1] for row, kept in zip(states, mask, strict=True)]
        lengths = [len(prompt.cut.ids) for prompt in prompts]
        return list(torch.cat(own).split(lengths))

    def features(self, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        every = self.phrases([phrase.text for prompt in prompts for phrase in prompt.phrases])
        lengths = [max(len(prompt.cut.ids), 1) for prompt in prompts]
        device = every.device
        words = torch.zeros(len(prompts), max(lengths), every.shape[1], device=device)
        mask = torch.zeros(len(prompts), max(lengths), dtype=torch.bool, device=device)
        # Lists of labels have no words besides: nothing to read.
        loose = [p for p in prompts if {t for tokens in p.tokens for t in tokens} != {*range(len(p.cut.ids))}]
        states = dict(zip(map(id, loose), self._states(loose), strict=True)) if loose else {}
        at = 0
        for row, real, asked in zip(words, mask, prompts, strict=True):
            real[: len(asked.cut.ids)] = True
            if id(asked) in states:
                row[: len(asked.cut.ids)] = states[id(asked)]
            for feature, tokens in zip(every[at:], asked.tokens, strict=False):
                row[tokens] = feature
            at += len(asked.phrases)
        return words, mask


def load_vocabulary(paths: Mapping[str, Path], *_: Any) -> Path:
    """BERT's list of word pieces: the row has no weights, and whoever requires it reads the file."""
    return paths["vocab.txt"]
