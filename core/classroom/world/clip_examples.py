"""Example clips of the video pages, drawn by a seed each: `python -m core.classroom examples` writes them.

The first two are one clip and the same clip played backwards: no frame tells them apart, only the order of the frames.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.clips import ClipSettings, ClipSpec, render_clips, sample_clips, times
from core.classroom.world.concepts import ASSETS, find
from core.mp4 import mp4

OUT = ASSETS / "examples" / "clips"
LISTING = "clips.json"
# Two seconds: the frames at 0, 1/4, ... 7/4 s are at equal steps of the motion, from its beginning to its end.
SIDE, DURATIONS = 160, [125] * 14 + [250]
TRIES = 400  # seeds that are tried for the wanted thing


@dataclass(frozen=True)
class Example:
    """One clip: what moves how, beside what. `seed`: where the search for it begins; equal ones give equal scenes."""

    name: str
    thing: str
    motion: str
    other: str = ""
    seed: int = 0


EXAMPLES = (
    Example("dog_right", "dog", "right", seed=1000),
    Example("dog_left", "dog", "left", seed=1000),
    Example("airplane_right", "airplane", "right", seed=1500),
    Example("cat_jumps", "cat", "jump", seed=2000),
    Example("balloon_rises", "balloon", "up", seed=3000),
    Example("teddy_bear_grows", "teddy bear", "grow", seed=4000),
    Example("teddy_bear_shrinks", "teddy bear", "shrink", seed=4000),
    Example("car_vanishes", "car", "vanish", seed=5000),
    Example("duck_behind_tree", "duck", "behind", "tree", seed=6000),
    Example("key_falls", "key", "fall", seed=7000),
    Example("umbrella_turns", "umbrella", "clockwise", seed=8000),
    Example("bee_circles_rose", "bee", "orbit", "rose", seed=9000),
    Example("rocket_shakes", "rocket", "shake", seed=9500),
)


def spec_of(example: Example, atlas: Atlas) -> ClipSpec:
    """The clip of the first seed from its own on whose moving thing, and other thing, are the wanted ones."""
    wanted = [find(name) for name in (example.thing, example.other) if name]
    chosen = tuple(concept.index for concept in wanted if concept is not None)
    beside = find("tree" if example.thing != "tree" else "rose")
    assert len(chosen) == 1 + bool(example.other) and beside is not None, example.name
    # A scene has two things of different names; without company the second one is not drawn.
    concepts = (*chosen, beside.index)[:2]
    settings = ClipSettings(
        motions=(example.motion,),
        company=float(bool(example.other)),
        camera=0.0,
        concepts=concepts,
        augment=0.0,
    )
    for seed in range(example.seed, example.seed + TRIES):
        spec = sample_clips(1, seed, atlas, settings)
        if int(spec.scene.concept[0, 0]) == chosen[0]:
            return spec
    raise AssertionError(f"no seed gives {example.name}")


def film(spec: ClipSpec, atlas: Atlas, side: int = SIDE) -> bytes:
    """A clip as an MP4 file of two seconds."""
    picture = render_clips(spec, atlas, times(len(DURATIONS)), side).picture[0]
    frames = (picture.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return mp4(iter(frames), DURATIONS)


def described(example: Example, spec: ClipSpec) -> dict[str, Any]:
    """The row of the listing."""
    writer = spec.writer()
    return {
        "file": f"{example.name}.mp4",
        "motion": example.motion,
        "caption": {lang: writer.order(0, lang).text for lang in ("en", "zh")},
        "content": {lang: writer.content(0, lang).text for lang in ("en", "zh")},
        "action": {lang: writer.action(0, lang) for lang in ("en", "zh")},
    }


def write(out: Path = OUT) -> list[Path]:
    """Writes all clips and their listing; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    atlas, rows, files = open_atlas(), [], []
    for example in EXAMPLES:
        spec = spec_of(example, atlas)
        rows.append(described(example, spec))
        files.append(out / f"{example.name}.mp4")
        files[-1].write_bytes(film(spec, atlas))
    (out / LISTING).write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return [*files, out / LISTING]
