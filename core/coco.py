"""COCO data sets as `pycocotools.COCO` reads them: images, categories and annotations are numbered from 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import masks


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
