"""The lessons of the ActionCLIP page: how the outcome of a step is computed. The questions are in data.toml."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from demos.actionclip import answer as answers
from demos.actionclip import draw, inside
from demos.actionclip.words import PAPER, data, say
from demos.draw import players
from demos.kit import library
from demos.kit import walkthrough as walk
from demos.kit.html import Markup, tag
from demos.kit.walkthrough import Outcome, Step

Kind = Callable[[Step, str, str], Outcome]
CLOSE = 0.1  # of a probability: less is no change


def card(step: Step, lang: str) -> Markup:
    """The clip of a step, and the actions that are offered."""
    if "clip" not in step:
        return Markup()
    row = library.clips()[step["clip"]]
    player = players.player(row["path"], row["caption"][lang])
    labels = walk.prompt(say("comma", lang).join(offered(step, lang))) if "labels" in step else Markup()
    return players.shelf([players.card("", [player], step["clip"])]) + labels


def offered(step: Step, lang: str) -> list[str]:
    """The actions of a step: those of its example clips."""
    return [library.clips()[name]["action"][lang] for name in step["labels"]]


def ask(step: Step, checkpoint: str, lang: str, **options: Any) -> answers.Answer:
    """The answer to a step."""
    code = answers.language(checkpoint, lang)
    return answers.ask(
        library.clips()[step["clip"]]["path"], offered(step, code), checkpoint, lang, **options
    )


def action(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which of the offered actions is the likeliest."""
    answer = ask(step, checkpoint, lang)
    return Outcome(int(answer.recognition.order[0]), draw.bars(answer, lang) + draw.clip(answer, lang))


def without_post(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Whether the right action is still the likeliest when the frames are only averaged."""
    right = library.clips()[step["clip"]]["action"][answers.language(checkpoint, lang)]
    all_of, plain = ask(step, checkpoint, lang), ask(step, checkpoint, lang, prompts=("pre", "in"))
    place = all_of.recognition.labels.index(right)
    before, after = (float(one.recognition.probabilities[place]) for one in (all_of, plain))
    index = 0 if after < before - CLOSE else 2 if after > before + CLOSE else 1
    lines = tag("li", f"{say('with_post', lang)}: {before:.0%}") + tag(
        "li", f"{say('averaged', lang)}: {after:.0%}"
    )
    return Outcome(index, tag("ul", lines, class_="vid-list") + draw.bars(plain, lang))


def sentences(step: Step, checkpoint: str, lang: str) -> Outcome:
    """How far the sentences of a label agree on the likeliest action."""
    found = ask(step, checkpoint, lang).recognition
    agreeing = float((found.per_template.argmax(1) == found.order[0]).mean())
    names = [template.format("…") for template in found.templates]
    table = players.table(found.per_template, names, list(found.labels), say("sentence", lang))
    return Outcome(0 if agreeing == 1 else 1 if agreeing > 0.5 else 2, table)


def repeated(step: Step, checkpoint: str, lang: str) -> Outcome:
    """How many right answers a row of a batch with repeated labels has."""
    recognizer = answers.model(checkpoint)
    batch = inside.losses_of(recognizer, answers.language(checkpoint, lang))
    body = draw.targets(batch["labels"], batch["hot"], batch["soft"], batch["guess"], lang)
    most = int((batch["soft"] > np.diagonal(batch["soft"]).min() / 2).sum(1).max())
    return Outcome(min(most, 3) - 1, body)


KINDS: dict[str, Kind] = {
    "action": action,
    "without_post": without_post,
    "sentences": sentences,
    "repeated": repeated,
}


def outcome(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which of a step's choices came true with a checkpoint."""
    return KINDS[step["kind"]](step, checkpoint, lang)


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted: the offered actions, or the choices of the step's kind."""
    return offered(step, lang) if step["kind"] == "action" else list(data()["choices"][step["kind"]][lang])


def walkthrough(slot: Callable[[str], Any]) -> walk.Walkthrough:
    """The walkthrough of the page; `slot` makes the place of an outcome."""
    lessons = partial(library.lessons, PAPER)
    return walk.Walkthrough(lessons, choices, card, outcome, idea=library.text(PAPER, "walk_idea"), slot=slot)
