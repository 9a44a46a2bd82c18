"""The LSeg page through its endpoint and handlers: masks that follow labels, remembered features, refusals."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from core import checkpoints, inputs
from core import masks as rle
from core.errors import Refusal
from core.segmentation import lseg
from demos.kit import menu, scenes_link, shell
from demos.lseg import answer as handlers
from demos.lseg import examples as lseg_examples
from demos.lseg import inside as lseg_inside
from demos.lseg import lessons as lseg_walk

EXAMPLES = lseg_examples.examples()
DOG = EXAMPLES["dog_under_tree"]


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return Client(server, verbose=False)


def ask(
    picture: str | None,
    labels: Any,
    way: str = "lseg",
    plain: str = "",
    checkpoint: str = "",
    held: list[str] | None = None,
    lang: str = "en",
) -> tuple[Any, ...]:
    """The page's own call: (message, overlay, line, colours, cut-outs)."""
    return shell.guarded(handlers.segment, 4)(picture, labels, way, plain, checkpoint, held or [], lang)


def test_the_endpoint_divides_the_picture_among_the_labels(client: Client) -> None:
    picture = handle_file(DOG["path"])
    for labels in ("dog, tree, background", ["狗", "树", "背景"]):
        answer = client.predict(picture, labels, None, True, api_name="/lseg_segment")
        assert checkpoints.row(answer["checkpoint"]).paper == "lseg" and answer["size"] == [320, 320]
        shares = [row["share"] for row in answer["results"]]
        assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1)
        found = [
            rle.decode(row["segmentation"]["counts"], *row["segmentation"]["size"])
            for row in answer["annotations"]
        ]
        assert (np.sum(found, axis=0) == 1).all()  # every pixel has one label
    bare = client.predict(picture, "dog, tree", "classroom-vit", api_name="/lseg_segment")
    assert bare["checkpoint"] == "classroom-vit" and "annotations" not in bare


@pytest.mark.parametrize(
    ("picture", "labels", "checkpoint", "said"),
    [
        (DOG["path"], " ，", None, "label"),
        (DOG["path"], "x" * 400, None, "300"),
        (DOG["path"], "dog", "no-such-row", "no-such-row"),
        (DOG["path"], "dog", "classroom-groupvit", "classroom-groupvit"),
        (DOG["path"], "dog", "lseg-vitl16", "import"),
        (str(Path(__file__)), "dog", None, "picture"),
    ],
)
def test_the_endpoint_refuses_in_one_sentence(
    client: Client, picture: str, labels: str, checkpoint: str | None, said: str
) -> None:
    with pytest.raises(AppError) as error:
        client.predict(handle_file(picture), labels, checkpoint, api_name="/lseg_segment")
    assert said in str(error.value) and "Traceback" not in str(error.value)


def test_another_label_does_not_encode_the_picture_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Image.Image] = []
    read: list[Sequence[str]] = []
    one, other = lseg._encode_image, lseg._encode_text

    def encode_image(model: Any, image: Image.Image) -> np.ndarray:
        encoded.append(image)
        return one(model, image)

    def encode_text(model: Any, texts: Sequence[str]) -> np.ndarray:
        read.append(texts)
        return other(model, texts)

    monkeypatch.setattr(lseg, "_encode_image", encode_image)
    monkeypatch.setattr(lseg, "_encode_text", encode_text)
    path = io.BytesIO()
    Image.open(EXAMPLES["toys"]["path"]).resize((311, 307)).save(
        path, "PNG"
    )  # a picture that nobody asked about
    model = handlers.model_of(None)
    image = inputs.image(path.getvalue())
    for labels in (["duck", "a nameless thing"], ["duck", "a nameless thing", "another nameless thing"]):
        assert model.segment(image, labels).mask.shape == (307, 311)
    assert len(encoded) == 1 and read[-1] == ["another nameless thing"]


def test_a_change_of_labels_repaints_at_once() -> None:
    labels = "dog, tree, house, car, background"
    ask(EXAMPLES["street"]["path"], labels)
    times = []
    for more in ("cat", "pet", "bus", "cow", "door"):
        start = time.process_time()  # what it costs, however busy the machine of a test is
        message, *_ = ask(EXAMPLES["street"]["path"], f"{labels}, {more}")
        times.append(time.process_time() - start)
        assert message == ""
    assert min(times) < 0.2


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("way", handlers.WAYS)
def test_every_example_runs_in_both_ways(name: str, way: str) -> None:
    row = EXAMPLES[name]
    for lang in ("en", "zh"):
        message, overlay, line, held, _ = ask(
            row["path"], row["labels"][lang], way, "classroom-rn", "", [], lang
        )
        assert message == "" and overlay.count("data-label=") >= len(inputs.labels(row["labels"][lang]))
        assert ("atlas-hint" in line) == (not row["classroom"])
        assert not handlers.REST & set(held)


@pytest.mark.parametrize(
    ("picture", "labels", "way"),
    [(None, "dog", "lseg"), (DOG["path"], ",", "lseg"), (DOG["path"], None, "lseg"), (DOG["path"], "dog", "both"),
     ("data:image/png;base64,@@@", "dog", "lseg"), (__file__, "dog", "maskclip")],
)  # fmt: skip
def test_the_page_refuses_in_one_sentence(picture: str | None, labels: Any, way: str) -> None:
    message, *rest = ask(picture, labels, way)
    assert (
        message.count("<p") == 1
        and "atlas-refusal" in message
        and handlers.shell.alert("")[:20] in message[:40]
    )
    assert all(value == shell.guarded(_refuse, 1)("en")[1] for value in rest)


def _refuse(lang: str) -> tuple[str]:
    raise Refusal("no_picture")


def test_labels_that_stay_keep_their_colours() -> None:
    held = handlers.slots(["dog", "tree", "car", "Background"], [])
    assert held == ["dog", "tree", "car"]
    held = handlers.slots(["dog", "car", "other"], held)
    assert held == ["dog", "", "car"]
    held = handlers.slots(["house", "dog", "car", "cat"], held)
    assert held == ["dog", "house", "car", "cat"]
    before = handlers.colours(["dog", "car"], ["dog", "tree", "car"])
    assert handlers.colours(["car", "other", "dog"], held) == [before[1], "", before[0]]


def test_downloads_are_the_mask_of_the_page() -> None:
    call = shell.guarded(handlers.files, 1)
    message, links = call(DOG["path"], "dog, tree", "lseg", "", "", [], "dog", "en")
    assert message == "" and links.count("download=") == 4 and "cut-out of “dog”" in links
    assert call(DOG["path"], "dog, tree", "lseg", "", "", [], "gone", "zh")[1].count("download=") == 3


def test_a_row_to_import_says_how_and_is_not_downloaded() -> None:
    assert "import lseg-vitl16" in menu.cost("lseg-vitl16", "en") and not menu.fetchable("lseg-vitl16")
    assert ("LSeg ViT-L/16" in label for label, _ in menu.choices("lseg", "en"))
    assert "demo_e200.ckpt" in menu.card("lseg-vitl16")
    still = handlers.switch(DOG["path"], "dog", "lseg", "", "lseg-vitl16", [], "en")
    assert still == (shell.guarded(_refuse, 1)("en")[1],) * 4
    assert "atlas-seg" in handlers.switch(DOG["path"], "dog", "maskclip", "", "lseg-vitl16", [], "en")[0]


@pytest.mark.parametrize("name", lseg_walk.lessons())
def test_every_lesson_asks_first_and_then_answers(name: str) -> None:
    with pytest.raises(Refusal, match="prediction"):
        lseg_walk.reveal(f"{name}:0", None, "lseg", "", "", "en")
    for at, step in enumerate(lseg_walk.lessons()[name]["steps"]):
        for lang in ("en", "zh"):
            choices = lseg_walk.choices_of(step, lang)
            body, _ = lseg_walk.reveal(f"{name}:{at}", "0", "lseg", "", "", lang)
            assert body.count("atlas-verdict") == 1 and "atlas-seg-stage" in body
            assert any(choice in body for choice in choices)
            assert lseg_walk.turn_to(f"{name}:{at}", lang)[6] == step["labels"][lang]


def test_the_look_inside_shows_what_was_made() -> None:
    for way in handlers.WAYS:
        for lang in ("en", "zh"):
            shown, line = lseg_inside.tensors(DOG["path"], "dog, tree", way, "classroom-vit", "", lang)
            assert "[2, " in shown and "[320, 320]" in shown and "ms" in line
            code, _ = lseg_inside.code(DOG["path"], "dog, tree", way, "classroom-vit", "", lang)
            assert ("def label_maps" in code) == (way == "lseg") and "def winners" in code


def test_the_table_of_blocks_is_there_once_it_was_measured() -> None:
    assert lseg_inside.ablation([], "en") == ""
    row = {
        "paper": "lseg",
        "measure": "ablation of blocks: mIoU, seen",
        "split": "bottleneck x 2",
        "value": 0.5,
        "command": "go",
    }
    table = lseg_inside.ablation(
        [row, {**row, "split": "<none>", "value": 0.25}, {**row, "paper": "clip"}], "zh"
    )
    assert (
        table.count("<tr>") == 3
        and "0.250" in table
        and "&lt;none&gt;" in table
        and "<code>go</code>" in table
    )


def test_like_vectors_get_like_colours() -> None:
    field = np.zeros((6, 8, 5), np.float32)
    field[:, :4, 0] = 1
    field[:, 4:, 1] = 1
    field += np.random.default_rng(0).normal(0, 1e-3, field.shape)
    colours = lseg_inside.principal_colours(field).astype(int)
    assert colours.shape == (6, 8, 3)
    assert abs(colours[:, :4, 0].mean() - colours[:, 4:, 0].mean()) > 200


def test_an_address_opens_an_example_a_scene_or_the_first_picture() -> None:
    path, labels, example, scene, _, way, plain, refused = handlers.opened(
        "zh", {"example": "furniture", "way": "maskclip"}
    )
    assert path == EXAMPLES["furniture"]["path"] and "椅子" in labels and example == "furniture"
    assert (way, scene, refused) == ("maskclip", "", "") and plain in handlers.plain_rows()
    text = lseg_examples.words()["examples"]["street"]["scene"]
    opened = handlers.opened("en", {scenes_link.PARAMETER: text})
    assert opened[1] == "tree, house, car, dog, background" and opened[2] == ""
    bad = handlers.opened("en", {scenes_link.PARAMETER: "nothing", "way": "x", "labels": "a, b"})
    assert bad[0] == EXAMPLES[handlers.OPENING]["path"] and bad[1] == "a, b" and "atlas-refusal" in bad[7]
