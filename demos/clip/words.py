"""The texts of the CLIP page, from data.toml: `say` for sentences with values, `text` for both languages of a fixed one."""

from __future__ import annotations

from functools import partial

from demos.kit import library

data = partial(library.data, "clip")
say = partial(library.say, "clip")
text = partial(library.text, "clip")
