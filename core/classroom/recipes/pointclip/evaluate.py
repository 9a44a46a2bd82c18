"""Measure PointCLIP on new classroom clouds: zero-shot, few shots over three seeds, the supervised network, the ensemble.

    python -m core.classroom evaluate pointclip --checkpoint classroom-rn

New clouds have drawings that no training cloud has (`clouds.NEW`). Zero-shot uses the published six views with weight 1.
Its sentence and the size of the depth images were chosen by hand while ten other classes (`clouds.OTHERS`) and the twenty that
are measured here were looked at: zero-shot numbers may be a little too good for that. "aligned" clouds are turned by a few
degrees, as those of ModelNet40 are not at all; "upright" ones by any angle about the vertical axis, "any" ones in any way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from core.classroom.recipes.common.fresh import clip_row
from core.classroom.recipes.common.rows import Rows
from core.classroom.recipes.pointclip import live
from core.classroom.world import clouds
from core.spatial import adapter
from core.spatial.pointclip import CHINESE_TEMPLATE, PLAIN_TEMPLATE, PointClassifier
from core.spatial.pointnet import SupervisedClassifier, ensemble

CLOUDS = 10  # of each class
SEEDS = (1, 2, 3)
ROTATIONS = ("aligned", "upright", "any")
POINTNET = "classroom-pointnet"
TEMPLATES = {"en": PLAIN_TEMPLATE, "zh": CHINESE_TEMPLATE}


def evaluate(
    checkpoint: str, say: Callable[[str], None] = print, count: int = CLOUDS, pointnet: str = POINTNET
) -> list[dict[str, Any]]:
    """All rows of the report card for a CLIP, a bundled row or the folder of an export."""
    rows = Rows("pointclip", checkpoint, say)
    model = PointClassifier.load(clip_row(checkpoint), "cpu")
    scale, _ = model.scale_and_bias
    for rotation in ROTATIONS:
        new = live.new_clouds(count, replace(clouds.NEW, rotation=rotation))
        encoded = live.encoded(model, new, few_shot=False)
        for lang, template in TEMPLATES.items():
            texts = live.text_features(model, new.names(lang), template)
            rows.add(
                "zero-shot top-1, 20 classes",
                rotation,
                lang,
                live.accuracy(live.zero_shot(encoded, texts), new.labels),
            )
    new = live.new_clouds(count)
    test = live.encoded(model, new)
    texts = live.text_features(model, new.names("en"), live.template_for(model))
    others = SupervisedClassifier.load(pointnet, "cpu").logits(new.points)
    found: dict[str, list[float]] = {}
    for seed in SEEDS:
        train = live.encoded(model, live.training_clouds(seed))
        for shots in live.SHOTS:
            *_, (_, net) = live.fit(train, shots, texts, scale, replace(live.SETTINGS, seed=seed))
            logits = adapter.predict(net, test.features, texts, scale)
            found.setdefault(f"{shots} shots", []).append(live.accuracy(logits, new.labels))
        found.setdefault("ensemble, 16 shots", []).append(live.accuracy(ensemble(logits, others), new.labels))
    for name, values in found.items():
        rows.add("top-1, 20 classes", f"{name}, mean of three", "en", float(np.mean(values)))
        rows.add("top-1, 20 classes", f"{name}, least of three", "en", min(values))
    rows.add("top-1, 20 classes", "PointNet alone", "en", live.accuracy(others, new.labels))
    return rows.measured
