"""`python -m core search`: an index from the shell.

python -m core search index FOLDER                   bring the index up to date with a folder
python -m core search "a dog - grass" --kind video   find moments; also --image FILE, --sound FILE
python -m core search serve                          the page, over the same index
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from core import checkpoints, inputs, terminal
from core.errors import Refusal
from core.search import media, store
from core.search.store import Filter, Store

ROOT = Path(__file__).resolve().parents[2]


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb to the command line."""
    verb = verbs.add_parser(
        "search",
        help="find files and moments by words, an image or a sound (CLIFS)",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("words", nargs="*", help='"index" and a folder, "serve", or what to look for')
    verb.add_argument("--image", type=Path, action="append", default=[], help="an image to look for")
    verb.add_argument("--sound", type=Path, action="append", default=[], help="a sound to look for")
    verb.add_argument(
        "--kind", action="append", choices=media.KINDS, default=[], help="of the files; repeatable"
    )
    verb.add_argument("--folder", default="", help="only below this folder of the collection")
    verb.add_argument("--after", default="", help="only what was taken since this day, 2026-11-30")
    verb.add_argument("--before", default="", help="only what was taken before this day")
    verb.add_argument("--larger", default="", help="only files of at least this size, 200kB")
    verb.add_argument("--smaller", default="", help="only files of at most this size, 5MB")
    verb.add_argument("--count", type=int, default=12, help="hits; 12 without it")
    verb.add_argument("--root", help="the collection; a folder's own address without it")
    verb.add_argument(
        "--store",
        help=f"the index: a folder, s3://..., db://... or qdrant://...; {store.VARIABLE} without it",
    )
    verb.add_argument("--checkpoint", help="a CLIP row of `python -m core.checkpoints list`")
    verb.add_argument("--retry", action="store_true", help="of index: try refused files again")
    verb.add_argument(
        "--ray", metavar="ADDRESS", help='of index: encode on a Ray cluster; "local" for this machine'
    )
    verb.add_argument("--exact", action="store_true", help="compare every vector")
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb and returns the exit status."""
    match arguments.words:
        case ["index", folder]:
            return index(arguments, Path(folder))
        case ["serve"]:
            return serve(arguments)
    return find(arguments)


def serve(arguments: argparse.Namespace) -> int:
    """Becomes the app, with this index."""
    if arguments.store:
        os.environ[store.VARIABLE] = arguments.store
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "app.py"])


def index(arguments: argparse.Namespace, folder: Path) -> int:
    """Brings the index up to date and says what failed; the status is 0 also where some files were refused."""
    from core.search import index as indexing
    from core.search.spaces import Space

    space = Space(arguments.checkpoint or checkpoints.default("clip"))
    opened = store.open_store(arguments.store)
    last = None
    with ExitStack() as stack:
        encode = None
        if arguments.ray:
            from core.search.cluster import Cluster

            encode = stack.enter_context(Cluster(arguments.ray)).encode
        given: dict[str, Any] = {"root": arguments.root, "retry": arguments.retry, "encode": encode}
        for step in indexing.update(opened, space, folder, limited=False, **given):
            last = step
            if not arguments.json:
                terminal.progress(f"{step.done}/{step.total} files, about {step.seconds_left:.0f} s left")
    assert last is not None
    table = opened.table(space.visual)
    stats = table.stats()
    answer = {
        "checkpoint": space.checkpoint,
        "store": opened.url,
        **{name: getattr(last, name) for name in ("done", "unchanged", "moved", "gone", "hidden")},
        "refused": {path: refusal.text("en") for path, refusal in last.failures},
        "files": stats.files,
        "pieces": stats.pieces,
    }
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=False))
        return 0
    terminal.progress("")
    for path, refusal in last.failures:
        print(f"{inputs.visible(path)}: {refusal.text()}", file=sys.stderr)
    print(
        f"{last.done} new, {last.unchanged} unchanged, {last.moved} moved, {last.gone} gone, {len(last.failures)} refused, "
        f"{last.hidden} hidden; {stats.files} files and {stats.pieces} pieces in {opened.url}"
    )
    return 0


def find(arguments: argparse.Namespace) -> int:
    """Prints the hits; the status is 1 where nothing lies above chance."""
    from core.search import query
    from core.search.spaces import Space

    terms = query.parse(" ".join(arguments.words)) if arguments.words else []
    terms += [query.Term(inputs.image(path)) for path in arguments.image]
    terms += [query.Term(inputs.sound(path)) for path in arguments.sound]
    if not terms:
        raise Refusal("search_query")
    where = Filter.of_texts(
        (arguments.root,) if arguments.root else (),
        kinds=arguments.kind,
        **{name: getattr(arguments, name) for name in ("folder", "after", "before", "larger", "smaller")},
    )
    space = Space(arguments.checkpoint or checkpoints.default("clip"))
    opened: Store = store.open_store(arguments.store)
    found = query.search(opened, space, terms, where, size=arguments.count, exact=arguments.exact)
    if arguments.json:
        print(json.dumps(found.to_json(), ensure_ascii=False))
        return 0 if found.above else 1
    print(
        f"{found.checkpoint}, {1000 * found.seconds:.0f} ms, {found.stats.files} files, {found.above} above chance"
    )
    for hit in found.hits:
        at = f"{hit.row.start:7.1f} s" if hit.row.end else " " * 9
        mark = " " if hit.is_above else "?"
        print(
            f"{mark} {hit.score:+.3f} {hit.fit:5.1f}  {hit.row.kind:5} {at}  {inputs.visible(hit.row.path)}"
        )
    return 0 if found.above else 1
