"""The registry: checkpoints as rows of data, from `registry.toml` or the file of `CLIP_ATLAS_REGISTRY`."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import Refusal

ROOT = Path(__file__).resolve().parents[2]
BUILT_IN = Path(__file__).with_name("registry.toml")
NAMED = 5  # rows that a sentence about an unknown one names
FULL_HASH = re.compile(r"[0-9a-f]{40}")

# English and Chinese of one thing: {"en": ..., "zh": ...}.
Both = Mapping[str, str]


@dataclass(frozen=True)
class File:
    """One file of a checkpoint; digest and size are None where they are not known here."""

    path: str
    sha256: str | None = None
    size: int | None = None  # bytes


@dataclass(frozen=True)
class Original:
    """How weights as their authors published them become a row's: the `import` table of the row.

    Names are read with regular expressions that have to match the whole of them.
    """

    expects: (
        str  # "module:function" of (row, paths): tensors that the row's loader wants, by name, without memory
    )
    source: str  # where people get the file, for the sentence that asks for it
    key: str | None = None  # the entry of the file that holds the tensors; None where they are all of it
    rename: tuple[tuple[str, str], ...] = ()  # (pattern, replacement), the first that fits
    unread: tuple[str, ...] = ()  # what the file holds, by its renamed name, and no loader reads
    inert: tuple[str, ...] = ()  # classes of other libraries that the file mentions; they are never imported
    sha256: str | None = None  # of the published file
    beside: tuple[
        tuple[str, str], ...
    ] = ()  # further entries that hold tensors, and what goes before their names


@dataclass(frozen=True)
class Checkpoint:
    """One row of the registry: where the weights come from, what they may be used for, what they know."""

    name: str
    paper: str
    title: Both
    loader: str  # "module:function"
    files: tuple[File, ...]
    size_bytes: int  # of all files; rounded where the size of a file is not known
    licence: str  # as the source states it
    licence_note: Both
    citation: str
    languages: tuple[str, ...]
    normalisation: str  # "softmax" | "sigmoid"
    knows: Both
    lacks: Both
    repo: str | None = None
    revision: str | None = None
    bundled: str | None = None  # folder, relative to the repository
    options: Mapping[str, Any] = field(default_factory=dict)  # of the loader: model, mean, std...
    requires: Mapping[str, str] = field(default_factory=dict)  # another row -> digest of its weights
    original: Original | None = None  # how an original file is imported, where that is possible

    @property
    def pinned(self) -> bool:
        """Whether the bytes of this row can never change under its name."""
        # Without a repository the digests of what is bundled, or was imported, are all there is.
        return self.repo is None or FULL_HASH.fullmatch(self.revision or "") is not None

    @property
    def folder(self) -> Path:
        """Where the files of a bundled row lie."""
        return ROOT / (self.bundled or "")


def path() -> Path:
    """The registry file in use."""
    return Path(os.environ.get("CLIP_ATLAS_REGISTRY") or BUILT_IN)


def _row(name: str, table: Mapping[str, Any]) -> Checkpoint:
    fields = dict(table)
    files = tuple(File(**file) for file in fields.pop("files"))
    sizes = [file.size for file in files]
    known = sum(size for size in sizes if size is not None)
    rounded = fields.pop("size_bytes", 0)
    return Checkpoint(
        name=name,
        files=files,
        size_bytes=known if None not in sizes else max(known, rounded),
        languages=tuple(fields.pop("languages")),
        options=fields.pop("options", {}),
        requires=fields.pop("requires", {}),
        original=_original(fields.pop("import", None)),
        **fields,
    )


def _original(table: Mapping[str, Any] | None) -> Original | None:
    if table is None:
        return None
    lists = {name: tuple(table.get(name, ())) for name in ("unread", "inert")}
    pairs = {
        name: tuple((first, second) for first, second in table.get(name, ())) for name in ("rename", "beside")
    }
    return Original(**{**table, **lists, **pairs})


@lru_cache(maxsize=4)
def _read(file: Path, mtime: int) -> dict[str, Checkpoint]:
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return {name: _row(name, table) for name, table in tables.items()}


_ADDED: dict[str, Checkpoint] = {}


def add(checkpoint: Checkpoint) -> None:
    """Makes a row known to this process by its name, beside those of the file; no menu lists it."""
    _ADDED[checkpoint.name] = checkpoint


def _all() -> dict[str, Checkpoint]:
    file = path()
    return _read(file, file.stat().st_mtime_ns)


def rows(paper: str | None = None) -> list[Checkpoint]:
    """The rows, in the order of the menus; of one paper where a paper is named."""
    return [row for row in _all().values() if paper in (None, row.paper)]


def row(name: str, fits: Callable[[Checkpoint], bool] = lambda row: True) -> Checkpoint:
    """The row of that name.

    Args:
        name: of the row.
        fits: whether the caller can use a row.

    Raises:
        Refusal: "unknown_checkpoint" where there is none, "other_checkpoint" where it is not one that fits.
    """
    name = str(name)  # an endpoint's caller may send anything
    checkpoint = _all().get(name) or _ADDED.get(name)
    if checkpoint is None:
        raise Refusal("unknown_checkpoint", name=name[:80], known=_like(name[:80], fits))
    if not fits(checkpoint):
        raise Refusal("other_checkpoint", name=name, paper=checkpoint.paper, known=_like(name, fits))
    return checkpoint


def _like(name: str, fits: Callable[[Checkpoint], bool] = lambda row: True) -> str:
    """The names of the rows that fit and are most like a name, for a sentence."""
    names = [row.name for row in _all().values() if fits(row)]
    return ", ".join(get_close_matches(name, names, NAMED, cutoff=0.0))


def default(paper: str) -> str:
    """The row a page starts on: its bundled miniature, or the first Hub row with `CLIP_ATLAS_DEFAULT=hub`."""
    candidates = rows(paper)
    if not candidates:
        raise Refusal("unknown_checkpoint", name=paper, known=_like(paper))
    hub = os.environ.get("CLIP_ATLAS_DEFAULT") == "hub"
    wanted = [
        row for row in candidates if (row.repo is not None if hub else row.folder.is_dir() and row.bundled)
    ]
    return (wanted or candidates)[0].name


def human(size: float) -> str:
    """Bytes as people write them: "605 MB", "1.71 GB"."""
    for unit, digits in (("B", 0), ("kB", 0), ("MB", 0)):
        if size < 999.5:
            return f"{size:.{digits}f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def edited(
    text: str,
    name: str,
    files: Mapping[str, tuple[str, int]],
    revision: str | None = None,
    requires: Mapping[str, str] | None = None,
) -> str:
    """The registry's text with the digests, sizes and revision of one row put in; all else stays as it is.

    Args:
        text: the TOML.
        name: the row.
        files: file name -> (sha256, bytes).
        revision: 40-hex hash, or None to leave the line alone.
        requires: the rows that it stands on -> digest of their weights, or None to leave the line alone.
    """
    blocks: list[list[str]] = [[]]
    for line in text.splitlines(keepends=True):
        if line.startswith("["):
            blocks.append([])
        blocks[-1].append(line)
    for block in blocks:
        head = block[0].strip() if block else ""
        values = tomllib.loads("".join(block[1:])) if head.startswith("[") else {}
        if head == f"[{name}]" and revision:
            _set(block, "revision", f'"{revision}"')
        if head == f"[{name}]" and requires:
            _set(block, "requires", "{" + ", ".join(f'{k} = "{v}"' for k, v in requires.items()) + "}")
        if head == f"[[{name}.files]]" and values["path"] in files:
            sha256, size = files[values["path"]]
            _set(block, "sha256", f'"{sha256}"', after="path")
            _set(block, "size", f"{size:_}", after="sha256")
    return "".join(line for block in blocks for line in block)


def _set(block: list[str], key: str, value: str, after: str | None = None) -> None:
    """Replaces the line of a key in a block of TOML lines, or adds one below the line of another key."""
    for i, line in enumerate(block):
        if re.match(rf"{key}\s*=", line):
            block[i] = f"{key} = {value}\n"
            return
    at = next(i for i, line in enumerate(block) if re.match(rf"{after}\s*=", line))
    if not block[at].endswith("\n"):
        block[at] += "\n"
    block.insert(at + 1, f"{key} = {value}\n")
