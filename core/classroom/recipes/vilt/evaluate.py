"""Measure a miniature ViLT on new scenes, in English and Chinese.

    python -m core.classroom evaluate vilt --checkpoint classroom-vilt [--json] [--record]

Answers are counted for each kind of question, beside those that the same model gives to the same questions without the image:
that is how far the words alone go. Matching sets a scene's caption against that of another scene; swapped captions tell the right
things the wrong way round. Of the alignment it is measured how much of a word's mass lies in the box of the thing that it names,
and how many times as much that is as an even plan would put there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.classroom.recipes.common.fresh import row_of
from core.classroom.recipes.common.rows import Rows, stamped
from core.classroom.recipes.vilt.texts import PAD, caption, caption_with_gap, differs
from core.classroom.world.atlas import open_atlas
from core.classroom.world.captions import Writer
from core.classroom.world.concepts import concepts
from core.classroom.world.questions import QUESTIONS, Questions, ask, scenes
from core.classroom.world.scenes import Scenes, render
from core.classroom.world.wording import LANGUAGES
from core.vqa.vilt.model import LoadedViLT, ViLT, aligned_words
from core.vqa.vilt.network import Reading, image_tokens

SCENES, ASKED, SEED, PART = 1000, 3000, 21_000, 64
ALIGNED = 200  # scenes of whose words the alignment is measured
SMALL = 0.25  # the share of the image that a box may have where the alignment is measured


class Candidate:
    """A miniature ViLT, a bundled row or the folder of an export, in float32 on the CPU."""

    def __init__(self, checkpoint: str) -> None:
        self.row = row_of(checkpoint, "vilt")
        self.model = ViLT.load(self.row, "cpu", torch.float32)

    @torch.inference_mode()
    def read(self, loaded: LoadedViLT, pixels: Tensor, texts: Sequence[Sequence[int]]) -> Reading:
        """Texts beside images [B, 3, H, W] in [0, 1]."""
        length = max(map(len, texts))
        ids = torch.tensor([[*text, *[PAD] * (length - len(text))] for text in texts])
        image = image_tokens(loaded.network.vilt, (pixels - 0.5) / 0.5)
        return loaded.network.read(ids, (ids != PAD).long(), image)

    @torch.inference_mode()
    def pooled(self, loaded: LoadedViLT, pixels: Tensor, scene: Tensor, texts: Sequence[str]) -> Tensor:
        """The pooled words [N, W] of texts, each beside the image of a scene."""
        ids = [loaded.ids(text)[0] for text in texts]
        parts = [
            self.read(loaded, pixels[scene[at : at + PART]], ids[at : at + PART]).pooled
            for at in range(0, len(ids), PART)
        ]
        return torch.cat(parts)


def answered(model: Candidate, loaded: LoadedViLT, pixels: Tensor, asked: Questions, lang: str) -> Tensor:
    """[Q] bool: which questions are answered rightly, in the plainest wording."""
    pooled = model.pooled(loaded, pixels, asked.scene, asked.texts(lang))
    return loaded.network.answers(pooled).argmax(1) == asked.answer


def matched(
    model: Candidate, loaded: LoadedViLT, pixels: Tensor, writer: Writer, lang: str
) -> dict[str, float]:
    """The shares of captions that are told right: those of their scene and of another, and swapped ones."""
    rng = random.Random(SEED)
    count = len(writer)
    others = [
        next(j for j in (rng.randrange(count) for _ in range(100)) if differs(writer, i, j))
        for i in range(count)
    ]
    scene = torch.arange(count)
    true = [caption(writer, i, lang, False) for i in range(count)]
    own = model.pooled(loaded, pixels, scene, true)
    other = model.pooled(loaded, pixels, scene, [true[j] for j in others])
    pairs = [(i, swapped) for i in range(count) if (swapped := writer.content(i, lang).swapped)]
    wrong = model.pooled(loaded, pixels, torch.tensor([i for i, _ in pairs]), [text for _, text in pairs])
    fits, misses, swaps = (loaded.network.matches(pooled) for pooled in (own, other, wrong))
    order = own[[i for i, _ in pairs]]
    return {
        "caption of the scene or of another": float(
            ((fits > 0).float().mean() + (misses < 0).float().mean()) / 2
        ),
        "caption or the same one swapped": float((loaded.network.matches(order) > swaps).float().mean()),
    }


@torch.inference_mode()
def filled(
    model: Candidate, loaded: LoadedViLT, pixels: Tensor, writer: Writer, lang: str
) -> dict[str, float]:
    """A name in each caption is hidden as a whole: the share of words that are found, and of names all of whose words are.
    Words of Chinese are single characters."""
    rng = random.Random(SEED)
    words: list[bool] = []
    names: list[bool] = []
    for start in range(0, len(writer), PART):
        rows, ids, hidden = range(start, min(start + PART, len(writer))), [], []
        for i in rows:
            text, span, _ = caption_with_gap(writer, i, lang, rng)
            encoding = loaded.library.encode(text)
            first = text.rindex(span)
            inside = [first <= a < b <= first + len(span) for a, b in encoding.offsets]
            ids.append([loaded.mask if at else one for one, at in zip(encoding.ids, inside, strict=True)])
            hidden.append([one if at else -1 for one, at in zip(encoding.ids, inside, strict=True)])
        reading = model.read(loaded, pixels[list(rows)], ids)
        guesses = loaded.network.written(reading.words).argmax(-1).tolist()
        for line, wanted in zip(guesses, hidden, strict=True):
            right = [guess == one for guess, one in zip(line, wanted, strict=False) if one >= 0]
            words += right
            names.append(all(right))
    return {"each word": sum(words) / len(words), "all words right": sum(names) / len(names)}


@torch.inference_mode()
def lifts(model: Candidate, loaded: LoadedViLT, drawn: Scenes, asked: Questions, lang: str) -> list[float]:
    """How many times as much of a word's mass as of an even plan lies in the box of the thing that it names; one for each of the
    questions that name one thing whose box is small."""
    boxes = drawn.boxes()
    side = drawn.picture.shape[-1]
    found: list[float] = []
    for row in range(len(asked)):
        scene, slot = int(asked.scene[row]), int(asked.first[row])
        if slot < 0 or int(asked.a[row]) < 0 or int(asked.b[row]) >= 0:
            continue
        name = concepts()[int(asked.a[row])].name(lang)
        text = asked.take(torch.tensor([row])).texts(lang)[0]
        encoding = loaded.library.encode(text)
        if name not in text:
            continue
        start = text.rindex(name)
        own = [k for k, (a, b) in enumerate(encoding.offsets) if start <= a < b <= start + len(name)]
        inside = inside_box(boxes[scene, slot].tolist(), side, loaded)
        # A plural is a word of its own.
        if not own or not 0 < inside.mean() <= SMALL:
            continue
        reading = model.read(loaded, drawn.picture[scene][None], [encoding.ids])
        grid = (inside.shape[0], inside.shape[1])
        share = aligned_words(reading, encoding.ids, encoding.tokens, grid).share
        mass = share[[k - 1 for k in own]].mean(0)
        found.append(float((mass * inside).sum() / inside.mean()))
        if len(found) == ALIGNED:
            break
    return found


def inside_box(box: Sequence[float], side: int, loaded: LoadedViLT) -> np.ndarray:
    """[h, w] which share of each patch lies in a box of an image of this side."""
    count = side // loaded.patch
    edges = np.arange(count + 1) * loaded.patch

    def covered(low: float, high: float) -> np.ndarray:
        return np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) / loaded.patch

    return covered(box[1], box[3])[:, None] * covered(box[0], box[2])[None]


def evaluate(
    checkpoint: str, count: int = SCENES, questions: int = ASKED, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """All measures as rows of the report card."""
    model = Candidate(checkpoint)
    rows = Rows("vilt", checkpoint, say)
    atlas = open_atlas()
    spec = scenes(count, SEED, atlas)
    drawn = render(spec, atlas, 64)
    asked = ask(spec, questions, SEED)
    writer = Writer(spec, atlas.mono, forward=True)
    with model.model.use() as loaded:
        for lang in LANGUAGES:
            with torch.inference_mode():
                seen = answered(model, loaded, drawn.picture, asked, lang)
                blind = answered(model, loaded, torch.full_like(drawn.picture, 128 / 255), asked, lang)
            for at, kind in enumerate(QUESTIONS):
                of_kind = asked.kind == at
                rows.add(f"answers: {kind}", "with the image", lang, float(seen[of_kind].float().mean()))
                rows.add(f"answers: {kind}", "without the image", lang, float(blind[of_kind].float().mean()))
            for split, value in matched(model, loaded, drawn.picture, writer, lang).items():
                rows.add("matching", split, lang, value)
            for split, value in filled(model, loaded, drawn.picture, writer, lang).items():
                rows.add("masked names", split, lang, value)
            measured = lifts(model, loaded, drawn, asked, lang)
            value = round(float(np.mean(measured)), 3)
            row = {
                "paper": "vilt", "measure": "alignment: mass in the box, times an even plan",
                "split": "things in boxes below a quarter of the image", "language": lang,
                "value": value, "unit": "ratio",
            }  # fmt: skip
            command = rows.measured[0]["command"]
            rows.measured.append(stamped(row, checkpoint, command))
            say(f"{row['measure']:44} {lang}  {value:.3f}")
    return rows.measured
