"""The *Walkthrough* tab: lessons in steps, each of which asks for a prediction before the model answers.

A lesson is a row of a page's data with a title and steps; a step has `ask` (the question), `why` (the explanation) and
whatever the page's own functions read: its image, its prompt, the kind of its outcome. A step brings its own inputs and
leaves those of the visitor as they are. `?step=lesson:1` opens a step.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import gradio as gr
from PIL import Image

from core import inputs, runtime
from core.errors import Refusal
from demos.draw import base as draw
from demos.kit import jobs, library, places, results
from demos.kit.components import output
from demos.kit.events import QUIET, Shell
from demos.kit.html import Markup, escape, tag
from demos.kit.language import Text, pick
from demos.kit.menu import label_language
from demos.kit.places import Place, Slots

Lessons = Mapping[str, Any]
Step = dict[str, Any]
PARAMETER = "step"
SIDE = 320  # pixels of a step's image
IDEA = Text(
    "Each step shows an image and a question. Predict first, then run it and read the explanation. The checkpoint that is "
    "chosen above gives the answer.",
    "每一步给出一张图片和一个问题。先预测，再运行，然后看解释。答案由上面所选的权重给出。",
)


@dataclass(frozen=True)
class Outcome:
    """Which of a step's choices came true, what shows it, and the row that answered where it is not the chosen one."""

    index: int
    body: str
    checkpoint: str = ""


@dataclass(frozen=True)
class Walkthrough:
    """A tab of lessons.

    Attributes:
        lessons: the lessons by name.
        choices: `choices(step, lang)`, what may be predicted.
        card: `card(step, lang)`, the step's inputs as HTML; `image` makes that of an image with a caption.
        outcome: `outcome(step, checkpoint, lang)`, or a job `outcome(step, checkpoint, lang, cancel)` that yields
            `jobs.Progress`, dictionaries of `slots`, and at last the `Outcome`.
        idea: the sentences above the lessons.
        slot: makes the place of the outcome.
        slots: what makes further places above the outcome, such as a view of the run; a step begins with empty ones.
        in_turn: whether the job waits for the device behind the jobs of other visitors.
    """

    lessons: Callable[[], Lessons]
    choices: Callable[[Step, str], Sequence[str]]
    card: Callable[[Step, str], str]
    outcome: Callable[..., Any]
    idea: Text = IDEA
    slot: Callable[[str], Any] = output
    slots: Slots = field(default_factory=dict)
    in_turn: bool = False


# --- lessons of a data.toml -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A step of a page's lessons about an example image, with the checkpoint that answers it."""

    page: str
    step: Step
    checkpoint: str
    lang: str

    @property
    def example(self) -> dict[str, Any]:
        """The example of the step."""
        return library.examples(self.page)[self.step["example"]]

    @cached_property
    def image(self) -> Image.Image:
        """The image of the step."""
        return image_of(self.page, self.step)

    @property
    def things(self) -> list[dict[str, Any]]:
        """The things that are known to be in the image: {"en", "zh", "visible_box"}."""
        return list(self.example["objects"])

    @property
    def thing(self) -> dict[str, Any]:
        """The one that the step asks about."""
        return next(one for one in self.things if one["en"] == self.step["thing"])

    @property
    def language(self) -> str:
        """The language of labels: the page's where the checkpoint reads it."""
        return label_language(self.page, self.checkpoint, self.lang)

    def labels(self, name: str = "labels") -> list[str]:
        """The labels of the step, else those of its example."""
        return inputs.labels((self.step.get(name) or self.example["labels"])[self.language])


def of_page(page: str, kinds: Mapping[str, Callable[[Case], Outcome]], **options: Any) -> Walkthrough:
    """The walkthrough of a page whose data.toml has `lessons` and `choices`.

    Args:
        page: its folder.
        kinds: computes the outcome of a step by its kind.
        options: of the `Walkthrough`, also in place of what data.toml gives.
    """

    def outcome(step: Step, checkpoint: str, lang: str) -> Outcome:
        """Which of a step's choices came true with a checkpoint."""
        return kinds[step["kind"]](Case(page, step, checkpoint, lang))

    parts: dict[str, Any] = {
        "lessons": partial(library.lessons, page),
        "choices": partial(choices_of, page),
        "card": partial(card_of, page),
        "outcome": outcome,
    }
    return Walkthrough(**(parts | options))


def choices_of(page: str, step: Step, lang: str) -> list[str]:
    """What may be predicted in a step, by its kind."""
    return list(library.data(page)["choices"][step["kind"]][lang])


def image_of(page: str, step: Step) -> Image.Image:
    """The image of a step: its `example`, or its `scene` of the classroom, drawn from its text."""
    if "scene" not in step:
        return inputs.image(library.examples(page)[step["example"]]["path"])
    from core.classroom.world import description

    return inputs.image(description.draw(description.parse(step["scene"])).picture)


def card_of(page: str, step: Step, lang: str, lines: str = "") -> Markup:
    """The image of a step's example, and lines of HTML below it."""
    row = library.examples(page)[step["example"]]
    return image(row["path"], row["caption"][lang], lines)


# --- places in the lessons ---------------------------------------------------------------------------------


def place_of(where: str, lessons: Lessons) -> tuple[str, int]:
    """ "sheep:1" -> ("sheep", 1); the first step of the first lesson for a text that names no step."""
    name, _, number = (where or "").partition(":")
    if name not in lessons:
        return next(iter(lessons)), 0
    at = int(number) if number.isdecimal() and len(number) < 3 else 0
    return name, min(at, len(lessons[name]["steps"]) - 1)


def following(where: str, lessons: Lessons) -> str:
    """The place of the next step; behind the last step of a lesson the first of the next lesson."""
    name, at = place_of(where, lessons)
    if at + 1 < len(lessons[name]["steps"]):
        return f"{name}:{at + 1}"
    names = list(lessons)
    return f"{names[(names.index(name) + 1) % len(names)]}:0"


def step_of(where: str, lessons: Lessons) -> Step:
    """The step at a place."""
    name, at = place_of(where, lessons)
    return lessons[name]["steps"][at]


def heading(where: str, lessons: Lessons, lang: str) -> tuple[Markup, str]:
    """The lesson's title, and which of its steps this is."""
    name, at = place_of(where, lessons)
    count = len(lessons[name]["steps"])
    return escape(lessons[name]["title"][lang]), pick(
        lang, f"step {at + 1} of {count}", f"第 {at + 1} 步，共 {count} 步"
    )


# --- what a step shows -------------------------------------------------------------------------------------


def image(path: str | Image.Image, caption: str, lines: str = "") -> Markup:
    """The card of a step about an image: the image with its caption for readers, and lines of HTML below it.

    Args:
        path: of the image, or the image.
        caption: said to those who cannot see it.
        lines: HTML, for example the step's prompt.
    """
    source = draw.data_uri(inputs.image(path), SIDE)
    return tag("div", tag("img", alt=caption, src=source), Markup(lines), class_="atlas-step-inputs")


def prompt(text: str) -> Markup:
    """A prompt as a quotation."""
    return tag("p", tag("q", text))


def verdict(choices: Sequence[str], predicted: int, index: int, lang: str) -> Markup:
    """The prediction beside the outcome."""
    guess, truth = choices[predicted], choices[index]
    correct = predicted == index
    sentence = library.kit("predicted" if correct else "mispredicted", lang, guess=guess, truth=truth)
    mark = "✓" if correct else "✗"
    kind = "some" if correct else "none"
    return tag("p", tag("strong", f"{mark} {sentence}"), class_=f"atlas-verdict {kind}")


def prediction(value: str | None, choices: Sequence[str]) -> int:
    """The index of the prediction.

    Raises:
        Refusal: "predict_first" where nothing was predicted.
    """
    if value not in {str(i) for i in range(len(choices))}:
        raise Refusal("predict_first")
    return int(value or 0)


# --- the tab -----------------------------------------------------------------------------------------------


def turn(walk: Walkthrough, where: str, lang: str) -> dict[str, Any]:
    """A step before its answer: place, card, choices, an empty answer, Next switched off."""
    lessons = walk.lessons()
    name, at = place_of(where, lessons)
    step = step_of(where, lessons)
    title, number = heading(where, lessons, lang)
    head = tag("p", tag("b", title), " ", tag("span", number)) + tag("h3", step["ask"][lang])
    card = tag("div", Markup(walk.card(step, lang)), tag("div", head), class_="atlas-step")
    options = [(text, str(i)) for i, text in enumerate(walk.choices(step, lang))]
    return {
        **dict.fromkeys(walk.slots, ""),
        "where": f"{name}:{at}",
        "card": card,
        "guess": gr.update(choices=options, value=None),
        "out": "",
        "line": "",
        "onwards": gr.update(interactive=False),
    }


def reveal(
    walk: Walkthrough, where: str, predicted: str | None, checkpoint: str, lang: str, cancel: Any
) -> Iterator[Any]:
    """The job of a step: what came true beside the prediction, the explanation, the result line."""
    step = step_of(where, walk.lessons())
    choices = walk.choices(step, lang)
    guess = prediction(predicted, choices)
    start = time.perf_counter()
    if inspect.isgeneratorfunction(walk.outcome):
        outcome = None
        for part in walk.outcome(step, checkpoint, lang, cancel):
            if isinstance(part, Outcome):
                outcome = part
            else:
                yield part
        if outcome is None:
            return
    else:
        outcome = jobs.stoppable(partial(walk.outcome, step, checkpoint, lang), cancel)
    body = verdict(choices, guess, outcome.index, lang) + Markup(outcome.body)
    row = outcome.checkpoint or checkpoint
    line = results.line(time.perf_counter() - start, row, runtime.pick_device(), lang) if row else ""
    yield {
        "out": body + tag("p", step["why"][lang], class_="atlas-why"),
        "line": line,
        "onwards": gr.update(interactive=True),
    }


def lay_out(shell: Shell, walk: Walkthrough, tab: Any, checkpoint: Any) -> tuple[Place, dict[str, Any]]:
    """Lays the tab out inside the open `gr.Tab` and wires it; returns its place and the components that a step sets."""
    lessons = walk.lessons()
    gr.Markdown(walk.idea.tr)
    with gr.Row(elem_classes="atlas-lessons"):
        buttons = {
            name: gr.Button(Text(**row["title"]).tr, size="sm", elem_id=f"walk-{name}")
            for name, row in lessons.items()
        }
    where = gr.Textbox("", visible="hidden", label="lesson")
    card = output("walk-step")
    guess = gr.Radio([], label=Text("Your prediction", "你的预测").tr, elem_id="walk-guess")
    place = places.lay_out("walk", Text("Run it", "运行"), {**walk.slots, "out": walk.slot})
    with gr.Row():
        onwards = gr.Button(Text("Next step", "下一步").tr, interactive=False, elem_id="walk-next")
        link = gr.Button(
            Text("Copy a link to this step", "复制本步骤的链接").tr, size="sm", elem_id="walk-link"
        )
    fields = {"where": where, "card": card, "guess": guess, "onwards": onwards}
    targets = {**fields, **place.slots}

    def show(names: dict[str, Any]) -> dict[Any, Any]:
        return {targets[name]: value for name, value in names.items()}

    def first(value: str, lang: str) -> dict[Any, Any]:
        """The first step when the tab is opened for the first time."""
        return {card: gr.skip()} if value else show(turn(walk, "", lang))

    outputs = list(targets.values())
    for name, button in buttons.items():
        button.click(lambda lang, name=name: show(turn(walk, name, lang)), [shell.lang], outputs, **QUIET)
    tab.select(first, [where, shell.lang], outputs, **QUIET)
    onwards.click(
        lambda value, lang: show(turn(walk, following(value, lessons), lang)),
        [where, shell.lang],
        outputs,
        **QUIET,
    )
    link.click(
        None,
        [where, checkpoint],
        None,
        js="(step, row) => { window.atlas.copyLink(['step', 'checkpoint'], [step, row]); }",
    )

    places.wire(
        shell,
        place.button.click,
        place,
        partial(reveal, walk),
        [where, guess, checkpoint],
        tuple,
        in_turn=walk.in_turn,
        fields={"onwards": onwards},
    )
    return place, targets
