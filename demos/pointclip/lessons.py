"""The lessons of the PointCLIP page: how the outcome of a step is computed by the chosen checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np

from core import inputs
from demos.draw import base
from demos.kit import walkthrough
from demos.kit.classifier import language
from demos.kit.html import Markup
from demos.kit.walkthrough import Outcome, Step
from demos.pointclip import draw
from demos.pointclip.answer import model, projection_of, rows_of
from demos.pointclip.words import data, examples


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted in a step, by its kind."""
    return list(data()["choices"][step["kind"]][lang])


def card(step: Step, lang: str) -> Markup:
    """The cloud of a step."""
    row = examples()[step["example"]]
    return walkthrough.image(row["path"], row["caption"][lang], "")


def outcome(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which choice came true."""
    classifier = model(checkpoint)
    row = examples()[step["example"]]
    cloud = inputs.points(row["cloud"])
    labels = row["labels"][language(classifier.checkpoint, lang)]
    settings = projection_of("v1", classifier.checkpoint)

    def ask(name: str = "v1", weights: Any = None) -> Any:
        return classifier.classify(
            cloud, labels, None, weights, projection=projection_of(name, classifier.checkpoint)
        )

    result = ask()
    body = base.probability_bars(rows_of(result), lang, 4) + draw.views(result, settings, lang)
    if step["kind"] == "agree":
        best = int(result.order[0])
        agreeing = int((result.view_probabilities.argmax(1) == best).sum())
        return Outcome(0 if agreeing == len(result.views) else 1 if agreeing > 1 else 2, body)
    if step["kind"] == "weights":
        # The label that wins when only one view counts: how many different ones there are.
        winners = len(set(result.view_probabilities.argmax(1).tolist()))
        return Outcome(0 if winners == 1 else 1 if winners == 2 else 2, body)
    if step["kind"] == "filled":
        covered = [float((one.views != one.views[0, 0, 0]).mean()) for one in (result, ask("v2"))]
        other = ask("v2")
        body += draw.views(other, projection_of("v2", classifier.checkpoint), lang)
        return Outcome(int(np.argmax(covered)) if abs(covered[0] - covered[1]) > 0.02 else 2, body)
    right = result.labels[int(result.order[0])] == inputs.labels(labels)[0]
    return Outcome(0 if right else 1, body)
