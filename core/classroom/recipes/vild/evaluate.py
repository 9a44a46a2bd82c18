"""Measure a miniature ViLD: AP at IoU 0.5 of all five variants on new compositions, base and novel categories apart.

    python -m core.classroom evaluate vild --checkpoint classroom-vild [--json] [--record]

The 432 concepts are eight vocabularies of 54 names, one in five of them novel (no recipe gave them a box). A scene shows one
thing or a pair that no training scene composes, all of one vocabulary, and its labels are that vocabulary; "all names" asks for
all 432 in the same scenes. AP is COCO's, by pycocotools, mean over categories; things that are almost hidden are neither asked
for nor held against a box on them. Every variant looks at the same proposals.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core import checkpoints, runtime
from core.classroom.recipes.common.export import MEAN, STD
from core.classroom.recipes.common.fresh import row_of
from core.classroom.recipes.common.miniature import Miniature
from core.classroom.recipes.common.rows import Rows
from core.classroom.recipes.vild.train import CROP_SIDE, LEAST_SEEN, SCALE, SIZE
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.concepts import concepts, seen, unseen
from core.classroom.world.scenes import Scenes, render
from core.classroom.world.specs import SceneSettings, sample
from core.classroom.world.wording import LANGUAGES
from core.detection import boxes as of_boxes
from core.detection.regions import ensemble, probabilities
from core.detection.vild import VARIANTS, LoadedViLD, ViLD

GROUPS, SCENES, PART = 8, 48, 24
PROPOSALS = 60
SEED = 12_000
NAMES = dict(
    zip(VARIANTS, ("CLIP on crops", "ViLD-text", "ViLD-image", "ViLD", "ViLD-ensemble"), strict=True)
)


def vocabulary(group: int) -> list[int]:
    """The concepts of one of the eight vocabularies; a fifth of each is novel."""
    return [c.index for c in concepts() if c.index // 5 % GROUPS == group]


@dataclass(frozen=True)
class Looked:
    """One image after one pass."""

    boxes: Tensor  # [M, 4]
    proposals: Tensor  # [M, 4]
    objectness: Tensor  # [M]
    heads: dict[str, Tensor]  # [M, D]; "crops" among them


class Candidate:
    """A miniature ViLD, a bundled row or the folder of an export, in float32 on the CPU; with the features of all names."""

    def __init__(self, checkpoint: str) -> None:
        row = row_of(checkpoint, "vild")
        model = ViLD.load(row, "cpu", torch.float32)
        with model.use() as loaded:
            assert isinstance(loaded, LoadedViLD)
            self.net = loaded.net
        (tower,) = checkpoints.row(row).requires
        self.clip = Miniature(checkpoints.row(tower).folder)
        names = {lang: [c.name(lang) for c in concepts()] for lang in LANGUAGES}
        self.names = {lang: torch.from_numpy(model.encode_text(names[lang])) for lang in LANGUAGES}
        self.base = torch.zeros(len(concepts()), dtype=torch.bool)
        self.base[list(seen())] = True

    @torch.inference_mode()
    def look(self, pictures: Tensor, crops: bool = True) -> list[Looked]:
        """Pictures [B, 3, S, S] in 0..1, one pass each; CLIP on the crops of every proposal too where `crops`."""
        net, size = self.net, (pictures.shape[-2], pictures.shape[-1])
        levels = net.proposer.pyramid(net.pretrained((pictures - MEAN[0]) / STD[0])[1:])
        found, objectness, _ = net.proposer.propose(levels, size)
        found, objectness = ([part[:PROPOSALS] for part in parts] for parts in (found, objectness))
        regions = net.proposer.regions(levels, found, size)
        counts = [len(f) for f in found]
        columns = {name: head(regions).split(counts) for name, head in net.heads.items()}
        if crops:
            columns["crops"] = self.crops(pictures, found).split(counts)
        moved = net.refined(regions, torch.cat(found), size).split(counts)
        return [
            Looked(moved[i], found[i], objectness[i], {name: parts[i] for name, parts in columns.items()})
            for i in range(len(counts))
        ]

    def crops(self, pictures: Tensor, boxes: list[Tensor]) -> Tensor:
        """CLIP's embeddings [sum of M, D] of the crops at 1x and 1.5x, added and normalised."""
        total = torch.zeros(())
        for factor in of_boxes.SCALES:
            around = [of_boxes.enlarged(b, factor, pictures.shape[-1], pictures.shape[-2]) for b in boxes]
            total = total + self.clip.images(of_boxes.crops(pictures, around, CROP_SIDE))
        return F.normalize(total, dim=-1)

    @torch.inference_mode()
    def detect(
        self, looked: Looked, labels: Sequence[int], variant: str, lang: str, threshold: float = 0.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes [R, 4], places of `labels` [R] and scores [R] of one image."""
        texts, base = self.names[lang][list(labels)], self.base[list(labels)]
        grounds: Any = self.net.background

        def judged(head: str) -> Tensor:
            ground = grounds.get(head)
            return probabilities(looked.heads[head], texts, SCALE, ground)

        boxes = looked.boxes
        if variant == "ensemble":
            scores = ensemble(judged("text")[:, 1:], judged("image"), base)
        elif variant in grounds:
            scores = judged(variant)[:, 1:]
        else:
            scores = (judged(variant) * looked.objectness[:, None]).sqrt()
            boxes = looked.proposals if variant == "crops" else boxes
        box, label, score = of_boxes.choose(boxes, scores, threshold, 0.5, limit=100)
        return boxes[box], label, score


@dataclass(frozen=True)
class Exam:
    """Scenes of one vocabulary, looked at, with their truth."""

    labels: list[int]
    looked: list[Looked]
    boxes: Tensor  # [B, K, 4] visible
    concepts: Tensor  # [B, K]
    present: Tensor  # [B, K]
    hidden: Tensor  # [B, K] almost


def exam(model: Candidate, group: int, atlas: Atlas, count: int = SCENES, crops: bool = True) -> Exam:
    """New compositions of one vocabulary."""
    labels = vocabulary(group)
    settings = SceneSettings(
        kinds=(0.3, 0.7, 0, 0),
        looks=(1, 0, 0, 0, 0, 0),
        augment=0.4,
        poses=0.0,
        pairs="new",
        concepts=tuple(labels),
    )
    scenes: Scenes = render(sample(count, SEED + group, atlas, settings), atlas, SIZE)
    visible = scenes.visible.flatten(2).sum(-1) / scenes.amodal.flatten(2).sum(-1).clamp(min=1)
    looked = [one for part in scenes.picture.split(PART) for one in model.look(part, crops)]
    spec = scenes.spec
    return Exam(
        labels,
        looked,
        scenes.boxes(visible=True),
        spec.concept,
        spec.present & (visible > 0),
        visible < LEAST_SEEN,
    )


def average_precision(
    truth: list[dict[str, Any]], found: list[dict[str, Any]], pictures: int
) -> dict[int, float]:
    """COCO's AP at IoU 0.5 by category, of the categories that some image shows.

    Args:
        truth: COCO annotations.
        found: COCO results.
        pictures: how many; their ids are 0, 1, ...
    """
    COCO = runtime.optional("pycocotools.coco").COCO
    COCOeval = runtime.optional("pycocotools.cocoeval").COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in range(pictures)],
            "annotations": truth,
            "categories": [{"id": c.index} for c in concepts()],
        }
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(found), "bbox")
        judge.params.iouThrs = np.array([0.5])
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [100]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][0, :, :, 0, 0].mean(0)  # [K]; -1 where nothing is shown
    return {c: float(p) for c, p in zip(judge.params.catIds, precision, strict=True) if p > -1}


def xywh(box: Tensor) -> list[float]:
    """As COCO writes a box."""
    x0, y0, x1, y1 = box.tolist()
    return [x0, y0, x1 - x0, y1 - y0]


def measure(
    model: Candidate, exams: Sequence[Exam], variant: str, lang: str, every: bool = False
) -> dict[str, float]:
    """AP50 of base, of novel and of all categories; `every`: all names are asked for in every scene."""
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    picture = 0
    for one in exams:
        labels = list(range(len(concepts()))) if every else one.labels
        for i, looked in enumerate(one.looked):
            for k in torch.nonzero(one.present[i])[:, 0].tolist():
                box = xywh(one.boxes[i, k])
                hidden = int(one.hidden[i, k])
                truth.append(
                    {
                        "id": len(truth) + 1, "image_id": picture, "category_id": int(one.concepts[i, k]),
                        "bbox": box, "area": box[2] * box[3], "iscrowd": hidden,
                    }
                )  # fmt: skip
            for box, label, score in zip(*model.detect(looked, labels, variant, lang), strict=True):
                found.append(
                    {
                        "image_id": picture, "category_id": labels[int(label)], "bbox": xywh(box), "score": float(score),
                    }
                )  # fmt: skip
            picture += 1
    precision = average_precision(truth, found, picture)
    base = [p for c, p in precision.items() if model.base[c]]
    novel = [p for c, p in precision.items() if not model.base[c]]
    parts = {"base": base, "novel": novel, "all categories": [*base, *novel]}
    return {name: float(np.mean(part)) for name, part in parts.items()}


def covered(exams: Sequence[Exam]) -> tuple[float, float]:
    """Shares of the base and of the novel things that some proposal covers at IoU 0.5."""
    from torchvision.ops import box_iou

    hits: dict[bool, list[bool]] = {True: [], False: []}
    novel = set(unseen())
    for one in exams:
        for i, looked in enumerate(one.looked):
            for k in torch.nonzero(one.present[i] & ~one.hidden[i])[:, 0].tolist():
                overlap = box_iou(one.boxes[i, k][None].float(), looked.boxes).max()
                hits[int(one.concepts[i, k]) in novel].append(bool(overlap >= 0.5))
    return float(np.mean(hits[False])), float(np.mean(hits[True]))


def shown(model: Candidate, exams: Sequence[Exam], variant: str, threshold: float) -> dict[str, float]:
    """What a reader of the page sees: shares of base and of novel things whose box and name reach the threshold, and of the
    boxes shown that are right. AP ranks the boxes of one category and does not ask how sure they are; this does."""
    from torchvision.ops import box_iou

    found: dict[str, list[bool]] = {"base": [], "novel": []}
    right = boxes_shown = 0
    for one in exams:
        labels = torch.tensor(one.labels)
        for i, looked in enumerate(one.looked):
            boxes, label, _ = model.detect(looked, one.labels, variant, "en", threshold)
            things = torch.nonzero(one.present[i] & ~one.hidden[i])[:, 0]
            overlap = box_iou(one.boxes[i, things].float(), boxes)  # [K, R]
            match = (overlap >= 0.5) & (one.concepts[i, things][:, None] == labels[label][None])
            boxes_shown += len(boxes)
            right += int(match.any(0).sum())
            for concept, hit in zip(one.concepts[i, things].tolist(), match.any(1).tolist(), strict=True):
                found["base" if model.base[concept] else "novel"].append(hit)
    shares = {kind: float(np.mean(hits)) for kind, hits in found.items()}
    return {**shares, "right among shown": right / max(boxes_shown, 1)}


def evaluate(
    checkpoint: str, count: int = SCENES, groups: int = GROUPS, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """All measures as rows of the report card."""
    runtime.optional("pycocotools")  # before the work that its answer needs
    model, atlas = Candidate(checkpoint), open_atlas()
    thresholds = checkpoints.row("classroom-vild").options["thresholds"]
    rows = Rows("vild", checkpoint, say)

    exams = [exam(model, group, atlas, count) for group in range(groups)]
    for split, share in zip(("base", "novel"), covered(exams), strict=True):
        rows.add("covered by a proposal", split, "en", share)
    for variant in VARIANTS:
        for lang in LANGUAGES:
            for split, value in measure(model, exams, variant, lang).items():
                rows.add(f"AP50, 54 names: {split}", NAMES[variant], lang, value)
        for split, value in measure(model, exams, variant, "en", every=True).items():
            rows.add(f"AP50, all names: {split}", NAMES[variant], "en", value)
        for split, value in shown(model, exams, variant, thresholds[variant]).items():
            rows.add(f"at its threshold: {split}", NAMES[variant], "en", value)
    return rows.measured
