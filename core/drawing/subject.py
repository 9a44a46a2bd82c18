"""The subject of an image without its background, on the canvas.

CLIPasso removes backgrounds with U2-Net (section 4 of the paper's supplement). Where its weights are not on
this machine, colours do it, after GrabCut (Rother et al. 2004): the border of the image says what the
background looks like, mixtures of Gaussians say how well each pixel fits, and neighbours of like colour agree
with each other; a mean field takes the place of the graph cut.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core import checkpoints, runtime
from core.drawing import u2net
from core.drawing.strokes import CANVAS

# The side at which colours are compared, the width of the border there, and colours of each mixture.
SIDE, BORDER, COLOURS = 112, 5, 5
ROUNDS, SWEEPS = 5, 8
SMOOTHNESS = 3.0
MAX_SIDE = 2048  # of an image that is put on white
# A subject smaller or larger than these shares of the image is no finding.
LEAST, MOST = 0.01, 0.9


def square(image: Image.Image) -> Image.Image:
    """The image on the canvas: transparent parts white, the shorter side filled up with white."""
    if image.mode != "RGB":
        rgba = image.convert("RGBA")
        image = Image.new("RGB", rgba.size, "white")
        image.paste(rgba, mask=rgba.getchannel("A"))
    side = max(image.size)
    if side > MAX_SIDE:  # a long strip: its square would fill the memory
        image = image.resize([max(1, round(length * MAX_SIDE / side)) for length in image.size])
        side = max(image.size)
    if image.size != (side, side):
        padded = Image.new("RGB", (side, side), "white")
        padded.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = padded
    return image.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)


def extent(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where an image (width, height) lies on the canvas after `square`: left, top, right, bottom.

    Pixels in which resizing mixed the image with the white beside it are left out.
    """
    side = max(size)
    scale = CANVAS / side
    blend = math.ceil(2 * max(scale, 1))  # bicubic resizing reaches two pixels of the coarser grid
    spans = []
    for length in size:
        start = (side - length) // 2
        low, high = math.ceil(start * scale), math.floor((start + length) * scale)
        margin = blend if length < side else 0
        if high - low <= 2 * margin:
            margin = 0
        spans.append((low + margin, max(high - margin, low + 1)))
    (left, right), (top, bottom) = spans
    return left, top, right, bottom


def mirrored(canvas: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The canvas [H, W, 3] with what lies in a box mirrored into the rest, so that the box has no border."""
    left, top, right, bottom = box
    width = ((top, canvas.shape[0] - bottom), (left, canvas.shape[1] - right), (0, 0))
    return np.pad(canvas[top:bottom, left:right], width, "symmetric")


def cut_out(image: Image.Image, device: str = "cpu") -> tuple[Image.Image, np.ndarray | None, str]:
    """The subject on white.

    Args:
        image: of any mode; where it has an alpha, that is the subject.
        device: for U2-Net.

    Returns:
        The image on the canvas; float32 [224, 224] in 0..1, what was kept, or None where no subject stands
        out and the image is whole; who found it: "alpha", "u2net", "colours" or "".
    """
    canvas = square(image)
    if image.mode != "RGBA":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode == "RGBA":
        alpha = square(Image.merge("RGB", [image.getchannel("A").point(lambda a: 255 - a)] * 3))
        kept, by = 1 - np.asarray(alpha, np.float32)[..., 0] / 255, "alpha"
    else:
        # What `square` added at the sides is white already; the image itself says where its border is.
        found, by = _found(image, device)
        inverse = Image.fromarray((255 * (1 - found)).round().astype(np.uint8))
        kept = 1 - np.asarray(square(inverse.resize(image.size)), np.float32)[..., 0] / 255
    if not LEAST < kept.mean() < MOST:
        return canvas, None, ""
    pixels = np.asarray(canvas, np.float32)
    white = 255 + (pixels - 255) * kept[..., None]
    return Image.fromarray(white.round().astype(np.uint8)), kept, by


def _found(image: Image.Image, device: str) -> tuple[np.ndarray, str]:
    """Probability of the subject [h, w] over the whole image."""
    known = any(row.name == u2net.ROW for row in checkpoints.rows())
    if known and checkpoints.state(u2net.ROW) in ("bundled", "cached"):
        row, paths = checkpoints.row(u2net.ROW), checkpoints.open(u2net.ROW, download=False)
        pixels = np.asarray(image.resize((u2net.SIDE, u2net.SIDE), Image.Resampling.BICUBIC))
        batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(device) / 255
        with runtime.POOL.use(
            (row.name, device, "torch.float32"),
            lambda: u2net.load_u2net(paths, row, device, torch.float32),
            size_bytes=lambda model: sum(4 * value.numel() for value in model.parameters()),
        ) as model:
            found = model.subject(batch)[0].cpu().numpy()
        return (found >= 0.5).astype(np.float32), "u2net"
    return by_colour(image), "colours"


def by_colour(image: Image.Image) -> np.ndarray:
    """Probability of the subject [112, 112] from colours alone."""
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255
    pixels = torch.from_numpy(small)  # [H, W, 3]
    border = torch.ones(SIDE, SIDE, dtype=torch.bool)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    links = _links(pixels)
    flat = pixels.reshape(-1, 3)
    ground = _Mixture(flat[border.flatten()])
    # Without a model of the subject yet: whatever the border's colours explain worst.
    surprise = -ground.log_density(flat)
    limit = torch.quantile(surprise[border.flatten()], 0.95) + 3
    q = ((surprise - limit) / 2).clamp(-6, 6).sigmoid().view(SIDE, SIDE)
    for _ in range(ROUNDS):
        weight = q.flatten()
        if not LEAST < float(weight.mean()) < MOST:
            break
        inside = _Mixture(flat, weight)
        outside = _Mixture(flat, 1 - weight)
        unary = (inside.log_density(flat) - outside.log_density(flat)).clamp(-6, 6).view(SIDE, SIDE)
        # The border of an image is rarely the subject.
        unary = torch.where(border, unary - 3, unary)
        for _ in range(SWEEPS):
            q = (unary + SMOOTHNESS * _agreement(2 * q - 1, links)).sigmoid()
    return torch.where(solid(q > 0.5), q.clamp_min(0.5), 0).numpy()


def solid(mask: Tensor, gap: int = 5, least: float = 0.1) -> Tensor:
    """A mask bool [H, W] without gaps, holes and specks.

    Args:
        gap: pixels between two parts that are joined.
        least: area of a part that stays, as a share of the largest part.
    """
    grown = _widest(mask.float(), gap)
    mask = mask | (-_widest(-grown, gap) > 0)
    # Whatever the border does not reach is no background.
    border = torch.ones_like(mask)
    border[1:-1, 1:-1] = False
    mask = ~_spread((border & ~mask).float(), ~mask).bool()
    number = torch.arange(1.0, mask.numel() + 1).view(mask.shape) * mask
    part = _spread(number, mask).long()
    area = part.flatten().bincount()
    area[0] = 0
    return (area >= least * area.max().clamp_min(1))[part]


def _widest(values: Tensor, side: int = 3) -> Tensor:
    """The largest value of each place's neighbourhood: [H, W]."""
    return F.max_pool2d(values[None, None], side, stride=1, padding=side // 2)[0, 0]


def _spread(values: Tensor, within: Tensor) -> Tensor:
    """Values [H, W] that flow to all places of a mask that are connected to them; the largest one wins."""
    while True:
        flown = torch.where(within, _widest(values), values)
        if torch.equal(flown, values):
            return values
        values = flown


class _Mixture:
    """Gaussians of RGB colours: k-means, then one covariance for each heap.

    Args:
        colours: [N, 3] in 0..1.
        weight: [N] of each, or None for equal ones.
    """

    def __init__(self, colours: Tensor, weight: Tensor | None = None) -> None:
        weight = torch.ones(len(colours)) if weight is None else weight
        # Heaps begin spread along the brightness, and each step is the same for all pixels at once.
        order = colours[weight > 0.5 * weight.max()].sum(1).argsort()
        picks = torch.linspace(0, len(order) - 1, COLOURS).long()
        centre = colours[weight > 0.5 * weight.max()][order[picks]].clone()
        for _ in range(8):
            near = torch.cdist(colours, centre).argmin(1)
            share = F.one_hot(near, COLOURS) * weight[:, None]  # [N, K]
            total = share.sum(0)
            moved = (share.T @ colours) / total.clamp_min(1e-6)[:, None]
            centre = torch.where(total[:, None] > 1e-6, moved, centre)
        away = colours[:, None] - centre  # [N, K, 3]
        scatter = torch.einsum("nk,nki,nkj->kij", share, away, away) / total.clamp_min(1e-6)[:, None, None]
        # Flat drawings have heaps of one colour: JPEG noise is the least that is expected.
        covariance = scatter + torch.eye(3) * 0.02**2
        self.centre, self.inverse = centre, covariance.inverse()
        self.log_weight = (total / total.sum()).clamp_min(1e-6).log() - 0.5 * covariance.logdet()

    def log_density(self, colours: Tensor) -> Tensor:
        """[N], up to a constant."""
        away = colours[:, None] - self.centre  # [N, K, 3]
        distance = torch.einsum("nki,kij,nkj->nk", away, self.inverse, away)
        return (self.log_weight - 0.5 * distance).logsumexp(1)


OFFSETS = ((0, 1), (1, 0), (1, 1), (1, -1))


def _links(pixels: Tensor) -> list[Tensor]:
    """How alike each pixel and its neighbour are, [H, W] in 0..1 for each of the offsets (GrabCut, eq. 11)."""
    steps = [(pixels - pixels.roll((-dy, -dx), (0, 1))).square().sum(-1) for dy, dx in OFFSETS]
    beta = 1 / (2 * torch.stack(steps).mean().clamp_min(1e-5))
    links = []
    for (dy, dx), step in zip(OFFSETS, steps, strict=True):
        link = (-beta * step).exp() / (dy * dy + dx * dx) ** 0.5
        # `roll` comes around at the far sides.
        if dy:
            link[-1] = 0
        if dx:
            link[:, -1 if dx > 0 else 0] = 0
        links.append(link)
    return links


def _agreement(side: Tensor, links: list[Tensor]) -> Tensor:
    """What the neighbours of each pixel vote for, weighted by likeness: [H, W] in -1..1."""
    votes, total = torch.zeros_like(side), torch.full_like(side, 1e-6)
    for (dy, dx), link in zip(OFFSETS, links, strict=True):
        votes += link * side.roll((-dy, -dx), (0, 1)) + (link * side).roll((dy, dx), (0, 1))
        total += link + link.roll((dy, dx), (0, 1))
    return votes / total.clamp_min(1)
