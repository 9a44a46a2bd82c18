"""Questions about a sketch: what each stroke is worth, what the guide says of other drawings, what a drawing shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from core import checkpoints, runtime
from core.clip import Classification, EncodedImage, ZeroShot, encoders
from core.drawing import guides
from core.drawing.clipasso import WHITE, Likeness, SketchSettings, check, judge_of, subject
from core.drawing.optimise import Scenes, judged
from core.drawing.strokes import CANVAS, Strokes


@runtime.on_device
def leave_one_out(
    image: Image.Image,
    strokes: Strokes,
    settings: SketchSettings | None = None,
    *,
    device: str | None = None,
) -> tuple[float, np.ndarray]:
    """What each stroke is worth to the guide, all in one batch.

    Args:
        image, settings: as for `sketch`; of the variants the first one's weights count.
        strokes: S of them.

    Returns:
        The plain loss of the whole sketch, and [S] by how much it grows without each stroke.
    """
    device = device or runtime.pick_device()
    with _judge(image, settings, len(strokes) + 1, device) as judge:
        # The first scene is whole; the others each lack one stroke.
        scenes = [strokes, *(strokes.without(i) for i in range(len(strokes)))]
        plain = judged(Scenes.stack(scenes, device), judge, WHITE).plain.cpu().numpy()
    return float(plain[0]), plain[1:] - plain[0]


@runtime.on_device
def judged_drawings(
    image: Image.Image,
    drawings: Sequence[np.ndarray],
    settings: SketchSettings | None = None,
    *,
    device: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What the guide says of drawings that no run of it made, such as an edge detector's.

    Args:
        image, settings: as for `sketch`; of the variants the first one's weights count.
        drawings: N images uint8 [H, W, 3] of one size.

    Returns:
        Plain losses [N] and image features [N, D], norm 1.
    """
    device = device or runtime.pick_device()
    with _judge(image, settings, len(drawings), device) as judge:
        pixels = torch.from_numpy(np.stack(drawings)).to(device).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            verdict = judge(judge.loss.resize(pixels), slice(None), warped=False)
    features = torch.nn.functional.normalize(verdict.features.float(), dim=-1)
    return verdict.plain.cpu().numpy(), features.cpu().numpy()


@contextmanager
def _judge(
    image: Image.Image, settings: SketchSettings | None, scenes: int, device: str
) -> Iterator[Likeness]:
    """What compares so many scenes with the subject of an image, while the guide is in use."""
    settings = settings or SketchSettings()
    check(settings)
    settings = replace(settings, variants=settings.variants[:1], seeds=scenes)
    checkpoint = settings.checkpoint or checkpoints.default("clip")
    with encoders.use(checkpoint, device, torch.float32) as encoder, runtime.semaphore(device):
        picture = np.asarray(subject(image, settings, device)[0])
        yield judge_of(picture, settings, encoder, guides.guide(checkpoint, encoder.vision))


def name(
    features: np.ndarray,
    labels: Sequence[str],
    checkpoint: str | None = None,
    templates: str | Sequence[str] | None = None,
) -> Classification:
    """Zero-shot labels of a drawing by the features of a frame or a result, without rendering it again.

    Args:
        features: [D], norm 1.
        labels, templates: as for `core.clip.ZeroShot.classify`; texts are encoded once and remembered.
        checkpoint: the guide that the features come from; None for the default one.
    """
    model = ZeroShot.load(checkpoint or checkpoints.default("clip"))
    canvas = (0.0, 0.0, float(CANVAS), float(CANVAS))
    nowhere = np.zeros((0, 0, len(features)), np.float32)  # nobody asks about places
    return model.classify(
        EncodedImage(model.checkpoint, "", (CANVAS, CANVAS), canvas, features, nowhere), labels, templates
    )
