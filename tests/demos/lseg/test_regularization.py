"""Regularization blocks on the LSeg page: the endpoint, the tab's answer, its tables."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from core.segmentation import lseg, regularization
from demos.lseg import answer, blocks
from demos.lseg.page import Question
from demos.lseg.words import examples
from tests.pages import run

EXAMPLES = examples()
DOG = EXAMPLES["dog_under_tree"]
STREET = EXAMPLES["street"]


def test_the_endpoint_compares_every_block(client: Client) -> None:
    reply = client.predict(handle_file(DOG["path"]), "dog, tree, background", api_name="/lseg_regularize")
    named = [(row["block"], row["depth"]) for row in reply["results"]]
    assert named[0] == ("none", 0)
    assert named[1:] == [(kind, depth) for kind in ("bottleneck", "depthwise", "mean") for depth in (1, 2, 4)]
    assert reply["results"][0]["changed"] == 0
    plain = client.predict(handle_file(DOG["path"]), "dog, tree, background", api_name="/lseg_segment")
    shares = {row["label"]: row["share"] for row in plain["results"]}
    assert reply["results"][0]["shares"] == pytest.approx(shares)
    for row in reply["results"]:
        assert sum(row["shares"].values()) == pytest.approx(1) and 0 <= row["changed"] < 0.5
    with pytest.raises(AppError) as error:
        client.predict(handle_file(DOG["path"]), "dog", "classroom-rn", api_name="/lseg_regularize")
    assert "no regularization blocks" in str(error.value) and "classroom-lseg" in str(error.value)


def test_blocks_are_compared_without_encoding_the_image_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Question(image=STREET["path"], labels=STREET["labels"]["en"], plain="classroom-rn")
    answer.run(asked)
    monkeypatch.setattr(lseg, "_encode_image", lambda *_: pytest.fail("the image was encoded again"))
    start = time.process_time()
    slots = run(blocks.compare, asked, "en")
    assert time.process_time() - start < 2
    assert slots["message"] == "" and "atlas-line" in slots["line"]
    # Each is there large and small, no block's small one once for each kind; one block is chosen.
    out = slots["out"]
    assert out.count('class="stage"') == 10 + 9 + 3 and out.count(" checked") == 1
    assert out.count("atlas-window") == 9 and "depthwise × 4" in out and "<code>python -m" in out
    assert "逐通道 × 4" in run(blocks.compare, replace(asked, labels=STREET["labels"]["zh"]), "zh")["out"]
    refused = run(blocks.compare, replace(asked, way="maskclip"), "en")["message"]
    assert "classroom-rn has no regularization blocks" in refused


def test_measured_blocks_are_in_the_table() -> None:
    window = np.full((3, 3), 0.5, np.float32)
    mask = np.zeros((2, 2), np.uint16)
    variants = [
        regularization.Regularized("none", 0, mask, mask > 0, None),
        regularization.Regularized("depthwise", 2, mask, mask == 0, window),
    ]
    row = {"measure": f"{blocks.ALONE}: mIoU, seen", "checkpoint": "here", "command": "go"}
    rows = [{**row, "split": "none", "value": 0.5}, {**row, "split": "depthwise x 2", "value": 0.625}]
    table = blocks.table(variants, rows, "here", "en")
    assert "0.500" in table and 'class="best" style="--share:62.5%">0.625' in table
    assert "<code>go</code>" in table and table.count("+0.50") == 9 and "<td>100%</td>" in table
    assert "0.625" not in blocks.table(variants, rows, "elsewhere", "zh")


def test_the_ablation_is_there_once_it_was_measured() -> None:
    assert blocks.ablation([], "en") == ""
    row = {
        "paper": "lseg",
        "measure": "ablation of blocks: mIoU, seen",
        "split": "bottleneck x 2",
        "value": 0.5,
        "command": "go",
    }
    table = blocks.ablation([row, {**row, "split": "<none>", "value": 0.25}, {**row, "paper": "clip"}], "zh")
    assert table.count("<tr>") == 3 and "0.250" in table
    assert "&lt;none&gt;" in table and "<code>go</code>" in table
