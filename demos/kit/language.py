"""English and Chinese on one page: markers that the browser translates, and the script that chooses.

Gradio translates by the browser's language only. `head` returns what the middleware puts in front of Gradio's own
scripts: it reads `?lang=` or the remembered choice, answers for the browser, and tells Python through the
hidden language box of a page (`demos.kit.events.Shell`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import gradio as gr
from gradio.i18n import I18nData

from demos.kit.html import Markup, escape

SCRIPTS = Path(__file__).resolve().parents[2] / "assets" / "js"
HEAD_SCRIPTS = ("atlas.js", "form.js", "projector.js")
# What atlas.js tells Gradio of any browser that reads Chinese. Every page carries the texts of every locale: one is enough.
CHINESE_LOCALE = "zh-CN"

_pairs: dict[str, tuple[str, str]] = {}


@dataclass(frozen=True)
class Text:
    """One text in both languages."""

    en: str
    zh: str

    def get(self, lang: str) -> str:
        """The text in "zh", and in English for any other language."""
        return self.zh if lang == "zh" else self.en

    @property
    def tr(self) -> I18nData:
        """The text as a marker that the browser translates."""
        return tr(self.en, self.zh)


def tr(en: str, zh: str) -> I18nData:
    """A text that the browser shows in its page's language: label, placeholder, info, button, Markdown value.

    Call it while a page is built, or at import: a browser knows the texts that were there when it loaded the page.
    """
    key = "atlas_" + hashlib.blake2b(f"{en}\0{zh}".encode(), digest_size=8).hexdigest()
    _pairs[key] = (en, zh)
    return I18nData(key)


def both(en: str, zh: str) -> Markup:
    """Both languages as HTML, one of them hidden by the stylesheet; for trusted text only, it is not escaped."""
    return Markup(f'<span class="l-en" lang="en">{en}</span><span class="l-zh" lang="zh-CN">{zh}</span>')


def pick(lang: str, en: str, zh: str) -> str:
    """One of two texts, for sentences that Python composes."""
    return zh if lang == "zh" else en


def has_chinese(text: str) -> bool:
    """Whether a text holds Chinese characters."""
    return any("\u4e00" <= sign <= "\u9fff" for sign in text)


def both_of(text: Text) -> Markup:
    """A plain text in both languages, escaped."""
    return both(escape(text.en), escape(text.zh))


def translations() -> gr.I18n:
    """Every pair that `tr` was given so far, for `launch(i18n=...)`."""
    english = {key: en for key, (en, _) in _pairs.items()}
    chinese = {key: zh for key, (_, zh) in _pairs.items()}
    return gr.I18n(**{"en": english, CHINESE_LOCALE: chinese})


@cache
def _script() -> str:
    return "\n".join((SCRIPTS / name).read_text(encoding="utf-8") for name in HEAD_SCRIPTS)


def head(titles: Mapping[str, Text]) -> str:
    """The script element for the very start of `<head>`; `titles` maps a page's slug to its document title."""
    table = {slug: {"en": title.en, "zh": title.zh} for slug, title in titles.items()}
    # A closing tag inside a string would end the script.
    data = json.dumps(table, ensure_ascii=False).replace("</", "<\\/")
    return f"<script>{_script().replace('const TITLES = {};', f'const TITLES = {data};', 1)}</script>"
