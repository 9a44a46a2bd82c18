"""The settings of an edit: one flat record for all methods, each of which reads its own part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from core import checkpoints, inputs
from core.editing import rows
from core.errors import Refusal

DEFAULTS: dict[str, dict[str, Any]] = {
    "sdedit": {"steps": 30, "strength": 0.75, "text_guidance": 7.5},
    "inversion": {"steps": 30, "strength": 1.0, "text_guidance": 3.0},
    "instruct": {"steps": 20, "strength": 1.0, "text_guidance": 7.5, "image_guidance": 1.5},
    "guidance": {"steps": 50, "strength": 0.5, "pull": 60.0},
    "optimization": {"steps": 40, "rate": 0.1, "distance": (0.008,)},
    "stylespace": {"steps": 40, "rate": 0.1, "distance": (0.008,)},
    "mapper": {"steps": 220, "rate": 0.1, "strength": 1.0, "distance": (0.8,), "likeness": 0.1},
    "global_direction": {"steps": 1, "alpha": 4.1, "beta": 0.15},
}
# Of the miniature, which has learned its own guidance and whose latents are smaller. With 16 steps of its editor a sketch shows
# another thing more often.
CLASSROOM: dict[str, dict[str, Any]] = {
    "instruct": {"steps": 8, "text_guidance": 1.5, "image_guidance": 1.0},
    "sdedit": {"steps": 8, "strength": 0.7, "text_guidance": 1.5},
    "optimization": {"distance": (0.0001,)},
    "stylespace": {"distance": (0.002,)},
    "mapper": {"steps": 120, "rate": 10.0, "distance": (0.05,), "likeness": 0.0},
    "global_direction": {"alpha": 4.0, "beta": 0.08},
}
# The limits of every number, and how many steps each kind of method may take.
LIMITS = {
    "strength": (0.01, 1.0),
    "text_guidance": (0.0, 50.0),
    "image_guidance": (0.0, 50.0),
    "pull": (0.0, 10_000.0),
    "rate": (0.0, 10.0),
    "likeness": (0.0, 100.0),
    "alpha": (-100.0, 100.0),
    "beta": (0.0, 1.0),
}
DISTANCE = (0.0, 100.0)
FURTHEST = 5.0  # times the way of a mapper
LATENT_STEPS, STEPS = 1000, 200


@dataclass(frozen=True)
class EditSettings:
    """How an image is changed.

    steps: of the schedule, the optimisation or the mapper's training. strength: the share of a schedule that is run, all of
    which forgets the image; of a mapper how far its way is gone. text_guidance, image_guidance: how much further than the
    prediction one goes; 1 is the prediction itself. pull: of CLIP's gradient. neutral: what the image shows, for the inversion,
    the global direction and the opinions. guide: the row of CLIP that pulls; the row's own where it is empty. rate: of
    learning. distance: weights of the squared distance; several give one edit each, all in one batch, and the first is the
    answer. likeness: weight of 1 - cosine of CLIP's features before and after. alpha, beta: of a global direction.
    """

    method: str
    steps: int = 30
    strength: float = 1.0
    text_guidance: float = 7.5
    image_guidance: float = 1.5
    pull: float = 60.0
    neutral: str = ""
    seed: int = 0
    guide: str = ""
    rate: float = 0.1
    distance: tuple[float, ...] = (0.008,)
    likeness: float = 0.0
    alpha: float = 4.1
    beta: float = 0.15


def of(checkpoint: str, method: str | None = None, **chosen: Any) -> EditSettings:
    """The settings of a method: its own numbers, then the row's, then what is chosen; None is not chosen.

    The row's first method without a name.

    Raises:
        Refusal: "unknown_checkpoint", "other_checkpoint"; "unknown_method" for one that the row's weights cannot do.
    """
    known = rows.methods(checkpoint)
    method = method or known[0]
    if method not in known:
        raise Refusal("unknown_method", name=str(method)[:40], known=", ".join(known))
    row = checkpoints.row(checkpoint)
    own = row.options.get("settings", {})
    if row.loader == rows.CLASSROOM:
        own = CLASSROOM.get(method, {})
    made = {name: value for name, value in chosen.items() if value is not None}
    return EditSettings(method, **{"guide": rows.guide(checkpoint), **DEFAULTS[method], **own, **made})


def neutral(text: str) -> str:
    """What an image shows; an empty text says nothing of it.

    Raises:
        Refusal: "no_text" for what is no text, "text_too_long".
    """
    return "" if isinstance(text, str) and not text.strip() else inputs.text(text)


def checked(s: EditSettings, checkpoint: str) -> EditSettings:
    """The settings with their guide, and a seed in place of "any".

    Raises:
        Refusal: "unknown_method", "out_of_range", "bad_seed", "no_text", "text_too_long".
    """
    known = rows.methods(checkpoint)
    if s.method not in known:
        raise Refusal("unknown_method", name=s.method[:40], known=", ".join(known))
    latent = s.method in rows.LATENT
    limits = LIMITS | ({"strength": (0.0, FURTHEST)} if s.method == "mapper" else {})
    numbers = {name: inputs.number(name, getattr(s, name), *both) for name, both in limits.items()}
    distance = tuple(inputs.number("distance", one, *DISTANCE) for one in s.distance)
    steps = int(inputs.number("steps", s.steps, 1, LATENT_STEPS if latent else STEPS))
    return replace(
        s,
        steps=steps,
        distance=distance or EditSettings.distance,
        neutral=neutral(s.neutral),
        seed=inputs.seed(s.seed),
        guide=s.guide or rows.guide(checkpoint),
        **numbers,  # type: ignore[arg-type]
    )
