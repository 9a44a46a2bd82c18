"""Original weight files that a person brings: read without running them, checked by name, kept as safetensors.

Some papers published their weights outside the Hub. A row's `import` table says how such a file becomes the row's:
where its tensors lie, how they are renamed, which are not read. What the loader expects is asked of the loader.
The result lies beside the Hub's cache with its digests, and is checked against them whenever it is opened.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.checkpoints import hub, integrity, weights
from core.checkpoints.hub import constants
from core.checkpoints.registry import Checkpoint, Original
from core.errors import Refusal

if TYPE_CHECKING:
    from torch import Tensor

RECORD = "imported.json"
# Counters of BatchNorm's training, which inference never reads and some files leave out.
COUNTER = "num_batches_tracked"
NAMED = 3  # tensors that a refusal names of each kind
# Where training programs put a model's tensors among their own things, and what they put before the tensors' names.
ENTRIES = ("state_dict", "model_state_dict", "model", "module")
DEEPEST = 3  # entries within entries
PREFIXES = ("module.", "_orig_mod.")
# What loaders compute with after a conversion that loses nothing that float32 can hold.
FLOATS = ("float16", "bfloat16", "float32", "float64")
WHOLE = ("uint8", "int8", "int16", "int32", "int64")


class Held(NamedTuple):
    """The tensors of an original file, and where they lie in it, for sentences."""

    place: str  # the file's name, with the entry where it has entries
    state: dict[str, Tensor]


def folder(row: Checkpoint) -> Path:
    """Where the imported files of a row lie."""
    return Path(constants.HF_HOME) / "clip-atlas" / "imported" / row.name


def recorded(row: Checkpoint) -> dict[str, str]:
    """The digests written at the import: file name -> sha256; empty where nothing was imported."""
    try:
        files = json.loads((folder(row) / RECORD).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {file.path: files[file.path] for file in row.files if file.path in files}


def is_imported(row: Checkpoint) -> bool:
    """Whether every file of a row was imported, unchecked."""
    known = recorded(row)
    return all(file.path in known and (folder(row) / file.path).is_file() for file in row.files)


def open(row: Checkpoint) -> dict[str, Path]:
    """The imported files of a row by name, checked against the digests of their import.

    Raises:
        Refusal: "original_damaged" for a file that has changed; the import is removed.
    """
    for name, right in verify(row, afresh=False).items():
        if not right:
            shutil.rmtree(folder(row), ignore_errors=True)
            raise Refusal("original_damaged", checkpoint=row.name, file=name)
    return {file.path: folder(row) / file.path for file in row.files}


def verify(row: Checkpoint, afresh: bool = True) -> dict[str, bool]:
    """File name -> whether its bytes are those of the import, for the files that are here."""
    paths = {name: (folder(row) / name, digest) for name, digest in recorded(row).items()}
    return {
        name: integrity.right(path, digest, record=hub.record(), afresh=afresh)
        for name, (path, digest) in paths.items()
        if path.is_file()
    }


def bring(row: Checkpoint, path: Path) -> dict[str, Path]:
    """Imports an original file; what the row needs besides the weights has to lie beside it.

    Args:
        row: one with an `import` table.
        path: the file as its authors published it, safetensors or torch.

    Returns:
        The row's files by name, as `open` gives them.

    Raises:
        Refusal: "no_import", "no_original", "wrong_original", "unsafe_weights", "scripted_weights",
            "corrupt_weights", "original_without_tensors", "original_misfit", "original_number_type",
            "original_not_finite", "original_beyond_float32", "original_lacks_file", or what the disk says no with.
    """
    if row.original is None:
        raise Refusal("no_import", checkpoint=row.name)
    if not path.is_file():
        raise Refusal("no_original", file=str(path))
    digest = integrity.sha256(path)
    if row.original.sha256 not in (None, digest):
        raise Refusal("wrong_original", checkpoint=row.name, file=path.name, source=row.original.source)
    target, *others = sorted(row.files, key=lambda file: not file.path.endswith(".safetensors"))
    beside = {file.path: path.parent / file.path for file in others}
    for name, other in beside.items():
        if not other.is_file():
            raise Refusal("original_lacks_file", checkpoint=row.name, file=name, folder=str(path.parent))
    state = check(row, tensors(row.original, path), expected(row, beside))
    with hub.disk():
        _keep(row, target.path, state, beside, {"name": path.name, "sha256": digest})
    return open(row)


def as_safetensors(row: Checkpoint, path: Path) -> Path:
    """The weights of a row whose Hub file is as its authors left it, nested and beside an optimizer: tensors alone, under the
    loader's names. Made by the first call, checked against what the loader wants, kept beside the Hub's cache.

    Args:
        row: one with an `import` table; the file of any other is given back.
        path: the file, from `core.checkpoints.open`.

    Raises:
        Refusal: as `bring`.
    """
    if row.original is None or weights.is_safetensors(path):
        return path
    # The Hub's cache names a large file by its digest.
    name = path.resolve().name
    digest = name if integrity.SHA256.fullmatch(name) else integrity.sha256(path)
    place = Path(constants.HF_HOME) / "clip-atlas" / "converted" / row.name / f"{digest}.safetensors"
    if not place.is_file():
        state = check(row, tensors(row.original, path), expected(row, {}))
        with hub.disk():
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".draft-", dir=place.parent) as folder_name:
                draft = Path(folder_name) / place.name
                _save(state, draft)
                draft.replace(place)
    return place


def tensors(original: Original, path: Path) -> Held:
    """The tensors of an original file under the names of the row's loader, without those that nobody reads.

    They may lie in the entry that the row names, in one that training programs use, or be all of the file.
    """
    try:
        content = weights.read(path, original.inert)
    except Refusal as refusal:
        # The form of OpenAI's own files: a program with its weights.
        if refusal.code == "unsafe_weights" and "TorchScript" in str(refusal.__cause__):
            raise Refusal("scripted_weights", file=path.name) from refusal
        raise
    held, place = _unwrapped(content, (original.key or ENTRIES[0], *ENTRIES))
    if not weights.is_state_dict(held) or not held:
        names = [str(name) for name in content] if isinstance(content, Mapping) else []
        raise Refusal("original_without_tensors", file=path.name, entries=_some(names))
    state = _bare(held)
    for entry, prefix in original.beside:
        if isinstance(content, Mapping) and weights.is_state_dict(content.get(entry)):
            state |= {prefix + name: tensor for name, tensor in _bare(content[entry]).items()}
    renamed = {rename(name, original.rename): tensor for name, tensor in state.items()}
    unread = [name for name in renamed if any(re.fullmatch(pattern, name) for pattern in original.unread)]
    for name in unread:
        del renamed[name]
    return Held(f"{path.name} ({', '.join(place)})" if place else path.name, renamed)


def _bare(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors without what a training program put before all of their names."""
    state = dict(state)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _unwrapped(content: Any, entries: Sequence[str]) -> tuple[Any, list[str]]:
    """What lies in the innermost of the entries, and which entries lead to it."""
    place: list[str] = []
    while isinstance(content, Mapping) and not weights.is_state_dict(content) and len(place) < DEEPEST:
        entry = next((name for name in entries if isinstance(content.get(name), Mapping)), None)
        if entry is None:
            break
        place.append(entry)
        content = content[entry]
    return content, place


def rename(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """A tensor's name in the row, by the first rule that fits the whole of the published one."""
    for pattern, replacement in rules:
        if match := re.fullmatch(pattern, name):
            return match.expand(replacement)
    return name


def expected(row: Checkpoint, paths: Mapping[str, Path]) -> Mapping[str, Tensor]:
    """What the row's loader wants: tensors by name, without memory; `paths` are the row's files besides the weights."""
    module, function = (row.original.expects if row.original else "").split(":")
    ask: Callable[..., Mapping[str, Tensor]] = getattr(import_module(module), function)
    return ask(row, paths)


def check(row: Checkpoint, held: Held, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in number types that the loader takes; refuses those that are not exactly what it wants, by name, and
    values that are no numbers or no weights."""
    state = {
        name: _number(held.place, name, tensor, wanted[name]) if name in wanted else tensor
        for name, tensor in held.state.items()
    }
    missing = [name for name in wanted if name not in state and not name.endswith(COUNTER)]
    extra = [name for name in state if name not in wanted]
    misshapen = [
        f"{name} {list(state[name].shape)} ≠ {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if missing or extra or misshapen:
        kinds = {"missing": missing, "extra": extra, "misshapen": misshapen}
        counts: dict[str, Any] = {kind: len(names) for kind, names in kinds.items()}
        raise Refusal(
            "original_misfit",
            checkpoint=row.name,
            file=held.place,
            **counts,
            **{f"{kind}_names": _some(names) for kind, names in kinds.items()},
        )
    return state


def _number(place: str, name: str, tensor: Tensor, wanted: Tensor) -> Tensor:
    """A tensor in a number type that a loader takes: weights as floats, counts as the whole numbers that they are."""
    import torch

    kind = str(tensor.dtype).removeprefix("torch.")
    counts = not wanted.is_floating_point()
    if tensor.layout != torch.strided or kind not in (FLOATS + WHOLE if counts else FLOATS):
        kind = kind if tensor.layout == torch.strided else f"sparse {kind}"
        raise Refusal("original_number_type", file=place, tensor=name, kind=kind)
    if not tensor.isfinite().all():
        raise Refusal("original_not_finite", file=place, tensor=name)
    if counts:
        whole = tensor.to(wanted.dtype)
        if not torch.equal(whole.to(tensor.dtype), tensor):
            raise Refusal("original_number_type", file=place, tensor=name, kind=kind)
        return whole
    if tensor.dtype == torch.float64:
        tensor = tensor.float()
        if not tensor.isfinite().all():
            raise Refusal("original_beyond_float32", file=place, tensor=name)
    return tensor


def _some(names: Sequence[str]) -> str:
    """The first few names of a list."""
    return ", ".join([*names[:NAMED], *["…"][: len(names) > NAMED]]) or "–"


def _keep(
    row: Checkpoint,
    target: str,
    state: Mapping[str, Tensor],
    beside: Mapping[str, Path],
    origin: Mapping[str, str],
) -> None:
    """Writes a row's files and their digests into a folder that takes its place as a whole."""
    place = folder(row)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{row.name}-", dir=place.parent) as name:
        draft = Path(name) / "files"
        draft.mkdir()
        _save(state, draft / target)
        for path, source in beside.items():
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, draft / path)
        digests = {file.path: integrity.sha256(draft / file.path) for file in row.files}
        record = {"checkpoint": row.name, "files": digests, "original": origin}
        (draft / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        draft.replace(place)


def _save(state: Mapping[str, Tensor], path: Path) -> None:
    """Writes tensors as safetensors; OSError for what the disk refuses."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        # Copies: tensors of a torch file may share memory, which safetensors does not store.
        copies = {name: tensor.contiguous().clone() for name, tensor in state.items()}
        save_file(copies, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise _disk_error(error) from error


def _disk_error(error: Exception) -> OSError:
    """safetensors reports what the disk refused as an error of its own, with the system's number in its words."""
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]) if number else 0, str(error))
