"""The lessons of the CLIP page: how the outcome of a step is computed.

The questions are in data.toml; the checkpoint that is chosen on the page answers them. `kind` says what is computed:

    best       which label wins; the choices are the labels
    share      the probability of the best label: under 50 %, 50 to 90 %, over 90 %
    there      whether the best label lies nearer to the image than unrelated words
    same       whether a template changes the winner
    senses     which of the templates gives the first label the highest probability
    parts      whether all quarters of the image have the answer of the whole
    languages  whether labels in the other language win alike
    negatives  how many cells of a batch are negative pairs
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from core import checkpoints, inputs
from demos.clip import compare
from demos.clip import draw as views
from demos.clip.words import data, say
from demos.draw import base as draw
from demos.kit import classifier, library, walkthrough
from demos.kit.html import Markup, join, tag
from demos.kit.language import pick
from demos.kit.walkthrough import Outcome, Step

if TYPE_CHECKING:
    from core.clip import Classification, ZeroShot

SHARES = (0.5, 0.9)
ENGLISH_ONLY = "clip-vit-b32"


@cache
def image_of(name: str) -> Image.Image:
    """The image of a step: an example by its name, or a scene of the classroom by its text."""
    if name in library.shared():
        return inputs.image(library.shared()[name]["path"])
    from core.classroom.world import description

    return inputs.image(description.draw(description.parse(name)).picture)


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    kind = step["kind"]
    if kind == "best":
        return labels_of(step, lang)
    if kind in ("negatives", "senses"):
        return [str(choice) for choice in step["choices"]]
    return [choice["zh" if lang == "zh" else "en"] for choice in data()["choices"][kind]]


def labels_of(step: Step, lang: str) -> list[str]:
    """The labels of a step."""
    return inputs.labels(step["labels"]["zh" if lang == "zh" else "en"])


def bars(answer: Classification, lang: str) -> Markup:
    """An answer as bars."""
    return draw.probability_bars(answer.to_json()["results"], lang)


# --- how the outcome of a step is computed ---------------------------------------------------------------


def best(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """Which label wins."""
    answer = model.classify(image_of(step["image"]), labels_of(step, lang))
    return Outcome(int(answer.order[0]), bars(answer, lang))


def share(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """How probable the best label is."""
    answer = model.classify(image_of(step["image"]), labels_of(step, lang))
    return Outcome(int(np.searchsorted(SHARES, float(answer.probabilities.max()))), bars(answer, lang))


def there(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """Whether the best label lies nearer than unrelated words."""
    image = image_of(step["image"])
    answer = model.classify(image, labels_of(step, lang))
    threshold = model.absence_line(image, None, lang)
    reading = views.absence_reading(answer, threshold, lang)
    is_there = answer.cosines[answer.order[0]] >= threshold
    return Outcome(0 if is_there else 1, bars(answer, lang) + reading)


def same(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """Whether a template changes the winner that bare labels have."""
    names = ["none", step["template"] + ("-zh" if lang == "zh" else "")]
    labels = labels_of(step, lang)
    answers = model.compare_templates(image_of(step["image"]), labels, names)
    table = views.template_table(compare.columns(answers, names, lang), answers[0].labels, lang)
    return Outcome(0 if answers[0].order[0] == answers[1].order[0] else 1, table)


def senses(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """Which template gives the first label the highest probability."""
    labels = labels_of(step, lang)
    answers = model.compare_templates(image_of(step["image"]), labels, step["choices"])
    table = views.template_table(compare.columns(answers, step["choices"], lang), answers[0].labels, lang)
    return Outcome(int(np.argmax([one.probabilities[0] for one in answers])), table)


def parts(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """Whether every quarter has the answer of the whole image."""
    from core.clip import crops

    image = image_of(step["image"])
    boxes = crops.grid(*inputs.size_of(image), 2, 2)
    result = crops.classify_crops(model, image, boxes, labels_of(step, lang))
    agree = bool((result.best == result.whole.order[0]).all())
    return Outcome(0 if agree else 1, views.crop_table(result, image, lang))


def languages(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """Whether labels of the other language win alike; an English-only checkpoint answers too where it is on this machine."""
    is_here = checkpoints.state(ENGLISH_ONLY) in ("bundled", "cached")
    also = [classifier.model(ENGLISH_ONLY)] if is_here and model.checkpoint != ENGLISH_ONLY else []
    pairs = [
        [one.classify(image_of(step["image"]), labels_of(step, code)) for code in ("en", "zh")]
        for one in (model, *also)
    ]
    body = join(views.language_table(english, chinese, lang) for english, chinese in pairs)
    if not is_here:
        title = checkpoints.row(ENGLISH_ONLY).title["zh" if lang == "zh" else "en"]
        body += tag("p", say("get_english", lang, title=title), class_="atlas-hint")
    english, chinese = pairs[0]
    return Outcome(0 if english.order[0] == chinese.order[0] else 1, body)


def negatives(model: ZeroShot, step: Step, lang: str) -> Outcome:
    """How many cells of a batch are pairs that do not belong together."""
    from core.clip import contrastive

    rows = [row for row in library.shared().values() if row["classroom"]][: step["count"]]
    captions = [row["caption"]["zh" if lang == "zh" else "en"] for row in rows]
    images = [inputs.image(row["path"]) for row in rows]
    made = contrastive.match(model, images, captions).contrast
    table = views.batch_table(images, captions, made.cosines, made.targets > 0, lang)
    return Outcome(step["choices"].index(int((made.targets == 0).sum())), table)


KINDS: dict[str, Callable[[Any, Step, str], Outcome]] = {
    "best": best,
    "share": share,
    "there": there,
    "same": same,
    "senses": senses,
    "parts": parts,
    "languages": languages,
    "negatives": negatives,
}


# --- what the walkthrough asks for -----------------------------------------------------------------------


def card(step: Step, lang: str) -> Markup:
    """The image and the labels of a step."""
    labels = tag("p", pick(lang, ", ", "、").join(labels_of(step, lang)))
    return walkthrough.image(image_of(step["image"]), say("step_image", lang), labels)


def outcome(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which of a step's choices came true with a checkpoint."""
    return KINDS[step["kind"]](classifier.model(checkpoint), step, lang)
