"""What is indexed of a file: pieces, each with its place in the file and its vector.

- An image: the whole of it, and squares of half its short side that overlap by half, so that small things, and words, are large
  enough to be seen. CLIFS cuts squares of 360 pixels at steps of 180 and loses the rest of the frame; these reach both ends. Each
  of these views keeps a share of the mean of all: without it a square of another image now and then wins against the whole frame
  that a caption describes.
- A video: one frame a second and one behind each cut, in the same pieces; frames of a shot that look alike are one entry with the
  time that they cover. Its sound too.
- A sound: windows of the length that the row hears, overlapping by half.
- A text: parts that the text encoder reads whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from core import inputs
from core.errors import Refusal

if TYPE_CHECKING:
    from core.search.spaces import Space

Kind = Literal["image", "video", "sound", "text"]
KINDS: tuple[Kind, ...] = ("image", "video", "sound", "text")
Check = Callable[[], object]

CONTEXT = (
    0.3  # of the mean of a frame's views in each of them: measured, from .2 to .5 there is little between
)
PATCHES_ALONG = 8  # squares along the longer side of a frame, at most
LOOKS = 5  # frames a second that are looked at for cuts; every fifth is indexed
CUT = 30.0  # mean difference of grey levels, 0..255, of two frames on both sides of a cut
GLANCE = (32, 18)  # pixels of these frames
LONGEST = 10.0  # seconds that one entry covers at most
FRAMES = 8  # that are encoded together
TEXT_BYTES = 1 << 20
TEXT_PARTS = 64
TEXTS = (".txt", ".md", ".rst", ".text", ".srt", ".vtt", ".csv", ".tsv", ".log", ".tex")
WORD = re.compile(r"\S{1,24}\s*")

# What an opener says of a file of another kind.
OTHERS = {"not_an_image", "not_a_video", "video_sound_only", "not_a_sound", "sound_without_track"}


@dataclass(frozen=True)
class Piece:
    """A part of a file. A box is in shares of the frame: left, top, right, bottom; None is all of it."""

    kind: Kind
    vector: np.ndarray  # [D] float32, norm 1
    start: float = 0.0  # seconds
    end: float = 0.0
    box: tuple[float, float, float, float] | None = None
    shot: int = 0
    size: tuple[int, int] = (0, 0)  # width, height of the frames
    text: str = ""  # that was read
    is_heard: bool = False  # its vector is of the part of the space that hears


def pieces(
    source: Path, space: Space, *, limited: bool = True, check: Check | None = None
) -> Iterator[Piece]:
    """The pieces of a file, told by its content.

    Args:
        source: a file.
        space: what encodes.
        limited: whether the lengths that a page allows hold.
        check: called on the way; may raise.

    Raises:
        Refusal: "search_kind" for a file of no kind that is searched; what reading it refuses.
    """
    size = source.stat().st_size
    if not size:
        raise Refusal("search_empty")
    most: dict[str, Any] = {} if limited else {"max_bytes": None, "max_seconds": None}
    try:
        picture = inputs.image(source, max_side=max(512, 4 * space.side))
    except Refusal as refusal:
        if refusal.code not in OTHERS:
            raise
    else:
        yield from of_image(picture, space)
        return
    try:
        video = inputs.video(source, **most)
    except Refusal as refusal:
        if refusal.code not in OTHERS:
            raise
    else:
        yield from of_video(video, space, check)
        yield from of_track(source, space, check, most)
        return
    try:
        sound = inputs.sound(source, check=check, **most)
    except Refusal as refusal:
        if refusal.code not in OTHERS:
            raise
    else:
        if space.hearing is None:
            raise Refusal("search_deaf", checkpoint=space.settings["sounds"])
        yield from of_sound(sound, "sound", space, check)
        return
    if source.suffix.lower() not in TEXTS:
        raise Refusal("search_kind")
    yield from of_text(source, space)


def squares(width: int, height: int) -> list[tuple[float, float, float, float]]:
    """The squares of half the short side, row by row, in shares of the frame."""
    side = min(width, height) / 2

    def places(length: int) -> np.ndarray:
        count = min(PATCHES_ALONG, 1 + int(np.ceil((length - side) / (side / 2) - 1e-6)))
        return np.linspace(0, length - side, count)

    return [
        (left / width, top / height, (left + side) / width, (top + side) / height)
        for top in places(height)
        for left in places(width)
    ]


def views(image: Image.Image) -> tuple[list[tuple[float, float, float, float] | None], list[Image.Image]]:
    """The whole of a frame and its squares: their boxes and pixels."""
    boxes = squares(*image.size)
    sides = np.array([*image.size, *image.size])
    crops = [image.crop(tuple(np.rint(np.array(box) * sides).astype(int).tolist())) for box in boxes]
    return [None, *boxes], [image, *crops]


def in_context(vectors: np.ndarray) -> np.ndarray:
    """The views of a frame [V, D], each with a share of their mean; norm 1."""
    mixed: np.ndarray = vectors + CONTEXT * vectors.mean(0)
    return mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-9)


def of_image(image: Image.Image, space: Space) -> Iterator[Piece]:
    """The pieces of an image; the first one is the whole of it."""
    boxes, crops = views(image)
    size = inputs.size_of(image)
    for box, vector in zip(boxes, in_context(space.images(crops)), strict=True):
        yield Piece("image", vector, box=box, size=size)


def of_video(video: inputs.Video, space: Space, check: Check | None = None) -> Iterator[Piece]:
    """The pieces of a video's frames."""
    kept: list[Piece] = []  # the entry that later frames may lengthen
    whole = np.zeros(0)
    for batch in _batches(choose_frames(video, space.side, check)):
        seen = [views(image) for _, _, image in batch]
        vectors = iter(space.images([crop for _, crops in seen for crop in crops]))
        for (time, shot, _), (boxes, _) in zip(batch, seen, strict=True):
            found = in_context(np.stack([next(vectors) for _ in boxes]))
            end = min(video.duration, time + 1)
            alike = bool(kept) and kept[0].shot == shot and float(found[0] @ whole) >= space.settings["same"]
            if alike and end - kept[0].start <= LONGEST:
                kept = [_until(piece, end) for piece in kept]
                continue
            # An entry ends where the next one begins, be it a second later or at a cut.
            yield from (_until(piece, min(piece.end, time)) for piece in kept)
            whole = found[0]
            kept = [
                Piece("video", vector, time, end, box, shot, video.size)
                for box, vector in zip(boxes, found, strict=True)
            ]
    yield from kept


def _until(piece: Piece, end: float) -> Piece:
    return replace(piece, end=end)


def choose_frames(
    video: inputs.Video, side: int, check: Check | None = None
) -> Iterator[tuple[float, int, Image.Image]]:
    """The frames of a video that are indexed: their time, their shot, their pixels; one pass, one frame at a time.

    One a second, counted in seconds and not in frames, whatever the rate; and one behind each cut.
    """
    times = video.every(1 / LOOKS)
    before: np.ndarray | None = None
    shot, wanted = 0, set()
    last = -1.0
    for at, frame in enumerate(video.at(times, side=2 * side, check=check)):
        image = Image.fromarray(frame.pixels)
        glance = np.asarray(image.convert("L").resize(GLANCE, Image.Resampling.BOX), np.float32)
        if before is not None and float(np.abs(glance - before).mean()) > CUT:
            shot += 1
            wanted.add(min(at + 1, len(times) - 1))  # the first frame behind a cut is often a mixture
        before = glance
        if (at % LOOKS == 0 or at in wanted) and frame.time > last:
            last = frame.time
            yield frame.time, shot, image


def _batches(
    frames: Iterator[tuple[float, int, Image.Image]],
) -> Iterator[list[tuple[float, int, Image.Image]]]:
    batch = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == FRAMES:
            yield batch
            batch = []
    if batch:
        yield batch


def of_track(source: Path, space: Space, check: Check | None, most: dict[str, Any]) -> Iterator[Piece]:
    """The pieces of a video's sound; none where it has none that can be heard."""
    if space.hearing is None:
        return
    try:
        sound = inputs.sound(source, check=check, **most)
    except Refusal as refusal:
        if refusal.code.startswith(("sound_", "not_a_sound")):
            return
        raise
    yield from of_sound(sound, "video", space, check)


def of_sound(sound: inputs.Sound, kind: Kind, space: Space, check: Check | None = None) -> Iterator[Piece]:
    """The pieces of a sound."""
    starts, vectors, seconds = space.sounds(sound, check)
    for start, vector in zip(starts, vectors, strict=True):
        yield Piece(kind, vector, start, min(sound.duration, start + seconds), is_heard=True)


def of_text(source: Path, space: Space) -> Iterator[Piece]:
    """The pieces of a text file."""
    data = source.read_bytes()[: TEXT_BYTES + 4]
    if b"\0" in data:
        raise Refusal("search_kind")
    parts = list(windows(data[:TEXT_BYTES].decode("utf-8-sig", "replace"), space))
    if not parts:
        raise Refusal("search_empty")
    for at, (part, vector) in enumerate(zip(parts, space.texts(parts), strict=True)):
        yield Piece("text", vector, shot=at, text=part)


def windows(text: str, space: Space) -> list[str]:
    """Parts of a text that the encoder reads whole, at most so many; a part ends with a line where one is long enough."""
    parts: list[str] = []
    held = ""
    for paragraph in re.split(r"\n\s*\n", text):
        for word in WORD.findall(paragraph):
            if held and space.tokenize.is_cut(inputs.clean(held + word)):
                parts.append(inputs.clean(held))
                held = ""
            held += word
        if inputs.clean(held):
            parts.append(inputs.clean(held))
        held = ""
        if len(parts) >= TEXT_PARTS:
            break
    return parts[:TEXT_PARTS]
