"""The words of the miniature ViLT, and the texts that it learns from: questions, captions true and false, captions with a gap."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from torch.nn import functional as F

from core.classroom.world.atlas import Atlas
from core.classroom.world.captions import Writer
from core.classroom.world.concepts import concepts
from core.classroom.world.factors import FACTORS, framed
from core.classroom.world.questions import QUESTIONS, Questions, question_corpus, worded
from core.classroom.world.specs import KINDS, Spec
from core.classroom.world.vocabulary import corpus
from core.classroom.world.wording import LANGUAGES, many, plural

PAD, UNKNOWN, FIRST, LAST, MASK = range(5)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
SWAPPED = 0.25  # of the false captions of pairs, how many tell the right things the wrong way round
GROUNDED = 0.3  # how many captions name the ground


@dataclass(frozen=True)
class Shares:
    """How often which text stands beside an image.

    gaps: of the captions beside several texts, how many have a gap, the others are to be matched. questions, fits: of the texts
    that stand alone beside an image, how many are questions, and how many are captions to match; the others have a gap.
    """

    gaps: float = 0.5
    questions: float = 0.64
    fits: float = 0.18


class Tokens:
    """BERT's way of cutting texts into words, with the words of the classroom: English ones whole, Chinese ones by characters.

    A word that the classroom lacks is spelled.
    """

    def __init__(self) -> None:
        normalizer = normalizers.BertNormalizer(lowercase=True)
        cutter = pre_tokenizers.BertPreTokenizer()
        words = {
            word
            for line in (*corpus(), *question_corpus())
            for word, _ in cutter.pre_tokenize_str(normalizer.normalize_str(line))
        }
        pieces = [*LETTERS, *(f"##{letter}" for letter in LETTERS)]
        self.names = (*SPECIAL, *pieces, *sorted(words - set(pieces) - set(SPECIAL)))
        table = {name: at for at, name in enumerate(self.names)}
        self.library = Tokenizer(models.WordPiece(table, unk_token="[UNK]", max_input_chars_per_word=40))
        self.library.normalizer = normalizer
        self.library.pre_tokenizer = cutter
        self.library.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", FIRST), ("[SEP]", LAST)]
        )
        self.library.add_special_tokens(list(SPECIAL))

    def __len__(self) -> int:
        return len(self.names)

    def padded(self, texts: Sequence[Sequence[int]], longest: int) -> Tensor:
        """Ids [N, L], padded to the longest and cut to `longest`."""
        length = min(longest, max(map(len, texts)))
        rows = [list(ids[:length]) + [PAD] * (length - len(ids)) for ids in texts]
        return torch.tensor(rows, dtype=torch.long)

    def hide(self, text: str, span: str) -> tuple[list[int], list[int]]:
        """The ids of a text whose `span` is masked as a whole, and what is hidden at each place, -1 elsewhere."""
        encoding = self.library.encode(text)
        start = text.rindex(span)
        inside = [start <= first < last <= start + len(span) for first, last in encoding.offsets]
        ids = [MASK if at else one for one, at in zip(encoding.ids, inside, strict=True)]
        return ids, [one if at else -1 for one, at in zip(encoding.ids, inside, strict=True)]

    def naming(self, ids: Sequence[int], which: Iterable[int]) -> list[int]:
        """Which of some concepts each word of a text is part of the name of, -1 for none; long names come before short ones."""
        found = [-1] * len(ids)
        forms = [(form, index) for index in which for form in self.forms[index]]
        for form, index in sorted(forms, key=lambda one: -len(one[0])):
            for at in range(len(ids) - len(form) + 1):
                place = slice(at, at + len(form))
                if tuple(ids[place]) == form and max(found[place]) < 0:
                    found[place] = [index] * len(form)
        return found

    @cached_property
    def forms(self) -> list[set[tuple[int, ...]]]:
        """The ids of each concept's name in both languages, and of its plural."""
        return [
            {
                tuple(self.library.encode(word, add_special_tokens=False).ids)
                for word in (c.en, c.zh, plural(c.en), many(c))
            }
            for c in concepts()
        ]

    def parts(self, lang: str) -> Tensor:
        """[C, V] which words each concept's name in a language is made of; the rows sum to one."""
        table = torch.zeros(len(concepts()), len(self))
        for c in concepts():
            ids = self.library.encode(c.name(lang), add_special_tokens=False).ids
            table[c.index].index_add_(0, torch.tensor(ids), torch.full((len(ids),), 1 / len(ids)))
        return table

    @cached_property
    def of_names(self) -> dict[int, list[tuple[int, str]]]:
        """Id -> the concepts that it names a part of, each with the language."""
        found: dict[int, list[tuple[int, str]]] = {}
        for c in concepts():
            for lang in LANGUAGES:
                words = (c.name(lang), plural(c.en)) if lang == "en" else (c.zh,)
                for word in words:
                    for one in self.library.encode(word, add_special_tokens=False).ids:
                        found.setdefault(one, []).append((c.index, lang))
        return found


def names_of(tokens: Tokens, texts: Callable[[Sequence[str]], Tensor]) -> Tensor:
    """What a text tower says of the names that each word is a part of, their mean over all names taken away: [V, D]; zero for
    words that are part of none."""
    spoken = {lang: texts([c.name(lang) for c in concepts()]) for lang in LANGUAGES}
    centred = {lang: features - features.mean(0) for lang, features in spoken.items()}
    table = torch.zeros(len(tokens), centred["en"].shape[1])
    for one, named in tokens.of_names.items():
        mean = torch.stack([centred[lang][at] for at, lang in named]).mean(0)
        table[one] = F.normalize(mean, dim=0)
    return table


@dataclass(frozen=True)
class Written:
    """Texts beside images: K for each of B."""

    ids: Tensor  # [B, K, L]
    answer: Tensor  # [B, K] the answer to a question, -1 for what is none
    kind: Tensor  # [B, K] index into QUESTIONS, -1 for what is none
    fit: Tensor  # [B, K] 1 for a caption of the image, 0 for one of another, -1 for what is none
    hidden: Tensor  # [B, K, L] the words that are masked, -1 elsewhere
    named: Tensor  # [B, K, L] the concept whose name a word is part of, hidden ones too, -1 elsewhere


@dataclass
class _Text:
    ids: list[int]
    answer: int = -1
    kind: int = -1
    fit: int = -1
    hidden: list[int] | None = None
    names: Sequence[int] = ()  # the concepts that it may name
    gap: int = -1  # the concept whose name is hidden


def write(
    tokens: Tokens,
    spec: Spec,
    atlas: Atlas,
    asked: Questions,
    rows: Tensor,
    captions: int,
    rng: random.Random,
    alone: bool,
    shares: Shares = Shares(),
    longest: int = 24,
) -> Written:
    """Texts for the images of a spec, each in English or Chinese.

    Args:
        asked, rows: questions, and which of them [B, each] stand beside an image, -1 for none.
        captions: how many captions stand beside them, to match or to fill in.
        alone: one text for each image, a question or a caption.
        shares: of questions, captions to match and captions to fill in.
    """
    writer = Writer(spec, atlas.mono, forward=True)
    columns = {name: getattr(asked, name).tolist() for name in ("kind", "a", "b", "general", "answer")}
    every: list[list[_Text]] = []
    pending: list[tuple[_Text, str]] = []

    def question(at: int, i: int) -> _Text:
        lang = rng.choice(LANGUAGES)
        if at < 0:
            return matched(i)
        text = worded(
            QUESTIONS[columns["kind"][at]],
            lang,
            columns["a"][at],
            columns["b"][at],
            columns["general"][at],
            rng,
        )
        names = [one for one in (columns["a"][at], columns["b"][at]) if one >= 0]
        made = _Text([], answer=columns["answer"][at], kind=columns["kind"][at], names=names)
        pending.append((made, text))
        return made

    def matched(i: int) -> _Text:
        text, fit, j = caption_to_match(writer, i, rng.choice(LANGUAGES), rng)
        made = _Text([], fit=fit, names=shown(writer, j))
        pending.append((made, text))
        return made

    def gapped(i: int) -> _Text:
        text, span, index = caption_with_gap(writer, i, rng.choice(LANGUAGES), rng)
        ids, hidden = tokens.hide(text, span)
        return _Text(ids, hidden=hidden, names=shown(writer, i), gap=index)

    for i, chosen in enumerate(rows.tolist()):
        if alone:
            roll = rng.random()
            told = matched if roll < shares.questions + shares.fits else gapped
            every.append([question(chosen[0], i) if roll < shares.questions else told(i)])
        else:
            beside = [gapped(i) if rng.random() < shares.gaps else matched(i) for _ in range(captions)]
            every.append([question(at, i) for at in chosen] + beside)
    encodings = tokens.library.encode_batch_fast([text for _, text in pending])
    for (made, _), encoding in zip(pending, encodings, strict=True):
        made.ids = encoding.ids
    # Beside each image the short texts come first, so that most of the padding falls on the same places.
    flat = [text for texts in every for text in sorted(texts, key=lambda text: len(text.ids))]
    shape = (len(every), len(every[0]))
    ids = tokens.padded([text.ids for text in flat], longest)
    hidden, named = torch.full_like(ids, -1), torch.full_like(ids, -1)
    for at, text in enumerate(flat):
        names = torch.tensor(tokens.naming(text.ids, text.names)[: ids.shape[1]])
        named[at, : len(names)] = names
        if text.hidden is not None:
            kept = torch.tensor(text.hidden[: ids.shape[1]])
            hidden[at, : len(kept)] = kept
            named[at, : len(kept)][kept >= 0] = text.gap
    return Written(
        ids.view(*shape, -1),
        torch.tensor([text.answer for text in flat]).view(shape),
        torch.tensor([text.kind for text in flat]).view(shape),
        torch.tensor([text.fit for text in flat]).view(shape),
        hidden.view(*shape, -1),
        named.view(*shape, -1),
    )


def caption(writer: Writer, i: int, lang: str, grounded: bool) -> str:
    """The plain caption of a scene, with its ground where that can be seen and is wanted."""
    text = writer.content(i, lang).text
    at = list(FACTORS).index("ground")
    ground = writer.values[i][at]
    return framed(text, {"ground": ground}, lang) if grounded and ground >= 0 else text


def shown(writer: Writer, i: int) -> Sequence[int]:
    """The concepts in scene i."""
    return writer.concept[i][: writer.number[i]]


def caption_to_match(writer: Writer, i: int, lang: str, rng: random.Random) -> tuple[str, int, int]:
    """A caption of scene i and 1, or one of another scene, or of the same things the wrong way round, and 0; and the scene whose
    things it names."""
    if rng.random() < 0.5:
        return caption(writer, i, lang, rng.random() < GROUNDED), 1, i
    swapped = writer.content(i, lang).swapped
    if swapped is not None and rng.random() < SWAPPED:
        return swapped, 0, i
    others = [j for j in (rng.randrange(len(writer)) for _ in range(4)) if differs(writer, i, j)]
    if not others:
        return caption(writer, i, lang, rng.random() < GROUNDED), 1, i
    return caption(writer, others[0], lang, rng.random() < GROUNDED), 0, others[0]


def differs(writer: Writer, i: int, j: int) -> bool:
    """Whether two scenes show different things."""
    mine, theirs = (sorted(writer.concept[at][: writer.number[at]]) for at in (i, j))
    return mine != theirs


def caption_with_gap(writer: Writer, i: int, lang: str, rng: random.Random) -> tuple[str, str, int]:
    """A caption of scene i, the name in it that is to be hidden, and the concept that has this name."""
    text = caption(writer, i, lang, rng.random() < GROUNDED)
    slot = rng.randrange(writer.number[i])
    concept = concepts()[writer.concept[i][slot]]
    if KINDS[writer.kind[i]] == "flock" and lang == "en":
        return text, many(concept), concept.index
    return text, concept.name(lang), concept.index
