"""OmDet-Turbo behind GLIP's handle: labels, captions, spellings, and no question to the Hub about its backbone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from transformers import backbone_utils

from core import runtime
from core.checkpoints import known
from core.detection import GLIP
from core.detection.glip import grounding, language, omdet
from demos.glip import draw
from tests import tiny
from tests.conftest import Rows
from tests.core.checkpoints import known_rows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, module_rows: Rows) -> Iterator[GLIP]:
    """A tiny OmDet-Turbo as the only row; asking the Hub about a backbone is an error."""
    folder = tmp_path_factory.mktemp("omdet")
    tiny.make_omdet(folder / "omdet")
    text = tiny.row("omdet", folder / "omdet", "sigmoid", "core.detection.glip.omdet:load_omdet")
    text = text.replace('paper = "clip"', 'paper = "glip"').replace(
        "[[omdet.files]]", "[omdet.options]\nthreshold = 0.1\n[[omdet.files]]", 1
    )
    module_rows(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbone_utils, "hf_api", lambda: 1 / 0)
        yield GLIP.load("omdet")
    runtime.POOL.drop_idle()
    grounding.ANSWERS.clear()
    grounding.ENCODED_IMAGES.clear()


def test_labels_and_a_caption(model: GLIP) -> None:
    image = known_rows.scene()
    answer = model.detect(image, ["a red dog", "cat"], threshold=0.0)
    assert answer.prompt == "a red dog . cat ." and [one.text for one in answer.phrases] == [
        "a red dog",
        "cat",
    ]
    assert len(answer.boxes) and (np.diff(answer.scores) <= 0).all() and set(answer.phrase_indices) <= {0, 1}
    assert answer.boxes.min() >= 0 and (answer.boxes.max(0) <= [*image.size, *image.size]).all()
    # Every word of a phrase has the phrase's number, which is the box's score; other words have none.
    for row, phrase, score in zip(answer.alignment, answer.phrase_indices, answer.scores, strict=True):
        own = row[list(answer.phrases[phrase].words)]
        assert np.allclose(1 / (1 + np.exp(-own)), score, atol=1e-5)
    assert np.isnan(answer.alignment[:, answer.words.index(".")]).all()
    assert not np.allclose(answer.alignment, answer.alignment_before, equal_nan=True)
    caption = model.ground(image, "a red dog sees a cat", threshold=0.0)
    assert [one.text for one in caption.phrases] == ["a red dog", "a cat"]
    # The task is read too: the same label in a caption and in a list are two questions.
    assert caption.scores[0] != answer.scores[0]


def test_spellings_of_one_label_are_one(model: GLIP) -> None:
    answer = model.detect(
        known_rows.scene(), ["dog", "Dog", "hot dog", "unbelievable", "unbelievably"], threshold=0.0
    )
    assert [one.text for one in answer.phrases] == ["dog", "hot dog", "unbelievable", "unbelievably"]
    cut = language.byte_pair_cutter()("Unbelievably, 42 dogs!")
    assert cut.words == ("Unbelievably", ",", "4", "2", "dogs", "!") and len(cut.ids) == 8


def test_the_matrix_leaves_out_words_without_a_number(model: GLIP) -> None:
    image = known_rows.scene()
    answer = model.detect(image, ["a red dog", "cat"], threshold=0.0)
    html = draw.alignment(image, answer, 0.0, "en")
    assert "nan" not in html and html.count('scope="col"') == 2 * (1 + 4)


def test_the_published_configuration_names_its_backbone(tmp_path: Path) -> None:
    published = {
        "backbone": "swin_tiny_patch4_window7_224", "backbone_config": None, "use_timm_backbone": True,
        "use_pretrained_backbone": False, "backbone_kwargs": {"img_size": 640, "out_indices": [1, 2, 3]}, "num_queries": 900,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(published))
    made = omdet.settings(tmp_path / "config.json")
    assert made["backbone_config"] == {
        "model_type": "timm_backbone", "backbone": published["backbone"], "img_size": 640, "out_indices": [1, 2, 3],
    }  # fmt: skip
    assert set(made) == {"backbone_config", "num_queries"}
    # The published answers are of the library's own example.
    (answer,) = known.book().answers["omdet-turbo-tiny"]
    assert answer.texts == ("cat", "remote") and answer.kind == "boxes" and len(answer.want) == 4
