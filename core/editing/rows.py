"""What the rows of the page can do, told from the registry alone: nothing is loaded, and no network is asked."""

from __future__ import annotations

import json

from core import checkpoints

_LOADED = "core.editing.pipelines:load_"
CLASSROOM, GENERATOR = f"{_LOADED}classroom", f"{_LOADED}generator"
PIXELS, PIPELINE = f"{_LOADED}pixels", f"{_LOADED}pipeline"
LOADERS = frozenset((CLASSROOM, GENERATOR, PIXELS, PIPELINE))
CONFIG = "config.json"  # of the classroom's row
# Those that move a latent of a generator; the others work on an image.
LATENT = ("optimization", "stylespace", "mapper", "global_direction")
METHODS = {
    CLASSROOM: ("instruct", "sdedit", *LATENT),
    GENERATOR: ("optimization", "stylespace"),
    PIXELS: ("guidance",),
}
OF_PIPELINES = {"image": ("sdedit", "inversion"), "instruct": ("instruct",)}
STARTS = {CLASSROOM: ("seed", "state", "image", "text"), GENERATOR: ("seed",)}
# The CLIP that guides where a row requires none, and for each guide the one that did not guide.
GUIDE = "clip-vit-b32"
OTHERS = {
    "classroom-rn": "classroom-vit",
    "classroom-vit": "classroom-rn",
    GUIDE: "clip-rn50",
    "clip-rn50": GUIDE,
}


def methods(checkpoint: str) -> tuple[str, ...]:
    """What the weights of a row can do; the first is what is done where none is named.

    Raises:
        Refusal: "unknown_checkpoint", "other_checkpoint".
    """
    row = checkpoints.row(checkpoint, lambda one: one.loader in LOADERS)
    return OF_PIPELINES[row.options["pipeline"]] if row.loader == PIPELINE else METHODS[row.loader]


def starts(checkpoint: str) -> tuple[str, ...]:
    """What an edit with a row may begin from.

    Raises:
        Refusal: "unknown_checkpoint", "other_checkpoint".
    """
    row = checkpoints.row(checkpoint, lambda one: one.loader in LOADERS)
    return STARTS.get(row.loader, ("image",))


def factors(checkpoint: str) -> dict[str, tuple[str, ...]]:
    """What a state may name, by factor; nothing for rows that begin at no state."""
    row = checkpoints.row(checkpoint)
    if row.loader != CLASSROOM:
        return {}
    config = json.loads((row.folder / CONFIG).read_text(encoding="utf-8"))
    return {name: tuple(values) for name, values in config["factors"].items()}


def guide(checkpoint: str) -> str:
    """The row of the CLIP that guides the edits of a row."""
    return next(iter(checkpoints.row(checkpoint).requires), GUIDE)


def other(checkpoint: str, guide_: str | None = None) -> str:
    """The row of the CLIP that had no part in an edit with this guide, or with the row's own."""
    return OTHERS.get(guide_ or guide(checkpoint), GUIDE)
