"""Refusals: a code and its parameters, worded in English and Chinese by `errors.toml`."""

from __future__ import annotations

import os
import sys
import tomllib
from functools import cache
from pathlib import Path


@cache
def sentences() -> dict[str, dict[str, str]]:
    """All refusals: code -> {"en": sentence, "zh": sentence}, with `{parameter}` places."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def terminal_language() -> str:
    """The language of a terminal: "zh" in a Chinese locale whose terminal can print Chinese, else "en"."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    if locale.partition(".")[0] not in (
        "",
        "C",
        "POSIX",
    ):  # there, as gettext has it, LANGUAGE counts for nothing
        locale = os.environ.get("LANGUAGE", "").partition(":")[0] or locale
    try:
        for stream in (sys.stdout, sys.stderr):
            "中文".encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeError, LookupError):
        return "en"
    return "zh" if locale.lower().startswith("zh") else "en"


class Refusal(Exception):
    """A request that cannot be served, said in one sentence: what is wrong and what to do.

    Args:
        code: a table of `errors.toml`.
        params: values for the places of its sentences; they are plain text, a page escapes them.
    """

    def __init__(self, code: str, **params: str | int | float) -> None:
        super().__init__(code)
        self.code = code
        self.params = params

    def text(self, lang: str = "en") -> str:
        """The sentence in "en" or "zh" (any other language reads English)."""
        sentence = sentences()[self.code]
        return sentence.get(lang, sentence["en"]).format(**self.params)

    def __str__(self) -> str:
        return self.text()

    def __reduce__(self) -> tuple[object, ...]:
        # Refusals cross the process border of a ZeroGPU worker.
        return _rebuild, (self.code, self.params)


def _rebuild(code: str, params: dict[str, str | int | float]) -> Refusal:
    return Refusal(code, **params)
