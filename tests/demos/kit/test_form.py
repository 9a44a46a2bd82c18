"""Fields of a dataclass as the inputs of a tab, and the events that a visitor causes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from core.errors import Refusal
from demos.kit import form
from demos.kit.events import Shell
from demos.kit.language import Text
from demos.kit.places import Place

OPTIONS = {"a": Text("first", "第一"), "b": Text("second", "第二")}


@dataclass(frozen=True)
class Inputs:
    """Every kind of field that a tab may have."""

    folded: int = form.number(3, Text("Number", "数"))
    some: tuple[str, ...] = form.several(OPTIONS, ["b"], Text("Some", "一些"))
    one: str = form.choice(OPTIONS, "a", Text("One", "一个"))
    memory: str = form.memory("x")
    files: tuple[str, ...] | None = form.upload(Text("Files", "文件"), height=150)


def test_visible_fields_come_first_and_their_order_is_kept() -> None:
    with gr.Blocks() as blocks:
        made = form.lay_out_fields(Inputs, "tab")
    assert list(made) == ["folded", "some", "one", "memory", "files"]
    assert made["some"].elem_id == "tab-some" and made["some"].value == ["b"]
    assert [value for _, value in made["some"].choices] == ["a", "b"]
    fold = next(block for block in blocks.blocks.values() if isinstance(block, gr.Accordion))
    assert made["folded"].parent is not None and fold.elem_id == "tab-settings"
    assert made["folded"] in list(fold.children) or made["folded"].parent.parent is fold


def test_a_field_that_no_component_shows_is_named() -> None:
    @dataclass(frozen=True)
    class Question:
        labels: str = "a dog"

    with gr.Blocks(), pytest.raises(TypeError, match=r"Question.labels needs a field of demos.kit.form"):
        form.Form(Question, Shell())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 1])
def test_a_number_that_is_none_is_refused_in_one_sentence(value: float, place: int) -> None:
    """Also in an input of a tab, which follows those of the question."""

    @dataclass(frozen=True)
    class Question:
        page: int = form.number(1, Text("Page", "页"))

    with gr.Blocks():
        page_form = form.Form(Question, Shell())
    values: list[float] = [2, 3]
    assert page_form.question(values) == Question(2)
    values[place] = value
    with pytest.raises(Refusal) as refused:
        page_form.question(values)
    assert refused.value.code == "not_a_number" and str(value) in refused.value.text("en")


@pytest.mark.parametrize(
    ("make", "names"),
    [(gr.Textbox, ["input"]), (gr.State, []), (gr.Image, ["upload", "input", "clear"]), (gr.File, ["upload", "clear", "delete"])],
)  # fmt: skip
def test_events_of_a_visitor(make: Any, names: list[str]) -> None:
    with gr.Blocks():
        events = form.events_of(make())
    assert [event.event_name for event in events] == names


def test_each_input_of_a_place_is_listened_to_once() -> None:
    with gr.Blocks() as blocks:
        place, box = Place("tab"), gr.Textbox()
        place.depends_on([box, gr.State("")])
        place.depends_on([box])
    (wired,) = blocks.fns.values()
    assert "touched(false, '', 'tab')" in str(wired.js)


def test_a_run_that_sets_the_question_greys_the_others() -> None:
    place = Place("tab")
    assert "touched" not in place.started() and "started('tab')" in place.started()
    assert "touched(false, 'tab')" in place.started(changes_question=True)


@pytest.mark.parametrize("make", [form.video, form.videos, form.sound])
@pytest.mark.parametrize("name", ["clip.ts", "clip.caf", "clip.mka", "clip"])
def test_clips_and_sounds_are_told_by_content_and_not_by_name(make: Any, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"what core reads")
    with gr.Blocks():
        field: Any = make(Text("File", "文件")).metadata["form"].make("given")
    given = {"path": str(tmp_path / name), "orig_name": name, "meta": {"_type": "gradio.FileData"}}
    payload = field.data_model(**given) if field.file_count == "single" else field.data_model([given])
    found = field.preprocess(payload)
    assert ([found] if isinstance(found, str) else found) == [str(tmp_path / name)]
