"""Measure a miniature ActionCLIP on new clips of things that it never saw move.

    python -m core.classroom evaluate actionclip --checkpoint classroom-actionclip [--json] [--record]

The trained motions are told from each other by name; so are, among all motions, those that were held out: no clip of them was
trained on, and their words have to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from core import checkpoints
from core.classroom.recipes.actionclip.train import HELD_OUT, trained_motions
from core.classroom.recipes.common.clip_sets import FRAMES, PART, SIZE
from core.classroom.recipes.common.fresh import row_of
from core.classroom.recipes.common.rows import Rows
from core.classroom.world.atlas import open_atlas
from core.classroom.world.clips import ClipSettings, ClipSpec, render_clips, sample_clips, times
from core.classroom.world.concepts import seen, unseen
from core.classroom.world.motions import ACTIONS, MOTIONS
from core.classroom.world.wording import LANGUAGES
from core.video.actionclip import objectives, prompts
from core.video.actionclip.recognizer import ActionRecognizer, templates_of

CLIPS = 390
SEED = 13_000


class Candidate:
    """A miniature ActionCLIP, a bundled row or the folder of an export, in float32 on the CPU."""

    def __init__(self, checkpoint: str) -> None:
        self.row = row_of(checkpoint, "actionclip")
        self.model = ActionRecognizer.load(self.row, "cpu", torch.float32)

    @torch.inference_mode()
    def clips(self, spec: ClipSpec) -> Tensor:
        """Drawn clips as features [B, D], not normalised."""
        atlas, parts = open_atlas(), []
        with self.model.video() as loaded:
            preprocess: Any = loaded.encoder.preprocess
            normalise = preprocess.transform.transforms[-1]
            head: Any = loaded.heads["post"]
            for at in range(0, len(spec), PART):
                picture = render_clips(spec.take(slice(at, at + PART)), atlas, times(FRAMES), SIZE).picture
                pixels = normalise(picture.flatten(0, 1))
                if loaded.tower is not None:
                    frames = loaded.tower.clips(pixels.unflatten(0, (-1, FRAMES)))
                else:
                    frames = loaded.encoder.vision(pixels).image_features.unflatten(0, (-1, FRAMES))
                parts.append(head(frames.float()))
        return torch.cat(parts)

    def probabilities(self, clips: Tensor, motions: Sequence[str], lang: str, kind: str = "all") -> Tensor:
        """[B, N] of the motions by their names."""
        templates = templates_of(self.row, kind, lang)
        labels = [ACTIONS[name][lang == "zh"] for name in motions]
        texts = torch.from_numpy(self.model.encode_text(prompts.sentences(labels, templates)))
        return objectives.probabilities(clips, texts, len(templates), self.model.logit_scale)


def exam(motions: Sequence[str], count: int = CLIPS, known: bool = False, seed: int = SEED) -> ClipSpec:
    """New clips of these motions; of things that were never seen moving, unless `known`."""
    settings = ClipSettings(motions=tuple(motions), concepts=seen() if known else unseen())
    return sample_clips(count, seed, open_atlas(), settings)


def top1(
    model: Candidate, clips: Tensor, spec: ClipSpec, offered: Sequence[str], lang: str, kind: str = "all"
) -> float:
    """The share of clips whose own motion is the likeliest of those offered."""
    place = {MOTIONS.index(name): at for at, name in enumerate(offered)}
    own = torch.tensor([place[i] for i in spec.motion.tolist()])
    return float((model.probabilities(clips, offered, lang, kind).argmax(1) == own).float().mean())


def evaluate(checkpoint: str, count: int = CLIPS, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """All measures as rows of the report card."""
    model = Candidate(checkpoint)
    rows = Rows("actionclip", checkpoint, say)
    trained, held = exam(trained_motions(), count), exam(HELD_OUT, count // 3, seed=SEED + 1)
    of_trained, of_held = model.clips(trained), model.clips(held)
    familiar = exam(trained_motions(), count, known=True, seed=SEED + 2)
    of_familiar = model.clips(familiar)
    for lang in LANGUAGES:
        rows.add(
            "motion top-1",
            "things seen moving",
            lang,
            top1(model, of_familiar, familiar, trained_motions(), lang),
        )
        rows.add(
            "motion top-1",
            "things never seen moving",
            lang,
            top1(model, of_trained, trained, trained_motions(), lang),
        )
        rows.add(
            "motion top-1, two motions held out by name",
            "zero-shot",
            lang,
            top1(model, of_held, held, MOTIONS, lang),
        )
    own = checkpoints.row(model.row).options.get("templates", {})
    for kind in ("prefix", "cloze", "suffix", "bare"):
        if "en" not in own:
            value = top1(model, of_trained, trained, trained_motions(), "en", kind)
            rows.add("motion top-1 by kind of sentence", kind, "en", value)
    return rows.measured
