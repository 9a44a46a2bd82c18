"""The classroom's row: an editor on exact pairs and a StyleGAN2 with an encoder, both in small, under one text tower.

Its generator was trained on codes: z is the sum of one vector for each factor of an image, so that a state, such as a red
dog, has a latent, and a seed is a random state.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from core import inputs
from core.checkpoints import Checkpoint
from core.clip.encoders import DualEncoder
from core.clip.towers import padded
from core.editing import editor, judges, rows
from core.editing.editor import Condition, EditorNetwork
from core.editing.inversion import Encoder
from core.editing.latents import LoadedGenerator
from core.editing.result import Made, Run, Shown, Start, levels, pixels, square
from core.editing.settings import EditSettings
from core.editing.stylegan2 import Generator
from core.errors import Refusal

TEMPLATES = {"en": ("{}", "a picture of {}"), "zh": ("{}", "{}的图片")}
PLAIN = {"rendering": "colour"}  # of what a seed draws


class LoadedMiniature(LoadedGenerator):
    """What the pool keeps of the classroom's row."""

    truncation = 1.0
    normalised = True
    templates = TEMPLATES

    def __init__(
        self,
        row: Checkpoint,
        build: Callable[[], EditorNetwork],
        generator: Generator,
        encoder: Encoder,
        tensors: Mapping[str, Tensor],
        factors: Mapping[str, Sequence[str]],
        editor_bytes: int,
        device: str,
    ) -> None:
        super().__init__(row, generator, tensors["latent_avg"][None], device)
        self._build = build
        self.encoder = encoder.to(device).eval().requires_grad_(False)
        self.codes, self.relevance = tensors["codes"].to(device), tensors["relevance"].to(device)
        self.factors: dict[str, tuple[str, ...]] = {name: tuple(values) for name, values in factors.items()}
        self.editor_bytes = editor_bytes
        self.side: int = generator.architecture.size

    @cached_property
    def network(self) -> EditorNetwork:
        """The editor, built when it is first asked for: the library that it comes from takes seconds to import."""
        with torch.inference_mode(False):
            return self._build().to(self.device).eval().requires_grad_(False)

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers, the editor's among them."""
        tensors = [
            t for part in (self.generator, self.encoder) for t in (*part.parameters(), *part.buffers())
        ]
        own = sum(t.numel() * t.element_size() for t in (*tensors, self.codes, self.relevance))
        return own + self.editor_bytes

    def w(self, states: Sequence[Mapping[str, str]]) -> Tensor:
        """w [N, D] of states; a factor that is left out has its first value."""
        z = torch.zeros(len(states), self.codes.shape[1], device=self.device)
        start = 0
        for name, values in self.factors.items():
            z += self.codes[[start + values.index(state.get(name, values[0])) for state in states]]
            start += len(values)
        return self.generator.map(z)

    def states(self, count: int, seed: int) -> list[dict[str, str]]:
        """Random states in colour."""
        rng = random.Random(seed)
        every = ({name: rng.choice(values) for name, values in self.factors.items()} for _ in range(count))
        return [state | {name: value for name, value in PLAIN.items() if name in state} for state in every]

    def drawn(self, count: int, seed: int) -> Tensor:
        """w [N, D] of random states in colour."""
        return self.w(self.states(count, seed))

    def start(
        self,
        seed: int | None = None,
        psi: float | None = None,
        state: Mapping[str, str] | None = None,
        image: Image.Image | None = None,
        text: str = "",
    ) -> Start:
        """Where edits begin: at a state, an image, what the editor draws of a text, or a seed's state.

        Raises:
            Refusal: "unknown_factor".
        """
        if image is not None:
            return self.inverted(np.array(square(image, self.side)), seed)
        if text:
            made = self.painted(text, seed or 0)
            return self.inverted(pixels(made), seed)
        if state is None:
            state = self.states(1, seed or 0)[0]
        for name, value in state.items():
            if value not in self.factors.get(name, ()):
                known = ", ".join(self.factors.get(name, self.factors))
                raise Refusal("unknown_factor", name=str(name)[:40], value=str(value)[:40], known=known)
        whole = {name: state.get(name, values[0]) for name, values in self.factors.items()}
        return self.begun(self.w([whole]), psi, seed, whole)

    def inverted(self, image: np.ndarray, seed: int | None) -> Start:
        """Where the edits of an image [H, W, 3] uint8 begin: at itself, and at the latent that the encoder finds for it."""
        w_plus: Tensor = self.encoder(levels(image).to(self.device))
        return Start(image, w_plus[0].cpu().numpy(), pixels(self.generator(w_plus)), None, seed)

    def painted(self, text: str, seed: int) -> Tensor:
        """The image [1, 3, H, W] in -1..1 that the editor makes of noise under a text."""
        with judges.use(rows.guide(self.row.name), self.device) as encoder:
            said, nothing = read(encoder, [text]), read(encoder, [""])
        *_, (last, _) = editor.denoise(self.network, self.noise(seed), None, said, nothing)
        return flat(last)

    def noise(self, seed: int) -> Tensor:
        """[1, 12, h, w] the noise of a seed."""
        side = self.side // editor.FOLD
        shape = (1, 3 * editor.FOLD**2, side, side)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.device)

    def run(self, start: Start, text: str, s: EditSettings, turn: Any) -> Run:
        """An edit, step by step."""
        return (
            denoised(self, start, text, s, turn) if s.method in METHODS else super().run(start, text, s, turn)
        )


METHODS = ("instruct", "sdedit")


def read(encoder: DualEncoder, texts: Sequence[str]) -> Condition:
    """What the text tower of a miniature CLIP makes of texts."""
    ids = encoder.text.tokenize(list(texts))
    batch = padded(ids, max(map(len, ids)))
    return editor.condition(encoder.model, batch.to(encoder.device))


def flat(folded: Tensor) -> Tensor:
    """Images [B, 12, h, w] as [B, 3, H, W], both in -1..1."""
    return F.pixel_shuffle(folded, editor.FOLD)


def folded(image: np.ndarray, device: str) -> Tensor:
    """An image [H, W, 3] uint8 as [1, 12, h, w] in -1..1."""
    return F.pixel_unshuffle(levels(image), editor.FOLD).to(device)


@torch.inference_mode()
def denoised(loaded: LoadedMiniature, start: Start, text: str, s: EditSettings, turn: Any) -> Run:
    """instruct: noise, with the image beside it in every step. sdedit: noise on the image, then the schedule's last part."""
    with turn, judges.use(rows.guide(loaded.row.name), loaded.device) as encoder:
        said, nothing = read(encoder, [text]), read(encoder, [""])
        given, noise = folded(start.image, loaded.device), loaded.noise(s.seed)
    beside = given if s.method == "instruct" else None
    strength = 1.0 if s.method == "instruct" else s.strength
    count = max(1, round(s.steps * strength))
    noisy = noise
    if s.method == "sdedit":
        plan = editor.schedule(s.steps)
        noisy = plan.add_noise(given, noise, plan.timesteps[s.steps - count :][:1])
    steps = editor.denoise(
        loaded.network, noisy, beside, said, nothing, s.steps, strength, s.text_guidance, s.image_guidance
    )
    for i in range(count):
        with turn:
            noisy, foreseen = next(steps)
        yield Shown(i + 1, count, flat(foreseen), flat(noisy))
    return Made(flat(noisy))


def noised(loaded: LoadedMiniature, start: Start, steps: int, seed: int) -> Tensor:
    """Images [K, 3, H, W] in -1..1: a start with the noise of every time of a schedule, from pure noise down."""
    plan = editor.schedule(int(inputs.number("steps", steps, 1, 200)))
    count = len(plan.timesteps)
    given = folded(start.image, loaded.device).expand(count, -1, -1, -1)
    return flat(plan.add_noise(given, loaded.noise(inputs.seed(seed)).expand_as(given), plan.timesteps))
