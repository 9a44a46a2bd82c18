"""The GroupViT page through its endpoint and handlers: the threshold, groups across pictures, right names, refusals."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from core import checkpoints
from core import masks as rle
from core.segmentation import groupvit
from demos.chinese_clip import code as chinese_code
from demos.groupvit import answer as handlers
from demos.groupvit import code as groupvit_code
from demos.groupvit import lessons as groupvit_walk
from demos.kit import shell, sources
from demos.kit import walkthrough as walk

EXAMPLES = handlers.examples()
DRAWN = [name for name, row in EXAMPLES.items() if row["classroom"]]
PETS = EXAMPLES["dog_and_cat"]
LABELS = PETS["labels"]["en"]


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


def ask(
    picture: Any = PETS["path"], labels: str = LABELS, threshold: Any = 0.2, lang: str = "en"
) -> tuple[str, ...]:
    """The page's own call: message, overlay, chart, table, line, downloads."""
    return shell.guarded(handlers.segment, 5)(picture, labels, threshold, "", lang)


def test_the_endpoint_segments(client: Client) -> None:
    answer = client.predict(handle_file(PETS["path"]), LABELS, 0.2, api_name="/groupvit_segment")
    assert {"checkpoint", "seconds", "size", "threshold", "line", "results", "groups"} == set(answer)
    assert checkpoints.row(answer["checkpoint"]).bundled
    width, height = answer["size"]
    masks = [rle.decode(row["mask"]["counts"], height, width) for row in answer["results"]]
    # Every pixel has one label or none.
    np.testing.assert_array_equal(np.sum(masks, axis=0), 1)
    for row, mask in zip(answer["results"], masks, strict=True):
        assert row["share"] == pytest.approx(mask.mean())
    assert {row["label"] for row in answer["results"]} == {*LABELS.split(", "), None}
    assert sum(row["share"] for row in answer["results"] if row["label"]) > 0
    # Without a threshold it is the row's own.
    own = client.predict(handle_file(PETS["path"]), ["dog", "cat"], api_name="/groupvit_segment")
    assert own["threshold"] == groupvit.row_threshold(own["checkpoint"])


@pytest.mark.parametrize(
    ("labels", "threshold", "checkpoint", "words"),
    [
        (" ，", 0.5, None, "label"),
        ("dog", 1.5, None, "threshold must be a number from 0 to 1"),
        ("dog", -0.1, None, "threshold must be a number from 0 to 1"),
        ("dog", "high", None, "threshold must be"),
        ("dog", 0.5, "no-such-row", "no-such-row"),
        (", ".join(f"label {i}" for i in range(101)), 0.5, None, "100"),
        (["a" * 400], 0.5, None, "300"),
    ],
)
def test_bad_input_is_one_sentence(
    client: Client, labels: Any, threshold: Any, checkpoint: str | None, words: str
) -> None:
    with pytest.raises(AppError, match=words) as refused:
        client.predict(handle_file(PETS["path"]), labels, threshold, checkpoint, api_name="/groupvit_segment")
    assert "Traceback" not in str(refused.value) and "logged" not in str(refused.value)


def test_a_file_that_is_no_image_is_refused(client: Client, tmp_path: Any) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture at all")
    with pytest.raises(AppError, match="not an image"):
        client.predict(handle_file(str(tmp_path / "a.png")), "dog", api_name="/groupvit_segment")


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_answers_in_both_languages(name: str) -> None:
    for lang in ("en", "zh"):
        path, labels, filled = handlers.fill(name, "", lang)
        message, overlay, chart, table, line, files = ask(path, labels, 0.2, lang)
        assert message == "" and filled == name
        assert "atlas-seg-mask" in overlay and "gv-bar" in chart and "class=best" in table
        assert files.count("download=") == 5
        assert ("atlas-hint" in line) == (not EXAMPLES[name]["classroom"])


@pytest.mark.parametrize(
    ("picture", "labels", "threshold"),
    [
        (None, LABELS, 0.5),
        (PETS["path"], "，", 0.5),
        (PETS["path"], LABELS, 2),
        (PETS["path"], LABELS, None),
        (PETS["path"], LABELS, float("nan")),
        ("data:image/png;base64,AAAA", LABELS, 0.5),
    ],
)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_refusals_are_one_sentence(picture: Any, labels: str, threshold: Any, lang: str) -> None:
    message, *_ = ask(picture, labels, threshold, lang)
    assert 'role="alert"' in message and "logged" not in message and "已经记录" not in message
    assert any("\u4e00" <= sign <= "\u9fff" for sign in message) == (lang == "zh")


def test_the_threshold_moves_without_encoding_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ask()
    for name in ("_encode_image", "_encode_text"):
        monkeypatch.setattr(groupvit, name, lambda *_: pytest.fail("encoded again"))
    shares = []
    for threshold in (0.0, 0.1, 0.3, 0.6, 1.0):
        message, overlay, chart, _ = shell.guarded(handlers.repaint, 3)(
            PETS["path"], LABELS, threshold, "", "en"
        )
        assert message == "" and "atlas-seg-mask" in overlay
        shares.append(float(re.search(r"<strong>([\d.]+)%</strong> of the picture", chart)[1]))  # type: ignore[index]
    assert shares == sorted(shares) and shares[0] == 0


def test_html_in_labels_is_text() -> None:
    shown = "".join(ask(labels="<img src=x onerror=alert(1)>, dog"))
    assert "<img src=x" not in shown and "&lt;img src=x" in shown


def test_a_picture_of_any_shape(tmp_path: Any) -> None:
    for size in ((20, 300), (700, 200), (9, 9)):
        buffer = io.BytesIO()
        Image.new("RGB", size, "green").save(buffer, "PNG")
        path = tmp_path / f"{size[0]}.png"
        path.write_bytes(buffer.getvalue())
        message, overlay, *_ = ask(str(path))
        assert message == "" and f"--ratio:{size[0] / size[1]:.4f}" in overlay


def test_a_group_across_a_row_of_pictures() -> None:
    views = list(shell.guarded(handlers.across, 3)("session", PETS["path"], "", "en"))
    assert all(message == "" for message, *_ in views)
    # The page's picture is one of the examples and stands there once; the crowd is not in the row.
    assert len(views) == len(DRAWN) - 1 + 1 and 'aria-valuenow="2"' in views[1][2]
    _, row, line, stopping = views[-1]
    assert row.count('class="gv-picture"') == len(DRAWN) - 1 and "ms" in line and stopping["visible"] is False
    assert row.count(PETS["caption"]["en"]) == 2  # the picture's text and its caption


def test_a_stopped_row_shows_what_it_has() -> None:
    steps = shell.guarded(handlers.across, 3)("stopper", PETS["path"], "", "zh")
    next(steps)
    handlers.stop("stopper", "zh")
    *_, (message, row, *_) = steps
    assert message == "" and row.count('class="gv-picture"') == 1


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_nine_things_share_eight_groups(lang: str) -> None:
    path, labels, _ = handlers.nine("", lang)
    message, overlay, said, _ = shell.guarded(handlers.crowded, 3)(path, labels, 0.2, "", lang)
    assert message == "" and "atlas-seg-mask" in overlay
    homes = re.findall(r'<tr><th scope="row">[^<]+</th><td>([^<]+)</td>', said)
    things = [name for row in homes for name in re.split("[,、] ?", row)]
    assert sorted(things) == sorted(EXAMPLES["nine_things"]["names"][lang]) and len(homes) <= 8


def test_right_names_stand_beside_the_models_own() -> None:
    *_, before, last = shell.guarded(handlers.renamed, 4)("session", 3, 0.2, "", "en")
    assert before[0] == last[0] == ""
    table = re.findall(r"mIoU ([\d.]+)", before[2])
    assert len(table) == 2 * handlers.SCENES
    own, right = (sum(map(float, table[i::2])) / handlers.SCENES for i in (0, 1))
    shown = [float(value) for value in re.findall(r"<b>([\d.]+)</b>", last[1])]
    assert shown == pytest.approx([own, right], abs=0.011)
    message, *_ = next(shell.guarded(handlers.renamed, 4)("session", -1, 0.2, "", "en"))
    assert "seed must be a number" in message


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_tensors_and_code_are_those_of_the_run(lang: str) -> None:
    message, shapes, line = shell.guarded(groupvit_code.tensors, 2)(PETS["path"], LABELS, 0.2, "", lang)
    assert message == "" and "ms" in line and "[1, 3, 96, 96]" in shapes and "[384, 384]" in shapes
    message, cards, _ = shell.guarded(groupvit_code.run, 2)(PETS["path"], LABELS, 0.2, "", lang)
    assert message == "" and cards.count('class="code-card"') == len(handlers.texts()["code"])
    assert "θ = 0.20" in cards


@pytest.mark.parametrize("card", handlers.texts()["code"], ids=lambda card: card["name"])
def test_the_lines_shown_are_in_the_repository(card: dict[str, Any]) -> None:
    shown = chinese_code.passage(card).splitlines()
    file = {line.strip() for line in (sources.ROOT / card["file"]).read_text(encoding="utf-8").splitlines()}
    assert 2 <= len(shown) <= 16 and {line.strip() for line in shown} <= file


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_lessons_ask_before_they_answer(lang: str) -> None:
    for name, lesson in groupvit_walk.lessons().items():
        for at, step in enumerate(lesson["steps"]):
            where, card, choices, answer, following = groupvit_walk.turn_to(f"{name}:{at}", lang)
            assert where == f"{name}:{at}" and answer == "" and not following["interactive"]
            assert step["why"][lang] not in card
            verdicts = []
            for text, value in choices["choices"]:
                message, body, following = shell.guarded(groupvit_walk.reveal, 2)(where, value, "", lang)
                assert message == "" and following["interactive"] and text
                verdicts.append("atlas-verdict some" in body)
            # One choice is true, whichever it is today.
            assert sum(verdicts) == 1, (name, at)
    message, *_ = shell.guarded(groupvit_walk.reveal, 2)("names:0", None, "", lang)
    assert 'role="alert"' in message
    assert walk.place("nonsense:9", groupvit_walk.lessons()) == (next(iter(groupvit_walk.lessons())), 0)


def test_the_address_fills_the_page() -> None:
    path, labels, name, threshold, published = handlers.opened("en", {})
    assert name == handlers.OPENING and threshold == handlers.start_threshold("") and "52.3" in published
    query = {"example": "toys", "labels": "a, b", "threshold": "0.7", "checkpoint": "nonsense"}
    path, labels, name, threshold, _ = handlers.opened("zh", query)
    assert path == EXAMPLES["toys"]["path"] and (labels, name, threshold) == ("a, b", "toys", 0.7)
    assert handlers.opened("en", {"threshold": "7"})[3] == handlers.start_threshold("")
