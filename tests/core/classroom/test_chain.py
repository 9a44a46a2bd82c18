"""The whole chain of trainings: its order, what each stands on, and going on where it stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from core.checkpoints.integrity import sha256
from core.classroom import chain
from core.classroom.__main__ import MINUTES, main
from core.classroom.recipes.common.miniature import NOTE, WEIGHTS, export_folder, tower_folder


class Stand:
    """Stands for any training run: it exports a file and knows its settings."""

    made: ClassVar[list[tuple[str, Any]]] = []
    broken: str = ""

    def __init__(self, recipe: str, settings: Any) -> None:
        self.recipe, self.settings = recipe, settings
        Stand.made.append((recipe, settings))

    def run(self, say: Callable[[str], None]) -> Path:
        if self.settings.out.name == Stand.broken:
            raise KeyboardInterrupt
        say("100%")
        folder: Path = self.settings.out / self.settings.out.name
        folder.mkdir(parents=True)
        (folder / WEIGHTS).write_bytes(self.recipe.encode())
        return folder


@pytest.fixture
def stands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    monkeypatch.setattr(Stand, "made", [])
    monkeypatch.setattr(Stand, "broken", "")
    recipes = (chain.clip, chain.lseg, chain.groupvit, chain.vild, chain.glip)
    for recipe in (
        *recipes,
        chain.clip4clip,
        chain.actionclip,
        chain.pointclip,
        chain.vilt,
        chain.audioclip,
        chain.clip_vil,
        chain.styleclip,
    ):
        name = recipe.__name__.split(".")[-2]
        monkeypatch.setattr(recipe, "Trainer", lambda settings, name=name: Stand(name, settings))
    monkeypatch.setattr(chain.clip_vil_encoders, "Trainer", lambda settings: Stand("supervised", settings))
    monkeypatch.setattr(chain.lseg_blocks, "Fit", lambda settings: Stand("lseg_blocks", settings))
    return Stand.made


def test_every_miniature_is_trained_on_the_exports_before_it(
    stands: list[tuple[str, Any]], tmp_path: Path
) -> None:
    lines: list[str] = []
    exports = chain.train_all(tmp_path, lines.append)
    assert [folder.name for folder in exports] == list(chain.CHAIN)
    recipes = ["clip", "clip", "lseg", "lseg_blocks", "groupvit", "vild", "glip"]
    recipes += [
        "clip4clip",
        "actionclip",
        "pointclip",
        "vilt",
        "audioclip",
        "supervised",
        "clip_vil",
        "styleclip",
    ]
    assert [recipe for recipe, _ in stands] == recipes
    rn, vit = (chain.export_of(tmp_path, name) for name in ("classroom-rn", "classroom-vit"))
    by_name = {settings.out.name: settings for _, settings in stands}
    assert by_name["classroom-rn"].teacher is None and by_name["classroom-vit"].teacher == rn
    heads = (
        "classroom-lseg",
        "classroom-vild",
        "classroom-glip",
        "classroom-clip4clip",
        "classroom-actionclip",
        "classroom-audioclip",
        "clip-vil-supervised",
        "classroom-clip-vil",
        "classroom-styleclip",
    )
    for head in heads:
        assert by_name[head].clip == str(rn)
    for head in ("classroom-groupvit", "classroom-vilt"):
        assert by_name[head].clip == str(vit)
    assert by_name["lseg-blocks"].checkpoint == str(chain.export_of(tmp_path, "classroom-lseg"))
    supervised = chain.export_of(tmp_path, "clip-vil-supervised")
    assert by_name["classroom-clip-vil"].supervised == supervised
    assert {name: settings.minutes for name, settings in by_name.items()} == chain.CHAIN
    # What is trained alone has the same budget.
    minutes = {
        "lseg-blocks": "lseg-blocks",
        "classroom-rn": "clip",
        "classroom-vit": "clip",
        "classroom-pointnet": "pointclip",
    }
    alone = {name: MINUTES[minutes.get(name, name.removeprefix("classroom-"))] for name in chain.CHAIN}
    assert alone == chain.CHAIN
    assert lines[0].startswith("finished: nothing; left: classroom-rn (130 min), ")
    assert "classroom-vild: 100%" in lines and lines[-1].endswith("left: nothing")


def test_a_chain_goes_on_where_it_stopped(stands: list[tuple[str, Any]], tmp_path: Path) -> None:
    Stand.broken = "classroom-lseg"
    with pytest.raises(KeyboardInterrupt):
        chain.train_all(tmp_path, lambda line: None)
    assert chain.list_unfinished(tmp_path) == list(chain.CHAIN)[2:]
    stands.clear()
    Stand.broken = ""
    lines: list[str] = []
    chain.train_all(tmp_path, lines.append)
    assert lines[0].startswith("finished: classroom-rn (0 min), classroom-vit (0 min); left: classroom-lseg")
    assert [settings.out.name for _, settings in stands] == list(chain.CHAIN)[2:]
    stands.clear()
    assert chain.train_all(tmp_path, lines.append) == [] and not stands


def test_the_command_trains_a_few_steps_of_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(chain.CHAIN)[1:]:
        (tmp_path / name).mkdir()
        (tmp_path / name / chain.FINISHED).write_text('{"minutes": 1.0}')
    assert main(["train", "all", "--out", str(tmp_path), "--steps", "1"]) == 0
    said = capsys.readouterr().out
    assert "left: classroom-rn (130 min), 130 minutes in all" in said and "left: nothing" in said
    note = json.loads((chain.export_of(tmp_path, "classroom-rn") / NOTE).read_text(encoding="utf-8"))
    assert note["steps"] == 1 and note["seed"] == 0 and "--model classroom-rn" in note["command"]


def test_a_head_is_opened_with_the_tower_that_it_was_trained_on(tmp_path: Path) -> None:
    rn, head = chain.export_of(tmp_path, "classroom-rn"), chain.export_of(tmp_path, "classroom-lseg")
    shipped = export_folder("classroom-rn")
    assert export_folder("classroom-rn", beside=head) == shipped, "there is none in these runs"
    for folder in (rn, head):
        folder.mkdir(parents=True)
    (rn / WEIGHTS).write_bytes(b"tower")
    assert export_folder("classroom-rn", beside=head) == rn
    digest = "9b2d4bc4d1a3c9d5d30ee3d7d2a3a2a2ad3c0b9f0d9be2e1a0e3f0b4a2c7f1de"
    (head / NOTE).write_text(json.dumps({"clip": {"classroom-rn": digest}}))
    assert tower_folder(head) == shipped, "the tower in these runs is another"
    digest = sha256(rn / WEIGHTS)
    (head / NOTE).write_text(json.dumps({"clip": {"classroom-rn": digest}}))
    assert tower_folder(head) == rn


@pytest.mark.parametrize("name", ["classroom.md", "classroom.zh.md"])
def test_the_docs_say_how_long_the_chain_takes(name: str) -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / name).read_text(encoding="utf-8")
    minutes = math.ceil(sum(chain.CHAIN.values()))
    assert f"{minutes} minutes of one core" in text or f"一个核 {minutes} 分钟" in text
