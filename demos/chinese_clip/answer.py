"""What the Chinese-CLIP page does: one handler per verb, and the named endpoints.

The sheep lesson of the lecture notes, one question in two languages, and how each text encoder reads Chinese.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import checkpoints, inputs
from core.clip import prompts
from core.errors import Refusal
from demos.chinese_clip import draw as chinese_draw
from demos.draw import base as draw
from demos.draw import sigmoid as draw_sigmoid
from demos.kit import classifier, library, shell
from demos.kit.examples import chosen as strip_choice
from demos.kit.form import LONGEST
from demos.kit.language import Text
from demos.kit.menu import start_row
from demos.kit.shell import pick

if TYPE_CHECKING:
    from core.clip import Classification, ZeroShot

FOLDER = library.ASSETS / "chinese_clip"
RECORDED = FOLDER / "recorded.json"
OPENING = "sheep_lying"
# The classroom scenes and photos of the CLIP page that have something to say here.
SCENES = ("flock", "red_envelope", "dog_under_tree", "cat_left_of_car", "toys", "airplane_drawing")
PHOTOS = ("goat_eating_grass", "teapot", "camel", "peacock")
POSES = ("lying", "eating", "standing")  # the order of the notes
ENGLISH_ONLY = "clip-vit-b32"
MAX_NAMES = 12


@cache
def published() -> dict[str, Any]:
    """What the lecture notes report, and the names of the tab of two languages."""
    return tomllib.loads(Path(__file__).with_name("data.toml").read_text(encoding="utf-8"))


@cache
def examples() -> dict[str, dict[str, Any]]:
    """Example pictures by id: the three sheep, then scenes and photos of the CLIP page."""
    found = {}
    for row in json.loads((FOLDER / "examples.json").read_text(encoding="utf-8")):
        path = FOLDER / row["file"]
        found[path.stem] = {**row, "path": str(path), "classroom": True}
    others = library.shared()
    return found | {name: others[name] for name in (*SCENES, *PHOTOS)}


@cache
def classroom_pictures() -> frozenset[str]:
    """Digests of the example pictures that a miniature knows how to see."""
    own = (inputs.digest(inputs.image(row["path"])) for row in examples().values() if row["classroom"])
    return frozenset(own) | library.classroom_digests()


def model(checkpoint: str | None) -> ZeroShot:
    """The classifier of a row, loaded on first use."""
    return classifier.model(checkpoint or start_row("clip", "zh"))


# --- endpoints -------------------------------------------------------------------------------------------


def chinese_clip_classify(
    image: gr.FileData,
    labels: list[str] | str,
    template: str | None = None,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """Rank Chinese labels for a picture with Chinese-CLIP or another model that reads Chinese.

    Args:
        image: a picture file, or a data URI.
        labels: a list, or one string with commas, Chinese ones too; at most 1,000.
        template: a template set ("photo-zh", "drawing-zh", "seven-zh") or a sentence with {} for the label.
        checkpoint: a registry row that is on the server; the bilingual miniature when left out.

    Returns:
        {"checkpoint", "seconds", "results": [{"label", "probability", "cosine"}, ...]}, best first.
    """
    with shell.api_errors():
        names = inputs.labels(labels, limit=1000)
        picture = inputs.image(shell.uploaded(image))
        return model(checkpoint).classify(picture, names, template).to_json()


def chinese_clip_tokens(texts: list[str] | str, checkpoint: str | None = None) -> dict[str, Any]:
    """Cut texts into the tokens that a checkpoint's text encoder receives, without running it.

    Args:
        texts: a list, or one string with commas; at most 100.
        checkpoint: a registry row; English-only CLIP rows need no download for this.

    Returns:
        {"checkpoint", "texts": [{"text", "pooling", "feature_at", "places", "tokens": [{"text", "id", "kind"}]}]};
        kind is "special", "piece", "byte" or "unknown", pooling "first", "end" or "last".
    """
    with shell.api_errors():
        from core.clip import reading

        names = inputs.labels(texts)
        chosen = checkpoint or start_row("clip", "zh")
        return {
            "checkpoint": chosen,
            "texts": [
                {
                    "text": one.text,
                    "pooling": one.pooling,
                    "feature_at": one.feature_at,
                    "places": one.places,
                    "tokens": [
                        {"text": piece.text, "id": piece.id, "kind": piece.kind} for piece in one.pieces
                    ],
                }
                for one in reading.read(chosen, names)
            ],
        }


# --- handlers --------------------------------------------------------------------------------------------


def asked(picture: str | None, chinese: str) -> tuple[Any, list[str]]:
    """The picture and the Chinese labels of the page, checked."""
    return inputs.image(shell.picture_source(picture)), inputs.labels(chinese)


def translations(chinese: list[str], english: str) -> list[str]:
    """The English labels where there is one for each Chinese label, else none."""
    typed = inputs.labels(english) if (english or "").strip(" ,，\n") else []
    return typed if len(typed) == len(chinese) else []


def line_of(result: Classification, digest: str, seconds: float, lang: str) -> str:
    """The result line with what is said of sigmoid rows and of pictures from outside a miniature's world."""
    line = shell.result_line(seconds, result.checkpoint, result.device, lang)
    if result.normalisation == "sigmoid":
        shares = result.probabilities.tolist()
        line = draw_sigmoid.sum_note(shares, result.logit_scale, result.logit_bias, lang) + line
    outside = checkpoints.row(result.checkpoint).bundled is not None and digest not in classroom_pictures()
    return line + (shell.hint(lang) if outside else "")


def classify(
    picture: str | None,
    chinese: str,
    english: str,
    template: str,
    own: str,
    checkpoint: str,
    lang: str,
) -> tuple[str, str]:
    """Bars and the line under them; an English reader sees what each label means."""
    image, names = asked(picture, chinese)
    meanings = dict(zip(names, translations(names, english), strict=False))
    zero_shot = model(checkpoint)
    start = time.perf_counter()
    encoded = zero_shot.encode(image)
    result = zero_shot.classify(encoded, names, classifier.template(template, own))
    seconds = time.perf_counter() - start
    answer = result.to_json()
    shown = [
        {**row, "label": f"{row['label']} · {meanings[row['label']]}"}
        if lang == "en" and row["label"] in meanings
        else row
        for row in answer["results"]
    ]
    files = [
        ("chinese-clip.json", "application/json", draw.to_json(answer).encode()),
        ("chinese-clip.csv", "text/csv", draw.to_csv(answer["results"]).encode("utf-8-sig")),
        ("chinese-clip.svg", "image/svg+xml", draw.bars_svg(shown, result.checkpoint).encode()),
    ]
    line = line_of(result, encoded.digest, seconds, lang) + shell.downloads(files)
    return draw.probability_bars(shown, lang), line


def sheep_answers(checkpoint: str) -> dict[str, list[float]]:
    """A row's probabilities of the three labels for each of the page's three sheep, by pose."""
    zero_shot = model(checkpoint)
    labels = published()["sheep"]["labels"]
    return {
        pose: zero_shot.classify(
            inputs.image(examples()[f"sheep_{pose}"]["path"]), labels
        ).probabilities.tolist()
        for pose in POSES
    }


def lesson_table(
    ours: dict[str, list[float]], checkpoint: str, lang: str, poses: Sequence[str] = POSES
) -> str:
    """The notes' answers with a row's own under each."""
    sheep = published()["sheep"]
    labels = sheep["labels"]
    heads = (
        labels if lang == "zh" else [f"{zh} {en}" for zh, en in zip(labels, sheep["english"], strict=True)]
    )
    what = {
        "lying": Text("A sheep that lies", "躺着的羊"),
        "eating": Text("A sheep that eats", "进食的羊"),
        "standing": Text("A sheep that stands", "站立的羊"),
    }
    right = {"standing": 0, "eating": 1, "lying": 2}
    table = [(what[pose].get(lang), right[pose], sheep[pose], ours[pose]) for pose in poses]
    title = checkpoints.row(checkpoint).title[lang]
    return chinese_draw.published_table(heads, table, sheep["source"][lang], title, lang)


def lesson(checkpoint: str, lang: str) -> tuple[str]:
    """The sheep lesson with the chosen checkpoint."""
    name = checkpoint or start_row("clip", "zh")
    return (lesson_table(sheep_answers(name), name, lang),)


def flock_html(lang: str) -> str:
    """The published answer of an English-only CLIP to Chinese labels, with where it stands."""
    flock = published()["flock"]
    heads = flock["labels"]
    if lang != "zh":
        heads = [f"{zh} {en}" for zh, en in zip(heads, flock["english"], strict=True)]
    return chinese_draw.flock_note(heads, flock["probabilities"], flock["source"][lang], lang)


def readers(
    picture: str | None, chinese: str, english: str, checkpoint: str, lang: str
) -> tuple[str, str, str]:
    """The same question in each way, how the labels arrive, and the line."""
    from core.clip import bilingual, reading

    image, names = asked(picture, chinese)
    zero_shot = model(checkpoint)
    start = time.perf_counter()
    encoded = zero_shot.encode(image)
    found = bilingual.compare(zero_shot, encoded, names, translations(names, english))
    result = zero_shot.classify(encoded, names)
    if checkpoints.state(ENGLISH_ONLY) == "cached":
        found.append(bilingual.given_chinese(classifier.model(ENGLISH_ONLY), image, names))
    seconds = time.perf_counter() - start
    first = found[0].readings[0].text
    strips = [
        (checkpoints.row(zero_shot.checkpoint).title[lang], found[0].readings[0]),
        (checkpoints.row(ENGLISH_ONLY).title[lang], reading.read(ENGLISH_ONLY, [first])[0]),
    ]
    heading = pick(lang, "What arrives at the text encoder", "文本编码器实际收到的内容")
    tokens = f"<h3>{heading}</h3>" + "".join(
        f"<h4>{title}</h4>{chinese_draw.token_strip(one, lang)}" for title, one in strips
    )
    return chinese_draw.readers_table(found, lang), tokens, line_of(result, encoded.digest, seconds, lang)


def agree(picture: str | None, english: str, chinese: str, checkpoint: str, lang: str) -> tuple[str, str]:
    """The matrix of two languages with the picture's row and column."""
    from core.clip import bilingual

    image = inputs.image(shell.picture_source(picture))
    first, second = inputs.labels(english), inputs.labels(chinese)
    if len(first) != len(second):
        raise Refusal("names_differ", english=len(first), chinese=len(second))
    if len(first) > MAX_NAMES:
        raise Refusal("too_many_names", count=len(first), limit=MAX_NAMES)
    zero_shot = model(checkpoint)
    start = time.perf_counter()
    encoded = zero_shot.encode(image)
    found = bilingual.agreement(zero_shot, encoded, first, second)
    seconds = time.perf_counter() - start
    line = shell.result_line(seconds, zero_shot.checkpoint, zero_shot.device, lang)
    return chinese_draw.agreement_matrix(found, lang), line


def steps(
    picture: str | None, chinese: str, template: str, own: str, checkpoint: str, lang: str
) -> tuple[str, str, str]:
    """Every tensor on the way: tokens of each label, shapes, and the arithmetic of the answer."""
    from core.clip import reading

    image, names = asked(picture, chinese)
    zero_shot = model(checkpoint)
    encoded = zero_shot.encode(image)
    result = zero_shot.classify(encoded, names, classifier.template(template, own))
    captions = [prompts.fill(result.templates[0], name) for name in names]
    found = reading.read(zero_shot.checkpoint, captions)
    tokens = "".join(chinese_draw.token_strip(one, lang) for one in found)
    return tokens, chinese_draw.shape_steps(shapes(result, encoded, found), lang), numbers(result, lang)


def shapes(result: Classification, encoded: Any, found: Any) -> list[tuple[Text, str, Text]]:
    """The steps of one answer with the shapes that they had."""
    count, width = result.text_features.shape
    rows, columns, _ = encoded.patch_features.shape
    places = max(one.places for one in found)
    templates = len(result.templates)
    is_sigmoid = result.normalisation == "sigmoid"
    last = Text("sigmoid", "sigmoid") if is_sigmoid else Text("softmax", "softmax")
    why = (
        Text("each label yes or no by itself", "每个标签单独回答是或否")
        if is_sigmoid
        else Text("shared out among the labels", "在标签之间分配 100 %")
    )
    where = chinese_draw.POOLED[found[0].pooling]
    return [
        (
            Text("tokens", "词元"),
            f"[{templates * count}, {places}]",
            Text("captions as ids, padded to the longest", "每句话的编号，补齐到最长的一句"),
        ),
        (
            Text("text tower", "文本编码器"),
            f"[{templates * count}, {places}, W] → [{count}, {width}]",
            Text(
                f"W wide inside; read at {where.en}, projected, length 1",
                f"内部宽度为 W；取自{where.zh}，投影后长度归一",
            ),
        ),
        (
            Text("image tower", "图像编码器"),
            f"[{rows}, {columns}, {width}] → [{width}]",
            Text("patches of the picture; one vector, length 1", "图块特征；汇成一个向量，长度归一"),
        ),
        (
            Text("cosines", "余弦"),
            f"[{width}] · [{count}, {width}]ᵀ = [{count}]",
            Text("how near each label is to the picture", "每个标签离图片多近"),
        ),
        (
            Text("logits", "logits"),
            f"{result.logit_scale:.1f} × [{count}] {result.logit_bias:+.1f}",
            Text(
                "the learned temperature" + (" and bias" if is_sigmoid else ""),
                "学到的温度" + ("和偏置" if is_sigmoid else ""),
            ),
        ),
        (last, f"[{count}]", why),
    ]


def numbers(result: Classification, lang: str) -> str:
    """Cosine, logit and probability of every label."""
    rows = [
        (result.labels[i], float(result.cosines[i]), float(result.logits[i]), float(result.probabilities[i]))
        for i in result.order
    ]
    return chinese_draw.number_table(rows, result.logit_scale, result.logit_bias, result.normalisation, lang)


# --- opening ---------------------------------------------------------------------------------------------


@cache
def record() -> dict[str, Any]:
    """The recorded answers, by `python -m demos.chinese_clip.record`."""
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def recorded_bars(lang: str) -> str:
    """The recorded answer that a fresh page shows, marked as recorded."""
    made = record()
    english = dict(zip(published()["sheep"]["labels"], published()["sheep"]["english"], strict=True))
    shown = [
        {**row, "label": f"{row['label']} · {english[row['label']]}"} if lang == "en" else row
        for row in made["results"]
    ]
    note = pick(
        lang,
        f"Recorded example ({made['checkpoint']}); press Classify to run it.",
        f"预先记录的例子（{made['checkpoint']}）；点“分类”即可现场运行。",
    )
    return f'<p class="atlas-line">{note}</p>' + draw.probability_bars(shown, lang)


def fill(name: str) -> tuple[str, str, str, str]:
    """Everything an example fills in: picture, Chinese labels, English labels, its id."""
    row = examples()[name]
    return row["path"], row["labels"]["zh"], row["labels"]["en"], name


def choose(value: str, lang: str) -> tuple[Any, ...]:
    """What a click on the strip of examples fills in."""
    name = strip_choice(value, examples())
    return fill(name) if name else (gr.skip(),) * 4


def opened(lang: str, query: dict[str, str]) -> tuple[Any, ...]:
    """A page's first state: what its address asks for, else the recorded example."""
    fresh = not {"example", "labels"} & set(query)
    name = query.get("example", OPENING)
    path, chinese, english, name = fill(name if name in examples() else OPENING)
    if "labels" in query:
        chinese, english = (
            query["labels"][:LONGEST],
            query.get("english", "")[:LONGEST],
        )
    template = query.get("template", "none")
    known = template if template in prompts.template_sets() else "none"
    made = record()
    table = lesson_table(made["sheep"], made["checkpoint"], lang)
    note = pick(lang, "Recorded; it is computed again with every answer.", "预先记录；每次分类都会重新计算。")
    bars = recorded_bars(lang) if fresh else ""
    return path, chinese, english, name, bars, f'{table}<p class="atlas-line">{note}</p>', known
