"""`python -m core edit`: its options, and the edit that they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import inputs
from core.editing import rows, settings
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
    "mapper": "classroom-styleclip",
    "global_direction": "classroom-styleclip",
}
# Options that are settings of the same name.
SETTINGS = (
    "steps", "strength", "text_guidance", "image_guidance", "neutral", "guide", "seed", "alpha", "beta", "rate", "distance",
    "likeness", "pull",
)  # fmt: skip
WRITTEN = (".png", ".jpg", ".webp")
BLOCKED = {
    "en": "The checkpoint's safety checker made this image black; another seed or text often helps.",
    "zh": "这组权重的安全检查器把图片变成了全黑；换一个种子或文字通常可行。",
}


def options(verb: argparse.ArgumentParser) -> None:
    """What the command takes."""
    verb.add_argument(
        "image", help="an image file; for a row with a generator also the seed of an image that it makes"
    )
    verb.add_argument("text", help="what the edited image shows; for instruct what is to be done")
    verb.add_argument("--method", choices=list(ROWS), help="the checkpoint's first without it, or sdedit")
    verb.add_argument(
        "--checkpoint", help="a row of `python -m core.checkpoints list`; the method's own without it"
    )
    verb.add_argument("--steps", type=int, help="of the schedule or the optimisation")
    verb.add_argument(
        "--strength", type=float, help="share of the schedule that is run; how far a mapper's way is gone"
    )
    verb.add_argument("--text-guidance", type=float, help="how strictly the text is followed")
    verb.add_argument("--image-guidance", type=float, help="how closely the image is kept (instruct)")
    verb.add_argument("--neutral", help="what the image shows (inversion, global_direction)")
    verb.add_argument("--alpha", type=float, help="how far a global direction is followed")
    verb.add_argument("--beta", type=float, help="scores below it move no channel (global_direction)")
    verb.add_argument("--rate", type=float, help="of learning (optimization, stylespace, mapper)")
    verb.add_argument(
        "--distance", type=float, help="weight of the way from the start (optimization, stylespace)"
    )
    verb.add_argument("--likeness", type=float, help="weight of the image's likeness to the start")
    verb.add_argument("--pull", type=float, help="of CLIP's gradient (guidance)")
    verb.add_argument("--guide", help="the CLIP that pulls (guidance, optimization, stylespace, mapper)")
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
    chosen = {one: getattr(arguments, one) for one in SETTINGS}
    if chosen["distance"] is not None:
        chosen["distance"] = (chosen["distance"],)
    asked = settings.of(name, arguments.method, **chosen)
    given, kinds = arguments.image, rows.starts(name)
    # A number is a seed where no file has its name.
    begun: dict[str, Any] = {}
    if "seed" in kinds and given.isdecimal() and not Path(given).exists():
        begun["seed"] = int(given)
    elif "image" in kinds:
        begun["image"] = inputs.image(given)
    else:
        raise Refusal("bad_seed", value=given[:40], high=seeds.BELOW - 1)
    from core.editing.model import Editor

    model = Editor.load(name)
    yield from model.edit(model.start(**begun), arguments.text, asked)
