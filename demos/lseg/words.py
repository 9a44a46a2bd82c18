"""The texts and example images of the LSeg page, from data.toml."""

from demos.kit.library import words

PAPER = "lseg"
data, examples, say, markup, text = words(PAPER)
