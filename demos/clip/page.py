"""The CLIP page: which label fits an image, and closer looks at how CLIP knows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from demos.clip import answer, batch, compare, crops, inside, lessons, map, match, train, whatif
from demos.clip.words import text
from demos.kit import form, page, scenes_link, walkthrough
from demos.kit import train as live
from demos.kit.batch import Many
from demos.kit.components import output, plot
from demos.kit.language import Text


@dataclass(frozen=True)
class Question:
    """What the page asks: an image, labels, and how the labels are put into words."""

    checkpoint: str = form.checkpoint("clip")
    image: str | None = form.image(height=280)
    labels: str = form.chips()
    template: str = form.menu(answer.templates, "none", text("template"))
    own: str = form.words(text("own"), place="settings", longest=300, placeholder="a photo of a {}.")
    scale: float = form.slider(*answer.SCALES, answer.SCALES[0], text("scale"), step=0.1)
    scale_of: str = form.memory("")  # the checkpoint and the learned value that the slider was set to


tab = partial(page.tab, "clip")
MAP = {"plot": partial(plot, visible=False), "note": output, "nearest": output}
PAGE = page.declare(
    "clip",
    Question,
    try_it=page.Try(
        answer.classify,
        Text("Classify", "分类"),
        {"bars": output, "line": output, "relevance": output},
        files=answer.files,
        opening=answer.recorded,
    ),
    examples=page.labelled("clip", answer.OPENING, scenes_link.labels),
    compare=[
        page.Custom("compare", Text("Two answers", "两个回答"), compare.lay_out),
        tab("prompts", compare.templates, inputs=compare.Templates),
        tab("absent", compare.absent, slots=dict.fromkeys(compare.LISTS, output), inputs=compare.Missing),
        tab("match", match.match),
        page.Custom("whatif", Text("What if?", "假如……"), whatif.lay_out),
        page.Custom("crops", Text("Crops", "裁剪"), crops.lay_out),
    ],
    inside=[
        tab("where", inside.where, inputs=inside.Method),
        tab("words", match.words),
        page.Custom("attention", Text("Attention", "注意力"), inside.lay_out_attention),
        tab("map", map.lay_map, slots=MAP, inputs=map.Settings),
        page.tensors_tab(inside.tensors),
        tab("code", inside.code),
    ],
    walk=walkthrough.of_page("clip", lessons.KINDS, choices=lessons.choices, card=lessons.card),
    train=[
        page.Custom("batch", Text("Contrastive batch", "对比批次"), batch.lay_out),
        live.tab(train.LIVE, Text("Train CLIP live", "现场训练 CLIP")),
    ],
    many=Many(answer.many),
    endpoints=[
        answer.clip_classify,
        answer.clip_compare_templates,
        compare.clip_compare,
        match.clip_match,
        match.clip_words,
        whatif.clip_counterfactual,
        crops.clip_crops,
        inside.clip_inside,
        inside.clip_attention,
        map.clip_map,
        inside.clip_code,
        batch.clip_matrix,
    ],
)
