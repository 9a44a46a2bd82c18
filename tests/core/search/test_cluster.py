"""Encoding on a Ray cluster gives the same index as encoding here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from core.search import index
from core.search.spaces import Space
from core.search.store import open_store
from tests.core.search.colours import paint

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_a_cluster_writes_the_same_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="an optional package: pip install ray")
    from core.search.cluster import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    folder = tmp_path / "files"
    for at in range(5):
        paint(folder / f"{at}.png", "red", at)
    shutil.copy(ROOT / "assets/examples/audioclip/dog.mp3", folder / "dog.mp3")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nx")
    space = Space("classroom-rn")
    here, there = open_store(tmp_path / "here"), open_store(tmp_path / "there")
    *_, first = index.update(here, space, folder, root="files")
    with Cluster("local", actors=1) as cluster:
        *_, second = index.update(there, space, folder, root="files", encode=cluster.encode)
    assert (second.done, second.total) == (first.done, first.total) == (7, 7)
    assert {path: refusal.code for path, refusal in second.failures} == {"broken.png": "image_broken"}
    ours, theirs = here.table(space.visual), there.table(space.visual)
    assert {**ours.files("files")} == {**theirs.files("files")}
    for path in ours.files("files"):
        for one, two in zip(ours.pieces("files", path), theirs.pieces("files", path), strict=True):
            assert (one.box, one.start, one.end, one.heard) == (two.box, two.start, two.end, two.heard)
            if one.vector is not None:
                assert np.allclose(one.vector, two.vector, atol=2e-3)
