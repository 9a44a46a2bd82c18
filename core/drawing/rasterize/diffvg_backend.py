"""diffvg (Li et al., SIGGRAPH Asia 2020, https://github.com/BachiLi/diffvg) behind the same interface.

For comparison: pydiffvg is slower and has faults of its own (its gradient by points leaves out the length
of the offset curve and round joins; exactly straight, evenly spaced cubics are drawn as two caps). It is
called the way that composites correctly, with an opaque background image, and takes a radius where we say
width.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Jittered samples of a pixel in each direction: what CLIPasso and CLIPDraw take.
SAMPLES = 2


def render(
    points: Tensor, widths: Tensor, colors: Tensor, size: tuple[int, int], background: Tensor
) -> Tensor:
    """Strokes to pixels, scene after scene, in float32; arguments as `torch_backend.render`."""
    import pydiffvg

    height, width = size
    pydiffvg.set_use_gpu(points.device.type == "cuda")
    pydiffvg.set_device(points.device)
    ground = background.float().expand(points.shape[0], 3, height, width)
    images = []
    for scene, (lines, radii, paint) in enumerate(
        zip(points.float(), widths.float().clamp_min(0) / 2, colors.float(), strict=True)
    ):
        shapes, groups = [], []
        for i in range(lines.shape[0]):
            number = _cubics(lines[i])
            if number == 0:
                continue
            shapes.append(
                pydiffvg.Path(
                    num_control_points=torch.full((number,), 2, dtype=torch.int32),
                    points=lines[i][: 3 * number + 1].contiguous(),
                    is_closed=False,
                    stroke_width=radii[i],
                )
            )
            groups.append(
                pydiffvg.ShapeGroup(
                    shape_ids=torch.tensor([len(shapes) - 1]), fill_color=None, stroke_color=paint[i]
                )
            )
        opaque = torch.cat([ground[scene], torch.ones_like(ground[scene, :1])]).permute(1, 2, 0).contiguous()
        if not shapes:
            images.append(ground[scene])
            continue
        arguments = pydiffvg.RenderFunction.serialize_scene(width, height, shapes, groups)
        image = pydiffvg.RenderFunction.apply(width, height, SAMPLES, SAMPLES, scene, opaque, *arguments)
        images.append(image[..., :3].permute(2, 0, 1))
    result = torch.stack(images).to(points.dtype) if images else ground.to(points.dtype)
    # Where nothing was drawn the inputs still belong to the graph, with gradient zero.
    return result + 0 * (points.sum() + widths.sum() + colors.sum())


def _cubics(line: Tensor) -> int:
    """Cubics of a path [P, 2] without the ones that padding added; 0 for a dot, which diffvg aborts on."""
    moved = (line[1:] != line[:-1]).any(1).nonzero()
    return int(moved[-1]) // 3 + 1 if moved.numel() else 0
