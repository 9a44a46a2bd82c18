"""The PointCLIP page: its answer, its weights, both projections, the viewer's value, downloads, the endpoint, few shots."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import Refusal
from core.runtime import Cancel
from demos.kit import batch
from demos.pointclip import answer, draw, inside, page, shots
from demos.pointclip.words import examples
from tests import pages


def question(name: str = "star", lang: str = "en", **changes: Any) -> Any:
    """The page's question about an example."""
    first = pages.form(page.PAGE.declared.question).first  # type: ignore[union-attr]
    return dataclasses.replace(first, **answer.fill(name, first, lang), **changes)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_opening_example_is_named_rightly(lang: str) -> None:
    asked = question(answer.OPENING, lang)
    found = answer.run(asked)
    assert found.result.labels[found.result.order[0]] == asked.labels.replace("，", ",").split(",")[0].strip()


def test_a_view_of_weight_nought_counts_for_nothing() -> None:
    alone = {f"weight_{i}": 0.0 for i in range(2, 11)}
    found = answer.run(question(**alone)).result
    assert found.view_weights.tolist() == [1, 0, 0, 0, 0, 0]
    assert np.allclose(found.logits, found.view_logits[0], atol=1e-5)
    with pytest.raises(Refusal) as caught:
        answer.run(question(weight_1=0.0, **alone))
    assert caught.value.code == "view_weights"


def test_the_viewer_gets_points_and_cameras() -> None:
    found = answer.run(question("cow_spot"))
    value = json.loads(draw.viewer_value(found.cloud.points, found.projection))
    points = np.frombuffer(base64.b64decode(value["points"]), "<i2").reshape(-1, 3) / 32_000
    assert (
        len(points) <= draw.SHOWN
        and np.abs(points - found.cloud.points[:: 10_000 // draw.SHOWN][: draw.SHOWN]).max() < 1e-3
    )
    assert np.allclose(np.linalg.norm(value["cameras"], axis=1), found.projection.distance, atol=1e-2)  # type: ignore[union-attr]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_view_is_drawn_with_its_probability(lang: str) -> None:
    slots = answer.classify(question("wine", lang, projection="v1-ten"), lang)
    assert slots["views"].count("<figure") == 10 and "data:image/png" in slots["views"]
    assert inside.both(question("wine", lang), lang)["out"].count("<figure") == 16


def test_a_real_shape_gets_a_hint_and_a_cloud_of_the_classroom_none() -> None:
    assert "classroom" in answer.classify(question("bunny"), "en")["notes"]
    assert answer.classify(question("star"), "en")["notes"] == ""


def test_downloads_hold_all_that_was_computed() -> None:
    links = answer.files(question(), "en")
    assert all(name in links for name in ("views.png", "pointclip.csv", "pointclip.json", "points.npy"))


def test_the_endpoint_answers_an_uploaded_mesh() -> None:
    data = base64.b64encode(Path(examples()["cow_spot"]["cloud"]).read_bytes()).decode()
    uri = {"path": "", "url": f"data:model/obj;base64,{data}"}
    found = answer.pointclip_classify(uri, ["cow", "car"], "v2", None, [1] * 10)  # type: ignore[arg-type]
    assert found["points"] == 10_000 and len(found["results"][0]["views"]) == 10
    assert json.loads(json.dumps(found))["results"][0]["label"] in ("cow", "car")


def test_few_shots_can_be_stopped_and_keep_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.classroom.recipes.pointclip import live

    monkeypatch.setattr(live, "SHOTS", (1, 2))
    monkeypatch.setattr(live, "SETTINGS", dataclasses.replace(live.SETTINGS, epochs=8))
    monkeypatch.setattr(shots, "NEW", 1)
    monkeypatch.setattr(live, "training_clouds", lambda seed: live.new_clouds(2))
    cancel, steps = Cancel(), []
    for step in shots.curve(question(), "en", cancel):
        steps.append(step)
    slots = [step for step in steps if isinstance(step, dict)]
    assert "<svg" in slots[0]["curve"] and "zero-shot" in slots[-1]["table"] and slots[-1]["line"]
    shares = [step.share for step in steps if not isinstance(step, dict)]
    assert shares == sorted(shares) and shares[-1] <= 1


def test_many_clouds_and_meshes_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ply"
    broken.write_bytes(b"ply")
    paths = [*(examples()[name]["cloud"] for name in ("star", "wine", "cow_spot")), str(broken)]
    *_, last = batch.rows_of(
        page.PAGE.declared.many,
        dataclasses.replace(question("star"), cloud=None),
        paths,
        "pointclip",
        "en",
        Cancel(),
    )  # type: ignore[union-attr, arg-type]
    assert last["table"].count("atlas-thumb") == 3 and last["table"].count("atlas-refused") == 1
    found = answer.run(question("star")).result
    assert f"<td>{found.labels[found.order[0]]}</td>" in last["table"]
