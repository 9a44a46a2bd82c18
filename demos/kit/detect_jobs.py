"""Questions of a page that detects: its inputs as one value, and long answers as jobs with a bar and a Stop button."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import fields
from typing import Any

import gradio as gr

from core.runtime import Cancel
from demos.kit.jobs import Stops


def asking(kind: type[Any], handler: Callable[..., Any]) -> Callable[..., Any]:
    """`handler(asked, *others, lang)` for Gradio, which hands the fields of `asked`, a `kind`, over one by one."""
    count = len(fields(kind))
    return lambda *values: handler(kind(*values[:count]), *values[count:])


def job(
    kind: type[Any],
    stops: Stops,
    prepare: Callable[[Any, Cancel, str], Iterator[str]],
    handler: Callable[..., tuple[Any, ...]],
    outputs: int,
) -> Callable[..., Any]:
    """A handler as a job of a session: what takes long is made first and remembered, so that the handler finds it.

    Args:
        kind: of `handler(asked, *others, lang)`, whose fields Gradio hands over one by one.
        stops: the flags of the page's jobs.
        prepare: `prepare(asked, cancel, lang)` gives a bar for every step.
        outputs: how many the handler has; bars are shown in its last one. The Stop button comes behind them.
    """
    still = (gr.skip(),) * (outputs - 1)
    count = len(fields(kind))

    def work(session: str, *values: Any) -> Generator[tuple[Any, ...], None, None]:
        asked, others = kind(*values[:count]), values[count:]
        with stops.job(session) as cancel:
            try:
                for bar in prepare(asked, cancel, values[-1]):
                    yield *still, bar, gr.update(visible=True)
                yield *handler(asked, *others), gr.update(visible=False)
            except Exception:
                # The message says why; a bar that no longer moves would say something else.
                yield *still, "", gr.update(visible=False)
                raise

    return work
