"""The texts and example images of the DepthCLIP page, from data.toml."""

from demos.kit.library import words

PAPER = "depthclip"
data, examples, say, markup, text = words(PAPER)
