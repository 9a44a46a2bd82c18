"""The rows of `core.editing` as models: pipelines of diffusers from folders, and StyleGAN2 from the published file.

A folder is read by the classes that are named here and by nothing that its own index asks for: no custom pipeline, no code of a
repository, no pickled weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core import checkpoints, runtime
from core.checkpoints import Checkpoint, weights
from core.clip import encoders
from core.editing import rows
from core.editing.diffusion import LoadedPipeline, LoadedPixels
from core.editing.editor import EditorNetwork
from core.editing.inversion import Encoder
from core.editing.latents import LoadedGenerator
from core.editing.miniature import LoadedMiniature
from core.editing.stylegan2 import Architecture, Generator, kernel
from core.errors import Refusal

# The parts of a pipeline by folder, and the library and class of each.
PARTS = {
    "vae": ("diffusers", "AutoencoderKL"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "text_encoder": ("transformers", "CLIPTextModel"),
}
PIPELINES = {
    "image": "StableDiffusionImg2ImgPipeline",
    "instruct": "StableDiffusionInstructPix2PixPipeline",
}


def _library() -> Any:
    """diffusers, which may not run code of a repository."""
    os.environ.setdefault("DIFFUSERS_DISABLE_REMOTE_CODE", "1")
    return runtime.import_whole("diffusers")


def load_pipeline(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> LoadedPipeline:
    """A pipeline of the Stable Diffusion family. The row's options: "pipeline" (of PIPELINES), and "variant" of its files."""
    diffusers, transformers = _library(), runtime.import_whole("transformers")
    folder = paths["model_index.json"].parent
    variant = row.options.get("variant")
    parts: dict[str, Any] = {}
    for name, (library, kind) in PARTS.items():
        made = getattr(diffusers if library == "diffusers" else transformers, kind)
        options: dict[str, Any] = {
            "local_files_only": True,
            "use_safetensors": True,
            "output_loading_info": True,
        }
        key = "torch_dtype" if library == "diffusers" else "dtype"
        options[key] = dtype
        if variant:
            options["variant"] = variant
        parts[name], report = made.from_pretrained(folder / name, **options)
        wrong = [*report["missing_keys"], *report["mismatched_keys"]]
        # Older files hold the numbers of the places, which no version reads.
        wrong += [one for one in report["unexpected_keys"] if not one.endswith("position_ids")]
        if wrong:
            raise Refusal("bad_checkpoint", checkpoint=row.name, tensor=str(wrong[0]), count=len(wrong))
    parts["tokenizer"] = transformers.CLIPTokenizer.from_pretrained(
        folder / "tokenizer", local_files_only=True
    )
    kind = _scheduler_kind(folder)
    parts["scheduler"] = getattr(diffusers, kind).from_pretrained(folder / "scheduler", local_files_only=True)
    parts["safety_checker"] = parts["feature_extractor"] = None
    if (folder / "safety_checker" / "config.json") in paths.values():
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

        parts["safety_checker"] = StableDiffusionSafetyChecker.from_pretrained(
            folder / "safety_checker", local_files_only=True, use_safetensors=True, dtype=dtype
        )
        parts["feature_extractor"] = transformers.CLIPImageProcessor.from_pretrained(
            folder / "feature_extractor", local_files_only=True
        )
    pipe = getattr(diffusers, PIPELINES[row.options["pipeline"]])(
        **parts, requires_safety_checker=parts["safety_checker"] is not None
    )
    return LoadedPipeline(row, pipe, device, dtype)


def _scheduler_kind(folder: Path) -> str:
    """The class of the scheduler's file, where it is one of the library's own."""
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    kind = str(config.get("_class_name", ""))
    known = ("DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler")
    if kind not in known:
        raise Refusal("bad_checkpoint", checkpoint=folder.name, tensor=f"scheduler {kind[:40]}", count=1)
    # PNDM's steps need four predictions each at the beginning; the deterministic scheduler of the same noise does without.
    return "DDIMScheduler" if kind == "PNDMScheduler" else kind


def load_pixels(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedPixels:
    """An unconditional network of pixels: the library's UNet2DModel, with the noise that it was trained on."""
    diffusers = _library()
    folder = paths["config.json"].parent
    unet, report = diffusers.UNet2DModel.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    wrong = [*report["missing_keys"], *report["mismatched_keys"], *report["unexpected_keys"]]
    if wrong:
        raise Refusal("bad_checkpoint", checkpoint=row.name, tensor=str(wrong[0]), count=len(wrong))
    scheduler = diffusers.DDPMScheduler.from_pretrained(folder, local_files_only=True)
    return LoadedPixels(row, unet, scheduler, device, dtype)


def shape_of(options: Mapping[str, Any]) -> Architecture:
    """The generator's shape in a row's options; that of the published one at 1024 pixels where they say nothing."""
    names = ("size", "width", "depth", "rate")
    chosen: dict[str, Any] = {name: options[name] for name in names if name in options}
    if "channels" in options:
        chosen["channels"] = {int(side): count for side, count in options["channels"].items()}
    return Architecture(**chosen)


def with_kernels(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a generator with its smoothing kernels, which are constants and which some files leave out."""
    return {name: kernel() for name in network.state_dict() if name.endswith("kernel")} | dict(state)


def load_generator(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> LoadedGenerator:
    """A generator in rosinality's form: "g_ema", and "latent_avg" where the file has it; else the mean of 4,096 w."""
    (file,) = paths.values()
    stored = weights.read(file)
    if not isinstance(stored, Mapping) or not weights.is_state_dict(stored.get("g_ema")):
        raise Refusal("unsafe_weights", file=file.name)
    architecture = shape_of(row.options)
    with torch.device("meta"):
        generator = Generator(architecture)
    state = with_kernels(generator, stored["g_ema"])
    encoders.put_state(generator, encoders.in_precision(state, torch.float32), row)
    mean = stored.get("latent_avg")
    mean = mean[None].float() if isinstance(mean, Tensor) else generator.mean_w()
    return LoadedGenerator(row, generator, mean, device)


def load_classroom(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> LoadedMiniature:
    """The classroom's row: "unet.", "generator." and "encoder." tensors in one file, with the codes of the generator, its mean
    w and the relevance of its channels. A second file has the shapes of the networks and what the codes stand for."""
    config = json.loads(paths[rows.CONFIG].read_text(encoding="utf-8"))
    return assemble(config, checkpoints.load_state_dict(paths["model.safetensors"]), row, device)


def assemble(
    config: Mapping[str, Any], stored: Mapping[str, Tensor], row: Checkpoint, device: str
) -> LoadedMiniature:
    """The classroom's model of its configuration and its tensors, those of the generator's fixed kernels left out."""
    state = encoders.in_precision(stored, torch.float32)
    shape = shape_of(config["generator"])
    generator, encoder = Generator(shape), Encoder(shape.size, shape.width, shape.latents)
    parts = {"generator.": generator, "encoder.": encoder}
    unet = {name.removeprefix("unet."): t for name, t in state.items() if name.startswith("unet.")}
    own = {name for name in state if not name.startswith(("unet.", *parts))}
    wrong = sorted(own ^ {"codes", "latent_avg", "relevance"})
    if wrong:
        raise Refusal("bad_checkpoint", checkpoint=row.name, tensor=wrong[0], count=len(wrong))
    for start, module in parts.items():
        part = {name.removeprefix(start): t for name, t in state.items() if name.startswith(start)}
        encoders.put_state(module, with_kernels(module, part), row)

    def build() -> EditorNetwork:
        _library()
        network = EditorNetwork(config["unet"])
        encoders.put_state(network.unet, unet, row)
        return network

    tensors = {name: state[name] for name in own}
    size = sum(t.numel() * t.element_size() for t in unet.values())
    return LoadedMiniature(row, build, generator, encoder, tensors, config["factors"], size, device)
