"""Point clouds from outside: meshes sampled by area, upright, centred, of unit radius, finite and bounded.

Formats are told by content: PLY, OFF, OBJ, STL, GLB, PCD, XYZ, NPY (`core.inputs.shapes`). Points come out as PointCLIP's
data has them: y up, the mean at the origin, the farthest point at distance 1.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np

from core.errors import Refusal
from core.inputs import shapes
from core.inputs.shapes import MAX_POINTS, Shape
from core.inputs.texts import beginning

MAX_FILE_BYTES = 64 << 20
SAMPLES = 10_000  # points on a mesh
MAX_COORDINATE = 1e15  # beyond it float64 has no digits left for a shape
AXES: Mapping[str, tuple[int, int, int]] = {"x": (1, 0, 2), "y": (0, 1, 2), "z": (0, 2, 1)}
# The axis that is turned to point up -> where x, y, z come from, and the sign that keeps left and right.
TURNED: Mapping[str, np.ndarray] = {
    "x": np.array([-1, 1, 1]),
    "y": np.array([1, 1, 1]),
    "z": np.array([1, 1, -1]),
}


@dataclass(frozen=True)
class Cloud:
    """Points of one shape: y up, mean at the origin, largest norm 1."""

    points: np.ndarray  # [P, 3] float32
    kind: str  # "ply", ..., or "array"
    up: str  # the file's axis that points up here: "x", "y" or "z"
    centre: np.ndarray  # [3] in the file's own axes and units
    radius: float  # in the file's unit
    vertices: int  # in the file
    faces: int  # in the file, as triangles; 0: the vertices are the points
    names: tuple[str, ...] = ()  # other files that it names; they were not read

    @property
    def digest(self) -> str:
        """A hash of the points, for caches: 32 hexadecimal digits."""
        return blake2b(self.points.tobytes(), digest_size=16).hexdigest()

    def sentences(self, lang: str) -> list[str]:
        """What became of the file, in "en" or "zh", where it is not what one expects."""
        is_chinese, lines = lang == "zh", []
        if self.names:
            named = ", ".join(self.names[:3])
            lines.append(
                f"文件还指向其他文件（{named}），这里不读取；只用形状本身。"
                if is_chinese
                else f"The file names other files ({named}), which are not read: only its own shape is used."
            )
        if not self.faces and self.kind in ("obj", "off", "stl", "glb"):
            lines.append(
                f"这个网格没有面，所以直接用它的 {self.vertices:,} 个顶点作为点。"
                if is_chinese
                else f"This mesh has no faces, so its {self.vertices:,} vertices are used as points."
            )
        return lines


def points(
    source: str | Path | bytes | np.ndarray | None,
    *,
    samples: int = SAMPLES,
    up: str | None = None,
    seed: int = 0,
) -> Cloud:
    """A clean point cloud; a mesh is sampled by area, a cloud keeps its points.

    Args:
        source: a file's path or its bytes; or an array [P, 3] of numbers, y up.
        samples: points on a mesh, 1 to 1,000,000.
        up: the axis that points up in the file, "x", "y" or "z"; None for the habit of its format.
        seed: of the samples.

    Raises:
        Refusal: "no_points", "points_missing", "points_is_address", "points_file_too_large", "not_points",
            "points_broken", "points_too_many", "faces_too_many", "points_not_finite", "points_one_place",
            "points_elsewhere", "points_compressed", "points_scene", "points_shape", "points_no_memory",
            "unknown_axis", "out_of_range".
    """
    if not 1 <= samples <= MAX_POINTS:
        raise Refusal("out_of_range", name="samples", low=1, high=MAX_POINTS, value=str(samples)[:20])
    if up is not None and up not in AXES:
        raise Refusal("unknown_axis", name=str(up)[:20])
    try:
        return _cloud(_read(source), samples, up, seed)
    except MemoryError as error:
        raise Refusal("points_no_memory") from error


def sample(vertices: np.ndarray, faces: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Points spread evenly over the triangles of a mesh, by area.

    Args:
        vertices: [P, 3].
        faces: [triangles, 3].
        count: points to draw.
        seed: of the draw.

    Returns:
        [count, 3]; the vertices themselves where no triangle has an area.
    """
    corners = vertices[faces]  # [triangles, 3, 3]
    sides = corners[:, 1:] - corners[:, :1]
    sums = np.cumsum(np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=-1))
    if not len(sums) or not sums[-1] > 0:
        return vertices
    random = np.random.default_rng(seed)
    chosen = np.searchsorted(sums, random.random(count) * sums[-1], side="right").clip(0, len(sums) - 1)
    along = random.random((count, 2))
    along = np.where(along.sum(1, keepdims=True) > 1, 1 - along, along)  # the triangle's half of the square
    return corners[chosen, 0] + (along[:, :, None] * sides[chosen]).sum(1)


def unit(places: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Points with their mean at the origin and the largest norm 1, as PointCLIP's data has them; centre and radius.

    Raises:
        Refusal: "points_one_place" where there is no extent.
    """
    centre = places.mean(axis=0)
    centred = places - centre
    radius = float(np.linalg.norm(centred, axis=-1).max())
    if not radius > 1e-12 * float(np.abs(centre).max()):
        raise Refusal("points_one_place")
    return centred / radius, centre, radius


def _cloud(shape: Shape, samples: int, up: str | None, seed: int) -> Cloud:
    vertices, faces = shape.vertices, shape.faces
    if not len(vertices):
        raise Refusal("points_one_place")
    if len(vertices) > MAX_POINTS:
        raise Refusal("points_too_many", count=len(vertices), limit=MAX_POINTS)
    if len(faces) > shapes.MAX_FACES:
        raise Refusal("faces_too_many", count=len(faces), limit=shapes.MAX_FACES)
    # A comparison with NaN is false, so this finds NaN, infinities and numbers without digits.
    if not (np.abs(vertices) < MAX_COORDINATE).all():
        wrong = int((~(np.abs(vertices) < MAX_COORDINATE)).any(axis=1).sum())
        raise Refusal("points_not_finite", count=wrong)
    placed, centre, radius = unit(sample(vertices, faces, samples, seed) if len(faces) else vertices)
    axis = up or shapes.UP.get(shape.kind, "y")
    turned = placed[:, AXES[axis]] * TURNED[axis]
    return Cloud(
        points=np.ascontiguousarray(turned, np.float32),
        kind=shape.kind,
        up=axis,
        centre=centre,
        radius=radius,
        vertices=len(vertices),
        faces=len(faces),
        names=shape.names,
    )


# --- reading -----------------------------------------------------------------------------------------------


def _read(source: str | Path | bytes | np.ndarray | None) -> Shape:
    if source is None or (isinstance(source, str | bytes) and not source):
        raise Refusal("no_points")
    if isinstance(source, np.ndarray):
        if source.ndim != 2 or source.shape[1] != 3 or source.dtype.kind not in "fiu":
            raise Refusal("points_shape", shape=" x ".join(map(str, source.shape)))
        return Shape("array", source.astype(np.float64))
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), len(source), "")
    if not isinstance(source, str | Path):
        raise Refusal("not_points")
    if "://" in str(source) or str(source).startswith("data:"):
        raise Refusal("points_is_address")
    path = Path(source)
    try:
        # A device or a pipe is not read: it may never end.
        if not path.is_file():
            raise FileNotFoundError
        with path.open("rb") as file:
            return _decode(file, path.stat().st_size, path.name.lower())
    except (OSError, ValueError) as error:
        raise Refusal("points_missing", name=beginning(path.name)) from error


def _decode(file: BinaryIO, size: int, name: str) -> Shape:
    head = file.read(shapes.HEAD_BYTES)
    try:
        kind = shapes.sniff(head, size, name)
        shapes.check_head(kind, head)  # before the size: a count says more than megabytes
        if size > MAX_FILE_BYTES:
            raise Refusal("points_file_too_large", size=size >> 20, limit=MAX_FILE_BYTES >> 20)
        return shapes.read(kind, head + file.read(MAX_FILE_BYTES))
    except (Refusal, MemoryError):
        raise
    except Exception as error:  # a reader raises anything on a broken file
        raise Refusal("points_broken") from error
