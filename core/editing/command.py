"""`python -m core edit`: its options, and the edit that they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core import checkpoints, inputs
from core.errors import Refusal
from core.inputs import seeds

if TYPE_CHECKING:
    from core.editing.result import Frame

# The methods, and the row that does each of them where none is named.
ROWS = {
    "sdedit": "sd-turbo",
    "inversion": "sd-turbo",
    "instruct": "instruct-pix2pix",
    "guidance": "ddpm-cifar10-32",
    "optimization": "stylegan2-ffhq",
    "stylespace": "stylegan2-ffhq",
}
WRITTEN = (".png", ".jpg", ".webp")
BLOCKED = {
    "en": "The checkpoint's safety checker made this image black; another seed or text often helps.",
    "zh": "这组权重的安全检查器把图片变成了全黑；换一个种子或文字通常可行。",
}


def options(verb: argparse.ArgumentParser) -> None:
    """What the command takes."""
    verb.add_argument("image", help="an image file; for a StyleGAN2 the seed of the image that it makes")
    verb.add_argument("text", help="what the edited image shows; for instruct what is to be done")
    verb.add_argument("--method", choices=list(ROWS), help="the checkpoint's first without it, or sdedit")
    verb.add_argument(
        "--checkpoint", help="a row of `python -m core.checkpoints list`; the method's own without it"
    )
    verb.add_argument("--steps", type=int, help="of the schedule or the optimisation")
    verb.add_argument(
        "--strength", type=float, help="share of the schedule that is run (sdedit, inversion, guidance)"
    )
    verb.add_argument("--text-guidance", type=float, help="how strictly the text is followed")
    verb.add_argument("--image-guidance", type=float, help="how closely the image is kept (instruct)")
    verb.add_argument("--neutral", help="what the image shows (inversion)")
    verb.add_argument("--guide", help="the CLIP that pulls (guidance, optimization, stylespace)")
    verb.add_argument(
        "--seed", type=int, default=0, help="of the noise; the same one gives the same image, -1 any"
    )
    verb.add_argument(
        "--out", type=Path, default=Path("edited.png"), help=f"{', '.join(WRITTEN)}; edited.png without it"
    )
    verb.add_argument("--json", action="store_true", help="print what was done as JSON")


def frames(arguments: argparse.Namespace) -> Iterator[Frame]:
    """The frames of the edit that the arguments ask for."""
    name = arguments.checkpoint or ROWS[arguments.method or "sdedit"]
    if checkpoints.row(name).loader == "core.editing.pipelines:load_generator":
        yield from _from_seed(name, arguments)
        return
    image = inputs.image(arguments.image)
    from core.editing.diffusion import DiffusionEditor

    model = DiffusionEditor.load(name)
    names = ("steps", "strength", "text_guidance", "image_guidance", "neutral", "guide", "seed")
    chosen = {one: getattr(arguments, one) for one in names}
    yield from model.edit(image, arguments.text, model.settings(arguments.method, **chosen))


def _from_seed(name: str, arguments: argparse.Namespace) -> Iterator[Frame]:
    from core.editing import style
    from core.editing.optimization import OptimizationSettings

    method = arguments.method or style.METHODS[0]
    if method not in style.METHODS:
        raise Refusal("unknown_method", name=method, known=", ".join(style.METHODS))
    if not arguments.image.isdecimal():
        raise Refusal("bad_seed", value=arguments.image[:40], high=seeds.BELOW - 1)
    settings = OptimizationSettings(stylespace=method == "stylespace")
    if arguments.steps is not None:
        settings = OptimizationSettings(arguments.steps, stylespace=settings.stylespace)
    model = style.StyleEditor.load(name)
    guide = arguments.guide or style.GUIDE
    yield from model.edit(int(arguments.image), arguments.text, settings, guide=guide)
