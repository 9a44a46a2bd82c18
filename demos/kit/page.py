"""The protocol of a page: what a module of `demos` hands to the app."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """One text in both languages."""

    en: str
    zh: str

    def get(self, lang: str) -> str:
        """The text in "zh", and in English for any other language."""
        return self.zh if lang == "zh" else self.en


@dataclass(frozen=True)
class Paper:
    """What a page is about, as it is cited."""

    title: str
    authors: str
    year: int
    venue: str
    url: str
    bibtex: str


@dataclass(frozen=True)
class Page:
    """One page of the hub; `build` puts its components into the open Gradio context. A room has no paper."""

    slug: str
    title: Text
    paper: Paper | None
    idea: Text
    build: Callable[[], None]
