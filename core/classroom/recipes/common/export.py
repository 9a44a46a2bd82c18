"""From a trained learner to the files that ship: open_clip's plain CLIP class, in half precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from core.classroom.recipes.clip.learner import Learner

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def shipped(tensor: Tensor) -> Tensor:
    """A tensor as it is stored: half precision, plain memory."""
    return (tensor.half() if tensor.is_floating_point() else tensor).detach().cpu().contiguous().clone()


@torch.no_grad()
def folded(learner: Learner) -> dict[str, Tensor]:
    """The CLIP's tensors with both BatchNorms inside its projections: same features, plain model.

    (Wx + b - mean) / std: into the last linear map of the attention pooling and of the text tower. The ViT's
    projection has no bias, so its shift goes through the pseudo-inverse into the LayerNorm before it.
    """
    state = {k: v.detach().clone().cpu() for k, v in learner.clip.state_dict().items()}

    def statistics(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
        assert norm.running_mean is not None and norm.running_var is not None
        return norm.running_mean.cpu(), (norm.running_var.cpu() + norm.eps).rsqrt()

    def linear(weight: str, bias: str, mean: Tensor, inverse: Tensor) -> None:
        state[weight] = state[weight] * inverse[:, None]
        state[bias] = (state[bias] - mean) * inverse

    linear("text_projection.weight", "text_projection.bias", *statistics(learner.text_norm))
    mean, inverse = statistics(learner.image_norm)
    if "visual.attnpool.c_proj.weight" in state:
        linear("visual.attnpool.c_proj.weight", "visual.attnpool.c_proj.bias", mean, inverse)
    else:
        projection = state["visual.proj"].double()  # [W, D]
        shift = -mean.double() @ torch.linalg.pinv(projection)
        state["visual.ln_post.bias"] = state["visual.ln_post.bias"] + shift.float()
        state["visual.proj"] = (projection * inverse.double()).float()
    return state


def export(learner: Learner, config: dict[str, Any], tokenizer: Any, folder: Path) -> Path:
    """Write model.safetensors (fp16), open_clip_config.json and tokenizer.json into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in folded(learner).items()}
    save_file(state, folder / "model.part")
    preprocess = {"mean": list(MEAN), "std": list(STD), "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2) + "\n", encoding="utf-8"
    )
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "model.part").replace(
        folder / "model.safetensors"
    )  # last and whole: a learner may be waiting for it
    return folder
