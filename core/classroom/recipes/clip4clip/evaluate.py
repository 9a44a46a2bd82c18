"""Measure a miniature CLIP4Clip on new clips: captions of content, captions of order, every head.

    python -m core.classroom evaluate clip4clip --checkpoint classroom-clip4clip [--json] [--record]

Among 256 clips that no training has seen a caption of content ("a dog and a tree on grass") has to find its clip; a clip of
which it is true counts. A caption of order is one of two that differ in the direction alone ("from left to right", "from right
to left"): the clip chooses, and chance is one half. The mean of the frames cannot know the order: if it does, the test leaks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from core.classroom.recipes.common.clip_sets import ClipSet, encode_clips
from core.classroom.recipes.common.fresh import row_of
from core.classroom.recipes.common.miniature import Miniature, export_folder, tower_folder
from core.classroom.recipes.common.rows import Rows
from core.classroom.world.atlas import open_atlas
from core.classroom.world.clips import ClipSettings
from core.classroom.world.concepts import seen, unseen
from core.classroom.world.wording import LANGUAGES
from core.video.clip4clip.retriever import VideoRetriever, headers

CLIPS, CHOICES = 256, 512
SEED = 12_000
PARTS = 64  # clips that a tight head compares at once
CHOOSING = 8  # clips that choose at once: every one is compared with the sentences of all of them


class Candidate:
    """A miniature CLIP4Clip, a bundled row or the folder of an export, in float32 on the CPU."""

    def __init__(self, checkpoint: str) -> None:
        self.row = row_of(checkpoint, "clip4clip")
        self.model = VideoRetriever.load(self.row, "cpu", torch.float32)
        self.headers = headers(self.row)
        self.tower = Miniature(tower_folder(export_folder(checkpoint)))

    @torch.inference_mode()
    def logits(self, header: str, texts: list[str], clips: ClipSet) -> Tensor:
        """[N, B] of sentences and clips."""
        frames = clips.features.float()
        mask = torch.ones(frames.shape[:2])
        with self.model.video() as loaded:
            features = torch.from_numpy(self.model.encode_text(texts))
            head: Any = loaded.heads[header]
            parts = [
                head(features, part, mask[: len(part)], loaded.encoder.logit_scale)
                for part in frames.split(PARTS)
            ]
        return torch.cat(parts, 1)

    @torch.inference_mode()
    def choose(self, header: str, told: list[str], false: list[str], clips: ClipSet) -> Tensor:
        """[N] whether each clip fits its own sentence better than the other one."""
        right = []
        for start in range(0, len(clips), CHOOSING):
            some = clips.take(range(start, min(start + CHOOSING, len(clips))))
            own = range(start, start + len(some))
            wanted = list(dict.fromkeys(text for at in own for text in (told[at], false[at])))
            table = self.logits(header, wanted, some)
            here = {text: at for at, text in enumerate(wanted)}
            right += [table[here[told[at]], i] > table[here[false[at]], i] for i, at in enumerate(own)]
        return torch.stack(right)


def exam(tower: Miniature, count: int, seed: int, known: bool = True, directed: bool = False) -> ClipSet:
    """New clips of things that were seen moving, or that never were; `directed`: of motions that have an opposite."""
    from core.classroom.world.motions import OPPOSITES

    motions = tuple(OPPOSITES) if directed else ()
    settings = ClipSettings(concepts=seen() if known else unseen(), motions=motions)
    return encode_clips(tower, count, seed, open_atlas(), settings)


def recall(logits: Tensor, truth: Tensor, k: int = 1) -> float:
    """The share of sentences one of whose k best clips is a right one; [N, B] each."""
    best = logits.topk(k, dim=1).indices
    return float(truth.gather(1, best).amax(1).mean())


def both(
    model: Candidate, header: str, clips: ClipSet, pairs: ClipSet, lang: str = "en"
) -> tuple[float, float]:
    """R@1 of whole captions, and the share of right choices between two directions."""
    every = range(len(clips))
    captions = clips.sentences(every, ["whole"] * len(clips), lang, [0] * len(clips))
    truth = clips.truth(every, ["whole"] * len(clips), every)
    found = recall(model.logits(header, [caption.text for caption in captions], clips), truth)
    told = pairs.sentences(range(len(pairs)), ["order"] * len(pairs), lang, [0] * len(pairs))
    right = model.choose(header, [c.text for c in told], [str(c.swapped) for c in told], pairs)
    return found, float(right.float().mean())


def evaluate(
    checkpoint: str, count: int = CLIPS, choices: int = CHOICES, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """All measures as rows of the report card."""
    model = Candidate(checkpoint)
    rows = Rows("clip4clip", checkpoint, say)
    clips = exam(model.tower, count, SEED)
    pairs = exam(model.tower, choices, SEED + 1, directed=True)
    every = list(range(len(clips)))
    for header in model.headers:
        for lang in LANGUAGES:
            for kind in ("content", "whole"):
                captions = clips.sentences(every, [kind] * len(clips), lang, [0] * len(clips))
                truth = clips.truth(every, [kind] * len(clips), every)
                logits = model.logits(header, [caption.text for caption in captions], clips)
                measure = (
                    "caption of content finds its clip, R@1"
                    if kind == "content"
                    else "whole caption finds its clip, R@1"
                )
                rows.add(measure, header, lang, recall(logits, truth))
            told = pairs.sentences(range(len(pairs)), ["order"] * len(pairs), lang, [0] * len(pairs))
            right = model.choose(header, [c.text for c in told], [str(c.swapped) for c in told], pairs)
            rows.add("two captions that differ in the direction", header, lang, float(right.float().mean()))
    return rows.measured
