"""Gradio's Blocks, made and started at less cost.

Gradio builds the whole server (every route, the configuration of every component) four times: when Blocks is made, when
its `with` block ends, in `queue()` and in `launch()`; only the last one serves. It also inspects the same signatures
again for every component and event. It offers no switch for either, so both are changed here, for as long as pages are
made. tests/app/test_blocks.py holds the result against Gradio's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import FunctionType
from typing import Any

import gradio as gr
from gradio.routes import App


class Blocks(gr.Blocks):
    """The pages of one app; `app` and `config` exist once it is launched."""

    def queue(self, *args: Any, **settings: Any) -> Blocks:
        """Sets the queue."""
        with _no_server():
            super().queue(*args, **settings)
        return self

    def __exit__(self, *error: Any) -> None:
        with _no_server():
            super().__exit__(*error)

    def get_config_file(self) -> Any:
        """The configuration of all pages; empty until they are complete."""
        return super().get_config_file() if self.exited else {}

    def launch(self, *args: Any, **options: Any) -> Any:
        """Builds the server and starts it; the two configurations that Gradio makes there share their components."""
        pages = self.default_config
        pages.get_config = cache(pages.get_config)  # type: ignore[method-assign]
        try:
            with cached_signatures():
                return super().launch(*args, **options)
        finally:
            del pages.get_config


@contextmanager
def cached_signatures() -> Iterator[None]:
    """Within it, each function's signature is inspected once."""
    originals = inspect.signature, inspect.getfullargspec
    inspect.signature = _cached(inspect.signature)
    inspect.getfullargspec = _cached(inspect.getfullargspec)
    try:
        yield
    finally:
        inspect.signature, inspect.getfullargspec = originals


def _cached(read: Callable[..., Any]) -> Callable[..., Any]:
    results: dict[FunctionType, Any] = {}

    def call(subject: Any, **options: Any) -> Any:
        if options or not isinstance(subject, FunctionType):
            return read(subject, **options)
        if subject not in results:
            results[subject] = read(subject)
        return results[subject]

    return call


@contextmanager
def _no_server() -> Iterator[None]:
    """Within it, Gradio builds no server."""
    original = App.__dict__["create_app"]
    App.create_app = staticmethod(lambda *_, **__: None)  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        App.create_app = original  # type: ignore[method-assign]
