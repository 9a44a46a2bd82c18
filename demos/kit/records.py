"""Recorded answers: what a page shows on opening before its model has answered, `recorded.json` beside its example images.

`python -m demos.<page>.record` writes the file. A test answers again and compares, so that no record is older than its miniature.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from core import terminal
from demos.kit import library


def read(page: str) -> Any:
    """The record of a page."""
    return json.loads((library.ASSETS / page / "recorded.json").read_text(encoding="utf-8"))


def write(page: str, value: Any) -> None:
    """Writes the record of a page."""
    path = library.ASSETS / page / "recorded.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def run(page: str, record: Callable[[], Any]) -> int:
    """The command of a page's module `record`: writes what `record` answers; returns the exit status."""

    def main() -> None:
        """Answers what the page opens with and writes the file that the page reads."""
        argparse.ArgumentParser(prog=f"python -m demos.{page}.record", description=main.__doc__).parse_args()
        write(page, record())

    return terminal.run(main)
