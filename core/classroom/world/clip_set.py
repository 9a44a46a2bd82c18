"""A data set of clips: MP4 files, boxes and masks in every frame, captions with the opposite direction beside them.

    python -m core.classroom dataset --kind clip --out DIR --scenes 100 --seed 0

    videos/{train,val}/000001.mp4
    annotations/instances_{split}.json   as YouTube-VIS: one row for each thing of a clip, lists over its frames
    annotations/captions_{split}.json    true captions in English and Chinese; `swapped` tells the opposite direction

Things that move in val never move in train.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from core import masks as rle
from core import runtime
from core.classroom.world.atlas import open_atlas
from core.classroom.world.captions import Caption
from core.classroom.world.clips import (
    CAMERAS,
    Clips,
    ClipSettings,
    ClipSpec,
    render_clips,
    sample_clips,
    times,
)
from core.classroom.world.concepts import seen, unseen
from core.classroom.world.motions import ACTIONS, MOTIONS, ClipWriter
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.specs import BACKGROUNDS
from core.classroom.world.wording import LANGUAGES
from core.mp4 import mp4

RATE = 12  # frames a second
PART_PIXELS = 6_000_000  # of all frames that are drawn at once
MORE = 2  # captions of a clip beside the plain ones
README = """# A data set of CLIP Atlas's classroom

{train} clips for training and {val} for validation, {side} x {side} pixels, {settings.frames} frames at {rate} a second, made by

    python -m core.classroom dataset --kind clip --out DIR --scenes {settings.scenes} --seed {settings.seed} \
--size {settings.size} --frames {settings.frames} --look {settings.look} --augment {settings.augment:g}

`annotations/instances_*.json` has the layout of YouTube-VIS: a row for each thing of a clip (`moves` tells which one moves)
with lists over the frames: boxes (x, y, width, height), areas and masks (compressed run lengths) of what is seen, `amodal_*`
of the whole thing, null where it is not there. `captions_*.json` has true captions in English and Chinese; `swapped`, where
there is one, tells the opposite direction, and is false: opposite motions have the same frames in the other order. Things of
val (`held_out`) are in no clip of train.

The drawings come from free emoji sets; their licences are in `LICENSES.md`, and some ask to be credited.
"""


def specs(counts: dict[str, int], seed: int, settings: ClipSettings) -> dict[str, ClipSpec]:
    """What the clips of train and of val show."""
    return {
        split: sample_clips(counts[split], seed + at, open_atlas(), replace(settings, concepts=known))
        for at, (split, known) in enumerate((("train", seen()), ("val", unseen())))
    }


def drawn(spec: ClipSpec, size: int, frames: int) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The file of each clip and what is known about it."""
    part = max(1, PART_PIXELS // (size * size * frames))
    writer = spec.writer()
    for start in range(0, len(spec), part):
        with runtime.semaphore("cpu"):
            clips = render_clips(spec.take(slice(start, start + part)), open_atlas(), times(frames), size)
            pictures = (clips.picture.permute(0, 1, 3, 4, 2) * 255).round().byte().cpu().numpy()
            facts = _truth(clips)
        for i, (picture, known) in enumerate(zip(pictures, facts, strict=True), start):
            known["captions"] = {lang: _captions(writer, i, lang) for lang in LANGUAGES}
            yield mp4(picture, [round(1000 / RATE)] * frames), known


def _captions(writer: ClipWriter, i: int, lang: str) -> list[Caption]:
    """What is there, who moves how, both, and others that are true."""
    rng = random.Random(f"{i} {lang}")
    told = [writer.content(i, lang), writer.order(i, lang), writer.whole(i, lang)]
    told += [writer.write(i, lang, rng) for _ in range(MORE)]
    return list(dict.fromkeys(told))


def _truth(clips: Clips) -> list[dict[str, Any]]:
    """Everything known about each clip, as plain values; lists over its frames."""
    spec = clips.spec
    amodal, visible = clips.amodal.cpu().numpy(), clips.visible.cpu().numpy()
    boxes, seen_boxes = clips.boxes().tolist(), clips.boxes(visible=True).tolist()

    def one(i: int, slot: int) -> dict[str, Any]:
        area, whole = visible[i, :, slot].sum((1, 2)), amodal[i, :, slot].sum((1, 2))

        def over_frames(values: Any, there: np.ndarray) -> list[Any]:
            return [value if shown else None for value, shown in zip(values, there > 0, strict=True)]

        def xywh(rows: list[list[list[int]]]) -> list[list[int]]:
            return [[x, y, right - x, bottom - y] for x, y, right, bottom in (row[slot] for row in rows)]

        found = [{"size": [size, size], "counts": rle.encode(mask)} for mask in visible[i, :, slot]]
        return {
            "category_id": int(spec.scene.concept[i, slot]) + 1,
            "moves": slot == 0,
            "bboxes": over_frames(xywh(seen_boxes[i]), area),
            "areas": over_frames(area.tolist(), area),
            "segmentations": over_frames(found, area),
            "amodal_bboxes": over_frames(xywh(boxes[i]), whole),
            "amodal_areas": over_frames(whole.tolist(), whole),
            "iscrowd": 0,
        }

    size = visible.shape[-1]
    return [
        {
            "width": size,
            "height": size,
            "length": len(clips.moments),
            "motion": MOTIONS[int(spec.motion[i])],
            "action": dict(zip(LANGUAGES, ACTIONS[MOTIONS[int(spec.motion[i])]], strict=True)),
            "camera": CAMERAS[int(spec.camera[i])],
            "background": list(BACKGROUNDS)[int(spec.scene.background[i])],
            "rendering": RENDERINGS[int(spec.scene.rendering[i])],
            "things": [one(i, slot) for slot in range(int(spec.scene.count[i]))],
        }
        for i in range(len(spec))
    ]


def add(
    instances: dict[str, Any], captions: dict[str, Any], number: int, name: str, facts: dict[str, Any]
) -> None:
    """One clip into the tables. Ids of annotations run through the split."""
    told = {key: facts[key] for key in ("width", "height", "length", "motion", "action", "camera")}
    video = {"id": number, "file_name": name, "fps": RATE, "license": 1, **told}
    video |= {key: facts[key] for key in ("background", "rendering")}
    instances["videos"].append(video)
    captions["videos"].append(video)
    for thing in facts["things"]:
        place = {"id": len(instances["annotations"]) + 1, "video_id": number}
        instances["annotations"].append({**place, **thing})
    for lang, told in facts["captions"].items():
        for caption in told:
            captions["annotations"].append(
                {
                    "id": len(captions["annotations"]) + 1,
                    "video_id": number,
                    "caption": caption.text,
                    "language": lang,
                    "swapped": caption.swapped,
                }
            )
