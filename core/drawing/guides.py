"""How an encoder guides a drawing: the rows of `guides.toml`, which says what each field means."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from core import checkpoints
from core.clip.towers import VisionTower


@dataclass(frozen=True)
class Guide:
    """The settings of one encoder."""

    stages: Mapping[str, float]
    semantic: float
    steps: int
    rate: float
    decay: float
    views: int
    draw_steps: int
    lay: Literal["walk", "edge"]
    reach: float
    saliency: str | None = None


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def guide(checkpoint: str, vision: VisionTower) -> Guide:
    """The row of a checkpoint over the row of its kind of tower."""
    names = vision.stage_names
    kind = "resnet" if "layer3" in names else "vit"
    fields = {**_tables()[kind], **_tables().get(checkpoint, {})}
    by_depth = {"third": names[max(1, round(len(names) / 3)) - 1], "last": names[-1]}
    fields["stages"] = {by_depth.get(k, k): float(v) for k, v in fields["stages"].items()}
    return Guide(**fields)


def saliency_checkpoint(checkpoint: str, vision: VisionTower) -> str:
    """The row that looks for salient places: the guide's choice where it is at hand, else the guide."""
    chosen = guide(checkpoint, vision).saliency
    known = {row.name for row in checkpoints.rows("clip")}
    if chosen in known and checkpoints.state(chosen) in ("bundled", "cached"):
        return chosen
    return checkpoint
