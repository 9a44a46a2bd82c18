"""The texts of the CLIFS page, from data.toml."""

from functools import partial

from demos.kit import library

PAPER = "clifs"
ROWS = "clip"  # whose checkpoints search
data, _, say, markup, text = library.words(PAPER)
line = partial(library.line, PAPER)
