"""Images in and downloads out: uploads are handed to core unopened, answers leave as links that carry their data."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import gradio as gr
from gradio.utils import get_upload_folder

from core.errors import Refusal
from demos.kit.events import QUIET
from demos.kit.html import Markup, join, tag
from demos.kit.language import Text, both, tr

# Name, MIME type, bytes, and the title of its link where that is not the ending of the name.
File = tuple[str, str, bytes] | tuple[str, str, bytes, str]
DOWNLOAD = both("Download", "下载")
SECRET = secrets.token_bytes(16)  # so that nobody guesses the address of a file


class ImageInput(gr.Image):
    """An image input that hands the uploaded file over unopened: decoding and refusing is core's business."""

    is_template = True

    def preprocess(self, payload: Any) -> str | None:
        """The path of the upload, or the data URI that came in its place."""
        if payload is None:
            return None
        if payload.url and payload.url.startswith("data:"):
            return payload.url
        return payload.path


def image_input(**options: Any) -> ImageInput:
    """The image input of every page: upload, paste or webcam.

    What it was given is named to the server at once, so that it goes with the tab even if nothing was asked of it.
    """
    settings = {
        "type": "filepath",
        "image_mode": None,
        "sources": ["upload", "clipboard", "webcam"],
        "label": tr("Image", "图片"),
        "buttons": ["fullscreen"],
        **options,
    }
    image = ImageInput(**settings)
    gr.on([image.upload, image.input], lambda given: None, [image], None, queue=False, **QUIET)
    return image


def file_input(label: Text, kinds: Sequence[str] | None, name: str, **more: Any) -> gr.File:
    """A file of the question that is no image: the path of an upload. It stands aside where many files are asked.

    Args:
        label: its title.
        kinds: what may be chosen, as Gradio names it; None for every file.
        name: its element id.
    """
    return gr.File(
        file_types=None if kinds is None else list(kinds),
        type="filepath",
        label=label.tr,
        elem_id=name,
        elem_classes="atlas-own-file",
        **more,
    )


def image_source(value: str | None) -> str | bytes:
    """What `core.inputs.image` gets from an image input.

    Raises:
        Refusal: "no_image" when there is none, "bad_data_uri" for a broken data URI.
    """
    if not value:
        raise Refusal("no_image")
    return from_data_uri(value) if value.startswith("data:") else value


def uploaded(value: Any) -> str | bytes:
    """What an API caller sent as an image: an uploaded file of this server, or a data URI.

    Gradio checks the path of a component's file, not that of an endpoint without components.

    Raises:
        Refusal: "not_uploaded" for any other path or address, "bad_data_uri" for a broken data URI.
    """
    fields = value if isinstance(value, dict) else {"path": value}
    for address in (fields.get("url"), fields.get("path")):
        if isinstance(address, str) and address.startswith("data:"):
            return from_data_uri(address)
    path = fields.get("path")
    if not isinstance(path, str) or not path or "\0" in path:
        raise Refusal("not_uploaded")
    file = Path(path).resolve()
    if not file.is_relative_to(Path(get_upload_folder()).resolve()) or not file.is_file():
        raise Refusal("not_uploaded")
    return str(file)


def from_data_uri(uri: str) -> bytes:
    """The bytes of a base64 data URI, in one line or several; Refusal("bad_data_uri") where there are none."""
    head, _, body = uri.partition(",")
    if not head.rstrip().lower().endswith(";base64"):
        raise Refusal("bad_data_uri")
    try:
        # `base64` prints lines of 76 characters; web pages may escape "+", "/" and "=".
        return base64.b64decode("".join(unquote(body).split()), validate=True)
    except ValueError:
        raise Refusal("bad_data_uri") from None


def to_data_uri(mime: str, data: bytes) -> str:
    """Bytes as an address that carries them."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def served(path: str | Path) -> str:
    """The address from which a browser gets a file: an upload itself, of another file a link among the uploads.

    Gradio gives out what lies there. The link goes within an hour, as uploads do, and its name cannot be guessed.
    """
    file, folder = Path(path).resolve(), Path(get_upload_folder()).resolve()
    if not file.is_relative_to(folder):
        state = file.stat()
        name = f"{file}\0{state.st_size}\0{state.st_mtime_ns}".encode("utf-8", "surrogateescape")
        copy = folder / hashlib.blake2b(name, key=SECRET).hexdigest() / f"file{file.suffix}"
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            fresh = copy.with_name(secrets.token_hex(8))
            try:
                os.link(file, fresh)
            except OSError:  # on another disk
                shutil.copyfile(file, fresh)
            fresh.replace(copy)
        file = copy
    return f"gradio_api/file={quote(str(file))}"


def link(name: str, mime: str, data: bytes, title: str = "") -> Markup:
    """A download that carries its data: nothing stays on the server. Its title is the ending where none is given."""
    title = title or name.rpartition(".")[2].upper()
    return tag("a", title, class_="atlas-chip", download=name, href=to_data_uri(mime, data))


def downloads(files: Iterable[File], title: str = DOWNLOAD) -> Markup:
    """Links to files in one line behind a title."""
    return tag("p", title, " ", join((link(*file) for file in files), " "), class_="atlas-downloads")
