"""Images that published answers are about: shipped, drawn in code, or fetched, checked by digest and not kept."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core import proxies
from core.checkpoints.registry import ROOT
from core.errors import Refusal

if TYPE_CHECKING:
    from PIL.Image import Image

HUB = "hub:"
LARGEST = 64_000_000  # bytes of a fetched file
GREY = (128, 128, 128)
GRASS = (60, 179, 75)


@dataclass(frozen=True)
class Input:
    """Where the images of a published answer come from."""

    name: str
    licence: str
    file: str | None = None  # in this repository
    drawing: str | None = None  # a function of `DRAWINGS`
    addresses: tuple[str, ...] = ()  # tried in this order
    sha256: str | None = None  # of the fetched file, or of the RGB bytes of a shipped or drawn image


def images(source: Input) -> list[Image]:
    """The RGB images of an input; what is fetched stays in memory while this process checks other rows with it.

    Raises:
        Refusal: "known_input" where no address gives the right bytes.
    """
    from PIL import Image

    if source.drawing:
        return DRAWINGS[source.drawing]()
    if source.file:
        return [Image.open(ROOT / source.file).convert("RGB")]
    data = fetched(source)
    if source.addresses[0].endswith(".npy"):
        import numpy as np

        frames = np.load(io.BytesIO(data), allow_pickle=False)  # [T, H, W, 3]
        return [Image.fromarray(frame) for frame in frames]
    return [Image.open(io.BytesIO(data)).convert("RGB")]


@lru_cache(maxsize=8)
def fetched(source: Input) -> bytes:
    """The bytes of the first address that has the right ones.

    Raises:
        Refusal: "known_input".
    """
    reason = ""
    for address in source.addresses:
        try:
            data = _get(address)
        except (OSError, Refusal) as error:
            reason = str(error)
            continue
        if source.sha256 in (None, hashlib.sha256(data).hexdigest()):
            return data
        reason = f"{address}: sha256"
    raise Refusal("known_input", name=source.name, reason=reason)


def _get(address: str) -> bytes:
    """What lies at an address.

    Raises:
        OSError: nothing, or too much.
        Refusal: a proxy that cannot be used.
    """
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session

    if constants.is_offline_mode():
        raise OSError("HF_HUB_OFFLINE")
    headers = None
    if address.startswith(HUB):
        name, _, rest = address.removeprefix(HUB).partition("@")
        revision, _, file = rest.partition("/")
        address = f"{constants.ENDPOINT}/{name}/resolve/{revision}/{file}"
        headers = build_hf_headers()
    proxies.check(address)
    data = bytearray()
    try:
        with get_session().stream(
            "GET", address, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, follow_redirects=True
        ) as response:
            if response.status_code != 200:
                raise OSError(f"{address}: {response.status_code}")
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > LARGEST:
                    raise OSError(f"{address}: > {LARGEST} B")
    except httpx2.HTTPError as error:
        raise OSError(f"{address}: {type(error).__name__}") from error
    return bytes(data)


def digest(pictures: Sequence[Image]) -> str:
    """sha256 of the RGB bytes of images, one behind the other."""
    state = hashlib.sha256()
    for picture in pictures:
        state.update(picture.tobytes())
    return state.hexdigest()


# --- drawings ----------------------------------------------------------------------------------------------


def _canvas(width: int, height: int, colour: tuple[int, int, int]) -> tuple[Image, Any]:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), colour)
    return image, ImageDraw.Draw(image)


def ramp() -> list[Image]:
    """A red ellipse and a pale rectangle on a ramp from dark to blue."""
    import numpy as np
    from PIL import Image, ImageDraw

    levels = np.zeros((240, 320, 3), np.uint8)
    levels[..., 2] = np.linspace(80, 255, 320).astype(np.uint8)
    levels[..., 1] = np.linspace(0, 120, 240).astype(np.uint8)[:, None]
    image = Image.fromarray(levels)
    draw = ImageDraw.Draw(image)
    draw.ellipse((110, 60, 210, 160), fill=(220, 30, 30))
    draw.rectangle((20, 180, 90, 230), fill=(250, 250, 250))
    return [image]


def shapes() -> list[Image]:
    """A red square, a green circle and a blue triangle of 32 pixels, an image each."""
    import numpy as np
    from PIL import Image

    y, x = np.mgrid[:32, :32]
    square = (x >= 8) & (x < 24) & (y >= 8) & (y < 24)
    circle = (x - 16) ** 2 + (y - 16) ** 2 <= 81
    triangle = (y >= 7) & (y < 26) & (abs(x - 16) <= (y - 7) // 2)
    made = []
    for inside, colour in ((square, (220, 40, 40)), (circle, (40, 170, 75)), (triangle, (40, 90, 220))):
        levels = np.full((32, 32, 3), 245, np.uint8)
        levels[inside] = colour
        made.append(Image.fromarray(levels))
    return made


def scene_640() -> list[Image]:
    """A black rectangle, a red ellipse and a blue triangle on grey."""
    image, draw = _canvas(640, 480, GREY)
    draw.rectangle((80, 120, 280, 360), fill=(30, 30, 30))
    draw.ellipse((380, 140, 560, 320), fill=(220, 30, 30))
    draw.polygon([(280, 380), (200, 460), (360, 460)], fill=(30, 60, 220))
    return [image]


def scene_320() -> list[Image]:
    """A black rectangle and a red circle on grey."""
    image, draw = _canvas(320, 240, GREY)
    draw.rectangle((40, 60, 140, 180), fill=(30, 30, 30))
    draw.ellipse((200, 80, 280, 160), fill=(220, 30, 30))
    return [image]


def meadow() -> list[Image]:
    """Grass, a red circle, a blue square and a yellow triangle."""
    image, draw = _canvas(640, 480, (245, 245, 240))
    draw.rectangle((0, 320, 640, 480), fill=GRASS)
    draw.ellipse((80, 80, 260, 260), fill=(220, 40, 40))
    draw.rectangle((340, 90, 560, 300), fill=(40, 70, 200))
    draw.polygon([(200, 460), (320, 330), (440, 460)], fill=(250, 200, 30))
    return [image]


def house() -> list[Image]:
    """A red house with a brown roof, a tree, the sun, a white stone, grass and the sky."""
    image, draw = _canvas(640, 480, (135, 206, 235))
    draw.rectangle((0, 300, 640, 480), fill=GRASS)
    draw.ellipse((500, 40, 600, 140), fill=(255, 215, 0))
    draw.rectangle((120, 180, 320, 330), fill=(200, 40, 40))
    draw.polygon([(100, 180), (220, 90), (340, 180)], fill=(90, 50, 20))
    draw.rectangle((200, 260, 240, 330), fill=(70, 40, 20))
    draw.ellipse((420, 260, 520, 360), fill=(40, 100, 40))
    draw.rectangle((460, 350, 480, 420), fill=(90, 60, 30))
    draw.ellipse((60, 380, 140, 440), fill=(255, 255, 255))
    return [image]


DRAWINGS: dict[str, Callable[[], list[Image]]] = {
    drawing.__name__: drawing for drawing in (ramp, shapes, scene_640, scene_320, meadow, house)
}
