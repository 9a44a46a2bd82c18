"""Both languages everywhere: every text of the shell, the catalog and the built pages has a Chinese twin."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from demos import catalog
from demos.app import home, site
from demos.kit import language
from demos.kit.language import Text, both, head, pick, tr

CHINESE = re.compile(r"[\u4e00-\u9fff]")
# What is shown to people, by property of a component.
SHOWN = ("label", "placeholder", "info")


@pytest.fixture(scope="module")
def components() -> list[dict[str, Any]]:
    """The components of every page, as browsers get them."""
    return site.build().get_config_file()["components"]


def test_a_pair_is_registered_once_and_travels_once_in_each_language() -> None:
    """A browser of Taiwan, for one, reads Chinese too: tests/browser/test_clip.py."""
    marker = tr("A test of {braces}", "带{花括号}的测试")
    assert marker.key == tr("A test of {braces}", "带{花括号}的测试").key
    assert marker.key != tr("A test of {braces}", "另一个").key
    tables = language.translations().translations_dict
    assert tables["en"][marker.key] == "A test of {braces}"
    assert tables["zh-CN"][marker.key] == "带{花括号}的测试"
    assert set(tables) == {"en", "zh-CN"}
    assert 'lang === "zh" ? "zh-CN" : "en"' in head({})


def test_keys_are_plain_names() -> None:
    # Gradio would read a dot as a way down a tree.
    tr("Ends with a dot.", "以句号结尾。")
    assert all(re.fullmatch(r"\w+", key) for key in language.translations().translations_dict["en"])


def test_every_pair_has_a_chinese_side(components: list[dict[str, Any]]) -> None:
    tables = language.translations().translations_dict
    assert len(tables["en"]) > 10
    for key, text in tables["en"].items():
        chinese = tables["zh-CN"][key]
        assert chinese.strip() and text.strip()
        # The name of a row may have Chinese punctuation alone.
        written = CHINESE.search(chinese) or "（" in chinese or chinese == text
        assert written, f"“{text}” has no Chinese: “{chinese}”"
        assert not CHINESE.search(text) or text == chinese


def test_components_show_nothing_in_one_language_only(components: list[dict[str, Any]]) -> None:
    found = []
    for component in components:
        props = component["props"]
        if props.get("visible") in (False, "hidden") or component["type"] in (
            "navbar",
            "browserstate",
            "api",
        ):
            continue
        shown = [props.get(name) for name in SHOWN]
        if component["type"] in ("button", "downloadbutton", "markdown"):
            shown.append(props.get("value"))
        for text in shown:
            # Code is the same in both: a block of it, under the names of its module and its function.
            text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL) if isinstance(text, str) else ""
            if re.search(r"[A-Za-z]{3}", text) and not text.startswith("__i18n__"):
                found.append((component["type"], text))
    # Notation is the same in both.
    allowed = {"a photo of a {}."}
    assert [pair for pair in found if pair[1] not in allowed] == []


def test_html_bodies_hold_both_languages(components: list[dict[str, Any]]) -> None:
    bodies = [c["props"]["value"] for c in components if c["type"] == "html" and c["props"].get("value")]
    assert len(bodies) >= 4
    for body in bodies:
        assert body.count('class="l-en"') == body.count('class="l-zh"') > 0


def test_the_catalog_speaks_both() -> None:
    for row in catalog.PAGES:
        assert CHINESE.search(row.idea.zh) and not CHINESE.search(row.idea.en)
        assert row.title.en and row.title.zh
    assert all(CHINESE.search(kind.zh) for kind in catalog.KINDS.values())


def test_the_map_shows_each_language_once() -> None:
    body = home.family_map()
    assert body.count('class="kind l-en"') == body.count('class="kind l-zh"') == len(catalog.KINDS)
    # A name that differs is there twice, one that does not is not marked.
    for row in catalog.PAGES:
        shown = body.count(f">{row.title.en}</text>")
        assert shown == 1, row.slug


def test_pick_and_both() -> None:
    assert pick("zh", "en", "中") == "中" and pick("en", "en", "中") == pick("fr", "en", "中") == "en"
    assert both("a", "甲") == '<span class="l-en" lang="en">a</span><span class="l-zh" lang="zh-CN">甲</span>'
    assert language.both_of(Text("<b>", "&")) == both("&lt;b&gt;", "&amp;")


def test_titles_cannot_end_the_script() -> None:
    made = head({"": Text("</script><script>alert(1)", "题")})
    assert made.count("</script>") == 1 and made.endswith("</script>")
    table = re.search(r"const TITLES = (\{.*?\});", made)
    assert table and json.loads(table[1])[""]["zh"] == "题"
