"""*Train it* of the PointCLIP page: the adapter on 1, 2, 4, 8, 16 clouds of each of twenty classes, while one looks on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from core import checkpoints
from demos.draw import charts
from demos.kit import results
from demos.kit.jobs import Progress
from demos.pointclip import draw
from demos.pointclip.answer import model
from demos.pointclip.words import PAPER, say

if TYPE_CHECKING:
    from core.runtime import Cancel
    from demos.pointclip.page import Question

NEW = 5  # new clouds of each class
SEED = 1
ENCODING, PART = 0.5, 8  # share of the bar for the features; epochs between two steps of the bar


def curve(question: Question, lang: str, cancel: Cancel) -> Iterator[Any]:
    """Accuracy on new clouds over shots, beside zero-shot; then the ensemble with the supervised network. Stop keeps what
    is measured."""
    from core.classroom.recipes.pointclip import live
    from core.spatial import adapter
    from core.spatial.pointnet import SupervisedClassifier, ensemble

    start = time.perf_counter()
    classifier = model(question.checkpoint)
    new, training = live.new_clouds(NEW), live.training_clouds(SEED)
    encoded = []
    total = len(new.points) + len(training.points)
    for before, clouds in ((0, new), (len(new.points), training)):
        for done, part in live.encode(classifier, clouds, cancel=cancel):
            yield Progress(
                ENCODING * (before + done) / total, say("encoding", lang, done=before + done, total=total)
            )
            if part is not None:
                encoded.append(part)
    test, train = encoded
    texts = live.text_features(classifier, new.names("en"), live.template_for(classifier))
    scale, _ = classifier.scale_and_bias
    zero = live.accuracy(live.zero_shot(test, texts), new.labels)
    points: list[tuple[float, float]] = []
    rows = [(say("zero_shot", lang), zero)]
    logits = None
    for place, shots in enumerate(live.SHOTS):
        trained = None
        for epoch, trained in live.fit(train, shots, texts, scale, cancel=cancel):  # noqa: B007 - the last one counts
            share = ENCODING + (1 - ENCODING) * (place + epoch.epoch / epoch.epochs) / len(live.SHOTS)
            if epoch.epoch % PART == 0:
                yield Progress(share, say("learning", lang, shots=shots, loss=epoch.loss))
        if trained is None or cancel.is_set():
            break
        logits = adapter.predict(trained, test.features, texts, scale)
        points.append((place, live.accuracy(logits, new.labels)))
        rows.append((say("shots", lang, shots=shots), points[-1][1]))
        yield {"curve": figure(points, zero, lang), "table": draw.accuracy_table(rows, lang)}
    supervised = [row.name for row in checkpoints.rows(PAPER) if row.bundled]
    if supervised and logits is not None and len(points) == len(live.SHOTS):
        others = SupervisedClassifier.load(supervised[0]).logits(new.points)
        rows.append((say("supervised", lang), live.accuracy(others, new.labels)))
        rows.append((say("ensemble", lang), live.accuracy(ensemble(logits, others), new.labels)))
    line = results.line(time.perf_counter() - start, classifier.checkpoint, classifier.device, lang)
    yield {"table": draw.accuracy_table(rows, lang), "line": line}


def figure(points: list[tuple[float, float]], zero: float, lang: str) -> str:
    """The curve over shots, with zero-shot as a dashed line."""
    from core.classroom.recipes.pointclip.live import SHOTS

    ticks = [(float(place), str(shots)) for place, shots in enumerate(SHOTS)]
    guess = [(0.0, zero), (float(len(SHOTS) - 1), zero)]
    names = [say("adapter", lang), say("zero_shot", lang)]
    return charts.curve([points, guess], say("curve_title", lang), names, say("axis", lang), ticks, top=1.0)
