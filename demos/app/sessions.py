"""What the server remembers of visitors: little, and not for long.

Gradio gives each session a copy of every component's configuration, of all pages: a quarter of a second of work and about a
megabyte. A session reads most of them never, so they are made here when they are first read.

Gradio never drops the sessions of closed tabs. A few of the last ones stay here, because a phone that sleeps closes its tab's
connection and comes back to the same session.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio import state_holder

KEPT = 24  # closed sessions
# A session that was used just now may be in the hands of another thread.
RESTING = 30.0  # seconds
# Sessions in all, open or without a tab that could close (the API's).
CAPACITY = 256


class Configurations(dict[int, Any]):
    """The configurations of a session's components by their numbers; each is made when it is first read."""

    def __init__(self, session: state_holder.SessionState, blocks: gr.Blocks) -> None:
        super().__init__()
        self._config = session.blocks_config
        self._numbers = tuple(number for number in self._config.blocks if number in blocks.blocks)

    def __missing__(self, number: int) -> Any:
        made = self._config.config_for_block(number, [], self._config.blocks[number])
        self[number] = made
        return made

    def items(self) -> Any:
        """All of them, in the order of the components, as deep links want them."""
        return {number: self[number] for number in dict.fromkeys((*self._numbers, *self))}.items()


class Session(state_holder.SessionState):
    """One visitor's state."""

    def __init__(self, blocks: gr.Blocks) -> None:
        # Gradio configures at once what it finds in `blocks`.
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks={}))  # type: ignore[arg-type]
        self.config_values = Configurations(self, blocks)


def lighten() -> None:
    """Lets Gradio make its sessions so; it has no option for that."""
    state_holder.SessionState = Session  # type: ignore[misc]


def forget_closed(demo: gr.Blocks) -> int:
    """Drops all closed sessions but the last `KEPT` and those in use; returns how many went."""
    holder = demo.state_holder
    line = datetime.now() - timedelta(seconds=RESTING)
    with holder.lock:
        closed = [
            name
            for name, session in holder.session_data.items()
            if session.is_closed and holder.time_last_used.get(name, line) <= line
        ]
        gone = closed[:-KEPT]
        for name in gone:
            holder.session_data.pop(name, None)
            holder.time_last_used.pop(name, None)
    return len(gone)
