"""The workflows of GitHub call what the repository's own commands are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.checkpoints import known
from core.checkpoints.__main__ import known_table, parser
from core.checkpoints.known import Verdict

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = ROOT / ".github" / "workflows"


def steps(name: str) -> list[str]:
    """The commands of a workflow."""
    jobs = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


def test_ci_calls_what_the_own_script_calls() -> None:
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert commands[-1] in steps("ci.yml")
    text = (WORKFLOWS / "ci.yml").read_text(encoding="utf-8")
    versions = ["3.11", "3.12", "3.13"]
    assert text.count(f"python: {versions}".replace("'", '"')) == 2
    assert {"macos-latest", "windows-latest", "ubuntu-latest"} <= set(re.findall(r"\w+-latest", text))


def test_the_weekly_check_is_a_command_of_the_program() -> None:
    (command,) = [step for step in steps("weights.yml") if "core.checkpoints" in step]
    words = shlex.split(command.split(">")[0])
    assert words[:3] == ["python", "-m", "core.checkpoints"]
    arguments = parser().parse_args(words[3:])
    assert arguments.all and arguments.json


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_table_says_what_the_check_said(
    lang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = known.book().answers["clip-vit-b32"][0]
    made: list[Any] = [
        Verdict("clip-vit-b32", "as published", source=answer.source, published=answer.want).to_json(),
        Verdict("clip-vit-b32", "not reachable", reason={"en": "-", "zh": "-"}).to_json(),
        Verdict("owlvit-b32", "differs", difference=0.2).to_json(),
    ]
    monkeypatch.setattr(known, "results", lambda: results)
    results: dict[str, Verdict] = {}
    before = known_table("results", lang).splitlines()
    missing = {"en": "not yet run", "zh": "尚未运行"}[lang]
    assert missing in next(line for line in before if "`clip-vit-b32`" in line)
    assert len(before) == 2 + sum(not row.bundled for row in known.registry.rows())
    results = {one["row"]: known.summarise([Verdict(**one)]) for one in made[::2]}
    lines = known_table("results", lang).splitlines()
    for row, verdict in (("clip-vit-b32", "as published"), ("owlvit-b32", "differs")):
        title = known.TITLES[verdict][lang]  # type: ignore[index]
        assert next(line for line in lines if f"`{row}`" in line).endswith(f"| {title} |")
    assert answer.source in next(line for line in lines if "`clip-vit-b32`" in line)


def test_a_file_of_results_has_one_verdict_for_each_row(tmp_path: Path) -> None:
    import json

    entries = [
        Verdict("clip-vit-b32", "not reachable").to_json(),
        Verdict("clip-vit-b32", "as published").to_json(),
    ]
    file = tmp_path / "known_answers.json"
    assert known.results(file) == {}
    file.write_text(json.dumps(entries), encoding="utf-8")
    assert known.results(file)["clip-vit-b32"].verdict == "as published"
