"""The texts of the CLIP page, from data.toml."""

from __future__ import annotations

from functools import partial

from demos.kit import library

data = partial(library.data, "clip")
say = partial(library.say, "clip")  # a sentence in one language, with its values
text = partial(library.text, "clip")  # a sentence in both
examples = partial(library.examples, "clip")  # by their names
options = partial(library.options, "clip")  # of a choice, by their values
