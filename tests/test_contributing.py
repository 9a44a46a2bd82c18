"""The page that CONTRIBUTING.md shows is a page: it is built and asked as it stands there."""

from __future__ import annotations

import re
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

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
    assert run(shown["measure"], shown["Question"](image=None), lang)["message"]


def test_the_shown_parts_of_the_kit_are_there() -> None:
    assert {"examples", "walk", "many", "prepare", "opening"} <= set(page.Declaration.__dataclass_fields__)
