"""A page's question: a dataclass whose fields become the inputs, the arguments of handlers and the parameters of links.

    @dataclass(frozen=True)
    class Question:
        image: str | None = form.image()
        labels: str = form.words(LABELS)
        checkpoint: str = form.checkpoint("clip")

The order of the fields is the order in which the inputs stand on the page and in which Gradio hands them over. A
field's name is its element id and its parameter in an address.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import gradio as gr

from core import checkpoints
from core.errors import Refusal
from demos.kit import components, files
from demos.kit.events import Shell
from demos.kit.language import Text
from demos.kit.menu import CheckpointMenu, start_row

LONGEST = 20_000  # characters of a text that an address may carry
PLACES = ("side", "top", "settings")
SETTINGS = Text("Settings", "设置")


@dataclass(frozen=True)
class Field:
    """How a field of a question is laid out and read from an address.

    Attributes:
        make: the component, from the field's name.
        place: "side" beside the image, "top" above the answer, "settings" behind the fold.
        read: the value that the text of an address means; ValueError or Refusal where it means none.
        script: what the browser runs with a new value in place of asking for a new answer.
        followed: whether the page itself draws the first tab's answer again while the field changes.
        link: whether links carry the field.
    """

    make: Callable[[str], Any]
    place: str = "top"
    read: Callable[[str], Any] = str
    script: str = ""
    followed: bool = False
    link: bool = True


@dataclass(frozen=True)
class CheckpointField(Field):
    """The field of the checkpoint menu."""

    paper: str = ""
    language: str | None = None
    remember: str | None = None


def field(default: Any, how: Field) -> Any:
    """A field of a question with its default value."""
    return dataclasses.field(default=default, metadata={"form": how})


# --- kinds of fields ---------------------------------------------------------------------------------------


def image(height: int = 300) -> Any:
    """The image of a question: the path of an upload, or a data URI."""
    return field(
        None, Field(lambda name: files.image_input(height=height, elem_id=name), place="side", link=False)
    )


def checkpoint(paper: str, language: str | None = None, remember: str | None = None) -> Any:
    """The checkpoint menu of a paper; the value is the name of a row."""
    return field(
        "",
        CheckpointField(
            lambda name: None,
            place="side",
            read=lambda text: one_of(text, [row.name for row in checkpoints.rows(paper)]),
            paper=paper,
            language=language,
            remember=remember,
        ),
    )


def choice(
    options: Mapping[str, Text], default: str, label: Text, info: Text | None = None, *, place: str = "top"
) -> Any:
    """One of a few named options, as radio buttons."""

    def make(name: str) -> gr.Radio:
        return gr.Radio(
            [(text.tr, value) for value, text in options.items()],
            value=default,
            label=label.tr,
            info=info.tr if info else None,
            elem_id=name,
        )

    return field(default, Field(make, place, lambda text: one_of(text, options)))


def menu(
    options: Callable[[], Sequence[tuple[Any, Any]]],
    default: Any,
    label: Text,
    *,
    place: str = "settings",
    **more: Any,
) -> Any:
    """One of several options, as a dropdown; the options are read when the page is built."""

    def make(name: str) -> gr.Dropdown:
        settings = {"value": default or None, "filterable": False, **more}
        return gr.Dropdown(list(options()), label=label.tr, elem_id=name, **settings)

    return field(default, Field(make, place, lambda text: one_of(text, [value for _, value in options()])))


def words(
    label: Text,
    info: Text | None = None,
    *,
    default: str = "",
    lines: int = 1,
    longest: int = LONGEST,
    place: str = "top",
    placeholder: Text | str | None = None,
) -> Any:
    """A text: labels, a prompt, a sentence. The Enter key asks where the text has one line."""
    hint = placeholder.tr if isinstance(placeholder, Text) else placeholder

    def make(name: str) -> gr.Textbox:
        return gr.Textbox(
            default,
            label=label.tr,
            info=info.tr if info else None,
            lines=lines,
            max_lines=max(4, lines),
            placeholder=hint,
            elem_id=name,
        )

    return field(default, Field(make, place, lambda text: text[:longest]))


def chips(*, longest: int = LONGEST) -> Any:
    """Labels as chips that come and go one by one; the value is one text with commas."""
    return field("", Field(components.label_chips, "top", lambda text: text[:longest]))


def several(options: Mapping[str, Text], default: Sequence[str], label: Text, *, place: str = "top") -> Any:
    """Some of a few named options, as boxes to tick; the value of the field is the list of their names."""

    def make(name: str) -> gr.CheckboxGroup:
        choices = [(text.tr, value) for value, text in options.items()]
        return gr.CheckboxGroup(choices, value=list(default), label=label.tr, elem_id=name)

    return field(tuple(default), Field(make, place, link=False))


def upload(label: Text, *, place: str = "settings", **more: Any) -> Any:
    """Image files of the visitor."""

    def make(name: str) -> gr.File:
        return files.file_input(label, ["image"], name, file_count="multiple", **more)

    return field(None, Field(make, place, link=False))


def video(label: Text, *, place: str = "side", camera: bool = False, **more: Any) -> Any:
    """The video of a question: the path of an upload or of an example; `camera` adds a button that records one.

    A file input, not Gradio's player: that one loads a video editor from another host. It takes every file, because core tells
    videos by content.
    """

    def make(name: str) -> gr.File:
        given = files.file_input(label, None, name, **more)
        if camera:
            components.recorder(given, "camera")
        return given

    return field(None, Field(make, place, link=False))


def videos(label: Text, *, place: str = "side", **more: Any) -> Any:
    """Video files of the visitor."""

    def make(name: str) -> gr.File:
        return files.file_input(label, None, name, file_count="multiple", **more)

    return field(None, Field(make, place, link=False))


def sound(label: Text, *, place: str = "side", **more: Any) -> Any:
    """The sound of a question: the path of an upload, of a recording or of an example.

    A file input that takes every file, because core tells sounds by content: Gradio's sound input takes no video, and it
    refuses formats that its list of names lacks.
    """

    def make(name: str) -> gr.File:
        given = files.file_input(label, None, name, **{"height": 110, **more})
        components.recorder(given, "microphone")
        return given

    return field(None, Field(make, place, link=False))


def slider(
    low: float,
    high: float,
    value: float,
    label: Text,
    info: Text | None = None,
    *,
    step: float = 1,
    script: str = "",
    followed: bool = False,
    place: str = "settings",
    **more: Any,
) -> Any:
    """A number between two others.

    Args:
        script: JavaScript `(value) => ...` that the browser runs with each new value in place of asking for an answer.
        followed: as of `Field`.
    """

    def make(name: str) -> gr.Slider:
        text = info.tr if info else None
        return gr.Slider(low, high, value, step=step, label=label.tr, info=text, elem_id=name, **more)

    def read(text: str) -> float:
        number = between(text, low, high)
        return round(number) if isinstance(step, int) else number

    return field(value, Field(make, place, read, script, followed))


def number(
    value: float, label: Text, info: Text | None = None, *, place: str = "settings", **more: Any
) -> Any:
    """A number without limits, such as a seed; a whole one unless `precision` says otherwise."""

    def make(name: str) -> gr.Number:
        settings = {"min_width": 90, "precision": 0, "info": info.tr if info else None, **more}
        return gr.Number(value, label=label.tr, elem_id=name, **settings)

    return field(value, Field(make, place, int))


def switch(value: bool, label: Text, info: Text | None = None, *, place: str = "settings") -> Any:
    """Yes or no."""

    def make(name: str) -> gr.Checkbox:
        return gr.Checkbox(value, label=label.tr, info=info.tr if info else None, elem_id=name)

    return field(value, Field(make, place, lambda text: one_of(text.lower(), ("true", "false")) == "true"))


def memory(value: Any) -> Any:
    """A value that is not to be seen and that an answer leaves for the next one, for example which label has which colour.

    Args:
        value: before the first answer; it cannot be changed in place.
    """

    def make(name: str) -> gr.State:
        state = gr.State(value)
        state.elem_id = name
        return state

    return field(value, Field(make, link=False))


def one_of(text: str, options: Any) -> str:
    """The text, if it is one of the options; ValueError otherwise."""
    if text not in options:
        raise ValueError(text)
    return text


def between(text: str, low: float, high: float) -> float:
    """The number that a text means, if it lies between two others; ValueError otherwise."""
    value = float(text)
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(text)
    return value


# --- the form ----------------------------------------------------------------------------------------------


class Form:
    """The components of a question and what goes between them and its values."""

    def __init__(self, kind: type[Any], shell: Shell) -> None:
        self.kind, self.shell = kind, shell
        bare = [one.name for one in dataclasses.fields(kind) if "form" not in one.metadata]
        if bare:
            raise TypeError(
                f"{kind.__name__}.{bare[0]} needs a field of demos.kit.form, such as form.words(...)"
            )
        self.fields: dict[str, Field] = {one.name: one.metadata["form"] for one in dataclasses.fields(kind)}
        self.components: dict[str, Any] = {}
        self.menu: CheckpointMenu | None = None
        # What a link carries in place of the image: an example of the page, or a scene of the classroom.
        self.example = gr.Textbox("", visible="hidden", label="example")
        self.scene = gr.Textbox("", visible="hidden", label="scene")

    def lay_out(self, place: str, only: Sequence[str] | None = None) -> None:
        """Makes the components of a place, in the order of the fields; `only` some of them."""
        for name, how in self.fields.items():
            if how.place == place and name not in self.components and (only is None or name in only):
                self.components[name] = self._make(name, how)

    def _make(self, name: str, how: Field) -> Any:
        if isinstance(how, CheckpointField):
            self.menu = CheckpointMenu(how.paper, self.shell, language=how.language, remember=how.remember)
            return self.menu.value
        return how.make(name)

    @property
    def inputs(self) -> list[Any]:
        """The components in the order of the fields."""
        return [self.components[name] for name in self.fields]

    def question(self, values: Sequence[Any]) -> Any:
        """The question that the values of `inputs` mean; others may follow them.

        Raises:
            Refusal: "not_a_number" where one of all values is NaN or infinite, which no browser sends.
        """
        for value in values:
            if isinstance(value, float) and not math.isfinite(value):
                raise Refusal("not_a_number", value=str(value))
        return self.kind(*values[: len(self.fields)])

    @property
    def first(self) -> Any:
        """The question of a page on which nothing was typed yet, with the row that its menu starts on."""
        start = {
            name: start_row(how.paper, how.language)
            for name, how in self.fields.items()
            if isinstance(how, CheckpointField)
        }
        return self.kind(**start)

    def read(self, query: Mapping[str, str]) -> dict[str, Any]:
        """The fields that an address sets; what cannot be read is left out."""
        values = {}
        for name, how in self.fields.items():
            if how.link and name in query:
                try:
                    values[name] = how.read(query[name])
                except (ValueError, Refusal):
                    continue
        return values

    @property
    def files(self) -> list[Any]:
        """The components that take a visitor's own file."""
        return [made for made in self.components.values() if uploads_of(made)]

    @property
    def link(self) -> dict[str, Any]:
        """Parameter -> component of everything that a link carries."""
        fields = {name: self.components[name] for name, how in self.fields.items() if how.link}
        return {**fields, "example": self.example, "scene": self.scene}

    def changes(self, names: Sequence[str] | None = None) -> list[Any]:
        """The events with which a visitor changes some fields; all that ask for a new answer where `names` is None."""
        chosen = [name for name in self.fields if self.asks(name)] if names is None else names
        return [event for name in chosen for event in events_of(self.components[name])]

    def asks(self, name: str) -> bool:
        """Whether a change of the field asks the first tab's question again."""
        how = self.fields[name]
        return not (how.script or how.followed or isinstance(how, CheckpointField))


@cache
def form_of(kind: type[Any]) -> Form:
    """The components of a page's question, without the page around them."""
    with gr.Blocks():
        made = Form(kind, Shell())
        for place in PLACES:
            made.lay_out(place)
    return made


def makers(kind: type[Any]) -> dict[str, Callable[[str], Any]]:
    """For each field of a dataclass what makes its component from an element id, for a layout of its own."""
    return {one.name: one.metadata["form"].make for one in dataclasses.fields(kind)}


def lay_out_fields(kind: type[Any], prefix: str, fold: Text = SETTINGS) -> dict[str, Any]:
    """Components by name for the fields of a dataclass that is no page's question: "top" ones, the others behind a fold.

    Args:
        kind: the dataclass.
        prefix: of the element ids, "live" for "live-minutes".
        fold: the title of the fold.
    """
    fields = {one.name: one.metadata["form"] for one in dataclasses.fields(kind)}
    made: dict[str, Any] = {}

    def lay_out(is_top: bool) -> None:
        for name, how in fields.items():
            if (how.place == "top") == is_top:
                made[name] = how.make(f"{prefix}-{name.replace('_', '-')}")

    lay_out(is_top=True)
    if len(made) < len(fields):
        with gr.Accordion(fold.tr, open=False, elem_id=f"{prefix}-settings"):
            lay_out(is_top=False)
    return {name: made[name] for name in fields}


def uploads_of(component: Any) -> list[Any]:
    """The events with which a component gets a visitor's own file; none where it takes no file."""
    return [component.upload] if isinstance(component, gr.Image | gr.File | gr.Video) else []


def events_of(component: Any) -> list[Any]:
    """The events of a component that a visitor causes, never a handler."""
    if isinstance(component, gr.Image):
        return [component.upload, component.input, component.clear]
    if isinstance(component, gr.File):
        return [component.upload, component.clear, component.delete]
    return [] if isinstance(component, gr.State) else [component.input]
