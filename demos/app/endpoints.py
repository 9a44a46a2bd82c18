"""Calls of named endpoints held against their parameters: Gradio hands over whatever was sent, or says nothing of it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from typing import Any, get_type_hints

import gradio as gr
from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from core.errors import Refusal
from demos.kit.events import api_errors

QUOTED = 60  # characters of a wrong value that its refusal repeats
# A call by plain HTTP: by position, or (v2) by name.
CALL = re.compile(r"/gradio_api/call/(?P<by_name>v2/)?(?P<name>[^/]+)/?$")
# NaN and infinity are numbers to JSON's readers and to nobody else.
CONFIG = ConfigDict(allow_inf_nan=False)


def adapters(function: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """What checks each parameter; images and what Gradio hands over itself are left to others."""
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
        return check.validate_python(_from_json(value, check))
    except ValidationError:
        # As it is written in the source, or as it reads where it is no text.
        hint = signature.parameters[name].annotation
        wanted = hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
        raise Refusal("wrong_value", name=name, wanted=wanted, value=repr(value)[:QUOTED]) from None


def _from_json(value: Any, check: TypeAdapter[Any]) -> Any:
    """The list or object that was sent as its JSON text, as language models do; any other value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):
            return check.validate_python(json.loads(value))
    return value


def arranged(demo: gr.Blocks, path: str, body: Any) -> Any:
    """The body of a call by plain HTTP as Gradio takes it: optional values that were left out are filled in.

    Args:
        demo: the app.
        path: the address of the call; any other address leaves the body as it is.
        body: parsed JSON; None where it was none.

    Raises:
        Refusal: "unknown_endpoint", "not_a_call", "unknown_parameter", "missing_value", "too_many_values".
    """
    call = CALL.search(path)
    if call is None:
        return body
    name, by_name = call["name"], bool(call["by_name"])
    event = next((e for e in demo.fns.values() if e.api_visibility == "public" and e.api_name == name), None)
    if event is None or event.fn is None:
        raise Refusal("unknown_endpoint", name=name[:QUOTED])
    parameters = {
        parameter.name: parameter.default
        for parameter in inspect.signature(event.fn, eval_str=True).parameters.values()
        if parameter.annotation not in (gr.Request, gr.Progress)
    }
    needed = [parameter for parameter, default in parameters.items() if default is inspect.Parameter.empty]
    if not isinstance(body, dict) or not (by_name or isinstance(body.get("data"), list)):
        form = ", ".join(f'"{parameter}": ...' for parameter in needed) if by_name else '"data": [...]'
        raise Refusal("not_a_call", name=name, form=f"{{{form}}}")
    sent = list(body) if by_name else list(parameters)[: len(body["data"])]
    if by_name and (unknown := next((key for key in sent if key not in parameters), None)):
        raise Refusal("unknown_parameter", name=name, parameter=unknown[:QUOTED], known=", ".join(parameters))
    if not by_name and len(body["data"]) > len(parameters):
        raise Refusal("too_many_values", name=name, count=len(body["data"]), known=", ".join(parameters))
    if missing := next((parameter for parameter in needed if parameter not in sent), None):
        raise Refusal("missing_value", name=name, parameter=missing)
    if by_name:
        return body
    return {**body, "data": [*body["data"], *list(parameters.values())[len(sent) :]]}


def check_endpoints(demo: gr.Blocks) -> None:
    """Puts the check in front of every named endpoint of an app."""
    for event in demo.fns.values():
        if event.api_visibility == "public" and event.fn is not None:
            event.fn = checked(event.fn)
