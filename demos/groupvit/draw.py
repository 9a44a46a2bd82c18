"""What a GroupViT answers into HTML and tables: groups against the threshold, a group across pictures, names put right.

Pure functions of plain values. Masks over one picture are drawn by `demos.draw.masks`; here are many small ones.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from demos.draw import base as draw
from demos.draw import masks as segment_draw
from demos.kit.language import pick

if TYPE_CHECKING:
    from core.segmentation.groupvit import EncodedImage, Grouping, RightNames

SIDE = 320  # pixels of a small picture
STRENGTH = 0.62  # of colours over a small picture
MAX_COLUMNS = 24  # labels that the table of groups shows


def ground(lang: str) -> str:
    """What a pixel without a label is called."""
    return pick(lang, "background", "背景")


def with_ground(mask: np.ndarray, count: int) -> np.ndarray:
    """[H, W] label indices with -1 for background -> with `count` for it, as overlays want."""
    return np.where(mask < 0, count, mask).astype(np.int64)


def names_and_colours(labels: Sequence[str], lang: str) -> tuple[list[str], list[str]]:
    """The labels and background behind them; background is not painted."""
    return [*labels, ground(lang)], [*segment_draw.palette(len(labels)), ""]


def answer_overlay(image: Image.Image, found: Grouping, lang: str) -> str:
    """The mask over the picture; pointing at it tells the label and the score of its group."""
    names, colours = names_and_colours(found.labels, lang)
    sure = found.scores.max(1)[found.groups]
    return segment_draw.overlay(
        image, with_ground(found.mask, len(found.labels)), names, colours, STRENGTH, lang, sure
    )


def seen_groups(found: Grouping) -> list[int]:
    """The groups that own a pixel, the best named first."""
    present = np.unique(found.groups)
    return present[np.argsort(-found.scores.max(1)[present], kind="stable")].tolist()


# --- the threshold -------------------------------------------------------------------------------------------


def background_share(found: Grouping) -> float:
    """The share of the picture that has no label."""
    return float(found.shares[-1])


def chart(found: Grouping, lang: str) -> str:
    """Each group's best label and score as a bar, cut by the threshold: what is left of the line is background."""
    colours = segment_draw.palette(len(found.labels))
    area = np.bincount(found.groups.ravel(), minlength=len(found.scores)) / found.groups.size
    rows = []
    for group in seen_groups(found):
        best = int(found.scores[group].argmax())
        score, named = float(found.scores[group, best]), found.group_labels[group] >= 0
        said = html.escape(found.labels[best])
        name = said if named else f"<s>{said}</s> {ground(lang)}"
        colour = f' style="background:{colours[best]}"' if named else ""
        rows.append(
            f'<tr{"" if named else " class=ground"}><th scope="row"><i{colour}></i>{name}'
            f"<small>{pick(lang, f'group {group}', f'第 {group} 组')} · {draw.percent(float(area[group]))}</small></th>"
            f'<td class="gv-bar"><span style="width:{100 * score:.1f}%"></span></td><td>{score:.3f}</td></tr>'
        )
    head = (
        pick(lang, "group and its best label", "组和它最合适的标签"),
        pick(lang, f"score; the line is at {found.line:.3f}", f"得分；线在 {found.line:.3f} 处"),
        "",
    )
    cells = "".join(f'<th scope="col">{text}</th>' if text else "<td></td>" for text in head)
    return (
        f'<div class="gv-chart" style="--line:{100 * found.line:.1f}%"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>{threshold_note(found, lang)}</div>"
    )


def threshold_note(found: Grouping, lang: str) -> str:
    """What this threshold did: how much is background, and why the line may stand lower than asked."""
    share = draw.percent(background_share(found)) if background_share(found) else "0%"
    named = sum(found.group_labels[group] >= 0 for group in seen_groups(found))
    count = len(seen_groups(found))
    text = pick(
        lang,
        f"<strong>{named} of {count}</strong> groups keep a name; <strong>{share}</strong> of the picture is background.",
        f"<strong>{count}</strong> 个组里有 <strong>{named}</strong> 个保住了名字；图片的 <strong>{share}</strong> 成了背景。",
    )
    if found.line < found.threshold:
        text += pick(
            lang,
            f" You asked for {found.threshold:.2f}, which no group reaches: the line goes down to the best score, so "
            "that something is always named.",
            f" 你要的 {found.threshold:.2f} 没有一个组达到：线降到最高分，这样总有一组有名字。",
        )
    if found.line <= 0:
        text += pick(
            lang,
            " Nothing is background now: the ground, too, has to be one of your labels.",
            " 现在没有背景：连地面也得算作你的某个标签。",
        )
    return f'<p class="atlas-line gv-said" role="status">{text}</p>'


# --- the table of groups and labels --------------------------------------------------------------------------


def group_table(found: Grouping, lang: str) -> str:
    """Groups down, labels across: score and cosine, the best of each group marked."""
    columns = list(range(min(len(found.labels), MAX_COLUMNS)))
    colours = segment_draw.palette(len(found.labels))
    head = "".join(
        f'<th scope="col"><i class="gv-swatch" style="background:{colours[i]}"></i>{html.escape(found.labels[i])}</th>'
        for i in columns
    )
    body = "".join(
        f'<tr><th scope="row">{pick(lang, f"group {group}", f"第 {group} 组")}</th>'
        + "".join(
            f'<td{" class=best" if i == best else ""} style="--share:{100 * found.scores[group, i]:.1f}%">'
            f"{'✓ ' if i == best else ''}{found.scores[group, i]:.3f}<small>{found.group_cosines[group, i]:+.3f}</small></td>"
            for i in columns
        )
        + "</tr>"
        for group in seen_groups(found)
        for best in [int(found.scores[group].argmax())]
    )
    corner = pick(lang, "score, cosine below", "得分，下面是余弦")
    more = len(found.labels) - len(columns)
    rest = pick(lang, f"and {more} more labels in the CSV", f"其余 {more} 个标签见 CSV") if more else ""
    return (
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid"><thead><tr><th scope="col">{corner}</th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
        + (f'<p class="atlas-line">{rest}</p>' if rest else "")
    )


def table_csv(found: Grouping) -> str:
    """One line a group and label: group, its share of the picture, label, score, cosine, whether it named the group."""
    area = np.bincount(found.groups.ravel(), minlength=len(found.scores)) / found.groups.size
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["group", "share", "label", "score", "cosine", "named"])
    for group, scores in enumerate(found.scores):
        for i, label in enumerate(found.labels):
            named = int(found.group_labels[group]) == i
            writer.writerow(
                [group, f"{area[group]:.6f}", draw.plain_cell(label), f"{scores[i]:.6f}",
                 f"{found.group_cosines[group, i]:.6f}", int(named)]
            )  # fmt: skip
    return buffer.getvalue()


def files(image: Image.Image, found: Grouping, lang: str) -> str:
    """The downloads of one answer."""
    names, colours = names_and_colours(found.labels, lang)
    mask = with_ground(found.mask, len(found.labels))
    overlay = segment_draw.overlay_png(image, mask, names, colours, STRENGTH)
    coco = segment_draw.coco_rle(mask, names, found.size)
    made = [
        (pick(lang, "Overlay PNG", "叠加图 PNG"), "groupvit.png", "image/png", overlay),
        (pick(lang, "Label map PNG", "标签图 PNG"), "groupvit-labels.png", "image/png", segment_draw.mask_png(mask, names)),
        ("COCO JSON", "groupvit-coco.json", "application/json", coco.encode()),
        ("JSON", "groupvit.json", "application/json", draw.to_json(found.to_json()).encode()),
        (pick(lang, "Groups CSV", "分组表 CSV"), "groupvit.csv", "text/csv", table_csv(found).encode("utf-8-sig")),
    ]  # fmt: skip
    return segment_draw.links(made, lang)


# --- one group across a row of pictures ----------------------------------------------------------------------


@dataclass(frozen=True)
class RowPicture:
    """A picture of the row: how it looks, what it is called, its two maps of groups."""

    source: str
    caption: str
    maps: str  # a PNG's address: red is the stage-1 group, green the stage-2 group
    seen: tuple[tuple[int, ...], ...]  # groups that own a patch, by stage


def row_picture(image: Image.Image, encoded: EncodedImage, caption: str) -> RowPicture:
    """A picture with its maps, small."""
    shown = image.copy()
    shown.thumbnail((SIDE, SIDE))
    maps = [encoded.group_map(stage) for stage in range(len(encoded.stages))]
    flat = [np.asarray(Image.fromarray(one).resize(shown.size, Image.Resampling.NEAREST)) for one in maps]
    pair = np.stack([flat[0], flat[-1], np.zeros_like(flat[0])], -1)
    buffer = io.BytesIO()
    Image.fromarray(pair).save(buffer, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    seen = tuple(tuple(np.unique(one).tolist()) for one in (flat[0], flat[-1]))
    return RowPicture(draw.data_uri(image, SIDE), caption, uri, seen)


def group_row(pictures: Sequence[RowPicture], counts: Sequence[int], lang: str) -> str:
    """The row with a choice of stage and group; what is chosen lights up in every picture, in the browser.

    Args:
        pictures: the row.
        counts: group tokens of the first and of the last stage.
        lang: "en" or "zh".
    """
    titles = (
        pick(lang, f"Stage 1: {counts[0]} groups, parts", f"第一阶段：{counts[0]} 组，部件"),
        pick(lang, f"Stage 2: {counts[-1]} groups, things", f"第二阶段：{counts[-1]} 组，物体"),
    )
    stages = "".join(
        f'<button type="button" class="atlas-chip" data-stage="{i}" aria-pressed="{str(i == 1).lower()}">{title}</button>'
        for i, title in enumerate(titles)
    )
    lists = ""
    for stage in (0, 1):
        seen = sorted({group for picture in pictures for group in picture.seen[stage]})
        buttons = "".join(
            _group_button(
                group, sum(group in picture.seen[stage] for picture in pictures), counts, stage, lang
            )
            for group in seen
        )
        lists += f'<div class="gv-groups" data-of="{stage}"{" hidden" if stage == 0 else ""}>{buttons}</div>'
    figures = "".join(
        f'<figure><div class="gv-picture"><img alt="{html.escape(picture.caption)}" src="{picture.source}">'
        f'<canvas aria-hidden="true"></canvas><img class="gv-maps" alt="" hidden src="{picture.maps}"></div>'
        f"<figcaption>{html.escape(picture.caption)}</figcaption></figure>"
        for picture in pictures
    )
    tip = pick(
        lang,
        "Click a place in any picture, or a number: that group lights up everywhere. Again: all groups.",
        "点击任意图片的一处，或一个编号：该组在所有图片里亮起。再点一次：显示全部。",
    )
    colours = html.escape(json.dumps(segment_draw.palette(max(counts))))
    return (
        f'<div class="gv-row" data-colours="{colours}"><p class="gv-stages">{stages}</p>{lists}'
        f'<p class="atlas-line" role="status">{tip}</p><div class="gv-pictures">{figures}</div></div>'
    )


def _group_button(group: int, where: int, counts: Sequence[int], stage: int, lang: str) -> str:
    colour = segment_draw.palette(max(counts))[group]
    said = pick(lang, f"group {group}, in {where} pictures", f"第 {group} 组，出现在 {where} 张图里")
    return (
        f'<button type="button" data-group="{group}" aria-pressed="false" aria-label="{said}" title="{said}">'
        f'<i style="background:{colour}"></i>{group}</button>'
    )


# --- right names ---------------------------------------------------------------------------------------------


def painted(picture: np.ndarray, mask: np.ndarray, colours: Sequence[str]) -> str:
    """A small picture [H, W, 3] under a mask [H, W] of colour indices, -1 unpainted, as an address."""
    table = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], float)
    grey = 0.35 * picture.mean(-1, keepdims=True) + 150
    shown = np.where((mask < 0)[..., None], grey, (1 - STRENGTH) * picture + STRENGTH * table[mask])
    return draw.data_uri(Image.fromarray(shown.clip(0, 255).astype(np.uint8)), SIDE)


@dataclass(frozen=True)
class Renamed:
    """One scene of the table of right names."""

    picture: np.ndarray  # [H, W, 3]
    truth: np.ndarray  # [H, W]
    found: Grouping
    right: RightNames


def renamed_table(rows: Sequence[Renamed], lang: str) -> str:
    """Scene by scene: groups, the model's names, the right names, the truth, with mIoU under both names."""
    head = (
        pick(lang, "its groups", "它的分组"),
        pick(lang, "its own names", "它自己起的名字"),
        pick(lang, "the right names", "正确的名字"),
        pick(lang, "truth", "真值"),
    )
    body = ""
    for row in rows:
        labels = row.found.labels
        colours = segment_draw.palette(len(labels))
        groups = np.unique(row.found.groups)
        cells = (
            (row.found.groups, segment_draw.palette(len(row.found.scores)), str(len(groups)), ""),
            (row.found.mask, colours, f"mIoU {row.right.own:.2f}", _legend(row.found.mask, labels, colours, lang)),
            (row.right.mask, colours, f"mIoU {row.right.right:.2f}", _legend(row.right.mask, labels, colours, lang)),
            (row.truth, colours, "", _legend(row.truth, labels, colours, lang)),
        )  # fmt: skip
        shown = ""
        for title, (mask, paint, figure, legend) in zip(head, cells, strict=True):
            note = pick(lang, f"{figure} groups", f"{figure} 个组") if title == head[0] else figure
            strong = f"<b>{note}</b>" if note else ""
            shown += f'<td><img alt="{html.escape(title)}" src="{painted(row.picture, mask, paint)}">{strong}{legend}</td>'
        body += f"<tr>{shown}</tr>"
    cells_head = "".join(f'<th scope="col">{text}</th>' for text in head)
    return (
        f'<div class="atlas-scroll" tabindex="0"><table class="gv-names"><thead><tr>{cells_head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _legend(mask: np.ndarray, labels: Sequence[str], colours: Sequence[str], lang: str) -> str:
    """Which labels a mask holds, in their colours."""
    held = [int(i) for i in np.unique(mask) if i >= 0]
    if not held:
        return f"<small>{pick(lang, 'nothing named', '没有名字')}</small>"
    return "".join(
        f'<small><i class="gv-swatch" style="background:{colours[i]}"></i>{html.escape(labels[i])}</small>'
        for i in held
    )


def before_after(rows: Sequence[Renamed], lang: str) -> str:
    """The means of both mIoU as two large numbers and what lies between them."""
    own, right = (float(np.mean([getattr(row.right, name) for row in rows])) for name in ("own", "right"))
    why = (
        pick(
            lang,
            f"The same groups, only named rightly: {right - own:+.2f}. What is lost on the left of the arrow is naming; "
            f"what is still missing to 1 on its right ({1 - right:.2f}) is grouping.",
            f"分组没变，只把名字改对：{right - own:+.2f}。箭头左边丢的是“命名”，右边离 1 还差的 {1 - right:.2f} 是“分组”。",
        )
        if right > own
        else pick(
            lang,
            f"Right names do not help here ({right - own:+.2f}): most of each group is background, so that its right name "
            "is none. These groups follow no outlines; no name can repair that.",
            f"这里换对名字也没用（{right - own:+.2f}）：每个组的大部分都是背景，正确的名字就是“没有”。"
            "分组没有沿着轮廓走，改名救不了。",
        )
    )
    titles = pick(lang, "own names", "自己的名字"), pick(lang, "right names", "正确的名字")
    scenes = pick(lang, f"foreground mIoU, mean of {len(rows)} scenes", f"前景 mIoU，{len(rows)} 个场景平均")
    return (
        f'<div class="gv-score"><p><small>{scenes}</small></p><p><span>{titles[0]}<b>{own:.2f}</b></span><em>→</em>'
        f"<span>{titles[1]}<b>{right:.2f}</b></span></p><p>{why}</p></div>"
    )


# --- more than eight -----------------------------------------------------------------------------------------


def crowd(found: Grouping, homes: Mapping[str, int], lang: str) -> str:
    """How many groups there are for how many things, and which things have to share one.

    Args:
        found: the answer.
        homes: thing -> the group that owns most of its pixels; empty where the truth is not known.
        lang: "en" or "zh".
    """
    slots, used = len(found.scores), len(seen_groups(found))
    text = pick(
        lang,
        f"<strong>{slots} groups at most</strong>, whatever the picture shows; here {used} of them own a pixel.",
        f"不管图里有多少东西，<strong>最多 {slots} 个组</strong>；这里有 {used} 个组占有像素。",
    )
    if not homes:
        return f'<p class="atlas-verdict">{text}</p>'
    by_group: dict[int, list[str]] = {}
    for thing, group in homes.items():
        by_group.setdefault(group, []).append(thing)
    alone = sum(len(things) == 1 for things in by_group.values())
    text += pick(
        lang,
        f" {len(homes)} things share {len(by_group)} groups; with a group to itself: <strong>{alone}</strong>.",
        f" {len(homes)} 样东西住在 {len(by_group)} 个组里：只有 <strong>{alone}</strong> 样独占一组。",
    )
    rows = "".join(
        f'<tr><th scope="row">{pick(lang, f"group {group}", f"第 {group} 组")}</th>'
        f"<td>{html.escape(pick(lang, ', ', '、').join(things))}</td></tr>"
        for group, things in sorted(by_group.items(), key=lambda item: -len(item[1]))
    )
    head = pick(lang, "group", "组"), pick(lang, "things that lie mostly in it", "大部分落在其中的东西")
    return (
        f'<p class="atlas-verdict">{text}</p><table class="atlas-grid gv-homes"><thead><tr><th scope="col">{head[0]}</th>'
        f'<th scope="col">{head[1]}</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def group_overlay(image: Image.Image, groups: np.ndarray, lang: str) -> str:
    """The groups [H, W] of one picture, each in its colour under its number."""
    present, mask = np.unique(groups, return_inverse=True)
    names = [pick(lang, f"group {group}", f"第 {group} 组") for group in present.tolist()]
    colours = [segment_draw.palette(int(present.max()) + 1)[group] for group in present.tolist()]
    return segment_draw.overlay(image, mask.reshape(groups.shape), names, colours, STRENGTH, lang)


# --- published -----------------------------------------------------------------------------------------------


def published_table(
    published: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]], lang: str
) -> str:
    """What the papers report, marked as published, and what the report card holds of the miniature."""
    code = "zh" if lang == "zh" else "en"
    rows = "".join(
        f'<tr class="published"><th scope="row">{html.escape(row["what"][code])}</th><td>{row["value"]}</td>'
        f"<td>{pick(lang, 'published', '已发表')}: {html.escape(row['source'][code])}</td></tr>"
        for row in published
    ) + "".join(
        f'<tr class="ours"><th scope="row">{html.escape(row["measure"])} <small>{html.escape(row["split"])}, '
        f"{row['language']}</small></th><td>{row['value']:.2f}</td>"
        f"<td>{pick(lang, 'measured here', '本仓库测得')}: <code>{html.escape(row['command'])}</code></td></tr>"
        for row in ours
    )
    head = pick(lang, "what", "项目"), "mIoU", pick(lang, "where from", "来源")
    cells = "".join(f'<th scope="col">{text}</th>' for text in head)
    note = pick(
        lang,
        "Photographs and drawn scenes are different exams: these rows are not to be compared with each other.",
        "照片和画出来的场景是两种考试：这些行不能互相比较。",
    )
    return (
        f'<div class="atlas-scroll" tabindex="0"><table class="atlas-grid atlas-published"><thead><tr>{cells}</tr></thead>'
        f'<tbody>{rows}</tbody></table></div><p class="atlas-line">{note}</p>'
    )
