"""COCO data sets as `pycocotools.COCO` reads them, and the same boxes as YOLO and Pascal VOC files.

Images, categories and annotations of COCO are numbered from 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from core import masks

NO_XML = re.compile(
    "[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]"
)  # characters that no XML may hold


class Coco:
    """A data set that grows image by image; annotations belong to the image that was added last.

    Args:
        names: of the first categories; `category` adds others.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.categories: list[dict[str, Any]] = [{"id": at, "name": name} for at, name in enumerate(names, 1)]
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def category(self, name: str) -> int:
        """The number of a category by its name, added where it is new."""
        for known in self.categories:
            if known["name"] == name:
                return known["id"]
        self.categories.append({"id": len(self.categories) + 1, "name": name})
        return len(self.categories)

    def image(self, file: str, size: tuple[int, int]) -> None:
        """Adds an image of this width and height."""
        self.images.append(
            {"id": len(self.images) + 1, "file_name": file, "width": size[0], "height": size[1]}
        )

    def box(self, category: int, box: Sequence[float], score: float | None = None) -> None:
        """Adds a box, xyxy pixels; its segmentation is the polygon of its corners."""
        left, top, right, bottom = (round(float(side), 2) for side in box)
        wide, high = round(right - left, 2), round(bottom - top, 2)
        corners = [left, top, right, top, right, bottom, left, bottom]
        sure = {} if score is None else {"score": round(float(score), 6)}
        self._add(category, [left, top, wide, high], round(wide * high, 2), [corners], **sure)

    def mask(self, category: int, mask: NDArray[np.bool_], **more: Any) -> None:
        """Adds a mask [H, W] of at least one pixel; its segmentation is its run lengths."""
        down, across = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = [across[0], down[0], across[-1] - across[0] + 1, down[-1] - down[0] + 1]
        runs = {"size": list(mask.shape), "counts": masks.encode(mask)}
        self._add(category, [int(side) for side in box], int(mask.sum()), runs, **more)

    def _add(self, category: int, box: list[float], area: float, segmentation: Any, **more: Any) -> None:
        self.annotations.append(
            {
                "id": len(self.annotations) + 1,
                "image_id": len(self.images),
                "category_id": category,
                "bbox": box,
                "area": area,
                "iscrowd": 0,
                "segmentation": segmentation,
                **more,
            }
        )

    def data(self) -> dict[str, Any]:
        """The data set as plain values."""
        return {"images": self.images, "categories": self.categories, "annotations": self.annotations}


def yolo(data: Mapping[str, Any]) -> dict[str, str]:
    """The boxes of a COCO data set as YOLO reads them: name of a file -> its text.

    `labels/` has a file for each image, with a line for each box: the number of its category from 0, then its middle and its
    sides as shares of the image. `data.yaml` names the categories.
    """
    places = {category["id"]: at for at, category in enumerate(data["categories"])}
    lines: dict[int, list[str]] = {image["id"]: [] for image in data["images"]}
    sizes = {image["id"]: (image["width"], image["height"]) for image in data["images"]}
    for one in data["annotations"]:
        width, height = sizes[one["image_id"]]
        left, top, wide, high = one["bbox"]
        shares = (left + wide / 2) / width, (top + high / 2) / height, wide / width, high / height
        cells = [str(places[one["category_id"]]), *(f"{min(max(share, 0), 1):.6f}" for share in shares)]
        lines[one["image_id"]].append(" ".join(cells))
    files = {
        f"labels/{name}.txt": "".join(f"{line}\n" for line in lines[number])
        for number, name in _stems(data).items()
    }
    # JSON strings are YAML.
    names = [
        f"  {at}: {json.dumps(category['name'], ensure_ascii=False)}"
        for at, category in enumerate(data["categories"])
    ]
    return {**files, "data.yaml": "\n".join(["train: images", "val: images", "names:", *names]) + "\n"}


def voc(data: Mapping[str, Any]) -> dict[str, str]:
    """The boxes of a COCO data set as Pascal VOC has them: name of a file -> its XML, one for each image; pixels from 1."""
    names = {category["id"]: category["name"] for category in data["categories"]}
    stems = _stems(data)
    files = {}
    for image in data["images"]:
        root = ElementTree.Element("annotation")
        ElementTree.SubElement(root, "filename").text = NO_XML.sub("", image["file_name"])
        size = ElementTree.SubElement(root, "size")
        for name, value in (("width", image["width"]), ("height", image["height"]), ("depth", 3)):
            ElementTree.SubElement(size, name).text = str(value)
        ElementTree.SubElement(root, "segmented").text = "0"
        for one in data["annotations"]:
            if one["image_id"] != image["id"]:
                continue
            left, top, wide, high = one["bbox"]
            thing = ElementTree.SubElement(root, "object")
            told = {
                "name": names[one["category_id"]],
                "pose": "Unspecified",
                "truncated": "0",
                "difficult": "0",
            }
            for name, text in told.items():
                ElementTree.SubElement(thing, name).text = NO_XML.sub("", text)
            corners = (left + 1, top + 1, left + wide, top + high)
            box = ElementTree.SubElement(thing, "bndbox")
            for name, side in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
                ElementTree.SubElement(box, name).text = str(round(side))
        ElementTree.indent(root)
        files[f"{stems[image['id']]}.xml"] = ElementTree.tostring(root, encoding="unicode") + "\n"
    return files


def _stems(data: Mapping[str, Any]) -> dict[int, str]:
    """Number of an image -> its file's name without the ending; with it where two files would be one."""
    files = {
        image["id"]: PurePosixPath(
            *(part for part in PurePosixPath(image["file_name"]).parts if part not in ("/", ".."))
        )
        for image in data["images"]
    }
    bare = [file.with_suffix("") for file in files.values()]
    return {
        number: str(file if bare.count(file.with_suffix("")) > 1 else file.with_suffix(""))
        for number, file in files.items()
    }
