"""Learn the metres of DepthCLIP's words from a few classroom scenes with true depth (Zhang et al. 2022; the few-shot bins).

    python -m core.classroom train depthclip --out runs/depthclip
    python -m core.classroom train depthclip --clip runs/classroom-rn/classroom-rn --steps 300

CLIP and the words stay as they are: what learns is one number of metres for each word, and the temperature, by Adam over places
that an object covers. It takes seconds. The export is a text file with one "word = metres" a line, as the page's field takes
it, and a note with the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.checkpoints.integrity import sha256
from core.classroom.recipes.common.fresh import clip_row
from core.classroom.recipes.common.miniature import NOTE, WEIGHTS, export_folder
from core.classroom.recipes.common.rows import commit
from core.classroom.recipes.depthclip import live
from core.spatial import depthclip
from core.spatial.depthclip import CLASSROOM, CLASSROOM_ZH, DepthEstimator, DepthWords, Fitted

CLIP = "classroom-rn"
SHOTS, SEED = 16, 31_000  # scenes, and where their seeds start; evaluation seeds are smaller numbers
STEPS = 300
WORDS = {"en": CLASSROOM, "zh": CLASSROOM_ZH}
LINES = "words.txt"


@dataclass(frozen=True)
class Settings:
    """One training. clip: a bundled row or the folder of an export. language: of the words."""

    clip: str = CLIP
    language: str = "en"
    shots: int = SHOTS
    steps: int = STEPS
    seed: int = 0
    out: Path = Path("runs/depthclip")


def learn(model: DepthEstimator, few: live.Places, words: DepthWords, steps: int = STEPS) -> Fitted:
    """The end of the learning from some places."""
    *_, last = depthclip.fit(few.features, few.metres, model.encode_text(words.sentences), words, steps=steps)
    return last


def run(settings: Settings, say: Callable[[str], None] = print) -> Path:
    """Learns from new scenes, and exports; returns the folder of the export."""
    s = settings
    model = DepthEstimator.load(clip_row(s.clip), "cpu")
    few = live.places(model, SEED + s.seed, s.shots)
    last = learn(model, few, WORDS[s.language], s.steps)
    say(f"step {last.step}  AbsRel of {len(few.metres)} places {last.loss:.3f}")
    words, folder = last.words, s.out / "classroom-depthclip"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{word} = {metres:g}" for word, metres in zip(words.words, words.bins, strict=True)]
    (folder / LINES).write_text("\n".join(lines) + "\n", encoding="utf-8")
    clip = export_folder(s.clip)
    note = {
        "paper": "depthclip",
        "clip": {clip.name: sha256(clip / WEIGHTS)},
        "template": words.template,
        "thing": words.thing,
        "temperature": round(words.temperature, 4),
        "language": s.language,
        "scenes": s.shots,
        "seed": s.seed,
        "steps": last.step,
        "loss": round(last.loss, 4),
        "commit": commit(),
    }
    (folder / NOTE).write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder
