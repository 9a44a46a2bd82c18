"""Pages made at less cost are the pages that Gradio makes: same components, events, endpoints and tools."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import gradio as gr
import pytest
from gradio.context import Context
from gradio.routes import App

from demos.app import blocks, site
from tests.conftest import free_port


def configuration(demo: gr.Blocks) -> Any:
    """What a browser is told of every page, without the random name of the app and the names of private events."""
    config = demo.get_config_file()
    config.pop("app_id")
    names = [
        event.pop("api_name") for event in config["dependencies"] if event["api_visibility"] == "private"
    ]
    assert len(names) == len(set(names))
    return json.loads(json.dumps(config, default=lambda _: "?"))


@contextmanager
def plain_page_at(demo: gr.Blocks, name: str, path: str) -> Iterator[None]:
    """A page whose events Gradio names itself."""
    demo.pages.append((path, name, False))
    demo.current_page = path
    yield
    demo.current_page = ""


def build(monkeypatch: pytest.MonkeyPatch, ours: bool) -> gr.Blocks:
    """The site, from our Blocks or from Gradio's own; components are numbered from zero."""
    with monkeypatch.context() as patch:
        patch.setattr(Context, "id", 0)
        if not ours:
            patch.setattr(site, "Blocks", gr.Blocks)
            patch.setattr(site, "page_at", plain_page_at)
            patch.setattr(site, "cached_signatures", nullcontext)
        return site.build()


def test_the_configuration_is_gradios_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, original = build(monkeypatch, True), build(monkeypatch, False)
    assert configuration(ours) == configuration(original)
    ours.config = ours.get_config_file()
    assert ours.get_api_info() == original.get_api_info()


def test_no_two_parts_of_a_page_have_one_name() -> None:
    """Links, styles and tests find a part by its id."""
    config = site.build().get_config_file()
    names = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
    for slug, page in config["page"].items():
        ids = [names[number] for number in page["components"] if names.get(number)]
        assert len(ids) == len(set(ids)), (slug, [name for name in ids if ids.count(name) > 1])


def test_one_server_and_one_configuration_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    create, configure = App.create_app, gr.blocks.BlocksConfig.get_config
    monkeypatch.setattr(
        App, "create_app", staticmethod(lambda *a, **k: made.append("app") or create(*a, **k))
    )
    monkeypatch.setattr(
        gr.blocks.BlocksConfig, "get_config", lambda self: made.append("configuration") or configure(self)
    )
    demo = site.build()
    assert made == []
    try:
        demo.launch(server_port=free_port(), prevent_thread_lock=True, quiet=True, **site.launch_options())
        assert sorted(made) == ["app", "configuration"]
        assert demo.config["mcp_server"] is True and len(demo.config["components"]) == len(demo.blocks)
        assert demo.default_config.get_config.__func__ is gr.blocks.BlocksConfig.get_config
    finally:
        demo.close()


def test_signatures_are_read_once_while_pages_are_made() -> None:
    originals = inspect.signature, inspect.getfullargspec, typing.get_type_hints

    def handler(image: str, lang: str = "en") -> None: ...

    with blocks.cached_signatures():
        assert inspect.signature(handler) is inspect.signature(handler)
        assert inspect.signature(handler) == originals[0](handler)
        assert inspect.getfullargspec(handler) is inspect.getfullargspec(handler)
        assert typing.get_type_hints(handler) is typing.get_type_hints(handler)
        assert typing.get_type_hints(handler) == originals[2](handler)
        assert inspect.signature(handler, follow_wrapped=False) == originals[0](handler)
        for subject in (partial(handler, "a"), gr.Textbox, "".join, lambda: None):
            assert inspect.signature(subject) == originals[0](subject)
    assert (inspect.signature, inspect.getfullargspec, typing.get_type_hints) == originals


def test_everything_is_put_back_after_a_failure() -> None:
    originals = inspect.signature, inspect.getfullargspec, App.create_app
    with pytest.raises(RuntimeError), blocks.cached_signatures(), blocks.Blocks():
        raise RuntimeError
    assert (inspect.signature, inspect.getfullargspec, App.create_app) == originals
    Context.root_block = None


def test_events_of_all_pages_have_names_of_their_own() -> None:
    def press() -> None: ...

    with gr.Blocks() as demo:
        gr.Button().click(press, api_name="press_1")
        for slug in ("one", "two", "three"):
            with blocks.page_at(demo, slug, slug):
                for _ in range(2):
                    gr.Button().click(press)
    names = [event.api_name for event in demo.fns.values()]
    assert names == ["press_1", "press", "press_1_1", "press_2", "press_1_2", "press_3", "press_1_3"]
    assert [event.page for event in demo.fns.values()] == ["", "one", "one", "two", "two", "three", "three"]
