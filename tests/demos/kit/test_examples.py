"""The example photos and videos: listed, licensed, small, and asking questions that their answers are among."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core import inputs
from demos.kit import library

EXAMPLES = Path(__file__).resolve().parents[3] / "assets" / "examples"
PHOTOS = json.loads((EXAMPLES / "photos" / "photos.json").read_text(encoding="utf-8"))


def test_every_photo_is_listed_and_licensed() -> None:
    files = {path.name for path in (EXAMPLES / "photos").iterdir()} - {"photos.json"}
    assert files == {row["file"] for row in PHOTOS} and len(PHOTOS) == len(files)
    table = (EXAMPLES / "LICENSES.md").read_text(encoding="utf-8").splitlines()
    for row in PHOTOS:
        lines = [line for line in table if line.startswith(f"| photos/{row['file']} |")]
        assert len(lines) == 1 and row["licence"] in lines[0] and row["source"] in lines[0]
    assert sum((EXAMPLES / "photos" / name).stat().st_size for name in files) < 1_000_000


@pytest.mark.parametrize("row", PHOTOS, ids=lambda row: row["file"])
def test_photo(row: dict[str, Any]) -> None:
    path = EXAMPLES / "photos" / row["file"]
    with Image.open(path) as stored:
        assert (stored.format, stored.mode) == ("JPEG", "RGB") and not stored.getexif()
        assert max(stored.size) <= 640
    assert inputs.image(path).size == stored.size
    counts = set()
    for lang in ("en", "zh"):
        assert row["caption"][lang]
        labels = inputs.labels(row["labels"][lang])
        assert row["answer"][lang] in labels
        counts.add(len(labels))
    assert counts == {4}


def test_every_video_is_listed_and_licensed() -> None:
    files = {path.name for path in (EXAMPLES / "videos").iterdir()} - {"videos.json"}
    assert files == {Path(row["path"]).name for row in library.videos().values()} and len(files) == 4
    table = (EXAMPLES / "LICENSES.md").read_text(encoding="utf-8").splitlines()
    for row in library.videos().values():
        lines = [line for line in table if line.startswith(f"| videos/{row['file']} |")]
        assert len(lines) == 1 and row["licence"] in lines[0] and row["source"] in lines[0]


@pytest.mark.parametrize("name", library.videos())
def test_video(name: str) -> None:
    row = library.videos()[name]
    video = inputs.video(row["path"])
    assert 1 < video.duration < 10 and max(video.size) == 384
    assert len({frame.time for frame in video.at(video.uniform(8), side=64)}) == 8
    for lang in ("en", "zh"):
        actions = inputs.labels(row["actions"][lang])
        assert row["caption"][lang] and row["answer"][lang] in actions and len(actions) == 4


def test_every_drawn_clip_is_listed_and_is_its_own_seeds() -> None:
    from core.classroom.world import clip_examples

    files = {path.name for path in (EXAMPLES / "clips").iterdir()} - {"clips.json"}
    assert (
        files
        == {row["file"] for row in library.clips().values()}
        == {f"{e.name}.mp4" for e in clip_examples.EXAMPLES}
    )
    assert sum((EXAMPLES / "clips" / name).stat().st_size for name in files) < 400_000
    for row in library.clips().values():
        assert row["caption"]["en"] and row["caption"]["zh"] and row["action"]["en"] and row["action"]["zh"]
        assert inputs.video(row["path"]).duration == pytest.approx(2.0)


def test_a_drawn_clip_and_its_opposite_have_the_same_frames() -> None:
    forwards, backwards = (inputs.video(library.clips()[name]["path"]) for name in ("dog_right", "dog_left"))
    first = [frame.pixels.astype(int) for frame in forwards.at(forwards.moments)]
    second = [frame.pixels.astype(int) for frame in backwards.at(backwards.moments)][::-1]
    assert max(abs(a - b).mean() for a, b in zip(first, second, strict=True)) < 2
