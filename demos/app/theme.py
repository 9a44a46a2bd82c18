"""The look of the hub as a Gradio theme: one accent, system fonts, light and dark; the rest is `assets/css/atlas.css`.

Colours come in pairs (light, dark). Text on every surface keeps a contrast of at least 4.5 to 1 in both;
tests/app/test_theme.py computes it.
"""

from __future__ import annotations

import gradio as gr

PAPER = ("#fbfaf7", "#10151b")  # the page
SURFACE = ("#ffffff", "#182029")  # blocks and inputs
SUNKEN = ("#f3f1ea", "#202a35")  # what lies deeper: table heads, hovered rows
INK = ("#1b2430", "#e8ecf1")
MUTED = ("#56606d", "#a7b2bf")
LINE = ("#dcd8ce", "#313d4a")
FIELD_LINE = ("#8b8f94", "#6b7785")  # the edge of an input has to be seen
ACCENT = ("#005f99", "#74bdf0")
ACCENT_STRONG = ("#004a78", "#9dd1f6")
ON_ACCENT = ("#ffffff", "#0c1722")
ACCENT_SOFT = ("#e4eff7", "#1c3448")
DANGER = ("#a33a00", "#ffb088")
BAR = ("#0072b2", "#56b4e9")  # Okabe and Ito's blue and sky blue
MARK = ("#b45309", "#e69f00")

FONTS = (
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "sans-serif",
)
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

# Names of the pairs as custom properties of the stylesheet: --atlas-paper and so on.
VARIABLES = {
    "paper": PAPER,
    "surface": SURFACE,
    "sunken": SUNKEN,
    "ink": INK,
    "muted": MUTED,
    "line": LINE,
    "field-line": FIELD_LINE,
    "accent": ACCENT,
    "accent-strong": ACCENT_STRONG,
    "on-accent": ON_ACCENT,
    "accent-soft": ACCENT_SOFT,
    "danger": DANGER,
    "bar": BAR,
    "mark": MARK,
    # Two answers side by side: behind white text, and as bars.
    "first": ("#0b6aa5", "#0b6aa5"),
    "second": ("#a8480a", "#a8480a"),
    "first-bar": ("#3f9bd6", "#3f9bd6"),
    "second-bar": ("#e08a3c", "#e08a3c"),
    # Curves, after Okabe and Ito.
    "series-1": BAR,
    "series-2": ("#d55e00", "#ff9b52"),
    "series-3": ("#009e73", "#009e73"),
    "series-4": ("#cc79a7", "#cc79a7"),
    # What is drawn on a white sheet of paper in both themes.
    "handle": ("#d55e00", "#d55e00"),
    "handle-held": ("#ffd500", "#ffd500"),
}


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
        font_mono=MONO,
    )
    pairs = {
        "body_background_fill": PAPER,
        "body_text_color": INK,
        "body_text_color_subdued": MUTED,
        "background_fill_primary": SURFACE,
        "background_fill_secondary": SUNKEN,
        "border_color_primary": LINE,
        "border_color_accent": ACCENT,
        "border_color_accent_subdued": ACCENT_SOFT,
        "color_accent_soft": ACCENT_SOFT,
        "link_text_color": ACCENT,
        "link_text_color_hover": ACCENT_STRONG,
        "link_text_color_active": ACCENT_STRONG,
        "link_text_color_visited": ACCENT,
        "block_background_fill": SURFACE,
        "block_border_color": LINE,
        "block_label_background_fill": SURFACE,
        "block_label_border_color": LINE,
        "block_label_text_color": INK,
        "block_title_text_color": INK,
        "block_info_text_color": MUTED,
        "panel_background_fill": SURFACE,
        "panel_border_color": LINE,
        "accordion_text_color": INK,
        "input_background_fill": SURFACE,
        "input_background_fill_focus": SURFACE,
        "input_border_color": FIELD_LINE,
        "input_border_color_focus": ACCENT,
        "input_placeholder_color": MUTED,
        "button_primary_background_fill": ACCENT,
        "button_primary_background_fill_hover": ACCENT_STRONG,
        "button_primary_border_color": ACCENT,
        "button_primary_border_color_hover": ACCENT_STRONG,
        "button_primary_text_color": ON_ACCENT,
        "button_primary_text_color_hover": ON_ACCENT,
        "button_secondary_background_fill": SURFACE,
        "button_secondary_background_fill_hover": SUNKEN,
        "button_secondary_border_color": FIELD_LINE,
        "button_secondary_border_color_hover": INK,
        "button_secondary_text_color": INK,
        "button_secondary_text_color_hover": INK,
        "button_cancel_background_fill": SURFACE,
        "button_cancel_background_fill_hover": SUNKEN,
        "button_cancel_border_color": DANGER,
        "button_cancel_border_color_hover": DANGER,
        "button_cancel_text_color": DANGER,
        "button_cancel_text_color_hover": DANGER,
        "checkbox_background_color": SURFACE,
        "checkbox_background_color_selected": ACCENT,
        "checkbox_border_color": FIELD_LINE,
        "checkbox_border_color_focus": ACCENT,
        "checkbox_border_color_selected": ACCENT,
        "checkbox_label_background_fill": SURFACE,
        "checkbox_label_background_fill_hover": SUNKEN,
        "checkbox_label_background_fill_selected": ACCENT_SOFT,
        "checkbox_label_border_color": LINE,
        "checkbox_label_text_color": INK,
        "checkbox_label_text_color_selected": INK,
        "slider_color": ACCENT,
        "stat_background_fill": ACCENT_SOFT,
        "table_text_color": INK,
        "table_border_color": LINE,
        "table_even_background_fill": SURFACE,
        "table_odd_background_fill": SUNKEN,
        "code_background_fill": SUNKEN,
        "error_background_fill": SURFACE,
        "error_border_color": DANGER,
        "error_text_color": DANGER,
        "error_icon_color": DANGER,
        "loader_color": ACCENT,
    }
    values = {name: light for name, (light, _) in pairs.items()}
    values |= {f"{name}_dark": dark for name, (_, dark) in pairs.items()}
    return base.set(
        **values,
        color_accent=ACCENT[0],
        block_border_width="1px",
        block_border_width_dark="1px",
        block_shadow="none",
        block_shadow_dark="none",
        block_label_shadow="none",
        block_title_text_weight="600",
        block_label_text_weight="600",
        block_padding="*spacing_lg *spacing_xl",
        input_border_width="1px",
        input_border_width_dark="1px",
        input_shadow_focus="none",
        input_shadow_focus_dark="none",
        button_border_width="1px",
        button_border_width_dark="1px",
        button_primary_shadow="none",
        button_secondary_shadow="none",
        button_large_text_weight="600",
        button_small_text_weight="500",
        layout_gap="*spacing_xl",
    )
