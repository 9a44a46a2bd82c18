"""The *Train it live* tab: a small model learns on this machine while a visitor watches.

A page declares its training, and the kit does the rest: the settings, Start and Stop, the one seat of the server, the bar
with the time left, large numbers, curves, the numbers behind them as CSV.

    @dataclass(frozen=True)
    class Settings:                                     # fields of demos.kit.form; "top" ones are visible, others folded
        minutes: float = form.slider(1, 5, 2, Text("Minutes", "分钟"), step=0.5, place="top")

    def lesson(settings: Settings, lang: str, cancel: Cancel) -> Iterator[Moment]:
        for frame in ...:                               # ends within a step once `cancel` is set
            yield Moment(share=..., left=..., facts="120 steps", numbers=[("0.42", "accuracy")],
                         curves=[Curve(...)], rows=[{"step": 120, "loss": 0.1}], slots={"mask": html})
        yield Moment(..., state="done")                 # the last one is "done" or "stopped"

    PAGE = page.declare(..., train=[train.tab(Live("lseg", IDEA, Settings, lesson, minutes, {"mask": mask_stage}))])

Element ids begin with "live": `#live-run`, `#live-stop`, `#live-minutes`, `#live-numbers`, `#live-mask`. A model that can be
tried afterwards is the last moment's `product`; `Live.keep(session, product)` takes it, and `Live.more(layout, place)` lays
out below the result what is done with it.
"""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import gradio as gr

from core.classroom.recipes.common import lessons
from core.errors import Refusal
from demos.draw import charts
from demos.kit import form, library, places
from demos.kit.components import output
from demos.kit.files import downloads
from demos.kit.html import Markup, join, tag
from demos.kit.jobs import Progress
from demos.kit.language import Text, pick
from demos.kit.layout import Layout
from demos.kit.page import Custom
from demos.kit.places import Place, Slots

NAME = "live"
OFF = Text(
    "Training is switched off on this Space, which many people share. On your own computer it takes minutes.",
    "这个 Space 由许多人共用，训练已关闭。在自己的电脑上只需几分钟。",
)
TITLE = Text("Train it live", "现场训练")
START = Text("Train", "开始训练")
READY = Text("Getting ready …", "正在准备……")


@dataclass(frozen=True)
class Curve:
    """One curve, or two of which the second is dashed, from zero up.

    Attributes:
        title: of the figure.
        lines: name and points (x, y) of each.
        axis: what x is.
        end: of the x axis.
        top: of the y axis; 1.0 is written as 100 %. The largest value where it is None.
    """

    title: str
    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]]
    axis: str
    end: float
    top: float | None = None

    @property
    def figure(self) -> str:
        """The curve as HTML."""
        end = max(self.end, 1.0)
        ticks = [(0.0, "0"), (end / 2, f"{end / 2:.0f}"), (end, f"{end:.0f}")]
        names, points = zip(*self.lines, strict=True)
        return charts.curve(points, self.title, names, self.axis, ticks, top=self.top)


@dataclass(frozen=True)
class Moment:
    """Where a training stands.

    Attributes:
        share: of the work that is done, 0 to 1.
        left: seconds to the end, None where it is not known.
        facts: a few words, for example "120 steps".
        state: "running", "done" or "stopped".
        numbers: (value, meaning) of the large figures.
        curves: drawn side by side.
        rows: the numbers of the curves, one row each look; they become the CSV.
        slots: HTML of the page's own slots.
        product: what was trained, of the last moment.
    """

    share: float
    left: float | None
    facts: str
    state: str = "running"
    numbers: Sequence[tuple[str, str]] = ()
    curves: Sequence[Curve] = ()
    rows: Sequence[Mapping[str, Any]] = ()
    slots: Mapping[str, Any] = field(default_factory=dict)
    product: Any = None


Lesson = Callable[[Any, str, Any], Iterator[Moment]]


class Frame(Protocol):
    """Where a lesson of core stands."""

    seconds: float
    left: float | None
    step: int
    loss: float | None  # None before the first step
    done: bool
    stopped: bool


def timed(
    frames: Iterable[Any],
    minutes: float,
    lang: str,
    measured: Callable[[Any], Mapping[str, float]],
    titles: Mapping[str, Text],
    title: Text,
    apart: bool = False,
) -> Iterator[Moment]:
    """The moments of a lesson that ends after some minutes.

    Args:
        frames: `Frame`s.
        minutes: of the lesson.
        lang: "en" or "zh".
        measured: what a frame measures, shares between 0 and 1 by name.
        titles: what each of them is called.
        title: what they are in common; of the figure that shows them all, beside the losses.
        apart: whether each has a figure of its own instead, without the losses.
    """
    budget = 60 * minutes
    rows: list[dict[str, float]] = []
    seconds, loss = pick(lang, "seconds", "秒"), pick(lang, "loss", "损失")

    def points(name: str) -> list[tuple[float, float]]:
        return [(row["seconds"], row[name]) for row in rows if name in row]

    for frame in frames:
        now = measured(frame)
        lost = {} if frame.loss is None else {"loss": frame.loss}
        rows.append({"seconds": frame.seconds, "step": frame.step, **now, **lost})
        end = frame.seconds if frame.done else budget
        if apart:
            curves = [
                Curve(titles[name].get(lang), [(title.get(lang), points(name))], seconds, end, 1.0)
                for name in now
            ]
        else:
            lines = [(titles[name].get(lang), points(name)) for name in now]
            losses = Curve(library.kit("train_loss", lang), [(loss, points("loss"))], seconds, end)
            curves = [Curve(title.get(lang), lines, seconds, end, 1.0), losses]
        yield Moment(
            share=min(1.0, frame.seconds / budget),
            left=frame.left,
            facts=pick(lang, f"{frame.step:,} steps", f"{frame.step:,} 步"),
            state="running" if not frame.done else "stopped" if frame.stopped else "done",
            numbers=[(f"{share:.0%}", titles[name].get(lang)) for name, share in now.items()],
            curves=curves,
            rows=rows,
        )


@dataclass(frozen=True)
class Live:
    """A training that a page offers.

    Attributes:
        name: of the CSV file, "NAME-training.csv".
        idea: the sentences above the settings.
        settings: a dataclass of `demos.kit.form` fields; their names are element ids behind "live-".
        lesson: `lesson(settings, lang, cancel)` yields moments.
        minutes: `minutes(settings)`, for how long the seat is held.
        slots: what makes each slot of the page's own, between the bar and the curves.
        start: the title of the button.
        keep: `keep(session, product)`.
        more: `more(layout, place)` lays out what stands below the result.
    """

    name: str
    idea: Text
    settings: type[Any]
    lesson: Lesson
    minutes: Callable[[Any], float]
    slots: Slots = field(default_factory=dict)
    start: Text = START
    keep: Callable[[str, Any], None] | None = None
    more: Callable[[Layout, Place], None] | None = None


class Kept:
    """What visitors have trained, by session; nothing outlives its tab, nor half an hour without use."""

    COUNT, SECONDS = 16, 1800

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Any]] = {}  # the least recently used first

    def keep(self, session: str, product: Any) -> None:
        """Keeps a session's model in place of its last one."""
        with self._lock:
            self._kept.pop(session, None)
            self._kept[session] = time.monotonic(), product
            limit = time.monotonic() - self.SECONDS
            for name in [name for name, (used, _) in self._kept.items() if used < limit]:
                del self._kept[name]
            while len(self._kept) > self.COUNT:
                del self._kept[next(iter(self._kept))]

    def of(self, session: str) -> Any:
        """The session's model.

        Raises:
            Refusal: "no_toy" where it has none any more.
        """
        with self._lock:
            used, product = self._kept.get(session, (0.0, None))
        if product is None or used < time.monotonic() - self.SECONDS:
            self.drop(session)
            raise Refusal("no_toy")
        self.keep(session, product)
        return product

    def drop(self, session: str) -> None:
        """Forgets the session's model."""
        with self._lock:
            self._kept.pop(session, None)

    def leave(self, request: gr.Request) -> None:
        """Forgets the model of a session whose tab closes: for `Blocks.unload`."""
        self.drop(str(request.session_hash))

    def __len__(self) -> int:
        return len(self._kept)


# --- a moment as HTML --------------------------------------------------------------------------------------


def progress(moment: Moment, lang: str) -> Progress:
    """The bar: what is done, and the time left or how it ended."""
    if moment.state != "running":
        ended = ("Stopped.", "已停止。") if moment.state == "stopped" else ("Done.", "完成。")
        state = pick(lang, *ended)
    elif moment.left is None:
        state = ""
    else:
        minutes, seconds = divmod(round(moment.left), 60)
        state = pick(lang, f"{minutes}:{seconds:02d} left", f"剩余 {minutes}:{seconds:02d}")
    share = moment.share if moment.state == "running" else 1.0
    return Progress(min(share, 1.0), " · ".join(part for part in (moment.facts, state) if part))


def numbers(values: Sequence[tuple[str, str]]) -> Markup:
    """Large figures, each with its meaning."""
    figures = (tag("p", tag("strong", value), " ", tag("span", meaning)) for value, meaning in values)
    return tag("div", join(figures), class_="live-numbers")


def table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as CSV; a column that a row does not have stays empty there."""
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {name: round(value, 5) if isinstance(value, float) else value for name, value in row.items()}
        )
    return text.getvalue().encode()


def view(live: Live, moment: Moment, lang: str) -> dict[str, Any]:
    """The slots of a moment."""
    curves = tag("div", join(Markup(curve.figure) for curve in moment.curves), class_="batch-curves")
    file = downloads([(f"{live.name}-training.csv", "text/csv", table(moment.rows))]) if moment.rows else ""
    return {
        "numbers": numbers(moment.numbers),
        "line": progress(moment, lang).bar,
        "curves": curves,
        "file": file,
        **moment.slots,
    }


# --- the tab -----------------------------------------------------------------------------------------------


def training(live: Live, session: str, *values: Any) -> Iterator[Any]:
    """The job behind Start: `values` are those of the settings, the language and the flag of Stop.

    Raises:
        Refusal: "lesson_off" on a Space, "lesson_running" while another training runs, or what the lesson refuses.
    """
    *given, lang, cancel = values
    settings = live.settings(*given)
    with lessons.seat(live.minutes(settings)):
        yield Progress(None, READY.get(lang))
        for moment in live.lesson(settings, lang, cancel):
            if moment.product is not None and live.keep is not None:
                live.keep(session, moment.product)
            yield view(live, moment, lang)


def tab(live: Live, title: Text = TITLE) -> Custom:
    """The tab of a training."""
    return Custom(NAME, title, partial(lay_out, live))


def lay_out(live: Live, layout: Layout) -> None:
    """Lays the tab out and wires it."""
    off = lessons.off()
    gr.Markdown((OFF if off else live.idea).tr)
    settings = form.lay_out_fields(live.settings, NAME)
    slots = {"numbers": output, "line": output, **live.slots, "curves": output, "file": output}
    place = layout.place(NAME, live.start, slots, own_inputs=True)
    place.button.interactive = not off
    if live.more is not None:
        live.more(layout, place)
    places.wire(
        layout.shell,
        place.button.click,
        place,
        partial(training, live),
        list(settings.values()),
        tuple,
        session=True,
    )
