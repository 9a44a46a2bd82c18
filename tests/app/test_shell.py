"""The frame of the pages: guarded handlers, pages that fail, endpoints, uploads, the checkpoint menu, app.py."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio.utils import get_upload_folder

from core import checkpoints
from core.checkpoints import Progress
from core.errors import Refusal
from core.runtime import Cancel
from demos import catalog
from demos.app import blocks, site
from demos.catalog import Page
from demos.kit import events as wiring
from demos.kit import files, menu, results
from demos.kit.language import Text

ROOT = Path(__file__).resolve().parents[2]
PNG = base64.b64encode(b"\x89PNG not decoded here").decode()


# --- building ------------------------------------------------------------------------------------------------


def fill(label: str) -> None:
    """A small page with an event."""
    box = gr.Textbox(label=label)
    button = gr.Button("Go")
    button.click(lambda text: text, box, box, api_visibility="private")


def test_our_pages_equal_those_of_route() -> None:
    """`blocks.page_at` stands in for Blocks.route(); what a browser gets has to be the same."""
    with gr.Blocks() as ours:
        fill("home")
        for name in ("one", "two"):
            with blocks.page_at(ours, name.title(), name):
                fill(name)
    with gr.Blocks() as theirs:
        fill("home")
    for name in ("one", "two"):
        with theirs.route(name.title(), name, show_in_navbar=False):
            fill(name)
    for name in ("", "one", "two"):
        left, right = outline(ours, name), outline(theirs, name)
        assert left == right
        assert left["events"] == [("button", "click", ["textbox"], ["textbox"])]
    assert ours.get_config_file()["pages"] == theirs.get_config_file()["pages"]


def outline(demo: gr.Blocks, slug: str) -> dict[str, Any]:
    """A page as its tree of component types and its events between them; ids depend on the order of closing."""
    config = demo.get_config_file()
    page = config["page"][slug]
    types = {item["id"]: item["type"] for item in config["components"]}

    def tree(node: Any) -> Any:
        return types.get(node["id"], "root"), [tree(child) for child in node.get("children") or []]

    return {
        "layout": tree(page["layout"]),
        "types": sorted(types[number] for number in page["components"]),
        "events": [
            (types[target], event, [types[i] for i in item["inputs"]], [types[i] for i in item["outputs"]])
            for item in config["dependencies"]
            if item["id"] in page["dependencies"]
            for target, event in item["targets"]
        ],
    }


def page_values(demo: gr.Blocks, slug: str) -> str:
    """Everything that the components of a page show."""
    config = demo.get_config_file()
    own = set(config["page"][slug]["components"])
    return "\n".join(
        str(item["props"].get("value"))
        for item in config["components"]
        if item["id"] in own and item["props"].get("visible") is not False
    )


@pytest.fixture
def one_row(monkeypatch: pytest.MonkeyPatch) -> catalog.Entry:
    """A catalog of a single page."""
    row = replace(catalog.entry("clip"), module="atlas_test_page")
    monkeypatch.setattr(catalog, "PAGES", (row,))
    return row


def test_a_page_that_does_not_import_says_why(
    one_row: catalog.Entry, caplog: pytest.LogCaptureFixture
) -> None:
    demo = site.build()
    shown = page_values(demo, "clip")
    assert "ModuleNotFoundError" in shown and "atlas_test_page" in shown
    assert "does not load" in shown and "无法" in shown
    assert "atlas_test_page" in caplog.text


def test_a_page_that_fails_half_way_hides_what_it_began(
    one_row: catalog.Entry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def build() -> None:
        gr.Textbox("half a page", label="x")
        raise ValueError("<no> labels")

    monkeypatch.setattr(
        catalog, "load", lambda row: Page(row.slug, row.title, getattr(row, "paper", None), row.idea, build)
    )
    demo = site.build()
    shown = page_values(demo, "clip")
    assert "ValueError: &lt;no&gt; labels" in shown and one_row.paper.title in shown
    hidden = [item for item in demo.get_config_file()["components"] if item["props"].get("visible") is False]
    assert any(item["type"] == "column" for item in hidden)


def test_only_named_verbs_are_public() -> None:
    demo = site.build()
    slugs = {row.slug.replace("-", "_") for row in (*catalog.PAGES, *catalog.ROOMS)}
    public = {fn.api_name for fn in demo.fns.values() if fn.api_visibility == "public"}
    assert {"clip_classify", "clip_compare_templates"} <= public
    for name in public:
        assert any(str(name).startswith(f"{slug}_") for slug in slugs), name
    # A wait in line has an end, and nothing goes past the line.
    assert demo.api_open is False and 0 < demo._queue.max_size <= 1000


# --- handlers ------------------------------------------------------------------------------------------------


def test_a_handler_that_succeeds_empties_the_message() -> None:
    assert wiring.guarded(lambda a, lang: (a, lang), 2)("x", "zh") == ("", "x", "zh")


def test_a_handler_in_the_background_leaves_the_message_of_another() -> None:
    def steps(lang: str) -> Iterator[tuple[str]]:
        yield (lang,)

    assert wiring.guarded(lambda lang: (lang,), 1, clears=False)("en") == (gr.skip(), "en")
    assert list(wiring.guarded(steps, 1, clears=False)("en")) == [(gr.skip(), "en")]
    request: Any = SimpleNamespace(session_hash="session")
    handler = wiring.with_session(lambda session, lang: (session,), 1, clears=False)
    assert handler(request, "en") == (gr.skip(), "session")


@pytest.mark.parametrize(("lang", "word"), [("en", "labels"), ("zh", "标签"), ("fr", "labels")])
def test_a_refusal_is_one_sentence_in_the_language_of_the_page(lang: str, word: str) -> None:
    def refuse(lang: str) -> Any:
        raise Refusal("too_many_labels", count="<b>", limit=100)

    message, *rest = wiring.guarded(refuse, 2)(lang)
    assert 'role="alert"' in message and word in message and "&lt;b&gt;" in message
    assert rest == [gr.skip(), gr.skip()]


def test_any_other_failure_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    def fail(lang: str) -> Any:
        raise KeyError("secret path /etc")

    message, still = wiring.guarded(fail, 1)("zh")
    assert wiring.WRONG.zh in message and "secret" not in message and still == gr.skip()
    assert "secret path" in caplog.text and "Traceback" in caplog.text


def test_a_generator_keeps_what_it_showed_and_is_closed() -> None:
    closed = threading.Event()

    def steps(n: int, lang: str) -> Iterator[tuple[int]]:
        try:
            for i in range(n):
                yield (i,)
            raise Refusal("cancelled")
        finally:
            closed.set()

    seen = list(wiring.guarded(steps, 1)(2, "en"))
    assert seen[:2] == [("", 0), ("", 1)] and "Stopped." in seen[2][0] and closed.is_set()
    closed.clear()
    stream = wiring.guarded(steps, 1)(5, "en")
    assert next(stream) == ("", 0)
    stream.close()
    assert closed.is_set()


def test_an_endpoint_says_refusals_and_nothing_else() -> None:
    with pytest.raises(gr.Error, match="Stopped"), wiring.api_errors():
        raise Refusal("cancelled")
    with pytest.raises(gr.Error) as caught, wiring.api_errors():
        raise OSError("/secret")
    assert "secret" not in str(caught.value)


# --- files ---------------------------------------------------------------------------------------------------


def test_an_upload_of_this_server_is_taken_and_nothing_else(tmp_path: Path) -> None:
    folder = Path(get_upload_folder()) / "atlas-test"
    folder.mkdir(parents=True, exist_ok=True)
    own, other = folder / "a.png", tmp_path / "b.png"
    own.write_bytes(b"1")
    other.write_bytes(b"2")
    link = folder / "c.png"
    link.unlink(missing_ok=True)
    link.symlink_to(other)
    try:
        assert files.uploaded({"path": str(own)}) == files.uploaded(str(own)) == str(own.resolve())
        assert files.uploaded({"path": str(own), "url": f"http://h/gradio_api/file={own}"}) == str(
            own.resolve()
        )
        for bad in (
            str(other),
            str(link),
            str(folder / ".." / ".." / "etc" / "passwd"),
            str(folder),
            str(folder / "none.png"),
            "http://example.org/x.png",
            "a\0b",
            "",
            7,
            None,
        ):
            with pytest.raises(Refusal) as caught:
                files.uploaded({"path": bad})
            assert caught.value.code == "not_uploaded"
    finally:
        own.unlink()
        link.unlink()


@pytest.mark.parametrize("where", ["path", "url"])
def test_a_data_uri_is_decoded_here(where: str) -> None:
    value = {"path": "", "url": None, where: f"data:image/png;base64,{PNG}"}
    assert files.uploaded(value) == b"\x89PNG not decoded here"
    for bad in ("data:image/png,abc", "data:image/png;base64,***"):
        with pytest.raises(Refusal) as caught:
            files.uploaded({"path": bad})
        assert caught.value.code == "bad_data_uri"


def test_a_page_without_a_picture_is_told_so() -> None:
    for nothing in (None, ""):
        with pytest.raises(Refusal) as caught:
            files.image_source(nothing)
        assert caught.value.code == "no_image"


def test_downloads_carry_their_data_and_escape_their_name() -> None:
    body = files.downloads([('a"b.csv', "text/csv", "猫".encode())])
    assert 'download="a&#34;b.csv"' in body and ">CSV</a>" in body
    assert base64.b64decode(body.split("base64,")[1].split('"')[0]).decode() == "猫"


# --- the checkpoint menu -------------------------------------------------------------------------------------


def test_every_row_shows_size_and_licence_before_a_download() -> None:
    for row in checkpoints.rows("clip"):
        body = menu.card(row.name)
        assert row.licence in body and checkpoints.human(row.size_bytes) in body
        if menu.needs_download(row.name):
            for lang in ("en", "zh"):
                assert checkpoints.human(row.size_bytes) in menu.cost(row.name, lang)
                assert row.licence in menu.cost(row.name, lang)
        else:
            assert menu.cost(row.name, "en") == ""
    labels = [label for label, _ in menu.choices("clip", "zh")]
    assert len(labels) == len(set(labels)) == len(checkpoints.rows("clip"))
    assert any("内置" in label for label in labels)


@pytest.mark.parametrize(
    ("progress", "parts"),
    [
        (None, ["Asking the Hub", 'aria-valuenow="0"']),
        (Progress("f", 0, 0, 0.0, 0.0, None), ["Asking the Hub"]),
        (
            Progress("f", 302_500_000, 605_000_000, 10.0, 30_250_000.0, 75.4),
            ["50%", "302 MB / 605 MB", "30 MB/s", "1:15 left", 'aria-valuenow="50"', "width:50.0%"],
        ),
    ],
)
def test_the_bar_says_how_far_it_is(progress: Progress | None, parts: list[str]) -> None:
    body = menu.bar(progress, "en")
    assert 'role="progressbar"' in body
    for part in parts:
        assert part in body


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """`checkpoints.steps` that reports progress, refuses when it is told to, and notes how it ended."""
    seen: dict[str, Any] = {"closed": False, "refuse": False}

    def steps(name: str, *, cancel: Cancel) -> Generator[Progress, None, dict[str, Path]]:
        try:
            if seen["refuse"]:
                raise Refusal("hub_unreachable", endpoint="<hub>")
            for done in range(12):
                cancel.check()
                yield Progress("f", done, 12, 0.1 * done, 10.0, 1.0)
            return {}
        except GeneratorExit:
            seen["closed"] = True
            raise

    monkeypatch.setattr(checkpoints, "steps", steps)
    return seen


def test_a_download_reports_and_ends(steps: dict[str, Any]) -> None:
    first, *rest = menu.download("clip-vit-b32", Cancel())
    assert first is None and [progress.done for progress in rest if progress] == list(range(12))
    assert not steps["closed"]


def test_closing_the_tab_stops_the_download(steps: dict[str, Any]) -> None:
    job = menu.download("clip-vit-b32", Cancel())
    next(job)
    next(job)
    job.close()
    assert steps["closed"]


@pytest.mark.usefixtures("steps")
def test_stop_ends_the_download() -> None:
    cancel = Cancel()
    job = menu.download("clip-vit-b32", cancel)
    next(job)
    cancel.set()
    with pytest.raises(Refusal) as caught:
        list(job)
    assert caught.value.code == "cancelled"


def test_a_handler_can_know_its_session() -> None:
    class Request:
        session_hash = "abc"

    def name(session: str, value: int, lang: str) -> tuple[str, int, str]:
        return session, value, lang

    def names(session: str, value: int, lang: str) -> Iterator[tuple[str, int, str]]:
        yield session, value, lang

    assert wiring.with_session(name, 3)(Request(), 7, "zh") == ("", "abc", 7, "zh")
    assert list(wiring.with_session(names, 3)(Request(), 7, "zh")) == [("", "abc", 7, "zh")]


def test_a_refused_download_is_one_sentence(steps: dict[str, Any]) -> None:
    steps["refuse"] = True
    with pytest.raises(Refusal, match="cannot be reached"):
        list(menu.download("clip-vit-b32", Cancel()))


# --- result line, links, app.py ------------------------------------------------------------------------------


def test_the_result_line_names_time_checkpoint_and_machine() -> None:
    name = checkpoints.default("clip")
    for lang, seconds in (("en", "0.03 s"), ("zh", "0.03 秒")):
        line = results.line(0.0345, name, "cpu", lang, "<i>")
        title = checkpoints.row(name).title[lang]
        assert seconds in line and line.count(title) == 1 and "cpu" in line and "&lt;i&gt;" in line


def test_every_open_page_has_a_title_of_its_own() -> None:
    titles = site.titles()
    assert titles[""] == Text("CLIP Atlas", "CLIP Atlas 图文模型图谱")
    assert titles["clip"].en.startswith("CLIP ·")
    # Besides the pages of the catalog, those without Gradio that a page brings with it.
    plain = {"class", "lectern", "worksheet"}
    assert set(titles) == {"", *(row.slug for row in catalog.open_rows()), *plain}
    assert not {row.slug for row in catalog.PAGES if not row.ready} & set(titles)


def app(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs app.py to its end."""
    return subprocess.run(
        [sys.executable, "app.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_command_line_explains_itself_without_loading_the_hub() -> None:
    answer = app("--help", PYTHONPROFILEIMPORTTIME="1")
    assert answer.returncode == 0 and "--default {hub,classroom}" in answer.stdout
    imported = {line.rsplit("|")[-1].strip().split(".")[0] for line in answer.stderr.splitlines()}
    assert "argparse" in imported and not {"gradio", "torch", "huggingface_hub"} & imported
    assert app("--default", "nothing").returncode == 2


def test_importing_the_app_gives_a_demo_and_starts_nothing() -> None:
    code = (
        "import app, threading; print(type(app.demo).__name__, len(app.demo.pages), threading.active_count())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=600
    )
    name, pages, threads = answer.stdout.split()[-3:]
    assert name == "Blocks" and int(pages) == 1 + len(catalog.open_rows()) and int(threads) <= 3
