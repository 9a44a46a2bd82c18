"""Gradio's Blocks, made and started at less cost.

Gradio builds the whole server (every route, the configuration of every component) four times: when Blocks is made, when
its `with` block ends, in `queue()` and in `launch()`; only the last one serves. It reads the same signatures again for
every component and event, and looks through all events to name a new one. It offers no switch for any of this, so it is
changed here, while the pages are made. tests/app/test_blocks.py holds the result against Gradio's own.
"""

from __future__ import annotations

import inspect
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from types import FunctionType
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.exceptions import InvalidPathError
from gradio.routes import App

from core.errors import Refusal
from demos.kit.events import api_errors


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

    async def process_api(self, block_fn: Any, *args: Any, **options: Any) -> Any:
        """Runs an event; what Gradio itself cannot take of a call reaches its caller as one sentence."""
        event = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        if event.api_visibility != "public":
            return await super().process_api(block_fn, *args, **options)
        with api_errors():
            try:
                return await super().process_api(block_fn, *args, **options)
            except InvalidPathError:
                raise Refusal("not_uploaded") from None


@contextmanager
def page_at(demo: gr.Blocks, name: str, path: str) -> Iterator[None]:
    """A page of its own address, as Blocks.route() makes it, without building the server again for every page.

    Gradio looks through all events of the app to name each new one; here it looks through those of the page alone.
    """
    demo.pages.append((path, name, False))
    outer, demo.current_page = demo.current_page, path
    config = demo.default_config
    others, config.fns = config.fns, {}
    try:
        yield
    finally:
        _rename(config.fns.values(), {event.api_name for event in others.values()})
        config.fns = others | config.fns
        demo.current_page = outer


def _rename(events: Iterable[BlockFunction], taken: set[str | None]) -> None:
    """Gives events names that no other event has, with a number behind them as Gradio does."""
    numbers: Counter[str] = Counter()
    for event in events:
        if not event.api_name:
            continue
        name = event.api_name
        while name in taken:
            numbers[event.api_name] += 1
            name = f"{event.api_name}_{numbers[event.api_name]}"
        event.api_name = name
        taken.add(name)


@contextmanager
def cached_signatures() -> Iterator[None]:
    """Within it, the signature and the type hints of each function are read once."""
    readers = ((inspect, "signature"), (inspect, "getfullargspec"), (typing, "get_type_hints"))
    originals = [(module, name, getattr(module, name)) for module, name in readers]
    for module, name, read in originals:
        setattr(module, name, _cached(read))
    try:
        yield
    finally:
        for module, name, read in originals:
            setattr(module, name, read)


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
