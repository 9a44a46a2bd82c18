"""Imports go one way: app -> demos -> core.<paper> -> the rooms below; read from the source of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What every room of core may use. Rooms that are none of these are papers, except the classroom, which trains them.
BELOW = {
    "checkpoints",
    "clip",
    "documents",
    "errors",
    "inputs",
    "masks",
    "memory",
    "mp4",
    "outputs",
    "proxies",
    "runtime",
    "terminal",
}
# Rooms that have to stay cheap to import.
WITHOUT_TORCH = {
    "checkpoints",
    "documents",
    "errors",
    "inputs",
    "memory",
    "mp4",
    "proxies",
    "runtime",
    "terminal",
}
# What a room below may use itself.
DOWN = {
    "documents": set(),
    "batch": {"coco", "errors", "inputs", "masks", "runtime"},
    "coco": {"masks"},
    "errors": set(),
    "masks": set(),
    "memory": {"errors"},
    "mp4": {"errors"},
    "proxies": {"errors"},
    "terminal": {"errors"},
    "outputs": {"errors"},
    "runtime": {"errors", "memory"},
    "inputs": {"errors"},
    "checkpoints": {"documents", "errors", "proxies", "runtime", "terminal"},
    "clip": {"checkpoints", "errors", "inputs", "memory", "runtime"},
}
MODEL_LIBRARIES = {"torch", "torchvision", "open_clip", "transformers", "timm", "diffusers", "safetensors"}

MODULES = sorted([ROOT / "app.py", *(ROOT / "core").rglob("*.py"), *(ROOT / "demos").rglob("*.py")])


def dotted(path: Path) -> str:
    """A module's name: core/clip/zero_shot.py -> core.clip.zero_shot."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Names that a module imports, "a.b.c"; without those for type checkers alone, which never run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
            continue
        if top_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            if node.level:
                package = dotted(path).split(".")
                package = package if path.name == "__init__.py" else package[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        pending += ast.iter_child_nodes(node)


# What the rooms of demos share. Every other folder there is a page.
SHARED = {"app", "catalog", "draw", "kit"}
# Arrows of demos that are wrong and about to go: page -> page, shared -> page.
PENDING: set[tuple[str, str]] = set()


def folder(name: str) -> str | None:
    """The room of demos that a module lies in: demos.clip.answer -> clip."""
    parts = name.split(".")
    return parts[1] if parts[0] == "demos" and len(parts) > 1 else None


def room(name: str) -> str | None:
    """The room of core that an imported name lies in: core.clip.prompts -> clip."""
    parts = name.split(".")
    return parts[1] if parts[0] == "core" and len(parts) > 1 else None


def test_there_is_something_to_walk() -> None:
    assert len(MODULES) > 20
    assert "core.clip.zero_shot" in map(dotted, MODULES)


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_arrows_go_down(path: Path) -> None:
    here = dotted(path)
    own_room = room(here)
    for name in imports(path):
        top = name.split(".")[0]
        if here.startswith("core"):
            assert top not in ("demos", "app", "gradio", "spaces_app"), f"{here} imports {name}"
        if here.startswith("demos"):
            assert top != "app", f"{here} imports {name}"
            assert top not in MODEL_LIBRARIES, f"{here} imports {name}: demos hold no model code"
        if here == "app":
            assert top not in MODEL_LIBRARIES and top != "core", f"{here} imports {name}"
        target = room(name)
        if target is None or target == own_room or own_room in (None, "__main__", "classroom"):
            continue
        allowed = DOWN.get(str(own_room), BELOW)
        assert target in allowed, f"{here} imports {name}: {own_room} may use {sorted(allowed)}"


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if room(dotted(path)) in WITHOUT_TORCH or not dotted(path).startswith("core.")],
    ids=dotted,
)
def test_cheap_rooms_import_no_model_library_at_the_top(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports(path, top_level_only=True)}
    assert not tops & MODEL_LIBRARIES


@pytest.mark.parametrize(
    "statement",
    [
        "import app",
        "import core",
        "from core import checkpoints, errors, inputs, runtime",
        "from core import classroom",
    ],
)
def test_torch_stays_out_until_it_is_asked_for(statement: str) -> None:
    """A fresh interpreter says what an import really brings in."""
    code = (
        f"{statement}\nimport sys\nprint(sorted({{'torch', 'open_clip', 'transformers'}} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=600
    )
    assert answer.stdout.strip().splitlines()[-1] == "[]"


def test_no_page_imports_a_page_and_nothing_shared_imports_one() -> None:
    wrong = set()
    for path in MODULES:
        here = dotted(path)
        for name in imports(path):
            target = folder(name)
            if here.startswith("demos.") and target not in (None, folder(here), *SHARED):
                wrong.add((here, ".".join(name.split(".")[:3])))
            if folder(here) in ("kit", "draw") and target == "app":
                wrong.add((here, name))
    assert wrong == PENDING
