"""What every page of the catalog keeps, read from what it declares: fields, examples, links, lessons, code cards."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from functools import cache, partial
from typing import Any

import gradio as gr
import pytest

from core import checkpoints
from demos import catalog
from demos.kit import code, library, page, scenes_link, walkthrough
from demos.kit.form import Form
from demos.kit.html import escape
from demos.kit.page import Declaration
from tests import pages
from tests.pages import run

LANGUAGES = ("en", "zh")


@cache
def declared() -> dict[str, Declaration]:
    """The declarations by slug."""
    loaded = {row.slug: catalog.load(row) for row in catalog.open_rows()}
    broken = {slug: reason for slug, reason in loaded.items() if isinstance(reason, str)}
    assert not broken, broken
    return {slug: one.declared for slug, one in loaded.items() if one.declared is not None}  # type: ignore[union-attr]


PAGES = declared()
WITH_EXAMPLES = [slug for slug, one in PAGES.items() if one.examples is not None]
WITH_LESSONS = [slug for slug, one in PAGES.items() if one.walk is not None]
# Pages whose answer takes longer than a test may: their own tests run a few steps.
QUICK = [slug for slug, one in PAGES.items() if not one.try_it.in_turn]
CARDS = [
    pytest.param(card, id=f"{path.parent.name}-{card['name']}")
    for path in sorted(library.PAGES.glob("*/data.toml"))
    for card in tomllib.loads(path.read_text(encoding="utf-8")).get("code", ())
]


def form(slug: str) -> Form:
    """The components of a page's question, without the page around them."""
    return pages.form(PAGES[slug].question)


def opened(slug: str, lang: str, **query: str) -> tuple[dict[str, Any], str]:
    """The fields that an address opens the page with, and the sentence of what it refuses."""
    return pages.opened(PAGES[slug], query, lang)


def question(slug: str, lang: str, **query: str) -> Any:
    """The question that the page asks at this address."""
    fields, _ = opened(slug, lang, **query)
    own = {name: value for name, value in fields.items() if name in form(slug).fields}
    return dataclasses.replace(form(slug).first, **own)


def test_pages_are_declared() -> None:
    assert {"glip"} <= set(PAGES)


@pytest.mark.parametrize("slug", PAGES)
def test_each_field_has_a_component_whose_id_is_its_name(slug: str) -> None:
    made = form(slug)
    assert list(made.components) and set(made.components) == set(made.fields)
    for name, component in made.components.items():
        assert component.elem_id == name
        assert component.label is None or component.label


@pytest.mark.parametrize("slug", [row.slug for row in catalog.PAGES if row.slug in PAGES])
def test_a_paper_with_weights_offers_them(slug: str) -> None:
    _, folder, _ = str(catalog.entry(slug).module).split(".")
    assert "checkpoint" in form(slug).fields or not checkpoints.rows(folder), (
        "form.checkpoint(...) is missing"
    )


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("slug", PAGES)
def test_a_page_opens_with_a_question_that_is_answered(slug: str, lang: str) -> None:
    fields, refused = opened(slug, lang)
    assert refused == "" and set(fields) <= {*form(slug).fields, "example", "scene"}
    if slug in QUICK:
        slots = run(PAGES[slug].try_it.handler, question(slug, lang), lang)
        assert slots["message"] == ""
        assert "atlas-line" in slots.get("line", ""), 'the answer needs a slot "line": results.line(...)'
        assert set(slots) - {"message", "bars"} <= {
            *PAGES[slug].try_it.slots, *form(slug).fields, "line", "notes", "get",
        }  # fmt: skip


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("slug", [slug for slug in WITH_EXAMPLES if slug in QUICK])
def test_every_example_is_answered(slug: str, lang: str) -> None:
    one = PAGES[slug]
    assert one.examples is not None
    for name, row in one.examples.rows().items():
        assert row["caption"]["en"] and row["caption"]["zh"]
        slots = run(one.try_it.handler, question(slug, lang, example=name), lang)
        assert slots["message"] == "", name
        if "classroom" in row and "notes" in slots:
            # A photograph is outside the miniature's world, and the page says so.
            assert ("atlas-hint" in slots["notes"]) >= (not row["classroom"]), name


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("slug", PAGES)
def test_a_link_carries_the_question(slug: str, lang: str) -> None:
    """What a page opens with, written into an address and read again, is the same question."""
    asked = question(slug, lang)
    fields = form(slug).fields
    query = {
        name: str(getattr(asked, name))
        for name, how in fields.items()
        if how.link and getattr(asked, name) not in (None, "")
    }
    again, _ = opened(slug, lang, **query)
    for name in query.keys() - {"checkpoint"}:
        assert str(again[name]) == query[name], name
    # An address that cannot be read opens the page as if it were not there.
    nonsense = {name: "\0nonsense" for name, how in fields.items() if how.link and how.read is not str}
    fresh, refused = opened(slug, lang, **nonsense, example="no-such-example")
    assert refused == ""
    if WITH_EXAMPLES.count(slug):
        assert fresh["example"] == PAGES[slug].examples.opening  # type: ignore[union-attr]


@pytest.mark.parametrize("slug", PAGES)
def test_the_classroom_offers_the_pages_that_take_a_scene(slug: str) -> None:
    examples = PAGES[slug].examples
    assert catalog.entry(slug).scene == (examples is not None and examples.scene is not None)


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("slug", [slug for slug in WITH_EXAMPLES if PAGES[slug].examples.scene])  # type: ignore[union-attr]
def test_a_scene_opens_and_a_broken_one_is_refused(slug: str, lang: str) -> None:
    fields, refused = opened(slug, lang, scene="1F415.x0.y0.s60_white.colour.0")
    assert refused == "" and fields["example"] == "" and fields[scenes_link.PARAMETER].startswith("1F415")
    asked = dataclasses.replace(
        form(slug).first, **{name: value for name, value in fields.items() if name in form(slug).fields}
    )
    if slug in QUICK:
        assert run(PAGES[slug].try_it.handler, asked, lang)["message"] == ""
    _, refused = opened(slug, lang, scene="nonsense")
    assert 'role="alert"' in refused


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("slug", [slug for slug in PAGES if "image" in form(slug).fields])
def test_a_question_without_an_image_is_one_sentence(slug: str, lang: str) -> None:
    message = run(PAGES[slug].try_it.handler, dataclasses.replace(question(slug, lang), image=None), lang)[
        "message"
    ]
    assert message and any("\u4e00" <= sign <= "\u9fff" for sign in message) == (lang == "zh")


@pytest.mark.parametrize("slug", WITH_LESSONS)
def test_lessons_ask_before_they_tell(slug: str) -> None:
    walk = PAGES[slug].walk
    assert walk is not None and walk.lessons()
    for name, lesson in walk.lessons().items():
        assert lesson["title"]["en"] and lesson["title"]["zh"]
        for at, step in enumerate(lesson["steps"]):
            for lang in LANGUAGES:
                shown = walkthrough.turn(walk, f"{name}:{at}", lang)
                assert shown["where"] == f"{name}:{at}" and shown["out"] == ""
                assert step["ask"][lang] and escape(step["why"][lang]) not in shown["card"]
                assert len(shown["guess"]["choices"]) >= 2 and not shown["onwards"]["interactive"]


@pytest.mark.parametrize("slug", WITH_LESSONS)
def test_a_step_without_a_prediction_is_refused(slug: str) -> None:
    walk = PAGES[slug].walk
    assert walk is not None
    checkpoint = getattr(form(slug).first, "checkpoint", "")
    first = next(iter(walk.lessons()))
    reply = run(
        lambda *values: list(walkthrough.reveal(walk, *values, None))[-1],
        f"{first}:0",
        None,
        checkpoint,
        "en",
    )
    assert reply["message"]


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("slug", [slug for slug in WITH_LESSONS if not PAGES[slug].walk.in_turn])  # type: ignore[union-attr]
def test_the_first_step_tells_which_choice_came_true(slug: str, lang: str) -> None:
    walk = PAGES[slug].walk
    assert walk is not None
    where = f"{next(iter(walk.lessons()))}:0"
    checkpoint = getattr(form(slug).first, "checkpoint", "")
    told = run(partial(walkthrough.reveal, walk), where, "0", checkpoint, lang)
    assert told["message"] == ""
    why = walkthrough.step_of(where, walk.lessons())["why"][lang]
    assert "atlas-verdict" in told["out"] and escape(why) in told["out"] and told["onwards"]["interactive"]


@pytest.mark.parametrize("slug", PAGES)
def test_handlers_take_the_question_and_the_language(slug: str) -> None:
    one = PAGES[slug]
    handlers = [
        one.try_it.handler,
        *(tab.handler for tab in (*one.compare, *one.inside, *one.train) if isinstance(tab, page.Tab)),
    ]
    for handler in handlers:
        names = list(inspect.signature(handler).parameters)
        assert names[0] == "question" and "lang" in names, (slug, handler)


@pytest.mark.parametrize("slug", PAGES)
def test_every_run_can_be_stopped_from_whatever_it_was_started(slug: str) -> None:
    """Whatever begins a run (assets/js/form.js is told of it) shows and hides the Stop button of its place."""
    with gr.Blocks() as blocks:
        page.build(slug, PAGES[slug])
    ids = {one.elem_id for one in blocks.blocks.values()}
    runs = [event for event in blocks.fns.values() if "atlas.started(" in str(event.js)]
    begun = set()
    for event in runs:
        (name,) = re.findall(r"atlas\.started\('([\w-]+)'\)", str(event.js))
        begun.add(name)
        outputs = {one.elem_id for one in event.outputs}
        assert {f"{name}-stop", f"{name}-run"} <= outputs and inspect.isgeneratorfunction(event.fn)
    assert {"try", *(["walk"] if PAGES[slug].walk else [])} <= begun
    assert {one.removesuffix("-stop") for one in ids if str(one).endswith("-stop")} == begun
    stopping = [target for event in blocks.fns.values() for target in event.targets if target[1] == "click"]
    for name in begun:
        (stop,) = [at for at, one in blocks.blocks.items() if one.elem_id == f"{name}-stop"]
        assert (stop, "click") in stopping


@pytest.mark.parametrize("card", CARDS)
def test_the_lines_of_a_code_card_are_in_the_repository(card: dict[str, Any]) -> None:
    shown = code.passage(card).splitlines()
    file = {line.strip() for line in (code.ROOT / card["file"]).read_text(encoding="utf-8").splitlines()}
    assert 2 <= len(shown) <= 60 and {line.strip() for line in shown} <= file
