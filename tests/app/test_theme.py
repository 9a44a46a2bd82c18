"""Colours: text on every surface reaches a contrast of 4.5 to 1, edges of inputs and bars 3 to 1, light and dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from demos.app import theme

CSS = Path(__file__).resolve().parents[2] / "assets" / "css"
SURFACES = ("paper", "surface", "sunken")


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2.1)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_computed_as_the_standard_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("surface", [*SURFACES, "accent-soft"])
@pytest.mark.parametrize("text", ["ink", "muted", "accent", "accent-strong", "danger"])
def test_text_can_be_read(text: str, surface: str, mode: int) -> None:
    ratio = contrast(theme.VARIABLES[text][mode], theme.VARIABLES[surface][mode])
    assert ratio >= 4.5, f"{text} on {surface}: {ratio:.2f}"


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_on_the_accent_can_be_read(mode: int) -> None:
    for fill in ("accent", "accent-strong"):
        assert contrast(theme.VARIABLES["on-accent"][mode], theme.VARIABLES[fill][mode]) >= 4.5


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("edge", ["field-line", "bar", "mark", "accent"])
def test_edges_and_bars_can_be_seen(edge: str, mode: int) -> None:
    for surface in ("paper", "surface"):
        assert contrast(theme.VARIABLES[edge][mode], theme.VARIABLES[surface][mode]) >= 3


def test_the_stylesheets_use_colours_that_exist_and_no_others() -> None:
    # Every page has the shared stylesheet, so what it defines is there for all.
    shared = re.findall(r"(--atlas-[\w-]+)\s*:", (CSS / "atlas.css").read_text(encoding="utf-8"))
    known = {f"--atlas-{name}" for name in theme.VARIABLES} | set(shared)
    for path in CSS.glob("*.css"):
        text = path.read_text(encoding="utf-8")
        defined = set(re.findall(r"(--atlas-[\w-]+)\s*:", text))
        assert set(re.findall(r"var\((--atlas-[\w-]+)", text)) <= known | defined
        assert not re.findall(r"#[0-9a-f]{3,8}\b(?![\w-]*\s*[{,.:>\[])", text), (
            f"a fixed colour in {path.name}"
        )
        assert "http" not in text and "@import" not in text


def test_fonts_come_with_the_system_and_know_chinese() -> None:
    made = theme.theme()
    assert made._stylesheets == []
    assert {"PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC"} <= set(theme.FONTS)
