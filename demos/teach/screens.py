"""The pages of a class: the one that pupils join on and the one that the teacher leads from. Scripts fill them."""

from __future__ import annotations

from functools import cache
from typing import Any

from demos.kit import library
from demos.kit.components import markup
from demos.kit.document import document
from demos.kit.language import Text, both_of
from demos.teach.plans import LANGUAGES, Plan


def texts() -> dict[str, dict[str, str]]:
    """The sentences of the scripts in both languages."""
    return dict(library.data("teach")["screens"])


@cache
def _screen(name: str, script: str) -> str:
    parts = {key: both_of(Text(**pair)) for key, pair in texts().items()}
    return document(markup(name, **parts), ["room.js", script], {"texts": texts()})


def pupil() -> str:
    """The page of pupils."""
    return _screen("class", "class.js")


def teacher() -> str:
    """The page of the teacher."""
    return _screen("lectern", "lectern.js")


def steps(plan: Plan) -> list[dict[str, Any]]:
    """Title and address of each step of a plan, by language."""
    return [
        {
            "title": {lang: step.title.get(lang) for lang in LANGUAGES},
            "address": {lang: step.address(lang) for lang in LANGUAGES},
        }
        for step in plan.steps
    ]
