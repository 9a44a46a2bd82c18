"""The home page: what this is, the family on a timeline, and one card a paper."""

from __future__ import annotations

import html

import gradio as gr

from demos import shell
from demos.catalog import KINDS, PAGES, Entry
from demos.shell import both


def build() -> None:
    """Draws the home page from the catalog."""
    shell.top_bar()
    gr.HTML(
        "<h1>CLIP Atlas</h1><p class='atlas-idea'>"
        + both(
            "One page per paper of the CLIP family: try it, compare it, take it apart.",
            "CLIP 家族，一篇论文一页：试一试，比一比，拆开看。",
        )
        + "</p><p>"
        + both(
            "Every page answers at once on a built-in miniature, trained on a small drawn world and working without a "
            "network; real weights are one choice in its menu. Pictures stay on this server and are deleted.",
            "每一页都能立刻用内置的微缩模型回答：它在一个画出来的小世界里训练，不需要网络；菜单里可以换成真实权重。"
            "图片只留在本服务器上，随后删除。",
        )
        + "</p>"
        + timeline()
        + "".join(section(kind) for kind in KINDS),
        padding=False,
        elem_id="home",
    )


def timeline() -> str:
    """The family by year."""
    years = sorted({entry.paper.year for entry in PAGES})
    columns = "".join(
        f"<li><strong>{year}</strong><ul>"
        + "".join(f"<li>{_name(entry)}</li>" for entry in PAGES if entry.paper.year == year)
        + "</ul></li>"
        for year in years
    )
    return f'<h2>{both("The family", "家族时间线")}</h2><ol class="atlas-timeline">{columns}</ol>'


def _name(entry: Entry) -> str:
    name = both(html.escape(entry.title.en), html.escape(entry.title.zh))
    return f'<a href="/{entry.slug}">{name}</a>' if entry.module else f"<span>{name}</span>"


def section(kind: str) -> str:
    """The cards of one kind of task."""
    title = KINDS[kind]
    cards = "".join(card(entry) for entry in PAGES if entry.kind == kind)
    return f'<h2>{both(title.en, title.zh)}</h2><div class="atlas-cards">{cards}</div>'


def card(entry: Entry) -> str:
    """One paper; a page that is not built yet is marked as coming and links nowhere."""
    idea = both(html.escape(entry.idea.en), html.escape(entry.idea.zh))
    title = both(html.escape(entry.title.en), html.escape(entry.title.zh))
    foot = f"{html.escape(entry.paper.venue)} · {entry.paper.year}"
    if entry.module:
        return (
            f'<a class="atlas-card" href="/{entry.slug}"><h3>{title}</h3><p>{idea}</p><small>{foot}</small></a>'
        )
    coming = f'<em>{both("coming", "即将推出")}</em>'
    return f'<div class="atlas-card coming"><h3>{title} {coming}</h3><p>{idea}</p><small>{foot}</small></div>'
