"""Measures what cosines a miniature gives to matching and to strange pairs, and records them for the CLIP page.

    python -m core.classroom.recipes.clip.matches

Half of the scenes show one thing; their text is its name, bare or in a sentence, as labels are. Half show two things of pairs
that training left out; their text is a caption that names both, or the name of one. A strange pair is an image and the text of
another one that names nothing in the image.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import torch

from core import checkpoints, terminal
from core.classroom.recipes.clip.evaluate import PAIRS, SINGLE
from core.classroom.recipes.common.miniature import Miniature, open_miniature
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.captions import Writer
from core.classroom.world.concepts import concepts
from core.classroom.world.scenes import compose
from core.classroom.world.wording import LANGUAGES, TEMPLATES, phrase
from core.clip import matching

ROWS = ("classroom-rn", "classroom-vit")
SEED, COUNT = 5000, 256  # of each kind of scene; evaluation seeds are below 2**20
COMMAND = "python -m core.classroom.recipes.clip.matches"


def pairs(model: Miniature, atlas: Atlas, lang: str, checkpoint: str, count: int = COUNT) -> matching.Pairs:
    """The histograms of one miniature in one language."""
    images, texts = [], []
    shown: list[set[int]] = []  # things in each image
    named: list[set[int]] = []  # things in each text
    for kind, settings in enumerate((SINGLE, PAIRS)):
        scenes = compose(SEED + kind, count, settings, size=model.size, atlas=atlas)
        images.append(model.images(scenes.picture))
        writer = Writer(scenes.spec)
        present = scenes.spec.present.tolist()
        for i in range(count):
            own = [c for c, there in zip(writer.concept[i], present[i], strict=True) if there]
            is_caption = kind == 1 and i % 2 == 0
            texts.append(writer.content(i, lang).text if is_caption else _name(own[0], lang, i))
            shown.append(set(own))
            named.append(set(own) if is_caption else {own[0]})
    cosines = (torch.cat(images) @ model.texts(texts).T).numpy()
    apart = np.array([[not (things & words) for words in named] for things in shown])
    return matching.counted(checkpoint, lang, cosines, apart, COMMAND)


def _name(concept: int, lang: str, i: int) -> str:
    """A thing's bare name, or its name in one of the sentences that labels are put into."""
    word = concepts()[concept].name(lang)
    forms = ("{n}", *TEMPLATES[lang])
    return forms[i % len(forms)].format(phrase(word, lang), n=word)


def main() -> int:
    """Measures all miniatures and writes the record."""
    atlas = open_atlas()
    rows: dict[str, dict[str, Any]] = {}
    for name in ROWS:
        model, sha256 = open_miniature(name), checkpoints.row(name).files[0].sha256
        rows[name] = {"sha256": sha256}
        for lang in LANGUAGES:
            made = pairs(model, atlas, lang, name)
            rows[name][lang] = matching.as_record(made)
            missed, passed = made.wrong
            print(
                f"{name} {lang}: line {made.line:.3f}, matching below {missed:.3f}, strange above {passed:.3f}"
            )
    record = {"command": COMMAND, "seed": SEED, "scenes": 2 * COUNT, "rows": rows}
    matching.RECORD.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(terminal.run(main))
