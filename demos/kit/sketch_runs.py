"""What the runs of CLIPasso and CLIPDraw share on their pages: frames into messages, labels, lines, downloads, films."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from core import inputs
from core.errors import Refusal
from core.runtime import Cancel
from demos.draw import base as draw
from demos.draw import stroke_files as sketch_export
from demos.draw import strokes as sketch_draw
from demos.kit import jobs, shell
from demos.kit.shell import pick

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clip import Classification
    from core.drawing.strokes import Frame, Painting, Sketch

MAX_LABELS = 50


@dataclass(frozen=True)
class Made:
    """The last run of a visitor: what it came to, after which picture, the labels it was given."""

    image: Any  # PIL picture, None for a prompt
    result: Any  # Sketch or Painting
    labels: tuple[str, ...]


def needed(made: Made | None) -> Made:
    """The last run; Refusal("no_sketch") where there is none."""
    if made is None:
        raise Refusal("no_sketch")
    return made


def label_list(text: str | None) -> list[str]:
    """The labels of a box, none where it is empty."""
    return inputs.labels(text, limit=MAX_LABELS) if (text or "").strip() else []


def named(features: Any, names: Sequence[str], checkpoint: str | None) -> Classification:
    """Zero-shot labels of a drawing by its features [D]."""
    from core.drawing import clipasso

    return clipasso.name(features, names, checkpoint)


def watch(
    frames: Iterator[Frame],
    titles: Sequence[str],
    names: Sequence[str],
    checkpoint: str,
    lang: str,
    *,
    edit: bool = False,
) -> Iterator[tuple[str, str, Sketch | Painting | None]]:
    """A run as it goes: status, message of the surface, and at the end the result.

    Args:
        titles: of the columns.
        names: labels that every frame is given.
        checkpoint: the guide.
        edit: whether the finished strokes can be edited.
    """
    run = str(time.time_ns())

    def labels(features: Any) -> list[Classification]:
        return [named(row, names, checkpoint) for row in features] if names else []

    for frame in frames:
        picture = draw.data_uri(Image.fromarray(frame.start.picture)) if frame.start else ""
        result = frame.result
        if result is None:
            status = jobs.steps_done(frame.step, frame.steps, frame.seconds, frame.seconds_left, lang)
            yield status, sketch_draw.message(run, frame, titles, labels(frame.features), picture), None
        else:
            found = labels([one.features for one in result.drawn])
            final = sketch_draw.finished(run, result.drawn, result.steps, titles, found, picture, edit=edit)
            yield line(result, lang), final, result


def line(result: Sketch | Painting, lang: str) -> str:
    """The result line of a run."""
    seeds = len(result.drawn[0].losses)
    parts = [
        pick(lang, f"{result.steps} steps", f"{result.steps} 步"),
        pick(lang, f"{seeds} seeds", f"{seeds} 个种子") if seeds > 1 else "",
        pick(lang, f"rasterizer: {result.rasterizer}", f"光栅化：{result.rasterizer}"),
        pick(lang, "stopped", "已停止") if result.stopped else "",
    ]
    extra = " · ".join(part for part in parts if part)
    return shell.result_line(result.seconds, result.checkpoint, result.device, lang, extra)


def finish(start: Callable[[Cancel], Iterator[Frame]]) -> Any:
    """A whole run in its turn, for callers that wait for its end.

    Args:
        start: begins the run with a stop flag.
    """
    cancel = Cancel()
    job = jobs.in_turn(cancel, jobs.ENDPOINT_SECONDS, lambda: start(cancel))
    results = [frame.result for frame in job if not isinstance(frame, int) and frame.result is not None]
    return results[-1]


def answers(result: Sketch | Painting, names: Sequence[str]) -> list[dict[str, Any]]:
    """Every drawing of a run as plain values, for an endpoint."""
    found = []
    for one in result.drawn:
        answer = {
            "checkpoint": result.checkpoint,
            "seconds": round(result.seconds, 2),
            "steps": result.steps,
            "loss": round(one.loss, 5),
            "losses": one.losses.astype(float).round(5).tolist(),
            "svg": one.strokes.svg(),
            "points": one.strokes.points.astype(float).round(2).tolist(),
        }
        if names:
            answer["labels"] = named(one.features, names, result.checkpoint).to_json()["results"]
        found.append(answer)
    return found


def taken_seed(result: Sketch | Painting, seed: int) -> dict[str, int]:
    """The first seed of a run that was asked for any: for an endpoint's answer."""
    return {"seed": result.settings.first_seed} if seed != result.settings.first_seed else {}


def exports(made: Made, name: str) -> str:
    """Downloads of a run; `name` is of the files."""
    result = made.result
    answer = {"checkpoint": result.checkpoint, "steps": result.steps, "seconds": round(result.seconds, 2)}
    return sketch_export.links(name, result.drawn, answer)


def films(made: Made | None, name: str, lang: str) -> tuple[str]:
    """The last run as a GIF and an MP4."""
    return (sketch_export.films(name, needed(made).result.drawn, lang),)
