"""Scenes: what is in a picture (a Spec, drawn from a seed), and the picture itself with its exact ground truth.

Everything is a tensor over B scenes of at most K = 4 objects; no Python loop runs over scenes or pixels. The canvas is
[-1, 1] x [-1, 1], x to the right, y down; `half` is half the long side of a drawing in these units. Depth runs from
0 (at the eye) to 1 (the background); nearer objects hide farther ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from core.classroom import renderings, sprites
from core.classroom.atlas import LEVELS, POSES, SHEEP, Atlas, open_atlas
from core.classroom.concepts import by_code
from core.classroom.renderings import RENDERINGS

SLOTS = 4
KINDS = ("single", "pair", "flock", "group")
RELATIONS = ("none", "left", "above", "front")  # slot 0 is left of, above, in front of slot 1
SIZES = ("giant", "close", "middle", "far")
_SIZE_RANGE = torch.tensor([[0.86, 0.98], [0.62, 0.82], [0.42, 0.6], [0.2, 0.34]])

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
_TEXTURE = {
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
    tone: Tensor  # [B, 3] contrast, brightness, noise of the finished picture
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
    """Whether two concepts form a held-out composition (one in eight); the same for (a, b) and (b, a)."""
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
    for _ in range(8):
        clash = torch.zeros(b, k, dtype=torch.bool)
        for j in range(1, k):
            clash[:, j] = (concept[:, j : j + 1] == concept[:, :j]).any(1)
        held = new_pair(concept[:, 0], concept[:, 1])
        if s.pairs != "any":
            clash[:, 1] |= (held if s.pairs == "train" else ~held) & (kind == 1)
        redrawn = pool[torch.randint(len(pool), (b, k), generator=g)]
        concept = torch.where(clash, redrawn, concept)
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
    low, high = _SIZE_RANGE[size].unbind(1)
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
    strength = torch.tensor([_TEXTURE.get(n, 0.0) for n in names])[background]
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

    # 5. The look of the whole picture.
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
        [torch.randint(0, _PLANES, (b,), generator=g), *torch.randint(0, 128, (2, b), generator=g)], 1
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


_PLANES = 12


def _noise_planes(device: torch.device) -> Tensor:
    """[_PLANES, 128, 128] tileable textures in [0, 1], from grain to clouds; the same on every machine."""
    g = torch.Generator().manual_seed(7)
    planes = []
    for i in range(_PLANES):
        cells = (128, 64, 32, 16)[i % 4]
        plane = torch.rand(1, 1, cells, cells, generator=g)
        plane = F.interpolate(
            F.pad(plane, (1, 1, 1, 1), mode="circular"), scale_factor=128 // cells, mode="bilinear"
        )
        edge = 128 // cells
        planes.append(plane[0, 0, edge : edge + 128, edge : edge + 128])
    return torch.stack(planes).to(device)


_NOISE: dict[torch.device, Tensor] = {}


def _texture(shift: Tensor, size: int, device: torch.device) -> Tensor:
    """[B, H, W] in [0, 1]; shift [B, 3]: which noise plane, and where it begins."""
    if device not in _NOISE:
        _NOISE[device] = _noise_planes(device)
    plane, dy, dx = shift.to(device).unbind(1)
    step = torch.arange(size, device=device)
    # Texture keeps its grain in canvas units up to 128 pixels; larger canvases repeat it.
    rows = (dy[:, None] + step) % 128
    columns = (dx[:, None] + step) % 128
    return _NOISE[device][plane[:, None, None], rows[:, :, None], columns[:, None, :]]


def _background(spec: Spec, size: int, device: torch.device) -> Tensor:
    """[B, 3, H, W] before any object. Most grounds are plain, so each pattern is drawn only where it is wanted."""
    axis = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
    y, x = axis[:, None], axis[None, :]
    which = torch.tensor([PATTERNS.index(BACKGROUNDS[n][0]) for n in BACKGROUNDS])[spec.background]
    natural = torch.tensor([n in PLACES for n in BACKGROUNDS])[spec.background].to(device)
    pattern = spec.pattern.to(device)
    first, second = spec.ground.to(device).unbind(1)
    base = first[:, :, None, None].repeat(1, 1, size, size)
    for code, name in enumerate(PATTERNS[1:], 1):
        rows = torch.nonzero(which == code)[:, 0].to(device)
        if not len(rows):
            continue
        angle, frequency, horizon = (pattern[rows, i, None, None] for i in range(3))
        along = x * angle.cos() + y * angle.sin()
        across = y * angle.cos() - x * angle.sin()
        if name == "gradient":
            mix = torch.where(natural[rows][:, None, None], (y + 1) / 2 + 0 * x, (along / 1.42 + 1) / 2)
        elif name == "stripes":
            mix = ((along * frequency).sin() > 0).float()
        elif name == "checks":
            mix = ((along * frequency / 1.5).sin() * (across * frequency / 1.5).sin() > 0).float()
        elif name == "dots":
            mix = ((along * frequency).cos() + (across * frequency).cos() > 1.0).float()
        else:
            mix = torch.sigmoid((y + 0 * x - horizon) * 30)
        base[rows] = torch.lerp(first[rows, :, None, None], second[rows, :, None, None], mix[:, None])
    rough = torch.nonzero(spec.pattern[:, 3] > 0)[:, 0]
    if len(rough):
        at = rough.to(device)
        grain = (_texture(spec.texture[rough], size, device) - 0.5) * 2 * pattern[at, 3, None, None]
        base[at] += grain[:, None]
    return base.clamp_(0, 1)


@dataclass
class Scenes:
    """Rendered scenes: pictures [B, 3, H, W] in [0, 1] and, object by object, opacity (zero in empty slots)."""

    spec: Spec
    picture: Tensor
    opacity: Tensor  # [B, K, H, W], amodal: what each object would cover alone

    def __len__(self) -> int:
        return len(self.spec)

    @property
    def amodal(self) -> Tensor:
        """[B, K, H, W] bool: where each object is, hidden or not."""
        return self.opacity > 0.5

    @property
    def visible(self) -> Tensor:
        """[B, K, H, W] bool: where each object is seen; disjoint."""
        order = nearness(self.spec).to(self.opacity.device)
        ahead = order[:, :, None] > order[:, None, :]  # [B, k, j]: j is nearer than k
        covered = (self.amodal[:, None] & ahead[..., None, None]).any(2)
        return self.amodal & ~covered

    def boxes(self, visible: bool = False) -> Tensor:
        """[B, K, 4] xyxy pixels, right and bottom exclusive; zeros where there is nothing."""
        masks = self.visible if visible else self.amodal
        size = masks.shape[-1]
        columns, rows = masks.any(2), masks.any(3)
        step = torch.arange(size, device=masks.device)

        def ends(hit: Tensor) -> tuple[Tensor, Tensor]:
            first = torch.where(hit, step, size).amin(-1)
            last = torch.where(hit, step + 1, 0).amax(-1)
            return first, last

        (x0, x1), (y0, y1) = ends(columns), ends(rows)
        box = torch.stack([x0, y0, x1, y1], -1)
        return torch.where(masks.any(3).any(2)[..., None], box, 0)

    def depth(self) -> Tensor:
        """[B, H, W]: 0 at the eye .. 1 the background; the nearest object where several are."""
        values = self.spec.depth.to(self.opacity.device)[:, :, None, None]
        return torch.where(self.amodal, values, 1.0).amin(1)


def nearness(spec: Spec) -> Tensor:
    """[B, K] rank of each slot from the eye, 0 the nearest; empty slots last."""
    depth = torch.where(spec.present, spec.depth, 2.0)
    return depth.argsort(dim=1, stable=True).argsort(dim=1, stable=True)


def render(spec: Spec, atlas: Atlas, size: int = 96) -> Scenes:
    """Draw the scenes of a spec on the atlas's device.

    Returns pictures [B, 3, size, size] float32 in [0, 1] with the opacity of every object.
    """
    # On a CPU, parts that stay in its caches are drawn twice as fast as one large batch; and several parts at a time,
    # one thread each, faster than one part by several threads, because its tensors are small.
    part = 24 if atlas.device.type == "cpu" else 4096
    pieces = [spec.take(slice(i, i + part)) for i in range(0, len(spec), part)]
    threads = min(torch.get_num_threads(), len(pieces)) if atlas.device.type == "cpu" else 1
    if threads > 1:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            parts = list(pool.map(lambda piece: _render(piece, atlas, size), pieces))
    else:
        parts = [_render(piece, atlas, size) for piece in pieces]
    return Scenes(spec, torch.cat([p for p, _ in parts]), torch.cat([o for _, o in parts]))


def _render(spec: Spec, atlas: Atlas, size: int) -> tuple[Tensor, Tensor]:
    """Pictures [B, 3, H, W] and opacities [B, K, H, W]."""
    device = atlas.device
    b, k = spec.present.shape
    rank = nearness(spec)
    owner, slot = torch.nonzero(spec.present, as_tuple=True)
    patches = _objects(spec, owner, slot, atlas, size)  # [M, 4, H, W]
    opacity = torch.zeros(b, k, size, size, device=device)
    opacity[owner.to(device), slot.to(device)] = patches[:, 3]

    drawn = spec.rendering
    flat = (drawn >= 2).to(device)
    canvas = _background(spec, size, device)
    plain = spec.ground.to(device).mean(1)[:, :, None, None].expand_as(canvas)
    canvas[flat] = plain[flat]
    rank_of = rank[owner, slot]
    for layer in range(k - 1, -1, -1):
        chosen = torch.nonzero(rank_of == layer)[:, 0]
        if len(chosen):
            where = owner[chosen].to(device)
            patch = patches[chosen.to(device)]
            canvas[where] = canvas[where] * (1 - patch[:, 3:]) + patch[:, :3]

    canvas = _look(spec, canvas, opacity, size)
    contrast, brightness, noise = (spec.tone.to(device)[:, i, None, None, None] for i in range(3))
    canvas.sub_(0.5).mul_(contrast).add_(0.5 + brightness)
    noisy = torch.nonzero(spec.tone[:, 2] > 0)[:, 0]
    if len(noisy):
        at = noisy.to(device)
        # Always the finest plane.
        grain = _texture(spec.texture[noisy] * torch.tensor([0, 1, 1]), size, device) - 0.5
        canvas[at] += 2 * noise[at] * grain[:, None]
    return canvas.clamp_(0, 1), opacity


def _objects(spec: Spec, owner: Tensor, slot: Tensor, atlas: Atlas, size: int) -> Tensor:
    """Every present object on its own canvas: [M, 4, H, W], premultiplied."""
    device = atlas.device

    def of(values: Tensor) -> Tensor:
        return values[owner, slot]

    cell_half = of(spec.half) * (sprites.CELL / sprites.INNER)
    linear = of(spec.affine) / cell_half[:, None, None]
    centre = torch.stack([of(spec.x), of(spec.y)], -1)
    theta = torch.cat([linear, -(linear @ centre[..., None])], -1).to(device)  # canvas -> drawing
    sprite = of(spec.sprite)
    pixels = cell_half * size
    level = torch.full((len(owner),), LEVELS[-1])
    for c in LEVELS[1::-1]:
        level = torch.where(pixels * 1.6 > c, c, level)
    axis = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
    base = torch.stack(
        [
            axis[None, :].expand(size, size),
            axis[:, None].expand(size, size),
            torch.ones(size, size, device=device),
        ]
    )
    base = base.reshape(3, -1)  # [3, HW]
    warp = of(spec.warp).to(device)
    out = torch.empty(len(owner), 4, size, size, device=device)
    for c in LEVELS:
        rows = torch.nonzero(level == c)[:, 0]
        if not len(rows):
            continue
        index = rows.to(device)
        texture = atlas.levels[c][sprite[rows].to(device)].float() / 255
        grid = (theta[index] @ base).reshape(-1, 2, size, size)
        grid = grid + F.interpolate(warp[index], size=(size, size), mode="bilinear", align_corners=True)
        out[index] = F.grid_sample(
            texture, grid.permute(0, 2, 3, 1), padding_mode="zeros", align_corners=False
        )

    mono = torch.nonzero(atlas.mono[sprite])[:, 0].to(device)
    if len(mono):
        fill, ink = of(spec.fill).to(device)[mono], of(spec.ink).to(device)[mono]
        lines = out[mono, 3:]
        inside = (torch.maximum(out[mono, :1], lines) - lines) * fill[:, 3, None, None, None]
        out[mono, :3] = ink[:, :, None, None] * lines + fill[:, :3, None, None] * inside
        out[mono, 3:] = lines + inside
    painted = torch.nonzero(~atlas.mono[sprite])[:, 0].to(device)
    if len(painted):
        colour = of(spec.colour).to(device)[painted]
        flat = out[painted].flatten(2)
        mixed = colour[..., :3] @ flat[:, :3] + colour[..., 3:] * flat[:, 3:]
        out[painted, :3] = torch.minimum(mixed.clamp(min=0), flat[:, 3:]).reshape(-1, 3, size, size)

    strength = of(spec.outline)
    lined = torch.nonzero((strength > 0) & ~atlas.mono[sprite])[:, 0].to(device)
    if len(lined):
        patch = out[lined]
        ring = F.max_pool2d(patch[:, 3:], 3, 1, 1)
        inner = (renderings.edges(patch[:, :3] + 0.5 * (1 - patch[:, 3:])) * 3 - 0.4).clamp(0, 1)
        dark = strength.to(device)[lined][:, None, None, None] * torch.maximum(inner, ring - patch[:, 3:])
        out[lined, :3] = patch[:, :3] * (1 - dark)
        out[lined, 3:] = torch.maximum(patch[:, 3:], strength.to(device)[lined][:, None, None, None] * ring)
    return out


def _look(spec: Spec, canvas: Tensor, opacity: Tensor, size: int) -> Tensor:
    """Apply each scene's rendering to the composed picture."""
    device = canvas.device
    stroke = spec.stroke.to(device)
    gain, paper, pen = stroke[:, 0], stroke[:, 1:4], stroke[:, 4:7]
    groups = {name: torch.nonzero(spec.rendering == i)[:, 0] for i, name in enumerate(RENDERINGS)}

    def sheet(rows: Tensor) -> Tensor:
        return paper[rows][:, :, None, None].expand(-1, 3, size, size)

    for name, rows in groups.items():
        if name == "colour" or not len(rows):
            continue
        at = rows.to(device)
        part = canvas[at]
        if name == "grey":
            canvas[at] = renderings.grey(part)
        elif name == "silhouette":
            canvas[at] = renderings.ink(opacity[at].amax(1, keepdim=True), sheet(at), pen[at])
        elif name == "line":
            canvas[at] = renderings.line(part, gain[at], sheet(at), pen[at])
        elif name == "sketch":
            grain = _texture(spec.texture[rows], size, device)[:, None]
            canvas[at] = renderings.sketch(
                part, gain[at], sheet(at), pen[at], spec.wobble.to(device)[at], grain
            )
        elif name == "depth":
            near = 1 - spec.depth.to(device)[at][:, :, None, None]
            value = (opacity[at] * near).amax(1, keepdim=True)
            canvas[at] = (0.06 + 0.9 * value).expand(-1, 3, -1, -1)
    return canvas


def compose(
    seed: int,
    count: int = 1,
    settings: SceneSettings | None = None,
    *,
    size: int = 96,
    atlas: Atlas | None = None,
) -> Scenes:
    """`count` scenes from a seed, drawn. The committed atlas on the CPU is used unless another is given."""
    atlas = atlas or open_atlas()
    return render(sample(count, seed, atlas, settings), atlas, size)


@dataclass(frozen=True)
class Placed:
    """One object of a scene made by hand: canvas coordinates; depth None: nearer when larger; angle in degrees."""

    concept: int
    x: float = 0.0
    y: float = 0.0
    half: float = 0.6
    depth: float | None = None
    angle: float = 0.0
    flip: bool = False
    pose: str = "standing"
    style: str | None = None


def arrange(
    objects: Sequence[Placed],
    *,
    background: str = "white",
    rendering: str = "colour",
    seed: int = 0,
    atlas: Atlas | None = None,
) -> Spec:
    """A Spec of one scene from one to four objects placed by hand, without augmentation.

    Relations follow from the places: with two objects, the wider gap of left/right and above/below, unless they overlap
    so much that in front/behind is what one sees.
    """
    n = len(objects)
    if not 1 <= n <= SLOTS:
        raise ValueError(f"a scene has 1 to {SLOTS} objects, got {n}")
    atlas = atlas or open_atlas()
    if n == 2:
        objects, relation = _related(objects)
    else:
        relation = 0
    blank = SceneSettings(augment=0.0, kinds=(1, 0, 0, 0), looks=(1, 0, 0, 0, 0, 0), poses=0.0)
    spec = sample(1, seed, atlas, blank)
    g = torch.Generator().manual_seed(seed)
    names = list(BACKGROUNDS)
    for j, placed in enumerate(objects):
        styles = [t for t in range(len(atlas.styles)) if atlas.table[t, placed.concept, 0] >= 0]
        if placed.style in atlas.styles and atlas.styles.index(placed.style) in styles:
            t = atlas.styles.index(placed.style)
        else:
            painted = [t for t in styles if not sprites.STYLES.get(atlas.styles[t], False)] or styles
            t = painted[int(torch.randint(len(painted), (1,), generator=g))]
        pose = (
            POSES.index(placed.pose) if atlas.table[t, placed.concept, POSES.index(placed.pose)] >= 0 else 0
        )
        angle, flip = math.radians(placed.angle), -1.0 if placed.flip else 1.0
        turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        spec.concept[0, j], spec.pose[0, j] = placed.concept, pose
        spec.sprite[0, j] = atlas.table[t, placed.concept, pose]
        spec.x[0, j], spec.y[0, j], spec.half[0, j] = placed.x, placed.y, placed.half
        spec.depth[0, j] = placed.depth if placed.depth is not None else max(0.05, 0.92 - 0.8 * placed.half)
        spec.affine[0, j] = torch.diag(torch.tensor([flip, 1.0])) @ turn
    spec.present[0] = torch.arange(SLOTS) < n
    spec.background[0] = names.index(background)
    if background not in VIVID:
        spec.ground[0] = torch.tensor(BACKGROUNDS[background][1:])
    spec.pattern[0, 3] = _TEXTURE.get(background, 0.0)
    spec.fill[..., 3] = 0.0
    spec.rendering[0] = RENDERINGS.index(rendering)
    spec.relation[0] = relation
    same = len({o.concept for o in objects}) == 1
    spec.kind[0] = 0 if n == 1 else 2 if same else 1 if n == 2 else 3
    middle = _SIZE_RANGE.mean(1)
    spec.size[0] = int((middle - objects[0].half).abs().argmin())
    dark = spec.ground[0].mean() < 0.42
    spec.ink[0] = 0.95 if dark else 0.05
    return spec


def _related(objects: Sequence[Placed]) -> tuple[Sequence[Placed], int]:
    """Order two objects so that the first is left of, above or in front of the second, and say which."""
    a, b = objects
    dx, dy = b.x - a.x, b.y - a.y
    if max(abs(dx), abs(dy)) < 0.6 * min(a.half, b.half) + 0.1:
        depth = [o.depth if o.depth is not None else 0.92 - 0.8 * o.half for o in (a, b)]
        return ((a, b) if depth[0] <= depth[1] else (b, a)), 3
    if abs(dx) >= abs(dy):
        return ((a, b) if dx > 0 else (b, a)), 1
    return ((a, b) if dy > 0 else (b, a)), 2
