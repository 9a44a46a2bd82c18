"""A data set of clips: files that play, annotations that fit their frames, words that fit their motions."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import inputs
from core import masks as rle
from core.classroom import open_atlas, render_clips
from core.classroom.__main__ import main
from core.classroom.world import clip_set, dataset
from core.classroom.world.clips import times
from core.classroom.world.concepts import concepts, unseen
from core.classroom.world.dataset import DatasetSettings
from core.classroom.world.motions import MOTIONS, OPPOSITES
from core.errors import Refusal

SETTINGS = DatasetSettings(scenes=25, seed=3, size=97, kind="clip", frames=10)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips") / "set"
    assert [*dataset.write(folder, SETTINGS)] == [*range(1, 26)]
    return folder


def tables(folder: Path, split: str) -> tuple[dict[str, Any], dict[str, Any]]:
    instances, captions = (
        json.loads((folder / "annotations" / f"{kind}_{split}.json").read_text(encoding="utf-8"))
        for kind in ("instances", "captions")
    )
    return instances, captions


@pytest.mark.parametrize("split", ["train", "val"])
def test_files_show_the_clips_that_the_settings_mean(made: Path, split: str) -> None:
    spec = SETTINGS.clips()[split]
    clips = render_clips(spec, open_atlas(), times(10), 96)
    instances, captions = tables(made, split)
    assert len(instances["videos"]) == len(spec) == SETTINGS.counts[split]
    assert instances["videos"] == captions["videos"]
    for i, row in enumerate(instances["videos"]):
        video = inputs.video(made / "videos" / split / row["file_name"])
        assert video.size == (row["width"], row["height"]) == (96, 96)
        assert len(video.moments) == row["length"] == 10 and video.rate == pytest.approx(row["fps"], rel=0.01)
        shown = video.clip(video.moments).pixels.astype(float) / 255
        drawn = clips.picture[i].permute(0, 2, 3, 1).numpy()
        assert np.abs(shown - drawn).mean() < 0.04  # colours have half the pixels in a film
        assert MOTIONS[int(spec.motion[i])] == row["motion"] and row["action"]["en"] and row["action"]["zh"]


@pytest.mark.parametrize("split", ["train", "val"])
def test_annotations_fit_every_frame(made: Path, split: str) -> None:
    spec = SETTINGS.clips()[split]
    clips = render_clips(spec, open_atlas(), times(10), 96)
    instances, _ = tables(made, split)
    rows = instances["annotations"]
    kinds = {"": clips.visible.numpy(), "amodal_": clips.amodal.numpy()}
    assert [row["id"] for row in rows] == [*range(1, len(rows) + 1)]
    assert len(rows) == int(spec.scene.count.sum())
    gone = 0
    for i in range(len(spec)):
        own = [row for row in rows if row["video_id"] == i + 1]
        assert [row["moves"] for row in own] == [True, False][: len(own)]
        for slot, row in enumerate(own):
            assert row["category_id"] - 1 == int(spec.scene.concept[i, slot])
            for t in range(10):
                for prefix, masks in kinds.items():
                    mask = masks[i, t, slot]
                    if not mask.any():
                        gone += 1
                        assert row[f"{prefix}bboxes"][t] is None and row[f"{prefix}areas"][t] is None
                        continue
                    ys, xs = np.nonzero(mask)
                    left, top, width, height = row[f"{prefix}bboxes"][t]
                    assert (left, top, left + width, top + height) == (
                        xs.min(), ys.min(), xs.max() + 1, ys.max() + 1,
                    )  # fmt: skip
                    assert row[f"{prefix}areas"][t] == mask.sum()
                    if not prefix:
                        assert (rle.decode(row["segmentations"][t]["counts"], 96, 96) == mask).all()
    assert gone or split == "val"


def test_captions_are_of_the_clip_and_its_opposite(made: Path) -> None:
    instances, captions = tables(made, "train")
    names = {row["id"]: (row["name"], row["name_zh"]) for row in instances["categories"]}
    for video in captions["videos"]:
        moved = next(r for r in instances["annotations"] if r["video_id"] == video["id"] and r["moves"])
        for at, lang in enumerate(("en", "zh")):
            own = [
                row
                for row in captions["annotations"]
                if row["video_id"] == video["id"] and row["language"] == lang
            ]
            assert len(own) >= 2 and all(names[moved["category_id"]][at] in row["caption"] for row in own)
            assert own[0]["swapped"] is None
            assert (own[1]["swapped"] is not None) == (video["motion"] in OPPOSITES)
            assert all(row["swapped"] != row["caption"] for row in own)
    ids = [row["id"] for row in captions["annotations"]]
    assert ids == [*range(1, len(ids) + 1)]


def test_what_moves_in_val_never_moves_in_train(made: Path) -> None:
    shown = {
        split: {row["category_id"] - 1 for row in tables(made, split)[0]["annotations"]}
        for split in ("train", "val")
    }
    assert shown["val"] <= set(unseen()) and not shown["train"] & set(unseen())
    held = {row["id"] - 1 for row in tables(made, "val")[0]["categories"] if row["held_out"]}
    assert held == set(unseen()) and len(concepts()) > len(held)


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    small = DatasetSettings(scenes=4, seed=1, size=64, kind="clip", frames=5, look="colour")
    for name in ("one.zip", "two.zip"):
        assert [*dataset.write(tmp_path / name, small)][-1] == 4
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        names = archive.namelist()
        assert sum(name.endswith(".mp4") for name in names) == 4
        readme = archive.read("README.md").decode()
        assert "--kind clip" in readme and "--frames 5" in readme and "{" not in readme
        assert b"CC-BY" in archive.read("LICENSES.md")


def test_parts_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = DatasetSettings(scenes=8, seed=2, size=64, kind="clip", frames=4).clips()["train"]
    whole = [*clip_set.drawn(spec, 64, 4)]
    monkeypatch.setattr(clip_set, "PART_PIXELS", 2 * 64 * 64 * 4)
    for (_, one), (_, other) in zip(whole, clip_set.drawn(spec, 64, 4), strict=True):
        assert one == other


@pytest.mark.parametrize("frames", [1, 1000])
def test_a_clip_of_too_few_or_too_many_frames_is_refused(frames: int) -> None:
    with pytest.raises(Refusal):
        DatasetSettings(kind="clip", frames=frames)


def test_the_command_writes_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["dataset", "--kind", "clip", "--out", str(tmp_path / "set"), "--scenes", "3", "--size", "48"]
    assert main([*command, "--frames", "4"]) == 0
    assert "3 of 3 clips" in capsys.readouterr().err
    assert len([*(tmp_path / "set").rglob("*.mp4")]) == 3
