"""*Compare* on the ActionCLIP page: the sentences of a label one by one; the network's prompts switched on and off."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from core import inputs
from demos.actionclip import answer as answers
from demos.actionclip.words import PAPER, say, text
from demos.draw import players
from demos.kit import library, results
from demos.kit.html import tag

if TYPE_CHECKING:
    from demos.actionclip.page import Question


def templates(question: Question, lang: str) -> dict[str, Any]:
    """The probabilities that each sentence gives to each action, and their mean."""
    answer = answers.run(question, lang)
    found = answer.recognition
    values = np.concatenate([found.per_template, found.probabilities[None]])
    names = [template.format("…") for template in found.templates] + [say("mean_of_all", lang)]
    made = players.table(values, names, list(found.labels), text("column_sentence").get(lang))
    return {"out": made, "line": answer.line(lang)}


def switched(question: Question, lang: str) -> dict[str, Any]:
    """The answer with all prompts of the network, without each of them, and with none."""
    recognizer = answers.model(question.checkpoint)
    parts = recognizer.parts
    titles = library.options(PAPER, "prompts")
    labels = inputs.labels(question.labels)
    if not parts:
        return {"out": tag("p", say("no_prompts", lang), class_="atlas-line"), "line": ""}
    start = time.perf_counter()
    variants = [(say("all_prompts", lang), parts)]
    variants += [
        (say("without", lang, prompt=titles[one].get(lang)), tuple(part for part in parts if part != one))
        for one in parts
    ]
    variants += [(say("no_prompt", lang), ())] if len(parts) > 1 else []
    rows = [
        answers.ask(
            str(question.video), labels, question.checkpoint, lang, question.sentences, used
        ).recognition
        for _, used in variants
    ]
    values = np.stack([row.probabilities for row in rows])
    made = players.table(
        values, [name for name, _ in variants], list(rows[0].labels), text("column_prompts").get(lang)
    )
    has = say("row_has", lang, prompts=say("comma", lang).join(titles[part].get(lang) for part in parts))
    line = results.line(time.perf_counter() - start, recognizer.checkpoint, recognizer.device, lang)
    return {"out": tag("p", has, class_="atlas-line") + made, "line": line}
