"""All pages in one Gradio app, and how it is launched."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from core import checkpoints, runtime
from core.errors import Refusal
from demos import catalog
from demos.app import endpoints as values
from demos.app import home, sessions
from demos.app import mcp as tools
from demos.app.blocks import Blocks, cached_signatures, page_at
from demos.app.guard import Guard, Warm
from demos.app.theme import theme
from demos.app.uploads import UPLOADS
from demos.kit import document, shell, thumbnails
from demos.kit.components import output
from demos.kit.events import CONCURRENCY
from demos.kit.html import tag
from demos.kit.language import Text, both, both_of, translations

log = logging.getLogger(__name__)

ASSETS = Path(__file__).resolve().parents[2] / "assets"
# Waiting requests of all events together; one more is told that the queue is full.
QUEUE = 64


def build() -> gr.Blocks:
    """The app with every page of the catalog that has a module; one that fails to load says so."""

    def forget() -> None:
        sessions.forget_closed(demo)

    with (
        cached_signatures(),
        Blocks(title=shell.NAME.en, analytics_enabled=False, fill_width=True) as demo,
    ):
        _no_navbar()
        home.build()
        for row in catalog.open_rows():
            with page_at(demo, row.title.en, row.slug):
                _build_page(row)
        demo.unload(UPLOADS.left)
        demo.unload(forget)
    values.check_endpoints(demo)
    demo.queue(api_open=False, max_size=QUEUE, default_concurrency_limit=CONCURRENCY)
    if runtime.zero_gpu():
        # A ZeroGPU Space wants its models on the GPU while the app starts; its workers inherit them.
        from core.clip import ZeroShot

        ZeroShot.load(checkpoints.default("clip")).place()
    return demo


def _build_page(row: catalog.Entry | catalog.Room) -> None:
    _no_navbar()
    loaded = catalog.load(row)
    if isinstance(loaded, str):
        _broken(row, loaded)
        return
    shell.header(loaded)
    with gr.Column(elem_classes="atlas-page") as body:
        try:
            loaded.build()
        except Refusal as refusal:  # the registry in use has no row for it, for one
            log.warning("The page %s cannot be built: %s", row.slug, refusal)
            body.visible = False
            failure = str(refusal)
        except Exception as error:
            log.exception("The page %s cannot be built", row.slug)
            # What was laid out before the failure stays hidden.
            body.visible = False
            failure = f"{type(error).__name__}: {error}"
    if not body.visible:
        _reason(failure)
    shell.footer(loaded)


def _no_navbar() -> None:
    gr.Navbar(visible=False, main_page_name="CLIP Atlas")


def _broken(row: catalog.Entry | catalog.Room, reason: str) -> None:
    shell.top_bar(row.slug)
    output(None, tag("h1", both_of(row.title)))
    _reason(reason)


def _reason(failure: str) -> None:
    sentence = both("This page does not load on this server:", "这一页无法在本服务器上加载：")
    output(None, tag("p", sentence, " ", tag("code", failure), role="alert", class_="atlas-refusal"))


def titles() -> dict[str, Text]:
    """Document titles by slug, "" for home."""
    pages = {
        row.slug: Text(f"{row.title.en} · CLIP Atlas", f"{row.title.zh} · CLIP Atlas")
        for row in catalog.open_rows()
    }
    plain = {
        slug: Text(f"{title.en} · CLIP Atlas", f"{title.zh} · CLIP Atlas")
        for page in _loaded()
        for slug, title in page.titles.items()
    }
    return {"": shell.NAME, **pages, **plain}


def _loaded() -> list[catalog.Page]:
    """The pages that could be imported."""
    pages = (catalog.load(row) for row in catalog.open_rows())
    return [page for page in pages if not isinstance(page, str)]


def warm_up() -> None:
    """Loads torch and the model that every page starts from, so that the first answer does not wait for them."""
    try:
        from core.clip import ZeroShot

        model = ZeroShot.load(checkpoints.default("clip"))
        if not runtime.zero_gpu():  # there a model step is taken off the visitor's quota
            model.encode_text(["a"])
    except Refusal as refusal:
        log.info("warm-up: %s", refusal)
    except Exception:
        log.exception("warm-up failed; the first request will try again")


def launch_options() -> dict[str, Any]:
    """Everything that launch() wants besides the address."""
    warm = Warm(warm_up)
    tools.install()
    sessions.lighten()

    async def healthz(_: Request) -> JSONResponse:
        broken = [row.slug for row in catalog.open_rows() if isinstance(catalog.load(row), str)]
        return JSONResponse({"status": "ok", "warm": warm.done.is_set(), "broken": broken})

    return {
        "theme": theme(),
        "css_paths": document.stylesheets(),
        "i18n": translations(),
        "favicon_path": ASSETS / "favicon.svg",
        "show_error": False,
        "ssr_mode": False,
        # The server calls itself once by plain http; the certificates of the system are not read for that.
        "ssl_verify": False,
        "enable_monitoring": False,
        # The named endpoints are tools of the Model Context Protocol too, below /gradio_api/mcp/.
        "mcp_server": True,
        "max_file_size": "200mb",
        "state_session_capacity": sessions.CAPACITY,
        "footer_links": ["api"],
        "run_history": False,
        "app_kwargs": {
            "routes": [
                Route("/healthz", healthz),
                Route(f"/{thumbnails.ROUTE}/{{name}}.webp", thumbnails.response),
                Route(f"/{document.STYLE_ROUTE}", document.style),
                *(route for page in _loaded() for route in page.routes),
            ],
            "middleware": [Middleware(Guard, titles=titles(), warm=warm)],
            "lifespan": UPLOADS.lifespan,
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
    }
