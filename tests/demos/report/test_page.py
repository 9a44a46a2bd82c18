"""The Report card through its endpoint and its page: every recorded row is there, none is made up."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from markupsafe import escape

from core.classroom import report
from demos.report import page as card_page


@pytest.fixture(scope="module")
def page() -> str:
    """The HTML of the card."""
    return card_page.whole(report.cards(), report.rows())


def test_the_endpoint_returns_the_recorded_rows(client: Client) -> None:
    rows = client.predict(api_name="/report_rows")
    assert rows == report.rows() and all(set(row) >= set(report.FIELDS) for row in rows)
    papers = {row["paper"] for row in rows}
    for paper in papers:
        own = client.predict(paper, api_name="/report_rows")
        assert own == [row for row in rows if row["paper"] == paper]


@pytest.mark.parametrize("paper", ["no-such-paper", "", "<b>", 5])
def test_a_paper_without_rows_is_one_sentence(client: Client, paper: Any) -> None:
    with pytest.raises(AppError) as refused:
        client.predict(paper, api_name="/report_rows")
    assert len(str(refused.value)) < 300 and "logged" not in str(refused.value)


def test_every_recorded_row_is_on_the_page_with_all_its_fields(page: str) -> None:
    for card in report.cards():
        body = page.split(f'id="report-{card.paper}"')[1].split("</section>")[0]
        records = body.split('class="atlas-recorded"')[1]
        lines = [re.findall(r"<td>(.*?)</td>", line) for line in re.findall(r"<tr>(.*?)</tr>", records)]
        shown = [cells for cells in lines if cells]
        names = [name for name in report.FIELDS if name != "paper"]
        assert len(shown) == len(card.rows) > 0
        for cells, row in zip(shown, card.rows, strict=True):
            for cell, name in zip(cells, names, strict=True):
                value = row[name]
                if isinstance(value, int | float):
                    assert float(cell) == pytest.approx(value, rel=1e-4)
                else:
                    assert html.unescape(cell) == (value or "")


def test_a_card_has_lesson_values_commands_and_training(page: str) -> None:
    for card in report.cards():
        body = page.split(f'id="report-{card.paper}"')[1].split("</section>")[0]
        if card.lesson:
            assert escape(card.lesson["en"]) in body and escape(card.lesson["zh"]) in body
        for command in card.commands:
            assert escape(command) in body
        for row in card.training:
            assert str(row["commit"]) in body and escape(str(row["hardware"])) in body
        assert body.count("✓") == sum(
            value >= line.bar for line in card.lines if line.bar is not None for value in line.values.values()
        )
        published = [line for line in card.lines if line.published is not None]
        assert ("论文公布</span></th>" in body.split('class="atlas-recorded"')[0]) == bool(published)


def test_the_downloads_are_the_card(page: str) -> None:
    files = dict(re.findall(r'download="report_card\.(json|csv)" href="data:[^,]*,([^"]*)"', page))
    rows = report.rows()
    assert json.loads(base64.b64decode(files["json"])) == rows
    lines = [*csv.DictReader(io.StringIO(base64.b64decode(files["csv"]).decode("utf-8-sig")))]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert float(line["value"]) == row["value"] and line["measure"] == row["measure"]


def test_the_filter_offers_every_paper(page: str) -> None:
    offered = re.findall(r'data-only="([^"]*)"', page)
    assert offered[0] == "" and set(offered[1:]) == {row["paper"] for row in report.rows()}
    assert set(re.findall(r'<section [^>]*data-paper="([^"]*)"', page)) == set(offered[1:])
