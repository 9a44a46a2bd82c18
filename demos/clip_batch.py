"""The *Contrastive batch* tab: n pictures and n captions, the paper's loss on their matrix line by line.

Pictures and captions that were encoded before are remembered, so that a slider, a swap or an edit answers at once.
"""

from __future__ import annotations

import random
import time
import tomllib
from collections.abc import Generator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import Context
from PIL import Image, ImageOps

from core import checkpoints, inputs
from core.errors import Refusal
from demos import clip_handlers as handlers
from demos import draw, matrix, shell
from demos.clip_shared import Common, output
from demos.shell import pick, tr
from demos.stops import Stops

if TYPE_CHECKING:
    from core.classroom.pairs import Pair

LOW, HIGH = 2, 16
START = ("classroom", 6)
SCENES, UPLOADED = "scenes", "uploaded"
POOL, POOL_SIDE = 128, 128  # pairs that random batches are drawn from, and their pixels
STOPS = Stops()
IDEA = (
    "CLIP is trained on a **batch**: n pictures, n captions, and one question asked n times in both directions: "
    "*which one is mine?* Every cell of the matrix is one cosine; training pulls the diagonal up and pushes all the rest "
    "down. *Predict first:* what happens to the loss when two captions change places?",
    "CLIP 用**批次**训练：n 张图片、n 条描述，同一个问题双向各问 n 次：*哪个是我的？*"
    "矩阵每一格是一个余弦；训练把对角线拉高，把其余压低。*先猜一猜：*两条描述对调后，损失会怎样？",
)
DIFFICULTY = (
    "The same checkpoint, random batches of classroom scenes: with more captions to choose from, guessing costs log n "
    "and every mistake gets likelier. This is why CLIP was trained on batches of 32,768.",
    "同一组权重，随机抽取的教室场景批次：可选的描述越多，瞎猜的损失 log n 越大，也越容易出错。"
    "所以 CLIP 训练时每批有 32,768 对。",
)


@cache
def sets() -> dict[str, dict[str, Any]]:
    """The batches of one click, by name."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


# --- endpoint --------------------------------------------------------------------------------------------


def clip_matrix(
    images: list[gr.FileData],
    captions: list[str],
    checkpoint: str | None = None,
    logit_scale: float | None = None,
) -> dict[str, Any]:
    """The matrix of a contrastive batch: n pictures against n captions, and CLIP's symmetric loss on it.

    Args:
        images: 1 to 64 picture files, or data URIs.
        captions: as many texts; caption k is held to belong to picture k, equal texts share the target.
        checkpoint: a registry row that is on the server; the default row when left out.
        logit_scale: inverse temperature in place of the learned one, above 0 and at most 1,000.

    Returns:
        {"checkpoint", "seconds", "captions", "logit_scale", "learned_logit_scale", "loss", "loss_i", "loss_t",
        "chance", "picture_accuracy", "caption_accuracy", "cosines", "logits", "probabilities" (rows sum to 1),
        "probabilities_by_caption" (columns sum to 1), "gradient", "sigmoid": {"loss", "scale", "bias",
        "probabilities"}}; matrices have pictures in rows.
    """
    from core.clip import contrastive

    with shell.api_errors():
        if not isinstance(images, list) or not isinstance(captions, list) or not 1 <= len(images) <= 64:
            count = len(images) if isinstance(images, list) else 0
            raise Refusal("batch_size", low=1, high=64, count=count)
        texts = [inputs.text(caption) for caption in captions]
        pictures = [inputs.image(shell.uploaded(image)) for image in images]
        return contrastive.match(handlers.model(checkpoint), pictures, texts, logit_scale).to_json()


# --- pictures and captions -------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def scenes(seed: int, count: int, side: int) -> list[Pair]:
    """Classroom scenes of a seed with captions, no caption twice."""
    from core.classroom.pairs import captioned

    return captioned(count, seed, side)


def source(text: str) -> tuple[str, int]:
    """ "scenes:7" -> ("scenes", 7); a set's name or "uploaded" has no seed; anything else is the first set."""
    name, _, seed = (text or "").partition(":")
    if name == SCENES and seed.isdecimal() and len(seed) < 10:
        return SCENES, int(seed)
    return (name if name in sets() or name == UPLOADED else START[0]), 0


def pictures_of(where: str, count: float, files: Sequence[str] | None) -> list[Image.Image]:
    """The n pictures of the batch.

    Raises:
        Refusal: "no_picture" where uploads are asked for and there are none, "batch_size", what images are refused for.
    """
    name, seed = source(where)
    if name == SCENES:
        return [pair.picture for pair in scenes(seed, HIGH, 224)][: int(count)]
    if name == UPLOADED:
        if not files:
            raise Refusal("no_picture")
        if not LOW <= len(files) <= HIGH:
            raise Refusal("batch_size", low=LOW, high=HIGH, count=len(files))
        return [inputs.image(file) for file in files]
    return [example(one) for one in sets()[name]["pictures"][: int(count)]]


@lru_cache(maxsize=64)
def example(name: str) -> Image.Image:
    """One of the page's example pictures, turned around behind "mirror:"."""
    image = inputs.image(handlers.examples()[name.removeprefix("mirror:")]["path"])
    return ImageOps.mirror(image) if name.startswith("mirror:") else image


def caption_language(checkpoint: str, lang: str) -> str:
    """The page's language where the checkpoint reads it, else the first that it does."""
    known = checkpoints.row(checkpoint or checkpoints.default("clip")).languages
    return lang if lang in known else known[0]


def true_captions(
    where: str, count: float, files: Sequence[str] | None, checkpoint: str, lang: str
) -> list[str]:
    """The captions that belong to the pictures; for uploads the likeliest everyday words, as a first draft."""
    name, seed = source(where)
    language = caption_language(checkpoint, lang)
    if name == SCENES:
        return [pair.caption[language] for pair in scenes(seed, HIGH, 224)][: int(count)]
    if name == UPLOADED:
        from core.clip.zero_shot import background_words

        model, words = handlers.model(checkpoint), background_words(language)
        found = [model.classify(image, words) for image in pictures_of(where, count, files)]
        return [one.labels[one.order[0]] for one in found]
    row = sets()[name]
    own = row.get(language) or [handlers.examples()[one]["caption"][language] for one in row["pictures"]]
    return own[: int(count)]


def lines_of(captions: str) -> list[str]:
    """The captions of the box, one a line, cleaned."""
    return [inputs.text(line) for line in (captions or "").splitlines() if line.strip()]


# --- handlers --------------------------------------------------------------------------------------------


def fill(where: str, count: float, files: list[str] | None, checkpoint: str, lang: str) -> tuple[Any, ...]:
    """What a new set of pictures brings: its captions, and the number that there are."""
    captions = true_captions(where, count, files, checkpoint, lang)
    return "\n".join(captions), len(captions)


def compute(
    where: str,
    count: float,
    files: list[str] | None,
    captions: str,
    view: str,
    scale: float,
    scale_of: str,
    checkpoint: str,
    lang: str,
) -> tuple[Any, ...]:
    """Pictures, heat map, loss, pseudocode, result line with downloads, slider with its mark."""
    from core.clip import contrastive

    pictures, texts = pictures_of(where, count, files), lines_of(captions)
    model = handlers.model(checkpoint)
    own = float(scale) if scale_of == model.checkpoint else None
    batch = contrastive.match(model, pictures, texts, own)
    made = batch.contrast
    view = view if view in matrix.VIEWS else "rows"
    thumbnails = [draw.data_uri(picture, 96) for picture in pictures]
    title = f"CLIP · {batch.checkpoint} · loss {made.loss:.3f}"
    files_out = [
        ("clip-batch.json", "application/json", draw.to_json(batch.to_json()).encode()),
        ("clip-batch.csv", "text/csv", matrix.to_csv(batch).encode("utf-8-sig")),
        ("clip-batch.png", "image/png", matrix.to_png(batch, pictures, view, title)),
    ]
    line = shell.result_line(batch.seconds, batch.checkpoint, batch.device, lang)
    if checkpoints.row(batch.checkpoint).bundled is not None and source(where)[0] in (UPLOADED, "photos"):
        line += shell.hint(lang)
    return (
        matrix.figure(batch, thumbnails, view, lang),
        matrix.loss_card(batch, lang),
        matrix.code_table(made.lines, lang),
        line + shell.downloads(files_out),
        made.logit_scale,
        draw.scale_mark(batch.learned_logit_scale, *handlers.SCALES, lang),
        batch.checkpoint,
    )


def typed(where: str, count: float, files: list[str] | None, captions: str, *rest: Any) -> tuple[Any, ...]:
    """`compute` while somebody types: an unfinished list of captions is a note, not a refusal."""
    lang, wanted = rest[-1], len(pictures_of(where, count, files))
    given = len(lines_of(captions))
    if given == wanted:
        return compute(where, count, files, captions, *rest)
    note = pick(
        lang,
        f"{given} captions for {wanted} pictures: write one a line.",
        f"{wanted} 张图片只能配 {wanted} 条描述，现在有 {given} 条：每行写一条。",
    )
    same = gr.skip()
    return same, same, same, f'<p class="atlas-hint">{note}</p>', same, same, same


def swap(captions: str, lang: str) -> tuple[str]:
    """The first two captions change places."""
    lines = lines_of(captions)
    return ("\n".join([*lines[1::-1], *lines[2:]]),)


def shuffle(captions: str, lang: str) -> tuple[str]:
    """No caption stays where it is: a random cycle."""
    lines = lines_of(captions)
    order = random.sample(range(len(lines)), len(lines))
    moved = list(lines)
    for here, there in zip(order, [*order[1:], *order[:1]], strict=True):
        moved[there] = lines[here]
    return ("\n".join(moved),)


def opened(
    captions: str, where: str, count: float, files: list[str] | None, checkpoint: str, lang: str
) -> tuple[Any, ...]:
    """The tab's first state: its first set, once."""
    return (gr.skip(), gr.skip()) if captions else fill(where, count, files, checkpoint, lang)


def harder(session: str, checkpoint: str, lang: str) -> Generator[tuple[Any, ...], None, None]:
    """Loss and accuracy for batches of 2 to 64 classroom scenes; encoding comes first, a picture at a time."""
    from core.clip import contrastive

    start = time.perf_counter()
    with STOPS.job(session) as cancel:
        first = pick(lang, "Composing 128 scenes …", "正在生成 128 个场景……")
        yield f'<p class="atlas-line">{first}</p>', gr.update(visible=True)
        try:
            pairs = scenes(0, POOL, POOL_SIDE)
            model = handlers.model(checkpoint)
            language = caption_language(checkpoint, lang)
            features, shown = [], time.monotonic()
            for done, pair in enumerate(pairs):
                cancel.check()
                features.append(model.encode(pair.picture).image_features)
                if time.monotonic() - shown > 0.4:
                    shown = time.monotonic()
                    left = (time.perf_counter() - start) / (done + 1) * (POOL - done)
                    yield progress(done / POOL, left, lang), gr.skip()
            texts = model.encode_text([pair.caption[language] for pair in pairs])
            scale = model.classify(pairs[0].picture, [pairs[0].caption[language]]).learned_logit_scale
        except Refusal as refusal:
            yield shell.refusal_html(refusal, lang), gr.update(visible=False)
            return
        found = contrastive.difficulty(features, texts, scale)
        line = shell.result_line(time.perf_counter() - start, model.checkpoint, model.device, lang)
        yield matrix.difficulty_figure(found, lang) + line, gr.update(visible=False)


def progress(share: float, left: float, lang: str) -> str:
    """A bar with the time that is left."""
    text = pick(lang, f"Encoding, about {left:.0f} s left", f"正在编码，大约还需 {left:.0f} 秒")
    return (
        f'<div class="atlas-progress" role="progressbar" aria-label="{text}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * share:.0f}"><span style="width:{100 * share:.1f}%"></span></div>'
        f'<p class="atlas-line">{text}</p>'
    )


def stop(session: str, lang: str) -> tuple[Any, ...]:
    """Asks the session's job to stop."""
    STOPS.stop(session)
    return ()


# --- layout ----------------------------------------------------------------------------------------------


def batch_tab(common: Common) -> None:
    """Lays the tab out and wires it."""
    page = common.page
    tab: Any = Context.block
    root: Any = Context.root_block
    gr.Markdown(tr(*IDEA))
    with gr.Row(elem_classes="atlas-lessons"):
        choices = {
            name: gr.Button(tr(row["title"]["en"], row["title"]["zh"]), size="sm", elem_id=f"batch-{name}")
            for name, row in sets().items()
        }
    where = gr.Textbox(START[0], visible="hidden", label="batch")
    with gr.Row(equal_height=True):
        count = gr.Slider(LOW, HIGH, value=START[1], step=1, label=tr("Pairs n", "对数 n"), elem_id="batch-n")
        seed = gr.Number(
            1,
            precision=0,
            minimum=0,
            maximum=99_999,
            label=tr("Seed", "种子"),
            min_width=90,
            elem_id="batch-seed",
        )
        compose = gr.Button(tr("Compose scenes", "生成场景"), min_width=140, elem_id="batch-scenes")
    with gr.Accordion(
        tr("Your own pictures (2 to 16)", "用自己的图片（2 到 16 张）"), open=False, elem_id="batch-own"
    ):
        files = gr.File(
            file_count="multiple", file_types=["image"], type="filepath", label=tr("Pictures", "图片"),
            elem_id="batch-files", height=150,
        )  # fmt: skip
    captions = gr.Textbox(
        lines=4, max_lines=HIGH, elem_id="batch-captions",
        label=tr("Captions, one a line: line k belongs to picture k", "描述，每行一条：第 k 行对应第 k 张图"),
    )  # fmt: skip
    with gr.Row(elem_classes="atlas-lessons"):
        run = gr.Button(tr("Compute the loss", "计算损失"), variant="primary", elem_id="batch-button")
        swapping = gr.Button(tr("Swap the first two", "对调前两条"), elem_id="batch-swap")
        shuffling = gr.Button(tr("Shuffle all", "全部打乱"), elem_id="batch-shuffle")
        reset = gr.Button(tr("Reset", "复原"), elem_id="batch-reset")
    card = output("batch-card")
    view = gr.Radio(
        [(tr(text.en, text.zh), name) for name, text in matrix.VIEWS.items()],
        value="rows", label=tr("What a cell shows", "格子里显示什么"), elem_id="batch-view",
    )  # fmt: skip
    plot = gr.Plot(show_label=False, elem_id="batch-plot", container=False)
    low, high = handlers.SCALES
    scale = gr.Slider(
        low, high, value=low, step=0.1, elem_id="batch-temperature",
        label=tr("Logit scale exp(t) = 1 / temperature", "logit scale exp(t) = 1 / 温度"),
    )  # fmt: skip
    mark = output("batch-mark")
    scale_of = gr.Textbox("", visible="hidden", label="batch scale of")
    line = output("batch-line")
    with gr.Accordion(
        tr("The paper's pseudocode, as it just ran", "论文的伪代码，刚刚逐行运行"),
        open=True,
        elem_id="batch-lines",
    ):
        code = output("batch-code")
    with gr.Accordion(
        tr("Batch size against difficulty", "批次越大越难"), open=False, elem_id="batch-difficulty"
    ):
        gr.Markdown(tr(*DIFFICULTY))
        with gr.Row():
            measure = gr.Button(tr("Measure n = 2 … 64", "测量 n = 2 … 64"), elem_id="batch-measure")
            stopping = gr.Button(tr("Stop", "停止"), variant="stop", visible=False, elem_id="batch-stop")
        curves = output("batch-curves")

    given = [where, count, files]
    asked = [*given, captions, view, scale, scale_of, common.checkpoint]
    shown = [plot, card, code, line, scale, mark, scale_of]
    filled = [captions, count]

    def after(event: Any) -> None:
        page.then(event, compute, asked, shown)

    for name, button in choices.items():
        pick_set = _chooser(name)
        chosen = page.on(button.click, pick_set, [], [where, count], show_progress="hidden")
        after(page.then(chosen, fill, [*given, common.checkpoint], filled))
    composed = page.on(
        compose.click,
        lambda seed, lang: (f"{SCENES}:{int(seed or 0)}",),
        [seed],
        [where],
        show_progress="hidden",
    )
    after(page.then(composed, fill, [*given, common.checkpoint], filled))
    uploaded = page.on(files.upload, lambda lang: (UPLOADED,), [], [where], show_progress="hidden")
    after(page.then(uploaded, fill, [*given, common.checkpoint], filled))
    after(
        page.on(
            [count.release, reset.click], fill, [*given, common.checkpoint], filled, show_progress="hidden"
        )
    )
    after(page.on(swapping.click, swap, [captions], [captions], show_progress="hidden"))
    after(page.on(shuffling.click, shuffle, [captions], [captions], show_progress="hidden"))
    page.on(run.click, compute, asked, shown)
    page.on([view.input, scale.release], compute, asked, shown, show_progress="hidden")
    page.on(captions.input, typed, asked, shown, show_progress="hidden", trigger_mode="always_last")
    # A tab inside a group is seen when either is chosen.
    seen = [tab.select, tab.parent.parent.select]
    after(page.on(seen, opened, [captions, *given, common.checkpoint], filled, show_progress="hidden"))
    page.on(
        measure.click, harder, [common.checkpoint], [curves, stopping], session=True, show_progress="hidden"
    )
    page.on(stopping.click, stop, [], [], session=True, queue=False, show_progress="hidden")
    root.unload(STOPS.left)
    gr.api(clip_matrix, api_name="clip_matrix")


def _chooser(name: str) -> Any:
    """The handler of a set's button: its name, and all of its pictures."""
    return lambda lang: (name, min(HIGH, len(sets()[name]["pictures"])))
