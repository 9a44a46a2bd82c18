"""Sessions of visitors who have left do not stay in memory."""

from __future__ import annotations

from datetime import timedelta

import gradio as gr
from gradio.state_holder import StateHolder

from demos.app import sessions, site


def rest(holder: StateHolder) -> None:
    """As if nobody had used a session for a minute."""
    for name in holder.time_last_used:
        holder.time_last_used[name] -= timedelta(seconds=60)


def test_closed_sessions_go_and_open_ones_stay() -> None:
    with gr.Blocks() as demo:
        gr.Textbox()
    holder = StateHolder()
    holder.set_blocks(demo)
    for i in range(3 * sessions.KEPT):
        holder[f"s{i}"].is_closed = i % 3 > 0
    last = holder[f"s{1}"]  # used again: a phone woke up
    assert last.is_closed
    assert sessions.forget_closed(demo) == 0  # all are in use still
    rest(holder)
    assert sessions.forget_closed(demo) == sessions.KEPT
    left = set(holder.session_data)
    assert {f"s{i}" for i in range(0, 3 * sessions.KEPT, 3)} < left and "s1" in left
    assert len(left) == 2 * sessions.KEPT and set(holder.time_last_used) == left
    assert sessions.forget_closed(demo) == 0


def test_the_app_does_so_whenever_a_tab_closes_and_has_a_limit() -> None:
    demo = site.build()
    leaving = [fn for fn in demo.fns.values() if any(target[1] == "unload" for target in fn.targets)]
    holder = StateHolder()
    holder.set_blocks(demo)
    for i in range(sessions.KEPT + 2):
        holder[f"s{i}"].is_closed = True
    rest(holder)
    for fn in leaving:
        if fn.fn.__name__ == "forget":
            fn.fn()
    assert len(holder.session_data) == sessions.KEPT
    assert site.launch_options()["state_session_capacity"] == sessions.CAPACITY
