"""The StyleCLIP page: edits step by step, sliders that follow, comparisons, a look inside, a mapper that learns, endpoints."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import numpy as np
import pytest

from core import inputs
from core.checkpoints import row as row_of
from core.editing import rows
from core.errors import Refusal
from core.runtime import Cancel
from demos.draw import frames
from demos.draw.frames import Film
from demos.kit import numbers, train
from demos.styleclip import answer, compare, draw, inside, lessons, page, training
from demos.styleclip.words import data, examples
from tests import pages
from tests.pages import parts, run

MINIATURE = "classroom-styleclip"
QUICK = {"optimization": 2, "sdedit": 2, "instruct": 2, "mapper": 2}


def question(lang: str = "en", **changes: Any) -> Any:
    """The page's question about its opening example."""
    first = pages.form(page.PAGE.declared.question).first  # type: ignore[union-attr]
    return dataclasses.replace(first, **{**answer.fill(answer.OPENING, first, lang), **changes})


# --- the first tab -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_opening_shows_both_images_two_opinions_and_the_way(lang: str) -> None:
    slots = run(answer.edit, question(lang), lang)
    assert slots["message"] == "" and slots["bars"] == []
    assert slots["view"].count("<img") == 2 and 'type="range"' in slots["view"]
    assert slots["film"].count("<figure") == answer.STEPS
    titles = [row_of(one).title[lang] for one in ("classroom-rn", "classroom-vit")]
    assert all(title in slots["view"] for title in titles)
    assert slots["made"].edit.other is not None and slots["notes"] == ""


@pytest.mark.parametrize("method", ["instruct", "optimization", "sdedit", "mapper"])
def test_every_method_shows_its_steps(method: str) -> None:
    asked = question(method=method, steps=QUICK[method])
    first, *_, last = list(parts(answer.edit, asked, "en"))
    assert "progressbar" in first["line"] and first["film"] == ""
    assert last["made"].edit.method == method and last["made"].edit.steps <= 2
    assert np.array_equal(last["made"].edit.image, last["made"].edit.image.clip(0, 255))


def test_a_method_that_a_row_lacks_is_refused_and_never_asked_by_a_change_of_row() -> None:
    refused = run(answer.edit, question(method="guidance"), "en")["message"]
    assert "CLIP guidance" in refused and "Global direction" in refused and "DDIM" not in refused
    assert "stylespace" not in refused  # the page does not offer it
    for name in (MINIATURE, "stylegan2-ffhq", "sd-turbo", "instruct-pix2pix", "ddpm-cifar10-32"):
        asked = question(checkpoint=name)
        settled = dataclasses.replace(asked, **answer.own_fields(asked, "en"))
        assert settled.method in rows.methods(name) and settled.start in rows.starts(name)
        assert settled.method in data()["options"]["method"]
    assert answer.own_fields(question(), "en") == {}


def test_strength_is_followed_by_a_global_direction_alone() -> None:
    still, far = (answer.follow(question(alpha=value), "en")["made"].edit for value in (0.0, 8.0))
    assert still.changed < 1e-4 < far.changed
    assert answer.follow(question(method="sdedit"), "en") == {}


def test_a_start_can_be_generated() -> None:
    from_seed = answer.Inquiry(question(start="seed", seed=5, image=None), "en").start
    assert from_seed.seed == 5 and from_seed.latent is not None
    from_text = answer.Inquiry(question(start="text", image=None), "en").start
    assert from_text.image.shape == from_seed.image.shape
    with pytest.raises(Refusal) as refused:
        _ = answer.Inquiry(question(image=None), "en").start
    assert refused.value.code == "no_image"


def test_an_image_is_read_once_for_its_edit_and_the_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    read = inputs.image
    monkeypatch.setattr(inputs, "image", lambda source: opened.append(source) or read(source))
    run(answer.edit, question(), "en")
    assert len(opened) == 1


def test_without_a_neutral_text_a_direction_begins_at_the_mean_of_all_things() -> None:
    named, free = (run(answer.edit, question(neutral=text), "en") for text in (question().neutral, " "))
    assert free["message"] == "" and free["made"].edit.guide.share_after is None
    assert not np.array_equal(free["made"].edit.image, named["made"].edit.image)


def test_hints_say_what_the_miniature_cannot_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    def hints(lang: str = "en", **changes: Any) -> str:
        return str(answer.notes(answer.Inquiry(question(lang, **changes), lang))["notes"])

    assert "50 things" in hints(target="a chair")
    assert "50 things" not in hints(target="two cats")
    assert hints("zh", target="一只猫") == ""
    assert "kumquat" in hints(target="a kumquat")
    # Hints ask no weights, which are not here.
    row = SimpleNamespace(checkpoint="instruct-pix2pix")
    monkeypatch.setattr(answer, "model", lambda name: row)
    assert "instruction" in hints(checkpoint="instruct-pix2pix")
    assert answer.fill("camel", question(checkpoint="instruct-pix2pix"), "en")["target"].startswith("turn")


def test_files_open_without_the_page() -> None:
    made = run(answer.edit, question(), "en")["made"]
    out = answer.downloads(question(), made, "en")["out"]
    for name in ("start.png", "edit.png", "edit.json", "steps.gif"):
        assert f'download="{name}"' in out
    with pytest.raises(Refusal) as refused:
        answer.downloads(question(), None, "en")
    assert refused.value.code == "no_edit"


def test_a_film_of_many_steps_keeps_some_of_all() -> None:
    film = Film()
    for step in range(500):
        film.add(step, np.full((300, 200, 3), step % 255, np.uint8))
    steps = [int(name) for _, name in film.frames]
    assert len(steps) <= frames.KEPT and steps[0] == 0 and steps[-1] > 450
    assert max(film.frames[0][0].shape) == frames.SMALL
    assert frames.gif(film.frames)[:3] == b"GIF"


# --- what the two CLIPs say --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guide", "other", "kind"),
    [(0.9, 0.9, "both"), (0.9, 0.1, "guide"), (0.1, 0.9, "other"), (0.1, 0.1, "none"), (0.9, None, "")],
)
def test_the_verdict_tells_a_fooled_judge(guide: float, other: float | None, kind: str) -> None:
    edit = answer.follow(question(), "en")["made"].edit
    assert edit.guide is not None and edit.other is not None
    second = None if other is None else dataclasses.replace(edit.other, share_after=other)
    told = dataclasses.replace(edit, guide=dataclasses.replace(edit.guide, share_after=guide), other=second)
    assert draw.mood(told) == kind
    sentence = draw.opinions(told, "en")
    assert ("fooled" in sentence) == (kind == "guide")
    assert ("Nobody checks" in sentence) == (other is None)


# --- comparisons and the look inside -----------------------------------------------------------------------------


def test_all_ways_stand_in_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = answer.Inquiry.settings
    monkeypatch.setattr(
        answer.Inquiry,
        "settings",
        lambda *given: dataclasses.replace(settings(*given), steps=2),
    )
    slots = run(compare.methods, question(), "en")
    names = [name for name in data()["quickest"] if name in rows.methods(MINIATURE)]
    assert set(rows.methods(MINIATURE)) - {"stylespace"} <= set(names)
    assert slots["message"] == "" and all(draw.method_title(name, "en") in slots["out"] for name in names)
    assert slots["out"].count("fr-cell") == 1 + len(names)
    cancel = Cancel()
    cancel.set()
    assert run(compare.methods, question(), "en", cancel=cancel)["message"]


def test_the_grid_and_the_way_between_two_images() -> None:
    out = compare.plane(question(), "en")["out"]
    assert out.count("<img") == len(compare.ALPHAS) * len(compare.BETAS)
    way = compare.between(question(), 3, "zh")["out"]
    assert way.count("data-frame") == compare.BETWEEN


def test_channels_layers_and_one_channel_by_hand() -> None:
    slots = inside.channels(question(), "en")
    assert "channels answer" in slots["out"] and "<img" in slots["out"]
    own = inside.channel(question(), 0, 1, False, "en")["out"]
    assert own.count("data-frame") == len(inside.AMOUNTS) and "channel 1" in own
    assert inside.channel(question(), 25, 0, True, "en")["out"] != own
    with pytest.raises(Refusal):
        inside.channel(question(), 0, 4000, False, "en")
    assert inside.layers(question(), 3, "en")["out"].count("<figure") == 5


def test_noise_is_shown_step_by_step_and_tensors_have_shapes() -> None:
    out = run(inside.noise, question(method="sdedit", steps=4, strength=1.0), "en")["out"]
    assert out.count("data-frame") == 8 and "batch-curve" in out
    found, _ = inside.values(question(), "en")
    assert found["side"] == 32 and found["own"] < found["channels"]
    assert "StyleCLIP-Tutorial" in numbers.of_page("styleclip", "zh")


# --- lessons and training ----------------------------------------------------------------------------------------


def test_a_mapper_learns_while_one_watches_and_stops() -> None:
    moments = list(training.lesson(training.Settings("a cat", 4), "en", Cancel()))
    assert moments[-1].state == "done" and len(moments[-1].rows) >= 4
    assert moments[-1].slots["unseen"].count("<img") == 2 * len(training.NEW)
    assert train.view(training.LIVE, moments[-1], "en")["file"]
    cancel = Cancel()
    cancel.set()
    (last,) = training.lesson(training.Settings("", 20), "zh", cancel)
    assert last.state == "stopped"


def test_lessons_use_kinds_that_exist() -> None:
    kinds = {step["kind"] for lesson in data()["lessons"] for step in lesson["steps"]}
    assert kinds == set(lessons.KINDS) == set(data()["choices"])


# --- endpoints ---------------------------------------------------------------------------------------------------


def test_endpoints_edit_and_generate() -> None:
    path = examples()[answer.OPENING]["path"]
    content = base64.b64encode(Path(path).read_bytes()).decode()
    given: Any = {"path": "", "url": f"data:image/webp;base64,{content}"}
    told = answer.styleclip_edit("a cat", given, neutral="a dog", method="global_direction")
    assert told["method"] == "global_direction" and told["image"].startswith("data:image/png;base64,")
    assert told["guide"]["share_after"] != told["guide"]["share_before"]
    seeded = answer.styleclip_edit("a cat", seed=4, method="optimization", steps=2)
    made = answer.styleclip_generate(seed=4)
    assert seeded["start"] == made["image"] and len(made["latent"]) == 8
    assert answer.styleclip_generate(text="a red apple", seed=1)["image"] != made["image"]
    assert made["seed"] == 4
    drawn = answer.styleclip_generate(seed=-1)
    assert drawn["seed"] >= 0 and answer.styleclip_generate(seed=drawn["seed"])["image"] == drawn["image"]
    with pytest.raises(gr.Error, match="no text"):
        answer.styleclip_generate(text=cast("str", 5))
