"""Depth maps from outside: what their numbers mean, what is unknown, and what is no depth map."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core import inputs
from core.errors import Refusal

door = importlib.import_module("core.inputs.depths")  # the name in the package is the function


def png(values: np.ndarray) -> bytes:
    """A PNG of these numbers."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def npy(values: np.ndarray) -> bytes:
    """An NPY file of these numbers."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=values.dtype == object)
    return file.getvalue()


def test_metres_and_millimetres() -> None:
    metres = np.array([[1.5, 0.0, np.nan], [np.inf, -1.0, 2.25]])
    known = np.array([[1.5, np.nan, np.nan], [np.nan, np.nan, 2.25]], np.float32)
    np.testing.assert_array_equal(inputs.depths(npy(metres), "metres"), known)
    whole = png(np.array([[1500, 0, 0], [0, 0, 2250]], np.uint16))
    np.testing.assert_array_equal(inputs.depths(whole), known)


def test_a_disparity_becomes_metres_by_the_cameras() -> None:
    disparity = np.array([[40.0, 0.0, 12.5]])
    wanted = 192.0 / (disparity + 31.0)
    for source in (npy(disparity), png((256 * disparity).astype(np.uint16))):
        found = inputs.depths(source, "disparity", 192.0, 31.0)
        np.testing.assert_allclose(found[:, ::2], wanted[:, ::2], rtol=1e-6)
        assert np.isnan(found[0, 1])


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (None, "no_depths"),
        (b"", "no_depths"),
        ("nowhere.png", "image_missing"),
        (b"text", "not_depths"),
        (b"\x89PNG\r\n\x1a\n broken", "not_depths"),
        (b"\x93NUMPY broken", "not_depths"),
        (png(np.zeros((2, 2), np.uint8)), "not_depths"),
        (npy(np.zeros((2, 2, 3))), "not_depths"),
        (npy(np.zeros((0, 2))), "not_depths"),
        (npy(np.array([[{}]], object)), "not_depths"),
    ],
)
def test_what_is_no_depth_map(source: Any, code: str) -> None:
    with pytest.raises(Refusal) as caught:
        inputs.depths(source)
    assert caught.value.code == code and caught.value.text("zh")


def test_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for settings in ({"unit": "feet"}, {"product": 0.0}, {"product": float("nan")}, {"offset": 1e9}):
        with pytest.raises(Refusal):
            inputs.depths(npy(np.ones((2, 2))), **settings)  # type: ignore[arg-type]
    file = tmp_path / "depth.npy"
    file.write_bytes(npy(np.ones((8, 8))))
    monkeypatch.setattr(door, "MAX_PIXELS", 10)
    with pytest.raises(Refusal) as caught:
        inputs.depths(file, "metres")
    assert caught.value.code == "image_too_large"
    monkeypatch.setattr(door, "MAX_FILE_BYTES", 10)
    with pytest.raises(Refusal) as caught:
        inputs.depths(file, "metres")
    assert caught.value.code == "image_file_too_large"
