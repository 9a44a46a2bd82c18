"""What the screens of a class show: plain values for the pupils and for the teacher, and the table of counts."""

from __future__ import annotations

from functools import cache
from typing import Any

from demos.draw import base as draw
from demos.kit.language import pick
from demos.teach import plans
from demos.teach.plans import LANGUAGES, Plan, Step
from demos.teach.rooms import ANSWER, Room


@cache
def step_view(plan: str, at: int) -> dict[str, Any]:
    """What a step asks, in both languages: the same for everybody."""
    step = plans.plan(plan).steps[at]
    return {
        "title": {lang: step.title.get(lang) for lang in LANGUAGES},
        "question": {lang: plans.question(step, lang) for lang in LANGUAGES},
        "choices": {lang: plans.choices(step, lang) for lang in LANGUAGES},
        "address": {lang: step.address(lang) for lang in LANGUAGES},
    }


def choice_counts(plan: Plan) -> list[int]:
    """How many choices each step has."""
    return [len(plans.choices(step, "en")) for step in plan.steps]


def _where(room: Room) -> dict[str, Any]:
    ballot = room.ballot
    view: dict[str, Any] = {
        "version": room.version,
        "code": room.code,
        "plan": room.plan,
        "at": room.at,
        "steps": len(room.ballots),
        "phase": ballot.phase if ballot else "lobby",
        "again": bool(ballot and ballot.has_second),
        "over": room.is_over,
    }
    if ballot is not None:
        view |= step_view(room.plan, room.at)
        view["answer"] = ballot.answers
    return view


def pupil_view(room: Room, pupil: str) -> dict[str, Any]:
    """What a pupil sees: the step and the pupil's own predictions, nobody else's."""
    view = _where(room)
    if ballot := room.ballot:
        view |= {"first": ballot.first.get(pupil), "second": ballot.second.get(pupil)}
        view["mine"] = ballot.votes().get(pupil)
    return view


def teacher_view(room: Room) -> dict[str, Any]:
    """What the teacher sees: the step, the counts, and what plans.toml says to the teacher."""
    view = _where(room)
    view |= {
        "version": room.count,
        "pupils": len(room.pupils),
        "connected": room.connected,
        "closed": room.is_closed,
    }
    if ballot := room.ballot:
        before, after = ballot.counts()
        step = plans.plan(room.plan).steps[room.at]
        view |= {"before": before, "after": after, "voted": len(ballot.votes()), "minutes": step.minutes}
        view["notes"] = {lang: notes(step, lang) for lang in LANGUAGES}
    return view


def notes(step: Step, lang: str) -> dict[str, str]:
    """What the plan says to the teacher about a step."""
    return {"say": step.say.get(lang), "usual": step.usual.get(lang), "next": step.next.get(lang)}


def is_revealed(room: Room, at: int) -> bool:
    """Whether the answer to a step has been shown."""
    return 0 <= at < len(room.ballots) and room.ballots[at].phase == ANSWER


def counts_csv(room: Room, lang: str) -> str:
    """A row for each choice of each step: the step, its question, the choice, counts before and after the discussion."""
    head = pick(lang, "step,page,question,choice,before,after", "步骤,页面,问题,选项,讨论前,讨论后").split(
        ","
    )
    rows = []
    for at, ballot in enumerate(room.ballots):
        view = step_view(room.plan, at)
        before, after = ballot.counts()
        for i, choice in enumerate(view["choices"][lang]):
            cells = [at + 1, view["title"][lang], view["question"][lang], choice, before[i]]
            rows.append([*cells, "" if after is None else after[i]])
    return draw.csv_of(head, rows)
