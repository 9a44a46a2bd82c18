"""The texts of the ActionCLIP page, from data.toml."""

from demos.kit import library

PAPER = "actionclip"
data, _, say, markup, text = library.words(PAPER)
