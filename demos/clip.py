"""The CLIP page: classify a picture with words, ask for what is not there, and try prompts.

Three tabs share one picture and one checkpoint. Each handler takes plain values, calls `core.clip`, and lets
`demos.draw` turn the result into what is seen.
"""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.clip import prompts
from demos import catalog, draw, shell
from demos.menu import CheckpointMenu
from demos.shell import pick, tr

if TYPE_CHECKING:
    from PIL import Image

    from core.clip import Classification, ZeroShot

ASSETS = Path(__file__).resolve().parents[1] / "assets" / "examples"
RECORDED = ASSETS / "clip" / "recorded.json"
COMPARED = ["none", "photo", "drawing", "seven"]
SCALES = (1.0, 200.0)
ABSENT = {"en": "plane, dog, car, bird", "zh": "飞机，狗，汽车，鸟"}
POLYSEMY = {
    "en": ("mouse, computer, cheese", "a {}\na {}, a small animal\na {}, a part of a computer"),
    "zh": ("老鼠，电脑，奶酪", "{}\n{}，一种小动物\n{}，电脑的一部分"),
}


@cache
def examples() -> dict[str, dict[str, Any]]:
    """Example pictures by id, with captions and labels in both languages: classroom scenes, then photos."""
    found = {}
    for folder, listing in (("clip", "examples.json"), ("photos", "photos.json")):
        for row in json.loads((ASSETS / folder / listing).read_text(encoding="utf-8")):
            path = ASSETS / folder / row["file"]
            found[path.stem] = {**row, "path": str(path), "classroom": folder == "clip"}
    return found


@cache
def classroom_pictures() -> frozenset[str]:
    """Digests of the classroom's example pictures: any other picture comes from outside its world."""
    return frozenset(inputs.digest(inputs.image(row["path"])) for row in examples().values() if row["classroom"])


def model(checkpoint: str | None) -> ZeroShot:
    """The classifier of a row, loaded on first use."""
    from core.clip import ZeroShot

    return ZeroShot.load(checkpoint or checkpoints.default("clip"))


def templates_of(chosen: str, own: str) -> str:
    """An own template that was typed wins over the chosen set."""
    return (own or "").strip() or chosen


# --- endpoints -----------------------------------------------------------------------------------------------


def clip_classify(
    image: gr.FileData,
    labels: list[str] | str,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank labels for a picture with a CLIP model (zero-shot classification).

    Args:
        image: a picture file, or a data URI.
        labels: the labels, as a list or as one string with commas; at most 1,000, in a language of the checkpoint.
        template: name of a template set ("photo", "seven", "photo-zh", ...) or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "results": [{"label", "probability", "cosine"}, ...]}, best first.
    """
    with shell.api_errors():
        names = inputs.labels(labels, limit=1000)
        picture = inputs.image(shell.uploaded(image))
        return model(checkpoint).classify(picture, names, template).to_json()


def clip_compare_templates(
    image: gr.FileData,
    labels: list[str] | str,
    templates: list[str] | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank the same labels under several prompt templates; the picture is encoded once.

    Args:
        image: a picture file, or a data URI.
        labels: the labels, as a list or as one string with commas; at most 100.
        templates: names of template sets or sentences with {}; four common ones when left out.
        checkpoint: a registry row that is on the server; the default row when left out.

    Returns:
        {"checkpoint", "seconds", "templates": {template: results as in clip_classify}}.
    """
    with shell.api_errors():
        names = inputs.labels(labels)
        picture = inputs.image(shell.uploaded(image))
        chosen = templates or COMPARED
        results = model(checkpoint).compare_templates(picture, names, chosen)
        return {
            "checkpoint": results[0].checkpoint,
            "seconds": round(sum(result.seconds for result in results), 4),
            "templates": {
                name: result.to_json()["results"] for name, result in zip(chosen, results, strict=True)
            },
        }


# --- handlers ------------------------------------------------------------------------------------------------


def shown_line(result: Classification, image: Image.Image, seconds: float, lang: str) -> str:
    """The result line, with a hint when a miniature was given a picture from outside its world."""
    line = shell.result_line(seconds, result.checkpoint, result.device, lang)
    is_miniature = checkpoints.row(result.checkpoint).bundled is not None
    outside = is_miniature and inputs.digest(image) not in classroom_pictures()
    return line + (shell.hint(lang) if outside else "")


def classify(
    picture: str | None,
    labels: str,
    template: str,
    own: str,
    scale: float,
    scale_of: str,
    checkpoint: str,
    lang: str,
) -> tuple[Any, ...]:
    """Bars, result line, relevance, slider with its mark, and downloads.

    The slider belongs to the checkpoint it was last set for: another one brings its own learned value.
    """
    image, names = inputs.image(shell.picture_source(picture)), inputs.labels(labels)
    clip = model(checkpoint)
    result = clip.classify(
        image, names, templates_of(template, own), float(scale) if scale_of == clip.checkpoint else None
    )
    answer = result.to_json()
    rows, best = answer["results"], int(result.order[0])
    files = [
        ("clip.json", "application/json", draw.to_json(answer).encode()),
        ("clip.csv", "text/csv", draw.to_csv(rows).encode("utf-8-sig")),
        ("clip.svg", "image/svg+xml", draw.bars_svg(rows, f"CLIP · {result.checkpoint}").encode()),
        ("clip.png", "image/png", draw.png_beside(image, rows)),
    ]
    return (
        draw.probability_bars(rows, lang),
        shown_line(result, image, result.seconds, lang) + shell.downloads(files),
        draw.relevance_figure(image, result.relevance[best], result.crop, names[best], lang),
        result.logit_scale,
        draw.scale_mark(result.learned_logit_scale, *SCALES, lang),
        result.checkpoint,
    )


def absent(
    picture: str | None, labels: str, absent_labels: str, template: str, own: str, checkpoint: str, lang: str
) -> tuple[str, str, str]:
    """The red-envelope experiment: bars and readings for a label set with the answer and one without."""
    image = inputs.image(shell.picture_source(picture))
    present, missing = inputs.labels(labels), inputs.labels(absent_labels)
    clip = model(checkpoint)
    start = time.perf_counter()
    encoded = clip.encode(image)
    templates = templates_of(template, own)
    language = "zh" if any("\u4e00" <= letter <= "\u9fff" for letter in labels + absent_labels) else "en"
    line = clip.absence_line(encoded, templates, language)
    shown = []
    for names in (present, missing):
        result = clip.classify(encoded, names, templates)
        rows = result.to_json()["results"]
        shown.append(draw.probability_bars(rows, lang) + draw.absence_reading(rows[0], line, lang))
    return shown[0], shown[1], shown_line(result, image, time.perf_counter() - start, lang)


def compare(
    picture: str | None, labels: str, chosen: list[str], own: str, checkpoint: str, lang: str
) -> tuple[str, str]:
    """The same labels under the chosen sets and every own template, side by side."""
    image, names = inputs.image(shell.picture_source(picture)), inputs.labels(labels)
    own_lines = [line.strip() for line in (own or "").splitlines() if line.strip()]
    wanted = [*chosen, *own_lines] or ["none"]
    clip = model(checkpoint)
    start = time.perf_counter()
    results = clip.compare_templates(image, names, wanted)
    seconds = time.perf_counter() - start
    sets = prompts.template_sets()
    titles = [pick(lang, sets[name].en, sets[name].zh) if name in sets else name for name in wanted]
    columns = [(title, result.to_json()["results"]) for title, result in zip(titles, results, strict=True)]
    return draw.template_table(columns, names, lang), shown_line(results[-1], image, seconds, lang)


# --- opening and links ---------------------------------------------------------------------------------------


def recorded(lang: str) -> str:
    """The recorded answer that a fresh page shows, marked as recorded."""
    record = json.loads(RECORDED.read_text(encoding="utf-8"))[lang]
    note = pick(
        lang,
        f"Recorded example ({record['checkpoint']}); press Classify to run it.",
        f"预先记录的例子（{record['checkpoint']}）；点“分类”即可现场运行。",
    )
    return f'<p class="atlas-line">{note}</p>' + draw.probability_bars(record["results"], lang)


def choose_example(name: str, lang: str) -> tuple[str, str]:
    """Picture and labels of an example."""
    row = examples()[name]
    return row["path"], row["labels"][lang]


# Runs in the browser: the address of what is on the page. An uploaded file cannot travel.
LINK = """(labels, template, checkpoint, example) => {
  const url = new URL(location.pathname, location.origin);
  const parts = {labels, template, checkpoint, example, lang: window.atlasLang};
  for (const [name, value] of Object.entries(parts)) if (value) url.searchParams.set(name, value);
  navigator.clipboard?.writeText(url.href);
  history.replaceState(null, "", url);
}"""


def build() -> None:
    """Lays the page out and wires its handlers."""
    page = shell.Shell()
    sets = prompts.template_sets().values()
    choices = [(tr(row.en, row.zh), row.name) for row in sets]
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            menu = CheckpointMenu("clip", page)
            picture = shell.picture_input(height=300, elem_id="picture")
            thumbnails = gr.Gallery(
                [(row["path"], row["caption"]["en"]) for row in examples().values()],
                columns=4,
                height=220,
                object_fit="cover",
                allow_preview=False,
                label=tr("Examples: one click fills and runs", "例子：点一下就运行"),
                elem_id="examples",
                interactive=False,
                buttons=[],
            )
            example = gr.Textbox("", visible="hidden", label="example")
        with gr.Column(scale=6, min_width=320):
            with gr.Tabs():
                with gr.Tab(tr("Classify", "分类"), id="classify"):
                    labels = gr.Textbox(
                        label=tr("Labels, separated by commas or lines", "标签，用逗号或换行分开"),
                        lines=2,
                        elem_id="labels",
                    )
                    run = gr.Button(tr("Classify", "分类"), variant="primary", elem_id="classify-button")
                    bars = gr.HTML("", elem_id="bars", padding=False, min_height=40)
                    line = gr.HTML("", elem_id="line", padding=False)
                    relevance = gr.HTML("", elem_id="relevance", padding=False)
                    with gr.Accordion(tr("Template and temperature", "模板与温度"), open=False):
                        template = gr.Dropdown(
                            choices,
                            value="none",
                            label=tr("Prompt template", "提示模板"),
                            elem_id="template",
                            filterable=False,
                        )
                        own = gr.Textbox(
                            label=tr("Own template, {} is the label", "自定义模板，{} 是标签"),
                            placeholder="a photo of a {}.",
                            elem_id="own-template",
                        )
                        scale = gr.Slider(
                            *SCALES,
                            value=SCALES[0],
                            step=0.1,
                            label=tr("Logit scale = 1 / temperature", "logit scale = 1 / 温度"),
                            info=tr(
                                "Cosines are multiplied by it before the softmax: small flattens, large sharpens.",
                                "余弦先乘以它再做 softmax：越小越平，越大越尖。",
                            ),
                            elem_id="scale",
                        )
                        mark = gr.HTML("", padding=False)
                        scale_of = gr.Textbox("", visible="hidden", label="scale of")
                    link = gr.Button(tr("Copy a link to this", "复制本页链接"), size="sm", elem_id="link")
                with gr.Tab(tr("Absent labels", "不在场的标签"), id="absent"):
                    gr.Markdown(
                        tr(
                            "Softmax always shares out 100 %, even when no label is right. The raw cosine tells: is the "
                            "best label any better than an unrelated word? *Predict first:* what will the second list say?",
                            "softmax 总要把 100 % 分完，哪怕没有一个标签是对的。要看原始余弦：最好的标签比随便一个无关词强吗？"
                            "*先猜一猜：*第二组标签会得到什么？",
                        )
                    )
                    with gr.Row():
                        with gr.Column(min_width=420):
                            present = gr.Textbox(
                                label=tr("Labels with the answer", "含有答案的标签"), lines=2, elem_id="present"
                            )
                            present_out = gr.HTML("", padding=False, elem_id="present-out")
                        with gr.Column(min_width=420):
                            missing = gr.Textbox(
                                label=tr("Labels without it", "不含答案的标签"), lines=2, elem_id="missing"
                            )
                            missing_out = gr.HTML("", padding=False, elem_id="missing-out")
                    ask = gr.Button(tr("Compare", "比较"), variant="primary", elem_id="absent-button")
                    absent_line = gr.HTML("", padding=False)
                with gr.Tab(tr("Prompt lab", "提示实验室"), id="prompts"):
                    gr.Markdown(
                        tr(
                            "CLIP learned from sentences, so a bare word is unusual to it and often ambiguous. A template "
                            "repairs both; averaging many templates (an ensemble) helps again.",
                            "CLIP 是从句子里学的，单个词对它不常见，还常有歧义。加上模板两个问题都能缓解；"
                            "把许多模板取平均（集成）还能更好。",
                        )
                    )
                    lab_labels = gr.Textbox(
                        label=tr("Labels, separated by commas or lines", "标签，用逗号或换行分开"),
                        lines=2,
                        elem_id="lab-labels",
                    )
                    chosen = gr.CheckboxGroup(
                        choices, value=COMPARED, label=tr("Templates", "模板"), elem_id="lab-templates"
                    )
                    lab_own = gr.Textbox(
                        label=tr("Own templates, one a line, {} is the label", "自定义模板，每行一个，{} 是标签"),
                        lines=3,
                        elem_id="lab-own",
                    )
                    with gr.Row():
                        try_all = gr.Button(tr("Try them", "试试"), variant="primary", elem_id="lab-button")
                        sense = gr.Button(
                            tr("One word, two senses", "一词多义"), elem_id="polysemy-button"
                        )
                    table = gr.HTML("", padding=False, elem_id="lab-out")
                    lab_line = gr.HTML("", padding=False)

    classify_inputs = [picture, labels, template, own, scale, scale_of, menu.value]
    classify_outputs = [bars, line, relevance, scale, mark, scale_of]
    page.on([run.click, labels.submit], classify, classify_inputs, classify_outputs)
    page.on([scale.release], classify, classify_inputs, classify_outputs, show_progress="hidden")
    page.on(ask.click, absent, [picture, present, missing, template, own, menu.value], [present_out, missing_out, absent_line])
    page.on([try_all.click], compare, [picture, lab_labels, chosen, lab_own, menu.value], [table, lab_line])
    page.on(
        sense.click,
        lambda lang: (POLYSEMY[lang][0], POLYSEMY[lang][1], []),
        [],
        [lab_labels, lab_own, chosen],
        show_progress="hidden",
    ).then(
        shell.guarded(compare, 2),
        [picture, lab_labels, chosen, lab_own, menu.value, page.lang],
        [page.message, table, lab_line],
        api_visibility="private",
    )

    def clicked(event: gr.SelectData, lang: str) -> tuple[str, ...]:
        name = list(examples())[event.index]
        path, text = choose_example(name, "zh" if lang == "zh" else "en")
        return path, text, text, text, name

    thumbnails.select(
        clicked,
        [page.lang],
        [picture, labels, present, lab_labels, example],
        api_visibility="private",
        show_progress="hidden",
    ).then(
        shell.guarded(classify, len(classify_outputs)),
        [*classify_inputs, page.lang],
        [page.message, *classify_outputs],
        api_visibility="private",
        show_progress="minimal",
    )
    picture.upload(lambda: "", None, [example], api_visibility="private", show_progress="hidden")
    link.click(None, [labels, template, menu.value, example], None, js=LINK)

    def opened(lang: str, query: dict[str, str]) -> tuple[Any, ...]:
        name = query.get("example") if query.get("example") in examples() else "red_envelope"
        path, text = choose_example(str(name), lang)
        text = query.get("labels", text)[:20_000]
        fresh = not {"example", "labels"} & set(query)
        wished = query.get("template", "none")
        return (
            path,
            text,
            text,
            ABSENT[lang],
            text,
            name,
            recorded(lang) if fresh else "",
            wished if wished in prompts.template_sets() else "none",
            query.get("checkpoint") if query.get("checkpoint") in menu.names else gr.skip(),
        )

    page.on_load(
        opened, [picture, labels, present, missing, lab_labels, example, bars, template, menu.value]
    )
    gr.api(clip_classify, api_name="clip_classify")
    gr.api(clip_compare_templates, api_name="clip_compare_templates")


PAGE = catalog.page("clip", build)
