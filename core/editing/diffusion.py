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

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from core import inputs, runtime
from core.checkpoints import Checkpoint
from core.clip.handles import Handle
from core.editing import judges
from core.editing.result import Edit, Frame, pixels
from core.errors import Refusal

SIDE = 512  # pixels of the longer side that a latent network works on
CLIP = "clip-vit-b32"  # guides where no text goes into the network

DEFAULTS: dict[str, dict[str, Any]] = {
    "sdedit": {"steps": 30, "strength": 0.75, "text_guidance": 7.5},
    "inversion": {"steps": 30, "strength": 1.0, "text_guidance": 3.0},
    "instruct": {"steps": 20, "text_guidance": 7.5, "image_guidance": 1.5},
    "guidance": {"steps": 50, "strength": 0.5, "pull": 60.0},
}


@dataclass(frozen=True)
class DiffusionSettings:
    """How an image is changed.

    steps: of the whole schedule. strength: the share of it that is run; all of it forgets the image. text_guidance,
    image_guidance: how much further than the prediction one goes; 1 is the prediction itself. pull: of CLIP's gradient.
    neutral: what the image shows, for the inversion. guide: the row of CLIP that pulls.
    """

    method: str
    steps: int = 30
    strength: float = 0.75
    text_guidance: float = 7.5
    image_guidance: float = 1.5
    pull: float = 60.0
    neutral: str = ""
    seed: int = 0
    guide: str = CLIP


class LoadedPipeline:
    """What the pool keeps of a row: the parts of a pipeline of the Stable Diffusion family."""

    def __init__(self, row: Checkpoint, pipe: Any, device: str, dtype: torch.dtype) -> None:
        self.row, self.device, self.dtype = row, device, dtype
        self.pipe = pipe.to(device)
        for module in self._modules():
            module.eval().requires_grad_(False)
        self.fold = 2 ** (len(pipe.vae.config.block_out_channels) - 1)  # pixels of a side in one latent

    @property
    def methods(self) -> tuple[str, ...]:
        """What these weights can do."""
        instructed = self.pipe.unet.config.in_channels > self.pipe.vae.config.latent_channels
        return ("instruct",) if instructed else ("sdedit", "inversion")

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

    def image(self, image: Image.Image) -> Tensor:
        """An RGB image -> [1, 3, H, W] in -1..1, at most SIDE pixels a side and whole latents in each direction."""
        shrink = min(1.0, SIDE / max(image.size))
        width, height = (max(self.fold, round(side * shrink / self.fold) * self.fold) for side in image.size)
        levels = torch.from_numpy(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)).copy())
        return (levels.permute(2, 0, 1)[None].to(self.device, self.dtype) / 127.5) - 1

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

    methods = ("guidance",)

    def __init__(self, row: Checkpoint, unet: Any, scheduler: Any, device: str, dtype: torch.dtype) -> None:
        self.row, self.scheduler, self.device, self.dtype = row, scheduler, device, dtype
        self.unet = unet.to(device=device, dtype=dtype).eval().requires_grad_(False)

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return sum(t.numel() * t.element_size() for t in (*self.unet.parameters(), *self.unet.buffers()))

    def image(self, image: Image.Image) -> Tensor:
        """An RGB image -> [1, 3, S, S] in -1..1: the middle square, at the size that the network makes."""
        side = self.unet.config.sample_size
        edge = min(image.size)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        square = image.crop((left, top, left + edge, top + edge)).resize(
            (side, side), Image.Resampling.LANCZOS
        )
        levels = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)[None]
        return levels.to(self.device, self.dtype) / 127.5 - 1


Shown = tuple[int, int, Tensor | None]  # a step, of how many, the image so far
Run = Generator[Shown, None, tuple[Tensor, bool]]  # returns the image and whether it was blocked


def _scheduler(kind: str, config: Any, steps: int, device: str) -> Any:
    """A scheduler of its own for each run: the library's keep the state of one."""
    diffusers = runtime.whole("diffusers")
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
def sdedit(loaded: LoadedPipeline, image: Tensor, text: str, s: DiffusionSettings, turn: Any) -> Run:
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
        yield i + 1, len(times), None
    with turn:
        return loaded.decode(latents)


@torch.inference_mode()
def inversion(loaded: LoadedPipeline, image: Tensor, text: str, s: DiffusionSettings, turn: Any) -> Run:
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
        yield i + 1, 2 * count, None
    # 2. back under the other text
    for i, now in enumerate(back.timesteps[s.steps - count :]):
        with turn:
            given = _guided(loaded, latents, now, words[:2], s.text_guidance)
            latents = back.step(given, now, latents, return_dict=False)[0]
        yield count + i + 1, 2 * count, None
    with turn:
        return loaded.decode(latents)


@torch.inference_mode()
def instruct(loaded: LoadedPipeline, image: Tensor, text: str, s: DiffusionSettings, turn: Any) -> Run:
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
        yield i + 1, len(plan.timesteps), None
    with turn:
        return loaded.decode(latents)


def guidance(loaded: LoadedPixels, image: Tensor, text: str, s: DiffusionSettings, turn: Any) -> Run:
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
            yield i + 1, len(times), foreseen.detach()
    return noisy, False


METHODS: dict[str, Callable[..., Run]] = {
    "sdedit": sdedit,
    "inversion": inversion,
    "instruct": instruct,
    "guidance": guidance,
}


class DiffusionEditor(Handle[Any]):
    """Edits by diffusion. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(("core.editing.pipelines:load_pipeline", "core.editing.pipelines:load_pixels"))

    def settings(self, method: str | None = None, **chosen: Any) -> DiffusionSettings:
        """The settings of a method, its own numbers where none are chosen; the row's first method without a name.

        Raises:
            Refusal: "unknown_method" for one that the row's weights cannot do.
        """
        with self.use() as loaded:
            method = method or loaded.methods[0]
            if method not in loaded.methods:
                raise Refusal("unknown_method", name=str(method)[:40], known=", ".join(loaded.methods))
            own = loaded.row.options.get("settings", {})
        made = {name: value for name, value in chosen.items() if value is not None}
        return DiffusionSettings(method, **{**DEFAULTS[method], **own, **made})

    def edit(
        self,
        image: Image.Image,
        text: str,
        settings: DiffusionSettings | None = None,
        cancel: runtime.Cancel | None = None,
    ) -> Iterator[Frame]:
        """Changes an image as a text says, step by step; the last frame has the result.

        Args:
            image: RGB, from `core.inputs.image`.
            text: what the edited image shows; for InstructPix2Pix what is to be done.
            cancel: a set flag ends the run behind the step in hand.

        Raises:
            Refusal: "unknown_method", "no_text", "text_too_long", "out_of_range", "bad_seed", "cancelled".
        """
        s = settings or self.settings()
        s = replace(
            s,
            seed=inputs.seed(s.seed),
            steps=int(inputs.number("steps", s.steps, 1, 200)),
            strength=inputs.number("strength", s.strength, 0.01, 1),
        )
        text = inputs.text(text)
        return _edit(self, image, text, s, cancel or runtime.Cancel())


@runtime.on_device
def _edit(
    model: DiffusionEditor, image: Image.Image, text: str, s: DiffusionSettings, cancel: runtime.Cancel
) -> Iterator[Frame]:
    watch, start = runtime.Stopwatch(), time.perf_counter()
    with ExitStack() as stack:
        loaded = stack.enter_context(model.use())
        if s.method not in loaded.methods:
            raise Refusal("unknown_method", name=s.method[:40], known=", ".join(loaded.methods))
        given = loaded.image(image)
        run = METHODS[s.method](loaded, given, text, s, runtime.semaphore(model.device))
        stack.callback(run.close)
        done = 0
        while True:
            try:
                with watch.span("steps"):
                    done, count, shown = next(run)
            except StopIteration as end:
                made, blocked = end.value
                break
            cancel.check()
            passed = time.perf_counter() - start
            yield Frame(done, count, passed / done * (count - done), None if shown is None else pixels(shown))
        seconds = time.perf_counter() - start
        result = Edit(
            checkpoint=model.checkpoint,
            method=s.method,
            text=text,
            image=pixels(made),
            start=pixels(given),
            blocked=blocked,
            steps=done,
            seed=s.seed,
            device=model.device,
            seconds=seconds,
            timings=dict(watch.ms),
        )
        yield Frame(done, done, 0.0, result.image, result)
