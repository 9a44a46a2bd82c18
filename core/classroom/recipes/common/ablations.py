"""The rows of an ablation, each trained for the same few steps from the same seed; numbers alone are kept.

    python -m core.classroom ablate lseg --steps 200 [--record]         none, bottleneck and depthwise 1, 2, 4 times
    python -m core.classroom ablate groupvit --steps 80 [--record]      group tokens 64-8, 32-8, 64, 8
    python -m core.classroom ablate glip --steps 300 [--record]         without and with deep fusion, teacher and student
    python -m core.classroom ablate clip4clip --steps 250 [--record]    four heads trained on 100, 1,000 and 10,000 clips
    python -m core.classroom ablate actionclip --steps 200 [--record]   post-network prompts; the KL loss and cross-entropy
    python -m core.classroom ablate actionclip-prompts --steps 200      prompts before, in and behind the image tower
    python -m core.classroom ablate audioclip --steps 300 [--record]    the three pairs, and each of them left out
    python -m core.classroom ablate clip-vil --steps 400 [--record]     three encoders on 1, 10 and 100 % of the questions
    python -m core.classroom ablate clip-vil-tuned --steps 400          the same with the encoder's last stage tuned

LSeg's is the paper's table 6 (section 5.4: regularization blocks), GroupViT's its table 2 (section 4.2: group tokens), GLIP's its
table 2 (deep fusion: GLIP-T (A) against (B)) and section 3.4 (a teacher's boxes for captions). A row here sees a small part of
what the shipped miniature saw, so rows are compared with each other and with nothing else. Those of clips can be stopped: with
`--out FOLDER` a row that was measured there is not trained again, and neither are clips encoded again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from core.classroom.recipes.actionclip import evaluate as evaluate_actionclip
from core.classroom.recipes.actionclip import train as actionclip
from core.classroom.recipes.audioclip import pairs
from core.classroom.recipes.clip4clip import evaluate as evaluate_clip4clip
from core.classroom.recipes.clip4clip import train as clip4clip
from core.classroom.recipes.clip_vil import table as clip_vil
from core.classroom.recipes.common import masks
from core.classroom.recipes.common.clip_sets import SEEDS, ClipSet, encode_clips
from core.classroom.recipes.common.miniature import Miniature, export_folder
from core.classroom.recipes.common.rows import stamped
from core.classroom.recipes.glip import evaluate as evaluate_glip
from core.classroom.recipes.glip import train as glip
from core.classroom.recipes.groupvit import evaluate as evaluate_groupvit
from core.classroom.recipes.groupvit import train as groupvit
from core.classroom.recipes.lseg import evaluate as evaluate_lseg
from core.classroom.recipes.lseg import train as lseg
from core.classroom.world.atlas import open_atlas
from core.classroom.world.clips import ClipSpec
from core.classroom.world.concepts import seen, unseen
from core.segmentation.blocks import Kind
from core.video.actionclip.heads import POSTS
from core.video.clip4clip.heads import Header

BLOCKS: tuple[tuple[Kind, int], ...] = (
    ("none", 0),
    ("bottleneck", 1), ("bottleneck", 2), ("bottleneck", 4),
    ("depthwise", 1), ("depthwise", 2), ("depthwise", 4),
)  # fmt: skip
GROUPS: tuple[tuple[int, ...], ...] = ((64, 8), (32, 8), (64,), (8,))
SCENES = 192
SIZES = (100, 1_000, 10_000)  # clips of a training
CLIPS, PAIRS = 128, 256  # new clips of an exam: for captions, and for directions
SEEDS_OF_ROWS = (0, 1, 2)
FEWER = 16  # clips of a step where the image tower learns, in place of the recipe's 64
# ActionCLIP's prompts of the network, each alone and all together; on one tower.
NETWORK_PROMPTS: dict[str, dict[str, Any]] = {
    "none": {"post": "meanP"},
    "pre": {"post": "meanP", "pre": "position"},
    "in": {"post": "meanP", "shift": 8},
    "post": {"post": "Transf"},
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
            iou = evaluate_lseg.measure(model, pictures, masks.DISTRACTORS, "en")
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


def once(folder: Path, measure: Callable[[], list[float]]) -> list[float]:
    """What `measure` gives for the run in a folder; what was measured there before is read again."""
    kept = folder / "measured.json"
    if not kept.exists():
        values = measure()
        folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(values), encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))


def averaged(measure: str, split: str, values: list[float]) -> Iterator[Measured]:
    """The mean over seeds, and how far apart the seeds are."""
    yield measure, split, sum(values) / len(values)
    if len(values) > 1:
        yield f"{measure}, spread of {len(values)} seeds", split, max(values) - min(values)


def clip4clip_rows(
    steps: int, out: Path, sizes: tuple[int, ...] = SIZES, seeds: tuple[int, ...] = SEEDS_OF_ROWS
) -> Iterator[Measured]:
    """R@1 of whole captions and the choice between two directions, of every head after so many clips. All runs share the first
    clips of one set, encoded once."""
    base = clip4clip.Settings()
    tower, atlas = Miniature(export_folder(base.clip)), open_atlas()
    clips = encode_clips(tower, max(sizes), SEEDS, atlas, base.world, out / "features.pt")
    exam = evaluate_clip4clip.exam(tower, CLIPS, evaluate_clip4clip.SEED)
    pairs = evaluate_clip4clip.exam(tower, PAIRS, evaluate_clip4clip.SEED + 1, directed=True)

    def measured(header: Header, size: int, seed: int, folder: Path) -> list[float]:
        settings = clip4clip.Settings(headers=(header,), clips=size, steps=steps, seed=seed, out=folder)
        trained = clip4clip.Trainer(settings, atlas, clips).run(lambda _: None)
        return list(evaluate_clip4clip.both(evaluate_clip4clip.Candidate(str(trained)), header, exam, pairs))

    for size in sizes:
        for header in clip4clip.HEADERS:
            found = []
            for seed in seeds:
                folder = out / f"{header}-{size}-{seed}"
                found.append(once(folder, partial(measured, header, size, seed, folder)))
            for at, name in enumerate(("R@1", "direction")):
                yield from averaged(f"{name} after {size} clips", header, [one[at] for one in found])


def _top1(base: actionclip.Settings, spec: ClipSpec, clips: ClipSet | None, **changes: Any) -> list[float]:
    """Top-1 over the trained motions of a run with these changes, on new clips of things never seen moving."""
    settings = actionclip.variant(base, **changes)
    trained = actionclip.Trainer(settings, open_atlas(), clips).run(lambda _: None)
    model = evaluate_actionclip.Candidate(str(trained))
    return [evaluate_actionclip.top1(model, model.clips(spec), spec, actionclip.trained_motions(), "en")]


def actionclip_rows(steps: int, out: Path, seeds: tuple[int, ...] = SEEDS_OF_ROWS) -> Iterator[Measured]:
    """Top-1 over the trained motions on things never seen moving: of every post-network prompt, and of both losses. The tower
    is frozen, and all runs share the clips."""
    base = actionclip.Settings(steps=steps)
    spec = evaluate_actionclip.exam(actionclip.trained_motions())
    tower = Miniature(export_folder(base.clip))
    clips = encode_clips(tower, base.clips, SEEDS, open_atlas(), base.world, out / "features.pt")

    def measured(name: str, **changes: Any) -> float:
        folder = out / name
        return once(folder, partial(_top1, base, spec, clips, out=folder, **changes))[0]

    losses: tuple[actionclip.Loss, ...] = ("kl", "ce")
    for loss in losses:
        values = [measured(f"{loss}-{seed}", loss=loss, seed=seed) for seed in seeds]
        yield from averaged("ablation of the loss: motion top-1", loss, values)
    for post in POSTS:
        value = measured("kl-0") if post == base.post else measured(post, post=post)
        yield "ablation of post-network prompts: motion top-1", post, value


def prompt_rows(steps: int, out: Path) -> Iterator[Measured]:
    """Top-1 over the trained motions on things never seen moving: of the prompts of the network, each alone and all together,
    with few clips in a step."""
    base = actionclip.Settings(steps=steps, batch=FEWER, clip=actionclip.TOWER, clips=FEWER * steps)
    spec = evaluate_actionclip.exam(actionclip.trained_motions())
    tower = Miniature(export_folder(base.clip))
    clips = encode_clips(tower, base.clips, SEEDS, open_atlas(), base.world, out / "features.pt")
    for name, changes in NETWORK_PROMPTS.items():
        folder = out / name.replace(" + ", "-")
        frozen = not actionclip.variant(base, **changes).has_tower
        run = partial(_top1, base, spec, clips if frozen else None, out=folder, **changes)
        yield "ablation of prompts: motion top-1", name, once(folder, run)[0]


def audioclip_rows(steps: int, out: Path, seeds: tuple[int, ...] = SEEDS_OF_ROWS) -> Iterator[Measured]:
    """Top-1 of each pair, straight and by way of the third modality, after trainings with all pairs and without each of them."""
    for measure, name, values in pairs.rows(steps, seeds):
        yield from averaged(measure, name, values)


ROWS: dict[str, Callable[[int, Path], Iterator[Measured]]] = {
    "lseg": lseg_rows,
    "groupvit": groupvit_rows,
    "glip": glip_rows,
    "clip4clip": clip4clip_rows,
    "actionclip": actionclip_rows,
    "actionclip-prompts": prompt_rows,
    "audioclip": audioclip_rows,
    "clip-vil": partial(clip_vil.rows, way=clip_vil.FROZEN, once=once, averaged=averaged),
    "clip-vil-tuned": partial(clip_vil.rows, way=clip_vil.TUNED, once=once, averaged=averaged),
}


def ablate(
    ablation: str, steps: int, say: Callable[[str], None] = print, out: Path | None = None
) -> list[dict[str, Any]]:
    """Trains and measures every row of an ablation of `ROWS`; the rows of the report card. What is in `out` is kept."""
    command = f"python -m core.classroom ablate {ablation} --steps {steps}"
    paper = ablation.removesuffix("-prompts").removesuffix("-tuned")
    rows = []
    with nullcontext(out) if out else tempfile.TemporaryDirectory() as folder:
        for measure, split, value in ROWS[ablation](steps, Path(folder)):
            say(f"{measure:52} {split:14} {value:.3f}")
            row = {
                "paper": paper, "measure": measure, "split": split, "language": "en", "value": round(value, 4), "unit": "share",
            }  # fmt: skip
            rows.append({**stamped(row, f"classroom-{paper}", command), "minutes": None})
    return rows
