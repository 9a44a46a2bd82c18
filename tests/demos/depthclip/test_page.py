"""The DepthCLIP page: words and metres of the field, the map, truth and learned bins, the endpoint, many files."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core import inputs
from core.errors import Refusal
from core.runtime import Cancel
from core.spatial import depth_errors
from demos.depthclip import answer, draw, page, truth
from demos.depthclip.words import examples
from tests import pages


def question(lang: str = "en", **changes: Any) -> Any:
    """The page's question about its opening example."""
    first = pages.form(page.PAGE.declared.question).first  # type: ignore[union-attr]
    fields = {**answer.fill(answer.OPENING, first, lang), **answer.own_words(first, lang)}
    return dataclasses.replace(first, **{**fields, **changes})


def test_lines_become_words_and_metres() -> None:
    words = answer.words_of("close = 1\n\n very far ＝ 4.5\n", "it is {word}", "thing", 2.0)
    assert words.words == ("close", "very far") and words.bins == (1.0, 4.5)
    assert answer.lines_of(words) == "close = 1\nvery far = 4.5"


def test_what_is_left_out_is_filled_in() -> None:
    words = answer.words_of("close\nfar", "it is", "thing", 2.0)
    assert words.bins == (1.5, 2.5) and words.sentences == ("it is close", "it is far")
    assert answer.words_of("far", "{word}", "", 1.0).bins == (2.0,)


def test_a_word_that_no_miniature_has_read_is_named() -> None:
    assert "kumquat" in answer.estimate(question(words="kumquat = 2\nfar = 3"), "en")["notes"]
    assert answer.estimate(question(), "en")["notes"] == ""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("close = x\nfar = 2", "depth_line"),
        ("= 2\nfar = 2", "depth_line"),
        ("close = 0\nfar = 2", "depth_bins"),
        ("", "depth_words"),
    ],
)
def test_lines_that_are_none(text: str, code: str) -> None:
    with pytest.raises(Refusal) as caught:
        answer.run(question(words=text))
    assert caught.value.code == code


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_map_carries_the_words_of_each_place(lang: str) -> None:
    asked = question(lang)
    found = answer.run(asked).result
    slots = answer.estimate(asked, lang)
    assert all(str(word) in slots["table"] for word in found.words)
    assert found.probabilities.shape[1:] == found.place_depth.shape == (12, 12)
    assert "dc-map" in slots["map"] and "data-places" in slots["map"]


def test_metres_are_only_what_the_list_says() -> None:
    near, far = (
        answer.run(question(words="close = 10\nfar = 20")).result,
        answer.run(question(words="close = 1\nfar = 2")).result,
    )
    assert np.allclose(near.depth, 10 * far.depth, rtol=1e-4)


def test_near_places_are_bright() -> None:
    colours = draw.coloured(np.array([[1.0, 3.0]]), (1.0, 3.0))
    assert colours[0, 0].sum() > colours[0, 1].sum()


def test_the_cloud_lies_at_its_depths() -> None:
    depth = np.full((10, 20), 2.0)
    rows = draw.cloud_file(Image.new("RGB", (20, 10), (9, 8, 7)), depth).decode().splitlines()
    assert len(rows) == 200 and all(row.endswith("9 8 7") and row.split()[2] == "-2.0000" for row in rows)


def test_truth_stands_beside_a_constant() -> None:
    slots = truth.scenes(question(), "en")
    assert slots["out"].count("<figure") == 3 * truth.SHOWN and "constant" in slots["out"]


def test_bins_are_learned_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth, "SHOTS", 3)
    monkeypatch.setattr(truth, "SCENES", 3)
    *_, last = truth.learn(question(), "en", Cancel())
    assert "metres learned" in last["bins"] and "constant" in last["errors"] and last["line"]


def test_a_network_that_is_not_here_is_one_sentence() -> None:
    with pytest.raises(Refusal) as caught:
        truth.supervised(question(), "en")
    assert caught.value.code in ("not_downloaded", "hub_offline")


def test_the_endpoint_takes_words_and_metres() -> None:
    data = base64.b64encode(Path(examples()[answer.OPENING]["path"]).read_bytes()).decode()
    uri = {"path": "", "url": f"data:image/webp;base64,{data}"}
    found = answer.depthclip_estimate(uri, ["close", "far"], [1.0, 4.0])  # type: ignore[arg-type]
    assert [row["metres"] for row in json.loads(json.dumps(found))["words"]] == [1.0, 4.0]
    assert 1 <= found["near"] <= found["mean"] <= found["far"] <= 4


def test_many_files_have_their_range() -> None:
    image = inputs.image(examples()[answer.OPENING]["path"])
    outcome = answer.many(question())(image)
    assert outcome.cells["near (m)"] <= outcome.cells["far (m)"]


STEREO = Path(__file__).parent / "stereo"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_stereo_pair_measures_the_map_beside_a_constant(lang: str) -> None:
    given = truth.Own(str(STEREO / "motorcycle_disparity_x256.png"))
    asked = question(lang, image=str(STEREO / "motorcycle_left.jpg"))
    out = truth.own(asked, given.file, given.unit, given.product, given.offset, lang)["out"]
    rows = re.findall(r"<tr><th[^>]*>([^<]+)</th>((?:<td>[\d.]+</td>)+)</tr>", out)
    measures = {
        name: [float(value) for value in re.findall(r"<td>([\d.]+)</td>", cells)] for name, cells in rows
    }
    assert len(measures) == 3
    # The best constant of the scene, with its truth in hand; the depths of the pair are 2.1 to 5.0 m.
    metres = inputs.depths(given.file, given.unit, given.product, given.offset)
    assert 2.1 < np.nanmin(metres) < np.nanmax(metres) < 5.1
    constant = depth_errors.map_errors(np.full_like(metres, depth_errors.constant(metres)), metres)
    assert measures[draw.say("constant", lang)][0] == pytest.approx(constant["abs_rel"], abs=0.01)
    assert out.count("<figure") == 2


def test_a_truth_of_another_shape_is_refused() -> None:
    given = truth.Own(str(STEREO / "motorcycle_disparity_x256.png"))
    with pytest.raises(Refusal) as caught:
        truth.own(question(), given.file, given.unit, given.product, given.offset, "en")
    assert caught.value.code == "depths_shape"
