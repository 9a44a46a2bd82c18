"""Records of the papers' own code: where they lie, and the made-up weights and inputs that both sides compute from."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent / "records"


@dataclass(frozen=True)
class Records:
    """The records of one paper: those of GOLDENS where that is set, else those in this repository."""

    paper: str

    @property
    def folders(self) -> Sequence[Path]:
        """Where the cases lie, and where else a manifest may say more of the same network."""
        return Path(os.environ.get("GOLDENS") or HERE) / self.paper, HERE / self.paper

    @cached_property
    def names(self) -> list[str]:
        """Every case."""
        return sorted(p.name.removesuffix(".manifest.json") for p in self.folders[0].glob("*.manifest.json"))

    @cached_property
    def manifests(self) -> list[dict[str, Any]]:
        """Of all folders."""
        return [
            json.loads(path.read_text())
            for folder in self.folders
            for path in sorted(folder.glob("*.manifest.json"))
        ]

    def read(self, case: str) -> tuple[dict[str, Any], Any]:
        """The manifest of a case and its arrays."""
        folder = self.folders[0]
        return json.loads((folder / f"{case}.manifest.json").read_text()), np.load(folder / f"{case}.npz")


def normal(key: str, shape: Any) -> torch.Tensor:
    """Normal numbers that depend on a name alone."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))


def drawn(entry: dict[str, Any]) -> torch.Tensor:
    """The made-up value of a state-dict entry, by the weight rule that its manifest names."""
    key, shape, rule = entry["key"], entry["shape"], entry["rule"]
    if rule == "default":
        return torch.tensor(entry.get("value", 0), dtype=getattr(torch, entry["dtype"]))
    t = normal(key, shape)
    made = {
        "var": lambda: 1 + 0.1 * t.abs(),
        "mean": lambda: 0.1 * t,
        "scale": lambda: 1 + 0.1 * t,
        "bias": lambda: 0.1 * t,
        "embed": lambda: 0.02 * t,
        "fanin": lambda: t / (t.numel() / shape[0]) ** 0.5,
        "unit": lambda: entry["gain"] * t,
    }[rule]()
    assert made.flatten()[0].item() == pytest.approx(entry["first"], rel=1e-4, abs=1e-6), key
    return made
