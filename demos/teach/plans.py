"""Lesson plans: the steps of `plans.toml` with the questions, choices and answers of the pages that they lead to.

A step is a step of a page's walkthrough, or a page in the state of an address. The miniature of the page answers it; how
the page computes that is the page's business and is read from what it declares.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from core.errors import Refusal
from demos import catalog
from demos.draw import strokes
from demos.kit import walkthrough
from demos.kit.form import CheckpointField, form_of
from demos.kit.html import Markup, escape, join, tag
from demos.kit.jobs import parts
from demos.kit.language import Text
from demos.kit.menu import start_row
from demos.kit.opening import opening_state
from demos.kit.page import Declaration

LANGUAGES = ("en", "zh")
MARKUP = re.compile(r"<(style|script).*?</\1>|<[^>]*>", re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One step of a plan; its texts are those of plans.toml."""

    page: str
    minutes: int
    answer: int
    say: Text
    usual: Text
    next: Text
    measure: Text
    step: str = ""
    query: Mapping[str, Any] = field(default_factory=dict)
    ask: Text | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    sign: Text | None = None

    @property
    def title(self) -> Text:
        """The name of the step's page."""
        return catalog.entry(self.page).title

    def parameters(self, lang: str) -> dict[str, str]:
        """The parameters of the step's address."""
        if self.step:
            return {walkthrough.PARAMETER: self.step}
        return {
            name: value[lang] if isinstance(value, Mapping) else value for name, value in self.query.items()
        }

    def address(self, lang: str, **more: str) -> str:
        """Where the step is, relative to a page of the hub."""
        parameters = urlencode({**self.parameters(lang), **more})
        return f"{self.page}?{parameters}" if parameters else self.page


@dataclass(frozen=True)
class Plan:
    """One lesson."""

    name: str
    minutes: int
    title: Text
    aim: Text
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Reply:
    """What the miniature says to a step: the choice that came true (None where it named none of them), and what shows it."""

    index: int | None
    body: Markup


def read(path: Path) -> dict[str, Plan]:
    """The plans of a file by name."""
    texts = {one.name for one in dataclasses.fields(Step) if "Text" in str(one.type)}

    def step(row: Mapping[str, Any]) -> Step:
        values: dict[str, Any] = {
            name: Text(**value) if name in texts else value for name, value in row.items()
        }
        return Step(**values)

    rows = tomllib.loads(path.read_text(encoding="utf-8"))["plans"]
    return {
        row["name"]: Plan(
            **{
                **row,
                "title": Text(**row["title"]),
                "aim": Text(**row["aim"]),
                "steps": tuple(map(step, row["steps"])),
            }
        )
        for row in rows
    }


@cache
def plans() -> dict[str, Plan]:
    """The plans of this hub by name; those with a page that this server does not have are left out."""
    loaded = {row.slug for row in catalog.PAGES if row.ready and not isinstance(catalog.load(row), str)}
    every = read(Path(__file__).with_name("plans.toml"))
    return {name: plan for name, plan in every.items() if loaded >= {step.page for step in plan.steps}}


def plan(name: str) -> Plan:
    """The plan of that name.

    Raises:
        Refusal: "unknown_plan".
    """
    if name not in plans():
        raise Refusal("unknown_plan", name=str(name)[:40], known=", ".join(plans()))
    return plans()[name]


# --- what a page knows of a step ---------------------------------------------------------------------------


def declared(step: Step) -> Declaration:
    """What the page of a step declares."""
    loaded: Any = catalog.load(catalog.entry(step.page))
    made: Declaration = loaded.declared
    return made


def lesson(step: Step) -> tuple[walkthrough.Walkthrough, walkthrough.Step]:
    """The walkthrough of a step's page, and its step there.

    Raises:
        KeyError: where the page has no such step.
    """
    walk = declared(step).walk
    name, _, number = step.step.partition(":")
    if walk is None or name not in walk.lessons():
        raise KeyError(f"{step.page} has no lesson {name}")
    steps = walk.lessons()[name]["steps"]
    if not number.isdecimal() or int(number) >= len(steps):
        raise KeyError(f"{step.page}: the lesson {name} has no step {number}")
    return walk, steps[int(number)]


def question(step: Step, lang: str) -> str:
    """What a step asks."""
    return step.ask.get(lang) if step.ask else str(lesson(step)[1]["ask"][lang])


def choices(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    if step.choices:
        return list(step.choices[lang])
    walk, one = lesson(step)
    return list(walk.choices(one, lang))


def checkpoint(step: Step) -> str:
    """The row that a step's page starts on; "" where it has none."""
    rows = (one.metadata.get("form") for one in dataclasses.fields(declared(step).question))
    return next((start_row(row.paper, row.language) for row in rows if isinstance(row, CheckpointField)), "")


def card(step: Step, lang: str) -> Markup:
    """The inputs of a step: its image and what is asked about it."""
    if step.step:
        walk, one = lesson(step)
        return Markup(walk.card(one, lang))
    asked = opened(step, lang)
    labels = getattr(asked, "labels", "")
    lines = tag("p", labels) if labels and step.query else Markup()
    source = getattr(asked, "image", None)
    if not step.query:
        return drawing(step, lang)
    return walkthrough.image(source, step.title.get(lang), lines) if source else lines


def drawing(step: Step, lang: str) -> Markup:
    """The recorded drawing of a page that opens with one."""
    recorded = declared(step).try_it.opening
    view = json.loads(recorded(lang).get("view", "{}")) if recorded else {}
    first: dict[str, Any] = next(iter(view.get("columns", ())), {})
    return strokes.still(first, step.title.get(lang)) if first else Markup()


def opened(step: Step, lang: str) -> Any:
    """The question that the page asks at the address of a step."""
    question: Any = declared(step).question
    made = form_of(question)
    fields, refused = opening_state(declared(step), made, made.first, lang, step.parameters(lang))
    if refused:
        raise KeyError(f"{step.page} refuses {step.parameters(lang)}")
    own = {name: value for name, value in fields.items() if name in made.fields}
    return dataclasses.replace(made.first, **own)


# --- what comes true ---------------------------------------------------------------------------------------


def reply(step: Step, lang: str) -> Reply:
    """What the miniature says to a step.

    Raises:
        Refusal: what the page says no with.
    """
    if step.step:
        walk, one = lesson(step)
        steps = parts(walk.outcome, one, checkpoint(step), lang)
        outcome = next(part for part in steps if isinstance(part, walkthrough.Outcome))
        why = tag("p", one["why"][lang], class_="atlas-why")
        return Reply(outcome.index, Markup(outcome.body) + why)
    slots = _slots(step, lang)
    body = join(
        value for name, value in slots.items() if isinstance(value, Markup) and name not in ("line", "notes")
    )
    words = text_of(body)
    if step.sign is not None:
        return Reply(step.answer if step.sign.get(lang) in words else None, body)
    places = {i: words.find(choice) for i, choice in enumerate(choices(step, lang))}
    named = {i: place for i, place in places.items() if place >= 0}
    return Reply(min(named, key=lambda i: named[i]) if named else None, body)


def _slots(step: Step, lang: str) -> dict[str, Any]:
    """The slots of the first tab at the address of a step: the recorded ones where a page opens with them."""
    try_it = declared(step).try_it
    if not step.query and try_it.opening is not None:
        return dict(try_it.opening(lang))
    slots: dict[str, Any] = {}
    for part in parts(try_it.handler, opened(step, lang), lang):
        slots |= part if isinstance(part, dict) else {}
    return slots


def text_of(markup: str) -> str:
    """The words of HTML."""
    return " ".join(unescape(MARKUP.sub(" ", str(escape(markup)))).split())
