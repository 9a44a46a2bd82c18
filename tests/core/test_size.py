"""The bounds on what the repository weighs."""

from __future__ import annotations

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
    assert sum(sizes.values()) <= 60 * 2**20
