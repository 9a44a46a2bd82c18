"""HTML of the Chinese-CLIP page from plain values. What a visitor typed is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from demos.draw.base import percent
from demos.kit.html import Markup, escape
from demos.kit.language import Text, both, pick

if TYPE_CHECKING:
    from core.clip.bilingual import Agreement, Reader
    from core.clip.reading import Reading

POOLED = {
    "first": Text("the first token, as BERT does", "第一个词元（BERT 的做法）"),
    "end": Text("the end token, as CLIP does", "结束词元（CLIP 的做法）"),
    "last": Text("the last of all places, padding included", "最后一个位置（包括填充）"),
}
WAYS = {
    "zh": Text("Chinese labels", "中文标签"),
    "en": Text("English labels", "英文标签"),
    "bytes": Text("Chinese never taught: bytes", "没学过中文：只有字节"),
    "clip": Text("English-only ViT-B/32, Chinese labels", "只懂英文的 ViT-B/32，中文标签"),
}
LOCK = (
    '<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path fill="currentColor" '
    'd="M4 7V5a4 4 0 1 1 8 0v2h1v8H3V7h1Zm1.8 0h4.4V5a2.2 2.2 0 1 0-4.4 0v2Z"/></svg>'
)
SPARK = (
    '<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path fill="currentColor" '
    'd="M9 1 3 9h4l-1 6 7-9H9l1-5Z"/></svg>'
)


def token_strip(reading: Reading, lang: str) -> Markup:
    """One text as the row of tokens that the encoder receives; the place of the feature is marked."""
    chips = []
    for i, piece in enumerate(reading.pieces):
        here = ' aria-current="true"' if i == reading.feature_at else ""
        chips.append(
            f'<li class="{piece.kind}"{here}><b>{escape(piece.text)}</b><small>{piece.id}</small></li>'
        )
    rest = reading.places - len(reading.pieces)
    if rest > 0:
        here = ' aria-current="true"' if reading.feature_at >= len(reading.pieces) else ""
        words = pick(lang, f"padding × {rest}", f"填充 × {rest}")
        chips.append(f'<li class="special"{here}><b>{words}</b><small>0</small></li>')
    where = pick(lang, "feature read at ", "特征取自") + POOLED[reading.pooling].get(lang)
    return Markup(
        f'<div class="atlas-tokens"><p><strong>{escape(reading.text)}</strong> <span>→ '
        f"{pick(lang, f'{len(reading.pieces)} tokens', f'{len(reading.pieces)} 个词元')}; {where}</span></p>"
        f"<ol>{''.join(chips)}</ol></div>"
    )


def _shares(values: Sequence[float] | np.ndarray) -> str:
    """Cells of one answer, its best marked."""
    best = int(np.argmax(values))
    return "".join(
        f'<td{" class=best" if i == best else ""} style="--share:{100 * float(value):.1f}%">'
        f"{'✓ ' if i == best else ''}{percent(float(value))}</td>"
        for i, value in enumerate(values)
    )


def published_table(
    labels: Sequence[str],
    rows: Sequence[tuple[str, int, Sequence[float], Sequence[float]]],
    source: str,
    ours: str,
    lang: str,
) -> Markup:
    """The published answer of every picture with ours under it.

    Args:
        labels: the N labels.
        rows: (what the picture shows, index of the right label, published [N], ours [N]).
        source: where the published figures stand.
        ours: which model gave ours.
        lang: "en" or "zh".
    """
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in labels)
    body = []
    for what, right, published, mine in rows:
        body.append(
            f'<tr class="what"><th scope="rowgroup" colspan="{len(labels) + 1}">{escape(what)}</th></tr>'
        )
        for kind, name, shares in (
            ("published", pick(lang, "published", "已发表"), published),
            ("ours", pick(lang, "here", "本机"), mine),
        ):
            is_right = int(np.argmax(shares)) == right
            verdict = pick(lang, "right" if is_right else "wrong", "对" if is_right else "错")
            body.append(
                f'<tr class="{kind}"><th scope="row"><b>{name}</b> <small>{verdict}</small></th>'
                f"{_shares(shares)}</tr>"
            )
    return Markup(
        '<div class="atlas-scroll" tabindex="0"><table class="atlas-grid atlas-published"><thead><tr>'
        f"<td></td>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
        f'<p class="atlas-line">{escape(source)}. '
        + pick(
            lang,
            f"Here: {escape(ours)}, on drawings of our own: the question is the same, the images are not.",
            f"本机：{escape(ours)}，用的是我们自己的图画：问题相同，图片不同。",
        )
        + "</p>"
    )


def readers_table(readers: Sequence[Reader], lang: str) -> Markup:
    """The same question in each way of asking: a row a label, a column a way, the best of each marked."""
    columns = "".join(f'<th scope="col">{WAYS[one.way].get(lang)}</th>' for one in readers)
    texts = {one.way: [reading.text for reading in one.readings] for one in readers}
    body = []
    for i, chinese in enumerate(texts["zh"]):
        english = f"<small>{escape(texts['en'][i])}</small>" if "en" in texts else ""
        cells = ""
        for one in readers:
            is_best = i == int(one.probabilities.argmax())
            value = float(one.probabilities[i])
            cells += (
                f'<td{" class=best" if is_best else ""} style="--share:{100 * value:.1f}%">'
                f"{'✓ ' if is_best else ''}{percent(value)}<small>{float(one.cosines[i]):+.3f}</small></td>"
            )
        body.append(f'<tr><th scope="row">{escape(chinese)}{english}</th>{cells}</tr>')
    return Markup(
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid atlas-readers"><thead><tr><th scope="col">'
        f"{pick(lang, 'label', '标签')}</th>{columns}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def agreement_matrix(found: Agreement, lang: str) -> Markup:
    """English names against Chinese ones as a matrix of cosines, with the picture's own row and column."""
    numbers = found.cosines
    low, high = float(numbers.min()), float(numbers.max())
    span = (high - low) or 1.0

    def cell(value: float, is_pair: bool, is_best: bool) -> str:
        classes = " ".join(["pair"] * is_pair + ["best"] * is_best)
        heat = 70 * (value - low) / span
        return f'<td class="{classes}" style="--heat:{heat:.0f}%">{value:+.2f}</td>'

    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in found.chinese)
    body = []
    nearest = numbers.argmax(axis=1)
    for i, name in enumerate(found.english):
        cells = "".join(
            cell(float(value), i == j, j == int(nearest[i])) for j, value in enumerate(numbers[i])
        )
        body.append(
            f'<tr><th scope="row">{escape(name)}</th>{cells}{_picture_cell(found.picture_english, i)}</tr>'
        )
    last = "".join(_picture_cell(found.picture_chinese, j) for j in range(len(found.chinese)))
    picture = pick(lang, "the image", "这张图")
    body.append(f'<tr class="picture"><th scope="row">{picture}</th>{last}<td></td></tr>')
    right, total = int(found.matched.sum()), len(found.english)
    sentence = pick(
        lang,
        f"<strong>{right} of {total}</strong> English names lie nearest to their own Chinese name, though no pair of "
        "names was ever shown to the model. Framed: the pairs; bold: the nearest of a row.",
        f"<strong>{total} 个英文名里有 {right} 个</strong>离自己的中文名最近，尽管模型从未见过中英文对照。"
        "加框的是同一事物；粗体是每行中最近的。",
    )
    mean = float(numbers.diagonal().mean())
    others = (float(numbers.sum()) - float(np.trace(numbers))) / max(total * (total - 1), 1)
    gap = pick(
        lang,
        f"Mean cosine of the pairs {mean:+.2f}, of all others {others:+.2f}.",
        f"同一事物的平均余弦 {mean:+.2f}，其余 {others:+.2f}。",
    )
    return Markup(
        f'<p class="atlas-verdict {"some" if right == total else "none"}">{sentence} {gap}</p>'
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-heat"><thead><tr><td></td>{head}'
        f'<th scope="col" class="picture">{picture}</th></tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def _picture_cell(cosines: np.ndarray, i: int) -> str:
    best = " best" if i == int(cosines.argmax()) else ""
    return f'<td class="picture{best}">{float(cosines[i]):+.2f}</td>'


def number_table(
    rows: Sequence[tuple[str, float, float, float]], scale: float, bias: float, normalisation: str, lang: str
) -> Markup:
    """Label, cosine, logit and probability, best first: the arithmetic of an answer."""
    last = "sigmoid" if normalisation == "sigmoid" else "softmax"
    head = (pick(lang, "label", "标签"), pick(lang, "cosine", "余弦"), f"× {scale:.1f} {bias:+.1f}", last)
    cells = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{cosine:+.4f}</td><td>{logit:+.2f}</td>'
        f"<td>{percent(probability)}</td></tr>"
        for label, cosine, logit, probability in rows
    )
    return Markup(
        '<div class="atlas-scroll" tabindex="0"><table class="atlas-grid"><thead><tr>'
        + "".join(f'<th scope="col">{text}</th>' for text in head)
        + f"</tr></thead><tbody>{cells}</tbody></table></div>"
    )


def two_stages() -> Markup:
    """The paper's training as a figure in both languages: first the text tower alone, then both."""
    frozen = (LOCK, both("frozen", "冻结"), "frozen")
    trained = (SPARK, both("trained", "训练"), "trained")
    picture, text = both("image tower", "图像编码器"), both("text tower", "文本编码器")
    stages = (
        (
            both("Stage 1: learn to read", "第一阶段：学习中文"),
            (picture, both("starts as CLIP's", "初始权重：CLIP"), frozen),
            (text, both("starts as Chinese RoBERTa", "初始权重：中文 RoBERTa"), trained),
            both(
                "Only the text tower is trained. It learns to map Chinese captions to the features that CLIP gives their images "
                "(locked-image tuning, LiT).",
                "只训练文本编码器：它学着把中文描述映射到 CLIP 给出的图像特征上（锁定图像的调优，LiT）。",
            ),
        ),
        (
            both("Stage 2: adapt the image tower", "第二阶段：调整图像编码器"),
            (picture, both("from stage 1", "接第一阶段"), trained),
            (text, both("from stage 1", "接第一阶段"), trained),
            both(
                "Both towers are trained with the same contrastive loss, so that the image tower adapts to the images of "
                "Chinese web pages.",
                "两个编码器用同样的对比损失一起训练，让模型也看懂中文网页里的图片。",
            ),
        ),
    )

    def tower(name: str, start: str, state: tuple[str, str, str]) -> str:
        icon, word, kind = state
        return (
            f'<div class="tower {kind}"><strong>{name}</strong><span>{start}</span>'
            f'<span class="state">{icon} {word}</span></div>'
        )

    figures = "".join(
        f'<section><h3>{title}</h3><div class="towers">{tower(*left)}'
        f'<div class="loss">{both("contrast", "对比")}<br>⇄</div>{tower(*right)}</div><p>{why}</p></section>'
        for title, left, right, why in stages
    )
    source = both(
        "Yang et al. 2022, figure 1: about 200 million Chinese pairs; starting from two trained towers costs less than "
        "starting from nothing.",
        "Yang 等 2022，图 1：约 2 亿中文图文对；从两个训练好的编码器出发，比从零开始更省。",
    )
    return Markup(f'<div class="atlas-stages">{figures}</div><p class="atlas-line">{source}</p>')


def flock_note(labels: Sequence[str], shares: Sequence[float], source: str, lang: str) -> Markup:
    """A published answer that this server did not compute, marked as such."""
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in labels)
    return Markup(
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid"><thead><tr><td></td>{head}</tr></thead>'
        f'<tbody><tr><th scope="row">{pick(lang, "published", "已发表")}</th>{_shares(shares)}</tr></tbody></table></div>'
        f'<p class="atlas-line">{escape(source)}.</p>'
    )
