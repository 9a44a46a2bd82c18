"""Shapes at the door: what `core.inputs.points` makes of meshes and clouds, and what it refuses."""

from __future__ import annotations

import io
import json
import pickle
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core import inputs
from core.errors import Refusal
from core.inputs import shapes
from core.inputs.points import sample

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ROOT / "assets/examples/shapes", Path(__file__).parent / "shapes"
REAL = sorted(file for folder in FOLDERS for file in folder.iterdir() if file.suffix not in (".md", ".webp"))
# A box 2 wide, 4 high, 6 deep: no two axes look alike.
BOX = np.array([[x, y, z] for x in (-1, 1) for y in (-2, 2) for z in (-3, 3)], float)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
TRIANGLES = np.array([part for a, b, c, d in QUADS for part in ((a, b, c), (a, c, d))])


def ply(vertices: np.ndarray = BOX, faces: np.ndarray = TRIANGLES) -> bytes:
    """An ascii PLY."""
    head = f"ply\nformat ascii 1.0\nelement vertex {len(vertices)}\n" + "".join(
        f"property float {axis}\n" for axis in "xyz"
    )
    head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    rows = [" ".join(map(str, row)) for row in vertices] + ["3 " + " ".join(map(str, row)) for row in faces]
    return (head + "\n".join(rows) + "\n").encode()


def obj(vertices: np.ndarray = BOX, faces: np.ndarray = TRIANGLES, extra: str = "") -> bytes:
    """A Wavefront OBJ."""
    lines = [f"v {x} {y} {z}" for x, y, z in vertices] + [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces]
    return (extra + "\n".join(lines) + "\n").encode()


def off(vertices: np.ndarray = BOX, faces: np.ndarray = TRIANGLES) -> bytes:
    """An OFF file."""
    rows = [" ".join(map(str, row)) for row in vertices] + ["3 " + " ".join(map(str, row)) for row in faces]
    return f"OFF\n# a box\n{len(vertices)} {len(faces)} 0\n".encode() + "\n".join(rows).encode()


def stl(vertices: np.ndarray = BOX, faces: np.ndarray = TRIANGLES) -> bytes:
    """A binary STL."""
    facets = [
        np.concatenate([np.zeros((1, 3)), vertices[face]]).astype("<f4").tobytes() + b"\0\0" for face in faces
    ]
    return b"box".ljust(80) + struct.pack("<I", len(faces)) + b"".join(facets)


def ascii_stl(vertices: np.ndarray = BOX, faces: np.ndarray = TRIANGLES) -> bytes:
    """A text STL."""
    lines = ["solid box"]
    for face in faces:
        lines += ["facet normal 0 0 0", "outer loop"]
        lines += [f"vertex {x} {y} {z}" for x, y, z in vertices[face]] + ["endloop", "endfacet"]
    return "\n".join([*lines, "endsolid box", ""]).encode()


def glb(vertices: np.ndarray = BOX, faces: np.ndarray = TRIANGLES, **changes: object) -> bytes:
    """A binary glTF; `changes` replace parts of its JSON."""
    places, corners = vertices.astype("<f4").tobytes(), faces.astype("<u4").tobytes()
    tree = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(vertices), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": faces.size, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(places)},
            {"buffer": 0, "byteOffset": len(places), "byteLength": len(corners)},
        ],
        "buffers": [{"byteLength": len(places) + len(corners)}],
        **changes,
    }
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    binary = places + corners
    body = struct.pack("<II", len(text), shapes.GLB_JSON) + text
    body += struct.pack("<II", len(binary), shapes.GLB_BINARY) + binary
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


def pcd(vertices: np.ndarray = BOX, form: str = "ascii") -> bytes:
    """A PCD cloud with an intensity before the places."""
    head = (
        "# .PCD v.7 - Point Cloud Data file format\nVERSION .7\nFIELDS intensity x y z\nSIZE 4 4 4 4\nTYPE U F F F\n"
        f"COUNT 1 1 1 1\nWIDTH {len(vertices)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(vertices)}\nDATA {form}\n"
    ).encode()
    if form == "ascii":
        return head + "\n".join(f"7 {x} {y} {z}" for x, y, z in vertices).encode()
    columns = [np.full(len(vertices), 7, "<u4"), *vertices.T.astype("<f4")]
    if form == "binary":
        return head + b"".join(
            b"".join(column[i].tobytes() for column in columns) for i in range(len(vertices))
        )
    flat = b"".join(column.tobytes() for column in columns)
    # LZF: a stream may be runs of 32 literal bytes; the first column is one value again and again.
    packed = bytes([3]) + flat[:4] + bytes([(7 << 5), len(vertices) * 4 - 4 - 9, 3])
    rest = flat[len(vertices) * 4 :]
    packed += b"".join(bytes([len(rest[i : i + 32]) - 1]) + rest[i : i + 32] for i in range(0, len(rest), 32))
    return head + struct.pack("<II", len(packed), len(flat)) + packed


def npy(array: np.ndarray = BOX) -> bytes:
    """A NumPy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def xyz(vertices: np.ndarray = BOX, between: str = " ") -> bytes:
    """Lines of numbers."""
    return "\n".join(between.join(map(str, row)) for row in vertices).encode()


MESHES: dict[str, Callable[[], bytes]] = {
    "ply": ply, "off": off, "obj": obj, "stl": stl, "stl (text)": ascii_stl, "glb": glb,
}  # fmt: skip
CLOUDS: dict[str, Callable[[], bytes]] = {
    "pcd": pcd,
    "pcd (binary)": lambda: pcd(form="binary"),
    "pcd (compressed)": lambda: pcd(form="binary_compressed"),
    "npy": npy,
    "xyz": xyz,
    "xyz (commas)": lambda: xyz(between=", "),
    "ply": lambda: ply(faces=np.empty((0, 3), int)),
}


def code(source: object) -> str:
    """The code of the refusal of a source."""
    with pytest.raises(Refusal) as caught:
        inputs.points(source)  # type: ignore[arg-type]
    for lang in ("en", "zh"):
        assert caught.value.text(lang).rstrip().endswith((".", "。"))
    return caught.value.code


# --- what comes in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", REAL, ids=lambda file: file.name)
def test_every_real_shape_opens(file: Path) -> None:
    cloud = inputs.points(file)
    assert cloud.points.dtype == np.float32 and cloud.points.shape[1] == 3
    assert len(cloud.points) == (10_000 if cloud.faces else cloud.vertices)
    norms = np.linalg.norm(cloud.points, axis=1)
    assert norms.max() == pytest.approx(1, abs=1e-5)
    assert np.abs(cloud.points.mean(0)).max() < 1e-4
    assert cloud.kind == file.suffix[1:]


@pytest.mark.parametrize("kind", MESHES)
def test_a_mesh_is_sampled_over_its_faces_by_area(kind: str) -> None:
    cloud = inputs.points(MESHES[kind](), samples=20_000, up="y")
    assert len(cloud.points) == 20_000 and cloud.faces == 12
    places = cloud.points * cloud.radius + cloud.centre
    on = np.abs(np.abs(places) - [1, 2, 3]) < 1e-4
    assert on.any(1).all()  # every point lies on a side
    areas = np.array([24, 12, 8]) / 44
    assert np.allclose(on.mean(0), areas, atol=0.015)


@pytest.mark.parametrize("kind", CLOUDS)
def test_a_cloud_keeps_its_points(kind: str) -> None:
    cloud = inputs.points(CLOUDS[kind](), up="y")
    assert cloud.faces == 0 and cloud.vertices == 8
    assert np.allclose(cloud.points * cloud.radius + cloud.centre, BOX, atol=1e-5)


def test_points_are_centred_and_of_unit_radius_whatever_the_unit() -> None:
    far = BOX * 2e-2 + [500_000, 4_000_000, 12]
    assert np.allclose(inputs.points(far).points, inputs.points(BOX).points, atol=1e-2)
    assert inputs.points(BOX * 1000 + 5000).radius == pytest.approx(1000 * 14**0.5)


@pytest.mark.parametrize(("axis", "column"), [("x", 0), ("y", 1), ("z", 2)])
def test_the_axis_that_points_up_becomes_y_and_nothing_is_mirrored(axis: str, column: int) -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3.0]])
    turned = inputs.points(corners, up=axis).points
    assert np.allclose(np.ptp(turned[:, 1]), np.ptp(corners[:, column]) / inputs.points(corners).radius)
    sides = turned[1:] - turned[0]
    assert np.linalg.det(sides) > 0  # as in the file
    assert sides[column, 1] > 0


def test_the_habits_of_formats() -> None:
    assert inputs.points(glb()).up == "y" and inputs.points(off()).up == "z" and inputs.points(BOX).up == "y"


def test_samples_depend_on_the_seed_alone() -> None:
    first, again, other = inputs.points(ply()), inputs.points(ply()), inputs.points(ply(), seed=1)
    assert first.digest == again.digest != other.digest


def test_parts_of_a_scene_stand_at_their_places() -> None:
    nodes = [{"children": [1, 2]}, {"mesh": 0}, {"mesh": 0, "translation": [10, 0, 0], "scale": [2, 2, 2]}]
    cloud = inputs.points(glb(nodes=nodes))
    places = cloud.points * cloud.radius + cloud.centre
    assert cloud.faces == 24
    assert places[:, 0].min() == pytest.approx(-1, abs=1e-3) and places[:, 0].max() == pytest.approx(
        12, abs=1e-3
    )


def test_a_cloud_crosses_processes() -> None:
    cloud = inputs.points(ply())
    assert np.array_equal(pickle.loads(pickle.dumps(cloud)).points, cloud.points)


def test_a_thin_triangle_gets_its_share() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 0, 0], [8, 0, 0], [5, 1, 0]], float)
    places = sample(vertices, np.array([[0, 1, 2], [3, 4, 5]]), 40_000)
    assert (places[:, 0] >= 4.9).mean() == pytest.approx(0.75, abs=0.01)
    inside = places[places[:, 0] < 4]
    assert inside.mean(0)[:2] == pytest.approx([1 / 3, 1 / 3], abs=0.01)


# --- what is said ------------------------------------------------------------------------------------------


def test_other_files_are_named_and_never_opened(tmp_path: Path) -> None:
    (tmp_path / "colours.mtl").write_text("newmtl a\nmap_Kd texture.png\n")
    file = tmp_path / "chair.obj"
    file.write_bytes(obj(extra="mtllib colours.mtl\ncall ../secret.obj\nusemtl a\n"))
    reads: list[str] = []
    from unittest import mock

    opened = Path.open

    def watch(path: Path, *arguments: object, **named: object) -> object:
        reads.append(path.name)
        return opened(path, *arguments, **named)  # type: ignore[call-overload]

    with mock.patch.object(Path, "open", watch), mock.patch("builtins.open", side_effect=AssertionError):
        cloud = inputs.points(file)
    assert reads == ["chair.obj"]
    assert cloud.names == ("colours.mtl", "../secret.obj")
    assert "colours.mtl" in cloud.sentences("en")[0] and "colours.mtl" in cloud.sentences("zh")[0]
    assert len(cloud.points) == 10_000


def test_an_obj_may_number_textures_and_normals() -> None:
    plain = inputs.points(obj()).points
    for form in (b"/1", b"//1", b"/1/1"):
        lines = [
            b"f " + b" ".join(word + form for word in line.split()[1:]) if line.startswith(b"f ") else line
            for line in obj(extra="vt 0 0\nvn 0 0 1\n").splitlines()
        ]
        assert np.array_equal(inputs.points(b"\n".join(lines)).points, plain)


@pytest.mark.parametrize("make", [obj, off])
def test_a_mesh_without_faces_gives_its_vertices_and_says_so(make: Callable[..., bytes]) -> None:
    cloud = inputs.points(make(faces=np.empty((0, 3), int)), up="y")
    assert np.allclose(cloud.points * cloud.radius + cloud.centre, BOX, atol=1e-5)
    assert "no faces" in cloud.sentences("en")[0] and "没有面" in cloud.sentences("zh")[0]
    assert inputs.points(make()).sentences("en") == []


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ply", "obj", "off", "stl", "glb", "pcd", "npy", "xyz", "array"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_coordinates_that_are_no_numbers(kind: str, value: float) -> None:
    broken = BOX.copy()
    broken[3, 1] = value
    with np.errstate(over="ignore"):
        made = {
            "ply": ply, "obj": obj, "off": off, "stl": stl, "glb": glb, "pcd": pcd, "npy": npy, "xyz": xyz,
        }.get(kind, lambda points: points)(broken)  # fmt: skip
        assert code(made) == "points_not_finite"


@pytest.mark.parametrize(
    "source", [BOX[:1], np.ones((50, 3)), np.empty((0, 3)), xyz(BOX[:1]), ply(BOX[:1], TRIANGLES[:0])]
)
def test_a_shape_without_extent(source: np.ndarray | bytes) -> None:
    assert code(source) == "points_one_place"


def test_a_single_vertex_with_faces_on_it() -> None:
    assert code(obj(BOX[:1], np.zeros((1, 3), int))) == "points_one_place"


HEADS = {
    "ply": b"ply\nformat binary_little_endian 1.0\nelement vertex 10000000\nproperty float x\nproperty float y\n"
    b"property float z\nend_header\n",
    "ply (faces)": ply().replace(b"element face 12", b"element face 90000000"),
    "pcd": pcd().replace(b"POINTS 8", b"POINTS 10000000"),
    "off": off().replace(b"8 12 0", b"10000000 12 0"),
    "stl": b"box".ljust(80) + struct.pack("<I", 10_000_000),
    "npy": npy(np.broadcast_to(np.float32(0), (10_000_000, 3))[:0]).replace(b"(0, 3), ", b"(10000000, 3)"),
}


@pytest.mark.parametrize("kind", HEADS)
def test_ten_million_points_are_refused_by_the_head_of_the_file(kind: str, tmp_path: Path) -> None:
    """A sparse file of 1 GB, of which nothing but the head is read."""
    file = tmp_path / "huge"
    head = HEADS[kind]
    with file.open("wb") as out:
        out.write(head)
        out.truncate(84 + 50 * 10_000_000 if kind == "stl" else 1 << 30)
    tracemalloc.start()
    start = time.thread_time()
    with pytest.raises(Refusal) as caught:
        inputs.points(file)
    assert caught.value.code in ("points_too_many", "faces_too_many")
    assert time.thread_time() - start < 2 and tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_ten_million_points_in_an_array_or_in_lines() -> None:
    assert code(np.zeros((1_000_001, 3), np.float32)) == "points_too_many"
    assert code(b"1 2 3\n" * 1_000_001) == "points_too_many"
    assert code(b"v 1 2 3\n" * 1_000_001) == "points_too_many"


def test_a_file_of_too_many_megabytes(tmp_path: Path) -> None:
    file = tmp_path / "huge.xyz"
    with file.open("wb") as out:
        out.write(b"1 2 3\n4 5 6\n")
        out.truncate(200 << 20)
    # The hole is read as zero bytes only where they are looked at, in the head: it is no text.
    assert code(file) == "not_points"
    with file.open("wb") as out:
        out.write(b"1.25 2.25 3.25\n" * 4_600_000)
    assert code(file) == "points_file_too_large"


def nested(levels: int) -> bytes:
    """A GLB of a few hundred bytes whose nodes place a mesh 2 ** levels times."""
    nodes: list[dict[str, object]] = [{"children": [i + 1, i + 1]} for i in range(levels)]
    return glb(nodes=[*nodes, {"mesh": 0}])


def test_bombs_in_a_glb(tmp_path: Path) -> None:
    start = time.thread_time()
    assert code(nested(40)) == "points_scene"
    assert code(glb(nodes=[{"children": [1]}, {"children": [0], "mesh": 0}])) == "points_scene"  # a ring
    many = glb(nodes=[{"children": list(range(1, 200_001))}, *[{"mesh": 0}] * 200_000])
    assert code(many) == "points_too_many"
    sparse = {"componentType": 5126, "count": 2_000_000_000, "type": "VEC3"}
    assert code(glb(accessors=[sparse, sparse])) == "points_compressed"
    declared = {"bufferView": 0, "componentType": 5126, "count": 2_000_000_000, "type": "VEC3"}
    assert code(glb(accessors=[declared, declared])) == "points_broken"
    assert code(glb(extensionsRequired=["KHR_draco_mesh_compression"])) == "points_compressed"
    packed = tmp_path / "shape.glb"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("shape.glb", b"\0" * (100 << 20))
    assert code(packed) == "not_points"
    assert time.thread_time() - start < 10


def test_images_in_a_glb_are_not_decoded() -> None:
    bomb = {"images": [{"uri": "data:image/png;base64,AAAA"}, {"uri": "http://127.0.0.1:9/x.png"}]}
    textured = glb(
        **bomb,
        textures=[{"source": 0}],
        materials=[{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
    )
    assert inputs.points(textured).digest == inputs.points(glb()).digest


@pytest.mark.parametrize("address", ["cube.bin", "../../etc/passwd", "http://127.0.0.1:9/cube.bin"])
def test_geometry_in_another_file(address: str) -> None:
    assert code(glb(buffers=[{"byteLength": 240, "uri": address}])) == "points_elsewhere"


def test_gltf_in_json_needs_its_other_files() -> None:
    assert code(b'{"asset": {"version": "2.0"}, "buffers": [{"uri": "cube.bin"}]}') == "points_elsewhere"


@pytest.mark.parametrize("kind", [*MESHES, *CLOUDS])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_that_was_cut_off(kind: str, share: float) -> None:
    """Refused, or what was there is read: never another error."""
    whole = {**MESHES, **CLOUDS}[kind]()
    try:
        inputs.points(whole[: int(share * len(whole))])
    except Refusal as refusal:
        assert refusal.code in ("points_broken", "not_points", "points_one_place")


@pytest.mark.parametrize("seed", range(40))
def test_damaged_bytes_never_get_past_the_door(seed: int) -> None:
    random = np.random.default_rng(seed)
    kinds = {**MESHES, **CLOUDS}
    whole = bytearray(kinds[list(kinds)[seed % len(kinds)]]())
    for at in random.integers(0, len(whole), 6):
        whole[at] = random.integers(256)
    try:
        cloud = inputs.points(bytes(whole))
    except Refusal:
        return
    assert np.isfinite(cloud.points).all()


def test_what_is_no_shape(tmp_path: Path) -> None:
    assert code(None) == code("") == code(b"") == "no_points"
    assert code(b"\x89PNG\r\n\x1a\n" + b"\0" * 40) == "not_points"
    assert code("hello") == code(tmp_path) == code("/dev/zero") == "points_missing"
    assert code("https://example.org/a.ply") == "points_is_address"
    assert code(npy(np.array([{}], dtype=object))) == "points_broken"
    assert (
        code(npy(np.zeros((4, 2))))
        == code(np.zeros((4, 2)))
        == code(np.zeros((4, 3), bool))
        == "points_shape"
    )
    assert code(obj(faces=np.array([[0, 1, 90]]))) == "points_broken"
    with pytest.raises(Refusal) as caught:
        inputs.points(BOX, up="w")
    assert caught.value.code == "unknown_axis"
    with pytest.raises(Refusal) as caught:
        inputs.points(BOX, samples=2_000_000)
    assert caught.value.code == "out_of_range"
