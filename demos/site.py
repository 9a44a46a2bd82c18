"""All pages in one Gradio app, and how it is launched."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from core import checkpoints
from demos import catalog, home, shell
from demos.server import Guard, Warm

log = logging.getLogger(__name__)

ASSETS = Path(__file__).resolve().parents[1] / "assets"
FONTS = ["system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif"]
CACHE_SWEEP, CACHE_AGE = 600, 3600  # seconds


@contextmanager
def page(demo: gr.Blocks, name: str, path: str) -> Iterator[None]:
    """What Blocks.route() does, without building the whole app again for every page.

    With 30 pages route() takes seconds; tests/e2e/test_site.py holds this against it.
    """
    demo.pages.append((path, name, False))
    outer, demo.current_page = demo.current_page, path
    try:
        yield
    finally:
        demo.current_page = outer


def build() -> gr.Blocks:
    """The app with every page of the catalog that has a module; one that fails to load says so."""
    with gr.Blocks(
        title="CLIP Atlas", analytics_enabled=False, delete_cache=(CACHE_SWEEP, CACHE_AGE), fill_width=True
    ) as demo:
        _no_navbar()
        home.build()
        for entry in catalog.PAGES:
            if entry.module is None:
                continue
            with page(demo, entry.title.en, entry.slug):
                _no_navbar()
                loaded = catalog.load(entry)
                if isinstance(loaded, str):
                    _broken(entry, loaded)
                    continue
                shell.header(loaded)
                loaded.build()
                shell.footer(loaded)
    demo.queue(api_open=False, max_size=64, default_concurrency_limit=8)
    return demo


def _no_navbar() -> None:
    gr.Navbar(visible=False, main_page_name="CLIP Atlas")


def _broken(entry: catalog.Entry, error: str) -> None:
    shell.top_bar()
    reason = html.escape(error)
    sentence = shell.both("This page does not load", "这一页无法加载")
    gr.HTML(f'<h1>{html.escape(entry.title.en)}</h1><p role="alert">{sentence}: {reason}</p>')


def warm_up() -> None:
    """Loads torch and the default checkpoint, so that the first answer does not wait for them."""
    try:
        from core.clip import ZeroShot

        ZeroShot.load(checkpoints.default("clip")).encode_text(["a"])
    except Exception:
        log.exception("warm-up failed; the first request will try again")


def theme() -> gr.themes.Base:
    """Our look: one accent, system fonts, nothing from elsewhere."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        font=FONTS,
        font_mono=["ui-monospace", "Consolas", "monospace"],
        radius_size=gr.themes.sizes.radius_md,
    ).set(
        button_primary_background_fill="#005a8f",
        button_primary_background_fill_hover="#004a75",
        button_primary_background_fill_dark="#005a8f",
        button_primary_text_color="white",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
    )


def launch_options() -> dict[str, Any]:
    """Everything that launch() wants besides the address."""
    warm = Warm(warm_up)

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "warm": warm.done.is_set()})

    return {
        "theme": theme(),
        "css_paths": [ASSETS / "css" / "atlas.css"],
        "i18n": shell.translations(),
        "show_error": False,
        "ssr_mode": False,
        "enable_monitoring": False,
        "max_file_size": "200mb",
        "footer_links": ["api", "settings"],
        "run_history": False,
        "app_kwargs": {
            "routes": [Route("/healthz", healthz)],
            "middleware": [Middleware(Guard, warm=warm)],
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
    }
