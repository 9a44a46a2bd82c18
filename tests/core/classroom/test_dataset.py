"""Scenes by description and data sets: masks that others can read, texts that come back, truth that fits the pixels."""

from __future__ import annotations

import contextlib
import io
import json
import tomllib
import zipfile
from collections import Counter
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from core import masks as rle
from core.classroom import find, report
from core.classroom.__main__ import main
from core.classroom.world import dataset, description
from core.classroom.world.atlas import POSES
from core.classroom.world.concepts import concepts
from core.classroom.world.dataset import DatasetSettings
from core.classroom.world.examples import DESCRIBED
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.specs import BACKGROUNDS, KINDS, new_pair
from core.classroom.world.sprites import STYLES
from core.errors import Refusal

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = json.loads((DESCRIBED / "examples.json").read_text(encoding="utf-8"))


def reference_decode(counts: str, height: int, width: int) -> np.ndarray:
    """COCO's run lengths read letter by letter, as its own C code does."""
    runs: list[int] = []
    at = 0
    while at < len(counts):
        value, digit, more = 0, 0, True
        while more:
            letter = ord(counts[at]) - 48
            value |= (letter & 0x1F) << (5 * digit)
            more = bool(letter & 0x20)
            at, digit = at + 1, digit + 1
            if not more and letter & 0x10:
                value |= -1 << (5 * digit)
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    pixels: list[int] = []
    for i, run in enumerate(runs):
        pixels += [i % 2] * run
    return np.array(pixels, bool).reshape(width, height).T


# --- run lengths ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (37, 53), (200, 300)])
def test_run_lengths_are_cocos(share: float, shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(3).random(shape) < share
    counts = rle.encode(mask)
    assert (reference_decode(counts, *shape) == mask).all()
    assert (rle.decode(counts, *shape) == mask).all()


def test_known_run_lengths() -> None:
    # One pixel, then three by three with its middle column set: 3 zeros, 3 ones, 3 zeros.
    assert rle.encode(np.array([[True]])) == "01"
    assert rle.encode(np.array([[0, 1, 0]] * 3, bool)) == "333"


@pytest.mark.parametrize("counts", ["", "3", "P", "333333"])
def test_wrong_run_lengths_are_an_error(counts: str) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        rle.decode(counts, 3, 3)


# --- descriptions --------------------------------------------------------------------------------------------


def scene(*words: Any, arrangement: str = "left", **more: Any) -> description.Description:
    return description.check(
        description.Description(description.objects_of(words, arrangement), **{"background": "grass", **more})
    )


def test_a_scenes_text_comes_back() -> None:
    made = scene("dog", {"concept": "汽车", "angle": -30, "flip": True, "style": "noto"}, seed=7)
    assert description.parse(made.text) == made
    sheep = scene({"concept": "sheep", "pose": "lying", "x": -1, "depth": 0.02}, rendering="sketch")
    assert description.parse(sheep.text) == sheep
    assert description.parse(sheep.text).text == sheep.text


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5, 6, 7, 99, 2**31 - 1])
def test_a_surprise_is_a_scene_and_always_the_same(seed: int) -> None:
    found = description.parse(str(seed))
    assert found == description.surprise(seed)
    assert description.parse(found.text) == found
    assert found.seed == seed


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_scene"),
        ("x" * 401, "bad_scene"),
        ("99999999999", "bad_scene"),
        ("1F415.x-50", "bad_scene"),
        ("1F415.x-50_grass.colour", "bad_scene"),
        ("1F415.x-50_mud.colour.0", "bad_scene"),
        ("1F415.x-50_grass.oil.0", "bad_scene"),
        ("1F415.x-500_grass.colour.0", "bad_scene"),
        ("1F415.q3_grass.colour.0", "bad_scene"),
        ("1F415.pflying_grass.colour.0", "bad_scene"),
        ("1F415.topenmoji_grass.colour.0", "bad_scene"),
        ("1F415_grass.colour.9999999999", "bad_scene"),
        ("ABCDEF_grass.colour.0", "unknown_concept"),
        ("../../etc/passwd", "bad_scene"),
        ("_grass.colour.0", "unknown_concept"),
        ("1F415_1F415_1F415_1F415_1F415_grass.colour.0", "scene_size"),
    ],
)
def test_what_is_no_scene_is_refused(text: str, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        description.parse(text)
    assert refused.value.code == code and refused.value.text("zh") != refused.value.text("en")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], "scene_size"),
        (["dog"] * 5, "scene_size"),
        (["unicorn-whale"], "unknown_concept"),
        ([{"concept": "dog", "x": "left"}], "bad_scene"),
        ([{"concept": "dog", "x": float("nan")}], "bad_scene"),
        ([{"concept": "dog", "half": 0.0}], "bad_scene"),
        ([{"concept": "dog", "pose": "flying"}], "bad_scene"),
        ([{"concept": "dog", "colour": "red"}], "bad_scene"),
    ],
)
def test_objects_that_cannot_be_are_refused(words: list[Any], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        scene(*words)
    assert refused.value.code == code


SAYS = {
    "left": "a cat to the left of a house",
    "right": "a house to the left of a cat",
    "above": "a cat above a house",
    "below": "a house above a cat",
    "front": "a cat in front of a house",
    "behind": "a house in front of a cat",
}


@pytest.mark.parametrize(("arrangement", "said"), SAYS.items())
def test_an_arrangement_is_what_the_caption_says_and_the_picture_shows(arrangement: str, said: str) -> None:
    drawn = description.draw(scene("cat", "house", arrangement=arrangement), 96)
    assert drawn.truth["captions"]["en"][0] == said
    swapped = drawn.truth["swapped"]
    assert swapped["en"] != said and sorted(swapped["en"]) == sorted(said)
    assert set(swapped["zh"]) == set(drawn.truth["captions"]["zh"][0])
    things = {thing["en"]: thing for thing in drawn.truth["objects"]}
    (x0, y0, x1, y1), (u0, v0, u1, v1) = (things[name]["box"] for name in ("cat", "house"))
    across, down = x0 + x1 - u0 - u1, y0 + y1 - v0 - v1
    nearer = things["cat"]["depth"] < things["house"]["depth"]
    seen = {
        "left": across < -40, "right": across > 40, "above": down < -40, "below": down > 40,
        "front": nearer and things["house"]["visible_area"] < things["house"]["area"],
        "behind": not nearer and things["cat"]["visible_area"] < things["cat"]["area"],
    }  # fmt: skip
    assert seen[arrangement]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("arrangement", description.ARRANGEMENTS)
def test_every_arrangement_shows_all_its_objects(arrangement: str, count: int) -> None:
    drawn = description.draw(scene(*["dog", "car", "tree", "cat"][:count], arrangement=arrangement), 96)
    assert len(drawn.truth["objects"]) == count
    assert all(thing["visible_area"] > 60 for thing in drawn.truth["objects"])


def test_the_truth_fits_the_pixels() -> None:
    made = scene({"concept": "heart", "style": "twemoji"}, "tree", arrangement="front", background="white")
    drawn = description.draw(made, 128)
    depth = description.depth_map(drawn.truth)
    near = np.ones((128, 128))
    for thing in drawn.truth["objects"]:
        masks = {name: reference_decode(thing[name]["counts"], 128, 128) for name in ("mask", "visible_mask")}
        assert masks["mask"].sum() == thing["area"] and masks["visible_mask"].sum() == thing["visible_area"]
        assert not (masks["visible_mask"] & ~masks["mask"]).any()
        for box, mask in (("box", "mask"), ("visible_box", "visible_mask")):
            rows, columns = np.nonzero(masks[mask])
            assert thing[box] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        near[masks["mask"]] = np.minimum(near[masks["mask"]], thing["depth"])
    assert np.allclose(depth, near, atol=1e-4)
    heart = next(thing for thing in drawn.truth["objects"] if thing["en"] == "heart")
    red, green, _ = drawn.picture[rle.decode(heart["visible_mask"]["counts"], 128, 128)].mean(0)
    assert red > 180 and green < 110


def test_a_drawing_keeps_its_style_wherever_it_stands() -> None:
    places = [description.draw(scene("cat", "house", arrangement=a), 64) for a in ("left", "right", "behind")]
    for name in ("cat", "house"):
        styles = {
            thing["style"] for drawn in places for thing in drawn.truth["objects"] if thing["en"] == name
        }
        assert len(styles) == 1
    with pytest.raises(Refusal):
        description.draw(scene("cat"), 5000)


@pytest.mark.parametrize("look", RENDERINGS)
def test_every_rendering_can_be_seen(look: str) -> None:
    picture = description.draw(scene("dog", rendering=look, background="white"), 192).picture.astype(int)
    assert picture.max() - picture.min() > 100


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: row["scene"][:12])
def test_the_committed_examples_are_what_is_drawn_today(row: dict[str, Any]) -> None:
    drawn = description.draw(description.parse(row["scene"]))
    kept = np.asarray(Image.open(DESCRIBED / row["file"]).convert("RGB")).astype(int)
    assert np.abs(kept - drawn.picture).mean() < 1
    assert row["truth"]["captions"] == drawn.truth["captions"]
    for there, here in zip(row["truth"]["objects"], drawn.truth["objects"], strict=True):
        assert there["code"] == here["code"] and there["style"] == here["style"]
        assert np.abs(np.array(there["box"]) - here["box"]).max() <= 1


def test_the_pages_choices_are_the_worlds() -> None:
    choices = tomllib.loads((ROOT / "demos" / "classroom" / "data.toml").read_text(encoding="utf-8"))
    assert [*choices["arrangements"]] == [*description.ARRANGEMENTS, "free"]
    assert [*choices["renderings"]] == [*RENDERINGS] and [*choices["backgrounds"]] == [*BACKGROUNDS]
    assert [*choices["poses"]] == [*POSES] and [*choices["styles"]] == [*STYLES]
    assert [*choices["kinds"]] == ["mixed", *KINDS, dataset.CLIP]


# --- data sets -----------------------------------------------------------------------------------------------

SETTINGS = DatasetSettings(scenes=40, seed=5, size=96)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset") / "set"
    assert [*dataset.write(folder, SETTINGS)] == [24, 32, 40]
    return folder


def tables(folder: Path, split: str) -> tuple[dict[str, Any], dict[str, Any]]:
    instances, captions = (
        json.loads((folder / "annotations" / f"{kind}_{split}.json").read_text(encoding="utf-8"))
        for kind in ("instances", "captions")
    )
    return instances, captions


@pytest.mark.parametrize(("split", "count"), [("train", 32), ("val", 8)])
def test_a_data_set_is_valid_coco(made: Path, split: str, count: int) -> None:
    instances, captions = tables(made, split)
    assert len(instances["images"]) == len(captions["images"]) == count
    for table in (instances, captions):
        for key in ("images", "annotations"):
            ids = [row["id"] for row in table[key]]
            assert len(set(ids)) == len(ids) and min(ids) == 1
    with contextlib.redirect_stdout(io.StringIO()):
        read, told = (
            COCO(made / "annotations" / f"{kind}_{split}.json") for kind in ("instances", "captions")
        )
    assert len(read.imgs) == len(told.imgs) == count and told.anns.keys() == set(told.getAnnIds())
    for row in read.loadAnns(read.getAnnIds()):
        assert read.annToMask(row).sum() == row["area"]
    images = {row["id"]: row for row in instances["images"]}
    names = {row["id"]: row["name"] for row in instances["categories"]}
    assert [*names.values()] == [c.en for c in concepts()]
    assert {row["name_zh"] for row in instances["categories"]} == {c.zh for c in concepts()}
    for row in images.values():
        with Image.open(made / "images" / split / row["file_name"]) as picture:
            assert picture.size == (row["width"], row["height"]) == (96, 96) and picture.mode == "RGB"
    for row in instances["annotations"]:
        assert row["image_id"] in images and row["category_id"] in names and row["iscrowd"] == 0
        for prefix in ("", "amodal_"):
            mask = reference_decode(row[f"{prefix}segmentation"]["counts"], 96, 96)
            assert row[f"{prefix}segmentation"]["size"] == [96, 96]
            assert mask.sum() == row[f"{prefix}area"] > 0
            rows, columns = np.nonzero(mask)
            left, top, width, height = row[f"{prefix}bbox"]
            assert (left, top) == (columns.min(), rows.min())
            assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
        assert 0 < row["depth"] < 1
    told = Counter((row["image_id"], row["language"]) for row in captions["annotations"])
    assert {(number, lang) for number in images for lang in ("en", "zh")} == set(told)


def test_masks_and_captions_are_of_the_picture_beside_them(made: Path) -> None:
    """The images are read back from their files and compared with the scenes that the settings mean."""
    from core.classroom import open_atlas, render

    for split, spec in SETTINGS.specs().items():
        scenes = render(spec, open_atlas(), SETTINGS.size)
        instances, captions = tables(made, split)
        for i, image in enumerate(instances["images"]):
            kept = np.asarray(Image.open(made / "images" / split / image["file_name"])).astype(float)
            assert np.abs(kept / 255 - scenes.picture[i].permute(1, 2, 0).numpy()).max() < 0.003
            own = [row for row in instances["annotations"] if row["image_id"] == image["id"]]
            seen = [j for j in range(4) if scenes.visible[i, j].any()]
            assert [row["category_id"] - 1 for row in own] == spec.concept[i, seen].tolist()
            for j, row in zip(seen, own, strict=True):
                mask = reference_decode(row["segmentation"]["counts"], 96, 96)
                assert (mask == scenes.visible[i, j].numpy()).all()
            plain = next(
                row
                for row in captions["annotations"]
                if row["image_id"] == image["id"] and row["language"] == "zh"
            )
            assert all(
                concepts()[c].zh in plain["caption"] for c in spec.concept[i, : int(spec.count[i])].tolist()
            )
            assert (plain["swapped"] is None) == (image["relation"] is None)


def test_no_pair_of_val_is_a_pair_of_train() -> None:
    specs = replace(SETTINGS, scenes=400, kind="pair").specs()
    for split, held in (("train", False), ("val", True)):
        pairs = specs[split].concept[:, :2]
        assert len(pairs) == SETTINGS.counts[split] * 10
        assert (new_pair(pairs[:, 0], pairs[:, 1]) == held).all()


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    small = DatasetSettings(scenes=6, seed=1, size=48, kind="single", look="line")
    for name in ("one.zip", "two.zip"):
        assert [*dataset.write(tmp_path / name, small)][-1] == 6
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert {"README.md", "LICENSES.md", "annotations/captions_val.json"} < set(names)
        assert sum(name.endswith(".png") for name in names) == 6
        assert all(not name.startswith(("/", "..")) for name in names)
        instances = json.loads(archive.read("annotations/instances_train.json"))
        assert {row["rendering"] for row in instances["images"]} == {"line"}
        assert {row["kind"] for row in instances["images"]} == {"single"}
        Image.open(BytesIO(archive.read("images/train/000001.png"))).verify()
        assert b"CC-BY" in archive.read("LICENSES.md")


@pytest.mark.parametrize(
    "wrong",
    [
        {"scenes": 1},
        {"scenes": 10**6},
        {"size": 8},
        {"size": 4000},
        {"kind": "crowd"},
        {"look": "oil"},
        {"seed": -1},
    ],
)
def test_a_data_set_out_of_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refusal):
        DatasetSettings(**wrong)


def test_the_command_writes_a_data_set_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["dataset", "--out", str(tmp_path / "set"), "--scenes", "5", "--size", "48"]
    assert main(command) == 0
    assert "5 of 5 scenes" in capsys.readouterr().err
    assert len([*(tmp_path / "set").rglob("*.png")]) == 5
    assert main(command) == 1 and "not empty" in capsys.readouterr().err
    assert main(["dataset", "--out", str(tmp_path / "other"), "--scenes", "1"]) == 1


# --- the report card -----------------------------------------------------------------------------------------


def row(**fields: Any) -> dict[str, Any]:
    plain = dict.fromkeys(report.FIELDS)
    return {
        **plain,
        "paper": "new-paper",
        "unit": "share",
        "language": "en",
        "checkpoint": "mini",
        "command": "c",
        **fields,
    }


def test_a_new_paper_needs_no_code() -> None:
    found = report.cards(
        [
            row(measure="mIoU", split="seen", value=0.5),
            row(measure="mIoU", split="seen", value=0.4, checkpoint="other"),
            row(measure="mIoU", split="unseen", value=0.3, published=0.523),
            row(measure="frames", split="all", value=12.0, unit="per second", language=""),
            row(measure="confusion", split="a > b", value=2.0, unit="times"),
        ]
    )
    (card,) = found
    assert card.paper == "new-paper" and card.lesson is None and len(card.counted) == 1
    assert card.columns == [("mini", "en"), ("mini", ""), ("other", "en")]
    assert [line.splits for line in card.lines] == [{"en": "seen"}, {"en": "unseen"}, {"": "all"}]
    assert card.lines[0].values == {("mini", "en"): 0.5, ("other", "en"): 0.4}
    assert card.lines[1].published == 0.523 and card.commands == ["c"]


def test_labels_of_both_languages_share_a_line() -> None:
    (card,) = report.cards(
        [
            *(
                row(measure="red envelope probability", split=split, value=0.5)
                for split in ("money", "red envelope")
            ),
            *(
                row(measure="red envelope probability", split=split, value=0.6, language="zh")
                for split in ("钱", "红包")
            ),
        ]
    )
    assert [line.splits for line in card.lines] == [
        {"en": "money", "zh": "钱"},
        {"en": "red envelope", "zh": "红包"},
    ]


def test_the_recorded_rows_have_all_their_fields_and_marks() -> None:
    rows = report.rows()
    assert rows and all(set(report.FIELDS) <= set(found) for found in rows)
    (clip,) = (card for card in report.cards(rows) if card.paper == "clip")
    by_name = {(line.measure, line.splits.get("en")): line for line in clip.lines}
    assert by_name["zero-shot top-1", "colour"].bar == 0.92
    assert by_name["zero-shot top-1", "colour"].published == 0.762
    assert by_name["relation two-choice", "left/right"].bar == 0.9
    assert by_name["relation two-choice", "above/below"].bar is None
    assert by_name["red envelope probability", "red envelope"].published == 0.997
    # Every mark and published number is about a row that is there.
    for kind in ("marks", "published"):
        for note in report.notes()["papers"]["clip"][kind]:
            assert any(
                line.measure == note["measure"] and note.get("split", "") in ("", *line.splits.values())
                for line in clip.lines
            ), note
    words = {line.measure for line in clip.lines} | {
        line.splits["en"] for line in clip.lines if len(set(line.splits.values())) == 1
    }
    unnamed = {word for word in words if report.named(word, "zh") == word}
    assert unnamed == {line.splits["en"] for line in clip.lines if line.measure.startswith("unseen style")}


def test_concepts_are_found_by_either_name() -> None:
    assert find("红包") == find("red envelope") == find("1F9E7")
