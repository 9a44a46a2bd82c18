"""Answers of the CLIFS page: hits with their places, the index of a visitor's files, files, named endpoints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from core import inputs
from core.errors import Refusal
from core.runtime import Cancel
from core.search.collections import Collection
from core.search.store import Filter
from demos.clifs import collections, draw
from demos.clifs.words import PAPER, ROWS, data
from demos.kit import files as files_in
from demos.kit import library, results
from demos.kit.events import api_errors
from demos.kit.menu import label_language, start_row

if TYPE_CHECKING:
    from core.search.query import Found, Term
    from core.search.spaces import Space
    from demos.clifs.page import Question

OPENING = "ambulance"
MOST = 100  # hits of an endpoint
LIMITS = ("after", "before", "larger", "smaller")


@dataclass(frozen=True)
class Answer:
    """What a question finds in a collection."""

    collection: Collection
    terms: list[Term]
    found: Found
    seconds: float

    def line(self, lang: str) -> str:
        """The result line."""
        return results.answer_line(PAPER, self.found, self.seconds, lang)


@lru_cache(maxsize=16)
def space(checkpoint: str) -> Space:
    """What searches with a row of CLIP; light until something is encoded."""
    from core.search.spaces import Space

    return Space(checkpoint or start_row(ROWS))


def collection(question: Question) -> Collection:
    """The files that a question looks at: the visitor's, a folder of the server, or the sample."""
    if question.folder.strip():
        return collections.folder(question.folder.strip())
    return collections.uploaded(question.own) if question.own else collections.sample()


def terms(question: Question, where: Collection) -> list[Term]:
    """What is looked for."""
    from core.search import query

    if question.like.strip():
        table = where.store.table(space(question.checkpoint).visual)
        row = table.get(question.like.strip())
        if row is None or row.vector is None:
            raise Refusal("search_gone", name=question.like.strip()[:40])
        return [query.Term(row)]
    image = question.image_query and files_in.image_source(question.image_query)
    return together(question.query, image, question.sound_query)


def together(words: str, image: Any, sound: Any) -> list[Term]:
    """Words with weights, the source of an image and that of a sound, each where there is one."""
    from core.search import query

    asked = query.parse(words) if words.strip() else []
    if image:
        asked.append(query.Term(inputs.image(image)))
    if sound:
        asked.append(query.Term(inputs.sound(sound)))
    if not asked:
        raise Refusal("search_query")
    return asked


def ask(question: Question, where: Collection, cancel: Cancel | None = None, exact: bool = False) -> Answer:
    """The answer to a question about a collection whose index is ready."""
    from core.search import query

    start = time.perf_counter()
    limits = {name: getattr(question, name) for name in LIMITS}
    kinds, whole = question.kinds or (), not question.patches
    shown = Filter.of_texts(where.roots, kinds=kinds, folder=question.below, whole=whole, **limits)
    asked = terms(question, where)
    found = query.search(
        where.store,
        space(question.checkpoint),
        asked,
        shown,
        page=max(0, int(question.page or 1) - 1),
        exact=exact,
        check=None if cancel is None else cancel.check,
    )
    return Answer(where, asked, found, time.perf_counter() - start)


def run(question: Question) -> Answer:
    """The answer to the page's question."""
    return ask(question, collections.prepared(collection(question), space(question.checkpoint)))


# --- endpoints ---------------------------------------------------------------------------------------------


def clifs_search(
    query: str = "",
    image: gr.FileData | None = None,
    sound: gr.FileData | None = None,
    files: list[gr.FileData] | None = None,
    kinds: list[str] | None = None,
    folder: str = "",
    count: int = 12,
    checkpoint: str | None = None,
    after: str = "",
    before: str = "",
    larger: str = "",
    smaller: str = "",
) -> dict[str, Any]:
    """Search files by words, an image or a sound (CLIFS).

    Args:
        query: words with weights, "a dog + 2: a ball - grass", in a language of the checkpoint.
        image: an image to look for, uploaded or a data URI.
        sound: a sound to look for.
        files: uploaded files and zip archives to search; the sample collection when left out.
        kinds: of "image", "video", "sound", "text"; all when left out.
        folder: only files below this folder of the collection.
        count: hits, at most 100.
        checkpoint: a CLIP row that is on the server; the default row when left out.
        after: only what was taken since this day, 2026-01-31.
        before: only what was taken before this day.
        larger: only files of at least this size, "200 kB".
        smaller: only files of at most this size, "5 MB".

    Returns:
        {"checkpoint", "seconds", "results": [{"id", "root", "file", "kind", "start", "end", "box", "heard", "score", "fit",
        "above_chance", "copies"}, ...], "more", "above_chance", "files", "levels"}, best first; times in seconds, boxes in shares
        of the frame.
    """
    from core.search import query as queries

    with api_errors():
        chosen = space(checkpoint or start_row(ROWS))
        asked = together(query, *(files_in.uploaded(one) if one else None for one in (image, sound)))
        limits: Any = {"after": after, "before": before, "larger": larger, "smaller": smaller}
        where = _uploads(files) if files else collections.sample()
        shown = Filter.of_texts(where.roots, kinds=kinds or (), folder=folder, **limits)
        collections.prepared(where, chosen)
        size = min(max(int(count), 1), MOST)
        return queries.search(where.store, chosen, asked, shown, size=size).to_json()


def clifs_index(
    files: list[gr.FileData] | None = None, folder: str = "", checkpoint: str | None = None
) -> dict[str, Any]:
    """Index files for search (CLIFS).

    Args:
        files: uploaded files and zip archives; they are searched by giving the same files to clifs_search.
        folder: in place of files a folder of the server; only for callers on the server's own machine.
        checkpoint: a CLIP row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "files", "pieces", "refused": {name: sentence}, "seconds"}.
    """
    with api_errors():
        start = time.perf_counter()
        chosen = space(checkpoint or start_row(ROWS))
        where = collections.folder(folder) if folder.strip() else _uploads(files or [])
        collections.prepared(where, chosen)
        stats = where.store.table(chosen.visual).stats(where.roots)
        return {
            "checkpoint": chosen.checkpoint,
            "files": stats.files,
            "pieces": stats.pieces,
            "refused": {path: refusal.text("en") for path, refusal in where.failures},
            "seconds": round(time.perf_counter() - start, 3),
        }


def _uploads(files: list[gr.FileData]) -> Collection:
    """A collection of files that a caller uploaded."""
    paths = [files_in.uploaded(one) for one in files]
    if any(isinstance(path, bytes) for path in paths):
        raise Refusal("not_uploaded")
    return collections.uploaded([str(path) for path in paths])


# --- handlers ----------------------------------------------------------------------------------------------


def search(question: Question, lang: str, cancel: Cancel) -> Iterator[Any]:
    """The slots of *Try it*: the hits, how they lie beside random files, what could not be indexed."""
    if not (question.query.strip() or question.image_query or question.sound_query or question.like.strip()):
        raise Refusal("search_query")
    where = collection(question)
    yield from collections.prepare(where, space(question.checkpoint), lang, cancel)
    answer = ask(question, where, cancel)
    yield {
        "hits": draw.hits(answer, lang),
        "histogram": draw.histogram(answer, lang),
        "failed": draw.failures(answer.collection.failures, lang),
        "line": answer.line(lang),
        **notes(question, answer, lang),
    }


def notes(question: Question, answer: Answer, lang: str) -> dict[str, Any]:
    """The hints above the answer: words that a miniature never read, files outside of its world."""
    found = answer.found
    more = [*found.notes.sentences(lang), *results.unreadable(found.checkpoint, question.query, lang)]
    words = [term.what for term in answer.terms if isinstance(term.what, str)]
    digests = [inputs.digest(term.what) for term in answer.terms if isinstance(term.what, Image.Image)]
    sounds = {term.what.digest for term in answer.terms if isinstance(term.what, inputs.Sound)}
    digests += sounds - known_sounds()
    foreign = next(iter(digests), "") if answer.collection is collections.sample() else "uploads"
    return results.notes(
        found.checkpoint, lang, digest=foreign, unknown=library.unknown_labels(words), more=more, paper=ROWS
    )


def files(question: Question, lang: str) -> str:
    """Download links of the hits."""
    return files_in.downloads(draw.files(run(question)))


def examples() -> dict[str, dict[str, Any]]:
    """The example questions by id."""
    return {row["name"]: row for row in data()["queries"]}


@cache
def known_sounds() -> frozenset[str]:
    """Digests of the sounds of the example questions: a browser sends them as uploads."""
    return frozenset(
        inputs.sound(library.ASSETS / row["sound"]).digest for row in examples().values() if "sound" in row
    )


def fill(name: str, question: Question, lang: str) -> dict[str, Any]:
    """The fields that an example sets: words in a language of the checkpoint, an image or a sound."""
    row = examples()[name]
    code = label_language(ROWS, question.checkpoint, lang)
    words = row.get("words", {}).get(code, "")
    image, sound = (str(library.ASSETS / row[kind]) if kind in row else None for kind in ("image", "sound"))
    return {"query": words, "image_query": image, "sound_query": sound, "like": "", "page": 1}
