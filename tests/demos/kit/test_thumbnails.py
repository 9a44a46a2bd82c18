"""Thumbnails are served by address and made at the first request; nothing is decoded while pages are built."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from demos.app import site
from demos.kit import examples, thumbnails


@pytest.fixture
def client() -> TestClient:
    route = Route(f"/{thumbnails.ROUTE}/{{name}}.webp", thumbnails.response)
    return TestClient(Starlette(routes=[route]))


def test_a_file_is_served_small_and_once_encoded(tmp_path: Path, client: TestClient) -> None:
    path = tmp_path / "wide.png"
    Image.new("RGB", (900, 300), "red").save(path)
    address = thumbnails.of_file(path)
    answer = client.get("/" + address)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/webp"
    assert "max-age" in answer.headers["cache-control"]
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == "WEBP" and thumbnails.SIDE - 3 < max(image.size) <= thumbnails.SIDE
    path.unlink()  # the bytes are cached
    assert client.get("/" + address).content == answer.content


def test_a_changed_file_has_another_address(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", (20, 20), "red").save(path)
    first = thumbnails.of_file(path)
    assert thumbnails.of_file(path) == first
    Image.new("RGB", (40, 40), "blue").save(path)
    assert thumbnails.of_file(path) != first


def test_transparency_is_kept(client: TestClient) -> None:
    address = thumbnails.register("a glass", lambda: Image.new("RGBA", (8, 8), (0, 0, 255, 0)))
    with Image.open(io.BytesIO(client.get("/" + address).content)) as image:
        assert image.convert("RGBA").getpixel((4, 4))[3] == 0


@pytest.mark.parametrize("name", ["0123456789abcdef", "..%2F..%2Fapp.py", "%00"])
def test_only_registered_names_are_served(name: str, client: TestClient) -> None:
    assert client.get(f"/{thumbnails.ROUTE}/{name}.webp").status_code == 404


def test_building_the_pages_decodes_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Any] = []
    load = Image.core.new
    monkeypatch.setattr(Image.core, "new", lambda *size: decoded.append(size) or load(*size))
    demo = site.build()
    assert not decoded
    strips = [
        block.html_template
        for block in demo.blocks.values()
        if isinstance(block, gr.HTML) and block.html_template.startswith('<div class="atlas-examples">')
    ]
    assert len(strips) >= 9 and all("data:image" not in strip for strip in strips)


def test_a_strip_names_each_example(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.new("RGB", (20, 20)).save(path)
    rows = {"one": {"path": str(path), "caption": {"en": "a <b>", "zh": "一"}}}
    with gr.Blocks():
        strip = examples.strip(rows, "strip")
    assert thumbnails.of_file(path) in strip.html_template and "a &lt;b&gt;" in strip.html_template
