"""The live training tab of the kit: the seat, what a moment shows, the numbers as a file, what was trained."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from core.classroom.recipes.common import lessons
from core.errors import Refusal
from core.runtime import Cancel
from demos.kit import form, train
from demos.kit.jobs import Progress
from demos.kit.language import Text
from demos.kit.train import Curve, Live, Moment
from tests import pages


@dataclass(frozen=True)
class Settings:
    """What a toy training is asked."""

    minutes: float = form.slider(1, 5, 2, Text("Minutes", "分钟"), place="top")
    learning_rate: float = form.slider(0, 1, 0.5, Text("Learning rate", "学习率"))


def toy(settings: Settings, lang: str, cancel: Cancel) -> Iterator[Moment]:
    """Three steps; Stop ends it within one."""
    rows: list[dict[str, Any]] = []
    for step in range(3):
        rows.append({"step": step, **({"loss": settings.learning_rate / (step or 1)} if step else {})})
        state = "stopped" if cancel.is_set() else "done" if step == 2 else "running"
        yield Moment(
            share=(step + 1) / 4,
            left=75 - step,
            facts=f"step {step}",
            state=state,
            numbers=[(f"{step}", "<b>steps</b>")],
            curves=[Curve("Loss", [("loss", [(0.0, 1.0), (2.0, 0.5)])], "steps", 2)],
            rows=tuple(rows),
            slots={"mask": "<i>mask</i>"},
            product="a toy" if state != "running" else None,
        )
        if state != "running":
            return


LIVE = Live("toy", Text("Watch.", "看。"), Settings, toy, lambda settings: settings.minutes)


def moments(live: Live = LIVE, *values: Any, lang: str = "en", cancel: Cancel | None = None) -> list[Any]:
    """What the job behind Start yields."""
    return list(train.training(live, "tab", *(values or (2, 0.5)), lang, cancel or Cancel()))


@pytest.mark.parametrize(
    ("lang", "left", "done"), [("en", "1:15 left", "Done."), ("zh", "剩余 1:15", "完成。")]
)
def test_a_moment_shows_numbers_time_left_curves_and_the_pages_own_slots(
    lang: str, left: str, done: str
) -> None:
    ready, first, *_, last = moments(lang=lang)
    assert isinstance(ready, Progress) and ready.share is None
    assert left in first["line"] and 'aria-valuenow="25"' in first["line"] and "step 0" in first["line"]
    assert done in last["line"] and 'aria-valuenow="100"' in last["line"]
    assert "<strong>2</strong>" in last["numbers"] and "&lt;b&gt;steps" in last["numbers"]
    assert last["curves"].count("<svg") == 1 and last["mask"] == "<i>mask</i>"
    found = re.search(r'download="toy-training.csv" href="data:text/csv;base64,([^"]+)"', last["file"])
    assert found
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(found[1]).decode())))
    assert [row["step"] for row in rows] == ["0", "1", "2"] and [row["loss"] for row in rows] == [
        "",
        "0.5",
        "0.25",
    ]


def test_stop_ends_it_and_what_was_trained_is_kept_for_the_session() -> None:
    cancel, kept = Cancel(), []
    live = Live(
        "toy", Text("", ""), Settings, toy, lambda settings: 1.0, keep=lambda *given: kept.append(given)
    )
    job = train.training(live, "tab", 2, 0.5, "en", cancel)
    next(job), next(job)
    assert kept == []
    cancel.set()
    (last,) = job
    assert "Stopped." in last["line"] and kept == [("tab", "a toy")]


def test_one_training_at_a_time_and_a_closed_tab_gives_up_the_seat() -> None:
    with lessons.seat(4):
        slots = pages.run(lambda *given: list(train.training(LIVE, "tab", 2, 0.5, *given, Cancel())), "en")
    assert "about 4 more min" in slots["message"]
    job = train.training(LIVE, "tab", 2, 0.5, "en", Cancel())
    next(job), next(job)
    job.close()  # type: ignore[attr-defined]
    with lessons.seat(1):
        pass


def test_a_space_trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "somebody/something")
    slots = pages.run(lambda *given: moments(lang=given[0]), "en")
    assert "switched off on this Space" in slots["message"]


def test_settings_are_laid_out_by_their_place() -> None:
    """Fields with the place "top" are visible, the others stand behind a fold; ids begin with "live-"."""
    from demos.kit.events import Shell
    from demos.kit.form import Form
    from demos.kit.layout import Layout
    from demos.kit.page import Declaration, Try

    @dataclass(frozen=True)
    class Question:
        text: str = form.words(Text("Text", "文字"))

    with gr.Blocks() as blocks:
        shell = Shell()
        layout = Layout(
            shell,
            Form(Question, shell),
            Declaration(Question, Try(lambda *_: {}, Text("Go", "运行"), {})),
            [],
        )
        train.tab(LIVE).lay_out(layout)
    ids = {block.elem_id: block for block in blocks.blocks.values() if getattr(block, "elem_id", None)}
    assert {"live-run", "live-stop", "live-minutes", "live-learning-rate", "live-line"} <= set(ids)
    fold = ids["live-settings"]
    assert fold in parents(ids["live-learning-rate"]) and fold not in parents(ids["live-minutes"])
    assert "atlas-own-inputs" in ids["live-result"].elem_classes


def parents(block: Any) -> list[Any]:
    """What a component lies in, from the inside out."""
    outer = []
    while block.parent is not None:
        block = block.parent
        outer.append(block)
    return outer


def test_what_was_trained_is_kept_for_its_session_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = train.Kept()
    for at in range(kept.COUNT + 3):
        kept.keep(f"tab {at}", at + 1)
    assert len(kept) == kept.COUNT
    with pytest.raises(Refusal):
        kept.of("tab 0")
    assert kept.of(f"tab {kept.COUNT}") == kept.COUNT + 1
    kept.leave(SimpleNamespace(session_hash=f"tab {kept.COUNT}"))  # type: ignore[arg-type]
    with pytest.raises(Refusal):
        kept.of(f"tab {kept.COUNT}")
    now = train.time.monotonic() + kept.SECONDS + 1
    monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=lambda: now))
    with pytest.raises(Refusal):
        kept.of(f"tab {kept.COUNT + 1}")
