"""*Compare* on the AudioCLIP page: AudioCLIP against CLAP; ways of hearing the same sounds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from core import checkpoints, inputs
from demos.audioclip import answer as answers
from demos.audioclip.words import PAPER, say, sounds
from demos.draw import players
from demos.kit import results
from demos.kit.html import Markup, join, tag
from demos.kit.menu import needs_download

if TYPE_CHECKING:
    from demos.audioclip.page import Question

# Sounds of one batch: the visitor's and these.
BATCH = ("rooster", "ambulance", "piano", "dog", "church", "telephone")


def rows(question: Question, lang: str) -> dict[str, Any]:
    """The probabilities of the labels from every checkpoint of the menu that is on this machine."""
    labels = inputs.labels(question.labels)
    inputs.sound(question.sound)
    start = time.perf_counter()
    title = "zh" if lang == "zh" else "en"
    here = [row for row in checkpoints.rows(PAPER) if not needs_download(row.name)]
    missing = [row.title[title] for row in checkpoints.rows(PAPER) if needs_download(row.name)]
    found = [answers.ask(str(question.sound), labels, row.name, lang, beside=()).comparison for row in here]
    # Rows may read some labels as one: what all of them tell apart is compared.
    names = [name for name in found[0].labels if all(name in one.labels for one in found)]
    values = np.stack([[one.probabilities()[one.labels.index(name)] for name in names] for one in found])
    made = players.table(values, [row.title[title] for row in here], names, say("corner_rows", lang))
    if missing:
        made += tag("p", say("missing", lang, names=say("comma", lang).join(missing)), class_="atlas-hint")
    line = results.line(time.perf_counter() - start, found[0].checkpoint, found[0].device, lang)
    return {"out": made, "line": line}


def ways(question: Question, lang: str) -> dict[str, Any]:
    """The labels of a batch of sounds, heard as trained, with plain filters, and with each of the notebook's mistakes."""
    model = answers.model(question.checkpoint)
    if not model.sees:
        return {"out": tag("p", say("no_tower", lang), class_="atlas-line"), "line": ""}
    labels = inputs.labels(question.labels)
    start = time.perf_counter()
    own = inputs.sound(question.sound)
    others = {name: inputs.sound(sounds()[name]["sound"]) for name in BATCH}
    others = {name: one for name, one in others.items() if one.digest != own.digest}
    names = [say("this_sound", lang), *(sounds()[name]["caption"][lang] for name in others)]
    made, _ = heard(model, [own, *others.values()], labels, names, lang)
    return {
        "out": made,
        "line": results.line(time.perf_counter() - start, model.checkpoint, model.device, lang),
    }


def heard(
    model: Any, opened: list[inputs.Sound], labels: list[str], names: list[str], lang: str
) -> tuple[Markup, dict[str, list[int]]]:
    """A table for each way of hearing, and the likeliest label of each sound in it."""
    from core.audio.audioclip import softmax

    texts = model.encode_text([inputs.clean(label) for label in labels])
    scale = model.scales.audio_text
    parts, best = [], {}
    for way, features in model.variants(opened).items():
        shares = softmax(scale * features @ texts.T)
        best[way] = [int(i) for i in shares.argmax(1)]
        parts.append(tag("p", tag("b", say(f"way_{way}", lang))))
        parts.append(players.table(shares, names, labels, say("corner_text", lang)))
    return join(parts), best
