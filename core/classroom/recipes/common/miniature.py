"""An exported miniature CLIP, as the evaluations use it: open_clip's own class on the CPU."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core import checkpoints
from core.checkpoints.integrity import sha256
from core.classroom.recipes.common import tokenizer as tokens
from core.classroom.world.concepts import ASSETS, concepts
from core.classroom.world.wording import phrase

BATCH = 64
WEIGHTS, NOTE = "model.safetensors", "training.json"


class Miniature:
    """An exported miniature in open_clip's own class, float32 on the CPU."""

    def __init__(self, folder: Path) -> None:
        from open_clip.model import CLIP

        from core.clip.encoders import OpenClipText
        from core.clip.tokenizers import from_file

        config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
        self.model = CLIP(**config["model_cfg"])
        self.model.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in tensors(folder).items()}
        )
        self.model.eval().requires_grad_(False)
        self.size = int(config["model_cfg"]["vision_cfg"]["image_size"])
        self.mean = torch.tensor(config["preprocess_cfg"]["mean"])[:, None, None]
        self.std = torch.tensor(config["preprocess_cfg"]["std"])[:, None, None]
        self.tokenizer = tokens.load(folder / "tokenizer.json")
        self.context = int(config["model_cfg"]["text_cfg"]["context_length"])
        self.text = OpenClipText(self.model, from_file(folder / "tokenizer.json", self.context)[1])

    @property
    def scale(self) -> float:
        return float(self.model.logit_scale.exp())

    @torch.inference_mode()
    def images(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] -> normalised features [B, D]."""
        mean, std = self.mean.to(pictures.device), self.std.to(pictures.device)
        parts = [self.model.encode_image((p - mean) / std) for p in pictures.split(BATCH)]
        return F.normalize(torch.cat(parts), dim=-1)

    @torch.inference_mode()
    def texts(self, lines: Sequence[str]) -> Tensor:
        """Normalised features [N, D]."""
        ids = self.text.tokenize(lines)
        parts = [self.text(ids[at : at + 256], "cpu") for at in range(0, len(ids), 256)]
        return F.normalize(torch.cat(parts), dim=-1)

    def lists(self, groups: Sequence[Sequence[str]]) -> tuple[Tensor, ...]:
        """Features [M, D] of each of some lists of texts; all are encoded together."""
        features = self.texts([line for group in groups for line in group])
        return features.split([len(group) for group in groups])

    @torch.inference_mode()
    def patches(self, pictures: Tensor) -> Tensor:
        """Value-path features of places, normalised: [B, h, w, D] (core.clip.towers)."""
        from core.clip.towers import OpenClipResNet, OpenClipViT

        visual = self.model.visual
        tower = OpenClipResNet(visual) if hasattr(visual, "attnpool") else OpenClipViT(visual)
        return F.normalize(tower((pictures - self.mean) / self.std).patch_features, dim=-1)

    def names(self, lang: str, forms: Sequence[str], which: Sequence[int] | None = None) -> Tensor:
        """Features of concept names averaged over wordings and normalised again: [C, D]."""
        chosen = [concepts()[i] for i in which] if which is not None else list(concepts())
        total = torch.zeros(len(chosen), self.model.text_projection.out_features)
        for form in dict.fromkeys(forms):
            total += self.texts([form.format(phrase(c.name(lang), lang), n=c.name(lang)) for c in chosen])
        return F.normalize(total, dim=-1)


def tensors(folder: Path) -> dict[str, Tensor]:
    """A miniature CLIP's tensors by name: of a training's export, which is whole, or of a bundled row, which may share the text
    tower of the row that it requires."""
    from core.clip.encoders import open_clip_state

    weights = folder / WEIGHTS
    row = next((row for row in checkpoints.rows() if row.bundled and row.folder == folder.resolve()), None)
    return open_clip_state({WEIGHTS: weights}, row) if row else checkpoints.load_state_dict(weights)


def export_folder(checkpoint: str, beside: Path | None = None) -> Path:
    """Where a miniature lies: a folder with an export, or a bundled row's.

    beside: the export of another miniature; one of this name in the same folder of runs is preferred."""
    near = [beside.parent.parent / checkpoint / checkpoint] if beside is not None else []
    for folder in (*near, Path(checkpoint), ASSETS / "checkpoints" / checkpoint):
        if (folder / WEIGHTS).exists():
            return folder
    raise SystemExit(f"no miniature called {checkpoint!r}: neither a folder nor below assets/checkpoints")


def beginning(folder: Path, part: str = "") -> dict[str, Any]:
    """What a training.json says of the export that its run went on from: its own training.json and the digest of its weights.

    part: of an export that joins several runs, which one went on.
    """
    note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    return {"weights": sha256(folder / WEIGHTS), **note.get("parts", {}).get(part, note)}


def tower_folder(head: Path) -> Path:
    """Where the CLIP lies that a head was trained on, by the training.json in the head's folder: an export in the same
    folder of runs if it is the same file, or else a bundled row's."""
    name, digest = next(iter(json.loads((head / NOTE).read_text(encoding="utf-8"))["clip"].items()))
    near = export_folder(name, beside=head)
    same = sha256(near / WEIGHTS) == digest
    return near if same else export_folder(name)


def open_miniature(checkpoint: str) -> Miniature:
    """By folder, or by the name of a bundled row."""
    return Miniature(export_folder(checkpoint))
