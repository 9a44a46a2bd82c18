"""The texts of the CLIP4Clip page, from data.toml."""

from demos.kit import library

PAPER = "clip4clip"
data, _, say, markup, text = library.words(PAPER)
