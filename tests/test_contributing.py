"""The page that CONTRIBUTING.md shows is a page: it is built and asked as it stands there."""

from __future__ import annotations

import importlib
import re
import sys
import textwrap
import types
from dataclasses import fields
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from core import inputs
from demos import catalog
from demos.kit import library, page
from tests.pages import run

TEXT = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """What the shown module defines, under the row of a page that is in the catalog."""
    blocks = [textwrap.dedent(block) for block in re.findall(r"```python\n(.*?)```", TEXT, re.S)]
    (source,) = [block for block in blocks if "page.declare(" in block]
    module = types.ModuleType("demos.brightness.page")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(source.replace('"brightness",\n', '"clip",\n'), "CONTRIBUTING.md", "exec"), module.__dict__)
    return module.__dict__


def test_the_page_is_laid_out(shown: dict[str, Any]) -> None:
    with gr.Blocks() as blocks:
        shown["PAGE"].build()
    ids = {block.elem_id for block in blocks.blocks.values() if getattr(block, "elem_id", None)}
    assert {"image", "channel", "try-run", "try-value", "try-line", "examples", "link", "many-run"} <= ids


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_answers_and_refuses(shown: dict[str, Any], lang: str) -> None:
    question = shown["Question"](image=library.shared()["red_envelope"]["path"], channel="red")
    answer = run(shown["measure"], question, lang)
    assert answer["message"] == "" and re.search(r"0\.\d\d", answer["value"])
    assert "atlas-line" in answer["line"]  # as tests/contract asks of every page
    assert run(shown["measure"], shown["Question"](image=None), lang)["message"]


def test_many_files_are_measured_in_the_pixels_of_the_file(shown: dict[str, Any]) -> None:
    verb = shown["PAGE"].declared.many.verb(shown["Question"]())
    large = inputs.image(Image.new("RGB", (3000, 1500), "red"))
    assert large.size != (3000, 1500) and verb(large).size == (3000, 1500)


def test_what_is_named_is_there() -> None:
    """Every `module.name` of the kit that the text names, the fields of a catalog row, and tables that data.toml files have."""
    named = re.findall(
        r"`(batch|files|form|jobs|library|page|results|walkthrough)\.(?!py`)(\w+)(?:\(|`)",
        re.sub(r"```.*?```", "", TEXT, flags=re.S),
    )
    assert {("library", "examples"), ("results", "answer_line"), ("page", "traced")} <= set(named)
    for module, name in named:
        assert hasattr(importlib.import_module(f"demos.kit.{module}"), name), f"demos.kit.{module}.{name}"
    row = catalog.entry("glip")
    assert {"title", "idea", "kind", "date", "paper", "module"} <= {one.name for one in fields(row)}
    tables = {
        table.partition(".")[0]
        for cell in re.findall(r"^ +\| (`[^|]*`) \|", TEXT, re.M)
        for table in re.findall(r"`([^`]+)`", cell)
    }
    assert {"says", "examples", "lessons", "code"} <= tables
    known = {table for path in library.PAGES.glob("*/data.toml") for table in library.data(path.parent.name)}
    assert tables <= known


def test_the_shown_parts_of_the_kit_are_there() -> None:
    assert {"examples", "walk", "many", "prepare", "opening"} <= set(page.Declaration.__dataclass_fields__)
