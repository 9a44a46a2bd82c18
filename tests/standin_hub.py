"""A stand-in for the Hugging Face Hub on loopback, and repositories of random weights to put on it.

The server speaks what huggingface_hub 2.4 asks of the real one: `resolve` with its headers and its redirect
of large files to a storage host, ranges, model information, trees. Faults are switched on per repository or
file.

    python tests/standin_hub.py --root DIR --make clip-vit-b32 --registry DIR/registry.toml --port 8765
    HF_ENDPOINT=http://127.0.0.1:8765 HF_HOME=DIR/home CLIP_ATLAS_REGISTRY=DIR/registry.toml python app.py

Folders: ROOT/<owner>/<name>/<40-hex commit>/<file>; `main` is the only commit, or the last by name.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.checkpoints import integrity, registry

if TYPE_CHECKING:
    import pytest

LARGE = (".safetensors", ".bin", ".pt")  # kept in large-file storage: their etag is a sha256
CHUNK = 1 << 16
BLOCK = 1_000_003  # random numbers of a repository's weights
RESOLVE = re.compile(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
STORED = re.compile(r"/storage/([^/]+/[^/]+)/([^/]+)/(.+)")
MODELS = re.compile(r"/api/models/([^/]+/[^/]+?)(?:/(revision|tree|paths-info)/([^/]+))?")


@dataclass
class Fault:
    """What goes wrong with the requests whose repository or "repository/file" it is set on."""

    kind: str  # see StandInHub.fault
    after: int = 0  # bytes of a body before it happens
    rate: float = 0.0  # bytes per second
    times: float = math.inf  # requests left that it happens to


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class StandInHub:
    """The server's state: its repositories, its faults, what was asked."""

    root: Path
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    faults: dict[str, Fault] = field(default_factory=dict)
    sent: int = 0  # bytes of file bodies
    go: threading.Event = field(default_factory=threading.Event)  # what "stall" and "pause" wait for

    @property
    def url(self) -> str:
        """The value for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    def fault(self, where: str, kind: str, **details: float) -> None:
        """Switches a fault on.

        Args:
            where: "owner/name" or "owner/name/file".
            kind: "repo_404", "revision_404", "entry_404", "gated", "bad_token", "error" (500), "login_page"
                (a portal's 200 page in place of the Hub), or for bodies "cut", "slow", "wrong_bytes", "no_range",
                "pause" (silent until `go` is set, then the rest) and "stall" (silent until then, then cut).
            details: of `Fault`.
        """
        self.faults[where] = Fault(kind, **details)  # type: ignore[arg-type]

    def take(self, repo: str, file: str, *kinds: str) -> Fault | None:
        """The fault that hits this request, if one of these kinds does."""
        for where in (f"{repo}/{file}", repo):
            fault = self.faults.get(where)
            if fault and fault.kind in kinds and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def commit(self, repo: str, revision: str) -> Path | None:
        """The folder of a revision."""
        if revision != "main":
            folder = self.root / repo / revision
            return folder if folder.is_dir() else None
        return max((self.root / repo).iterdir(), default=None)


def etag(path: Path) -> str:
    """sha256 of a large file, git's blob hash of a small one, kept while the file does not change."""
    stat = path.stat()
    key = (path, stat.st_size, stat.st_mtime_ns)
    if key not in _etags:
        _etags[key] = integrity.digest(path, "0" * (64 if path.suffix in LARGE else 40))
    return _etags[key]


_etags: dict[tuple[Path, int, int], str] = {}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    hub: StandInHub

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        """Routes one request."""
        length = int(self.headers.get("Content-Length") or 0)
        posted = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(Request(self.command, path, dict(self.headers)))
        if match := RESOLVE.fullmatch(path):
            self.resolve(*match.groups())
        elif match := STORED.fullmatch(path):
            repo, commit, file = match.groups()
            self.body(repo, file, self.hub.root / repo / commit / file, {})
        elif match := MODELS.fullmatch(path):
            self.models(match.group(1), match.group(2), match.group(3) or "main", posted)
        else:
            self.refuse(404, None, "Not found")

    def refuse(self, status: int, code: str | None, message: str) -> None:
        """An error as the Hub words it."""
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.send(status, json.dumps({"error": message}).encode(), headers)

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """A short answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def find(self, repo: str, revision: str, file: str) -> Path | None:
        """The folder of a revision, or None after an error was sent."""
        hub = self.hub
        if hub.take(repo, file, "login_page"):
            self.send(200, b"<html>Please log in to the network</html>", {"Content-Type": "text/html"})
        elif hub.take(repo, file, "error"):
            self.refuse(500, None, "Internal error")
        elif hub.take(repo, file, "gated"):
            self.refuse(403, "GatedRepo", "Access to model is restricted. Ask for access.")
        elif hub.take(repo, file, "bad_token"):
            self.refuse(401, None, "Invalid credentials in Authorization header")
        elif not (hub.root / repo).is_dir() or hub.take(repo, file, "repo_404"):
            self.refuse(401, "RepoNotFound", "Repository not found")
        elif (folder := hub.commit(repo, revision)) is None or hub.take(repo, file, "revision_404"):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return folder
        return None

    def resolve(self, repo: str, revision: str, file: str) -> None:
        """A file: itself when small, a redirect to the storage host when large."""
        folder = self.find(repo, revision, file)
        if folder is None:
            return
        path, commit = folder / file, {"X-Repo-Commit": folder.name}
        if not path.is_file() or self.hub.take(repo, file, "entry_404"):
            self.send(404, b"", {"X-Error-Code": "EntryNotFound", **commit})
            return
        if path.suffix not in LARGE:
            self.body(repo, file, path, commit | {"ETag": f'"{etag(path)}"'})
            return
        # Another name of the same machine: what must not leave the Hub, the token, may not arrive there.
        location = f"http://localhost:{self.hub.port}/storage/{repo}/{folder.name}/{file}"
        linked = {"X-Linked-Etag": f'"{etag(path)}"', "X-Linked-Size": str(path.stat().st_size)}
        self.send(302, b"", {"Location": location, **linked, **commit})

    def body(self, repo: str, file: str, path: Path, headers: Mapping[str, str]) -> None:
        """The bytes of a file, from the start of the asked range, with the faults of bodies."""
        size, start = path.stat().st_size, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked and not self.hub.take(repo, file, "no_range"):
            start = int(asked.group(1))
            if start >= size:
                self.send(416, b"", {"Content-Range": f"bytes */{size}"})
                return
        self.send_response(206 if start else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        fault = self.hub.take(repo, file, "cut", "slow", "stall", "pause", "wrong_bytes") or Fault("none")
        with path.open("rb") as source:
            source.seek(start)
            if fault.kind in ("cut", "stall", "pause"):
                self.pour(source, fault.after, fault)
                if fault.kind != "cut":
                    self.hub.go.wait()
            if fault.kind in ("cut", "stall"):
                self.close_connection = True
                with suppress(OSError):  # the client may have gone first
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.pour(source, size, fault)

    def pour(self, source: BinaryIO, left: int, fault: Fault) -> None:
        """Sends at most `left` bytes of a file."""
        while left > 0 and not self.close_connection and (chunk := source.read(min(CHUNK, left))):
            if fault.kind == "wrong_bytes":
                chunk = bytes(len(chunk))
            left -= len(chunk)
            self.hub.sent += len(chunk)
            try:
                self.wfile.write(chunk)
            except OSError:  # the client went away
                self.close_connection = True
                return
            if fault.rate:
                time.sleep(len(chunk) / fault.rate)

    def models(self, repo: str, what: str | None, revision: str, posted: bytes) -> None:
        """Information about a repository, or its files."""
        folder = self.find(repo, revision, "")
        if folder is None:
            return
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        wanted = json.loads(posted).get("paths") if posted.startswith(b"{") else None
        files = []
        for path in paths:
            name, size = path.relative_to(folder).as_posix(), path.stat().st_size
            oid = etag(path)
            large = {"oid": oid, "sha256": oid, "size": size, "pointerSize": 135}
            extra = {"lfs": large} if path.suffix in LARGE else {}
            oid = hashlib.sha1(oid.encode()).hexdigest() if extra else oid
            files.append({"type": "file", "path": name, "size": size, "oid": oid, **extra})
        if what in ("tree", "paths-info"):
            found = [file for file in files if wanted is None or file["path"] in wanted]
            self.send(200, json.dumps(found).encode(), {"Content-Type": "application/json"})
            return
        siblings = [
            {
                "rfilename": file["path"],
                "blobId": file["oid"],
                **{k: file[k] for k in ("size", "lfs") if k in file},
            }
            for file in files
        ]
        info = {"id": repo, "modelId": repo, "sha": folder.name, "siblings": siblings, "private": False}
        self.send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})


@contextmanager
def serve(root: Path, port: int = 0) -> Iterator[StandInHub]:
    """Runs the server in a thread; port 0 takes a free one."""
    hub = StandInHub(root)
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.go.set()
        server.shutdown()
        server.server_close()


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Does in this process what HF_ENDPOINT does before the client is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )


def commit_of(row: registry.Checkpoint) -> str:
    """The commit a row's repository is written at: its own pin, or one made from its name."""
    return str(row.revision) if row.pinned else hashlib.sha1(row.name.encode()).hexdigest()


def make_repo(row: registry.Checkpoint, root: Path, seed: int = 0) -> dict[str, tuple[str, int]]:
    """Writes the repository of a registry row: real architecture and file names, random weights.

    Returns:
        (sha256, bytes) of each file, for `registry_text`.
    """
    folder = root / str(row.repo) / commit_of(row)
    folder.mkdir(parents=True, exist_ok=True)
    if row.loader.endswith(":load_chinese_clip"):
        write_chinese_clip(row, folder, seed)
    elif row.loader.endswith(":load_siglip"):
        write_siglip(row, folder, seed)
    else:
        import open_clip
        import torch

        config = open_clip.get_model_config(row.options["model"])
        kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
        with torch.device("meta"):
            model = kind(**config)
        write_weights(model, folder / row.files[0].path, seed)
    return {
        file.path: (integrity.sha256(folder / file.path), (folder / file.path).stat().st_size)
        for file in row.files
    }


def write_weights(model: Any, path: Path, seed: int) -> None:
    """Random tensors for every name of a state dict, scaled so that deep stacks do not fade or burst.

    Each is filled from one block of normal numbers, from a place of its own on: to draw hundreds of millions takes longer
    than all that is done with them. The block's length is prime, so no two rows of a matrix are the same.
    """
    import numpy as np
    import torch
    from safetensors.torch import save_file

    generator = np.random.Generator(np.random.SFC64(seed))
    block = generator.standard_normal(BLOCK, np.float32)
    state = {}
    for name, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        if not tensor.is_floating_point():
            last = shape[-1] if shape else 1
            state[name] = (
                torch.arange(last).expand(shape).clone() if shape else torch.zeros(shape, dtype=tensor.dtype)
            )
        elif name == "logit_scale":
            state[name] = torch.full(shape, math.log(1 / 0.07))
        elif name == "logit_bias":
            state[name] = torch.full(shape, -10.0)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            state[name] = torch.ones(shape)
        elif len(shape) < 2 and not name.endswith("class_embedding"):
            state[name] = torch.zeros(shape)
        else:
            scale = 0.02 if "embedding" in name else math.prod(shape[1:]) ** -0.5
            values = np.resize(np.roll(block, generator.integers(BLOCK)), shape)
            values *= np.float32(scale)
            state[name] = torch.from_numpy(values)
    if path.suffix == ".safetensors":
        save_file(state, path, metadata={"format": "pt"})
    else:
        torch.save(state, path)


def write_chinese_clip(row: registry.Checkpoint, folder: Path, seed: int) -> None:
    """Chinese-CLIP in the published sizes, with a vocabulary of the published length."""
    import torch
    from transformers import ChineseCLIPConfig, ChineseCLIPImageProcessor, ChineseCLIPModel

    large = "l14" in row.name
    pixels = 336 if "336" in row.name else 224
    vision = {"patch_size": 16, "image_size": pixels}
    if large:
        vision |= {
            "patch_size": 14,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
        }
    width = 768 if large else 512
    config = ChineseCLIPConfig(
        text_config={"vocab_size": 21128},
        vision_config=vision | {"projection_dim": width},
        projection_dim=width,
    )
    config.architectures = ["ChineseCLIPModel"]
    config.save_pretrained(folder)
    size = {"height": pixels, "width": pixels}
    ChineseCLIPImageProcessor(size=size, crop_size=size, do_center_crop=False).save_pretrained(folder)
    words = ["[PAD]", *(f"[unused{i}]" for i in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [chr(code) for code in range(33, 127) if not chr(code).isupper()] + list("，。、！？；：")
    words += [f"##{chr(code)}" for code in range(97, 123)]
    words += [chr(0x4E00 + i) for i in range(21128 - len(words))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    with torch.device("meta"):
        model = ChineseCLIPModel(config)
    write_weights(model, folder / "pytorch_model.bin", seed)


def write_siglip(row: registry.Checkpoint, folder: Path, seed: int) -> None:
    """SigLIP 2 in the published sizes; the tokenizer knows a few pieces of the published 256,000."""
    import torch
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    from tests import tiny

    pixels, patch = (256, 32) if "b32" in row.name else (224, 16)
    config = SiglipConfig(
        text_config={"vocab_size": 256_000}, vision_config={"image_size": pixels, "patch_size": patch}
    )
    config.architectures = ["SiglipModel"]
    config.save_pretrained(folder)
    SiglipImageProcessor(
        size={"height": pixels, "width": pixels}, resample=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(tiny.gemma_like(), ensure_ascii=False), "utf-8")
    with torch.device("meta"):
        model = SiglipModel(config)
    write_weights(model, folder / "model.safetensors", seed)


def registry_text(repos: Mapping[str, Mapping[str, tuple[str, int]]]) -> str:
    """The built-in registry with the digests of stand-in repositories: row name -> `make_repo`'s answer."""
    text = registry.BUILT_IN.read_text(encoding="utf-8")
    for name, files in repos.items():
        text = registry.edited(text, name, files)
    return text


def main() -> None:
    """Writes repositories if asked to, then serves until interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of repositories")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--make", nargs="*", default=[], metavar="ROW", help="registry rows to write first")
    parser.add_argument(
        "--registry", type=Path, help="write a registry with the digests of the made rows here"
    )
    parser.add_argument("--slow", type=float, metavar="BYTES_PER_S", help="hold every body to this rate")
    arguments = parser.parse_args()
    made = {}
    for name in arguments.make:
        print(f"writing {name} ...", flush=True)
        made[name] = make_repo(registry.row(name), arguments.root)
    if arguments.registry:
        arguments.registry.write_text(registry_text(made), encoding="utf-8")
    with serve(arguments.root, arguments.port) as hub:
        if arguments.slow:
            for row in registry.rows():
                hub.fault(str(row.repo), "slow", rate=arguments.slow)
        print(f"HF_ENDPOINT={hub.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
