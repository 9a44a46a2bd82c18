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


def test_a_table_that_is_kept_is_measured_again_and_not_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import search
    from core.search import lance

    monkeypatch.setattr(search, "QUESTIONS", 4)
    monkeypatch.setattr(search, "CHUNK", 1000)
    monkeypatch.setattr(lance, "EXACT", 1000)
    arguments = ["vectors", "--count", "2000", "--keep", str(tmp_path)]
    (tmp_path / "index-2000").mkdir()
    (tmp_path / "index-2000" / "half").touch()  # of a run that was stopped
    printed = []
    for _ in range(2):
        assert search.main(arguments) == 0
        printed.append(capsys.readouterr().out)
    assert not (tmp_path / "index-2000" / "half").exists()
    assert "seconds to write" in printed[0] and "seconds to build" in printed[0]
    assert "seconds to" not in printed[1] and "recall@10 1.000" in printed[1]
    monkeypatch.setattr(lance, "REFINE", lance.REFINE)
    assert search.main(["indices", *arguments[1:]]) == 0
    measured = capsys.readouterr().out
    assert measured.count("built in") == 4 and measured.count("recall@10") == 11
    with pytest.raises(SystemExit):
        search.main(["kills", "--keep", str(tmp_path)])


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
