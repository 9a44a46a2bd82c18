"""The AudioCLIP page: a sound with its curve, matrices, ways of hearing, filters, the endpoint, odd sounds."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core import batch, inputs
from core.errors import Refusal
from demos.audioclip import answer, compare, draw, inside, page
from demos.audioclip.words import sounds, things
from tests import pages
from tests.sounds import film


def question(lang: str = "en", example: str = answer.OPENING, **changes: Any) -> Any:
    """The page's question about an example."""
    first = pages.form(page.PAGE.declared.question).first  # type: ignore[union-attr]
    return dataclasses.replace(first, **{**answer.fill(example, first, lang), **changes})


def uri(path: str, kind: str) -> dict[str, str]:
    return {"path": f"data:{kind};base64,{base64.b64encode(Path(path).read_bytes()).decode()}"}


@pytest.mark.parametrize("name", [name for name, row in sounds().items() if not row.get("real")])
def test_a_synthesised_example_finds_its_word_and_its_drawing(name: str) -> None:
    found = answer.run(question(example=name), "en")
    row = things()[name]
    assert found.comparison.labels[found.comparison.order()[0]] == row["en"]
    assert found.images[int(found.comparison.image_probabilities().argmax())].caption == row["en"]


def test_the_first_answer_is_right_in_chinese_too() -> None:
    found = answer.run(question("zh"), "zh")
    assert found.comparison.labels[found.comparison.order()[0]] == "狗"


def test_a_press_on_the_curve_plays_the_window() -> None:
    found = answer.run(question(example="church_bells"), "en")
    encoded = found.comparison.sounds[0]
    assert len(encoded.starts) == 4 and encoded.starts[-1] == pytest.approx(encoded.duration - 2, abs=0.01)
    html = draw.sound(found, "en")
    assert html.count("data-at=") == 4 and f'data-at="{encoded.starts[1]:.2f}"' in html and "<audio" in html
    np.testing.assert_allclose(found.comparison.over_time[0].sum(1), 1, rtol=1e-5)


def test_the_matrices_are_cosines_of_three_towers() -> None:
    found = answer.run(question(), "en").comparison
    np.testing.assert_allclose(found.image_text, found.image_features @ found.text_features.T)
    assert found.sound_text.shape == (4, 16) and found.sound_image.shape == (4, 16)
    for features in (
        found.image_features,
        found.text_features,
        np.stack([one.features for one in found.sounds]),
    ):
        np.testing.assert_allclose(np.linalg.norm(features, axis=-1), 1, rtol=1e-4)
    np.testing.assert_allclose(found.sound_probabilities.sum(0), 1, rtol=1e-5)


def test_a_recording_is_a_guess_and_says_so() -> None:
    noted = pages.run(answer.listen, question(example="dog_bark"), "en")["notes"]
    assert "synthesised" in noted
    assert pages.run(answer.listen, question(), "en")["notes"] == ""
    assert "kumquat" in pages.run(answer.listen, question(labels="kumquat, dog"), "en")["notes"]


def test_images_may_be_left_out_and_be_photos() -> None:
    alone = pages.run(answer.listen, question(images="none"), "en")
    assert alone["images"] == "" and alone["message"] == ""
    assert "drawings of the classroom" in pages.run(answer.listen, question(images="photos"), "en")["notes"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_sound_and_silence_are_one_sentence(lang: str, tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(8000, np.float32), 8000)
    messages = [
        pages.run(answer.listen, question(lang, sound=sound), lang)["message"]
        for sound in (None, str(silent))
    ]
    assert all(messages) and len(set(messages)) == 2


def test_ways_of_hearing_differ() -> None:
    model = answer.model(None)
    opened = [inputs.sound(sounds()[name]["sound"]) for name in ("dog", "church", "telephone")]
    made = model.variants(opened)
    assert set(made) == {"learned", "plain", "quiet", "batch"}
    for way in ("plain", "quiet", "batch"):
        assert np.abs(made[way] - made["learned"]).max() > 1e-3
    slots = pages.run(compare.ways, question(), "en")
    assert slots["out"].count("<table") == 4 and slots["message"] == ""


def test_filters_have_learned() -> None:
    found, _ = inside.look(question(), "en")
    assert found is not None and found.filters.shape == found.start.shape == (257, 3)
    assert np.abs(found.filters - found.start).max() > 0.1
    assert found.decibels.shape[0] == 3 and len(found.maps) == 5


def test_a_long_sound_is_heard_in_bounded_windows(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, 8000 * 130).astype(np.float32)
    soundfile.write(path, noise, 8000)
    encoded = answer.model(None).encode(inputs.sound(path))
    assert len(encoded.starts) == 60 and encoded.starts[-1] == pytest.approx(128)


def test_the_endpoint_answers_with_plain_values() -> None:
    made = answer.audioclip_compare(
        [uri(sounds()["dog"]["sound"], "audio/mpeg")],  # type: ignore[list-item]
        "dog, church",
        [uri(sounds()["dog"]["path"], "image/webp")],  # type: ignore[list-item]
    )
    assert json.loads(json.dumps(made)) == made
    (row,) = made["sounds"]
    assert row["results"][0]["label"] == "dog" and row["images"][0]["image"] == 0
    assert len(made["image_text"]) == 1 and set(row["over_time"]) == {"dog", "church"}


def test_files_hold_the_matrices() -> None:
    files = draw.files(answer.run(question(), "en"))
    names = [file[0] for file in files]
    assert {"audioclip-sound-text.csv", "audioclip-image-text.csv", "audioclip.json"} <= set(names)
    table = files[0][2].decode("utf-8-sig").splitlines()
    assert len(table) == 5 and io.StringIO(table[0]).read().count(",") == 16


@pytest.mark.parametrize("kind", ["mp4", "matroska", "mpegts"])
def test_a_video_is_heard_like_its_sound(kind: str, tmp_path: Path) -> None:
    video = tmp_path / f"video.{kind}"
    video.write_bytes(film(sounds()["dog"]["sound"], kind))
    found = answer.run(question(sound=str(video)), "en").comparison
    assert found.labels[found.order()[0]] == "dog"
    for handler in (answer.listen, compare.rows, compare.ways, inside.filters, inside.bands):
        assert pages.run(handler, question(sound=str(video)), "en")["message"] == ""


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_video_without_sound_is_one_sentence_on_every_tab(lang: str, tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(film(None))
    for handler in (answer.listen, compare.rows, compare.ways, inside.filters, inside.bands):
        message = pages.run(handler, question(lang, sound=str(video)), lang)["message"]
        assert message == Refusal("sound_without_track").text(lang)


def test_many_sounds_find_their_words_and_drawings(tmp_path: Path) -> None:
    (tmp_path / "mute.mp4").write_bytes(film(None))
    paths = [sounds()["dog"]["sound"], sounds()["piano"]["sound"], str(tmp_path / "mute.mp4")]
    many = page.PAGE.declared.many
    steps = batch.run(inputs.files_of(paths), many.verb(question()), read=many.kind.read)  # type: ignore[union-attr]
    rows = [step.row for step in steps]
    cells = [row.outcome.cells for row in rows if row.outcome]
    assert [row["best label"] for row in cells] == [row["best image"] for row in cells] == ["dog", "piano"]
    assert rows[2].refusal is not None and rows[2].refusal.code == "sound_without_track"
