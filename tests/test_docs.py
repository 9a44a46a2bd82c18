"""Documents that cannot rot: twins, links, generated tables, commands, variables, endpoints and checkpoints that exist."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from core import checkpoints, documents
from core.checkpoints.__main__ import described as checkpoint_table
from core.checkpoints.__main__ import known_table
from core.classroom import report
from demos import catalog
from demos.app import site

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [str(path.relative_to(ROOT)) for path in documents.documents()]
ENGLISH = [name for name in DOCUMENTS if not name.endswith(".zh.md")]
README_LINES = 150
# Written by hand in English alone.
OTHERS = ["CONTRIBUTING.md", "CHANGELOG.md"]
MAKE = {
    "papers": lambda _, lang: catalog.table(lang),
    "checkpoints": checkpoint_table,
    "known": known_table,
    "report": report.described,
}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def twin(name: str) -> str:
    """The Chinese document of an English one."""
    return name.removesuffix(".md") + ".zh.md"


@cache
def everything() -> str:
    """All documents of both languages."""
    return "\n".join(read(name) for name in [*DOCUMENTS, *OTHERS])


def outside_code(text: str) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


# --- the documents themselves --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_a_readme_is_short(name: str) -> None:
    assert len(read(name).splitlines()) < README_LINES


@pytest.mark.parametrize("name", ENGLISH)
def test_a_document_has_its_chinese_twin(name: str) -> None:
    english, chinese = read(name), read(twin(name))
    for what, pattern in (("headings", r"^(#+) "), ("code", r"^```(\w*)$"), ("tables", r"^(\| --- )")):
        ours, theirs = (re.findall(pattern, text, re.M) for text in (english, chinese))
        if what == "headings":  # headings inside code are comments
            ours, theirs = (re.findall(pattern, outside_code(text), re.M) for text in (english, chinese))
        assert ours == theirs, what
    marks = r"<!-- (?!papers)(\w+: .*?) -->"
    assert re.findall(marks, english) == re.findall(marks, chinese)
    # A Chinese document leads to Chinese documents.
    for target in re.findall(r"\]\(([^)#]+\.md)", chinese):
        if (ROOT / twin(name)).parent.joinpath(twin(target)).exists():
            assert target == "README.md" or target.endswith(("../README.md", ".zh.md")), target


def test_every_chinese_document_is_a_twin() -> None:
    assert {name for name in DOCUMENTS if name.endswith(".zh.md")} == {twin(name) for name in ENGLISH}


@pytest.mark.parametrize("name", [*DOCUMENTS, *OTHERS])
def test_links_lead_somewhere(name: str) -> None:
    folder = (ROOT / name).parent
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", outside_code(read(name))):
        if target.startswith("http"):
            continue
        path = folder / target if target else ROOT / name
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", outside_code(path.read_text("utf-8")), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, f"{target}#{anchor}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_generated_tables_are_up_to_date(name: str) -> None:
    text, lang = read(name), "zh" if name.endswith(".zh.md") else "en"
    for mark, make in MAKE.items():
        assert documents.filled(text, lang, mark, make) == text, "run `make docs`"
        assert text.count(f"<!-- {mark}: ") == text.count(f"<!-- /{mark} -->")


@pytest.mark.parametrize(("name", "lang"), [("README.md", "en"), ("README.zh.md", "zh")])
def test_the_readme_has_the_table_of_papers(name: str, lang: str) -> None:
    assert catalog.table(lang) in read(name)


def test_every_open_paper_has_its_document() -> None:
    pages = {Path(name).stem for name in ENGLISH if name.startswith("docs/pages/")}
    assert pages == {row.slug for row in catalog.PAGES if row.ready}


# --- what they name ------------------------------------------------------------------------------------------


def test_every_environment_variable_of_ours_is_documented() -> None:
    sources = [*ROOT.glob("core/**/*.py"), *ROOT.glob("demos/**/*.py"), ROOT / "app.py"]
    used = {name for path in sources for name in re.findall(r"CLIP_ATLAS_[A-Z_]+", path.read_text("utf-8"))}
    for ending in (".md", ".zh.md"):
        names = [name for name in DOCUMENTS if name.endswith(".zh.md") == (ending == ".zh.md")]
        documented = set(re.findall(r"CLIP_ATLAS_[A-Z_]+", "\n".join(map(read, names))))
        assert used and documented == used


@pytest.mark.parametrize("name", [*DOCUMENTS, *OTHERS])
def test_the_commands_exist(name: str) -> None:
    text = read(name)
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.M))
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.M | re.S)
    code = "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", outside_code(text))])
    assert set(re.findall(r"^make ([a-z]+)", code, re.M)) <= targets
    for module in re.findall(r"python -m ([a-z_][\w.]*)", code):
        assert importlib.util.find_spec(module), module
    for path in re.findall(
        r"^(?:python|pytest|\.venv/bin/python -m pytest) (?!-m)([\w./-]+\.py)", code, re.M
    ):
        assert (ROOT / path).exists(), path


@pytest.fixture(scope="module")
def endpoints() -> set[str]:
    """The names of the app's public endpoints."""
    demo = site.build()
    return {
        str(event.api_name) for event in demo.fns.values() if event.api_visibility == "public" and event.fn
    }


@pytest.mark.parametrize("name", ["docs/api.md", "docs/api.zh.md"])
def test_the_table_of_endpoints_is_the_apps(name: str, endpoints: set[str]) -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", read(name), re.M)) == endpoints


def test_endpoints_that_examples_call_exist(endpoints: set[str]) -> None:
    called = set(re.findall(r'api_name="/(\w+)"', everything()))
    assert called and called <= endpoints


def test_checkpoints_that_are_named_are_rows() -> None:
    rows = {row.name for row in checkpoints.rows()}
    named = set(re.findall(r"--checkpoint ([a-z][\w-]*-[\w-]+)", everything()))
    named |= set(re.findall(r"checkpoint=\"([\w-]+)\"", everything()))
    named |= set(re.findall(r"core\.checkpoints (?:fetch|import|pin) ([a-z][\w-]+)", everything()))
    # What looks like a row in running text: the first word of one, and a hyphen.
    first = "|".join(sorted({name.split("-")[0] for name in rows}))
    named |= set(re.findall(rf"`((?:{first})-[\w-]+)`", everything()))
    assert named and named <= rows


@pytest.mark.parametrize("slug", [row.slug for row in catalog.PAGES if row.ready])
def test_tabs_that_a_document_lists_are_on_the_page(slug: str) -> None:
    folders = [ROOT / "demos" / name for name in (slug.replace("-", "_"), "kit", "draw")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".toml")]
    texts = "\n".join(path.read_text("utf-8") for path in files)
    for ending, name in ((".md", r"\*([^*]+)\*"), (".zh.md", r"“([^”]+)”")):
        for tab in re.findall(rf"^- {name}", read(f"docs/pages/{slug}{ending}"), re.M):
            assert f'"{tab}"' in texts, f"docs/pages/{slug}{ending} lists {tab}"


# --- the Space -----------------------------------------------------------------------------------------------


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
