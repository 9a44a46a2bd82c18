"""The lessons of the CLIP4Clip page: how the outcome of a step is computed. The questions are in data.toml."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from core import inputs
from demos.clip4clip import answer as answers
from demos.clip4clip import compare, draw
from demos.clip4clip.words import PAPER, data, say
from demos.draw import players
from demos.kit import library, numbers
from demos.kit import walkthrough as walk
from demos.kit.html import Markup, tag
from demos.kit.menu import label_language
from demos.kit.walkthrough import Outcome, Step

Kind = Callable[[Step, str, str], Outcome]


def row_of(step: Step) -> dict[str, Any]:
    """The example clip of a step."""
    return library.clips()[step["clip"]]


def head_of(step: Step, retriever: Any) -> str:
    """The step's head where the row has it, else the row's first one."""
    return step["head"] if step.get("head") in retriever.headers else retriever.headers[0]


def card(step: Step, lang: str) -> Markup:
    """The clips of a step: players below their captions; and the sentence that is asked."""
    names = step.get("clips", [step.get("clip")])
    parts = [
        players.card(tag("header", tag("span", library.clips()[name]["caption"][lang], class_="vid-caption")),
                     [players.player(library.clips()[name]["path"], library.clips()[name]["caption"][lang])], name)
        for name in names if name
    ]  # fmt: skip
    query = walk.prompt(library.clips()[step["query"]]["caption"][lang]) if "query" in step else Markup()
    return players.shelf(parts) + query


def pair(step: Step, checkpoint: str, lang: str) -> tuple[float, float, Markup]:
    """The scores of the two clips of a step for its sentence by its head, and both players with their frames."""
    retriever = answers.model(checkpoint)
    code = label_language(PAPER, checkpoint, lang)
    rows = [library.clips()[name] for name in step["clips"]]
    clips = [
        answers.Clip(name, row["path"], row["caption"][code], inputs.video(row["path"]))
        for name, row in zip(step["clips"], rows, strict=True)
    ]
    query = library.clips()[step["query"]]["caption"][code]
    start = time.perf_counter()
    ranking = retriever.rank(query, [clip.video for clip in clips], head_of(step, retriever))
    encoded = tuple(retriever.encode(clip.video) for clip in clips)
    made = answers.Answer(tuple(clips), encoded, ranking, time.perf_counter() - start)
    first, second = ranking.scores.tolist()
    return first, second, draw.shelf(made, lang)


def choice(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which of two clips the head ranks first: the one that the sentence tells, the other, or neither clearly."""
    first, second, body = pair(step, checkpoint, lang)
    index = 2 if abs(first - second) < compare.BLIND else 0 if first > second else 1
    return Outcome(index, body)


def moment(step: Step, checkpoint: str, lang: str) -> Outcome:
    """In which third of the clip the frame lies that is most like the content."""
    retriever = answers.model(checkpoint)
    code = label_language(PAPER, checkpoint, lang)
    video = inputs.video(row_of(step)["path"])
    ranking = retriever.rank(row_of(step)["content"][code], [video], retriever.headers[0])
    clip = retriever.encode(video)
    cosines = ranking.frames[0]
    third = min(2, int(3 * int(cosines.argmax()) / len(cosines)))
    strip = players.strip(list(clip.pictures), list(clip.times), cosines.tolist(), lang)
    player = players.player(row_of(step)["path"], row_of(step)["caption"][lang], clip.pictures[0])
    return Outcome(third, players.shelf([players.card("", [player, strip], step["clip"])]))


def shuffle(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Whether a head's score of a clip changes when its frames are shuffled."""
    retriever = answers.model(checkpoint)
    code = label_language(PAPER, checkpoint, lang)
    video, query = inputs.video(row_of(step)["path"]), row_of(step)["caption"][code]
    head = head_of(step, retriever)
    scores = {
        order: float(retriever.rank(query, [video], head, answers.sampling(retriever, order)).scores[0])
        for order in ("ordinary", "reverse", "random")
    }
    changed = max(scores.values()) - min(scores.values()) > 1e-4
    titles = library.options(PAPER, "orders")
    lines = [tag("li", f"{titles[order].get(lang)}: {score:+.4f}") for order, score in scores.items()]
    return Outcome(0 if changed else 1, tag("ul", *lines, class_="vid-list"))


def data_size(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which head is best after so many clips, as the report card has it."""
    measure = f"R@1 after {step['clips_seen']} clips"
    rows = {
        row["split"]: row["value"] for row in numbers.report_rows(PAPER, lang) if row["measure"] == measure
    }
    values = np.array([rows[head] for head in library.options(PAPER, "heads")])
    titles = [title.get(lang) for title in library.options(PAPER, "heads").values()]
    lines = [tag("li", f"{title}: {value:.2f}") for title, value in zip(titles, values, strict=True)]
    return Outcome(
        int(values.argmax()), tag("p", say("report_card", lang)) + tag("ul", *lines, class_="vid-list")
    )


KINDS: dict[str, Kind] = {"choice": choice, "moment": moment, "shuffle": shuffle, "data_size": data_size}


def outcome(step: Step, checkpoint: str, lang: str) -> Outcome:
    """Which of a step's choices came true with a checkpoint."""
    return KINDS[step["kind"]](step, checkpoint, lang)


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    return list(data()["choices"][step["kind"]][lang])


def walkthrough(slot: Callable[[str], Any]) -> walk.Walkthrough:
    """The walkthrough of the page; `slot` makes the place of an outcome."""
    lessons = partial(library.lessons, PAPER)
    return walk.Walkthrough(lessons, choices, card, outcome, idea=library.text(PAPER, "walk_idea"), slot=slot)
