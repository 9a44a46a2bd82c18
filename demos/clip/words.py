"""The texts of the CLIP page, from data.toml."""

from __future__ import annotations

from functools import partial

from demos.kit import library
from demos.kit.language import Text

data = partial(library.data, "clip")
say = partial(library.say, "clip")  # a sentence in one language, with its values
text = partial(library.text, "clip")  # a sentence in both


def options(name: str) -> dict[str, Text]:
    """The options of a choice by their values."""
    return {value: Text(**title) for value, title in data()["options"][name].items()}
