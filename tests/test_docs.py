"""Docs that cannot rot: generated tables, documented variables and commands, front matter that fits the pins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from demos import catalog

ROOT = Path(__file__).resolve().parents[1]
READMES = {"README.md": "en", "README.zh.md": "zh"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "lang"), READMES.items())
def test_the_table_of_papers_is_the_catalogs(name: str, lang: str) -> None:
    assert catalog.written(read(name), lang) == read(name), "run `python -m demos.catalog --write`"
    assert catalog.table(lang) in read(name)


@pytest.mark.parametrize("name", READMES)
def test_every_environment_variable_of_ours_is_documented(name: str) -> None:
    sources = [*ROOT.glob("core/**/*.py"), *ROOT.glob("demos/*.py"), ROOT / "app.py"]
    used = {found for path in sources for found in re.findall(r"CLIP_ATLAS_[A-Z_]+", path.read_text("utf-8"))}
    assert used
    assert used <= set(re.findall(r"CLIP_ATLAS_[A-Z_]+", read(name)))


@pytest.mark.parametrize("name", READMES)
def test_links_to_files_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", read(name)):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_the_spaces_front_matter_fits_the_pins() -> None:
    front = yaml.safe_load(read("README.md").split("---")[1])
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)$", read("requirements.txt"), re.M))
    assert front["sdk"] == "gradio" and front["sdk_version"] == pins["gradio"]
    assert front["app_file"] == "app.py" and (ROOT / front["app_file"]).exists()
    assert front["python_version"] in ("3.12.12", "3.10.13")  # what ZeroGPU accepts
    assert pins["torch"] == "2.11.0"
    assert len(front["short_description"]) <= 60
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {front["colorFrom"], front["colorTo"]} <= colours


def test_the_readmes_commands_exist() -> None:
    text = read("README.md")
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.M))
    assert set(re.findall(r"make ([a-z]+)", text)) <= targets
    for script in re.findall(r"python (app\.py)", text):
        assert (ROOT / script).exists(), script
    for module in re.findall(r"python -m ([\w.]+)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
