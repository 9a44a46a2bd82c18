"""Whether the endpoints answer as they did at another commit: the same requests to both, compared value by value.

    python -m benchmarks.answers --against 44693b4 [--page clip]

Both apps run from a checkout of their own, so uncommitted changes are compared too. The requests are the examples of each
page in both languages, and each page's other endpoints on its opening example. Times and paths of temporary files are left
out; files are compared by their bytes. Exits 1 where an answer differs. A drawing runs a few steps only.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.startup import first_page, free_port
from core import inputs, terminal
from demos import catalog

ROOT = Path(__file__).resolve().parents[1]
# Values that are another at each run.
TIMES = {"seconds", "milliseconds", "url"}
Request = tuple[str, dict[str, Any]]
# The endpoint of each page that takes an image and labels.
VERBS = {
    "clip": "/clip_classify",
    "chinese-clip": "/chinese_clip_classify",
    "lseg": "/lseg_segment",
    "groupvit": "/groupvit_segment",
    "vild": "/vild_detect",
    "glip": "/glip_ground",
}
BOTH, IMAGE = ("image", "labels"), ("image",)
# What each page answers besides: the endpoint, what it takes of the first example, and its own values.
OTHERS: dict[str, list[tuple[str, tuple[str, ...], dict[str, Any]]]] = {
    "clip": [
        ("/clip_compare_templates", BOTH, {}),
        ("/clip_compare", BOTH, {"other_checkpoint": "classroom-vit"}),
        ("/clip_counterfactual", BOTH, {"boxes": [[20, 20, 120, 160]]}),
        ("/clip_crops", BOTH, {"rows": 2, "columns": 3}),
        ("/clip_inside", BOTH, {}),
        ("/clip_inside", BOTH, {"method": "gradcam"}),
        ("/clip_attention", IMAGE, {"row": 1, "column": 1, "checkpoint": "classroom-vit"}),
        ("/clip_code", BOTH, {}),
    ],
    "chinese-clip": [("/chinese_clip_tokens", (), {"texts": ["红包", "a red envelope"]})],
    "lseg": [("/lseg_segment", BOTH, {"masks": True}), ("/lseg_regularize", BOTH, {})],
    "vild": [("/vild_detect", BOTH, {"variant": "text", "coco": True})],
    "clipasso": [("/clipasso_sketch", IMAGE, {"steps": 5, "strokes": 4})],
    "clipdraw": [("/clipdraw_draw", (), {"prompt": "a red envelope", "steps": 5, "strokes": 8})],
    "classroom": [
        ("/classroom_compose", (), {"objects": ["dog", "cat"]}),
        ("/classroom_dataset", (), {"scenes": 4}),
    ],
}


def requests(slug: str) -> Iterator[Request]:
    """The requests of a page: its verb on every example in both languages, then the others."""
    page = catalog.load(next(row for row in catalog.open_rows() if row.slug == slug))
    assert isinstance(page, catalog.Page), page
    declared = page.declared
    examples = declared.examples.rows() if declared is not None and declared.examples is not None else {}
    inputs_of_all = [
        {"image": row["path"], "labels": inputs.labels(row["labels"][lang])}
        for row in examples.values()
        if "path" in row
        for lang in ("en", "zh")
    ]
    if slug in VERBS:
        yield from ((VERBS[slug], one) for one in inputs_of_all)
    for name, taken, values in OTHERS.get(slug, []):
        yield name, {key: inputs_of_all[0][key] for key in taken} | values


def plain(value: Any) -> Any:
    """An answer without what is another at each run, with files as a digest of their bytes."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if key not in TIMES}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, str) and value.startswith("/") and Path(value).is_file():
        return hashlib.sha256(Path(value).read_bytes()).hexdigest()[:16]
    return value


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """One line for each place where two answers differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            if key not in old or key not in new:
                yield f"{where}.{key}: {'new' if key in new else 'gone'}"
            else:
                yield from differences(old[key], new[key], f"{where}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{where}[{i}]")
    elif old != new:
        yield f"{where}: {str(old)[:60]} -> {str(new)[:60]}"


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit, deleted afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="answers-"))
    try:
        archive = subprocess.run(
            ["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE
        ).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Asks both apps and prints what differs."""
    from gradio_client import Client, handle_file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--against", required=True, metavar="COMMIT")
    parser.add_argument("--page", choices=sorted(VERBS | OTHERS))
    arguments = parser.parse_args()

    def ask(client: Client, name: str, values: dict[str, Any]) -> Any:
        files = {key: handle_file(one) if key == "image" else one for key, one in values.items()}
        try:
            return plain(client.predict(**files, api_name=name))
        except Exception as problem:  # a refusal is an answer too
            return {"refused": str(problem)}

    slugs = [arguments.page] if arguments.page else list(dict.fromkeys([*VERBS, *OTHERS]))
    count, changed = 0, 0
    before, now = free_port(), free_port()
    with (
        checkout(arguments.against) as folder,
        first_page(["app.py"], before, folder),
        first_page(["app.py"], now),
    ):
        old, new = (
            Client(f"http://127.0.0.1:{port}", verbose=False, httpx_kwargs={"timeout": 300})
            for port in (before, now)
        )
        for slug in slugs:
            for name, values in requests(slug):
                count += 1
                lines = list(differences(ask(old, name, values), ask(new, name, values)))
                changed += bool(lines)
                for line in lines[:6]:
                    print(f"{name} {values.get('labels', '')}: {line}", flush=True)
    print(f"{count} requests, {changed} answers differ from {arguments.against}")
    sys.exit(1 if changed else 0)


if __name__ == "__main__":
    sys.exit(terminal.run(main))
