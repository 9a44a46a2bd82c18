"""The GLIP page's own words, data and example pictures, as `demos.kit.page_examples` reads them."""

from __future__ import annotations

from functools import partial

from demos.kit import page_examples

words = partial(page_examples.words, "glip")
examples = partial(page_examples.examples, "glip")
drawn_pictures = partial(page_examples.drawn_pictures, "glip")
