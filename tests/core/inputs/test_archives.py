"""Many files at the door: folders and zip archives, honest and hostile. Every archive is made here."""

from __future__ import annotations

import io
import os
import stat
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import inputs
from core.errors import Refusal
from core.inputs import archives


def png(level: int = 0) -> bytes:
    """A small image as the bytes of a file."""
    file = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


def packed(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip archive of these members."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def codes(files: inputs.Files) -> dict[str, str]:
    """What each member came to: "image", or the code of its refusal."""
    answers = {}
    for name, content, refusal in files:
        try:
            if refusal is not None:
                raise refusal
            answers[name] = inputs.image(content).mode and "image"
        except Refusal as reason:
            answers[name] = reason.code
    return answers


def refused(code: str, *paths: str | Path, **options: int) -> Refusal:
    """These paths are refused as a whole, in both languages."""
    with pytest.raises(Refusal) as caught:
        inputs.files_of(paths, **options)
    assert caught.value.code == code
    for lang in ("en", "zh"):
        assert "{" not in caught.value.text(lang)
    return caught.value


def test_several_files_keep_their_order(tmp_path: Path) -> None:
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_bytes(png())
    (tmp_path / "notes.txt").write_text("no image")
    files = inputs.files_of([tmp_path / "b.png", str(tmp_path / "a.png"), tmp_path / "notes.txt"])
    assert len(files) == 3
    assert codes(files) == {"b.png": "image", "a.png": "image", "notes.txt": "not_an_image"}
    assert next(iter(files)).content == tmp_path / "b.png"


def test_a_folder_is_read_with_its_folders(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("z.png", "in/a.png", "in/deep/b.png", ".DS_Store", ".hidden/c.png", "Thumbs.db"):
        (tmp_path / name).write_bytes(png())
    assert [name for name, *_ in inputs.files_of([tmp_path])] == ["in/a.png", "in/deep/b.png", "z.png"]


def test_a_folder_neither_follows_links_to_folders_nor_reads_devices(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    os.symlink(tmp_path, tmp_path / "again")
    os.symlink("/dev/zero", tmp_path / "endless.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert [name for name, *_ in inputs.files_of([tmp_path])] == ["a.png"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_told_by_its_content(tmp_path: Path, method: int) -> None:
    members = {"b.png": png(), "in/a.png": png(9), "__MACOSX/in/._a.png": b"x", "in/.DS_Store": b"x"}
    path = packed(tmp_path / "images.dat", members, method)
    files = inputs.files_of([path])
    assert len(files) == 2 and codes(files) == {"b.png": "image", "in/a.png": "image"}
    assert codes(files) == {"b.png": "image", "in/a.png": "image"}, "it can be read again"


def test_archives_and_files_together(tmp_path: Path) -> None:
    (tmp_path / "single.png").write_bytes(png())
    first = packed(tmp_path / "1.zip", {"a.png": png()})
    second = packed(tmp_path / "2.zip", {"a.png": png(7)})
    files = inputs.files_of([first, tmp_path / "single.png", second, first])
    assert [name for name, *_ in files] == ["a.png", "single.png", "a.png", "a.png"]
    contents = [member.content for member in files]
    assert contents[0] == contents[3] == png() and contents[2] == png(7)


def test_members_are_unpacked_one_at_a_time(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(2 << 20)
    path = packed(tmp_path / "many.zip", {f"{i}.bin": noise for i in range(30)}, zipfile.ZIP_STORED)
    tracemalloc.start()
    count = sum(1 for _ in inputs.files_of([path]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 30 and peak < 12 << 20


def test_limits(tmp_path: Path) -> None:
    path = packed(tmp_path / "many.zip", {f"{i}.png": b"x" for i in range(501)})
    assert refused("too_many_files", path).params["limit"] == 500
    refused(
        "too_many_files", *[packed(tmp_path / f"{i}.zip", {"a": b"x", "b": b"x"}) for i in range(2)], limit=3
    )
    assert len(inputs.files_of([path], limit=None)) == 501
    (tmp_path / "long").write_bytes(bytes(3 << 20))
    refused("files_too_large", tmp_path / "long", tmp_path / "long", max_bytes=5 << 20)
    refused("files_too_large", packed(tmp_path / "zeros.zip", {"a": bytes(6 << 20)}), max_bytes=5 << 20)
    folder = tmp_path / "folder"
    folder.mkdir()
    for nothing in (folder, packed(tmp_path / "empty.zip", {}), packed(tmp_path / "junk.zip", {".x": b""})):
        refused("no_files", nothing)
    refused("no_files")
    refused("image_missing", tmp_path / "gone.zip")
    refused("image_missing", "a\0b")
    refused("image_missing", "/dev/zero")


def test_a_member_of_many_zeros_is_never_unpacked_whole(tmp_path: Path) -> None:
    path = packed(tmp_path / "bomb.zip", {"zeros.png": bytes(60 << 20), "good.png": png()})
    assert path.stat().st_size < 1 << 17
    refused("files_too_large", path, max_bytes=50 << 20)
    tracemalloc.start()
    assert codes(inputs.files_of([path], max_bytes=None)) == {
        "zeros.png": "image_file_too_large",
        "good.png": "image",
    }
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_member_that_declares_less_than_it_holds_is_listed_as_broken(tmp_path: Path) -> None:
    path = packed(tmp_path / "lie.zip", {"zeros.png": bytes(20 << 20), "good.png": png()})
    data = path.read_bytes().replace(struct.pack("<I", 20 << 20), struct.pack("<I", 1000))
    path.write_bytes(data)
    tracemalloc.start()
    assert codes(inputs.files_of([path])) == {"zeros.png": "image_broken", "good.png": "image"}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_cannot_be_bounded_are_not_read(tmp_path: Path, method: int) -> None:
    path = packed(tmp_path / "other.zip", {"a.png": png()}, method)
    assert codes(inputs.files_of([path])) == {"a.png": "member_method"}


def test_a_long_table_of_contents_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"a.png": png()})
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x05\x06")
    struct.pack_into("<I", data, at + 12, 200 << 20)
    path.write_bytes(data)
    refused("too_many_files", path)
    wide = bytearray(packed(tmp_path / "b.zip", {"a.png": png()}).read_bytes())
    at = wide.rindex(b"PK\x05\x06")
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, 200 << 20, 0)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, at, 1)
    end = bytearray(wide[at:])
    struct.pack_into("<I", end, 12, 0xFFFFFFFF)
    path.write_bytes(bytes(wide[:at]) + record + locator + bytes(end))
    refused("too_many_files", path)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "in/../../a.png", "C:\\a.png", "..\\a.png", "\\\\host\\a.png"]
)
def test_names_that_lead_out_of_the_archive_are_listed_and_skipped(tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    path = packed(tmp_path / "tricks.zip", {name: png(), "good.png": png()})
    answers = codes(inputs.files_of([path]))
    assert list(answers.values()) == ["member_name", "image"]
    assert sorted(tmp_path.rglob("*")) == [*before, path], "nothing is written"


def test_links_locks_and_archives_in_archives_are_listed_and_skipped(tmp_path: Path) -> None:
    inner, gz, tar = io.BytesIO(), zlib.compressobj(wbits=31), bytes(257) + b"ustar\x0000" + bytes(248)
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.png", png())
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("inner.png", inner.getvalue())
        archive.writestr("gz.png", gz.compress(b"x") + gz.flush())
        archive.writestr("tar.png", tar)
        archive.writestr("locked.png", png())
        archive.writestr("good.png", png())
    data = bytearray(path.read_bytes())
    for head, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = [i for i in range(len(data)) if data[i : i + 4] == head][-2]
        data[at + flags] |= 1
    path.write_bytes(data)
    assert codes(inputs.files_of([path])) == {
        "link.png": "member_no_file",
        "inner.png": "member_nested",
        "gz.png": "member_nested",
        "tar.png": "member_nested",
        "locked.png": "member_locked",
        "good.png": "image",
    }


def test_a_damaged_member_does_not_stop_the_others(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"a.png": png(), "b.png": png(200), "c.png": png()}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    at = data.index(png(200))
    data[at + 40] ^= 255
    path.write_bytes(data)
    assert codes(inputs.files_of([path])) == {"a.png": "image", "b.png": "image_broken", "c.png": "image"}


def test_damaged_archives_are_refused_or_listed(tmp_path: Path) -> None:
    whole = np.frombuffer(
        packed(tmp_path / "a.zip", {"a.png": png(), "b.png": png(9)}).read_bytes(), np.uint8
    )
    generator = np.random.default_rng(3)
    path, outcomes = tmp_path / "b.zip", set()
    for _ in range(300):
        damaged = whole.copy()
        damaged[generator.integers(4, len(whole), 3)] = generator.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            outcomes |= set(codes(inputs.files_of([path])).values())
        except Refusal as refusal:
            outcomes.add(refusal.code)
    assert {"image", "archive_broken", "image_broken"} <= outcomes
    for length in (4, 30, len(whole) - 30, len(whole) - 4):
        path.write_bytes(whole[:length].tobytes())
        refused("archive_broken", path)


def test_names_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    names = ["红包.png", "猫/狗.png"]
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, png())
        archive.writestr("win\\dows.png", png())
    assert [member.name for member in inputs.files_of([path])] == [*names, "win/dows.png"]
    data = path.read_bytes()
    for name in names:  # as Windows writes them: GB 18030, not marked
        data = data.replace(name.encode(), name.encode("gb18030").ljust(len(name.encode()), b"a"))
    for head, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        parts = data.split(head)
        data = head.join([parts[0], *(p[: flags - 4] + b"\0\0" + p[flags - 2 :] for p in parts[1:])])
    path.write_bytes(data)
    read = [member.name for member in inputs.files_of([path])]
    assert read[0].startswith("红包.png") and read[1].startswith("猫/狗.png") and read[2] == "win/dows.png"


def test_the_limits_are_those_of_the_door() -> None:
    assert (archives.MAX_FILES, archives.MAX_BYTES) == (500, 200 << 20)
