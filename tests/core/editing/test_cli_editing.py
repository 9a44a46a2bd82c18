"""`python -m core edit`: an image file, JSON, and one sentence for what is wrong; and edits of a seed's image."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core import __main__ as cli
from core import runtime
from core.checkpoints import File, registry
from core.checkpoints.registry import Checkpoint
from core.editing.model import Editor
from core.editing.stylegan2 import Architecture, Generator
from core.errors import Refusal

BOTH = {"en": "tiny", "zh": "tiny"}
PHOTO = str(Path(__file__).resolve().parents[3] / "assets" / "examples" / "photos" / "rose.jpg")
OPTIONS = {"size": 16, "width": 16, "depth": 2, "channels": {"4": 8, "8": 8, "16": 8}}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A row of a tiny generator, in the published form: without kernels, without a mean."""
    folder = tmp_path_factory.mktemp("faces")
    torch.manual_seed(0)
    net = Generator(Architecture(16, 16, 2, {4: 8, 8: 8, 16: 8}))
    state = {name: value for name, value in net.state_dict().items() if not name.endswith("kernel")}
    torch.save({"g_ema": state}, folder / "faces.pt")
    registry.add(
        Checkpoint("tiny-faces", "styleclip", BOTH, "core.editing.pipelines:load_generator", (File("faces.pt"),), 1, "none",
                   BOTH, "none", ("en",), "softmax", BOTH, BOTH, bundled=str(folder), options=OPTIONS)
    )  # fmt: skip
    return "tiny-faces"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["core", "edit", *arguments])
    return cli.main()


def test_a_seed_is_edited_and_written(
    faces: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "edited.png"
    common = (
        "5",
        "a red cat",
        "--checkpoint",
        faces,
        "--guide",
        "classroom-rn",
        "--steps",
        "3",
        "--out",
        str(out),
    )
    assert run(monkeypatch, *common, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["method"] == "optimization" and told["steps"] == 3 and told["moved"] > 0
    assert Image.open(out).size == (16, 16)
    assert run(monkeypatch, *common, "--method", "stylespace") == 0
    assert "stylespace, 3 steps" in capsys.readouterr().out


def test_an_edit_begins_at_the_image_of_its_seed_and_nears_the_text(faces: str) -> None:
    model = Editor.load(faces, "cpu")
    chosen = model.settings("optimization", steps=8, distance=(0.0, 9.0), guide="classroom-rn")
    frames = list(model.edit(model.start(seed=5), "a red cat", chosen))
    result = frames[-1].result
    assert result is not None and [frame.step for frame in frames] == list(range(9))
    assert np.array_equal(result.start, model.start(seed=5).image) and not np.array_equal(
        result.image, result.start
    )
    assert all(frame.image is not None for frame in frames)
    assert result.guide is not None and result.guide.after > result.guide.before
    assert result.other is not None and result.other.clip == "classroom-vit"
    free, held = result.variants
    assert np.array_equal(free.image, result.image) and free.moved == result.moved > held.moved
    assert held.cosine < free.cosine == pytest.approx(result.guide.after, abs=0.2)
    cancel = runtime.Cancel()
    with pytest.raises(Refusal) as caught:
        for frame in model.edit(model.start(seed=5), "a cat", replace(chosen, steps=50), cancel=cancel):
            assert frame.step == 0
            cancel.set()
    assert caught.value.code == "cancelled"


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (PHOTO, ("--method", "instruct", "--steps", "2")),
        (PHOTO, ("--method", "sdedit", "--strength", "0.5", "--steps", "4")),
        ("5", ("--method", "global_direction", "--neutral", "a dog", "--alpha", "3", "--beta", "0.05")),
        ("5", ("--method", "mapper", "--steps", "1")),
        ("5", ("--steps", "1")),
    ],
)
def test_the_miniature_edits_without_a_network(
    image: str,
    options: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = tmp_path / "edited.png"
    row = ("--checkpoint", "classroom-styleclip")
    assert run(monkeypatch, image, "a cat", *row, *options, "--out", str(out), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["checkpoint"] == "classroom-styleclip" and Image.open(out).size == (32, 32)
    assert told["method"] == (options[1] if options[0] == "--method" else "instruct")
    assert told["guide"]["clip"] == "classroom-rn" and told["other"]["clip"] == "classroom-vit"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("face.png", "a cat", "--checkpoint", "tiny-faces"), "seed"),
        (("5", "a cat", "--checkpoint", "tiny-faces", "--method", "sdedit"), "optimization, stylespace"),
        (("5", "a cat", "--checkpoint", "tiny-faces", "--out", "edited.svg"), ".png"),
        ((PHOTO, "a cat", "--checkpoint", "classroom-rn"), "classroom-rn"),
        ((PHOTO, "a cat", "--checkpoint", "nothing"), "nothing"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    faces: str,
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *arguments) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_row_that_is_not_here_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, PHOTO, "a cat", "--method", "instruct") == 1
    assert "instruct-pix2pix" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
