"""Examples of the AudioCLIP page: synthesised sounds and drawings; `python -m core.classroom examples` writes them.

The recordings beside them are of real things; their sources and licences are in `assets/examples/LICENSES.md`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from core.classroom.world.atlas import open_atlas
from core.classroom.world.concepts import ASSETS, Concept, find
from core.classroom.world.examples import keep
from core.classroom.world.placing import Placed, arrange
from core.classroom.world.scenes import render
from core.classroom.world.sounds import RATE, made

TAKES = {"piano": 2}  # which sound of the seed, where it is not the first
OUT = ASSETS / "examples" / "audioclip"
LISTING = "sounds.json"
# Things with a sound; the first ones are also drawn.
SOUNDS = ("dog", "rooster", "church", "ambulance", "piano", "rain cloud", "airplane", "telephone")
DRAWN = (*SOUNDS, "cow", "cat", "guitar", "fire", "bee", "drum", "locomotive", "owl")
STYLE, SEED, SIDE = "noto-v1", 18_000, 128  # a style whose drawings no sound meets in training


def mp3(wave: np.ndarray, rate: int) -> bytes:
    """One channel as an MP3 file, which every browser plays."""
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format="MP3", subtype="MPEG_LAYER_III")
    return file.getvalue()


def drawing(concept: Concept) -> np.ndarray:
    """uint8 [H, W, 3]: the thing on white."""
    spec = arrange([Placed(concept.index, half=0.7, style=STYLE)], background="white", seed=SEED)
    picture = render(spec, open_atlas(), SIDE).picture[0]
    return (picture.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


def slug(name: str) -> str:
    """A name as a file's."""
    return name.replace(" ", "_")


def write(out: Path = OUT) -> list[Path]:
    """Writes all sounds, drawings and their listing; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    files: list[Path] = []
    for concept in _concepts(DRAWN):
        row: dict[str, Any] = {
            "name": slug(concept.en),
            "code": concept.code,
            "en": concept.en,
            "zh": concept.zh,
        }
        files.append(keep(drawing(concept), out, row["name"]))
        row["drawing"] = files[-1].name
        if concept.en in SOUNDS:
            take = TAKES.get(concept.en, 0)
            files.append(out / f"{row['name']}.mp3")
            files[-1].write_bytes(mp3(made(concept.code, take + 1, SEED)[take].numpy(), RATE))
            row["sound"] = files[-1].name
        rows.append(row)
    body = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (out / LISTING).write_text(f"[\n{body}\n]\n", encoding="utf-8")
    return [*files, out / LISTING]


def _concepts(names: Iterable[str]) -> list[Concept]:
    found = [find(name) for name in names]
    assert all(found), names
    return [concept for concept in found if concept is not None]
