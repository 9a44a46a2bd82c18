"""Original weight files that were never on the Hub: imported by name, refused by name, never run."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file

from core import checkpoints
from core.checkpoints import __main__ as command_line
from core.checkpoints import integrity, originals, registry
from core.clip import ZeroShot, encoders
from core.errors import Refusal
from tests import tiny

WEIGHTS = "model.safetensors"
SIZES = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
COMMON = """paper = "clip"
title = { en = "Tiny", zh = "小" }
loader = "core.clip.encoders:load_open_clip"
size_bytes = 4_000_000
licence = "mit"
licence_note = { en = "-", zh = "-" }
citation = "-"
languages = ["en"]
normalisation = "softmax"
knows = { en = "-", zh = "-" }
lacks = { en = "-", zh = "-" }
"""
# As OpenAI's files are; as a training framework leaves them: nested, prefixed, with objects of its own beside.
REGISTRY = f"""
[plain]
{COMMON}
[plain.options]
model = "tiny-import"
[plain.import]
expects = "core.clip.encoders:open_clip_tensors"
source = "https://example.org/plain"
unread = ["input_resolution", "context_length", "vocab_size"]
[[plain.files]]
path = "{WEIGHTS}"

[trained]
{COMMON}
[trained.options]
model = "tiny-import"
[trained.import]
expects = "core.clip.encoders:open_clip_tensors"
source = "https://example.org/trained"
key = "state_dict"
rename = [["net[.]head[.]scale", "logit_scale"], ["net[.]clip[.](.*)", '\\1']]
unread = ["net[.]auxiliary[.].*"]
inert = ["lightning_like.callbacks.Checkpoint"]
[[trained.files]]
path = "{WEIGHTS}"

[configured]
{COMMON}
[configured.import]
expects = "core.clip.encoders:open_clip_tensors"
source = "https://example.org/configured"
[[configured.files]]
path = "open_clip_config.json"
[[configured.files]]
path = "tokenizer.json"
[[configured.files]]
path = "{WEIGHTS}"

[bundle]
bundled = "assets/checkpoints/none"
{COMMON}
[[bundle.files]]
path = "{WEIGHTS}"
"""


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A configuration of a few thousand weights that open_clip knows by name."""
    path = tmp_path_factory.mktemp("configs") / "tiny-import.json"
    path.write_text(json.dumps(SIZES))
    open_clip.add_model_config(path)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, configuration: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A registry and a cache of its own for every test."""
    path = tmp_path / "registry.toml"
    path.write_text(REGISTRY, encoding="utf-8")
    monkeypatch.setenv("CLIP_ATLAS_REGISTRY", str(path))
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    yield tmp_path / "home"
    encoders.runtime.POOL.drop_idle()


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Random weights under OpenAI's names, in half precision as they were published."""
    torch.manual_seed(0)
    model = open_clip.CLIP(**SIZES)
    return {name: tensor.half() for name, tensor in model.state_dict().items()}


def as_openai(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    extra = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    return {**state, **{name: torch.tensor(value) for name, value in extra.items()}}


def refused(name: str, path: Path) -> Refusal:
    """What an import is refused with; its sentences can be written in both languages."""
    with pytest.raises(Refusal) as caught:
        originals.bring(checkpoints.row(name), path)
    assert caught.value.text("zh") and caught.value.text("en").endswith(".")
    assert not originals.is_imported(checkpoints.row(name))
    return caught.value


def test_an_original_becomes_a_row_that_answers(
    state: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ViT-tiny.pt"
    torch.save(as_openai(state), file)
    assert checkpoints.state("plain") == "absent"
    with pytest.raises(Refusal, match="never on the Hub") as caught:
        checkpoints.open("plain")
    assert "example.org/plain" in str(caught.value)
    assert command_line.main(["import", "plain", str(file)]) == 0
    kept = Path(capsys.readouterr().out.strip())
    assert kept.name == WEIGHTS and checkpoints.state("plain") == "cached"
    assert checkpoints.open("plain", download=False) == {WEIGHTS: kept}
    stored = load_file(kept)
    assert stored.keys() == state.keys()
    assert all(torch.equal(stored[name], state[name]) for name in state)
    record = json.loads((kept.parent / originals.RECORD).read_text())
    assert record["files"] == {WEIGHTS: integrity.sha256(kept)}
    assert record["original"] == {"name": "ViT-tiny.pt", "sha256": integrity.sha256(file)}

    answer = ZeroShot.load("plain", "cpu").classify(Image.new("RGB", (40, 30), "red"), ["a dog", "a red box"])
    reference = open_clip.CLIP(**SIZES).eval()
    reference.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer("tiny-import")(["a dog", "a red box"])
        wanted = reference.encode_text(tokens, normalize=True).numpy()
    assert answer.text_features == pytest.approx(wanted, abs=1e-5)


def test_names_are_changed_by_the_rows_table(
    state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of a training framework: nested, prefixed, and mentioning a class that is not installed here."""
    made = type("Checkpoint", (), {"__module__": "lightning_like.callbacks"})
    monkeypatch.setitem(sys.modules, "lightning_like", SimpleNamespace(callbacks=None))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "lightning_like.callbacks", SimpleNamespace(Checkpoint=made))  # type: ignore[arg-type]
    named = {"net.head.scale" if k == "logit_scale" else f"net.clip.{k}": v for k, v in state.items()}
    held = {
        "epoch": 3,
        "callbacks": {"best": made()},
        "state_dict": {**named, "net.auxiliary.fc.weight": torch.zeros(2)},
    }
    torch.save(held, tmp_path / "epoch3.ckpt")
    monkeypatch.undo()
    monkeypatch.setenv("CLIP_ATLAS_REGISTRY", str(tmp_path / "registry.toml"))
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    paths = originals.bring(checkpoints.row("trained"), tmp_path / "epoch3.ckpt")
    assert load_file(paths[WEIGHTS]).keys() == state.keys()
    assert "lightning_like" not in sys.modules
    assert refused("plain", tmp_path / "epoch3.ckpt").code == "unsafe_weights"


def test_what_the_row_needs_besides_lies_beside_the_original(tmp_path: Path) -> None:
    tiny.make_bundle(tmp_path / "there")
    alone = tmp_path / "alone" / "any-name.safetensors"
    alone.parent.mkdir()
    alone.write_bytes((tmp_path / "there" / WEIGHTS).read_bytes())
    refusal = refused("configured", alone)
    assert refusal.code == "original_lacks_file" and "open_clip_config.json" in str(refusal)
    paths = originals.bring(checkpoints.row("configured"), tmp_path / "there" / WEIGHTS)
    assert list(paths) == ["open_clip_config.json", "tokenizer.json", WEIGHTS]
    answer = ZeroShot.load("configured", "cpu").classify(Image.new("RGB", (32, 32)), ["dog", "cat"])
    assert answer.probabilities.sum() == pytest.approx(1)


def test_a_file_that_does_not_fit_is_refused_by_name(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    wrong = as_openai(state)
    wrong["visual.extra"] = torch.zeros(1)
    del wrong["ln_final.bias"]
    wrong["visual.proj"] = torch.zeros(3, 4)
    torch.save(wrong, tmp_path / "w.pt")
    sentence = str(refused("plain", tmp_path / "w.pt"))
    assert "1 tensors are missing (ln_final.bias)" in sentence
    assert "1 are not expected (visual.extra)" in sentence
    assert "1 have another shape (visual.proj [3, 4] ≠ [32, 16])" in sentence

    torch.save({f"clip.{name}": tensor for name, tensor in state.items()}, tmp_path / "w.pt")
    sentence = str(refused("plain", tmp_path / "w.pt"))
    assert f"{len(state)} tensors are missing" in sentence and "…" in sentence and len(sentence) < 600


def test_values_that_are_no_numbers_are_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    broken = {**as_openai(state), "visual.proj": torch.full((32, 16), float("nan"))}
    torch.save(broken, tmp_path / "w.pt")
    assert "visual.proj" in str(refused("plain", tmp_path / "w.pt"))


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.filterwarnings("ignore:.*(pickle protocol|TorchScript|torch.jit)")
def test_wrong_kinds_of_files_are_refused_and_never_run(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    torch.save({**state, "bomb": Bomb(mark)}, tmp_path / "bomb.pt")
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb(mark)))
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(tmp_path / "script.pt"))
    (tmp_path / "page.html").write_text("<html>Please log in</html>")
    torch.save({"epoch": 3}, tmp_path / "number.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    torch.save(as_openai(state), tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:5000])
    codes = {
        "bomb.pt": "unsafe_weights",
        "bomb.pkl": "unsafe_weights",
        "script.pt": "scripted_weights",
        "page.html": "corrupt_weights",
        "cut.pt": "corrupt_weights",
        "number.pt": "original_without_tensors",
        "list.pt": "original_without_tensors",
        "nothing.pt": "no_original",
    }
    assert {name: refused("plain", tmp_path / name).code for name in codes} == codes
    assert refused("bundle", tmp_path / "whole.pt").code == "no_import"
    assert not mark.exists()


def test_a_published_digest_is_held(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(as_openai(state), tmp_path / "w.pt")
    right = integrity.sha256(tmp_path / "w.pt")
    path = registry.path()
    for digest, good in ((right, True), ("0" * 64, False)):
        line = f'source = "https://example.org/plain"\nsha256 = "{digest}"'
        path.write_text(REGISTRY.replace('source = "https://example.org/plain"', line))
        os.utime(path, ns=(1, int(digest[:8], 16)))
        if good:
            assert originals.bring(checkpoints.row("plain"), tmp_path / "w.pt")
            originals.shutil.rmtree(originals.folder(checkpoints.row("plain")))
        else:
            assert refused("plain", tmp_path / "w.pt").code == "wrong_original"


def test_what_changed_since_its_import_is_removed(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(as_openai(state), tmp_path / "w.safetensors")
    kept = originals.bring(checkpoints.row("plain"), tmp_path / "w.safetensors")[WEIGHTS]
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    with pytest.raises(Refusal) as caught:
        checkpoints.open("plain")
    assert caught.value.code == "original_damaged" and checkpoints.state("plain") == "absent"
    again = originals.bring(checkpoints.row("plain"), tmp_path / "w.safetensors")[WEIGHTS]
    assert checkpoints.open("plain")[WEIGHTS] == again


def test_a_full_disk_leaves_what_was_there(
    state: dict[str, torch.Tensor], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(as_openai(state), tmp_path / "w.pt")
    row = checkpoints.row("plain")
    originals.bring(row, tmp_path / "w.pt")

    def full(*_: Any, **__: Any) -> None:
        from safetensors import SafetensorError

        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(Refusal) as caught:
        originals.bring(row, tmp_path / "w.pt")
    assert caught.value.code == "disk_full" and checkpoints.open("plain")
    assert [path.name for path in originals.folder(row).parent.iterdir()] == ["plain"]


def test_the_command_line_says_no_in_one_sentence(tmp_path: Path, cache: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "core.checkpoints", "import", "plain", str(tmp_path / "none.pt")],
        cwd=registry.ROOT,
        env={**os.environ, "HF_HOME": str(cache), "LANG": "en_US.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert "Traceback" not in done.stderr and done.stderr.rstrip().endswith("weight file.")


def test_rows_that_can_be_imported_say_so_in_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's own state dict of ViT-B/32 has open_clip's names, and three sizes besides."""
    monkeypatch.delenv("CLIP_ATLAS_REGISTRY")
    row = checkpoints.row("clip-vit-b32")
    wanted = originals.expected(row, {})
    assert len(wanted) == 302 and wanted["visual.conv1.weight"].shape == (768, 3, 32, 32)
    assert row.original is not None and set(row.original.unread) == set(as_openai({}))


# What values are, not only names


def brought(row: str, content: Any, path: Path) -> dict[str, torch.Tensor]:
    """What a row holds after an import of a torch file with this content."""
    torch.save(content, path)
    return load_file(originals.bring(checkpoints.row(row), path)[WEIGHTS])


@pytest.mark.parametrize("kind", ["float64", "bfloat16", "float16", "float32"])
def test_floats_of_every_length_are_read(kind: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    converted = {name: tensor.to(getattr(torch, kind)) for name, tensor in state.items()}
    stored = brought("plain", converted, tmp_path / "w.pt")
    expected = torch.float32 if kind == "float64" else getattr(torch, kind)
    assert {tensor.dtype for tensor in stored.values()} == {expected}
    assert all(torch.equal(stored[name], converted[name].to(expected)) for name in state)


def codes(tensor: torch.Tensor, kind: str) -> torch.Tensor:
    """A weight as other programs keep it."""
    if kind == "sparse float32":
        return tensor.float().to_sparse()
    if kind == "qint8":
        return torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8)
    if kind.startswith("float8"):
        return tensor.float().to(getattr(torch, kind))
    return (10 * tensor.float()).to(getattr(torch, kind))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "kind",
    ["int8", "uint8", "int32", "int64", "bool", "complex64", "float8_e4m3fn", "float8_e5m2", "sparse float32", "qint8"],
)  # fmt: skip
def test_numbers_that_are_no_weights_are_refused(
    kind: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save({**state, "visual.proj": codes(state["visual.proj"], kind)}, tmp_path / "w.pt")
    refusal = refused("plain", tmp_path / "w.pt")
    if kind != "qint8":  # torch's own quantised tensors are made by code that its safe reader does not run
        assert refusal.code == "original_number_type"
        assert refusal.params["tensor"] == "visual.proj" and refusal.params["kind"] == kind


@pytest.mark.parametrize("kind", ["int8", "float8_e4m3fn"])
def test_quantised_codes_in_safetensors_are_refused(
    kind: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    quantised = {
        **state,
        "visual.proj": codes(state["visual.proj"], kind),
        "visual.proj_scale": torch.ones(1),
    }
    save_file(quantised, tmp_path / "w.safetensors")
    assert refused("plain", tmp_path / "w.safetensors").params["kind"] == kind


@pytest.mark.parametrize(
    ("value", "kind", "code"),
    [
        (float("inf"), "float16", "original_not_finite"),
        (float("-inf"), "float32", "original_not_finite"),
        (float("nan"), "bfloat16", "original_not_finite"),
        (float("nan"), "float64", "original_not_finite"),
        (1e39, "float64", "original_beyond_float32"),
        (-1e300, "float64", "original_beyond_float32"),
    ],
)
def test_one_value_without_meaning_refuses_the_file(
    value: float, kind: str, code: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    tensor = state["visual.proj"].to(getattr(torch, kind)).clone()
    tensor[3, 5] = value
    torch.save({**state, "visual.proj": tensor}, tmp_path / "w.pt")
    refusal = refused("plain", tmp_path / "w.pt")
    assert (refusal.code, refusal.params["tensor"]) == (code, "visual.proj")


def test_counts_may_be_of_any_type_that_holds_them() -> None:
    row, wanted = checkpoints.row("plain"), {"bn.num_batches_tracked": torch.zeros((), dtype=torch.int64)}
    for kind in (torch.int32, torch.float32, torch.float16):
        held = originals.Held("w.pt", {"bn.num_batches_tracked": torch.tensor(7, dtype=kind)})
        stored = originals.check(row, held, wanted)["bn.num_batches_tracked"]
        assert stored.dtype == torch.int64 and stored.item() == 7
    with pytest.raises(Refusal) as caught:
        originals.check(row, originals.Held("w.pt", {"bn.num_batches_tracked": torch.tensor(7.5)}), wanted)
    assert caught.value.code == "original_number_type"


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


WRAPPED: dict[str, Any] = {
    "open_clip": lambda s: {"epoch": 3, "name": "run", "state_dict": prefixed(s, "module."), "optimizer": {"state": {}}},
    "open_clip on one card": lambda s: {"epoch": 3, "name": "run", "state_dict": s, "scaler": {"scale": 65536.0}},
    "model": lambda s: {"model": s, "args": {"lr": 1e-4}},
    "model_state_dict": lambda s: {"model_state_dict": s, "optimizer_state_dict": {"state": {0: {"step": torch.tensor(1.0)}}}},
    "deepspeed": lambda s: {"module": s, "global_steps": 5},
    "compiled": lambda s: {"state_dict": prefixed(s, "_orig_mod.")},
    "compiled and parallel": lambda s: prefixed(s, "module._orig_mod."),
    "parallel": lambda s: prefixed(s, "module."),
    "twice": lambda s: {"model": {"state_dict": s, "step": 3}},
    "beside an average": lambda s: {"state_dict": s, "state_dict_ema": prefixed(s, "ema.")},
}  # fmt: skip


@pytest.mark.parametrize("form", WRAPPED)
def test_what_training_programs_wrap_is_unwrapped(
    form: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    stored = brought("plain", WRAPPED[form](as_openai(state)), tmp_path / "epoch_3.pt")
    assert stored.keys() == state.keys() and torch.equal(stored["visual.proj"], state["visual.proj"])


def test_a_row_that_names_an_entry_also_reads_the_tensors_alone(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    assert brought("trained", prefixed(state, "net.clip."), tmp_path / "w.pt").keys() == state.keys()


def test_a_refusal_says_where_in_the_file_it_looked(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"epoch": 1, "state_dict": {"module.logit_scale": torch.zeros(())}}, tmp_path / "epoch_1.pt")
    assert str(refused("plain", tmp_path / "epoch_1.pt")).startswith(
        "epoch_1.pt (state_dict) does not fit plain"
    )
    torch.save({"epoch": 1, "weights": state}, tmp_path / "odd.pt")
    refusal = refused("plain", tmp_path / "odd.pt")
    assert refusal.code == "original_without_tensors" and "epoch, weights" in str(refusal)
    endless: dict[str, Any] = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "endless.pt")
    torch.save(torch.zeros(3), tmp_path / "one.pt")
    torch.save({"state_dict": {}}, tmp_path / "empty.pt")
    for name in ("endless.pt", "one.pt", "empty.pt"):
        assert refused("plain", tmp_path / name).code == "original_without_tensors"


def test_a_cached_file_of_other_numbers_is_no_checkpoint() -> None:
    row = checkpoints.row("plain")
    model = torch.nn.Linear(2, 2)
    for wrong in (torch.full((2, 2), float("nan")), torch.ones(2, 2, dtype=torch.int8), torch.ones(3, 2)):
        with pytest.raises(Refusal) as caught:
            encoders.put_state(model, {"weight": wrong, "bias": torch.zeros(2)}, row)
        assert caught.value.code == "bad_checkpoint" and caught.value.params["tensor"] == "weight"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not say")
def test_a_model_in_another_precision_keeps_nothing_of_its_file_in_memory(tmp_path: Path) -> None:
    """Counters of BatchNorm kept seven copies of one file in the memory of a server."""
    file, model = tmp_path / "half.safetensors", torch.nn.BatchNorm2d(4)
    save_file({n: t.half() if t.is_floating_point() else t for n, t in model.state_dict().items()}, file)
    state = encoders.in_precision(checkpoints.load_state_dict(file), torch.float32)
    encoders.put_state(model, state, checkpoints.row("plain"))
    del state
    assert str(file) not in Path("/proc/self/maps").read_text()
    assert model.num_batches_tracked.dtype == torch.int64
