"""The texts and example images of the GLIP page, from data.toml."""

from demos.kit.library import words

PAPER = "glip"
data, examples, say, markup, text = words(PAPER)
