"""Files that a command is to write: looked at before the work, and refused in one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import Refusal


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system says against writing a file, as a refusal.

    Raises:
        Refusal: "no_folder", "out_unwritable".
    """
    try:
        yield
    except OSError as error:
        if not os.path.isdir(path.absolute().parent):
            raise Refusal("no_folder", folder=str(path.parent)) from error
        raise Refusal("out_unwritable", file=str(path), reason=error.strerror or str(error)) from error


def check(path: Path) -> None:
    """Refuses, as `writing`, a file that cannot be written; one that is there stays as it is."""
    is_new = not os.path.lexists(path)
    with writing(path):
        with path.open("ab"):
            pass
        if is_new:
            path.unlink()


def check_folder(path: Path) -> None:
    """Refuses, as `writing`, a folder that cannot be filled, or is not empty; a new one is made.

    Raises:
        Refusal: "folder_not_empty", and as `writing`.
    """
    with writing(path):
        path.mkdir(exist_ok=True)
        if any(path.iterdir()):
            raise Refusal("folder_not_empty", folder=str(path))
        probe = path / ".probe"
        probe.touch()
        probe.unlink()
