"""Handlers of pages called as their page calls them, without Gradio."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from core.errors import Refusal
from core.runtime import Cancel
from demos.kit.jobs import Progress


def parts(handler: Callable[..., Any], *arguments: Any, cancel: Cancel | None = None) -> Iterator[Any]:
    """What a handler or a job yields for its arguments, the language last."""
    if inspect.isgeneratorfunction(handler):
        yield from handler(*arguments, cancel or Cancel())
    else:
        yield handler(*arguments)


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
