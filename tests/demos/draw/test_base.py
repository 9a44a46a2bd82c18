"""Drawing: numbers end up where they should, typed text is escaped, colours are ordered by lightness."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from demos.draw import base as draw

ROWS = [
    {"label": "a dog", "probability": 0.75, "cosine": 0.31},
    {"label": "<script>alert(1)</script>", "probability": 0.2499, "cosine": 0.28},
    {"label": '猫 & "co"', "probability": 0.0001, "cosine": -0.05},
]


class Tags(HTMLParser):
    """The elements and the text of a piece of HTML; fails on tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.append(tag)
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(1.0, "100%"), (0.9999, "100%"), (0.999, "99.9%"), (0.5, "50.0%"), (0.0005, "0.1%"), (0.0001, "<0.1%")],
)
def test_percent_never_says_zero_or_all_by_mistake(probability: float, shown: str) -> None:
    assert draw.percent(probability) == shown


@pytest.mark.parametrize(("lang", "word"), [("en", "probability"), ("zh", "概率")])
def test_bars_are_a_table_with_text_for_every_number(lang: str, word: str) -> None:
    body = draw.probability_bars(ROWS, lang)
    tags = Tags(body)
    assert "script" not in tags.names and tags.names.count("tr") == 4
    text = "".join(tags.words)
    for part in (
        word,
        "a dog",
        "<script>alert(1)</script>",
        '猫 & "co"',
        "75.0%",
        "25.0%",
        "+0.310",
        "-0.050",
    ):
        assert part in text
    assert re.findall(r"width:([\d.]+)%", body) == ["75.00", "24.99", "0.01"]
    assert body.count('class="best"') == 1


def test_many_labels_are_cut_and_counted() -> None:
    rows = [{"label": str(i), "probability": 0.01, "cosine": 0.1} for i in range(100)]
    body = draw.probability_bars(rows, "en")
    assert Tags(body).names.count("tr") == 21 and "and 80 more" in body
    assert "还有 80 个" in draw.probability_bars(rows, "zh")


def test_the_colour_map_gets_steadily_lighter() -> None:
    colours = draw.heat_colors(np.linspace(0, 1, 200)).astype(float)
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) >= -0.6).all() and lightness[-1] - lightness[0] > 150
    np.testing.assert_array_equal(
        draw.heat_colors(np.array([-1.0, 2.0])), draw.heat_colors(np.array([0.0, 1.0]))
    )


def test_the_overlay_lies_on_the_crop_and_keeps_the_size() -> None:
    image = Image.new("RGB", (60, 40), "black")
    relevance = np.zeros((4, 4), np.float32)
    relevance[0, 0] = 1.0
    shown = np.asarray(draw.heat_overlay(image, relevance, (10, 0, 50, 40))).astype(int)
    assert shown.shape == (40, 60, 3)
    # Outside the crop black is shown pale grey; inside, the relevant corner is the yellowest place.
    assert (shown[:, :10] == shown[0, 0]).all() and shown[0, 0, 0] == shown[0, 0, 2] > 120
    yellow = shown[..., 0] + shown[..., 1] - 2 * shown[..., 2]
    assert np.unravel_index(yellow[:, 10:50].argmax(), (40, 40)) < (6, 6)
    assert image.getpixel((0, 0)) == (0, 0, 0)


def test_a_flat_map_and_a_picture_of_one_pixel_are_drawn() -> None:
    flat = draw.heat_overlay(Image.new("RGB", (1, 1)), np.full((7, 7), 0.3, np.float32), (0, 0, 1, 1))
    assert flat.size == (1, 1)


def test_the_figure_says_what_it_shows_and_escapes_the_label() -> None:
    figure = draw.relevance_figure(
        Image.new("RGB", (900, 300)),
        np.array([[0.1, 0.3]], np.float32),
        (300, 0, 600, 300),
        '"><script>',
        "en",
    )
    tags = Tags(figure)
    assert tags.names == ["figure", "img", "figcaption"]
    assert "+0.10" in figure and "+0.30" in figure and 'src="data:image/jpeg;base64,' in figure


def test_the_svg_is_valid_and_to_scale() -> None:
    root = ET.fromstring(draw.bars_svg(ROWS, "CLIP · <x>"))
    space = "{http://www.w3.org/2000/svg}"
    bars = [float(rect.attrib["width"]) for rect in root.iter(f"{space}rect")][1:]
    assert bars[0] / bars[1] == pytest.approx(0.75 / 0.2499, rel=1e-2)
    texts = [text.text for text in root.iter(f"{space}text")]
    assert "CLIP · <x>" in texts and "<script>alert(1)</script>" in texts


def test_the_png_holds_picture_and_answers() -> None:
    picture = Image.open(io.BytesIO(draw.png_beside(Image.new("RGB", (100, 80), "red"), ROWS)))
    assert picture.format == "PNG" and picture.height > 80 + 2 * 30
    assert (255, 0, 0) in [colour for _, colour in picture.getcolors(1 << 16)]


def test_csv_holds_every_row_and_no_formula() -> None:
    rows = [*ROWS, *({"label": f"{sign}1+1", "probability": 0.0, "cosine": 0.0} for sign in "=+-@")]
    read = list(csv.reader(io.StringIO(draw.to_csv(rows))))
    assert read[0] == ["label", "probability", "cosine"] and len(read) == 8
    assert read[3][0] == '猫 & "co"' and float(read[1][1]) == 0.75
    assert not any(row[0][0] in "=+-@" for row in read)


def test_json_keeps_chinese_readable() -> None:
    text = draw.to_json({"label": "猫"})
    assert "猫" in text and json.loads(text) == {"label": "猫"}


def test_an_empty_cell_of_a_csv_is_empty_and_a_formula_is_none() -> None:
    assert draw.csv_of(["a", "b", "c"], [["", "=1+1", -0.5]]) == "a,b,c\r\n,'=1+1,-0.500000\r\n"
