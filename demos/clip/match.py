"""*Match?* and *Words*: each label by itself against pairs that match and that do not, and what each word adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import checkpoints, inputs
from core.clip import prompts
from core.runtime import Cancel, finish
from demos.clip import answer as answers
from demos.clip.words import say
from demos.draw import base as draw
from demos.draw import charts
from demos.kit import classifier, library
from demos.kit.events import api_errors
from demos.kit.html import Markup, grid, join, row, share, tag
from demos.kit.jobs import timed
from demos.kit.language import has_chinese

if TYPE_CHECKING:
    from collections.abc import Generator

    from PIL import Image

    from core.clip import Classification, ZeroShot
    from core.clip.matching import Pairs
    from core.clip.prompt_words import PromptWords
    from demos.clip.page import Question

SHARES = ("above_strange", "above_matching")  # of pairs with a lower cosine than a label's
MAX_SENTENCES = 5  # whose words are shown: those of the most probable labels


# --- endpoints -------------------------------------------------------------------------------------------


def clip_match(
    image: gr.FileData,
    labels: list[str] | str,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Whether each label matches an image, by itself: its cosine beside those of pairs that match and that do not.

    Args:
        image: an image file, or a data URI.
        labels: a list, or one string with commas; at most 1,000, in a language of the checkpoint.
        template: a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "line": the cosine that tells both kinds of pairs apart best, "pairs": [matching, strange] that were
        measured, "command": that recorded them, "" where they were measured on the server, "results": [{"label", "cosine",
        "matches", "above_matching", "above_strange": shares of pairs with a lower cosine}]}, best first.
    """
    with api_errors():
        source, names, model = classifier.receive(image, labels, checkpoint, limit=1000)
        pairs = finish(pairs_of(model, language_of(model, names, "en")))
        result = model.classify(source, names, template)
        return {
            "checkpoint": model.checkpoint,
            "line": pairs.line,
            "pairs": [int(pairs.matching.sum()), int(pairs.strange.sum())],
            "command": pairs.command,
            "results": [judged(result, i, pairs) for i in result.order.tolist()],
        }


def clip_words(image: gr.FileData, text: str, checkpoint: str | None = None) -> dict[str, Any]:
    """What each word of a sentence adds to its cosine with an image: the sentence is read again without it.

    Args:
        image: an image file, or a data URI.
        text: a sentence of at most 1,000 characters in a language of the checkpoint.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "text", "cosine", "words": [{"word", "added": change of the cosine, "share": of all changes, with its
        sign}]}, in the order of the sentence.
    """
    from core.clip.prompt_words import prompt_words

    with api_errors():
        source, _, model = classifier.receive(image, [inputs.text(text, limit=1000)], checkpoint)
        return {"checkpoint": model.checkpoint, **prompt_words(model, source, text).to_json()}


# --- does it match? --------------------------------------------------------------------------------------


def language_of(model: ZeroShot, labels: Sequence[str], lang: str) -> str:
    """The language of the captions that labels are compared with: their own where the checkpoint reads it."""
    return classifier.language(model.checkpoint, "zh" if has_chinese(" ".join(labels)) else lang)


def pairs_of(model: ZeroShot, language: str, cancel: Cancel | None = None) -> Generator[float, None, Pairs]:
    """The recorded cosines of a miniature; of any other row those of the example images, measured here."""
    from core.clip import matching

    record = matching.recorded(model.checkpoint, language)
    if record is not None:
        return record
    is_miniature = checkpoints.row(model.checkpoint).bundled is not None
    rows = [one for one in library.shared().values() if one["classroom"] or not is_miniature]
    images = [inputs.image(one["path"]) for one in rows]
    captions = [one["caption"][language] for one in rows]
    return (yield from matching.measured(model, images, captions, language, cancel))


def judged(result: Classification, at: int, pairs: Pairs) -> dict[str, Any]:
    """A label's cosine, on which side of the line it is, and the shares of pairs that are lower."""
    cosine = float(result.cosines[at])
    matching, strange = pairs.below(cosine)
    return {
        "label": result.labels[at],
        "cosine": cosine,
        "matches": cosine >= pairs.line,
        "above_matching": matching,
        "above_strange": strange,
    }


def match(question: Question, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The job of *Match?*: the histograms with the labels on them, and the verdict of each label."""
    answer = answers.run(question)
    model, result = answer.model, answer.result
    measuring = pairs_of(model, language_of(model, result.labels, lang), cancel)
    pairs = yield from timed(measuring, partial(say, "measuring", lang))
    rows = [judged(result, i, pairs) for i in result.order.tolist()]
    facts = {"checkpoint": model.checkpoint, "line": pairs.line, "results": rows}
    yield {
        "out": histogram(pairs, rows, lang) + verdicts(rows, lang) + where_from(pairs, lang),
        "line": answer.below(lang, [draw.json_file("clip-match.json", facts)]),
    }


def histogram(pairs: Pairs, rows: Sequence[dict[str, Any]], lang: str) -> Markup:
    """Both kinds of pairs by cosine, the line between them, and a numbered mark for each label."""
    from core.clip.matching import EDGES

    names = say("matching_pairs", lang), say("strange_pairs", lang)
    marks = [one["cosine"] for one in rows[: charts.MAX_MARKS]]
    title = say("match_figure", lang, line=pairs.line)
    return charts.histograms(
        EDGES, (pairs.matching, pairs.strange), names, title, say("cosine", lang), pairs.line, marks
    )


def verdicts(rows: Sequence[dict[str, Any]], lang: str) -> Markup:
    """A row for each label: whether it matches, its cosine, and the shares of pairs that are lower."""
    lines = []
    for number, one in enumerate(rows, 1):
        name = tag("small", f"{number}. ", class_="clip-number") + one["label"]
        verdict = say("matches" if one["matches"] else "matches_not", lang)
        cells = [tag("td", tag("b", verdict)), tag("td", f"{one['cosine']:+.3f}")]
        cells += [share(one[kind], draw.percent(one[kind])) for kind in SHARES]
        lines.append(row(name, *cells, kind="best" if one["matches"] else None))
    head = [say(name, lang) for name in ("label", "does_match", "cosine", *SHARES)]
    return grid(head, lines, "clip-match")


def where_from(pairs: Pairs, lang: str) -> Markup:
    """How the pairs were measured, and how many of them are on the wrong side of the line."""
    missed, passed = pairs.wrong
    counts = {"matching": int(pairs.matching.sum()), "strange": int(pairs.strange.sum())}
    wrong = say("wrong_side", lang, missed=draw.percent(missed), passed=draw.percent(passed))
    source = say("pairs_recorded" if pairs.command else "pairs_here", lang, **counts)
    command = tag("code", pairs.command) if pairs.command else ""
    return tag("p", f"{wrong} {source} ", command, class_="atlas-line")


# --- words of the prompt ---------------------------------------------------------------------------------


def words(question: Question, lang: str) -> dict[str, Any]:
    """A card for the sentence of each of the most probable labels: its map over the image, and what each word adds."""
    from core.clip.prompt_words import prompt_words

    answer = answers.run(question)
    templates, labels = prompts.resolve(answers.template_of(question)), answer.result.labels
    chosen = [labels[i] for i in answer.result.order[:MAX_SENTENCES].tolist()]
    texts = [prompts.fill(templates[0], label) for label in chosen]
    sentences = [prompt_words(answer.model, answer.encoded, text) for text in texts]
    notes = [say("words_note", lang)]
    if len(templates) > 1:
        notes.append(say("first_template", lang, template=templates[0], count=len(templates)))
    if len(chosen) < len(labels):
        notes.append(say("likeliest", lang, shown=len(chosen), count=len(labels)))
    cards = tag("div", *(word_card(one, answer.image, lang) for one in sentences), class_="atlas-where")
    return {
        "out": cards + join(tag("p", one, class_="atlas-line") for one in notes),
        "line": answer.below(lang, [draw.json_file("clip-words.json", [one.to_json() for one in sentences])]),
    }


def word_card(one: PromptWords, image: Image.Image, lang: str) -> Markup:
    """The image under a sentence's map, and the sentence with each word in the strength of what it adds."""
    strongest = max(float(np.abs(one.added).max()), 1e-9)
    parts: list[Any] = []
    end = 0
    for (first, last_), added, part in zip(one.spans, one.added.tolist(), one.shares.tolist(), strict=True):
        parts.append(one.text[end:first])
        kind = "clip-word" if added >= 0 else "clip-word less"
        style = f"--strength:{abs(added) / strongest:.2f}"
        amount = tag("small", f"{added:+.3f}" + (f" · {part:+.0%}" if abs(part) >= 0.005 else ""))
        parts.append(tag("span", one.text[first:last_], amount, class_=kind, style=style))
        end = last_
    alt = say("words_alt", lang, text=one.text)
    overlay = draw.heat_overlay(image, one.answer.relevance[0], one.answer.crop)
    figure = tag("figure", tag("img", alt=alt, src=draw.data_uri(overlay, 420)))
    head = tag("h4", tag("span", one.text), " ", tag("small", f"{one.cosine:+.3f}"))
    return tag("section", head, figure, tag("p", *parts, class_="clip-words"))
