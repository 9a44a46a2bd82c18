"""What the PointCLIP page answers: labels for a cloud through its depth images; the named endpoint.

The views of a cloud are encoded once. Labels, sentence and view weights only weigh what is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import batch, checkpoints, inputs
from core.batch import Outcome
from core.errors import Refusal
from demos.draw import base
from demos.kit import files as files_in
from demos.kit import form, results
from demos.kit.events import api_errors
from demos.kit.layout import Layout
from demos.pointclip import draw
from demos.pointclip.words import PAPER, examples, say, text

if TYPE_CHECKING:
    from core.inputs import Cloud
    from core.spatial import PointClassification, PointClassifier
    from core.spatial.projection import Projection
    from demos.pointclip.page import Question

OPENING = "star"
KINDS = [".ply", ".off", ".obj", ".stl", ".glb", ".pcd", ".xyz", ".npy", ".txt", ".csv"]
WEIGHTS = 10
TOWER_SIDE = 64  # pixels of a miniature's tower: a depth image of 128 would lose points on the way to it


def cloud_field() -> Any:
    """The field of the cloud: the path of an upload."""

    def make(name: str) -> gr.File:
        return files_in.file_input(text("cloud"), KINDS, name, height=120)

    return form.field(None, form.Field(make, "side", link=False))


def model(checkpoint: str | None) -> PointClassifier:
    """The classifier of a row, loaded on first use."""
    from core.spatial import PointClassifier

    return PointClassifier.load(checkpoint or checkpoints.default("clip"))


def projection_of(name: str, checkpoint: str) -> Projection:
    """The settings of a projection for a row; Refusal("unknown_method") for an unknown name."""
    from core.spatial.pointclip import PROJECTIONS
    from core.spatial.projection import Perspective

    if name not in PROJECTIONS:
        raise Refusal("unknown_method", name=str(name)[:40], known=", ".join(PROJECTIONS))
    settings = PROJECTIONS[name]
    if isinstance(settings, Perspective) and checkpoints.row(checkpoint).bundled:
        return replace(settings, side=TOWER_SIDE)
    return settings


@dataclass(frozen=True)
class Answer:
    """The ranking of labels for one cloud."""

    cloud: Cloud
    projection: Projection
    result: PointClassification
    seconds: float

    def line(self, lang: str) -> str:
        """The result line."""
        return results.answer_line(PAPER, self.result, self.seconds, lang)


def template_of(question: Question) -> str | None:
    """The visitor's own sentence; None for that of the row."""
    return (question.template or "").strip() or None


def weights_of(question: Question, settings: Projection) -> list[float]:
    """What each view of a projection counts."""
    return [getattr(question, f"weight_{i + 1}") for i in range(len(settings.views))]


def run(question: Question, projection: str | None = None) -> Answer:
    """The answer to the page's question, or under another projection."""
    labels = inputs.labels(question.labels)
    if not question.cloud:
        raise Refusal("no_points")
    cloud = inputs.points(question.cloud, up=None if question.up == "auto" else question.up)
    classifier = model(question.checkpoint)
    settings = projection_of(projection or question.projection, classifier.checkpoint)
    start = time.perf_counter()
    result = classifier.classify(
        cloud, labels, template_of(question), weights_of(question, settings), projection=settings
    )
    return Answer(cloud, settings, result, time.perf_counter() - start)


# --- endpoint --------------------------------------------------------------------------------------------


def pointclip_classify(
    cloud: gr.FileData,
    labels: list[str] | str,
    projection: str = "v1",
    template: str | None = None,
    view_weights: list[float] | None = None,
    up: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank labels for a point cloud or a mesh: PointCLIP looks at depth images of it from several sides.

    Args:
        cloud: a PLY, OFF, OBJ, STL, GLB, PCD, XYZ or NPY file, or a data URI; meshes are sampled by area.
        labels: a list, or one string with commas; at most 100, in a language of the checkpoint.
        projection: "v1" (6 views), "v1-ten" (10 views) or "v2" (10 views, realistic).
        template: a sentence with {} for the label; the paper's own when left out.
        view_weights: a number for each view; 1 each when left out.
        up: the axis that points up in the file, "x", "y" or "z"; the habit of the format when left out.
        checkpoint: a CLIP row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "template", "points", "results": [{"label", "probability", "views"}, ...]}, best first;
        "views" has the probability that each view alone gives; "merged" and "truncated" as in clip_classify.
    """
    with api_errors():
        names = inputs.labels(labels)
        points = inputs.points(files_in.uploaded(cloud), up=up or None)
        classifier = model(checkpoint)
        settings = projection_of(projection, classifier.checkpoint)
        result = classifier.classify(points, names, template or None, view_weights, projection=settings)
        return {**result.to_json(), "points": len(points.points)}


# --- handlers --------------------------------------------------------------------------------------------


def rows_of(result: PointClassification) -> list[dict[str, Any]]:
    """Label, probability and mean cosine of the views, best first."""
    cosines = (result.view_features @ result.text_features.T).mean(0)
    return [
        {
            "label": result.labels[i],
            "probability": float(result.probabilities[i]),
            "cosine": float(cosines[i]),
        }
        for i in result.order
    ]


def classify(question: Question, lang: str) -> dict[str, Any]:
    """The labels, the turning cloud with its cameras, the depth images with what each says."""
    answer = run(question)
    known = {inputs.points(row["cloud"]).digest for row in examples().values() if row["classroom"]}
    outside = checkpoints.row(answer.result.checkpoint).bundled and answer.cloud.digest not in known
    more = [*answer.cloud.sentences(lang), *([say("outside", lang)] if outside else [])]
    return {
        "bars": base.probability_bars(rows_of(answer.result), lang),
        "turning": draw.viewer_value(answer.cloud.points, answer.projection),
        "views": draw.views(answer.result, answer.projection, lang),
        "line": answer.line(lang),
        **results.answer_notes(PAPER, answer.result, "", answer.result.labels, lang, more, paper="clip"),
    }


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets."""
    from demos.kit.classifier import language

    row = examples()[name]
    return {"cloud": row["cloud"], "labels": row["labels"][language(question.checkpoint, lang)]}


def files(question: Question, lang: str) -> str:
    """Download links: depth images, the table, everything as JSON, the points."""
    import io

    answer = run(question)
    points = io.BytesIO()
    np.save(points, answer.cloud.points)
    return files_in.downloads(
        [
            ("views.png", "image/png", base.png(draw.sheet(answer.result.views, answer.projection))),
            ("pointclip.csv", "text/csv", base.to_csv(rows_of(answer.result)).encode("utf-8-sig")),
            ("pointclip.json", "application/json", base.to_json(answer.result.to_json()).encode()),
            ("points.npy", "application/octet-stream", points.getvalue()),
        ]
    )


def many(question: Question) -> Callable[[Cloud], Outcome]:
    """The labels of the page for each of many clouds and meshes."""
    labels, classifier = inputs.labels(question.labels), model(question.checkpoint)
    settings = projection_of(question.projection, classifier.checkpoint)
    template, weights = template_of(question), weights_of(question, settings)

    def verb(cloud: Cloud) -> Outcome:
        result = classifier.classify(cloud, labels, template, weights, projection=settings)
        best = int(result.view_probabilities[:, result.order[0]].argmax())
        image = draw.picture(result.views[best], settings)
        return batch.ranked({**result.to_json(), "points": len(cloud.points)}, image)

    return verb


def weights_note(layout: Layout) -> None:
    """What to know of the weights of views."""
    gr.Markdown(text("weights_note").tr)
