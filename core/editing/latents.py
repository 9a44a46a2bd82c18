"""StyleCLIP's methods on a row with a generator: an image that a latent makes, changed by a text step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from core import runtime
from core.checkpoints import Checkpoint
from core.editing import directions, judges, mapper, optimization
from core.editing.judges import Judge
from core.editing.mapper import LevelsMapper, MapperSettings
from core.editing.optimization import OptimizationSettings
from core.editing.result import Made, Run, Shown, Start, Variant, pixels
from core.editing.settings import EditSettings
from core.editing.stylegan2 import Generator, truncated

LEARNED = 400  # latents that a mapper learns to change
VARIED = 1000  # latents from which the deviations of channels are taken
MAPPERS: runtime.ByteCache[LevelsMapper] = runtime.ByteCache()


class LoadedGenerator:
    """What the pool keeps of a StyleGAN2 row: the generator and its mean w.

    A published generator can only change what it made itself: there would have to be an encoder for photos, and none of the
    published ones is on the Hub in a form that can be pinned.
    """

    truncation = 0.7  # of a start, as in the published code
    normalised = False  # as published, CLIP sees the image without its own mean and deviation

    def __init__(self, row: Checkpoint, generator: Generator, mean: Tensor, device: str) -> None:
        self.row, self.device = row, device
        self.generator = generator.to(device).eval().requires_grad_(False)
        self.mean = mean.to(device)

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return sum(t.numel() * t.element_size() for t in self.generator.state_dict().values())

    def drawn(self, count: int, seed: int) -> Tensor:
        """w [N, D] of random z."""
        width = self.generator.architecture.width
        z = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
        return self.generator.map(z.to(self.device))

    @cached_property
    def deviations(self) -> list[Tensor]:
        """How far the channels of every vector of StyleSpace vary, [C] each."""
        with torch.no_grad():
            return [
                style.std(0) for style in self.generator.styles(self.generator.widen(self.drawn(VARIED, 0)))
            ]

    def start(self, seed: int, psi: float | None = None) -> Start:
        """Where the edits of a seed's image begin."""
        return self.begun(self.drawn(1, seed), psi, seed)

    def begun(
        self, w: Tensor, psi: float | None, seed: int | None = None, state: dict[str, str] | None = None
    ) -> Start:
        """Where the edits of the image of one w [1, D] begin."""
        psi = self.truncation if psi is None else psi
        w_plus = self.generator.widen(truncated(w, self.mean, psi))
        made = pixels(self.generator(w_plus))
        return Start(made, w_plus[0].cpu().numpy(), made, state, seed)

    def w_plus(self, start: Start) -> Tensor:
        """[1, L, D] of a start."""
        return torch.from_numpy(start.latent)[None].to(self.device)

    def run(self, start: Start, text: str, s: EditSettings, turn: Any) -> Run:
        """An edit, step by step."""
        return METHODS[s.method](self, self.w_plus(start), text, s, turn)


@contextmanager
def guided(loaded: LoadedGenerator, s: EditSettings) -> Iterator[Judge]:
    """The CLIP that guides, as a judge of images."""
    with judges.use(s.guide, loaded.device) as encoder:
        yield Judge(encoder, loaded.normalised)


def optimized(loaded: LoadedGenerator, w_plus: Tensor, text: str, s: EditSettings, turn: Any) -> Run:
    """The latent is changed until CLIP says that its image is what the text says; every step has the image so far."""
    chosen = OptimizationSettings(s.steps, s.rate, s.distance, s.likeness, s.method == "stylespace")
    with guided(loaded, s) as see:
        with turn:
            target = see.texts([text])
        steps = optimization.optimize(loaded.generator, w_plus, target, see, chosen)
        while True:
            with turn:
                step = next(steps)
            if step.number == s.steps:
                break
            losses = {"clip": float(step.clip[0]), "moved": float(step.moved[0])}
            yield Shown(step.number, s.steps, step.images[:1], losses=losses)
    moved = step.moved.tolist()
    variants = tuple(
        Variant(s.distance[i], pixels(step.images[i : i + 1]), moved[i], 1 - float(step.clip[i]))
        for i in range(len(moved))
    )
    return Made(step.images[:1], moved=moved[0], variants=variants)


def mapper_settings(s: EditSettings) -> MapperSettings:
    """Of a mapper's training, as the settings of an edit have them."""
    return MapperSettings(s.steps, rate=s.rate, distance=s.distance[0], likeness=s.likeness, seed=s.seed)


def mapped(loaded: LoadedGenerator, w_plus: Tensor, text: str, s: EditSettings, turn: Any) -> Run:
    """A mapper is trained for the text, unless it is remembered, and changes the latent."""
    chosen = mapper_settings(s)
    generator = loaded.generator
    key = (loaded.row.name, loaded.device, s.guide, text, chosen)
    net = MAPPERS.get(key)
    if net is None:
        with guided(loaded, s) as see:
            with turn:
                target = see.texts([text])
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(s.seed)
                    shape = generator.architecture
                    net = LevelsMapper(shape.width, shape.latents).to(loaded.device)
                with torch.no_grad():
                    latents = generator.widen(loaded.drawn(LEARNED, s.seed))
            steps = mapper.train(net, generator, latents, target, see, chosen)
            while True:
                with turn:
                    step = next(steps, None)
                    if step is None:
                        break
                    with torch.no_grad():
                        image = generator(mapper.edited(net, w_plus, s.strength))
                losses = {"clip": step.clip, "distance": step.distance, "loss": step.loss}
                yield Shown(step.number + 1, s.steps, image, losses=losses)
        net.requires_grad_(False)
        MAPPERS.put(key, net, sum(4 * p.numel() for p in net.parameters()))
    with turn, torch.no_grad():
        changed = mapper.edited(net, w_plus, s.strength)
        image = generator(changed)
    return Made(image, moved=float((changed - w_plus).square().sum()))


def directed(loaded: Any, w_plus: Tensor, text: str, s: EditSettings, turn: Any) -> Run:
    """The text's direction in StyleSpace is added to the styles of the latent: one step."""
    with turn, torch.no_grad():
        way = directions.way(loaded, s.neutral, text, s.beta)
        before = loaded.generator.styles(w_plus)
        after = [style + s.alpha * added for style, added in zip(before, way.layers, strict=True)]
        image = loaded.generator.synthesise(after)
        moved = sum(float((a - b).square().sum()) for a, b in zip(after, before, strict=True))
    yield Shown(1, 1, image)
    return Made(image, moved=moved)


METHODS: dict[str, Callable[..., Run]] = {
    "optimization": optimized,
    "stylespace": optimized,
    "mapper": mapped,
    "global_direction": directed,
}


def interpolated(loaded: LoadedGenerator, first: Start, second: Start, count: int) -> Tensor:
    """Images [K, 3, H, W] in -1..1 of so many latents on the way from one start to another, both included."""
    way = torch.linspace(0, 1, count, device=loaded.device)[:, None, None]
    return loaded.generator(torch.lerp(loaded.w_plus(first), loaded.w_plus(second), way))


def mixed(loaded: LoadedGenerator, first: Start, second: Start) -> dict[str, Tensor]:
    """By level, the first image [1, 3, H, W] with the second one's vectors on that level."""
    images = {}
    for level, part in directions.levels(loaded.generator.architecture.latents).items():
        w_plus = loaded.w_plus(first).clone()
        w_plus[:, part] = loaded.w_plus(second)[:, part]
        images[level] = loaded.generator(w_plus)
    return images
