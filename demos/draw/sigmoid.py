"""What a page says of a row whose probabilities are yes or no for each label by itself: pure functions to HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demos.draw.base import percent
from demos.kit.html import escape
from demos.kit.language import pick


def sum_note(probabilities: Sequence[float], scale: float, bias: float, lang: str) -> str:
    """That these probabilities share nothing out: how they are made, and what they sum to here."""
    total = float(sum(probabilities))
    sentence = pick(
        lang,
        f"Each label is a question of its own: sigmoid({scale:.1f} × cosine {bias:+.1f}). These probabilities do not "
        f"have to sum to 100 %; here they sum to {total:.1%}, and all of them may be small.",
        f"每个标签单独回答“是或否”：sigmoid({scale:.1f} × 余弦 {bias:+.1f})。这些概率加起来不必等于 100 %，"
        f"这里一共是 {total:.1%}，也可以全都很小。",
    )
    return f'<p class="atlas-line atlas-sigmoid">{escape(sentence)}</p>'


def absence_reading(best: Mapping[str, Any], line: float, lang: str) -> str:
    """Whether the best label is there, for a model that may say no to all of them.

    Args:
        best: the first row: "label", "probability", "cosine".
        line: the cosine that 1 in 20 unrelated words reaches on this picture.
        lang: "en" or "zh".
    """
    label, cosine, share = escape(best["label"]), best["cosine"], percent(best["probability"])
    if cosine < line:
        verdict = pick(
            lang,
            f"<strong>None of these.</strong> The best label, “{label}”, reaches a cosine of {cosine:+.3f}; 1 in 20 "
            f"unrelated words reaches {line:+.3f} on this picture. A sigmoid need not share out 100 %, so its "
            f"{share} is an answer by itself: compare it with the list beside this one.",
            f"<strong>都不是。</strong>最好的标签“{label}”余弦只有 {cosine:+.3f}；而随便 20 个无关词里就有一个能达到 "
            f"{line:+.3f}。sigmoid 不必把 100 % 分完，所以 {share} 本身就是回答：请与旁边那组标签对比。",
        )
        return f'<p class="atlas-verdict none">{verdict}</p>'
    verdict = pick(
        lang,
        f"<strong>“{label}” is really there.</strong> Its cosine {cosine:+.3f} is above {line:+.3f}, which only 1 in 20 "
        f"unrelated words reaches on this picture; the sigmoid turns it into {share}, whatever the other labels are.",
        f"<strong>图里确实有“{label}”。</strong>它的余弦 {cosine:+.3f} 高于 {line:+.3f}，随便 20 个无关词里只有一个能达到；"
        f"sigmoid 把它变成 {share}，与其他标签无关。",
    )
    return f'<p class="atlas-verdict some">{verdict}</p>'
