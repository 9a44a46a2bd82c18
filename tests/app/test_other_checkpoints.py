"""A checkpoint of another model is one sentence: at every endpoint, in the library and on the command line."""

from __future__ import annotations

import base64
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from core import __main__ as commands
from core import checkpoints, segmentation
from core.audio.audioclip import AudioCLIP
from core.clip import DUAL_ENCODERS, ZeroShot, encoders, reading
from core.detection import GLIP, ViLD
from core.editing.model import Editor
from core.errors import Refusal
from core.segmentation.clipseg import CLIPSeg
from core.segmentation.groupvit import GroupViT
from core.segmentation.lseg import LSeg
from core.segmentation.maskclip import MaskCLIP
from core.segmentation.sam3 import SAM3
from core.segmentation.tips import TIPS
from core.spatial.depth_anything import DepthAnything
from core.spatial.depthclip import DepthEstimator
from core.spatial.pointclip import PointClassifier
from core.spatial.pointnet import SupervisedClassifier
from core.video import actionclip
from core.video.actionclip.recognizer import ActionRecognizer
from core.video.actionclip.xclip import XCLIP
from core.video.clip4clip.retriever import VideoRetriever
from core.vqa import clip_vil
from core.vqa.clip_vil.blip import BlipVQA
from core.vqa.clip_vil.models import CLIPViL
from core.vqa.vilt.model import ViLT
from demos.app import site
from demos.kit.events import WRONG

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "assets/examples/clip/toys.webp"
CLIP = next((ROOT / "assets/examples/clips").glob("*.mp4"))
SOUND = ROOT / "assets/examples/audioclip/dog.mp3"
CLOUD = ROOT / "assets/examples/shapes/star.npy"


def uri(file: Path, kind: str) -> str:
    """A file as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


URI = uri(IMAGE, "image/webp")
# One row of every kind that is on this machine, and one of each that could be.
ROWS = (
    "classroom-rn", "classroom-vild", "classroom-glip", "classroom-lseg", "classroom-groupvit", "u2net",
    "bert-base-uncased", "clipseg-rd64", "tipsv2-b14", "sam3", "owlv2-b16", "grounding-dino-tiny",
)  # fmt: skip
VALUES: dict[str, Any] = {
    "image": {"path": URI},
    "images": [{"path": URI}, {"path": URI}],
    "labels": ["a cat", "a dog"],
    "texts": ["a cat", "a dog"],
    "captions": ["a cat", "a dog"],
    "prompt": "a cat",
    "boxes": [[20, 20, 200, 200]],
    "query": "a cat",
    "question": "what is this?",
    "text": "a [MASK]",
    "video": {"path": uri(CLIP, "video/mp4")},
    "videos": [{"path": uri(CLIP, "video/mp4")}],
    "sounds": [{"path": uri(SOUND, "audio/mpeg")}],
    "cloud": {"path": uri(CLOUD, "application/octet-stream")},
}
MODELS = (
    ZeroShot, MaskCLIP, ViLD, GLIP, LSeg, GroupViT, CLIPSeg, TIPS, SAM3, VideoRetriever, ActionRecognizer, XCLIP, PointClassifier,
    SupervisedClassifier, DepthEstimator, DepthAnything, AudioCLIP, ViLT, CLIPViL, BlipVQA,
    Editor,
)  # fmt: skip
# What the rows of each endpoint are, by the beginning of its name; longer beginnings first.
PAPERS = {"clip": ("clip",), "chinese": ("clip",), "lseg": ("lseg", "clip"), "groupvit": ("groupvit",)}
PAPERS |= {"vild": ("vild",), "glip": ("glip",), "clipasso": ("clip",), "clipdraw": ("clip",)}
PAPERS |= {"clip4clip": ("clip4clip", "clip"), "actionclip": ("actionclip", "clip")}
PAPERS |= {"audioclip": ("audioclip",)}
PAPERS |= {"pointclip": ("clip",), "depthclip": ("clip",), "vilt": ("vilt",)}
PAPERS |= {"clip_vil": ("clip_vil",), "clifs": ("clip",), "styleclip": ("styleclip",)}


def endpoints() -> list[tuple[str, Callable[..., Any]]]:
    """Name and function of every endpoint that takes a checkpoint."""
    return [
        (event.api_name, event.fn)
        for event in site.build().fns.values()
        if event.api_visibility == "public" and "checkpoint" in inspect.signature(event.fn).parameters
    ]


def asked(function: Callable[..., Any], checkpoint: str) -> str:
    """What an endpoint says to a checkpoint; all else is right."""
    values = []
    for name, parameter in inspect.signature(function).parameters.items():
        values.append(checkpoint if name == "checkpoint" else VALUES.get(name, parameter.default))
    with pytest.raises(gr.Error) as caught:
        answer = function(*values)
        list(answer) if inspect.isgenerator(answer) else None
    return str(caught.value.message)


@pytest.mark.parametrize("row", ROWS)
def test_every_endpoint_refuses_the_rows_of_others_by_name(row: str) -> None:
    paper, known = checkpoints.row(row).paper, endpoints()
    assert len(known) > 15
    for name, function in known:
        if paper not in PAPERS[max(filter(name.startswith, PAPERS), key=len)]:
            said = asked(function, row)
            assert said != WRONG.en and row in said and "would do" in said, (name, said)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_loads_no_row_of_another(model: Any) -> None:
    loaders = getattr(model, "LOADERS", DUAL_ENCODERS)
    foreign = [row for row in checkpoints.rows() if row.loader not in loaders]
    assert len(foreign) > 10
    for row in foreign:
        with pytest.raises(Refusal) as caught:
            model.load(row.name, "cpu")
        assert caught.value.code == "other_checkpoint" and caught.value.params["paper"] == row.paper
        known = caught.value.params["known"].split(", ")
        assert all(checkpoints.row(name).loader in loaders for name in known)


def test_every_row_of_a_page_has_a_model_that_loads_it() -> None:
    loaders = {name for model in MODELS for name in getattr(model, "LOADERS", DUAL_ENCODERS)}
    pages = [row for row in checkpoints.rows() if row.paper not in ("bert", "clipasso")]
    assert {row.loader for row in pages} == loaders


def test_what_takes_a_guide_or_cuts_texts_refuses_likewise() -> None:
    import torch

    for ask in (
        lambda: encoders.use("classroom-vild", "cpu", torch.float32),
        lambda: reading.vocabulary("classroom-lseg"),
        lambda: reading.read("u2net", ["a cat"]),
    ):
        with pytest.raises(Refusal) as caught:
            ask()
        assert caught.value.code == "other_checkpoint" and caught.value.text("zh")


@pytest.mark.parametrize(
    ("verb", "row"),
    [
        (["classify", str(IMAGE), "--labels", "a cat"], "classroom-glip"),
        (["classify", str(IMAGE), "--labels", "a cat"], "bert-base-uncased"),
        (["detect", str(IMAGE), "--labels", "a cat"], "classroom-lseg"),
        (["ground", str(IMAGE), "a cat"], "classroom-rn"),
        (["sketch", str(IMAGE), "--steps", "1"], "classroom-vild"),
        (["draw", "a cat", "--steps", "1"], "classroom-lseg"),
    ],
)
def test_the_command_line_refuses_likewise(
    verb: list[str],
    row: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = ["--out", str(tmp_path / "a.svg")] if verb[0] in ("sketch", "draw") else []
    monkeypatch.setattr(sys, "argv", ["core", *verb, *out, "--checkpoint", row])
    assert commands.main() == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and row in said and "would do" in said


@pytest.mark.parametrize(
    ("load", "kinds"),
    [
        (segmentation.load, (LSeg, CLIPSeg, TIPS, SAM3, GroupViT, ZeroShot)),
        (clip_vil.load, (CLIPViL, BlipVQA)),
        (actionclip.load, (ActionRecognizer, XCLIP)),
    ],
)
def test_rows_that_would_do_are_of_the_kinds_that_are_asked_for(
    load: Callable[[str], Any], kinds: tuple[Any, ...]
) -> None:
    """Also behind a door for several kinds of models."""
    with pytest.raises(Refusal) as refused:
        load("nothing")
    assert refused.value.code == "unknown_checkpoint"
    able = frozenset[str]().union(*(kind.LOADERS for kind in kinds))
    names = refused.value.params["known"].split(", ")
    assert names and all(checkpoints.row(name).loader in able for name in names)
