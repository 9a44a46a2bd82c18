"""The app as a Space runs it: nothing installed but requirements.txt, and models in ZeroGPU's forked workers.

The clean environment is a folder of links to exactly what requirements.txt brings with it, read by an interpreter that
looks nowhere else. `make space` makes a real one with pip and names its interpreter in SPACE_PYTHON.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from core.clip import ZeroShot
from core.inputs import image
from demos.kit import library
from tests.conftest import ROOT, get, process_of, running_app
from tests.wire import PATIENCE, Tab

pytestmark = pytest.mark.slow

PICTURE = library.shared()["red_envelope"]["path"]
LABELS = ["red envelope", "sheep", "airplane", "dog"]
FAKE = ROOT / "tests" / "fake_spaces"
# What pip itself puts into every environment.
ALWAYS = ("pip", "setuptools")


def closure(lines: list[str]) -> dict[str, Distribution]:
    """The distributions that requirements bring, directly and indirectly, on this machine."""
    found: dict[str, Distribution] = {}
    pending = [(Requirement(line), "") for line in lines]
    while pending:
        requirement, extra = pending.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            made = found.get(name) or distribution(name)
        except PackageNotFoundError:
            # Another platform's: torch names GPU libraries that its CPU build does not need.
            continue
        new = name not in found
        found[name] = made
        extras = ["", *requirement.extras] if new else [*requirement.extras]
        pending += [(Requirement(line), wanted) for line in made.requires or () for wanted in extras]
    return found


def pins() -> list[str]:
    """The lines of requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, str]]:
    """How to start Python where only requirements.txt is installed: the command, and its environment."""
    if own := os.environ.get("SPACE_PYTHON"):
        return [own], {"PYTHONPATH": str(FAKE)}
    folder = tmp_path_factory.mktemp("packages")
    for made in closure(pins()).values():
        for file in made.files or ():
            top = file.parts[0]
            source = Path(str(made.locate_file(top)))
            if top != ".." and top != "__pycache__" and not (folder / top).exists() and source.exists():
                (folder / top).symlink_to(source)
    # -S: the interpreter's own site-packages stay out.
    return [sys.executable, "-S"], {"PYTHONPATH": os.pathsep.join([str(folder), str(FAKE)])}


def run(clean: tuple[list[str], dict[str, str]], code: str) -> str:
    """What a line of Python prints in the clean environment."""
    command, environment = clean
    done = subprocess.run(
        [*command, "-c", code], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_the_environment_is_clean(clean: tuple[list[str], dict[str, str]]) -> None:
    code = "import importlib.util as u; print([n for n in ('pytest', 'playwright', 'ruff', 'mypy') if u.find_spec(n)])"
    assert run(clean, code) == "[]"
    wanted = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in pins()}
    code = f"from importlib.metadata import version; print({{n: version(n) for n in {list(wanted)!r}}})"
    # A local build tag, "+cpu" for one, is the same version.
    found = {name: version.split("+")[0] for name, version in eval(run(clean, code)).items()}
    assert found == wanted


def test_every_pin_is_exact_and_used() -> None:
    sources = "".join(
        path.read_text("utf-8")
        for path in [ROOT / "app.py", *ROOT.glob("core/**/*.py"), *ROOT.glob("demos/**/*.py")]
    )
    # Asked for by Gradio (mcp_server) and by torch's own companion alone.
    indirect = {"mcp"}
    modules = {"pillow": "PIL", "open-clip-torch": "open_clip", "huggingface-hub": "huggingface_hub"}
    for line in pins():
        assert re.fullmatch(r"[\w-]+==[\w.]+", line), line
        name = canonicalize_name(line.split("==")[0])
        module = modules.get(name, name)
        assert name in indirect or re.search(
            rf"^\s*(import|from) {module}\b|runtime\.whole\(\"{module}\"\)", sources, re.M
        ), line


@pytest.fixture(scope="module")
def space(
    clean: tuple[list[str], dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The app on a ZeroGPU Space in the clean environment: its address, and the log of the workers."""
    folder = tmp_path_factory.mktemp("space")
    command, environment = clean
    calls = folder / "calls.log"
    environment = {
        **environment,
        "SPACES_ZERO_GPU": "true",
        "SYSTEM": "spaces",
        "SPACE_ID": "someone/clip-atlas",
        "FAKE_SPACES_LOG": str(calls),
        # A worker that is forked from a process with a pool of OpenMP threads waits for threads it does not have; on
        # the real thing it computes on the GPU.
        "OMP_NUM_THREADS": "1",
    }
    log = folder / "app.log"
    with running_app(log, command=command, **environment) as url:
        yield url, calls
    assert "Traceback" not in log.read_text(), log.read_text()[-3000:]


def ask(url: str, labels: Any, **options: Any) -> dict[str, Any]:
    client = Client(url, verbose=False, httpx_kwargs={"timeout": PATIENCE})
    return client.predict(handle_file(PICTURE), labels, api_name="/clip_classify", **options)


def test_the_answer_is_a_workers_and_the_same(space: tuple[str, Path]) -> None:
    url, calls = space
    answer = ask(url, LABELS)
    here = ZeroShot.load(answer["checkpoint"], "cpu").classify(image(PICTURE), LABELS).to_json()
    assert [row["label"] for row in answer["results"]] == [row["label"] for row in here["results"]]
    assert [row["probability"] for row in answer["results"]] == pytest.approx(
        [row["probability"] for row in here["results"]], abs=1e-5
    )
    noted = [line.split() for line in calls.read_text().splitlines()]
    assert {"core.clip.zero_shot._encode_image", "core.clip.zero_shot._encode_text"} <= {
        row[1] for row in noted
    }
    server = str(process_of(url))
    assert all(parent == server and worker != server for _, _, parent, worker in noted)


def test_refusals_are_sentences_and_what_a_space_must_not_do_is_refused(space: tuple[str, Path]) -> None:
    url, _ = space
    with pytest.raises(AppError, match="There are no labels yet"):
        ask(url, " , ")
    # Unpinned weights, and weights that are not there.
    for name in ("clip-rn101", "clip-vit-b32"):
        with pytest.raises(AppError, match=r"no fixed revision|not on this machine"):
            ask(url, LABELS, checkpoint=name)
    assert "Training is switched off on this Space" in Tab(url).run("live-run", "click")
    assert json.loads(get(url + "/healthz")[1])["broken"] == []


def test_the_page_may_be_framed_by_the_hub(space: tuple[str, Path]) -> None:
    import urllib.request

    with urllib.request.urlopen(space[0] + "/healthz") as answer:
        assert "https://huggingface.co" in answer.headers["content-security-policy"]
