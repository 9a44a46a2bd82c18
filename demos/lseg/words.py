"""The texts and example images of the LSeg page, from data.toml."""

from __future__ import annotations

from functools import partial

from demos.kit import library

PAPER = "lseg"

data = partial(library.data, PAPER)
examples = partial(library.examples, PAPER)
say = partial(library.say, PAPER)  # a sentence in one language, with its values
markup = partial(library.markup, PAPER)  # the same as HTML
text = partial(library.text, PAPER)  # a sentence in both languages
