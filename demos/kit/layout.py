"""A page while it is laid out: its components, its places, and how handlers are wired to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.errors import Refusal
from demos.kit import places
from demos.kit.components import output
from demos.kit.events import QUIET, Shell, lang_of, listening, refusal_html
from demos.kit.form import Form
from demos.kit.language import Text
from demos.kit.places import Handler, Place, Slots

if TYPE_CHECKING:
    from demos.kit.page import Declaration


@dataclass(frozen=True)
class Layout:
    """What a page is made of while it is laid out; custom tabs get it."""

    shell: Shell
    form: Form
    declared: Declaration
    places: list[Place]

    @property
    def components(self) -> dict[str, Any]:
        """The components of the question's fields by name."""
        return self.form.components

    @property
    def fields(self) -> dict[str, Any]:
        """The same with what a link carries in place of the image."""
        return {**self.form.components, "example": self.form.example, "scene": self.form.scene}

    def place(self, name: str, button: Text, slots: Slots, **options: Any) -> Place:
        """A place of the open tab: a button with Stop, and slots; `options` of `places.lay_out`."""
        made = places.lay_out(name, button, slots, **options)
        self.places.append(made)
        return made

    def downloads(self, prefix: str = "") -> Place:
        """A fold with a button that makes files, and the slot "out" for their links."""
        with gr.Accordion(Text("Download", "下载").tr, open=False, elem_id=f"{prefix}downloads"):
            return self.place(f"{prefix}files", Text("Make the files", "生成文件"), {"out": output})

    def ask(
        self,
        triggers: Any,
        place: Place,
        handler: Handler,
        more: Sequence[Any] = (),
        *,
        prepare: bool = True,
        **options: Any,
    ) -> Any:
        """Wires `handler(question, *more, lang)` to a place, behind the page's `prepare`.

        Args:
            triggers: events; None with `behind=` an event.
            place: from `place`.
            handler: answers at once or is a job.
            more: components whose values follow the question; a change of one of them makes the answer an old one.
            prepare: False for a handler that does not need what `prepare` makes.
            options: of `places.wire`.
        """
        count = len(self.form.fields)

        def read(values: Sequence[Any]) -> tuple[Any, ...]:
            return (self.form.question(values), *values[count:])

        ready = self.prepared(handler) if prepare else handler
        place.depends_on(more)
        own = self.fields.values()
        changes = any(one is known for one in options.get("fields", {}).values() for known in own)
        return places.wire(
            self.shell,
            triggers,
            place,
            ready,
            [*self.form.inputs, *more],
            read,
            changes_question=changes,
            **options,
        )

    def update(
        self, triggers: Any, place: Place, handler: Handler, more: Sequence[Any] = (), **options: Any
    ) -> Any:
        """Wires `handler(question, *more, lang)` that sets some slots of a place without being an answer of its own.

        `options` are Gradio's: `trigger_mode="always_last"` while a slider moves.
        """
        wired = self._setting(handler, place.slots, more)
        return gr.on(listening(triggers), *wired, **{**QUIET, **options})

    def _setting(
        self, handler: Handler, targets: Mapping[str, Any], more: Sequence[Any]
    ) -> tuple[Callable[..., dict[Any, Any]], list[Any], list[Any]]:
        """A function that sets the components that `handler(question, *more, lang)` names; its inputs; its outputs."""
        count, message = len(self.form.fields), self.shell.message

        def set_named(*values: Any) -> dict[Any, Any]:
            lang = lang_of(values)
            try:
                made = handler(self.form.question(values), *values[count:-1], lang)
            except Refusal as refusal:
                return {message: refusal_html(refusal, lang)}
            return {message: "", **{targets[name]: value for name, value in made.items()}}

        return set_named, [*self.form.inputs, *more, self.shell.lang], [message, *targets.values()]

    def prepared(self, handler: Handler) -> Handler:
        """The handler behind the page's `prepare`."""
        prepare = self.declared.prepare
        if prepare is None:
            return handler

        def job(question: Any, *more: Any) -> Iterator[Any]:
            lang, cancel = more[-2:]
            yield from prepare(question, lang, cancel)
            yield from places.parts(handler, (question, *more[:-1]), cancel)

        return job

    def answer(self, place: Place, triggers: Any = None, when: Any = None, **options: Any) -> Any:
        """Wires the first tab's handler.

        Args:
            place: of the first tab.
            triggers: events; None with `behind=` an event.
            when: `when(question)` gives the question to answer, or None to leave the answer as it is.
            options: of `places.wire`.
        """
        try_it = self.declared.try_it

        def read(values: Sequence[Any]) -> tuple[Any, ...] | None:
            question = self.form.question(values)
            settled = question if when is None else when(question)
            return None if settled is None else (settled,)

        return places.wire(
            self.shell,
            triggers,
            place,
            self.prepared(try_it.handler),
            self.form.inputs,
            read,
            in_turn=try_it.in_turn,
            fields=self.form.components,
            **options,
        )

    def fill(
        self,
        triggers: Any,
        handler: Callable[..., Mapping[str, Any]],
        inputs: Sequence[Any] = (),
        behind: Any = None,
    ) -> Any:
        """Wires `handler(question, *inputs, lang) -> {field: value}`, also for "example" and "scene"."""
        wired = self._setting(handler, self.fields, inputs)
        if behind is not None:
            return behind.then(*wired, **QUIET)
        # The first tab answers behind the new fields; the answers of the other tabs are old ones.
        # They are not asked again before the fields are there.
        script = "(...values) => { window.atlas.filling(); return values; }"
        filled = gr.on(listening(triggers), *wired, js=script, **QUIET)
        filled.then(None, None, None, js="() => { window.atlas.filled(); }", **QUIET)
        return filled
