"""What the CLIFS page searches: the sample of this repository, uploads, folders of the server's own machine."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradio.context import LocalContext

from core import inputs, mp4
from core.errors import Refusal
from core.runtime import Cancel, on_space
from core.search import listing, store
from core.search.collections import Collection, of_files
from demos.clifs.words import data, say
from demos.kit import library
from demos.kit.jobs import Progress

if TYPE_CHECKING:
    from core.search.spaces import Space

SAMPLE, FILMS = "examples", "films"
PROXIES = {"x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via"}

uploaded = of_files


@cache
def sample() -> Collection:
    """The sample; its index lies in the store of the server, or of the user."""
    folders = {SAMPLE: library.ASSETS, FILMS: film()}
    return Collection(store.open_store(), folders, {SAMPLE: data()["sample"]["folders"]}, (".json", ".toml"))


def film() -> Path:
    """The folder of a film of several shots, made of the example clips: what is found in it has a time."""
    import numpy as np

    folder = store.cache_folder() / "films"
    path = folder / "seven_shots.mp4"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        videos = [inputs.video(library.clips()[name]["path"]) for name in data()["sample"]["film"]]
        pixels = np.concatenate([video.clip(video.every(1 / 8)[:16]).pixels for video in videos])
        made = path.with_suffix(f".{os.getpid()}")
        made.write_bytes(mp4.mp4(iter(pixels), [125] * len(pixels)))
        made.replace(path)
    return folder


def prepare(
    collection: Collection, space: Space, lang: str, cancel: Cancel | None = None
) -> Iterator[Progress]:
    """Brings the index of a collection up to date, where it is not."""
    for step in collection.prepare(space, cancel):
        if step is None:
            yield Progress(None, say("waits", lang))
        elif step.done < step.total:
            told = say("indexing", lang, done=step.done, total=step.total, left=round(step.seconds_left))
            yield Progress(step.done / step.total, told)


def prepared(collection: Collection, space: Space) -> Collection:
    """The collection, with its index up to date."""
    for _ in collection.prepare(space):
        pass
    return collection


@cache
def _folder(path: str) -> Collection:
    return Collection(store.open_store(), {path: Path(path)})


def folder(path: str) -> Collection:
    """The collection of a folder of the server's own machine.

    Raises:
        Refusal: "search_local" for a visitor on another machine, "search_folder".
    """
    if not is_local():
        raise Refusal("search_local")
    try:
        found = Path(path).expanduser().resolve(strict=True)
        if not found.is_dir():
            raise NotADirectoryError
    except (OSError, ValueError, RuntimeError) as error:
        raise Refusal("search_folder", name=listing.clean_name(path)[:80]) from error
    made = _folder(str(found))
    made.ready.clear()  # it may have changed
    return made


def is_local() -> bool:
    """Whether the request at hand comes from this machine, through no proxy and no tunnel."""
    request: Any = LocalContext.request.get(None)
    if request is None or on_space() or {name.lower() for name in request.headers} & PROXIES:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except (ValueError, AttributeError):
        return False
