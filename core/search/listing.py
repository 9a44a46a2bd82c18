"""What lies in a folder: the files that may be indexed, by their path in it.

A path is relative to the folder, with "/" between its parts and in Unicode's composed form (NFC), whatever the system writes, so
that an index can be read on another one. Links to folders are not followed, links to files only inside the folder.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import Refusal
from core.inputs.archives import is_junk

# Folders of programs, not of people.
SYSTEM = {"node_modules", "@eadir", "system volume information", "$recycle.bin", "lost+found", "__pycache__"}
UNSEEN = ("Cc", "Cs")


@dataclass(frozen=True)
class Listed:
    """A file of a folder."""

    file: Path
    size: int
    mtime: float


@dataclass
class Listing:
    """The files of a folder, and what was left out."""

    files: dict[str, Listed] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)
    hidden: int = 0  # hidden files and folders, and those of systems


def listing(folder: Path, only: Sequence[str] = ()) -> Listing:
    """The files below a folder; `only` those in folders of these names.

    Raises:
        Refusal: "search_folder" where there is no such folder, or it cannot be read.
    """
    try:
        root = folder.resolve(strict=True)
        if not root.is_dir():
            raise NotADirectoryError
        os.scandir(root).close()
    except (OSError, ValueError) as error:
        raise Refusal("search_folder", name=clean_name(folder.name)) from error
    found = Listing()
    tops = [root / name for name in only] or [root]
    for entry in (entry for top in tops for entry in _below(top, found)):
        try:
            path = unicodedata.normalize("NFC", Path(entry.path).relative_to(root).as_posix())
            if any(unicodedata.category(sign) in UNSEEN for sign in path):
                found.refused[clean_name(path)] = Refusal("search_name")
                continue
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                found.refused[path] = Refusal("search_link")
                continue
            if not entry.is_file():
                continue  # a pipe, a device, a link to nothing
            state = entry.stat()
            found.files[path] = Listed(Path(entry.path), state.st_size, state.st_mtime)
        except OSError:
            found.refused[clean_name(entry.name)] = Refusal("search_unreadable")
    return found


def _below(folder: Path, found: Listing) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        found.refused[clean_name(folder.name)] = Refusal("search_unreadable")
        return
    for entry in ordered:
        if is_junk(entry.name) or entry.name.lower() in SYSTEM:
            found.hidden += 1
        elif entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path), found)
        elif not entry.is_dir():
            yield entry


def clean_name(name: str) -> str:
    """A name as it can be shown and kept: without control characters and halves of characters."""
    clean = "".join("\ufffd" if unicodedata.category(sign) in UNSEEN else sign for sign in name)
    return unicodedata.normalize("NFC", clean)


def locate(folder: Path, path: str) -> Path:
    """The file of a path of a listing.

    Raises:
        Refusal: "search_gone" where it is not there, or not inside the folder.
    """
    root = folder.resolve()
    if "\0" in path:
        raise Refusal("search_gone", name=clean_name(path))
    file = root / path
    if not file.exists():  # a system that writes names in another form
        file = root
        for name in path.split("/"):
            found = [one for one in _names(file) if unicodedata.normalize("NFC", one) == name]
            file = file / (found[0] if found else name)
    file = file.resolve()
    if not file.is_relative_to(root) or not file.is_file():
        raise Refusal("search_gone", name=clean_name(path))
    return file


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
