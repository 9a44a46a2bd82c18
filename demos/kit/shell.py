"""What all pages share: the bar, header and footer, result lines, hints, links; and the door to its sister modules.

A page imports this module alone: `from demos import shell`. Texts with a fixed wording go through `tr` and are
translated in the browser; texts that Python composes get the language as "en" or "zh" (`Shell.lang`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from demos import catalog
from demos.catalog import Page
from demos.kit.events import (
    CONCURRENCY,
    Shell,
    alert,
    api_errors,
    browser_state,
    guarded,
    lang_of,
    refusal_html,
)
from demos.kit.files import Picture, downloads, from_data_uri, picture_input, picture_source, uploaded
from demos.kit.html import escape
from demos.kit.language import Text, both, both_of, pick, tr, translations

__all__ = [
    "CONCURRENCY",
    "Picture",
    "Shell",
    "alert",
    "api_errors",
    "both",
    "both_of",
    "browser_state",
    "downloads",
    "footer",
    "from_data_uri",
    "guarded",
    "header",
    "lang_of",
    "link_button",
    "pick",
    "picture_input",
    "picture_source",
    "refusal_html",
    "top_bar",
    "tr",
    "translations",
    "uploaded",
]

CURRENT = ' aria-current="page"'
NAME = Text("CLIP Atlas", "CLIP Atlas 图文模型图谱")
# The matrix of a batch: images by sentences, the pairs on the diagonal.
LOGO = (
    '<svg class="atlas-logo" viewBox="0 0 28 28" width="28" height="28" aria-hidden="true">'
    + "".join(
        f'<rect class="{"on" if row == column else "off"}" x="{2 + 9 * column}" y="{2 + 9 * row}" '
        'width="6" height="6" rx="1.5"/>'
        for row in range(3)
        for column in range(3)
    )
    + "</svg>"
)
MOON = (
    '<svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true"><path fill="currentColor" '
    'd="M10 2a8 8 0 1 0 0 16 8 8 0 0 0 0-16Zm0 1.6v12.8a6.4 6.4 0 0 1 0-12.8Z"/></svg>'
)


def top_bar(current: str = "") -> None:
    """The bar on every page: home, the open pages, language, light or dark.

    Args:
        current: the slug of the page, "" for home.
    """
    # Addresses are relative, so that they also hold where the app is mounted below another path.
    pages = "".join(
        f'<a href="{row.slug}"{CURRENT if row.slug == current else ""}>{both_of(row.title)}</a>'
        for row in catalog.PAGES
        if row.ready
    )
    rooms = "".join(
        f'<a href="{row.slug}"{CURRENT if row.slug == current else ""}>{both_of(row.title)}</a>'
        for row in catalog.listed_rooms()
    )
    # On a narrow screen the rooms are in the menu, on a wide one beside it.
    menu = (
        f'<details class="atlas-menu"><summary>{both("Papers", "论文")}</summary>'
        f'<div class="atlas-menu-list">{pages}<a href="./#all">{both("All papers", "全部论文")}</a>'
        f'<div class="atlas-menu-rooms">{rooms}</div></div></details>'
        f'<span class="atlas-bar-rooms">{rooms}</span>'
    )
    theme_name = both("Light or dark", "浅色或深色")
    gr.HTML(
        f'<nav class="atlas-bar" aria-label="CLIP Atlas"><a class="atlas-home" href="./">{LOGO}'
        f"<span>CLIP Atlas</span></a>{menu}"
        '<span class="atlas-switches"><span class="atlas-languages">'
        '<button type="button" data-set-lang="en" lang="en">EN</button>'
        '<button type="button" data-set-lang="zh" lang="zh-CN">中文</button></span>'
        f'<button type="button" class="atlas-theme" data-toggle-theme>{MOON}'
        f'<span class="atlas-only-read">{theme_name}</span></button></span></nav>',
        padding=False,
        apply_default_css=False,
    )


def header(page: Page) -> None:
    """Title, the idea in one sentence, and the paper."""
    top_bar(page.slug)
    kicker, cited = both("Beside the papers", "论文之外"), ""
    if page.paper:
        paper = page.paper
        kicker = both_of(catalog.KINDS[catalog.entry(page.slug).kind])
        first, *others = paper.authors.split(", ")
        authors = f"{escape(first)}{both(' et al.', ' 等') if others else ''}"
        cited = (
            f'<p class="atlas-paper"><a href="{escape(paper.url)}" target="_blank" rel="noopener">'
            f"{escape(paper.title)}</a> · {authors} · {escape(paper.venue)}</p>"
        )
    gr.HTML(
        f'<header class="atlas-head"><p class="atlas-kicker">{kicker}</p>'
        f"<h1>{both_of(page.title)}</h1>"
        f'<p class="atlas-idea">{both_of(page.idea)}</p>{cited}</header>',
        padding=False,
        apply_default_css=False,
    )


def footer(page: Page) -> None:
    """Citation, licences, and the way to the next page."""
    quiet = {room.slug for room in catalog.ROOMS if room.quiet} - {page.slug}
    ready = [row for row in catalog.open_rows() if row.slug not in quiet]
    at = [row.slug for row in ready].index(page.slug)
    previous = ready[at - 1] if at else None
    following = ready[at + 1] if at + 1 < len(ready) else None
    ways = [
        f'<a href="{previous.slug}">← {both_of(previous.title)}</a>'
        if previous
        else f'<a href="./">← {both("Home", "首页")}</a>',
        f'<a href="{following.slug}">{both_of(following.title)} →</a>'
        if following
        else f'<a href="./#all">{both("All papers", "全部论文")} →</a>',
    ]
    citation = (
        f'<div class="atlas-foot-head"><h2>{both("Cite the paper", "引用论文")}</h2>'
        f'<button type="button" class="atlas-chip" data-copy="bibtex-{page.slug}">{both("Copy", "复制")}</button></div>'
        f'<pre id="bibtex-{page.slug}" tabindex="0" aria-label="BibTeX">{escape(page.paper.bibtex)}</pre>'
        if page.paper
        else ""
    )
    gr.HTML(
        f'<footer class="atlas-foot">{citation}<p>{LICENCES if page.paper else DRAWINGS} {PRIVACY}</p>'
        f"<nav>{''.join(ways)}</nav></footer>",
        padding=False,
        apply_default_css=False,
    )


LICENCES = both(
    "Code: Apache-2.0. Every checkpoint keeps its own licence, shown in the menu above.",
    "代码采用 Apache-2.0 许可证；每组权重保留自己的许可证，见上方菜单。",
)
PRIVACY = both(
    'Pictures that you give stay on this server and are deleted with the tab: <a href="privacy">privacy and fair use</a>.',
    '你提供的图片只留在本服务器上，关闭标签页即删除：<a href="privacy">隐私与正当使用</a>。',
)
DRAWINGS = both(
    "Code: Apache-2.0. The drawings come from ten free sets, each under its own licence, named in "
    "<code>assets/sprites/LICENSES.md</code> and in every data set that you download.",
    "代码采用 Apache-2.0 许可证。画面素材来自十套自由图集，各有许可证，见 <code>assets/sprites/LICENSES.md</code>，"
    "下载的每个数据集里也附有一份。",
)


def link_button(parts: Mapping[str, Any], **options: Any) -> gr.Button:
    """A button that copies the page's address with what is on it: parameter name -> component.

    The address is made in the browser. An uploaded file cannot travel in it.
    """
    button = gr.Button(tr("Copy a link to this", "复制本页链接"), size="sm", **options)
    names = json.dumps(list(parts))
    button.click(
        None, list(parts.values()), None, js=f"(...values) => {{ window.atlas.copyLink({names}, values); }}"
    )
    return button
