"""Example images of the hub and of its pages: `python -m demos.kit.library lseg vild glip` draws those of some pages.

Images that several pages use lie in assets/examples/clip (scenes of the classroom) and assets/examples/photos, videos in
assets/examples/videos. A page's own are scenes in its data.toml; what is where in them is known exactly and lies beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from core import inputs, terminal
from demos.draw import base as draw
from demos.kit.html import Markup, tag
from demos.kit.language import Text, both

Rows = dict[str, Any]
PAGES = Path(__file__).resolve().parents[1]
ASSETS = PAGES.parent / "assets" / "examples"
LISTING = "examples.json"  # what is where in the scenes of a folder
KEPT = ("code", "en", "zh", "visible_box")


@cache
def data(page: str) -> dict[str, Any]:
    """The data.toml of a page, by the name of its folder."""
    return tomllib.loads((PAGES / page / "data.toml").read_text(encoding="utf-8"))


def entry(page: str, table: str, name: str) -> dict[str, Any]:
    """A row of a table of a page's data.toml; KeyError with a sentence where there is none."""
    rows = data(page).get(table, {})
    if name not in rows:
        raise KeyError(f"demos/{page}/data.toml has no [{table}] {name}")
    return dict(rows[name])


def say(page: str, name: str, lang: str, /, **values: Any) -> str:
    """A sentence of the table `says` of a page's data.toml, with values in its places."""
    return str(entry(page, "says", name)["zh" if lang == "zh" else "en"]).format(**values)


def markup(page: str, name: str, lang: str, /, **values: Any) -> Markup:
    """A sentence of the same table that is HTML: its values are escaped."""
    return Markup(entry(page, "says", name)["zh" if lang == "zh" else "en"]).format(**values)


def line(page: str, name: str, lang: str, /, **values: Any) -> Markup:
    """A sentence of the same table as small print, with values in its places."""
    return tag("p", say(page, name, lang, **values), class_="atlas-line")


def text(page: str, name: str) -> Text:
    """A sentence of the same table in both languages."""
    return Text(**entry(page, "says", name))


def html(page: str, name: str) -> Markup:
    """The same as HTML, which the sentence may contain."""
    return both(**entry(page, "says", name))


def options(page: str, name: str) -> dict[str, Text]:
    """The options of a choice by their values, a row of the table `options`."""
    return {value: Text(**title) for value, title in entry(page, "options", name).items()}


def lessons(page: str) -> dict[str, dict[str, Any]]:
    """The lessons of a page by name."""
    return {row["name"]: row for row in data(page)["lessons"]}


kit = partial(say, "kit")  # a sentence of the kit itself


def words(page: str) -> tuple[partial[Rows], partial[Rows], partial[str], partial[Markup], partial[Text]]:
    """`data`, `examples`, `say`, `markup` and `text` of one page."""
    texts = partial(say, page), partial(markup, page), partial(text, page)
    return partial(data, page), partial(examples, page), *texts


@cache
def shared() -> dict[str, dict[str, Any]]:
    """Images that any page may use, by id: {"path", "caption", "labels", "classroom"}; scenes first, then photos."""
    rows = {}
    for folder, listing in (("clip", LISTING), ("photos", "photos.json")):
        for row in json.loads((ASSETS / folder / listing).read_text(encoding="utf-8")):
            path = ASSETS / folder / row["file"]
            rows[path.stem] = {**row, "path": str(path), "classroom": folder == "clip"}
    return rows


@cache
def videos() -> dict[str, dict[str, Any]]:
    """Videos that any page may use, by id: {"path", "caption", "actions", "answer"}; all are of the real world."""
    rows = json.loads((ASSETS / "videos" / "videos.json").read_text(encoding="utf-8"))
    return {Path(row["file"]).stem: {**row, "path": str(ASSETS / "videos" / row["file"])} for row in rows}


@cache
def clips() -> dict[str, dict[str, Any]]:
    """Drawn clips that any page may use, by id: {"path", "caption", "content", "action", "motion"}; a miniature knows them."""
    rows = json.loads((ASSETS / "clips" / "clips.json").read_text(encoding="utf-8"))
    return {Path(row["file"]).stem: {**row, "path": str(ASSETS / "clips" / row["file"])} for row in rows}


@cache
def clip_digests() -> frozenset[str]:
    """Digests of the drawn clips, by which a copy of one is known as well."""
    return frozenset(inputs.video(row["path"]).digest for row in clips().values())


@cache
def examples(page: str) -> dict[str, dict[str, Any]]:
    """Example images of a page, by id: {"path", "caption", "labels", "classroom", "objects"}.

    Those of the table `examples`, whose words win over those of a shared image; all shared ones, the photos for real weights,
    where the page has no table. "objects" are known of drawn scenes alone. KeyError with a sentence where there is no image.
    """
    if "examples" not in data(page):
        return {name: {"objects": [], **row, "real": not row["classroom"]} for name, row in shared().items()}
    file = ASSETS / page / LISTING
    listing = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    own = {
        Path(row["file"]).stem: {**row, "path": str(ASSETS / page / row["file"]), "classroom": True}
        for row in listing
    }
    known = shared() | own
    for name, row in data(page)["examples"].items():
        if "scene" in row and name not in own:
            raise KeyError(f"{name} is not drawn yet: python -m demos.kit.library {page}")
        if name not in known:
            raise KeyError(f"demos/{page}/data.toml: {name} is no shared image and has no scene")
    return {name: {"objects": [], **known[name], **row} for name, row in data(page)["examples"].items()}


@cache
def classroom_digests(page: str = "") -> frozenset[str]:
    """Digests of the example images, a page's own among them, that a miniature knows how to see."""
    rows = [*shared().values(), *(examples(page).values() if page else ())]
    return frozenset(inputs.digest(inputs.image(row["path"])) for row in rows if row["classroom"])


def known_boxes(labels: Sequence[str], image: Any) -> list[list[list[float]]]:
    """For each label the boxes of the things it names, xyxy pixels, where the image is a drawn one of the shared images."""
    from core.classroom.world.wording import phrase

    digest = inputs.digest(image)
    rows = (row for row in shared().values() if "objects" in row)
    drawn = (row["objects"] for row in rows if inputs.digest(inputs.image(row["path"])) == digest)
    things: list[dict[str, Any]] = next(drawn, [])

    def names(thing: dict[str, Any]) -> set[str]:
        return {thing["en"], phrase(thing["en"], "en"), thing["zh"], phrase(thing["zh"], "zh")}

    return [[thing["box"] for thing in things if label.lower() in names(thing)] for label in labels]


def unknown_labels(labels: Sequence[str], clips: bool = False) -> list[str]:
    """The labels with a word that no miniature has read, for `demos.kit.results.notes`; one trained on clips read motions too."""
    from core.classroom.world import vocabulary

    return vocabulary.unknown(labels, clips)


def write(page: str, out: Path) -> None:
    """Draws a page's own scenes into a folder, with what is where in them."""
    from core.classroom.world import description
    from core.classroom.world.examples import keep

    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, row in data(page)["examples"].items():
        if "scene" not in row:
            continue
        scene = description.draw(description.parse(row["scene"]))
        rows.append(
            {
                "file": keep(scene.picture, out, name).name,
                "caption": {lang: texts[0] for lang, texts in scene.truth["captions"].items()},
                "objects": [{key: thing[key] for key in KEPT} for thing in scene.truth["objects"]],
            }
        )
    (out / LISTING).write_text(draw.to_json(rows) + "\n", encoding="utf-8")


def main() -> None:
    """Draws the example images of pages that are scenes in their data.toml."""
    examples = {
        path.parent.name: data(path.parent.name).get("examples") for path in PAGES.glob("*/data.toml")
    }
    own = sorted(
        page
        for page, rows in examples.items()
        if isinstance(rows, dict) and any("scene" in row for row in rows.values())
    )
    parser = argparse.ArgumentParser(prog="python -m demos.kit.library", description=main.__doc__)
    parser.add_argument("pages", nargs="+", choices=own, metavar="PAGE", help=", ".join(own))
    for page in parser.parse_args().pages:
        write(page, ASSETS / page)


if __name__ == "__main__":
    sys.exit(terminal.run(main))
