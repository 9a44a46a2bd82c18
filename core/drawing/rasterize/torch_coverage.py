"""Coverage of pixels by strokes in plain PyTorch: steps 1 to 3 of `torch_backend`, which has the letters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

TILE = 4
PIXELS = TILE * TILE
# Half the diagonal of a pixel: an edge further than this from a pixel's centre does not cross the pixel.
HALF_DIAGONAL = 0.7072
# From the centre of a tile to the centre of its corner pixel.
TILE_REACH = 2.1214
# A polyline this close to its curve (pixels) starts Newton's method in the right place.
CHORD_ERROR = 0.25
MIN_CHORDS, MAX_CHORDS = 8, 64
NEWTON_STEPS = 3
# Below this mean of the unit vectors of a stroke's chords in a tile it turns too sharply for one edge.
STRAIGHT = 0.95


@dataclass
class Pairs:
    """(tile, stroke) pairs in order of scene, tile, stroke, and their samples that an edge may cross."""

    stroke: Tensor  # [L] row of the flattened [B * S]
    tile: Tensor  # [L] tile among the B * th * tw tiles
    coverage: Tensor  # [L * 16] from the samples well inside; those on an edge are still missing
    cubic: Tensor  # [E] cubic among the M that the nearest chord belongs to
    start: Tensor  # [E] parameter of that chord's middle
    centre: Tensor  # [2, E] of the sample, in pixels
    side: Tensor  # [E] of the sample: 1, or 1/2 for a quarter of a pixel
    pixel: Tensor  # [E] place of its pixel in the flattened [L * 16]
    owner: Tensor  # [E] stroke, as above


def _polyline(cubics: Tensor) -> tuple[Tensor, int, Tensor]:
    """Vertices [M, K + 1, 2], K, and how far the curve may be from them [M]."""
    second = cubics[:, :-2] - 2 * cubics[:, 1:-1] + cubics[:, 2:]  # [M, 2, 2]
    bend = second.square().sum(-1).amax(1).sqrt()
    # A chord over a parameter step h is within h^2 / 8 * max |B''| of its curve, and |B''| <= 6 * bend.
    needed = (0.75 * float(bend.max()) / CHORD_ERROR) ** 0.5
    chords = MIN_CHORDS
    while chords < needed and chords < MAX_CHORDS:
        chords *= 2
    t = torch.linspace(0, 1, chords + 1, dtype=cubics.dtype, device=cubics.device)[:, None]
    p0, p1, p2, p3 = cubics[:, :, None].unbind(1)  # [M, 1, 2]
    s = 1 - t
    vertices = s**3 * p0 + 3 * t * s**2 * p1 + 3 * t**2 * s * p2 + t**3 * p3
    return vertices, chords, 0.75 * bend / chords**2


@cache
def _samples(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The 16 samples of a row: the pixels of a tile (kind 0), or the quarter pixels of its quarters (1-4).

    Returns:
        offset [2, 5, 16] of their centres from the tile's corner; pixel [5, 16] of the tile that each is part
        of; side [5] of a sample. All in pixels.
    """
    step = torch.arange(TILE)
    x, y = step.repeat(TILE), step.repeat_interleave(TILE)  # [16]
    quarter = torch.stack([step % 2, step // 2]) * (TILE // 2)  # [2, 4]
    centre = torch.stack([x, y]).to(dtype) + 0.5  # [2, 16]
    offset = torch.cat([centre[:, None], quarter[..., None] + centre[:, None] / 2], dim=1)
    place = offset.floor().long()
    side = torch.tensor([1, 0.5, 0.5, 0.5, 0.5], dtype=dtype)
    return offset.to(device), (place[1] * TILE + place[0]).to(device), side.to(device)


def _places(counts: Tensor, owner: Tensor) -> Tensor:
    """0, 1, ... within each run of `owner`, the result of repeat_interleave(counts)."""
    return torch.arange(owner.numel(), device=owner.device) - (counts.cumsum(0) - counts).index_select(
        0, owner
    )


def _candidates(
    vertices: Tensor, margin: Tensor, alive: Tensor, rows: int, columns: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tiles with a pixel centre in the box of a chord, grown by its margin.

    Args:
        vertices: [M, K + 1, 2].
        margin, alive: [M * K].

    Returns:
        chord [N], column [N], row [N] of each candidate; the chords themselves [6, M * K]: start, vector,
        vector over its squared length.
    """
    first, second = vertices[:, :-1].reshape(-1, 2), vertices[:, 1:].reshape(-1, 2)
    limit = torch.tensor([columns, rows], dtype=vertices.dtype, device=vertices.device)
    low = ((torch.minimum(first, second) - margin[:, None] - (TILE - 0.5)) / TILE).ceil_().clamp_min_(0)
    high = ((torch.maximum(first, second) + margin[:, None] - 0.5) / TILE).floor_().minimum(limit - 1)
    # Clamped before they become integers: a stroke may lie anywhere.
    spans = (high - low + 1).clamp_min_(0) * alive[:, None]
    low = low.minimum(limit)
    counts = (spans[:, 0] * spans[:, 1]).long()
    chord = torch.repeat_interleave(counts)
    along = second - first
    lengths = along.square().sum(-1, keepdim=True).clamp_min_(1e-12)
    place = torch.arange(chord.numel(), device=chord.device) - (counts.cumsum(0) - counts).index_select(
        0, chord
    )
    table = torch.cat([low, spans[:, :1]], dim=1).long().T.contiguous()
    column, row, across = table.index_select(1, chord)
    down = torch.div(place, across, rounding_mode="trunc")
    chords = torch.cat([first, along, along / lengths], dim=1).T.contiguous()
    return chord, column + (place - down * across), row + down, chords


def pair_up(points: Tensor, radius: Tensor, height: int, width: int) -> Pairs | None:
    """Steps 1 and 2: which pixels of which tiles a stroke covers or may cross."""
    B, S, P, _ = points.shape
    J = (P - 1) // 3
    device, dtype = points.device, points.dtype
    rows, columns = -(-height // TILE), -(-width // TILE)
    cubics = points.unfold(2, 4, 3).transpose(-1, -2).reshape(-1, 4, 2)  # [M, 4, 2]
    vertices, K, error = _polyline(cubics)
    error = error.view(B * S, J).amax(1)  # [B * S]
    # A stroke padded by repeating its last point has cubics of no length after the first.
    alive = (cubics != cubics[:, :1]).flatten(1).any(1).view(B * S, J)
    alive[:, 0] = True
    final = alive.sum(1) * K - 1  # [B * S] last chord

    # 1. Chords and the tiles around them, in order of scene, tile and stroke.
    margin = (radius + HALF_DIAGONAL + error).repeat_interleave(J * K)
    chord, column, row, chords = _candidates(
        vertices, margin, alive.to(dtype).repeat_interleave(K), rows, columns
    )
    if chord.numel() == 0:
        return None
    ax, ay, ux, uy, vx, vy = chords.index_select(1, chord)
    x, y = column * TILE - ax, row * TILE - ay  # the tile's corner, from the chord's start
    t = ((x + TILE / 2) * vx + (y + TILE / 2) * vy).clamp_(0, 1)
    distance = (x + TILE / 2 - t * ux).square_() + (y + TILE / 2 - t * uy).square_()
    kept = (distance < (margin + TILE_REACH).square_().index_select(0, chord)).nonzero().squeeze(1)
    if kept.numel() == 0:
        return None
    number = torch.arange(B * S, device=device).repeat_interleave(J * K)  # [M * K] stroke of a chord
    chord, column, row = torch.stack([chord, column, row]).index_select(1, kept)
    stroke = number.index_select(0, chord)
    scene = torch.div(stroke, S, rounding_mode="trunc")
    key, order = (((scene * rows + row) * columns + column) * S + (stroke - scene * S)).sort()
    key, pair, runs = torch.unique_consecutive(key, return_inverse=True, return_counts=True)
    tile = torch.div(key, S, rounding_mode="trunc")
    chord, kept = chord.index_select(0, order), kept.index_select(0, order)
    stroke = stroke.index_select(0, order.index_select(0, runs.cumsum(0) - 1))  # [L]
    place = chord - stroke.index_select(0, pair) * (J * K)  # chord of the stroke
    x, y, ux, uy, vx, vy = torch.stack([x, y, ux, uy, vx, vy]).index_select(1, kept)

    # Where the stroke ends or turns sharply within a tile, one edge is a poor image of a pixel: quarter it.
    norm = (ux * vx + uy * vy).clamp_min_(1e-12).rsqrt_()  # 1 where the chord has a length
    length = (ux * ux + uy * uy).clamp_min_(1e-12).rsqrt_() * (norm < 2)
    ends = (place == 0) | (place == final.index_select(0, stroke).index_select(0, pair))
    turn = ux.new_zeros(3, runs.numel())
    for total, values in zip(turn, (ux * length, uy * length, ends.to(dtype)), strict=True):
        total.index_add_(0, pair, values)
    fine = (turn[0].square() + turn[1].square() < (STRAIGHT * runs).square()) | (turn[2] > 0)
    copies = fine * 3 + 1  # rows of 16 samples of a pair
    begin = copies.cumsum(0) - copies
    source = torch.repeat_interleave(copies)  # [R] pair of a row
    kind = _places(copies, source) + fine.index_select(0, source)  # [R]
    repeats = copies.index_select(0, pair)
    entry = torch.repeat_interleave(repeats)  # [n]
    line = begin.index_select(0, pair.index_select(0, entry)) + _places(repeats, entry)  # [n] row

    # 2. Distance of every sample to the chord; the nearest chord of each stroke wins.
    offset, pixel, side = _samples(dtype, device)
    x, y, ux, uy, vx, vy = torch.stack([x, y, ux, uy, vx, vy]).index_select(1, entry)[..., None]  # [n, 1]
    ox, oy = offset.index_select(1, kind.index_select(0, line))
    x, y = ox.add_(x), oy.add_(y)  # [n, 16]
    t = (x * vx).addcmul_(y, vy).clamp_(0, 1)
    squared = x.addcmul_(t, ux, value=-1).square_().add_(y.addcmul_(t, uy, value=-1).square_())
    # The low bits of the distance carry the chord, so that a minimum is an arg-minimum on every device.
    word = torch.int64 if dtype == torch.float64 else torch.int32
    mask = (1 << (J * K - 1).bit_length()) - 1
    index = place.index_select(0, entry).to(word)[:, None]
    packed = squared.view(word).bitwise_and_(~mask).bitwise_or_(index).view(dtype)
    nearest = torch.full((source.numel(), PIXELS), torch.finfo(dtype).max, dtype=dtype, device=device)
    nearest.scatter_reduce_(0, line[:, None].expand(-1, PIXELS), packed, "amin")  # [R, 16]

    side = side.index_select(0, kind)  # [R]
    pixel = pixel.index_select(0, kind).add_(source[:, None] * PIXELS)  # [R, 16]
    owner = stroke.index_select(0, source)
    slack = (side * HALF_DIAGONAL + error.index_select(0, owner))[:, None]
    gap = nearest.sqrt() - radius.index_select(0, owner)[:, None]
    area = side.square()[:, None]
    coverage = gap.new_zeros(tile.numel() * PIXELS)
    coverage.index_add_(0, pixel.flatten(), ((gap <= -slack) * area).flatten())
    edge = (gap.abs() < slack).flatten().nonzero().squeeze(1)
    line, sample = edge >> 4, edge & (PIXELS - 1)
    index = (nearest.view(word).flatten().index_select(0, edge) & mask).long()
    cubic = torch.div(index, K, rounding_mode="trunc")
    start = (index - cubic * K + 0.5) / K
    owner = owner.index_select(0, line)
    scene_row = torch.div(tile, columns, rounding_mode="trunc")
    corner = torch.stack([tile - scene_row * columns, scene_row % rows]).index_select(1, source) * TILE
    centre = offset.view(2, -1).index_select(1, kind.index_select(0, line) * PIXELS + sample)
    return Pairs(
        stroke,
        tile,
        coverage,
        cubic + owner * J,
        start.to(dtype),
        centre.add_(corner.index_select(1, line)),
        side.index_select(0, line),
        pixel.flatten().index_select(0, edge),
        owner,
    )


@dataclass
class Edge:
    """The nearest point of the curve to each sample on an edge, and the direction of the edge there."""

    t: Tensor  # [E] parameter of the nearest point
    arrow: Tensor  # [2, E] from the sample's centre to that point
    velocity: Tensor  # [2, E] B'(t)
    bend: Tensor  # [2, E] B''(t)
    speed: Tensor  # [E] |B'|^2
    hold: Tensor  # [E] |B'|^2 + (B - x) . B'', kept away from zero
    distance: Tensor  # [E]
    normal: Tensor  # [2, E] across the edge
    smooth: Tensor  # [E] 1 where the edge follows the curve, 0 around the point of a cap, join or cusp


def nearest(cubics: Tensor, x: Tensor, t: Tensor) -> Edge:
    """Step 3, first half: Newton's method for (B(t) - x) . B'(t) = 0 from the nearest chord.

    Args:
        cubics: [4, 2, E] coefficients of 1, t, t^2 and t^3.
        x: [2, E] centres of the samples.
        t: [E] where to start.
    """
    c0, c1, c2, c3 = cubics
    c0, twice, thrice = c0 - x, 2 * c2, 3 * c3
    for step in range(NEWTON_STEPS + 1):
        bend = torch.addcmul(twice, thrice, t, value=2)
        velocity = torch.addcmul(twice, thrice, t).mul_(t).add_(c1)
        arrow = torch.addcmul(c2, c3, t).mul_(t).add_(c1).mul_(t).add_(c0)
        speed = _dot(velocity, velocity)
        # Beyond the centre of curvature Newton would climb to a maximum; Gauss-Newton still descends.
        hold = (speed + _dot(arrow, bend)).maximum(0.1 * speed).clamp_min_(1e-9)
        if step < NEWTON_STEPS:
            t = (t - _dot(arrow, velocity).div_(hold)).clamp_(0, 1)
    distance = _dot(arrow, arrow).sqrt_()
    # On caps, joins and cusps the edge is a circle around the point; elsewhere it runs along the tangent.
    slow = 1e-3 * (_dot(c1, c1) + _dot(c2, c2) + _dot(c3, c3)) + 1e-12
    smooth = ((t > 0) & (t < 1) & (speed > slow)).to(t.dtype)
    across = torch.stack([-velocity[1], velocity[0]]) * (smooth * speed.clamp_min(1e-12).rsqrt_())
    outward = arrow * ((smooth - 1) / distance.clamp_min(1e-6))
    # In the very middle of a dot any direction will do.
    outward[0] += (1 - smooth) * (distance < 1e-6)
    return Edge(t, arrow, velocity, bend, speed, hold, distance, across + outward, smooth)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a[0] * b[0]).addcmul_(a[1], b[1])


def _half_plane(u: Tensor, big: Tensor, small: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Area of the unit pixel with n . y < u, minus a half: an odd function of u.

    It is the distribution function of a box of width |nx| convolved with a box of width |ny|: linear in the
    middle, quadratic at both ends.

    Args:
        big, small: the larger and the smaller of |nx| and |ny|.

    Returns:
        The area, and what its derivatives are made of: the sign of u, and the share of the quadratic end that
        lies below |u|.
    """
    sign = u.sign()
    v = (u * sign).minimum((big + small) / 2)
    w = (v - (big - small) / 2).clamp_min_(0)
    share = w / small
    return sign * (v - w * share / 2) / big, sign, share


def coverage(edge: Edge, radius: Tensor, side: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Step 3, second half: what a sample adds to its pixel, the area of it between the stroke's two edges.

    Returns:
        coverage [E] and its derivatives by the distance, by the radius and by the edge's angle.
    """
    nx, ny = edge.normal
    wide, tall = nx.abs(), ny.abs()
    big, small = wide.maximum(tall).clamp_min_(1e-4), wide.minimum(tall).clamp_min_(1e-4)
    near, far = (radius - edge.distance) / side, (radius + edge.distance) / side
    near_area, near_sign, near_share = _half_plane(near, big, small)
    far_area, _, far_share = _half_plane(far, big, small)
    area = side * side
    total = (near_area + far_area).clamp_(0, 1) * area
    per_length = side / big
    near_slope, far_slope = (1 - near_share) * per_length, (1 - far_share) * per_length
    # d area / d big = (sign share / 2 - area) / big, d area / d small = -sign share (1 - share) / (2 big);
    # turning the normal by an angle moves (nx, ny) by (-ny, nx).
    by_big = (near_sign * near_share + far_share) / 2 - (near_area + far_area)
    by_small = (near_sign * near_share * (near_share - 1) + far_share * (far_share - 1)) / 2
    steep = (tall > wide).to(nx.dtype)
    tilt = torch.lerp(by_small, by_big, steep) * nx * ny.sign()
    tilt -= torch.lerp(by_big, by_small, steep) * ny * nx.sign()
    return total, far_slope - near_slope, far_slope + near_slope, tilt * area / big


def control_gradient(edge: Edge, by_distance: Tensor, by_angle: Tensor) -> Tensor:
    """Gradient by the four control points, [4, 2, E].

    A change dB of the nearest point and dB' of the velocity there moves the distance by -n . dB and the
    parameter by dt = (-B' . dB + (x - B) . dB') / hold, and turns the tangent by N . (dB' + B'' dt) / |B'|.
    """
    distance = edge.distance.clamp_min(1e-6)
    left = torch.stack([-edge.velocity[1], edge.velocity[0]]) / edge.speed.clamp_min(1e-12)  # N / |B'|
    turn = by_angle * edge.smooth
    along = turn * _dot(left, edge.bend) / edge.hold  # what dt is worth
    spin = (by_angle - turn) / distance.clamp_min(0.1)
    by_point = edge.arrow * (by_distance / distance) - edge.velocity * along
    by_point += torch.stack([edge.normal[1], -edge.normal[0]]) * spin
    by_velocity = left * turn - edge.arrow * along
    # Bernstein polynomials and their derivatives.
    t, s = edge.t, 1 - edge.t
    ss, st, tt = s * s, s * t, t * t
    value = torch.stack([s * ss, 3 * s * st, 3 * st * t, t * tt])
    rate = 3 * torch.stack([-ss, ss - 2 * st, 2 * st - tt, tt])
    return (value[:, None] * by_point).addcmul_(rate[:, None], by_velocity)
