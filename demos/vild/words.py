"""The texts and example images of the ViLD page, from data.toml."""

from demos.kit.library import words

PAPER = "vild"
data, examples, say, markup, text = words(PAPER)
