"""The texts of the StyleCLIP page, from data.toml."""

from functools import partial

from demos.kit import library

PAPER = "styleclip"
data, examples, say, markup, text = library.words(PAPER)
line = partial(library.line, PAPER)
