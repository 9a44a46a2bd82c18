"""What is in an image, before any pixel: a Spec of B scenes, drawn from a seed.

Everything is a tensor over B scenes of at most K = 4 objects; no Python loop runs over scenes. The canvas is
[-1, 1] x [-1, 1], x to the right, y down; `half` is half the long side of a drawing in these units. Depth runs from
0 (at the eye) to 1 (the background); nearer objects hide farther ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from core.classroom.world import sprites
from core.classroom.world.atlas import SHEEP, Atlas
from core.classroom.world.concepts import by_code

NOISE_PLANES = 12
SLOTS = 4
KINDS = ("single", "pair", "flock", "group")
RELATIONS = ("none", "left", "above", "front")  # slot 0 is left of, above, in front of slot 1
SIZES = ("giant", "close", "middle", "far")
SIZE_RANGE = torch.tensor([[0.86, 0.98], [0.62, 0.82], [0.42, 0.6], [0.2, 0.34]])

# name -> (pattern, first colour, second colour); the texture of each is below.
BACKGROUNDS: dict[str, tuple[str, tuple[float, float, float], tuple[float, float, float]]] = {
    "white": ("plain", (0.97, 0.97, 0.97), (0.97, 0.97, 0.97)),
    "black": ("plain", (0.07, 0.07, 0.08), (0.07, 0.07, 0.08)),
    "grey": ("plain", (0.55, 0.55, 0.56), (0.55, 0.55, 0.56)),
    "red": ("plain", (0.82, 0.16, 0.15), (0.82, 0.16, 0.15)),
    "orange": ("plain", (0.95, 0.58, 0.15), (0.95, 0.58, 0.15)),
    "yellow": ("plain", (0.96, 0.87, 0.3), (0.96, 0.87, 0.3)),
    "green": ("plain", (0.25, 0.62, 0.3), (0.25, 0.62, 0.3)),
    "blue": ("plain", (0.2, 0.4, 0.82), (0.2, 0.4, 0.82)),
    "purple": ("plain", (0.5, 0.26, 0.66), (0.5, 0.26, 0.66)),
    "pink": ("plain", (0.96, 0.66, 0.76), (0.96, 0.66, 0.76)),
    "brown": ("plain", (0.47, 0.32, 0.2), (0.47, 0.32, 0.2)),
    "gradient": ("gradient", (0.9, 0.85, 0.7), (0.35, 0.55, 0.75)),
    "striped": ("stripes", (0.85, 0.85, 0.8), (0.55, 0.65, 0.75)),
    "checkered": ("checks", (0.88, 0.86, 0.8), (0.6, 0.55, 0.6)),
    "dotted": ("dots", (0.9, 0.9, 0.85), (0.6, 0.5, 0.65)),
    "textured": ("plain", (0.6, 0.55, 0.5), (0.6, 0.55, 0.5)),
    "grass": ("horizon", (0.74, 0.88, 0.97), (0.38, 0.66, 0.26)),
    "sky": ("gradient", (0.4, 0.65, 0.93), (0.8, 0.91, 0.98)),
    "sea": ("horizon", (0.83, 0.92, 0.98), (0.12, 0.42, 0.66)),
    "sand": ("horizon", (0.6, 0.83, 0.95), (0.92, 0.8, 0.55)),
    "snow": ("horizon", (0.7, 0.8, 0.9), (0.95, 0.97, 1.0)),
    "night": ("gradient", (0.03, 0.04, 0.14), (0.12, 0.13, 0.32)),
}
PATTERNS = ("plain", "gradient", "stripes", "checks", "dots", "horizon")
PLACES = ("grass", "sky", "sea", "sand", "snow", "night")
TEXTURE = {
    "textured": 0.34,
    "grass": 0.16,
    "sea": 0.12,
    "sand": 0.1,
    "snow": 0.06,
    "night": 0.06,
    "sky": 0.08,
}
VIVID = ("gradient", "striped", "checkered", "dotted", "textured")  # their colours are free


@dataclass(frozen=True)
class SceneSettings:
    """What `sample` may draw. Shares need not sum to one.

    kinds: shares of KINDS. looks: shares of RENDERINGS. sizes: shares of SIZES among singles. axes: shares of the
    relations left, above, front among pairs. augment: 0 plain sprites .. 1 full colour, stroke and warp
    augmentation. easy: large single objects on plain ground. poses: share of scenes given to the sheep.
    concepts: indices allowed, all when empty. pairs: "any", "train" (held-out compositions excluded) or "new".
    """

    kinds: tuple[float, float, float, float] = (0.5, 0.32, 0.1, 0.08)
    looks: tuple[float, ...] = (0.66, 0.07, 0.06, 0.08, 0.08, 0.05)
    sizes: tuple[float, ...] = (0.12, 0.36, 0.34, 0.18)
    axes: tuple[float, ...] = (0.5, 0.28, 0.22)
    augment: float = 1.0
    easy: bool = False
    poses: float = 0.03
    concepts: tuple[int, ...] = ()
    pairs: str = "train"


@dataclass(frozen=True)
class Spec:
    """B scenes, before any pixel. Tensors live on the CPU; [B, K] unless said otherwise."""

    present: Tensor  # bool
    concept: Tensor
    sprite: Tensor  # index into the atlas
    pose: Tensor  # index into POSES
    x: Tensor
    y: Tensor
    half: Tensor
    depth: Tensor
    affine: Tensor  # [B, K, 2, 2] canvas offset -> drawing offset, without the size: rotation, flip, stretch, shear
    warp: Tensor  # [B, K, 2, 4, 4] displacement in drawing units
    colour: Tensor  # [B, K, 3, 4] matrix and offset for the premultiplied colour
    ink: Tensor  # [B, K, 3] of one-colour drawings
    fill: Tensor  # [B, K, 4] colour and opacity of what their ink encloses
    outline: Tensor  # strength of a drawn outline, 0..1
    kind: Tensor  # [B] index into KINDS
    relation: Tensor  # [B] index into RELATIONS
    size: Tensor  # [B] index into SIZES, of single scenes
    background: Tensor  # [B] index into BACKGROUNDS
    ground: Tensor  # [B, 2, 3] its two colours
    pattern: Tensor  # [B, 4] angle, frequency, horizon, texture strength
    rendering: Tensor  # [B] index into RENDERINGS
    stroke: Tensor  # [B, 8] gain, paper rgb, ink rgb, grain offset of the drawn renderings
    wobble: Tensor  # [B, 2, 2, 6, 6] of sketches
    tone: Tensor  # [B, 3] contrast, brightness, noise of the finished image
    texture: Tensor  # [B, 3] which noise plane, and its shift

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, index: Tensor | slice | Sequence[int]) -> Spec:
        """The scenes at these positions."""
        where = torch.tensor(index) if isinstance(index, (list, tuple)) else index
        return Spec(**{f.name: getattr(self, f.name)[where] for f in fields(self)})

    @property
    def count(self) -> Tensor:
        """[B] objects in each scene."""
        return self.present.sum(1)


def new_pair(a: Tensor, b: Tensor) -> Tensor:
    """Whether two concepts form a held-out composition (one in five or six); the same for (a, b) and (b, a)."""
    return (a * b + a + b) % 8 == 3


def sample(count: int, seed: int, atlas: Atlas, settings: SceneSettings | None = None) -> Spec:
    """Draw `count` scenes. The same seed, settings and atlas give the same scenes on every device."""
    s = settings or SceneSettings()
    g = torch.Generator().manual_seed(seed)
    b, k = count, SLOTS

    def u(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, generator=g) * (high - low) + low

    def pick(shares: Sequence[float], n: int) -> Tensor:
        return torch.multinomial(torch.tensor(shares, dtype=torch.float), n, replacement=True, generator=g)

    kind = torch.zeros(b, dtype=torch.long) if s.easy else pick(s.kinds, b)
    number = torch.tensor([1, 2, 2, 3])[kind] + (torch.randint(0, 3, (b,), generator=g) * (kind == 2))
    number = number + torch.randint(0, 2, (b,), generator=g) * (kind == 3)
    present = torch.arange(k)[None] < number[:, None]

    # 1. Who: concepts, distinct within a scene but for flocks; the sheep more often, because it has poses.
    usable = atlas.drawable()
    if s.concepts:
        chosen = torch.zeros_like(usable)
        chosen[list(s.concepts)] = True
        usable = usable & chosen
    pool = torch.nonzero(usable)[:, 0]
    concept = pool[torch.randint(len(pool), (b, k), generator=g)]
    # Few pairs are new, and some concepts are in none: both are drawn again, often enough.
    earlier = torch.ones(k, k, dtype=torch.bool).tril(-1)
    settled = False
    for _ in range(64 if s.pairs == "new" else 8):
        redrawn = torch.randint(
            len(pool), (b, k), generator=g
        )  # drawn in any case: what follows must not depend on it
        if settled:
            continue
        clash = ((concept[:, :, None] == concept[:, None]) & earlier).any(2)
        held = new_pair(concept[:, 0], concept[:, 1])
        if s.pairs != "any":
            clash[:, 1] |= (held if s.pairs == "train" else ~held) & (kind == 1)
        if s.pairs == "new":
            clash[:, 0] |= clash[:, 1] & (kind == 1)
        concept = torch.where(clash, pool[redrawn], concept)
        settled = not bool(clash.any())
    sheep = by_code()[SHEEP].index
    if usable[sheep]:
        flocked = (u(b) < s.poses) & ((kind == 0) | (kind == 2))
        concept[flocked, 0] = sheep
    concept = torch.where((kind == 2)[:, None], concept[:, :1], concept)

    # 2. Drawn how: a style that has this concept, one-colour styles less often; a pose for the sheep.
    shares = torch.where(torch.tensor([sprites.STYLES.get(name, False) for name in atlas.styles]), 0.55, 1.0)
    has = (atlas.table[:, :, 0] >= 0).T[concept]  # [B, K, T]
    race = -torch.log(u(*has.shape).clamp(1e-9)) / shares
    style = torch.where(has, race, torch.inf).argmin(-1)
    pose = torch.randint(0, 3, (b, k), generator=g)
    same = u(b) < 0.6
    pose = torch.where((same & (kind == 2))[:, None], pose[:, :1], pose)
    pose = torch.where((concept == sheep) & (s.poses > 0), pose, 0)
    sprite = atlas.table[style, concept, pose]

    # 3. Where: by kind.
    size = pick(s.sizes, b)
    if s.easy:
        size = pick((0.3, 0.7, 0.0, 0.0), b)
    low, high = SIZE_RANGE[size].unbind(1)
    half = u(b, k, low=0.28, high=0.42)
    half[:, 0] = torch.where(kind == 0, low + (high - low) * u(b), half[:, 0])
    x, y = u(b, k, low=-1, high=1), u(b, k, low=-1, high=1)
    room = (1.02 - half).clamp(min=0.04)
    x, y = x * room, y * room

    axis = pick(s.axes, b) + 1
    relation = torch.where(kind == 1, axis, 0)
    gap, drift = u(b, 2, low=0.4, high=0.6), u(b, 2, low=-0.4, high=0.4)
    sign = torch.tensor([-1.0, 1.0])
    two = torch.arange(2)
    for r, (along, across) in ((1, (x, y)), (2, (y, x))):
        rows = relation == r
        along[:, two] = torch.where(rows[:, None], sign * gap, along[:, two])
        across[:, two] = torch.where(rows[:, None], drift, across[:, two])
    front = (relation == 3)[:, None]
    shift = u(b, 1, low=0.12, high=0.34) * torch.where(u(b, 1) < 0.5, -1, 1)
    x[:, two] = torch.where(front, -sign * shift, x[:, two])
    y[:, two] = torch.where(front, torch.tensor([0.2, -0.16]) + 0.25 * drift, y[:, two])
    half[:, two] = torch.where(
        front, torch.stack([u(b, low=0.4, high=0.5), u(b, low=0.5, high=0.62)], 1), half[:, two]
    )

    crowd = (kind >= 2)[:, None]
    corner = torch.rand(b, k, generator=g).argsort(1)
    x = torch.where(crowd, (corner % 2) * 1.0 - 0.5 + u(b, k, low=-0.12, high=0.12), x)
    y = torch.where(crowd, (corner // 2) * 1.0 - 0.5 + u(b, k, low=-0.12, high=0.12), y)

    depth = (0.92 - 0.8 * half + u(b, k, low=-0.05, high=0.05)).clamp(0.05, 0.95)
    depth[:, two] = torch.where(front, torch.tensor([0.3, 0.6]) + 0.1 * drift, depth[:, two])

    # 4. Augmentation: mostly upright, flipped half of the time, colours shifted, drawn with or without an outline.
    a = s.augment
    turned = torch.where(u(b, k) < 0.2, 0.6, 0.16)
    angle = a * turned * torch.randn(b, k, generator=g).clamp(-2, 2)
    flip = torch.where(u(b, k) < 0.5, -1.0, 1.0)
    stretch = 1 + a * u(b, k, 2, low=-0.14, high=0.14)
    shear = a * u(b, k, low=-0.15, high=0.15)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)
    shape = torch.stack(
        [torch.stack([flip * stretch[..., 0], shear], -1), torch.stack([0 * shear, stretch[..., 1]], -1)], -2
    )
    warp = a * 0.06 * torch.randn(b, k, 2, 4, 4, generator=g) * (u(b, k) < 0.6)[..., None, None, None]

    hue = torch.where(
        u(b, k) < 0.22 * a, u(b, k, low=-math.pi, high=math.pi), a * u(b, k, low=-0.3, high=0.3)
    )
    colour = _colour_matrix(
        hue,
        1 + a * u(b, k, low=-0.7, high=0.4),
        1 + a * u(b, k, low=-0.3, high=0.15),
        a * u(b, k, 3, low=-0.08, high=0.08),
    )

    names = list(BACKGROUNDS)
    weight = [1.2 if n == "white" else 1.0 if n in PLACES else 0.6 for n in names]
    if s.easy:
        weight = [
            w if (BACKGROUNDS[n][0] == "plain" and n != "textured") or n == "gradient" else 0.0
            for n, w in zip(names, weight, strict=True)
        ]
    background = pick(weight, b)
    ground = torch.tensor([BACKGROUNDS[n][1:] for n in names])[background]
    free = torch.tensor([n in VIVID for n in names])[background]
    ground = torch.where(free[:, None, None], u(b, 2, 3), ground + u(b, 1, 3, low=-0.07, high=0.07)).clamp(
        0, 1
    )
    strength = torch.tensor([TEXTURE.get(n, 0.0) for n in names])[background]
    strength = strength + torch.where(u(b) < 0.35, 0.08 * u(b), torch.zeros(b)) * (not s.easy)
    pattern = torch.stack(
        [u(b, high=2 * math.pi), u(b, low=6, high=18), u(b, low=-0.35, high=0.3), strength], 1
    )

    dark = ground.mean((1, 2)) < 0.42
    shade = u(b, k, 1, high=0.2) + 0.25 * a * u(b, k, 3) * (u(b, k, 1) < 0.5)
    ink_colour = torch.where(dark[:, None, None], 1 - shade, shade)
    fill = torch.cat([u(b, k, 3, low=0.25), (u(b, k, 1) < 0.45 * a).float()], -1)
    fill[..., :3] = torch.where(u(b, k, 1) < 0.35, torch.tensor(0.98), fill[..., :3])
    fill[..., :3] = torch.where(
        (dark[:, None, None]) & (fill[..., 3:] > 0), 0.4 * fill[..., :3], fill[..., :3]
    )
    outline = (u(b, k) < 0.25 * a).float() * u(b, k, low=0.5, high=1.0)

    # 5. The look of the whole image.
    rendering = pick(s.looks, b)
    paper = torch.where(u(b, 1) < 0.75, u(b, 1, low=0.88, high=1.0).expand(b, 3), u(b, 3, low=0.6, high=1.0))
    pen = torch.where(u(b, 1) < 0.75, u(b, 1, high=0.25).expand(b, 3), u(b, 3, high=0.5))
    chalk = u(b, 1) < 0.12
    stroke = torch.cat(
        [u(b, 1, low=1.6, high=4.0), torch.where(chalk, pen, paper), torch.where(chalk, paper, pen), u(b, 1)],
        1,
    )
    wobble = 0.03 * torch.randn(b, 2, 2, 6, 6, generator=g)
    tone = torch.stack(
        [
            1 + a * u(b, low=-0.25, high=0.2),
            a * u(b, low=-0.1, high=0.1),
            a * 0.05 * (u(b) - 0.6).clamp(min=0) / 0.4,
        ],
        1,
    )
    texture = torch.stack(
        [torch.randint(0, NOISE_PLANES, (b,), generator=g), *torch.randint(0, 128, (2, b), generator=g)], 1
    )
    return Spec(
        present, concept, sprite, pose, x, y, half, depth, shape @ turn, warp, colour, ink_colour, fill, outline, kind,
        relation, size, background, ground, pattern, rendering, stroke, wobble, tone, texture,
    )  # fmt: skip


def _colour_matrix(hue: Tensor, saturation: Tensor, value: Tensor, offset: Tensor) -> Tensor:
    """[..., 3, 4]: rotate hue about the grey axis, scale saturation and value, add an offset."""
    third, root = 1 / 3, math.sqrt(1 / 3)
    cos, sin = hue.cos()[..., None, None], hue.sin()[..., None, None]
    grey = torch.full((3, 3), third)
    cross = root * torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    rotation = cos * torch.eye(3) + sin * cross + (1 - cos) * grey
    matrix = value[..., None, None] * (saturation[..., None, None] * (rotation - grey) + grey)
    return torch.cat([matrix, offset[..., None]], -1)


def nearness(spec: Spec) -> Tensor:
    """[B, K] rank of each slot from the eye, 0 the nearest; empty slots last."""
    depth = torch.where(spec.present, spec.depth, 2.0)
    return depth.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
