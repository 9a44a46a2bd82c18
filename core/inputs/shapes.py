"""Files of meshes and point clouds: told by their content, checked before they are decoded, read without what they name.

Meshes go through trimesh; PCD, which it does not know, XYZ and NPY are read here. A file is only ever bytes: nothing that
it names, a texture, a material or another file, is looked for.
"""

from __future__ import annotations

import base64
import io
import json
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import Refusal
from core.inputs.texts import beginning

MAX_POINTS = 1_000_000  # points of a cloud, and vertices of a mesh
MAX_FACES = 2_000_000
HEAD_BYTES = 1 << 16  # what is read to tell a format and its counts
# The axis that points up where nobody says so: glTF fixes it, the others are habits.
UP = {"glb": "y", "obj": "y", "ply": "y", "npy": "y", "off": "z", "stl": "z", "pcd": "z", "xyz": "z"}
# Lines of an OBJ that name another file; what it says of textures and normals, and where faces use that.
OBJ_FILES = re.compile(
    rb"^[ \t]*(?:mtllib|call|csh|maplib|usemap|shadow_obj|trace_obj)[ \t]+([^\r\n]+)", re.M
)
OBJ_SURFACES = re.compile(rb"^[ \t]*(?:v[tnp]|usemtl)[ \t][^\r\n]*|(?<=[0-9])/[^\s]*", re.M)
GLB_JSON, GLB_BINARY = 0x4E4F534A, 0x004E4942
KEPT_OF_NODE = ("children", "mesh", "matrix", "translation", "rotation", "scale")
COMPRESSED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
STL_HEAD, STL_FACET = 84, 50  # bytes
PCD_TYPES = {"F": "f", "I": "i", "U": "u"}
NUMBER = re.compile(rb"^[\s,;]*[-+]?(?:\d|\.\d|nan|inf)", re.I)


@dataclass(frozen=True)
class Shape:
    """What a file holds: vertices, triangles between them, and what it names besides."""

    kind: str  # a key of `UP`
    vertices: np.ndarray  # [P, 3] float64
    faces: np.ndarray = field(default_factory=lambda: np.empty((0, 3), np.int64))  # [triangles, 3]
    names: tuple[str, ...] = ()  # other files that it names and that are not read


def sniff(head: bytes, size: int, name: str = "") -> str:
    """The format that a file's first bytes announce, a key of `UP`; the name only tells two kinds of text apart.

    Raises:
        Refusal: "points_elsewhere" for glTF in JSON, "not_points" for anything unknown.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"glTF"):
        return "glb"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if text.startswith((b"ply\n", b"ply\r")):
        return "ply"
    if re.match(rb"(?:ST)?C?N?4?n?OFF\b", text):
        return "off"
    if text.startswith(b"# .PCD") or re.match(rb"(?:#[^\n]*\n|\s)*VERSION\s+\.?\d", text):
        return "pcd"
    is_binary_stl = len(head) >= STL_HEAD and size == STL_HEAD + STL_FACET * _uint(head, 80)
    if is_binary_stl or (text.startswith(b"solid") and b"\0" not in head):
        return "stl"
    if text.startswith(b"{") and b'"asset"' in head:
        raise Refusal("points_elsewhere", name=".bin")
    if b"\0" not in head:
        lines = [
            line.strip() for line in text.splitlines()[:400] if not line.lstrip().startswith((b"#", b"//"))
        ]
        if any(re.match(rb"v\s+[-+.\d]", line) for line in lines) or (name.endswith(".obj") and lines):
            return "obj"
        if any(NUMBER.match(line) for line in lines[:3]):
            return "xyz"
    raise Refusal("not_points")


def check_head(kind: str, head: bytes) -> None:
    """Refuses a file whose head declares more points or faces than are read here, before the rest is loaded."""
    if kind == "ply":
        for name, count in re.findall(rb"element\s+(\w+)\s+(\d+)", head.split(b"end_header")[0]):
            _check_count(int(count), is_faces=name != b"vertex")
    elif kind == "pcd":
        fields = _pcd_header(head)[0]
        _check_count(_pcd_count(fields))
    elif kind == "stl" and head[:5] != b"solid":
        _check_count(_uint(head, 80), is_faces=True)
    elif kind == "npy":
        _check_count((_npy_shape(head) or (0,))[0])
    elif kind == "off":
        counts = re.search(rb"(\d+)\s+(\d+)\s+(\d+)", re.sub(rb"#[^\n]*", b"", head))
        if counts:
            _check_count(int(counts[1]))
            _check_count(int(counts[2]), is_faces=True)


def read(kind: str, data: bytes) -> Shape:
    """The shape in a whole file of a known kind.

    Raises:
        Refusal: "points_too_many", "points_elsewhere", "points_compressed".
        Exception: whatever a reader raises on a broken file.
    """
    readers: dict[str, Callable[[bytes], Shape]] = {
        "glb": read_glb,
        "npy": read_npy,
        "obj": read_obj,
        "pcd": read_pcd,
        "xyz": read_xyz,
    }
    return readers[kind](data) if kind in readers else _trimesh(kind, data)


def _uint(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _check_count(count: int, is_faces: bool = False) -> None:
    if is_faces and count > MAX_FACES:
        raise Refusal("faces_too_many", count=count, limit=MAX_FACES)
    if not is_faces and count > MAX_POINTS:
        raise Refusal("points_too_many", count=count, limit=MAX_POINTS)


# --- meshes, through trimesh -------------------------------------------------------------------------------


def _trimesh(kind: str, data: bytes, names: tuple[str, ...] = ()) -> Shape:
    """A mesh or cloud as trimesh reads it from bytes: there is no folder in which it could look for other files."""
    import trimesh

    loaded: Any = trimesh.load(
        io.BytesIO(data),
        file_type=kind,
        resolver=None,
        process=False,
        maintain_order=True,
        skip_materials=True,
    )
    parts = list(_parts(loaded))
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in parts)])
    vertices = [vertices for vertices, _ in parts] or [np.empty((0, 3))]
    faces = [faces + start for (_, faces), start in zip(parts, starts, strict=False)] or [
        np.empty((0, 3), np.int64)
    ]
    return Shape(kind, np.concatenate(vertices), np.concatenate(faces), names)


def _parts(loaded: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Vertices and faces of what trimesh made, each part of a scene at its place."""
    if not hasattr(loaded, "graph"):
        yield _arrays(loaded)
        return
    for node in loaded.graph.nodes_geometry:
        matrix, name = loaded.graph[node]
        vertices, faces = _arrays(loaded.geometry[name])
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused later
            yield vertices @ matrix[:3, :3].T + matrix[:3, 3], faces


def _arrays(part: Any) -> tuple[np.ndarray, np.ndarray]:
    vertices = np.asarray(part.vertices, np.float64).reshape(-1, 3)
    faces = getattr(part, "faces", None)
    triangles = np.empty((0, 3), np.int64) if faces is None else np.asarray(faces, np.int64).reshape(-1, 3)
    if len(triangles) and not 0 <= triangles.min() <= triangles.max() < len(vertices):
        raise ValueError("a face names a vertex that is not there")
    return vertices, triangles


def read_obj(data: bytes) -> Shape:
    """Wavefront OBJ; the files that it names are listed, not read."""
    found = OBJ_FILES.findall(data)
    names = tuple(dict.fromkeys(beginning(name.decode("utf-8", "replace").strip()) for name in found))
    _check_count(len(re.findall(rb"^[ \t]*v[ \t]", data, re.M)))
    faces = len(re.findall(rb"^[ \t]*f[ \t]", data, re.M))
    _check_count(faces, is_faces=True)
    if not faces:  # trimesh reads vertices only where faces use them
        rows = re.findall(rb"^[ \t]*v[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)", data, re.M)
        return Shape("obj", np.array(rows, dtype=np.bytes_).astype(np.float64).reshape(-1, 3), names=names)
    return _trimesh("obj", OBJ_SURFACES.sub(b"", OBJ_FILES.sub(b"", data)), names)


def read_glb(data: bytes) -> Shape:
    """Binary glTF 2.0, cut down to its triangles before trimesh sees it.

    Images, materials, animations and extensions are taken out. Counts are those of the file times how often its scene
    places each mesh; a scene whose nodes are no tree is refused, since a few nodes could place a mesh a billion times.
    """
    tree, binary = _glb_chunks(data)
    if any(name in COMPRESSED for name in tree.get("extensionsRequired", ())):
        raise Refusal("points_compressed")
    buffers = []
    for i, buffer in enumerate(tree.get("buffers", ())):
        address = buffer.get("uri")
        if address is None:
            content = binary if i == 0 else b""
        elif address.startswith("data:"):
            content = base64.b64decode(address.partition(",")[2])
        else:
            raise Refusal("points_elsewhere", name=beginning(address))
        buffers.append(content)
    accessors, views = tree.get("accessors", ()), tree.get("bufferViews", ())
    for accessor in accessors:
        _check_accessor(accessor, views, buffers)
    meshes = [
        {"primitives": [_primitive(part) for part in mesh["primitives"]]} for mesh in tree.get("meshes", ())
    ]
    nodes = [{key: node[key] for key in KEPT_OF_NODE if key in node} for node in tree.get("nodes", ())]
    roots = _roots(nodes)
    points = [
        sum(accessors[part["attributes"]["POSITION"]]["count"] for part in mesh["primitives"])
        for mesh in meshes
    ]
    faces = [
        sum(
            accessors[part.get("indices", part["attributes"]["POSITION"])]["count"]
            for part in mesh["primitives"]
        )
        for mesh in meshes
    ]
    placed = [node["mesh"] for node in nodes if "mesh" in node]
    _check_count(sum(points[mesh] for mesh in placed))
    _check_count(sum(faces[mesh] for mesh in placed) // 3, is_faces=True)
    joined, starts = b"", []
    for content in buffers:  # all in one, which trimesh takes from the file itself
        starts.append(len(joined))
        joined += content + b"\0" * (-len(content) % 4)
    kept = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": roots}],
        "nodes": nodes,
        "meshes": meshes,
        "accessors": [
            {
                key: accessor[key]
                for key in ("bufferView", "byteOffset", "componentType", "count", "type")
                if key in accessor
            }
            for accessor in accessors
        ],
        "bufferViews": [
            {
                "buffer": 0,
                "byteLength": view["byteLength"],
                "byteOffset": view.get("byteOffset", 0) + starts[view["buffer"]],
                **({"byteStride": view["byteStride"]} if "byteStride" in view else {}),
            }
            for view in views
        ],
        "buffers": [{"byteLength": len(joined)}],
    }
    text = json.dumps(kept).encode()
    text += b" " * (-len(text) % 4)
    body = (
        struct.pack("<II", len(text), GLB_JSON) + text + struct.pack("<II", len(joined), GLB_BINARY) + joined
    )
    return _trimesh("glb", b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body)


def _glb_chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary part of a GLB."""
    chunks: dict[int, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        length, kind = struct.unpack_from("<II", data, at)
        if at + 8 + length > len(data):
            raise ValueError("a chunk is longer than the file")
        chunks.setdefault(kind, data[at + 8 : at + 8 + length])
        at += 8 + length
    return json.loads(chunks[GLB_JSON]), chunks.get(GLB_BINARY, b"")


def _primitive(part: dict[str, Any]) -> dict[str, Any]:
    """A primitive with nothing but its places and triangles."""
    kept = {"attributes": {"POSITION": part["attributes"]["POSITION"]}, "mode": part.get("mode", 4)}
    return {**kept, "indices": part["indices"]} if "indices" in part else kept


def _check_accessor(accessor: dict[str, Any], views: Any, buffers: list[bytes]) -> None:
    """Refuses an accessor that declares more numbers than the file holds."""
    if "sparse" in accessor or "bufferView" not in accessor:
        raise Refusal("points_compressed")
    view = views[accessor["bufferView"]]
    end = view.get("byteOffset", 0) + view["byteLength"]
    if min(view.get("byteOffset", 0), view["byteLength"], accessor["count"]) < 0 or end > len(
        buffers[view["buffer"]]
    ):
        raise ValueError("a view is longer than its buffer")
    if accessor["count"] > view["byteLength"]:
        raise ValueError("an accessor is longer than its view")


def _roots(nodes: list[dict[str, Any]]) -> list[int]:
    """The nodes without a parent. Refuses nodes of which one has two parents or is below itself (glTF 2.0, section 3.5.2)."""
    parents: dict[int, int] = {}
    for i, node in enumerate(nodes):
        for child in node.get("children", ()):
            if child in parents or not 0 <= child < len(nodes):
                raise Refusal("points_scene")
            parents[child] = i
    roots = [i for i in range(len(nodes)) if i not in parents]
    reached = list(roots)
    for i in reached:
        reached.extend(nodes[i].get("children", ()))
    if len(reached) != len(nodes):
        raise Refusal("points_scene")
    return roots


# --- clouds ------------------------------------------------------------------------------------------------


def read_npy(data: bytes) -> Shape:
    """A NumPy array [P, 3 or more] of numbers; never a pickle."""
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "fiu":
        raise Refusal("points_shape", shape=" x ".join(map(str, array.shape)))
    return Shape("npy", array[:, :3].astype(np.float64))


def _npy_shape(head: bytes) -> tuple[int, ...] | None:
    """The shape that the header of a NumPy file declares."""
    file = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(file)
        reader = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        return reader(file)[0]
    except ValueError:
        return None


def read_xyz(data: bytes) -> Shape:
    """Lines of numbers, the first three of each being x, y, z; blanks, commas or semicolons between them."""
    lines = [line for line in data.replace(b",", b" ").replace(b";", b" ").splitlines() if NUMBER.match(line)]
    if len(lines) > 1 and len(lines[0].split()) == 1:  # a first line that counts the points
        lines = lines[1:]
    _check_count(len(lines))
    table = np.loadtxt(io.BytesIO(b"\n".join(lines)), comments=["#", "//"], usecols=(0, 1, 2), ndmin=2)
    return Shape("xyz", table.astype(np.float64))


def _pcd_header(data: bytes) -> tuple[dict[str, list[str]], int]:
    """The fields of a PCD header and where its data begins."""
    end = re.search(rb"^DATA[ \t]+\S+[^\n]*\n?", data, re.M)
    if end is None:
        raise Refusal("points_broken")
    lines = [line.split() for line in data[: end.end()].decode("ascii", "replace").splitlines()]
    return {line[0].upper(): line[1:] for line in lines if line and not line[0].startswith("#")}, end.end()


def _pcd_count(fields: dict[str, list[str]]) -> int:
    if "POINTS" in fields:
        return int(fields["POINTS"][0])
    return int(fields["WIDTH"][0]) * int(fields["HEIGHT"][0])


def read_pcd(data: bytes) -> Shape:
    """A cloud of the Point Cloud Library: ascii, binary, or binary_compressed (LZF, column by column)."""
    fields, start = _pcd_header(data)
    names, count = [name.lower() for name in fields["FIELDS"]], _pcd_count(fields)
    counts = [int(n) for n in fields.get("COUNT", ["1"] * len(names))]
    kinds = [
        np.dtype(f"<{PCD_TYPES[kind]}{size}")
        for kind, size in zip(fields["TYPE"], fields["SIZE"], strict=True)
    ]
    _check_count(count)
    body, form = data[start:], fields["DATA"][0].lower()
    if form == "ascii":
        places = np.concatenate([[0], np.cumsum(counts)])
        columns = [int(places[names.index(axis)]) for axis in "xyz"]
        return Shape("pcd", np.loadtxt(io.BytesIO(body), usecols=columns, ndmin=2).astype(np.float64))
    if form == "binary":
        parts = [(f"{i}", kind, (n,)) for i, (kind, n) in enumerate(zip(kinds, counts, strict=True))]
        rows = np.frombuffer(body, np.dtype(parts), count)
        return Shape(
            "pcd", np.stack([rows[f"{names.index(axis)}"][:, 0] for axis in "xyz"], 1).astype(np.float64)
        )
    packed, whole = struct.unpack_from("<II", body)
    width = sum(kind.itemsize * n for kind, n in zip(kinds, counts, strict=True))
    if form != "binary_compressed" or whole != width * count:
        raise Refusal("points_broken")
    flat = unpack_lzf(body[8 : 8 + packed], whole)
    columns_of, at = {}, 0
    for name, kind, n in zip(names, kinds, counts, strict=True):
        columns_of[name] = np.frombuffer(flat, kind, count * n, at)[::n]
        at += kind.itemsize * n * count
    return Shape("pcd", np.stack([columns_of[axis] for axis in "xyz"], 1).astype(np.float64))


def unpack_lzf(packed: bytes, length: int) -> bytes:
    """The bytes behind an LZF stream, which has to be exactly as long as it declares."""
    out, at = bytearray(), 0
    while at < len(packed) and len(out) <= length:
        control = packed[at]
        at += 1
        if control < 32:  # a run of bytes as they are
            out += packed[at : at + control + 1]
            at += control + 1
            continue
        run = control >> 5
        if run == 7:
            run += packed[at]
            at += 1
        back = ((control & 31) << 8) + packed[at] + 1
        at += 1
        if back > len(out):
            raise Refusal("points_broken")
        piece = out[len(out) - back :]
        repeated = (piece * (-(-(run + 2) // back)))[: run + 2]
        out += repeated
    if len(out) != length:
        raise Refusal("points_broken")
    return bytes(out)
