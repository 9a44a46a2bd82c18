"""Measure a miniature GLIP: phrases of captions, and lists of labels; concepts with boxes in training and without apart.

    python -m core.classroom evaluate glip --checkpoint classroom-glip [--json] [--record]

Scenes show one to four things; pairs are those that no training scene composes. All concepts of a scene are of one kind: seen
(some had boxes in training) or never seen (none had). Grounding: of each phrase of a caption the best box, right if it covers
by half (IoU 0.5) a thing that the phrase means; recall@1 as on Flickr30K in the paper. Detection: a list of the names of the
scene and 20 others from all concepts; COCO's AP at IoU 0.5, by pycocotools, mean over categories. Things of which almost nothing
is seen are neither asked for nor held against a box on them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from core import runtime
from core.classroom.recipes.common.export import MEAN, STD
from core.classroom.recipes.common.fresh import row_of
from core.classroom.recipes.common.rows import Rows
from core.classroom.recipes.glip.train import END, boxed, phrase_scores, word_table
from core.classroom.recipes.vild.evaluate import average_precision, xywh
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import concepts, seen, unseen
from core.classroom.world.grounded import Prompt as Said
from core.classroom.world.grounded import Prompter
from core.classroom.world.scenes import render
from core.classroom.world.specs import SceneSettings, Spec, sample
from core.classroom.world.wording import LANGUAGES
from core.detection.glip import boxes as of_boxes
from core.detection.glip import language
from core.detection.glip.grounding import GLIP, LoadedGLIP
from core.detection.glip.losses import overlaps

SIZE, SCENES, PART = 96, 192, 24
OTHERS = 20  # labels of a list that are of nothing
RIGHT = 0.5  # IoU
SEED = 17_000


class Candidate:
    """A miniature GLIP, a bundled row or the folder of an export, in float32 on the CPU."""

    def __init__(self, checkpoint: str) -> None:
        with GLIP.load(row_of(checkpoint, "glip"), "cpu", torch.float32).use() as loaded:
            assert isinstance(loaded, LoadedGLIP)
            self.net, self.reader = loaded.net, loaded.reader

    @torch.inference_mode()
    def features(self, pictures: Tensor) -> list[Tensor]:
        """[B, 3, S, S] in 0..1 -> levels, fine to coarse."""
        parts = [self.net.features((p - MEAN[0]) / STD[0]) for p in pictures.split(PART)]
        return [torch.cat(level) for level in zip(*parts, strict=True)]

    @torch.inference_mode()
    def look(self, levels: Sequence[Tensor], prompts: Sequence[Said]) -> Looked:
        """What is found for one prompt each."""
        asked = [language.prompt(self.reader, said.text, said.spans) for said in prompts]
        words, mask = self.reader.features(asked)
        table = word_table(asked, words.shape[1])
        parts = []
        for part in torch.arange(len(asked)).split(PART):
            said = self.net.head([level[part] for level in levels], words[part], mask[part])
            boxes = of_boxes.decode(said.deltas, self.net.anchors(said.shapes).float())
            parts.append((phrase_scores(said, table[part]), boxes))
        scores, boxes = (torch.cat(column) for column in zip(*parts, strict=True))
        return Looked(scores, boxes + END)


@dataclass(frozen=True)
class Looked:
    """Of all places R of B pictures: scores of phrases and boxes that end behind their last pixel."""

    scores: Tensor  # [B, R, P]
    boxes: Tensor  # [B, R, 4]


@dataclass(frozen=True)
class Exam:
    """Pictures of one kind of concept, encoded, with their truth."""

    levels: list[Tensor]
    spec: Spec
    boxes: Tensor  # [B, K, 4]
    present: Tensor  # [B, K]
    size: int


def exam(model: Candidate, which: Sequence[int], atlas: Atlas, count: int = SCENES, size: int = SIZE) -> Exam:
    """New compositions of these concepts, encoded."""
    settings = SceneSettings(
        kinds=(0.15, 0.55, 0.1, 0.2),
        looks=(1, 0, 0, 0, 0, 0),
        augment=0.4,
        poses=0.0,
        pairs="new",
        concepts=tuple(which),
    )
    scenes = render(sample(count, SEED, atlas, settings), atlas, size)
    return Exam(model.features(scenes.picture), scenes.spec, *boxed(scenes), size)


def grounding(model: Candidate, pictures: Exam, lang: str) -> float:
    """Recall@1: the share of phrases whose best box is on what they mean."""
    prompter, rng = Prompter(pictures.spec), random.Random(SEED)
    said = [prompter.caption(i, lang, rng, names=0.0) for i in range(len(prompter))]
    looked = model.look(pictures.levels, said)
    best = looked.scores.argmax(1)  # [B, P]
    chosen = looked.boxes.gather(1, best[..., None].expand(-1, -1, 4))
    iou, _ = overlaps(chosen[:, :, None], pictures.boxes[:, None])  # [B, P, K]
    meant = torch.zeros_like(iou, dtype=torch.bool)
    for b, prompt in enumerate(said):
        for phrase, slots in enumerate(prompt.slots):
            meant[b, phrase, list(slots)] = True
    meant &= pictures.present[:, None]
    right = ((iou >= RIGHT) & meant).any(-1)
    return float(right[meant.any(-1)].float().mean())


def detection(model: Candidate, pictures: Exam, lang: str, others: int = OTHERS) -> float:
    """AP50 of lists with names of nothing among them."""
    prompter, rng = Prompter(pictures.spec), random.Random(SEED)
    every = range(len(concepts()))
    said = [
        prompter.listing(i, lang, rng, every, len(prompter.slots(i)) + others, names=0.0)
        for i in range(len(prompter))
    ]
    looked = model.look(pictures.levels, said)
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for b, prompt in enumerate(said):
        for k in torch.nonzero(pictures.spec.present[b])[:, 0].tolist():
            box = xywh(pictures.boxes[b, k])
            truth.append(
                {
                    "id": len(truth) + 1, "image_id": b, "category_id": int(pictures.spec.concept[b, k]),
                    "bbox": box, "area": box[2] * box[3], "iscrowd": int(not pictures.present[b, k]),
                }
            )  # fmt: skip
        r, p = torch.nonzero(looked.scores[b] > of_boxes.CANDIDATE, as_tuple=True)
        scores, reach = looked.scores[b, r, p], looked.boxes[b, r].clamp(0, pictures.size)
        kept = batched_nms(reach, scores, p, of_boxes.SUPPRESSED)[:100]
        found += [
            {
                "image_id": b, "category_id": prompt.concepts[int(p[i])], "bbox": xywh(reach[i]), "score": float(scores[i]),
            }
            for i in kept.tolist()
        ]  # fmt: skip
    return float(np.mean(list(average_precision(truth, found, len(said)).values())))


def evaluate(
    checkpoint: str, count: int = SCENES, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """All measures as rows of the report card."""
    runtime.optional("pycocotools")  # before the work that its answer needs
    model, atlas = Candidate(checkpoint), open_atlas()
    rows = Rows("glip", checkpoint, say)

    for split, which in (("boxes seen", seen()), ("boxes never seen", unseen())):
        pictures = exam(model, which, atlas, count)
        for lang in LANGUAGES:
            rows.add("phrase grounding recall@1", split, lang, grounding(model, pictures, lang))
            rows.add("AP50, own labels and 20 others", split, lang, detection(model, pictures, lang))
    return rows.measured
