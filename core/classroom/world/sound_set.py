"""A data set of sounds: WAV files, and a table of what each of them is.

    python -m core.classroom dataset --kind sound --out DIR --scenes 100 --seed 0

    sounds/{train,val}/000001.wav         16 kHz, one channel, two seconds
    annotations/sounds_{split}.json       the thing of each file, named in English and Chinese

Each thing of the classroom that sounds comes in turn; sounds of val have seeds of their own.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from core.classroom.world.sounds import RATE, SECONDS, SOUNDING, made, sounding

README = """# A data set of CLIP Atlas's classroom

{train} sounds for training and {val} for validation, {seconds:g} seconds each, made by

    python -m core.classroom dataset --kind sound --out DIR --scenes {settings.scenes} --seed {settings.seed}

`annotations/sounds_*.json` has a row for each file: the thing (its code point, its names in English and Chinese) and the split.
All sounds are synthesised; nothing in them was recorded.
"""


def wav(samples: Tensor) -> bytes:
    """One channel [A] in -1..1 as a WAV file of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((samples.clamp(-1, 1) * 32_767).round().short().numpy().tobytes())
    return file.getvalue()


def drawn(count: int, seed: int) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The file of each sound and what it is."""
    each = -(-count // len(SOUNDING))
    for at, code in enumerate(SOUNDING[:count]):
        own = len(range(at, count, len(SOUNDING)))
        concept = sounding()[at]
        for samples in made(code, each, seed)[:own]:
            yield (
                wav(samples),
                {"code": code, "en": concept.en, "zh": concept.zh, "seconds": SECONDS, "rate": RATE},
            )


def readme(counts: dict[str, int], settings: Any) -> str:
    """What the data set is."""
    return README.format(**counts, seconds=SECONDS, settings=settings)
