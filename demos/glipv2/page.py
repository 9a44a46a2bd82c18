"""The GLIPv2 page: facts alone, because its weights were never released; what it adds to GLIP, and what runs in its place."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from demos import catalog
from demos.kit.language import both


@cache
def facts() -> dict[str, Any]:
    """The page's texts."""
    return tomllib.loads(Path(__file__).with_name("data.toml").read_text(encoding="utf-8"))


def _card(row: dict[str, Any]) -> str:
    """One fact, with a link where it has one."""
    link = f'<a class="atlas-chip" href="{row["link"]}">{both(**row["word"])} →</a>' if "link" in row else ""
    return f"<li><b>{both(**row['title'])}</b>{both(**row['text'])}{f'<p>{link}</p>' if link else ''}</li>"


def body() -> str:
    """The page as HTML in both languages."""
    told = facts()
    status = f"<strong>{both(**told['status']['title'])}.</strong> {both(**told['status']['text'])}"
    parts = [f'<p class="atlas-verdict none">{status}</p>']
    for title, rows in (
        (both("What it adds to GLIP", "它在 GLIP 之上加了什么"), told["adds"]),
        (both("What you can run today", "今天可以运行什么"), told["instead"]),
    ):
        parts.append(f'<h2>{title}</h2><ul class="gl-way">{"".join(map(_card, rows))}</ul>')
    return f'<div class="gl-facts">{"".join(parts)}</div>'


def build() -> None:
    """Lays the page out; nothing on it runs."""
    gr.HTML(body(), padding=False, apply_default_css=False)


PAGE = catalog.page("glipv2", build)
