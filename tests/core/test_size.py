"""The bounds on what the repository weighs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_repository_stays_small() -> None:
    """48 MB of assets and 60 MiB of files, so that a clone, and a Space's build, take seconds."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a clone: what belongs to the repository is not known")
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    assert len(files) > 100
    sizes = {file.relative_to(ROOT): file.stat().st_size for file in files}
    assert sum(size for file, size in sizes.items() if file.parts[0] == "assets") <= 48_000_000
    whole = sum(sizes.values())
    assert whole <= 60 * 2**20
    for name in ("README.md", "README.zh.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        told = re.search(r"(?:The repository takes|微缩模型占) (\d+) MB", text)
        assert told and abs(int(told[1]) - whole / 1e6) < 2, name
