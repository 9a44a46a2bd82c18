"""How handlers are wired to their page: they learn its language, and what they say no with is shown in it.

Handlers are functions or generators of plain values with the language, "en" or "zh", as their last parameter:

    page = Shell()
    page.on(button.click, classify, [image, labels], [bars, line])       # def classify(image, labels, lang)
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import gradio as gr
from gradio.context import Context

from core.errors import Refusal
from demos.kit.html import escape
from demos.kit.language import Text, tr

log = logging.getLogger(__name__)

WRONG = Text(
    "Something went wrong on our side; it has been logged. Please try again.",
    "服务器出了点问题，已经记录下来，请再试一次。",
)
# Of events that nobody calls by name and that show no progress of their own.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# Requests of one event that may be under way at once; models take their turns per step below this.
CONCURRENCY = 8
# Runs in the browser in front of a load handler: its last input is the language.
LANGUAGE_LAST = "(...values) => { values[values.length - 1] = window.atlasLang || 'en'; return values; }"


class Shell:
    """The hidden parts of one page: its language box, the place of refusals, the mark of a run without an answer."""

    def __init__(self) -> None:
        self.lang = gr.Textbox(
            "en", visible="hidden", label=tr("Language", "语言"), elem_classes="atlas-lang"
        )
        self.message = gr.HTML(
            "", elem_id="atlas-message", elem_classes="atlas-message", padding=False, apply_default_css=False
        )
        self.over = gr.HTML(
            "", visible="hidden", elem_id="atlas-over", padding=False, apply_default_css=False
        )

    def on_load(
        self,
        handler: Callable[..., Any],
        outputs: Sequence[Any],
        inputs: Sequence[Any] = (),
    ) -> Any:
        """Runs `handler(*inputs, lang, query)` when the page opens; `query` is the address's parameters."""
        blocks: Any = Context.root_block

        def load(*values: Any, request: gr.Request) -> tuple[Any, ...]:
            return handler(*values[:-1], lang_of(values), dict(request.query_params))

        guard = guarded(load, len(outputs))

        # Gradio hands the request to a parameter of this type, in front of nothing else.
        @hinted(request=gr.Request)
        def opened(request: gr.Request, *values: Any) -> tuple[Any, ...]:
            message, *results = guard(*values, request=request)
            return message, lang_of(values), *results

        return blocks.load(
            opened,
            [*inputs, self.lang],
            [self.message, self.lang, *outputs],
            js=LANGUAGE_LAST,
            **QUIET,
        )

    def on(
        self,
        triggers: Any,
        handler: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        *,
        session: bool = False,
        behind: Any = None,
        clears: bool = True,
        **options: Any,
    ) -> Any:
        """Wires `handler(*inputs, lang)`; a refusal becomes one sentence and leaves the outputs as they are.

        Args:
            triggers: an event of a component (`button.click`), or several; None with `behind`.
            handler: returns one value for each output, as a tuple.
            inputs: components; the language follows them.
            outputs: components; the message area comes before them.
            session: whether the handler's first argument is the name of the visitor's session.
            behind: an event behind which the handler runs, in place of triggers.
            clears: False for a handler in the background: the sentence in sight is none of its own and stays.
            options: of Gradio's event listeners: show_progress, concurrency_limit, queue...

        Returns:
            The event, for `.then` and `cancels`.
        """
        function = (with_session if session else guarded)(handler, len(outputs), clears)
        settings = {"concurrency_limit": CONCURRENCY, "show_progress": "minimal", **options}
        wired = function, [*inputs, self.lang], [self.message, *outputs]
        if behind is not None:
            return behind.then(*wired, api_visibility="private", **settings)
        return gr.on(listening(triggers), *wired, api_visibility="private", **settings)


def hinted(**hints: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a handler these type hints alone: Gradio evaluates the hints of every handler several times at start-up."""

    def replace(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__annotations__ = hints
        return function

    return replace


def guarded(handler: Callable[..., Any], outputs: int, clears: bool = True) -> Callable[..., Any]:
    """A handler that never raises: its last argument is the language, its first output the page's message.

    A refusal becomes one sentence there; any other exception is logged, and the sentence says that it was. An answer takes
    the sentence away where the handler `clears`.
    """
    still = [gr.skip()] * outputs
    silence = "" if clears else gr.skip()

    if inspect.isgeneratorfunction(handler):

        @hinted()
        def stream(*values: Any) -> Generator[tuple[Any, ...], None, None]:
            steps = handler(*values)
            try:
                for result in steps:
                    yield (silence, *result)
            except Exception as error:
                yield (failure(error, handler, lang_of(values)), *still)
            finally:
                # A closed tab closes this generator; the handler's own `finally` has to run then.
                steps.close()

        return stream

    @hinted()
    def call(*values: Any, **special: Any) -> tuple[Any, ...]:
        try:
            return (silence, *handler(*values, **special))
        except Exception as error:
            return (failure(error, handler, lang_of(values)), *still)

    return call


def with_session(handler: Callable[..., Any], outputs: int, clears: bool = True) -> Callable[..., Any]:
    """A guarded handler whose first argument is the name of the session: the same for all events of one open page."""
    if inspect.isgeneratorfunction(handler):

        @hinted(request=gr.Request)
        def stream(request: gr.Request, *values: Any) -> Generator[tuple[Any, ...], None, None]:
            yield from guarded(partial(handler, request.session_hash), outputs, clears)(*values)

        return stream

    @hinted(request=gr.Request)
    def call(request: gr.Request, *values: Any) -> tuple[Any, ...]:
        return guarded(partial(handler, request.session_hash), outputs, clears)(*values)

    return call


def lang_of(values: Sequence[Any]) -> str:
    """The language behind a handler's inputs."""
    return "zh" if values and values[-1] == "zh" else "en"


def alert(sentence: str) -> str:
    """A sentence of the message area; it is read out by a screen reader when it appears."""
    return f'<p role="alert" class="atlas-refusal">{escape(sentence)}</p>'


def refusal_html(refusal: Refusal, lang: str) -> str:
    """A refusal as an alert; what a user typed is escaped."""
    return alert(refusal.text(lang))


def failure(error: Exception, handler: Any, lang: str) -> str:
    """What a handler was ended by as an alert: a refusal, or a sentence that the error was logged."""
    if isinstance(error, Refusal):
        return refusal_html(error, lang)
    log.error("%s failed", getattr(handler, "__name__", "a handler"), exc_info=error)
    return alert(WRONG.get(lang))


def listening(triggers: Any) -> list[Any]:
    """One event, or several, as a list."""
    return list(triggers) if isinstance(triggers, list | tuple) else [triggers]


@contextmanager
def api_errors() -> Iterator[None]:
    """Around the body of a named endpoint: refusals reach the caller as one English sentence, nothing else does."""
    try:
        yield
    except Refusal as refusal:
        raise gr.Error(refusal.text("en"), print_exception=False) from None
    except gr.Error:
        raise
    except Exception as error:
        log.error("an endpoint failed", exc_info=error)
        raise gr.Error(WRONG.en, print_exception=False) from None


def browser_state(name: str, default: Any) -> gr.BrowserState:
    """A value that this browser remembers. Key and secret are fixed: Gradio's own change at every restart.

    The value is nothing secret, so the secret is none.
    """
    return gr.BrowserState(default, storage_key=f"atlas_{name}", secret="clip-atlas")
