"""What a page says about a checkpoint whose probabilities are yes or no for each label alone."""

from __future__ import annotations

from collections.abc import Sequence

from demos.kit.html import Markup, tag
from demos.kit.language import pick


def sum_note(probabilities: Sequence[float], scale: float, bias: float, lang: str) -> Markup:
    """How these probabilities are computed, and that they need not sum to 1."""
    total = float(sum(probabilities))
    sentence = pick(
        lang,
        f"Each label is a question of its own: sigmoid({scale:.1f} × cosine {bias:+.1f}). These probabilities need not "
        f"sum to 100 %: their sum is {total:.1%}, and all of them may be small.",
        f"每个标签单独回答“是或否”：sigmoid({scale:.1f} × 余弦 {bias:+.1f})。这些概率之和不必等于 100 %，"
        f"这里是 {total:.1%}，也可以全都很小。",
    )
    return tag("p", sentence, class_="atlas-line atlas-sigmoid")
