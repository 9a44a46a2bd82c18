"""Search over files: what the miniature finds among new scenes, films and sounds of the classroom.

    python -m benchmarks.retrieval [--files 2000] [--galleries 1] [--record]

The files are indexed as anybody's, and asked for. Captions are also asked in the way of the CLIP page's report card, of the same
scenes without files, so that like is compared with like. More galleries of 256 scenes make these shares more certain.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.search import line
from core import inputs, terminal
from core.classroom import report as report_card
from core.classroom.recipes.clip import evaluate
from core.classroom.recipes.common.miniature import open_miniature
from core.classroom.recipes.common.rows import stamped
from core.classroom.world.atlas import open_atlas
from core.classroom.world.captions import Writer
from core.classroom.world.clips import ClipSettings, render_clips, sample_clips, times
from core.classroom.world.concepts import concepts
from core.classroom.world.scenes import compose, render
from core.classroom.world.sound_set import wav
from core.classroom.world.sounds import SOUNDING, made, sounding
from core.classroom.world.specs import SceneSettings, sample
from core.classroom.world.wording import phrase
from core.mp4 import mp4
from core.search import index, query
from core.search.ranking import Hit
from core.search.spaces import Space
from core.search.store import Filter, open_store

COMMAND = "python -m benchmarks.retrieval"
PAIRS, GALLERY, SHOTS, SIDE = 256, 64, 4, 128
SEED = 77_000
Shots = dict[str, list[tuple[tuple[str, str], float, float]]]


def retrieval(folder: Path, files: int, count: int) -> list[dict[str, Any]]:
    """Share of questions whose first hit is right, as rows of the report card."""
    galleries, shots, sounds = write_classroom(folder, files, count)
    space, store = Space("classroom-rn"), open_store(folder / "index")
    start = time.perf_counter()
    *_, step = index.update(store, space, folder / "files", root="new")
    stats, seconds = store.table(space.visual).stats(), time.perf_counter() - start
    line("files, pieces, seconds of indexing", f"{stats.files}, {stats.pieces}, {seconds:.0f}")
    assert not step.failures, step.failures[:3]
    rows = []

    def first(terms: list[query.Term], **where: Any) -> Hit:
        return query.search(store, space, terms, Filter(roots=("new",), **where), size=1).hits[0]

    def share(measure: str, split: str, lang: str, right: list[bool], bar: str) -> None:
        value = float(np.mean(right))
        line(f"{measure}, {split}, {lang}", f"{value:.3f} of {len(right)}", bar)
        row = {"paper": "clifs", "measure": measure, "split": split, "language": lang, "unit": "share"}
        rows.append(stamped({**row, "value": round(value, 4)}, space.checkpoint, COMMAND))

    things = sorted({thing for film in shots.values() for thing, _, _ in film})
    for at, lang in enumerate(("en", "zh")):
        measure = f"caption to image R@1 of {PAIRS}"
        for split, whole in (("with squares", False), ("whole frames", True)):
            right = [
                first([query.Term(text[lang])], folder=name, whole=whole).row.path == path
                for name, gallery in galleries.items()
                for path, text in gallery.texts.items()
            ]
            share(measure, split, lang, right, "the CLIP page's way, below")
        right = [one for gallery in galleries.values() for one in gallery.right(space.checkpoint, lang)]
        share(measure, "the CLIP page's way, no files", lang, right, "")
        right = []
        for thing in things:
            hit = first([query.Term(thing[at])], kinds=("video",)).row
            near = [s for name, s, e in shots[hit.path] if name == thing and s - 1 <= hit.start <= e + 1]
            right.append(bool(near))
        share("moment of a film, rank 1", "within a second", lang, right, ".8")
    right = []
    for path, drawing in sounds.items():
        match = first([query.Term(inputs.sound(folder / "files" / path))], folder="gallery")
        right.append(match.row.path == drawing)
    share(f"sound to image, R@1 of {GALLERY}", "new drawings", "en", right, ".6")
    return rows


@dataclass(frozen=True)
class Gallery:
    """Scenes of two things that were written to files."""

    seed: int
    texts: dict[str, dict[str, str]]  # path -> language -> caption

    def right(self, checkpoint: str, lang: str) -> list[bool]:
        """Which captions find their scene as the CLIP page measures it: drawn at the encoder's size, without files."""
        model = open_miniature(checkpoint)
        scenes = compose(self.seed, PAIRS, evaluate.PAIRS, size=model.size, atlas=open_atlas())
        cosines = model.texts([text[lang] for text in self.texts.values()]) @ model.images(scenes.picture).T
        found: list[bool] = [int(best) == at for at, best in enumerate(cosines.argmax(1))]
        return found


def write_classroom(folder: Path, files: int, count: int) -> tuple[dict[str, Gallery], Shots, dict[str, str]]:
    """New scenes, films and sounds: galleries of pairs, shots of films (names, start, end), the drawing of each sound."""
    atlas = open_atlas()
    pairs = [f"pairs{at}" for at in range(count)]
    for name in (*pairs, "scenes", "gallery", "films", "sounds"):
        (folder / "files" / name).mkdir(parents=True)

    def save(picture: Any, path: str) -> str:
        pixels = (picture.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / "files" / path)
        return path

    galleries = {}  # as in the evaluation of CLIP: two things, pairs that no training showed
    for at, name in enumerate(pairs):
        seed = SEED + 1000 * at
        scenes = compose(seed, PAIRS, evaluate.PAIRS, size=SIDE, atlas=atlas)
        writer = Writer(scenes.spec)
        texts = {
            save(scenes.picture[i], f"{name}/{i:04d}.png"): {
                lang: writer.content(i, lang).text for lang in ("en", "zh")
            }
            for i in range(PAIRS)
        }
        galleries[name] = Gallery(seed, texts)
    own = [concept.index for concept in sounding()]
    others = [i for i in range(0, len(concepts()), 11) if i not in own][: GALLERY - len(own)]
    for i in (*own, *others):
        settings = SceneSettings(kinds=(1, 0, 0, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.5, concepts=(i,))
        save(render(sample(1, SEED + i, atlas, settings), atlas, SIDE).picture[0], f"gallery/{i:04d}.png")
    sounds = {}
    each = 8 if files >= 1000 else 1
    for code, concept in zip(SOUNDING, own, strict=True):
        for take, wave in enumerate(made(code, each, SEED)):
            path = f"sounds/{code}_{take}.wav"
            (folder / "files" / path).write_bytes(wav(wave))
            sounds[path] = f"gallery/{concept:04d}.png"
    shots: Shots = {}
    for number in range(files // 10):
        spec = sample_clips(
            SHOTS,
            SEED + number,
            atlas,
            ClipSettings(company=0.0, camera=0.0, motions=("right", "left", "up")),
        )
        picture = render_clips(spec, atlas, times(16), SIDE).picture.flatten(0, 1)
        frames = (picture.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
        path = f"films/{number:04d}.mp4"
        (folder / "files" / path).write_bytes(mp4(iter(frames), [125] * len(frames)))
        names = [concepts()[int(i)] for i in spec.scene.concept[:, 0]]
        shots[path] = [((phrase(c.en, "en"), c.zh), 2.0 * at, 2.0 * at + 2) for at, c in enumerate(names)]
    rest = max(0, files - PAIRS * len(galleries) - GALLERY - len(sounds) - len(shots))
    for start in range(0, rest, 256):
        some = min(256, rest - start)
        scenes = compose(SEED + 1 + start, some, SceneSettings(), size=SIDE, atlas=atlas)
        for i in range(some):
            save(scenes.picture[i], f"scenes/{start + i:04d}.png")
    return galleries, shots, sounds


def main(arguments: list[str] | None = None) -> int:
    """Asks for the files and prints the shares of right answers."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retrieval",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--galleries", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="put the shares into assets/report_card.json")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="clip-atlas-bench-") as folder:
        rows = retrieval(Path(folder), args.files, args.galleries)
    if args.record:
        report_card.record(rows)
    return 0


if __name__ == "__main__":
    sys.exit(terminal.run(main))
