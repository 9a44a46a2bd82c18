"""HTML from values: what a visitor typed stays text, tables scroll."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from demos.kit import examples, numbers
from demos.kit.html import Markup, grid, join, row, share, table, tag


def test_texts_and_attributes_are_escaped_and_markup_is_not() -> None:
    inner = tag("b", "<script>", title='"quoted"')
    assert inner == '<b title="&#34;quoted&#34;">&lt;script&gt;</b>'
    assert tag("p", inner, " & more") == f"<p>{inner} &amp; more</p>"
    assert (
        tag("img", alt="", src="x", data_id=3, hidden=True, title=None)
        == '<img alt="" src="x" data-id="3" hidden>'
    )
    assert join(["<a>", Markup("<br>")], ", ") == "&lt;a&gt;, <br>"


def test_a_grid_has_a_head_and_scrolls() -> None:
    made = grid(["", "<score>"], [tag("tr", tag("td", "1"), tag("td", "2"))], "wide")
    assert made.startswith(
        '<div class="atlas-scroll" tabindex="0"><table class="atlas-grid wide"><thead><tr><td></td>'
    )
    assert (
        '<th scope="col">&lt;score&gt;</th>' in made
        and "<tbody><tr><td>1</td><td>2</td></tr></tbody>" in made
    )
    assert made.partition("<table")[2].startswith(' class="atlas-grid wide"')
    assert table(["a"], [], "kind").startswith('<table class="kind"><thead>')


def test_a_row_has_a_heading_and_cells_with_bars() -> None:
    cells = share(0.5, "<50 %>", tag("small", "+0.1"), best=True), share(0.25, "0.25")
    assert row("<dog>", *cells, kind="ours") == (
        '<tr class="ours"><th scope="row">&lt;dog&gt;</th>'
        '<td class="best" style="--share:50.0%">&lt;50 %&gt;<small>+0.1</small></td>'
        '<td style="--share:25.0%">0.25</td></tr>'
    )


def test_elements_of_svg_are_closed() -> None:
    """A rectangle without an end would hold the ones behind it, and make a file that no program reads."""
    shapes = (tag("rect", width=1), tag("circle", r=2))
    drawing = tag("svg", *shapes, xmlns="http://www.w3.org/2000/svg", viewBox="0 0 9 9")
    assert [child.tag.rpartition("}")[2] for child in ET.fromstring(drawing)] == ["rect", "circle"]
    assert tag("br") == "<br>"


@pytest.mark.parametrize(("lang", "word"), [("en", "published"), ("zh", "已发表")])
def test_published_numbers_are_marked(lang: str, word: str) -> None:
    published = {
        "what": {"en": "COCO", "zh": "COCO"},
        "value": "46.6",
        "source": {"en": "authors", "zh": "作者"},
    }
    ours = {
        "title": "<recall>",
        "split_title": "seen",
        "value": 0.9,
        "command": "python -m x",
        "language": "en",
    }
    made = numbers.number_table([published], [ours], lang)
    first, second = re.findall(r'<tr class="(?:published|ours)">.*?</tr>', made)
    assert "0.900" in first and word not in first and "46.6" in second and word in second
    assert "&lt;recall&gt;" in first and "python -m x" in first


def test_the_report_card_has_rows_of_a_paper_with_names_in_both_languages() -> None:
    english, chinese = (numbers.report_rows("glip", lang) for lang in ("en", "zh"))
    assert len(english) == len(chinese) > 0 and {row["paper"] for row in english} == {"glip"}
    assert any(row["title"] != other["title"] for row, other in zip(english, chinese, strict=True))


def test_photos_for_real_weights_stand_apart_in_the_strip() -> None:
    caption = {"en": "a <dog>", "zh": "狗"}
    rows = library_rows(caption)
    template = examples.strip(rows, "examples").html_template
    drawn, photos = re.findall(r"<section>.*?</section>", template)
    assert 'data-example="scene"' in drawn and 'data-example="photo"' in photos
    assert "real weights" in photos and "真实权重" in photos and "a &lt;dog&gt;" in photos
    assert examples.strip({"scene": rows["scene"]}, "examples").html_template.count("<section>") == 1
    assert examples.chosen("photo 171", rows) == "photo" and examples.chosen("other 171", rows) is None


def library_rows(caption: dict[str, str]) -> dict[str, dict[str, object]]:
    """An example scene and a photo with one caption."""
    from demos.kit import library

    path = library.shared()["flock"]["path"]
    return {
        "scene": {"path": path, "caption": caption},
        "photo": {"path": path, "caption": caption, "real": True},
    }
