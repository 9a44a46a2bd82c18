"""Worksheets of plans for the printer: questions with boxes and blanks, and the same with the miniature's answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from demos.kit import library
from demos.kit.document import document
from demos.kit.html import Markup, join, tag
from demos.kit.language import both, both_of
from demos.teach import plans
from demos.teach.plans import LANGUAGES, Plan, Reply, Step

words = partial(library.html, "teach")
LETTERS = "ABCDEFGHIJ"
COLON = both(": ", "：")


def in_both(make: Callable[[str], str]) -> Markup:
    """What `make(lang)` gives in both languages, one of them hidden."""
    return both(*(make(lang) for lang in LANGUAGES))


def questions(name: str) -> str:
    """The worksheet of a plan.

    Raises:
        Refusal: "unknown_plan".
    """
    return _sheet(plans.plan(name), words("worksheet"), with_answers=False)


@cache
def answers(name: str) -> str:
    """The worksheet with what the miniature says to each question, computed on this machine.

    Raises:
        Refusal: "unknown_plan", and what a page says no with.
    """
    return _sheet(plans.plan(name), words("answers"), with_answers=True)


def _sheet(plan: Plan, kind: Markup, with_answers: bool) -> str:
    blanks = tag("p", tag("span", words("name")), tag("span", words("date")), class_="sheet-name")
    head = (
        tag("p", kind, " · ", str(plan.minutes), " ", words("minutes"), class_="atlas-kicker"),
        tag("h1", both_of(plan.title)),
        tag("p", both_of(plan.aim), class_="atlas-idea"),
    )
    button = tag("button", words("print"), type="button", class_="atlas-button", onclick="window.print()")
    body = join(_question(i, step, with_answers) for i, step in enumerate(plan.steps, 1))
    return document(tag("article", button, *head, Markup() if with_answers else blanks, body, class_="sheet"))


def _question(number: int, step: Step, with_answers: bool) -> Markup:
    replies = {lang: plans.reply(step, lang) for lang in LANGUAGES} if with_answers else {}
    question = tag("h2", f"{number}. ", in_both(partial(plans.question, step)))
    card = tag("div", in_both(partial(plans.card, step)), class_="sheet-card")
    boxes = in_both(lambda lang: _choices(step, lang, replies.get(lang)))
    measure = tag(
        "p", both_of(step.measure), COLON, tag("span", class_="sheet-blank"), class_="sheet-measure"
    )
    if with_answers:
        end = _explained(step, replies)
    else:
        why = tag("p", words("learned"), class_="sheet-why")
        end = measure + why + tag("div", class_="sheet-lines")
    return tag("section", question, tag("div", card, boxes, class_="sheet-question"), end)


def _choices(step: Step, lang: str, reply: Reply | None) -> Markup:
    """The choices with boxes for a prediction before and one after the discussion; the one that came true is marked."""
    rows = []
    for i, choice in enumerate(plans.choices(step, lang)):
        mark = (
            tag("td", "✓" if reply and reply.index == i else "", class_="sheet-mark") if reply else Markup()
        )
        boxes = Markup() if reply else tag("td", "☐") * 2
        rows.append(tag("tr", tag("th", f"{LETTERS[i]}. {choice}", scope="row"), boxes, mark))
    titles = (
        tag("th", words("right"), scope="col")
        if reply
        else tag("th", words("before"), scope="col") + tag("th", words("after"), scope="col")
    )
    head = tag("thead", tag("tr", tag("th", words("predict"), scope="col"), titles))
    return tag("table", head, tag("tbody", *rows), class_="sheet-choices")


def _explained(step: Step, replies: dict[str, Reply]) -> Markup:
    body = tag("div", in_both(lambda lang: replies[lang].body), class_="sheet-body")
    usual = tag("p", tag("strong", words("usual"), COLON), both_of(step.usual))
    following = tag("p", tag("strong", words("next"), COLON), both_of(step.next))
    measured = tag("p", tag("strong", both_of(step.measure), COLON))
    return measured + body + usual + following
