"""What the server remembers of visitors who have left: little, and not for long.

Gradio keeps a copy of every component's configuration for each session, about a megabyte with all pages, and never drops
those of closed tabs. A few of the last ones stay here, because a phone that sleeps closes its tab's connection and comes
back to the same session.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import gradio as gr

KEPT = 24  # closed sessions
# A session that was used just now may be in the hands of another thread.
RESTING = 30.0  # seconds
# Sessions in all, open or without a tab that could close (the API's).
CAPACITY = 256


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
