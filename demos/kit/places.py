"""A place on a page where the answers of one handler appear: its button, its Stop button, its slots, and the wiring.

A handler gets the question and the language and returns the values of slots by name; a slot that it leaves out stays as
it is. `demos.kit.jobs` says what a handler that takes long yields instead. The browser is told when a run begins
(`STARTED`) and when its answer is there (`done`), so that it can grey an answer that belongs to other inputs
(assets/js/form.js).
"""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

import gradio as gr

from demos.kit import jobs, library
from demos.kit.components import output
from demos.kit.events import CONCURRENCY, QUIET, Shell, failure, hinted, lang_of, listening
from demos.kit.form import events_of
from demos.kit.html import Markup, tag
from demos.kit.jobs import Progress
from demos.kit.language import Text, pick

Handler = Callable[..., Any]
Slots = Mapping[str, Callable[[str], Any]]
READY = ("Getting ready …", "正在准备……")
WORKING = ("Working …", "正在计算……")
STEP_SECONDS = 0.1  # between two steps of a run that a browser is sent: a slow one falls behind more of them
_numbers = itertools.count(1)  # of answers and refusals


class Steps:
    """What a run has still to send to the browser.

    Gradio's browser side writes a step into the object of the step before, which may still wait to be drawn. An update of
    properties (`gr.update`) that the next step leaves out is then lost, so every step repeats the updates of its run.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, Any] = {}
        self._updates: dict[str, Any] = {}
        self._sent = -inf

    def add(self, part: Mapping[str, Any]) -> None:
        """Puts slots behind those that wait.

        What leaves the page is not repeated: for a component that is not there Gradio searches the whole page each time.
        """
        for name, value in part.items():
            is_update = isinstance(value, dict) and value.get("__type__") == "update"
            if is_update and value.get("visible") is not False:
                value = self._updates[name] = {**self._updates.get(name, {}), **value}
            else:
                self._updates.pop(name, None)
            self.waiting[name] = value

    def take(self) -> dict[str, Any]:
        """The slots of the next step; none waits behind it."""
        step, self.waiting, self._sent = {**self._updates, **self.waiting}, {}, time.monotonic()
        return step

    @property
    def are_due(self) -> bool:
        """Whether the last step was sent long enough ago."""
        return time.monotonic() - self._sent > STEP_SECONDS


class Last(dict[str, Any]):
    """The slots of an answer that nothing follows: where it comes at once no Stop is shown."""


@dataclass
class Place:
    """Where the answers of one handler appear.

    Attributes:
        name: of the place; element ids begin with it.
        slots: component of each slot. "line" takes the result line and the bar of a job.
        button: what asks.
        stop: what stops a job.
        inputs: components beside the page's question that the answer depends on.
    """

    name: str
    slots: dict[str, Any] = field(default_factory=dict)
    button: Any = None
    stop: Any = None
    inputs: list[Any] = field(default_factory=list)

    def started(self, changes_question: bool = False) -> str:
        """What the browser runs in front of each run; one that sets fields of the question greys all other answers."""
        others = f"window.atlas.touched(false, {self.name!r}); " if changes_question else ""
        return f"(...values) => {{ {others}window.atlas.started({self.name!r}); return values; }}"

    def depends_on(self, components: Sequence[Any]) -> None:
        """A change of one of these components by the visitor makes the answer here an old one, and no other answer."""
        known = [*self.inputs, *self.slots.values()]
        fresh = [one for one in components if all(one is not other for other in known)]
        self.inputs += fresh
        changes = [event for one in fresh for event in events_of(one)]
        if changes:
            script = f"() => {{ window.atlas.touched(false, '', {self.name!r}); }}"
            gr.on(changes, None, None, None, js=script, **QUIET)


def lay_out(
    name: str,
    button: Text,
    slots: Slots,
    before: Callable[[], None] | None = None,
    own_inputs: bool = False,
    own_checkpoint: bool = True,
) -> Place:
    """The button with its Stop, and the slots below it.

    Args:
        name: of the place.
        button: its title.
        slots: what makes each slot from its element id; "line" is added below the others where it is missing.
        before: lays out more inputs between the button and the slots.
        own_inputs: whether the answer does not depend on the page's question; a change of the question leaves it as it is.
        own_checkpoint: False where such an answer depends on the page's checkpoint all the same.
    """
    place = Place(name)
    with gr.Row(elem_classes="atlas-run-row"):
        place.button = gr.Button(
            button.tr, variant="primary", elem_id=f"{name}-run", elem_classes="atlas-run"
        )
        place.stop = gr.Button(
            Text("Stop", "停止").tr, variant="stop", visible="hidden", elem_id=f"{name}-stop", min_width=90
        )
    if before is not None:
        before()
    classes = ["atlas-result", *(["atlas-own-inputs"] if own_inputs else [])]
    classes += [] if own_checkpoint else ["atlas-page-checkpoint"]
    with gr.Column(elem_id=f"{name}-result", elem_classes=classes):
        for slot, make in {**slots, "line": slots.get("line", output)}.items():
            place.slots[slot] = make(f"{name}-{slot}")
    return place


def folded(title: Text, make: Callable[[str], Any] = output) -> Callable[[str], Any]:
    """A slot behind a fold."""

    def lay_out_fold(elem_id: str) -> Any:
        with gr.Accordion(title.tr, open=False, elem_id=f"{elem_id}-fold"):
            return make(elem_id)

    return lay_out_fold


def wire(
    shell: Shell,
    triggers: Any,
    place: Place,
    handler: Handler,
    inputs: Sequence[Any],
    read: Callable[[Sequence[Any]], tuple[Any, ...] | None],
    *,
    in_turn: bool = False,
    fields: Mapping[str, Any] | None = None,
    behind: Any = None,
    show_progress: Any = "minimal",
    trigger_mode: Any = None,
    session: bool = False,
    changes_question: bool = False,
    asks: Any = None,
) -> Any:
    """Wires a handler to a place.

    Args:
        shell: of the page.
        triggers: events of components.
        place: where the answer appears.
        handler: see the module.
        inputs: components; the language follows them.
        read: the handler's arguments from the values of `inputs`; None where there is nothing to answer. What is in sight then
            stays: an answer, a sentence, and the run that the visitor has asked for meanwhile.
        in_turn: whether the job waits for the device behind the jobs of other visitors.
        fields: components beside the slots that the handler may set by name.
        behind: an event behind which the handler runs, in place of triggers.
        session: whether the handler's first argument is the name of the visitor's session.
        changes_question: whether the handler sets fields of the page's question.
        asks: a component whose value is empty when there is nothing to do; None where there always is.

    Returns:
        The event, for `.then`.
    """
    components = {**(fields or {}), **place.slots, "stop": place.stop, "run": place.button}
    components = {name: component for name, component in components.items() if component is not None}
    is_job = inspect.isgeneratorfunction(handler)
    given = [*inputs, *([] if asks is None else [asks]), shell.lang]
    script = place.started(changes_question)
    if asks is not None:
        script = f"(...values) => values[{len(inputs)}] ? ({script})(...values) : values"

    def named(values: Mapping[str, Any]) -> dict[Any, Any]:
        return {components[name]: value for name, value in values.items()}

    @hinted(request=gr.Request)
    def run(request: gr.Request, *values: Any) -> Generator[dict[Any, Any], None, None]:
        lang = lang_of(values)
        if asks is not None and not values[len(inputs)]:
            yield {shell.message: gr.skip()}
            return
        arguments: tuple[Any, ...] | None = ()
        refused: Exception | None = None
        try:
            arguments = read(values[: len(inputs)])
        except Exception as error:  # such a run, too, takes the place of the one before
            refused = error
        visitor = str(request.session_hash)
        takes_over = jobs.STOPS.is_running(visitor, place.name)  # a run that may have shown Stop
        if arguments is None:
            yield {shell.over: _over(place.name, goes_on=takes_over)}
            return
        arguments = (*((visitor,) if session else ()), *arguments, lang)
        steps = Steps()
        resting = {"stop": gr.update(visible="hidden"), "run": gr.update(visible=True)}
        values_of: dict[str, Any] = {}
        last: Mapping[str, Any] = {}
        visible = False  # whether this run has shown Stop
        with jobs.STOPS.job(visitor, place.name) as cancel:
            begin = partial(parts, handler, arguments, cancel)

            def step() -> dict[Any, Any]:
                stop = gr.update(visible=True, interactive=not cancel.is_set())
                return named({**steps.take(), "stop": stop, "run": gr.update(visible="hidden")})

            try:
                if refused is not None:
                    raise refused
                if in_turn:
                    steps.add({"line": Progress(None, pick(lang, *READY)).bar})
                    yield step()
                    visible = True
                source = jobs.in_turn(cancel, jobs.PAGE_SECONDS, begin) if in_turn else begin()
                with closing(jobs.noticing(source)) as run_parts:
                    for part in run_parts:
                        if isinstance(part, Last):
                            last = part
                            values_of |= part
                            continue
                        is_slow = part is None
                        if is_slow:
                            part = {} if visible else {"line": Progress(None, pick(lang, *WORKING)).bar}
                        elif isinstance(part, int):
                            part = {"line": jobs.progress(None, library.kit("run_waits", lang, before=part))}
                        elif isinstance(part, Progress):
                            part = {"line": part.bar}
                        else:
                            values_of |= part
                        steps.add(part)
                        if steps.waiting and (is_slow or steps.are_due):
                            yield step()
                            visible = True
                end = {**steps.take(), **last, **(resting if visible or takes_over else {})}
                final = {shell.message: ""}
                if visible or values_of:
                    end["line"] = done(values_of, complete=bool(values_of))["line"]
                else:  # nothing is to be answered, and the last answer keeps its line
                    final[shell.over] = _over(place.name)
                final |= named(end)
            except Exception as error:
                final = {shell.message: failure(error, handler, lang), shell.over: _over(place.name)}
                if visible or takes_over:
                    final |= named({**steps.take(), "line": "", **resting})
            # The buttons belong to the newest run.
            is_replaced = jobs.STOPS.is_replaced(visitor, place.name, cancel)
            yield {shell.message: gr.skip()} if is_replaced else final

    options: dict[str, Any] = {
        "api_visibility": "private",
        "concurrency_limit": CONCURRENCY,
        "show_progress": "hidden" if is_job else show_progress,
        "show_progress_on": place.slots["line"],  # not on the inputs, which a handler may set as well
        "js": script,
    }
    if trigger_mode is not None:
        options["trigger_mode"] = trigger_mode
    outputs = [shell.message, shell.over, *dict.fromkeys(components.values())]
    if behind is not None:
        return behind.then(run, given, outputs, **options)
    return gr.on(listening(triggers), run, given, outputs, **options)


def _over(name: str, goes_on: bool = False) -> Markup:
    """The mark of a run of a place that is over without an answer; the browser tells two of them apart by their numbers.

    `goes_on`: another run of the place goes on, whose answer, should it have one, belongs to other inputs.
    """
    return tag("span", hidden=True, data_over=f"{name} {next(_numbers)}", data_goes_on=goes_on)


def parts(handler: Handler, arguments: Sequence[Any], cancel: Any) -> Iterator[Any]:
    """What a handler yields; one without steps yields its answer."""
    if inspect.isgeneratorfunction(handler):
        yield from handler(*arguments, cancel)
    else:
        yield Last(jobs.stoppable(partial(handler, *arguments), cancel) or {})


def stopping(places: Sequence[Place]) -> None:
    """Wires the Stop buttons of places."""
    for place in places:

        def stop(request: gr.Request, name: str = place.name) -> Any:
            jobs.STOPS.stop(str(request.session_hash), name)
            return gr.update(interactive=False)

        place.stop.click(stop, None, [place.stop], queue=False, **QUIET)


def done(values: Mapping[str, Any], complete: bool = True) -> dict[str, Any]:
    """The slots of an answer; the line carries a mark by which the browser sees that a run is over.

    Args:
        complete: False where the run was stopped before it had an answer.
    """
    number = next(_numbers)
    mark = tag("span", hidden=True, data_answer=number if complete else f"none-{number}")
    return {**values, "line": Markup(values.get("line", "")) + mark}
