"""What a GroupViT answers as HTML and tables: groups against the threshold, a group across images, true names.

Pure functions of plain values. `demos.draw.masks` draws masks over one image; the many small ones are drawn in this module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from demos.draw import base, masks
from demos.groupvit.words import PAPER, markup, say
from demos.kit.files import downloads
from demos.kit.html import Markup, grid, join, row, scroll, share, table, tag

if TYPE_CHECKING:
    from core.segmentation.groupvit import EncodedImage, Grouping
    from core.segmentation.oracle import RightNames

SIDE = 320  # pixels of a small image
STRENGTH = 0.62  # of colours over an image
MAX_COLUMNS = 24  # labels of the table of groups


def layers(grouping: Grouping, lang: str) -> tuple[np.ndarray, list[str], list[str]]:
    """Mask [H, W], names and colours of an overlay: background, -1 in an answer, comes last and is not painted."""
    count = len(grouping.labels)
    mask = np.where(grouping.mask < 0, count, grouping.mask).astype(np.int64)
    return mask, [*grouping.labels, say("background", lang)], [*masks.palette(count), ""]


def overlay(image: Image.Image, grouping: Grouping, lang: str) -> Markup:
    """The mask over the image; pointing at it shows the label and the score of its group."""
    scores = grouping.scores.max(1)[grouping.groups]
    return masks.overlay(image, *layers(grouping, lang), STRENGTH, lang, scores)


def visible_groups(grouping: Grouping) -> list[int]:
    """The groups that own a pixel, the highest score first."""
    present = np.unique(grouping.groups)
    return present[np.argsort(-grouping.scores.max(1)[present], kind="stable")].tolist()


def areas(grouping: Grouping) -> list[float]:
    """The share of the image that each group owns."""
    counts = np.bincount(grouping.groups.ravel(), minlength=len(grouping.scores))
    return (counts / grouping.groups.size).tolist()


def swatch(colour: str) -> Markup:
    """A small square in a colour."""
    return tag("i", class_="gv-swatch", style=f"background:{colour}")


# --- the threshold -----------------------------------------------------------------------------------------


def chart(grouping: Grouping, lang: str) -> Markup:
    """Each group's best label and score as a bar beside the threshold; a group left of the line is background."""
    colours, area = masks.palette(len(grouping.labels)), areas(grouping)
    rows = []
    for group in visible_groups(grouping):
        best = int(grouping.scores[group].argmax())
        score, named = float(grouping.scores[group, best]), grouping.group_labels[group] >= 0
        label = grouping.labels[best]
        colour = tag("i", style=f"background:{colours[best]}" if named else None)
        name = label if named else tag("s", label) + " " + say("background", lang)
        small = tag("small", f"{say('group', lang, group=group)} · {base.percent(area[group])}")
        bar = tag("td", tag("span", style=f"width:{100 * score:.1f}%"), class_="gv-bar")
        kind = None if named else "ground"
        rows.append(row(colour + name + small, bar, tag("td", f"{score:.3f}"), kind=kind))
    head = say("best_label", lang), say("score_and_line", lang, line=grouping.line), ""
    bars, note = table(head, rows, "gv-scores"), threshold_note(grouping, lang)
    return tag("div", bars, note, class_="gv-chart", style=f"--line:{100 * grouping.line:.1f}%")


def threshold_note(grouping: Grouping, lang: str) -> Markup:
    """The effect of this threshold: how much is background, and why the line may be lower than the threshold."""
    background, groups = float(grouping.shares[-1]), visible_groups(grouping)
    named = sum(grouping.group_labels[group] >= 0 for group in groups)
    area = base.percent(background) if background else "0%"
    text = markup("named", lang, named=named, count=len(groups), area=area)
    if grouping.line < grouping.threshold:
        text += say("line_is_lower", lang, threshold=grouping.threshold)
    if grouping.line <= 0:
        text += say("no_background", lang)
    return tag("p", text, class_="atlas-line gv-said", role="status")


# --- the table of groups and labels ------------------------------------------------------------------------


def group_table(grouping: Grouping, lang: str) -> Markup:
    """Groups down, labels across: score and cosine, the best of each group marked."""
    labels = grouping.labels[:MAX_COLUMNS]
    colours = masks.palette(len(grouping.labels))
    body = []
    for group in visible_groups(grouping):
        best = int(grouping.scores[group].argmax())
        cells = []
        for i in range(len(labels)):
            score, cosine = grouping.scores[group, i], grouping.group_cosines[group, i]
            mark = "✓ " if i == best else ""
            cells.append(share(score, f"{mark}{score:.3f}", tag("small", f"{cosine:+.3f}"), best=i == best))
        body.append(row(say("group", lang, group=group), *cells))
    head = [swatch(colour) + label for colour, label in zip(colours, labels, strict=False)]
    more = len(grouping.labels) - len(labels)
    rest = tag("p", say("more_labels", lang, more=more), class_="atlas-line") if more else ""
    return grid([say("score_and_cosine", lang), *head], body) + rest


def table_csv(grouping: Grouping) -> str:
    """One line a group and label: group, its share of the image, label, score, cosine, whether the group has this label."""
    area = areas(grouping)
    scores, cosines = grouping.scores.tolist(), grouping.group_cosines.tolist()
    rows = (
        [
            group,
            area[group],
            label,
            scores[group][i],
            cosines[group][i],
            int(grouping.group_labels[group] == i),
        ]
        for group in range(len(scores))
        for i, label in enumerate(grouping.labels)
    )
    return base.csv_of(["group", "share", "label", "score", "cosine", "named"], rows)


def files(image: Image.Image, grouping: Grouping, lang: str) -> Markup:
    """The downloads of one answer."""
    json_text, csv_text = base.to_json(grouping.to_json()), table_csv(grouping)
    painted = *layers(grouping, lang), STRENGTH
    made = [
        *masks.exports(image, *painted, grouping.size, lang, stem=PAPER, overlay_file="groupvit.png"),
        ("groupvit.json", "application/json", json_text.encode()),
        ("groupvit.csv", "text/csv", csv_text.encode("utf-8-sig"), say("groups_csv", lang)),
    ]
    return downloads(made)


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
    groups = tuple(tuple(np.unique(one).tolist()) for one in (flat[0], flat[-1]))
    return RowImage(base.data_uri(image, SIDE), caption, base.png_uri(pair), groups)


def group_row(images: Sequence[RowImage], counts: tuple[int, int], lang: str) -> Markup:
    """The row with a choice of stage and group; the browser marks the chosen group in every image.

    Args:
        images: the row.
        counts: group tokens of the first and of the last stage.
        lang: "en" or "zh".
    """
    colours = masks.palette(max(counts))
    stages, lists = [], []
    for stage, count in enumerate(counts):
        title = say(f"stage_{stage + 1}", lang, count=count)
        is_chosen = str(stage == 1).lower()
        stages.append(
            tag("button", title, type="button", class_="atlas-chip", data_stage=stage, aria_pressed=is_chosen)
        )
        owners = [group for image in images for group in image.groups[stage]]
        buttons = (_group_button(group, owners.count(group), colours, lang) for group in sorted(set(owners)))
        lists.append(tag("div", *buttons, class_="gv-groups", data_of=stage, hidden=stage == 0))
    return tag(
        "div",
        tag("p", *stages, class_="gv-stages"),
        *lists,
        tag("p", say("row_tip", lang), class_="atlas-line", role="status"),
        tag("div", *map(_figure, images), class_="gv-pictures"),
        class_="gv-row",
        data_colours=json.dumps(colours),
    )


def _figure(image: RowImage) -> Markup:
    picture = (
        tag("img", alt=image.caption, src=image.source),
        tag("canvas", aria_hidden="true"),
        tag("img", class_="gv-maps", alt="", hidden=True, src=image.maps),
    )
    return tag("figure", tag("div", *picture, class_="gv-picture"), tag("figcaption", image.caption))


def _group_button(group: int, images: int, colours: Sequence[str], lang: str) -> Markup:
    text = say("group_in_images", lang, group=group, images=images)
    look = tag("i", style=f"background:{colours[group]}"), str(group)
    return tag(
        "button", *look, type="button", data_group=group, aria_pressed="false", aria_label=text, title=text
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
    head = [say(name, lang) for name in ("scene_groups", "model_names", "true_names", "exact_mask")]
    body = []
    for one in rows:
        groups, labels = one.grouping.groups, one.grouping.labels
        palette = masks.palette(len(one.grouping.scores))
        count = say("group_count", lang, count=len(np.unique(groups)))
        cells = [tag("td", tag("img", alt=head[0], src=painted(one.image, groups, palette)), tag("b", count))]
        masks_of = (
            (one.grouping.mask, f"mIoU {one.right.own:.2f}"),
            (one.right.mask, f"mIoU {one.right.right:.2f}"),
            (one.truth, ""),
        )
        for title, (mask, note) in zip(head[1:], masks_of, strict=True):
            colours = masks.palette(len(labels))
            image = tag("img", alt=title, src=painted(one.image, mask, colours))
            key = legend(mask, labels, colours, lang)
            cells.append(tag("td", image, tag("b", note) if note else "", key))
        body.append(tag("tr", *cells))
    return scroll(table(head, body, "gv-names"))


def legend(mask: np.ndarray, labels: Sequence[str], colours: Sequence[str], lang: str) -> Markup:
    """The labels of a mask, in their colours."""
    present = [int(i) for i in np.unique(mask) if i >= 0]
    if not present:
        return tag("small", say("no_label", lang))
    return join(tag("small", swatch(colours[i]), labels[i]) for i in present)


def before_after(rows: Sequence[Renamed], lang: str) -> Markup:
    """The means of both mIoU as two large numbers, and what the difference means."""
    own, right = (float(np.mean([getattr(one.right, name) for one in rows])) for name in ("own", "right"))
    verdict = "names_help" if right > own else "names_do_not_help"
    numbers = [
        tag("span", say(name, lang), tag("b", f"{value:.2f}"))
        for name, value in (("model_names", own), ("true_names", right))
    ]
    return tag(
        "div",
        tag("p", tag("small", say("mean_of", lang, count=len(rows)))),
        tag("p", numbers[0], tag("em", "→"), numbers[1]),
        tag("p", say(verdict, lang, gain=right - own, rest=1 - right)),
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
    text = markup("groups_at_most", lang, slots=len(grouping.scores), used=len(visible_groups(grouping)))
    if not homes:
        return tag("p", text, class_="atlas-verdict")
    by_group: dict[int, list[str]] = {}
    for thing, group in homes.items():
        by_group.setdefault(group, []).append(thing)
    alone = sum(len(things) == 1 for things in by_group.values())
    text += markup("things_in_groups", lang, things=len(homes), groups=len(by_group), alone=alone)
    rows = [
        row(say("group", lang, group=group), tag("td", say("comma", lang).join(things)))
        for group, things in sorted(by_group.items(), key=lambda item: -len(item[1]))
    ]
    head = say("home_group", lang), say("home_things", lang)
    return tag("p", text, class_="atlas-verdict") + table(head, rows, "atlas-grid gv-homes")


def group_overlay(image: Image.Image, groups: np.ndarray, lang: str) -> Markup:
    """The groups [H, W] of one image, each in its colour under its number."""
    present, mask = np.unique(groups, return_inverse=True)
    names = [say("group", lang, group=group) for group in present.tolist()]
    colours = [masks.palette(int(present.max()) + 1)[group] for group in present.tolist()]
    return masks.overlay(image, mask.reshape(groups.shape), names, colours, STRENGTH, lang)
