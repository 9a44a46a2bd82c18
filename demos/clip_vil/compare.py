"""*Compare* on the CLIP-ViL page: new scenes with known answers, the same question without an image, the descendant."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from core import checkpoints, inputs
from demos.clip_vil import draw
from demos.clip_vil.answer import model, put, run
from demos.clip_vil.words import PAPER, say
from demos.kit import results
from demos.kit.html import tag
from demos.kit.menu import label_language

if TYPE_CHECKING:
    from demos.clip_vil.page import Question

SEED, SHOWN, SIDE = 77, 8, 160
GREY = (128, 128, 128)


def scenes(question: Question, lang: str) -> dict[str, Any]:
    """Questions of every kind about new scenes, whose answers are known, and how many each encoder gets right."""
    from core.classroom.world.atlas import open_atlas
    from core.classroom.world.questions import QUESTIONS, answers, ask
    from core.classroom.world.questions import scenes as drawn
    from core.classroom.world.scenes import render

    start = time.perf_counter()
    answering = model(question.checkpoint)
    code = label_language(PAPER, answering.checkpoint, lang)
    atlas = open_atlas()
    spec = drawn(4 * SHOWN, SEED, atlas)
    asked = ask(spec, 16 * SHOWN, SEED)
    first = [int((asked.kind == at).nonzero()[0]) for at in range(len(QUESTIONS)) if (asked.kind == at).any()]
    pictures = render(spec, atlas, SIDE).picture
    texts, rows = asked.texts(code), []
    for at in first[:SHOWN]:
        pixels = pictures[int(asked.scene[at])]
        image = inputs.image(Image.fromarray((pixels.permute(1, 2, 0) * 255).round().byte().numpy()))
        given = {name: answering.answer(image, texts[at], name).best for name in answering.encoders}
        truth = answers()[int(asked.answer[at])].text(code)
        rows.append({"image": image, "question": texts[at], "truth": truth, **given})
    right = {
        say("right_of", lang, count=len(rows)): {
            name: float(np.mean([one[name] == one["truth"] for one in rows])) for name in answering.encoders
        }
    }
    table = draw.truth_table(rows, answering.encoders, lang)
    shares = draw.share_table("", right, answering.encoders, lang)
    line = results.line(time.perf_counter() - start, answering.checkpoint, answering.device, lang)
    return {"out": shares + table, "line": line}


def blind(question: Question, lang: str) -> dict[str, Any]:
    """The same question about the image and about an empty one: what the words alone suggest."""
    answer = run(question)
    empty = put(Image.new("RGB", answer.image.size, GREY), answer.main.question, question.checkpoint)
    parts = [
        tag("h4", say(title, lang)) + draw.cards(one.image, one.found, lang)
        for title, one in (("with_image", answer), ("without_image", empty))
    ]
    return {"out": parts[0] + parts[1], "line": answer.line(lang)}


def descendant(question: Question, lang: str) -> dict[str, Any]:
    """BLIP's answer beside that of the head on CLIP's features."""
    answer = run(question)
    row = next(row.name for row in checkpoints.rows(PAPER) if row.repo)
    other = put(answer.image, answer.main.question, row)
    both = {"clip": answer.main, "blip": other.main}
    return {"out": draw.cards(answer.image, both, lang), "line": other.line(lang)}
