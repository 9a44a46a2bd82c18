"""Scenes that travel between pages: `?scene=TEXT` in the address of any page that takes an image.

A page's opening handler asks `opened(query, lang)`; the text's format is core.classroom.world.description's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from core import inputs
from demos import catalog
from demos.draw import base as draw
from demos.kit.html import escape
from demos.kit.language import both_of, pick

PARAMETER = "scene"
ELSEWHERE = {"en": ("a house", "an airplane"), "zh": ("房子", "飞机")}
REMEMBERED = 512

# Digests of images drawn here: a page need not call them photographs from outside the classroom.
_drawn: OrderedDict[str, None] = OrderedDict()


@dataclass(frozen=True)
class SceneOpened:
    """What a page opens with: the path of the image, the scene's caption, labels worth asking, the things in it."""

    path: str
    caption: str
    labels: str
    names: tuple[str, ...]


def labels(opened: SceneOpened, question: Any, lang: str) -> dict[str, Any]:
    """The labels of a page that asks for those worth asking of a scene (`demos.kit.page.Examples`)."""
    return {"labels": opened.labels}


def opened(query: Mapping[str, str], lang: str) -> SceneOpened | None:
    """The scene that an address carries, drawn; None where it carries none.

    Raises:
        Refusal: "bad_scene", "unknown_concept" or "scene_size" for what is no scene.
    """
    text = query.get(PARAMETER, "")
    if not text:
        return None
    data, caption, labels, names = _draw(text, lang)
    path = save_bytes_to_cache(data, "scene.png", get_upload_folder())
    return SceneOpened(path, caption, labels, names)


@lru_cache(maxsize=32)
def _draw(text: str, lang: str) -> tuple[bytes, str, str, tuple[str, ...]]:
    """PNG, caption, labels and names of a scene."""
    from core.classroom.world import description

    drawn = description.draw(description.parse(text))
    data = draw.png(drawn.picture)
    _drawn[inputs.digest(inputs.image(data))] = None
    while len(_drawn) > REMEMBERED:
        _drawn.popitem(last=False)
    known = drawn.truth
    caption = known["captions"][lang][0]
    names = list(dict.fromkeys(thing[lang] for thing in known["objects"]))
    false = [known["swapped"][lang]] if known["swapped"] else []
    # A caption that lists things would be read as several labels.
    labels = [label for label in (caption, *false) if not inputs.SEPARATORS.search(label)]
    return data, caption, ", ".join(dict.fromkeys([*labels, *names, *ELSEWHERE[lang]])), tuple(names)


def is_drawn(digest: str) -> bool:
    """Whether an image of this digest (`core.inputs.digest`) was drawn here lately."""
    return digest in _drawn


def links(scene: str, lang: str) -> str:
    """Links that open a scene on every page that takes one."""
    chips = "".join(
        f'<a class="atlas-chip" href="{row.slug}?{PARAMETER}={quote(scene)}">{both_of(row.title)} →</a>'
        for row in catalog.PAGES
        if row.ready and row.scene
    )
    title = escape(pick(lang, "Open this scene in", "在其他页面打开这个场景"))
    return f'<p class="atlas-downloads">{title} {chips}</p>'
