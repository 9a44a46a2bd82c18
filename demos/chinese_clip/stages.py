"""*Train it* of the Chinese-CLIP page: the paper's two stages as a figure, and small enough to run while one watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core import checkpoints
from core.runtime import Cancel
from demos.chinese_clip import draw
from demos.kit import form
from demos.kit.components import output
from demos.kit.html import Markup, join, tag
from demos.kit.language import Text, pick
from demos.kit.train import Curve, Live
from demos.kit.train import Moment as Look

if TYPE_CHECKING:
    from core.classroom.recipes.chinese_clip.live import Moment

SEAT_MINUTES = 3.0  # after which an abandoned training makes room for another
STEPS = 240
LOCKED = {"two": STEPS // 2, "both": 0}  # steps with the image tower locked
IDEA = Text(
    "The image tower of the miniature has been trained; a new text tower has never read anything. It learns 16 Chinese names "
    "from 384 images. **Predict first:** while the image tower is locked, what happens to the **English** names of the same "
    "images?",
    "微缩模型的图像编码器已经训练好；新的文本编码器还没有读过任何文字，它要从 384 张图片学会 16 个中文名。"
    "**先预测：**图像编码器锁定时，同样这些图片的**英文名**会怎样？",
)


@dataclass(frozen=True)
class Settings:
    """What a visitor chooses."""

    way: str = form.choice(
        {
            "two": Text("Locked first, then both", "先锁定，再一起训练"),
            "both": Text("Both from the start", "一开始就一起训练"),
        },
        "two",
        Text("Image tower", "图像编码器"),
    )


def miniature() -> str:
    """The row whose image tower is taken: the bundled one, which every server has."""
    return next(row.name for row in checkpoints.rows("clip") if row.bundled)


def lesson(settings: Settings, lang: str, cancel: Cancel) -> Iterator[Look]:
    """The training as it goes."""
    from core.classroom.recipes.chinese_clip.live import TwoStages

    locked = LOCKED.get(settings.way, LOCKED["two"])
    for moment in TwoStages(miniature(), locked, STEPS - locked).run(cancel):
        yield look(moment, locked, lang)


def look(moment: Moment, locked: int, lang: str) -> Look:
    """A moment of the training for the page."""
    state = "running" if not moment.done else "stopped" if moment.stopped else "done"
    if not moment.exams:
        return Look(moment.share, None, pick(lang, "encoding the images", "正在编码图片"), state)
    now = moment.exams[-1]
    tower = pick(lang, "locked", "锁定") if moment.locked else pick(lang, "trained", "参与训练")
    numbers = [
        (f"{now.chinese:.0%}", pick(lang, "Chinese names, new text tower", "中文名，新文本编码器")),
        (f"{now.english:.0%}", pick(lang, "English names, old text tower", "英文名，原文本编码器")),
        (
            f"{now.kept:.3f}",
            pick(lang, "cosine of the image features with those before", "图像特征与训练前的余弦"),
        ),
    ]
    lines = [
        (pick(lang, "Chinese", "中文"), [(one.step, one.chinese) for one in moment.exams]),
        (pick(lang, "English", "英文"), [(one.step, one.english) for one in moment.exams]),
    ]
    title = pick(lang, "Correct among 16 names, new images", "16 个名称中的正确率（新图片）")
    rows = [
        {
            "step": one.step,
            "image_tower": "locked" if one.step <= locked else "moving",
            "chinese": round(one.chinese, 4),
            "english": round(one.english, 4),
            "cosine_with_before": round(one.kept, 4),
        }
        for one in moment.exams
    ]
    ended = moment.done and len(moment.exams) > 1
    return Look(
        moment.share,
        moment.left if moment.left < 3600 else None,
        pick(
            lang,
            f"step {moment.step} of {moment.steps}, image tower {tower}",
            f"第 {moment.step} 步，共 {moment.steps} 步，图像编码器{tower}",
        ),
        state,
        numbers,
        [Curve(title, lines, pick(lang, "steps", "步数"), moment.steps, 1.0)],
        rows,
        {"verdict": verdict(moment, locked, lang) if ended else ""},
    )


def verdict(moment: Moment, locked: int, lang: str) -> Markup:
    """What the run showed, in sentences."""
    start, end = moment.exams[0], moment.exams[-1]
    held = [one for one in moment.exams if one.step <= locked]
    sentences = []
    if locked:
        last = held[-1]
        sentences.append(
            pick(
                lang,
                f"<strong>Locked, {last.step} steps:</strong> Chinese names went from {start.chinese:.0%} to "
                f"{last.chinese:.0%} correct. English stayed at {last.english:.0%}: no image feature changed, so the old text "
                "features still fit.",
                f"<strong>锁定的 {last.step} 步：</strong>中文名从 {start.chinese:.0%} 升到 {last.chinese:.0%}；"
                f"英文名仍是 {last.english:.0%}：图像特征没有变，原来的文本特征仍然匹配。",
            )
        )
    if end.step > locked:
        before = held[-1] if held else start
        sentences.append(
            pick(
                lang,
                f"<strong>Both moving, {end.step - before.step} steps:</strong> Chinese {before.chinese:.0%} → "
                f"{end.chinese:.0%}, English {before.english:.0%} → {end.english:.0%}; the image features now have a "
                f"cosine of {end.kept:.3f} with what they were. The paper goes on with this stage because Chinese web "
                "pictures differ from those CLIP saw; the classroom's do not.",
                f"<strong>都动的 {end.step - before.step} 步：</strong>中文 {before.chinese:.0%} → {end.chinese:.0%}，"
                f"英文 {before.english:.0%} → {end.english:.0%}；图像特征与原来的余弦变为 {end.kept:.3f}。"
                "论文继续做这一阶段，因为中文网页的图片和 CLIP 见过的不同；教室里的图片则没有变。",
            )
        )
    note = pick(
        lang,
        "In this small copy only the last linear step of the image tower moves, and the text tower starts from nothing; "
        "the paper moves the whole tower and starts from a Chinese RoBERTa.",
        "这个小实验里，图像编码器只动最后一个线性层，文本编码器从零开始；论文里整个编码器都动，文本从中文 RoBERTa 开始。",
    )
    paragraphs = join(tag("p", Markup(sentence)) for sentence in sentences)
    return tag("div", paragraphs, class_="atlas-verdict some") + tag("p", note, class_="atlas-line")


def figure_slot(elem_id: str) -> Any:
    """The paper's two stages as a figure; the place of what a run showed is below it."""
    output(f"{elem_id}-figure", draw.two_stages())
    return output(elem_id)


LIVE = Live("chinese-clip", IDEA, Settings, lesson, lambda _: SEAT_MINUTES, {"verdict": figure_slot})
