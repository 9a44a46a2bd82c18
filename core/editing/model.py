"""The page's model: one handle for every row, whatever makes its images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core import checkpoints, inputs, runtime
from core.clip.handles import Handle
from core.editing import directions, editor, judges, latents, miniature, rows, settings
from core.editing.directions import Grid, StyleLayer, TextDirection
from core.editing.judges import Judge
from core.editing.result import Edit, Frame, Opinion, Shown, Start, levels, pixels
from core.editing.settings import EditSettings
from core.errors import Refusal

MANY = 200  # images that one answer may ask for


@dataclass(frozen=True)
class Schedule:
    """The noise of every step of the miniature's editor: its time, the shares of image and noise (their squares sum to 1), and
    whether a run of this strength takes the step."""

    times: np.ndarray
    signal: np.ndarray
    noise: np.ndarray
    run: np.ndarray


class Editor(Handle[Any]):
    """Changes images as texts say. A light handle: the weights live in the process's model pool."""

    LOADERS = rows.LOADERS

    @property
    def methods(self) -> tuple[str, ...]:
        """What the row's weights can do."""
        return rows.methods(self.checkpoint)

    def factors(self) -> dict[str, tuple[str, ...]]:
        """What a state may name, by factor; nothing on rows that begin at no state."""
        return rows.factors(self.checkpoint)

    def settings(self, method: str | None = None, **chosen: Any) -> EditSettings:
        """As `core.editing.settings.of`, for this row."""
        return settings.of(self.checkpoint, method, **chosen)

    def start(
        self,
        *,
        seed: int | None = None,
        state: Mapping[str, str] | None = None,
        image: Image.Image | None = None,
        text: str = "",
        psi: float | None = None,
    ) -> Start:
        """Where edits begin: at a seed's image, at a state's, at one's own image (RGB, from `core.inputs.image`) or at what the
        row's editor draws of a text; a text takes a seed, too.

        Args:
            psi: how far a seed's or a state's latent may be from the mean, 0..1.

        Raises:
            Refusal: "no_start" where the row cannot begin like that, "bad_seed", "unknown_factor", "no_text".
        """
        said = None if text == "" else inputs.text(text)
        given: dict[str, Any] = {"state": state, "image": image, "text": said, "seed": seed}
        kind = next((name for name, value in given.items() if value is not None), "seed")
        if kind not in rows.starts(self.checkpoint):
            raise Refusal(
                "no_start", checkpoint=self.checkpoint, known=", ".join(rows.starts(self.checkpoint))
            )
        chosen: dict[str, Any] = {kind: given[kind]}
        if kind in ("seed", "text"):
            chosen["seed"] = inputs.seed(0 if seed is None else seed)
        if kind in ("seed", "state") and psi is not None:
            chosen["psi"] = inputs.number("psi", psi)
        return _started(self, chosen)

    def edit(
        self,
        start: Start,
        text: str,
        chosen: EditSettings | None = None,
        cancel: runtime.Cancel | None = None,
    ) -> Iterator[Frame]:
        """Changes an image as a text says, step by step; the last frame has the result.

        Args:
            text: what the edited image shows; for InstructPix2Pix what is to be done.
            cancel: a set flag ends the run behind the step in hand.

        Raises:
            Refusal: "unknown_method", "no_text", "text_too_long", "out_of_range", "bad_seed", "cancelled".
        """
        s = settings.checked(chosen or self.settings(), self.checkpoint)
        return _edited(self, start, inputs.text(text), s, cancel or runtime.Cancel())

    def result(
        self,
        start: Start,
        text: str,
        chosen: EditSettings | None = None,
        cancel: runtime.Cancel | None = None,
    ) -> Edit:
        """As `edit`, without its steps."""
        *_, last = self.edit(start, text, chosen, cancel)
        assert last.result is not None
        return last.result

    def direction(self, neutral: str, target: str, beta: float = EditSettings.beta) -> TextDirection:
        """The style channels that a text switches on; an empty neutral text is the mean of all things."""
        self._needs("global_direction")
        texts = settings.neutral(neutral), inputs.text(target)
        return _asked(self, directions.describe, *texts, inputs.number("beta", beta))

    def directed(self, start: Start, neutral: str, target: str, alpha: float, beta: float) -> Edit:
        """An edit by a global direction, which takes one step."""
        chosen = self.settings("global_direction", neutral=neutral, alpha=alpha, beta=beta)
        return self.result(start, target, chosen)

    def grid(
        self, start: Start, neutral: str, target: str, alphas: Sequence[float], betas: Sequence[float]
    ) -> Grid:
        """A global direction under several strengths and thresholds at once."""
        self._needs("global_direction")
        _few(len(alphas) * len(betas))
        low, high = settings.LIMITS["alpha"]
        a = tuple(inputs.number("alpha", one, low, high) for one in alphas)
        b = tuple(inputs.number("beta", one) for one in betas)
        return _grid(self, start, settings.neutral(neutral), inputs.text(target), a, b)

    def layers(self) -> tuple[StyleLayer, ...]:
        """The vectors of StyleSpace."""
        self._needs("stylespace")
        return _asked(self, _layers)

    def channel(self, start: Start, layer: int, channel: int, amounts: Sequence[float]) -> np.ndarray:
        """Images [K, H, W, 3] uint8 of a start with one style channel moved by so many standard deviations."""
        self._needs("stylespace")
        _few(len(amounts))
        return _asked(self, _by_hand, start, layer, channel, tuple(amounts))

    def interpolate(self, first: Start, second: Start, count: int) -> np.ndarray:
        """Images [K, H, W, 3] uint8 on the way from one start to another in W+, both included."""
        self._needs("stylespace")
        return _asked(self, _between, first, second, int(inputs.number("count", count, 2, MANY)))

    def mix(self, first: Start, second: Start) -> dict[str, np.ndarray]:
        """By level, the first image with the second one's vectors on the coarse, the medium and the fine level."""
        self._needs("stylespace")
        return _asked(self, _mixed, first, second)

    def schedule(self, steps: int, strength: float = 1.0) -> Schedule:
        """The noise of the editor's steps."""
        self._needs("sdedit")
        plan = editor.schedule(int(inputs.number("steps", steps, 1, settings.STEPS)))
        kept = plan.alphas_cumprod[plan.timesteps].numpy()
        count = len(plan.timesteps)
        ran = max(1, round(count * inputs.number("strength", strength)))
        return Schedule(plan.timesteps.numpy(), kept**0.5, (1 - kept) ** 0.5, np.arange(count) >= count - ran)

    def noised(self, start: Start, steps: int, seed: int = 0) -> np.ndarray:
        """Images [K, H, W, 3] uint8: a start with the noise of every step."""
        self._needs("sdedit")
        return _asked(self, _noised, start, steps, seed)

    def _needs(self, method: str) -> None:
        if method not in self.methods:
            raise Refusal("unknown_method", name=method, known=", ".join(self.methods))


def _few(count: int) -> None:
    if not 1 <= count <= MANY:
        raise Refusal("out_of_range", name="count", low=1, high=MANY, value=str(count))


@runtime.on_device
def _asked(model: Editor, verb: Callable[..., Any], *arguments: Any) -> Any:
    """What a verb says of the loaded row, in one turn of the device."""
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return verb(loaded, *arguments)


def _started(model: Editor, chosen: Mapping[str, Any]) -> Start:
    start: Start = _asked(model, _start, dict(chosen))
    return start


def _start(loaded: Any, chosen: dict[str, Any]) -> Start:
    started: Start = loaded.start(**chosen)
    return started


def _layers(loaded: Any) -> tuple[StyleLayer, ...]:
    return directions.layers(loaded.generator)


def _by_hand(loaded: Any, start: Start, layer: int, channel: int, amounts: tuple[float, ...]) -> np.ndarray:
    return _many(directions.by_hand(loaded, loaded.w_plus(start), layer, channel, amounts))


def _between(loaded: Any, first: Start, second: Start, count: int) -> np.ndarray:
    return _many(latents.interpolated(loaded, first, second, count))


def _mixed(loaded: Any, first: Start, second: Start) -> dict[str, np.ndarray]:
    return {level: pixels(image) for level, image in latents.mixed(loaded, first, second).items()}


def _noised(loaded: Any, start: Start, steps: int, seed: int) -> np.ndarray:
    return _many(miniature.noised(loaded, start, steps, seed))


def _many(images: Tensor) -> np.ndarray:
    """Images [K, 3, H, W] in -1..1 as [K, H, W, 3] uint8."""
    return np.stack([pixels(image[None]) for image in images])


def _here(checkpoint: str) -> bool:
    """Whether a row of CLIP is on this machine; none is downloaded for an opinion."""
    return checkpoints.state(checkpoint) in ("bundled", "cached")


@runtime.on_device
def _grid(
    model: Editor,
    start: Start,
    neutral: str,
    target: str,
    alphas: tuple[float, ...],
    betas: tuple[float, ...],
) -> Grid:
    shape = (len(betas), len(alphas))
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        w_plus = loaded.w_plus(start)
        images, counts = directions.moved(loaded, w_plus, neutral, target, alphas, betas)
        made = _many(images)
        shown = torch.cat([levels(one) for one in made]).to(model.device)  # within -1..1, as every image is
        cosines = {}
        guide = rows.guide(model.checkpoint)
        for name, row in (("guide", guide), ("other", rows.other(model.checkpoint))):
            if _here(row):
                with judges.use(row, model.device) as encoder:
                    cosines[name] = Judge(encoder).opinion(shown, [target])[:, 0].reshape(shape)
    return Grid(alphas, betas, made.reshape(*shape, *made.shape[1:]), tuple(counts), **cosines)


def _opinion(
    checkpoint: str, device: str, first: np.ndarray, last: np.ndarray, text: str, neutral: str
) -> Opinion | None:
    """What a CLIP says of two images, where it is on this machine."""
    if not _here(checkpoint):
        return None
    with judges.use(checkpoint, device) as encoder, runtime.semaphore(device), torch.inference_mode():
        images = torch.cat([levels(first), levels(last)]).to(device)
        texts = [text, neutral] if neutral else [text]
        cosines = Judge(encoder).opinion(images, texts)
    before, after = cosines[:, 0].tolist()
    if not neutral:
        return Opinion(checkpoint, before, after)
    # The share of two texts is a sigmoid of the difference of their logits.
    shares = 1 / (1 + np.exp(encoder.logit_scale * (cosines[:, 1] - cosines[:, 0])))
    return Opinion(checkpoint, before, after, *shares.tolist())


@runtime.on_device
def _edited(
    model: Editor, start: Start, text: str, s: EditSettings, cancel: runtime.Cancel
) -> Iterator[Frame]:
    watch, began = runtime.Stopwatch(), time.perf_counter()
    steps = 1

    def frame_of(shown: Shown) -> Frame:
        nonlocal steps
        cancel.check()
        steps = shown.steps
        return shown.frame(time.perf_counter() - began)

    with model.use() as loaded, watch.span("steps"):
        run = loaded.run(start, text, s, runtime.semaphore(model.device))
        made = yield from runtime.relay(run, frame_of)
    # What was edited is the generator's image of the latent, or the image itself.
    first = start.origin if s.method in rows.LATENT else start.image
    result = Edit(
        checkpoint=model.checkpoint,
        method=s.method,
        text=text,
        image=pixels(made.image),
        start=first,
        blocked=made.blocked,
        steps=steps,
        seed=s.seed if start.seed is None or s.method not in rows.LATENT else start.seed,
        device=model.device,
        seconds=time.perf_counter() - began,
        timings=dict(watch.ms),
        moved=made.moved,
        variants=made.variants,
    )
    with watch.span("opinions"):
        sides = (s.guide, rows.other(model.checkpoint, s.guide))
        guide, other = (_opinion(side, model.device, first, result.image, text, s.neutral) for side in sides)
    result = replace(result, guide=guide, other=other, timings=dict(watch.ms))
    yield Frame(steps, steps, result.seconds, 0.0, result.image, result)
