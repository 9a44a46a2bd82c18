"""The CLIP page through its endpoints and handlers: right answers, refusals in one sentence, no mix-ups."""

from __future__ import annotations

import base64
import dataclasses
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from core import checkpoints
from core.clip import zero_shot
from demos.clip import answer as answers
from demos.clip import record
from demos.clip.page import PAGE
from demos.clip.words import examples
from demos.kit import classifier, records, scenes_link
from tests.demos.clip.asked import EXAMPLES, asked
from tests.pages import offered, run

LABELS = ["red envelope", "sheep", "airplane", "dog"]


def classify(client: Client, picture: Any, labels: Any, **options: Any) -> dict[str, Any]:
    return client.predict(picture, labels, api_name="/clip_classify", **options)


def test_the_endpoint_names_what_is_in_the_picture_in_both_languages(client: Client) -> None:
    red = handle_file(EXAMPLES["red_envelope"]["path"])
    for labels, expected in (
        (["red envelope", "sheep", "airplane", "dog"], "red envelope"),
        ("红包，绵羊、飞机\n狗", "红包"),
    ):
        answer = classify(client, red, labels)
        assert set(answer) == {"checkpoint", "seconds", "results"}
        assert checkpoints.row(answer["checkpoint"]).bundled
        rows = answer["results"]
        assert rows[0]["label"] == expected
        assert [set(row) for row in rows] == [{"label", "probability", "cosine"}] * 4
        assert sum(row["probability"] for row in rows) == pytest.approx(1, abs=1e-5)
        assert all(-1 <= row["cosine"] <= 1 for row in rows)
        assert [row["probability"] for row in rows] == sorted(
            (row["probability"] for row in rows), reverse=True
        )


def test_templates_by_name_by_sentence_and_compared(client: Client) -> None:
    red = handle_file(EXAMPLES["red_envelope"]["path"])
    by_name = classify(client, red, LABELS, template="photo")
    by_sentence = classify(client, red, LABELS, template="a photo of a {}.")
    assert by_name["results"] == by_sentence["results"]
    compared = client.predict(red, LABELS, ["photo", "seven"], api_name="/clip_compare_templates")
    assert list(compared["templates"]) == ["photo", "seven"]
    there, here = compared["templates"]["photo"], by_name["results"]
    assert [row["label"] for row in there] == [row["label"] for row in here]
    assert [row["probability"] for row in there] == pytest.approx([row["probability"] for row in here])


def test_a_data_uri_is_the_same_picture(client: Client) -> None:
    data = Path(EXAMPLES["red_envelope"]["path"]).read_bytes()
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    there = classify(client, uri, LABELS)
    here = classify(client, handle_file(EXAMPLES["red_envelope"]["path"]), LABELS)
    assert there["results"] == here["results"]


def test_a_thousand_labels_through_the_endpoint(client: Client) -> None:
    labels = [f"thing number {i}" for i in range(1000)]
    answer = classify(client, handle_file(EXAMPLES["toys"]["path"]), labels)
    assert len(answer["results"]) == 1000
    with pytest.raises(AppError, match=r"1,?000"):
        classify(client, handle_file(EXAMPLES["toys"]["path"]), [*labels, "one more"])


@pytest.mark.parametrize(
    "picture", ["/etc/passwd", "/etc/hostname", "", "data:image/png;base64,@@@", 5, None]
)
def test_only_uploads_and_data_uris_are_pictures(client: Client, picture: Any) -> None:
    with pytest.raises(AppError) as error:
        classify(client, picture, LABELS)
    assert "passwd" not in str(error.value) and "Traceback" not in str(error.value)


# --- bad images and labels ---------------------------------------------------------------------------------


def jpeg(mode: str = "RGB", size: tuple[int, int] = (64, 48), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 120 if mode == "L" else None or 0).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG header of 20,000 x 20,000 pixels over a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def gif() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return jpeg(exif=exif)


GOOD: dict[str, Callable[[], bytes]] = {
    "1x1": lambda: png(Image.new("RGB", (1, 1), "red")),
    "cmyk": lambda: jpeg("CMYK"),
    "16 bit": lambda: png(Image.new("I;16", (30, 30), 30000)),
    "animated gif": gif,
    "transparent": lambda: png(Image.new("RGBA", (30, 30), (255, 0, 0, 100))),
    "exif rotated": rotated,
}
BAD: dict[str, Callable[[], bytes]] = {
    "truncated jpeg": lambda: jpeg(size=(640, 480), quality=95)[:400],
    "bomb": bomb,
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "text": lambda: b"not a picture at all",
    "html": lambda: b"<html><body>hello</body></html>",
    "empty": lambda: b"",
}


@pytest.mark.parametrize("kind", GOOD)
def test_unusual_images_are_classified(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "upload.bin"
    file.write_bytes(GOOD[kind]())
    slots = run(answers.classify, asked(labels="dog, cat", image=str(file)), "en")
    assert slots["message"] == "" and "dog" in slots["bars"]


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_bad_images_are_refused_in_one_sentence(kind: str, lang: str, tmp_path: Path) -> None:
    file = tmp_path / "upload.jpg"
    file.write_bytes(BAD[kind]())
    slots = run(answers.classify, asked(labels="dog, cat", image=str(file)), lang)
    assert slots["message"] and "relevance" not in slots and str(tmp_path) not in slots["message"]
    assert any("\u4e00" <= letter <= "\u9fff" for letter in slots["message"]) == (lang == "zh")


@pytest.mark.parametrize(
    ("labels", "own"),
    [
        ("", ""),
        (" ,，\n", ""),
        (",".join(f"label {i}" for i in range(1000)), ""),
        ("x" * 10_000, ""),
        ("dog", "no place for it"),
    ],
)
def test_bad_labels_are_refused_in_one_sentence(labels: str, own: str) -> None:
    assert run(answers.classify, asked(labels=labels, own=own), "en")["message"]


def test_no_image_is_a_sentence() -> None:
    assert "image" in run(answers.classify, asked(image=None), "en")["message"]


def test_html_in_labels_is_shown_and_never_executed() -> None:
    slots = run(answers.classify, asked(labels="<img src=x onerror=alert(1)>\n<b>dog</b>"), "en")
    assert slots["message"] == ""
    for slot in ("bars", "relevance", "notes"):
        assert "<img src=x" not in slots[slot] and "<b>dog" not in slots[slot]
    assert "&lt;img src=x onerror=alert(1)&gt;" in slots["bars"]


def test_control_characters_do_not_reach_the_page() -> None:
    bars = run(answers.classify, asked(labels="du\x00ck\x07, te\u202eddy"), "en")["bars"]
    assert "duck" in bars and "teddy" in bars
    assert not set(bars) & set("\x00\x07\u202e")


# --- answers ---------------------------------------------------------------------------------------------


def best(bars: str) -> str:
    """The label of the first bar."""
    return bars.partition('scope="row">')[2].partition("</th>")[0]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_runs_in_both_languages(name: str, lang: str) -> None:
    slots = run(answers.classify, asked(name, lang=lang), lang)
    assert slots["message"] == "" and "<table" in slots["bars"] and "data:image/jpeg" in slots["relevance"]
    # A miniature says that it does not know photos, and offers weights that do.
    is_photo = not EXAMPLES[name]["classroom"]
    hint = "seen the drawings of the classroom" if lang == "en" else "“教室”里的图画"
    assert (hint in slots["notes"]) == is_photo
    assert examples()[name]["real"] == is_photo and offered(slots) >= is_photo


@pytest.mark.parametrize("row", [row.name for row in checkpoints.rows("clip") if row.bundled])
@pytest.mark.parametrize(("lang", "label"), [("en", "red envelope"), ("zh", "红包")])
def test_the_opening_example_is_answered_correctly(row: str, lang: str, label: str) -> None:
    fields = PAGE.declared.examples.fill(answers.OPENING, asked(checkpoint=row), lang)
    slots = run(answers.classify, asked(checkpoint=row, **fields), lang)
    assert best(slots["bars"]) == label and slots["notes"] == "" and slots["get"]["visible"] == "hidden"


@pytest.mark.parametrize(
    ("labels", "lang", "unread", "read"),
    [
        ("a duck, a quantum computer", "en", "a quantum computer", "a duck"),
        ("鸭子，量子计算机", "zh", "量子计算机", "鸭子"),
    ],
)
def test_labels_that_a_miniature_has_never_read_are_named(
    labels: str, lang: str, unread: str, read: str
) -> None:
    slots = run(answers.classify, asked(labels=labels), lang)
    assert unread in slots["notes"] and read not in slots["notes"] and offered(slots)


def test_labels_that_a_checkpoint_reads_alike_are_one_and_this_is_said() -> None:
    slots = run(answers.classify, asked(labels="Duck, duck, a balloon"), "en")
    assert "one label" in slots["notes"] and slots["bars"].count("<tr") == 3


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_example_speaks_a_language_of_the_checkpoint(lang: str) -> None:
    real = next(row.name for row in checkpoints.rows("clip") if row.languages == ("en",))
    fields = PAGE.declared.examples.fill("toys", asked(checkpoint=real), lang)
    assert fields["labels"] == EXAMPLES["toys"]["labels"]["en"]


def test_chinese_labels_of_an_english_checkpoint_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    result = classifier.model(None).classify(Image.new("RGB", (32, 32)), ["鸭子", "dog"])
    row = dataclasses.replace(checkpoints.row(result.checkpoint), languages=("en",))
    monkeypatch.setattr(checkpoints, "row", lambda name: row)
    assert "not trained on Chinese" in answers.notes(result, "", "en")["notes"]
    assert "没有学过中文" in answers.notes(result, "", "zh")["notes"]


def test_the_slider_stands_at_the_learned_value_until_it_is_moved() -> None:
    first = run(answers.classify, asked(), "en")
    learned = first["scale"]["value"]
    assert f"{learned:.1f}" in first["scale"]["info"] and learned == round(learned, 2)
    again = run(answers.classify, asked(scale=learned, scale_of=first["scale_of"]), "en")
    assert again["bars"] == first["bars"] and "scale" not in again
    moved = run(answers.classify, asked(scale=1.0, scale_of=first["scale_of"]), "en")
    assert "scale" not in moved and moved["bars"] != first["bars"]
    # Another checkpoint begins with its own value, and a link brings one before anything was answered.
    other = run(answers.classify, asked(scale=1.0, scale_of="another"), "en")
    assert other["bars"] == first["bars"] and other["scale"]["value"] == learned
    linked = run(answers.classify, asked(scale=2.0), "en")
    assert linked["scale"]["value"] == 2.0 and linked["bars"] != first["bars"]


def test_the_files_hold_the_answer() -> None:
    links = run(lambda question, lang: {"out": answers.files(question, lang)}, asked(), "en")["out"]
    for name in ("clip.json", "clip.csv", "clip.svg", "clip.png"):
        assert f'download="{name}"' in links


def test_many_files_rank_the_labels() -> None:
    verb = answers.many(asked(labels="a duck, a car"))
    outcome = verb(Image.open(EXAMPLES["toys"]["path"]))
    assert list(outcome.cells) == ["best label", "probability(a car)", "probability(a duck)"]
    assert outcome.cells["best label"] == "a duck"


def test_a_scene_of_the_classroom_is_asked_its_labels() -> None:
    opened = SimpleNamespace(labels="a dog, a car")
    assert scenes_link.labels(opened, asked(), "en") == {"labels": "a dog, a car"}  # type: ignore[arg-type]


def test_the_recorded_answer_is_what_the_miniature_says_today() -> None:
    today = record.record()
    recorded = records.read("clip")
    for lang in ("en", "zh"):
        assert recorded[lang]["checkpoint"] == today[lang]["checkpoint"]
        there = {row["label"]: row for row in recorded[lang]["results"]}
        for row in today[lang]["results"]:
            assert there[row["label"]]["cosine"] == pytest.approx(row["cosine"], abs=2e-3)
        bars = answers.recorded(lang)["bars"]
        assert best(bars) == ("红包" if lang == "zh" else "red envelope") and "atlas-line" in bars


def test_a_checkpoint_that_is_not_here_says_how_to_get_it() -> None:
    if checkpoints.state("clip-vit-l14") == "cached":
        pytest.skip("clip-vit-l14 is on this machine")
    assert "GB" in run(answers.classify, asked(checkpoint="clip-vit-l14"), "en")["message"]


def test_a_repeated_answer_asks_neither_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(answers.classify, asked(), "en")
    for tower in ("_encode_image", "_encode_text"):
        monkeypatch.setattr(zero_shot, tower, lambda *_: 1 / 0)
    assert run(answers.classify, asked(), "en")["bars"] == first["bars"]
