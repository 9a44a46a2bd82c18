"""The refusals: each one that is raised has its sentences, each sentence is raised, both languages agree."""

from __future__ import annotations

import ast
import copy
import pickle
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import Refusal, sentences

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("core/**/*.py"), *ROOT.glob("demos/**/*.py")])
CODES = sorted(sentences())


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in SOURCES:
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def strings(node: ast.AST) -> set[str]:
    """The string constants under a node."""
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def raised() -> Iterator[tuple[str, set[str], set[str] | None]]:
    """Each Refusal(...): its place, its literal codes, its parameters (None where `**` hides them)."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func).split(".")[-1] == "Refusal"
                and node.args
            ):
                codes = strings(node.args[0])
                names = {keyword.arg for keyword in node.keywords}
                known = None if None in names else {name for name in names if name}
                yield f"{path.relative_to(ROOT)}:{node.lineno}", codes, known


def places(sentence: str) -> set[str]:
    """The {parameters} of a sentence."""
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def test_every_refusal_that_is_raised_has_its_sentences() -> None:
    found = 0
    for place, codes, params in raised():
        for code in codes:
            found += 1
            assert code in CODES, f"{place} raises {code!r}, which errors.toml does not know"
            if params is not None:
                missing = places(sentences()[code]["en"]) - params
                assert not missing, f"{place}: {code!r} needs {missing}"
    assert found >= 20


def test_every_sentence_is_raised() -> None:
    used = set().union(*(strings(tree) for _, tree in trees()))
    assert sorted(set(CODES) - used) == []


@pytest.mark.parametrize("code", CODES)
def test_both_languages_say_the_same(code: str) -> None:
    sentence = sentences()[code]
    assert set(sentence) == {"en", "zh"}
    assert places(sentence["en"]) == places(sentence["zh"])
    params = {name: f"<{name}>" for name in places(sentence["en"])}
    refusal = Refusal(code, **params)
    for lang, end in (("en", "."), ("zh", "。")):
        text = refusal.text(lang)
        assert text.endswith(end) or text.endswith(">"), "a refusal is a sentence"
        assert all(value in text for value in params.values())
        assert "\n" not in text and text == text.strip()
    assert any("\u4e00" <= c <= "\u9fff" for c in refusal.text("zh"))
    assert refusal.text("fr") == refusal.text("en") == str(refusal)


def test_a_refusal_crosses_processes() -> None:
    refusal = Refusal("too_many_labels", count=1000, limit=100)
    for twin in (pickle.loads(pickle.dumps(refusal)), copy.copy(refusal)):
        assert type(twin) is Refusal
        assert (twin.code, twin.params) == (refusal.code, refusal.params)
        assert twin.text("zh") == refusal.text("zh") != str(twin)


def test_braces_in_a_value_are_only_text() -> None:
    assert "{label}" in str(Refusal("label_too_long", label="{label}", length=301, limit=300))
