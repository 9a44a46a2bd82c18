"""The *Contrastive batch* tab: n pictures and n captions, the paper's loss on their matrix line by line.

Pictures and captions that were encoded before are remembered, so that a slider, a swap or an edit answers at once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from typing import Any

import gradio as gr
from gradio.context import Context

from core import checkpoints, inputs
from core.errors import Refusal
from demos.clip import answer as handlers
from demos.clip.batches import (
    HIGH,
    LOW,
    SCENES,
    START,
    UPLOADED,
    caption_language,
    lines_of,
    pictures_of,
    scenes,
    sets,
    source,
    true_captions,
)
from demos.clip.shared import Common
from demos.draw import base as draw
from demos.draw import charts as curves
from demos.draw import matrix
from demos.kit import jobs, shell
from demos.kit.components import output
from demos.kit.jobs import Stops
from demos.kit.shell import pick, tr

POOL, POOL_SIDE = 128, 128  # pairs that random batches are drawn from, and their pixels
SHOWN, LINE = 10, 4  # what `compute` shows, and which of it is the result line
SHOW_SECONDS = 0.4  # between two looks at how far the measuring is
STOPS = Stops()
IDEA = (
    "CLIP is trained on a **batch**: n pictures, n captions, and one question asked n times in both directions: "
    "*which one is mine?* Every cell of the matrix is one cosine; training pulls the diagonal up and pushes all the rest "
    "down. *Predict first:* what happens to the loss when two captions change places?",
    "CLIP 用**批次**训练：n 张图片、n 条描述，同一个问题双向各问 n 次：*哪个是我的*？"
    "矩阵每一格是一个余弦；训练把对角线拉高，把其余压低。*先猜一猜*：两条描述对调后，损失会怎样？",
)
DIFFICULTY = (
    "The same checkpoint, random batches of classroom scenes: with more captions to choose from, guessing costs log n "
    "and every mistake gets likelier. This is why CLIP was trained on batches of 32,768.",
    "同一组权重，随机抽取的教室场景批次：可选的描述越多，瞎猜的损失 log n 越大，也越容易出错。"
    "所以 CLIP 训练时每批有 32,768 对。",
)


# --- endpoint --------------------------------------------------------------------------------------------


def clip_matrix(
    images: list[gr.FileData],
    captions: list[str] | str,
    checkpoint: str | None = None,
    logit_scale: float | None = None,
) -> dict[str, Any]:
    """The matrix of a contrastive batch: n pictures against n captions, and CLIP's symmetric loss on it.

    Args:
        images: 1 to 64 picture files, or data URIs.
        captions: as many texts, a list or one string with lines; caption k is held to belong to picture k, equal
            texts share the target.
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
        given = images if isinstance(images, list) else []
        if not 1 <= len(given) <= 64:
            raise Refusal("batch_size", low=1, high=64, count=len(given))
        texts = (
            lines_of(captions) if isinstance(captions, str) else [inputs.text(one) for one in captions or []]
        )
        if len(texts) != len(given):
            raise Refusal("matrix_shape", images=len(given), captions=len(texts))
        scale = None if logit_scale is None else contrastive.check_scale(logit_scale)
        pictures = [inputs.image(shell.uploaded(image)) for image in given]
        return contrastive.match(handlers.model(checkpoint), pictures, texts, scale).to_json()


# --- handlers --------------------------------------------------------------------------------------------


def fill(where: str, count: float, files: list[str] | None, checkpoint: str, lang: str) -> tuple[Any, ...]:
    """What a new set of pictures brings: its captions, the number that there are, and no loss before."""
    captions = true_captions(where, count, files, checkpoint, lang)
    return "\n".join(captions), len(captions), ""


def compute(
    where: str,
    count: float,
    files: list[str] | None,
    captions: str,
    view: str,
    scale: float,
    scale_of: str,
    before: str,
    checkpoint: str,
    lang: str,
) -> tuple[Any, ...]:
    """Plot, how to read it, loss, pseudocode, result line with downloads, slider with its mark, curve, loss for later."""
    from core.clip import contrastive

    pictures, texts = pictures_of(where, count, files), lines_of(captions)
    model = handlers.model(checkpoint)
    batch = contrastive.match(model, pictures, texts, own_scale(scale, scale_of, model.checkpoint))
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
        matrix.note(view, lang),
        matrix.loss_card(batch, float(before) if before else None, lang),
        matrix.code_table(made.lines, lang),
        line + shell.downloads(files_out),
        round(made.logit_scale, 2),
        draw.scale_mark(batch.learned_logit_scale, *handlers.SCALES, lang),
        f"{batch.checkpoint} {batch.learned_logit_scale:.2f}",
        curves.temperature_figure(batch, lang),
        f"{made.loss:.6f}",
    )


def own_scale(scale: float, scale_of: str, checkpoint: str) -> float | None:
    """The slider's value where somebody moved it; None where it stands at what the checkpoint has learned.

    Args:
        scale_of: "CHECKPOINT LEARNED" of the answer that the slider was set for; another checkpoint starts anew.
    """
    name, _, learned = (scale_of or "").rpartition(" ")
    return None if name != checkpoint or f"{scale:.2f}" == learned else float(scale)


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
    return *[gr.skip()] * LINE, f'<p class="atlas-hint">{note}</p>', *[gr.skip()] * (SHOWN - LINE - 1)


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
    return (gr.skip(),) * 3 if captions else fill(where, count, files, checkpoint, lang)


def harder(session: str, checkpoint: str, lang: str) -> Generator[tuple[Any, ...], None, None]:
    """Loss and accuracy for batches of 2 to 64 classroom scenes; encoding comes first, a picture at a time."""
    from core.clip import contrastive

    start = time.perf_counter()
    with STOPS.job(session) as cancel:
        first = pick(lang, "Composing 128 scenes …", "正在生成 128 个场景……")
        yield jobs.progress(None, first), gr.update(visible=True)
        try:
            pairs = scenes(0, POOL, POOL_SIDE)
            model = handlers.model(checkpoint)
            language = caption_language(checkpoint, lang)
            features, shown = [], time.monotonic()
            for done, pair in enumerate(pairs):
                cancel.check()
                features.append(model.encode(pair.picture).image_features)
                if time.monotonic() - shown > SHOW_SECONDS:
                    shown = time.monotonic()
                    left = (time.perf_counter() - start) / (done + 1) * (POOL - done)
                    text = pick(
                        lang, f"Encoding, about {left:.0f} s left", f"正在编码，大约还需 {left:.0f} 秒"
                    )
                    yield jobs.progress(done / POOL, text), gr.skip()
            texts = model.encode_text([pair.caption[language] for pair in pairs])
            scale = model.classify(pairs[0].picture, [pairs[0].caption[language]]).learned_logit_scale
        except Refusal as refusal:
            yield shell.refusal_html(refusal, lang), gr.update(visible=False)
            return
        found = contrastive.difficulty(features, texts, scale)
        line = shell.result_line(time.perf_counter() - start, model.checkpoint, model.device, lang)
        yield curves.difficulty_figure(found, lang) + line, gr.update(visible=False)


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
    where = gr.Textbox(START[0], visible="hidden", label="batch")
    scale_of = gr.Textbox("", visible="hidden", label="batch scale of")
    before = gr.Textbox("", visible="hidden", label="batch loss before")
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            with gr.Row(elem_classes="atlas-lessons"):
                choices = {
                    name: gr.Button(
                        tr(row["title"]["en"], row["title"]["zh"]),
                        size="sm",
                        min_width=140,
                        elem_id=f"batch-{name}",
                    )
                    for name, row in sets().items()
                }
            count = gr.Slider(
                LOW, HIGH, value=START[1], step=1, label=tr("Pairs n", "对数 n"), elem_id="batch-n"
            )
            captions = gr.Textbox(
                lines=6, max_lines=HIGH, elem_id="batch-captions",
                label=tr("Captions, one a line: line k belongs to picture k", "描述，每行一条：第 k 行对应第 k 张图"),
            )  # fmt: skip
            run = gr.Button(tr("Compute the loss", "计算损失"), variant="primary", elem_id="batch-button")
            with gr.Row(elem_classes="atlas-lessons"):
                swapping = gr.Button(
                    tr("Swap the first two", "对调前两条"), size="sm", min_width=90, elem_id="batch-swap"
                )
                shuffling = gr.Button(
                    tr("Shuffle all", "全部打乱"), size="sm", min_width=90, elem_id="batch-shuffle"
                )
                reset = gr.Button(tr("Reset", "复原"), size="sm", min_width=90, elem_id="batch-reset")
            low, high = handlers.SCALES
            scale = gr.Slider(
                low, high, value=low, step=0.01, elem_id="batch-temperature",
                label=tr("Logit scale exp(t) = 1 / temperature", "logit scale exp(t) = 1 / 温度"),
            )  # fmt: skip
            mark = output("batch-mark")
            warm = output("batch-warm")
            with (
                gr.Accordion(
                    tr("Random classroom scenes", "随机的教室场景"), open=False, elem_id="batch-random"
                ),
                gr.Row(equal_height=True),
            ):
                seed = gr.Number(
                    1, precision=0, minimum=0, maximum=99_999, label=tr("Seed", "种子"), min_width=90,
                    elem_id="batch-seed",
                )  # fmt: skip
                compose = gr.Button(
                    tr("Compose n scenes", "生成 n 个场景"), min_width=140, elem_id="batch-scenes"
                )
            with gr.Accordion(
                tr("Your own pictures (2 to 16)", "用自己的图片（2 到 16 张）"),
                open=False,
                elem_id="batch-own",
            ):
                files = gr.File(
                    file_count="multiple", file_types=["image"], type="filepath", label=tr("Pictures", "图片"),
                    elem_id="batch-files", height=150,
                )  # fmt: skip
        with gr.Column(scale=6, min_width=320, elem_id="batch-result"):
            card = output("batch-card")
            view = gr.Radio(
                [(tr(text.en, text.zh), name) for name, text in matrix.VIEWS.items()],
                value="rows", label=tr("What a cell shows", "格子里显示什么"), elem_id="batch-view",
            )  # fmt: skip
            reading = output("batch-note")
            plot = gr.Plot(show_label=False, elem_id="batch-plot", container=False)
            line = output("batch-line")
    with gr.Accordion(
        tr("The paper's pseudocode, as it just ran", "论文的伪代码，刚刚逐行运行"),
        open=True,
        elem_id="batch-lines",
    ):
        code = output("batch-code")
    with gr.Accordion(
        tr("Batch size against difficulty", "批次越大越难"),
        open=True,
        elem_id="batch-difficulty",
    ):
        gr.Markdown(tr(*DIFFICULTY))
        with gr.Row():
            measure = gr.Button(tr("Measure n = 2 … 64", "测量 n = 2 … 64"), elem_id="batch-measure")
            stopping = gr.Button(tr("Stop", "停止"), variant="stop", visible=False, elem_id="batch-stop")
        sizes = output("batch-curves")

    given = [where, count, files]
    asked = [*given, captions, view, scale, scale_of, before, common.checkpoint]
    shown = [plot, reading, card, code, line, scale, mark, scale_of, warm, before]
    filled = [captions, count, before]

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
        measure.click, harder, [common.checkpoint], [sizes, stopping], session=True, show_progress="hidden"
    )
    page.on(stopping.click, stop, [], [], session=True, queue=False, show_progress="hidden")
    root.unload(STOPS.leave)
    gr.api(clip_matrix, api_name="clip_matrix")


def _chooser(name: str) -> Any:
    """The handler of a set's button: its name, and all of its pictures."""
    return lambda lang: (name, min(HIGH, len(sets()[name]["pictures"])))
