"""What a person says a scene is made of, its short text for links, and the image with everything known about it.

The text of a scene, for example `1F415.x-50.y10.s42.d30_1F697.x50.y12.s44.d35.r-6.f.tnoto_grass.colour.7`: one to four
objects, then background, rendering and seed. Of an object: code point, place x and y, half its size s, distance d (all
in hundredths of the canvas), turn r in degrees, f flipped, p a pose, t a drawing style. A plain number is the scene
that `surprise` draws from that seed.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import masks as rle
from core import runtime
from core.classroom import Concept, Placed, Scenes, SceneSettings, Writer, arrange, open_atlas, render, sample
from core.classroom.world.atlas import POSES
from core.classroom.world.concepts import by_code, concepts, find
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.specs import BACKGROUNDS, KINDS, RELATIONS, SLOTS
from core.classroom.world.sprites import STYLES, drawn
from core.errors import Refusal

SIZE = 384  # pixels of an image on the page
SEEDS = 2**31
LONGEST = 400  # characters of a scene's text
ARRANGEMENTS = ("left", "right", "above", "below", "front", "behind", "corners")
# Hundredths on the canvas: smallest and largest place, half size and distance; degrees of turn.
LIMITS = {"x": (-100, 100), "y": (-100, 100), "s": (8, 120), "d": (2, 98), "r": (-180, 180)}
# Gain, pale paper, dark pen, grain: a scene by hand is drawn to be read.
_PEN = (4.0, 0.98, 0.98, 0.97, 0.1, 0.1, 0.12, 0.0)
_CAPTIONS, _TRIES = 5, 24  # captions told of one scene and language, and draws to find different ones
_FIELD = re.compile(r"([xysdr])(-?\d{1,4})|(f)|p([a-z]+)|t([a-z0-9-]+)")


@dataclass(frozen=True)
class Description:
    """A scene in words: its objects in the order in which they were named, background, rendering, seed.

    The seed chooses what was left open: drawing styles, free colours of patterned backgrounds, paper and strokes.
    """

    objects: tuple[Placed, ...]
    background: str = "white"
    rendering: str = "colour"
    seed: int = 0

    @property
    def text(self) -> str:
        """The scene's text; `parse` reads it."""
        objects = "_".join(_written(placed) for placed in self.objects)
        return f"{objects}_{self.background}.{self.rendering}.{self.seed}"


@dataclass(frozen=True)
class Drawn:
    """An image [H, W, 3] uint8 and everything known about it, as plain values (`truth`)."""

    picture: NDArray[np.uint8]
    truth: dict[str, Any]


def concept(word: str) -> Concept:
    """The concept that a name in either language or a code point means; Refusal("unknown_concept") otherwise."""
    found = find(word)
    if found is None:
        raise Refusal("unknown_concept", name=word[:40])
    return found


def check(description: Description) -> Description:
    """The description in hundredths and whole degrees, as its text has it.

    Raises:
        Refusal: "scene_size" for none or more than four objects, "bad_scene" for a value that is unknown or out of
            `LIMITS`.
    """
    if not 1 <= len(description.objects) <= SLOTS:
        raise Refusal("scene_size", count=len(description.objects), limit=SLOTS)
    for value, known in ((description.background, BACKGROUNDS), (description.rendering, RENDERINGS)):
        if value not in known:
            raise Refusal("bad_scene", what=str(value)[:40])
    if not 0 <= description.seed < SEEDS:
        raise Refusal("bad_scene", what=str(description.seed)[:40])
    return replace(description, objects=tuple(_checked(placed) for placed in description.objects))


def _checked(placed: Placed) -> Placed:
    depth = placed.depth if placed.depth is not None else 0.92 - 0.8 * placed.half
    values = {"x": placed.x, "y": placed.y, "s": placed.half, "d": max(0.05, depth), "r": placed.angle / 100}
    whole = {}
    for name, value in values.items():
        low, high = LIMITS[name]
        if not math.isfinite(value) or not low <= round(100 * value) <= high:
            raise Refusal("bad_scene", what=f"{name} = {value}"[:40])
        whole[name] = round(100 * value)
    if placed.pose not in POSES or placed.style not in (None, *STYLES):
        raise Refusal("bad_scene", what=f"{placed.pose} {placed.style}"[:40])
    return Placed(
        placed.concept, whole["x"] / 100, whole["y"] / 100, whole["s"] / 100, whole["d"] / 100, float(whole["r"]),
        bool(placed.flip), placed.pose, placed.style,
    )  # fmt: skip


def _written(placed: Placed) -> str:
    hundredths = {"x": placed.x, "y": placed.y, "s": placed.half}
    if placed.depth is not None:
        hundredths["d"] = placed.depth
    fields = [f"{name}{round(100 * value)}" for name, value in hundredths.items()]
    if placed.angle:
        fields.append(f"r{round(placed.angle)}")
    if placed.flip:
        fields.append("f")
    if placed.pose != POSES[0]:
        fields.append(f"p{placed.pose}")
    if placed.style is not None:
        fields.append(f"t{placed.style}")
    return ".".join([concepts()[placed.concept].code, *fields])


def parse(text: str) -> Description:
    """The description that a text means; a plain number is a surprise.

    Raises:
        Refusal: "bad_scene" for what is no scene's text, "unknown_concept", "scene_size".
    """
    text = text.strip()
    if not text or len(text) > LONGEST:
        raise Refusal("bad_scene", what=text[:40])
    if re.fullmatch(r"\d{1,10}", text):
        return surprise(int(text))
    *objects, ground = text.split("_")
    parts = ground.split(".")
    if len(parts) != 3 or not re.fullmatch(r"\d{1,10}", parts[2]):
        raise Refusal("bad_scene", what=ground[:40])
    return check(Description(tuple(_read(item) for item in objects), parts[0], parts[1], int(parts[2])))


def _read(item: str) -> Placed:
    code, *fields = item.split(".")
    if code not in by_code():
        raise Refusal("unknown_concept", name=code[:40])
    numbers, flip, pose, style = {"x": 0, "y": 0, "s": 60, "r": 0}, False, POSES[0], None
    for word in fields:
        found = _FIELD.fullmatch(word)
        if found is None:
            raise Refusal("bad_scene", what=item[:40])
        name, number, flipped, posed, styled = found.groups()
        if name:
            numbers[name] = int(number)
        flip, pose, style = flip or bool(flipped), posed or pose, styled or style
    depth = numbers["d"] / 100 if "d" in numbers else None
    return Placed(
        by_code()[code].index, numbers["x"] / 100, numbers["y"] / 100, numbers["s"] / 100, depth, float(numbers["r"]),
        flip, pose, style,
    )  # fmt: skip


def stand(count: int, arrangement: str) -> list[tuple[float, float, float, float]]:
    """Where that many objects stand: (x, y, half, depth) of each, the first left of the second and so on.

    Args:
        arrangement: one of `ARRANGEMENTS`; a single object stands in the middle.
    """
    if arrangement not in ARRANGEMENTS:
        raise Refusal("bad_scene", what=arrangement[:40])
    if count == 1:
        return [(0.0, 0.0, 0.76, 0.31)]
    half = {2: 0.44, 3: 0.31, 4: 0.24}[count]
    if arrangement == "corners":
        half = 0.44 if count == 2 else 0.4
        corners = [(-0.5, -0.48), (0.5, -0.48), (-0.5, 0.5), (0.5, 0.5)]
        places = [corners[0], corners[3]] if count == 2 else corners[:count]
        return [(x, y, half, 0.6) for x, y in places]
    order = list(range(count))
    if arrangement in ("right", "below", "behind"):
        order.reverse()
    steps = [(2 * at - count + 1) / count for at in order]  # evenly spread over the canvas
    if arrangement in ("left", "right"):
        return [(step, 0.1, half, 0.6) for step in steps]
    if arrangement in ("above", "below"):
        return [(0.0, step, half, 0.6) for step in steps]
    # One behind the other: the nearest is lowest and largest, and hides a part of the next.
    return [
        (0.12 - 0.14 * at, 0.3 - 0.16 * at, 0.5 + 0.06 * at * (count == 2), 0.2 + 0.6 * at / (count - 1))
        for at in order
    ]


def arranged(objects: Sequence[Placed]) -> str | None:
    """The first of `ARRANGEMENTS` in which these objects stand, to the hundredth; None where they stand freely."""
    places = np.array([(o.x, o.y, o.half, o.depth) for o in objects], float)
    count = len(objects)
    return next((name for name in ARRANGEMENTS if np.allclose(stand(count, name), places, atol=0.006)), None)


def spot(objects: Sequence[Placed]) -> tuple[float, float, float, float]:
    """A place (x, y, half, depth) for one more object: small, near, in the corner that is farthest from the others."""
    corners = np.array([(x, y) for y in (0.6, -0.6) for x in (-0.62, 0.62)])
    taken = np.array([(o.x, o.y) for o in objects], float).reshape(-1, 2)
    distance = np.linalg.norm(corners[:, None] - taken[None], axis=-1).min(1, initial=9.0)
    x, y = corners[int(distance.round(6).argmax())].tolist()
    return x, y, 0.32, 0.2


def surprise(seed: int) -> Description:
    """A scene of the world, without its augmentations: the same from the same seed."""
    if not 0 <= seed < SEEDS:
        raise Refusal("bad_scene", what=str(seed)[:40])
    atlas = open_atlas()
    settings = SceneSettings(augment=0.0, kinds=(0.25, 0.4, 0.15, 0.2), poses=0.05, pairs="any")
    spec = sample(1, seed, atlas, settings)
    place = {
        name: getattr(spec, name)[0].tolist()
        for name in ("concept", "sprite", "pose", "x", "y", "half", "depth")
    }
    objects = tuple(
        Placed(
            place["concept"][j], place["x"][j], place["y"][j], place["half"][j], place["depth"][j],
            flip=bool(spec.affine[0, j, 0, 0] < 0), pose=POSES[place["pose"][j]],
            style=atlas.styles[int(atlas.style[place["sprite"][j]])],
        )
        for j in range(int(spec.count[0]))
    )  # fmt: skip
    background = list(BACKGROUNDS)[int(spec.background[0])]
    return check(Description(objects, background, RENDERINGS[int(spec.rendering[0])], seed))


def draw(description: Description, size: int = SIZE) -> Drawn:
    """The image of a description and what is known about it.

    Args:
        description: as `check` and `parse` return it.
        size: pixels of a side, 48 to 768.
    """
    if not 48 <= size <= 768:
        raise Refusal("bad_scene", what=f"{size} x {size}")
    atlas = open_atlas()
    with runtime.semaphore("cpu"):
        spec = arrange(
            [_styled(placed, f"{description.seed} {at}") for at, placed in enumerate(description.objects)],
            background=description.background,
            rendering=description.rendering,
            seed=description.seed,
            atlas=atlas,
        )
        if description.rendering in ("silhouette", "line", "sketch"):
            spec.stroke[0] = spec.stroke.new_tensor(_PEN)
        scenes = render(spec, atlas, size)
        known = truth(scenes)[0]
    placed = [{**asdict(o), "concept": concepts()[o.concept].code} for o in description.objects]
    facts = {"scene": description.text, "arrangement": arranged(description.objects)}
    return Drawn(pixels(scenes)[0], {**facts, **known, "seed": description.seed, "placed": placed})


def _styled(placed: Placed, seed: str) -> Placed:
    """The object in its style, or in one that its place in the description chooses: the same wherever it stands."""
    styles = styles_of(placed.concept)
    if placed.style in styles:
        return placed
    painted = [style for style in styles if not STYLES[style]] or styles
    return replace(placed, style=random.Random(seed).choice(painted))


def pixels(scenes: Scenes) -> NDArray[np.uint8]:
    """The images as [B, H, W, 3]."""
    return (scenes.picture.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()


def truth(scenes: Scenes, seed: int = 0) -> list[dict[str, Any]]:
    """Everything known about each scene, as plain values.

    Boxes are xyxy in pixels, right and bottom exclusive; masks are COCO run lengths (`core.masks`), the amodal
    one of the whole object and the visible one of what nothing nearer hides; depth runs from 0 at the eye to 1.

    Args:
        seed: which of the true captions are told.
    """
    spec, atlas = scenes.spec, open_atlas()
    writer = Writer(spec, atlas.mono)
    amodal, visible = scenes.amodal.cpu().numpy(), scenes.visible.cpu().numpy()
    boxes = {"box": scenes.boxes().tolist(), "visible_box": scenes.boxes(visible=True).tolist()}
    masks = {"mask": amodal, "visible_mask": visible}
    areas = {"area": amodal.sum((2, 3)).tolist(), "visible_area": visible.sum((2, 3)).tolist()}
    columns = {
        name: getattr(spec, name).tolist()
        for name in ("concept", "pose", "sprite", "x", "y", "half", "depth")
    }
    size = scenes.picture.shape[-1]

    def one(i: int, j: int) -> dict[str, Any]:
        thing = concepts()[columns["concept"][i][j]]
        return {
            "code": thing.code,
            "en": thing.en,
            "zh": thing.zh,
            "parents": [en for en, _ in thing.parents],
            "pose": POSES[columns["pose"][i][j]],
            "style": atlas.styles[int(atlas.style[columns["sprite"][i][j]])],
            **{name: round(columns[name][i][j], 4) for name in ("x", "y", "half", "depth")},
            **{name: values[i][j] for name, values in (*boxes.items(), *areas.items())},
            **{
                name: {"size": [size, size], "counts": rle.encode(mask[i, j])} for name, mask in masks.items()
            },
        }

    found = []
    for i, number in enumerate(spec.count.tolist()):
        kind, relation = KINDS[int(spec.kind[i])], RELATIONS[int(spec.relation[i])]
        swapped = {lang: writer.content(i, lang).swapped for lang in ("en", "zh")}
        found.append(
            {
                "size": size,
                "kind": kind,
                "relation": relation if relation != "none" else None,
                "background": list(BACKGROUNDS)[int(spec.background[i])],
                "rendering": RENDERINGS[int(spec.rendering[i])],
                "captions": {lang: _captions(writer, i, lang, seed) for lang in ("en", "zh")},
                "swapped": swapped if swapped["en"] else None,
                "objects": [one(i, j) for j in range(number)],
            }
        )
    return found


def _captions(writer: Writer, i: int, lang: str, seed: int) -> list[str]:
    """The plain caption of a scene, then other true ones."""
    rng = random.Random(f"{seed} {i} {lang}")
    told = [writer.content(i, lang).text, *(writer.write(i, lang, rng).text for _ in range(_TRIES))]
    return list(dict.fromkeys(told))[:_CAPTIONS]


def styles_of(index: int) -> list[str]:
    """The drawing styles that have a concept."""
    return [style for style in STYLES if concepts()[index].code in drawn()[style]]


def depth_map(known: dict[str, Any]) -> NDArray[np.float32]:
    """[H, W] of what `truth` says: 0 at the eye .. 1 the background."""
    size = known["size"]
    depth = np.ones((size, size), np.float32)
    for thing in known["objects"]:
        depth[rle.decode(thing["visible_mask"]["counts"], size, size)] = thing["depth"]
    return depth


def objects_of(words: Sequence[Any], arrangement: str) -> tuple[Placed, ...]:
    """Objects from names, or from dictionaries {"concept", "x", "y", "half", "depth", "angle", "flip", "pose", "style"};
    what a dictionary leaves out comes from the arrangement.

    Raises:
        Refusal: "scene_size", "unknown_concept", "bad_scene".
    """
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise Refusal("bad_scene", what=str(words)[:40])
    if not 1 <= len(words) <= SLOTS:
        raise Refusal("scene_size", count=len(words), limit=SLOTS)
    found = []
    for word, (x, y, half, depth) in zip(words, stand(len(words), arrangement), strict=True):
        given = dict(word) if isinstance(word, dict) else {"concept": word}
        index = concept(str(given.pop("concept", ""))).index
        places = {"x": x, "y": y, "half": half, "depth": depth, "angle": 0.0}
        try:
            places = {name: float(given.pop(name, value)) for name, value in places.items()}
        except (TypeError, ValueError):
            raise Refusal("bad_scene", what=str(word)[:40]) from None
        flip, pose, style = given.pop("flip", False), given.pop("pose", POSES[0]), given.pop("style", None)
        if given:
            raise Refusal("bad_scene", what=", ".join(map(str, given))[:40])
        found.append(Placed(index, **places, flip=bool(flip), pose=str(pose), style=style))
    return tuple(found)
