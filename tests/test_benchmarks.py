"""Benchmarks run as `python -m benchmarks.<name>`: each imports, has a main function and says its command."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_is_a_module_that_says_its_command(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert callable(module.main)
    assert f"python -m benchmarks.{name}" in (module.__doc__ or "")
    assert "sys.path" not in Path(module.__file__ or "").read_text("utf-8")


def test_the_film_of_the_video_benchmark_is_as_long_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import video
    from core import inputs

    monkeypatch.setattr(video, "PART", 2)
    video.make(tmp_path / "film.mp4", 6, 90)
    found = inputs.video(tmp_path / "film.mp4")
    assert found.size == (160, 90) and found.duration == pytest.approx(6)
    assert len(found.moments) == video.every_frame(tmp_path / "film.mp4")["frames"] == 180
    # A part is the same each time it comes.
    first, again = (frame.pixels.astype(int) for frame in found.at([1.0, 5.0]))
    assert abs(first - again).max() == 0


def test_what_is_for_a_gpu_runs_at_small_sizes(tmp_path: Path) -> None:
    """Every part on the CPU, so that none fails for a typo where there is a GPU."""
    import json

    from benchmarks import gpu

    file = tmp_path / "gpu.json"
    assert gpu.main(["--tiny", "--device", "cpu", "--json", str(file)]) == 0
    lines = json.loads(file.read_text())["lines"]
    assert {"rasterizer", "CLIPasso", "GLIP-T", "CLIP"} <= {line["part"] for line in lines}
    assert not any(line["reason"] for line in lines) and all(line["value"] >= 0 for line in lines)
    right = [line for line in lines if "against" in line["what"]]
    assert len(right) >= 5 and all(line["holds"] for line in right)


def test_a_part_that_fails_is_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import gpu

    monkeypatch.setattr(gpu, "PARTS", {"broken": lambda device, sizes: iter([1 / 0])})
    assert gpu.main(["--tiny", "--device", "cpu"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
