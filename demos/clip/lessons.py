"""The *Walkthrough* tab: the lecture's lessons in steps that ask for a prediction before they reveal anything.

Questions are data (`clip_walkthrough.toml`); what is true is computed by the checkpoint that the page is on.
"""

from __future__ import annotations

import html
import time
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from core import inputs
from demos.clip import answer as handlers
from demos.clip import draw as clip_draw
from demos.clip.shared import Common
from demos.draw import base as draw
from demos.kit import old_walk as walk
from demos.kit import shell
from demos.kit.shell import pick

if TYPE_CHECKING:
    from core.clip import ZeroShot

Step = dict[str, Any]
SHARES = (0.5, 0.9)
IDEA = (
    "Each step sets the picture and the labels, **asks you first**, then runs and explains. What is true depends on the "
    "checkpoint above: nothing here is recorded.",
    "每一步都会设好图片和标签，**先问你**，再运行、解释。结果取决于上面选的权重：这里没有任何事先录好的答案。",
)


@cache
def lessons() -> dict[str, dict[str, Any]]:
    """The lessons by name."""
    rows = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["lessons"]
    return {row["name"]: row for row in rows}


# --- how a step's outcome is read off --------------------------------------------------------------------


def choices_of(step: Step, lang: str) -> list[str]:
    """What may be predicted."""
    kind = step["kind"]
    if kind == "best":
        return inputs.labels(step["labels"][lang])
    if kind == "negatives":
        return [str(number) for number in step["choices"]]
    low, high = (f"{share:.0%}" for share in SHARES)
    texts = {
        "share": (
            (f"under {low}", f"{low} to {high}", f"over {high}"),
            (f"不到 {low}", f"{low} 到 {high}", f"超过 {high}"),
        ),
        "there": (("yes, it reaches higher", "no, it does not"), ("是，更高", "不，没有更高")),
        "same": (("the same label wins", "another label wins"), ("赢家不变", "赢家变了")),
        "parts": (("all four say the same", "they differ"), ("四块都一样", "各不相同")),
        "languages": (("the same label", "another one"), ("同一个", "另一个")),
    }
    return list(pick(lang, *texts[kind]))  # type: ignore[arg-type]


def bars(model: ZeroShot, step: Step, lang: str) -> Any:
    """The step's labels asked of its picture."""
    return model.classify(image_of(step), inputs.labels(step["labels"][lang]))


def image_of(step: Step) -> Image.Image:
    """The step's picture."""
    return inputs.image(handlers.examples()[step["example"]]["path"])


def best(model: ZeroShot, step: Step, lang: str) -> walk.Outcome:
    """Which label wins."""
    answer = bars(model, step, lang)
    return walk.Outcome(int(answer.order[0]), draw.probability_bars(answer.to_json()["results"], lang))


def share(model: ZeroShot, step: Step, lang: str) -> walk.Outcome:
    """How sure the best label is."""
    answer = bars(model, step, lang)
    index = int(np.searchsorted(SHARES, float(answer.probabilities.max())))
    return walk.Outcome(index, draw.probability_bars(answer.to_json()["results"], lang))


def there(model: ZeroShot, step: Step, lang: str) -> walk.Outcome:
    """Whether the best label reaches higher than unrelated words."""
    answer = bars(model, step, lang)
    results = answer.to_json()["results"]
    line = model.absence_line(image_of(step), None, lang)
    body = draw.probability_bars(results, lang) + draw.absence_reading(results[0], line, lang)
    return walk.Outcome(0 if results[0]["cosine"] >= line else 1, body)


def same(model: ZeroShot, step: Step, lang: str) -> walk.Outcome:
    """Whether a template changes the winner."""
    names = inputs.labels(step["labels"][lang])
    template = step["template"] + ("-zh" if lang == "zh" else "")
    found = model.compare_templates(image_of(step), names, ["none", template])
    titles = (pick(lang, "bare label", "裸标签"), found[1].templates[0])
    columns = [(title, one.to_json()["results"]) for title, one in zip(titles, found, strict=True)]
    index = 0 if found[0].order[0] == found[1].order[0] else 1
    return walk.Outcome(index, draw.template_table(columns, found[0].labels, lang))


def parts(model: ZeroShot, step: Step, lang: str) -> walk.Outcome:
    """Whether every quarter has the whole picture's answer."""
    from core.clip import crops

    image = image_of(step)
    boxes = crops.grid(*inputs.size_of(image), 2, 2)
    result = crops.classify_crops(model, image, boxes, inputs.labels(step["labels"][lang]))
    thumbnails = [inputs.crop(image, box) for box in result.seen.tolist()]
    agree = bool((result.best == result.whole.order[0]).all())
    return walk.Outcome(0 if agree else 1, clip_draw.crop_table(result, image, thumbnails, lang))


def languages(model: ZeroShot, step: Step, lang: str) -> walk.Outcome:
    """Whether labels of the other language win alike."""
    own, other = (
        model.classify(image_of(step), inputs.labels(step[side][lang])) for side in ("labels", "other")
    )
    body = "".join(draw.probability_bars(one.to_json()["results"], lang) for one in (own, other))
    return walk.Outcome(0 if own.order[0] == other.order[0] else 1, body)


def negatives(model: ZeroShot, step: Step, lang: str) -> walk.Outcome:
    """How many cells of a batch are pairs that do not belong together."""
    from core.clip import contrastive

    rows = [row for row in handlers.examples().values() if row["classroom"]][: step["count"]]
    pictures = [inputs.image(row["path"]) for row in rows]
    made = contrastive.match(model, pictures, [row["caption"][lang] for row in rows]).contrast
    count = int((made.targets == 0).sum())
    return walk.Outcome(step["choices"].index(count), batch_table(rows, made.cosines, made.targets > 0, lang))


def batch_table(rows: Sequence[Step], cosines: np.ndarray, positive: np.ndarray, lang: str) -> str:
    """The matrix of a small batch: pictures down, captions across, the positive pairs marked."""
    head = "".join(f'<th scope="col">{html.escape(row["caption"][lang])}</th>' for row in rows)
    signs = (pick(lang, "positive", "正"), pick(lang, "negative", "负"))
    body = "".join(
        f'<tr><th scope="row"><img class="atlas-thumb" alt="{html.escape(row["caption"][lang])}" '
        f'src="{draw.data_uri(inputs.image(row["path"]), 88)}"></th>'
        + "".join(
            f"<td{' class=best' if yes else ''}>{'✓ ' if yes else ''}{signs[0] if yes else signs[1]}"
            f"<small>{value:+.3f}</small></td>"
            for value, yes in zip(values.tolist(), marks.tolist(), strict=True)
        )
        + "</tr>"
        for row, values, marks in zip(rows, cosines, positive, strict=True)
    )
    return (
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


KINDS: dict[str, Callable[[Any, Step, str], walk.Outcome]] = {
    "best": best,
    "share": share,
    "there": there,
    "same": same,
    "parts": parts,
    "languages": languages,
    "negatives": negatives,
}


# --- handlers --------------------------------------------------------------------------------------------


def turn_to(where: str, lang: str) -> tuple[Any, ...]:
    """Where we are, the question, its choices, an empty answer, whether there is a next step; picture, labels, example."""
    step = walk.step_of(where, lessons())
    title, number = walk.heading(where, lessons(), lang)
    card = f'<div class="atlas-step"><p><b>{title}</b> <span>{number}</span></p><h3>{html.escape(step["ask"][lang])}</h3></div>'
    return (
        *walk.turned(where, lessons(), card, choices_of(step, lang)),
        handlers.examples()[step["example"]]["path"],
        step["labels"][lang],
        step["example"],
    )


def reveal(where: str, predicted: str | None, checkpoint: str, lang: str) -> tuple[Any, ...]:
    """What happened beside what was predicted, the explanation, and the way onwards."""
    step = walk.step_of(where, lessons())
    choices = choices_of(step, lang)
    guess = walk.prediction(predicted, choices)
    model = handlers.model(checkpoint)
    start = time.perf_counter()
    outcome = KINDS[step["kind"]](model, step, lang)
    line = shell.result_line(time.perf_counter() - start, model.checkpoint, model.device, lang)
    return walk.answered(outcome, guess, choices, step["why"][lang], line, lang)


def walkthrough_tab(common: Common) -> None:
    """Lays the tab out and wires it."""
    filled = [common.picture, common.labels, common.example]
    walk.tab(common.page, IDEA, lessons(), turn_to, reveal, [common.checkpoint], filled)
