"""The door of every program: one sentence and a status, in the language of the shell, whatever the terminal can print."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core import terminal
from core.errors import Refusal, sentences, terminal_language

ROOT = Path(__file__).resolve().parents[2]
LOCALES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LC_CTYPE", "LANG", "PYTHONIOENCODING", "PYTHONUTF8")
PROGRAMS = ("core", "core.checkpoints", "core.classroom")
MISSING = {
    "core": ("classify", "none.png", "--labels", "a"),
    "core.checkpoints": ("fetch", "no-such-row"),
    "core.classroom": ("dataset", "--out", "/tmp/no-such-folder", "--scenes", "-5"),
}


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command line of sh with these variables of the locale alone."""
    own = {name: value for name, value in os.environ.items() if name not in LOCALES}
    return subprocess.run(
        ["sh", "-c", command.replace("python", sys.executable)],
        cwd=ROOT,
        env={**own, **environment},
        capture_output=True,
        timeout=600,
        check=False,
    )


# --- the language --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "lang"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LC_ALL": "zh_TW.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en"}, "en"),
        ({"LANG": "C.UTF-8", "LANGUAGE": "zh_CN"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "ZH_cn.utf8"}, "zh"),
    ],
)
def test_the_locale_chooses_the_language(
    variables: dict[str, str], lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in LOCALES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert terminal_language() == lang


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_cannot_print_chinese_reads_english(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN")
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert terminal_language() == "en"
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="gb18030"))
    assert terminal_language() == "zh"


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_refuses_in_the_language_of_the_shell(program: str) -> None:
    command = f"python -m {program} {' '.join(MISSING[program])}"
    chinese, english = shell(command, LC_ALL="zh_CN.UTF-8"), shell(command, LC_ALL="en_US.UTF-8")
    for answer in (chinese, english):
        assert answer.returncode == 1 and answer.stderr.count(b"\n") == 1, answer.stderr
    assert not chinese.stderr.isascii() and chinese.stderr.decode().strip().endswith("。")
    assert english.stderr.decode().strip().endswith(".")


def test_every_program_runs_behind_the_door() -> None:
    """So that a refusal, Ctrl-C or a closed pipe is a sentence and a status for all of them."""
    files = [path for room in ("core", "demos", "benchmarks") for path in (ROOT / room).rglob("*.py")]
    programs = [text for path in files if 'if __name__ == "__main__":' in (text := path.read_text("utf-8"))]
    assert len(programs) > 20
    doors = ("terminal.run(", "records.run(")
    behind = [text for text in programs if "sys.exit(" in text and any(door in text for door in doors)]
    assert [text[:80] for text in programs if text not in behind] == []


# --- what a terminal can print -------------------------------------------------------------------------------


def test_characters_that_an_encoding_lacks_are_escaped_as_in_json() -> None:
    text = '{"label": "红包 😀 \ud83d"}'
    terminal.make_printable()
    written = text.encode("ascii", "json_escapes")
    assert json.loads(written) == json.loads(json.dumps(json.loads(text)))
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", "json_escapes")


def test_an_answer_in_chinese_reaches_a_terminal_without_chinese() -> None:
    code = "import json; from core import terminal; terminal.run(lambda: print(json.dumps({'名': '猫'}, ensure_ascii=False)))"
    answer = shell(f'python -c "{code}"', PYTHONIOENCODING="ascii")
    assert answer.returncode == 0 and json.loads(answer.stdout) == {"名": "猫"}


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_failure_of_their_own(redirection: str) -> None:
    answer = shell(f"python -m core.checkpoints fetch no-such-row {redirection}")
    assert answer.returncode == 1 and b"Traceback" not in answer.stderr


# --- pipes and signals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "python -m core --help | head -0",
        "python -m core.checkpoints list | head -1",
        "python -m core.checkpoints list --json | head -c 10",
        "python -m core.checkpoints table | true",
        "python -m core.classroom --help | head -0",
        "python -u -m core.checkpoints list | head -1",
        "python -m core classify none.png --labels a 2>&1 | true",
        "python -m demos.catalog | head -1",
    ],
)
def test_a_reader_that_has_enough_is_no_failure(command: str) -> None:
    program, _, reader = command.rpartition(" | ")
    answer = shell(f"({program}; echo status $? >&3) 3>&2 | {reader}")
    *printed, status = answer.stderr.decode().splitlines()
    assert printed == [] and status in ("status 0", "status 1")


# --- statuses ------------------------------------------------------------------------------------------------


def fail(error: BaseException) -> Callable[[], None]:
    def program() -> None:
        raise error

    return program


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Refusal("no_image"), 1, "no_image"),
        (KeyboardInterrupt(), 130, "cancelled"),
        (ModuleNotFoundError("No module named 'pycocotools.coco'", name="pycocotools.coco"), 1, "no_package"),
    ],
)
def test_a_failure_is_one_sentence_and_a_status(
    error: BaseException, status: int, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert terminal.run(fail(error)) == status
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    params = {"package": "pycocotools"} if code == "no_package" else {}
    assert printed.err.strip() in {text.format(**params) for text in sentences()[code].values()}


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        ModuleNotFoundError("No module named 'core.typo'", name="core.typo"),
        ModuleNotFoundError("without a name"),
        SystemExit(2),
    ],
)
def test_faults_of_the_program_are_not_hidden(error: BaseException) -> None:
    with pytest.raises(type(error)):
        terminal.run(fail(error))


def test_a_program_returns_its_own_status() -> None:
    assert terminal.run(lambda: None) == 0
    assert terminal.run(lambda: 3) == 3
