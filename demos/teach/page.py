"""The Teach room: lesson plans as steps that link to the pages, their worksheets, and the start of a class."""

from __future__ import annotations

from functools import partial

from demos import catalog
from demos.kit import library
from demos.kit.components import code_of, output
from demos.kit.events import Shell
from demos.kit.html import Markup, join, tag
from demos.kit.language import Text, both, both_of
from demos.teach import plans, routes, screens
from demos.teach.plans import LANGUAGES, Plan, Step

words = partial(library.html, "teach")
PROJECTOR = "1"


def build() -> None:
    """Lays the room out; what happens on it happens in the browser."""
    Shell()
    output("teach", whole(), js_on_load=code_of("teach.js"))


def whole() -> Markup:
    """Everything in the room."""
    join_link = tag("p", words("joining"), " ", tag("a", words("join"), href="class", class_="atlas-chip"))
    cards = map(plan_card, plans.plans().values())
    notes = tag("p", words("private"), class_="atlas-line") + tag("p", words("keys"), class_="atlas-line")
    message = tag("p", id="teach-message", role="alert", class_="atlas-refusal", hidden=True)
    texts = library.data("teach")["screens"]
    told = {f"data_{name}_{lang}": texts[name][lang] for name in ("replicas", "failed") for lang in LANGUAGES}
    intro = tag("p", words("intro"), class_="teach-intro")
    return tag("div", intro, message, *cards, join_link, notes, class_="teach", **told)


def plan_card(plan: Plan) -> Markup:
    """A plan: what it is for, what can be done with it, and its steps."""
    name = plan.name
    first = link(plan.steps[0], words("projector"), projector=PROJECTOR, plan=f"{name}:0")
    actions = (
        tag("button", words("start"), type="button", data_start=name, class_="atlas-button"),
        first,
        tag("a", words("worksheet"), href=f"worksheet?plan={name}", class_="atlas-chip"),
        tag("a", words("answers"), href=f"worksheet?plan={name}&answers=1", class_="atlas-chip"),
    )
    rows = (step_row(plan, i, step) for i, step in enumerate(plan.steps))
    steps = tag("details", tag("summary", words("steps"), f" ({len(plan.steps)})"), tag("ol", *rows))
    minutes = tag("span", f"{plan.minutes} ", words("minutes"), class_="atlas-pill")
    head = tag("h2", both_of(plan.title), " ", minutes)
    return tag(
        "section",
        head,
        tag("p", both_of(plan.aim)),
        tag("p", *actions, class_="atlas-downloads"),
        steps,
        id=f"plan-{name}",
        class_="teach-plan",
    )


def link(step: Step, title: Markup, **more: str) -> Markup:
    """A link to a step, one for each language."""
    ways = (tag("a", title, href=step.address(lang, **more), class_="atlas-chip") for lang in LANGUAGES)
    return both(*ways)


def step_row(plan: Plan, at: int, step: Step) -> Markup:
    """One step: minutes, link, question, and the notes of the plan."""
    question = Text(*(plans.question(step, lang) for lang in LANGUAGES))
    minutes = tag("span", f"{step.minutes} ", words("minutes"), class_="atlas-pill")
    where = link(step, join((words("open"), " ", both_of(step.title))))
    facts = (
        ("say", both_of(step.say)),
        ("question", both_of(question)),
        ("right", both(*(right(step, lang) for lang in LANGUAGES))),
        ("usual", both_of(step.usual)),
        ("next", both_of(step.next)),
    )
    rows = join(tag("dt", words(name)) + tag("dd", text) for name, text in facts)
    return tag("li", tag("p", where, " ", minutes), tag("dl", rows, class_="atlas-facts"))


def right(step: Step, lang: str) -> Markup:
    """The choice that comes true with the miniature, as the plan states it."""
    return tag("span", plans.choices(step, lang)[step.answer])


PAGE = catalog.page(
    "teach",
    build,
    routes=routes.ROUTES,
    titles={
        "class": Text(**screens.texts()["join"]),
        "lectern": Text("Class", "课堂"),
        "worksheet": library.text("teach", "worksheet"),
    },
)
