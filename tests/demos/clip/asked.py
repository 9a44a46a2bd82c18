"""Questions of the CLIP page, as its form makes them."""

from __future__ import annotations

from typing import Any

from demos.clip.page import Question
from demos.kit import library

EXAMPLES = library.shared()


def asked(example: str = "toys", labels: str | None = None, lang: str = "en", **fields: Any) -> Question:
    """The question of an example with its labels, the fields changed."""
    row = EXAMPLES[example]
    given = {"image": row["path"], "labels": row["labels"][lang] if labels is None else labels}
    return Question(**(given | fields))
