"""Handlers of pages called as their page calls them, without a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.errors import Refusal
from core.runtime import Cancel
from demos.kit.form import form_of as form
from demos.kit.jobs import Progress, parts
from demos.kit.opening import opening_state
from demos.kit.page import Declaration

__all__ = ["form", "offered", "opened", "parts", "run"]


def run(handler: Callable[..., Any], *arguments: Any, cancel: Cancel | None = None) -> dict[str, Any]:
    """The slots that a handler fills, with "message", the sentence of a refusal or "", and "bars", its progress."""
    slots: dict[str, Any] = {"message": "", "bars": []}
    try:
        for part in parts(handler, *arguments, cancel=cancel):
            if isinstance(part, Progress):
                slots["bars"].append(part)
            else:
                slots |= part
    except Refusal as refusal:
        slots["message"] = refusal.text(arguments[-1])
    return slots


def offered(slots: Mapping[str, Any]) -> bool:
    """Whether the button that offers real weights is shown."""
    return slots["get"]["visible"] is True


def opened(declared: Declaration, query: Mapping[str, str], lang: str = "en") -> tuple[dict[str, Any], str]:
    """The fields that a page opens with at an address, and the sentence of what it refuses."""
    made = form(declared.question)
    return opening_state(declared, made, made.first, lang, query)
