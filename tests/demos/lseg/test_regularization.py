"""Regularization blocks on the LSeg page: the endpoint, the tab's answer, its table."""

from __future__ import annotations

import time

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from core.segmentation import lseg, regularization
from demos.kit import shell
from demos.lseg import answer as handlers
from demos.lseg import blocks as lseg_blocks
from demos.lseg import examples as lseg_examples

EXAMPLES = lseg_examples.examples()
DOG = EXAMPLES["dog_under_tree"]


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


def test_the_endpoint_compares_every_block(client: Client) -> None:
    answer = client.predict(handle_file(DOG["path"]), "dog, tree, background", api_name="/lseg_regularize")
    named = [(row["block"], row["depth"]) for row in answer["results"]]
    assert named[0] == ("none", 0)
    assert named[1:] == [(kind, depth) for kind in ("bottleneck", "depthwise", "mean") for depth in (1, 2, 4)]
    assert answer["results"][0]["changed"] == 0
    plain = client.predict(handle_file(DOG["path"]), "dog, tree, background", api_name="/lseg_segment")
    shares = {row["label"]: row["share"] for row in plain["results"]}
    assert answer["results"][0]["shares"] == pytest.approx(shares)
    for row in answer["results"]:
        assert sum(row["shares"].values()) == pytest.approx(1) and 0 <= row["changed"] < 0.5
    with pytest.raises(AppError) as error:
        client.predict(handle_file(DOG["path"]), "dog", "classroom-rn", api_name="/lseg_regularize")
    assert "no regularization blocks" in str(error.value) and "classroom-lseg" in str(error.value)


def test_blocks_are_compared_without_another_look_at_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    call = shell.guarded(lseg_blocks.compare, 2)
    path, labels = EXAMPLES["street"]["path"], EXAMPLES["street"]["labels"]
    handlers.run(path, labels["en"], "lseg", "", "")
    monkeypatch.setattr(lseg, "_encode_image", lambda *_: pytest.fail("the picture was encoded again"))
    start = time.process_time()
    message, shown, line = call(path, labels["en"], "lseg", "", "", "en")
    assert time.process_time() - start < 2
    assert message == "" and "ms" in line
    # Each is there large and small, no block's small one once for each kind; one block is chosen.
    assert shown.count('class="stage"') == 10 + 9 + 3 and shown.count(" checked") == 1
    assert shown.count("atlas-window") == 9 and "depthwise × 4" in shown and "<code>python -m" in shown
    assert "逐通道 × 4" in call(path, labels["zh"], "lseg", "", "", "zh")[1]
    refused, *_ = call(path, labels["en"], "maskclip", "classroom-rn", "", "en")
    assert "classroom-rn has no regularization blocks" in refused


def test_measured_blocks_are_in_the_table() -> None:
    window = np.full((3, 3), 0.5, np.float32)
    mask = np.zeros((2, 2), np.uint16)
    variants = [
        regularization.Regularized("none", 0, mask, mask > 0, None),
        regularization.Regularized("depthwise", 2, mask, mask == 0, window),
    ]
    row = {"measure": f"{lseg_blocks.ALONE}: mIoU, seen", "checkpoint": "here", "command": "go"}
    rows = [{**row, "split": "none", "value": 0.5}, {**row, "split": "depthwise x 2", "value": 0.625}]
    table = lseg_blocks.table(variants, rows, "here", "en")
    assert (
        "0.500" in table
        and 'class="best" style="--share:62.5%">0.625' in table
        and "<code>go</code>" in table
    )
    assert table.count("+0.50") == 9 and "<td>100%</td>" in table
    assert "0.625" not in lseg_blocks.table(variants, rows, "elsewhere", "zh")
