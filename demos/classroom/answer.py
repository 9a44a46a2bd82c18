"""What the Classroom page does: scenes from its controls, data sets with progress, and the named endpoints.

The controls of one object are, in this order, `OBJECT`; a handler gets those of all four slots, then the scene's own.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from core import inputs
from core.checkpoints import human
from core.errors import Refusal
from core.runtime import Cancel
from demos.draw import base as draw
from demos.draw import scene as draw_scene
from demos.kit import library, scenes_link
from demos.kit.events import api_errors, refusal_html
from demos.kit.examples import chosen as strip_choice
from demos.kit.files import downloads
from demos.kit.html import Markup, tag
from demos.kit.jobs import Progress
from demos.kit.language import Text

if TYPE_CHECKING:
    from core.classroom import Placed
    from core.classroom.world.description import Description

ASSETS = library.ASSETS / "classroom"
say = partial(library.say, "classroom")
OPENING = "dog_left_of_car"
SLOTS = 4
OBJECT = ("concept", "x", "y", "half", "depth", "angle", "flip", "pose", "style")
EMPTY = ["", *[gr.skip()] * (len(OBJECT) - 1)]  # what the controls of an empty slot show
SCENE = ("arrangement", "background", "rendering", "seed")
PLACES = ("x", "y", "half", "depth")
UNPLACED = (0.0, 0.0, 0.44, 0.6)  # what the sliders of a slot say before anything stood there
VIEWS = 5  # outputs behind the controls: image, line, downloads, links, the scene's text
CONTROLS = SLOTS * len(OBJECT) + len(SCENE)
MOST_SCENES = 200
SURPRISES = 1_000_000

Answer = tuple[Any, ...]
_world = threading.Event()  # set once the drawings are in memory


@cache
def choices() -> dict[str, dict[str, Text]]:
    """The page's choices in both languages, by list and value."""
    tables = library.data("classroom").items()
    return {name: {value: Text(**both) for value, both in table.items()} for name, table in tables}


@cache
def examples() -> dict[str, dict[str, Any]]:
    """The one-click scenes by id: {"path", "scene", "caption", "truth"}."""
    rows = json.loads((ASSETS / "examples.json").read_text(encoding="utf-8"))
    return {Path(row["file"]).stem: {**row, "path": str(ASSETS / row["file"])} for row in rows}


# --- a scene from the controls -------------------------------------------------------------------------------


def described(values: Sequence[Any]) -> Description:
    """The scene that the controls describe; empty slots are passed over."""
    from core.classroom.world import description

    scene = dict(zip(SCENE, values[SLOTS * len(OBJECT) :], strict=True))
    slots = [dict(zip(OBJECT, part, strict=True)) for part in _slots(values) if part[0]]
    given = [
        {**slot, "style": slot["style"] or None, "angle": slot["angle"] or 0.0, "flip": bool(slot["flip"])}
        for slot in slots
    ]
    arrangement = scene["arrangement"]
    if arrangement != "free":
        given = [{name: value for name, value in slot.items() if name not in PLACES} for slot in given]
    objects = description.objects_of(given, "left" if arrangement == "free" else arrangement)
    if arrangement == "free":
        objects = with_places(objects)
    return description.check(
        description.Description(objects, scene["background"], scene["rendering"], whole(scene["seed"]))
    )


def with_places(objects: Sequence[Placed]) -> tuple[Placed, ...]:
    """The objects, each that never had a place of its own beside the others now."""
    from core.classroom.world import description

    placed = list(objects)
    for at, one in enumerate(objects):
        if len(objects) > 1 and (one.x, one.y, one.half, one.depth) == UNPLACED:
            x, y, half, depth = description.spot([other for other in placed if other is not one])
            placed[at] = replace(one, x=x, y=y, half=half, depth=depth)
    return tuple(placed)


def _slots(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[at * len(OBJECT) : (at + 1) * len(OBJECT)] for at in range(SLOTS))


def whole(value: Any) -> int:
    """A whole number from a number box, 0 where it is empty; anything else is refused."""
    try:
        return int(0 if value is None else value)
    except (TypeError, ValueError, OverflowError):
        raise Refusal("bad_scene", what=str(value)[:40]) from None


def controls(scene: Description, filled: Sequence[int], arrangement: str) -> list[Any]:
    """What the controls have to show for a scene: its objects in these slots, the others empty."""
    shown: list[Any] = []
    placed = dict(zip(filled, scene.objects, strict=True))
    for slot in range(SLOTS):
        shown += _object(placed[slot]) if slot in placed else EMPTY
    return [*shown, arrangement, scene.background, scene.rendering, scene.seed]


def _object(placed: Placed) -> list[Any]:
    from core.classroom.world.concepts import concepts

    code = concepts()[placed.concept].code
    places = [placed.x, placed.y, placed.half, placed.depth]
    return [code, *places, placed.angle, placed.flip, placed.pose, placed.style or ""]


def views(image: np.ndarray, known: dict[str, Any], lang: str, line: str) -> Answer:
    """Everything that is shown of a scene: the outputs behind the controls."""
    files = [
        ("scene.png", "image/png", draw.png(image)),
        ("scene.json", "application/json", draw.to_json(known).encode()),
        ("scene.csv", "text/csv", draw_scene.to_csv(known).encode("utf-8-sig")),
    ]
    return (
        draw_scene.stage(image, known, lang),
        line,
        downloads(files),
        scenes_link.links(known["scene"], lang),
        known["scene"],
    )


def _draw(scene: Description, lang: str) -> Answer:
    from core.classroom.world import description

    start = time.perf_counter()
    drawn = description.draw(scene)
    seconds = time.perf_counter() - start
    size = drawn.truth["size"]
    line = tag("p", say("scene", lang, seconds=seconds, size=size), class_="atlas-line")
    return views(drawn.picture, drawn.truth, lang, line)


def _waiting(lang: str) -> Iterator[Answer]:
    """Says that the drawings are being opened, which takes seconds once; nothing when they are in memory."""
    if not _world.is_set():
        line = tag("p", say("waiting", lang), class_="atlas-line", role="status")
        yield (*[gr.skip()] * (CONTROLS + 1), line, *[gr.skip()] * (VIEWS - 2))
    from core.classroom import open_atlas

    open_atlas()
    _world.set()


def compose(*values: Any) -> Generator[Answer, None, None]:
    """The scene of the controls: `compose(*controls, lang)`."""
    lang = values[-1]
    yield from _waiting(lang)
    scene = described(values[:-1])
    filled = [at for at, slot in enumerate(_slots(values)) if slot[0]]
    arrangement = values[SLOTS * len(OBJECT)]
    yield (*controls(scene, filled, arrangement), *_draw(scene, lang))


def move(*values: Any) -> Generator[Answer, None, None]:
    """The same after a slider of place, size or distance: from then on the objects stand freely."""
    at = SLOTS * len(OBJECT)
    yield from compose(*values[:at], "free", *values[at + 1 :])


def show(text: str, lang: str) -> Generator[Answer, None, None]:
    """A scene by its text, put into the controls."""
    from core.classroom.world import description

    yield from _waiting(lang)
    scene = description.parse(text)
    arrangement = description.arranged(scene.objects) or "free"
    yield (*controls(scene, range(len(scene.objects)), arrangement), *_draw(scene, lang))


def choose(value: str, lang: str) -> Generator[Answer, None, None]:
    """What a click on the strip of examples shows."""
    name = strip_choice(value, examples())
    if name:
        yield from show(examples()[name]["scene"], lang)


def surprise(lang: str) -> Generator[Answer, None, None]:
    """A scene of the world from a new seed."""
    yield from show(str(random.randrange(SURPRISES)), lang)


def of_seed(seed: Any, lang: str) -> Generator[Answer, None, None]:
    """The scene of the world that belongs to a seed."""
    yield from show(str(whole(seed)), lang)


def opened(lang: str, query: dict[str, str]) -> Answer:
    """A page's first state: the scene that its address asks for, else the recorded example, saying why."""
    refused = Markup()
    if query.get(scenes_link.PARAMETER):
        try:
            *_, answer = show(query[scenes_link.PARAMETER], lang)
            return answer
        except Refusal as refusal:
            refused = Markup(refusal_html(refusal, lang))
    row = examples()[OPENING]
    image = np.asarray(Image.open(row["path"]).convert("RGB"))
    line = refused + tag("p", say("recorded", lang), class_="atlas-line")
    shown = views(image, row["truth"], lang, line)
    return (*recorded_controls(row["truth"]), *shown)


def recorded_controls(known: dict[str, Any]) -> list[Any]:
    """The controls of a recorded scene, without opening the world."""
    shown: list[Any] = []
    for placed in known["placed"]:
        shown += [placed[name] if name != "style" else placed[name] or "" for name in OBJECT]
    for _ in range(len(known["placed"]), SLOTS):
        shown += EMPTY
    return [*shown, known["arrangement"] or "free", known["background"], known["rendering"], known["seed"]]


# --- data sets -----------------------------------------------------------------------------------------------


def dataset(
    scenes: float, seed: Any, size: int, kind: str, look: str, plain: bool, lang: str, cancel: Cancel
) -> Iterator[Any]:
    """The job of a data set: progress, then the note and the file.

    Raises:
        Refusal: "cancelled" once `cancel` is set; what was written is removed.
    """
    total = few(scenes, size)
    yield Progress(0.0, say("opening", lang))
    start = time.monotonic()
    for done, path in packed(total, whole(seed), int(size), kind, look, 0.0 if plain else 0.5):
        cancel.check()
        file = path
        left = round((time.monotonic() - start) * (total - done) / max(done, 1))
        yield Progress(done / total, say("progress", lang, done=done, total=total, left=left))
    weight = human(file.stat().st_size)
    note = say("made", lang, total=total, seed=whole(seed), weight=weight)
    label = say("download", lang, weight=weight)
    yield {
        "line": tag("p", note, class_="atlas-line", role="status"),
        "file": gr.update(value=str(file), label=label, visible=True),
    }


def few(scenes: Any, size: Any) -> int:
    """The number of scenes, if the page makes as many; the command line makes more."""
    total = whole(scenes)
    if not 2 <= total <= MOST_SCENES:
        bounds = {"low": 2, "high": MOST_SCENES, "smallest": 48, "largest": 512}
        raise Refusal("dataset_size", **bounds, count=total, size=whole(size))
    return total


def packed(
    scenes: int, seed: int, size: int, kind: str, look: str, augment: float
) -> Generator[tuple[int, Path], None, None]:
    """Writes a data set's archive and yields how far it is; an unfinished one is removed."""
    from core.classroom.world import dataset

    settings = dataset.DatasetSettings(scenes, seed, size, kind, look, augment)
    Path(get_upload_folder()).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=get_upload_folder(), prefix="dataset-"))
    file, complete = folder / f"classroom-{scenes}-seed{seed}.zip", False
    try:
        for done in dataset.write(file, settings):
            yield done, file
        complete = True
    finally:
        if not complete:
            shutil.rmtree(folder, ignore_errors=True)


# --- endpoints -----------------------------------------------------------------------------------------------


def file_data(path: str | Path) -> dict[str, Any]:
    """A file of this server as callers download it."""
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def classroom_compose(
    objects: list[str | dict[str, Any]] | str | None = None,
    arrangement: str = "left",
    background: str = "white",
    rendering: str = "colour",
    seed: int = 0,
    size: int = 384,
    scene: str | None = None,
) -> dict[str, Any]:
    """Draw a scene of the classroom and tell everything that is known about it.

    Args:
        objects: 1 to 4 names in English or Chinese ("dog", "红包"), in a list or one text with commas; or objects
            {"concept", "x", "y", "half", "depth", "angle", "flip", "pose", "style"}: places from -1 to 1, depth from 0
            (near) to 1.
        arrangement: where objects without a place stand: left, right, above, below, front, behind, corners.
        background: white, red, grass, sky, striped ...
        rendering: colour, grey, silhouette, line, sketch or depth.
        seed: chooses drawing styles and free colours; -1 stands for any.
        size: pixels of a side, 48 to 768.
        scene: a scene's text from a link, or a number for a surprise; it stands in place of all but the size.

    Returns:
        {"scene", "captions": {"en", "zh"}, "swapped", "objects": [{"en", "zh", "box", "visible_box", "mask",
        "visible_mask", "depth", ...}], "picture": a PNG file, ...}; boxes are xyxy pixels, masks COCO run lengths.
    """
    with api_errors():
        from core.classroom.world import description

        if scene is not None:
            wanted = description.parse(scene)
        else:
            words = (
                list(filter(str.strip, inputs.SEPARATORS.split(objects)))
                if isinstance(objects, str)
                else objects
            )
            found = description.objects_of([] if words is None else words, arrangement)
            chosen = inputs.seed(whole(seed))
            wanted = description.check(description.Description(found, background, rendering, chosen))
        drawn = description.draw(wanted, whole(size))
        _world.set()
        path = save_bytes_to_cache(draw.png(drawn.picture), "scene.png", get_upload_folder())
        return {**drawn.truth, "picture": file_data(path)}


def classroom_dataset(
    scenes: int = 50,
    seed: int = 0,
    size: int = 224,
    kind: str = "mixed",
    look: str = "mixed",
    augment: float = 0.5,
) -> Generator[dict[str, Any], None, None]:
    """Make a data set of scenes or clips: files, COCO instances and captions in both languages, split in train and val.

    Args:
        scenes: 2 to 200; the command line makes more.
        seed: the same seed gives the same file; -1 stands for any, and the file's name says which was taken.
        size: pixels of a side, 48 to 512.
        kind: mixed, single, pair, flock, group, or clip for MP4 files in which one thing moves.
        look: mixed, colour, grey, silhouette, line, sketch or depth.
        augment: 0 for plain drawings to 1 as in training.

    Returns:
        {"done", "scenes", "archive"} again and again; "archive" is the zip file once all scenes are done.
    """
    with api_errors():
        total = few(scenes, size)
        for done, file in packed(total, inputs.seed(whole(seed)), whole(size), kind, look, augment):
            last = file
            if done < total:
                yield {"done": done, "scenes": total, "archive": None}
        yield {"done": total, "scenes": total, "archive": file_data(last)}
