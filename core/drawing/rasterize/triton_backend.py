"""The rasterizer as three fused kernels for CUDA: bin strokes by tile, draw, and draw backwards.

The same mathematics as `torch_backend`, organised for a GPU: one program a tile of 16 x 16 pixels, no list
of pairs, no synchronisation with the host and no size that depends on the data, so that a whole
optimisation step can be captured in a CUDA graph. Every pixel is four samples of half a pixel's side. The
backward kernel walks the layers of a tile in paint order once more; what the layers above let through comes
from the forward's total as the exponential of a difference of logarithms, which stays exact under opaque
layers.

This file has not run on a GPU yet. Its kernels compile for NVIDIA's compute capability 8.0 and 9.0, and
`tests/core/drawing/test_rasterize.py` runs them through Triton's interpreter on a CPU and compares the image and
the gradients with the torch backend. Gradients are summed with atomics, so their last bits change from run
to run.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 16
# Strokes that one step of the binning looks at.
BLOCK = 64
NEWTON_STEPS = 3
WARPS = 8

HALF_DIAGONAL: tl.constexpr = tl.constexpr(0.7072)


def render(
    points: Tensor, widths: Tensor, colors: Tensor, size: tuple[int, int], background: Tensor
) -> Tensor:
    """Strokes to pixels; arguments as `torch_backend.render`, on a CUDA device, computed in float32."""
    image: Tensor = _Render.apply(points, widths, colors, size, background)
    return image.to(points.dtype)


@triton.jit
def _to_chord(x, y, ax, ay, ex, ey):  # type: ignore[no-untyped-def]
    """Squared distance to a chord, and where along it the nearest point lies (0 to 1)."""
    inverse = 1.0 / tl.maximum(ex * ex + ey * ey, 1e-12)
    t = tl.minimum(tl.maximum(((x - ax) * ex + (y - ay) * ey) * inverse, 0.0), 1.0)
    dx = x - ax - t * ex
    dy = y - ay - t * ey
    return dx * dx + dy * dy, t


@triton.jit
def _curve(a, b, c, d, t):  # type: ignore[no-untyped-def]
    """One coordinate of a cubic Bezier curve."""
    s = 1.0 - t
    return s * s * (s * a + 3.0 * t * b) + t * t * (3.0 * s * c + t * d)


@triton.jit
def _chord_error(points, J: tl.constexpr, K: tl.constexpr):  # type: ignore[no-untyped-def]
    """How far curves may be from their chords, for pointers to paths."""
    bend = tl.load(points) * 0.0
    for n in range(3 * J - 1):
        if n % 3 < 2:
            here = points + 2 * n
            x = tl.load(here) - 2.0 * tl.load(here + 2) + tl.load(here + 4)
            y = tl.load(here + 1) - 2.0 * tl.load(here + 3) + tl.load(here + 5)
            bend = tl.maximum(bend, x * x + y * y)
    return tl.sqrt(bend) * 0.75 / (K * K)


@triton.jit
def _bin(  # type: ignore[no-untyped-def]
    points, widths, members, counts, S, rows, columns,
    J: tl.constexpr, K: tl.constexpr, T: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    """The strokes that may touch a tile, in paint order.

    Args:
        points: [B, S, 3 J + 1, 2]; widths: [B, S].
        members: [B * rows * columns, S] int32, filled from the left; counts: [B * rows * columns] int32.
    """
    tile = tl.program_id(0).to(tl.int64)
    scene = tile // (rows * columns)
    x = (tile % columns).to(tl.float32) * T + T / 2
    y = ((tile // columns) % rows).to(tl.float32) * T + T / 2
    P: tl.constexpr = 3 * J + 1
    count = 0
    start = 0
    while start < S:
        stroke = start + tl.arange(0, N)
        valid = stroke < S
        row = scene * S + tl.minimum(stroke, S - 1)
        first = points + row * (2 * P)
        reach = tl.maximum(tl.load(widths + row), 0.0) / 2 + HALF_DIAGONAL + T * 0.70711
        # The control points' box first: most strokes are nowhere near.
        left = tl.load(first)
        top = tl.load(first + 1)
        right = left
        bottom = top
        for n in range(1, P):
            px = tl.load(first + 2 * n)
            py = tl.load(first + 2 * n + 1)
            left = tl.minimum(left, px)
            right = tl.maximum(right, px)
            top = tl.minimum(top, py)
            bottom = tl.maximum(bottom, py)
        near = (x > left - reach) & (x < right + reach) & (y > top - reach) & (y < bottom + reach) & valid
        if tl.sum(near.to(tl.int32), 0) > 0:
            cut = reach + _chord_error(first, J, K)
            best = reach * 0.0 + 1e30
            for j in range(J):
                here = first + 6 * j
                ax = tl.load(here)
                ay = tl.load(here + 1)
                x0, y0 = ax, ay
                x1 = tl.load(here + 2)
                y1 = tl.load(here + 3)
                x2 = tl.load(here + 4)
                y2 = tl.load(here + 5)
                x3 = tl.load(here + 6)
                y3 = tl.load(here + 7)
                for k in range(K):
                    t = (k + 1.0) / K
                    bx = _curve(x0, x1, x2, x3, t)
                    by = _curve(y0, y1, y2, y3, t)
                    squared, _ = _to_chord(x, y, ax, ay, bx - ax, by - ay)
                    best = tl.minimum(best, squared)
                    ax = bx
                    ay = by
            hit = near & (best < cut * cut)
            place = count + tl.cumsum(hit.to(tl.int32), 0) - 1
            tl.store(members + tile * S + place, stroke.to(tl.int32), mask=hit)
            count += tl.sum(hit.to(tl.int32), 0)
        start += N
    tl.store(counts + tile, count)


@triton.jit
def _half_plane(u, big, small):  # type: ignore[no-untyped-def]
    """Area of the unit pixel with n . y < u, minus a half; the sign of u; the share of the quadratic end."""
    sign = tl.where(u > 0, 1.0, tl.where(u < 0, -1.0, 0.0))
    v = tl.minimum(tl.abs(u), (big + small) / 2)
    w = tl.maximum(v - (big - small) / 2, 0.0)
    share = w / small
    return sign * (v - w * share / 2) / big, sign, share


@triton.jit
def _stroke(  # type: ignore[no-untyped-def]
    points, radius, x, y, middle_x, middle_y,
    J: tl.constexpr, K: tl.constexpr, T: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Coverage of samples of half a pixel's side by one stroke, and all its derivatives.

    Args:
        points: pointer to [3 J + 1, 2] control points.
        x, y: [T * T, 4] sample centres of a tile whose middle is (middle_x, middle_y).

    Returns:
        coverage; its derivative by the radius; cubic and parameter of the nearest point; its derivatives by
        the nearest point (x, y) and by the velocity there (x, y).
    """
    # 1. The nearest chord, among those that can matter in this tile.
    cut = radius + HALF_DIAGONAL + T * 0.70711 + _chord_error(points, J, K)
    best = x * 0.0 + 1e30
    t = x * 0.0
    cubic = t.to(tl.int32)
    for j in range(J):
        here = points + 6 * j
        ax = tl.load(here)
        ay = tl.load(here + 1)
        x0, y0 = ax, ay
        x1 = tl.load(here + 2)
        y1 = tl.load(here + 3)
        x2 = tl.load(here + 4)
        y2 = tl.load(here + 5)
        x3 = tl.load(here + 6)
        y3 = tl.load(here + 7)
        for k in range(K):
            step = (k + 1.0) / K
            bx = _curve(x0, x1, x2, x3, step)
            by = _curve(y0, y1, y2, y3, step)
            middle, _ = _to_chord(middle_x, middle_y, ax, ay, bx - ax, by - ay)
            if middle < cut * cut:
                squared, part = _to_chord(x, y, ax, ay, bx - ax, by - ay)
                closer = squared < best
                best = tl.where(closer, squared, best)
                t = tl.where(closer, (k + part) / K, t)
                cubic = tl.where(closer, j, cubic)
            ax = bx
            ay = by

    # 2. Newton's method from there, on the coefficients of 1, t, t^2 and t^3.
    here = points + 6 * cubic
    p0x = tl.load(here)
    p0y = tl.load(here + 1)
    p1x = tl.load(here + 2)
    p1y = tl.load(here + 3)
    p2x = tl.load(here + 4)
    p2y = tl.load(here + 5)
    ax = p0x - x
    ay = p0y - y
    bx = 3 * (p1x - p0x)
    by = 3 * (p1y - p0y)
    cx = 3 * (p2x - 2 * p1x + p0x)
    cy = 3 * (p2y - 2 * p1y + p0y)
    dx = tl.load(here + 6) - p0x + 3 * (p1x - p2x)
    dy = tl.load(here + 7) - p0y + 3 * (p1y - p2y)
    for _ in range(STEPS):
        arrow_x = ((dx * t + cx) * t + bx) * t + ax
        arrow_y = ((dy * t + cy) * t + by) * t + ay
        velocity_x = (3 * dx * t + 2 * cx) * t + bx
        velocity_y = (3 * dy * t + 2 * cy) * t + by
        speed = velocity_x * velocity_x + velocity_y * velocity_y
        hold = speed + arrow_x * (6 * dx * t + 2 * cx) + arrow_y * (6 * dy * t + 2 * cy)
        hold = tl.maximum(tl.maximum(hold, 0.1 * speed), 1e-9)
        t = tl.minimum(tl.maximum(t - (arrow_x * velocity_x + arrow_y * velocity_y) / hold, 0.0), 1.0)
    arrow_x = ((dx * t + cx) * t + bx) * t + ax
    arrow_y = ((dy * t + cy) * t + by) * t + ay
    velocity_x = (3 * dx * t + 2 * cx) * t + bx
    velocity_y = (3 * dy * t + 2 * cy) * t + by
    bend_x = 6 * dx * t + 2 * cx
    bend_y = 6 * dy * t + 2 * cy
    speed = velocity_x * velocity_x + velocity_y * velocity_y
    hold = tl.maximum(tl.maximum(speed + arrow_x * bend_x + arrow_y * bend_y, 0.1 * speed), 1e-9)
    distance = tl.sqrt(arrow_x * arrow_x + arrow_y * arrow_y)

    # 3. The edge's direction: along the curve, or around the point on caps, joins and cusps.
    slow = 1e-3 * (bx * bx + by * by + cx * cx + cy * cy + dx * dx + dy * dy) + 1e-12
    smooth = (t > 0) & (t < 1) & (speed > slow)
    length = tl.sqrt(tl.maximum(speed, 1e-12))
    away = tl.maximum(distance, 1e-6)
    nx = tl.where(smooth, -velocity_y / length, tl.where(distance < 1e-6, 1.0, -arrow_x / away))
    ny = tl.where(smooth, velocity_x / length, -arrow_y / away)
    wide = tl.abs(nx)
    tall = tl.abs(ny)
    big = tl.maximum(tl.maximum(wide, tall), 1e-4)
    small = tl.maximum(tl.minimum(wide, tall), 1e-4)

    # 4. Area between the two edges, and what moves it. A sample's side is 1/2.
    near_area, near_sign, near_share = _half_plane((radius - distance) * 2, big, small)
    far_area, far_sign, far_share = _half_plane((radius + distance) * 2, big, small)
    total = near_area + far_area
    coverage = tl.minimum(tl.maximum(total, 0.0), 1.0)
    near_slope = (1 - near_share) * 2 / big
    far_slope = (1 - far_share) * 2 / big
    by_distance = far_slope - near_slope
    by_big = (near_sign * near_share + far_sign * far_share) / 2 - total
    by_small = (near_sign * near_share * (near_share - 1) + far_sign * far_share * (far_share - 1)) / 2
    by_wide = tl.where(wide >= tall, by_big, by_small)
    by_tall = tl.where(wide >= tall, by_small, by_big)
    sign_x = tl.where(nx > 0, 1.0, tl.where(nx < 0, -1.0, 0.0))
    sign_y = tl.where(ny > 0, 1.0, tl.where(ny < 0, -1.0, 0.0))
    by_angle = (nx * sign_y * by_tall - ny * sign_x * by_wide) / big

    turn = tl.where(smooth, by_angle, 0.0)
    left_x = -velocity_y / tl.maximum(speed, 1e-12)
    left_y = velocity_x / tl.maximum(speed, 1e-12)
    along = turn * (left_x * bend_x + left_y * bend_y) / hold
    spin = (by_angle - turn) / tl.maximum(distance, 0.1)
    point_x = arrow_x / away * by_distance - velocity_x * along + ny * spin
    point_y = arrow_y / away * by_distance - velocity_y * along - nx * spin
    rate_x = left_x * turn - arrow_x * along
    rate_y = left_y * turn - arrow_y * along
    return coverage, near_slope + far_slope, cubic, t, point_x, point_y, rate_x, rate_y


@triton.jit
def _samples(tile, rows, columns, height, width, T: tl.constexpr):  # type: ignore[no-untyped-def]
    """The pixels of a tile [T * T] and their four samples [T * T, 4]."""
    corner_x = (tile % columns) * T
    corner_y = ((tile // columns) % rows) * T
    pixel = tl.arange(0, T * T)
    column = corner_x + pixel % T
    row = corner_y + pixel // T
    quarter = tl.arange(0, 4)
    x = column.to(tl.float32)[:, None] + 0.25 + (quarter % 2).to(tl.float32)[None, :] / 2
    y = row.to(tl.float32)[:, None] + 0.25 + (quarter // 2).to(tl.float32)[None, :] / 2
    middle_x = corner_x.to(tl.float32) + T / 2
    middle_y = corner_y.to(tl.float32) + T / 2
    return row, column, (row < height) & (column < width), x, y, middle_x, middle_y


@triton.jit
def _draw(  # type: ignore[no-untyped-def]
    points, widths, colors, background, bg_scene, bg_channel, bg_row, bg_column,
    members, counts, image, let_through, S, height, width, rows, columns,
    J: tl.constexpr, K: tl.constexpr, T: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """One tile of `image` [B, 3, H, W], and the logarithm of what its layers let through, [B, H, W]."""
    tile = tl.program_id(0).to(tl.int64)
    scene = tile // (rows * columns)
    row, column, inside, x, y, middle_x, middle_y = _samples(tile, rows, columns, height, width, T)
    ground = background + scene * bg_scene + row * bg_row + column * bg_column
    red = tl.load(ground, mask=inside, other=0.0)
    green = tl.load(ground + bg_channel, mask=inside, other=0.0)
    blue = tl.load(ground + 2 * bg_channel, mask=inside, other=0.0)
    through = red * 0.0
    count = tl.load(counts + tile)
    i = 0
    while i < count:
        stroke = scene * S + tl.load(members + tile * S + i)
        radius = tl.maximum(tl.load(widths + stroke), 0.0) / 2
        sampled, _, _, _, _, _, _, _ = _stroke(
            points + stroke * (6 * J + 2), radius, x, y, middle_x, middle_y, J, K, T, STEPS
        )
        opacity = tl.sum(sampled, 1) / 4 * tl.load(colors + 4 * stroke + 3)
        red += opacity * (tl.load(colors + 4 * stroke) - red)
        green += opacity * (tl.load(colors + 4 * stroke + 1) - green)
        blue += opacity * (tl.load(colors + 4 * stroke + 2) - blue)
        through += tl.log(tl.maximum(1 - opacity, 1e-12))
        i += 1
    plane = height * width
    out = image + scene * 3 * plane + row * width + column
    tl.store(out, red, mask=inside)
    tl.store(out + plane, green, mask=inside)
    tl.store(out + 2 * plane, blue, mask=inside)
    tl.store(let_through + scene * plane + row * width + column, through, mask=inside)


@triton.jit
def _draw_backward(  # type: ignore[no-untyped-def]
    points, widths, colors, background, bg_scene, bg_channel, bg_row, bg_column,
    members, counts, let_through, grad, points_grad, widths_grad, colors_grad,
    S, height, width, rows, columns,
    J: tl.constexpr, K: tl.constexpr, T: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Adds one tile's part of the gradients, from `grad` [B, 3, H, W]."""
    tile = tl.program_id(0).to(tl.int64)
    scene = tile // (rows * columns)
    row, column, inside, x, y, middle_x, middle_y = _samples(tile, rows, columns, height, width, T)
    plane = height * width
    upstream = grad + scene * 3 * plane + row * width + column
    g_red = tl.load(upstream, mask=inside, other=0.0)
    g_green = tl.load(upstream + plane, mask=inside, other=0.0)
    g_blue = tl.load(upstream + 2 * plane, mask=inside, other=0.0)
    ground = background + scene * bg_scene + row * bg_row + column * bg_column
    below = g_red * tl.load(ground, mask=inside, other=0.0)
    below += g_green * tl.load(ground + bg_channel, mask=inside, other=0.0)
    below += g_blue * tl.load(ground + 2 * bg_channel, mask=inside, other=0.0)
    remaining = tl.load(let_through + scene * plane + row * width + column, mask=inside, other=0.0)
    count = tl.load(counts + tile)
    i = 0
    while i < count:
        stroke = scene * S + tl.load(members + tile * S + i)
        radius = tl.maximum(tl.load(widths + stroke), 0.0) / 2
        sampled, by_radius, cubic, t, point_x, point_y, rate_x, rate_y = _stroke(
            points + stroke * (6 * J + 2), radius, x, y, middle_x, middle_y, J, K, T, STEPS
        )
        coverage = tl.sum(sampled, 1) / 4
        paint = colors + 4 * stroke
        alpha = tl.load(paint + 3)
        own = g_red * tl.load(paint) + g_green * tl.load(paint + 1) + g_blue * tl.load(paint + 2)
        opacity = coverage * alpha
        remaining -= tl.log(tl.maximum(1 - opacity, 1e-12))
        above = tl.exp(tl.minimum(remaining, 0.0))
        by_opacity = above * (own - below)
        below += opacity * (own - below)
        weight = above * opacity
        tl.atomic_add(colors_grad + 4 * stroke, tl.sum(weight * g_red, 0))
        tl.atomic_add(colors_grad + 4 * stroke + 1, tl.sum(weight * g_green, 0))
        tl.atomic_add(colors_grad + 4 * stroke + 2, tl.sum(weight * g_blue, 0))
        tl.atomic_add(colors_grad + 4 * stroke + 3, tl.sum(by_opacity * coverage, 0))
        by_sample = (by_opacity * alpha / 4)[:, None]
        tl.atomic_add(widths_grad + stroke, tl.sum(tl.sum(by_sample * by_radius, 1), 0) / 2)
        s = 1 - t
        b0, b1, b2, b3 = s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t
        r0, r1, r2, r3 = -3 * s * s, 3 * s * (s - 2 * t), 3 * t * (2 * s - t), 3 * t * t
        for n in range(3 * J + 1):
            corner = n - 3 * cubic
            value = tl.where(corner == 0, b0, tl.where(corner == 1, b1, tl.where(corner == 2, b2, b3)))
            rate = tl.where(corner == 0, r0, tl.where(corner == 1, r1, tl.where(corner == 2, r2, r3)))
            part = tl.where((corner >= 0) & (corner <= 3), by_sample, 0.0)
            out = points_grad + stroke * (6 * J + 2) + 2 * n
            tl.atomic_add(out, tl.sum(tl.sum(part * (value * point_x + rate * rate_x), 1), 0))
            tl.atomic_add(out + 1, tl.sum(tl.sum(part * (value * point_y + rate * rate_y), 1), 0))
        i += 1


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        points: Tensor,
        widths: Tensor,
        colors: Tensor,
        size: tuple[int, int],
        background: Tensor,
    ) -> Tensor:
        (B, S, P, _), (height, width) = points.shape, size
        points, widths = points.float().contiguous(), widths.float().contiguous()
        colors = colors.float().contiguous()
        ground = background.float().expand(B, 3, height, width)
        rows, columns = -(-height // TILE), -(-width // TILE)
        # The finest polyline that the canvas can call for; asking the points would stop for the GPU.
        shape = {"J": (P - 1) // 3, "K": 16 if max(size) <= 512 else 32, "T": TILE}
        members = torch.empty(B * rows * columns, max(S, 1), dtype=torch.int32, device=points.device)
        counts = torch.zeros(B * rows * columns, dtype=torch.int32, device=points.device)
        grid = (B * rows * columns,)
        if S:
            _bin[grid](points, widths, members, counts, S, rows, columns, **shape, N=BLOCK, num_warps=2)
        image = torch.empty(B, 3, height, width, device=points.device)
        let_through = torch.empty(B, height, width, device=points.device)
        shape["STEPS"] = NEWTON_STEPS
        _draw[grid](
            points, widths, colors, ground, *ground.stride(), members, counts, image, let_through,
            S, height, width, rows, columns, **shape, num_warps=WARPS,
        )  # fmt: skip
        ctx.save_for_backward(points, widths, colors, ground, members, counts, let_through)
        ctx.shape = shape  # type: ignore[attr-defined]
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved: tuple[Tensor, ...] = ctx.saved_tensors  # type: ignore[attr-defined]
        points, widths, colors, ground, members, counts, let_through = saved
        S, (height, width) = points.shape[1], ground.shape[2:]
        rows, columns = -(-height // TILE), -(-width // TILE)
        results = torch.zeros_like(points), torch.zeros_like(widths), torch.zeros_like(colors)
        _draw_backward[(counts.numel(),)](
            points, widths, colors, ground, *ground.stride(), members, counts, let_through,
            grads[0].float().contiguous(), *results, S, height, width, rows, columns,
            **ctx.shape, num_warps=WARPS,  # type: ignore[attr-defined]
        )  # fmt: skip
        # A negative width draws nothing and cannot be told which way to grow.
        points_grad, widths_grad, colors_grad = results
        return points_grad, widths_grad.masked_fill_(widths < 0, 0), colors_grad, None, None
