"""The texts and example images of the GroupViT page, from data.toml."""

from demos.kit.library import words

PAPER = "groupvit"
data, examples, say, markup, text = words(PAPER)
