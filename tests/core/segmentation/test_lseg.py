"""LSeg on a few thousand weights: shapes, label order, blocks, sizes, what is computed only once; and MaskCLIP."""

from __future__ import annotations

import argparse
import hashlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from core import checkpoints
from core.checkpoints import originals
from core.clip.resnet import ClipResNetBackbone
from core.errors import Refusal
from core.segmentation import LSeg, MaskCLIP, lseg, result
from core.segmentation.blocks import RegularizationBlock
from core.segmentation.dpt import FineClipResNetBackbone, Scratch
from core.segmentation.evaluation import Sliding
from tests import tiny
from tests.conftest import Rows

pytestmark = pytest.mark.usefixtures("forget")

TINY = {
    "features": 8,
    "dimensions": 16,
    "backbone": {"kind": "fine_clip_resnet", "layers": [1, 1, 1, 1], "width": 4},
}
TINY_VIT = {
    "features": 8,
    "dimensions": 16,
    "backbone": {
        "kind": "vit", "image_size": 64, "patch_size": 16, "width": 24, "depth": 4, "heads": 2, "hooks": [0, 1, 2, 3],
        "channels": [4, 6, 8, 8], "classes": 5,
    },
}  # fmt: skip
LABELS = ["dog", "cat", "red envelope", "a photo of sheep"]


def write_row(folder: Path, name: str, options: str) -> str:
    """A bundled LSeg row that shares the text tower of "tiny-soft"."""
    kind = dict(option.split(" = ") for option in options.splitlines())
    torch.manual_seed(0)
    net = lseg.LSegNet(
        kind["architecture"].strip('"'),
        kind.get("block", '"none"').strip('"'),
        int(kind.get("depth", 0)),
        False,  # type: ignore[arg-type]
    )
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
    (folder / name).mkdir()
    path = folder / name / "model.safetensors"
    save_file({k: v.contiguous() for k, v in net.trim().state_dict().items()}, path)
    text = tiny.row(name, folder / name, loader="core.segmentation.lseg:load_lseg").replace(
        '"clip"', '"lseg"'
    )
    digest = hashlib.sha256((folder / "clip" / "model.safetensors").read_bytes()).hexdigest()
    head, files = text.split(f"[[{name}.files]]", 1)
    return (
        f"{head}[{name}.options]\nlong_side = 64\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n{options}\n"
        f'[{name}.requires]\ntiny-soft = "{digest}"\n[[{name}.files]]{files}'
    )


@pytest.fixture(scope="module", autouse=True)
def registry(tmp_path_factory: pytest.TempPathFactory, module_rows: Rows) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("bundles")
    tiny.make_bundle(folder / "clip")
    blocks = [f'architecture = "tiny"\nblock = "{kind}"\ndepth = 2' for kind in ("bottleneck", "depthwise")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lseg, "architectures", lambda: {"tiny": TINY, "tiny-vit": TINY_VIT})
        module_rows(
            tiny.row("tiny-soft", folder / "clip"),
            write_row(folder, "plain", 'architecture = "tiny"'),
            write_row(folder, "lseg-vit", 'architecture = "tiny-vit"'),
            write_row(folder, "bottleneck", blocks[0]),
            write_row(folder, "depthwise", blocks[1]),
        )
        yield


@pytest.mark.parametrize("name", ["plain", "lseg-vit", "bottleneck", "depthwise"])
@pytest.mark.parametrize("size", [(90, 50), (33, 200), (7, 7), (640, 64)])
def test_pictures_of_any_size(name: str, size: tuple[int, int]) -> None:
    found = LSeg.load(name, "cpu").segment(tiny.noise(*size), LABELS)
    width, height = size
    assert found.mask.shape == (height, width) and found.mask.max() < len(LABELS)
    scores = found.scores
    assert scores.shape == (len(LABELS), height, width)
    np.testing.assert_allclose(scores.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(scores.argmax(0), found.mask)
    assert found.shares.sum() == pytest.approx(1)
    assert all(side % 16 == 0 for side in found.before_blocks.shape[1:])
    assert found.logits.shape[1:] == tuple(2 * side for side in found.before_blocks.shape[1:])


@pytest.mark.parametrize("name", ["plain", "bottleneck", "depthwise"])
def test_the_order_of_labels_does_not_matter(name: str) -> None:
    model = LSeg.load(name, "cpu")
    order = [2, 0, 3, 1]
    there, back = (
        model.segment(tiny.noise(90, 50), LABELS),
        model.segment(tiny.noise(90, 50), [LABELS[i] for i in order]),
    )
    np.testing.assert_allclose(back.logits, there.logits[order], atol=1e-4)
    np.testing.assert_array_equal(np.array(order)[back.mask], there.mask)


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": lambda y: y.clamp(min=0),
    "lrelu": lambda y: torch.where(y > 0, y, 0.01 * y),
    "tanh": lambda y: (y.exp() - (-y).exp()) / (y.exp() + (-y).exp()),
}


@pytest.mark.parametrize("kind", ["bottleneck", "depthwise"])
@pytest.mark.parametrize("depth", [0, 1, 2, 4])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_blocks_are_the_formula_and_equivariant(kind: Any, depth: int, activation: Any) -> None:
    torch.manual_seed(1)
    block = RegularizationBlock(kind, depth, activation)
    x = torch.randn(2, 5, 9, 7)
    expected = x
    weight, bias = block.depthwise.depthwise.weight, block.depthwise.depthwise.bias
    times = max(depth, 1)
    for i in range(times):
        y = torch.stack(
            [F.conv2d(expected[:, n : n + 1], weight, bias, padding=1)[:, 0] for n in range(5)], 1
        )
        y = y + expected.max(1, keepdim=True).values if kind == "bottleneck" else y
        expected = y if i == times - 1 else ACTIVATIONS[activation](y)
    torch.testing.assert_close(block(x), expected)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(block(x[:, order]), block(x)[:, order])
    # One block, ten numbers, however often it is applied.
    assert sum(p.numel() for p in block.parameters()) == 10


def test_label_maps_are_cosines_over_the_temperature() -> None:
    found = LSeg.load("plain", "cpu").segment(tiny.noise(90, 50), LABELS)
    encoded = LSeg.load("plain", "cpu").encode(tiny.noise(90, 50))
    expected = np.moveaxis(encoded.pixel_features @ found.text_features.T, -1, 0) / 0.07
    np.testing.assert_allclose(found.before_blocks, expected, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(encoded.pixel_features, axis=-1), 1, atol=1e-5)


def test_an_added_label_encodes_nothing_but_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LSeg.load("bottleneck", "cpu")
    model.segment(tiny.noise(90, 50), LABELS)
    asked: list[str] = []
    original = lseg._encode_text
    monkeypatch.setattr(lseg, "_encode_text", lambda m, labels: asked.extend(labels) or original(m, labels))
    monkeypatch.setattr(lseg, "_encode_image", lambda *_: pytest.fail("the picture was encoded again"))
    model.segment(tiny.noise(90, 50), [*LABELS, "money"])
    assert asked == ["money"]


def test_many_labels_win_as_if_enlarged_together() -> None:
    maps = torch.randn(21, 6, 8)
    expected = result.enlarged(maps, 31, 50).argmax(0)
    torch.testing.assert_close(result.winners(maps, 31, 50), expected)


def test_sliding_windows_cover_the_picture_and_stop() -> None:
    model = LSeg.load("plain", "cpu")
    sliding = Sliding(base=80, crop=64, scales=(0.5, 1.0), flip=True)
    *shares, found = model.segment_multi_scale(tiny.noise(90, 50), LABELS, sliding)
    assert shares == sorted(shares) and shares[-1] == 1
    assert isinstance(found, result.Segmentation) and found.mask.shape == (50, 90)
    cancel = lseg.runtime.Cancel()
    steps = model.segment_multi_scale(tiny.noise(90, 50), LABELS, sliding, cancel)
    next(steps)
    cancel.set()
    with pytest.raises(Refusal) as refused:
        next(steps)
    assert refused.value.code == "cancelled"


def test_results_pickle() -> None:
    model = LSeg.load("plain", "cpu")
    found = model.segment(tiny.noise(90, 50), LABELS)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.mask, found.mask)
    assert pickle.loads(pickle.dumps(model)) == model
    assert found.to_json()["results"][0]["label"] == LABELS[int(found.shares.argmax())]


def test_the_released_file_becomes_the_rows_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its trainer's prefix goes, and what no pass reads; objects of the trainer are never made."""
    monkeypatch.delenv("CLIP_ATLAS_REGISTRY")
    original = checkpoints.row("lseg-vitl16").original
    assert original is not None
    net = lseg.LSegNet("tiny-vit", with_clip=False)
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    state["net.clip_pretrained.visual.proj"] = state["net.clip_pretrained.logit_scale"] = torch.ones(2)
    saved = {"state_dict": state, "hyper_parameters": argparse.Namespace(lr=0.004), "epoch": 200}
    torch.save(saved, tmp_path / "demo_e200.ckpt")
    brought = originals.tensors(original, tmp_path / "demo_e200.ckpt").state
    wanted = net.trim().state_dict()
    assert brought.keys() == wanted.keys()
    torch.testing.assert_close(brought["scratch.head1.weight"], wanted["scratch.head1.weight"])


@pytest.mark.parametrize("size", [(90, 50), (32, 32), (40, 300)])
def test_maskclip_covers_the_whole_picture(size: tuple[int, int]) -> None:
    model = MaskCLIP.load("tiny-soft", "cpu")
    found = model.segment(tiny.noise(*size), LABELS)
    assert found.mask.shape == (size[1], size[0])
    np.testing.assert_allclose(
        np.linalg.norm(model.encode(tiny.noise(*size)).place_features, axis=-1), 1, atol=1e-4
    )


def test_maskclip_of_one_window_is_the_towers_value_path() -> None:
    model = MaskCLIP.load("tiny-soft", "cpu", zoom=1)
    square = tiny.noise(32, 32)
    expected = model.clip.encode(square).patch_features
    np.testing.assert_allclose(model.encode(square).place_features, expected, atol=1e-5)


def test_the_fine_backbone_sees_the_picture_at_half_its_size() -> None:
    torch.manual_seed(0)
    fine = FineClipResNetBackbone((1, 1, 1, 1), 4).eval()
    plain = ClipResNetBackbone((1, 1, 1, 1), 4).eval()
    plain.load_state_dict(fine.state_dict())
    picture = torch.rand(2, 3, 64, 96)
    halved = F.avg_pool2d(picture, 2)
    with torch.no_grad():
        maps, coarser = fine(picture), plain(halved)
        pooled = F.avg_pool2d(maps[0], 2)
        stem = plain.model.stem(halved)
    assert [m.shape[1:] for m in maps] == [
        (c, 64 // s, 96 // s) for c, s in zip(fine.channels, (4, 8, 16, 32), strict=True)
    ]
    assert torch.allclose(pooled, stem, atol=1e-6)
    assert torch.allclose(maps[1], coarser[0]) and torch.allclose(maps[2], coarser[1])
    assert torch.allclose(maps[3][:, : coarser[2].shape[1]], coarser[2])
    want = F.interpolate(coarser[3], maps[3].shape[-2:], mode="bilinear")
    assert torch.allclose(maps[3][:, coarser[2].shape[1] :], want)


def test_cosines_without_features_are_those_of_the_features() -> None:
    torch.manual_seed(0)
    scratch = Scratch((8, 8, 8, 8), 6, 24)
    path, texts = torch.randn(2, 6, 5, 7), F.normalize(torch.randn(2, 3, 24), dim=-1)
    features = F.normalize(scratch.head1(path), dim=1)
    want = torch.einsum("bdhw,bnd->bnhw", features, texts)
    assert torch.allclose(scratch.cosines(path, texts), want, atol=1e-5)
