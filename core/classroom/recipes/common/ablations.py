"""The rows of an ablation, each trained for the same few steps from the same seed; numbers alone are kept.

    python -m core.classroom ablate lseg --steps 200 [--record]         none, bottleneck and depthwise 1, 2, 4 times
    python -m core.classroom ablate groupvit --steps 80 [--record]      group tokens 64-8, 32-8, 64, 8
    python -m core.classroom ablate glip --steps 300 [--record]         without and with deep fusion, teacher and student
    python -m core.classroom ablate clip4clip --steps 300 [--record]    four heads trained on 100, 1,000 and 10,000 clips
    python -m core.classroom ablate actionclip --steps 300 [--record]   prompts of the network; the KL loss and cross-entropy

LSeg's is the paper's table 6 (section 5.4: regularization blocks), GroupViT's its table 2 (section 4.2: group tokens), GLIP's its
table 2 (deep fusion: GLIP-T (A) against (B)) and section 3.4 (a teacher's boxes for captions). A row here sees a small part of
what the shipped miniature saw, so rows are compared with each other and with nothing else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.classroom.recipes.actionclip import evaluate as evaluate_actionclip
from core.classroom.recipes.actionclip import train as actionclip
from core.classroom.recipes.clip4clip import evaluate as evaluate_clip4clip
from core.classroom.recipes.clip4clip import train as clip4clip
from core.classroom.recipes.common.clip_sets import SEEDS, encode_clips
from core.classroom.recipes.common.miniature import Miniature, export_folder
from core.classroom.recipes.common.rows import stamped
from core.classroom.recipes.glip import evaluate as evaluate_glip
from core.classroom.recipes.glip import train as glip
from core.classroom.recipes.groupvit import evaluate as evaluate_groupvit
from core.classroom.recipes.groupvit import train as groupvit
from core.classroom.recipes.lseg import evaluate as evaluate_lseg
from core.classroom.recipes.lseg import train as lseg
from core.classroom.world.atlas import open_atlas
from core.classroom.world.concepts import seen, unseen
from core.segmentation.blocks import Kind
from core.video.actionclip.heads import POSTS

BLOCKS: tuple[tuple[Kind, int], ...] = (
    ("none", 0),
    ("bottleneck", 1), ("bottleneck", 2), ("bottleneck", 4),
    ("depthwise", 1), ("depthwise", 2), ("depthwise", 4),
)  # fmt: skip
GROUPS: tuple[tuple[int, ...], ...] = ((64, 8), (32, 8), (64,), (8,))
SCENES = 192
SIZES = (100, 1_000, 10_000)  # clips of a training
SEEDS_OF_ROWS = (0, 1, 2)
# ActionCLIP's prompts of the network, each alone and together; all on one tower.
NETWORK_PROMPTS: dict[str, dict[str, Any]] = {
    "none": {"post": "meanP"},
    "pre": {"post": "meanP", "pre": "position"},
    "in": {"post": "meanP", "shift": 8},
    "post": {"post": "Transf"},
    "pre + in": {"post": "meanP", "pre": "position", "shift": 8},
    "pre + post": {"post": "Transf", "pre": "position"},
    "in + post": {"post": "Transf", "shift": 8},
    "pre + in + post": {"post": "Transf", "pre": "position", "shift": 8},
}
FEW, MANY = 128, 100  # scenes with boxes, of the teacher; labels of nothing in a long list
Measured = tuple[str, str, float]  # what, of which row, how much


def lseg_rows(steps: int, out: Path, scenes: int = SCENES) -> Iterator[Measured]:
    """mIoU with and without training masks of every regularization block."""
    atlas = open_atlas()
    for block, depth in BLOCKS:
        folder = out / f"{block}{depth}"
        trained = lseg.Trainer(lseg.Settings(block=block, depth=depth, steps=steps, out=folder), atlas)
        model = evaluate_lseg.Candidate(str(trained.run(lambda _: None)))
        name = block if block == "none" else f"{block} x {depth}"
        for split, which in (("seen", seen()), ("never seen", unseen())):
            pictures = evaluate_lseg.exam(model, which, atlas, scenes)
            iou = evaluate_lseg.measure(model, pictures, evaluate_lseg.DISTRACTORS, "en")
            yield f"ablation of blocks: mIoU, {split}", name, iou.mean


def groupvit_rows(steps: int, out: Path, scenes: int = SCENES) -> Iterator[Measured]:
    """Foreground mIoU, as named and with right names, of every choice of group tokens."""
    atlas = open_atlas()
    for groups in GROUPS:
        name = "-".join(map(str, groups))
        trained = groupvit.Trainer(groupvit.Settings(groups=groups, steps=steps, out=out / name), atlas)
        model = evaluate_groupvit.Candidate(str(trained.run(lambda _: None)))
        found, right, _ = evaluate_groupvit.measure(model, atlas, evaluate_groupvit.SINGLES, scenes, "en")
        yield "ablation of group tokens: foreground mIoU", name, found
        yield "ablation of group tokens: the same, oracle labels", name, right


def glip_rows(steps: int, out: Path, scenes: int = SCENES) -> Iterator[Measured]:
    """Recall@1 of phrases and AP50 of lists: of detectors with boxes alone, without and with fusion; then of a teacher with
    few boxes and its student, for equal steps."""
    atlas = open_atlas()

    def measured(folder: Path) -> Iterator[tuple[str, float]]:
        model = evaluate_glip.Candidate(str(folder))
        for split, which in (("seen", seen()), ("never seen", unseen())):
            pictures = evaluate_glip.exam(model, which, atlas, scenes)
            yield f"recall@1, {split}", evaluate_glip.grounding(model, pictures, "en")
            yield f"AP50, {split}", evaluate_glip.detection(model, pictures, "en")
            yield f"AP50 of {MANY} others, {split}", evaluate_glip.detection(model, pictures, "en", MANY)

    for fusion in (False, True):
        name = "with fusion" if fusion else "without fusion"
        settings = glip.Settings(fusion=fusion, student=False, out=out / name, steps=steps)
        for what, value in measured(glip.Trainer(settings, atlas).run(lambda _: None)):
            yield f"ablation of fusion: {what}", name, value
    settings = glip.Settings(gold=FEW, out=out / "both", steps=2 * steps)
    student = glip.Trainer(settings, atlas).run(lambda _: None)
    for name, folder in (("teacher", out / "both" / "teacher"), ("student", student)):
        for what, value in measured(folder):
            yield f"ablation of self-training: {what}", name, value


def clip4clip_rows(
    steps: int, out: Path, sizes: tuple[int, ...] = SIZES, seeds: tuple[int, ...] = SEEDS_OF_ROWS
) -> Iterator[Measured]:
    """R@1 of whole captions and the choice between two directions, of every head after so many clips: means over seeds, and how
    far apart the seeds are. All runs share the first clips of one set, encoded once."""
    base = clip4clip.Settings()
    tower = Miniature(export_folder(base.clip))
    clips = encode_clips(tower, max(sizes), SEEDS, open_atlas(), base.world)
    exam = evaluate_clip4clip.exam(tower, evaluate_clip4clip.CLIPS, evaluate_clip4clip.SEED)
    pairs = evaluate_clip4clip.exam(
        tower, evaluate_clip4clip.CLIPS, evaluate_clip4clip.SEED + 1, directed=True
    )
    for size in sizes:
        for header in clip4clip.HEADERS:
            found = []
            for seed in seeds:
                settings = clip4clip.Settings(
                    headers=(header,), clips=size, steps=steps, seed=seed, out=out / f"{header}-{size}-{seed}"
                )
                folder = clip4clip.Trainer(settings, open_atlas(), clips).run(lambda _: None)
                model = evaluate_clip4clip.Candidate(str(folder))
                found.append(evaluate_clip4clip.both(model, header, exam, pairs))
            for at, name in enumerate(
                ("whole caption finds its clip, R@1", "two captions that differ in the direction")
            ):
                values = [one[at] for one in found]
                yield f"trained on {size} clips: {name}", header, sum(values) / len(values)
                if len(values) > 1:
                    yield (
                        f"trained on {size} clips: {name}, spread of seeds",
                        header,
                        max(values) - min(values),
                    )


def actionclip_rows(steps: int, out: Path, seeds: tuple[int, ...] = SEEDS_OF_ROWS) -> Iterator[Measured]:
    """Top-1 over the trained motions on things never seen moving: of every post-network prompt, of the prompts of the network
    alone and together, and of both losses with three seeds."""
    base = actionclip.Settings()
    trained = evaluate_actionclip.exam(actionclip.trained_motions())
    clips = encode_clips(Miniature(export_folder(base.clip)), base.clips, SEEDS, open_atlas(), base.world)

    def top1(name: str, **changes: Any) -> float:
        settings = actionclip.variant(base, steps=steps, out=out / name, **changes)
        shared = None if settings.has_tower else clips
        model = evaluate_actionclip.Candidate(
            str(actionclip.Trainer(settings, open_atlas(), shared).run(lambda _: None))
        )
        features = model.clips(trained)
        return evaluate_actionclip.top1(model, features, trained, actionclip.trained_motions(), "en")

    for post in POSTS:
        yield "ablation of post-network prompts: motion top-1", post, top1(post, post=post)
    for loss in ("kl", "ce"):
        values = [top1(f"{loss}-{seed}", loss=loss, seed=seed) for seed in seeds]
        yield "ablation of the loss: motion top-1", loss, sum(values) / len(values)
        yield "ablation of the loss: motion top-1, spread of seeds", loss, max(values) - min(values)
    for name, changes in NETWORK_PROMPTS.items():
        yield (
            "ablation of prompts: motion top-1",
            name,
            top1(name.replace(" + ", "-"), clip=actionclip.TOWER, **changes),
        )


ROWS: dict[str, Callable[[int, Path], Iterator[Measured]]] = {
    "lseg": lseg_rows,
    "groupvit": groupvit_rows,
    "glip": glip_rows,
    "clip4clip": clip4clip_rows,
    "actionclip": actionclip_rows,
}


def ablate(paper: str, steps: int, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """Trains and measures every row of a paper's ablation; the rows of the report card."""
    command = f"python -m core.classroom ablate {paper} --steps {steps}"
    rows = []
    with tempfile.TemporaryDirectory() as out:
        for measure, split, value in ROWS[paper](steps, Path(out)):
            say(f"{measure:52} {split:14} {value:.3f}")
            row = {
                "paper": paper, "measure": measure, "split": split, "language": "en", "value": round(value, 4), "unit": "share",
            }  # fmt: skip
            rows.append({**stamped(row, f"classroom-{paper}", command), "minutes": None})
    return rows
