"""Pictures of scenes with their exact ground truth: opacity of every object, masks, boxes, depth (see `specs`)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from core.classroom.world import renderings
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.drawings import Cutouts, draw
from core.classroom.world.grounds import arrangement, grounds, texture
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.specs import SceneSettings, Spec, nearness, sample
from core.runtime import one_thread

SILHOUETTE, DEPTH = RENDERINGS.index("silhouette"), RENDERINGS.index("depth")


@dataclass
class Scenes:
    """Rendered scenes: images [B, 3, H, W] in [0, 1], and the objects that they are made of."""

    spec: Spec
    picture: Tensor
    cutouts: list[Cutouts]

    def __len__(self) -> int:
        return len(self.spec)

    @cached_property
    def shape(self) -> Tensor:
        """[B, K, H, W] in [0, 1], amodal: what each object would cover alone.

        What a drawing in lines encloses is part of it, also where the ground shows through: a turtle drawn in ink is a
        turtle, not its outline.
        """
        b, _, h, w = self.picture.shape
        shape = self.picture.new_zeros(b, self.spec.present.shape[1], h, w)
        for group in self.cutouts:
            crops, (owner, _, top, left) = group.crops(shape)
            crops[owner, group.slot.to(shape.device), top, left] = group.shape
        return shape

    @property
    def amodal(self) -> Tensor:
        """[B, K, H, W] bool: where each object is, hidden or not."""
        return self.shape > 0.5

    @property
    def visible(self) -> Tensor:
        """[B, K, H, W] bool: where each object is seen; disjoint."""
        return unhidden(self.amodal, nearness(self.spec))

    def boxes(self, visible: bool = False) -> Tensor:
        """[B, K, 4] xyxy pixels, right and bottom exclusive; zeros where there is nothing."""
        return bounds(self.visible if visible else self.amodal)

    def depth(self) -> Tensor:
        """[B, H, W]: 0 at the eye .. 1 the background; the nearest object where several are."""
        values = self.spec.depth.to(self.shape.device)[:, :, None, None]
        return torch.where(self.amodal, values, 1.0).amin(1)


def unhidden(amodal: Tensor, order: Tensor) -> Tensor:
    """What nothing nearer hides of masks [B, K, H, W]; order [B, K] is the rank from the eye, 0 the nearest."""
    order = order.to(amodal.device)
    ahead = order[:, :, None] > order[:, None, :]  # [B, k, j]: j is nearer than k
    return amodal & ~(amodal[:, None] & ahead[..., None, None]).any(2)


def bounds(masks: Tensor) -> Tensor:
    """The boxes [..., 4] of masks [..., H, W], xyxy pixels, right and bottom exclusive; zeros for an empty mask."""
    size = masks.shape[-1]
    columns, rows = masks.any(-2), masks.any(-1)
    step = torch.arange(size, device=masks.device)

    def ends(hit: Tensor) -> tuple[Tensor, Tensor]:
        first = torch.where(hit, step, size).amin(-1)
        last = torch.where(hit, step + 1, 0).amax(-1)
        return first, last

    (x0, x1), (y0, y1) = ends(columns), ends(rows)
    box = torch.stack([x0, y0, x1, y1], -1)
    return torch.where(rows.any(-1)[..., None], box, 0)


def render(spec: Spec, atlas: Atlas, size: int = 96) -> Scenes:
    """Draw the scenes of a spec on the atlas's device.

    Returns images [B, 3, size, size] float32 in [0, 1]; masks and all else follow from the objects when asked for.
    """
    cpu = atlas.device.type == "cpu"
    threads = torch.get_num_threads() if cpu else 1
    # Several parts at a time, one thread each, are faster than one part by several threads: their tensors are small.
    # The longest part is about what a cache of a few MB holds.
    longest = max(8, 2**20 // size**2) if cpu else 4096
    # Scenes that are painted alike are neighbours while they are drawn, so that most steps are slices, not look-ups;
    # every part has a share of each sort.
    order = arrangement(spec).argsort(stable=True)
    count = max(-(-len(spec) // longest), min(threads, len(spec) // 8), 1)
    pieces = [order[i::count] for i in range(count)]
    if threads > 1 and count > 1:

        def alone(rows: Tensor) -> tuple[Tensor, list[Cutouts]]:
            with one_thread():
                return _render(spec.take(rows), atlas, size)

        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(alone, pieces))
    else:
        parts = [_render(spec.take(rows), atlas, size) for rows in pieces]
    drawn = torch.cat([picture for picture, _ in parts]) if count > 1 else parts[0][0]
    cutouts = [
        replace(group, owner=rows[group.owner])
        for rows, (_, groups) in zip(pieces, parts, strict=True)
        for group in groups
    ]
    return Scenes(spec, drawn.index_select(0, torch.cat(pieces).argsort().to(drawn.device)), cutouts)


def _render(spec: Spec, atlas: Atlas, size: int) -> tuple[Tensor, list[Cutouts]]:
    """Pictures [B, 3, H, W] of scenes sorted by `arrangement`, and their objects."""
    device = atlas.device
    # Silhouettes and depth-maps are drawn from where objects are, all others from the image.
    depth = spec.rendering == DEPTH
    covered = depth | (spec.rendering == SILHOUETTE)
    near = torch.where(depth[:, None], 1 - spec.depth, 1.0)
    cutouts = draw(spec, covered, atlas, size)
    canvas = grounds(spec, size, device)
    cover = torch.zeros(len(spec), 1, size, size, device=device)
    for group in sorted(cutouts, key=lambda group: -group.rank):
        patch = group.patch
        if patch.shape[1] == 4:
            crops, at = group.crops(canvas)
            crops[at] = crops[at].mul_(1 - patch[:, 3:]).add_(patch[:, :3])
        else:
            crops, at = group.crops(cover)
            weight = near[group.owner, group.slot].to(device)[:, None, None, None]
            crops[at] = torch.maximum(crops[at], patch * weight)
    _look(spec, canvas, cover)
    return _finish(spec, canvas), cutouts


def _look(spec: Spec, canvas: Tensor, cover: Tensor) -> None:
    """Apply each scene's rendering to the composed images [B, 3, H, W], in place.

    cover [B, 1, H, W]: where objects are, in depth-maps how near.
    """
    device, size = canvas.device, canvas.shape[-1]
    for i, name in enumerate(RENDERINGS):
        rows = torch.nonzero(spec.rendering == i)[:, 0]
        if name == "colour" or not len(rows):
            continue
        at = rows.to(device)
        stroke = spec.stroke[rows].to(device)
        gain, paper, pen = stroke[:, 0], stroke[:, 1:4], stroke[:, 4:7]
        if name == "grey":
            drawn = renderings.grey(canvas[at])
        elif name == "silhouette":
            drawn = renderings.ink(cover[at], paper, pen)
        elif name == "line":
            drawn = renderings.line(canvas[at], gain, paper, pen)
        elif name == "sketch":
            grain = texture(spec.texture[rows], size, device)[:, None]
            drawn = renderings.sketch(canvas[at], gain, paper, pen, spec.wobble[rows].to(device), grain)
        else:
            drawn = (0.06 + 0.9 * cover[at]).expand(-1, 3, -1, -1)
        canvas[at] = drawn


def _finish(spec: Spec, canvas: Tensor) -> Tensor:
    """Contrast, brightness and noise of the finished images, in place."""
    contrast, brightness, noise = spec.tone.to(canvas.device)[:, :, None, None, None].unbind(1)
    canvas.sub_(0.5).mul_(contrast).add_(0.5 + brightness)
    noisy = torch.nonzero(spec.tone[:, 2] > 0)[:, 0]
    if len(noisy):
        at = noisy.to(canvas.device)
        finest = torch.tensor([0, 1, 1])
        grain = texture(spec.texture[noisy] * finest, canvas.shape[-1], canvas.device).sub_(0.5)
        canvas[at] = canvas.index_select(0, at).add_(grain[:, None].mul_(2 * noise[at]))
    return canvas.clamp_(0, 1)


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
