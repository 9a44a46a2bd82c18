"""Pictures of scenes with their exact ground truth: opacity of every object, masks, boxes, depth (see `specs`)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from core.classroom import renderings, sprites
from core.classroom.atlas import LEVELS, Atlas, open_atlas
from core.classroom.renderings import RENDERINGS
from core.classroom.specs import (
    BACKGROUNDS,
    NOISE_PLANES,
    PATTERNS,
    PLACES,
    SceneSettings,
    Spec,
    nearness,
    sample,
)


def _noise_planes(device: torch.device) -> Tensor:
    """[NOISE_PLANES, 128, 128] tileable textures in [0, 1], from grain to clouds; the same on every machine."""
    g = torch.Generator().manual_seed(7)
    planes = []
    for i in range(NOISE_PLANES):
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
    """Rendered scenes: pictures [B, 3, H, W] in [0, 1] and, object by object, shapes (zero in empty slots)."""

    spec: Spec
    picture: Tensor
    # [B, K, H, W] in [0, 1], amodal: what each object would cover alone. What a drawing in lines encloses is part of it,
    # also where the ground shows through: a turtle drawn in ink is a turtle, not its outline.
    shape: Tensor

    def __len__(self) -> int:
        return len(self.spec)

    @property
    def amodal(self) -> Tensor:
        """[B, K, H, W] bool: where each object is, hidden or not."""
        return self.shape > 0.5

    @property
    def visible(self) -> Tensor:
        """[B, K, H, W] bool: where each object is seen; disjoint."""
        order = nearness(self.spec).to(self.shape.device)
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
        values = self.spec.depth.to(self.shape.device)[:, :, None, None]
        return torch.where(self.amodal, values, 1.0).amin(1)


def render(spec: Spec, atlas: Atlas, size: int = 96) -> Scenes:
    """Draw the scenes of a spec on the atlas's device.

    Returns pictures [B, 3, size, size] float32 in [0, 1] with the shape of every object.
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
    """Pictures [B, 3, H, W] and shapes [B, K, H, W]."""
    device = atlas.device
    b, k = spec.present.shape
    rank = nearness(spec)
    owner, slot = torch.nonzero(spec.present, as_tuple=True)
    patches, shapes = _objects(spec, owner, slot, atlas, size)  # [M, 4, H, W], [M, H, W]
    opacity = torch.zeros(b, k, size, size, device=device)
    opacity[owner.to(device), slot.to(device)] = patches[:, 3]
    shape = torch.zeros_like(opacity)
    shape[owner.to(device), slot.to(device)] = shapes

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
    return canvas.clamp_(0, 1), shape


def _objects(spec: Spec, owner: Tensor, slot: Tensor, atlas: Atlas, size: int) -> tuple[Tensor, Tensor]:
    """Every present object on its own canvas [M, 4, H, W], premultiplied, and its shape [M, H, W]."""
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
    whole = torch.maximum(out[mono, 0], out[mono, 3])
    if len(mono):
        fill, ink = of(spec.fill).to(device)[mono], of(spec.ink).to(device)[mono]
        lines = out[mono, 3:]
        inside = (whole[:, None] - lines) * fill[:, 3, None, None, None]
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
    shape = out[:, 3].clone()
    shape[mono] = whole
    return out, shape


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
