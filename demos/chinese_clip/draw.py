"""HTML of the Chinese-CLIP page from plain values. What a visitor typed is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from demos.draw.base import percent, share_cell
from demos.kit import library
from demos.kit.html import Markup, grid, join, row, scroll, tag
from demos.kit.language import both_of

if TYPE_CHECKING:
    from core.clip import Classification
    from core.clip.bilingual import Agreement, Reader
    from core.clip.reading import Reading

PAGE = "chinese_clip"
data = partial(library.data, PAGE)
say = partial(library.say, PAGE)  # a sentence in one language, with its values
text = partial(library.text, PAGE)  # a sentence in both
POOLED = library.options(PAGE, "pooled")  # where the feature of a text is read
WAYS = library.options(PAGE, "ways")  # of asking


def token_strip(reading: Reading, lang: str) -> Markup:
    """One text as the row of tokens that the encoder receives; the place of the feature is marked."""
    chips = [
        _token(piece.kind, piece.text, piece.id, i == reading.feature_at)
        for i, piece in enumerate(reading.pieces)
    ]
    count, rest = len(reading.pieces), reading.places - len(reading.pieces)
    if rest > 0:
        chips.append(_token("special", say("padding", lang, rest=rest), 0, reading.feature_at >= count))
    facts = say("tokens", lang, count=count, where=POOLED[reading.pooling].get(lang))
    head = tag("p", tag("strong", reading.text), " ", tag("span", f"→ {facts}"))
    return tag("div", head, tag("ol", *chips), class_="atlas-tokens")


def _token(kind: str, words: str, number: int, is_read: bool) -> Markup:
    small = tag("small", str(number))
    return tag("li", tag("b", words), small, class_=kind, aria_current="true" if is_read else None)


def answer_cells(values: Sequence[float]) -> Markup:
    """Cells of one answer, its best marked."""
    best = int(np.argmax(values))
    return join(share_cell(float(value), i == best) for i, value in enumerate(values))


def published_table(
    labels: Sequence[str],
    rows: Sequence[tuple[str, int, Sequence[float], Sequence[float]]],
    source: str,
    ours: str,
    lang: str,
) -> Markup:
    """The published answer of every image with ours under it.

    Args:
        labels: the N labels.
        rows: (what the image shows, index of the correct label, published [N], ours [N]).
        source: where the published figures stand.
        ours: which model gave ours.
        lang: "en" or "zh".
    """
    body = []
    for what, correct, published, mine in rows:
        title = tag("th", what, scope="rowgroup", colspan=len(labels) + 1)
        body.append(tag("tr", title, class_="what"))
        for kind, shares in (("published", published), ("ours", mine)):
            verdict = say("right" if int(np.argmax(shares)) == correct else "wrong", lang)
            name = tag("b", say(kind, lang)) + " " + tag("small", verdict)
            body.append(row(name, answer_cells(shares), kind=kind))
    note = f"{source}. {say('other_images', lang, ours=ours)}"
    return grid(["", *labels], body, "atlas-published") + tag("p", note, class_="atlas-line")


def flock_note(labels: Sequence[str], shares: Sequence[float], source: str, lang: str) -> Markup:
    """A published answer that this server did not compute, marked as such."""
    body = [row(say("published", lang), answer_cells(shares))]
    return grid(["", *labels], body) + tag("p", f"{source}.", class_="atlas-line")


def readers_table(readers: Sequence[Reader], lang: str) -> Markup:
    """The same question in each way of asking: a row a label, a column a way, the best of each marked."""
    texts = {one.way: [reading.text for reading in one.readings] for one in readers}
    body = []
    for i, chinese in enumerate(texts["zh"]):
        name = tag("small", texts["en"][i]) if "en" in texts else ""
        cells = (
            share_cell(
                float(one.probabilities[i]), i == int(one.probabilities.argmax()), float(one.cosines[i])
            )
            for one in readers
        )
        body.append(row(join([chinese, name]), *cells))
    return grid([say("label", lang), *(WAYS[one.way].get(lang) for one in readers)], body, "atlas-readers")


def agreement_matrix(found: Agreement, lang: str) -> Markup:
    """English names against Chinese ones as a matrix of cosines, with the image's own row and column."""
    numbers, total = found.cosines, len(found.english)
    heat = 70 * (numbers - numbers.min()) / (float(np.ptp(numbers)) or 1.0)
    nearest = numbers.argmax(axis=1)

    def cell(i: int, j: int) -> Markup:
        kinds = ["pair"] * (i == j) + ["best"] * (j == int(nearest[i]))
        style = f"--heat:{heat[i, j]:.0f}%"
        return tag("td", f"{numbers[i, j]:+.2f}", class_=" ".join(kinds) or None, style=style)

    body = [
        row(name, *(cell(i, j) for j in range(len(found.chinese))), _image_cell(found.picture_english, i))
        for i, name in enumerate(found.english)
    ]
    image = say("the_image", lang)
    last = [_image_cell(found.picture_chinese, j) for j in range(len(found.chinese))]
    body.append(row(image, *last, tag("td"), kind="picture"))
    head = [tag("th", name, scope="col") for name in found.chinese]
    head.append(tag("th", image, scope="col", class_="picture"))
    matched, pairs = int(found.matched.sum()), float(np.trace(numbers))
    means = {"pairs": pairs / total, "others": (float(numbers.sum()) - pairs) / max(total * (total - 1), 1)}
    sentence = Markup(say("matched", lang, matched=matched, total=total, **means))
    mood = "some" if matched == total else "none"
    table = tag("table", tag("thead", tag("tr", tag("td"), *head)), tag("tbody", *body), class_="atlas-heat")
    return tag("p", sentence, class_=f"atlas-verdict {mood}") + scroll(table)


def _image_cell(cosines: np.ndarray, i: int) -> Markup:
    best = " best" if i == int(cosines.argmax()) else ""
    return tag("td", f"{float(cosines[i]):+.2f}", class_=f"picture{best}")


def number_table(result: Classification, lang: str) -> Markup:
    """Label, cosine, logit and probability, best first: the arithmetic of an answer."""
    kind = "sigmoid" if result.normalisation == "sigmoid" else "softmax"
    scaled = f"× {result.logit_scale:.1f} {result.logit_bias:+.1f}"
    body = [
        row(
            result.labels[i],
            tag("td", f"{result.cosines[i]:+.4f}"),
            tag("td", f"{result.logits[i]:+.2f}"),
            tag("td", percent(float(result.probabilities[i]))),
        )
        for i in result.order
    ]
    return grid([say("label", lang), say("cosine", lang), scaled, kind], body)


def two_stages() -> Markup:
    """The paper's training as a figure in both languages: first the text tower alone, then both."""
    loss = tag("div", both_of(text("contrast")), tag("br"), "⇄", class_="loss")
    figures = (
        tag(
            "section",
            tag("h3", both_of(text(stage["title"]))),
            tag("div", _tower("image", stage), loss, _tower("text", stage), class_="towers"),
            tag("p", both_of(text(stage["why"]))),
        )
        for stage in data()["stages"]["figure"]
    )
    source = tag("p", both_of(text("stages_source")), class_="atlas-line")
    return tag("div", *figures, class_="atlas-stages") + source


def _tower(name: str, stage: dict[str, Any]) -> Markup:
    start, state = stage[name]
    icon = tag("path", fill="currentColor", d=data()["stages"]["icons"][state])
    svg = tag("svg", icon, viewBox="0 0 16 16", width=16, height=16, aria_hidden="true")
    words = [tag("strong", both_of(text(f"{name}_tower"))), tag("span", both_of(text(start)))]
    return tag(
        "div", *words, tag("span", svg, " ", both_of(text(state)), class_="state"), class_=f"tower {state}"
    )
