"""Measure the StyleCLIP miniature on new scenes: the editor and the generator.

    python -m core.classroom evaluate styleclip [--checkpoint FOLDER] [--json] [--record]

FOLDER is what `train styleclip` joined. Things are named by two CLIPs: the guide, whose text tower or gradient made the image,
and the other one, which had no part in it. An optimiser fools its guide first. Grounds and renderings are judged without any
CLIP: the same scene is drawn with each of them, and the nearest one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core.classroom.recipes.common.miniature import WEIGHTS, Miniature, open_miniature
from core.classroom.recipes.common.rows import Rows
from core.classroom.recipes.styleclip import scenes
from core.classroom.recipes.styleclip.train import row_of
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.wording import phrase
from core.editing import directions, editor, global_direction, judges, mapper, settings
from core.editing.inversion import invert
from core.editing.judges import Judge
from core.editing.latents import LEARNED, mapper_settings
from core.editing.miniature import LoadedMiniature, read
from core.editing.model import Editor
from core.editing.optimization import OptimizationSettings, optimize

GUIDE, OTHER = "classroom-rn", "classroom-vit"
SCENES, FEW, SEED, PART = 200, 40, 31_000, 50
FORMS = ("{0}", "a picture of {0}")
MAPPED = ("cat", "car", "strawberry", "star")  # things that mappers are trained for


class Namers:
    """The guide and the other CLIP, each naming one of the 50 things."""

    def __init__(self) -> None:
        self.clips: dict[str, Miniature] = {"guide": open_miniature(GUIDE), "other": open_miniature(OTHER)}
        self.names = {
            which: clip.names("en", FORMS, scenes.thing_concepts()).clone()
            for which, clip in self.clips.items()
        }

    def named(self, which: str, images: Tensor) -> Tensor:
        """[B] the thing that a judge sees in images [B, 3, S, S] in 0..1."""
        clip = self.clips[which]
        large = F.interpolate(images, size=(clip.size, clip.size), mode="bicubic", antialias=True).clamp(0, 1)
        return (clip.images(large) @ self.names[which].T).argmax(1)


def nearest(
    images: Tensor,
    states: scenes.States,
    factor: str,
    count: int,
    atlas: Atlas,
    other: scenes.States | None = None,
) -> Tensor:
    """[B] the value of a factor whose exact image is nearest to each image.

    Only the pixels count that the factor changes; with `other` only those that it changes in that state, too."""

    def drawn(of: scenes.States) -> Tensor:
        values = [replace(of, **{factor: torch.full_like(of.thing, k)}) for k in range(count)]
        return torch.stack(
            [scenes.draw(one, atlas, images.shape[-1]) for one in values], 1
        )  # [B, K, 3, S, S]

    exact = drawn(states)
    changed = exact.var(1).sum(1) > 0.02  # [B, S, S]
    if other is not None:
        changed &= drawn(other).var(1).sum(1) > 0.02
    error = (images[:, None] - exact).square().sum(2) * changed[:, None]
    return error.sum((2, 3)).argmin(1)


def ground_of(
    images: Tensor, states: scenes.States, atlas: Atlas, other: scenes.States | None = None
) -> Tensor:
    """[B] the ground that is seen in coloured images of states."""
    return nearest(images, states, "ground", len(scenes.GROUNDS), atlas, other)


def rendering_of(images: Tensor, states: scenes.States, atlas: Atlas) -> Tensor:
    """[B] the rendering that images are in."""
    return nearest(images, states, "rendering", len(scenes.DRAWN), atlas)


def share(values: Tensor) -> float:
    """The mean of bools."""
    return float(values.float().mean())


@torch.inference_mode()
def painted(
    loaded: LoadedMiniature, texts: list[str], source: Tensor | None, seed: int = 0, **options: Any
) -> Tensor:
    """Images [B, 3, S, S] in 0..1 that the editor makes of texts and sources in 0..1, or of texts alone."""
    made, side = [], scenes.SIZE // editor.FOLD
    with judges.use(GUIDE, loaded.device) as encoder:
        nothing = read(encoder, [""])
        for at in range(0, len(texts), PART):
            given = None if source is None else editor.fold(source[at : at + PART])
            part = read(encoder, texts[at : at + PART])
            g = torch.Generator().manual_seed(SEED + seed + at)
            noise = torch.randn(len(part), 3 * editor.FOLD**2, side, side, generator=g)
            *_, (last, _) = editor.denoise(loaded.network, noise, given, part, nothing, **options)
            made.append(editor.unfold(last))
    return torch.cat(made).clone()


def measure_editor(loaded: LoadedMiniature, rows: Rows, namers: Namers, count: int = SCENES) -> None:
    """Prompts, a thing changed, a ground changed, a sketch made, and how near the edits are to the true ones."""
    atlas = open_atlas()
    nothing = frozenset[str]()

    # 1. images from texts alone
    states = scenes.states(count, SEED, plain=True)
    made = painted(loaded, [scenes.caption(states, i, "en", nothing) for i in range(count)], None)
    for which in namers.clips:
        rows.add(
            "image from a text, top-1 of 50", which, "en", share(namers.named(which, made) == states.thing)
        )

    # 2. to 4. one factor changed
    shares: dict[str, tuple[float, ...]] = {
        "thing": (1.0, 0, 0, 0),
        "ground": (0, 1.0, 0, 0),
        "sketch": (0, 0, 1.0, 0),
    }
    errors, unedited = 0.0, 0.0
    for number, (name, of) in enumerate(shares.items()):
        before, after, _ = scenes.pairs(count, SEED + 1 + number, of)
        colour = torch.zeros_like(before.rendering)
        before = replace(before, rendering=colour)
        drawn = torch.full_like(colour, scenes.DRAWN.index("sketch")) if name == "sketch" else colour
        after = replace(after, rendering=drawn)
        source, true = scenes.draw(before, atlas), scenes.draw(after, atlas)
        tell = {"thing": nothing, "ground": frozenset({"ground"}), "sketch": frozenset({"rendering"})}[name]
        made = painted(loaded, [scenes.caption(after, i, "en", tell) for i in range(count)], source, number)
        errors += float((made - true).square().mean())
        unedited += float((source - true).square().mean())
        if name != "sketch":
            right = ground_of(made, after, atlas, before) == after.ground
            rows.add("edit: ground", "kept" if name == "thing" else "changed", "en", share(right))
        else:
            right = rendering_of(made, after, atlas) == after.rendering
            rows.add("edit: rendering", "sketch", "en", share(right))
        for which in namers.clips:
            seen = namers.named(which, made) == after.thing
            rows.add(f"edit: {name}, the thing named", which, "en", share(seen))
            if name == "sketch":
                rows.add("edit: sketch of the thing", which, "en", share(seen & right))
    rows.add("edit: squared error", "share of the unedited one's", "en", errors / unedited)


def w_of(loaded: LoadedMiniature, states: scenes.States) -> Tensor:
    """[B, D] the latents of states."""
    return loaded.w(
        [
            {name: values[int(getattr(states, name)[i])] for name, values in loaded.factors.items()}
            for i in range(len(states))
        ]
    )


@torch.no_grad()
def image_of(loaded: LoadedMiniature, latents: Tensor) -> Tensor:
    """Images [B, 3, S, S] in 0..1."""
    return (loaded.generator(latents) / 2 + 0.5).clamp(0, 1)


@contextmanager
def guided() -> Iterator[Judge]:
    """The guide, with gradients."""
    with judges.use(GUIDE, "cpu") as encoder:
        yield Judge(encoder)


def measure_generator(loaded: LoadedMiniature, rows: Rows, namers: Namers, count: int = SCENES) -> None:
    """How exact the generator and its encoder are, and what the paper's three ways reach on it."""
    atlas, generator = open_atlas(), loaded.generator
    states = scenes.states(count, SEED, aligned=True)
    true = scenes.draw(states, atlas)
    made = image_of(loaded, w_of(loaded, states))
    rows.add("generator: squared error", "-1 to 1", "en", 4 * float((made - true).square().mean()))
    again = image_of(loaded, invert(loaded.encoder, true))
    rows.add("encoder: squared error", "-1 to 1", "en", 4 * float((again - true).square().mean()))

    before = scenes.states(count, SEED + 1, aligned=True, plain=True)
    wanted = (before.thing + 1 + torch.arange(count) % (len(scenes.THINGS) - 1)) % len(scenes.THINGS)
    start = w_of(loaded, before)

    # 1. class-mean directions in W
    every = scenes.states(4000, SEED + 2, aligned=True, plain=True)
    latents = w_of(loaded, every)
    means = torch.stack([latents[every.thing == k].mean(0) for k in range(len(scenes.THINGS))])
    shifted = image_of(loaded, start + means[wanted] - means[before.thing])
    told(rows, namers, "direction of class means", shifted, wanted)

    # 2. latent optimization in W+
    few = min(count, FEW)
    s = settings.of(loaded.row.name, "optimization")
    how = OptimizationSettings(s.steps, s.rate, s.distance * few)
    with guided() as see:
        goals = torch.cat([see.texts([named(int(thing))]) for thing in wanted[:few]])
        *_, last = optimize(generator, generator.widen(start[:few]), goals, see, how)
    told(rows, namers, "latent optimization", (last.images / 2 + 0.5).clamp(0, 1), wanted[:few])

    # 3. global directions, each from what the image shows
    s = settings.of(loaded.row.name, "global_direction")
    directed = []
    with torch.no_grad():
        for i in range(few):
            way = directions.way(loaded, named(int(before.thing[i])), named(int(wanted[i])), s.beta)
            styles = generator.styles(generator.widen(start[i][None]))
            moved = global_direction.moved(styles, way.layers, [s.alpha])
            directed.append((generator.synthesise([one[:, 0] for one in moved]) / 2 + 0.5).clamp(0, 1))
    told(rows, namers, "global direction", torch.cat(directed), wanted[:few])


def measure_mappers(loaded: LoadedMiniature, rows: Rows, namers: Namers, count: int = SCENES) -> None:
    """What mappers for a few things make of new images."""
    generator = loaded.generator
    things = [scenes.THINGS.index(name) for name in MAPPED[: max(1, count // 50)]]
    states = scenes.states(4000, SEED + 2, aligned=True, plain=True).take(slice(0, LEARNED))
    new = generator.widen(w_of(loaded, scenes.states(min(count, FEW), SEED + 1, aligned=True, plain=True)))
    plus, mapped = generator.widen(w_of(loaded, states)), []
    s = settings.of(loaded.row.name, "mapper")
    with guided() as see:
        for thing in things:
            torch.manual_seed(0)
            net = mapper.LevelsMapper(generator.architecture.width, generator.architecture.latents)
            text = see.texts([named(thing)])
            for _ in mapper.train(net, generator, plus, text, see, mapper_settings(s)):
                pass
            mapped.append(image_of(loaded, mapper.edited(net, new)))
    told(rows, namers, "mapper", torch.cat(mapped), torch.tensor(things).repeat_interleave(len(new)))


def named(thing: int) -> str:
    """What a thing is called in a text."""
    return phrase(scenes.thing_names("en")[thing], "en")


def told(rows: Rows, namers: Namers, way: str, images: Tensor, wanted: Tensor) -> None:
    """Adds how often each judge sees the wanted thing."""
    for which in namers.clips:
        right = share(namers.named(which, images) == wanted)
        rows.add(f"StyleCLIP, {way}: the thing named", which, "en", right)


def evaluate(
    checkpoint: str, say: Callable[[str], None] = print, count: int = SCENES
) -> list[dict[str, Any]]:
    """The rows of the report card.

    Args:
        checkpoint: a row, or the folder of one that was joined.
    """
    name = row_of(Path(checkpoint)).name if (Path(checkpoint) / WEIGHTS).is_file() else checkpoint
    rows, namers = Rows("styleclip", checkpoint, say), Namers()
    with Editor.load(name, "cpu").use() as loaded:
        measure_editor(loaded, rows, namers, count)
        measure_generator(loaded, rows, namers, count)
        measure_mappers(loaded, rows, namers, count)
    return rows.measured
