"""Sessions cost little, and those of visitors who have left do not stay in memory."""

from __future__ import annotations

import json
from datetime import timedelta

import gradio as gr
import pytest
from gradio import state_holder
from gradio.state_holder import StateHolder

from demos.app import sessions, site

GRADIOS = sessions.Session.__base__


@pytest.fixture(scope="module")
def demo() -> gr.Blocks:
    """All pages."""
    return site.build()


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


def test_a_session_is_gradios_own_and_configures_what_it_reads(demo: gr.Blocks) -> None:
    ours, original = sessions.Session(demo), GRADIOS(demo)
    boxes = [number for number, part in demo.blocks.items() if isinstance(part, gr.Textbox)]
    written, replaced = boxes[:2]
    for session in (ours, original):
        session._update_value_in_config(written, "typed")
        session[replaced] = gr.Textbox("new", render=False)
        session._update_config(replaced)
    assert set(ours.config_values) == {written, replaced}
    one, other = (
        json.loads(json.dumps(list(session.components), default=lambda _: "?"))
        for session in (ours, original)
    )
    assert one == other and len(one) == len(demo.blocks)
    assert [part["props"]["value"] for part in one if part["id"] in (written, replaced)] == ["typed", "new"]


def test_the_server_makes_such_sessions(demo: gr.Blocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_holder, "SessionState", GRADIOS)
    site.launch_options()
    holder = StateHolder()
    holder.set_blocks(demo)
    assert type(holder["visitor"]) is sessions.Session


def test_the_app_does_so_whenever_a_tab_closes_and_has_a_limit(
    demo: gr.Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_holder, "SessionState", sessions.Session)
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
