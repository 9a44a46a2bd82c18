"""The texts of the ViLT page, from data.toml."""

from demos.kit import library

PAPER = "vilt"
data, examples, say, markup, text = library.words(PAPER)
