"""Prompts: what turns a label into a caption, and several captions into one classifier.

CLIP (Radford et al. 2021, section 3.1.4): captions are sentences, so a bare label is out of distribution and
often ambiguous; a template repairs both, and averaging over templates (an ensemble in feature space) helps
again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from core.errors import Refusal

MAX_TEMPLATES = 100


@dataclass(frozen=True)
class TemplateSet:
    """A named set of templates: `{}` is the place of the label."""

    name: str
    en: str
    zh: str
    languages: tuple[str, ...]
    source: str
    _templates: tuple[str, ...]
    _open_clip: str | None

    @property
    def templates(self) -> tuple[str, ...]:
        """The templates; the ensembles of the paper are read from open_clip when they are asked for."""
        if self._open_clip is None:
            return self._templates
        import open_clip

        return tuple(function("{}") for function in getattr(open_clip, self._open_clip))


@cache
def template_sets() -> dict[str, TemplateSet]:
    """All named sets in the order of `templates.toml`; reads no model library."""
    rows = tomllib.loads(Path(__file__).with_name("templates.toml").read_text(encoding="utf-8"))
    return {
        name: TemplateSet(
            name,
            row["en"],
            row["zh"],
            tuple(row["languages"]),
            row["source"],
            tuple(row.get("templates", ())),
            row.get("open_clip"),
        )
        for name, row in rows.items()
    }


def resolve(templates: str | Sequence[str] | None) -> tuple[str, ...]:
    """Templates behind a set's name, one custom template, several lines of them, or a list.

    `{}` or `{label}` marks the label's place.

    Raises:
        Refusal: "template_without_place" when a custom template has no place for the label,
            "unknown_template" for a single word that names no set, "too_many_templates" past 100.
    """
    if templates is None:
        return ("{}",)
    if isinstance(templates, str):
        if templates.strip() in template_sets():
            return template_sets()[templates.strip()].templates
        lines = [line.strip() for line in templates.splitlines() if line.strip()]
        if len(lines) == 1 and "{" not in lines[0] and " " not in lines[0]:
            raise Refusal("unknown_template", name=lines[0][:60], known=", ".join(template_sets()))
    else:
        lines = [line.strip() for line in templates if line.strip()]
    lines = [line.replace("{label}", "{}") for line in lines]
    for line in lines:
        if line.count("{}") != 1:
            raise Refusal("template_without_place", template=line[:60])
    if len(lines) > MAX_TEMPLATES:
        raise Refusal("too_many_templates", count=len(lines), limit=MAX_TEMPLATES)
    return tuple(lines) or ("{}",)


def fill(template: str, label: str) -> str:
    """Puts the label into the template's place; braces inside a label stay as they are."""
    before, after = template.split("{}")
    return f"{before}{label}{after}"


def ensemble(text_features: np.ndarray) -> np.ndarray:
    """Averages over templates and normalises again: unit rows [M, N, D] -> [N, D] (section 3.1.4)."""
    mean = text_features.mean(axis=0)
    return mean / np.linalg.norm(mean, axis=-1, keepdims=True)
