"""*Compare* and *Train it* of the DepthCLIP page: true depth of new scenes, a supervised network, learned bins."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from core import checkpoints, inputs
from core.errors import Refusal
from demos.depthclip import draw
from demos.depthclip.answer import model, run, words_of
from demos.depthclip.words import PAPER, say, text
from demos.kit import files as files_in
from demos.kit import form, library, results
from demos.kit.html import Markup, tag
from demos.kit.jobs import Progress

if TYPE_CHECKING:
    from core.runtime import Cancel
    from demos.depthclip.page import Question

SHOWN, SCENES = 4, 24  # scenes that are drawn; whose places are measured
SEED, SHOT_SEED, SHOTS = 811, 31_500, 16
SHOWN_SIDE = 160
SAME = 0.02  # by which the ratio of the sides of an image and of its depth map may differ


def scenes(question: Question, lang: str) -> dict[str, Any]:
    """New scenes with their true depth: the map, its errors, and those of the best constant."""
    from core.classroom.recipes.depthclip import live
    from core.classroom.world.scenes import compose
    from core.spatial import depth_errors

    start = time.perf_counter()
    estimator = model(question.checkpoint)
    words = words_of(question.words, question.template, question.thing, question.temperature)
    made = compose(SEED, SHOWN, live.COLOUR, size=live.SIZE)
    body, rows = Markup(), []
    for picture, truth in zip(made.picture, live.metres(made), strict=True):
        image = inputs.image(Image.fromarray((picture.permute(1, 2, 0) * 255).round().byte().numpy()))
        depth = estimator.estimate(image, words).depth
        best = np.full_like(truth, depth_errors.constant(truth))
        rows.append(
            {name: depth_errors.map_errors(one, truth) for name, one in (("own", depth), ("one", best))}
        )
        shown = [(say("scene", lang), image.resize((SHOWN_SIDE, SHOWN_SIDE)))]
        shown += [
            (title, Image.fromarray(draw.coloured(one, words.bins)).resize((SHOWN_SIDE, SHOWN_SIDE)))
            for title, one in ((say("true", lang), truth), (say("estimated", lang), depth))
        ]
        body += draw.maps(shown)
    table = {
        say(title, lang): {
            measure: float(np.mean([row[name][measure] for row in rows])) for measure in draw.MEASURES
        }
        for name, title in (("own", "estimated"), ("one", "constant"))
    }
    found = live.places(estimator, SEED, SCENES)
    guess = live.guess(found, estimator.encode_text(words.sentences), words)
    rank = depth_errors.rank_correlation(guess, found.metres)
    note = tag("p", say("rank", lang, rank=rank, scenes=SCENES), class_="atlas-line")
    line = results.line(time.perf_counter() - start, estimator.checkpoint, estimator.device, lang)
    return {"out": draw.error_table(table, lang) + note + body, "line": line}


@dataclass(frozen=True)
class Own:
    """A depth map of the page's image, and what its numbers mean; those of the Motorcycle pair of Middlebury to begin with."""

    file: str | None = form.field(
        None,
        form.Field(lambda name: files_in.file_input(text("truth_file"), (".png", ".npy"), name, height=110)),
    )
    unit: str = form.choice(library.options(PAPER, "unit"), "disparity", text("unit"))
    product: float = form.number(192.03, text("product"), precision=4)
    offset: float = form.number(31.086, text("offset"), precision=4)


def own(
    question: Question, file: str | None, unit: str, product: float, offset: float, lang: str
) -> dict[str, Any]:
    """The map of the page's image beside its true depth: errors of both maps and of the best constant.

    Raises:
        Refusal: "depths_shape" where image and depth map do not have the same shape, and what reading both refuses.
    """
    from core.spatial import depth_errors

    truth = inputs.depths(file, unit, product, offset)
    answer = run(question)
    depth = answer.result.depth
    if abs(truth.shape[0] * depth.shape[1] / (truth.shape[1] * depth.shape[0]) - 1) > SAME:
        told = {
            "depth": f"{truth.shape[1]} x {truth.shape[0]}",
            "image": f"{depth.shape[1]} x {depth.shape[0]}",
        }
        raise Refusal("depths_shape", **told)
    rows, columns = (
        (np.arange(size) + 0.5) * full // size for size, full in zip(depth.shape, truth.shape, strict=True)
    )
    truth = truth[rows.astype(int)[:, None], columns.astype(int)[None]]
    constant = np.full_like(depth, depth_errors.constant(truth))
    # The metres of the words are set by hand: one factor, the medians' ratio, shows what is left without them.
    scaled = depth * float(np.nanmedian(truth) / np.median(depth[np.isfinite(truth)]))
    maps = {"estimated": depth, "scaled": scaled, "constant": constant}
    table = {say(name, lang): depth_errors.map_errors(one, truth) for name, one in maps.items()}
    known = np.isfinite(truth)
    rank = depth_errors.rank_correlation(depth[known], truth[known])
    span = (float(np.nanmin(truth)), float(np.nanmax(truth)))
    shown = [(say("true", lang), np.where(known, truth, span[1])), (say("scaled", lang), scaled)]
    made = draw.maps([(title, Image.fromarray(draw.coloured(one, span))) for title, one in shown])
    note = tag("p", say("own_rank", lang, rank=rank, share=float(known.mean())), class_="atlas-line")
    return {"out": draw.error_table(table, lang) + note + made, "line": answer.line(lang)}


def supervised(question: Question, lang: str) -> dict[str, Any]:
    """DepthCLIP's map beside that of Depth Anything V2 on the page's image."""
    from core.spatial.depth_anything import DepthAnything

    answer = run(question)
    other = DepthAnything.load(checkpoints.rows(PAPER)[0].name).estimate(answer.image)
    nearness = other.nearness / max(float(other.nearness.max()), 1e-9)
    shown = [
        (say("estimated", lang), Image.fromarray(draw.coloured(answer.result.depth, answer.result.bins))),
        (say("supervised", lang), Image.fromarray(draw.coloured(1 - nearness, (0.0, 1.0)))),
    ]
    return {"out": draw.maps(shown), "line": answer.line(lang)}


def learn(question: Question, lang: str, cancel: Cancel) -> Iterator[Any]:
    """Bins and temperature learned from a few scenes; errors over objects of new scenes. Stop keeps what was learned."""
    from core.classroom.recipes.depthclip import live
    from core.spatial import depth_errors

    start = time.perf_counter()
    estimator = model(question.checkpoint)
    words = words_of(question.words, question.template, question.thing, question.temperature)
    yield Progress(0.05, say("scenes_encoded", lang))
    few, new = live.places(estimator, SHOT_SEED, SHOTS), live.places(estimator, SEED, SCENES)
    texts, learned = estimator.encode_text(words.sentences), words
    for step in live.learn(estimator, few, words, cancel):
        learned = step.words
        if step.step % 20 == 0:
            yield Progress(0.1 + 0.9 * step.step / step.steps, say("learning", lang, loss=step.loss))
    guesses = {
        "by_hand_short": live.guess(new, texts, words),
        "learned": live.guess(new, texts, learned),
        "constant": np.full_like(new.metres, depth_errors.constant(few.metres)),
    }
    table = {say(name, lang): depth_errors.map_errors(guess, new.metres) for name, guess in guesses.items()}
    yield {
        "bins": draw.bin_table(words.words, words.bins, learned.bins, lang),
        "errors": draw.error_table(table, lang),
        "line": results.line(time.perf_counter() - start, estimator.checkpoint, estimator.device, lang),
    }
