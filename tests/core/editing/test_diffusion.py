"""Every diffusion path on tiny pipelines from a folder: against the library's own loops, stopped, refused, and twenty in a
row."""

from __future__ import annotations

import json
import resource
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core import checkpoints, runtime
from core.checkpoints import File, registry
from core.checkpoints.registry import Checkpoint
from core.editing import diffusion
from core.editing.model import Editor
from core.editing.result import Frame, levels, pixels
from core.errors import Refusal
from tests.core.test_arrows import ROOT, imports

BOTH = {"en": "tiny", "zh": "tiny"}
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8))


def row(name: str, folder: Path, loader: str, **options: Any) -> str:
    """Makes a folder a row of this process."""
    files = tuple(File(str(path.relative_to(folder))) for path in sorted(folder.rglob("*")) if path.is_file())
    registry.add(
        Checkpoint(name, "styleclip", BOTH, f"core.editing.pipelines:{loader}", files, 1, "none", BOTH, "none",
                   ("en",), "softmax", BOTH, BOTH, bundled=str(folder), options=options)
    )  # fmt: skip
    return name


def text_parts(folder: Path) -> dict[str, Any]:
    """A tokenizer of single letters and a text encoder of two layers."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    config = CLIPTextConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, vocab_size=len(words),
        max_position_embeddings=16, bos_token_id=len(words) - 2, eos_token_id=len(words) - 1, pad_token_id=1,
    )  # fmt: skip
    return {"tokenizer": tokenizer, "text_encoder": CLIPTextModel(config)}


def latent_parts(inputs: int) -> dict[str, Any]:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    return {
        "unet": UNet2DConditionModel(
            sample_size=8, in_channels=inputs, out_channels=4, block_out_channels=(4, 8), norm_num_groups=2,
            layers_per_block=1, cross_attention_dim=16, attention_head_dim=2,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        "vae": AutoencoderKL(
            block_out_channels=[4, 8], latent_channels=4, norm_num_groups=2, sample_size=16,
            down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The rows of three tiny models, each written to a folder by the library."""
    from diffusers import (
        DDIMScheduler,
        DDPMScheduler,
        EulerAncestralDiscreteScheduler,
        StableDiffusionImg2ImgPipeline,
        StableDiffusionInstructPix2PixPipeline,
        UNet2DModel,
    )

    torch.manual_seed(0)
    base = tmp_path_factory.mktemp("pipelines")
    noise: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    made = {}
    for name, kind, inputs, scheduler in (
        (
            "image",
            StableDiffusionImg2ImgPipeline,
            4,
            DDIMScheduler(**noise, clip_sample=False, steps_offset=1),
        ),
        (
            "instruct",
            StableDiffusionInstructPix2PixPipeline,
            8,
            EulerAncestralDiscreteScheduler(**noise, steps_offset=1),
        ),
    ):
        pipe = kind(
            **text_parts(base), **latent_parts(inputs), scheduler=scheduler, safety_checker=None,
            feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        pipe.save_pretrained(base / name)
        made[name] = row(f"tiny-{name}", base / name, "load_pipeline", pipeline=name)
    unet = UNet2DModel(
        sample_size=16, block_out_channels=(4, 8), norm_num_groups=2, layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
    )  # fmt: skip
    unet.save_pretrained(base / "pixels")
    DDPMScheduler().save_pretrained(base / "pixels")
    made["pixels"] = row("tiny-pixels", base / "pixels", "load_pixels")
    return made


def run(name: str, cancel: runtime.Cancel | None = None, **chosen: Any) -> list[Frame]:
    model = Editor.load(name, "cpu")
    chosen.setdefault("steps", 6)
    return list(model.edit(model.start(image=IMAGE), "a red cat", model.settings(**chosen), cancel))


def library(name: str, kind: str) -> Any:
    """The library's own pipeline from the same folder."""
    import diffusers

    pipe = getattr(diffusers, kind).from_pretrained(checkpoints.row(name).folder, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("text_guidance", [1.0, 4.0])
def test_sdedit_is_the_librarys_image_to_image(rows: dict[str, str], text_guidance: float) -> None:
    frames = run(rows["image"], strength=0.7, text_guidance=text_guidance, seed=3)
    result = frames[-1].result
    assert result is not None and [f.step for f in frames[:-1]] == list(range(1, result.steps + 1))
    pipe = library(rows["image"], "StableDiffusionImg2ImgPipeline")
    theirs = pipe(
        "a red cat", Image.fromarray(result.start), strength=0.7, num_inference_steps=6,
        guidance_scale=text_guidance, generator=torch.Generator().manual_seed(3), output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(result.image / 255 - theirs).max() <= 1.01 / 255
    assert json.dumps(result.to_json()) and result.image.shape == (40, 48, 3) and not result.blocked


def test_instruct_is_the_librarys(rows: dict[str, str]) -> None:
    result = run(rows["instruct"], seed=5)[-1].result
    assert result is not None and result.method == "instruct"
    pipe = library(rows["instruct"], "StableDiffusionInstructPix2PixPipeline")
    theirs = pipe(
        "a red cat", Image.fromarray(result.start), num_inference_steps=6, guidance_scale=7.5,
        image_guidance_scale=1.5, generator=torch.Generator().manual_seed(5), output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(result.image / 255 - theirs).max() <= 1.01 / 255


def test_inversion_comes_back_under_the_same_text(
    rows: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a smooth network: one of random weights is no map that small steps could be taken back on."""

    def smooth(self: Any, latents: torch.Tensor, time: Any, words: torch.Tensor) -> torch.Tensor:
        return torch.tanh(0.7 * latents + words[:, 2, 0, None, None, None])

    monkeypatch.setattr(diffusion.LoadedPipeline, "predict", smooth)
    common = {"method": "inversion", "steps": 60, "strength": 0.5}
    same = run(rows["image"], text_guidance=1.0, neutral="a red cat", **common)
    other = run(rows["image"], text_guidance=9.0, neutral="zzzz", **common)
    model = Editor.load(rows["image"], "cpu")
    with model.use() as loaded, torch.no_grad():
        image = levels(loaded.start(IMAGE).image)
        latents = loaded.pipe.vae.encode(image).latent_dist.mode() * loaded.pipe.vae.config.scaling_factor
        kept = pixels(loaded.decode(latents)[0]).astype(float)
    errors = [np.abs(frames[-1].image.astype(float) - kept).mean() for frames in (same, other)]
    assert errors[0] < 3 < errors[1]
    assert len(same) == 2 * 30 + 1


def test_clip_guidance_raises_clips_opinion(rows: dict[str, str]) -> None:
    ends, opinions = [], []
    for pull in (0.0, 300.0):
        frames = run(rows["pixels"], steps=12, pull=pull, guide="classroom-rn", strength=0.6)
        assert all(frame.image is not None for frame in frames)
        result = frames[-1].result
        assert result is not None and result.image.shape == (16, 16, 3)
        ends.append(result.image)
    from core.editing import judges

    with judges.use("classroom-rn", "cpu") as encoder:
        judge = judges.Judge(encoder)
        for end in ends:
            image = torch.from_numpy(end).permute(2, 0, 1)[None] / 127.5 - 1
            opinions.append(float(judge.opinion(image, ["a red cat"])[0, 0]))
    assert opinions[1] > opinions[0]


@pytest.mark.parametrize("name", ["image", "instruct", "pixels"])
def test_a_stop_ends_the_run_within_a_step(rows: dict[str, str], name: str) -> None:
    cancel, model = runtime.Cancel(), Editor.load(rows[name], "cpu")
    settings = model.settings(steps=20, **({"guide": "classroom-rn"} if name == "pixels" else {}))
    seen = []
    with pytest.raises(Refusal) as caught:
        for frame in model.edit(model.start(image=IMAGE), "a cat", settings, cancel):
            seen.append(frame.step)
            cancel.set()
    assert caught.value.code == "cancelled" and seen == [1]
    # The device is free again.
    assert run(rows[name], steps=2, **({"guide": "classroom-rn"} if name == "pixels" else {}))[-1].result


def test_the_same_seed_is_the_same_edit_also_beside_another_run(rows: dict[str, str]) -> None:
    first = run(rows["image"], seed=1)[-1].image
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(run(rows["image"], seed=1)[-1].image)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(first, other) for other in found) and len(found) == 2
    assert not np.array_equal(first, run(rows["image"], seed=2)[-1].image)


def test_twenty_edits_do_not_grow(rows: dict[str, str]) -> None:
    for _ in range(3):
        run(rows["image"], steps=2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        run(rows["image"], steps=2)
    # In kB; the greatest so far, so that it counts what any of them needed.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


def test_what_a_row_cannot_do_is_refused(rows: dict[str, str]) -> None:
    model = Editor.load(rows["image"], "cpu")
    start = model.start(image=IMAGE)
    with pytest.raises(Refusal) as caught:
        model.start(seed=5)
    assert caught.value.code == "no_start" and caught.value.params["known"] == "image"
    with pytest.raises(Refusal) as caught:
        model.settings("instruct")
    assert caught.value.code == "unknown_method" and caught.value.params["known"] == "sdedit, inversion"
    for changed, code in (
        ({"steps": 0}, "out_of_range"),
        ({"strength": 2.0}, "out_of_range"),
        ({"seed": -7}, "bad_seed"),
    ):
        with pytest.raises(Refusal) as caught:
            model.edit(start, "a cat", model.settings(**changed))
        assert caught.value.code == code
    with pytest.raises(Refusal) as caught:
        model.edit(start, "  ")
    assert caught.value.code == "no_text"


def test_a_large_image_is_made_small_and_whole(rows: dict[str, str]) -> None:
    with Editor.load(rows["image"], "cpu").use() as loaded:
        assert loaded.start(Image.new("RGB", (1600, 901))).image.shape == (288, 512, 3)
        assert loaded.start(Image.new("RGB", (5, 3))).image.shape == (4, 4, 3)


def test_a_black_image_of_a_safety_checker_is_told(
    rows: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Editor.load(rows["image"], "cpu")

    class Strict(torch.nn.Module):
        def forward(self, images: Any, clip_input: Any) -> Any:
            return images, [True]

    class Ready:
        pixel_values = torch.zeros(1)

        def to(self, device: str) -> Ready:
            return self

    with model.use() as loaded:
        monkeypatch.setattr(loaded.pipe, "safety_checker", Strict(), raising=False)
        monkeypatch.setattr(loaded.pipe, "feature_extractor", lambda *_, **__: Ready(), raising=False)
        result = run(rows["image"], steps=2)[-1].result
    assert result is not None and result.blocked and result.to_json()["blocked"] and not result.image.any()


def test_foreign_tensors_and_schedulers_are_refused(rows: dict[str, str], tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "copy"
    shutil.copytree(checkpoints.row(rows["image"]).folder, folder)
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"DDIMScheduler"', '"os.system"'))
    with pytest.raises(Refusal) as caught:
        Editor.load(row("tiny-foreign", folder, "load_pipeline", pipeline="image"), "cpu")
    assert caught.value.code == "bad_checkpoint" and "os.system" in caught.value.params["tensor"]
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state.pop("conv_in.bias")
    save_file(state, file)
    with pytest.raises(Refusal) as caught:
        Editor.load(row("tiny-short", folder, "load_pipeline", pipeline="image"), "cpu")
    assert caught.value.params["tensor"] == "conv_in.bias"


def test_the_library_is_imported_when_it_is_used() -> None:
    for path in (ROOT / "core").rglob("*.py"):
        assert not any(name.startswith("diffusers") for name in imports(path, top_level_only=True)), path
