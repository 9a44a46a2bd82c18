"""Handlers of pages called as their page calls them, without a server."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import gradio as gr

from core.errors import Refusal
from core.runtime import Cancel
from demos.kit.events import Shell
from demos.kit.form import PLACES, Form
from demos.kit.jobs import Progress
from demos.kit.page import Declaration, opening_state


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


def opened(declared: Declaration, query: Mapping[str, str], lang: str = "en") -> tuple[dict[str, Any], str]:
    """The fields that a page opens with at an address, and the sentence of what it refuses."""
    made = form(declared.question)
    return opening_state(declared, made, made.first, lang, query)


@cache
def form(question: type[Any]) -> Form:
    """The components of a page's question, without the page around them."""
    with gr.Blocks():
        made = Form(question, Shell())
        for place in PLACES:
            made.lay_out(place)
    return made
