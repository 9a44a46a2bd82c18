"""The lessons of the ViLD page: how the outcome of a step is computed.

The questions are in data.toml. The chosen checkpoint answers them, or the miniature where that one lacks a variant of the
paper; its boxes are compared with the known boxes of a drawn scene.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from core import checkpoints, inputs
from core.runtime import Cancel
from demos.kit import library, walkthrough
from demos.kit.html import Markup, join, tag
from demos.kit.jobs import Progress
from demos.kit.language import Text, pick
from demos.kit.walkthrough import Outcome, Step
from demos.vild import answer as answers
from demos.vild import draw
from demos.vild.answer import PAPER, Answer, examples

RATIOS = (2.0, 10.0)  # borders between the choices of the step about speed
SPEED_PROPOSALS = answers.MOST_PROPOSALS
HEADS = ("text", "image")
IDEA = Text(
    "Each step shows an image with labels and a question. Predict first, then run it and read the explanation. The checkpoint "
    "that is chosen above gives the answer, or the miniature where that checkpoint does not have every version of ViLD.",
    "每一步给出一张图片、一组标签和一个问题。先预测，再运行，然后看解释。答案由上面所选的权重给出；如果它没有 ViLD 的全部版本，"
    "则由微缩模型给出。",
)


@cache
def lessons() -> dict[str, dict[str, Any]]:
    """The lessons by name."""
    return {row["name"]: row for row in library.data(PAPER)["lessons"]}


def thing_of(step: Step) -> dict[str, Any]:
    """The thing that a step asks about: {"en", "zh", "visible_box"}."""
    things = examples()[step["example"]]["objects"]
    return next(one for one in things if one["en"] == step["thing"])


def choices(step: Step, lang: str) -> list[str]:
    """The choices of a prediction."""
    kind = step["kind"]
    if kind in ("closed_list", "find"):
        name = thing_of(step)[lang]
        return [
            pick(lang, "no box on it", "上面没有框"),
            pick(lang, "a wrong name", "错误的名称"),
            pick(lang, f"“{name}”", f"“{name}”"),
        ]
    if kind == "where":
        names = [thing[lang] for thing in examples()[step["example"]]["objects"]]
        return [*names, pick(lang, "on none of them", "都不是")]
    if kind in ("heads", "mistakes"):
        both = [pick(lang, "equally many", "一样多")] if kind == "mistakes" else []
        return [*(f"ViLD-{name}" for name in HEADS), *both]
    low, high = (f"{ratio:.0f}" for ratio in RATIOS)
    return [
        pick(lang, f"less than {low} times as long", f"不到 {low} 倍"),
        pick(lang, f"{low} to {high} times as long", f"{low} 到 {high} 倍"),
        pick(lang, f"more than {high} times as long", f"超过 {high} 倍"),
    ]


# --- outcomes --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A step with its things, and the answers of a checkpoint."""

    step: Step
    checkpoint: str
    lang: str

    @property
    def things(self) -> list[dict[str, Any]]:
        """The known things of the image."""
        rows: list[dict[str, Any]] = examples()[self.step["example"]]["objects"]
        return rows

    def ask(self, variant: str = "") -> Answer:
        """The answer of the step's variant, or of another one, at the step's threshold or the recommended one."""
        from demos.vild.page import Question

        name = variant or self.step["variant"]
        threshold = self.step.get("threshold", answers.threshold_for(name, self.checkpoint))
        path, labels = examples()[self.step["example"]]["path"], self.step["labels"][self.lang]
        return answers.ask(Question(self.checkpoint, path, labels, name, threshold))

    def proposal(self, answer: Answer) -> int:
        """The candidate box that fits the step's thing best."""
        return int(draw.overlap(thing_of(self.step)["visible_box"], answer.detection.proposals).argmax())


def name_given(detection: Any, thing: dict[str, Any]) -> int:
    """The choice that an answer makes of a thing: 0 no box is on it, 1 its best box has another name, 2 its own."""
    on_it = draw.overlap(thing["visible_box"], detection.boxes) >= draw.SAME_PLACE
    if not on_it.any():
        return 0
    name = detection.labels[int(detection.label_indices[on_it.argmax()])]  # boxes come best first
    return 2 if name.lower() in (thing["en"].lower(), thing["zh"]) else 1


def closed_list(case: Case) -> Outcome:
    """The name that a fixed list of categories gives a thing."""
    answer = case.ask()
    fixed = answer.model.closed(answer.encoded, language=case.lang)
    body = draw.closed_and_open(answer.image, fixed, answer.detection, case.lang)
    return Outcome(name_given(fixed, thing_of(case.step)), body)


def find(case: Case) -> Outcome:
    """The name that the labels give a thing."""
    answer, thing = case.ask(), thing_of(case.step)
    title = pick(
        case.lang,
        f"The candidate box that fits the {thing['en']} best",
        f"与“{thing['zh']}”最吻合的候选框",
    )
    table = draw.score_table(answer.detection, case.proposal(answer), case.lang)
    body = draw.figure(answer.image, answer.detection, case.lang) + tag("h4", title) + table
    return Outcome(name_given(answer.detection, thing), body)


def where(case: Case) -> Outcome:
    """On which thing the best box of a label lies; the last choice for none."""
    answer = case.ask()
    own = np.flatnonzero(answer.detection.label_indices == case.step["label"])
    index = len(case.things)
    if len(own):
        best = answer.detection.boxes[own[:1]]
        overlaps = [float(draw.overlap(thing["visible_box"], best)[0]) for thing in case.things]
        if max(overlaps) >= draw.SAME_PLACE:
            index = int(np.argmax(overlaps))
    return Outcome(index, draw.figure(answer.image, answer.detection, case.lang))


def heads(case: Case) -> Outcome:
    """Which head of the ensemble gives a thing's own name the higher probability."""
    answer = case.ask()
    at = case.proposal(answer)
    name = thing_of(case.step)[case.lang].lower()
    label = [one.lower() for one in answer.detection.labels].index(name)
    probabilities = [float(answer.detection.parts[head][at, label]) for head in HEADS]
    return Outcome(int(np.argmax(probabilities)), draw.region(answer.image, answer.detection, at, case.lang))


def mistakes(case: Case) -> Outcome:
    """Which of two heads has more boxes that lie on no thing of their name."""
    pair = [case.ask(name) for name in HEADS]
    counts = [int((~draw.correct(one.detection, case.things)).sum()) for one in pair]
    titles = []
    for name, one, count in zip(HEADS, pair, counts, strict=True):
        total = len(one.detection.boxes)
        wrong = pick(case.lang, f"{count} of {total} boxes wrong", f"{total} 个框中错 {count} 个")
        titles.append(pick(case.lang, f"ViLD-{name}: {wrong}", f"ViLD-{name}：{wrong}"))
    index = 2 if counts[0] == counts[1] else int(np.argmax(counts))
    body = draw.pair(titles, pair[0].image, [one.detection for one in pair], case.lang)
    return Outcome(index, body)


KINDS: dict[str, Callable[[Case], Outcome]] = {
    "closed_list": closed_list,
    "find": find,
    "where": where,
    "heads": heads,
    "mistakes": mistakes,
}


# --- speed -------------------------------------------------------------------------------------------------


def race(case: Case, cancel: Cancel) -> Generator[Progress, None, tuple[float, float]]:
    """Seconds of one pass and of CLIP on crops, on the step's image with a changed pixel, so that nothing is cached."""
    image = inputs.image(examples()[case.step["example"]]["path"])
    vild = answers.model(case.checkpoint)
    for _ in answers.encode_crops(vild, image, 1, case.lang, cancel):  # loads what is not loaded yet
        pass
    image.putpixel((0, 0), tuple(random.randbytes(3)))
    start = time.perf_counter()
    encoded = vild.encode(image)
    encoded_at = time.perf_counter()
    yield from answers.encode_crops(vild, encoded, SPEED_PROPOSALS, case.lang, cancel)
    return encoded_at - start, time.perf_counter() - encoded_at


def speed(case: Case, cancel: Cancel) -> Generator[Progress, None, Outcome]:
    """How many times as long CLIP on crops takes as one pass of ViLD."""
    fast, slow = yield from race(case, cancel)
    ratio = slow / max(fast, 1e-9)
    rows = (
        (pick(case.lang, "one pass of ViLD over the image", "ViLD 对整张图片计算一次"), fast),
        (
            pick(
                case.lang,
                f"CLIP on {2 * SPEED_PROPOSALS} crops of {SPEED_PROPOSALS} candidate boxes",
                f"CLIP 编码 {SPEED_PROPOSALS} 个候选框的 {2 * SPEED_PROPOSALS} 张裁剪图",
            ),
            slow,
        ),
    )
    result = pick(case.lang, f"{ratio:.1f} times as long", f"用时是前者的 {ratio:.1f} 倍")
    body = bars(rows, case.lang) + tag("p", tag("strong", result))
    return Outcome(int(np.searchsorted(RATIOS, ratio)), body)


def bars(rows: tuple[tuple[str, float], ...], lang: str) -> Markup:
    """Durations in seconds as bars."""
    longest = max(seconds for _, seconds in rows)
    lines = join(
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", tag("span", style=f"width:{100 * seconds / longest:.1f}%"), class_="bar"),
            tag("td", pick(lang, f"{seconds:.2f} s", f"{seconds:.2f} 秒")),
        )
        for name, seconds in rows
    )
    return tag("table", tag("tbody", lines), class_="atlas-bars")


# --- for the walkthrough -----------------------------------------------------------------------------------


def able(checkpoint: str) -> str:
    """The row where it has all variants of the paper, else the first row that has."""
    rows = [checkpoint] if checkpoint else []
    rows += [row.name for row in checkpoints.rows(PAPER)]
    return next(name for name in rows if answers.VARIANT in answers.variants_of(name))


def card(step: Step, lang: str) -> str:
    """The image, the labels and the variant of a step."""
    row = examples()[step["example"]]
    lines = tag("p", pick(lang, "Labels: ", "标签：") + step["labels"][lang])
    if step["kind"] in ("find", "where", "heads"):
        lines += tag("p", draw.VARIANTS[step["variant"]].get(lang), class_="atlas-line")
    return walkthrough.picture(row["path"], row["caption"][lang], lines)


def outcome(step: Step, checkpoint: str, lang: str, cancel: Cancel) -> Iterator[Any]:
    """A job: the choice that came true."""
    case = Case(step, able(checkpoint), lang)
    result = (yield from speed(case, cancel)) if step["kind"] == "speed" else KINDS[step["kind"]](case)
    yield replace(result, checkpoint=case.checkpoint)
