"""StyleCLIP's first method on a row: an image that the generator makes from a seed, changed by a text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from core import inputs, runtime
from core.clip.handles import Handle
from core.editing import judges
from core.editing.optimization import OptimizationSettings, optimize
from core.editing.pipelines import LoadedGenerator
from core.editing.result import Edit, Frame, pixels
from core.editing.stylegan2 import truncated

TRUNCATION = 0.7  # of the start, as in the published code
METHODS = ("optimization", "stylespace")
GUIDE = "clip-vit-b32"


class StyleEditor(Handle[LoadedGenerator]):
    """Edits in the latent space of a StyleGAN2. A light handle: the weights live in the process's model pool.

    A generator can only change what it made itself. For a photo there would have to be an encoder, and none of the published
    ones is on the Hub in a form that can be pinned.
    """

    LOADERS = frozenset(("core.editing.pipelines:load_generator",))

    def generate(self, seed: int, psi: float = TRUNCATION) -> np.ndarray:
        """The image [H, W, 3] uint8 of a seed."""
        return _generate(self, inputs.seed(seed), inputs.number("psi", psi))

    def edit(
        self,
        seed: int,
        text: str,
        settings: OptimizationSettings | None = None,
        *,
        guide: str = GUIDE,
        psi: float = TRUNCATION,
        cancel: runtime.Cancel | None = None,
    ) -> Iterator[Frame]:
        """Changes the latent of a seed until CLIP says that its image is what the text says; every frame has the image so far.

        Args:
            settings: with one distance. guide: the row of CLIP.

        Raises:
            Refusal: "no_text", "text_too_long", "bad_seed", "out_of_range", "cancelled".
        """
        s = settings or OptimizationSettings()
        s = replace(s, steps=int(inputs.number("steps", s.steps, 1, 1000)), distance=s.distance[:1])
        psi = inputs.number("psi", psi)
        return _edit(self, inputs.seed(seed), inputs.text(text), s, guide, psi, cancel or runtime.Cancel())


def _start(loaded: LoadedGenerator, seed: int, psi: float) -> Tensor:
    """W+ [1, L, D] of a seed."""
    generator = loaded.generator
    z = torch.randn(1, generator.architecture.width, generator=torch.Generator().manual_seed(seed))
    return generator.widen(truncated(generator.map(z.to(loaded.device)), loaded.mean, psi))


@runtime.on_device
def _generate(model: StyleEditor, seed: int, psi: float) -> np.ndarray:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return pixels(loaded.generator(_start(loaded, seed, psi)))


@runtime.on_device
def _edit(
    model: StyleEditor,
    seed: int,
    text: str,
    s: OptimizationSettings,
    guide: str,
    psi: float,
    cancel: runtime.Cancel,
) -> Iterator[Frame]:
    start = time.perf_counter()
    turn = runtime.semaphore(model.device)
    with model.use() as loaded, judges.use(guide, model.device) as encoder:
        with turn:
            # As published: CLIP sees the image without its own mean and deviation.
            see = judges.Judge(encoder, normalised=False)
            with torch.no_grad():
                w_plus = _start(loaded, seed, psi)
        steps = optimize(loaded.generator, w_plus, see.texts([text]), see, s)
        first, moved = None, 0.0
        while True:
            with turn:
                step = next(steps, None)
            if step is None:
                break
            cancel.check()
            shown = pixels(step.images)
            first, moved = shown if first is None else first, float(step.moved)
            passed = time.perf_counter() - start
            left = passed / (step.number + 1) * (s.steps - step.number)
            if step.number < s.steps:
                yield Frame(step.number, s.steps, left, shown)
        assert first is not None
        result = Edit(
            checkpoint=model.checkpoint,
            method="stylespace" if s.stylespace else "optimization",
            text=text,
            image=shown,
            start=first,
            blocked=False,
            steps=s.steps,
            seed=seed,
            device=model.device,
            seconds=time.perf_counter() - start,
            moved=moved,
        )
        yield Frame(s.steps, s.steps, 0.0, shown, result)
