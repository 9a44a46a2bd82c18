"""The *Code* tab: the equations of the paper beside the lines of core that ran, with what they made."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import checkpoints
from demos.chinese_clip import answer as handlers
from demos.chinese_clip.shared import Common, output
from demos.kit import classifier, shell, sources
from demos.kit.shell import tr

if TYPE_CHECKING:
    from core.clip import Classification

IDEA = (
    "The lines of this repository that answer the page's question, read from the files of the server, each beside its "
    "equation (Yang et al. 2022 keep CLIP's: Radford et al. 2021, figure 3), with the shapes and numbers of this run.",
    "回答本页问题的代码行，直接读自服务器上的文件，旁边是对应的公式（Yang 等 2022 沿用 CLIP 的公式：Radford 等 2021，图 3）"
    "和这一次运行的形状与数值。",
)


def cards(loader: str) -> list[dict[str, Any]]:
    """The cards that fit a checkpoint's loader, "module:function"."""
    kind = loader.partition(":")[2]
    return [card for card in handlers.published()["code"] if card.get("tower", kind) == kind]


def passage(card: dict[str, Any]) -> str:
    """The lines of a card, without the indentation they share.

    Raises:
        ValueError: where the file no longer has them.
    """
    lines = sources.lines(card["file"], card["name"]).splitlines()
    if "first" not in card:
        return "\n".join(lines)
    starts = [line.strip() for line in lines]
    places = [
        next((i for i, line in enumerate(starts) if line.startswith(card[end])), -1)
        for end in ("first", "last")
    ]
    if not 0 <= places[0] <= places[1]:
        raise ValueError(f"{card['file']} no longer has the lines that {card['name']} is shown by")
    chosen = lines[places[0] : places[1] + 1]
    indent = min(len(line) - len(line.lstrip()) for line in chosen if line.strip())
    return "\n".join(line[indent:] for line in chosen)


def made(result: Classification) -> dict[str, str]:
    """What a run made, by the names that cards use: shapes, and the numbers of the first labels."""
    count, width = result.text_features.shape
    templates = len(result.templates)

    def numbers(values: np.ndarray, form: str) -> str:
        return (
            "["
            + ", ".join(format(float(value), form) for value in values[:6])
            + (", …]" if len(values) > 6 else "]")
        )

    return {
        "texts": f"[{templates * count}, {width}]",
        "ensemble": f"[{templates}, {count}, {width}] → [{count}, {width}]",
        "logits": f"{result.logit_scale:.1f} · {numbers(result.cosines, '+.3f')} {result.logit_bias:+.1f}\n"
        f"= {numbers(result.logits, '+.2f')}",
        "probabilities": numbers(result.probabilities, ".4f"),
    }


def cards_html(loader: str, values: dict[str, str], lang: str) -> str:
    """Every card: equation and meaning, lines, and what they made."""
    code = "zh" if lang == "zh" else "en"
    parts = []
    for card in cards(loader):
        value = values.get(card.get("made", ""), "")
        here = shell.pick(lang, "in this run", "这一次运行")
        shown = f"<p>{here}</p><pre>{html.escape(value)}</pre>" if value else ""
        parts.append(
            f'<section class="code-card"><div><p class="equation">{card["equation"]}</p>'
            f"<p>{html.escape(card['what'][code])}</p>{shown}</div>"
            f"<div><p><code>{card['file']}</code> · <code>{card['name']}</code></p>"
            f'<pre tabindex="0"><code>{html.escape(passage(card))}</code></pre></div></section>'
        )
    return f'<div class="code-cards">{"".join(parts)}</div>'


def run(
    picture: str | None, chinese: str, template: str, own: str, checkpoint: str, lang: str
) -> tuple[str, str]:
    """Classifies, and shows the lines with their values."""
    image, names = handlers.asked(picture, chinese)
    zero_shot = handlers.model(checkpoint)
    encoded = zero_shot.encode(image)
    result = zero_shot.classify(encoded, names, classifier.template(template, own))
    loader = checkpoints.row(result.checkpoint).loader
    line = handlers.line_of(result, encoded.digest, result.seconds, lang)
    return cards_html(loader, made(result), lang), line


def code_tab(common: Common, template: Any, own: Any) -> None:
    """Lays the tab out and wires it."""
    gr.Markdown(tr(*IDEA))
    button = gr.Button(
        tr("Run and show the lines", "运行并显示代码"), variant="primary", elem_id="code-button"
    )
    shown, line = output("code-out"), output("code-line")
    common.page.on(
        button.click,
        run,
        [common.picture, common.chinese, template, own, common.checkpoint],
        [shown, line],
    )
