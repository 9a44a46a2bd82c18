"""A data set of scenes: images, COCO instances and COCO captions, with a split that shares no composition.

    python -m core.classroom dataset --out DIR --scenes 100 --seed 0      (DIR.zip: one archive)

    images/{train,val}/000001.png
    annotations/instances_{split}.json   boxes and masks of what is seen; the whole objects as amodal_*
    annotations/captions_{split}.json    true captions in English and Chinese; `swapped` is false on purpose
    LICENSES.md, README.md

Pairs in val are those that training scenes leave out (`specs.new_pair`). The same settings give the same bytes. Of kind
"clip" they are clips (`clip_set`), of kind "sound" sounds (`sound_set`).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from core import runtime
from core.classroom import SceneSettings, Spec, open_atlas, render, sample
from core.classroom.world import clip_set, sound_set
from core.classroom.world.clips import ClipSettings, ClipSpec
from core.classroom.world.concepts import SPRITES, concepts, unseen
from core.classroom.world.description import pixels, truth
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.specs import KINDS, new_pair
from core.errors import Refusal

MOST, SMALLEST, LARGEST = 20_000, 48, 512
SEEDS = 2**40  # above those of training (from 2**32) and of evaluation (below 2**20)
PART = 24  # scenes drawn at once
VAL_SHARE = 0.2

CLIP, SOUND, MOST_FRAMES = "clip", "sound", 240
Put = Callable[[str, bytes], None]


@dataclass(frozen=True)
class DatasetSettings:
    """How many scenes and of what.

    kind: of KINDS, "mixed", "clip" or "sound". look: of RENDERINGS, or "mixed". augment: 0 plain sprites .. 1 as in training.
    frames: of a clip, whose sides are even.
    """

    scenes: int = 100
    seed: int = 0
    size: int = 224
    kind: str = "mixed"
    look: str = "mixed"
    augment: float = 0.5
    frames: int = 24

    def __post_init__(self) -> None:
        if not (2 <= self.scenes <= MOST and SMALLEST <= self.size <= LARGEST):
            raise Refusal(
                "dataset_size",
                low=2, high=MOST, smallest=SMALLEST, largest=LARGEST, count=self.scenes, size=self.size,
            )  # fmt: skip
        for value, known in (
            (self.kind, (*KINDS, "mixed", CLIP, SOUND)),
            (self.look, (*RENDERINGS, "mixed")),
        ):
            if value not in known:
                raise Refusal("bad_scene", what=value[:40])
        if not 0 <= self.seed < 2**31:
            raise Refusal("bad_scene", what=str(self.seed)[:40])
        if not 0 <= self.augment <= 1:
            raise Refusal("bad_scene", what=f"augment {self.augment}"[:40])
        if not 2 <= self.frames <= MOST_FRAMES:
            raise Refusal("bad_scene", what=f"frames {self.frames}"[:40])

    @property
    def counts(self) -> dict[str, int]:
        """Scenes by split."""
        val = max(1, round(VAL_SHARE * self.scenes))
        return {"train": self.scenes - val, "val": val}

    def clips(self) -> dict[str, ClipSpec]:
        """What the clips of each split show."""
        looks = SceneSettings.looks if self.look == "mixed" else _only(self.look, RENDERINGS)
        settings = ClipSettings(augment=self.augment, looks=looks)
        return clip_set.specs(self.counts, SEEDS + 2 * self.seed, settings)

    def specs(self) -> dict[str, Spec]:
        """What each split shows."""
        shares: dict[str, Any] = {"augment": self.augment}
        if self.kind != "mixed":
            shares["kinds"] = _only(self.kind, KINDS)
        if self.look != "mixed":
            shares["looks"] = _only(self.look, RENDERINGS)
        return {
            split: _sample(
                count, SEEDS + 2 * self.seed + at, SceneSettings(**shares, pairs=("train", "new")[at])
            )
            for at, (split, count) in enumerate(self.counts.items())
        }


def _only(name: str, names: Sequence[str]) -> tuple[float, ...]:
    """The shares of `names` of which one is all."""
    return tuple(float(other == name) for other in names)


def _sample(count: int, seed: int, settings: SceneSettings) -> Spec:
    """Scenes whose pairs are all old, or all new: `sample` only prefers them."""
    drawn = 2 * count + 32
    while True:
        spec = sample(drawn, seed, open_atlas(), settings)
        new = new_pair(spec.concept[:, 0], spec.concept[:, 1])
        fits = (spec.kind != KINDS.index("pair")) | (new == (settings.pairs == "new"))
        index = fits.nonzero()[:count, 0]
        if len(index) == count:
            return spec.take(index)
        drawn *= 2


def write(out: Path, settings: DatasetSettings) -> Iterator[int]:
    """Writes the data set and yields, part by part, how many scenes are done; closing the generator stops it.

    Args:
        out: a new or empty folder, or the name of an archive ending in .zip.
    """
    with _sink(out) as put:
        files = {CLIP: _clips, SOUND: _sounds}.get(settings.kind, _scenes)
        yield from files(put, settings)
        put("LICENSES.md", (SPRITES / "LICENSES.md").read_bytes())
        put("README.md", _readme(settings).encode())


def _clips(put: Put, settings: DatasetSettings) -> Iterator[int]:
    """Files and tables of clips."""
    done, size = 0, settings.size // 2 * 2
    for split, spec in settings.clips().items():
        instances, captions = _tables(split, settings, "videos")
        for number, (data, facts) in enumerate(clip_set.drawn(spec, size, settings.frames), 1):
            name = f"{number:06d}.mp4"
            put(f"videos/{split}/{name}", data)
            clip_set.add(instances, captions, number, name, facts)
            done += 1
            yield done
        put(f"annotations/instances_{split}.json", _json(instances))
        put(f"annotations/captions_{split}.json", _json(captions))


def _sounds(put: Put, settings: DatasetSettings) -> Iterator[int]:
    """Files and tables of sounds."""
    done = 0
    for at, (split, count) in enumerate(settings.counts.items()):
        rows = []
        for number, (data, facts) in enumerate(sound_set.drawn(count, SEEDS + 2 * settings.seed + at), 1):
            name = f"{number:06d}.wav"
            put(f"sounds/{split}/{name}", data)
            rows.append({"id": number, "file_name": name, **facts})
            done += 1
            yield done
        put(f"annotations/sounds_{split}.json", _json({"sounds": rows}))


def _scenes(put: Put, settings: DatasetSettings) -> Iterator[int]:
    """Files and tables of scenes."""
    done = 0
    for split, spec in settings.specs().items():
        instances, captions = _tables(split, settings)
        for start in range(0, len(spec), PART):
            with runtime.semaphore("cpu"):
                scenes = render(spec.take(slice(start, start + PART)), open_atlas(), settings.size)
                pictures, known = pixels(scenes), truth(scenes, settings.seed)
            for at, (picture, facts) in enumerate(zip(pictures, known, strict=True)):
                number = start + at + 1
                name = f"{number:06d}.png"
                buffer = io.BytesIO()
                Image.fromarray(picture).save(buffer, "PNG")
                put(f"images/{split}/{name}", buffer.getvalue())
                _add(instances, captions, number, name, facts)
            done += len(pictures)
            yield done
        put(f"annotations/instances_{split}.json", _json(instances))
        put(f"annotations/captions_{split}.json", _json(captions))


def _tables(
    split: str, settings: DatasetSettings, what: str = "images"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Empty COCO tables of images or videos: instances and captions."""
    head = {
        "info": {"description": f"CLIP Atlas classroom, {split}, seed {settings.seed}", "version": "1"},
        "licenses": [{"id": 1, "name": "see LICENSES.md", "url": ""}],
    }
    hidden = unseen()
    categories = [
        {
            "id": c.index + 1,
            "name": c.en,
            "name_zh": c.zh,
            "supercategory": c.parents[0][0] if c.parents else "thing",
            "code": c.code,
            "held_out": c.index in hidden,
        }
        for c in concepts()
    ]
    instances = {**head, what: [], "annotations": [], "categories": categories}
    return instances, {**head, what: [], "annotations": []}


def _add(
    instances: dict[str, Any], captions: dict[str, Any], number: int, name: str, facts: dict[str, Any]
) -> None:
    """One scene into the tables. Ids of annotations run through the split; what is wholly hidden has none."""
    size = facts["size"]
    image = {
        "id": number, "file_name": name, "width": size, "height": size, "license": 1,
        **{key: facts[key] for key in ("kind", "relation", "background", "rendering")},
    }  # fmt: skip
    instances["images"].append(image)
    captions["images"].append(image)
    ids = {c["code"]: c["id"] for c in instances["categories"]}
    instances["annotations"] += [
        {
            "id": len(instances["annotations"]) + 1 + at,
            "image_id": number,
            "category_id": ids[thing["code"]],
            "bbox": _xywh(thing["visible_box"]),
            "area": thing["visible_area"],
            "segmentation": thing["visible_mask"],
            "iscrowd": 0,
            "amodal_bbox": _xywh(thing["box"]),
            "amodal_area": thing["area"],
            "amodal_segmentation": thing["mask"],
            "depth": thing["depth"],
            "pose": thing["pose"],
            "style": thing["style"],
        }
        for at, thing in enumerate(thing for thing in facts["objects"] if thing["visible_area"])
    ]
    told = [(lang, text) for lang, texts in facts["captions"].items() for text in texts]
    captions["annotations"] += [
        {
            "id": len(captions["annotations"]) + 1 + at,
            "image_id": number,
            "caption": text,
            "language": lang,
            # The first caption of each language is the plain one, which the swapped one contradicts.
            "swapped": facts["swapped"][lang]
            if facts["swapped"] and text == facts["captions"][lang][0]
            else None,
        }
        for at, (lang, text) in enumerate(told)
    ]


def _xywh(box: list[int]) -> list[int]:
    left, top, right, bottom = box
    return [left, top, right - left, bottom - top]


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _readme(settings: DatasetSettings) -> str:
    counts = settings.counts
    if settings.kind == SOUND:
        return sound_set.readme(counts, settings)
    if settings.kind == CLIP:
        side = settings.size // 2 * 2
        return clip_set.README.format(**counts, side=side, rate=clip_set.RATE, settings=settings)
    return f"""# A data set of CLIP Atlas's classroom

{counts["train"]} scenes for training and {counts["val"]} for validation, {settings.size} x {settings.size} pixels, made by

    python -m core.classroom dataset --out DIR --scenes {settings.scenes} --seed {settings.seed} --size {settings.size} \
--kind {settings.kind} --look {settings.look} --augment {settings.augment:g}

`annotations/` is COCO: `instances_*.json` has boxes (x, y, width, height) and masks (compressed run lengths) of what is
seen; `amodal_*` are those of the whole object, hidden or not; `depth` is 0 at the eye and 1 at the background.
`captions_*.json` has true captions in English and Chinese (`language`); `swapped`, where there is one, is the first
caption with its two objects exchanged, and false. Pairs of concepts in val never occur as pairs in train. Categories marked
`held_out` are those that this project's dense recipes never see masks or boxes of.

The drawings come from free emoji sets; their licences are in `LICENSES.md`, and some ask to be credited.
"""


@contextmanager
def _sink(out: Path) -> Iterator[Put]:
    """Where the files go: a folder, or an archive whose entries carry no date."""
    if out.suffix == ".zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:

            def pack(name: str, data: bytes) -> None:
                entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                # Images and videos are compressed already.
                way = zipfile.ZIP_STORED if name.endswith((".png", ".mp4")) else zipfile.ZIP_DEFLATED
                archive.writestr(entry, data, way)

            yield pack
        return

    def save(name: str, data: bytes) -> None:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    yield save
