"""What diffusion made of StyleCLIP's idea: four ways to change an image by a text, on the library's networks and schedulers.

    sdedit      noise is added to the image, and the text guides it off again (Meng et al. 2022, arXiv:2108.01073)
    inversion   the noise is found that leads to the image under one text, and followed back under another (DDIM, Song et al.
    2021,
                arXiv:2010.02502)
    instruct    a network that was trained on pairs reads the image beside the noise (InstructPix2Pix, Brooks et al. 2023,
                arXiv:2211.09800)
    guidance    no text goes into the network: CLIP's gradient pulls each step towards it (after Dhariwal & Nichol 2021,
                arXiv:2105.05233)

Networks, schedulers and tokenizers are those of diffusers and transformers; the loops are here, so that every step can be shown
and the run stopped behind it. The tests compare them with the library's own pipelines. diffusers is imported when a row is
loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from core import runtime
from core.checkpoints import Checkpoint
from core.editing import judges
from core.editing.result import Made, Run, Shown, Start, levels, pixels, square
from core.editing.settings import EditSettings

SIDE = 512  # pixels of the longer side that a latent network works on


class LoadedPipeline:
    """What the pool keeps of a row: the parts of a pipeline of the Stable Diffusion family."""

    def __init__(self, row: Checkpoint, pipe: Any, device: str, dtype: torch.dtype) -> None:
        self.row, self.device, self.dtype = row, device, dtype
        self.pipe = pipe.to(device)
        for module in self._modules():
            module.eval().requires_grad_(False)
        self.fold = 2 ** (len(pipe.vae.config.block_out_channels) - 1)  # pixels of a side in one latent

    def _modules(self) -> list[torch.nn.Module]:
        return [part for part in self.pipe.components.values() if isinstance(part, torch.nn.Module)]

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        tensors = (t for part in self._modules() for t in (*part.parameters(), *part.buffers()))
        return sum(t.numel() * t.element_size() for t in tensors)

    def words(self, texts: list[str]) -> Tensor:
        """The states of the text encoder [N, L, W]."""
        tokenizer = self.pipe.tokenizer
        ids = tokenizer(
            texts,
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        states: Tensor = self.pipe.text_encoder(ids.to(self.device))[0]
        return states.to(self.dtype)

    def start(self, image: Image.Image) -> Start:
        """Where the edits of an RGB image begin: at most SIDE pixels a side, and whole latents in each direction."""
        shrink = min(1.0, SIDE / max(image.size))
        width, height = (max(self.fold, round(side * shrink / self.fold) * self.fold) for side in image.size)
        return Start(np.array(image.resize((width, height), Image.Resampling.LANCZOS)))

    def run(self, start: Start, text: str, s: EditSettings, turn: Any) -> Run:
        """An edit, step by step."""
        return METHODS[s.method](self, levels(start.image).to(self.device, self.dtype), text, s, turn)

    def predict(self, latents: Tensor, step: Any, words: Tensor) -> Tensor:
        """The network's output for as many latents as texts."""
        out: Tensor = self.pipe.unet(latents, step, encoder_hidden_states=words, return_dict=False)[0]
        return out

    def decode(self, latents: Tensor) -> tuple[Tensor, bool]:
        """Latents -> the image [1, 3, H, W] in -1..1, and whether the row's safety checker made it black."""
        pipe = self.pipe
        image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]
        if pipe.safety_checker is None:
            return image, False
        checked = pipe.feature_extractor(Image.fromarray(pixels(image)), return_tensors="pt").to(self.device)
        _, found = pipe.safety_checker(images=[pixels(image)], clip_input=checked.pixel_values.to(self.dtype))
        return (torch.full_like(image, -1), True) if found[0] else (image, False)


class LoadedPixels:
    """What the pool keeps of a row whose network makes pixels without a text."""

    def __init__(self, row: Checkpoint, unet: Any, scheduler: Any, device: str, dtype: torch.dtype) -> None:
        self.row, self.scheduler, self.device, self.dtype = row, scheduler, device, dtype
        self.unet = unet.to(device=device, dtype=dtype).eval().requires_grad_(False)

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.unet)

    def start(self, image: Image.Image) -> Start:
        """Where the edits of an RGB image begin: the middle square, at the size that the network makes."""
        return Start(np.array(square(image, self.unet.config.sample_size)))

    def run(self, start: Start, text: str, s: EditSettings, turn: Any) -> Run:
        """An edit, step by step."""
        return guidance(self, levels(start.image).to(self.device, self.dtype), text, s, turn)


def _scheduler(kind: str, config: Any, steps: int, device: str) -> Any:
    """A scheduler of its own for each run: the library's keep the state of one."""
    diffusers = runtime.import_whole("diffusers")
    made = getattr(diffusers, kind).from_config(config)
    made.set_timesteps(steps, device=device)
    return made


def _own(scheduler: Any, steps: int, device: str) -> Any:
    made = type(scheduler).from_config(scheduler.config)
    made.set_timesteps(steps, device=device)
    return made


def _late(plan: Any, steps: int, strength: float) -> Any:
    """The times of the last part of a schedule; at least one."""
    run = min(steps, max(1, int(steps * strength)))
    first = (steps - run) * plan.order
    if hasattr(plan, "set_begin_index"):
        plan.set_begin_index(first)
    return plan.timesteps[first:]


def _guided(loaded: LoadedPipeline, latents: Tensor, time_: Any, words: Tensor, guidance: float) -> Tensor:
    """The prediction, drawn away from that of the empty text; `words` has the empty text first where there is a guidance."""
    if guidance <= 1:
        return loaded.predict(latents, time_, words[-1:])
    without, with_text = loaded.predict(latents.repeat(2, 1, 1, 1), time_, words).chunk(2)
    return without + guidance * (with_text - without)


@torch.inference_mode()
def sdedit(loaded: LoadedPipeline, image: Tensor, text: str, s: EditSettings, turn: Any) -> Run:
    """Noise on the image's latents, then the schedule's last part under the text."""
    pipe, g = loaded.pipe, torch.Generator().manual_seed(s.seed)
    with turn:
        # 1. the texts, the image's latents, and the noise of the step where the run begins
        words = loaded.words(["", text])
        plan = _own(pipe.scheduler, s.steps, loaded.device)
        times = _late(plan, s.steps, s.strength)
        latents = pipe.vae.encode(image).latent_dist.sample(g) * pipe.vae.config.scaling_factor
        noise = torch.randn(latents.shape, generator=g, dtype=loaded.dtype).to(loaded.device)
        latents = plan.add_noise(latents, noise, times[:1])
    # 2. step by step back to an image
    for i, now in enumerate(times):
        with turn:
            given = _guided(loaded, plan.scale_model_input(latents, now), now, words, s.text_guidance)
            latents = plan.step(given, now, latents, generator=g, return_dict=False)[0]
        yield Shown(i + 1, len(times))
    with turn:
        return Made(*loaded.decode(latents))


@torch.inference_mode()
def inversion(loaded: LoadedPipeline, image: Tensor, text: str, s: EditSettings, turn: Any) -> Run:
    """The image's own noise under the neutral text, then back under the target."""
    pipe, count = loaded.pipe, max(1, int(s.steps * s.strength))
    with turn:
        words = loaded.words(["", text, s.neutral])
        there = _scheduler("DDIMInverseScheduler", pipe.scheduler.config, s.steps, loaded.device)
        back = _scheduler("DDIMScheduler", pipe.scheduler.config, s.steps, loaded.device)
        latents = pipe.vae.encode(image).latent_dist.mode() * pipe.vae.config.scaling_factor
    # 1. towards the noise; without guidance, which the way back could not undo
    for i, now in enumerate(there.timesteps[:count]):
        with turn:
            latents = there.step(loaded.predict(latents, now, words[2:]), now, latents, return_dict=False)[0]
        yield Shown(i + 1, 2 * count)
    # 2. back under the other text
    for i, now in enumerate(back.timesteps[s.steps - count :]):
        with turn:
            given = _guided(loaded, latents, now, words[:2], s.text_guidance)
            latents = back.step(given, now, latents, return_dict=False)[0]
        yield Shown(count + i + 1, 2 * count)
    with turn:
        return Made(*loaded.decode(latents))


@torch.inference_mode()
def instruct(loaded: LoadedPipeline, image: Tensor, text: str, s: EditSettings, turn: Any) -> Run:
    """Noise, with the image beside it in every step (InstructPix2Pix, equation 3)."""
    pipe, g = loaded.pipe, torch.Generator().manual_seed(s.seed)
    with turn:
        with_text, without = loaded.words([text, ""]).split(1)
        words = torch.cat([with_text, without, without])
        plan = _own(pipe.scheduler, s.steps, loaded.device)
        seen = pipe.vae.encode(image).latent_dist.mode()
        beside = torch.cat([seen, seen, torch.zeros_like(seen)])
        latents = torch.randn(seen.shape, generator=g, dtype=loaded.dtype).to(loaded.device)
        latents = latents * plan.init_noise_sigma
    for i, now in enumerate(plan.timesteps):
        with turn:
            noisy = plan.scale_model_input(latents.repeat(3, 1, 1, 1), now)
            given = loaded.predict(torch.cat([noisy, beside], 1), now, words)
            both, image_alone, nothing = given.chunk(3)
            given = (
                nothing + s.text_guidance * (both - image_alone) + s.image_guidance * (image_alone - nothing)
            )
            latents = plan.step(given, now, latents, generator=g, return_dict=False)[0]
        yield Shown(i + 1, len(plan.timesteps))
    with turn:
        return Made(*loaded.decode(latents))


def guidance(loaded: LoadedPixels, image: Tensor, text: str, s: EditSettings, turn: Any) -> Run:
    """Noise on the pixels, then steps whose prediction CLIP's gradient corrects, by the image that each of them foresees."""
    g = torch.Generator().manual_seed(s.seed)
    with judges.use(s.guide, loaded.device) as encoder:
        with turn, torch.no_grad():
            see = judges.Judge(encoder)
            target = see.texts([text])
            plan = _scheduler("DDIMScheduler", loaded.scheduler.config, s.steps, loaded.device)
            times = _late(plan, s.steps, s.strength)
            noise = torch.randn(image.shape, generator=g, dtype=loaded.dtype).to(loaded.device)
            noisy = plan.add_noise(image, noise, times[:1])
        for i, now in enumerate(times):
            with turn:
                kept = plan.alphas_cumprod[now].to(noisy)
                with torch.enable_grad():
                    x = noisy.detach().requires_grad_()
                    given = loaded.unet(x, now, return_dict=False)[0]
                    foreseen = ((x - (1 - kept).sqrt() * given) / kept.sqrt()).clamp(-1, 1)
                    likeness = (F.normalize(see(foreseen), dim=-1) * target).sum()
                    (gradient,) = torch.autograd.grad(likeness, x)
                with torch.no_grad():
                    given = given.detach() - (1 - kept).sqrt() * s.pull * gradient
                    noisy = plan.step(given, now, noisy, return_dict=False)[0]
            yield Shown(i + 1, len(times), foreseen.detach())
    return Made(noisy)


METHODS: dict[str, Callable[..., Run]] = {"sdedit": sdedit, "inversion": inversion, "instruct": instruct}
