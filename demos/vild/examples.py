"""The page's own words, data and example images, as `demos.kit.library` reads them."""

from __future__ import annotations

from functools import partial

from demos.kit import library

words = partial(library.data, "vild")
examples = partial(library.examples, "vild")
drawn_pictures = partial(library.classroom_digests, "vild")
