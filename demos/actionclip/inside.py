"""*Look inside* of the ActionCLIP page: parts of the clip, the KL target of a batch, shapes, code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from core import inputs
from demos.actionclip import answer as answers
from demos.actionclip import draw
from demos.actionclip.words import markup, say
from demos.draw import players
from demos.kit import library, results
from demos.kit.html import tag

if TYPE_CHECKING:
    from demos.actionclip.page import Question


# Drawn clips of a batch: two of them show one action.
BATCH_OF_EXAMPLES = ("dog_right", "cat_jumps", "dog_left", "balloon_rises", "airplane_right", "key_falls")


def timeline(question: Question, lang: str) -> dict[str, Any]:
    """The probabilities of each of six parts of the clip, as if it were a clip of its own."""
    from core.video.actionclip.recognizer import ActionRecognizer

    recognizer = answers.model(question.checkpoint)
    labels, video = inputs.labels(question.labels), inputs.video(question.video)
    if not isinstance(recognizer, ActionRecognizer):
        return {"out": tag("p", say("no_timeline", lang), class_="atlas-line"), "line": ""}
    start = time.perf_counter()
    code = answers.language(recognizer.checkpoint, lang)
    found = recognizer.timeline(video, labels, question.sentences, tuple(question.prompts), code)
    order = found.probabilities.mean(0).argsort()[::-1][: len(players.COLOURS)]
    middles = found.times.mean(1)
    names = [found.labels[i] for i in order]
    made = players.lines(middles, found.probabilities[:, order], names, say("parts", lang), lang)
    spans = [f"{a:.1f}–{b:.1f} s" for a, b in found.times]
    table = players.table(found.probabilities, spans, list(found.labels), say("part", lang))
    line = results.line(time.perf_counter() - start, recognizer.checkpoint, recognizer.device, lang)
    return {"out": made + table, "line": line}


def target(question: Question, lang: str) -> dict[str, Any]:
    """A batch of drawn clips with repeated labels: one-hot and soft target, the prediction, and both losses."""
    recognizer = answers.model(question.checkpoint)
    code = answers.language(recognizer.checkpoint, lang)
    start = time.perf_counter()
    batch = losses_of(recognizer, code)
    tables = draw.targets(batch["labels"], batch["hot"], batch["soft"], batch["guess"], lang)
    sentence = markup(
        "losses", lang, kl=f"{batch['kl']:.3f}", ce=f"{batch['ce']:.3f}", punished=f"{batch['punished']:.0%}"
    )
    line = results.line(time.perf_counter() - start, recognizer.checkpoint, recognizer.device, lang)
    return {"out": tables + tag("p", sentence), "line": line}


def losses_of(recognizer: Any, code: str) -> dict[str, Any]:
    """The batch of `target`: its labels, targets and prediction [B, B], and the losses of rows.

    "punished" is the share of probability that the one-hot target pushes down although its sentence is right.
    """
    from core.video.actionclip import objectives

    rows = [library.clips()[name] for name in BATCH_OF_EXAMPLES]
    labels = [row["action"][code] for row in rows]
    clips = [recognizer.classify(inputs.video(row["path"]), labels, ["{}"]) for row in rows]
    distinct = list(clips[0].labels)
    place = [distinct.index(label) for label in labels]
    features = np.stack([clip.clip_features for clip in clips])
    texts = clips[0].text_features[0][place]
    made = objectives.compared(features, texts, np.array(place), clips[0].logit_scale)
    return {"labels": labels, **made}


def values(question: Question, lang: str) -> tuple[dict[str, Any], str]:
    """What the templates of shapes in data.toml ask for, and the line."""
    answer = answers.run(question, lang)
    found = answer.recognition
    return {
        "frames": len(answer.encoded.times),
        "rows": len(answer.encoded.frame_features),
        "width": found.clip_features.shape[0],
        "sentences": len(found.templates),
        "labels": len(found.labels),
        "texts": len(found.templates) * len(found.labels),
        "scale": f"{found.logit_scale:.1f}",
        "times": ", ".join(f"{at:.2f}" for at in answer.encoded.times),
        "best": ", ".join(f"{value:.3f}" for value in np.sort(found.probabilities)[::-1][:5]),
        "first": found.templates[0],
        "parts": ", ".join(found.parts) or "–",
    }, answer.line(lang)
