"""The look of the hub as a Gradio theme: one accent, system fonts, light and dark; the rest is `assets/css/atlas.css`.

Colours and fonts are in theme.toml.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import gradio as gr

LOOK = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
FONTS: list[str] = LOOK["fonts"]["text"]
VARIABLES: dict[str, list[str]] = LOOK["colours"]  # (light, dark) by the name of the custom property


def variables() -> str:
    """The pairs as CSS custom properties; the dark ones apply under `data-theme="dark"` on the root element."""
    light = "".join(f"--atlas-{name}:{pair[0]};" for name, pair in VARIABLES.items())
    dark = "".join(f"--atlas-{name}:{pair[1]};" for name, pair in VARIABLES.items())
    return f":root{{{light}color-scheme:light}}:root[data-theme=dark]{{{dark}color-scheme:dark}}"


def theme() -> gr.themes.Base:
    """The Gradio theme made of the pairs."""
    base = gr.themes.Base(
        primary_hue=gr.themes.colors.sky,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_md,
        text_size=gr.themes.sizes.text_md,
        font=FONTS,
        font_mono=LOOK["fonts"]["mono"],
    )
    values = dict(LOOK["plain"])
    for name, colour in LOOK["gradio"].items():
        values[name], values[f"{name}_dark"] = VARIABLES[colour]
    return base.set(**values, color_accent=VARIABLES["accent"][0])
