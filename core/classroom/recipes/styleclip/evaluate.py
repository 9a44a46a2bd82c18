"""Measure the StyleCLIP miniature on new scenes: the editor and the generator.

    python -m core.classroom evaluate styleclip --checkpoint FOLDER [--json] [--record]

FOLDER has the exports of both trainings, `editor` and `generator`; what is not there is not measured. Things are named by two
CLIPs: the guide, whose text tower or gradient made the image, and the other one, which had no part in it. An optimiser fools
its guide first. Grounds and renderings are judged without any CLIP: the same scene is drawn with each of them, and the nearest
one counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from core.classroom.recipes.common.miniature import NOTE, WEIGHTS, Miniature, export_folder, open_miniature
from core.classroom.recipes.common.rows import Rows
from core.classroom.recipes.styleclip import generator as making
from core.classroom.recipes.styleclip import scenes
from core.classroom.recipes.styleclip.editor import Texts
from core.classroom.world.atlas import Atlas, open_atlas
from core.editing import global_direction, mapper
from core.editing.editor import EditorNetwork, denoise, fold, unfold
from core.editing.inversion import Encoder, invert
from core.editing.optimization import OptimizationSettings, optimize, resized
from core.editing.stylegan2 import Architecture, Generator

GUIDE, OTHER = "classroom-rn", "classroom-vit"
SCENES, SEED, PART = 200, 31_000, 50
FORMS = ("{0}", "a picture of {0}")
SOURCES = 24  # images by which the relevance of a channel is measured
DIRECTED = ("cat", "car", "strawberry", "star")  # things that mappers and global directions are made for


class Judges:
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

    def see(self, images: Tensor) -> Tensor:
        """The guide's features of images in -1..1, with gradients."""
        clip = self.clips["guide"]
        large = resized(images, clip.size) / 2 + 0.5
        features: Tensor = clip.model.encode_image((large - clip.mean) / clip.std)
        return features

    def text(self, thing: int) -> Tensor:
        """[1, D] the guide's feature of a thing's name."""
        return self.names["guide"][thing][None]


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


class Editor:
    """The exported editor with the text tower that it reads."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.network = EditorNetwork(config["unet"])
        self.network.unet.load_state_dict({k: v.float() for k, v in load_file(folder / WEIGHTS).items()})
        self.network.eval().requires_grad_(False)
        (clip,) = json.loads((folder / NOTE).read_text(encoding="utf-8"))["clip"]
        self.texts = Texts(export_folder(clip), torch.device("cpu"))

    def run(self, texts: list[str], source: Tensor | None, seed: int = 0, **options: Any) -> Tensor:
        """Images [B, 3, S, S] in 0..1 that texts make of sources in 0..1, or of nothing."""
        made = []
        for at in range(0, len(texts), PART):
            given = None if source is None else fold(source[at : at + PART])
            part = self.texts.read(texts[at : at + PART])
            g = torch.Generator().manual_seed(SEED + seed + at)
            noise = torch.randn(len(part), 12, scenes.SIZE // 2, scenes.SIZE // 2, generator=g)
            *_, (last, _) = denoise(self.network, noise, given, part, self.texts.nothing, **options)
            made.append(unfold(last))
        return torch.cat(made)


def measure_editor(folder: Path, rows: Rows, judges: Judges, count: int = SCENES) -> None:
    """Prompts, a thing changed, a ground changed, a sketch made, and how near the edits are to the true ones."""
    atlas, editor = open_atlas(), Editor(folder)
    nothing = frozenset[str]()

    # 1. images from texts alone
    states = scenes.states(count, SEED, plain=True)
    made = editor.run([scenes.caption(states, i, "en", nothing) for i in range(count)], None)
    for which in judges.clips:
        rows.add(
            "image from a text, top-1 of 50", which, "en", share(judges.named(which, made) == states.thing)
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
        made = editor.run([scenes.caption(after, i, "en", tell) for i in range(count)], source, number)
        errors += float((made - true).square().mean())
        unedited += float((source - true).square().mean())
        if name != "sketch":
            right = ground_of(made, after, atlas, before) == after.ground
            rows.add("edit: ground", "kept" if name == "thing" else "changed", "", share(right))
        else:
            right = rendering_of(made, after, atlas) == after.rendering
            rows.add("edit: rendering", "sketch", "", share(right))
        for which in judges.clips:
            seen = judges.named(which, made) == after.thing
            rows.add(f"edit: {name}, the thing named", which, "en", share(seen))
            if name == "sketch":
                rows.add("edit: sketch of the thing", which, "en", share(seen & right))
    rows.add("edit: squared error", "share of the unedited one's", "", errors / unedited)


class Maker:
    """The exported generator with its encoder and codes."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        chosen = {name: config[name] for name in ("size", "width", "depth", "rate")}
        shape = Architecture(**chosen, channels={int(k): v for k, v in config["channels"].items()})
        stored = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
        self.generator, self.encoder = Generator(shape), Encoder(shape.size, shape.width, shape.latents)
        for part, module in (("generator.", self.generator), ("encoder.", self.encoder)):
            state = {name.removeprefix(part): t for name, t in stored.items() if name.startswith(part)}
            module.load_state_dict(state)
            module.eval().requires_grad_(False)
        self.codes = stored["codes"]

    def w(self, states: scenes.States) -> Tensor:
        """[B, D] the latents of states."""
        return self.generator.map(making.latent(states, self.codes))


@torch.no_grad()
def image_of(generator: Generator, latents: Tensor) -> Tensor:
    """Images [B, 3, S, S] in 0..1."""
    return (generator(latents) / 2 + 0.5).clamp(0, 1)


def measure_generator(folder: Path, rows: Rows, judges: Judges, count: int = SCENES) -> None:
    """How exact the generator and its encoder are, and what the paper's three ways reach on it."""
    atlas, maker = open_atlas(), Maker(folder)
    generator = maker.generator
    states = scenes.states(count, SEED, aligned=True)
    true = scenes.draw(states, atlas)
    rows.add(
        "generator: squared error",
        "-1 to 1",
        "",
        4 * float((image_of(generator, maker.w(states)) - true).square().mean()),
    )
    again = image_of(generator, invert(maker.encoder, true))
    rows.add("encoder: squared error", "-1 to 1", "", 4 * float((again - true).square().mean()))

    before = scenes.states(count, SEED + 1, aligned=True, plain=True)
    wanted = (before.thing + 1 + torch.arange(count) % (len(scenes.THINGS) - 1)) % len(scenes.THINGS)
    start = maker.w(before)

    # 1. class-mean directions in W
    every = scenes.states(4000, SEED + 2, aligned=True, plain=True)
    latents = maker.w(every)
    means = torch.stack([latents[every.thing == k].mean(0) for k in range(len(scenes.THINGS))])
    told(
        rows,
        judges,
        "direction of class means",
        image_of(generator, start + means[wanted] - means[before.thing]),
        wanted,
    )

    # 2. latent optimization in W+
    few = min(count, 40)
    made = []
    for i in range(few):
        text = judges.text(int(wanted[i]))
        *_, last = optimize(
            generator,
            generator.widen(start[i][None]),
            text,
            judges.see,
            OptimizationSettings(60, distance=(0.002,)),
        )
        made.append((last.images / 2 + 0.5).clamp(0, 1))
    told(rows, judges, "latent optimization", torch.cat(made), wanted[:few])

    # 3. mappers and global directions, for a few things
    things = [scenes.THINGS.index(name) for name in DIRECTED[: max(1, count // 50)]]
    plus = generator.widen(latents[:400])
    new, target = generator.widen(start[:few]), torch.ones(few, dtype=torch.long)
    mapped, directed = [], []
    styles = generator.styles(plus)
    deviations, centres = [s.std(0) for s in styles], [s.mean(0) for s in styles]
    measured = global_direction.relevance_of(
        generator, [s[:SOURCES] for s in styles], centres, deviations, judges.see
    )
    with torch.no_grad():
        channels = torch.stack([one.relevance for one in measured])
    neutral = judges.names["guide"].mean(0, keepdim=True)
    for thing in things:
        torch.manual_seed(0)
        net = mapper.LevelsMapper(generator.architecture.width, generator.architecture.latents)
        for _ in mapper.train(
            net, generator, plus, judges.text(thing), judges.see, mapper.MapperSettings(220, rate=0.1)
        ):
            pass
        mapped.append(image_of(generator, mapper.edited(net, new)))
        text = global_direction.text_direction(judges.text(thing), neutral)
        way = global_direction.direction(channels, text, deviations, generator.to_rgb, beta=0.08)
        with torch.no_grad():
            moved = global_direction.moved(generator.styles(new), way.layers, [5.0])
            directed.append((generator.synthesise([s[:, 0] for s in moved]) / 2 + 0.5).clamp(0, 1))
    goals = torch.cat([target * thing for thing in things])
    told(rows, judges, "mapper", torch.cat(mapped), goals)
    told(rows, judges, "global direction", torch.cat(directed), goals)


def told(rows: Rows, judges: Judges, way: str, images: Tensor, wanted: Tensor) -> None:
    """Adds how often each judge sees the wanted thing."""
    for which in judges.clips:
        rows.add(
            f"StyleCLIP, {way}: the thing named", which, "en", share(judges.named(which, images) == wanted)
        )


def part_of(folder: Path, name: str) -> Path | None:
    """Where an export lies, in a folder of runs or in one that ships."""
    found = (folder / name, folder / name / name)
    return next((path for path in found if (path / WEIGHTS).exists()), None)


def evaluate(
    checkpoint: str, say: Callable[[str], None] = print, count: int = SCENES
) -> list[dict[str, Any]]:
    """The rows of the report card.

    Raises:
        SystemExit: where the folder has neither part.
    """
    folder, judges = Path(checkpoint), Judges()
    rows = Rows("styleclip", checkpoint, say)
    editor, maker = part_of(folder, "editor"), part_of(folder, "generator")
    if editor is None and maker is None:
        raise SystemExit(f"{checkpoint} has neither an editor nor a generator")
    if editor is not None:
        measure_editor(editor, rows, judges, count)
    if maker is not None:
        measure_generator(maker, rows, judges, count)
    return rows.measured
