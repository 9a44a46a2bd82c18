"""Train both parts of the StyleCLIP miniature, measure the generator's channels, and put all of it into one row.

    python -m core.classroom train styleclip --minutes 85

A part whose export is there is passed over: what `train styleclip-editor` and `train styleclip-generator` left in `OUT/editor`
and `OUT/generator` is joined. The paper measures the relevance of a style channel by moving it. The
channels of a generator of 32 pixels say too little one by one: moved far enough for CLIP to notice, they break the image. Here a
regression takes its place (`core.editing.global_direction.regression`): how the channels of random images go with CLIP's features
of their names, in both languages. CLIP's features of the images themselves do worse: the miniature's texts and images lie far
apart, so that a way between two texts is none between images.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.checkpoints import Checkpoint, File, bytewise, registry
from core.classroom.recipes.common.miniature import NOTE, WEIGHTS, open_miniature
from core.classroom.recipes.common.running import CURVE
from core.classroom.recipes.styleclip import editor, generator, scenes
from core.editing import rows
from core.editing.editor import SCHEDULE
from core.editing.global_direction import regression
from core.editing.miniature import TEMPLATES, LoadedMiniature
from core.editing.pipelines import assemble

ROW = "classroom-styleclip"
EDITOR_SHARE = 60 / 85  # of the minutes
SOURCES = 3000  # images by which channels are measured


@dataclass
class Settings:
    """One training run of both parts. clip: a bundled row or the folder of an export whose text tower is read."""

    clip: str = editor.CLIP
    minutes: float = 85.0
    device: str = "cpu"
    out: Path = Path("runs/styleclip")
    seed: int = 0
    steps: int | None = None


class Trainer:
    """Runs `Settings`; a part that was stopped goes on, one that is exported is passed over."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self, say: Callable[[str], None] = print) -> Path:
        """Trains what is left and joins the parts; returns the folder of the row."""
        s = self.settings
        parts = {"editor": s.out / "editor" / "editor", "generator": s.out / "generator" / "generator"}
        common: dict[str, Any] = {"device": s.device, "seed": s.seed, "steps": s.steps}
        if not (parts["editor"] / NOTE).is_file():
            chosen = editor.Settings(
                clip=s.clip, minutes=s.minutes * EDITOR_SHARE, out=s.out / "editor", **common
            )
            editor.Trainer(chosen).run(say)
        if not (parts["generator"] / NOTE).is_file():
            minutes = s.minutes * (1 - EDITOR_SHARE)
            generator.Trainer(generator.Settings(minutes=minutes, out=s.out / "generator", **common)).run(say)
        return join(parts["editor"], parts["generator"], s.out / ROW, s.clip)


def row_of(folder: Path) -> Checkpoint:
    """A row of this process for a joined folder, by the folder's name."""
    name = {"en": folder.name, "zh": folder.name}
    files = (File(WEIGHTS), File(rows.CONFIG))
    note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    row = Checkpoint(str(folder), "styleclip", name, rows.CLASSROOM, files, 1, "none", name, "none", ("en", "zh"), "softmax",
                     name, name, bundled=str(folder.resolve()), requires=note["clip"])  # fmt: skip
    registry.add(row)
    return row


def join(
    editor_folder: Path,
    generator_folder: Path,
    out: Path,
    clip: str = editor.CLIP,
) -> Path:
    """Puts the exports of both trainings into one folder, with the relevance of the generator's channels for a CLIP."""
    note = json.loads((editor_folder / NOTE).read_text(encoding="utf-8"))
    of_generator = json.loads((generator_folder / NOTE).read_text(encoding="utf-8"))
    shape = json.loads((generator_folder / rows.CONFIG).read_text(encoding="utf-8"))
    factors = shape.pop("coded")
    unet = json.loads((editor_folder / rows.CONFIG).read_text(encoding="utf-8"))["unet"]
    config = {"size": scenes.SIZE, "unet": unet, "schedule": SCHEDULE, "generator": shape, "factors": factors}
    state = {f"{editor.PART}{name}": tensor for name, tensor in load_file(editor_folder / WEIGHTS).items()}
    made = load_file(generator_folder / WEIGHTS)
    state |= {name: tensor for name, tensor in made.items() if not name.endswith(".kernel")}
    out.mkdir(parents=True, exist_ok=True)
    (out / rows.CONFIG).write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    together = {
        "recipe": "core/classroom/recipes/styleclip/train.py",
        "clip": note["clip"],
        "parts": {"editor": note, "generator": of_generator},
        "minutes": round(
            note["minutes"] + note.get("start", {}).get("minutes", 0) + of_generator["minutes"], 1
        ),
    }
    (out / NOTE).write_text(json.dumps(together, indent=1) + "\n", encoding="utf-8")
    for part, folder in (("editor", editor_folder), ("generator", generator_folder)):
        if (folder / CURVE).is_file():
            (out / f"{part}.csv").write_text((folder / CURVE).read_text(encoding="utf-8"))
    state["relevance"] = measured(config, state, row_of(out), clip)
    save_file(bytewise.packed(state), out / WEIGHTS)
    return out


@torch.no_grad()
def measured(config: dict[str, Any], state: dict[str, Tensor], row: Checkpoint, clip: str) -> Tensor:
    """[C, D] the relevance of every channel of the generator's convolutions, in half precision."""
    loaded: LoadedMiniature = assemble(config, state | {"relevance": torch.zeros(0, 1)}, row, "cpu")
    net, states = loaded.generator, loaded.states(SOURCES, 0)
    styles = net.styles(net.widen(loaded.w(states)))
    own = torch.cat([style for i, style in enumerate(styles) if i not in net.to_rgb], 1)
    things = torch.tensor([loaded.factors["thing"].index(one["thing"]) for one in states])
    miniature, which = open_miniature(clip), scenes.thing_concepts()
    # Every image has a name in each language.
    names = [miniature.names(lang, forms, which).clone()[things] for lang, forms in TEMPLATES.items()]
    return regression(own.repeat(len(names), 1), torch.cat(names)).half()
