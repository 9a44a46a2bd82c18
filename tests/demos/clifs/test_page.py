"""What only the CLIFS page does: hits with their places, files of one's own, folders of the server, lessons, endpoints."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio.context import LocalContext
from gradio_client.utils import is_file_obj
from PIL import Image

from core.errors import Refusal
from core.inputs import archives
from demos.clifs import answer, collections, compare, inside, lessons
from demos.clifs.page import PAGE, Question
from demos.kit import library
from tests.pages import opened, run


def question(**changes: Any) -> Question:
    fields, _ = opened(PAGE.declared, {}, "en")  # type: ignore[arg-type]
    first = Question(
        **{name: value for name, value in fields.items() if name in Question.__dataclass_fields__}
    )
    return replace(first, **{"checkpoint": "classroom-rn", **changes})


def names(slots: dict[str, Any]) -> list[str]:
    return re.findall(r'class="vid-caption" title="([^"]+)"', slots["hits"])


@contextmanager
def asked_from(host: str, **heads: str) -> Iterator[None]:
    """As if a request from an address were at hand."""
    token = LocalContext.request.set(SimpleNamespace(client=SimpleNamespace(host=host), headers=heads))  # type: ignore[arg-type]
    try:
        yield
    finally:
        LocalContext.request.reset(token)


def archive(path: Path, **members: bytes) -> str:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in members.items():
            made.writestr(name, content)
    return str(path)


def test_the_page_opens_with_right_hits_of_several_kinds() -> None:
    slots = run(answer.search, question(), "en")
    assert (
        slots["message"] == "" and slots["failed"] == ""
    )  # data files beside the images are no files to search
    first = {"vild/rescue.webp", "audioclip/siren.mp3", "audioclip/ambulance.webp"}
    assert set(names(slots)[:3]) == first
    assert '<i style="left:' in slots["hits"] and "data-at=" in slots["hits"] and "fs-dim" in slots["hits"]
    assert set(names(run(answer.search, question(query="救护车"), "zh"))[:3]) == first
    film = run(answer.search, question(query="a rocket", kinds=("video",)), "en")
    assert set(names(film)[:2]) == {"clips/rocket_shakes.mp4", "seven_shots.mp4"}


def test_a_question_about_nothing_says_so() -> None:
    assert "Nothing found" in run(answer.search, question(query="a submarine"), "en")["hits"]
    for changes, word in (
        ({"query": " "}, "Say what"),
        ({"after": "soon"}, "no day"),
        ({"larger": "huge"}, "no file size"),
        ({"larger": "1 GB"}, ""),
        ({"query": "99: dog"}, "weight"),
        ({"like": "../../etc"}, "no longer there"),
        ({"below": "nowhere"}, ""),
    ):
        slots = run(answer.search, question(**changes), "en")
        assert word in slots["message"] and (word or "No file" in slots["hits"])


def test_more_like_a_hit_finds_it_first() -> None:
    first = run(answer.search, question(kinds=("image",)), "en")
    identity = re.findall(r"\?like=(\w+)&", first["hits"])[0]
    fields, _ = opened(PAGE.declared, {"like": identity}, "en")  # type: ignore[arg-type]
    assert fields["like"] == identity
    assert names(run(answer.search, question(like=identity), "en"))[0] == "vild/rescue.webp"


def test_ones_own_files_are_indexed_and_what_fails_is_named(tmp_path: Path) -> None:
    photo = Path(library.shared()["red_envelope"]["path"])
    packed = archive(
        tmp_path / "own.zip", **{"a/envelope.webp": photo.read_bytes(), "broken.png": b"\x89PNG\r\n\x1a\nx"}
    )
    slots = run(answer.search, question(query="a red envelope", own=(packed,)), "en")
    assert names(slots) == ["a/envelope.webp"] and "broken.png" in slots["failed"]
    assert "atlas-hint" in slots["notes"]  # foreign files are a guess of the miniature
    assert run(answer.search, question(own=(str(tmp_path / "gone.png"),)), "en")["message"]


def test_no_archive_leads_out_of_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(pixels, "PNG")
    packed = archive(
        tmp_path / "evil.zip",
        **{
            name: pixels.getvalue()
            for name in ("../up.png", "/etc/root.png", "C:/c.png", "li\nne.png", "good.png")
        },
    )
    made = collections.uploaded([packed])
    assert set(made.files) == {"good.png"} and len(made.failures) == 4
    assert all(path.is_relative_to(made.home.name) for path in made.files.values())
    assert not list(tmp_path.parent.rglob("up.png"))
    # A bomb declares its size, or is cut where it outgrows the limit.
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 1 << 16)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packer:
        packer.writestr("zeros.png", bytes(1 << 20))
    made = collections.uploaded([str(bomb)])
    assert not made.files and made.failures[0][1].code == "image_file_too_large"


def test_folders_of_the_server_are_for_its_own_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.webp").write_bytes(Path(library.shared()["red_envelope"]["path"]).read_bytes())
    own = question(query="a red envelope", folder=str(tmp_path))
    assert "server's own machine" in run(answer.search, own, "en")["message"]
    for host, heads in (
        ("192.168.1.7", {}),
        ("127.0.0.1", {"x-forwarded-for": "1.2.3.4"}),
        ("127.0.0.1", {"Via": "proxy"}),
    ):
        with asked_from(host, **heads):
            assert "server's own machine" in run(answer.search, own, "en")["message"]
            with pytest.raises(gr.Error, match="own machine"):
                answer.clifs_index(folder=str(tmp_path))
    with asked_from("127.0.0.1"):
        assert names(run(answer.search, own, "en")) == ["one.webp"]
        for path in (str(tmp_path / "nowhere"), "a\0b", str(tmp_path / "one.webp")):
            assert "no folder" in run(answer.search, replace(own, folder=path), "en")["message"]
        monkeypatch.setenv("SPACE_ID", "somebody/atlas")
        assert not collections.is_local()


def test_endpoints_take_uploads_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[str, Any] = {"larger": "1 kB", "smaller": "5 MB", "after": "2000-01-01"}
    found = answer.clifs_search("an ambulance", kinds=["image"], count=3, **limits)
    assert found["results"][0]["file"] == "vild/rescue.webp" and len(found["results"]) == 3
    assert not any(map(is_file_obj, found["results"]))  # clients would fetch it from the server
    image = tmp_path / "one.webp"
    image.write_bytes(Path(library.shared()["red_envelope"]["path"]).read_bytes())
    for path in (str(image), "/etc/passwd", "../../etc/passwd"):
        with pytest.raises(gr.Error):
            answer.clifs_search("a dog", files=[{"path": path}])  # type: ignore[list-item]
    monkeypatch.setattr("demos.kit.files.get_upload_folder", lambda: str(tmp_path))
    made = answer.clifs_index([{"path": str(image)}])  # type: ignore[list-item]
    assert made["files"] == 1 and made["refused"] == {}
    rows = answer.clifs_search("a red envelope", files=[{"path": str(image)}])["results"]  # type: ignore[list-item]
    assert [row["file"] for row in rows] == ["one.webp"]
    with pytest.raises(gr.Error):
        answer.clifs_search("")
    for wrong in ({"larger": "huge"}, {"before": "soon"}, {"kinds": ["film"]}):
        with pytest.raises(gr.Error, match=r"huge|soon|film"):
            answer.clifs_search("a dog", **wrong)  # type: ignore[arg-type]
    assert not answer.clifs_search("a dog", larger="1 GB")["results"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_tabs_answer(lang: str) -> None:
    for handler in (compare.patches, compare.exact, inside.where_from, inside.size):
        slots = run(handler, question(), lang)
        assert slots["message"] == "" and len(slots["out"]) > 100
    assert answer.files(question(), lang).count("href=") == 2


def test_what_the_lessons_say_comes_true() -> None:
    walk = lessons.walkthrough(lambda name: None)
    steps = [step for lesson in walk.lessons().values() for step in lesson["steps"]]
    outcomes = {
        (step["kind"], step.get("file", step.get("cells", ""))): walk.outcome(
            step, "classroom-rn", "en"
        ).index
        for step in steps
    }
    assert outcomes == {
        ("patches", "vild/night_woods.webp"): 0,
        ("patches", "clifs/signed_truck.webp"): 0,
        ("patches", "clip/flock.webp"): 1,
        ("scale", ""): 1,
        ("models", "clifs/signed_truck.webp"): 1,
        ("nothing", ""): 0,
        ("languages", ""): 0,
        ("trade", 2): 1,
        ("trade", 20): 2,
        ("rate", ""): 0,
    }


def test_a_row_of_another_root_is_not_opened() -> None:
    row = SimpleNamespace(path="../../../etc/passwd", root="/", start=0.0)
    with pytest.raises(Refusal, match="no longer there"):
        collections.sample().file(row)  # type: ignore[arg-type]


def test_the_sound_of_an_example_is_no_foreign_sound_when_a_browser_sends_it(tmp_path: Path) -> None:
    own = library.ASSETS / answer.examples()["by_sound"]["sound"]
    foreign = library.ASSETS / "audioclip/dog_bark.mp3"
    notes = []
    for name, sound in (("own.mp3", own), ("foreign.mp3", foreign)):
        (tmp_path / name).write_bytes(sound.read_bytes())
        notes.append(run(answer.search, question(query="", sound_query=str(tmp_path / name)), "en")["notes"])
    assert "atlas-hint" not in notes[0] and "atlas-hint" in notes[1]
