"""The lessons of the DepthCLIP page: how the outcome of a step is computed by the chosen checkpoint."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from demos.depthclip import draw
from demos.depthclip.answer import model
from demos.kit.walkthrough import Case, Outcome


def ask(case: Case, **changes: Any) -> Any:
    """The depth of the step's image, with other words where the step changes them."""
    from core.spatial.depthclip import words_for

    return model(case.checkpoint).estimate(
        case.image, replace(words_for(case.checkpoint, case.lang), **changes)
    )


def outside(case: Case) -> Outcome:
    """Whether any depth lies outside of the bins."""
    result = ask(case)
    body = draw.overlay(case.image, result, case.lang)
    return Outcome(
        int(not (result.depth.max() > max(result.bins) or result.depth.min() < min(result.bins))), body
    )


def doubled(case: Case) -> Outcome:
    """What twice the metres of every word do to the map."""
    one = ask(case)
    other = ask(case, bins=tuple(2 * value for value in one.bins))
    is_scaled = bool(np.allclose(other.depth, 2 * one.depth, rtol=1e-3))
    body = draw.overlay(case.image, one, case.lang) + draw.overlay(case.image, other, case.lang)
    return Outcome(0 if is_scaled else 1, body)


def flat(case: Case) -> Outcome:
    """What a very high temperature does."""
    one, other = ask(case), ask(case, temperature=900.0)
    body = draw.overlay(case.image, one, case.lang) + draw.overlay(case.image, other, case.lang)
    spans = float(np.ptp(one.depth)), float(np.ptp(other.depth))
    return Outcome(0 if spans[1] < 0.5 * spans[0] else 1 if spans[1] < 1.5 * spans[0] else 2, body)


KINDS = {kind.__name__: kind for kind in (outside, doubled, flat)}
