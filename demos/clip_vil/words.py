"""The texts and example images of the CLIP-ViL page, from data.toml."""

from demos.kit.library import words

PAPER = "clip_vil"
data, examples, say, markup, text = words(PAPER)
