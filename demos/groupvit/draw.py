"""What a GroupViT answers as HTML and tables: groups against the threshold, a group across images, true names.

Pure functions of plain values. `demos.draw.masks` draws masks over one image; the many small ones are drawn in this module.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from demos.draw import base, masks
from demos.kit.html import Markup, grid, join, table, tag
from demos.kit.language import pick

if TYPE_CHECKING:
    from core.segmentation.groupvit import EncodedImage, Grouping, RightNames

SIDE = 320  # pixels of a small image
STRENGTH = 0.62  # of colours over an image
MAX_COLUMNS = 24  # labels of the table of groups


def background(lang: str) -> str:
    """The name of pixels without a label."""
    return pick(lang, "background", "背景")


def group_name(group: int, lang: str) -> str:
    """The name of a group by its number."""
    return pick(lang, f"group {group}", f"第 {group} 组")


def with_background(mask: np.ndarray, count: int) -> np.ndarray:
    """[H, W] label indices with -1 for background -> with `count` for it, as overlays want."""
    return np.where(mask < 0, count, mask).astype(np.int64)


def names_and_colours(labels: Sequence[str], lang: str) -> tuple[list[str], list[str]]:
    """The labels and background behind them; background is not painted."""
    return [*labels, background(lang)], [*masks.palette(len(labels)), ""]


def overlay(image: Image.Image, grouping: Grouping, lang: str) -> Markup:
    """The mask over the image; pointing at it shows the label and the score of its group."""
    names, colours = names_and_colours(grouping.labels, lang)
    scores = grouping.scores.max(1)[grouping.groups]
    mask = with_background(grouping.mask, len(grouping.labels))
    return masks.overlay(image, mask, names, colours, STRENGTH, lang, scores)


def visible_groups(grouping: Grouping) -> list[int]:
    """The groups that own a pixel, the highest score first."""
    present = np.unique(grouping.groups)
    return present[np.argsort(-grouping.scores.max(1)[present], kind="stable")].tolist()


def swatch(colour: str) -> Markup:
    """A small square in a colour."""
    return tag("i", class_="gv-swatch", style=f"background:{colour}")


# --- the threshold -----------------------------------------------------------------------------------------


def chart(grouping: Grouping, lang: str) -> Markup:
    """Each group's best label and score as a bar beside the threshold; a group left of the line is background."""
    colours = masks.palette(len(grouping.labels))
    area = np.bincount(grouping.groups.ravel(), minlength=len(grouping.scores)) / grouping.groups.size
    rows = []
    for group in visible_groups(grouping):
        best = int(grouping.scores[group].argmax())
        score, named = float(grouping.scores[group, best]), grouping.group_labels[group] >= 0
        label = grouping.labels[best]
        name = [label] if named else [tag("s", label), " ", background(lang)]
        colour = tag("i", style=f"background:{colours[best]}" if named else None)
        small = tag("small", f"{group_name(group, lang)} · {base.percent(float(area[group]))}")
        bar = tag("td", tag("span", style=f"width:{100 * score:.1f}%"), class_="gv-bar")
        rows.append(
            tag(
                "tr",
                tag("th", colour, *name, small, scope="row"),
                bar,
                tag("td", f"{score:.3f}"),
                class_=None if named else "ground",
            )
        )
    head = (
        pick(lang, "group and its best label", "组和它得分最高的标签"),
        pick(lang, f"score; the line is at {grouping.line:.3f}", f"得分；线在 {grouping.line:.3f} 处"),
        "",
    )
    style = f"--line:{100 * grouping.line:.1f}%"
    return tag(
        "div", table(head, rows, "gv-scores"), threshold_note(grouping, lang), class_="gv-chart", style=style
    )


def threshold_note(grouping: Grouping, lang: str) -> Markup:
    """The effect of this threshold: how much is background, and why the line may be lower than the threshold."""
    share = float(grouping.shares[-1])
    area = tag("strong", base.percent(share) if share else "0%")
    groups = visible_groups(grouping)
    named, count = sum(grouping.group_labels[group] >= 0 for group in groups), len(groups)
    if lang == "zh":
        text = Markup("{} 个组里有 {} 个得到标签；图片的 {} 是背景。").format(
            count, tag("strong", str(named)), area
        )
    else:
        part = tag("strong", f"{named} of {count}")
        text = Markup("{} groups have a label; {} of the image is background.").format(part, area)
    if grouping.line < grouping.threshold:
        text += pick(
            lang,
            f" No group reaches {grouping.threshold:.2f}, so the line is at the best score: one group always has a label.",
            f"没有一个组达到 {grouping.threshold:.2f}，所以线取最高分：总有一个组得到标签。",
        )
    if grouping.line <= 0:
        text += pick(
            lang,
            " Nothing is background at this threshold: the ground must also take one of your labels.",
            "这个阈值下没有背景：地面也必须取你的某个标签。",
        )
    return tag("p", text, class_="atlas-line gv-said", role="status")


# --- the table of groups and labels ------------------------------------------------------------------------


def group_table(grouping: Grouping, lang: str) -> Markup:
    """Groups down, labels across: score and cosine, the best of each group marked."""
    columns = range(min(len(grouping.labels), MAX_COLUMNS))
    colours = masks.palette(len(grouping.labels))
    head = [
        pick(lang, "score, cosine below", "得分，下面是余弦"),
        *(swatch(colours[i]) + grouping.labels[i] for i in columns),
    ]
    body = []
    for group in visible_groups(grouping):
        best = int(grouping.scores[group].argmax())
        cells = (
            tag(
                "td",
                f"{'✓ ' if i == best else ''}{grouping.scores[group, i]:.3f}",
                tag("small", f"{grouping.group_cosines[group, i]:+.3f}"),
                class_="best" if i == best else None,
                style=f"--share:{100 * grouping.scores[group, i]:.1f}%",
            )
            for i in columns
        )
        body.append(tag("tr", tag("th", group_name(group, lang), scope="row"), *cells))
    more = len(grouping.labels) - len(columns)
    rest = pick(lang, f"{more} more labels are in the CSV file.", f"其余 {more} 个标签见 CSV 文件。")
    return grid(head, body) + (tag("p", rest, class_="atlas-line") if more else "")


def table_csv(grouping: Grouping) -> str:
    """One line a group and label: group, its share of the image, label, score, cosine, whether the group has this label."""
    area = np.bincount(grouping.groups.ravel(), minlength=len(grouping.scores)) / grouping.groups.size
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["group", "share", "label", "score", "cosine", "named"])
    for group, scores in enumerate(grouping.scores):
        for i, label in enumerate(grouping.labels):
            named = int(grouping.group_labels[group]) == i
            writer.writerow(
                [group, f"{area[group]:.6f}", base.plain_cell(label), f"{scores[i]:.6f}",
                 f"{grouping.group_cosines[group, i]:.6f}", int(named)]
            )  # fmt: skip
    return buffer.getvalue()


def files(image: Image.Image, grouping: Grouping, lang: str) -> Markup:
    """The downloads of one answer."""
    names, colours = names_and_colours(grouping.labels, lang)
    mask = with_background(grouping.mask, len(grouping.labels))
    overlay_png = masks.overlay_png(image, mask, names, colours, STRENGTH)
    coco = masks.coco_rle(mask, names, grouping.size)
    made = [
        (pick(lang, "overlay PNG", "叠加图 PNG"), "groupvit.png", "image/png", overlay_png),
        (pick(lang, "label map PNG", "标签图 PNG"), "groupvit-labels.png", "image/png", masks.mask_png(mask, names)),
        ("COCO JSON", "groupvit-coco.json", "application/json", coco.encode()),
        ("JSON", "groupvit.json", "application/json", base.to_json(grouping.to_json()).encode()),
        (pick(lang, "groups CSV", "分组表 CSV"), "groupvit.csv", "text/csv", table_csv(grouping).encode("utf-8-sig")),
    ]  # fmt: skip
    return masks.links(made, lang)


# --- one group across images -------------------------------------------------------------------------------


@dataclass(frozen=True)
class RowImage:
    """An image of the row: its address and caption, its two maps of groups."""

    source: str
    caption: str
    maps: str  # a PNG's address: red is the stage-1 group, green the stage-2 group
    groups: tuple[tuple[int, ...], ...]  # groups that own a patch, by stage


def row_image(image: Image.Image, encoded: EncodedImage, caption: str) -> RowImage:
    """An image with its maps, small."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    maps = [encoded.group_map(stage) for stage in range(len(encoded.stages))]
    flat = [np.asarray(Image.fromarray(one).resize(small.size, Image.Resampling.NEAREST)) for one in maps]
    pair = np.stack([flat[0], flat[-1], np.zeros_like(flat[0])], -1)
    buffer = io.BytesIO()
    Image.fromarray(pair).save(buffer, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    groups = tuple(tuple(np.unique(one).tolist()) for one in (flat[0], flat[-1]))
    return RowImage(base.data_uri(image, SIDE), caption, uri, groups)


def group_row(images: Sequence[RowImage], counts: Sequence[int], lang: str) -> Markup:
    """The row with a choice of stage and group; the browser marks the chosen group in every image.

    Args:
        images: the row.
        counts: group tokens of the first and of the last stage.
        lang: "en" or "zh".
    """
    titles = (
        pick(lang, f"Stage 1: {counts[0]} groups, parts", f"第一阶段：{counts[0]} 组，部件"),
        pick(lang, f"Stage 2: {counts[-1]} groups, things", f"第二阶段：{counts[-1]} 组，物体"),
    )
    stages = (
        tag(
            "button",
            title,
            type="button",
            class_="atlas-chip",
            data_stage=i,
            aria_pressed=str(i == 1).lower(),
        )
        for i, title in enumerate(titles)
    )
    lists = []
    for stage in (0, 1):
        present = sorted({group for image in images for group in image.groups[stage]})
        buttons = (
            _group_button(group, sum(group in image.groups[stage] for image in images), max(counts), lang)
            for group in present
        )
        lists.append(tag("div", *buttons, class_="gv-groups", data_of=stage, hidden=stage == 0))
    figures = (
        tag(
            "figure",
            tag(
                "div",
                tag("img", alt=image.caption, src=image.source),
                tag("canvas", aria_hidden="true"),
                tag("img", class_="gv-maps", alt="", hidden=True, src=image.maps),
                class_="gv-picture",
            ),
            tag("figcaption", image.caption),
        )
        for image in images
    )
    tip = pick(
        lang,
        "Click a place in an image, or a number, to see this group in every image. Click again to see all groups.",
        "点击图片中的一处或一个编号，该组会在所有图片里亮起。再点一次显示全部的组。",
    )
    return tag(
        "div",
        tag("p", *stages, class_="gv-stages"),
        *lists,
        tag("p", tip, class_="atlas-line", role="status"),
        tag("div", *figures, class_="gv-pictures"),
        class_="gv-row",
        data_colours=json.dumps(masks.palette(max(counts))),
    )


def _group_button(group: int, images: int, colours: int, lang: str) -> Markup:
    colour = tag("i", style=f"background:{masks.palette(colours)[group]}")
    text = pick(lang, f"group {group}, in {images} images", f"第 {group} 组，出现在 {images} 张图里")
    return tag(
        "button",
        colour,
        str(group),
        type="button",
        data_group=group,
        aria_pressed="false",
        aria_label=text,
        title=text,
    )


# --- true names --------------------------------------------------------------------------------------------


def painted(image: np.ndarray, mask: np.ndarray, colours: Sequence[str]) -> str:
    """A small image [H, W, 3] under a mask [H, W] of colour indices, -1 unpainted, as an address."""
    rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], float)
    grey = 0.35 * image.mean(-1, keepdims=True) + 150
    mixed = np.where((mask < 0)[..., None], grey, (1 - STRENGTH) * image + STRENGTH * rgb[mask])
    return base.data_uri(Image.fromarray(mixed.clip(0, 255).astype(np.uint8)), SIDE)


@dataclass(frozen=True)
class Renamed:
    """One scene of the table of true names."""

    image: np.ndarray  # [H, W, 3]
    truth: np.ndarray  # [H, W]
    grouping: Grouping
    right: RightNames


def renamed_table(rows: Sequence[Renamed], lang: str) -> Markup:
    """Scene by scene: groups, the model's names, the true names, the exact mask, with mIoU under both names."""
    head = (
        pick(lang, "groups", "分组"),
        pick(lang, "names by the model", "模型给的名称"),
        pick(lang, "true names", "真实名称"),
        pick(lang, "exact mask", "精确掩码"),
    )
    body = []
    for row in rows:
        labels = row.grouping.labels
        colours = masks.palette(len(labels))
        count = len(np.unique(row.grouping.groups))
        cells = (
            (row.grouping.groups, masks.palette(len(row.grouping.scores)), pick(lang, f"{count} groups", f"{count} 个组")),
            (row.grouping.mask, colours, f"mIoU {row.right.own:.2f}"),
            (row.right.mask, colours, f"mIoU {row.right.right:.2f}"),
            (row.truth, colours, ""),
        )  # fmt: skip
        body.append(
            tag(
                "tr",
                *(
                    tag(
                        "td",
                        tag("img", alt=title, src=painted(row.image, mask, paint)),
                        tag("b", note) if note else "",
                        legend(mask, labels, colours, lang) if at else "",
                    )
                    for at, (title, (mask, paint, note)) in enumerate(zip(head, cells, strict=True))
                ),
            )
        )
    return tag("div", table(head, body, "gv-names"), class_="atlas-scroll", tabindex="0")


def legend(mask: np.ndarray, labels: Sequence[str], colours: Sequence[str], lang: str) -> Markup:
    """The labels of a mask, in their colours."""
    held = [int(i) for i in np.unique(mask) if i >= 0]
    if not held:
        return tag("small", pick(lang, "no label", "没有标签"))
    return join(tag("small", swatch(colours[i]), labels[i]) for i in held)


def before_after(rows: Sequence[Renamed], lang: str) -> Markup:
    """The means of both mIoU as two large numbers, and what the difference means."""
    own, right = (float(np.mean([getattr(row.right, name) for row in rows])) for name in ("own", "right"))
    if right > own:
        why = pick(
            lang,
            f"The groups stay the same, and only their names change: {right - own:+.2f} mIoU. This difference is the cost of "
            f"wrong names. The rest to 1 ({1 - right:.2f}) is the cost of wrong groups.",
            f"分组不变，只换名称：mIoU {right - own:+.2f}。这个差值是名称错误的代价；"
            f"离 1 还差的 {1 - right:.2f} 是分组错误的代价。",
        )
    else:
        why = pick(
            lang,
            f"True names do not help in these scenes ({right - own:+.2f}): most of each group is background, so its true name "
            "is background. These groups do not follow outlines, and no name can repair that.",
            f"在这些场景里，真实名称没有帮助（{right - own:+.2f}）：每个组的大部分都是背景，所以它的真实名称就是背景。"
            "分组没有沿着轮廓，换名称无法补救。",
        )
    titles = pick(lang, "names by the model", "模型给的名称"), pick(lang, "true names", "真实名称")
    scenes = pick(lang, f"foreground mIoU, mean of {len(rows)} scenes", f"前景 mIoU，{len(rows)} 个场景平均")
    pair = [
        tag("span", title, tag("b", f"{value:.2f}"))
        for title, value in zip(titles, (own, right), strict=True)
    ]
    return tag(
        "div",
        tag("p", tag("small", scenes)),
        tag("p", pair[0], tag("em", "→"), pair[1]),
        tag("p", why),
        class_="gv-score",
    )


# --- more things than groups -------------------------------------------------------------------------------


def crowd(grouping: Grouping, homes: Mapping[str, int], lang: str) -> Markup:
    """How many groups there are for how many things, and which things share one.

    Args:
        grouping: the answer.
        homes: thing -> the group that has most of its pixels; empty where the exact mask is not known.
        lang: "en" or "zh".
    """
    slots, used = len(grouping.scores), len(visible_groups(grouping))
    if lang == "zh":
        most = tag("strong", f"最多 {slots} 个组")
        text = Markup("不管图里有多少东西，{}；这张图里有 {} 个组占有像素。").format(most, used)
    else:
        most = tag("strong", f"{slots} groups at most")
        text = Markup("{} for any image. In this image {} of them own a pixel.").format(most, used)
    if not homes:
        return tag("p", text, class_="atlas-verdict")
    by_group: dict[int, list[str]] = {}
    for thing, group in homes.items():
        by_group.setdefault(group, []).append(thing)
    alone = tag("strong", str(sum(len(things) == 1 for things in by_group.values())))
    if lang == "zh":
        sentence = Markup("{} 样东西分在 {} 个组里，独占一组的有 {} 样。")
    else:
        sentence = Markup(" {} things are in {} groups. Things with a group of their own: {}.")
    text += sentence.format(len(homes), len(by_group), alone)
    rows = [
        tag(
            "tr",
            tag("th", group_name(group, lang), scope="row"),
            tag("td", pick(lang, ", ", "、").join(things)),
        )
        for group, things in sorted(by_group.items(), key=lambda item: -len(item[1]))
    ]
    head = pick(lang, "group", "组"), pick(lang, "things that are mostly in it", "主要落在其中的东西")
    return tag("p", text, class_="atlas-verdict") + table(head, rows, "atlas-grid gv-homes")


def group_overlay(image: Image.Image, groups: np.ndarray, lang: str) -> Markup:
    """The groups [H, W] of one image, each in its colour under its number."""
    present, mask = np.unique(groups, return_inverse=True)
    names = [group_name(group, lang) for group in present.tolist()]
    colours = [masks.palette(int(present.max()) + 1)[group] for group in present.tolist()]
    return masks.overlay(image, mask.reshape(groups.shape), names, colours, STRENGTH, lang)
