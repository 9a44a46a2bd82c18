"""Plain HTML pages of the server, without Gradio: light enough for sixty phones on one access point.

The door of the server puts language, theme and title into the head of every page (`demos.app.guard`), so these have them too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from demos.kit import shell
from demos.kit.components import code_of
from demos.kit.html import Markup, tag

STYLES = Path(__file__).resolve().parents[2] / "assets" / "css"
STYLE_ROUTE = "style.css"
FIRST = "atlas.css"


def stylesheets() -> list[Path]:
    """The shared stylesheet, then each page's own; head.css goes out with the head of every page."""
    others = sorted(path for path in STYLES.glob("*.css") if path.name not in (FIRST, "head.css"))
    return [STYLES / FIRST, *others]


@cache
def _style() -> tuple[bytes, str]:
    """All stylesheets as one, and the mark of this edition."""
    content = b"\n".join(path.read_bytes() for path in stylesheets())
    return content, hashlib.blake2b(content, digest_size=6).hexdigest()


async def style(_: Request) -> Response:
    """Answers `/style.css`; the address carries the mark of the edition, so browsers keep it."""
    headers = {"cache-control": "public, max-age=86400"}
    return Response(_style()[0], media_type="text/css", headers=headers)


def document(body: str, scripts: Sequence[str] = (), values: Mapping[str, Any] | None = None) -> str:
    """A page.

    Args:
        body: HTML below the bar.
        scripts: of `assets/js`, run when the page is there.
        values: what the scripts read as `window.atlasValues`.
    """
    # A closing tag inside a string would end the script.
    given = json.dumps(values or {}, ensure_ascii=False).replace("</", "<\\/")
    code = Markup("\n".join([f"window.atlasValues = {given};", *map(code_of, scripts)]))
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("link", rel="stylesheet", href=f"{STYLE_ROUTE}?{_style()[1]}"),
        tag("link", rel="icon", href="favicon.ico"),
    )
    page = (
        tag("header", shell.bar(), class_="atlas-plain-bar"),
        tag("main", Markup(body), class_="atlas-plain"),
        tag("script", code) if scripts else "",
    )
    return Markup("<!doctype html>") + tag(
        "html", tag("head", *head), tag("body", *page, class_="atlas-plain-page"), lang="en"
    )
