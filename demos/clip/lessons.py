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

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from core import checkpoints, inputs
from demos.clip import compare
from demos.clip import draw as views
from demos.clip.words import say
from demos.draw import base as draw
from demos.kit import classifier, library, walkthrough
from demos.kit.html import Markup, join, tag
from demos.kit.language import pick
from demos.kit.walkthrough import Case, Outcome, Step

if TYPE_CHECKING:
    from core.clip import Classification

SHARES = (0.5, 0.9)
ENGLISH_ONLY = "clip-vit-b32"


def labels_of(step: Step, lang: str) -> list[str]:
    """The labels of a step."""
    return inputs.labels(step["labels"][lang])


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted: the labels, what the step offers, or what is offered for its kind."""
    if step["kind"] == "best":
        return labels_of(step, lang)
    return [str(one) for one in step.get("choices") or walkthrough.choices_of("clip", step, lang)]


def card(step: Step, lang: str) -> Markup:
    """The image and the labels of a step."""
    labels = tag("p", pick(lang, ", ", "、").join(labels_of(step, lang)))
    return walkthrough.image(walkthrough.image_of("clip", step), say("step_image", lang), labels)


def classify(case: Case) -> tuple[Classification, Markup]:
    """The answer to a step's labels, and its bars."""
    answer = classifier.model(case.checkpoint).classify(case.image, labels_of(case.step, case.lang))
    return answer, draw.probability_bars(answer.to_json()["results"], case.lang)


def compare_templates(case: Case, names: list[str]) -> tuple[list[Classification], Markup]:
    """The answers to a step's labels in several templates, and their table."""
    labels, model = labels_of(case.step, case.lang), classifier.model(case.checkpoint)
    answers = model.compare_templates(case.image, labels, names)
    return answers, views.template_table(answers, compare.titles(names, case.lang), case.lang)


# --- how the outcome of a step is computed ---------------------------------------------------------------


def best(case: Case) -> Outcome:
    """Which label wins."""
    answer, bars = classify(case)
    return Outcome(int(answer.order[0]), bars)


def share(case: Case) -> Outcome:
    """How probable the best label is."""
    answer, bars = classify(case)
    return Outcome(int(np.searchsorted(SHARES, float(answer.probabilities.max()))), bars)


def there(case: Case) -> Outcome:
    """Whether the best label lies nearer than unrelated words."""
    answer, bars = classify(case)
    threshold = classifier.model(case.checkpoint).absence_line(case.image, None, case.lang)
    is_there = answer.cosines[answer.order[0]] >= threshold
    return Outcome(0 if is_there else 1, bars + views.absence_reading(answer, threshold, case.lang))


def same(case: Case) -> Outcome:
    """Whether a template changes the winner that bare labels have."""
    names = ["none", case.step["template"] + ("-zh" if case.lang == "zh" else "")]
    (bare, inside), table = compare_templates(case, names)
    return Outcome(0 if bare.order[0] == inside.order[0] else 1, table)


def senses(case: Case) -> Outcome:
    """Which template gives the first label the highest probability."""
    answers, table = compare_templates(case, case.step["choices"])
    return Outcome(int(np.argmax([one.probabilities[0] for one in answers])), table)


def parts(case: Case) -> Outcome:
    """Whether every quarter has the answer of the whole image."""
    from core.clip import crops

    boxes, labels = crops.grid(*inputs.size_of(case.image), 2, 2), labels_of(case.step, case.lang)
    result = crops.classify_crops(classifier.model(case.checkpoint), case.image, boxes, labels)
    agree = bool((result.best == result.whole.order[0]).all())
    return Outcome(0 if agree else 1, views.crop_table(result, case.image, case.lang))


def languages(case: Case) -> Outcome:
    """Whether labels of the other language win alike; an English-only checkpoint answers too where it is on this machine."""
    lang = case.lang
    is_here = checkpoints.state(ENGLISH_ONLY) in ("bundled", "cached")
    rows = dict.fromkeys([case.checkpoint, ENGLISH_ONLY] if is_here else [case.checkpoint])
    pairs = [[classify(replace(case, checkpoint=one, lang=code))[0] for code in ("en", "zh")] for one in rows]
    body = join(views.language_table(english, chinese, lang) for english, chinese in pairs)
    if not is_here:
        title = checkpoints.row(ENGLISH_ONLY).title["zh" if lang == "zh" else "en"]
        body += tag("p", say("get_english", lang, title=title), class_="atlas-hint")
    english, chinese = pairs[0]
    return Outcome(0 if english.order[0] == chinese.order[0] else 1, body)


def negatives(case: Case) -> Outcome:
    """How many cells of a batch are pairs that do not belong together."""
    from core.clip import contrastive

    rows = [row for row in library.shared().values() if row["classroom"]][: case.step["count"]]
    captions = [row["caption"][case.lang] for row in rows]
    images = [inputs.image(row["path"]) for row in rows]
    made = contrastive.match(classifier.model(case.checkpoint), images, captions).contrast
    table = views.batch_table(images, captions, made, case.lang)
    return Outcome(case.step["choices"].index(int((made.targets == 0).sum())), table)


KINDS = {one.__name__: one for one in (best, share, there, same, senses, parts, languages, negatives)}
