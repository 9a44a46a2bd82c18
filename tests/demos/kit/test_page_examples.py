"""Example pictures of the pages with a data file: they are what their scenes draw, and say what the pages ask of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demos.kit import page_examples

PAGES = ("lseg", "vild", "glip")


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_own_pictures_are_what_their_scenes_draw(page: str, tmp_path: Path) -> None:
    page_examples.write(page, tmp_path)
    kept = page_examples.folder(page)
    assert (tmp_path / page_examples.LISTING).read_text() == (kept / page_examples.LISTING).read_text()
    for file in tmp_path.glob("*.webp"):
        difference = np.asarray(Image.open(kept / file.name), int) - np.asarray(Image.open(file), int)
        assert np.abs(difference).max() <= 2


@pytest.mark.parametrize("page", PAGES)
def test_an_example_is_a_scene_of_the_page_or_a_picture_of_the_clip_page(page: str) -> None:
    rows = page_examples.words(page)["examples"]
    for name, row in page_examples.examples(page).items():
        assert Path(row["path"]).is_file() and row["labels"] == rows[name]["labels"]
        assert row["caption"] == rows[name].get("caption", row["caption"]) and row["caption"]["zh"]
        own = "scene" in rows[name]
        assert (page_examples.folder(page) in Path(row["path"]).parents) == own
        assert not own or (row["classroom"] and row["objects"])
