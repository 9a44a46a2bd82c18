"""The lessons of the AudioCLIP page: how the outcome of a step is computed. The questions are in data.toml."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from core import inputs
from demos.audioclip import answer as answers
from demos.audioclip import compare, draw
from demos.audioclip.words import PAPER, data, say, sounds, things
from demos.draw import players
from demos.kit import library, numbers
from demos.kit import walkthrough as walk
from demos.kit.html import Markup, tag
from demos.kit.walkthrough import Outcome, Step

Kind = Callable[[Step, str, str], Outcome]
SURE = 0.5  # probability from which an answer looks certain
NOTICED = 0.05  # of a frequency in steps of the start: less is no move


def card(step: Step, lang: str) -> Markup:
    """The sound of a step, and what is offered."""
    if "sound" not in step:
        return Markup()
    row = sounds()[step["sound"]]
    player = players.shelf([players.card("", [players.audio(row["sound"], say("a_sound", lang))], "step")])
    return player + walk.prompt(say("comma", lang).join(offered(step, lang))) if "things" in step else player


def offered(step: Step, lang: str) -> list[str]:
    """The names of the things of a step."""
    return [things()[name][lang] for name in step["things"]]


def ask(step: Step, checkpoint: str, lang: str) -> answers.Answer:
    """The answer to a step, with drawings of its things."""
    code = answers.language(checkpoint, lang)
    shown = {one.caption: one for one in answers.shelf("drawn", None, lang)}
    images = [shown[name] for name in offered(step, lang)]
    return answers.ask(
        sounds()[step["sound"]]["sound"], offered(step, code), checkpoint, lang, images, beside=()
    )


def word(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which word is the likeliest for the sound."""
    answer = ask(step, checkpoint, lang)
    return Outcome(int(answer.comparison.order()[0]), draw.bars(answer, lang) + draw.sound(answer, lang))


def image(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which drawing is the likeliest for the sound."""
    answer = ask(step, checkpoint, lang)
    shares = answer.comparison.image_probabilities()
    if not shares.size:
        return Outcome(0, tag("p", say("blind", lang), class_="atlas-line"))
    return Outcome(int(shares.argmax()), draw.images(answer, lang))


def dropped(step: Step, checkpoint: str, lang: str) -> Outcome:
    """How much of sound-to-text is left where that pair had no term: from the measured table."""
    measure = say("dropped_measure", "en")
    rows = [row for row in numbers.report_rows(PAPER, lang) if str(row["measure"]).startswith(measure)]
    table = [row for row in rows if "spread" not in row["measure"]]
    values = {
        row["split"]: float(row["value"]) for row in table if row["measure"] == f"{measure}: sound to text"
    }
    left = values["without audio-text"] / max(values["all three"], 1e-9)
    return Outcome(0 if left < 0.5 else 1 if left < 0.9 else 2, numbers.number_table([], table, lang))


def notebook(step: Step, checkpoint: str, lang: str) -> Outcome:
    """How many of a batch of sounds keep their word when samples lie in -1..1, or statistics come from the batch."""
    model = answers.model(checkpoint)
    if not model.sees:
        return Outcome(1, tag("p", say("no_tower", lang), class_="atlas-line"))
    names = step["things"]
    code = answers.language(checkpoint, lang)
    opened = [inputs.sound(sounds()[name]["sound"]) for name in names]
    labels = [things()[name][code] for name in names]
    shown = [things()[name][lang] for name in names]
    body, best = compare.heard(model, opened, labels, shown, lang)
    kept = np.mean(np.array(best[step["way"]]) == np.arange(len(names)))
    return Outcome(0 if kept < 0.5 else 1 if kept < 1 else 2, body)


def unknown(step: Step, checkpoint: str, lang: str) -> Outcome:
    """How sure the answer is for a sound that no offered word names."""
    answer = ask(step, checkpoint, lang)
    top = float(answer.comparison.probabilities().max())
    even = 1.5 / len(answer.comparison.labels)
    index = 0 if top >= SURE else 2 if top < even else 1
    cosine = float(answer.comparison.sound_text[0].max())
    told = tag("p", say("cosine_told", lang, cosine=cosine), class_="atlas-line")
    return Outcome(index, draw.bars(answer, lang) + told)


def moved(step: Step, checkpoint: str, lang: str) -> Outcome:
    """How far the filters moved in training, in steps of a Fourier transform."""
    model = answers.model(checkpoint)
    if not model.sees:
        return Outcome(0, tag("p", say("no_tower", lang), class_="atlas-line"))
    found = model.look(inputs.sound(sounds()[step["sound"]]["sound"]))
    steps = np.abs(found.filters[:, 0] - found.start[:, 0]) / (found.start[1, 0] - found.start[0, 0])
    mean = float(steps.mean())
    return Outcome(
        0 if mean < NOTICED else 1 if mean < 5 else 2, draw.filters(found.filters, found.start, lang)
    )


KINDS: dict[str, Kind] = {
    "word": word,
    "image": image,
    "dropped": dropped,
    "notebook": notebook,
    "unknown": unknown,
    "moved": moved,
}


def outcome(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which of a step's choices came true with a checkpoint."""
    return KINDS[step["kind"]](step, checkpoint, lang)


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted: the offered things, or the choices of the step's kind."""
    return (
        offered(step, lang)
        if step["kind"] in ("word", "image")
        else list(data()["choices"][step["kind"]][lang])
    )


def walkthrough(slot: Callable[[str], Any]) -> walk.Walkthrough:
    """The walkthrough of the page; `slot` makes the place of an outcome."""
    lessons = partial(library.lessons, PAPER)
    return walk.Walkthrough(lessons, choices, card, outcome, idea=library.text(PAPER, "walk_idea"), slot=slot)
