"""Thumbnails that a page shows by their address: each is made when the first browser asks for it, not at start-up.

The addresses are relative to a page of the app; `demos.app.site` serves them through `response`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from PIL import Image
from starlette.requests import Request
from starlette.responses import Response

from core import inputs

ROUTE = "thumbnails"
SIDE = 224  # pixels of the long side of a file's thumbnail: twice what a strip shows, for dense screens
QUALITY = 80
CACHED = 1024  # thumbnails of a few kB each

_images: dict[str, Callable[[], Image.Image]] = {}  # key -> how its image is made


def register(key: str, make: Callable[[], Image.Image]) -> str:
    """The address of a thumbnail.

    Args:
        key: names the content for good, because browsers keep the image for a day.
        make: returns the image, RGB or RGBA; it runs at the first request.
    """
    name = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    _images[name] = make
    return f"{ROUTE}/{name}.webp"


def of_file(path: str | Path) -> str:
    """The address of an image file's thumbnail; a file that changes gets another address."""
    state = Path(path).stat()
    return register(f"{path} {state.st_size} {state.st_mtime_ns}", lambda: _reduced(path))


def _reduced(path: str | Path) -> Image.Image:
    """A file's image whose long side is SIDE at most, also of a long strip."""
    image = inputs.image(path, max_side=2 * SIDE).copy()
    image.thumbnail((SIDE, SIDE))
    return image


@lru_cache(maxsize=CACHED)
def encode(name: str) -> bytes:
    """A registered thumbnail as a WebP file.

    Raises:
        KeyError: for a name that is not registered.
    """
    buffer = io.BytesIO()
    _images[name]().save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()


def response(request: Request) -> Response:
    """Answers `/thumbnails/{name}.webp`."""
    try:
        content = encode(request.path_params["name"])
    except KeyError:
        return Response(status_code=404)
    return Response(content, media_type="image/webp", headers={"cache-control": "public, max-age=86400"})
