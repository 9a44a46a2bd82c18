"""Values of named endpoints held against the types of their parameters: Gradio hands over whatever was sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, get_type_hints

import gradio as gr
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from core.errors import Refusal
from demos.kit.events import api_errors

SHOWN = 60  # characters of a wrong value that its refusal repeats
# NaN and infinity are numbers to JSON's readers and to nobody else.
CONFIG = ConfigDict(allow_inf_nan=False)


def adapters(function: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """What checks each parameter; pictures and what Gradio hands over itself are left to others."""
    found: dict[str, TypeAdapter[Any]] = {}
    for name, hint in get_type_hints(function).items():
        if name == "return" or "FileData" in repr(hint) or hint in (gr.Request, gr.Progress):
            continue
        try:
            found[name] = TypeAdapter(hint, config=CONFIG)
        except PydanticSchemaGenerationError:
            continue
    return found


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint's function that is only called with values of its parameters' types.

    A wrong one is a sentence that names the parameter, for the caller; nothing is logged.
    """
    checks = adapters(function)
    signature = inspect.signature(function)

    def bound(values: tuple[Any, ...]) -> inspect.BoundArguments:
        arguments = signature.bind(*values)
        for name, value in arguments.arguments.items():
            if name in checks:
                arguments.arguments[name] = _right(name, value, checks[name], signature)
        return arguments

    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def stream(*values: Any) -> Iterator[Any]:
            with api_errors():
                arguments = bound(values)
            yield from function(*arguments.args, **arguments.kwargs)

        return stream

    @wraps(function)
    def call(*values: Any) -> Any:
        with api_errors():
            arguments = bound(values)
        return function(*arguments.args, **arguments.kwargs)

    return call


def _right(name: str, value: Any, check: TypeAdapter[Any], signature: inspect.Signature) -> Any:
    try:
        return check.validate_python(value)
    except ValidationError:
        # As it is written in the source, or as it reads where it is no text.
        hint = signature.parameters[name].annotation
        wanted = hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
        raise Refusal("wrong_value", name=name, wanted=wanted, value=repr(value)[:SHOWN]) from None


def check_endpoints(demo: gr.Blocks) -> None:
    """Puts the check in front of every named endpoint of an app."""
    for event in demo.fns.values():
        if event.api_visibility == "public" and event.fn is not None:
            event.fn = checked(event.fn)
