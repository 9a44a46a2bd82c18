"""Point clouds of the classroom: solids, and sprites that are extruded, puffed up or turned on a lathe, with their names.

A cloud is y up, centred, of unit radius. A sprite's area becomes a body: "extruded" has flat sides, "puffed" is thick in
the middle and thin at the outline, "revolved" turns the outline about its vertical axis. Solids are computed. On top come
noise, a viewer from whom one side is hidden, a missing piece, and a turn.

    clouds = sample(4, seed=0)        # four of each of the twenty classes
    clouds.points [B, P, 3], clouds.labels [B], clouds.names("en")
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from core.classroom.world import sprites
from core.classroom.world.atlas import enclosed
from core.classroom.world.concepts import Concept, by_code, by_name

Points = NDArray[np.float32]  # [P, 3]

# What a concept's body is made by. The first twenty classes are those that are measured.
MEASURED: dict[str, str] = {
    "die": "cube",
    "soccer ball": "sphere",
    "doughnut": "torus",
    "drum": "cylinder",
    "car": "puffed",
    "airplane": "extruded",
    "fish": "puffed",
    "butterfly": "extruded",
    "cat": "puffed",
    "horse": "puffed",
    "duck": "puffed",
    "guitar": "extruded",
    "key": "extruded",
    "star": "extruded",
    "heart": "puffed",
    "mushroom": "revolved",
    "bell": "revolved",
    "wine": "revolved",
    "pine tree": "revolved",
    "umbrella": "revolved",
}
OTHERS: dict[str, str] = {
    "package": "box",
    "pill": "capsule",
    "ring": "ring",
    "camel": "puffed",
    "bicycle": "extruded",
    "scissors": "extruded",
    "crescent moon": "puffed",
    "rocket": "revolved",
    "light bulb": "revolved",
    "snowman": "revolved",
}
BODIES = MEASURED | OTHERS
NEW_STYLES = ("fluent-emoji", "emojione")  # in new clouds alone: training clouds have other drawings
OPAQUE = 100  # of 255
DEEP = 400  # points that are drawn for each that is kept, in percent: occlusion and missing pieces take some away
VIEW_CELLS = 28  # along the side of what a viewer sees


@dataclass(frozen=True)
class CloudSettings:
    """How clouds are made.

    names: concepts in English. points: of a cloud. noise: standard deviation, in radii. occluded, missing: shares of clouds
    of which one side is hidden, or a piece is gone. rotation: "aligned" (a few degrees about the vertical axis), "upright"
    (any angle about it) or "any". styles: of the drawings.
    """

    names: tuple[str, ...] = tuple(MEASURED)
    points: int = 1024
    noise: float = 0.01
    occluded: float = 0.25
    missing: float = 0.25
    rotation: str = "aligned"
    styles: tuple[str, ...] = tuple(style for style in sprites.STYLES if style not in NEW_STYLES)


PLAIN = CloudSettings(noise=0.0, occluded=0.0, missing=0.0)
NEW = CloudSettings(styles=NEW_STYLES)


@dataclass(frozen=True)
class Clouds:
    """B clouds with their labels."""

    points: NDArray[np.float32]  # [B, P, 3]
    labels: NDArray[np.int64]  # [B] index into `concepts`
    concepts: tuple[Concept, ...]

    def names(self, lang: str) -> list[str]:
        """The names of the classes in "en" or "zh"."""
        return [concept.name(lang) for concept in self.concepts]


def concepts_of(names: Sequence[str]) -> tuple[Concept, ...]:
    """The concepts of names in English."""
    return tuple(by_name()[NAMED.get(name, name)] for name in names)


# Names of clouds that are shorter than those of the sprites.
NAMED = {"fish": "tropical fish"}


def sample(count: int, seed: int, settings: CloudSettings | None = None) -> Clouds:
    """`count` clouds of each class; the same seed and settings give the same clouds."""
    s = settings or CloudSettings()
    random = np.random.default_rng(seed)
    concepts = concepts_of(s.names)
    rows = [cloud(name, random, s) for _ in range(count) for name in s.names]
    return Clouds(np.stack(rows), np.tile(np.arange(len(concepts)), count), concepts)


def cloud(name: str, random: np.random.Generator, settings: CloudSettings) -> Points:
    """One cloud of a concept."""
    s = settings
    body = BODIES[name]
    wanted = s.points * DEEP // 100
    if body in SOLIDS:
        points = SOLIDS[body](wanted, random)
    else:
        concept = concepts_of([name])[0]
        styles = [style for style in s.styles if concept.code in sprites.drawn()[style]]
        area = outline(concept.code, str(random.choice(styles)))
        points = SPRITES[body](area, wanted, random)
    points = _unit(points) * random.uniform(0.85, 1.15, 3)
    if random.random() < s.missing:
        points = _without_piece(points, random)
    points = _unit(points) @ _turn(s.rotation, random).T
    if random.random() < s.occluded:
        points = _seen(points, random)
    points = points[random.choice(len(points), s.points, replace=len(points) < s.points)]
    return _unit(points + s.noise * random.standard_normal(points.shape)).astype(np.float32)


@cache
def outline(code: str, style: str) -> NDArray[np.bool_]:
    """[96, 96] what the drawing of a concept covers; what its ink encloses is part of it."""
    import torch

    ink = sprites.sheet(style)[by_code()[code].index][..., 3]
    filled = (
        enclosed(torch.from_numpy(np.ascontiguousarray(ink))[None])[0].numpy()
        if sprites.STYLES[style]
        else ink
    )
    return np.maximum(ink, filled) > OPAQUE


# --- bodies of sprites ---------------------------------------------------------------------------------------


def _places(
    area: NDArray[np.bool_], at: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Points in the pixels `at` of an area: [P, 2], x to the right, y up, the cell being 2 wide."""
    rows, columns = np.divmod(at, area.shape[1])
    within = random.random((2, len(at)))
    return np.stack([columns + within[0], -(rows + within[1])], 1) * (2 / len(area)) + [-1, 1]


def _edge(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of an area beside one that is outside."""
    padded = np.pad(area, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return area & ~inner


def extruded(area: NDArray[np.bool_], count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Two flat sides and the wall between them."""
    thickness = random.uniform(0.12, 0.3)
    pixels, rim = np.flatnonzero(area), np.flatnonzero(_edge(area))
    side = 2 / len(area)
    weight = 2 * len(pixels) * side**2
    on_wall = random.random(count) < len(rim) * side * thickness / (weight + len(rim) * side * thickness)
    at = np.where(
        on_wall, rim[random.integers(len(rim), size=count)], pixels[random.integers(len(pixels), size=count)]
    )
    z = np.where(on_wall, random.uniform(-1, 1, count), random.choice([-1.0, 1.0], count)) * thickness / 2
    return np.column_stack([_places(area, at, random), z])


def puffed(area: NDArray[np.bool_], count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Two sides that bulge: as deep as the pixel lies inside, with a round edge."""
    depth = distance(area)
    middle = np.quantile(depth[area], 0.98)  # pixels from the outline to the thickest part
    thickness = random.uniform(0.8, 1.4)
    pixels = np.flatnonzero(area)
    at = pixels[random.integers(len(pixels), size=count)]
    share = np.minimum((depth.flat[at] - random.random(count)) / middle, 1)
    bulge = np.sqrt(1 - (1 - share) ** 2) * middle * (2 / len(area)) * thickness
    return np.column_stack([_places(area, at, random), random.choice([-1.0, 1.0], count) * bulge])


def revolved(area: NDArray[np.bool_], count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """The half width of each row turned about the vertical axis."""
    widths = area.sum(1).astype(float)
    rows = np.flatnonzero(widths)
    radii = np.array([(np.flatnonzero(area[row])[-1] - np.flatnonzero(area[row])[0] + 1) / 2 for row in rows])
    slope = np.hypot(1, np.gradient(radii)) if len(radii) > 1 else np.ones(1)
    shares = np.cumsum(radii * slope)
    at = np.searchsorted(shares, random.random(count) * shares[-1]).clip(0, len(rows) - 1)
    angle = random.uniform(0, 2 * math.pi, count)
    radius = radii[at] * (2 / len(area))
    y = 1 - (rows[at] + random.random(count)) * (2 / len(area))
    return np.column_stack([radius * np.cos(angle), y, radius * np.sin(angle)])


def distance(area: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How many pixels deep each pixel lies inside an area, a step to any of the eight neighbours being one."""
    depth, left = np.zeros(area.shape), area.copy()
    while left.any():
        depth += left
        padded = np.pad(left, 1)
        left = np.logical_and.reduce(
            [
                padded[1 + dy : 1 + dy + len(area), 1 + dx : 1 + dx + area.shape[1]]
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            ]
        )
    return depth


SPRITES: dict[str, Callable[[NDArray[np.bool_], int, np.random.Generator], NDArray[np.float64]]] = {
    "extruded": extruded,
    "puffed": puffed,
    "revolved": revolved,
}


# --- solids --------------------------------------------------------------------------------------------------


def _directions(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    vectors = random.standard_normal((count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _box(count: int, random: np.random.Generator, sides: Sequence[float]) -> NDArray[np.float64]:
    """The surface of a box."""
    half = np.asarray(sides, float)
    areas = np.array([half[1] * half[2], half[0] * half[2], half[0] * half[1]])
    axis = random.choice(3, count, p=areas / areas.sum())
    points = random.uniform(-1, 1, (count, 3))
    points[np.arange(count), axis] = random.choice([-1.0, 1.0], count)
    return points * half


def _torus(count: int, random: np.random.Generator, tube: float) -> NDArray[np.float64]:
    """A torus that faces the viewer; points are kept by the circumference that they stand for."""
    around, across = random.uniform(0, 2 * math.pi, (2, 3 * count))
    kept = random.random(3 * count) < (1 + tube * np.cos(across)) / (1 + tube)
    around, across = around[kept][:count], across[kept][:count]
    radius = 1 + tube * np.cos(across)
    return np.column_stack([radius * np.cos(around), radius * np.sin(around), tube * np.sin(across)])


def _cylinder(count: int, random: np.random.Generator, height: float) -> NDArray[np.float64]:
    """A closed cylinder of radius 1 that stands upright."""
    angle = random.uniform(0, 2 * math.pi, count)
    on_wall = random.random(count) < 2 * height / (2 * height + 2)
    radius = np.where(on_wall, 1, np.sqrt(random.random(count)))
    y = np.where(on_wall, random.uniform(-1, 1, count), random.choice([-1.0, 1.0], count)) * height
    return np.column_stack([radius * np.cos(angle), y, radius * np.sin(angle)])


def _capsule(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Two half balls and a tube between them, along x."""
    points = _directions(count, random)
    length = random.uniform(1.0, 1.6)
    on_tube = random.random(count) < length / (length + 2)
    angle = random.uniform(0, 2 * math.pi, count)
    tube = np.column_stack([random.uniform(-1, 1, count) * length, np.cos(angle), np.sin(angle)])
    caps = points + np.sign(points[:, :1]) * [[length, 0, 0]]
    return np.where(on_tube[:, None], tube, caps)


SOLIDS: dict[str, Callable[[int, np.random.Generator], NDArray[np.float64]]] = {
    "cube": lambda count, random: _box(count, random, (1, 1, 1)),
    "box": lambda count, random: _box(
        count, random, random.uniform([0.8, 0.4, 0.6], [1.2, 0.7, 0.9]).tolist()
    ),
    "sphere": _directions,
    "torus": lambda count, random: _torus(count, random, random.uniform(0.35, 0.5)),
    "ring": lambda count, random: _torus(count, random, random.uniform(0.08, 0.16)),
    "cylinder": lambda count, random: _cylinder(count, random, random.uniform(0.45, 0.7)),
    "capsule": _capsule,
}


# --- what happens to a cloud ---------------------------------------------------------------------------------


def _unit(points: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = points - points.mean(0)
    return centred / np.linalg.norm(centred, axis=1).max()


def _turn(rotation: str, random: np.random.Generator) -> NDArray[np.float64]:
    """A matrix [3, 3]: a few degrees or any angle about the vertical axis, or any rotation (a random quaternion)."""
    if rotation == "any":
        w, x, y, z = _quaternion(random)
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
    angle = random.uniform(-math.pi, math.pi) if rotation == "upright" else random.normal(0, math.radians(8))
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def _quaternion(random: np.random.Generator) -> NDArray[np.float64]:
    four = random.standard_normal(4)
    return four / np.linalg.norm(four)


def _without_piece(points: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """A tenth to a quarter of the points gone: those nearest to one of them."""
    middle = points[random.integers(len(points))]
    far = np.linalg.norm(points - middle, axis=1)
    return points[far > np.quantile(far, random.uniform(0.1, 0.25))]


def _seen(points: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """The points that a viewer from a random side sees: in each cell of the view those not far behind the nearest."""
    towards = _directions(1, random)[0]
    across = np.cross(towards, [0.0, 1.0, 0.0])
    across = across / max(float(np.linalg.norm(across)), 1e-6)
    up = np.cross(across, towards)
    depth = points @ -towards
    cells = (np.stack([points @ across, points @ up]) * VIEW_CELLS / 2).round().astype(int) + VIEW_CELLS
    cell = cells[0] * (2 * VIEW_CELLS + 1) + cells[1]
    nearest = np.full((2 * VIEW_CELLS + 1) ** 2, np.inf)
    np.minimum.at(nearest, cell, depth)
    return points[depth < nearest[cell] + 0.15]
